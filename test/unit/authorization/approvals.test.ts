import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { Access } from '../../../src/authorization/access.ts';
import { shownDigest, targetOf, type Answer, type ApprovalRequest, type Approver } from '../../../src/authorization/approvalRequest.ts';
import { SHORT_GRANT_MS } from '../../../src/authorization/answeredGrant.ts';
import { Approvals, MAX_WAITING_PER_CLIENT } from '../../../src/authorization/approvals.ts';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import type { Call } from '../../../src/authorization/decide.ts';
import type { Caller } from '../../../src/authorization/grant.ts';
import { rulesLayer } from '../../../src/authorization/policy/rules.ts';
import { REFUSAL_MS, REFUSALS_PER_TOOL } from '../../../src/authorization/refusals.ts';
import { describeOutcome, parseRequestAccess, requestHint, type AccessWish } from '../../../src/authorization/requestAccess.ts';
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

describe('Approvals, shaped by the user', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  let approver: HeldApprover;
  let approvals: Approvals;
  const caller: Caller = { ...principal, session: 's-1', branch: 'main' };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const ask = (args: object = {}, tool = 'create_issue', who: Caller = caller): Promise<Decision> => {
    const text = JSON.stringify(args);
    return approvals.request(
      {
        principal: who,
        call: { ...callOf(tool), arguments: CallArguments.fromText(text) },
        argumentsText: text,
        digest: text,
        argumentsDigest: hash('sha256', text),
        destination: 'api.example.com',
        credentials: ['github'],
        client: 'c',
      },
      30_000,
      new AbortController().signal,
    );
  };
  const effect = (args: object, tool = 'create_issue', who: Caller = caller) =>
    access.decide(who, { ...callOf(tool), arguments: CallArguments.fromText(JSON.stringify(args)) }).effect;
  const answer = (i: number, a: Answer) => approver.asked[i]?.answer(a);

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    access = new Access(bench.window(), bench.key, new Generations(), clock);
    access.start('srv-1', 'ask', 'wizard');
    approver = new HeldApprover();
    approvals = new Approvals(access, approver, clock);
  });
  afterEach(() => bench.close());

  it('gives a widened grant from the call at hand', async () => {
    const first = ask({ owner: 'acme', repo: 'shop', title: 'x' });
    const { request } = approver.asked[0]!;
    assert.deepEqual(
      request.proposals.map((p) => p.id),
      ['same', 'named-2', 'named-1', 'tool'],
    );
    assert.equal(request.proposals[1]?.words, 'allow create_issue where owner is “acme” and repo is “shop”');
    answer(0, { kind: 'proposal', proposal: 'named-2', effect: 'allow', forMs: 1_800_000, where: 'workspace', why: 'the release' });
    assert.equal((await first).effect, 'allow');
    assert.equal(effect({ owner: 'acme', repo: 'shop', title: 'another' }), 'allow');
    assert.equal(effect({ owner: 'acme', repo: 'other' }), 'ask');
    assert.equal(effect({ owner: 'acme', repo: 'shop' }, 'create_issue', { ...caller, workspace: 'ws-2' }), 'ask');
    clock.advance(1_800_000);
    assert.equal(effect({ owner: 'acme', repo: 'shop' }), 'ask');
  });

  it('gives for a number of uses, a session, a branch, a window or the task', async () => {
    const where: readonly (readonly [Answer & object, Caller])[] = [
      [
        { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'session' },
        { ...caller, session: 's-2' },
      ],
      [
        { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'branch' },
        { ...caller, branch: 'other' },
      ],
      [
        { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'window' },
        { ...caller, window: 'win-2' },
      ],
      [
        { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'client' },
        { ...caller, client: 'vscode' },
      ],
    ];
    let i = 0;
    for (const [given, elsewhere] of where) {
      const tool = `tool-${i}`;
      const asked = ask({}, tool);
      answer(i++, given);
      assert.equal((await asked).effect, 'allow');
      await turn();
      assert.deepEqual([effect({}, tool), effect({}, tool, elsewhere)], ['allow', 'ask'], given.where);
    }
    const task = access.startTask({ name: 'T', servers: [], durationMs: 60_000 }, []);
    const forTask = ask({}, 'tasked');
    answer(i++, { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'task' });
    assert.equal((await forTask).effect, 'allow');
    access.endTask(task.id);
    await turn();
    assert.equal(effect({}, 'tasked'), 'ask');
    const nowhere = ask({}, 'nowhere');
    answer(i++, { kind: 'proposal', proposal: 'tool', effect: 'allow', where: 'task' });
    assert.equal((await nowhere).effect, 'deny');
    await turn();
    const unknown = ask({}, 'nothing');
    answer(i, { kind: 'proposal', proposal: 'everything', effect: 'allow' });
    assert.equal((await unknown).effect, 'deny');
  });

  it('takes a use for the call that was shown, and one for each that waits', async () => {
    const all = [ask({ n: 1 }), ask({ n: 2 }), ask({ n: 3 })];
    answer(0, { kind: 'proposal', proposal: 'tool', effect: 'allow', uses: 2 });
    assert.deepEqual([(await all[0]!).effect, (await all[1]!).effect], ['allow', 'allow']);
    await turn();
    assert.equal(approvals.waiting, 1);
    assert.equal(access.used(access.all().find((g) => g.uses === 2)?.id ?? ''), 2);
  });

  it('answers an ask that is narrower than what is given', async () => {
    access.give({
      server: 'srv-1',
      target: { kind: 'tools', names: ['create_issue'] },
      effect: 'ask',
      scope: {},
      givenBy: 'tree',
      conditions: [{ test: 'equals', at: '/owner', value: 'acme' }],
    });
    const asked = ask({ owner: 'acme' });
    answer(0, 'short');
    assert.equal((await asked).effect, 'allow');
    assert.equal(effect({ owner: 'acme' }), 'allow');
  });

  it('shows identical calls as one, and lets “once” serve one and “all” each of them', async () => {
    const same = [ask({ a: 1 }), ask({ a: 1 }), ask({ a: 1 }), ask({ a: 2 })];
    assert.equal(approver.asked[0]?.request.identical, 3);
    answer(0, 'once');
    assert.equal((await same[0]!).effect, 'allow');
    await turn();
    assert.equal(approver.asked[1]?.request.identical, 2);
    answer(1, 'all');
    assert.deepEqual([(await same[1]!).effect, (await same[2]!).effect], ['allow', 'allow']);
    await turn();
    assert.equal(approvals.waiting, 1);
    assert.equal(new Set(approver.asked.map((q) => q.request.shown)).size, 2);
  });

  it('binds the answer to all that was shown', () => {
    const what = { call: callOf('a'), argumentsDigest: 'x', argumentsText: '{}', destination: 'h', credentials: ['c'] };
    const digests = [
      what,
      { ...what, call: callOf('b') },
      { ...what, argumentsDigest: 'y' },
      { ...what, destination: 'i' },
      { ...what, credentials: [] },
      { ...what, call: { ...what.call, server: 'srv-2' } },
    ];
    assert.equal(new Set(digests.map(shownDigest)).size, digests.length);
    assert.equal(shownDigest({ ...what, credentials: ['b', 'a'] }), shownDigest({ ...what, credentials: ['a', 'b'] }));
  });

  it('remembers a “no” for a while, tells the agent, and asks nobody', async () => {
    for (const [i, no] of (['no', 'dismiss'] as const).entries()) {
      const asked = ask({ i });
      answer(i, no);
      assert.equal((await asked).effect, 'deny');
      await turn();
      const again = await ask({ i });
      assert.deepEqual(again.by, { kind: 'rule', rule: 'refused' });
      assert.match(again.reason, /said no to exactly this just now\. Culvert asks again in 5 minutes at the earliest\. Do something else/);
    }
    assert.equal(approver.asked.length, 2);
    // Another caller, other arguments: those may ask.
    const other = ask({ i: 0 }, 'create_issue', { ...caller, window: 'win-2' });
    assert.equal(approver.asked.length, 3);
    answer(2, 'once');
    await other;
    clock.advance(REFUSAL_MS);
    await turn();
    void ask({ i: 0 });
    assert.equal(approver.asked.length, 4);
  });

  it('is not worn down by ever new arguments', async () => {
    for (let i = 0; i < REFUSALS_PER_TOOL; i++) {
      const asked = ask({ i });
      answer(i, 'no');
      await asked;
      await turn();
    }
    assert.match((await ask({ i: 99 })).reason, /said no 3 times lately/);
    approvals.forgetRefusals();
    void ask({ i: 99 });
    assert.equal(approver.asked.length, REFUSALS_PER_TOOL + 1);
  });

  it('lets a grant given meanwhile go before a remembered “no”', async () => {
    const asked = ask({ a: 1 });
    answer(0, 'no');
    await asked;
    access.set('srv-1', { kind: 'tools', names: ['create_issue'] }, 'allow', 'tree');
    assert.equal(access.admit(caller, callOf('create_issue')).effect, 'allow');
  });

  it('shows what differs from the last call that was approved', async () => {
    const first = ask({ owner: 'acme', title: 'one', labels: ['a'] });
    assert.equal(approver.asked[0]?.request.changes, undefined);
    answer(0, 'once');
    await first;
    await turn();
    void ask({ owner: 'evil', title: 'one', labels: ['a', 'b'] });
    assert.deepEqual(
      approver.asked[1]?.request.changes?.map((c) => [c.name, c.kind, c.before, c.after]),
      [
        ['owner', 'changed', 'acme', 'evil'],
        ['labels.1', 'added', undefined, 'b'],
      ],
    );
  });

  it('asks again each time where a policy wants it, and says that no grant spares it', async () => {
    access.setLayers([rulesLayer('The workspace’s policy', [{ effect: 'ask', name: 'careful' }])]);
    access.set('srv-1', { kind: 'tools', names: ['create_issue'] }, 'allow', 'tree');
    const asked = ask({});
    assert.equal(approver.asked[0]?.request.lasting, false);
    assert.match(
      approver.asked.map((q) => q.request.why).join(),
      /asks the user each time, because the workspace’s policy \(careful\) wants that/,
    );
    answer(0, 'always');
    assert.equal((await asked).effect, 'allow');
    assert.equal(effect({}), 'ask');
  });

  it('takes no more than so many waiting calls of one client', async () => {
    const waiting = Array.from({ length: MAX_WAITING_PER_CLIENT }, (_, i) => ask({ i }));
    assert.match((await ask({ more: true })).reason, /wait for the user’s answer already/);
    approvals.dispose();
    await Promise.all(waiting);
  });

  describe('access that an agent asks for', () => {
    const wish = (tools: readonly string[]): AccessWish => ({ tools, reason: 'to close the issue', durationMs: 1_800_000 });
    const request = (tools: readonly string[]) =>
      approvals.requestAccess(
        {
          principal: caller,
          server: 'srv-1',
          serverLabel: 'GitHub',
          wish: wish(tools),
          reads: (tool) => tool.startsWith('get'),
          destination: 'h',
          credentials: [],
          client: 'c',
        },
        30_000,
        new AbortController().signal,
      );
    beforeEach(() => access.revokeServer('srv-1'));

    it('leads to a grant of just that, for that long', async () => {
      const asked = request(['close_issue', 'get_issue']);
      const { request: shown } = approver.asked[0]!;
      assert.deepEqual(shown.wish, wish(['close_issue', 'get_issue']));
      assert.deepEqual(
        shown.proposals.map((p) => p.words),
        ['allow get_issue for 30 minutes', 'allow close_issue, get_issue for 30 minutes'],
      );
      answer(0, 'once');
      const outcome = await asked;
      assert.deepEqual([outcome.allowed, outcome.refused], [['close_issue', 'get_issue'], []]);
      assert.deepEqual(describeOutcome(outcome, wish(['close_issue', 'get_issue'])).isError, false);
      assert.deepEqual([effect({}, 'close_issue'), effect({}, 'other')], ['allow', 'deny']);
      const [grant] = access.all();
      assert.deepEqual([grant?.givenBy, grant?.why], ['request', 'to close the issue']);
      clock.advance(1_800_000);
      assert.equal(effect({}, 'close_issue'), 'deny');
    });

    it('may be given in part', async () => {
      const asked = request(['close_issue', 'get_issue']);
      answer(0, { kind: 'proposal', proposal: 'reading', effect: 'allow' });
      const outcome = await asked;
      assert.deepEqual([outcome.allowed, outcome.refused], [['get_issue'], ['close_issue']]);
      assert.match(
        describeOutcome(outcome, wish(['close_issue', 'get_issue'])).text,
        /Allowed now: “get_issue”.*Not allowed: “close_issue”; do not ask/,
      );
    });

    it('is refused, and not asked for again', async () => {
      const asked = request(['close_issue']);
      answer(0, 'deny');
      assert.deepEqual((await asked).allowed, []);
      await turn();
      const again = await request(['close_issue']);
      assert.deepEqual(again.decision.by, { kind: 'rule', rule: 'refused' });
      assert.deepEqual(describeOutcome(again, wish(['close_issue'])).isError, true);
      assert.equal(approver.asked.length, 1);
      assert.deepEqual(access.all(), []);
    });

    it('is not asked for where the user has denied it, or has allowed it already', async () => {
      access.set('srv-1', { kind: 'tools', names: ['close_issue'] }, 'deny', 'tree');
      assert.equal((await request(['close_issue', 'get_issue'])).decision.effect, 'deny');
      access.set('srv-1', { kind: 'tools', names: ['close_issue'] }, 'allow', 'tree');
      assert.deepEqual((await request(['close_issue'])).allowed, ['close_issue']);
      assert.equal(approver.asked.length, 0);
    });
  });
});

