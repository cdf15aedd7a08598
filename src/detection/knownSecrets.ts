import { isAscii } from 'node:buffer';
import { coresOf } from './cores.ts';
import { decodingBudget, forEachEncodedRun, isBase64Character, type DecodingBudget } from './encodedRuns.ts';
import { Unescaped } from './escapes.ts';
import { forEachHiddenMessage } from './hiddenText.ts';
import {
  FRAGMENT_BYTES,
  plainSpelling,
  spellingsOf,
  type ExactPattern,
  type SecretForm,
  type SecretPattern,
  type Strictness,
} from './secretPatterns.ts';
import { MIN_RUN_SYMBOLS, SeedTable } from './seeds.ts';
import { SYMBOL_OF, Symbols } from './symbols.ts';

export type { SecretForm } from './secretPatterns.ts';

/** A place where a known secret was found. Offsets count bytes of the text that was searched. */
export interface SecretMatch {
  readonly start: number;
  readonly end: number;
  /** Id given at {@link KnownSecrets.set}. */
  readonly id: string;
  /** How it was written. */
  readonly form: SecretForm;
  /** Whether only a part of the secret stands there. */
  readonly fragment: boolean;
}

/** A part of a secret that was found, down to {@link MIN_RUN_SYMBOLS} letters and digits of any spelling. */
export interface SecretPart {
  readonly id: string;
  /** Which of the texts that `coresOf` made of the secret, and its length in bytes. */
  readonly core: number;
  readonly coreBytes: number;
  /** Bytes of it, from and up to. */
  readonly from: number;
  readonly to: number;
}

/** What a search gives: the places, and whether everything was looked at. */
export interface Search {
  readonly matches: SecretMatch[];
  /** False if more was compressed or encoded within the text than the budget allows. */
  readonly complete: boolean;
}

/** A secret below this is no secret: refuse it. It is found as it is, and not in parts. */
export const MIN_SECRET_BYTES = 8;
/** Different symbols that a part needs: `AAAAAAAAAAAAAAAA` is in every picture. */
const MIN_DISTINCT = 6;
/** Most bytes between two symbols, and as much for each character that is there anyway. */
const MAX_GAP_BYTES: Readonly<Record<Strictness, number>> = { exact: 64, near: 12, loose: 64 };
/** How often text is unescaped: what is nested deeper is found in the form that this leaves. */
const MAX_LEVELS = 8;
/** Text that is searched again on either side of an escape, bytes: less would miss, more costs time. */
const MIN_AROUND_BYTES = 192;
const MAX_AROUND_BYTES = 2_048;
/** Encodings within encodings. */
const MAX_DEPTH = 3;
/** Memory that is kept for the next text, bytes for each of a few buffers. */
const KEPT_BYTES = 4 * 1_048_576;

interface Registered {
  readonly patterns: readonly SecretPattern[];
  readonly exact: readonly ExactPattern[];
  readonly bytes: number;
  readonly holdEscapable: boolean;
}

/** A text that several ids may have registered, with all its spellings. */
interface Core extends Registered {
  readonly users: { id: string; core: number }[];
}

interface IndexedPattern extends SecretPattern {
  readonly core: Core;
  /** Where it stands in the seed table. */
  readonly at: number;
  /** Fewest bytes of {@link SecretPattern.spelled} that count as a part. */
  readonly partLength: number;
}

/** Runs that are remembered for each pattern: one for each way in which probing can fall. */
const SEEN_SLOTS = 4;

/** The runs that were looked at last: where they end, their offset against the text, and in which reading it was. */
interface Seen {
  readonly ends: Uint32Array;
  readonly offsets: Int32Array;
  readonly readings: Uint32Array;
  /** By pattern: how far it was found last, and in which reading. What repeats itself would be found again at every step. */
  readonly covered: Uint32Array;
  readonly covering: Uint32Array;
}

interface Index {
  readonly seen: Seen;
  readonly seeds: SeedTable | undefined;
  /** How far a secret can reach from an escape in it, bytes; what is longer is found in two parts. */
  readonly around: number;
  readonly patterns: readonly IndexedPattern[];
  readonly exact: readonly (ExactPattern & { readonly core: Core; readonly plain: Buffer | undefined })[];
}

/** Memory for reading a text at one level: as it is, with its escapes undone once, and so on. */
interface Level {
  readonly symbols: Symbols;
  readonly unescaped: Unescaped;
}

