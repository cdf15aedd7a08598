import { isAscii } from 'node:buffer';
import { ChangeFilter } from './changes.ts';
import { coresOf } from './cores.ts';
import { decodingBudget, forEachEncodedRun, type DecodingBudget, type EncodedRun } from './encodedRuns.ts';
import { Unescaped } from './escapes.ts';
import { forEachHiddenMessage } from './hiddenText.ts';
import { foldingTable } from './lookAlikes.ts';
import { newCore, SecretIndex, SEEN_SLOTS, type BuiltIndex, type Core, type IndexedPattern, type Layer } from './secretIndex.ts';
import type { SecretForm } from './secretPatterns.ts';
import { MIN_RUN_SYMBOLS } from './seeds.ts';
import { Symbols } from './symbols.ts';
import { verify, type Emit, type Spacing, type TellPart } from './verification.ts';

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
/** How often text is unescaped: what is nested deeper is found in the form that this leaves. */
const MAX_LEVELS = 8;
const BACKSLASH = 0x5c;
/** Encodings within encodings. */
const MAX_DEPTH = 3;
/** Memory that is kept for the next text, bytes for each of a few buffers. */
const KEPT_BYTES = 4 * 1_048_576;

/** Memory for reading a text at one level: as it is, with its escapes undone once, and so on. */
interface Level {
  readonly symbols: Symbols;
  readonly unescaped: Unescaped;
  /** Symbols that are as in a secret, at least as many as are sure to be found; the first few. */
  readonly runs: { readonly start: number; readonly end: number }[];
}

/** Runs of a text that are remembered; as many, and all of it is suspect. */
const MAX_RUNS = 64;

/** What is searched for. */
interface Searching {
  readonly only: ((id: string) => boolean) | undefined;
  readonly budget: DecodingBudget;
  readonly part?: TellPart;
}

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
  readonly #index = new SecretIndex();
  readonly #changes = new ChangeFilter();
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
        let known = this.#cores.get(text);
        if (!known) {
          this.#cores.set(text, (known = newCore(text)));
          this.#index.add(known);
        }
        known.users.push({ id, core });
        return known;
      }),
    );
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
      if (core.users.length > 0) continue;
      for (const [text, other] of this.#cores) if (other === core) this.#cores.delete(text);
      this.#index.remove(core);
    }
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

  /** Builds what searching needs, if a secret has changed since. Otherwise the next search does it: some milliseconds for each thirty. */
  prepare(): void {
    this.#index.build();
  }

  /** Whether preparing would take more than a few milliseconds: then in slices. */
  get isFarFromPrepared(): boolean {
    return this.#index.missing > 1;
  }

  /** The same in slices of a few milliseconds, for a thread that has other things to do. */
  async prepareInSlices(): Promise<void> {
    while (this.#index.buildOn()) await new Promise(setImmediate);
    this.prepare();
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
    const level = (levels[number] ??= { symbols: new Symbols(depth === 0 && number === 0), unescaped: new Unescaped(), runs: [] });
    const { unescaped } = level;
    const index = this.#index.build();
    this.#probe(index, text, level, number > 0, search, emit);
    const ascii = isAscii(text);
    // Not read if there is nothing to search for.
    const firstRun = index.filter ? level.symbols.firstRun : 0;
    const mayChange = escaped && number < MAX_LEVELS && Unescaped.mayChange(text, ascii) && !changesNothing(text, level, index);
    const changes = mayChange && unescaped.read(text);
    // What is as in a secret may go on behind a change.
    const runs = changes && level.runs.length < MAX_RUNS ? level.runs.map((run) => placesOf(run, level.symbols)) : undefined;
    if (depth < MAX_DEPTH) this.#scanEncoded(text, ascii, firstRun, depth, search, emit);
    if (!changes) return;
    const { bytes: inner, goesOn } = unescaped;
    const { around } = index;
    const isSuspect = (from: number, to: number, textFrom: number, textTo: number) =>
      runs?.every((run) => run.end < textFrom - around || run.start > textTo + around) !== true ||
      this.#changes.isSuspect(inner, from, to, goesOn, index);
    unescaped.forEachChange(around, isSuspect, (from, to) => {
      this.#scanLevel(inner.subarray(from, to), depth, number + 1, goesOn, search, (start, end, ...rest) => {
        emit(unescaped.startOf(from + start), unescaped.endOf(from + end), ...rest);
      });
    });
  }

  #scanEncoded(text: Buffer, ascii: boolean, firstRun: number, depth: number, search: Searching, emit: Emit): void {
    const visit = ({ decoded, compressed, place }: EncodedRun) => {
      this.#scan(decoded, depth + 1, search, (start, end, pattern, core, spacing, fragment) => {
        const outer = place(start, end);
        const form = compressed ? 'compressed' : pattern.form === 'as is' && spacing === 'same' ? 'base64' : 'several encodings';
        emit(outer.start, outer.end, { ...pattern, form }, core, 'same', fragment);
      });
    };
    if (firstRun >= 0) forEachEncodedRun(text, search.budget, visit, firstRun);
    if (ascii) return;
    forEachHiddenMessage(text, (decoded, first, last) => {
      this.#scan(decoded, depth + 1, search, (_start, _end, pattern, core, _spacing, fragment) => {
        emit(first, last, { ...pattern, form: 'hidden characters' }, core, 'same', fragment);
      });
    });
  }

  /** Searches one level. */
  #probe(index: BuiltIndex, text: Buffer, level: Level, unescaped: boolean, search: Searching, emit: Emit): void {
    const { only } = search;
    const { runs, symbols: read } = level;
    runs.length = 0;
    for (const pattern of index.exact) {
      const bytes = (unescaped ? pattern.plain : undefined) ?? pattern.bytes;
      if (bytes.length === 0 || (only && !userOf(pattern.core, only))) continue;
      for (let at = text.indexOf(bytes); at >= 0; at = text.indexOf(bytes, at + 1))
        emit(at, at + bytes.length, pattern, pattern.core, 'same', false);
    }
    const { filter, layers } = index;
    if (!filter) return;
    read.read(text);
    const { symbols, data, count } = read;
    const reading = (this.#reading = (this.#reading + 1) >>> 0);
    let layer = layers[0] as Layer;
    const visit = (owner: number, place: number, at: number) => {
      lookAt(layer, owner, place, at, text, level, reading, search, emit);
    };
    const scan = read.scan?.use(filter) === true ? read.scan : undefined;
    for (let from = 0; ;) {
      const at = scan ? scan.nextSeed(from, count) : filter.next(symbols, data, from, count);
      if (at >= count) break;
      for (layer of layers) layer.seeds.lookUp(symbols, at, visit);
      from = filter.after(at);
    }
  }
}

