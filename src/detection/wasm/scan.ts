/**
 * AssemblyScript, not TypeScript: what `textScan.ts` runs in place of the slowest loops over a text, sixteen bytes a step. Each function does
 * exactly what its namesake in TypeScript does, and is held against it by tests; that one says why.
 *
 * Memory is laid out by hand and never grows. Behind each text stand sixteen blanks: they are no letters, digits, escapes or parts of a
 * character, so what reads on past the end finds nothing.
 */

/** Longest text, bytes: what is longer is searched in a thread, where nobody waits. */
export const CAPACITY: i32 = 0x40000;
/** Bytes of a seed filter for which there is room. */
export const MAX_FILTER: i32 = 0x40000;

/** Places of the set bits of a byte, eight bytes for each byte. */
const BITS: usize = 0x400;
/** By byte, as in {@link IS_BASE64} and so on. */
const KINDS: usize = 0xc00;
/** What a backslash and this byte stand for in JSON, 0 for what is no escape. */
const SIMPLE: usize = 0xd00;
/** Symbols before each block of 1024 bytes. */
export const MARKS: usize = 0xe00;
/** What characters become: 16 bytes for each, the first is the length. */
export const FOLDED: usize = 0x2000;
/** By code point: 0 stays, 1 goes, from 2 on which of {@link FOLDED} it becomes. */
export const FOLDING: usize = 0x10000;
export const FILTER: usize = 0x50000;
/** Tables of keyword scanners: `KeywordScanner.tables`. */
export const KEYWORDS: usize = 0x90000;
export const KEYWORD_BYTES: i32 = 0x20000;
const ROWS: usize = 0x10000;
const KEYWORD_LIST: usize = 0x14804;
const LASTS: usize = 0x14808;
/** Changes that stand together: from and to, 4 bytes each. */
const GROUPS: usize = 0x110000;
/** Keywords and their places, and after how many a scan takes a rest; behind these there is room for as many as one place may add. */
export const FOUND: usize = 0x110000;
const MAX_FOUND: i32 = 2048;
/** Texts: as it came, without its escapes, any other, the symbols, without look-alikes. Not all at the same place of a page. */
export const RAW: usize = 0x130000;
export const FLAT: usize = 0x190440;
export const TEXT: usize = 0x1f0880;
export const SYMBOLS: usize = 0x250cc0;
const INNER: usize = 0x2b1100;

const IS_BASE64: u8 = 1;
const IS_LINE_END: u8 = 2;
const IS_SPECIAL: u8 = 4;
const IS_DIGIT_OR_LETTER: u8 = 8;

/** Symbols of a seed, and how far apart places are probed: `seeds.ts`. */
const SEED: i32 = 5;
const STEP: i32 = 4;
const SPREAD: u32 = 0x85ebca6b;
const SPREAD_FIFTH: u32 = 0x9e3779b1;
const LEAST_SYMBOLS: i32 = 8;
const LEAST_ENCODED: i32 = 20;
const TOGETHER: u32 = 16;
const NEAR: usize = 16;

/** `keywords.ts`. */
const PAIR_ROWS: u32 = 4096;
const SINGLE_ROWS: u32 = 4096 + 256;

/** Fills the tables that are always the same. Once. */
export function prepare(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let n: usize = 0;
    for (let bit: u32 = 0; bit < 8; bit++) if ((byte >> bit) & 1) store<u8>(BITS + byte * 8 + n++, bit as u8);
    for (; n < 8; n++) store<u8>(BITS + byte * 8 + n, 0x80);
    const small = byte | 0x20;
    let kind: u8 = 0;
    if ((small >= 0x61 && small <= 0x7a) || (byte >= 0x30 && byte <= 0x39)) kind = IS_BASE64 | IS_DIGIT_OR_LETTER;
    else if (byte == 0x2b || byte == 0x2f || byte == 0x2d || byte == 0x5f) kind = IS_BASE64;
    else if (byte == 0x0a || byte == 0x0d) kind = IS_LINE_END;
    else if (byte >= 0x80 || byte == 0x5c || byte == 0x25 || byte == 0x26) kind = IS_SPECIAL;
    store<u8>(KINDS + byte, kind);
  }
  store<u8>(SIMPLE + 0x22, 0x22);
  store<u8>(SIMPLE + 0x5c, 0x5c);
  store<u8>(SIMPLE + 0x2f, 0x2f);
  store<u8>(SIMPLE + 0x62, 8);
  store<u8>(SIMPLE + 0x66, 12);
  store<u8>(SIMPLE + 0x6e, 10);
  store<u8>(SIMPLE + 0x72, 13);
  store<u8>(SIMPLE + 0x74, 9);
}

