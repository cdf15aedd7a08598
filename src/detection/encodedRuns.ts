import { constants, inflateRawSync, inflateSync } from 'node:zlib';
import { NIBBLE_OF } from './escapes.ts';

/** Something encoded within a text, and what it decodes to. */
export interface EncodedRun {
  readonly decoded: Buffer;
  /** Whether it was compressed: then no part of it can be told from another. */
  readonly compressed: boolean;
  /** Place in the text of the bytes from `start` to `end` of {@link decoded}. */
  readonly place: (start: number, end: number) => { readonly start: number; readonly end: number };
}

/** What may still be decoded and inflated while one text is looked at. Guards against bombs: what is over it stays unread, and is said to be. */
export interface DecodingBudget {
  /** Bytes. */
  decoded: number;
  /** Bytes. */
  inflated: number;
  /** Set if something had to stay unread. */
  exceeded: boolean;
}

/** Most bytes that are inflated for one text. */
export const MAX_INFLATED_BYTES = 1_048_576;
/** Most bytes decoded for one text, as a multiple of its length, and at least. */
const MAX_DECODED_RATIO = 4;
const MIN_DECODED_BYTES = 65_536;

export function decodingBudget(textBytes: number): DecodingBudget {
  return { decoded: Math.max(MIN_DECODED_BYTES, textBytes * MAX_DECODED_RATIO), inflated: MAX_INFLATED_BYTES, exceeded: false };
}

/** Shortest runs that are decoded, characters: of base64, what 15 bytes make. */
export const MIN_ENCODED = 20;
/** A line of this many characters that is nothing but base64 goes on in the next (MIME: 76, PEM: 64). */
const MIN_LINE = 40;
/** Decoded bytes that are looked at to tell text from noise, at each of {@link SAMPLES} places. */
const SAMPLE_BYTES = 24;
const SAMPLES = 6;
/** Least distance of two samples, characters. */
const MIN_STEP = 16;

const IS_BASE64 = 1;
const IS_HEX = 2;
const IS_BASE32 = 4;
const KIND = Uint8Array.from({ length: 256 }, (_, c) => {
  const digit = c >= 0x30 && c <= 0x39;
  const upper = c >= 0x41 && c <= 0x5a;
  const lower = c >= 0x61 && c <= 0x7a;
  return (
    (digit || upper || lower || c === 0x2b || c === 0x2f || c === 0x2d || c === 0x5f ? IS_BASE64 : 0) |
    (NIBBLE_OF[c] !== 255 ? IS_HEX : 0) |
    (upper || (c >= 0x32 && c <= 0x37) ? IS_BASE32 : 0)
  );
});
const SEXTET = Uint8Array.from({ length: 256 }, (_, c) => {
  if (c >= 0x41 && c <= 0x5a) return c - 0x41;
  if (c >= 0x61 && c <= 0x7a) return c - 0x47;
  if (c >= 0x30 && c <= 0x39) return c + 4;
  return c === 0x2b || c === 0x2d ? 62 : c === 0x2f || c === 0x5f ? 63 : 255;
});

/** Whether a byte is a character of base64 or base64url. */
export function isBase64Character(c: number | undefined): boolean {
  return c !== undefined && SEXTET[c] !== 255;
}

/** Calls `visit` for what in `text` is encoded and decodes to text or to something compressed. Nothing is before `first`. Looks at one byte in four of ordinary text. */
export function forEachEncodedRun(text: Buffer, budget: DecodingBudget, visit: (run: EncodedRun) => void, first = 0): void {
  const size = text.length;
  // Nothing that counts begins before `start`. From the last place of the shortest run backwards, so most of the text is skipped.
  for (let start = first; start + MIN_ENCODED <= size;) {
    let at = start + MIN_ENCODED - 1;
    while (at >= start && ((KIND[text[at] as number] as number) & IS_BASE64) !== 0) at--;
    if (at >= start) {
      start = at + 1;
      continue;
    }
    let kinds = IS_BASE64 | IS_HEX | IS_BASE32;
    let end = start;
    let line = start;
    for (; ; end++) {
      const kind = end < size ? (KIND[text[end] as number] as number) : 0;
      if ((kind & IS_BASE64) !== 0) {
        kinds &= kind;
        continue;
      }
      if (end - line < MIN_LINE) break;
      const lineBreak = text[end] === 0x0a ? 1 : text[end] === 0x0d && text[end + 1] === 0x0a ? 2 : 0;
      if (lineBreak === 0 || ((KIND[text[end + lineBreak] ?? 0] as number) & IS_BASE64) === 0) break;
      end += lineBreak - 1;
      line = end + 1;
    }
    decodeRun(text, start, end, kinds, budget, visit);
    start = end + 1;
  }
}