/** What is searched for. */
interface Searching {
  readonly only: ((id: string) => boolean) | undefined;
  readonly budget: DecodingBudget;
  /** Is told of every part, also of short ones: places in what a pattern spells. */
  readonly part?: (pattern: IndexedPattern, first: number, last: number) => void;
}

/** Places in the text of a level: bytes `start` to `end`. */
type Emit = (start: number, end: number, pattern: SecretPattern | ExactPattern, core: Core, spaced: Spacing, fragment: boolean) => void;
type Spacing = 'same' | 'case' | 'gaps';

/**
 * Finds secrets by their value, in any dress, in linear time: as they are; escaped in any of the usual ways, also several times over; spaced
 * out, dashed, with invisible or look-alike characters, in another case, reversed, rot13; in base64, base32 and hex at any alignment, also
 * nested and compressed. Parts of {@link FRAGMENT_BYTES} bytes are found as well.
 *
 * How: a text is read as its letters and digits (`symbols.ts`), which every fourth place is compared with a table of all places of all
 * spellings of all secrets (`seeds.ts`, `secretPatterns.ts`). What comes out of that is verified in the text itself. Then the same with
 * escapes undone (`escapes.ts`), and for what is encoded within it (`encodedRuns.ts`). docs/detection.md has the numbers.
 */
export class KnownSecrets {
  readonly #ids = new Map<string, readonly Core[]>();
  /** By text. */
  readonly #cores = new Map<string, Core>();
  #index: Index | undefined;
  #escapable: boolean | undefined;
  /** Scratch memory, one list of levels for each depth of encoding. */
  readonly #levels: Level[][] = [];
  #reading = 0;