/** Writes the blanks behind a text. */
export function end(at: usize): void {
  v128.store(at, i8x16.splat(0x20));
}

/** Where {@link symbols} has come by as many characters in a row as are decoded from base64; `)` is taken for one. -1: nowhere. */
let encoded: i32 = -1;

export function firstRun(): i32 {
  return encoded;
}

/** `Symbols.read`: gives their number. */
export function symbols(at: usize, length: i32): i32 {
  let out = SYMBOLS;
  let marks = MARKS;
  const last = at + length;
  let i = at;
  let run: i32 = 0;
  encoded = -1;
  while (i < last) {
    store<u32>(marks, (out - SYMBOLS) as u32);
    marks += 4;
    const stop = min(i + 1024, last);
    for (; i < stop; i += 16) {
      const v = v128.load(i);
      const small = v128.or(v, i8x16.splat(0x20));
      const letter = i8x16.lt_u(i8x16.sub(small, i8x16.splat(0x61)), i8x16.splat(26));
      const digit = i8x16.lt_u(i8x16.sub(v, i8x16.splat(0x30)), i8x16.splat(10));
      const s = v128.bitselect(small, v, letter);
      const either = v128.or(letter, digit);
      const mask = i8x16.bitmask(either);
      const sign = v128.or(i8x16.eq(v128.or(v, i8x16.splat(6)), i8x16.splat(0x2f)), i8x16.eq(v, i8x16.splat(0x5f)));
      const others = i8x16.bitmask(v128.or(either, sign)) ^ 0xffff;
      if (run + ctz(others | 0x10000) >= LEAST_ENCODED && encoded < 0) encoded = ((i - at) as i32) - run;
      run = others == 0 ? run + 16 : clz(others << 16);
      if (mask == 0xffff) {
        v128.store(out, s);
        out += 16;
        continue;
      }
      if (mask == 0) continue;
      const low = mask & 0xff;
      const high = mask >>> 8;
      v128.store64_lane(out, i8x16.swizzle(s, v128.load64_zero(BITS + (low << 3))), 0);
      out += popcnt(low);
      v128.store64_lane(out, i8x16.swizzle(s, i8x16.add(v128.load64_zero(BITS + (high << 3)), i8x16.splat(8))), 0);
      out += popcnt(high);
    }
  }
  return (out - SYMBOLS) as i32;
}

function mayBeSeed(hash: u32, shift: u32): u32 {
  const bit = hash >>> shift;
  const word = load<u32>(FILTER + ((bit >>> 5) << 2));
  return (word >>> (bit & 31)) & (word >>> ((hash >>> 6) & 31)) & 1;
}

