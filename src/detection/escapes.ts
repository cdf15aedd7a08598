import { foldedCharacter } from './lookAlikes.ts';
import { roomFor, viewOf } from './symbols.ts';

/**
 * Reads a text once the way its readers will: `\uXXXX`, `\xXX`, `\n`, `\"`, `\/` and octal escapes, `%XX`, `%uXXXX`, `&#…;` and named HTML
 * entities become the character they stand for, characters that show nothing go, look-alikes become ASCII. One level of encoding; apply again
 * to the result for the next.
 */
export class Unescaped {
  /** The result; only {@link length} bytes of it count. */
  #bytes = Buffer.allocUnsafe(256);
  length = 0;
  /** Whether another {@link read} of the result could change more: it holds what may begin an escape, or what an escape made of it. */
  goesOn = false;
  /** Where the result departs from the text: place in the result, place in the text, in pairs, ascending. Between two of them both go on alike. */
  #steps = new Uint32Array(64);
  #count = 0;

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.length);
  }

  /** Whether `text` could hold anything that {@link read} changes. Native search, some GB/s. */
  static mayChange(text: Buffer, isAscii: boolean): boolean {
    return !isAscii || text.includes(BACKSLASH) || text.includes(PERCENT) || text.includes(AMPERSAND);
  }

  /** Reads `text`. False if there was nothing to change; the result then is not kept. */
  read(text: Buffer): boolean {
    const size = text.length;
    // No escape is shorter than what it stands for; of characters, three bytes become four at most (`Ⅷ`, `⑽`).
    const room = size + Math.ceil(size / 3) + 8;
    if (this.#bytes.length < room) this.#bytes = Buffer.allocUnsafe(roomFor(room));
    const out = this.#bytes;
    const from4 = viewOf(text);
    const to4 = viewOf(out);
    this.#count = 0;
    this.goesOn = false;
    let i = 0;
    let j = 0;
    let plain = 0;
    // Up to here nothing begins an escape; characters outside ASCII may stand there.
    let limit = 0;
    next.fill(-1);
    while (i < size) {
      while (i + 4 <= limit) {
        const four = from4.getInt32(i, true);
        const marks = four & 0x80808080;
        to4.setInt32(j, four, true);
        if (marks !== 0) {
          const before = (31 - Math.clz32(marks & -marks)) >>> 3;
          i += before;
          j += before;
          break;
        }
        i += 4;
        j += 4;
      }
      if (i === size) break;
      const c = text[i] as number;
      if (SPECIAL[c] === 0) {
        out[j++] = c;
        i++;
        // A long way without an escape: the next is found natively.
        if (i <= limit || ++plain < PLAIN_BYTES) continue;
        plain = 0;
        limit = nextStarter(text, i);
        continue;
      }
      plain = 0;
      // The code point or byte that stands here, and the length of its spelling. Negative: a byte.
      let used: number;
      if (c === BACKSLASH) used = readBackslash(text, i);
      else if (c === PERCENT) used = readPercent(text, i);
      else if (c === AMPERSAND) used = readEntity(text, i);
      else {
        used = readUtf8(text, i);
        const folded = used > 0 ? foldedCharacter(value) : undefined;
        if (folded === undefined) {
          // Bytes that are no character can become one when what stands between them goes.
          if (used === 0) this.goesOn = true;
          for (let n = Math.max(used, 1); n > 0; n--) out[j++] = text[i++] as number;
          continue;
        }
        this.#step(j, i);
        for (const byte of folded) {
          if (SPECIAL[byte] !== 0) this.goesOn = true;
          out[j++] = byte;
        }
        i += used;
        this.#step(j, i);
        continue;
      }
      if (used === 0) {
        this.goesOn = true;
        out[j++] = c;
        i++;
        continue;
      }
      if (value >= 0x80 || SPECIAL[value] !== 0) this.goesOn = true;
      this.#step(j, i);
      if (isByte || value < 0x80) out[j++] = value;
      else if (value < 0x800) {
        out[j++] = 0xc0 | (value >> 6);
        out[j++] = 0x80 | (value & 0x3f);
      } else if (value < 0x10000) {
        out[j++] = 0xe0 | (value >> 12);
        out[j++] = 0x80 | ((value >> 6) & 0x3f);
        out[j++] = 0x80 | (value & 0x3f);
      } else {
        out[j++] = 0xf0 | (value >> 18);
        out[j++] = 0x80 | ((value >> 12) & 0x3f);
        out[j++] = 0x80 | ((value >> 6) & 0x3f);
        out[j++] = 0x80 | (value & 0x3f);
      }
      i += used;
      this.#step(j, i);
    }
    this.length = j;
    return this.#count > 0;
  }

  /**
   * Calls `visit` for the parts of the result that differ from the text and are suspect, with `around` bytes on either side, in order and
   * apart: whatever else can be found in the result was to be found in the text. `isSuspect` gets the places of changes that stand
   * together, in the result and in the text.
   */
  forEachChange(
    around: number,
    isSuspect: (from: number, to: number, textFrom: number, textTo: number) => boolean,
    visit: (start: number, end: number) => void,
  ): void {
    const steps = this.#steps;
    let [start, end] = [-1, -1];
    for (let step = 0; step < this.#count;) {
      const [from, textFrom] = [steps[step * 2] as number, steps[step * 2 + 1] as number];
      while (step + 1 < this.#count && (steps[step * 2 + 2] as number) - (steps[step * 2] as number) <= TOGETHER_BYTES) step++;
      const [to, textTo] = [steps[step * 2] as number, steps[step * 2 + 1] as number];
      step++;
      if (!isSuspect(from, to, textFrom, textTo)) continue;
      if (start >= 0 && from - around > end) {
        visit(start, end);
        start = -1;
      }
      if (start < 0) start = Math.max(0, from - around);
      end = Math.min(this.length, to + around);
    }
    if (start >= 0) visit(start, end);
  }

  /** Where in the text the byte at `at` of the result begins. */
  startOf(at: number): number {
    const step = this.#stepBefore(at);
    if (step < 0) return at;
    const [out, from] = [this.#steps[step * 2] as number, this.#steps[step * 2 + 1] as number];
    return this.#isEscape(step) ? from : from + (at - out);
  }

  /** Where in the text the byte before `end` of the result ends. */
  endOf(end: number): number {
    if (end === 0) return 0;
    const step = this.#stepBefore(end - 1);
    if (step < 0) return end;
    const [out, from] = [this.#steps[step * 2] as number, this.#steps[step * 2 + 1] as number];
    return this.#isEscape(step) ? (this.#steps[step * 2 + 3] as number) : from + (end - out);
  }

  /** Gives memory back that was needed for a very long text. */
  trim(maxBytes: number): void {
    if (this.#bytes.length > maxBytes) this.#bytes = Buffer.allocUnsafe(256);
    if (this.#steps.byteLength > maxBytes) this.#steps = new Uint32Array(64);
  }

  #isEscape(step: number): boolean {
    if (step + 1 >= this.#count) return false;
    const steps = this.#steps;
    return (
      (steps[step * 2 + 2] as number) - (steps[step * 2] as number) !== (steps[step * 2 + 3] as number) - (steps[step * 2 + 1] as number)
    );
  }

  /** The last step at or before a place of the result, -1 if there is none. */
  #stepBefore(at: number): number {
    let [low, high] = [-1, this.#count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#steps[middle * 2] as number) <= at) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #step(out: number, from: number): void {
    const at = this.#count * 2;
    if (at > 0 && this.#steps[at - 1] === from && this.#steps[at - 2] === out) return;
    if (at + 2 > this.#steps.length) {
      const larger = new Uint32Array(this.#steps.length * 4);
      larger.set(this.#steps);
      this.#steps = larger;
    }
    this.#steps[at] = out;
    this.#steps[at + 1] = from;
    this.#count++;
  }
}

/** Changes that are no further apart are looked at together, bytes. */
const TOGETHER_BYTES = 16;
/** After so many bytes without an escape, native search pays. */
const PLAIN_BYTES = 24;
const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const AMPERSAND = 0x26;
const SPECIAL = Uint8Array.from({ length: 256 }, (_, c) => (c >= 0x80 || c === BACKSLASH || c === PERCENT || c === AMPERSAND ? 1 : 0));

/** Whether a byte can be the beginning of an escape or of a character outside ASCII. */
export function mayBeginEscape(c: number | undefined): boolean {
  return c !== undefined && SPECIAL[c] !== 0;
}

/** Where each of the three characters that begin an escape stands next, as far as that is known. */
const next = new Int32Array(3);
const STARTERS = [BACKSLASH, PERCENT, AMPERSAND] as const;

/** The next place from `from` on where an escape may begin; characters outside ASCII are no escape. */
function nextStarter(text: Buffer, from: number): number {
  let nearest = text.length;
  for (let s = 0; s < 3; s++) {
    if ((next[s] as number) < from) {
      const at = text.indexOf(STARTERS[s] as number, from);
      next[s] = at < 0 ? text.length : at;
    }
    nearest = Math.min(nearest, next[s] as number);
  }
  return nearest;
}

/** Digit value of a hex digit, 255 for other bytes. */
export const NIBBLE_OF: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) =>
  c >= 0x30 && c <= 0x39 ? c - 0x30 : c >= 0x41 && c <= 0x46 ? c - 0x37 : c >= 0x61 && c <= 0x66 ? c - 0x57 : 255,
);

/** What the last of the readers below has read: a second result that costs no allocation. */
let value = 0;
let isByte = false;

function hex(text: Uint8Array, at: number, digits: number): number {
  let out = 0;
  for (let i = 0; i < digits; i++) {
    const nibble = at + i < text.length ? (NIBBLE_OF[text[at + i] as number] as number) : 255;
    if (nibble === 255) return -1;
    out = out * 16 + nibble;
  }
  return out;
}

/** Characters behind a backslash that stand for a control character (C, JSON, shells), and for which. */
const CONTROLS = new Map([
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x76, 0x0b],
  [0x61, 0x07],
  [0x65, 0x1b],
]);

/** `\n`, `\"`, `\u0041`, `\ud83d\ude00`, `\u{1f600}`, `\U0001f600`, `\x41`, `\101`: its length, 0 if it is none. */
function readBackslash(text: Uint8Array, at: number): number {
  const next = text[at + 1];
  isByte = false;
  switch (next) {
    case undefined:
      return 0;
    case 0x22: // "
    case 0x27: // '
    case 0x2f: // /
    case 0x5c:
    case 0x60: // `
    case 0x0a:
    case 0x0d:
      value = next;
      return 2;
    case 0x78: // x
      value = hex(text, at + 2, 2);
      isByte = true;
      return value < 0 ? 0 : 4;
    case 0x75: // u
      if (text[at + 2] === 0x7b) {
        value = 0;
        let i = at + 3;
        for (; i < at + 9 && (NIBBLE_OF[text[i] ?? 0] as number) !== 255; i++)
          value = value * 16 + (NIBBLE_OF[text[i] as number] as number);
        return i > at + 3 && text[i] === 0x7d && value <= 0x10ffff ? i + 1 - at : 0;
      }
      return readUnits(text, at, 0x5c, 0x75);
    case 0x55: // U
      value = hex(text, at + 2, 8);
      return value >= 0 && value <= 0x10ffff ? 10 : 0;
    default: {
      const control = CONTROLS.get(next);
      if (control !== undefined) {
        value = control;
        return 2;
      }
      if (next < 0x30 || next > 0x37) return 0;
      const [second, third] = [text[at + 2] ?? 0, text[at + 3] ?? 0];
      if (next <= 0x33 && second >= 0x30 && second <= 0x37 && third >= 0x30 && third <= 0x37) {
        value = ((next - 0x30) << 6) | ((second - 0x30) << 3) | (third - 0x30);
        isByte = true;
        return 4;
      }
      if (next !== 0x30) return 0;
      value = 0;
      return 2;
    }
  }
}

/** `\uXXXX` or `%uXXXX`, two of them for a surrogate pair. A lone surrogate is no character, and stays. */
function readUnits(text: Uint8Array, at: number, first: number, second: number): number {
  value = hex(text, at + 2, 4);
  if (value < 0) return 0;
  if (value < 0xd800 || value > 0xdfff) return 6;
  if (value > 0xdbff || text[at + 6] !== first || text[at + 7] !== second) return 0;
  const low = hex(text, at + 8, 4);
  if (low < 0xdc00 || low > 0xdfff) return 0;
  value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
  return 12;
}

function readPercent(text: Uint8Array, at: number): number {
  isByte = true;
  value = hex(text, at + 1, 2);
  if (value >= 0) return 3;
  isByte = false;
  return text[at + 1] === 0x75 || text[at + 1] === 0x55 ? readUnits(text, at, PERCENT, text[at + 1] as number) : 0;
}

/** Entities that stand for an ASCII character that is neither letter nor digit (HTML Living Standard, 13.5). */
const ENTITIES = new Map(
  Object.entries({
    amp: '&',
    AMP: '&',
    lt: '<',
    LT: '<',
    gt: '>',
    GT: '>',
    quot: '"',
    QUOT: '"',
    apos: "'",
    nbsp: ' ',
    Tab: '\t',
    NewLine: '\n',
    excl: '!',
    num: '#',
    dollar: '$',
    percnt: '%',
    lpar: '(',
    rpar: ')',
    ast: '*',
    midast: '*',
    plus: '+',
    comma: ',',
    period: '.',
    sol: '/',
    colon: ':',
    semi: ';',
    equals: '=',
    quest: '?',
    commat: '@',
    lsqb: '[',
    lbrack: '[',
    bsol: '\\',
    rsqb: ']',
    rbrack: ']',
    Hat: '^',
    lowbar: '_',
    UnderBar: '_',
    grave: '`',
    lcub: '{',
    lbrace: '{',
    verbar: '|',
    vert: '|',
    VerticalLine: '|',
    rcub: '}',
    rbrace: '}',
    tilde: '~',
    hyphen: '-',
    dash: '-',
    shy: '',
    zwj: '',
    zwnj: '',
  }),
);
/** Longest name of an entity that is looked at, characters. */
const MAX_ENTITY = 12;
const MATHEMATICAL = /^([A-Za-z])(?:scr|opf|fr)$/;

/** `&#65;`, `&#x41;` (also without the semicolon, as browsers take them), `&amp;`: its length, 0 if it is none. */
function readEntity(text: Uint8Array, at: number): number {
  isByte = false;
  if (text[at + 1] !== 0x23) {
    let end = at + 1;
    while (end < at + 1 + MAX_ENTITY && isLetter(text[end] ?? 0)) end++;
    if (end === at + 1 || text[end] !== 0x3b) return 0;
    let name = '';
    for (let i = at + 1; i < end; i++) name += String.fromCharCode(text[i] as number);
    const character = ENTITIES.get(name) ?? MATHEMATICAL.exec(name)?.[1];
    if (character === undefined) return 0;
    // What shows nothing becomes a zero-width space, and goes at the next level.
    value = character === '' ? 0x200b : character.charCodeAt(0);
    return end + 1 - at;
  }
  const base = text[at + 2] === 0x78 || text[at + 2] === 0x58 ? 16 : 10;
  const first = at + (base === 16 ? 3 : 2);
  let i = first;
  value = 0;
  // Leading zeros may be any number, as long as it is reasonable.
  for (; i < first + 10; i++) {
    const digit = NIBBLE_OF[text[i] ?? 0] as number;
    if (digit >= base) break;
    value = value * base + digit;
  }
  if (i === first || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return 0;
  return (text[i] === 0x3b ? i + 1 : i) - at;
}

function isLetter(c: number): boolean {
  return (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
}

/** A character outside ASCII: its length, 0 if the bytes are no UTF-8. */
function readUtf8(text: Uint8Array, at: number): number {
  const c = text[at] as number;
  const length = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > text.length) return 0;
  value = c & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = text[at + i] as number;
    if ((next & 0xc0) !== 0x80) return 0;
    value = (value << 6) | (next & 0x3f);
  }
  return length;
}