  /** Adds or replaces the secret `id`: what is secret of `value` (`cores.ts`). */
  set(id: string, value: string): void {
    this.delete(id);
    const texts = coresOf(value);
    this.#ids.set(
      id,
      texts.map((text, core) => {
        const known = this.#cores.get(text) ?? newCore(text);
        this.#cores.set(text, known);
        known.users.push({ id, core });
        return known;
      }),
    );
    this.#changed();
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  delete(id: string): void {
    const cores = this.#ids.get(id);
    if (!cores) return;
    this.#ids.delete(id);
    for (const core of cores) {
      core.users.splice(0, core.users.length, ...core.users.filter((user) => user.id !== id));
      if (core.users.length === 0) for (const [text, other] of this.#cores) if (other === core) this.#cores.delete(text);
    }
    this.#changed();
  }

  /** Whether one of the secrets holds a character that JSON writes as an escape: a quote, a backslash, a control character. */
  get holdEscapable(): boolean {
    this.#escapable ??= [...this.#cores.values()].some((core) => core.holdEscapable);
    return this.#escapable;
  }

  /** Whether there is a secret whose id fits. */
  some(fits: (id: string) => boolean): boolean {
    for (const id of this.#ids.keys()) if (fits(id)) return true;
    return false;
  }

  get size(): number {
    return this.#ids.size;
  }

  /** Length of the longest secret, bytes. */
  get longestBytes(): number {
    let longest = 0;
    for (const { bytes } of this.#cores.values()) longest = Math.max(longest, bytes);
    return longest;
  }

  /** Builds what searching needs, if a secret has changed since. Otherwise the next search does it: some milliseconds for 200 secrets. */
  prepare(): void {
    this.#indexed();
  }

  /** All places in `text` (UTF-8), merged where they overlap, in order. `only` limits the search to some secrets. */
  find(text: Buffer, only?: (id: string) => boolean): SecretMatch[] {
    return this.search(text, only).matches;
  }

  /** Like {@link find}, and tells whether everything in the text was looked at. */
  search(text: Buffer, only?: (id: string) => boolean): Search {
    if (this.#ids.size === 0 || text.length === 0) return { matches: [], complete: true };
    const out: SecretMatch[] = [];
    const budget = decodingBudget(text.length);
    this.#scan(text, 0, { only, budget }, (start, end, { form }, core, spacing, fragment) => {
      const id = userOf(core, only)?.id;
      if (id !== undefined) out.push({ start, end, id, form: dressOf(text, start, end, form, spacing), fragment });
    });
    return { matches: out.length > 1 ? merge(out) : out, complete: !budget.exceeded };
  }

  /** The parts of secrets that stand in `text`, also short ones that {@link find} does not count. In no order; may overlap. */
  parts(text: Buffer, only?: (id: string) => boolean): SecretPart[] {
    const out: SecretPart[] = [];
    if (this.#ids.size === 0) return out;
    const part = ({ core, bytesBefore, bytesEach, form }: IndexedPattern, first: number, last: number) => {
      let from = Math.max(0, Math.floor(bytesBefore + first * bytesEach));
      let to = Math.min(core.bytes, Math.ceil(bytesBefore + last * bytesEach));
      if (form === 'reversed') [from, to] = [core.bytes - to, core.bytes - from];
      for (const { id, core: number } of core.users) if (!only || only(id)) out.push({ id, core: number, coreBytes: core.bytes, from, to });
    };
    this.#scan(text, 0, { only, budget: decodingBudget(text.length), part }, () => undefined);
    return out;
  }

  #changed(): void {
    this.#index = undefined;
    this.#escapable = undefined;
  }

  #indexed(): Index {
    if (this.#index) return this.#index;
    const patterns: IndexedPattern[] = [];
    let at = 1;
    for (const core of this.#cores.values())
      for (const pattern of core.patterns) {
        const { symbols, bytesEach } = pattern;
        patterns.push({
          ...pattern,
          core,
          at,
          partLength: Math.ceil(FRAGMENT_BYTES / bytesEach),
        });
        at += symbols.length + 1;
      }
    this.#index = {
      patterns,
      seen: {
        ends: new Uint32Array(patterns.length * SEEN_SLOTS),
        offsets: new Int32Array(patterns.length * SEEN_SLOTS),
        readings: new Uint32Array(patterns.length * SEEN_SLOTS),
        covered: new Uint32Array(patterns.length),
        covering: new Uint32Array(patterns.length),
      },
      around: Math.min(MAX_AROUND_BYTES, Math.max(MIN_AROUND_BYTES, this.longestBytes * 4)),
      seeds: patterns.length > 0 ? new SeedTable(patterns) : undefined,
      exact: [...this.#cores.values()].flatMap((core) =>
        core.exact.map((pattern) => ({ ...pattern, core, plain: plainSpelling(pattern.bytes) })),
      ),
    };
    return this.#index;
  }

  /** Searches `text` on all its levels, and what is encoded in it. `parts` counts also short runs. */
  #scan(text: Buffer, depth: number, search: Searching, emit: Emit): void {
    this.#scanLevel(text, depth, 0, true, search, emit);
    if (depth > 0) return;
    for (const levels of this.#levels)
      for (const level of levels) {
        level.symbols.trim(KEPT_BYTES);
        level.unescaped.trim(KEPT_BYTES);
      }
  }

  /** `escaped`: whether the text may hold escapes. */
  #scanLevel(text: Buffer, depth: number, number: number, escaped: boolean, search: Searching, emit: Emit): void {
    const levels = (this.#levels[depth] ??= []);
    const { symbols, unescaped } = (levels[number] ??= { symbols: new Symbols(), unescaped: new Unescaped() });
    const index = this.#indexed();
    this.#probe(index, text, symbols, number > 0, search, emit);
    const ascii = isAscii(text);
    const changes = escaped && number < MAX_LEVELS && Unescaped.mayChange(text, ascii) && unescaped.read(text);
    if (depth < MAX_DEPTH) this.#scanEncoded(text, ascii, depth, search, emit);
    if (!changes) return;
    const { bytes: inner, goesOn } = unescaped;
    unescaped.forEachChange(index.around, (from, to) => {
      this.#scanLevel(inner.subarray(from, to), depth, number + 1, goesOn, search, (start, end, ...rest) => {
        emit(unescaped.startOf(from + start), unescaped.endOf(from + end), ...rest);
      });
    });
  }