/** `SeedFilter.next`. */
export function nextSeed(from: i32, count: i32, shift: u32): i32 {
  const last = SYMBOLS + count - SEED;
  let i = SYMBOLS + from;
  for (; i + 12 <= last; i += 16) {
    const fifth = i32x4.mul(v128.and(v128.load(i, 4), i32x4.splat(0xff)), i32x4.splat(SPREAD_FIFTH as i32));
    const hash = i32x4.mul(v128.xor(v128.load(i), fifth), i32x4.splat(SPREAD as i32));
    const a = mayBeSeed(i32x4.extract_lane(hash, 0), shift);
    const b = mayBeSeed(i32x4.extract_lane(hash, 1), shift);
    const c = mayBeSeed(i32x4.extract_lane(hash, 2), shift);
    const d = mayBeSeed(i32x4.extract_lane(hash, 3), shift);
    if ((a | b | c | d) != 0) return ((i - SYMBOLS) as i32) + (a ? 0 : b ? 4 : c ? 8 : 12);
  }
  for (; i <= last; i += STEP)
    if (mayBeSeed((load<u32>(i) ^ ((load<u8>(i, 4) as u32) * SPREAD_FIFTH)) * SPREAD, shift)) return (i - SYMBOLS) as i32;
  return count;
}

let keywordsEnd: usize = FOUND;
let goOn: i32 = 0;

/** The pair of bytes from which {@link keywords} is to go on. */
export function goOnFrom(): i32 {
  return goOn;
}

function toLower(c: u32): u32 {
  return c - 0x41 < 26 ? c | 0x20 : c;
}

/** `KeywordScanner.#check`: for what has its second byte of a run at `at` of the text from `text` to `last`. A byte stands before it. */
function check(text: usize, at: usize, last: usize, tables: usize): void {
  const three = toLower(load<u8>(at)) | (toLower(load<u8>(at, 1)) << 8) | (toLower(load<u8>(at, 2)) << 16);
  const four = three | (toLower(load<u8>(at - 1)) << 24);
  checkRow(text, at, last, tables, (three * SPREAD_FIFTH) >>> 20, four, 0xffffff);
  const two = three & 0xffff;
  checkRow(text, at, last, tables, PAIR_ROWS + ((two * SPREAD_FIFTH) >>> 24), four, 0xffff);
  checkRow(text, at, last, tables, SINGLE_ROWS + (three & 0xff), four, 0);
}

/** Compares the keywords of a row whose bytes are as these, as far as `mask` goes; the upper one is what stands before, 0 where it is any. */
function checkRow(text: usize, at: usize, last: usize, tables: usize, row: u32, four: u32, mask: u32): void {
  const rows = tables + ROWS + (row << 2);
  for (let r = load<u32>(rows), end = load<u32>(rows, 4); r < end; r++) {
    const run = load<u32>(tables + LASTS + (r << 3));
    const other = run ^ four;
    if ((other & mask) == 0 && (run >>> 24 == 0 || other >>> 24 == 0)) compare(text, at, last, tables, r);
  }
}

/** `KeywordScanner.#compare`. */
function compare(text: usize, at: usize, last: usize, tables: usize, run: u32): void {
  const owner = load<u16>(tables + LASTS + (run << 3), 4) as u32;
  const place = load<u16>(tables + LASTS + (run << 3), 6) as usize;
  const entry = tables + load<u32>(tables + KEYWORD_LIST) + (owner << 3);
  const keyword = tables + load<u32>(entry);
  const length = load<u32>(entry, 4);
  const start = at - place;
  if (start < text || start + length > last) return;
  for (let k: usize = 0; k < length; k++) if (toLower(load<u8>(start + k)) != (load<u8>(keyword + k) as u32)) return;
  store<u32>(keywordsEnd, owner);
  store<u32>(keywordsEnd, (start - text) as u32, 4);
  keywordsEnd += 8;
}

/**
 * `KeywordScanner.#scanPairs`, from the pair `from` on: writes keywords and their places to FOUND, 4 bytes each, gives their number. There may
 * be more: {@link goOnFrom}.
 */
