import { createHash } from 'node:crypto';
import { JsonFault, JsonReader, MAX_DEPTH, valueKind, type Span } from '../mcp/json.ts';

/** Values that a path with wildcards may lead to. A call with more is read as unclear. */
export const MAX_SELECTED = 10_000;

/** One value of the arguments. Numbers keep the text they were sent as. */
export type Value =
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, Value> }
  | { readonly kind: 'list'; readonly elements: readonly Value[] };

/** What a path leads to. `ambiguous`: programs may find something else there, e.g. under a key in other case. */
export interface Selection {
  readonly values: readonly Value[];
  readonly ambiguous: boolean;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const COMMA = 0x2c;
const CLOSE_OBJECT = 0x7d;
const CLOSE_LIST = 0x5d;

const NOTHING: Value = { kind: 'object', members: new Map() };

/**
 * The arguments of one call, read from the exact bytes that are forwarded, and only when somebody asks. Not readable counts as unclear.
 */
export class CallArguments {
  readonly #bytes: Buffer;
  readonly #span: Span | undefined;
  #root: Value | undefined;
  #faulty = false;
  readonly #selected = new Map<string, Selection | undefined>();
  #digest: string | undefined;

  /** `span` is where the arguments lie in `bytes`; without one the call has none. */
  constructor(bytes: Buffer, span: Span | undefined) {
    this.#bytes = bytes;
    this.#span = span;
  }

  /** Arguments given as a JSON text, e.g. from the record. */
  static fromText(text: string): CallArguments {
    const bytes = Buffer.from(text, 'utf8');
    return new CallArguments(bytes, { start: 0, end: bytes.length });
  }

  /** Bytes of the arguments as they were sent. */
  get size(): number {
    return this.#span ? this.#span.end - this.#span.start : 0;
  }

