import type { Clock } from '../common/clock.ts';
import type { StopSignal } from '../common/stop.ts';
import type { Database } from '../store/database.ts';
import { AuditError } from './auditError.ts';
import type { AuditLog } from './auditLog.ts';
import { CheckpointPayload, type Checkpoints } from './checkpoints.ts';
import type { LegalHold } from './legalHold.ts';
import { verifyRecord } from './verification.ts';

/** What is kept. Without a limit everything is. */
export interface RetentionPolicy {
  /** Older entries go, days. */
  readonly maxDays?: number;
  /** While the record is larger, the oldest go, bytes of the table. */
  readonly maxBytes?: number;
}

/** What a run did. */
export interface RetentionResult {
  readonly dropped: number;
  /** Nothing older is there any more, milliseconds since the epoch. */
  readonly before: number | undefined;
  readonly reason: 'nothing to drop' | 'held' | 'age' | 'size';
}

const DAY_MS = 24 * 60 * 60_000;
/** Never dropped, whatever the limits: what is newer than this, milliseconds. */
const MIN_AGE_MS = DAY_MS;
/** Entries that are deleted in one transaction, so that no call waits long: about 2 ms. */
const ROWS_PER_TRANSACTION = 500;
/** Rows that are read before the event loop gets a turn. */
const ROWS_PER_SLICE = 2_000;
/** Pause between transactions, so that calls of other windows come in between, milliseconds. */
const PAUSE_MS = 5;

export interface RetentionOptions {
  readonly db: Database;
  readonly log: AuditLog;
  readonly checkpoints: Checkpoints;
  readonly hold: LegalHold;
  readonly clock: Clock;
  readonly policy: RetentionPolicy;
  /** Exports that what was not delivered is kept for. Default: all that ever were. */
  readonly sinks?: readonly string[];
  readonly signal?: StopSignal;
}

/**
 * Drops the oldest entries and leaves a signed tombstone that names the last dropped entry of each chain, so that verification goes on from
 * there. Verifies first: what was tampered with is not swept away. What exports have not delivered yet stays, for up to the double age.
 */
export async function applyRetention(options: RetentionOptions): Promise<RetentionResult> {
  const { db, log, checkpoints, hold, clock, policy, signal } = options;
  const none = (reason: RetentionResult['reason']): RetentionResult => ({ dropped: 0, before: undefined, reason });
  await finishDrop(db, checkpoints);
  if (hold.isHeld()) return none('held');
  log.flush();
  const limit = await placeOf(db, clock.now(), policy, options.sinks);
  if (!limit) return none('nothing to drop');
  const { upTo, reason } = limit;
  const { problems } = await verifyRecord({ path: db.path, checkpoints, own: { chain: log.chain, head: log.head }, signal });
  if (problems.length > 0)
    throw new AuditError(
      'CULVERT_AUDIT_RETENTION_TAMPERED',
      `The audit history was changed from outside, so nothing of it is dropped. Look at it with “Culvert: Verify Audit History”. ${problems[0] ?? ''}`,
    );
  // Everything that goes is signed before it goes.
  await log.checkpoint();
  const last = new Map<string, readonly [n: number, hash: string]>();
  let [entries, read] = [0, 0];
  for (const row of db.iterate('SELECT chain, n, hash FROM audit WHERE seq <= ? ORDER BY seq', upTo)) {
    last.set(String(row['chain']), [Number(row['n']), String(row['hash'])]);
    entries++;
    if (++read % ROWS_PER_SLICE === 0) await new Promise(setImmediate);
  }
  const before = Number(db.get('SELECT at FROM audit WHERE seq > ? ORDER BY seq LIMIT 1', upTo)?.['at'] ?? clock.now());
  await checkpoints.signDrop(log.chain, log.head, {
    reason,
    before,
    chains: [...last].map(([chain, [n, hash]]) => [chain, n, hash] as const),
    entries,
    checkpoints: [],
  });
  // From here on what is left to do is done by whoever comes next.
  await finishDrop(db, checkpoints, signal);
  log.act({
    act: 'retention-applied',
    subject: `${entries} entries`,
    detail: `${reason}; before ${new Date(before).toISOString()}`,
    window: log.chain,
  });
  return { dropped: entries, before, reason };
}

/** Deletes what the tombstones say is dropped and is still there: also after a crash in the middle. */
async function finishDrop(db: Database, checkpoints: Checkpoints, signal?: StopSignal): Promise<void> {
  const gone = new Map<string, number>();
  for (const row of db.all('SELECT jws FROM checkpoint ORDER BY id')) {
    const jws = String(row['jws']);
    // Somebody could write a tombstone to have entries deleted: only one whose signature holds counts.
    const { dropped } = payloadOf(jws)?.dropped ? ((await checkpoints.open(jws)) ?? {}) : {};
    for (const [chain, n] of dropped?.chains ?? []) gone.set(chain, Math.max(n, gone.get(chain) ?? 0));
  }
  while (gone.size > 0 && signal?.aborted !== true) {
    const rows = db.all('SELECT seq, chain, n FROM audit ORDER BY seq LIMIT ?', ROWS_PER_TRANSACTION);
    const places = rows.filter(({ chain, n }) => (gone.get(String(chain)) ?? 0) >= Number(n)).map(({ seq }) => Number(seq));
    if (places.length > 0)
      db.transaction(() => {
        for (const seq of places) db.run('DELETE FROM audit WHERE seq = ?', seq);
      });
    if (places.length < rows.length || rows.length < ROWS_PER_TRANSACTION) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Up to which `seq` entries go, and why. */
async function placeOf(
  db: Database,
  now: number,
  policy: RetentionPolicy,
  sinks: readonly string[] | undefined,
): Promise<{ readonly upTo: number; readonly reason: 'age' | 'size' } | undefined> {
  const { maxDays, maxBytes } = policy;
  const cursors = db.all('SELECT sink, seq FROM export_cursor').filter(({ sink }) => sinks?.includes(String(sink)) ?? true);
  const delivered = Math.min(Number.MAX_SAFE_INTEGER, ...cursors.map(({ seq }) => Number(seq)));
  let excess = maxBytes === undefined ? 0 : bytesOf(db) - maxBytes;
  const oldest = maxDays === undefined ? 0 : now - maxDays * DAY_MS;
  // A sink that is away for good must not keep the record for ever.
  const hopeless = maxDays === undefined ? 0 : now - 2 * maxDays * DAY_MS;
  let upTo: number | undefined;
  let reason: 'age' | 'size' = 'age';
  let read = 0;
  for (const row of db.iterate('SELECT seq, at, length(body) + 180 AS bytes FROM audit ORDER BY seq')) {
    if (++read % ROWS_PER_SLICE === 0) await new Promise(setImmediate);
    const [seq, at] = [Number(row['seq']), Number(row['at'])];
    if (at > now - MIN_AGE_MS || (seq > delivered && at >= hopeless)) break;
    if (at >= oldest && excess <= 0) break;
    if (at >= oldest) reason = 'size';
    excess -= Number(row['bytes']);
    upTo = seq;
  }
  return upTo === undefined ? undefined : { upTo, reason };
}

/** Size of the database without what is free in it, bytes: nearly all of it is the record. */
function bytesOf(db: Database): number {
  const pragma = (name: string) => Number(Object.values(db.get(`PRAGMA ${name}`) ?? {})[0] ?? 0);
  return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size');
}

function payloadOf(jws: string): CheckpointPayload | undefined {
  try {
    return CheckpointPayload.parse(JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')));
  } catch {
    return undefined;
  }
}
