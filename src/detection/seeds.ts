import { roomFor } from './symbols.ts';

/**
 * Symbols of a seed, and the distance at which a text is probed for them: whatever has {@link SEED_SYMBOLS} + {@link PROBE_STEP} - 1 = 8 symbols
 * in common with a pattern has a whole seed at a probed place.
 */
export const SEED_SYMBOLS = 5;
const PROBE_STEP = 4;
/** Fewest symbols in common that are sure to be found. */
export const MIN_RUN_SYMBOLS = SEED_SYMBOLS + PROBE_STEP - 1;

/** Bits of the filter for each seed, at least: one probe of eight to sixteen passes by chance. */
const FILTER_BITS = 16;
/** Where in a hash the place of a seed's second bit stands. */
const SECOND_BIT = 6;
/** Bits of the smallest filter, as a power of two: 4 KB, which stay in the processor's nearest memory. */
const MIN_FILTER_BITS = 15;
/** A seed with more places than this is a common beginning or a repetition, and is left out where the pattern has others. */
const MAX_PLACES = 24;

/** What is searched for. */
export interface SeededPattern {
  /** At least {@link MIN_RUN_SYMBOLS}. */
  readonly symbols: Uint8Array;
  /** Every so many symbols four places in a row are seeds; four: all are. A run of this and seven more is sure to be found. */
  readonly period: number;
}

/** The longest period with which a run of `symbols` is sure to be found. */
export function periodFor(symbols: number): number {
  return Math.max(PROBE_STEP, symbols - MIN_RUN_SYMBOLS + 1);
}

function isSeed(offset: number, length: number, period: number): boolean {
  return offset % period < PROBE_STEP || offset > length - SEED_SYMBOLS - PROBE_STEP;
}

function seedsOf({ symbols, period }: SeededPattern): number {
  let count = 0;
  for (let o = 0; o + SEED_SYMBOLS <= symbols.length; o++) if (isSeed(o, symbols.length, period)) count++;
  return count;
}

/** Tells places of a text that may be seeds of one of several tables. */
export class SeedFilter {
  readonly bits: Uint32Array;
  /** How far a hash is shifted to be the number of a bit. */
  readonly shift: number;

  constructor(tables: readonly SeedTable[]) {
    const seeds = tables.reduce((sum, { places }) => sum + places.length, 0);
    const bits = Math.max(MIN_FILTER_BITS, log2(roomFor(seeds * FILTER_BITS)));
    const filter = new Uint32Array((1 << bits) >>> 5);
    const shift = 32 - bits;
    for (const table of tables) table.addTo(filter, shift);
    this.bits = filter;
    this.shift = shift;
  }

  /** The first probed place from `from` on that may be a seed, `count` if there is none. `data` is the memory of `symbols`. */
  next(symbols: Uint8Array, data: DataView, from: number, count: number): number {
    const filter = this.bits;
    const shift = this.shift;
    const last = count - SEED_SYMBOLS;
    for (let i = from; i <= last; i += PROBE_STEP) {
      const hash = Math.imul(data.getInt32(i, true) ^ Math.imul(symbols[i + 4] as number, SPREAD_FIFTH), SPREAD);
      const bit = hash >>> shift;
      const word = filter[bit >>> 5] as number;
      // Two bits of one word: the second seldom is there by chance, and costs no memory access.
      if (((word >>> (bit & 31)) & (word >>> ((hash >>> SECOND_BIT) & 31)) & 1) !== 0) return i;
    }
    return count;
  }

  /** The probed place behind `at`. */
  after(at: number): number {
    return at + PROBE_STEP;
  }
}

/** Where seeds stand in a row of patterns. Built once for all patterns: counting, then filling. */
export class SeedTable {
  /** All patterns one after the other, a zero before, between and behind. */
  readonly symbols: Uint8Array;
  /** Index of the pattern at each place in {@link places}. */
  readonly owners: Uint32Array;
  /** Places in {@link symbols} by bucket. */
  readonly places: Uint32Array;
  /** First index in {@link places} of each bucket; one more at the end. */
  readonly #heads: Uint32Array;
  /** A byte of each place's hash, to spare a look at the symbols. */
  readonly #tags: Uint8Array;
  readonly #bucketShift: number;

  constructor(patterns: readonly SeededPattern[]) {
    let seeds = 0;
    let size = 1;
    for (const pattern of patterns) {
      seeds += seedsOf(pattern);
      size += pattern.symbols.length + 1;
    }
    const bucketBits = Math.max(6, log2(roomFor(seeds)));
    this.#bucketShift = 32 - bucketBits;
    this.symbols = new Uint8Array(size + SEED_SYMBOLS);
    this.#heads = new Uint32Array((1 << bucketBits) + 1);
    this.places = new Uint32Array(seeds);
    this.owners = new Uint32Array(seeds);
    this.#tags = new Uint8Array(seeds);
    this.#fill(patterns);
    this.#thin(patterns);
  }

  /** Sets the bits of all seeds in a filter. */
  addTo(filter: Uint32Array, shift: number): void {
    const { places, symbols } = this;
    for (const place of places) {
      if (place === 0) continue;
      const hash = hashAt(symbols, place);
      const bit = hash >>> shift;
      filter[bit >>> 5] = (filter[bit >>> 5] as number) | (1 << (bit & 31)) | (1 << ((hash >>> SECOND_BIT) & 31));
    }
  }

  /** Whether the seed at `at` of `text` is one of these. */
  holds(text: Uint8Array, at: number): boolean {
    let found = false;
    this.lookUp(text, at, () => (found = true));
    return found;
  }