/**
 * Whether what is read as something else in a text that was just searched can have brought up nothing. Told only of texts without escapes and
 * without anything as in a secret: accents, quotes and dashes are in many, and nothing comes of them.
 */
function changesNothing(text: Buffer, { symbols: { scan, placed }, runs }: Level, { exact, filter, layers, around }: BuiltIndex): boolean {
  if (!scan || !filter || runs.length > 0 || exact.length > 0 || text.includes(BACKSLASH) || !scan.use(filter)) return false;
  scan.fold(foldingTable);
  return scan.changesNothing(placed, text.length, around, (symbols, at) => layers.some(({ seeds }) => seeds.holds(symbols, at)));
}

function placesOf({ start, end }: { readonly start: number; readonly end: number }, symbols: Symbols): { start: number; end: number } {
  return { start: symbols.placeOf(start), end: symbols.placeOf(end - 1) + 1 };
}

/** Looks at what stands around a seed: `place` in the patterns of a layer, `at` in the symbols of a text. */
function lookAt(
  { patterns, seeds, seen }: Layer,
  owner: number,
  place: number,
  at: number,
  text: Buffer,
  { symbols: read, runs }: Level,
  reading: number,
  { only, part }: Searching,
  emit: Emit,
): void {
  const pattern = patterns[owner] as IndexedPattern;
  const { symbols, count } = read;
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
  if (end - start >= MIN_RUN_SYMBOLS && runs.length < MAX_RUNS) runs.push({ start, end });
  if (!verify(text, read, pattern, start, end, start + offset - pattern.at, part, emit)) return;
  seen.covering[owner] = reading;
  seen.covered[owner] = end;
}

function userOf(core: Core, only: ((id: string) => boolean) | undefined): { readonly id: string; readonly core: number } | undefined {
  return only ? core.users.find(({ id }) => only(id)) : core.users[0];
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
