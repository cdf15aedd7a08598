import { isUtf8 } from 'node:buffer';
import { JsonFault, JsonReader, KnownWords, MAX_RESULT_DEPTH, valueKind, type ObjectVisitor, type Span } from './json.ts';

/** A request or notification from the agent, or its answer to a request of the server, read once from the bytes that are forwarded. */
export interface Message {
  readonly kind: 'request' | 'notification' | 'response';
  /** The bytes as received. */
  readonly bytes: Buffer;
  /** Absent on a response. */
  readonly method: string | undefined;
  /** The id as it stands in the bytes, quotes included; absent on a notification. */
  readonly id: string | undefined;
  /** `params.name` of `tools/call` and `prompts/get`, `params.uri` of the resource methods. Exactly as sent: no trim, no folding, no normalisation. */
  readonly name: string | undefined;
  /** Where `params.arguments` lies. */
  readonly arguments: Span | undefined;
  /** Tasks that it is about: `params.taskId` of the task methods, `params.notifications.taskIds` of `subscriptions/listen`. */
  readonly taskIds: readonly string[];
  /** Whether the answer may be a task (2025-11-25: `params.task`). */
  readonly asksForTask: boolean;
  /** Where `params.requestState` lies, with which a client repeats a request that needed input (2026-07-28, MRTR). */
  readonly requestState: Span | undefined;
  /** Where `params._meta` lies if the editor put something of its own into it. */
  readonly editorMeta: Span | undefined;
  /** `params._meta["io.modelcontextprotocol/protocolVersion"]`: present on every message of the modern era. */
  readonly protocolVersion: string | undefined;
  /** What the client claims about itself and the conversation, from `_meta` and `clientInfo`. Never decided on. */
  readonly claims: Claims;
}

/** Claims of the client, recorded as claims. */
export interface Claims {
  readonly clientName?: string;
  readonly clientVersion?: string;
  readonly conversationId?: string;
  readonly requestId?: string;
  readonly traceparent?: string;
}

/** Of a message that says nothing about its client, as most do. */
export const NO_CLAIMS: Claims = Object.freeze({});

/** Outcome of {@link readMessage}. `code` is the JSON-RPC error code of the answer (PROTOCOL.md 2). */
export type ReadResult =
  { readonly ok: true; readonly message: Message } | { readonly ok: false; readonly code: -32700 | -32600; readonly reason: string };

const TOP_NAMES = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const TOP_KEYS = namesByFold(TOP_NAMES);
const PARAM_NAMES = [
  'name',
  'uri',
  'arguments',
  '_meta',
  'task',
  'taskId',
  'requestState',
  'inputResponses',
  'notifications',
  'clientInfo',
];
const PARAM_KEYS = namesByFold(PARAM_NAMES);
const WORDS = new KnownWords([...TOP_NAMES, ...PARAM_NAMES, '2.0', 'tools/call']);
const PROTOCOL_VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const CLIENT_INFO_KEY = 'io.modelcontextprotocol/clientInfo';
const META_KEYS = namesByFold([PROTOCOL_VERSION_KEY, CLIENT_INFO_KEY, 'traceparent']);
const NOTIFICATION_KEYS = namesByFold(['taskIds']);
const EDITOR_PREFIX = 'vscode.';

const NO_TASKS: readonly string[] = [];

/** Longest method, name or claim that is kept as text; anything longer has no honest use. Characters. */
const MAX_NAME_CHARACTERS = 4096;
const MAX_CLAIM_CHARACTERS = 256;

/** Spans of the members that matter, by level. */
interface Found {
  readonly top: Map<string, Span>;
  readonly params: Map<string, Span>;
  readonly meta: Map<string, Span>;
  editorMeta: boolean;
}

/**
 * Reads one JSON-RPC message strictly and in one pass: one object, UTF-8 without a mark, no duplicate key anywhere, no key that differs
 * from the protocol's own only in case or behind a NUL, nothing behind it. What is accepted is read alike by every parser; what isn't, is
 * refused.
 */
