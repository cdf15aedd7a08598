/** A place where a known secret was found. Offsets count bytes of the text that was searched. */
interface Found {
  readonly start: number;
  readonly end: number;
  /** Id given at {@link KnownSecrets.set}. */
  readonly id: string;
  /** How it was written. */
  readonly form: PlainForm;
}

/** How a secret was written. */
export type PlainForm = 'as is' | 'base64' | 'hex' | 'percent-encoded' | 'JSON-escaped';

interface Pattern {
  readonly id: string;
  readonly form: PlainForm;
  readonly bytes: Buffer;
  /** Compared without regard to the case of ASCII letters; `bytes` are lower case then. */
  readonly anyCase: boolean;
  /** What is searched for first, and where in `bytes` it stands: the whole, or where case does not count the longest part without letters. */
  readonly anchor: Buffer;
  readonly anchorAt: number;
  /** Characters beside the pattern that carry some bits of the secret, to be covered too. */
  readonly left: 0 | 1;
  readonly right: 0 | 1;
}

/**
 * What the tunnel uses today; {@link KnownSecrets} of knownSecrets.ts sees through many more disguises and is to take its place once the
 * inspector walks strings one by one.
 *
 * Finds secrets by their value: as they are, in base64 and base64url at any alignment, in hex,
 * percent-encoded, and escaped as in a JSON string. Searching is
 * native substring search, one pass per pattern; a text that holds none costs about a microsecond per pattern and 10 KB.
 */
export class PlainSecrets {
  readonly #patterns = new Map<string, readonly Pattern[]>();
  #escapable: boolean | undefined;

  /** Adds or replaces the secret `id`. */
  set(id: string, value: string): void {
    this.#patterns.set(id, patternsOf(id, value));
    this.#escapable = undefined;
  }

  has(id: string): boolean {
    return this.#patterns.has(id);
  }

  delete(id: string): void {
    this.#patterns.delete(id);
    this.#escapable = undefined;
  }

  /** Whether one of the secrets holds a character that JSON writes as an escape: a quote, a backslash, a control character. */
  get holdEscapable(): boolean {
    this.#escapable ??= [...this.#patterns.values()].some((patterns) =>
      patterns.some(({ form, bytes }) => form === 'as is' && bytes.some((b) => b < 0x20 || b === 0x22 || b === 0x5c)),
    );
    return this.#escapable;
  }

  /** Whether there is a secret whose id fits. */
  some(fits: (id: string) => boolean): boolean {
    for (const id of this.#patterns.keys()) if (fits(id)) return true;
    return false;
  }

  get size(): number {
    return this.#patterns.size;
  }

  /** All places in `text` (UTF-8), merged where they overlap, in order. `only` limits the search to some secrets. */
  find(text: Buffer, only?: (id: string) => boolean): Found[] {
    const out: Found[] = [];
    for (const [id, patterns] of this.#patterns) {
      if (only && !only(id)) continue;
      for (const pattern of patterns) {
        const { bytes, anchor, anchorAt } = pattern;
        if (bytes.length > text.length) continue;
        // Hex can be without a digit, if hardly ever: then there is no anchor, and every place is looked at.
        const next = (from: number) => (anchor.length > 0 ? text.indexOf(anchor, from) : from < text.length ? from : -1);
        for (let found = next(anchorAt); found >= 0; found = next(found + 1)) {
          const at = found - anchorAt;
          const end = at + bytes.length;
          if (pattern.anyCase && !isInAnyCase(text, at, bytes)) continue;
          out.push({
            start: pattern.left === 1 && isSextet(text[at - 1]) ? at - 1 : at,
            end: pattern.right === 1 && isSextet(text[end]) ? end + 1 : end,
            id,
            form: pattern.form,
          });
        }
      }
    }
    return out.length > 1 ? merge(out) : out;
  }
}

