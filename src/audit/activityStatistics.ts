import type { DatabaseSync } from 'node:sqlite';
import type { JobTools } from '../store/jobThread.ts';

/**
 * Sums that are kept ready beside `rollup`, which distinguishes too much to be added up while somebody waits. Triggers keep them as it is.
 * Only calls with a name (tool, prompt, resource) are in them: what belongs to every connection would bury the rest. Part of the index's
 * schema.
 */
export const STATISTICS_SCHEMA = `
CREATE TABLE decision_hour (
  hour INTEGER NOT NULL, server TEXT NOT NULL, effect TEXT NOT NULL, result TEXT NOT NULL, calls INTEGER NOT NULL, findings INTEGER NOT NULL,
  PRIMARY KEY (hour, server, effect, result)
) STRICT, WITHOUT ROWID;
CREATE TABLE tool_hour (hour INTEGER NOT NULL, server TEXT NOT NULL, tool TEXT NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (hour, server, tool)) STRICT, WITHOUT ROWID;
CREATE TABLE latency_hour (hour INTEGER NOT NULL, server TEXT NOT NULL, bucket INTEGER NOT NULL, calls INTEGER NOT NULL, PRIMARY KEY (hour, server, bucket)) STRICT, WITHOUT ROWID;
${(['INSERT', 'UPDATE'] as const)
  .map((event) => {
    const more = (column: string) => (event === 'INSERT' ? `NEW.${column}` : `NEW.${column} - OLD.${column}`);
    return `CREATE TRIGGER rollup_${event} AFTER ${event} ON rollup WHEN NEW.tool <> '' BEGIN
  INSERT INTO decision_hour VALUES (NEW.hour, NEW.server, NEW.effect, NEW.result, ${more('calls')}, ${more('findings')})
    ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, findings = findings + excluded.findings;
  INSERT INTO tool_hour VALUES (NEW.hour, NEW.server, NEW.tool, ${more('calls')}) ON CONFLICT DO UPDATE SET calls = calls + excluded.calls;
  INSERT INTO latency_hour SELECT NEW.hour, NEW.server, NEW.bucket, ${more('calls')} WHERE NEW.effect = 'allow' AND NEW.result <> 'denied'
    ON CONFLICT DO UPDATE SET calls = calls + excluded.calls;
END;`;
  })
  .join('\n')}
CREATE TRIGGER rollup_DELETE AFTER DELETE ON rollup BEGIN
  DELETE FROM decision_hour WHERE hour = OLD.hour;
  DELETE FROM tool_hour WHERE hour = OLD.hour;
  DELETE FROM latency_hour WHERE hour = OLD.hour;
END;
`;

/**
 * How a call ended, as pictures tell it: `ok`; `failed`: the tool or the server reported an error, or the agent gave up; `stopped`: allowed
 * but not let through, or cut off; `denied`.
 */
export const CALL_ENDS = ['ok', 'failed', 'stopped', 'denied'] as const;
export type CallEnd = (typeof CALL_ENDS)[number];

/** The same in SQL, over the columns `effect` and `result`. */
const END_SQL = `CASE WHEN effect = 'deny' THEN 'denied' WHEN result IN ('denied', 'closed') THEN 'stopped' WHEN result = 'ok' THEN 'ok' ELSE 'failed' END`;

/** Which calls are summed up: those that ended, have a name, and arrived in the span. */
export interface StatisticsQuery {
  /** Milliseconds since the epoch; `to` is no longer meant. */
  readonly from: number;
  readonly to: number;
  readonly server?: string | undefined;
}

/** Calls of one bin of the timeline that are alike. */
export interface TimelineCell {
  /** Beginning of the bin, milliseconds since the epoch. */
  readonly at: number;
  readonly server: string;
  readonly end: CallEnd;
  readonly calls: number;
  /** What was found in them: a call can have several. */
  readonly findings: number;
}

export interface Timeline {
  /** Width of a bin, milliseconds; a day is as long as it is. */
  readonly binMs: number;
  /** Beginnings of all bins, empty ones too, ascending: the first may begin before `from`. */
  readonly bins: readonly number[];
  /** Bins with calls, ascending. */
  readonly cells: readonly TimelineCell[];
}