function decodeRun(
  text: Buffer,
  start: number,
  end: number,
  kinds: number,
  budget: DecodingBudget,
  visit: (run: EncodedRun) => void,
): void {
  if ((kinds & IS_HEX) !== 0) decodeHex(text, start, end, budget, visit);
  else if (end - start >= MIN_ENCODED) forEachStretch(text, start, end, IS_HEX, MIN_ENCODED, budget, visit, decodeHex);
  if ((kinds & IS_BASE32) !== 0) decodeBase32(text, start, end, budget, visit);
  else if (end - start >= MIN_ENCODED) forEachStretch(text, start, end, IS_BASE32, MIN_ENCODED, budget, visit, decodeBase32);
  for (let skip = 0; skip < 4; skip++)
    if (isText(text, start + skip, end, BASE64)) give(decodedBase64(text, start + skip, end), budget, visit);
  const a = SEXTET[text[start] ?? 0] as number;
  const b = SEXTET[text[start + 1] ?? 0] as number;
  const c = SEXTET[text[start + 2] ?? 0] as number;
  if (isCompressed(((a << 2) | (b >>> 4)) & 0xff, ((b << 4) | (c >>> 2)) & 0xff))
    giveInflated(decodedBase64(text, start, end), start, end, budget, visit);
}

type Visit = (run: EncodedRun) => void;
type Decode = (text: Buffer, start: number, end: number, budget: DecodingBudget, visit: Visit) => void;

/** Decodes the parts of a run that are of one kind and long enough: other characters of base64 can stand right beside them. */
function forEachStretch(
  text: Buffer,
  start: number,
  end: number,
  kind: number,
  least: number,
  budget: DecodingBudget,
  visit: Visit,
  decode: Decode,
): void {
  let from = start;
  for (let i = start; i <= end; i++) {
    const c = i < end ? (text[i] as number) : 0;
    if (((KIND[c] as number) & kind) !== 0 || ((c === 0x0a || c === 0x0d) && i < end)) continue;
    if (i - from >= least) decode(text, from, i, budget, visit);
    from = i + 1;
  }
}

function decodeHex(text: Buffer, start: number, end: number, budget: DecodingBudget, visit: Visit): void {
  if (end - start < MIN_ENCODED) return;
  for (let skip = 0; skip < 2; skip++) if (isText(text, start + skip, end, HEX)) give(decodedHex(text, start + skip, end), budget, visit);
  // The first digits of gzip.
  if (text[start] === 0x31 && ((text[start + 1] ?? 0) | 0x20) === 0x66)
    giveInflated(decodedHex(text, start, end), start, end, budget, visit);
}

function decodeBase32(text: Buffer, start: number, end: number, budget: DecodingBudget, visit: Visit): void {
  if (end - start < MIN_ENCODED) return;
  for (let skip = 0; skip < 8; skip++)
    if (isText(text, start + skip, end, BASE32)) give(decodedBase32(text, start + skip, end), budget, visit);
}

function give(run: EncodedRun, budget: DecodingBudget, visit: (run: EncodedRun) => void): void {
  budget.decoded -= run.decoded.length;
  if (budget.decoded < 0) budget.exceeded = true;
  else visit(run);
}

/** The headers of gzip (RFC 1952, 2.3.1) and zlib (RFC 1950, 2.2). */
function isCompressed(first: number, second: number): boolean {
  return (first === 0x1f && second === 0x8b) || ((first & 0x0f) === 8 && first >>> 4 <= 7 && ((first << 8) | second) % 31 === 0);
}

