import type { Found } from './search.ts';

/** Smaller messages are searched where they are, bytes: to have them searched elsewhere costs as much. */
export const MIN_BATCHED_BYTES = 32 * 1024;
/** Memory that both threads see, and so the most that is searched there at a time, bytes. What comes beyond is searched here meanwhile. */
export const BATCHED_BYTES = 256 * 1024;
/** Batches that the thread has at a time: one to search, one to go on with. */
const BATCHES_AT_ONCE = 2;
/** After so many turns of the event loop in which no two messages came, each is searched here again. */
const QUIET_TURNS = 16;

/** Messages of one or more turns of the event loop for the thread: they stand one behind the other in the shared memory, each up to its place in `ends`. */
export interface Batch {
  readonly kind: 'batch';
  readonly id: number;
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  readonly ends: readonly number[];
}

/** What the thread found in a batch, message by message; `null`: nothing, and everything was looked at. */
export interface BatchAnswer {
  readonly batch: number;
  readonly found: readonly (Found | null)[];
}

export interface SearchBatchesOptions {
  /** Whether the thread runs, knows all it needs and has nothing large to do. If not, it is time to start it. */
  ready(): boolean;
  send(batch: Batch): void;
  /** Searches in this thread. */
  here(bytes: Buffer): Found;
  /** Changes whenever something else is searched for. */
  version(): number;
}

interface Waiting {
  readonly bytes: Buffer;
  readonly version: number;
  readonly resolve: (found: Found) => void;
}

const NOTHING: Found = { hits: [], complete: true };

/**
 * Searches messages in another thread while many come at a time, so that the extension host is free for the rest. A message alone is
 * searched where it is: nothing is faster than that.
 */
export class SearchBatches {
  readonly #options: SearchBatchesOptions;
  readonly #underWay = new Map<number, readonly Waiting[]>();
  #memory: SharedArrayBuffer | undefined;
  #bytes: Buffer | undefined;
  /** How much of the memory is taken; it is free again when nothing is under way. */
  #used = 0;
  #open: Waiting[] = [];
  /** Where the messages of this turn begin in the memory. */
  #start = 0;
  #ends: number[] = [];
  #inTurn = 0;
  #busy = 0;
  #last = 0;

  constructor(options: SearchBatchesOptions) {
    this.#options = options;
  }

  /** Whether something is searched in the thread. */
  get active(): boolean {
    return this.#underWay.size > 0 || this.#open.length > 0;
  }

  /** Has a message searched in the thread; `undefined` if that is better done here. Never rejects. */
  take(bytes: Buffer): Promise<Found> | undefined {
    if (bytes.length < MIN_BATCHED_BYTES) return undefined;
    if (this.#inTurn++ === 0) setImmediate(() => this.#turnEnds());
    if (this.#busy === 0 || this.#used + bytes.length > BATCHED_BYTES || !this.#options.ready()) return undefined;
    this.#bytes ??= Buffer.from((this.#memory = new SharedArrayBuffer(BATCHED_BYTES)));
    if (this.#open.length === 0) this.#start = this.#used;
    bytes.copy(this.#bytes, this.#used);
    this.#used += bytes.length;
    this.#ends.push(this.#used);
    return new Promise((resolve) => this.#open.push({ bytes, version: this.#options.version(), resolve }));
  }

  /** Takes in what the thread found. */
  finish({ batch, found }: BatchAnswer): void {
    const waiting = this.#underWay.get(batch);
    this.#underWay.delete(batch);
    if (!this.active) this.#used = 0;
    // What came in earlier turns and had to wait; the present turn has its own end.
    else if (this.#inTurn === 0) this.#send();
    waiting?.forEach(({ bytes, version, resolve }, i) => {
      const of = found[i];
      // A secret that came to be known meanwhile was not searched for.
      resolve(of === undefined || version !== this.#options.version() ? this.#options.here(bytes) : (of ?? NOTHING));
    });
  }

  /** The thread is gone, or could not do it: what waits is searched here. */
  giveUp(): void {
    const all = [...[...this.#underWay.values()].flat(), ...this.#open];
    this.#underWay.clear();
    this.#open = [];
    this.#ends = [];
    this.#used = 0;
    for (const { bytes, resolve } of all) resolve(this.#options.here(bytes));
  }

  #turnEnds(): void {
    this.#busy = this.#inTurn > 1 ? QUIET_TURNS : Math.max(0, this.#busy - 1);
    this.#inTurn = 0;
    // While the thread has enough to do, more messages share a batch: handing one over costs as much as searching a small one.
    if (this.#underWay.size < BATCHES_AT_ONCE) this.#send();
  }

  #send(): void {
    if (this.#open.length === 0 || !this.#memory) return;
    const id = ++this.#last;
    this.#underWay.set(id, this.#open);
    this.#options.send({ kind: 'batch', id, memory: this.#memory, start: this.#start, ends: this.#ends });
    this.#open = [];
    this.#ends = [];
  }
}
