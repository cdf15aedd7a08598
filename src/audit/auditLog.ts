import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { StoreError } from '../common/errors.ts';
import { newId } from '../common/identifiers.ts';
import type { StopSignal } from '../common/stop.ts';
import type { Database } from '../store/database.ts';
import { readActivities, type ActivitiesAsked, type Activity } from './activities.ts';
import { entryHash, type Head } from './chain.ts';
import { BEAT_MS } from './chainMemory.ts';
import type { Checkpoints } from './checkpoints.ts';
import { INSERT, IntentJournal, adoptJournals, type Link } from './intentJournal.ts';
import { entryOf, type Act, type Entry, type Intent, type Outcome } from './record.ts';
import { verifyRecord, type Verification } from './verification.ts';

/** An outcome waits at most this long for company before it is written, milliseconds. A crash in between leaves an intent without outcome. */
const OUTCOME_DELAY_MS = 20;
/** So many outcomes are written without waiting for more: some milliseconds of work. */
const OUTCOMES_AT_ONCE = 32;
/** From so many outcomes that wait on, intents go by the journal: calls come one upon the other. */
const THICK = 6;
/** Outcomes that may wait while the database can't be written; the oldest are given up beyond that. */
const MAX_WAITING_OUTCOMES = 10_000;

/** Entries that are looked through for one call: some 100 ms. */
const LOOK_BACK = 50_000;

interface Waiting {
  readonly kind: Entry['kind'];
  readonly exchange: string | null;
  readonly server: string | null;
  readonly tool: string | null;
  value: Intent | Outcome | Act | (() => Outcome);
  readonly at: number;
}

/**
 * The record. Entries are only ever added; each window writes one chain, in which every entry's hash covers the one before it. An
 * intent is in the file before {@link open} resolves: in the database, or, while outcomes are gathered, in the journal beside it, from where
 * it goes along with them. Intents of one turn of the event loop share a transaction, and so do outcomes of some milliseconds.
 */
export class AuditLog implements Disposable {
  readonly chain = newId('chain');
  readonly #db: Database;
  readonly #clock: Clock;
  readonly #checkpoints: Checkpoints;
  readonly #appended = new Emitter<undefined>();
  readonly #intents: { readonly entry: Waiting; resolve(): void; reject(error: unknown): void }[] = [];
  #outcomes: Waiting[] = [];
  #outcomeTimer: Disposable | undefined;
  #beat: Disposable | undefined;
  /** The last entry of the chain. */
  #n = 0;
  #head = '';
  /** The last entry that is in the database. */
  #written: Head = { n: 0, hash: '' };
  readonly #journal: IntentJournal;
  /** Whether so many calls ended at a time, when outcomes were written last, that these did not wait for more. */
  #thick = false;
  /** What stands in the journal and not in the database yet. */
  #ahead: Link[] = [];
  /** {@link Database.dataVersion} when this window last wrote; `undefined` if it could not. */
  #version: number | undefined;
  #stopped = false;
  /** Whether the chain is known outside the database; without a memory there is nobody to know it. */
  #begun: boolean;
  #wroteInTurn = -1;
  /** Whether several intents came in the last turn that had any. */
  #busy = false;

  /** Fires after entries were written by this window. */
  readonly onDidAppend = this.#appended.event;

  constructor(db: Database, clock: Clock, checkpoints: Checkpoints) {
    this.#db = db;
    this.#clock = clock;
    this.#checkpoints = checkpoints;
    this.#begun = !checkpoints.memory.works;
    this.#journal = new IntentJournal(db.path, this.chain);
  }

