import assert from 'node:assert/strict';
import { ActivityIndex } from '../../../src/audit/activityIndex.ts';
import { DAY_MS, HOUR_MS } from '../../../src/audit/activityStatistics.ts';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints } from '../../../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../../../src/audit/record.ts';
import { FromPanel, MAX_BINS, MAX_SERVERS, MAX_TOOLS, PAGE, SPANS, ToPanel } from '../../../src/vscode/panel/messages.ts';
import { rowsOf, summaryOf } from '../../../src/vscode/panel/panelData.ts';
import { between, duration, level, percentile } from '../../../src/webview/panel/words.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from '../audit/samples.ts';

describe('panel', () => {
  let bench: Bench;
  let clock: ManualClock;
  let log: AuditLog;
  let index: ActivityIndex;
  let last = 0;
  const call = async (of: Partial<Intent> = {}, end: Partial<Outcome> = {}) => {
    const id = `x-${++last}`;
    await log.open(id, { ...intent, ...of });
    log.close(id, { ...outcome, ...end });
  };
  const ask = (of: Partial<Extract<FromPanel, { kind: 'query' }>> = {}) =>
    summaryOf(index, { kind: 'query', serial: 1, span: 'day', ...of }, clock.now(), (id) => `the ${id}`);

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock(new Date(2026, 5, 10, 15, 30).getTime());
    const db = bench.window();
    log = new AuditLog(db, clock, new Checkpoints(db, { get: async () => undefined, set: async () => undefined }, clock));
    index = new ActivityIndex(db, log);
    last = 0;
  });
  afterEach(() => {
    index.dispose();
    bench.close();
  });

  it('gets sums of the span, and of what was brushed in it', async () => {
    assert.equal((await ask()).any, false);
    await call({ tool: 'a' }, { totalMs: 3 });
    await call({ tool: 'b', server: 'srv-2', effect: 'deny' }, { result: 'denied' });
    clock.setWallClock(clock.now() + 3 * HOUR_MS);
    await call({ tool: 'a', credentials: ['key (revision 1)'] }, { totalMs: 3, findings: 1, found: [{ rule: 'r', action: 'redacted' }] });
    const day = await ask();
    assert.ok(ToPanel.safeParse(day).success);
    assert.deepEqual([day.any, day.bins.length <= MAX_BINS + 3], [true, true]);
    assert.deepEqual(day.servers, [
      { id: 'srv-1', label: 'the srv-1' },
      { id: 'srv-2', label: 'the srv-2' },
    ]);
    assert.deepEqual(
      day.ends.map(({ end, calls, findings }) => [end, calls, findings]),
      [
        ['ok', 2, 1],
        ['failed', 0, 0],
        ['stopped', 0, 0],
        ['denied', 1, 0],
      ],
    );
    assert.deepEqual(
      day.tools.map(({ tool, calls, hours }) => [tool, calls, hours[15], hours[18]]),
      [
        ['a', 2, 1, 1],
        ['b', 1, 1, 0],
      ],
    );
    assert.deepEqual(day.latency, [{ below: 4, calls: 2 }]);
    assert.deepEqual(day.found, [{ server: 'the srv-1', rule: 'r', action: 'redacted', times: 1 }]);
    for (const cell of day.cells) assert.ok(day.servers[cell.server] && (day.bins[cell.bin] ?? Infinity) <= clock.now());

    const selection = { from: clock.now() - HOUR_MS, to: clock.now() + HOUR_MS };
    const part = await ask({ selection });
    assert.deepEqual(part.cells, day.cells);
    assert.equal(part.ends[0]?.calls, 1);
    assert.deepEqual(
      part.tools.map(({ tool }) => tool),
      ['a'],
    );
    const one = await ask({ server: 'srv-2' });
    assert.deepEqual(
      one.cells.map(({ end }) => end),
      ['denied'],
    );
    assert.equal(one.servers.length, 2);
  });

  it('is never told more than it can show, whatever was called', async () => {
    for (let i = 0; i < MAX_SERVERS + 5; i++)
      for (let j = 0; j <= i; j++)
        await call(
          { server: `srv-${i}`, tool: `tool ${i}-${j % 3}\n\u202e${'long'.repeat(100)}`, serverLabel: 'x'.repeat(500) },
          { totalMs: 2 ** (i * 2) },
        );
    clock.setWallClock(clock.now() + 400 * DAY_MS);
    await call({ server: 'srv-0' });
    for (const span of SPANS) {
      const summary = await ask({ span });
      const parsed = ToPanel.safeParse(summary);
      assert.ok(parsed.success, `${span}: ${parsed.error?.message ?? ''}`);
      assert.ok(summary.tools.length <= MAX_TOOLS);
    }
    const all = await ask({ span: 'all' });
    assert.equal(all.servers.length, MAX_SERVERS);
    assert.deepEqual(all.servers.at(-1), { id: '', label: 'Others' });
    assert.equal(
      all.cells.reduce((sum, c) => sum + c.calls, 0),
      last,
    );
    const chosen = await ask({ span: 'all', server: 'srv-1' });
    assert.ok(chosen.servers.some(({ id }) => id === 'srv-1'));
    const range = { from: 0, to: clock.now() + 1 };
    const first = await rowsOf(index, { kind: 'list', serial: 1, range });
    assert.ok(ToPanel.safeParse({ kind: 'rows', serial: 1, more: false, ...first }).success);
    assert.equal(first.rows.length, PAGE);
    const next = await rowsOf(index, { kind: 'list', serial: 1, range, before: first.next });
    assert.notEqual(next.rows[0]?.exchange, first.rows.at(-1)?.exchange);
    assert.ok(first.rows.every(({ name }) => !name.includes('\u202e') && !name.includes('\n')));
  });

  it('says nothing to messages that are none', () => {
    for (const message of [
      undefined,
      'ready',
      { kind: 'open' },
      { kind: 'open', exchange: 'x'.repeat(301) },
      { kind: 'query', serial: 1, span: 'year' },
      { kind: 'query', serial: Number.NaN, span: 'day' },
      { kind: 'list', serial: 1, range: { from: '0', to: 1 } },
      { kind: 'run', command: 'culvert.removeServer' },
    ])
      assert.equal(FromPanel.safeParse(message).success, false, JSON.stringify(message));
  });

  it('speaks of times and numbers as people do', () => {
    const now = new Date(2026, 5, 10, 15, 30).getTime();
    assert.match(between(now - HOUR_MS, now, now), /^\S+(\s[AP]M)? to \S+(\s[AP]M)?$/);
    assert.match(between(now - DAY_MS, now, now), /9.* to /);
    assert.deepEqual([0.4, 12.3, 1_500, 12_345, 600_000].map(duration), ['< 1 ms', '12 ms', '1.5 s', '12 s', '10 min']);
    const latency = [
      { below: 1, calls: 50 },
      { below: 2, calls: 45 },
      { below: 4, calls: 5 },
    ];
    assert.deepEqual(
      [0.5, 0.95, 0.99].map((share) => percentile(latency, share)),
      [1, 2, 4],
    );
    assert.equal(percentile([], 0.5), undefined);
    assert.deepEqual(
      [0, 1, 50, 100].map((calls) => level(calls, 100)),
      [0, 1, 4, 5],
    );
  });
});
