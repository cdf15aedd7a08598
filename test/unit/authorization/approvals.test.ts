import assert from 'node:assert/strict';
import { Access } from '../../../src/authorization/access.ts';
import {
  Approvals,
  SHORT_GRANT_MS,
  targetOf,
  type Answer,
  type ApprovalRequest,
  type Approver,
} from '../../../src/authorization/approvals.ts';
import type { Call } from '../../../src/authorization/decide.ts';
import type { Decision } from '../../../src/mcp/decision.ts';
import type { Principal } from '../../../src/mcp/principal.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench, nextTurn } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

/** Keeps questions until the test answers them. */
class HeldApprover implements Approver {
  readonly asked: {
    readonly request: ApprovalRequest;
    readonly waiting: number;
    readonly signal: AbortSignal;
    readonly answer: (a: Answer) => void;
    readonly fail: (e: Error) => void;
  }[] = [];

  ask(request: ApprovalRequest, waiting: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((answer, fail) => this.asked.push({ request, waiting, signal, answer, fail }));
  }
}

const principal: Principal = { client: 'agent', window: 'win-1', workspace: 'ws-1', workspaceName: 'Shop' };
const callOf = (tool: string): Call => ({ server: 'srv-1', serverLabel: 'GitHub', method: 'tools/call', tool });