/** Everything but the timeline. */
export interface ActivityDetail {
  /** Whether calls were counted one by one; else by whole hours of UTC, of which the first and the last may reach over the span. */
  readonly exact: boolean;
  readonly ends: readonly { readonly server: string; readonly end: CallEnd; readonly calls: number; readonly findings: number }[];
  /** By tool and hour of the day, 0 to 23, local time. */
  readonly heat: readonly { readonly server: string; readonly tool: string; readonly hourOfDay: number; readonly calls: number }[];
  /** Calls that reached their server, by running time: `below` is the upper bound in milliseconds, a power of two. */
  readonly latency: readonly { readonly server: string; readonly below: number; readonly calls: number }[];
  /** Calls that a credential went along with, whatever their server, by whole hours. */
  readonly credentials: readonly { readonly credential: string; readonly calls: number; readonly lastHour: number }[];
  /** Rules that found something in the newest {@link MAX_FOUND} calls with findings, and what was done; `rule` is empty for calls recorded without it. */
  readonly found: readonly { readonly server: string; readonly rule: string; readonly action: string; readonly times: number }[];
}

/** Calls with findings whose rules are looked up in the record: some 10 ms of the thread. */
const MAX_FOUND = 1_000;
/** Calls in a span up to which they are counted one by one: some 60 ms of the thread. */
const MAX_EXACT = 40_000;
const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
/** Widths that a bin can have. */
const BIN_MS = [
  MINUTE_MS,
  2 * MINUTE_MS,
  5 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
  2 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  DAY_MS,
  7 * DAY_MS,
  28 * DAY_MS,
];

/** The narrowest width with which at most `maxBins` bins cover the span. */
export function binWidth(from: number, to: number, maxBins: number): number {
  return BIN_MS.find((ms) => Math.ceil((to - from) / ms) <= maxBins) ?? (BIN_MS.at(-1) as number);
}

/** Beginnings of the bins that cover a span, in local time: days begin at midnight, hours on the hour. */
export function binsOf(from: number, to: number, binMs: number): number[] {
  const bins: number[] = [];
  for (let at = binStart(from, binMs); at < to; at = binEnd(at, binMs)) bins.push(at);
  return bins;
}

/** Beginning of the bin that an instant lies in. */
function binStart(at: number, binMs: number): number {
  if (binMs < HOUR_MS) return Math.floor(at / binMs) * binMs;
  const date = new Date(at);
  const hours = binMs < DAY_MS ? Math.floor(date.getHours() / (binMs / HOUR_MS)) * (binMs / HOUR_MS) : 0;
  return new Date(date.getFullYear(), date.getMonth(), date.getDate(), hours).getTime();
}

/** End of the bin that begins at an instant. */
export function binEnd(at: number, binMs: number): number {
  if (binMs < HOUR_MS) return at + binMs;
  const date = new Date(at);
  const end =
    binMs < DAY_MS
      ? new Date(date.getFullYear(), date.getMonth(), date.getDate(), date.getHours() + binMs / HOUR_MS)
      : new Date(date.getFullYear(), date.getMonth(), date.getDate() + binMs / DAY_MS);
  // An hour that is skipped or repeated must not hold the walk up.
  return Math.max(end.getTime(), at + HOUR_MS);
}

interface SpanParameters extends StatisticsQuery {
  readonly endSql: string;
}

/** What {@link sumTimeline} needs; made by {@link timelineParameters}. */
export interface TimelineParameters extends SpanParameters {
  readonly binMs: number;
  readonly bins: readonly number[];
  readonly maxExact: number;
}

export function timelineParameters(query: StatisticsQuery, maxBins: number): TimelineParameters {
  let binMs = binWidth(query.from, query.to, maxBins);
  // Bins that begin on the hour may need one more.
  if (binsOf(query.from, query.to, binMs).length > maxBins + 1) binMs = BIN_MS.find((ms) => ms > binMs) ?? binMs;
  return { ...query, endSql: END_SQL, binMs, bins: binsOf(query.from, query.to, binMs), maxExact: MAX_EXACT };
}

