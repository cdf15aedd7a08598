import type { Database } from '../store/database.ts';
import type { Intent, Outcome } from './record.ts';

/** A call as the activity view shows it: its intent, and its outcome once there is one. */
export interface Activity {
  readonly seq: number;
  readonly exchange: string;
  readonly at: number;
  readonly intent: Intent;
  readonly outcome: Outcome | undefined;
}

/** Which calls are wanted. */
export interface ActivitiesAsked {
  readonly limit: number;
  /** `seq` of the last one already seen. */
  readonly before?: number;
  readonly server?: string;
  /** Leaves out what belongs to every connection: initialize, lists, pings. */
  readonly named?: boolean;
  /** Entries that are looked through; default: all. */
  readonly lookBack?: number;
  readonly meant?: (activity: Activity) => boolean;
}

/** Entries behind the asked-for page that are looked through for outcomes of its calls. */
const OUTCOME_DISTANCE = 5_000;

/** Calls, newest first. Throws StoreError. */
export function readActivities(db: Database, asked: ActivitiesAsked): Activity[] {
  const { limit, before = Number.MAX_SAFE_INTEGER, server, lookBack = Infinity, named, meant } = asked;
  let seen = 0;
  const out: Activity[] = [];
  // An outcome stands behind its intent, at most a running time away: it is met first.
  const outcomes = new Map<string, string>();
  const rows = db.iterate(
    "SELECT seq, at, kind, exchange, server, tool, body FROM audit WHERE seq < ? AND kind <> 'act' ORDER BY seq DESC",
    Math.min(Number.MAX_SAFE_INTEGER, before + OUTCOME_DISTANCE),
  );
  for (const row of rows) {
    if (++seen > lookBack) break;
    const exchange = String(row['exchange']);
    if (row['kind'] === 'outcome') outcomes.set(exchange, String(row['body']));
    else {
      const seq = Number(row['seq']);
      const outcome = outcomes.get(exchange);
      outcomes.delete(exchange);
      if (seq >= before || (server !== undefined && row['server'] !== server) || (named === true && row['tool'] === null)) continue;
      const activity = {
        seq,
        at: Number(row['at']),
        exchange,
        intent: JSON.parse(String(row['body'])) as Intent,
        outcome: outcome === undefined ? undefined : (JSON.parse(outcome) as Outcome),
      };
      if (meant?.(activity) === false) continue;
      out.push(activity);
      if (out.length >= limit) break;
    }
  }
  return out;
}
