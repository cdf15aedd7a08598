import { textScanFor } from '../textScan.ts';

/** A keyword, and what can stand behind it. */
export interface Keyword {
  /** At least two characters, lower case, ASCII. */
  readonly text: string;
  /** The bytes that may stand right behind it, one set for each place, as far as that is known; needed only where it is short. */
  readonly after: readonly Uint8Array[];
  /** Whether it counts only in a text that holds {@link SENTINEL}. */
  readonly needsSentinel?: boolean;
}

/** `@`: much text holds none, and URLs with a password do. */
export const SENTINEL = 0x40;

/** How often a byte stands in text that tools return, roughly: keywords are looked for by what is rare in them. */
const FREQUENCY = new Float64Array(256).fill(0.3);
for (const [characters, often] of [
  [' ', 15],
  ['e', 10],
  ['tainsor', 6],
  ['"', 8],
  ['hldcu', 4],
  ['mpfgyw,', 2],
  ['bv./:_-0123456789', 1.5],
  ['kx=', 0.8],
] as const)
  for (const c of characters) FREQUENCY[c.charCodeAt(0)] = often;

/** How often any byte stands somewhere. */
const ANY = FREQUENCY.reduce((sum, often) => sum + often, 0);

const LOWER = Uint8Array.from({ length: 256 }, (_, c) => (c >= 0x41 && c <= 0x5a ? c | 0x20 : c));
/** The bytes that become each byte when letters become small. */
const VARIANTS: readonly (readonly number[])[] = Array.from({ length: 256 }, (_, c) => {
  if (LOWER[c] !== c) return [];
  return c >= 0x61 && c <= 0x7a ? [c, c & 0xdf] : [c];
});

/**
 * Four bytes that follow one another in a keyword and around it: what can stand at each place, small letters only. The first may be the byte
 * before the keyword, the last two may be behind it.
 */
interface Run {
  readonly keyword: number;
  /** How far into the keyword the second byte stands. */
  readonly place: number;
  readonly needsSentinel: boolean;
  readonly bytes: readonly [readonly number[], readonly number[], readonly number[], readonly number[]];
}

/** Runs are told apart by two pairs of bytes only as far as they are of different groups: a bit for each. */
const GROUPS = 16;
/** The last group is of keywords that need the sentinel, and is left out where there is none. */
const SENTINEL_GROUP = 1 << (GROUPS - 1);
/** Rows of runs by their last three bytes; behind them by two of these and by one, for runs of which the others can be many. */
const ROW_BITS = 12;
const PAIR_BITS = 8;
const PAIRS = 1 << ROW_BITS;
const SINGLES = PAIRS + (1 << PAIR_BITS);
const ROWS = SINGLES + 256;
/** Keywords are told by what is rarest in so many of their first characters. */
const MAX_ANCHOR = 256;

/**
 * Finds many keywords in one pass, letters in any case. Of each keyword the two rarest runs that follow one another are known; only every
 * second place of a text is looked at, so one of them is seen wherever the keyword stands. A filter goes by two bytes and two bytes; what
 * passes is compared.
 */
export class KeywordScanner {
  /** For two bytes (little-endian, seven bits of each: the table is to stay in near memory), as bits: below, the groups of runs that begin with them, above, of those that end with them. */
  readonly #filter = new Uint32Array(16_384);
  /** All of this, as `wasm/scan.ts` reads it: see {@link tablesOf}. */
  #tables: Uint8Array | undefined;
  readonly #keywords: readonly Uint8Array[];
  /** Runs by row: the first of each row, one more at the end; for each run its last three bytes, its keyword and its place in that. */
  readonly #rows = new Uint32Array(ROWS + 1);
  readonly #lasts: Uint32Array;
  readonly #owners: Uint32Array;
  readonly #places: Uint32Array;

  constructor(keywords: readonly Keyword[]) {
    this.#keywords = keywords.map(({ text }) => Buffer.from(text, 'latin1'));
    const runs = keywords.flatMap(runsOf);
    const groups = groupsOf(runs.filter(({ needsSentinel }) => !needsSentinel));
    const rows = runs.map(rowFor);
    for (const run of runs) {
      const [before, first, second, third] = run.bytes;
      const bit = run.needsSentinel ? SENTINEL_GROUP : (groups.get(headOf(run)) as number);
      this.#allow(before, first, bit);
      this.#allow(second, third, bit << GROUPS);
    }
    const order = Array.from(runs, (_, r) => r).sort((a, b) => (rows[a] as number) - (rows[b] as number));
    const sorted = order.map((r) => runs[r] as Run);
    for (const row of rows) this.#rows[row + 1] = (this.#rows[row + 1] as number) + 1;
    for (let row = 0; row < ROWS; row++) this.#rows[row + 1] = (this.#rows[row + 1] as number) + (this.#rows[row] as number);
    this.#lasts = Uint32Array.from(sorted, lastOf);
    this.#owners = Uint32Array.from(sorted, ({ keyword }) => keyword);
    this.#places = Uint32Array.from(sorted, ({ place }) => place);
  }

