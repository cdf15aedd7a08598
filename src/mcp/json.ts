/**
 * A strict JSON reader (RFC 8259) that keeps byte positions, so that a message can be checked, and changed in one place, without
 * being written anew. Bytes are UTF-8; callers check that once with `isUtf8`.
 */

/** Half-open range of bytes. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Deepest nesting of arrays and objects that is read. Parsers differ above some hundreds; honest messages stay below twenty. */
export const MAX_DEPTH = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;

/** Plain characters that writers do escape, for what JSON is put into: `"` `&` `'` `/` `<` `>` `\`. */
const ESCAPED_BY_WRITERS = new Set([0x22, 0x26, 0x27, 0x2f, 0x3c, 0x3e, 0x5c]);

/** Why the bytes are not acceptable; `offset` counts bytes from the start of the message. */
export class JsonFault extends Error {
  readonly kind: 'syntax' | 'duplicate' | 'depth' | 'surrogate' | 'escape';
  readonly offset: number;

  constructor(kind: JsonFault['kind'], offset: number, message: string) {
    super(`${message} (at byte ${offset})`);
    this.name = 'JsonFault';
    this.kind = kind;
    this.offset = offset;
  }
}

/** The same for what servers send: their results hold other people's data, and nothing is decided by it. */
export const MAX_RESULT_DEPTH = 512;

/** What a visitor is told about a member of an object. `key` is decoded; spans exclude white space around the value. */
export type MemberVisitor = (key: string, value: Span, depth: number) => void;

/** Visits the members of an object and, where `inside` gives another visitor, those of a member that is an object: in the same pass. */
export interface ObjectVisitor {
  readonly visit: MemberVisitor;
  readonly inside?: (key: string) => ObjectVisitor | undefined;
}

/**
 * Words that are read again and again, found by their bytes: making a text of bytes takes a call out of JavaScript, and a message has ten. ASCII,
 * without backslash.
 */
export class KnownWords {
  /** By length. */
  readonly #words: readonly (readonly string[])[];

  constructor(words: readonly string[]) {
    const byLength: string[][] = [];
    for (const word of words) (byLength[word.length] ??= []).push(word);
    this.#words = byLength;
  }

  /** The word that stands from `start` to `end`, if it is known. */
  find(bytes: Uint8Array, start: number, end: number): string | undefined {
    const words = this.#words[end - start];
    if (words === undefined) return undefined;
    next: for (const word of words) {
      for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word.charCodeAt(i)) continue next;
      return word;
    }
    return undefined;
  }
}

/** Reads one JSON text from a buffer. Positions only move forward; every byte is looked at once. */
export class JsonReader {
  readonly bytes: Buffer;
  readonly #duplicates: 'refuse' | 'allow';
  readonly #maxDepth: number;
  readonly #words: KnownWords | undefined;

  /**
   * `duplicates: 'refuse'` makes a repeated key in any object a fault, and a key with half a surrogate pair too: parsers that put U+FFFD in
   * its place see two such keys as one; and so is a key in which a letter, a digit or another plain character is escaped: no writer does
   * that, and V8 12.8 to 14.6 can be made to read such a key as another one (nodejs/node#63785), so that a server would not find what was
   * decided on. `maxDepth` is by default {@link MAX_DEPTH}. `words`: texts that are to be expected.
   */
  constructor(
    bytes: Buffer,
    options: { readonly duplicates: 'refuse' | 'allow'; readonly maxDepth?: number; readonly words?: KnownWords },
  ) {
    this.bytes = bytes;
    this.#duplicates = options.duplicates;
    this.#maxDepth = options.maxDepth ?? MAX_DEPTH;
    this.#words = options.words;
  }

