import assert from 'node:assert/strict';
import { ActivityIndex } from '../../../src/audit/activityIndex.ts';
import { binEnd, binsOf, binWidth, DAY_MS, HOUR_MS, type CallEnd, type StatisticsQuery } from '../../../src/audit/activityStatistics.ts';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints } from '../../../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../../../src/audit/record.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from './samples.ts';

const CALLS = 400;
const RESULTS: readonly Outcome['result'][] = ['ok', 'ok', 'ok', 'tool-error', 'upstream-error', 'cancelled', 'closed', 'denied'];

interface Call {
  readonly at: number;
  readonly server: string;
  readonly tool: string | undefined;
  readonly end: CallEnd;
  readonly result: Outcome['result'];
  readonly ms: number;
  readonly findings: number;
  readonly credential: string;
}

describe('activity statistics', () => {
  const bench = new Bench();
  const start = new Date(2026, 9, 20, 22, 10).getTime();
  const clock = new ManualClock(start);
  const db = bench.window();
  const log = new AuditLog(db, clock, new Checkpoints(db, { get: async () => undefined, set: async () => undefined }, clock));
  const index = new ActivityIndex(db, log);
  const calls: Call[] = [];
  let end = start;

  before('make some calls', async function () {
    this.timeout(90_000);
    // A small generator: the same calls every time.
    let seed = 7;
    const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
    for (let i = 0; i < CALLS; i++) {
      clock.setWallClock((end += random(40 * 60_000)));
      const denied = random(6) === 0;
      const result = denied ? 'denied' : (RESULTS[random(RESULTS.length)] as Outcome['result']);
      const tool = random(8) === 0 ? undefined : `tool_${random(4)}`;
      const call: Call = {
        at: end,
        server: `srv-${random(3)}`,
        tool,
        end: denied ? 'denied' : result === 'ok' ? 'ok' : result === 'closed' || result === 'denied' ? 'stopped' : 'failed',
        result,
        ms: [0, 0.4, 1, 3, 64, 5_000][random(6)] as number,
        findings: tool !== undefined && random(9) === 0 ? 1 + random(2) : 0,
        credential: `key ${random(2)}`,
      };
      calls.push(call);
      const opened: Intent = {
        ...intent,
        server: call.server,
        effect: denied ? 'deny' : 'allow',
        credentials: [`${call.credential} (revision 1)`],
      };
      const unnamed = { ...opened, method: 'tools/list' };
      delete (unnamed as { tool?: string }).tool;
      await log.open(`x-${i}`, tool === undefined ? unnamed : { ...opened, tool });
      const found =
        call.findings === 2
          ? [
              { rule: 'github-token', action: 'redacted' },
              { rule: 'hidden-text', action: 'stripped' },
            ]
          : undefined;
      log.close(`x-${i}`, { ...outcome, result, totalMs: call.ms, findings: call.findings, ...(found ? { found } : {}) });
    }
    await log.open('still running', { ...intent, tool: 'tool_0' });
    clock.setWallClock((end += 1));
    log.flush();
    await index.update();
  });
  after(() => {
    index.dispose();
    log.dispose();
    bench.close();
  });

  const meant = ({ from, to, server }: StatisticsQuery) =>
    calls.filter((c) => c.tool !== undefined && c.at >= from && c.at < to && (server === undefined || c.server === server));
  const count = <T>(items: readonly T[], keyOf: (item: T) => unknown, by: (item: T) => number = () => 1) => {
    const counts: Record<string, number> = {};
    for (const item of items) {
      const key = JSON.stringify(keyOf(item));
      counts[key] = (counts[key] ?? 0) + by(item);
    }
    return counts;
  };

  const spans: readonly (readonly [string, StatisticsQuery])[] = [
    ['everything', { from: start - HOUR_MS, to: start + 30 * DAY_MS }],
    ['a day', { from: start + DAY_MS, to: start + 2 * DAY_MS }],
    ['some hours', { from: start + DAY_MS + 7 * 60_000, to: start + DAY_MS + 6.5 * HOUR_MS }],
    ['one server', { from: start, to: start + 8 * DAY_MS, server: 'srv-1' }],
    ['nothing', { from: start - 5 * HOUR_MS, to: start - 4 * HOUR_MS }],
  ];
  for (const [what, query] of spans) {
    it(`counts as one by one would: ${what}`, async () => {
      const expected = meant(query);
      const { binMs, bins, cells } = await index.timeline(query, 48);
      assert.ok(bins.length <= 49);
      const binOf = (at: number) => bins.findLast((bin) => bin <= at);
      // Above bins of minutes, hours count as a whole.
      const inBins = binMs < HOUR_MS ? expected : meant({ ...query, from: floorHour(query.from), to: ceilHour(query.to) });
      assert.deepEqual(
        count(
          cells,
          (c) => [c.at, c.server, c.end],
          (c) => c.calls,
        ),
        count(inBins, (c) => [binOf(Math.max(c.at, bins[0] ?? 0)), c.server, c.end]),
      );
      assert.equal(
        cells.reduce((sum, c) => sum + c.findings, 0),
        inBins.reduce((sum, c) => sum + c.findings, 0),
      );
      assert.deepEqual(
        cells.map((c) => c.at),
        cells.map((c) => c.at).sort((a, b) => a - b),
      );

      const detail = await index.detail(query);
      assert.equal(detail.exact, true);
      assert.deepEqual(
        count(
          detail.ends,
          (e) => [e.server, e.end],
          (e) => e.calls,
        ),
        count(expected, (c) => [c.server, c.end]),
      );
      assert.deepEqual(
        count(
          detail.heat,
          (h) => [h.server, h.tool, h.hourOfDay],
          (h) => h.calls,
        ),
        count(expected, (c) => [c.server, c.tool, new Date(c.at).getHours()]),
      );
      const reached = expected.filter((c) => c.end !== 'denied' && c.result !== 'denied');
      const below = (ms: number) => (ms < 1 ? 1 : 2 ** (Math.floor(Math.log2(ms)) + 1));
      assert.deepEqual(
        count(
          detail.latency,
          (l) => [l.server, l.below],
          (l) => l.calls,
        ),
        count(reached, (c) => [c.server, below(c.ms)]),
      );
      const used = calls.filter((c) => c.end !== 'denied' && c.at >= floorHour(query.from) && c.at < ceilHour(query.to));
      assert.deepEqual(
        count(
          detail.credentials,
          (c) => c.credential,
          (c) => c.calls,
        ),
        count(used, (c) => c.credential),
      );
      assert.deepEqual(
        count(
          detail.found,
          (f) => [f.server, f.rule, f.action],
          (f) => f.times,
        ),
        count(
          expected.flatMap((c) =>
            c.findings === 2
              ? [
                  [c.server, 'github-token', 'redacted'],
                  [c.server, 'hidden-text', 'stripped'],
                ]
              : c.findings === 1
                ? [[c.server, '', '']]
                : [],
          ),
          (entry) => entry,
        ),
      );
    });
  }

  it('counts by hours where there are too many calls, with the same sums', async () => {
    const { detailParameters, sumDetail, sumTimeline, timelineParameters } = await import('../../../src/audit/activityStatistics.ts');
    const { DatabaseSync } = await import('node:sqlite');
    const kept = new Map<string, unknown>([
      ['index', new DatabaseSync(`${bench.path}.index`)],
      ['record', new DatabaseSync(bench.path)],
    ]);
    const run = <P, R>(job: (tools: never, parameters: P) => Generator<unknown, R>, parameters: P): R => {
      const steps = job({ kept } as never, parameters);
      for (;;) {
        const step = steps.next();
        if (step.done === true) return step.value;
      }
    };
    const query = { from: floorHour(start), to: ceilHour(end) };
    const [exact, coarse] = [1e9, 0].map((maxExact) => run(sumDetail, { ...detailParameters(query), maxExact }));
    assert.equal(coarse?.exact, false);
    for (const part of ['ends', 'heat', 'latency', 'credentials', 'found'] as const)
      // Where an hour of UTC lies in two hours of the day, only counting one by one tells them apart.
      if (part !== 'heat' || new Date(start).getTimezoneOffset() % 60 === 0)
        assert.deepEqual(sorted(coarse[part]), sorted(exact?.[part] ?? []), part);
    const day = { from: floorHour(start), to: floorHour(start) + 8 * HOUR_MS };
    const cells = [1e9, 0].map((maxExact) => run(sumTimeline, { ...timelineParameters(day, 48), maxExact }));
    assert.deepEqual(
      cells.map((list) => list.reduce((sum, c) => sum + c.calls, 0)),
      [meant(day).length, meant(day).length],
    );
    for (const value of kept.values()) (value as { close(): void }).close();
  });

  it('forgets hours that retention dropped', async () => {
    const cut = floorHour(start + 2 * DAY_MS);
    await bench.tamper(`DELETE FROM audit WHERE at < ${cut}`);
    await index.update();
    const query = { from: start, to: cut };
    assert.deepEqual((await index.timeline(query, 10)).cells, []);
    assert.deepEqual((await index.detail(query)).ends, []);
  });
});