export function readMessage(bytes: Buffer): ReadResult {
  if (!isUtf8(bytes)) return fault(-32700, 'The message is not valid UTF-8.');
  const reader = new JsonReader(bytes, { duplicates: 'refuse', words: WORDS });
  const start = reader.skipSpace(0);
  if (start >= bytes.length) return fault(-32700, 'The message is empty.');
  if (valueKind(bytes, start) === 'array') return fault(-32600, 'Batches are not accepted. Send one message per request.');
  if (valueKind(bytes, start) !== 'object') return fault(bytes[start] === 0xef ? -32700 : -32600, 'The message is not a JSON object.');
  const found: Found = { top: new Map(), params: new Map(), meta: new Map(), editorMeta: false };
  try {
    const end = reader.members(
      start,
      0,
      (key, value) => collect(found.top, TOP_KEYS, key, value),
      (key) => (key === 'params' ? paramsVisitor(found) : undefined),
    );
    if (reader.skipSpace(end) !== bytes.length) return fault(-32700, 'Something follows the message.');
    return assemble(bytes, reader, found);
  } catch (error) {
    if (error instanceof JsonFault) return fault(error.kind === 'syntax' ? -32700 : -32600, `The message is refused: ${error.message}.`);
    if (error instanceof Refusal) return fault(-32600, error.message);
    throw error;
  }
}

class Refusal extends Error {}

function paramsVisitor(found: Found): ObjectVisitor {
  const meta: ObjectVisitor = {
    visit: (key, value) => {
      if (key.startsWith(EDITOR_PREFIX)) {
        found.editorMeta = true;
        found.meta.set(key, value);
      } else collect(found.meta, META_KEYS, key, value);
    },
  };
  return {
    visit: (key, value) => collect(found.params, PARAM_KEYS, key, value),
    inside: (key) => (key === '_meta' ? meta : undefined),
  };
}

/** Keys by what they are without regard to case. */
function namesByFold(names: readonly string[]): ReadonlyMap<string, string> {
  return new Map(names.map((name) => [folded(name), name]));
}

/** As parsers match keys that match them without regard to case (Go's encoding/json, with Unicode folding: long s, Kelvin sign). */
function folded(key: string): string {
  return key.toUpperCase().toLowerCase();
}

function collect(into: Map<string, Span>, known: ReadonlyMap<string, string>, key: string, value: Span): void {
  if (known.get(key) === key) {
    into.set(key, value);
    return;
  }
  // A reader of C strings stops at a NUL: the call could hide from us but not from it.
  const nul = key.indexOf('\0');
  const name = known.get(folded(nul < 0 ? key : key.slice(0, nul)));
  if (name === undefined) return;
  if (name !== key)
    throw new Refusal(
      `The key ${JSON.stringify(key.slice(0, 60))} differs from "${name}" only in ${nul < 0 ? 'case' : 'what follows a NUL'}.`,
    );
  into.set(key, value);
}