  /** First position at or after `at` that is no white space. */
  skipSpace(at: number): number {
    const bytes = this.bytes;
    let i = at;
    for (;;) {
      const c = bytes[i];
      if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) i++;
      else return i;
    }
  }

  /** Reads the value at `at` (no leading white space) and returns the position behind it. */
  skipValue(at: number, depth: number): number {
    const c = this.bytes[at];
    if (c === QUOTE) return this.skipString(at);
    if (c === OPEN_OBJECT) return this.members(at, depth, undefined);
    if (c === OPEN_ARRAY) return this.elements(at, depth, undefined);
    if (c === 0x74) return this.#word(at, 'true');
    if (c === 0x66) return this.#word(at, 'false');
    if (c === 0x6e) return this.#word(at, 'null');
    return this.skipNumber(at);
  }

  /** Reads the object at `at`, calls `visit` for each member, and returns the position behind the object. */
  members(at: number, depth: number, visit: MemberVisitor | undefined, inside?: ObjectVisitor['inside']): number {
    if (depth >= this.#maxDepth) throw new JsonFault('depth', at, `nested deeper than ${this.#maxDepth}`);
    const bytes = this.bytes;
    let i = this.skipSpace(at + 1);
    if (bytes[i] === CLOSE_OBJECT) return i + 1;
    const few: string[] = [];
    let many: Set<string> | undefined;
    for (;;) {
      if (bytes[i] !== QUOTE) throw new JsonFault('syntax', i, 'expected a key in double quotes');
      const keyEnd = this.skipString(i);
      const key = this.text({ start: i, end: keyEnd });
      if (this.#duplicates === 'refuse') {
        if (many ? many.has(key) : few.includes(key))
          throw new JsonFault('duplicate', i, `the key ${JSON.stringify(key)} stands twice in one object`);
        if (!key.isWellFormed()) throw new JsonFault('surrogate', i, 'a key holds half a surrogate pair');
        // Text without escapes is as long as its bytes, or it isn't all ASCII.
        if (key.length !== keyEnd - i - 2 && escapesPlainly(bytes.subarray(i, keyEnd)))
          throw new JsonFault('escape', i, 'a key has an escape that it does not need');
        if (many) many.add(key);
        else if (few.push(key) > 16) many = new Set(few);
      }
      i = this.skipSpace(keyEnd);
      if (bytes[i] !== COLON) throw new JsonFault('syntax', i, 'expected a colon');
      const start = this.skipSpace(i + 1);
      const within = bytes[start] === OPEN_OBJECT ? inside?.(key) : undefined;
      const end = within ? this.members(start, depth + 1, within.visit, within.inside) : this.skipValue(start, depth + 1);
      visit?.(key, { start, end }, depth);
      i = this.skipSpace(end);
      if (bytes[i] === CLOSE_OBJECT) return i + 1;
      if (bytes[i] !== COMMA) throw new JsonFault('syntax', i, 'expected a comma or a closing brace');
      i = this.skipSpace(i + 1);
    }
  }

  /** Reads the array at `at`, calls `visit` for each element, and returns the position behind the array. */
  elements(at: number, depth: number, visit: ((value: Span, index: number) => void) | undefined): number {
    if (depth >= this.#maxDepth) throw new JsonFault('depth', at, `nested deeper than ${this.#maxDepth}`);
    const bytes = this.bytes;
    let i = this.skipSpace(at + 1);
    if (bytes[i] === CLOSE_ARRAY) return i + 1;
    for (let index = 0; ; index++) {
      const end = this.skipValue(i, depth + 1);
      visit?.({ start: i, end }, index);
      i = this.skipSpace(end);
      if (bytes[i] === CLOSE_ARRAY) return i + 1;
      if (bytes[i] !== COMMA) throw new JsonFault('syntax', i, 'expected a comma or a closing bracket');
      i = this.skipSpace(i + 1);
    }
  }

  /** Reads the string at `at` (its opening quote) and returns the position behind its closing quote. */
  skipString(at: number): number {
    const bytes = this.bytes;
    const length = bytes.length;
    for (let i = at + 1; i < length; i++) {
      const c = bytes[i] as number;
      if (c === QUOTE) return i + 1;
      if (c < 0x20) throw new JsonFault('syntax', i, 'a control character stands unescaped in a string');
      if (c === BACKSLASH) i = this.#escape(i);
    }
    throw new JsonFault('syntax', length, 'a string does not end');
  }

  /** Decoded text of the string at `span` (with its quotes). */
  text(span: Span): string {
    const { start, end } = span;
    const known = this.#words?.find(this.bytes, start + 1, end - 1);
    if (known !== undefined) return known;
    const raw = this.bytes.toString('utf8', start + 1, end - 1);
    return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
  }

  skipNumber(at: number): number {
    const bytes = this.bytes;
    let i = at;
    if (bytes[i] === 0x2d) i++;
    const first = bytes[i];
    if (first === 0x30) i++;
    else if (digit(first)) i = this.#digits(i);
    else throw new JsonFault('syntax', at, 'expected a JSON value');
    if (bytes[i] === 0x2e) i = this.#digits(i + 1);
    if (bytes[i] === 0x65 || bytes[i] === 0x45) {
      i++;
      if (bytes[i] === 0x2b || bytes[i] === 0x2d) i++;
      i = this.#digits(i);
    }
    return i;
  }

  #digits(at: number): number {
    let i = at;
    while (digit(this.bytes[i])) i++;
    if (i === at) throw new JsonFault('syntax', at, 'expected a digit');
    return i;
  }

  /** Checks the escape at the backslash `at` and returns the position of its last byte. */
  #escape(at: number): number {
    const c = this.bytes[at + 1];
    if (c === 0x75) {
      for (let k = at + 2; k < at + 6; k++)
        if (!hex(this.bytes[k])) throw new JsonFault('syntax', k, 'a \\u escape needs four hexadecimal digits');
      return at + 5;
    }
    // " \ / b f n r t
    if (c === QUOTE || c === BACKSLASH || c === 0x2f || c === 0x62 || c === 0x66 || c === 0x6e || c === 0x72 || c === 0x74) return at + 1;
    throw new JsonFault('syntax', at, 'unknown escape in a string');
  }

  #word(at: number, word: string): number {
    for (let k = 0; k < word.length; k++)
      if (this.bytes[at + k] !== word.charCodeAt(k)) throw new JsonFault('syntax', at, 'expected a JSON value');
    return at + word.length;
  }
}