function patternsOf(id: string, value: string): Pattern[] {
  const bytes = Buffer.from(value, 'utf8');
  const plain = (form: PlainForm, text: string, anyCase = false): Pattern => ({
    id,
    form,
    bytes: Buffer.from(text, 'utf8'),
    anyCase,
    ...anchorOf(Buffer.from(text, 'utf8'), anyCase),
    left: 0,
    right: 0,
  });
  const patterns: Pattern[] = [plain('as is', value), plain('hex', bytes.toString('hex'), true)];
  for (const { text, left, right } of base64Cores(bytes)) {
    for (const spelling of new Set([text, text.replaceAll('+', '-').replaceAll('/', '_')])) {
      const core = Buffer.from(spelling, 'latin1');
      patterns.push({ id, form: 'base64', bytes: core, anyCase: false, ...anchorOf(core, false), left, right });
    }
  }
  // Servers like to put JSON text into a string of the result: once unescaped, a quote still stands as \", a letter as \u00e4.
  const json = JSON.stringify(value).slice(1, -1);
  const escapes = (text: string, pattern: RegExp, spell: (hex: string) => string) =>
    text.replace(pattern, (c) => `\\u${spell(c.charCodeAt(0).toString(16).padStart(4, '0'))}`);
  const ascii = [(h: string) => h, (h: string) => h.toUpperCase()].map((spell) => escapes(json, /[\u007f-\uffff]/g, spell));
  for (const text of new Set([json, ...ascii, ...[json, ...ascii].map((t) => t.replaceAll('/', '\\/'))]))
    if (text !== value) patterns.push(plain('JSON-escaped', text));
  const percent = (keep: RegExp) =>
    Array.from(bytes, (b) => (keep.test(String.fromCharCode(b)) ? String.fromCharCode(b) : `%${b.toString(16).padStart(2, '0')}`)).join('');
  // The sets of characters that encodeURIComponent, RFC 3986 and form encoding leave alone, and the one that leaves nothing.
  const dressed = new Set([percent(/[A-Za-z0-9\-_.!~*'()]/), percent(/[A-Za-z0-9\-_.~]/), percent(/[A-Za-z0-9*\-._]/), percent(/[^\s\S]/)]);
  for (const text of [...dressed]) dressed.add(text.replaceAll('%20', '+'));
  dressed.delete(value);
  // Any case, for the digits behind the percent signs; letters of the value in another case are no honest text either.
  for (const text of new Set([...dressed].map((t) => t.toLowerCase()))) patterns.push(plain('percent-encoded', text, true));
  return patterns;
}

function anchorOf(bytes: Buffer, anyCase: boolean): { readonly anchor: Buffer; readonly anchorAt: number } {
  if (!anyCase) return { anchor: bytes, anchorAt: 0 };
  let [from, to] = [0, 0];
  for (let start = 0, i = 0; i <= bytes.length; i++) {
    if (i < bytes.length && !isLetter(bytes[i] as number)) continue;
    if (i - start > to - from) [from, to] = [start, i];
    start = i + 1;
  }
  return { anchor: bytes.subarray(from, to), anchorAt: from };
}

function isLetter(c: number): boolean {
  return (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a);
}

/** Whether `lower`, in whatever case, stands at `at`. */
function isInAnyCase(text: Buffer, at: number, lower: Buffer): boolean {
  if (at < 0 || at + lower.length > text.length) return false;
  for (let i = 0; i < lower.length; i++) {
    const c = text[at + i] as number;
    if ((c >= 0x41 && c <= 0x5a ? c | 0x20 : c) !== lower[i]) return false;
  }
  return true;
}

/**
 * The characters of the base64 of `bytes` that do not depend on what stands before or behind it, at each of the three alignments
 * (RFC 4648, 4), and whether a character beside them carries some of its bits.
 */
function base64Cores(bytes: Buffer): { readonly text: string; readonly left: 0 | 1; readonly right: 0 | 1 }[] {
  return [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const first = shift === 0 ? 0 : shift + 1;
    const bits = (bytes.length + shift) * 8;
    const core = text.slice(first, Math.floor(bits / 6));
    return core.length >= MIN_CORE
      ? [{ text: core, left: shift === 0 ? (0 as const) : (1 as const), right: bits % 6 === 0 ? (0 as const) : (1 as const) }]
      : [];
  });
}

function isSextet(c: number | undefined): boolean {
  return (
    c !== undefined &&
    ((c >= 0x30 && c <= 0x39) ||
      (c >= 0x41 && c <= 0x5a) ||
      (c >= 0x61 && c <= 0x7a) ||
      c === 0x2b ||
      c === 0x2f ||
      c === 0x2d ||
      c === 0x5f)
  );
}

/** Shortest base64 core that is searched for, characters: an 8-byte secret gives 9 or 10. */
const MIN_CORE = 9;

function merge(matches: Found[]): Found[] {
  matches.sort((a, b) => a.start - b.start || b.end - a.end);
  const out: Found[] = [];
  for (const match of matches) {
    const last = out.at(-1);
    if (last && match.start < last.end) out[out.length - 1] = { ...last, end: Math.max(last.end, match.end) };
    else out.push(match);
  }
  return out;
}
