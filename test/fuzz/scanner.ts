import assert from 'node:assert/strict';
import fc from 'fast-check';
import { applyEdits, JsonReader, valueKind, type Edit, type Span } from '../../src/mcp/json.ts';
import { editorMetaSpans, readMessage, type Message } from '../../src/mcp/message.ts';
import { caseFolding, cutAtNul, firstWins, lastWins, parsePlainly, SqliteParser, type OtherParser, type Reading } from './readings.ts';
import type { FuzzTarget, Tally } from './target.ts';

/** Fields of the protocol, and some that are none. */
const FIELDS = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const PARAMS = ['name', 'uri', 'arguments', '_meta', 'task', 'taskId', 'requestState', 'notifications'];
const METHODS = [
  'tools/call',
  'tools/list',
  'prompts/get',
  'resources/read',
  'resources/list',
  'tasks/get',
  'subscriptions/listen',
  'ping',
  'initialize',
  'x/y',
];
const VERSION = '"io.modelcontextprotocol/protocolVersion":"2026-07-28"';

// --- Text with every freedom that JSON leaves, and some that it does not

/** White space of JSON, and what others take for white space or skip. */
const space = fc.oneof(
  { weight: 400, arbitrary: fc.constant('') },
  { weight: 80, arbitrary: fc.constantFrom(' ', '\n', '\t', '\r\n', '   ') },
  { weight: 1, arbitrary: fc.constantFrom('\ufeff', '\u00a0', '\f', '\v', '\u2028', '\0', '//x\n', '/*x*/', ',') },
);

/** Characters with a simple case folding into ASCII, and others that change under upper or lower case. */
const FOLDED: Readonly<Record<string, string>> = { s: 'ſ', k: '\u212a', i: 'ı', I: 'İ' };

/** A string literal, in one of the many ways to spell it. */
function spelled(value: string): fc.Arbitrary<string> {
  const plain = JSON.stringify(value);
  return fc.oneof(
    { weight: 6, arbitrary: fc.constant(plain) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.nat(63), fc.boolean()).map(([at, upper]) => {
        if (value === '') return plain;
        const place = at % value.length;
        const hex = value.charCodeAt(place).toString(16).padStart(4, '0');
        const inner = (text: string): string => JSON.stringify(text).slice(1, -1);
        return `"${inner(value.slice(0, place))}\\u${upper ? hex.toUpperCase() : hex}${inner(value.slice(place + 1))}"`;
      }),
    },
  );
}

/** A key: mostly as it should be, sometimes one that somebody might take for it. */
function keyLike(field: string): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 250, arbitrary: fc.constant(JSON.stringify(field)) },
    { weight: 4, arbitrary: spelled(field) },
    {
      weight: 1,
      arbitrary: fc.nat(63).map((at) => changedAt(field, at, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase()))),
    },
    { weight: 1, arbitrary: fc.nat(63).map((at) => changedAt(field, at, (c) => FOLDED[c] ?? c.toUpperCase())) },
    { weight: 1, arbitrary: fc.constantFrom(field.toUpperCase(), ` ${field}`, `${field} `, `${field}\0`, `${field}\u0301`).chain(spelled) },
    { weight: 1, arbitrary: fc.constantFrom(`'${field}'`, field, `"${field}`, '"\\ud800"', '"__proto__"', '""') },
  );
}

function changedAt(text: string, at: number, change: (character: string) => string): string {
  const place = at % text.length;
  return JSON.stringify(text.slice(0, place) + change(text.charAt(place)) + text.slice(place + 1));
}

const string = fc.oneof(
  fc.constantFrom('echo', 'ECHO', 'größe', 'a"b', 'tools/call', '', '😀', '\ud800', '\u0000', 'é', 'e\u0301').chain(spelled),
  fc.string({ unit: 'grapheme', maxLength: 6 }).chain(spelled),
  fc.constantFrom('"\\ud83d\\ude00"', '"\\ud83d"', '"\\x41"', '"\n"', '"\x1f"', '"\\u00e"', '"\\/"'),
);
const number = fc.oneof(
  { weight: 40, arbitrary: fc.integer().map(String) },
  { weight: 20, arbitrary: fc.constantFrom('0', '-0', '1.0', '1e2', '1E+2', '12345678901234567890', '1e400', '0.1') },
  { weight: 1, arbitrary: fc.constantFrom('01', '+1', '.5', '1.', '0x10', 'NaN', 'Infinity', '-', '1e', '1_0') },
);
const literal = fc.constantFrom('true', 'false', 'null');