/** Whether a character of a string is escaped that nobody escapes. */
function escapesPlainly(raw: Buffer): boolean {
  for (let i = raw.indexOf(BACKSLASH); i >= 0; i = raw.indexOf(BACKSLASH, i + 2)) {
    if (raw[i + 1] !== 0x75) continue;
    const code = Number.parseInt(raw.toString('latin1', i + 2, i + 6), 16);
    if (code >= 0x20 && code < 0x7f && !ESCAPED_BY_WRITERS.has(code)) return true;
  }
  return false;
}

function digit(c: number | undefined): boolean {
  return c !== undefined && c >= 0x30 && c <= 0x39;
}

function hex(c: number | undefined): boolean {
  return c !== undefined && ((c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66));
}

/** What the byte at `at` begins. */
export function valueKind(bytes: Buffer, at: number): 'object' | 'array' | 'string' | 'number' | 'literal' {
  const c = bytes[at];
  if (c === OPEN_OBJECT) return 'object';
  if (c === OPEN_ARRAY) return 'array';
  if (c === QUOTE) return 'string';
  return c === 0x74 || c === 0x66 || c === 0x6e ? 'literal' : 'number';
}

/** A change of one place: the bytes of `span` become `replacement`. */
export interface Edit {
  readonly span: Span;
  readonly replacement: string;
}

/** Applies edits that don't overlap; every byte outside them stays as it was. */
export function applyEdits(bytes: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return bytes;
  const sorted = [...edits].sort((a, b) => a.span.start - b.span.start);
  const parts: Buffer[] = [];
  let at = 0;
  for (const { span, replacement } of sorted) {
    if (span.start < at) throw new RangeError('Edits overlap.');
    parts.push(bytes.subarray(at, span.start), Buffer.from(replacement, 'utf8'));
    at = span.end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}