  #fill(patterns: readonly SeededPattern[]): void {
    const { symbols } = this;
    const heads = this.#heads;
    let at = 1;
    for (const pattern of patterns) {
      const { length } = pattern.symbols;
      symbols.set(pattern.symbols, at);
      for (let o = 0; o + SEED_SYMBOLS <= length; o++) {
        if (!isSeed(o, length, pattern.period)) continue;
        const bucket = (hashAt(symbols, at + o) >>> this.#bucketShift) + 1;
        heads[bucket] = (heads[bucket] as number) + 1;
      }
      at += length + 1;
    }
    for (let i = 1; i < heads.length; i++) heads[i] = (heads[i] as number) + (heads[i - 1] as number);
    const next = heads.slice();
    at = 1;
    for (let owner = 0; owner < patterns.length; owner++) {
      const pattern = patterns[owner] as SeededPattern;
      const { length } = pattern.symbols;
      for (let o = 0; o + SEED_SYMBOLS <= length; o++) {
        if (!isSeed(o, length, pattern.period)) continue;
        const hash = hashAt(symbols, at + o);
        const bucket = hash >>> this.#bucketShift;
        const entry = next[bucket] as number;
        next[bucket] = entry + 1;
        this.places[entry] = at + o;
        this.owners[entry] = owner;
        this.#tags[entry] = hash & 0xff;
      }
      at += length + 1;
    }
  }

  /** Calls `visit` for each place of the seed that stands at `at` of `text`. */
  lookUp(text: Uint8Array, at: number, visit: (owner: number, place: number, at: number) => void): void {
    const hash = hashAt(text, at);
    const bucket = hash >>> this.#bucketShift;
    const end = this.#heads[bucket + 1] as number;
    const { symbols, places } = this;
    for (let e = this.#heads[bucket] as number; e < end; e++) {
      if (this.#tags[e] !== (hash & 0xff)) continue;
      const place = places[e] as number;
      if (place === 0) continue;
      if (
        symbols[place] === text[at] &&
        symbols[place + 1] === text[at + 1] &&
        symbols[place + 2] === text[at + 2] &&
        symbols[place + 3] === text[at + 3] &&
        symbols[place + 4] === text[at + 4]
      )
        visit(this.owners[e] as number, place, at);
    }
  }

  /**
   * Leaves out seeds that would make searching slow where a text is full of them: repetitions within a pattern that are as well found by an
   * earlier place, and beginnings that many patterns share (`sk-ant-api03-`), if the pattern stays sure to be found.
   */
  #thin(patterns: readonly SeededPattern[]): void {
    const heads = this.#heads;
    const starts: number[] = [];
    const crowded = new Map<number, number[]>();
    const repeats = new Map<number, number[]>();
    for (let bucket = 0; bucket + 1 < heads.length; bucket++) {
      const [first, end] = [heads[bucket] as number, heads[bucket + 1] as number];
      if (end - first <= PROBE_STEP) continue;
      // Repeats: the first place for each of the four ways in which probing can fall is enough. Entries stand in the order of their places.
      let places = 0;
      let ofOwner = first;
      for (let e = first; e < end; e++) {
        if (this.owners[e] !== this.owners[ofOwner]) ofOwner = e;
        if (this.#isRepeat(ofOwner, e)) {
          pushTo(repeats, this.owners[e] as number, this.places[e] as number);
          this.places[e] = 0;
        } else places++;
      }
      if (places <= MAX_PLACES) continue;
      for (let e = first; e < end; e++) {
        if (this.places[e] === 0) continue;
        pushTo(crowded, this.owners[e] as number, e);
      }
    }
    if (crowded.size === 0) return;
    let at = 1;
    for (const { symbols } of patterns) {
      starts.push(at);
      at += symbols.length + 1;
    }
    for (const [owner, entries] of crowded) {
      const { symbols, period } = patterns[owner] as SeededPattern;
      const kept = Uint8Array.from({ length: symbols.length - SEED_SYMBOLS + 1 }, (_, o) => (isSeed(o, symbols.length, period) ? 1 : 0));
      for (const place of [...(repeats.get(owner) ?? []), ...entries.map((e) => this.places[e] as number)])
        kept[place - (starts[owner] as number)] = 0;
      let [run, longest] = [0, 0];
      for (const k of kept) longest = Math.max(longest, (run = k === 1 ? run + 1 : 0));
      if (longest >= PROBE_STEP) for (const e of entries) this.places[e] = 0;
    }
  }

  /** Whether a place before, from entry `first` on, holds the same seed of the same pattern, at a distance that probing can't tell. */
  #isRepeat(first: number, entry: number): boolean {
    const { symbols, places } = this;
    const place = places[entry] as number;
    for (let e = first; e < entry; e++) {
      const other = places[e] as number;
      if (other === 0 || (place - other) % PROBE_STEP !== 0) continue;
      let i = 0;
      while (i < SEED_SYMBOLS && symbols[place + i] === symbols[other + i]) i++;
      if (i === SEED_SYMBOLS) return true;
    }
    return false;
  }
}

function pushTo(map: Map<number, number[]>, key: number, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

const SPREAD = 0x85ebca6b;
const SPREAD_FIFTH = 0x9e3779b1;

function hashAt(s: Uint8Array, i: number): number {
  const four = (s[i] as number) | ((s[i + 1] as number) << 8) | ((s[i + 2] as number) << 16) | ((s[i + 3] as number) << 24);
  return Math.imul(four ^ Math.imul(s[i + 4] as number, SPREAD_FIFTH), SPREAD) >>> 0;
}

function log2(power: number): number {
  return 31 - Math.clz32(power);
}
