import { inflateRawSync } from 'node:zlib';
import type { SeedFilter } from './seeds.ts';

/** The module of `wasm/scan.ts`, DEFLATE in base64, put in by the build. Where nothing was built, it is a file. */
declare const CULVERT_SCAN: string;
/** Of the API of WebAssembly, whose types come with those of browsers. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** What `wasm/scan.ts` exports: places are addresses in its memory, constants are globals. */
interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer };
  prepare(): void;
  end(at: number): void;
  symbols(at: number, length: number): number;
  firstRun(): number;
  nextSeed(from: number, count: number, shift: number): number;
  keywords(at: number, from: number, length: number, tables: number, groups: number): number;
  goOnFrom(): number;
  nextSuspect(at: number, from: number, length: number): number;
  flatten(length: number): number;
  sawBlobKey(): number;
  fold(at: number, length: number): number;
  nextChange(around: number, shift: number): number;
}
type Constant =
  | 'CAPACITY'
  | 'MAX_FILTER'
  | 'MARKS'
  | 'FOLDED'
  | 'FOLDING'
  | 'FILTER'
  | 'KEYWORDS'
  | 'KEYWORD_BYTES'
  | 'FOUND'
  | 'RAW'
  | 'FLAT'
  | 'TEXT'
  | 'SYMBOLS';
type Constants = Readonly<Record<Constant, { readonly value: number }>>;

/** Keyword scanners whose tables are kept in the module. */
const KEYWORD_SLOTS = 4;
/** Bytes for each character that becomes something else: their number, then they. */
const FOLDED_BYTES = 16;
/** A text below this is searched as fast without the module, bytes. */
const LEAST_BYTES = 256;

/**
 * Runs the slowest loops over a text sixteen bytes a step, in WebAssembly (`wasm/scan.ts`). One text is in its memory at a time: what it gives
 * is good until another text is placed. The loops in TypeScript stay: for what runs without WebAssembly, for very short and very long texts,
 * and for what is found within a text.
 */
export class TextScan {
  readonly #module: Exports;
  readonly #constants: Readonly<Record<Constant, number>>;
  readonly #memory: Uint8Array;
  /** The symbols that {@link readSymbols} wrote. */
  readonly symbols: Uint8Array;
  /** The same memory. */
  readonly symbolsData: DataView;
  /** Number of symbols before each block of 1024 bytes. */
  readonly marks: Uint32Array<ArrayBuffer>;
  /** Longest text, bytes. */
  readonly capacity: number;
  #held: Uint8Array | undefined;
  #filter: SeedFilter | undefined;
  #folding = false;
  /** What {@link keywords} found: keyword and place, in pairs. */
  readonly found: Uint32Array;
  /** The tables in each slot, and those of them that were used last, first. */
  readonly #slots: (Uint8Array | undefined)[] = new Array<undefined>(KEYWORD_SLOTS).fill(undefined);
  readonly #recent = Array.from(this.#slots, (_, slot) => slot);