function assemble(bytes: Buffer, reader: JsonReader, { top, params, meta, editorMeta }: Found): ReadResult {
  const paramsSpan = top.get('params');
  if (paramsSpan && valueKind(bytes, paramsSpan.start) !== 'object') return fault(-32600, 'params is not an object.');
  const version = top.get('jsonrpc');
  if (!version || valueKind(bytes, version.start) !== 'string' || reader.text(version) !== '2.0')
    return fault(-32600, 'jsonrpc must be "2.0".');

  const idSpan = top.get('id');
  let id: string | undefined;
  if (idSpan) {
    const raw = bytes.toString('utf8', idSpan.start, idSpan.end);
    const kind = valueKind(bytes, idSpan.start);
    if (kind !== 'string' && !(kind === 'number' && /^-?\d+$/.test(raw))) return fault(-32600, 'id must be a string or a whole number.');
    id = raw;
    if (raw.length > MAX_NAME_CHARACTERS) return fault(-32600, 'id is too long.');
  }

  const methodSpan = top.get('method');
  if (!methodSpan) {
    if (id === undefined || top.has('result') === top.has('error')) return fault(-32600, 'The message has no method and is no response.');
    return {
      ok: true,
      message: {
        kind: 'response',
        bytes,
        method: undefined,
        id,
        name: undefined,
        arguments: undefined,
        taskIds: NO_TASKS,
        asksForTask: false,
        requestState: undefined,
        editorMeta: undefined,
        protocolVersion: undefined,
        claims: NO_CLAIMS,
      },
    };
  }
  if (top.has('result') || top.has('error')) return fault(-32600, 'The message is a request and a response at once.');
  const method = textOf(bytes, reader, methodSpan, 'method');
  const nameSpan = method.startsWith('resources/') ? params.get('uri') : params.get('name');
  const name = nameSpan && isNamed(method) ? textOf(bytes, reader, nameSpan, 'name') : undefined;
  if (method === 'tools/call' && name === undefined) return fault(-32600, 'tools/call needs params.name.');
  const args = params.get('arguments');
  if (args && method === 'tools/call' && valueKind(bytes, args.start) !== 'object')
    return fault(-32600, 'params.arguments is not an object.');
  const metaSpan = params.get('_meta');
  if (metaSpan && valueKind(bytes, metaSpan.start) !== 'object' && bytes[metaSpan.start] !== 0x6e)
    return fault(-32600, 'params._meta is not an object.');
  const protocolVersion = meta.get(PROTOCOL_VERSION_KEY);
  return {
    ok: true,
    message: {
      kind: id === undefined ? 'notification' : 'request',
      bytes,
      method,
      id,
      name,
      arguments: args,
      taskIds: tasksOf(bytes, reader, method, params),
      asksForTask: params.has('task'),
      requestState: params.get('requestState'),
      editorMeta: editorMeta ? metaSpan : undefined,
      protocolVersion: protocolVersion && textOf(bytes, reader, protocolVersion, PROTOCOL_VERSION_KEY),
      claims: claimsOf(bytes, reader, params.get('clientInfo'), meta),
    },
  };
}

function isNamed(method: string): boolean {
  return method === 'tools/call' || method === 'prompts/get' || method.startsWith('resources/');
}

function tasksOf(bytes: Buffer, reader: JsonReader, method: string, params: ReadonlyMap<string, Span>): readonly string[] {
  if (method.startsWith('tasks/')) {
    const task = params.get('taskId');
    return task ? [textOf(bytes, reader, task, 'taskId')] : NO_TASKS;
  }
  const notifications = method === 'subscriptions/listen' ? params.get('notifications') : undefined;
  if (!notifications || valueKind(bytes, notifications.start) !== 'object') return NO_TASKS;
  const found = new Map<string, Span>();
  reader.members(notifications.start, 2, (key, value) => collect(found, NOTIFICATION_KEYS, key, value));
  const list = found.get('taskIds');
  if (!list) return NO_TASKS;
  if (valueKind(bytes, list.start) !== 'array') throw new Refusal('taskIds is not an array.');
  const ids: string[] = [];
  reader.elements(list.start, 3, (span) => void ids.push(textOf(bytes, reader, span, 'a task id')));
  return ids;
}

function textOf(bytes: Buffer, reader: JsonReader, span: Span, what: string): string {
  if (valueKind(bytes, span.start) !== 'string') throw new Refusal(`${what} is not a string.`);
  const text = reader.text(span);
  if (text.length > MAX_NAME_CHARACTERS) throw new Refusal(`${what} is longer than ${MAX_NAME_CHARACTERS} characters.`);
  if (!text.isWellFormed()) throw new Refusal(`${what} holds half a surrogate pair.`);
  if (text.includes('\0')) throw new Refusal(`${what} holds a NUL.`);
  return text;
}

function claimsOf(bytes: Buffer, reader: JsonReader, clientInfo: Span | undefined, meta: ReadonlyMap<string, Span>): Claims {
  if (clientInfo === undefined && meta.size === 0) return NO_CLAIMS;
  return {
    ...readClientInfo(bytes, clientInfo),
    ...readClientInfo(bytes, meta.get(CLIENT_INFO_KEY)),
    ...claim('conversationId', bytes, reader, meta.get('vscode.conversationId')),
    ...claim('requestId', bytes, reader, meta.get('vscode.requestId')),
    ...claim('traceparent', bytes, reader, meta.get('traceparent')),
  };
}