/** Any value; `depth` bounds its nesting. */
const { value } = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.oneof(string, number, literal),
    objectOf(
      fc.array(fc.tuple(fc.oneof(fc.constantFrom('"a"', '"b"', '"A"', '"\\u0061"', '"name"'), string), tie('value')), { maxLength: 4 }),
    ),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
  ),
}));

function objectOf(members: fc.Arbitrary<readonly (readonly [string, string])[]>): fc.Arbitrary<string> {
  return fc
    .tuple(members, space, space, space)
    .map(([all, a, b, c]) => `{${a}${all.map(([k, v]) => `${k}${b}:${c}${v}`).join(`,${a}`)}${b}}`);
}

const none: fc.Arbitrary<(readonly [string, string])[]> = fc.constant([]);

/** Some of the members, in some order; now and then one of them once more. */
function someOf(
  members: readonly (readonly [number, fc.Arbitrary<readonly [string, string]>])[],
): fc.Arbitrary<(readonly [string, string])[]> {
  const one = (weight: number, arbitrary: fc.Arbitrary<readonly [string, string]>): fc.Arbitrary<(readonly [string, string])[]> =>
    fc.oneof({ weight, arbitrary: arbitrary.map((m) => [m]) }, { weight: 100 - weight, arbitrary: none });
  const all = fc.tuple(...members.map(([weight, arbitrary]) => one(weight, arbitrary)));
  const extra = fc.oneof(
    { weight: 25, arbitrary: none },
    { weight: 1, arbitrary: fc.oneof(...members.map(([, arbitrary]) => arbitrary)).map((m) => [m]) },
  );
  return fc.tuple(all, extra, fc.nat(100)).map(([parts, more, turn]) => {
    const list = [...parts.flat(), ...more];
    const at = list.length === 0 ? 0 : turn % list.length;
    return [...list.slice(at), ...list.slice(0, at)];
  });
}

function pair(field: string, of: fc.Arbitrary<string>): fc.Arbitrary<readonly [string, string]> {
  return fc.tuple(keyLike(field), of);
}

const meta = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom('{}', `{${VERSION}}`, `{"vscode.a":1,${VERSION},"x":2}`, '{"progressToken":1}') },
  { weight: 1, arbitrary: value },
);
const listened = fc.oneof(
  {
    weight: 4,
    arbitrary: objectOf(
      someOf([
        [
          80,
          pair(
            'taskIds',
            fc.array(string, { maxLength: 2 }).map((ids) => `[${ids.join(',')}]`),
          ),
        ],
      ]),
    ),
  },
  { weight: 1, arbitrary: value },
);
const params = fc.oneof(
  {
    weight: 20,
    arbitrary: objectOf(
      someOf([
        [80, pair('name', fc.oneof({ weight: 20, arbitrary: string }, { weight: 1, arbitrary: value }))],
        [20, pair('uri', string)],
        [
          70,
          pair(
            'arguments',
            fc.oneof(
              { weight: 10, arbitrary: objectOf(fc.array(fc.tuple(string, value), { maxLength: 3 })) },
              { weight: 1, arbitrary: value },
            ),
          ),
        ],
        [30, pair('_meta', meta)],
        [5, pair('task', value)],
        [10, pair('taskId', string)],
        [5, pair('requestState', string)],
        [10, pair('notifications', listened)],
        [20, fc.tuple(string, value)],
      ]),
    ),
  },
  { weight: 1, arbitrary: value },
);

/** A message, good or nearly so. */
const message = fc
  .tuple(
    space,
    objectOf(
      someOf([
        [
          99,
          pair(
            'jsonrpc',
            fc.oneof({ weight: 30, arbitrary: spelled('2.0') }, { weight: 1, arbitrary: fc.constantFrom('2.0', '"2.00"', '"1.0"') }),
          ),
        ],
        [85, pair('id', fc.oneof({ weight: 8, arbitrary: number }, { weight: 4, arbitrary: string }, { weight: 1, arbitrary: value }))],
        [
          95,
          pair('method', fc.oneof({ weight: 30, arbitrary: fc.constantFrom(...METHODS).chain(spelled) }, { weight: 1, arbitrary: value })),
        ],
        [85, pair('params', params)],
        [2, pair('result', value)],
        [1, pair('error', value)],
        [10, fc.tuple(string, value)],
      ]),
    ),
    space,
  )
  .map((parts) => parts.join(''));