describe('Approvals', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  let approver: HeldApprover;
  let approvals: Approvals;

  const ask = (tool = 'echo', signal = new AbortController().signal, who = principal): Promise<Decision> =>
    approvals.request(
      { principal: who, call: callOf(tool), argumentsText: '{}', digest: 'd', destination: 'h', credentials: [], client: 'c' },
      30_000,
      signal,
    );
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    access = new Access(bench.window(), bench.key, new Generations(), clock);
    access.start('srv-1', 'ask', 'wizard');
    approver = new HeldApprover();
    approvals = new Approvals(access, approver, clock);
  });
  afterEach(() => bench.close());

  it('asks one thing at a time, in order, and says how many wait', async () => {
    const all = [ask('a'), ask('b'), ask('c')];
    assert.deepEqual([approver.asked.length, approvals.waiting], [1, 3]);
    for (let i = 0; i < 3; i++) {
      approver.asked[i]?.answer('once');
      await turn();
    }
    assert.deepEqual(
      approver.asked.map((q) => [q.request.call.tool, q.waiting]),
      [
        ['a', 1],
        ['b', 2],
        ['c', 1],
      ],
    );
    assert.ok((await Promise.all(all)).every((d) => d.effect === 'allow'));
    assert.equal(approvals.waiting, 0);
  });

  it('lets one answer serve everything it covers', async () => {
    const same = [ask('a'), ask('a'), ask('a')];
    const other = ask('b');
    approver.asked[0]?.answer('always');
    assert.deepEqual(
      (await Promise.all(same)).map((d) => d.effect),
      ['allow', 'allow', 'allow'],
    );
    await turn();
    assert.deepEqual(
      approver.asked.map((q) => q.request.call.tool),
      ['a', 'b'],
    );
    approver.asked[1]?.answer('deny');
    assert.equal((await other).effect, 'deny');
    assert.equal(access.decide(principal, callOf('a')).effect, 'allow');
  });

  it('serves exactly one call with “once”', async () => {
    const [first, second] = [ask('a'), ask('a')];
    approver.asked[0]?.answer('once');
    assert.equal((await first).effect, 'allow');
    await turn();
    assert.equal(approver.asked.length, 2);
    assert.equal(approvals.waiting, 1);
    approver.asked[1]?.answer('deny');
    assert.equal((await second).effect, 'deny');
    assert.equal(access.decide(principal, callOf('a')).effect, 'deny');
  });

  it('keeps a “no”: nobody is asked again', async () => {
    const waiting = ask('a');
    approver.asked[0]?.answer('deny');
    await waiting;
    assert.equal(access.decide(principal, callOf('a')).effect, 'deny');
    assert.equal(access.decide({ client: 'vscode', window: 'win-9' }, callOf('a')).effect, 'deny');
  });

  it('gives for a while, and in a workspace', async () => {
    const short = ask('a');
    approver.asked[0]?.answer('short');
    await short;
    clock.advance(SHORT_GRANT_MS - 1);
    assert.equal(access.decide(principal, callOf('a')).effect, 'allow');
    clock.advance(1);
    assert.equal(access.decide(principal, callOf('a')).effect, 'ask');
    const here = ask('b');
    await turn();
    approver.asked[1]?.answer('workspace');
    await here;
    assert.equal(access.decide(principal, callOf('b')).effect, 'allow');
    assert.equal(access.decide({ ...principal, workspace: 'ws-2' }, callOf('b')).effect, 'ask');
  });

  it('allows nothing in a workspace where there is none', async () => {
    const decision = ask('a', undefined, { client: 'agent', window: 'win-1' });
    approver.asked[0]?.answer('workspace');
    assert.equal((await decision).effect, 'deny');
    assert.equal(access.decide(principal, callOf('a')).effect, 'ask');
  });

  it('denies what nobody answers, in words an agent understands', async () => {
    const decision = ask('a');
    clock.advance(30_000);
    const { effect, reason, by } = await decision;
    assert.deepEqual([effect, by], ['deny', { kind: 'rule', rule: 'unanswered' }]);
    assert.match(reason, /nobody answered within 30 seconds\. Tell the user/);
    assert.equal(approver.asked[0]?.signal.aborted, true);
    assert.equal(access.decide(principal, callOf('a')).effect, 'ask');
  });

  it('counts each call’s time from its own start, shown or not', async () => {
    const first = ask('a');
    clock.advance(20_000);
    const second = ask('b');
    clock.advance(10_000);
    assert.equal((await first).effect, 'deny');
    await turn();
    assert.equal(approver.asked[1]?.request.call.tool, 'b');
    clock.advance(20_000);
    assert.equal((await second).effect, 'deny');
  });

  it('takes the question away when the agent is gone, also one that is not shown yet', async () => {
    const [one, two] = [new AbortController(), new AbortController()];
    const [first, second] = [ask('a', one.signal), ask('b', two.signal)];
    two.abort();
    assert.equal((await second).effect, 'deny');
    one.abort();
    assert.equal((await first).effect, 'deny');
    assert.equal(approver.asked[0]?.signal.aborted, true);
    await turn();
    assert.deepEqual([approver.asked.length, approvals.waiting], [1, 0]);
    const gone = ask('c', AbortSignal.abort());
    assert.equal((await gone).effect, 'deny');
    assert.equal(approver.asked.length, 1);
  });

  it('answers what waits when access changes under it: revoke, pause, allow', async () => {
    const denied = ask('a');
    access.set('srv-1', { kind: 'tools', names: ['a'] }, 'deny', 'tree');
    assert.equal((await denied).effect, 'deny');
    const allowed = ask('b');
    access.set('srv-1', { kind: 'tools', names: ['b'] }, 'allow', 'tree');
    assert.equal((await allowed).effect, 'allow');
    const revoked = ask('c');
    access.revokeServer('srv-1');
    assert.equal((await revoked).effect, 'deny');
    access.start('srv-1', 'ask', 'wizard');
    const paused = ask('d');
    access.setPaused(true);
    assert.deepEqual((await paused).by, { kind: 'rule', rule: 'paused' });
    assert.equal(approvals.waiting, 0);
  });

  for (const answer of ['once', 'short', 'always'] as const)
    it(`does not let “${answer}” past a pause that another window set meanwhile`, async () => {
      const other = new Access(bench.window(), bench.key, new Generations(), clock);
      const decision = ask('a');
      other.setPaused(true);
      await nextTurn();
      approver.asked[0]?.answer(answer);
      assert.equal((await decision).effect, 'deny');
    });

  it('denies when asking fails, and asks on', async () => {
    const [first, second] = [ask('a'), ask('b')];
    approver.asked[0]?.fail(new Error('no window'));
    assert.equal((await first).effect, 'deny');
    await turn();
    approver.asked[1]?.answer('once');
    assert.equal((await second).effect, 'allow');
  });

  it('denies when asking throws at once', async () => {
    approver.ask = () => {
      throw new Error('no window');
    };
    assert.equal((await ask('a')).effect, 'deny');
  });

  it('denies when the answer can not be stored', async () => {
    const decision = ask('a');
    await bench.tamper(`CREATE TRIGGER no BEFORE INSERT ON signed_row BEGIN SELECT RAISE(ABORT, 'no'); END`);
    approver.asked[0]?.answer('always');
    const { effect, reason } = await decision;
    assert.equal(effect, 'deny');
    assert.match(reason, /could not be stored/);
  });

  it('denies everything that waits when it ends', async () => {
    const all = [ask('a'), ask('b')];
    approvals.dispose();
    assert.ok((await Promise.all(all)).every((d) => d.effect === 'deny'));
  });
});

describe('targetOf', () => {
  it('is the narrowest that covers the call', async () => {
    assert.deepEqual(targetOf(callOf('a')), { kind: 'tools', names: ['a'] });
    assert.deepEqual(targetOf({ ...callOf('a'), tool: undefined, method: 'resources/read' }), { kind: 'resources' });
    assert.deepEqual(targetOf({ ...callOf('a'), tool: undefined, method: 'x/y' }), { kind: 'methods', names: ['x/y'] });
  });
});
