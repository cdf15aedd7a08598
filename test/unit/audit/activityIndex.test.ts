import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { ActivityIndex } from '../../../src/audit/activityIndex.ts';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints } from '../../../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../../../src/audit/record.ts';
import type { Database } from '../../../src/store/database.ts';
import { JobThread } from '../../../src/store/jobThread.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from './samples.ts';

const HOUR = 3_600_000;

describe('ActivityIndex', () => {
  let bench: Bench;
  let clock: ManualClock;
  let db: Database;
  let log: AuditLog;
  let index: ActivityIndex;
  const openLog = (on: Database) =>
    new AuditLog(on, clock, new Checkpoints(on, { get: async () => undefined, set: async () => undefined }, clock));
  const call = async (id: string, of: Partial<Intent> = {}, end: Partial<Outcome> = {}) => {
    await log.open(id, { ...intent, ...of });
    log.close(id, { ...outcome, ...end });
  };
  const ids = async (filter: Parameters<ActivityIndex['calls']>[0]) =>
    (await index.calls(filter, { limit: 100 })).calls.map(({ exchange }) => exchange);

  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock(new Date(2026, 5, 10, 9, 30).getTime());
    db = bench.window();
    log = openLog(db);
    index = new ActivityIndex(db, log);
    await call('a', { claims: { clientName: 'Claude', conversationId: 'c1' }, credentials: ['token (revision 2)'] }, { totalMs: 3 });
    await call(
      'b',
      { tool: 'other', server: 'srv-2', claims: { clientName: 'Claude', conversationId: 'c1' } },
      { totalMs: 0.2, findings: 2 },
    );
    clock.setWallClock(clock.now() + 24 * HOUR);
    await call('c', { effect: 'deny', arguments: '{"path":"/etc/Passwd"}' }, { result: 'denied' });
    await call('d', { client: 'vscode', claims: { conversationId: 'c2' } }, { result: 'upstream-error', error: 'no route' });
    await log.open('e', { ...intent, tool: 'x', method: 'initialize' });
  });
  afterEach(() => {
    index.dispose();
    bench.close();
  });

  it('gives calls newest first, page by page, with their texts', async () => {
    const first = await index.calls({}, { limit: 2 });
    assert.deepEqual(
      first.calls.map(({ exchange, outcome: o }) => [exchange, o?.result]),
      [
        ['e', undefined],
        ['d', 'upstream-error'],
      ],
    );
    const second = await index.calls({}, { limit: 10, before: first.next });
    assert.deepEqual([second.calls.map(({ exchange }) => exchange), second.next], [['c', 'b', 'a'], undefined]);
    assert.deepEqual(second.calls[2]?.intent.claims, { clientName: 'Claude', conversationId: 'c1' });
  });

  it('filters', async () => {
    assert.deepEqual(await ids({ server: 'srv-2' }), ['b']);
    assert.deepEqual(await ids({ tool: 'echo' }), ['d', 'c', 'a']);
    assert.deepEqual(await ids({ client: 'vscode' }), ['d']);
    assert.deepEqual(await ids({ clientName: 'Claude', conversation: 'c1' }), ['b', 'a']);
    assert.deepEqual(await ids({ decision: 'denied' }), ['c']);
    assert.deepEqual(await ids({ findings: true }), ['b']);
    assert.deepEqual(await ids({ result: 'upstream-error' }), ['d']);
    assert.deepEqual(await ids({ text: '/ETC/passwd' }), ['c']);
    assert.deepEqual(await ids({ text: 'No Route' }), ['d']);
    assert.deepEqual(await ids({ text: "'; DROP TABLE call; --" }), []);
    assert.deepEqual(await ids({ to: clock.now() }), ['b', 'a']);
  });

  it('gives days and conversations', async () => {
    const days = await index.days({}, { limit: 10 });
    assert.deepEqual(
      days.map(({ calls, denied, findings }) => [calls, denied, findings]),
      [
        [3, 1, 0],
        [2, 0, 1],
      ],
    );
    assert.equal(new Date(days[0]?.from ?? 0).getHours(), 0);
    assert.deepEqual(
      (await index.days({}, { limit: 1, before: days[0]?.from ?? 0 })).map(({ calls }) => calls),
      [2],
    );
    const [, day] = days;
    const conversations = await index.conversations({ from: day?.from ?? 0, to: day?.to ?? 0 });
    assert.deepEqual(
      conversations.map(({ clientName, conversation, calls, findings }) => [clientName, conversation, calls, findings]),
      [['Claude', 'c1', 2, 1]],
    );
  });

  it('sums up', async () => {
    const { timeline, heat, latency, credentials } = await index.aggregate({});
    assert.deepEqual(
      timeline.map(({ server, effect, result, calls, findings }) => [server, effect, result, calls, findings]),
      [
        ['srv-1', 'allow', 'ok', 1, 0],
        ['srv-2', 'allow', 'ok', 1, 2],
        ['srv-1', 'allow', 'upstream-error', 1, 0],
        ['srv-1', 'deny', 'denied', 1, 0],
      ],
    );
    assert.deepEqual(latency, [
      { server: 'srv-1', below: 2, calls: 2 },
      { server: 'srv-1', below: 4, calls: 1 },
      { server: 'srv-2', below: 1, calls: 1 },
    ]);
    assert.deepEqual(
      heat.map(({ tool, calls }) => [tool, calls]),
      [
        ['echo', 3],
        ['other', 1],
      ],
    );
    assert.deepEqual(
      credentials.map(({ credential, calls }) => [credential, calls]),
      [['token', 1]],
    );
    assert.equal((await index.aggregate({ from: clock.now() - HOUR })).timeline.length, 2);
    assert.deepEqual(await index.values('tool'), ['echo', 'other']);
  });

  it('finds the entries of a call wherever they stand', async () => {
    assert.deepEqual(
      (await index.record('a')).map(({ kind }) => kind),
      ['intent', 'outcome'],
    );
    assert.deepEqual(
      (await index.record('e')).map(({ kind }) => kind),
      ['intent'],
    );
    assert.deepEqual(await index.record('none'), []);
  });

  it('takes an outcome that comes later, once', async () => {
    await index.update();
    log.close('e', { ...outcome, totalMs: 5 });
    await index.update();
    await index.update();
    assert.equal((await index.calls({ tool: 'x' }, { limit: 1 })).calls[0]?.outcome?.totalMs, 5);
    assert.deepEqual((await index.aggregate({ tool: 'x' })).latency, [{ server: 'srv-1', below: 8, calls: 1 }]);
  });

  it('shares the index with another window', async () => {
    const other = new ActivityIndex(bench.window(), log);
    await Promise.all([index.update(), other.update()]);
    await call('f');
    await Promise.all([index.update(), other.update()]);
    assert.equal(
      (await other.aggregate({})).timeline.reduce((sum, { calls }) => sum + calls, 0),
      5,
    );
    other.dispose();
  });

  it('makes the index anew when it belongs to another record, or is damaged', async () => {
    await index.update();
    await bench.tamper('DELETE FROM audit WHERE seq > 2');
    await call('new');
    assert.deepEqual(await ids({}), ['new', 'b', 'a']);
    index.dispose();
    writeFileSync(`${bench.path}.index`, 'no database at all, and long enough to be looked at as one');
    index = new ActivityIndex(db, log);
    assert.deepEqual(await ids({}), ['new', 'b', 'a']);
    if (process.platform !== 'win32') assert.equal(statSync(`${bench.path}.index`).mode & 0o777, 0o600);
  });

  it('forgets what retention dropped', async () => {
    await index.update();
    await bench.tamper("DELETE FROM audit WHERE exchange IN ('a', 'b')");
    assert.deepEqual(await ids({}), ['e', 'd', 'c']);
    assert.equal((await index.aggregate({})).timeline.length, 2);
  });

  it('works where no thread can be had', async () => {
    const here = new ActivityIndex(bench.window(), log, new JobThread({ here: true }));
    assert.equal((await here.calls({}, { limit: 10 })).calls.length, 5);
    here.dispose();
  });
});