  /**
   * Writes the intent of a call. Rejects with StoreError if it can't be written, or if nobody outside the database would know of the chain
   * that it stands in; then nothing may be forwarded. `undefined`: it is written. Throws what it would reject with.
   */
  open(exchange: string, intent: Intent): Promise<void> | undefined {
    if (!this.#begun)
      throw new StoreError(
        'CULVERT_STORE_NOT_BEGUN',
        'The system’s keyring could not take note of this window’s part of the audit history, so nothing is let through. Unlock the keyring; Culvert tries again by itself.',
      );
    const entry = this.#entry('intent', exchange, intent.server, intent.tool ?? null, intent);
    // The first of a turn is written at once, so that a lone call does not wait; those that come with it share a transaction. Where the
    // last turn had several, so will this one have, and its first waits for the others.
    const { turn } = this.#db;
    if (this.#wroteInTurn !== turn && !this.#busy) {
      this.#wroteInTurn = turn;
      this.#keep([entry]);
      return undefined;
    }
    return new Promise<void>((resolve, reject) => {
      if (this.#intents.push({ entry, resolve, reject }) === 1) setImmediate(() => this.#writeIntents());
    });
  }

  /**
   * Notes how the call ended. Written a moment later, and before anything that is read from here. A function is asked only then, once: many
   * after one another cost less than each between two calls, and no call waits for them. It must not throw.
   */
  close(exchange: string, outcome: Outcome | (() => Outcome)): void {
    this.#outcomes.push(this.#entry('outcome', exchange, null, null, outcome));
    if (this.#outcomes.length > MAX_WAITING_OUTCOMES) this.#outcomes.shift();
    if (this.#outcomes.length === OUTCOMES_AT_ONCE) setImmediate(() => this.#tryFlush(true));
    this.#outcomeTimer ??= this.#clock.after(OUTCOME_DELAY_MS, () => this.#tryFlush());
  }

  /** Writes something that is no call. Throws StoreError if it can't be written. */
  act(act: Act): void {
    const value: Act = { v: 2, ...act, mono: Math.round(this.#clock.monotonic() * 100) / 100 };
    this.#write([...this.#takeOutcomes(), this.#entry('act', null, act.server ?? null, null, value)]);
  }

  /** Writes what waits. Throws StoreError if it can't be written; then it goes on waiting. */
  flush(): void {
    const waiting = this.#takeOutcomes();
    if (waiting.length > 0 || this.#ahead.length > 0) this.#write(waiting);
  }

  /** Calls, newest first. */
  activities(asked: ActivitiesAsked): Activity[] {
    this.#tryFlush();
    return readActivities(this.#db, asked);
  }

  /** The entries at these places, in their order; those that are gone are left out. */
  at(seqs: readonly number[]): Entry[] {
    this.#tryFlush();
    return seqs.flatMap((seq) => {
      const row = this.#db.get('SELECT * FROM audit WHERE seq = ?', seq);
      return row ? [entryOf(row)] : [];
    });
  }

  /** Entries behind `after`, oldest first: how the record is read as a stream. */
  after(after: number, limit: number): Entry[] {
    this.#tryFlush();
    return this.#db.all('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?', after, limit).map(entryOf);
  }

  /**
   * Every entry about one call, or the newest entries of all kinds, newest first. A call is looked for among the newest
   * {@link LOOK_BACK} entries; {@link ActivityIndex.record} finds it wherever it stands.
   */
  entries(options: { readonly exchange?: string; readonly limit: number }): Entry[] {
    this.#tryFlush();
    const out: Entry[] = [];
    let seen = 0;
    for (const row of this.#db.iterate('SELECT * FROM audit ORDER BY seq DESC')) {
      if (options.exchange !== undefined && ++seen > LOOK_BACK) break;
      if (options.exchange !== undefined && row['exchange'] !== options.exchange) continue;
      out.push(entryOf(row));
      // Nothing about a call stands before its intent.
      if (out.length >= options.limit || (options.exchange !== undefined && row['kind'] === 'intent')) break;
    }
    return out;
  }

  /**
   * Makes this window's chain known outside the database, before anything stands in it, and goes on saying how far it is. Rejects if the
   * keyring can't be written; then {@link open} rejects until it can.
   */
  async begin(): Promise<void> {
    this.#adopt();
    this.#beatLater();
    await this.#beatNow();
  }

  async #beatNow(): Promise<void> {
    await this.#checkpoints.beat(this.chain, this.head);
    this.#begun = true;
  }

  /** How far this window's chain is in the database. */
  get head(): Head {
    return this.#written;
  }

  /** Signs the chain of this window and what windows left that are gone. Called on a schedule and at the end. */
  async checkpoint(): Promise<void> {
    this.#tryFlush();
    this.#adopt();
    await this.#checkpoints.sign(this.chain, this.head);
  }

  /** Signs the record and lets the memory outside the database go: the last thing a window does. Nothing is written afterwards. */
  async end(): Promise<void> {
    this.flush();
    this.#stop();
    this.#beat?.dispose();
    await this.#checkpoints.sign(this.chain, this.head);
    await this.#checkpoints.memory.forget([this.chain]);
  }

  /**
   * Reads the whole record and checks every link of every chain, every signed checkpoint and what is remembered outside the database, in
   * a thread of its own. `onProgress` gets the share that is done, 0 to 1. Rejects with an `AbortError` when stopped.
   */
  async verify(signal?: StopSignal, onProgress?: (done: number) => void): Promise<Verification> {
    this.#tryFlush();
    this.#adopt();
    return verifyRecord({
      path: this.#db.path,
      checkpoints: this.#checkpoints,
      own: { chain: this.chain, head: this.head },
      signal,
      onProgress,
    });
  }

  dispose(): void {
    this.#tryFlush();
    this.#outcomeTimer?.dispose();
    this.#beat?.dispose();
    this.#stop();
    this.#appended.dispose();
  }

  #stop(): void {
    this.#stopped = true;
    this.#journal.close();
  }

  /** Takes in what windows that crashed left in their journals. What can't be taken in now stays there. */
  #adopt(): void {
    try {
      adoptJournals(this.#db);
    } catch {
      // The database is locked or can't be read: whatever is done with it next says so.
    }
  }

  /** The memory is told also while nothing happens: silence means that a window is gone. */
  #beatLater(): void {
    this.#beat = this.#clock.after(BEAT_MS, () => {
      this.#beatLater();
      // A keyring that is locked for a moment: the next beat tells.
      void this.#beatNow().catch(() => undefined);
    });
  }

  #tryFlush(thick = false): void {
    this.#thick = thick;
    try {
      this.flush();
      // It is there only while calls come one upon the other.
      if (!thick) this.#journal.close();
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
    this.#busy = intents.length > 1;
    try {
      // Without the outcomes that wait: nobody waits for those.
      this.#keep(intents.map(({ entry }) => entry));
    } catch (error) {
      for (const intent of intents) intent.reject(error);
      return;
    }
    for (const intent of intents) intent.resolve();
  }

  #entry(kind: Entry['kind'], exchange: string | null, server: string | null, tool: string | null, value: Waiting['value']): Waiting {
    return { kind, exchange, server, tool, value, at: this.#clock.now() };
  }

  /** Makes intents safe from a crash, all or none: in the journal where they would be written by themselves while others gather. */
  #keep(entries: readonly Waiting[]): void {
    // Only where calls come one upon the other, and nobody else has changed the database since this window wrote it: one that can't be
    // written lets nothing through.
    const thick = this.#thick || this.#outcomes.length >= THICK;
    if (!thick || this.#outcomeTimer === undefined || this.#version !== this.#db.dataVersion() || this.#stopped) {
      this.#write(entries);
      return;
    }
    const { links, n, head } = this.#chained(entries);
    if (!this.#journal.append(links)) {
      this.#write(entries);
      return;
    }
    this.#ahead.push(...links);
    this.#n = n;
    this.#head = head;
  }

  /** All or nothing, behind what stands in the journal; outcomes that could not be written wait again. */
  #write(entries: readonly Waiting[]): void {
    if (this.#stopped)
      throw new StoreError('CULVERT_STORE_CLOSED', 'The record is closed; nothing more is let through. Reload the window.');
    // What can't be written waits on without what it is made of.
    for (const entry of entries) entry.value = typeof entry.value === 'function' ? entry.value() : entry.value;
    const { links, n, head } = this.#chained(entries);
    const ahead = this.#ahead;
    const insert = () => {
      for (const link of ahead) this.#insert(link);
      for (const link of links) this.#insert(link);
    };
    try {
      if (links.length + ahead.length === 1) insert();
      else this.#db.transaction(insert);
    } catch (error) {
      this.#version = undefined;
      this.#outcomes.unshift(...entries.filter((e) => e.kind === 'outcome'));
      throw error;
    }
    this.#n = n;
    this.#head = head;
    this.#written = { n, hash: head };
    if (ahead.length > 0) {
      this.#ahead = [];
      this.#journal.clear();
    }
    this.#version = this.#versionNow();
    this.#appended.fire(undefined);
  }

  #versionNow(): number | undefined {
    try {
      return this.#db.dataVersion();
    } catch {
      return undefined;
    }
  }

  /** Entries as the next links of the chain, and what its end is with them. */
  #chained(entries: readonly Waiting[]): { readonly links: readonly Link[]; readonly n: number; readonly head: string } {
    let n = this.#n;
    let head = this.#head;
    const links: Link[] = [];
    for (const { kind, exchange, server, tool, value, at } of entries) {
      const body = JSON.stringify(value);
      head = entryHash(head, this.chain, ++n, at, kind, exchange, body);
      links.push({ n, at, kind, exchange, server, tool, body, hash: head });
    }
    return { links, n, head };
  }

  #insert({ n, at, kind, exchange, server, tool, body, hash }: Link): void {
    this.#db.run(INSERT, this.chain, n, at, kind, exchange, server, tool, body, hash);
  }
}
