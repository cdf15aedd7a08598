import { textScanFor, type TextScan } from './textScan.ts';

/**
 * The symbols of a text: its ASCII letters and digits, letters in lower case, everything else left out. A secret that was spaced out,
 * dashed, broken into lines, put in another case or between invisible characters has the same symbols as before; so have base64, base32 and
 * hex in any spelling. They are what is searched first; what was left out is looked at when a place is verified.
 */

/** Symbol of a byte, 0 for bytes that have none. */
export const SYMBOL_OF: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) =>
  (c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x7a) ? c : c >= 0x41 && c <= 0x5a ? c | 0x20 : 0,
);

/** Bytes of text between two entries of {@link Symbols}'s marks. */
const BLOCK_BYTES = 1024;
/** Room behind the symbols, for writing two and reading five at a time. */
const SLACK = 8;

/** Symbols of two bytes (little-endian) in the lower half, their number in the upper half: two bytes a step read three times as fast as one. */
let pairs: Uint32Array | undefined;

function pairTable(): Uint32Array {
  if (pairs) return pairs;
  pairs = new Uint32Array(65536);
  for (let v = 0; v < 65536; v++) {
    const [a, b] = [SYMBOL_OF[v & 0xff] as number, SYMBOL_OF[v >>> 8] as number];
    pairs[v] = a === 0 ? (b === 0 ? 0 : b | 0x10000) : b === 0 ? a | 0x10000 : a | (b << 8) | 0x20000;
  }
  return pairs;
}

/** The symbols of one text, and where they stand in it. Made once and used again for the next text. */
export class Symbols {
  /** The symbols; only the first {@link count} count. */
  symbols: Uint8Array = new Uint8Array(256);
  /** The same memory. */
  data = new DataView(this.symbols.buffer);
  count = 0;
  /** The module that read them, where it lies in there, if so. */
  scan: TextScan | undefined;
  placed = 0;
  /** Where in the text something may begin that is long enough to be decoded; -1: nowhere. */
  firstRun = 0;
  readonly #mayScan: boolean;
  #text: Uint8Array = this.symbols;
  /** Number of symbols before each block of the text. */
  #marks = new Uint32Array(16);
  /** Memory of our own. */
  #own = this.symbols;
  #ownData = this.data;
  #ownMarks = this.#marks;
  /** Where the last walk ended: a place in the text, and the number of symbols before it. */
  #cursorAt = 0;
  #cursorCount = 0;

  /** `mayScan`: whether no other text is read until this one has been done with; then the module for that is used. */
  constructor(mayScan = false) {
    this.#mayScan = mayScan;
  }

  /** Reads `text`, which must stay as it is until the next call. */
  read(text: Uint8Array): void {
    const { length } = text;
    this.#text = text;
    this.#cursorAt = 0;
    this.#cursorCount = 0;
    const scan = this.#mayScan ? textScanFor(length) : undefined;
    this.scan = scan;
    this.firstRun = 0;
    if (scan) {
      this.placed = scan.place(text);
      this.count = scan.readSymbols(this.placed, length);
      this.firstRun = scan.firstRun;
      this.symbols = scan.symbols;
      this.data = scan.symbolsData;
      this.#marks = scan.marks;
      return;
    }
    if (this.#own.length < length + SLACK) {
      this.#own = new Uint8Array(roomFor(length + SLACK));
      this.#ownData = new DataView(this.#own.buffer);
    }
    const blocks = Math.ceil(length / BLOCK_BYTES);
    if (this.#ownMarks.length < blocks) this.#ownMarks = new Uint32Array(roomFor(blocks));
    this.symbols = this.#own;
    this.data = this.#ownData;
    this.#marks = this.#ownMarks;
    const table = pairTable();
    const from = new DataView(text.buffer, text.byteOffset, length);
    const to = this.data;
    const marks = this.#marks;
    let count = 0;
    for (let block = 0, start = 0; block < blocks; block++, start += BLOCK_BYTES) {
      marks[block] = count;
      const end = Math.min(start + BLOCK_BYTES, length);
      let i = start;
      for (; i + 2 <= end; i += 2) {
        const two = table[from.getUint16(i, true)] as number;
        to.setUint16(count, two, true);
        count += two >>> 16;
      }
      if (i < end) {
        const symbol = SYMBOL_OF[from.getUint8(i)] as number;
        to.setUint8(count, symbol);
        if (symbol !== 0) count++;
      }
    }
    this.count = count;
  }

  /** Place in the text of the symbol with this index. Cheap when asked in ascending order. */
  placeOf(index: number): number {
    const block = this.#blockOf(index);
    const mark = this.#marks[block] as number;
    let [at, count] = [block * BLOCK_BYTES, mark];
    if (this.#cursorCount <= index && this.#cursorCount > mark) [at, count] = [this.#cursorAt, this.#cursorCount];
    const text = this.#text;
    for (; ; at++) {
      if (SYMBOL_OF[text[at] as number] === 0) continue;
      if (count === index) break;
      count++;
    }
    this.#cursorAt = at;
    this.#cursorCount = count;
    return at;
  }

  /** Gives memory back that was needed for a very long text. */
  trim(maxBytes: number): void {
    if (this.#own.length <= maxBytes) return;
    this.symbols = this.#own = new Uint8Array(256);
    this.data = this.#ownData = new DataView(this.#own.buffer);
    this.#marks = this.#ownMarks = new Uint32Array(16);
    this.#text = this.#own;
    this.count = 0;
  }

  /** The last block that begins with at most `index` symbols before it. */
  #blockOf(index: number): number {
    let [low, high] = [0, Math.ceil(this.#text.length / BLOCK_BYTES) - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#marks[middle] as number) <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The same memory, for reading and writing several bytes at a time. */
export function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** A size to allocate: at least `bytes`, with room to grow. */
export function roomFor(bytes: number): number {
  return 1 << (32 - Math.clz32(Math.max(bytes, 256) - 1));
}