/** Something that has gone wrong with bytes. */
type Mishap = readonly [kind: 'insert' | 'delete' | 'replace' | 'repeat' | 'cut' | 'flip', at: number, length: number, text: string];

const SPLINTERS = [
  '"',
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"method":"tools/call",',
  ',"method":"tools/call"',
  '"name":"b",',
  '\\u0065',
  '\ufeff',
];
const RAW = ['\xff', '\xc3', '\xc0\xaf', '\xed\xa0\x80', '\xf5', '\x80', '\xef\xbb\xbf', '\0', '\x0b', '\x1f', '\x7f', '\xc3\xa4'];
const mishap: fc.Arbitrary<Mishap> = fc.tuple(
  fc.constantFrom('insert' as const, 'delete' as const, 'replace' as const, 'repeat' as const, 'cut' as const, 'flip' as const),
  fc.nat(10_000),
  fc.integer({ min: 1, max: 12 }),
  fc.constantFrom(
    ...SPLINTERS.map((s) => Buffer.from(s).toString('latin1')),
    ...RAW,
    ...FIELDS.map((f) => `"${f}"`),
    ...PARAMS.map((f) => `"${f}"`),
  ),
);

function befall(bytes: Buffer, [kind, where, length, text]: Mishap): Buffer {
  const at = bytes.length === 0 ? 0 : where % (bytes.length + 1);
  const piece = Buffer.from(text, 'latin1');
  const before = bytes.subarray(0, at);
  const behind = bytes.subarray(Math.min(bytes.length, at + length));
  if (kind === 'insert') return Buffer.concat([before, piece, bytes.subarray(at)]);
  if (kind === 'delete') return Buffer.concat([before, behind]);
  if (kind === 'replace') return Buffer.concat([before, piece, behind]);
  if (kind === 'repeat') return Buffer.concat([before, bytes.subarray(at, at + 4 * length), bytes.subarray(at)]);
  if (kind === 'cut') return Buffer.from(before);
  const out = Buffer.from(bytes);
  if (at < out.length) out[at] = (out[at] as number) ^ (1 << (length % 8));
  return out;
}

// --- The oracle

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads bytes and holds what is accepted against every other parser. */
export class ScannerOracle {
  readonly #sqlite = new SqliteParser();
  readonly #parsers: readonly OtherParser[] = [lastWins, firstWins, caseFolding, cutAtNul, this.#sqlite];
  readonly #onAccepted: ((text: string, reading: Reading) => void) | undefined;

  /** `onAccepted` gets every accepted text with our reading of it, for parsers that run elsewhere. */
  constructor(onAccepted?: (text: string, reading: Reading) => void) {
    this.#onAccepted = onAccepted;
  }

  /** Throws AssertionError if the scanner accepts what others read differently, changes a byte, or throws. */
  check(bytes: Buffer, tally: Tally): Message | undefined {
    const copy = Buffer.from(bytes);
    const result = readMessage(bytes);
    assert.ok(copy.equals(bytes), 'the bytes were changed');
    if (!result.ok) {
      assert.ok([-32700, -32600].includes(result.code) && result.reason !== '');
      tally.count('refused');
      return undefined;
    }
    tally.count('accepted');
    const read = result.message;
    assert.equal(read.bytes, bytes, 'the message holds other bytes than came in');
    const text = UTF8.decode(bytes);
    const ours = ourReading(read, text);
    for (const parser of this.#parsers) {
      const theirs = parser.read(text);
      assert.ok(theirs, `${parser.name} does not take it, or not as one object`);
      for (const [field, reading] of Object.entries(theirs) as [keyof Reading, unknown][])
        assert.deepEqual(reading, ours[field], `${parser.name} reads ${field} differently`);
    }
    this.#onAccepted?.(text, ours);
    return read;
  }

  close(): void {
    this.#sqlite.close();
  }
}

/**
 * What the scanner found, in the form of the other readings. Of fields that it does not give out it must be sure that all others agree,
 * so there the plainest parser stands in.
 */
