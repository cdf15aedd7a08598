/**
 * The notation in which token formats are written down: literal text, `{alphabet:count}`, `{alphabet:least-most}` and `{one|another}`. From
 * `tok_{base62:36}` comes the regular expression as well as made-up examples, so that no file holds anything that looks like a live token.
 */

/** Alphabets by name: their characters, as within the brackets of a regular expression. */
export const ALPHABETS = {
  digit: '0-9',
  hex: '0-9a-f',
  HEX: '0-9A-F',
  anyhex: '0-9A-Fa-f',
  lower: 'a-z',
  upper: 'A-Z',
  letter: 'A-Za-z',
  lowernum: '0-9a-z',
  uppernum: '0-9A-Z',
  base62: '0-9A-Za-z',
  base58: '1-9A-HJ-NP-Za-km-z',
  base32: '2-7A-Z',
  word: '0-9A-Za-z_',
  base64: '0-9A-Za-z+/',
  base64url: '0-9A-Za-z_-',
  /** Either alphabet of base64. */
  anybase64: '0-9A-Za-z+/_-',
  /** What stands in opaque tokens (RFC 6750, b64token). */
  token: '0-9A-Za-z._~+/-',
  pad: '=',
} as const;

export type Alphabet = keyof typeof ALPHABETS;

/** One part of a shape. */
export type ShapePart =
  | { readonly kind: 'text'; readonly texts: readonly string[] }
  | { readonly kind: 'run'; readonly alphabet: Alphabet; readonly min: number; readonly max: number };

/** The parts of a shape. @throws if it is not written as it should be. */
export function shapeParts(shape: string): readonly ShapePart[] {
  const parts: ShapePart[] = [];
  for (const [, text, braced] of shape.matchAll(/([^{}]+)|\{([^{}]+)\}/g)) {
    if (text !== undefined) {
      parts.push({ kind: 'text', texts: [text] });
      continue;
    }
    const run = /^(\w+):(\d+)(?:-(\d+))?$/.exec(braced ?? '');
    if (!run) {
      parts.push({ kind: 'text', texts: (braced ?? '').split('|') });
      continue;
    }
    const [, alphabet = '', min = '', max = min] = run;
    if (!Object.hasOwn(ALPHABETS, alphabet)) throw new Error(`Shape ${shape}: no alphabet ${alphabet}`);
    parts.push({ kind: 'run', alphabet: alphabet as Alphabet, min: Number(min), max: Number(max) });
  }
  return parts;
}

/** The regular expression of a shape. Behind it must not stand another character of its last run. */
export function shapeSource(shape: string): string {
  const parts = shapeParts(shape);
  const body = parts.map((part) => {
    if (part.kind === 'text') return part.texts.length === 1 ? escaped(part.texts[0] ?? '') : `(?:${part.texts.map(escaped).join('|')})`;
    const { alphabet, min, max } = part;
    return `[${ALPHABETS[alphabet]}]${min === max ? `{${min}}` : `{${min},${max}}`}`;
  });
  const last = parts.findLast((part) => part.kind === 'run' && part.alphabet !== 'pad');
  const ends = parts.at(-1);
  const closed = ends?.kind === 'text' || last?.kind !== 'run';
  return body.join('') + (closed ? '' : `(?![${ALPHABETS[last.alphabet]}])`);
}

/** Text that a shape begins with whatever else, lower case. */
export function shapeKeywords(shape: string): readonly string[] {
  const [first, second] = shapeParts(shape);
  if (first?.kind !== 'text') throw new Error(`Shape ${shape} begins with no text: it needs keywords`);
  if (first.texts.length === 1 && second?.kind === 'text') return second.texts.map((text) => ((first.texts[0] ?? '') + text).toLowerCase());
  return first.texts.map((text) => text.toLowerCase());
}

/** A made-up text of this shape. `random` gives numbers from 0 up to 1; runs have their `least` or their most characters. */
export function shapeExample(shape: string, random: () => number, least = true): string {
  return shapeParts(shape)
    .map((part) => {
      if (part.kind === 'text') return part.texts[Math.floor(random() * part.texts.length)] ?? '';
      const characters = charactersOf(ALPHABETS[part.alphabet]);
      const count = least ? part.min : part.max;
      return Array.from({ length: count }, () => characters[Math.floor(random() * characters.length)] ?? '').join('');
    })
    .join('');
}

function charactersOf(alphabet: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < alphabet.length; i++) {
    const first = alphabet.charCodeAt(i);
    const ranged = alphabet[i + 1] === '-' && i + 2 < alphabet.length;
    const last = ranged ? alphabet.charCodeAt(i + 2) : first;
    for (let c = first; c <= last; c++) out.push(String.fromCharCode(c));
    if (ranged) i += 2;
  }
  return out;
}

function escaped(text: string): string {
  return text.replace(/[$()*+.?[\\\]^{|}/]/g, '\\$&');
}