export function keywords(at: usize, from: i32, length: i32, tables: usize, groups: u32): i32 {
  let i = at + (from << 1);
  const end = at + length;
  const last = at + (length & ~3);
  let before: u32 = 0;
  if (from > 0) {
    const two = load<u16>(i - 2) as u32;
    before = load<u32>(tables + (((two & 0x7f) | ((two >>> 1) & 0x3f80)) << 2));
  }
  keywordsEnd = FOUND;
  const full = FOUND + (MAX_FOUND << 3);
  for (; i + 16 <= last && keywordsEnd < full; i += 16) {
    const v = v128.load(i);
    const bits = v128.or(v128.and(v, i16x8.splat(0x7f)), v128.and(i16x8.shr_u(v, 1), i16x8.splat(0x3f80)));
    const places = i16x8.shl(bits, 2);
    const low = i64x2.extract_lane(places, 0) as u64;
    const high = i64x2.extract_lane(places, 1) as u64;
    const a = load<u32>(tables + ((low & 0xffff) as usize));
    const b = load<u32>(tables + (((low >>> 16) & 0xffff) as usize));
    const c = load<u32>(tables + (((low >>> 32) & 0xffff) as usize));
    const d = load<u32>(tables + ((low >>> 48) as usize));
    const e = load<u32>(tables + ((high & 0xffff) as usize));
    const f = load<u32>(tables + (((high >>> 16) & 0xffff) as usize));
    const g = load<u32>(tables + (((high >>> 32) & 0xffff) as usize));
    const h = load<u32>(tables + ((high >>> 48) as usize));
    const first = (before & (a >>> 16)) | (a & (b >>> 16)) | (b & (c >>> 16)) | (c & (d >>> 16));
    const second = (d & (e >>> 16)) | (e & (f >>> 16)) | (f & (g >>> 16)) | (g & (h >>> 16));
    if ((first & groups) != 0) {
      if ((before & (a >>> 16) & groups) != 0) check(at, i - 1, end, tables);
      if ((a & (b >>> 16) & groups) != 0) check(at, i + 1, end, tables);
      if ((b & (c >>> 16) & groups) != 0) check(at, i + 3, end, tables);
      if ((c & (d >>> 16) & groups) != 0) check(at, i + 5, end, tables);
    }
    if ((second & groups) != 0) {
      if ((d & (e >>> 16) & groups) != 0) check(at, i + 7, end, tables);
      if ((e & (f >>> 16) & groups) != 0) check(at, i + 9, end, tables);
      if ((f & (g >>> 16) & groups) != 0) check(at, i + 11, end, tables);
      if ((g & (h >>> 16) & groups) != 0) check(at, i + 13, end, tables);
    }
    before = h;
  }
  for (; i < last && keywordsEnd < full; i += 2) {
    const two = load<u16>(i) as u32;
    const pair = load<u32>(tables + (((two & 0x7f) | ((two >>> 1) & 0x3f80)) << 2));
    if ((before & (pair >>> 16) & groups) != 0) check(at, i - 1, end, tables);
    before = pair;
  }
  goOn = ((i - at) >>> 1) as i32;
  return ((keywordsEnd - FOUND) >>> 3) as i32;
}

/** `nextSuspect` of `hiddenText.ts`, and `firstControl` where all is ASCII. */
export function nextSuspect(at: usize, from: i32, length: i32): i32 {
  // Bytes by their halves: one bit for each upper half that counts, and for each lower half those that it counts with.
  const uppers = i8x16(16, 32, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 1, 2, 4, 8);
  const lowers = i8x16(48, 52, 53, 60, 48, 48, 48, 48, 50, 32, 32, 32, 32, 33, 48, 116);
  const last = at + length;
  for (let i = at + from; i < last; i += 16) {
    const v = v128.load(i);
    const upper = i8x16.swizzle(uppers, i8x16.shr_u(v, 4));
    const lower = i8x16.swizzle(lowers, v128.and(v, i8x16.splat(15)));
    const both = v128.and(upper, lower);
    if (!v128.any_true(both)) continue;
    let mask = i8x16.bitmask(i8x16.ne(both, i8x16.splat(0)));
    for (; mask != 0; mask &= mask - 1) {
      const place = i + ctz(mask);
      if (mayHide(place)) return (place - at) as i32;
    }
  }
  return length;
}

