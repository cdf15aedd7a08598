import assert from 'node:assert/strict';
import { Access } from '../../../src/authorization/access.ts';
import type { NewGrant } from '../../../src/authorization/grantChanges.ts';
import { MAX_TASK_MS } from '../../../src/authorization/tasks.ts';
import type { Principal } from '../../../src/mcp/principal.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench, nextTurn } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const HOUR = 3_600_000;
const principal: Principal = { client: 'vscode', window: 'win-1' };
const byHand = (part: Partial<NewGrant> = {}): NewGrant => ({
  server: 'srv-1',
  target: { kind: 'tools', names: ['echo'] },
  effect: 'allow',
  scope: {},
  givenBy: 'tree',
  ...part,
});

describe('tasks', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  const open = () => new Access(bench.window(), bench.key, new Generations(), clock);
  const effect = (tool = 'echo', server = 'srv-1', of = access) =>
    of.decide(principal, { server, serverLabel: 'S', method: 'tools/call', tool }).effect;
  const start = (part: { durationMs?: number; servers?: string[] } = {}) =>
    access.startTask({ name: 'Fix the login', servers: ['srv-1'], durationMs: HOUR, ...part }, [
      { server: 'srv-1', target: { kind: 'tools-like', patterns: ['get_*'] }, effect: 'allow' },
    ]);

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    access = open();
  });
  afterEach(() => bench.close());

  it('allow what they begin with, and what is allowed meanwhile, and end with all of it', () => {
    const task = start();
    access.give(byHand());
    assert.deepEqual([effect('get_issue'), effect('echo'), effect('other')], ['allow', 'allow', 'deny']);
    assert.equal(access.tasks.for('srv-1')?.name, 'Fix the login');
    access.endTask(task.id);
    assert.deepEqual([effect('get_issue'), effect('echo')], ['deny', 'deny']);
    assert.deepEqual([access.all(), access.tasks.running()], [[], []]);
  });

  it('end by themselves, and say so', () => {
    const task = start();
    access.give(byHand());
    assert.equal(access.nextExpiry(), task.endsAt);
    clock.advance(HOUR - 1);
    assert.equal(effect(), 'allow');
    clock.advance(1);
    assert.deepEqual([effect(), effect('get_issue')], ['deny', 'deny']);
    assert.match(
      access.decide(principal, { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool: 'echo' }).reason,
      /The task .* is over/,
    );
  });

  it('hold in every window and after a reload', async () => {
    const task = start();
    access.give(byHand());
    await nextTurn();
    const other = open();
    assert.equal(effect('echo', 'srv-1', other), 'allow');
    other.endTask(task.id);
    await nextTurn();
    assert.equal(effect(), 'deny');
  });

  it('concern their servers only', () => {
    start();
    const lasting = access.give(byHand({ server: 'srv-2' }));
    assert.equal(lasting.endsWith, undefined);
    start({ servers: [] });
    assert.equal(access.give(byHand({ server: 'srv-3' })).endsWith?.kind, 'task');
  });

  it('leave what was granted before, and denials', () => {
    access.give(byHand());
    const task = start();
    access.give(byHand());
    const denied = access.give(byHand({ effect: 'deny', target: { kind: 'tools', names: ['other'] } }));
    assert.equal(denied.endsWith, undefined);
    access.endTask(task.id);
    assert.deepEqual([effect(), effect('other')], ['allow', 'deny']);
  });

  it('leave a question where they took the place of a denial', () => {
    access.give(byHand({ target: { kind: 'all-tools' }, givenBy: 'wizard' }));
    access.set('srv-1', { kind: 'tools', names: ['echo'] }, 'deny', 'tree');
    const task = start();
    access.set('srv-1', { kind: 'tools', names: ['echo'] }, 'allow', 'tree');
    assert.equal(effect(), 'allow');
    access.endTask(task.id);
    assert.deepEqual([effect(), effect('anything')], ['ask', 'allow']);
  });

  it('last at most a working day, and at least a moment', () => {
    const { startedAt, endsAt } = start({ durationMs: 1e12 });
    assert.equal(endsAt - startedAt, MAX_TASK_MS);
    const short = start({ durationMs: -5 });
    assert.equal(short.endsAt - short.startedAt, 1_000);
  });

  it('do not come back or last longer when the clock is set back', () => {
    const task = start();
    assert.equal(effect('get_issue'), 'allow');
    clock.advance(HOUR - 1_000);
    clock.setWallClock(task.startedAt);
    assert.equal(effect('get_issue'), 'allow');
    clock.advance(100_000);
    assert.equal(effect('get_issue'), 'deny');
    const next = start();
    assert.equal(effect('get_issue'), 'allow');
    clock.setWallClock(next.endsAt + 1);
    assert.equal(effect('get_issue'), 'deny');
    clock.setWallClock(next.startedAt + 1);
    assert.equal(effect('get_issue'), 'deny');
  });

  for (const [what, sql] of Object.entries({
    edited: `UPDATE signed_row SET body = replace(body, '"endsAt":1', '"endsAt":9') WHERE collection = 'task'`,
    forged: `INSERT INTO signed_row SELECT 'task', 'task-x', replace(body, id, 'task-x'), mac FROM signed_row WHERE collection = 'task'`,
    removed: `DELETE FROM signed_row WHERE collection = 'task'`,
  }))
    it(`give nothing and warn when a task was ${what} from outside`, async () => {
      start();
      await bench.tamper(sql);
      assert.notEqual(effect('get_issue'), 'allow');
      assert.ok(access.tampering().some((t) => t.collection === 'task'));
      access.forgetTampering();
      assert.deepEqual(access.tampering(), []);
    });

  it('do not come back when an ended one is put back', async () => {
    const task = start();
    await bench.tamper(`CREATE TABLE r AS SELECT * FROM signed_row; CREATE TABLE m AS SELECT * FROM manifest`);
    access.endTask(task.id);
    await bench.tamper(
      `DELETE FROM signed_row; DELETE FROM manifest; INSERT INTO signed_row SELECT * FROM r; INSERT INTO manifest SELECT * FROM m`,
    );
    assert.notEqual(effect('get_issue'), 'allow');
    assert.ok(access.tampering().length > 0);
  });

  it('begin not at all where what they allow can not be stored', async () => {
    await bench.tamper(`CREATE TRIGGER no BEFORE INSERT ON signed_row WHEN NEW.collection = 'grant' BEGIN SELECT RAISE(ABORT, 'no'); END`);
    assert.throws(() => start());
    assert.deepEqual(access.tasks.running(), []);
  });
});
