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

/**
 * Hash of an entry over the one before it: SHA-256, hex, of the seven parts with a line feed between each two. None can hold a line feed:
 * ids and numbers don't, and JSON writes it as an escape. Published in docs/architecture.md.
 */
export function entryHash(
  previous: string,
  chain: string,
  n: number,
  at: number,
  kind: string,
  exchange: string | null,
  body: string,
): string {
  return hash('sha256', `${previous}\n${chain}\n${n}\n${at}\n${kind}\n${exchange ?? ''}\n${body}`);
}

/** An outcome waits at most this long for company before it is written, milliseconds. A crash in between leaves an intent without outcome. */
const OUTCOME_DELAY_MS = 20;
/** Outcomes that may wait while the database can't be written; the oldest are given up beyond that. */
const MAX_WAITING_OUTCOMES = 10_000;

/** Entries behind the asked-for page that are looked through for outcomes of its calls. */
const OUTCOME_DISTANCE = 5_000;

interface Waiting {
  readonly kind: Entry['kind'];
  readonly exchange: string | null;
  readonly server: string | null;
  readonly tool: string | null;
  readonly value: Intent | Outcome | Act;
  readonly at: number;
}

/**
 * The record. Entries are only ever added; each window writes one chain, in which every entry's hash covers the one before it. An
 * intent is in the file before {@link open} resolves; intents of one turn of the event loop share a transaction, and so do outcomes of
 * some milliseconds.
 */
export class AuditLog implements Disposable {
  readonly chain = newId('chain');
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #checkpoints: Checkpoints;
  readonly #appended = new Emitter<undefined>();
  readonly #intents: { readonly entry: Waiting; resolve(): void; reject(error: unknown): void }[] = [];
  readonly #heads = new Map<string, { readonly n: number; readonly hash: string }>();
  #headsUpTo = 0;
  #outcomes: Waiting[] = [];
  #outcomeTimer: Disposable | undefined;
  #n = 0;
  #head = '';
  #stopped = false;
  #wroteThisTurn = false;

  /** Fires after entries were written by this window. */
  readonly onDidAppend = this.#appended.event;

  constructor(db: Database, clock: Clock, checkpoints: Checkpoints) {
    this.#db = db;
    this.#clock = clock;
    this.#checkpoints = checkpoints;
  }