function mayHide(at: usize): bool {
  const next = load<u8>(at, 1);
  switch (load<u8>(at)) {
    case 0xc2:
      return next < 0xa0 || next == 0xad;
    case 0xe1:
      return next == 0x85 || next == 0x9e || next == 0xa0;
    case 0xe2: {
      const third = load<u8>(at, 2);
      return next == 0x80 ? (third >= 0x8b && third <= 0x8f) || third >= 0xaa : next == 0x81 && third >= 0xa0;
    }
    case 0xe3:
      return next == 0x85;
    case 0xcd:
      return next == 0x8f;
    case 0xd8:
      return next == 0x9c;
    case 0xef:
      return next == 0xb8 || next == 0xbb || next == 0xbe || next == 0xbf;
    default:
      return true;
  }
}

/** Whether one of the keys `"data"` and `"blob"` begins here. */
function isBlobKey(at: usize): bool {
  const four = load<u32>(at);
  const two = load<u16>(at, 4);
  // `"dat` and `a"`, `"blo` and `b"`.
  return (four == 0x74616422 && two == 0x2261) || (four == 0x6f6c6222 && two == 0x2262);
}

/** Whether {@link flatten} has come by one of the keys `"data"` and `"blob"`. */
let blobs: bool = false;

export function sawBlobKey(): bool {
  return blobs;
}

/** `FlatText.read`, from RAW to FLAT: gives the length. */
export function flatten(length: i32): i32 {
  const last = RAW + length;
  let i = RAW;
  let j = FLAT;
  blobs = false;
  while (i < last) {
    const v = v128.load(i);
    v128.store(j, v);
    const quotes = v128.and(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v128.load(i, 5), i8x16.splat(0x22)));
    if (v128.any_true(quotes))
      for (let mask = i8x16.bitmask(quotes); mask != 0; mask &= mask - 1) if (isBlobKey(i + ctz(mask))) blobs = true;
    const mask = i8x16.bitmask(i8x16.eq(v, i8x16.splat(0x5c)));
    if (mask == 0) {
      i += 16;
      j += 16;
      continue;
    }
    const plain = ctz(mask);
    i += plain;
    j += plain;
    do {
      const c = load<u8>(i, 1);
      const simple = load<u8>(SIMPLE + c);
      if (simple != 0) {
        if (c == 0x22 && isBlobKey(i + 1)) blobs = true;
        store<u8>(j++, simple);
        i += 2;
      } else {
        let point = c == 0x75 ? hex(i + 2) : -1;
        if (point < 0) {
          // No JSON: left as it is.
          store<u8>(j++, 0x5c);
          i++;
          break;
        }
        let used: usize = 6;
        if (point >= 0xd800 && point < 0xe000) {
          const low = point < 0xdc00 && load<u16>(i, 6) == 0x755c ? hex(i + 8) : -1;
          if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            used = 12;
          } else point = 0xfffd;
        }
        j = writePoint(j, point);
        i += used;
      }
    } while (i < last && load<u8>(i) == 0x5c);
  }
  // The last step may have gone beyond the end.
  j -= i - last;
  v128.store(j, i8x16.splat(0x20));
  return (j - FLAT) as i32;
}

/** Four hexadecimal digits, -1 for anything else. */
function hex(at: usize): i32 {
  let value: i32 = 0;
  for (let k = at; k < at + 4; k++) {
    const c = load<u8>(k) as i32;
    const small = c | 0x20;
    const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : small >= 0x61 && small <= 0x66 ? small - 0x57 : -1;
    if (digit < 0) return -1;
    value = (value << 4) | digit;
  }
  return value;
}

