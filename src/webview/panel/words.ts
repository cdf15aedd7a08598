import type { End, Row, Span } from '../../vscode/panel/messages.ts';

/** Words and numbers of the panel. */

export const SPAN_WORDS: Readonly<Record<Span, { readonly short: string; readonly long: string }>> = {
  hour: { short: '1 h', long: 'Last hour' },
  day: { short: '24 h', long: 'Last 24 hours' },
  week: { short: '7 d', long: 'Last 7 days' },
  month: { short: '30 d', long: 'Last 30 days' },
  all: { short: 'All', long: 'Everything on the record' },
};

export const END_WORDS: Readonly<Record<End, { readonly label: string; readonly help: string }>> = {
  ok: { label: 'Went through', help: 'allowed, and answered without an error' },
  failed: { label: 'Failed', help: 'the tool or the server reported an error, or the agent gave up' },
  stopped: { label: 'Stopped', help: 'allowed, but not let through or cut off' },
  denied: { label: 'Denied', help: 'by a grant, a policy or you' },
};

export const ROW_MARKS: Readonly<Record<Row['end'], string>> = { ok: '✓', failed: '!', stopped: '⊘', denied: '✕', running: '…' };

export function number(value: number): string {
  return value.toLocaleString();
}

export function plural(count: number, one: string, many: string): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function duration(ms: number): string {
  if (ms < 1) return '< 1 ms';
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 100_000) return `${(ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** A bound of the latency picture. */
export function bound(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** An instant, with as much of the date as it needs beside `now`. */
export function instant(at: number, now: number): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' })} ${time}`;
}

/** A span of time, said once where both ends share the day. */
export function between(from: number, to: number, now: number): string {
  const end = new Date(to).toDateString() === new Date(from).toDateString() ? time(to) : instant(to, now);
  return `${instant(from, now)} to ${end}`;
}

function time(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
}

/** The bound below which this share of the calls ended; `undefined` without calls. */
export function percentile(latency: readonly { readonly below: number; readonly calls: number }[], share: number): number | undefined {
  const total = latency.reduce((sum, { calls }) => sum + calls, 0);
  let seen = 0;
  for (const { below, calls } of latency) {
    seen += calls;
    if (total > 0 && seen >= total * share) return below;
  }
  return undefined;
}

/** How dark a cell is drawn, 0 to 5: 0 is none, steps grow with the square root so that few among many are seen. */
export function level(calls: number, most: number): number {
  return calls === 0 || most === 0 ? 0 : Math.max(1, Math.ceil(Math.sqrt(calls / most) * 5));
}
