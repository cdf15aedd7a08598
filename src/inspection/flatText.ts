import { roomFor, viewOf } from '../detection/symbols.ts';
import { textScanFor, type TextScan } from '../detection/textScan.ts';

const BACKSLASH = 0x5c;
/** So many bytes without an escape, and the next one is searched natively. */
const PLAIN_BYTES = 256;
const NONE = Buffer.alloc(0);
/** Memory that is kept for the next text, bytes. */
const KEPT_BYTES = 1_048_576;

/** What a backslash and this byte stand for in JSON (RFC 8259, 7); 0: something else. */
const SIMPLE = new Uint8Array(256);
for (const [letter, byte] of [
  ['"', 0x22],
  ['\\', BACKSLASH],
  ['/', 0x2f],
  ['b', 8],
  ['f', 12],
  ['n', 10],
  ['r', 13],
  ['t', 9],
] as const)
  SIMPLE[letter.charCodeAt(0)] = byte;

/**
 * A JSON text as its reader will see it: the escapes of its strings undone once, everything else (quotes, keys, commas) in its place. So one
 * search sees values as they are, what they are assigned to, and what is spread over several strings; and a text without a backslash, as
 * most are, costs nothing. Places are found again in the bytes that were read.
 */
export class FlatText {
  /** The result; the text itself if it holds no escape. Good until the next {@link read}, of any of these. */
  bytes: Buffer = NONE;
  /** Whether the text may hold one of the keys `"data"` and `"blob"`. */
  mayHoldBlobs = true;
  #scan: TextScan | undefined;
  #raw: Buffer = this.bytes;
  #scratch: Buffer = this.bytes;
  /** The same memory. */
  #scratchView = viewOf(this.bytes);
  /** For each escape: where it begins and ends in the result, and in the text. Made when first asked for. */
  #steps: Uint32Array | undefined;
  #count = 0;

  read(raw: Buffer): Buffer {
    this.#raw = raw;
    this.#steps = undefined;
    this.mayHoldBlobs = true;
    this.#scan = textScanFor(raw.length);
    if (this.#scan) {
      const { flat, mayHoldBlobs } = this.#scan.flatten(raw);
      this.mayHoldBlobs = mayHoldBlobs;
      return (this.bytes = flat);
    }
    const first = raw.indexOf(BACKSLASH);
    if (first < 0) return (this.bytes = raw);
    const length = this.#flatten(first);
    return (this.bytes = this.#scratch.subarray(0, length));
  }

  /** Gives memory back that was needed for a very long text. */
  release(): void {
    this.bytes = this.#raw = NONE;
    this.#steps = undefined;
    this.#scan?.release();
    if (this.#scratch.length > KEPT_BYTES) this.#keep(this.bytes);
  }

  #keep(scratch: Buffer): void {
    this.#scratch = scratch;
    this.#scratchView = viewOf(scratch);
  }

  /** Where in the text the byte at `at` of the result begins. */
  startOf(at: number): number {
    return this.#place(at, false);
  }

  /** Where in the text the byte before `end` of the result ends. */
  endOf(end: number): number {
    return end === 0 ? 0 : this.#place(end - 1, true);
  }

  #place(at: number, end: boolean): number {
    if (this.bytes === this.#raw) return end ? at + 1 : at;
    this.#steps ??= this.#record();
    const steps = this.#steps;
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((steps[middle * 4] as number) <= at) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return end ? at + 1 : at;
    const step = (low - 1) * 4;
    const flatEnd = steps[step + 1] as number;
    const rawEnd = steps[step + 3] as number;
    if (at < flatEnd) return end ? rawEnd : (steps[step + 2] as number);
    return rawEnd + (at - flatEnd) + (end ? 1 : 0);
  }

  #record(): Uint32Array {
    const steps: number[] = [];
    this.#flatten(this.#raw.indexOf(BACKSLASH), steps);
    this.#count = steps.length / 4;
    return Uint32Array.from(steps);
  }

  /** Writes the result; `first` is the first backslash. Returns its length. */
  #flatten(first: number, steps?: number[]): number {
    const raw = this.#raw;
    const { length } = raw;
    if (this.#scratch.length < length) this.#keep(Buffer.allocUnsafe(roomFor(length)));
    const out = this.#scratch;
    const from4 = viewOf(raw);
    const to4 = this.#scratchView;
    raw.copy(out, 0, 0, first);
    let i = first;
    let j = first;
    let plain = 0;
    while (i < length) {
      // Four bytes a step as long as none of them is a backslash ("Bit Twiddling Hacks": determine if a word has a byte equal to n).
      while (i + 4 <= length && plain < PLAIN_BYTES) {
        const four = from4.getInt32(i, true);
        const other = four ^ 0x5c5c5c5c;
        const marks = (other - 0x01010101) & ~other & 0x80808080;
        to4.setInt32(j, four, true);
        if (marks !== 0) {
          // The lowest mark is at the first backslash; those above it may be false.
          const before = (31 - Math.clz32(marks & -marks)) >>> 3;
          i += before;
          j += before;
          break;
        }
        i += 4;
        j += 4;
        plain += 4;
      }
      if (plain >= PLAIN_BYTES) {
        plain = 0;
        const next = raw.indexOf(BACKSLASH, i);
        const end = next < 0 ? length : next;
        raw.copy(out, j, i, end);
        j += end - i;
        i = end;
        continue;
      }
      if (i === length) break;
      const c = raw[i] as number;
      if (c !== BACKSLASH) {
        out[j++] = c;
        i++;
        continue;
      }
      plain = 0;
      const from = j;
      const simple = SIMPLE[raw[i + 1] ?? 0] as number;
      let used = 2;
      if (simple !== 0) out[j++] = simple;
      else {
        let point = raw[i + 1] === 0x75 ? hexAt(raw, i + 2) : -1;
        if (point < 0) {
          // No JSON: left as it is.
          out[j++] = c;
          i++;
          continue;
        }
        used = 6;
        if (point >= 0xd800 && point < 0xe000) {
          const low = point < 0xdc00 && raw[i + 6] === BACKSLASH && raw[i + 7] === 0x75 ? hexAt(raw, i + 8) : -1;
          if (low >= 0xdc00 && low < 0xe000) {
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            used = 12;
          } else point = 0xfffd;
        }
        j = writePoint(out, j, point);
      }
      steps?.push(from, j, i, i + used);
      i += used;
    }
    return j;
  }
}

/** Four hexadecimal digits, -1 for anything else. */
function hexAt(raw: Buffer, at: number): number {
  let value = 0;
  for (let k = at; k < at + 4; k++) {
    const c = raw[k] ?? 0;
    const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : c >= 0x41 && c <= 0x46 ? c - 0x37 : c >= 0x61 && c <= 0x66 ? c - 0x57 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function writePoint(out: Buffer, at: number, point: number): number {
  let j = at;
  if (point < 0x80) out[j++] = point;
  else if (point < 0x800) {
    out[j++] = 0xc0 | (point >> 6);
    out[j++] = 0x80 | (point & 0x3f);
  } else if (point < 0x10000) {
    out[j++] = 0xe0 | (point >> 12);
    out[j++] = 0x80 | ((point >> 6) & 0x3f);
    out[j++] = 0x80 | (point & 0x3f);
  } else {
    out[j++] = 0xf0 | (point >> 18);
    out[j++] = 0x80 | ((point >> 12) & 0x3f);
    out[j++] = 0x80 | ((point >> 6) & 0x3f);
    out[j++] = 0x80 | (point & 0x3f);
  }
  return j;
}
