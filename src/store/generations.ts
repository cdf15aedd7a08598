/** Where the numbers are kept, out of reach of whoever can write the database. One text for all lists. */
export interface GenerationKeeper {
  get(): Promise<string | undefined>;
  set(value: string): Promise<void>;
}

/**
 * Remembers, outside the database, how often each signed list was written. A list that stands lower than it once stood is an older
 * copy that somebody put back: its signature is good and it must not count all the same.
 */
export class Generations {
  readonly #keeper: GenerationKeeper | undefined;
  readonly #highest = new Map<string, number>();
  #storing: Promise<void> = Promise.resolve();

  /** Without a keeper the numbers last as long as the process. */
  constructor(keeper?: GenerationKeeper) {
    this.#keeper = keeper;
  }

  /** The highest generation of a list that was ever seen; 0 if it never was. */
  highest(collection: string): number {
    return this.#highest.get(collection) ?? 0;
  }

  /** Takes note of a generation whose signature holds. Written to the keeper a moment later. */
  note(collection: string, generation: number): void {
    if (generation <= this.highest(collection)) return;
    this.#highest.set(collection, generation);
    this.#store();
  }

  /** Takes in what other windows noted; call it at the start and when the keeper changed. An unreadable note counts as none. */
  async refresh(): Promise<void> {
    const kept = parse(await this.#keeper?.get());
    for (const [collection, generation] of kept) this.#highest.set(collection, Math.max(this.highest(collection), generation));
    // Two windows that store at once can overwrite each other: whoever knows more stores again.
    if ([...this.#highest].some(([collection, generation]) => (kept.get(collection) ?? 0) < generation)) this.#store();
  }

  /** Resolves when everything noted so far is kept. */
  async settled(): Promise<void> {
    await this.#storing;
  }

  #store(): void {
    const keeper = this.#keeper;
    if (!keeper) return;
    this.#storing = this.#storing
      .then(async () => {
        const kept = parse(await keeper.get());
        const merged = new Map(kept);
        for (const [collection, generation] of this.#highest) merged.set(collection, Math.max(merged.get(collection) ?? 0, generation));
        if ([...merged].some(([collection, generation]) => kept.get(collection) !== generation))
          await keeper.set(JSON.stringify(Object.fromEntries(merged)));
      })
      // A keyring that is locked for a moment: the next write of a list stores it again.
      .catch(() => undefined);
  }
}

function parse(text: string | undefined): Map<string, number> {
  if (text === undefined) return new Map();
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    return new Map(Object.entries(value).filter((entry): entry is [string, number] => Number.isSafeInteger(entry[1])));
  } catch {
    return new Map();
  }
}