/** Counts calls by bin, server and end. Bins below an hour become hours where there are too many calls. A {@link Job}: stands alone. */
export function* sumTimeline(tools: JobTools, p: TimelineParameters): Generator<undefined, readonly TimelineCell[]> {
  const index = tools.kept.get('index') as DatabaseSync | undefined;
  const [first, last] = [p.bins[0], p.bins.at(-1)];
  if (!index || first === undefined || last === undefined) return [];
  const server = p.server === undefined ? '' : 'AND server = ?';
  const values = p.server === undefined ? [] : [p.server];
  const fine = p.binMs < 3_600_000;
  const many =
    fine &&
    Number(
      index.prepare('SELECT count(*) AS n FROM (SELECT 1 FROM call WHERE at >= ? AND at < ? LIMIT ?)').get(p.from, p.to, p.maxExact + 1)?.[
        'n'
      ],
    ) > p.maxExact;
  const rows =
    fine && !many
      ? index
          .prepare(
            `SELECT (at / ${p.binMs}) * ${p.binMs} AS at, server, ${p.endSql} AS end, count(*) AS calls, sum(findings) AS findings
             FROM call WHERE at >= ? AND at < ? AND tool IS NOT NULL AND result IS NOT NULL ${server} GROUP BY 1, 2, 3 ORDER BY 1`,
          )
          .iterate(p.from, p.to, ...values)
      : index
          .prepare(
            `SELECT hour * 3600000 AS at, server, ${p.endSql} AS end, sum(calls) AS calls, sum(findings) AS findings
             FROM decision_hour WHERE hour >= ? AND hour < ? ${server} GROUP BY 1, 2, 3 ORDER BY 1`,
          )
          .iterate(Math.floor(p.from / 3_600_000), Math.ceil(p.to / 3_600_000), ...values);
  interface Cell {
    at: number;
    server: string;
    end: CallEnd;
    calls: number;
    findings: number;
  }
  const cells = new Map<string, Cell>();
  let bin = 0;
  for (const row of rows) {
    const at = Number(row['at']);
    while (bin + 1 < p.bins.length && (p.bins[bin + 1] as number) <= at) bin++;
    const key = JSON.stringify([bin, row['server'], row['end']]);
    const cell = cells.get(key);
    if (cell) {
      cell.calls += Number(row['calls']);
      cell.findings += Number(row['findings']);
    } else
      cells.set(key, {
        at: p.bins[bin] as number,
        server: String(row['server']),
        end: String(row['end']) as CallEnd,
        calls: Number(row['calls']),
        findings: Number(row['findings']),
      });
  }
  yield;
  return [...cells.values()];
}

/** What {@link sumDetail} needs; made by {@link detailParameters}. */
export interface DetailParameters extends SpanParameters {
  /** Stretches of the span, in hours since the epoch, with their distance from UTC in minutes. */
  readonly offsets: readonly { readonly from: number; readonly to: number; readonly minutes: number }[];
  readonly maxExact: number;
  readonly maxFound: number;
}

export function detailParameters(query: StatisticsQuery): DetailParameters {
  const hours = [Math.floor(query.from / HOUR_MS), Math.ceil(query.to / HOUR_MS)] as const;
  return { ...query, endSql: END_SQL, offsets: offsetsOf(...hours), maxExact: MAX_EXACT, maxFound: MAX_FOUND };
}

/** Where clocks were put forward or back within a span of hours. */
function offsetsOf(from: number, to: number): DetailParameters['offsets'] {
  const minutesAt = (hour: number) => -new Date(hour * HOUR_MS).getTimezoneOffset();
  const offsets: { from: number; to: number; minutes: number }[] = [];
  for (let hour = from; hour < to;) {
    const minutes = minutesAt(hour);
    const sameDay = minutesAt(Math.min(hour + 23, to - 1)) === minutes;
    const end = sameDay ? Math.min(hour + 24, to) : hour + 1;
    const last = offsets.at(-1);
    if (last?.minutes === minutes) last.to = end;
    else offsets.push({ from: hour, to: end, minutes });
    hour = end;
  }
  return offsets;
}