function giveInflated(run: EncodedRun, start: number, end: number, budget: DecodingBudget, visit: (run: EncodedRun) => void): void {
  if (budget.inflated <= 0) {
    budget.exceeded = true;
    return;
  }
  // What is cut off at the end is inflated as far as it goes.
  const options = { maxOutputLength: budget.inflated, finishFlush: constants.Z_SYNC_FLUSH };
  const begin = endOfGzipHeader(run.decoded);
  try {
    // Not gunzip: what stands behind the end must not matter.
    const decoded = begin > 0 ? inflateRawSync(run.decoded.subarray(begin), options) : inflateSync(run.decoded, options);
    budget.inflated -= decoded.length;
    visit({ decoded, compressed: true, place: () => ({ start, end }) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') return;
    budget.exceeded = true;
    budget.inflated = 0;
  }
}

/** Where the data of a gzip member begin (RFC 1952, 2.3), 0 if it is none. */
function endOfGzipHeader(bytes: Buffer): number {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return 0;
  const flags = bytes[3] ?? 0;
  let at = 10;
  if ((flags & 4) !== 0) at += 2 + (bytes[at] ?? 0) + ((bytes[at + 1] ?? 0) << 8);
  // A name and a comment, each with a zero at its end.
  for (const flag of [8, 16]) if ((flags & flag) !== 0) at = bytes.indexOf(0, at) + 1;
  return at + ((flags & 2) !== 0 ? 2 : 0);
}

/** How characters become bits. */
interface Coding {
  readonly bits: number;
  /** Value of each character, 255 for others. */
  readonly digits: Uint8Array;
}

const BASE64: Coding = { bits: 6, digits: SEXTET };
const HEX: Coding = { bits: 4, digits: NIBBLE_OF };
const BASE32: Coding = {
  bits: 5,
  digits: Uint8Array.from({ length: 256 }, (_, c) => (c >= 0x41 && c <= 0x5a ? c - 0x41 : c >= 0x32 && c <= 0x37 ? c - 0x18 : 255)),
};

/** Whether what is encoded from `start` to `end` reads as text, in one of a few places. Noise passes once in a hundred thousand. */
function isText(text: Buffer, start: number, end: number, coding: Coding): boolean {
  if (isTextAt(text, start, end, coding)) return true;
  // Whole groups of every coding: 4, 2 and 8 characters.
  const step = Math.max(MIN_STEP, Math.floor((end - start) / SAMPLES / 8) * 8);
  for (let at = start + step; at < end - MIN_STEP; at += step) if (isTextAt(text, at, end, coding)) return true;
  return false;
}

function isTextAt(text: Buffer, start: number, end: number, { bits, digits }: Coding): boolean {
  // No destructuring here: this runs for every longer word of every text.
  let pending = 0;
  let value = 0;
  let bytes = 0;
  let odd = 0;
  let zero = 0;
  let following = 0;
  for (let i = start; i < end && bytes < SAMPLE_BYTES; i++) {
    const digit = digits[text[i] as number] as number;
    if (digit === 255) continue;
    value = ((value << bits) | digit) & 0xffff;
    pending += bits;
    if (pending < 8) continue;
    pending -= 8;
    const c = (value >>> pending) & 0xff;
    if (following > 0 && (c & 0xc0) === 0x80) following--;
    else if (c >= 0xc2 && c < 0xf5) {
      if (following > 0) odd++;
      following = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    } else if (c === 0) zero++;
    else if ((c < 0x20 && c !== 0x09 && c !== 0x0a && c !== 0x0d) || c >= 0x7f || following > 0) odd++;
    // UTF-16 has every other byte zero; the first character can be cut, and something odd is in any text.
    if (odd * 5 > bytes || zero > bytes / 2 + 1) return false;
    bytes++;
  }
  return bytes >= 8;
}

function decodedHex(text: Buffer, start: number, end: number): EncodedRun {
  const places = placesIn(text, start, end);
  return {
    decoded: Buffer.from(text.toString('latin1', start, end).replace(/[\r\n]+/g, ''), 'hex'),
    compressed: false,
    place: (from, to) => places(from * 2, to * 2),
  };
}

function decodedBase64(text: Buffer, start: number, end: number): EncodedRun {
  const places = placesIn(text, start, end);
  return {
    decoded: Buffer.from(text.toString('latin1', start, end), 'base64'),
    compressed: false,
    place: (from, to) => places(Math.floor((from * 4) / 3), Math.ceil((to * 4) / 3)),
  };
}

function decodedBase32(text: Buffer, start: number, end: number): EncodedRun {
  const places = placesIn(text, start, end);
  const digits: number[] = [];
  for (let i = start; i < end; i++) {
    const digit = BASE32.digits[text[i] as number] as number;
    if (digit !== 255) digits.push(digit);
  }
  const decoded = Buffer.alloc(Math.floor((digits.length * 5) / 8));
  let [bits, value, n] = [0, 0, 0];
  for (const digit of digits) {
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      decoded[n++] = (value >>> bits) & 0xff;
    }
  }
  return {
    decoded,
    compressed: false,
    place: (from, to) => places(Math.floor((from * 8) / 5), Math.ceil((to * 8) / 5)),
  };
}

/** Gives the places of the characters `from` to `to` of a run, line breaks not counted. */
function placesIn(text: Buffer, start: number, end: number): (from: number, to: number) => { start: number; end: number } {
  // Characters before each line, and where it begins.
  let lines: { readonly counts: number[]; readonly starts: number[] } | undefined;
  const placeOf = (index: number): number => {
    lines ??= linesOf(text, start, end);
    let [low, high] = [0, lines.counts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((lines.counts[middle] as number) <= index) low = middle;
      else high = middle - 1;
    }
    return Math.min((lines.starts[low] as number) + index - (lines.counts[low] as number), end);
  };
  return (from, to) => ({ start: placeOf(from), end: to > from ? Math.min(placeOf(to - 1) + 1, end) : placeOf(from) });
}

function linesOf(text: Buffer, start: number, end: number): { readonly counts: number[]; readonly starts: number[] } {
  const [counts, starts] = [[0], [start]];
  let count = 0;
  for (let line = start; ;) {
    const next = text.indexOf(0x0a, line);
    if (next < 0 || next >= end) return { counts, starts };
    count += next - line - (text[next - 1] === 0x0d ? 1 : 0);
    line = next + 1;
    counts.push(count);
    starts.push(line);
  }
}