function writePoint(at: usize, point: i32): usize {
  if (point < 0x80) {
    store<u8>(at, point as u8);
    return at + 1;
  }
  if (point < 0x800) {
    store<u8>(at, (0xc0 | (point >> 6)) as u8);
    store<u8>(at, (0x80 | (point & 0x3f)) as u8, 1);
    return at + 2;
  }
  if (point < 0x10000) {
    store<u8>(at, (0xe0 | (point >> 12)) as u8);
    store<u8>(at, (0x80 | ((point >> 6) & 0x3f)) as u8, 1);
    store<u8>(at, (0x80 | (point & 0x3f)) as u8, 2);
    return at + 3;
  }
  store<u8>(at, (0xf0 | (point >> 18)) as u8);
  store<u8>(at, (0x80 | ((point >> 12) & 0x3f)) as u8, 1);
  store<u8>(at, (0x80 | ((point >> 6) & 0x3f)) as u8, 2);
  store<u8>(at, (0x80 | (point & 0x3f)) as u8, 3);
  return at + 4;
}

/** End of what {@link fold} wrote, and of its groups; the group that is looked at, the symbols around it, and how far it was probed. */
let innerEnd: usize = INNER;
let groupsEnd: usize = GROUPS;
let group: usize = GROUPS;
let count: i32 = 0;
let probed: i32 = 0;

/** Whether what {@link fold} wrote can hold more escapes. */
let goesOn: bool = false;

/** The code point that {@link character} read. */
let point: u32 = 0;

/** `readUtf8`: its length, 0 if the bytes are no UTF-8. */
function character(at: usize): usize {
  const c = load<u8>(at) as u32;
  const second = load<u8>(at, 1) as u32;
  if (c < 0xc2 || c >= 0xf5 || (second & 0xc0) != 0x80) return 0;
  if (c < 0xe0) {
    point = ((c & 0x1f) << 6) | (second & 0x3f);
    return 2;
  }
  const third = load<u8>(at, 2) as u32;
  if ((third & 0xc0) != 0x80) return 0;
  if (c < 0xf0) {
    point = ((c & 0x0f) << 12) | ((second & 0x3f) << 6) | (third & 0x3f);
    return 3;
  }
  const fourth = load<u8>(at, 3) as u32;
  if ((fourth & 0xc0) != 0x80) return 0;
  point = ((c & 0x07) << 18) | ((second & 0x3f) << 12) | ((third & 0x3f) << 6) | (fourth & 0x3f);
  return 4;
}

function isHex(c: u32): bool {
  return c - 0x30 < 10 || (c | 0x20) - 0x61 < 6;
}

/** Whether a percent sign or an ampersand begins an escape (`readPercent`, `readEntity`), or may. */
function mayBeEscape(at: usize): bool {
  const next = load<u8>(at, 1) as u32;
  if (load<u8>(at) == 0x25) return (next | 0x20) == 0x75 || (isHex(next) && isHex(load<u8>(at, 2)));
  if (next == 0x23) return true;
  let end = at + 1;
  while (end < at + 13 && ((load<u8>(end) as u32) | 0x20) - 0x61 < 26) end++;
  return end > at + 1 && load<u8>(end) == 0x3b;
}

/**
 * `Unescaped.read` for a text without backslashes: gives the number of changes that stand apart, -1 if there is an escape or something else
 * that is not known here.
 */
export function fold(at: usize, length: i32): i32 {
  const last = at + length;
  let i = at;
  let j = INNER;
  groupsEnd = GROUPS;
  goesOn = false;
  let to: usize = 0;
  while (i < last) {
    const v = v128.load(i);
    v128.store(j, v);
    const signs = v128.or(i8x16.eq(v, i8x16.splat(0x25)), i8x16.eq(v, i8x16.splat(0x26)));
    const mask = i8x16.bitmask(v128.or(v, signs));
    if (mask == 0) {
      i += 16;
      j += 16;
      continue;
    }
    const plain = ctz(mask);
    i += plain;
    j += plain;
    if (load<u8>(i) < 0x80) {
      if (mayBeEscape(i)) return -1;
      goesOn = true;
      store<u8>(j++, load<u8>(i++));
      continue;
    }
    do {
      const used = character(i);
      if (used == 0) {
        goesOn = true;
        store<u8>(j++, load<u8>(i++));
        continue;
      }
      if (point < 0x80 || point >= 0xe0000) return -1;
      const entry: u32 = point < 0x20000 ? load<u16>(FOLDING + (point << 1)) : 0;
      if (entry == 0) {
        store<u32>(j, load<u32>(i));
        j += used;
      } else {
        if (to == 0 || ((j - to) as u32) > TOGETHER) {
          store<u32>(groupsEnd, j as u32);
          groupsEnd += 8;
        }
        if (entry > 1) {
          const text = FOLDED + ((entry - 2) << 4);
          const n = load<u8>(text) as usize;
          for (let k: usize = 0; k < n; k++) {
            const byte = load<u8>(text + k, 1);
            if (load<u8>(KINDS + byte) & IS_SPECIAL) goesOn = true;
            store<u8>(j + k, byte);
          }
          j += n;
        }
        to = j;
        store<u32>(groupsEnd - 8, j as u32, 4);
      }
      i += used;
    } while (i < last && load<u8>(i) >= 0x80);
  }
  innerEnd = j - (i - last);
  group = GROUPS;
  probed = -1;
  return ((groupsEnd - GROUPS) >>> 3) as i32;
}

