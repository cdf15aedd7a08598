import { createHash } from 'node:crypto';
import type { StopSignal } from '../../common/stop.ts';
import type { Database } from '../../store/database.ts';
import type { Checkpoints } from '../checkpoints.ts';

/** Version of the form of the export (docs/audit-format.md). */
export const EXPORT_VERSION = 1;
/** Type in the head of the signature that ends an export. */
export const EXPORT_TYPE = 'culvert-export+jws';
/** Rows that are read before the event loop gets a turn. */
const ROWS_PER_SLICE = 300;

export interface ExportOptions {
  readonly db: Database;
  readonly checkpoints: Checkpoints;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Only entries with these `seq`, both included. Default: all. */
  readonly from?: number;
  readonly to?: number;
  readonly signal?: StopSignal;
  /** Share that is done, 0 to 1. */
  onProgress?(done: number): void;
}

/**
 * The record as JSON Lines, each with its line feed: a head with the public key, where chains begin that do not begin in the export, every
 * entry with its text as stored, every checkpoint, and at the end a signature over the SHA-256 of all lines before. Verifiable without
 * Culvert: scripts/verify-audit.mjs.
 */
export async function* exportLines(options: ExportOptions): AsyncGenerator<string, void, undefined> {
  const { db, checkpoints, signal } = options;
  const digest = createHash('sha256');
  const line = (value: object): string => {
    const text = `${JSON.stringify(value)}\n`;
    digest.update(text);
    return text;
  };
  let read = 0;
  const slice = async () => {
    if (++read % ROWS_PER_SLICE !== 0) return;
    await new Promise(setImmediate);
    if (signal?.aborted) throw new DOMException('The export was cancelled.', 'AbortError');
  };
  // Checkpoints first: what they speak of is then among the entries.
  const lastCheckpoint = Number(db.get('SELECT max(id) AS id FROM checkpoint')?.['id'] ?? 0);
  const newest = Number(db.get('SELECT max(seq) AS seq FROM audit')?.['seq'] ?? 0);
  const [from, to] = [options.from ?? 0, Math.min(options.to ?? newest, newest)];
  const { kty, crv, x } = await checkpoints.publicKey();
  yield line({
    type: 'culvert-audit-export',
    v: EXPORT_VERSION,
    made: options.now,
    from,
    to,
    whole: from === 0 && options.to === undefined,
    key: { kty, crv, x },
  });

  const before = new Map<string, readonly [n: number, hash: string]>();
  if (from > 0)
    for (const row of db.iterate('SELECT chain, n, hash FROM audit WHERE seq < ? ORDER BY seq', from)) {
      before.set(String(row['chain']), [Number(row['n']), String(row['hash'])]);
      await slice();
    }
  for (const [chain, [n, hash]] of before) yield line({ type: 'start', chain, n, hash });

  let entries = 0;
  for (const row of db.iterate(
    'SELECT seq, chain, n, at, kind, exchange, body, hash FROM audit WHERE seq BETWEEN ? AND ? ORDER BY seq',
    from,
    to,
  )) {
    entries++;
    const { seq, chain, n, at, kind, exchange, body, hash } = row;
    yield line({ type: 'entry', seq, chain, n, at, kind, exchange, body, hash });
    await slice();
    if (read % ROWS_PER_SLICE === 0) options.onProgress?.((Number(seq) - from) / Math.max(1, to - from));
  }
  let count = 0;
  for (const row of db.iterate('SELECT id, jws FROM checkpoint WHERE id <= ? ORDER BY id', lastCheckpoint)) {
    count++;
    yield line({ type: 'checkpoint', id: row['id'], jws: row['jws'] });
    await slice();
  }
  const manifest = { v: EXPORT_VERSION, made: options.now, from, to, entries, checkpoints: count, sha256: digest.digest('hex') };
  yield `${JSON.stringify({ type: 'end', jws: await checkpoints.signText(EXPORT_TYPE, JSON.stringify(manifest)) })}\n`;
  options.onProgress?.(1);
}