/** Sums up everything but the timeline. A {@link Job}: stands alone. */
export function* sumDetail(tools: JobTools, p: DetailParameters): Generator<undefined, ActivityDetail> {
  const index = tools.kept.get('index') as DatabaseSync | undefined;
  const record = tools.kept.get('record') as DatabaseSync | undefined;
  if (!index || !record) return { exact: true, ends: [], heat: [], latency: [], credentials: [], found: [] };
  const hours = [Math.floor(p.from / 3_600_000), Math.ceil(p.to / 3_600_000)];
  const server = p.server === undefined ? '' : 'AND server = ?';
  const values = p.server === undefined ? [] : [p.server];
  const counted = index.prepare('SELECT count(*) AS n FROM (SELECT 1 FROM call WHERE at >= ? AND at < ? LIMIT ?)');
  const exact = Number(counted.get(p.from, p.to, p.maxExact + 1)?.['n']) <= p.maxExact;
  const inSpan = `FROM call WHERE at >= ? AND at < ? AND tool IS NOT NULL AND result IS NOT NULL ${server}`;
  const span = exact ? [p.from, p.to, ...values] : [...hours, ...values];

  const ends = index
    .prepare(
      exact
        ? `SELECT server, ${p.endSql} AS end, count(*) AS calls, sum(findings) AS findings ${inSpan} GROUP BY 1, 2 ORDER BY 1, 2`
        : `SELECT server, ${p.endSql} AS end, sum(calls) AS calls, sum(findings) AS findings FROM decision_hour WHERE hour >= ? AND hour < ? ${server} GROUP BY 1, 2 ORDER BY 1, 2`,
    )
    .all(...span);
  yield;

  // Hours of the day are local.
  const heat = new Map<string, { server: string; tool: string; hourOfDay: number; calls: number }>();
  const note = (rows: Iterable<Record<string, unknown>>, hour?: number) => {
    for (const row of rows) {
      const [server, tool, hourOfDay] = [String(row['server']), String(row['tool']), hour ?? Number(row['hour_of_day'])];
      const key = JSON.stringify([server, tool, hourOfDay]);
      const cell = heat.get(key);
      if (cell) cell.calls += Number(row['calls']);
      else heat.set(key, { server, tool, hourOfDay, calls: Number(row['calls']) });
    }
  };
  for (const { from, to, minutes } of p.offsets) {
    if (exact) {
      const rows = index.prepare(
        `SELECT server, tool, (at + ${minutes * 60_000}) / 3600000 % 24 AS hour_of_day, count(*) AS calls ${inSpan} AND at >= ? AND at < ? GROUP BY 1, 2, 3`,
      );
      note(rows.iterate(...span, from * 3_600_000, to * 3_600_000));
      continue;
    }
    // An hour of the day at a time: sorting all of them at once takes several times as long.
    const rows = index.prepare(
      `WITH RECURSIVE day (hour) AS (VALUES (?) UNION ALL SELECT hour + 24 FROM day WHERE hour + 24 < ?)
       SELECT server, tool, sum(calls) AS calls FROM day CROSS JOIN tool_hour USING (hour) WHERE true ${server} GROUP BY 1, 2`,
    );
    for (let first = from; first < Math.min(from + 24, to); first++) {
      note(rows.iterate(first, to, ...values), Math.floor(first + minutes / 60) % 24);
      yield;
    }
  }
  yield;

  const latency = index
    .prepare(
      exact
        ? `SELECT server, bucket, count(*) AS calls ${inSpan} AND effect = 'allow' AND result <> 'denied' GROUP BY 1, 2 ORDER BY 1, 2`
        : `SELECT server, bucket, sum(calls) AS calls FROM latency_hour WHERE hour >= ? AND hour < ? ${server} GROUP BY 1, 2 ORDER BY 1, 2`,
    )
    .all(...span);
  const credentials = index
    .prepare(
      'SELECT credential, sum(calls) AS calls, max(hour) AS last FROM credential_hour WHERE hour >= ? AND hour < ? GROUP BY 1 ORDER BY 2 DESC LIMIT 100',
    )
    .all(...hours);
  yield;

  const found = new Map<string, { server: string; rule: string; action: string; times: number }>();
  const withFindings = index.prepare(
    `SELECT server, outcome, findings FROM call WHERE findings > 0 AND at >= ? AND at < ? AND tool IS NOT NULL ${server} ORDER BY seq DESC LIMIT ?`,
  );
  const body = record.prepare('SELECT body FROM audit WHERE seq = ?');
  for (const row of withFindings.all(p.from, p.to, ...values, p.maxFound)) {
    let rules: readonly { readonly rule: string; readonly action: string }[] = [];
    try {
      const outcome = JSON.parse(String(body.get(row['outcome'] ?? 0)?.['body'])) as { found?: { rule: string; action: string }[] };
      rules = outcome.found ?? [];
    } catch {
      // Dropped meanwhile: only the number is left.
    }
    const times = rules.length > 0 ? 1 : Number(row['findings']);
    for (const { rule, action } of rules.length > 0 ? rules : [{ rule: '', action: '' }]) {
      const key = JSON.stringify([row['server'], rule, action]);
      const entry = found.get(key);
      if (entry) entry.times += times;
      else found.set(key, { server: String(row['server']), rule, action, times });
    }
  }

  return {
    exact,
    ends: ends.map((row) => ({
      server: String(row['server']),
      end: String(row['end']) as CallEnd,
      calls: Number(row['calls']),
      findings: Number(row['findings']),
    })),
    heat: [...heat.values()],
    latency: latency.map((row) => ({ server: String(row['server']), below: 2 ** Number(row['bucket']), calls: Number(row['calls']) })),
    credentials: credentials.map((row) => ({
      credential: String(row['credential']),
      calls: Number(row['calls']),
      lastHour: Number(row['last']) * 3_600_000,
    })),
    found: [...found.values()],
  };
}