/** Whether another escape may begin so near that it can be one with a change. */
function isNearEscape(from: usize, to: usize): bool {
  for (let i = max(INNER, from - NEAR), end = min(innerEnd, to + NEAR); i < end; i++)
    if (load<u8>(KINDS + load<u8>(i)) & IS_SPECIAL) return true;
  return false;
}

/**
 * `ChangeFilter.isSuspect` for the changes that {@link fold} found: -1 if none is suspect, -2 if one is for sure, otherwise the place in
 * SYMBOLS of what may be a seed; called again, goes on behind it.
 */
export function nextChange(around: i32, shift: u32): i32 {
  for (; group < groupsEnd; group += 8) {
    if (probed < 0) {
      const from = load<u32>(group) as usize;
      const to = load<u32>(group, 4) as usize;
      if ((goesOn && isNearEscape(from, to)) || reachesRun(from, to)) return -2;
      count = readAround(from, to, around);
      probed = 0;
    }
    const place = nextSeed(probed, count, shift);
    if (place < count) {
      probed = place + STEP;
      return place;
    }
    probed = -1;
  }
  return -1;
}

/** `reachesRun` of `changes.ts`. */
function reachesRun(from: usize, to: usize): bool {
  let run: i32 = 0;
  for (let i = from; i > INNER && run < LEAST_ENCODED; i--) {
    const kind = load<u8>(KINDS + load<u8>(i - 1));
    if (kind & IS_BASE64) run++;
    else if (!(kind & IS_LINE_END)) break;
  }
  for (let i = from; i < innerEnd && run < LEAST_ENCODED; i++) {
    const kind = load<u8>(KINDS + load<u8>(i));
    if (kind & IS_BASE64) run++;
    else if (kind & IS_LINE_END) continue;
    else if (i >= to) break;
    else run = 0;
  }
  return run >= LEAST_ENCODED;
}

/** The symbols of a part of a text, and of as much on either side as holds eight of them: `ChangeFilter.#read`. */
function readAround(from: usize, to: usize, around: i32): i32 {
  let start = from;
  const first = max(INNER, from - around);
  for (let n = 0; start > first && n < LEAST_SYMBOLS; start--) if (load<u8>(KINDS + load<u8>(start - 1)) & IS_DIGIT_OR_LETTER) n++;
  let out = SYMBOLS;
  for (let i = start; i < to; i++) out = put(out, load<u8>(i));
  const last = min(innerEnd, to + around);
  const full = out + LEAST_SYMBOLS;
  for (let i = to; i < last && out < full; i++) out = put(out, load<u8>(i));
  return (out - SYMBOLS) as i32;
}

/** Writes the symbol of a byte if it has one. */
function put(at: usize, byte: u8): usize {
  const small = byte | 0x20;
  const letter = small >= 0x61 && small <= 0x7a;
  store<u8>(at, letter ? small : byte);
  return at + ((load<u8>(KINDS + byte) >>> 3) & 1);
}