  #scanEncoded(text: Buffer, ascii: boolean, depth: number, search: Searching, emit: Emit): void {
    forEachEncodedRun(text, search.budget, ({ decoded, compressed, place }) => {
      this.#scan(decoded, depth + 1, search, (start, end, pattern, core, spacing, fragment) => {
        const outer = place(start, end);
        const form = compressed ? 'compressed' : pattern.form === 'as is' && spacing === 'same' ? 'base64' : 'several encodings';
        emit(outer.start, outer.end, { ...pattern, form }, core, 'same', fragment);
      });
    });
    if (ascii) return;
    forEachHiddenMessage(text, (decoded, first, last) => {
      this.#scan(decoded, depth + 1, search, (_start, _end, pattern, core, _spacing, fragment) => {
        emit(first, last, { ...pattern, form: 'hidden characters' }, core, 'same', fragment);
      });
    });
  }

  /** Searches one level. */
  #probe(index: Index, text: Buffer, read: Symbols, unescaped: boolean, search: Searching, emit: Emit): void {
    const { only } = search;
    for (const pattern of index.exact) {
      const bytes = (unescaped ? pattern.plain : undefined) ?? pattern.bytes;
      if (bytes.length === 0 || (only && !userOf(pattern.core, only))) continue;
      for (let at = text.indexOf(bytes); at >= 0; at = text.indexOf(bytes, at + 1))
        emit(at, at + bytes.length, pattern, pattern.core, 'same', false);
    }
    const { seeds, seen } = index;
    if (!seeds) return;
    read.read(text);
    const { symbols, data, count } = read;
    const reading = (this.#reading = (this.#reading + 1) >>> 0);
    const visit = (owner: number, place: number, at: number): void => {
      const pattern = index.patterns[owner] as IndexedPattern;
      const offset = place - at;
      const slot = owner * SEEN_SLOTS + (place % SEEN_SLOTS);
      if (seen.covering[owner] === reading && at < (seen.covered[owner] as number)) return;
      if (seen.readings[slot] === reading && seen.offsets[slot] === offset && at < (seen.ends[slot] as number)) return;
      if (only && !userOf(pattern.core, only)) return;
      const all = seeds.symbols;
      let start = at;
      let end = at;
      while (start > 0 && all[start - 1 + offset] === symbols[start - 1] && all[start - 1 + offset] !== 0) start--;
      while (end < count && all[end + offset] === symbols[end]) end++;
      seen.readings[slot] = reading;
      seen.offsets[slot] = offset;
      seen.ends[slot] = end;
      if (!verify(text, read, pattern, start, end, start + offset - pattern.at, search, emit)) return;
      seen.covering[owner] = reading;
      seen.covered[owner] = end;
    };
    for (let at = seeds.next(symbols, data, 0, count); at < count; at = seeds.next(symbols, data, seeds.after(at), count))
      seeds.lookUp(symbols, at, visit);
  }
}

function newCore(text: string): Core {
  const bytes = Buffer.from(text, 'utf8');
  return {
    ...spellingsOf(text),
    bytes: bytes.length,
    holdEscapable: bytes.some((b) => b < 0x20 || b === 0x22 || b === 0x5c),
    users: [],
  };
}

function userOf(core: Core, only: ((id: string) => boolean) | undefined): { readonly id: string; readonly core: number } | undefined {
  return only ? core.users.find(({ id }) => only(id)) : core.users[0];
}

/**
 * Looks at a run of equal symbols in the text itself: `start` to `end` in the symbols of the level, from `first` on in those of the pattern.
 * Cuts it where what stands between two symbols can't be part of the secret, and reports what is long enough: true if anything was.
 */
