import { isUtf8 } from 'node:buffer';
import { JsonFault, JsonReader, MAX_RESULT_DEPTH, valueKind, type Span } from './json.ts';

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

/** Outcome of {@link readMessage}. `code` is the JSON-RPC error code of the answer (PROTOCOL.md 2). */
export type ReadResult =
  { readonly ok: true; readonly message: Message } | { readonly ok: false; readonly code: -32700 | -32600; readonly reason: string };

const TOP_KEYS = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'];
const PARAM_KEYS = ['name', 'uri', 'arguments', '_meta', 'task'];
const PROTOCOL_VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const CLIENT_INFO_KEY = 'io.modelcontextprotocol/clientInfo';

/** Longest method, name or claim that is kept as text; anything longer has no honest use. Characters. */
const MAX_NAME_CHARACTERS = 4096;
const MAX_CLAIM_CHARACTERS = 256;

/**
 * Reads one JSON-RPC message strictly: one object, UTF-8 without a mark, no duplicate key anywhere, no key that differs from the
 * protocol's own only in case, nothing behind it. What is accepted is read alike by every parser; what isn't, is refused.
 */
export function readMessage(bytes: Buffer): ReadResult {
  if (!isUtf8(bytes)) return fault(-32700, 'The message is not valid UTF-8.');
  const reader = new JsonReader(bytes, { duplicates: 'refuse' });
  const start = reader.skipSpace(0);
  if (start >= bytes.length) return fault(-32700, 'The message is empty.');
  if (valueKind(bytes, start) === 'array') return fault(-32600, 'Batches are not accepted. Send one message per request.');
  if (valueKind(bytes, start) !== 'object') return fault(bytes[start] === 0xef ? -32700 : -32600, 'The message is not a JSON object.');
  const top = new Map<string, Span>();
  const params = new Map<string, Span>();
  try {
    const end = reader.members(start, 0, (key, value) => {
      collect(top, TOP_KEYS, key, value);
    });
    if (reader.skipSpace(end) !== bytes.length) return fault(-32700, 'Something follows the message.');
    const span = top.get('params');
    if (span && valueKind(bytes, span.start) === 'object') {
      new JsonReader(bytes, { duplicates: 'allow' }).members(span.start, 1, (key, value) => {
        collect(params, PARAM_KEYS, key, value);
      });
    } else if (span) return fault(-32600, 'params is not an object.');
    return assemble(bytes, reader, top, params);
  } catch (error) {
    if (error instanceof JsonFault) return fault(error.kind === 'syntax' ? -32700 : -32600, `The message is refused: ${error.message}.`);
    if (error instanceof Refusal) return fault(-32600, error.message);
    throw error;
  }
}

class Refusal extends Error {}

function collect(into: Map<string, Span>, known: readonly string[], key: string, value: Span): void {
  if (known.includes(key)) into.set(key, value);
  else {
    // Some parsers match keys without regard to case (Go's encoding/json, with Unicode folding): a call could hide from us but not from them.
    const folded = key.toUpperCase().toLowerCase();
    if (known.includes(folded)) throw new Refusal(`The key ${JSON.stringify(key.slice(0, 40))} differs from "${folded}" only in case.`);
    if (key === 'requestState' || key === 'inputResponses') into.set(key, value);
    if (key === 'clientInfo') into.set(key, value);
  }
}

function assemble(bytes: Buffer, reader: JsonReader, top: ReadonlyMap<string, Span>, params: ReadonlyMap<string, Span>): ReadResult {
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
        protocolVersion: undefined,
        claims: {},
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
  const meta = readMeta(bytes, params.get('_meta'));
  const claims = { ...readClientInfo(bytes, params.get('clientInfo')), ...meta.claims };
  return {
    ok: true,
    message: {
      kind: id === undefined ? 'notification' : 'request',
      bytes,
      method,
      id,
      name,
      arguments: args,
      protocolVersion: meta.protocolVersion,
      claims,
    },
  };
}

function isNamed(method: string): boolean {
  return method === 'tools/call' || method === 'prompts/get' || method.startsWith('resources/');
}

function textOf(bytes: Buffer, reader: JsonReader, span: Span, what: string): string {
  if (valueKind(bytes, span.start) !== 'string') throw new Refusal(`${what} is not a string.`);
  const text = reader.text(span);
  if (text.length > MAX_NAME_CHARACTERS) throw new Refusal(`${what} is longer than ${MAX_NAME_CHARACTERS} characters.`);
  if (!text.isWellFormed()) throw new Refusal(`${what} holds half a surrogate pair.`);
  return text;
}

function readMeta(bytes: Buffer, span: Span | undefined): { readonly protocolVersion: string | undefined; readonly claims: Claims } {
  if (!span || valueKind(bytes, span.start) !== 'object') return { protocolVersion: undefined, claims: {} };
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  let protocolVersion: string | undefined;
  let claims: Claims = {};
  reader.members(span.start, 2, (key, value) => {
    if (key === PROTOCOL_VERSION_KEY) protocolVersion = textOf(bytes, reader, value, key);
    else if (key === CLIENT_INFO_KEY) claims = { ...claims, ...readClientInfo(bytes, value) };
    else if (key === 'vscode.conversationId') claims = { ...claims, ...claim('conversationId', bytes, reader, value) };
    else if (key === 'vscode.requestId') claims = { ...claims, ...claim('requestId', bytes, reader, value) };
    else if (key === 'traceparent') claims = { ...claims, ...claim('traceparent', bytes, reader, value) };
  });
  return { protocolVersion, claims };
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

function claim(field: keyof Claims, bytes: Buffer, reader: JsonReader, span: Span): Claims {
  if (valueKind(bytes, span.start) !== 'string') return {};
  return { [field]: reader.text(span).toWellFormed().slice(0, MAX_CLAIM_CHARACTERS) };
}

function fault(code: -32700 | -32600, reason: string): ReadResult {
  return { ok: false, code, reason };
}

/**
 * The members under `params._meta` whose key starts with `vscode.`, as edits that take them out. They tell the server nothing it
 * needs (PROTOCOL.md 2).
 */
export function editorMetaSpans(message: Message): Span[] {
  const { bytes } = message;
  if (bytes.indexOf('vscode.') < 0) return [];
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  const out: Span[] = [];
  const meta = path(bytes, reader, ['params', '_meta']);
  if (!meta || valueKind(bytes, meta.start) !== 'object') return [];
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
  const kept = members.filter((m) => !m.key.startsWith('vscode.'));
  if (kept.length === members.length) return [];
  if (kept.length === 0) return [{ start: meta.start + 1, end: meta.end - 1 }];
  let previousKept: number | undefined;
  members.forEach((member, index) => {
    if (!member.key.startsWith('vscode.')) {
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