  /** The same arguments without the message around them, for keeping. */
  kept(): CallArguments {
    if (!this.#span) return this;
    const bytes = Buffer.from(this.#bytes.subarray(this.#span.start, this.#span.end));
    return new CallArguments(bytes, { start: 0, end: bytes.length });
  }

  /** The whole, or `undefined` if it can't be read. */
  root(): Value | undefined {
    if (this.#root || this.#faulty) return this.#root;
    if (!this.#span) return (this.#root = NOTHING);
    try {
      const reader = new JsonReader(this.#bytes, { duplicates: 'refuse' });
      const start = reader.skipSpace(this.#span.start);
      const { value, end } = read(this.#bytes, reader, start, 0);
      if (reader.skipSpace(end) < this.#span.end) this.#faulty = true;
      else this.#root = value;
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error;
      this.#faulty = true;
    }
    return this.#root;
  }

  /** The values at a path (see {@link parsePath}); `undefined` if the arguments can't be read or there are too many. */
  select(path: string, segments: readonly PathSegment[]): Selection | undefined {
    if (this.#selected.has(path)) return this.#selected.get(path);
    const root = this.root();
    const selection = root && select(root, segments);
    this.#selected.set(path, selection);
    return selection;
  }

  /** SHA-256, hex, of the arguments in one canonical form: keys sorted, no white space. Equal for calls that say the same. */
  digest(): string | undefined {
    const root = this.root();
    if (root) this.#digest ??= createHash('sha256').update(canonical(root)).digest('hex');
    return this.#digest;
  }
}

/** A key or index, or `*` for every element of a list or member of an object. */
export type PathSegment = { readonly key: string } | '*';

/**
 * Parses a path such as `/repo/owner` or `/labels/*`: a JSON Pointer (RFC 6901), in which `*` as a whole segment stands for every element.
 * `~2` is a literal asterisk. `undefined` if it is none.
 */
export function parsePath(path: string): readonly PathSegment[] | undefined {
  if (path === '') return [];
  if (!path.startsWith('/') || /~(?![012])/.test(path)) return undefined;
  return path
    .slice(1)
    .split('/')
    .map((s) => (s === '*' ? '*' : { key: s.replaceAll('~2', '*').replaceAll('~1', '/').replaceAll('~0', '~') }));
}

/** The path of a member of the value at `parent`. */
export function childPath(parent: string, key: string): string {
  return `${parent}/${key.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('*', '~2')}`;
}

/** A path in the words of a person: `repo.owner`, `each of labels`. */
export function describePath(path: string): string {
  const segments = parsePath(path) ?? [];
  if (segments.length === 0) return 'the arguments';
  const words: string[] = [];
  for (const segment of segments) words.push(segment === '*' ? '[]' : words.length > 0 ? `.${segment.key}` : segment.key);
  return words.join('');
}

interface ReadValue {
  readonly value: Value;
  readonly end: number;
}

/** Reads the value at `at`, each byte once. */
function read(bytes: Buffer, reader: JsonReader, at: number, depth: number): ReadValue {
  switch (valueKind(bytes, at)) {
    case 'string': {
      const end = reader.skipString(at);
      return { value: { kind: 'string', text: reader.text({ start: at, end }) }, end };
    }
    case 'object':
      return readObject(bytes, reader, at, depth);
    case 'array':
      return readList(bytes, reader, at, depth);
    default: {
      const end = reader.skipValue(at, depth);
      const text = bytes.toString('latin1', at, end);
      if (text === 'null') return { value: { kind: 'null' }, end };
      if (text === 'true' || text === 'false') return { value: { kind: 'boolean', value: text === 'true' }, end };
      return { value: { kind: 'number', text }, end };
    }
  }
}

function readObject(bytes: Buffer, reader: JsonReader, at: number, depth: number): ReadValue {
  if (depth >= MAX_DEPTH) throw new JsonFault('depth', at, `nested deeper than ${MAX_DEPTH}`);
  const members = new Map<string, Value>();
  const value: Value = { kind: 'object', members };
  let i = reader.skipSpace(at + 1);
  if (bytes[i] === CLOSE_OBJECT) return { value, end: i + 1 };
  for (;;) {
    if (bytes[i] !== QUOTE) throw new JsonFault('syntax', i, 'expected a key in double quotes');
    const keyEnd = reader.skipString(i);
    const key = reader.text({ start: i, end: keyEnd });
    if (members.has(key)) throw new JsonFault('duplicate', i, `the key ${JSON.stringify(key)} stands twice in one object`);
    i = reader.skipSpace(keyEnd);
    if (bytes[i] !== COLON) throw new JsonFault('syntax', i, 'expected a colon');
    const member = read(bytes, reader, reader.skipSpace(i + 1), depth + 1);
    members.set(key, member.value);
    i = reader.skipSpace(member.end);
    if (bytes[i] === CLOSE_OBJECT) return { value, end: i + 1 };
    if (bytes[i] !== COMMA) throw new JsonFault('syntax', i, 'expected a comma or a closing brace');
    i = reader.skipSpace(i + 1);
  }
}

function readList(bytes: Buffer, reader: JsonReader, at: number, depth: number): ReadValue {
  if (depth >= MAX_DEPTH) throw new JsonFault('depth', at, `nested deeper than ${MAX_DEPTH}`);
  const elements: Value[] = [];
  const value: Value = { kind: 'list', elements };
  let i = reader.skipSpace(at + 1);
  if (bytes[i] === CLOSE_LIST) return { value, end: i + 1 };
  for (;;) {
    const element = read(bytes, reader, i, depth + 1);
    elements.push(element.value);
    i = reader.skipSpace(element.end);
    if (bytes[i] === CLOSE_LIST) return { value, end: i + 1 };
    if (bytes[i] !== COMMA) throw new JsonFault('syntax', i, 'expected a comma or a closing bracket');
    i = reader.skipSpace(i + 1);
  }
}

function select(root: Value, segments: readonly PathSegment[]): Selection | undefined {
  let here: Value[] = [root];
  let ambiguous = false;
  for (const segment of segments) {
    const next: Value[] = [];
    for (const value of here) {
      if (segment === '*') {
        if (value.kind === 'list') for (const element of value.elements) next.push(element);
        else if (value.kind === 'object') for (const member of value.members.values()) next.push(member);
        // A server that takes a list may take a single value too.
        else if (value.kind !== 'null') ambiguous = true;
      } else if (value.kind === 'object') {
        const found = value.members.get(segment.key);
        if (found) next.push(found);
        // Go's encoding/json and others match keys without regard to case.
        ambiguous ||= hasTwin(value.members, segment.key);
      } else if (value.kind === 'list' && /^(0|[1-9]\d*)$/.test(segment.key)) {
        const found = value.elements[Number(segment.key)];
        if (found) next.push(found);
      } else if (value.kind === 'string') {
        // Some clients send objects as a JSON text, and some servers take that.
        ambiguous = true;
      }
      if (next.length > MAX_SELECTED) return undefined;
    }
    here = next;
  }
  return { values: here, ambiguous };
}

function hasTwin(members: ReadonlyMap<string, Value>, key: string): boolean {
  const folded = fold(key);
  for (const other of members.keys()) if (other !== key && other.length <= key.length + 8 && fold(other) === folded) return true;
  return false;
}

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;
const PLAIN = /^[\x20-\x7e]*$/;

/** Text as a lenient reader compares it: compatibility forms, case, invisible characters and surrounding space don't count. */
export function fold(text: string): string {
  if (PLAIN.test(text)) return text.trim().toLowerCase();
  return text.normalize('NFKC').replace(INVISIBLE, '').toUpperCase().toLowerCase().normalize('NFKC').trim();
}

/** The canonical JSON text of a value: keys in order of their UTF-16 code units, no white space. */
export function canonical(value: Value): string {
  switch (value.kind) {
    case 'string':
      return JSON.stringify(value.text);
    case 'number':
      return value.text;
    case 'boolean':
      return String(value.value);
    case 'null':
      return 'null';
    case 'list':
      return `[${value.elements.map(canonical).join(',')}]`;
    case 'object':
      return `{${[...value.members]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`)
        .join(',')}}`;
  }
}
