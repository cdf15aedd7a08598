import type { ActivityIndex } from '../../audit/activityIndex.ts';
import { DAY_MS, HOUR_MS, binEnd } from '../../audit/activityStatistics.ts';
import { visible } from '../../common/text.ts';
import { stateOf } from '../views/activityRows.ts';
import { END_NAMES, MAX_BINS, MAX_SERVERS, MAX_TOOLS, PAGE, type FromPanel, type Range, type Row, type Summary } from './messages.ts';

type Query = Extract<FromPanel, { kind: 'query' }>;
type ListQuery = Extract<FromPanel, { kind: 'list' }>;
export type PanelSource = Pick<ActivityIndex, 'timeline' | 'detail' | 'calls' | 'span' | 'status'>;

const SPAN_MS = { hour: HOUR_MS, day: DAY_MS, week: 7 * DAY_MS, month: 30 * DAY_MS } as const;

/** Sums for the pictures. `label` gives the name of a server for its id. */
export async function summaryOf(source: PanelSource, query: Query, now: number, label: (id: string) => string): Promise<Summary> {
  const all = await source.span();
  const range: Range =
    query.span === 'all' ? { from: all?.first ?? now - DAY_MS, to: now + 1 } : { from: now - SPAN_MS[query.span], to: now + 1 };
  const within = query.selection ? overlap(range, query.selection) : range;
  const [timeline, detail] = await Promise.all([
    // All servers: those that are not chosen stay in the list to choose from.
    source.timeline(range, MAX_BINS),
    source.detail({ ...within, server: query.server }),
  ]);
  const totals = new Map<string, number>();
  for (const { server, calls } of timeline.cells) totals.set(server, (totals.get(server) ?? 0) + calls);
  const ids = [...totals].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([id]) => id);
  const shown = ids.length > MAX_SERVERS ? ids.slice(0, MAX_SERVERS - 1) : ids;
  // What is chosen keeps its place though others are called more.
  if (query.server !== undefined && totals.has(query.server) && !shown.includes(query.server)) shown[shown.length - 1] = query.server;
  const others = ids.length > shown.length;
  const placeOf = (id: string) => (shown.includes(id) ? shown.indexOf(id) : shown.length);
  const cells = new Map<string, { bin: number; server: number; end: (typeof END_NAMES)[number]; calls: number; findings: number }>();
  for (const cell of timeline.cells) {
    if (query.server !== undefined && cell.server !== query.server) continue;
    const bin = timeline.bins.indexOf(cell.at);
    const server = placeOf(cell.server);
    const key = `${bin} ${server} ${cell.end}`;
    const known = cells.get(key);
    if (known) {
      known.calls += cell.calls;
      known.findings += cell.findings;
    } else cells.set(key, { bin, server, end: cell.end, calls: cell.calls, findings: cell.findings });
  }
  const last = timeline.bins.at(-1);
  return {
    kind: 'summary',
    serial: query.serial,
    any: all !== undefined,
    behind: source.status.behind,
    servers: [...shown.map((id) => ({ id, label: visible(label(id), 60) })), ...(others ? [{ id: '', label: 'Others' }] : [])],
    range,
    bins: last === undefined ? [] : [...timeline.bins, binEnd(last, timeline.binMs)],
    cells: [...cells.values()],
    ends: END_NAMES.map((end) => {
      const of = detail.ends.filter((e) => e.end === end);
      return { end, calls: sum(of.map((e) => e.calls)), findings: sum(of.map((e) => e.findings)) };
    }),
    exact: detail.exact,
    ...toolsOf(detail.heat, label),
    latency: latencyOf(detail.latency),
    credentials: detail.credentials.map(({ credential, calls, lastHour }) => ({ name: visible(credential, 80), calls, last: lastHour })),
    found: detail.found
      .map(({ server, rule, action, times }) => ({
        server: visible(label(server), 60),
        rule: visible(rule, 80),
        action: visible(action, 40),
        times,
      }))
      .sort((a, b) => b.times - a.times)
      .slice(0, 100),
  };
}

/** A page of the list, newest first. */
export async function rowsOf(source: PanelSource, { range, server, before }: ListQuery): Promise<{ rows: Row[]; next?: number }> {
  const { calls, next } = await source.calls(
    { ...range, named: true, ...(server === undefined ? {} : { server }) },
    { limit: PAGE, before },
  );
  const rows = calls.map(({ exchange, at, intent, outcome }): Row => {
    const [, , words] = stateOf({ intent, outcome });
    const end =
      intent.effect === 'deny'
        ? 'denied'
        : !outcome
          ? 'running'
          : outcome.result === 'ok'
            ? 'ok'
            : outcome.result === 'denied' || outcome.result === 'closed'
              ? 'stopped'
              : 'failed';
    return {
      exchange,
      at,
      name: visible(intent.tool ?? intent.method, 120),
      server: visible(intent.serverLabel, 60),
      words,
      end,
      ...(outcome ? { ms: outcome.totalMs } : {}),
      findings: outcome?.findings ?? 0,
    };
  });
  return { rows, ...(next === undefined ? {} : { next }) };
}

type Heat = Awaited<ReturnType<PanelSource['detail']>>['heat'];

/** The tools that were called most, with their calls by hour. */
function toolsOf(heat: Heat, label: (id: string) => string): Pick<Summary, 'tools' | 'moreTools'> {
  const byTool = new Map<string, { server: string; tool: string; hours: number[]; calls: number }>();
  for (const { server, tool, hourOfDay, calls } of heat) {
    const key = JSON.stringify([server, tool]);
    let entry = byTool.get(key);
    if (!entry) byTool.set(key, (entry = { server, tool, hours: Array.from({ length: 24 }, () => 0), calls: 0 }));
    entry.hours[hourOfDay] = (entry.hours[hourOfDay] ?? 0) + calls;
    entry.calls += calls;
  }
  const tools = [...byTool.values()].sort((a, b) => b.calls - a.calls || a.tool.localeCompare(b.tool));
  return {
    tools: tools.slice(0, MAX_TOOLS).map((t) => ({ ...t, server: visible(label(t.server), 60), tool: visible(t.tool, 80) })),
    moreTools: Math.max(0, tools.length - MAX_TOOLS),
  };
}

/** All buckets between the fastest and the slowest, so that gaps are seen. */
function latencyOf(latency: readonly { readonly below: number; readonly calls: number }[]): Summary['latency'] {
  const byBound = new Map<number, number>();
  for (const { below, calls } of latency) byBound.set(below, (byBound.get(below) ?? 0) + calls);
  const bounds = [...byBound.keys()];
  if (bounds.length === 0) return [];
  const out: { below: number; calls: number }[] = [];
  for (let below = Math.min(...bounds); below <= Math.max(...bounds); below *= 2) out.push({ below, calls: byBound.get(below) ?? 0 });
  return out;
}

function overlap(a: Range, b: Range): Range {
  const from = Math.min(Math.max(a.from, b.from), a.to);
  return { from, to: Math.max(from, Math.min(a.to, b.to)) };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((a, b) => a + b, 0);
}
