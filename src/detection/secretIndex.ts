import { FRAGMENT_BYTES, plainSpelling, spellingsOf, type ExactPattern, type SecretPattern } from './secretPatterns.ts';
import { SeedFilter, SeedTable } from './seeds.ts';

/** A text that several ids may have registered. */
export interface Core {
  readonly text: string;
  readonly bytes: number;
  readonly users: { id: string; core: number }[];
  /** Made when they are first needed. */
  spellings: ReturnType<typeof spellingsOf> | undefined;
}

export interface IndexedPattern extends SecretPattern {
  readonly core: Core;
  /** Where it stands in the seed table. */
  readonly at: number;
  /** Fewest bytes of {@link SecretPattern.spelled} that count as a part. */
  readonly partLength: number;
}

/** Runs that are remembered for each pattern: one for each way in which probing can fall. */
export const SEEN_SLOTS = 4;

/** The runs that were looked at last: where they end, their offset against the text, and in which reading it was. */
export interface Seen {
  readonly ends: Uint32Array;
  readonly offsets: Int32Array;
  readonly readings: Uint32Array;
  /** By pattern: how far it was found last, and in which reading. What repeats itself would be found again at every step. */
  readonly covered: Uint32Array;
  readonly covering: Uint32Array;
}

/** The patterns of a few texts, ready to be searched for. */
export interface Layer {
  readonly patterns: readonly IndexedPattern[];
  readonly seeds: SeedTable;
  readonly seen: Seen;
}

/** What stands in a search for what. */
export interface BuiltIndex {
  readonly layers: readonly Layer[];
  /** For the seeds of all layers; `undefined` if there are none. */
  readonly filter: SeedFilter | undefined;
  /** How far a secret can reach from an escape in it, bytes; what is longer is found in two parts. */
  readonly around: number;
  readonly exact: readonly (ExactPattern & { readonly core: Core; readonly plain: Buffer | undefined })[];
}

/**
 * Bytes of texts in a layer: one is built in a few milliseconds, and again when one of its texts changes. The first are smaller: what builds
 * them is not yet compiled.
 */
const MAX_LAYER_BYTES = 512;
const MIN_LAYER_BYTES = 128;
/** Texts of which the spellings are made in one go: that takes some tenths of a millisecond for each. */
const SPELLED_AT_A_TIME = 4;
/** Text that is searched again on either side of an escape, bytes: less would miss, more costs time. */
const MIN_AROUND_BYTES = 192;
const MAX_AROUND_BYTES = 2_048;

interface Slot {
  readonly cores: Core[];
  bytes: number;
  layer: Layer | undefined;
}

/** All spellings of all secrets, in layers: what changes is built anew, the rest stays. */
export class SecretIndex {
  readonly #slots: Slot[] = [];
  #built: BuiltIndex | undefined;

  add(core: Core): void {
    this.#built = undefined;
    let slot = this.#slots.find(({ bytes }, n) => bytes + core.bytes <= Math.min(MAX_LAYER_BYTES, MIN_LAYER_BYTES << Math.min(n, 8)));
    if (!slot) this.#slots.push((slot = { cores: [], bytes: 0, layer: undefined }));
    slot.cores.push(core);
    slot.bytes += core.bytes;
    slot.layer = undefined;
  }

  remove(core: Core): void {
    const slot = this.#slots.find(({ cores }) => cores.includes(core));
    if (!slot) return;
    this.#built = undefined;
    slot.cores.splice(slot.cores.indexOf(core), 1);
    slot.bytes -= core.bytes;
    slot.layer = undefined;
    if (slot.cores.length === 0) this.#slots.splice(this.#slots.indexOf(slot), 1);
  }

  /** Goes on with a layer of those that are missing, for a few milliseconds; false if none is. */
  buildOn(): boolean {
    const slot = this.#slots.find(({ layer }) => !layer);
    if (!slot) return false;
    const plain = slot.cores.filter(({ spellings }) => !spellings).slice(0, SPELLED_AT_A_TIME);
    for (const core of plain) core.spellings = spellingsOf(core.text);
    if (plain.length === 0) slot.layer = layerOf(slot.cores);
    return true;
  }

  /** Layers that are to be built. */
  get missing(): number {
    return this.#slots.reduce((count, { layer }) => (layer ? count : count + 1), 0);
  }

  /** All of it; what is missing is built now. */
  build(): BuiltIndex {
    if (this.#built) return this.#built;
    while (this.buildOn());
    const cores = this.#slots.flatMap((slot) => slot.cores);
    const layers = this.#slots.flatMap(({ layer }) => (layer && layer.patterns.length > 0 ? [layer] : []));
    const longest = Math.max(0, ...cores.map(({ bytes }) => bytes));
    return (this.#built = {
      layers,
      filter: layers.length > 0 ? new SeedFilter(layers.map(({ seeds }) => seeds)) : undefined,
      around: Math.min(MAX_AROUND_BYTES, Math.max(MIN_AROUND_BYTES, longest * 4)),
      exact: cores.flatMap((core) =>
        (core.spellings?.exact ?? []).map((pattern) => ({ ...pattern, core, plain: plainSpelling(pattern.bytes) })),
      ),
    });
  }
}

export function newCore(text: string): Core {
  return { text, bytes: Buffer.byteLength(text), users: [], spellings: undefined };
}

function layerOf(cores: readonly Core[]): Layer {
  const patterns: IndexedPattern[] = [];
  let at = 1;
  for (const core of cores)
    for (const pattern of core.spellings?.patterns ?? []) {
      patterns.push({ ...pattern, core, at, partLength: Math.ceil(FRAGMENT_BYTES / pattern.bytesEach) });
      at += pattern.symbols.length + 1;
    }
  return {
    patterns,
    seeds: new SeedTable(patterns),
    seen: {
      ends: new Uint32Array(patterns.length * SEEN_SLOTS),
      offsets: new Int32Array(patterns.length * SEEN_SLOTS),
      readings: new Uint32Array(patterns.length * SEEN_SLOTS),
      covered: new Uint32Array(patterns.length),
      covering: new Uint32Array(patterns.length),
    },
  };
}
