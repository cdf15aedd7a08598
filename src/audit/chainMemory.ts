import * as z from 'zod';
import type { Clock } from '../common/clock.ts';
import type { Head } from './chain.ts';

/** Where the memory of chains is kept, out of reach of whoever can write the database. One text for all windows. */
export interface ChainKeeper {
  get(): Promise<string | undefined>;
  set(value: string): Promise<void>;
}

/** How often a window that wrote says how far it is, milliseconds. What was cut off within this time before a crash can't be proven. */
export const BEAT_MS = 15_000;
/** A window that said nothing for so long is no longer there, milliseconds. A window that waits says so, too. */
const GONE_MS = 4 * BEAT_MS;
/** Chains that are remembered; the oldest are given up beyond that. Some 150 bytes each. */
const MAX_CHAINS = 200;
/** Attempts to store against another window that stores at the same moment. */
const MAX_ATTEMPTS = 3;

const Remembered = z.object({
  n: z.number().int().min(0),
  hash: z.string(),
  /** When the window said so, milliseconds since the epoch. */
  at: z.number(),
  /** Digest of the last checkpoint that this window signed. */
  checkpoint: z.string().optional(),
});
export type Remembered = z.infer<typeof Remembered>;
const Memory = z.object({ v: z.literal(1), chains: z.record(z.string(), Remembered) });

/**
 * What is remembered, outside the database, of chains that are not wholly covered by a checkpoint: that a window began one, and how far
 * it was. A chain leaves the memory when its window has closed and signed, or when another window signed what a dead one left.
 */
export class ChainMemory {
  readonly #keeper: ChainKeeper | undefined;
  readonly #clock: Clock;
  #storing: Promise<void> = Promise.resolve();

  /** Without a keeper nothing is remembered, and no chain is held to be foreign. */
  constructor(clock: Clock, keeper?: ChainKeeper) {
    this.#clock = clock;
    this.#keeper = keeper;
  }

  get works(): boolean {
    return this.#keeper !== undefined;
  }

  /** Chains by id. An unreadable memory counts as none. */
  async chains(): Promise<ReadonlyMap<string, Remembered>> {
    return parse(await this.#keeper?.get());
  }

  /** True if the window of this chain said something lately. */
  isAlive(remembered: Remembered): boolean {
    return Math.abs(this.#clock.now() - remembered.at) < GONE_MS;
  }

  /** Remembers how far a chain is; the database must be on the disk that far. Rejects if the keyring can't be written. */
  note(chain: string, head: Head, checkpoint?: string): Promise<void> {
    const at = this.#clock.now();
    return this.#change(
      (chains) => chains.set(chain, { ...head, at, ...(checkpoint === undefined ? {} : { checkpoint }) }),
      (chains) => (chains.get(chain)?.n ?? -1) >= head.n,
    );
  }

  /** Forgets chains that a checkpoint covers. */
  forget(covered: Iterable<string>): Promise<void> {
    const list = [...covered];
    return this.#change(
      (chains) => list.forEach((chain) => chains.delete(chain)),
      (chains) => !list.some((chain) => chains.has(chain)),
    );
  }

  #change(change: (chains: Map<string, Remembered>) => void, holds: (chains: ReadonlyMap<string, Remembered>) => boolean): Promise<void> {
    const keeper = this.#keeper;
    if (!keeper) return Promise.resolve();
    const work = this.#storing.then(async () => {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const chains = parse(await keeper.get());
        change(chains);
        const kept = [...chains].sort(([, a], [, b]) => b.at - a.at).slice(0, MAX_CHAINS);
        await keeper.set(JSON.stringify({ v: 1, chains: Object.fromEntries(kept) }));
        // Two windows that store at once can overwrite each other.
        if (holds(parse(await keeper.get()))) return;
      }
    });
    this.#storing = work.catch(() => undefined);
    return work;
  }
}

function parse(text: string | undefined): Map<string, Remembered> {
  if (text === undefined) return new Map();
  try {
    return new Map(Object.entries(Memory.parse(JSON.parse(text)).chains));
  } catch {
    return new Map();
  }
}