function verify(
  text: Buffer,
  read: Symbols,
  pattern: IndexedPattern,
  start: number,
  end: number,
  first: number,
  { part }: Searching,
  emit: Emit,
): boolean {
  const { spelled, places, strictness } = pattern;
  const total = places.length;
  const isEnough = (from: number, to: number) =>
    (from === 0 && to === total) ||
    (to - from >= MIN_RUN_SYMBOLS &&
      (part !== undefined || (places[to - 1] as number) - (places[from] as number) + 1 >= pattern.partLength) &&
      strictness !== 'exact' &&
      distinct(pattern, from, to) >= MIN_DISTINCT);
  if (!isEnough(first, first + end - start)) return false;

  let at = read.placeOf(start);
  let [runFrom, runAt, lastAt] = [first, at, at];
  let [sameCase, swappedCase, gaps, found] = [true, true, false, false];
  const close = (to: number) => {
    if (!isEnough(runFrom, to)) return;
    if (strictness === 'exact' && !sameCase && !swappedCase) return;
    found = true;
    part?.(pattern, places[runFrom] as number, (places[to - 1] as number) + 1);
    let [from, until] = [runAt, lastAt + 1];
    for (let p = (places[runFrom] as number) - 1; p >= 0 && from > 0 && isAlike(text[from - 1], spelled[p]); p--) from--;
    for (let p = (places[to - 1] as number) + 1; p < spelled.length && until < text.length && isAlike(text[until], spelled[p]); p++)
      until++;
    if (pattern.left && runFrom === 0 && isBase64Character(text[from - 1])) from--;
    if (pattern.right && to === total && isBase64Character(text[until])) until++;
    emit(from, until, pattern, pattern.core, gaps ? 'gaps' : sameCase ? 'same' : 'case', to - runFrom < total);
  };
  for (let n = first; ;) {
    const [there, here] = [text[at] as number, spelled[places[n] as number] as number];
    if (there !== here) sameCase = false;
    else if (here > 0x39) swappedCase = false;
    lastAt = at;
    if (++n === first + end - start) {
      close(n);
      return found;
    }
    do at++;
    while (SYMBOL_OF[text[at] as number] === 0);
    const gap = at - lastAt - 1;
    const own = (places[n] as number) - (places[n - 1] as number) - 1;
    if (gap === 0 && own === 0) continue;
    const same = isSameGap(text, lastAt + 1, gap, spelled, (places[n - 1] as number) + 1, own);
    if (!same) gaps = true;
    if (same || isGapAllowed(text, lastAt + 1, at, own, strictness)) continue;
    close(n);
    [runFrom, runAt, sameCase, swappedCase, gaps] = [n, at, true, true, false];
  }
}

function distinct({ symbols }: SecretPattern, from: number, to: number): number {
  let [low, high] = [0, 0];
  for (let i = from; i < to; i++) {
    const symbol = symbols[i] as number;
    if (symbol < 0x60) low |= 1 << (symbol - 0x30);
    else high |= 1 << (symbol - 0x60);
  }
  return bits(low) + bits(high);
}

function bits(n: number): number {
  let count = 0;
  for (let rest = n; rest !== 0; rest &= rest - 1) count++;
  return count;
}

function isSameGap(text: Buffer, at: number, length: number, spelled: Uint8Array, place: number, own: number): boolean {
  if (length !== own) return false;
  for (let i = 0; i < length; i++) if (!isAlike(text[at + i], spelled[place + i])) return false;
  return true;
}

/** The same byte, or the other alphabet's for the same sextet, or a form's `+` for a space. */
function isAlike(there: number | undefined, here: number | undefined): boolean {
  if (there === here) return here !== undefined;
  switch (here) {
    case 0x20:
    case 0x2d:
      return there === 0x2b;
    case 0x2b:
      return there === 0x2d;
    case 0x2f:
      return there === 0x5f;
    case 0x5f:
      return there === 0x2f;
    default:
      return false;
  }
}

function isGapAllowed(text: Buffer, from: number, to: number, own: number, strictness: Strictness): boolean {
  if (to - from > MAX_GAP_BYTES[strictness] * (own + 1)) return false;
  if (strictness !== 'exact') return true;
  // Of characters that show nothing, or the zeros of UTF-16.
  for (let i = from; i < to; i++) if ((text[i] as number) < 0x80 && text[i] !== 0) return false;
  return true;
}

/** The name for how a secret was written, from its spelling and what stands in the text. */
function dressOf(text: Buffer, start: number, end: number, form: SecretForm, spacing: Spacing): SecretForm {
  if (form !== 'as is') return form;
  if (spacing === 'same') {
    const span = text.subarray(start, end);
    // A secret that stands there as it is may hold a percent sign; what was unescaped is longer than what it became.
    if (span.includes(0x25)) return 'percent-encoded';
    if (span.includes(0x5c)) return 'JSON-escaped';
    if (span.includes('&#') || (span.includes(0x26) && span.includes(0x3b))) return 'HTML entities';
    return isAscii(span) ? 'as is' : 'look-alike characters';
  }
  return spacing === 'gaps' ? (isAscii(text.subarray(start, end)) ? 'spaced out' : 'hidden characters') : 'in another case';
}

function merge(matches: SecretMatch[]): SecretMatch[] {
  matches.sort((a, b) => a.start - b.start || b.end - a.end);
  const out: SecretMatch[] = [];
  for (const match of matches) {
    const last = out.at(-1);
    if (last && match.start < last.end)
      out[out.length - 1] = { ...last, end: Math.max(last.end, match.end), fragment: last.fragment && match.fragment };
    else out.push(match);
  }
  return out;
}
