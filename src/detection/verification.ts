import { isBase64Character } from './encodedRuns.ts';
import type { Core, IndexedPattern } from './secretIndex.ts';
import type { ExactPattern, SecretPattern, Strictness } from './secretPatterns.ts';
import { MIN_RUN_SYMBOLS } from './seeds.ts';
import { SYMBOL_OF, type Symbols } from './symbols.ts';

/** How a text departs from a spelling between its letters and digits. */
export type Spacing = 'same' | 'case' | 'gaps';
/** Is told of places in the text of a level: bytes `start` to `end`. */
export type Emit = (
  start: number,
  end: number,
  pattern: SecretPattern | ExactPattern,
  core: Core,
  spaced: Spacing,
  fragment: boolean,
) => void;
/** Is told of every part, also of short ones: places in what a pattern spells. */
export type TellPart = (pattern: IndexedPattern, first: number, last: number) => void;

/** Different symbols that a part needs: `AAAAAAAAAAAAAAAA` is in every picture. */
const MIN_DISTINCT = 6;
/** Most bytes between two symbols, and as much for each character that is there anyway. */
const MAX_GAP_BYTES: Readonly<Record<Strictness, number>> = { exact: 64, near: 12, loose: 64 };

/**
 * Looks at a run of equal symbols in the text itself: `start` to `end` in the symbols of the level, from `first` on in those of the pattern.
 * Cuts it where what stands between two symbols can't be part of the secret, and reports what is long enough: true if anything was.
 */
export function verify(
  text: Buffer,
  read: Symbols,
  pattern: IndexedPattern,
  start: number,
  end: number,
  first: number,
  part: TellPart | undefined,
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
