import type { KnownSecrets, SecretMatch } from './knownSecrets.ts';

/** What a {@link Scanner} lets go: bytes in their order, and the places of secrets in them. */
export interface Scanned {
  readonly bytes: Buffer;
  readonly matches: readonly SecretMatch[];
}

/** Least and most bytes that are held back. Bulky encodings write four bytes for one, and may have gaps. */
const MIN_WINDOW_BYTES = 4_096;
const MAX_WINDOW_BYTES = 65_536;
const WINDOW_PER_BYTE = 32;

const NOTHING: Scanned = { bytes: Buffer.alloc(0), matches: [] };

/**
 * Finds known secrets in bytes that come in pieces (stderr), also across pieces. Holds back at most a window; what is in it comes with the
 * next bytes or with {@link flush}, which the owner calls when the stream pauses or ends. Any secret whose spelling is no longer than half
 * a window is found whole, as it would be in the text in one piece.
 */
export class Scanner {
  readonly #secrets: KnownSecrets;
  readonly #only: ((id: string) => boolean) | undefined;
  readonly #windowBytes: number | undefined;
  /** What was let go last: what is held back is read in its light. */
  #before: Buffer = NOTHING.bytes;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** `windowBytes`: by default as much as the longest secret needs. */
  constructor(secrets: KnownSecrets, options: { readonly only?: (id: string) => boolean; readonly windowBytes?: number } = {}) {
    this.#secrets = secrets;
    this.#only = options.only;
    this.#windowBytes = options.windowBytes;
  }

  /** Most bytes that are held back now. */
  get windowBytes(): number {
    return this.#windowBytes ?? Math.min(MAX_WINDOW_BYTES, Math.max(MIN_WINDOW_BYTES, this.#secrets.longestBytes * WINDOW_PER_BYTE));
  }

  /** Takes the next piece; gives what can go. */
  push(piece: Buffer): Scanned {
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    return this.#heldBytes > this.windowBytes ? this.#release(Math.floor(this.windowBytes / 2)) : NOTHING;
  }

  /** Gives all that is held back. */
  flush(): Scanned {
    return this.#heldBytes > 0 ? this.#release(0) : NOTHING;
  }

  /** Lets go all but the last `keep` bytes, or a little more or less: a secret is not cut. */
  #release(keep: number): Scanned {
    const text = Buffer.concat([this.#before, ...this.#held]);
    const first = this.#before.length;
    const found = this.#secrets.find(text, this.#only).filter(({ end }) => end > first);
    let cut = text.length - keep;
    const across = found.find(({ start, end }) => start < cut && end > cut);
    // What reaches over more than a window goes in parts; the part that went is seen again with the next.
    if (across && keep > 0) cut = across.start > first && text.length - across.start <= this.windowBytes ? across.start : cut;
    const bytes = text.subarray(first, cut);
    const matches = found
      .filter(({ start }) => start < cut)
      .map((match) => ({ ...match, start: Math.max(match.start, first) - first, end: Math.min(match.end, cut) - first }));
    this.#before = Buffer.from(text.subarray(Math.max(0, cut - this.windowBytes), cut));
    this.#held = cut < text.length ? [Buffer.from(text.subarray(cut))] : [];
    this.#heldBytes = text.length - cut;
    return { bytes, matches };
  }
}