function ourReading(read: Message, text: string): Reading {
  const plain = lastWins.read(text) as Reading | undefined;
  assert.ok(plain, 'JSON.parse does not take it, or not as one object');
  const json = (part: string | undefined): string | undefined => (part === undefined ? undefined : JSON.stringify(part));
  const span = read.arguments;
  const uriCounts = read.method?.startsWith('resources/') === true;
  const listens = read.method === 'subscriptions/listen';
  const ids = read.taskIds.map((id) => JSON.stringify(id));
  const nameCounts = read.method === 'tools/call' || read.method === 'prompts/get';
  return {
    ...plain,
    jsonrpc: '"2.0"',
    id: idText(read.id),
    method: json(read.method),
    ...(nameCounts && { name: json(read.name) }),
    ...(uriCounts && { uri: json(read.name) }),
    // A response has none, whatever else stands in it.
    ...(read.kind !== 'response' && {
      arguments: span && canonicalOf(read.bytes, span),
      requestState: read.requestState && canonicalOf(read.bytes, read.requestState),
      ...(listens && { taskIds: plain.taskIds === undefined ? undefined : `[${ids.join(',')}]` }),
      ...(read.method?.startsWith('tasks/') === true && { taskId: ids[0] }),
      protocolVersion: json(read.protocolVersion),
      result: false,
      error: false,
    }),
  };
}

/** An id as it stands in the bytes, in canonical form. */
function idText(raw: string | undefined): string | undefined {
  return raw?.startsWith('"') === true ? JSON.stringify((JSON.parse(raw) as string).toWellFormed()) : raw;
}

/** A value of the message in canonical form: the same reading, of the value alone. */
function canonicalOf(bytes: Buffer, { start, end }: Span): string | undefined {
  return (lastWins.read(`{"params":{"arguments":${bytes.toString('utf8', start, end)}}}`) as Reading | undefined)?.arguments;
}

// --- Edits

/** Every string value of a message, with the text that shall stand there instead. */
function stringSpans(bytes: Buffer): Span[] {
  const reader = new JsonReader(bytes, { duplicates: 'refuse' });
  const spans: Span[] = [];
  const walk = (span: Span, depth: number): void => {
    const kind = valueKind(bytes, span.start);
    if (kind === 'string') spans.push(span);
    else if (kind === 'object') reader.members(span.start, depth, (_key, child) => walk(child, depth + 1));
    else if (kind === 'array') reader.elements(span.start, depth, (child) => walk(child, depth + 1));
  };
  walk({ start: reader.skipSpace(0), end: bytes.length }, 0);
  return spans;
}

function checkEdits(bytes: Buffer, replacements: readonly string[]): void {
  const spans = stringSpans(bytes).filter((_span, i) => replacements.length > 0 && (i + replacements.length) % 2 === 0);
  const edits: Edit[] = spans.map((span, i) => ({ span, replacement: JSON.stringify(replacements[i % replacements.length]) }));
  const out = applyEdits(bytes, [...edits].reverse());
  // Outside the edits every byte is where it was; inside is what was asked for.
  let at = 0;
  let shifted = 0;
  for (const { span, replacement } of edits) {
    const length = Buffer.byteLength(replacement);
    assert.ok(bytes.subarray(at, span.start).equals(out.subarray(at + shifted, span.start + shifted)), 'a byte outside the edits changed');
    assert.equal(out.toString('utf8', span.start + shifted, span.start + shifted + length), replacement);
    shifted += length - (span.end - span.start);
    at = span.end;
  }
  assert.ok(bytes.subarray(at).equals(out.subarray(at + shifted)));
  // And what comes out reads as the same message with these strings replaced.
  let seen = 0;
  const strings = new Set(spans.map((span) => span.start));
  const order = stringSpans(bytes);
  const expected = replaceStrings(parsePlainly(bytes.toString()), () => {
    const span = order[seen++];
    return span && strings.has(span.start) ? replacements[spans.indexOf(span) % replacements.length] : undefined;
  });
  assert.deepEqual(parsePlainly(out.toString()), expected);
}

/** Numeric keys come first in JavaScript's objects, so they would be met in another order than in the bytes. */
function hasNumericKey(text: string): boolean {
  return /"(\\u003\d|\d)/i.test(text);
}