function readClientInfo(bytes: Buffer, span: Span | undefined): Claims {
  if (!span || valueKind(bytes, span.start) !== 'object') return {};
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  let claims: Claims = {};
  reader.members(span.start, 2, (key, value) => {
    if (key === 'name') claims = { ...claims, ...claim('clientName', bytes, reader, value) };
    else if (key === 'version') claims = { ...claims, ...claim('clientVersion', bytes, reader, value) };
  });
  return claims;
}

function claim(field: keyof Claims, bytes: Buffer, reader: JsonReader, span: Span | undefined): Claims {
  if (!span || valueKind(bytes, span.start) !== 'string') return {};
  return { [field]: reader.text(span).toWellFormed().slice(0, MAX_CLAIM_CHARACTERS) };
}

function fault(code: -32700 | -32600, reason: string): ReadResult {
  return { ok: false, code, reason };
}

/** A raw id in the one spelling in which equal ids are equal text: a peer may escape what the other did not. */
export function idKey(raw: string): string {
  return raw.startsWith('"') && raw.includes('\\') ? JSON.stringify(JSON.parse(raw)) : raw;
}

/**
 * The members under `params._meta` whose key starts with `vscode.`, as edits that take them out. They tell the server nothing it
 * needs (PROTOCOL.md 2).
 */
export function editorMetaSpans(message: Message): Span[] {
  const { bytes, editorMeta: meta } = message;
  if (!meta) return [];
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  const out: Span[] = [];
  // Walk the members by hand: the span to take out includes the key and one comma.
  const members: { key: string; start: number; end: number }[] = [];
  let at = reader.skipSpace(meta.start + 1);
  while (bytes[at] === 0x22) {
    const keyEnd = reader.skipString(at);
    const key = reader.text({ start: at, end: keyEnd });
    const end = reader.skipValue(reader.skipSpace(reader.skipSpace(keyEnd) + 1), 3);
    members.push({ key, start: at, end });
    at = reader.skipSpace(end);
    if (bytes[at] === 0x2c) at = reader.skipSpace(at + 1);
  }
  const kept = members.filter((m) => !m.key.startsWith(EDITOR_PREFIX));
  if (kept.length === members.length) return [];
  if (kept.length === 0) return [{ start: meta.start + 1, end: meta.end - 1 }];
  let previousKept: number | undefined;
  members.forEach((member, index) => {
    if (!member.key.startsWith(EDITOR_PREFIX)) {
      previousKept = index;
      return;
    }
    const next = members[index + 1];
    // Before the first kept member take the comma behind, afterwards the one in front.
    if (previousKept === undefined) out.push({ start: member.start, end: next ? next.start : member.end });
    else out.push({ start: members[index - 1]?.end ?? member.start, end: member.end });
  });
  return out;
}

function path(bytes: Buffer, reader: JsonReader, keys: readonly string[]): Span | undefined {
  let here: Span | undefined = { start: reader.skipSpace(0), end: bytes.length };
  keys.forEach((wanted, depth) => {
    if (!here || valueKind(bytes, here.start) !== 'object') {
      here = undefined;
      return;
    }
    let found: Span | undefined;
    reader.members(here.start, depth, (key, value) => {
      if (key === wanted) found = value;
    });
    here = found;
  });
  return here;
}

/** Span of the value at `keys` in what a server sent, looked up from the top; the last of duplicate keys counts. Throws JsonFault. */
export function findValue(bytes: Buffer, keys: readonly string[]): Span | undefined {
  return path(bytes, new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH }), keys);
}

/** What tells the messages of a server apart, as it stands in the bytes. */
export interface Envelope {
  /** Raw id, in the spelling of {@link idKey}. */
  readonly id: string | undefined;
  readonly hasMethod: boolean;
}

/** Reads id and method of a message of a server in one pass; the last of duplicate keys counts. `undefined` for what is no JSON object. */
export function readEnvelope(bytes: Buffer): Envelope | undefined {
  const reader = new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
  const start = reader.skipSpace(0);
  if (valueKind(bytes, start) !== 'object') return undefined;
  let id: Span | undefined;
  let hasMethod = false;
  try {
    reader.members(start, 0, (key, value) => {
      if (key === 'id') id = value;
      else if (key === 'method') hasMethod = true;
    });
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
  return { id: id && idKey(bytes.toString('utf8', id.start, id.end)), hasMethod };
}
