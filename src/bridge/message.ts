/** Codes of the errors the bridge makes itself. Outside -32768..-32000, which JSON-RPC and MCP keep for themselves. */
export const ERROR_CODE = {
  /** JSON-RPC's own two, for lines that are no message. */
  parse: -32700,
  invalid: -32600,
  /** No window with this server is there; nothing was sent. */
  notRunning: -31010,
  /** The connection ended while the call was running; it may have been carried out. */
  interrupted: -31011,
  /** The tunnel refused the request before it reached a server. */
  refused: -31012,
  /** The answer is not one. */
  badAnswer: -31013,
  /** Too many calls at once. */
  busy: -31014,
} as const;

/** Key in `params._meta` that every request of the modern era carries. */
const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
/** Revision with which the modern era begins. */
const FIRST_MODERN_VERSION = '2026-07-28';

/** A JSON object, nothing known about its members. */
export type Json = Readonly<Record<string, unknown>>;

/** One line from stdin, read just far enough to know what to do with it. */
export interface Message {
  readonly kind: 'request' | 'notification' | 'response';
  /** The bytes that are sent. */
  readonly bytes: Buffer;
  /** Empty on a response. */
  readonly method: string;
  /** Identifies the request among those in flight; equal ids give equal keys. Empty on a notification. */
  readonly key: string;
  readonly params: Json;
  /** Protocol version that the body names, if it is one of the modern era. */
  readonly modernVersion: string | undefined;
}

/** Why a line is no message, as a complete answer. */
export interface Fault {
  readonly kind: 'fault';
  readonly answer: Buffer;
}

/** Reads one line. Only a light look: whether the bytes are acceptable in full is the tunnel's decision. */
export function readMessage(bytes: Buffer): Message | Fault {
  const value = parse(bytes);
  if (value === undefined) return fault(ERROR_CODE.parse, 'The line is not JSON.');
  if (!isJson(value)) return fault(ERROR_CODE.invalid, 'The line is not one JSON-RPC message. Batches are not accepted.');
  const { id, method } = value;
  const params = isJson(value['params']) ? value['params'] : {};
  const key = typeof id === 'string' || typeof id === 'number' ? idKey(id) : '';
  if (typeof method === 'string') {
    if (id !== undefined && key === '') return fault(ERROR_CODE.invalid, 'The id of a request is a string or a number.');
    const version = isJson(params['_meta']) ? params['_meta'][VERSION_KEY] : undefined;
    const modernVersion = typeof version === 'string' && version >= FIRST_MODERN_VERSION ? version : undefined;
    return { kind: key === '' ? 'notification' : 'request', bytes, method, key, params, modernVersion };
  }
  if ('result' in value || 'error' in value) return { kind: 'response', bytes, method: '', key, params, modernVersion: undefined };
  return fault(ERROR_CODE.invalid, 'The line is not a JSON-RPC message.');
}

/** What identifies a request by its id, see {@link Message.key}. */
export function idKey(id: unknown): string {
  return JSON.stringify(id ?? null);
}

/** True for an object that is no array. */
export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object that the bytes hold, or `undefined`. */
export function parseObject(bytes: Buffer): Json | undefined {
  const value = parse(bytes);
  return isJson(value) ? value : undefined;
}

/** A JSON-RPC error answer; `id` is raw JSON. */
export function errorAnswer(id: string | Buffer, error: { readonly code: number; readonly message: string } | Json): Buffer {
  return Buffer.from(`{"jsonrpc":"2.0","id":${id.toString()},"error":${JSON.stringify(error)}}`);
}

/** What a message is, from its outermost members alone. */
export interface Shape {
  /** The id as it stands in the bytes. */
  readonly id: Buffer | undefined;
  readonly idStart: number;
  /** Has a `method`. */
  readonly method: boolean;
  /** Has a `result` or an `error`. */
  readonly answer: boolean;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;

/**
 * Looks over the outermost members of a JSON object without building it; strings are skipped at the speed of memchr. Returns
 * `undefined` for anything that is not one balanced object: such bytes must not reach stdout.
 */
export function shapeOf(bytes: Buffer): Shape | undefined {
  let at = skipSpace(bytes, 0);
  if (bytes[at] !== 0x7b) return undefined;
  let depth = 0;
  let key: unknown;
  let valueStart = -1;
  let id: Buffer | undefined;
  let idStart = -1;
  let method = false;
  let answer = false;
  const endMember = (end: number): void => {
    if (key === 'id' && valueStart >= 0) {
      id = trimEnd(bytes.subarray(valueStart, end));
      idStart = valueStart;
    } else if (key === 'method') method = true;
    else if (key === 'result' || key === 'error') answer = true;
    key = undefined;
    valueStart = -1;
  };
  for (; at < bytes.length; at++) {
    const c = bytes[at];
    if (c === QUOTE) {
      const end = endOfString(bytes, at);
      if (end < 0) return undefined;
      if (depth === 1 && valueStart < 0) {
        const colon = skipSpace(bytes, end + 1);
        if (bytes[colon] !== COLON) return undefined;
        key = keyOf(bytes.subarray(at, end + 1));
        valueStart = skipSpace(bytes, colon + 1);
        at = valueStart - 1;
      } else at = end;
    } else if (c === 0x7b || c === 0x5b) depth++;
    else if (c === 0x7d || c === 0x5d) {
      if (depth === 1) endMember(at);
      if (--depth === 0) return skipSpace(bytes, at + 1) === bytes.length ? { id, idStart, method, answer } : undefined;
    } else if (c === COMMA && depth === 1) endMember(at);
  }
  return undefined;
}

/** The id of a message as it stands in the bytes, `null` if there is none. */
export function rawId(bytes: Buffer): Buffer {
  return shapeOf(bytes)?.id ?? Buffer.from('null');
}

/** Key of an id as it stands in the bytes, see {@link Message.key}. Empty if it is none. */
export function rawIdKey(id: Buffer | undefined): string {
  return id ? idKey(parse(id)) : '';
}

/** The same message under another id, every other byte kept. */
export function withId(bytes: Buffer, id: string): Buffer {
  const shape = shapeOf(bytes);
  if (!shape?.id) return bytes;
  return Buffer.concat([bytes.subarray(0, shape.idStart), Buffer.from(id), bytes.subarray(shape.idStart + shape.id.length)]);
}

function fault(code: number, message: string): Fault {
  return { kind: 'fault', answer: errorAnswer('null', { code, message }) };
}

function skipSpace(bytes: Buffer, from: number): number {
  let at = from;
  for (;;) {
    const c = bytes[at];
    if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) at++;
    else return at;
  }
}

function trimEnd(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] ?? 0) <= 0x20) end--;
  return bytes.subarray(0, end);
}

/** Position of the quote that ends the string starting at `start`, -1 if there is none. */
function endOfString(bytes: Buffer, start: number): number {
  for (let end = bytes.indexOf(QUOTE, start + 1); end >= 0; end = bytes.indexOf(QUOTE, end + 1)) {
    let slash = end;
    while (bytes[slash - 1] === BACKSLASH) slash--;
    if ((end - slash) % 2 === 0) return end;
  }
  return -1;
}

function keyOf(quoted: Buffer): unknown {
  return quoted.includes(BACKSLASH) ? parse(quoted) : quoted.toString('latin1', 1, quoted.length - 1);
}

/** The value of a JSON text, `undefined` if it is none. */
function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    return undefined;
  }
}
