import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { StoreError } from '../common/errors.ts';
import { newId } from '../common/identifiers.ts';
import type { Database, Row } from '../store/database.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { Act, Entry, Intent, Outcome } from './record.ts';

const INSERT = 'INSERT INTO audit (chain, n, at, kind, exchange, server, tool, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)';

/** A call as the activity view shows it: its intent, and its outcome once there is one. */
export interface Activity {
  readonly seq: number;
  readonly exchange: string;
  readonly at: number;
  readonly intent: Intent;
  readonly outcome: Outcome | undefined;
}

/** What {@link AuditLog.verify} found. */
export interface Verification {
  readonly entries: number;
  readonly chains: number;
  readonly checkpoints: number;
  readonly problems: readonly string[];
}

/** Hash of an entry over the one before it: SHA-256 of a canonical JSON array, hex. Published in docs/architecture.md. */
export function entryHash(
  previous: string,
  chain: string,
  n: number,
  at: number,
  kind: string,
  exchange: string | null,
  body: string,
): string {
  return hash('sha256', JSON.stringify([previous, chain, n, at, kind, exchange, body]));
}

/**
 * The record. Entries are only ever added; each window writes one chain, in which every entry's hash covers the one before it.
 * Writing is synchronous, so that an intent is in the file before anything is forwarded.
 */
export class AuditLog implements Disposable {
  readonly chain = newId('chain');
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #checkpoints: Checkpoints;
  readonly #appended = new Emitter<undefined>();
  #n = 0;
  #head = '';
  #stopped = false;

  /** Fires after an entry was written by this window. */
  readonly onDidAppend = this.#appended.event;

  constructor(db: Database, clock: Clock, checkpoints: Checkpoints) {
    this.#db = db;
    this.#clock = clock;
    this.#checkpoints = checkpoints;
  }

  /** Writes the intent of a call. Throws StoreError if it can't be written; then nothing may be forwarded. */
  open(exchange: string, intent: Intent): void {
    this.#append('intent', exchange, intent.server, intent.tool ?? null, intent);
  }

  /** Writes how the call ended. */
  close(exchange: string, outcome: Outcome): void {
    this.#append('outcome', exchange, null, null, outcome);
  }

  /** Writes something that is no call. */
  act(act: Act): void {
    this.#append('act', null, act.server ?? null, null, act);
  }

