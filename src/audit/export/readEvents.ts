import type { StopSignal } from '../../common/stop.ts';
import type { Database, Row } from '../../store/database.ts';
import { entryOf, type Act, type Entry, type Intent, type Outcome } from '../record.ts';
import type { AuditEvent } from './event.ts';

/** Rows that are read before the event loop gets a turn. */
const ROWS_PER_SLICE = 300;

export interface ReadEvents {
  readonly db: Database;
  /** First and last `seq`, both included. Calls that began in between are given, also where they ended later. */
  readonly from: number;
  readonly to: number;
  readonly signal?: StopSignal;
  /** Share that is done, 0 to 1. */
  onProgress?(done: number): void;
}

/** The calls and acts of a span, in the order in which they were over; calls without an end come last. */
export async function* readEvents(options: ReadEvents): AsyncGenerator<AuditEvent, void, undefined> {
  const { db, from, to, signal } = options;
  const open = new Map<string, { readonly entry: Entry; readonly hash: string; readonly intent: Intent }>();
  let read = 0;
  for (const row of db.iterate('SELECT * FROM audit WHERE seq >= ? ORDER BY seq', from)) {
    if (++read % ROWS_PER_SLICE === 0) {
      await new Promise(setImmediate);
      if (signal?.aborted) throw new DOMException('The export was cancelled.', 'AbortError');
      options.onProgress?.(Math.min(1, (Number(row['seq']) - from) / Math.max(1, to - from)));
    }
    const within = Number(row['seq']) <= to;
    if (!within && open.size === 0) return;
    const entry = readable(row);
    if (!entry) continue;
    const { chain, n, at, kind, exchange } = entry;
    const hash = String(row['hash']);
    const placed = { id: `${chain}:${n}`, chain, n, hash };
    if (kind === 'act') {
      if (within) yield { ...placed, kind: 'act', at, act: entry.body as Act };
    } else if (exchange === undefined) continue;
    else if (kind === 'intent') {
      if (within) open.set(exchange, { entry, hash, intent: entry.body as Intent });
    } else {
      const begun = open.get(exchange);
      if (!begun) continue;
      open.delete(exchange);
      const outcome = entry.body as Outcome;
      yield { ...placed, kind: 'call', at: begun.entry.at, exchange, intent: begun.intent, outcome, endedAt: at };
    }
  }
  for (const [exchange, { entry, hash, intent }] of open) {
    const { chain, n, at } = entry;
    yield { id: `${chain}:${n}`, chain, n, hash, kind: 'call', at, exchange, intent, outcome: undefined, endedAt: undefined };
  }
}

/** What is no JSON is told by verification, and holds up nothing here. */
function readable(row: Row): Entry | undefined {
  try {
    return entryOf(row);
  } catch {
    return undefined;
  }
}