function replaceStrings(value: unknown, next: () => string | undefined): unknown {
  if (typeof value === 'string') return next() ?? value;
  if (Array.isArray(value)) return value.map((item) => replaceStrings(item, next));
  if (typeof value !== 'object' || value === null) return value;
  const out: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(value))
    Object.defineProperty(out, key, { value: replaceStrings(child, next), enumerable: true, writable: true, configurable: true });
  return out;
}

/** Taking out the editor's own `_meta` leaves everything else as it is. */
function checkEditorMeta(read: Message): void {
  const out = applyEdits(
    read.bytes,
    editorMetaSpans(read).map((span) => ({ span, replacement: '' })),
  );
  type Body = { params?: { _meta?: Record<string, unknown> | null } };
  const before = parsePlainly(read.bytes.toString()) as Body;
  const after = parsePlainly(out.toString()) as Body;
  const own = before.params?._meta;
  if (typeof own === 'object' && own !== null && !Array.isArray(own))
    for (const key of Object.keys(own)) if (key.startsWith('vscode.')) Reflect.deleteProperty(own, key);
  assert.deepEqual(after, before);
  assert.ok(readMessage(out).ok, 'what is forwarded would be refused');
}

// --- What is run

/** Deep nesting around the limit, in objects, arrays and both. */
const deep = fc
  .tuple(fc.integer({ min: 1, max: 140 }), fc.constantFrom('[', '{"a":', '[{"b":'), value, fc.boolean())
  .map(([levels, opening, core, closed]) => {
    const closing = opening === '[' ? ']' : opening === '{"a":' ? '}' : '}]';
    return `{"jsonrpc":"2.0","id":1,"method":"x","params":{"p":${opening.repeat(levels)}${core}${closed ? closing.repeat(levels) : ''}}}`;
  });

/** What every good client may send: made by a serialiser. */
const honest = fc
  .record({
    id: fc.oneof(fc.maxSafeInteger(), fc.uuid()),
    method: fc.constantFrom('tools/call', 'prompts/get', 'ping', 'tools/list'),
    name: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    args: fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4 }),
    indent: fc.constantFrom(undefined, 1, '\t'),
  })
  .map(({ id, method, name, args, indent }) =>
    JSON.stringify({ jsonrpc: '2.0', id, method, params: { name, arguments: args } }, undefined, indent),
  );

/** The fuzz targets of the request scanner. */
export function scannerTargets(oracle: ScannerOracle): FuzzTarget[] {
  return [
    {
      name: 'scanner: messages, good and nearly good',
      share: 0.4,
      property: (tally) => fc.property(message, (text) => void oracle.check(Buffer.from(text), tally)),
    },
    {
      name: 'scanner: mutated bytes',
      share: 0.25,
      property: (tally) =>
        fc.property(fc.oneof(message, honest), fc.array(mishap, { minLength: 1, maxLength: 2 }), (text, mishaps) => {
          oracle.check(mishaps.reduce(befall, Buffer.from(text)), tally);
        }),
    },
    {
      name: 'scanner: several messages in one',
      share: 0.03,
      property: (tally) =>
        fc.property(message, fc.constantFrom('', '\n', ',', ' ', '\0'), fc.oneof(message, value), fc.boolean(), (a, gap, b, inArray) => {
          oracle.check(Buffer.from(inArray ? `[${a}${gap}${b}]` : a + gap + b), tally);
        }),
    },
    {
      name: 'scanner: deep nesting',
      share: 0.02,
      property: (tally) => fc.property(deep, (text) => void oracle.check(Buffer.from(text), tally)),
    },
    {
      name: 'scanner: what good clients send is accepted',
      share: 0.05,
      property: (tally) =>
        fc.property(honest, (text) => {
          assert.ok(oracle.check(Buffer.from(text), tally), 'a good message was refused');
        }),
    },
    {
      name: 'edits: only what is replaced changes',
      share: 0.05,
      property: (tally) =>
        fc.property(
          fc.oneof(honest, message),
          fc.array(fc.string({ unit: 'grapheme', maxLength: 8 }), { maxLength: 3 }),
          (text, replacements) => {
            const bytes = Buffer.from(text);
            const read = readMessage(bytes);
            if (!read.ok) {
              tally.count('refused');
              return;
            }
            tally.count('edited');
            // A response has no params that anybody reads.
            if (read.message.kind !== 'response') checkEditorMeta(read.message);
            if (!hasNumericKey(text)) checkEdits(bytes, replacements);
          },
        ),
    },
  ];
}
