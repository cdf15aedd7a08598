import type { JobTools } from '../store/jobThread.ts';

/** A period, milliseconds since the epoch; `to` is no longer in it. */
export interface Period {
  readonly from: number;
  readonly to: number;
}

export interface ReadSpan extends Period {
  readonly path: string;
  /** Acts that are given; the newest. */
  readonly maxActs: number;
  /** The same of those about grants. */
  readonly maxGrants: number;
}

/** Where the entries of a period lie, and what was done in it that is no call. */
export interface Span {
  /** The first and the last `seq`; absent if nothing was written in the period. */
  readonly low: number | undefined;
  readonly high: number | undefined;
  readonly entries: number;
  /** Texts of the acts as stored, oldest first. */
  readonly acts: readonly { readonly at: number; readonly body: string }[];
  /** The same of the grants that were given and revoked until the end of the period, from the beginning of the record on. */
  readonly grants: readonly { readonly at: number; readonly body: string }[];
}

/** Finds the entries of a period. The record has no index by time. A {@link Job}: stands alone. Yields the share that is done, 0 to 1. */
export function* readSpan(tools: JobTools, { path, from, to, maxActs, maxGrants }: ReadSpan): Generator<number, Span> {
  const { DatabaseSync } = tools.sqlite;
  const db = new DatabaseSync(path, { readOnly: true, timeout: 2000 });
  try {
    db.exec('BEGIN');
    const range = db.prepare('SELECT (SELECT min(seq) FROM audit) AS low, (SELECT max(seq) FROM audit) AS high').get() ?? {};
    const [first, last] = [Number(range['low'] ?? 0), Number(range['high'] ?? 0)];
    let low: number | undefined;
    let high: number | undefined;
    let entries = 0;
    const acts: { at: number; body: string }[] = [];
    const grants: { at: number; body: string }[] = [];
    let read = 0;
    const rows = db.prepare("SELECT seq, at, CASE kind WHEN 'act' THEN body END AS body FROM audit ORDER BY seq").iterate();
    for (const row of rows) {
      if (++read % 5_000 === 0) yield last > first ? (Number(row['seq']) - first) / (last - first) : 1;
      const at = Number(row['at']);
      const body = row['body'];
      if (at < to && typeof body === 'string' && body.includes('"act":"grant-') && grants.push({ at, body }) > maxGrants) grants.shift();
      if (at < from || at >= to) continue;
      const seq = Number(row['seq']);
      low ??= seq;
      high = seq;
      entries++;
      if (typeof body !== 'string') continue;
      acts.push({ at, body });
      if (acts.length > maxActs) acts.shift();
    }
    db.exec('COMMIT');
    return { low, high, entries, acts, grants };
  } finally {
    db.close();
  }
}