describe('bins', () => {
  it('are as few as asked for, cover the span and begin on the hour or day', () => {
    const from = new Date(2026, 2, 20, 13, 17).getTime();
    for (const [to, maxBins, width] of [
      [from + HOUR_MS, 60, 60_000],
      [from + DAY_MS, 48, HOUR_MS / 2],
      [from + 7 * DAY_MS, 60, 6 * HOUR_MS],
      [from + 90 * DAY_MS, 60, 7 * DAY_MS],
    ] as const) {
      assert.equal(binWidth(from, to, maxBins), width);
      const bins = binsOf(from, to, width);
      assert.ok((bins[0] as number) <= from && binEnd(bins.at(-1) as number, width) >= to);
      // Also where clocks are put forward in between.
      if (width >= DAY_MS) assert.ok(bins.every((bin) => new Date(bin).getHours() === 0));
      for (const [i, bin] of bins.entries()) assert.equal(bins[i + 1] ?? binEnd(bin, width), binEnd(bin, width));
    }
  });
});

function floorHour(at: number): number {
  return Math.floor(at / HOUR_MS) * HOUR_MS;
}

function ceilHour(at: number): number {
  return Math.ceil(at / HOUR_MS) * HOUR_MS;
}

function sorted(list: readonly object[]): string[] {
  return list.map((item) => JSON.stringify(item)).sort();
}