  /**
   * Calls, newest first. `before` is the `seq` of the last one already seen; `named` leaves out what belongs to every connection
   * (initialize, lists, pings).
   */
  activities(options: {
    readonly limit: number;
    readonly before?: number;
    readonly server?: string;
    readonly named?: boolean;
  }): Activity[] {
    const rows = this.#db.all(
      `SELECT i.seq, i.at, i.exchange, i.body, (SELECT o.body FROM audit o WHERE o.exchange = i.exchange AND o.kind = 'outcome' LIMIT 1) AS outcome
       FROM audit i WHERE i.kind = 'intent' AND i.seq < ? AND (? IS NULL OR i.server = ?) AND (? = 0 OR i.tool IS NOT NULL) ORDER BY i.seq DESC LIMIT ?`,
      options.before ?? Number.MAX_SAFE_INTEGER,
      options.server ?? null,
      options.server ?? null,
      options.named === true ? 1 : 0,
      options.limit,
    );
    return rows.map((row) => ({
      seq: Number(row['seq']),
      at: Number(row['at']),
      exchange: String(row['exchange']),
      intent: JSON.parse(String(row['body'])) as Intent,
      outcome: row['outcome'] === null ? undefined : (JSON.parse(String(row['outcome'])) as Outcome),
    }));
  }

  /** Every entry about one call, or the newest entries of all kinds, newest first. */
  entries(options: { readonly exchange?: string; readonly limit: number }): Entry[] {
    const rows =
      options.exchange === undefined
        ? this.#db.all('SELECT * FROM audit ORDER BY seq DESC LIMIT ?', options.limit)
        : this.#db.all('SELECT * FROM audit WHERE exchange = ? ORDER BY seq DESC LIMIT ?', options.exchange, options.limit);
    return rows.map(entryOf);
  }

  /** Signs the heads of all chains. Called on a schedule and at the end. */
  async checkpoint(): Promise<void> {
    await this.#checkpoints.sign(this.heads());
  }

  /** Head of each chain: how long it is and the hash of its last entry. */
  heads(): Map<string, { readonly n: number; readonly hash: string }> {
    const heads = new Map<string, { n: number; hash: string }>();
    for (const row of this.#db.all(
      'SELECT a.chain, a.n, a.hash FROM audit a JOIN (SELECT chain, MAX(n) AS n FROM audit GROUP BY chain) m ON a.chain = m.chain AND a.n = m.n',
    )) {
      heads.set(String(row['chain']), { n: Number(row['n']), hash: String(row['hash']) });
    }
    return heads;
  }

  /**
   * Reads the whole record and checks every link of every chain and every signed checkpoint. Yields to the event loop between
   * batches. Finds edited, inserted, reordered and removed entries, and cut tails and removed chains up to the last checkpoint.
   */
  async verify(signal?: AbortSignal): Promise<Verification> {
    const problems: string[] = [];
    const seen = new Map<string, { n: number; hash: string; hashes: string[] }>();
    let entries = 0;
    for (const row of this.#db.iterate('SELECT chain, n, at, kind, exchange, server, tool, body, hash FROM audit ORDER BY chain, n')) {
      if (++entries % 2000 === 0) {
        await new Promise(setImmediate);
        if (signal?.aborted) throw new DOMException('Verification was cancelled.', 'AbortError');
      }
      const [chain, n, stored] = [String(row['chain']), Number(row['n']), String(row['hash'])];
      const last = seen.get(chain) ?? { n: 0, hash: '', hashes: [] };
      if (n !== last.n + 1) problems.push(`Chain ${chain}: entry ${last.n + 1}${n > last.n + 2 ? ` to ${n - 1}` : ''} is missing.`);
      const expected = entryHash(
        last.hash,
        chain,
        n,
        Number(row['at']),
        String(row['kind']),
        row['exchange'] === null ? null : String(row['exchange']),
        String(row['body']),
      );
      if (expected !== stored && n === last.n + 1) problems.push(`Chain ${chain}: entry ${n} was changed.`);
      else if (!indexAgrees(row)) problems.push(`Chain ${chain}: the index of entry ${n} does not agree with its text.`);
      seen.set(chain, { n, hash: stored, hashes: last.hashes });
      last.hashes.push(stored);
      if (problems.length > 100) break;
    }
    const checkpoints = await this.#checkpoints.verify((chain, n) => seen.get(chain)?.hashes[n - 1], problems);
    return { entries, chains: seen.size, checkpoints, problems };
  }

  dispose(): void {
    this.#stopped = true;
    this.#appended.dispose();
  }

  #append(kind: Entry['kind'], exchange: string | null, server: string | null, tool: string | null, value: Intent | Outcome | Act): void {
    if (this.#stopped)
      throw new StoreError('CULVERT_STORE_CLOSED', 'The record is closed; nothing more is let through. Reload the window.');
    const n = this.#n + 1;
    const at = this.#clock.now();
    const body = JSON.stringify(value);
    const digest = entryHash(this.#head, this.chain, n, at, kind, exchange, body);
    this.#db.run(INSERT, this.chain, n, at, kind, exchange, server, tool, body, digest);
    this.#n = n;
    this.#head = digest;
    this.#appended.fire(undefined);
  }
}

function indexAgrees(row: Row): boolean {
  if (row['kind'] === 'outcome') return row['server'] === null && row['tool'] === null;
  let body: { server?: string; tool?: string };
  try {
    body = JSON.parse(String(row['body'])) as typeof body;
  } catch {
    return false;
  }
  return row['server'] === (body.server ?? null) && row['tool'] === (row['kind'] === 'intent' ? (body.tool ?? null) : null);
}

function entryOf(row: Row): Entry {
  return {
    seq: Number(row['seq']),
    chain: String(row['chain']),
    n: Number(row['n']),
    at: Number(row['at']),
    kind: String(row['kind']) as Entry['kind'],
    exchange: row['exchange'] === null ? undefined : String(row['exchange']),
    body: JSON.parse(String(row['body'])) as Entry['body'],
  };
}