  /** Writes the intent of a call. Rejects with StoreError if it can't be written; then nothing may be forwarded. */
  async open(exchange: string, intent: Intent): Promise<void> {
    const entry = this.#entry('intent', exchange, intent.server, intent.tool ?? null, intent);
    // The first of a turn is written at once, so that a lone call does not wait; those that come with it share a transaction.
    if (!this.#wroteThisTurn) {
      this.#wroteThisTurn = true;
      setImmediate(() => (this.#wroteThisTurn = false));
      this.#write([entry]);
      return;
    }
    await new Promise<void>((resolve, reject) => {
      if (this.#intents.push({ entry, resolve, reject }) === 1) setImmediate(() => this.#writeIntents());
    });
  }

  /** Notes how the call ended. Written a moment later, and before anything that is read from here. */
  close(exchange: string, outcome: Outcome): void {
    this.#outcomes.push(this.#entry('outcome', exchange, null, null, outcome));
    if (this.#outcomes.length > MAX_WAITING_OUTCOMES) this.#outcomes.shift();
    this.#outcomeTimer ??= this.#clock.after(OUTCOME_DELAY_MS, () => this.#tryFlush());
  }

  /** Writes something that is no call. Throws StoreError if it can't be written. */
  act(act: Act): void {
    this.#write([...this.#takeOutcomes(), this.#entry('act', null, act.server ?? null, null, act)]);
  }

  /** Writes what waits. Throws StoreError if it can't be written; then it goes on waiting. */
  flush(): void {
    const waiting = this.#takeOutcomes();
    if (waiting.length > 0) this.#write(waiting);
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
    this.#tryFlush();
    const { limit, before = Number.MAX_SAFE_INTEGER, server } = options;
    const out: Activity[] = [];
    // An outcome stands behind its intent, at most a running time away: it is met first.
    const outcomes = new Map<string, string>();
    const rows = this.#db.iterate(
      "SELECT seq, at, kind, exchange, server, tool, body FROM audit WHERE seq < ? AND kind <> 'act' ORDER BY seq DESC",
      Math.min(Number.MAX_SAFE_INTEGER, before + OUTCOME_DISTANCE),
    );
    for (const row of rows) {
      const exchange = String(row['exchange']);
      if (row['kind'] === 'outcome') outcomes.set(exchange, String(row['body']));
      else {
        const seq = Number(row['seq']);
        const outcome = outcomes.get(exchange);
        outcomes.delete(exchange);
        if (seq >= before || (server !== undefined && row['server'] !== server) || (options.named === true && row['tool'] === null))
          continue;
        out.push({
          seq,
          at: Number(row['at']),
          exchange,
          intent: JSON.parse(String(row['body'])) as Intent,
          outcome: outcome === undefined ? undefined : (JSON.parse(outcome) as Outcome),
        });
        if (out.length >= limit) break;
      }
    }
    return out;
  }

  /** Every entry about one call, or the newest entries of all kinds, newest first. */
  entries(options: { readonly exchange?: string; readonly limit: number }): Entry[] {
    this.#tryFlush();
    const out: Entry[] = [];
    for (const row of this.#db.iterate('SELECT * FROM audit ORDER BY seq DESC')) {
      if (options.exchange !== undefined && row['exchange'] !== options.exchange) continue;
      out.push(entryOf(row));
      // Nothing about a call stands before its intent.
      if (out.length >= options.limit || (options.exchange !== undefined && row['kind'] === 'intent')) break;
    }
    return out;
  }

  /** Signs the heads of all chains. Called on a schedule and at the end. */
  async checkpoint(): Promise<void> {
    await this.#checkpoints.sign(this.heads());
  }

  /** Head of each chain: how long it is and the hash of its last entry. */
  heads(): Map<string, { readonly n: number; readonly hash: string }> {
    this.#tryFlush();
    for (const row of this.#db.iterate('SELECT seq, chain, n, hash FROM audit WHERE seq > ? ORDER BY seq', this.#headsUpTo)) {
      this.#heads.set(String(row['chain']), { n: Number(row['n']), hash: String(row['hash']) });
      this.#headsUpTo = Number(row['seq']);
    }
    return new Map(this.#heads);
  }

  /**
   * Reads the whole record and checks every link of every chain and every signed checkpoint. Yields to the event loop between
   * batches. Finds edited, inserted, reordered and removed entries, and cut tails and removed chains up to the last checkpoint.
   */
  async verify(signal?: AbortSignal): Promise<Verification> {
    this.#tryFlush();
    const problems: string[] = [];
    const seen = new Map<string, { n: number; hash: string; hashes: string[] }>();
    let entries = 0;
    for (const row of this.#db.iterate('SELECT chain, n, at, kind, exchange, server, tool, body, hash FROM audit ORDER BY seq')) {
      if (++entries % 2000 === 0) {
        await new Promise(setImmediate);
        if (signal?.aborted) throw new DOMException('Verification was cancelled.', 'AbortError');
      }
      const [chain, n, stored] = [String(row['chain']), Number(row['n']), String(row['hash'])];
      const last = seen.get(chain) ?? { n: 0, hash: '', hashes: [] };
      if (n <= last.n) problems.push(`Chain ${chain}: entry ${n} stands out of order.`);
      else if (n > last.n + 1) problems.push(`Chain ${chain}: entry ${last.n + 1}${n > last.n + 2 ? ` to ${n - 1}` : ''} is missing.`);
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
    this.#tryFlush();
    this.#outcomeTimer?.dispose();
    this.#stopped = true;
    this.#appended.dispose();
  }

  #tryFlush(): void {
    try {
      this.flush();
    } catch {
      // They wait for the next entry that can be written.
    }
  }

  #takeOutcomes(): Waiting[] {
    this.#outcomeTimer?.dispose();
    this.#outcomeTimer = undefined;
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    return outcomes;
  }

  #writeIntents(): void {
    const intents = this.#intents.splice(0);
    try {
      // Without the outcomes that wait: nobody waits for those.
      this.#write(intents.map(({ entry }) => entry));
    } catch (error) {
      for (const intent of intents) intent.reject(error);
      return;
    }
    for (const intent of intents) intent.resolve();
  }

  #entry(kind: Entry['kind'], exchange: string | null, server: string | null, tool: string | null, value: Intent | Outcome | Act): Waiting {
    return { kind, exchange, server, tool, value, at: this.#clock.now() };
  }

  /** All or nothing; outcomes that could not be written wait again. */
  #write(entries: readonly Waiting[]): void {
    if (this.#stopped)
      throw new StoreError('CULVERT_STORE_CLOSED', 'The record is closed; nothing more is let through. Reload the window.');
    let n = this.#n;
    let head = this.#head;
    const insert = () => {
      for (const { kind, exchange, server, tool, value, at } of entries) {
        const body = JSON.stringify(value);
        head = entryHash(head, this.chain, ++n, at, kind, exchange, body);
        this.#db.run(INSERT, this.chain, n, at, kind, exchange, server, tool, body, head);
      }
    };
    try {
      if (entries.length === 1) insert();
      else this.#db.transaction(insert);
    } catch (error) {
      this.#outcomes.unshift(...entries.filter((e) => e.kind === 'outcome'));
      throw error;
    }
    this.#n = n;
    this.#head = head;
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