  /** @throws if there is no WebAssembly here, or none that can do this. */
  constructor(bytes: Uint8Array) {
    const exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as Exports & Constants;
    this.#module = exports;
    const constant = (name: Constant) => exports[name].value;
    this.#constants = {
      CAPACITY: constant('CAPACITY'),
      MAX_FILTER: constant('MAX_FILTER'),
      MARKS: constant('MARKS'),
      FOLDED: constant('FOLDED'),
      FOLDING: constant('FOLDING'),
      FILTER: constant('FILTER'),
      KEYWORDS: constant('KEYWORDS'),
      KEYWORD_BYTES: constant('KEYWORD_BYTES'),
      FOUND: constant('FOUND'),
      RAW: constant('RAW'),
      FLAT: constant('FLAT'),
      TEXT: constant('TEXT'),
      SYMBOLS: constant('SYMBOLS'),
    };
    const { buffer } = exports.memory;
    const { SYMBOLS, MARKS, FOUND, CAPACITY } = this.#constants;
    this.#memory = new Uint8Array(buffer);
    this.symbols = new Uint8Array(buffer, SYMBOLS, CAPACITY + FOLDED_BYTES);
    this.symbolsData = new DataView(buffer, SYMBOLS, CAPACITY + FOLDED_BYTES);
    this.found = new Uint32Array(buffer, FOUND, 0x8000);
    this.marks = new Uint32Array(buffer, MARKS, CAPACITY / 1024);
    this.capacity = CAPACITY;
    exports.prepare();
  }

  /** Where a text lies in the module, at most {@link capacity} bytes. It is copied there, if it is not there already. */
  place(text: Uint8Array): number {
    const { FLAT, TEXT } = this.#constants;
    if (text === this.#held) return FLAT;
    this.#memory.set(text, TEXT);
    this.#module.end(TEXT + text.length);
    return TEXT;
  }

  /**
   * Undoes the escapes of a JSON text (`FlatText.read`). The result stays placed until {@link release}: it is the text itself if it has none,
   * else memory of the module. `mayHoldBlobs`: whether the text holds one of the keys `"data"` and `"blob"`.
   */
  flatten(raw: Buffer): { readonly flat: Buffer; readonly mayHoldBlobs: boolean } {
    const { RAW, FLAT } = this.#constants;
    this.#memory.set(raw, RAW);
    this.#module.end(RAW + raw.length);
    const length = this.#module.flatten(raw.length);
    // An escape is longer than what it stands for.
    const flat = length === raw.length ? raw : Buffer.from(this.#memory.buffer as ArrayBuffer, FLAT, length);
    this.#held = flat;
    return { flat, mayHoldBlobs: this.#module.sawBlobKey() !== 0 };
  }

  /** The text that {@link flatten} gave is no longer needed. */
  release(): void {
    this.#held = undefined;
  }

  /** Reads the symbols of a text that is placed. Gives their number. */
  readSymbols(at: number, length: number): number {
    return this.#module.symbols(at, length);
  }

  /** Where in the text whose symbols were read something may begin that is long enough to be decoded (`encodedRuns.ts`); -1: nowhere. */
  get firstRun(): number {
    return this.#module.firstRun();
  }

  /** Makes {@link nextSeed} and {@link changesNothing} use a filter. False if it is too large. */
  use(filter: SeedFilter): boolean {
    if (filter === this.#filter) return true;
    const { FILTER, MAX_FILTER } = this.#constants;
    if (filter.bits.byteLength > MAX_FILTER) return false;
    this.#memory.set(bytesOf(filter.bits), FILTER);
    this.#filter = filter;
    return true;
  }

  /** `SeedFilter.next` for the symbols that were read. */
  nextSeed(from: number, count: number): number {
    return this.#module.nextSeed(from, count, this.#filter?.shift ?? 0);
  }

  /** Where the tables of a keyword scanner are, 0 if they are too large. */
  tables(tables: Uint8Array): number {
    const { KEYWORDS, KEYWORD_BYTES } = this.#constants;
    const recent = this.#recent;
    let slot = recent[0] as number;
    if (this.#slots[slot] !== tables) {
      if (tables.length > KEYWORD_BYTES) return 0;
      const known = this.#slots.indexOf(tables);
      slot = known >= 0 ? known : (recent.at(-1) as number);
      recent.splice(recent.indexOf(slot), 1);
      recent.unshift(slot);
      if (known < 0) {
        this.#memory.set(tables, KEYWORDS + slot * KEYWORD_BYTES);
        this.#slots[slot] = tables;
      }
    }
    return KEYWORDS + slot * KEYWORD_BYTES;
  }

  /** `KeywordScanner.#scanPairs` from the pair `from` on: gives the number of keywords in {@link found}. For more of them see {@link goOnFrom}. */
  keywords(at: number, from: number, length: number, tables: number, groups: number): number {
    return this.#module.keywords(at, from, length, tables, groups);
  }

  /** The pair of bytes that is the next after {@link keywords}. */
  goOnFrom(): number {
    return this.#module.goOnFrom();
  }

  /** The next place where something hidden may begin, `length` if there is none. */
  nextSuspect(at: number, from: number, length: number): number {
    return this.#module.nextSuspect(at, from, length);
  }

  /**
   * Whether what is read as something else in a text (characters outside ASCII) can have brought up no secret. False if that is not known
   * here: as soon as there is an escape. The text holds no backslash; `holds` tells whether there is a seed at a place of {@link symbols}, which
   * is overwritten; for the rest see `ChangeFilter`.
   */
  changesNothing(at: number, length: number, around: number, holds: (symbols: Uint8Array, at: number) => boolean): boolean {
    if (!this.#folding) return false;
    const changes = this.#module.fold(at, length);
    if (changes <= 0) return changes === 0;
    const shift = this.#filter?.shift ?? 0;
    for (;;) {
      const next = this.#module.nextChange(around, shift);
      if (next < 0) return next === -1;
      if (holds(this.symbols, next)) return false;
    }
  }

  /** Takes over what characters become (`lookAlikes.ts`), once. */
  fold(folding: () => { readonly table: Uint16Array; readonly texts: readonly Uint8Array[] }): void {
    if (this.#folding) return;
    const { FOLDED, FOLDING } = this.#constants;
    const { table, texts } = folding();
    if (texts.length * FOLDED_BYTES > FOLDING - FOLDED || texts.some((text) => text.length >= FOLDED_BYTES)) return;
    this.#memory.set(bytesOf(table), FOLDING);
    for (const [i, text] of texts.entries()) {
      this.#memory[FOLDED + i * FOLDED_BYTES] = text.length;
      this.#memory.set(text, FOLDED + i * FOLDED_BYTES + 1);
    }
    this.#folding = true;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

let loaded: TextScan | undefined;
let failed = false;
let least = LEAST_BYTES;

/** What searches a text of so many bytes, `undefined` if that is no faster or there is no WebAssembly. Made when it is first needed. */
export function textScanFor(length: number): TextScan | undefined {
  if (length < least || failed) return undefined;
  if (!loaded) {
    try {
      loaded = new TextScan(moduleBytes());
    } catch {
      // `--jitless`, a processor without vectors, a copy of the source where nothing was built.
      failed = true;
      return undefined;
    }
  }
  return length <= loaded.capacity ? loaded : undefined;
}

/** Uses the module for texts from so many bytes on; {@link LEAST_BYTES} if not given. For what holds one way against the other. */
export function useTextScanFrom(bytes = LEAST_BYTES): void {
  least = bytes;
}

function moduleBytes(): Uint8Array {
  if (typeof CULVERT_SCAN === 'string') return inflateRawSync(Buffer.from(CULVERT_SCAN, 'base64'));
  return process.getBuiltinModule('node:fs').readFileSync(new URL('../../out/scan.wasm', import.meta.url));
}