describe('request_access', () => {
  it('is read strictly', () => {
    assert.deepEqual(parseRequestAccess('{"tools":["a","a"],"reason":" x "}'), {
      ok: true,
      wish: { tools: ['a'], reason: 'x', durationMs: 900_000 },
    });
    for (const text of [
      undefined,
      '',
      '[]',
      '{"tools":[],"reason":"x"}',
      '{"tools":["a"]}',
      '{"tools":["a"],"reason":"x","duration_minutes":0}',
      '{"tools":["a"],"reason":"x","server":"y"}',
    ]) {
      const read = parseRequestAccess(text);
      assert.equal(read.ok, false, text);
    }
  });

  it('is mentioned where asking can help', () => {
    assert.match(requestHint({ effect: 'deny', by: { kind: 'rule', rule: 'no-grant' }, reason: '' }), /request_access/);
    for (const by of [
      { kind: 'rule' as const, rule: 'paused' as const },
      { kind: 'grant' as const, grant: 'g' },
      { kind: 'policy' as const, layer: 'l', rule: 'r' },
    ])
      assert.equal(requestHint({ effect: 'deny', by, reason: '' }), '');
  });
});

describe('targetOf', () => {
  it('is the narrowest that covers the call', async () => {
    assert.deepEqual(targetOf(callOf('a')), { kind: 'tools', names: ['a'] });
    assert.deepEqual(targetOf({ ...callOf('a'), tool: undefined, method: 'resources/read' }), { kind: 'resources' });
    assert.deepEqual(targetOf({ ...callOf('a'), tool: undefined, method: 'x/y' }), { kind: 'methods', names: ['x/y'] });
  });
});