  #allow(low: readonly number[], high: readonly number[], bits: number): void {
    const filter = this.#filter;
    const lows = variantsOf(low);
    for (const h of variantsOf(high))
      for (const l of lows) {
        const two = (l & 0x7f) | ((h & 0x7f) << 7);
        filter[two] = (filter[two] as number) | bits;
      }
  }

  /** Calls `visit` for each place where a keyword begins, nearly in order: as their rarest parts come. */
  scan(text: Uint8Array, visit: (keyword: number, start: number) => void): void {
    const { length } = text;
    const groups = text.includes(SENTINEL) ? (1 << GROUPS) - 1 : SENTINEL_GROUP - 1;
    const scan = textScanFor(length);
    const tables = scan?.tables((this.#tables ??= this.#asTables())) ?? 0;
    if (scan && tables !== 0) {
      const at = scan.place(text);
      const { found } = scan;
      for (let pair = 0; pair < (length >>> 2) * 2; pair = scan.goOnFrom()) {
        const end = scan.keywords(at, pair, length, tables, groups) * 2;
        for (let f = 0; f < end; f += 2) visit(found[f] as number, found[f + 1] as number);
      }
    } else this.#scanPairs(text, groups, visit);
    for (let i = Math.max((length & ~3) - 1, 1); i < length; i += 2) this.#check(text, i, visit);
  }

  /**
   * For `wasm/scan.ts`, numbers little-endian: the filter; the rows; where keywords are listed; for each run its last three bytes and the one
   * before, 0 if that is outside the keyword (4 bytes), its keyword and its place in that (2 each); for each keyword where its characters are
   * and how many (4 each); the characters.
   */
  #asTables(): Uint8Array {
    const runs = this.#lasts.length;
    const keywords = this.#keywords;
    const list = (this.#filter.length + this.#rows.length + 1 + runs * 2) * 4;
    let at = list + keywords.length * 8;
    const bytes = new Uint8Array(keywords.reduce((sum, { length }) => sum + length, at));
    const data = new DataView(bytes.buffer);
    let end = 0;
    const put = (value: number) => {
      data.setUint32(end, value, true);
      end += 4;
    };
    this.#filter.forEach(put);
    this.#rows.forEach(put);
    put(list);
    for (let run = 0; run < runs; run++) {
      const [owner, place] = [this.#owners[run] as number, this.#places[run] as number];
      put((this.#lasts[run] as number) | ((keywords[owner]?.[place - 1] ?? 0) << 24));
      put(owner | (place << 16));
    }
    for (const keyword of keywords) {
      put(at);
      put(keyword.length);
      bytes.set(keyword, at);
      at += keyword.length;
    }
    return bytes;
  }

  #scanPairs(text: Uint8Array, groups: number, visit: (keyword: number, start: number) => void): void {
    const filter = this.#filter;
    const { length } = text;
    const data = new DataView(text.buffer, text.byteOffset, length);
    let i = 0;
    let last = 0;
    for (; i + 4 <= length; i += 4) {
      const four = data.getInt32(i, true);
      const low = filter[(four & 0x7f) | ((four >>> 1) & 0x3f80)] as number;
      const high = filter[((four >>> 16) & 0x7f) | ((four >>> 17) & 0x3f80)] as number;
      const before = last & (low >>> GROUPS) & groups;
      const within = low & (high >>> GROUPS) & groups;
      if ((before | within) !== 0) {
        if (before !== 0) this.#check(text, i - 1, visit);
        if (within !== 0) this.#check(text, i + 1, visit);
      }
      last = high;
    }
  }

  /** Compares what may have its second byte of a run at `at`. */
  #check(text: Uint8Array, at: number, visit: (keyword: number, start: number) => void): void {
    const first = LOWER[text[at] ?? 0] as number;
    const last = first | ((LOWER[text[at + 1] ?? 0] as number) << 8) | ((LOWER[text[at + 2] ?? 0] as number) << 16);
    const rows = this.#rows;
    const lasts = this.#lasts;
    let row = rowOf(last);
    for (let r = rows[row] as number, end = rows[row + 1] as number; r < end; r++) if (lasts[r] === last) this.#compare(text, at, r, visit);
    row = pairRowOf(last & 0xffff);
    for (let r = rows[row] as number, end = rows[row + 1] as number; r < end; r++)
      if (((lasts[r] as number) & 0xffff) === (last & 0xffff)) this.#compare(text, at, r, visit);
    row = SINGLES + first;
    for (let r = rows[row] as number, end = rows[row + 1] as number; r < end; r++) this.#compare(text, at, r, visit);
  }

  #compare(text: Uint8Array, at: number, run: number, visit: (keyword: number, start: number) => void): void {
    const owner = this.#owners[run] as number;
    const keyword = this.#keywords[owner] as Uint8Array;
    const start = at - (this.#places[run] as number);
    if (start < 0 || start + keyword.length > text.length) return;
    for (let k = 0; k < keyword.length; k++) if (LOWER[text[start + k] as number] !== keyword[k]) return;
    visit(owner, start);
  }
}

function rowOf(last: number): number {
  return Math.imul(last, 0x9e3779b1) >>> (32 - ROW_BITS);
}

function lastOf({ bytes: [, a, b, c] }: Run): number {
  return (a[0] ?? 0) | ((b[0] ?? 0) << 8) | ((c[0] ?? 0) << 16);
}

function pairRowOf(two: number): number {
  return PAIRS + (Math.imul(two, 0x9e3779b1) >>> (32 - PAIR_BITS));
}

function rowFor(run: Run): number {
  const [, first, second, third] = run.bytes;
  if (second.length > 1) return SINGLES + (first[0] ?? 0);
  return third.length > 1 ? pairRowOf(lastOf(run) & 0xffff) : rowOf(lastOf(run));
}

function variantsOf(bytes: readonly number[]): readonly number[] {
  return bytes === SMALL ? EVERY : bytes.flatMap((byte) => VARIANTS[byte] as readonly number[]);
}

/** How a run begins, as far as that is known. */
function headOf({ bytes: [before, first] }: Run): number {
  return (first[0] ?? 0) | ((before.length === 1 ? (before[0] ?? 0) : 0) << 8);
}

/** How often one of some bytes stands somewhere. */
function oftenOf(bytes: readonly number[]): number {
  if (bytes.length === 1) return FREQUENCY[bytes[0] as number] as number;
  if (bytes === SMALL) return ANY;
  let sum = 0;
  for (const byte of bytes) sum += FREQUENCY[byte] as number;
  return sum;
}

/** A group, as a bit, for each way in which runs begin: so that the beginnings of one run seldom stand before the ends of another. */
function groupsOf(runs: readonly Run[]): ReadonlyMap<number, number> {
  const heads = new Map<number, { heads: number; tails: number }>();
  for (const run of runs) {
    const [before, first, second, third] = run.bytes;
    const head = heads.get(headOf(run)) ?? { heads: oftenOf(before) * oftenOf(first), tails: 0 };
    head.tails += oftenOf(second) * oftenOf(third);
    heads.set(headOf(run), head);
  }
  const groups = Array.from({ length: GROUPS - 1 }, () => ({ heads: 0, tails: 0 }));
  const out = new Map<number, number>();
  for (const [head, own] of [...heads].sort(([, a], [, b]) => b.heads * b.tails - a.heads * a.tails)) {
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let g = 0; g < groups.length; g++) {
      const group = groups[g] as { heads: number; tails: number };
      const added = group.heads * own.tails + group.tails * own.heads;
      if (added >= least) continue;
      least = added;
      best = g;
    }
    const group = groups[best] as { heads: number; tails: number };
    group.heads += own.heads;
    group.tails += own.tails;
    out.set(head, 1 << best);
  }
  return out;
}

/** The two runs by which a keyword is found: the rarest. */
function runsOf({ text, after, needsSentinel = false }: Keyword, keyword: number): readonly Run[] {
  const often = (place: number) => (place < 0 ? ANY : (FREQUENCY[text.charCodeAt(place)] as number));
  const run = (place: number) => often(place - 1) * often(place) * often(place + 1) * often(place + 2);
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let place = 0; place + 4 <= Math.min(text.length, MAX_ANCHOR); place++) {
    const sum = run(place) + run(place + 1);
    if (sum >= least) continue;
    least = sum;
    best = place;
  }
  const bytesAt = (at: number) => (at < 0 ? SMALL : at < text.length ? [text.charCodeAt(at)] : smallOf(after[at - text.length]));
  return [best, best + 1].map((place) => ({
    keyword,
    place,
    needsSentinel,
    bytes: [bytesAt(place - 1), bytesAt(place), bytesAt(place + 1), bytesAt(place + 2)],
  }));
}

const EVERY: readonly number[] = Array.from(LOWER, (_, c) => c);
const SMALL: readonly number[] = Array.from(LOWER, (small, c) => (small === c ? c : -1)).filter((c) => c >= 0);

/** The bytes of a set, or all, as small letters. */
function smallOf(set: Uint8Array | undefined): readonly number[] {
  return set ? SMALL.filter((c) => (VARIANTS[c] as readonly number[]).some((variant) => set[variant] === 1)) : SMALL;
}
