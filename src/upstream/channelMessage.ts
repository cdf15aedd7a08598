import { isUtf8 } from 'node:buffer';
import { JsonFault, JsonReader, MAX_RESULT_DEPTH, valueKind, type Span } from '../mcp/json.ts';

/** An id or token: where it stands, and what it says, so that `"a"` and `"\u0061"` are the same. */
export interface Part {
  readonly span: Span;
  readonly key: string;
}

/** What a message on a channel needs to find its way, read from bytes that stay as they are. */
export interface Envelope {
  readonly kind: 'request' | 'notification' | 'response';
  readonly method: string | undefined;
  /** Absent on a notification, and on an error about something that could not be read. */
  readonly id: Part | undefined;
  /** `params._meta.progressToken` of a request, `params.progressToken` of `notifications/progress`. */
  readonly progressToken: Part | undefined;
  /** `params.requestId` of `notifications/cancelled`. */
  readonly requestId: Part | undefined;
  /** `_meta["io.modelcontextprotocol/subscriptionId"]` of params or result: the id of the request that listens (2026-07-28, subscriptions). */
  readonly subscriptionId: Part | undefined;
  /** `_meta["io.modelcontextprotocol/protocolVersion"]` of a request or notification. */
  readonly protocolVersion: string | undefined;
  /** The members of `params._meta` that every message of the modern era has, as they stand, with commas between. */
  readonly modernMeta: string;
  /** True on an error response. */
  readonly failed: boolean;
}

const PREFIX = 'io.modelcontextprotocol/';
const VERSION_KEY = `${PREFIX}protocolVersion`;
const SUBSCRIPTION_KEY = `${PREFIX}subscriptionId`;
const MODERN_KEYS = new Set([VERSION_KEY, `${PREFIX}clientInfo`, `${PREFIX}clientCapabilities`]);

/**
 * Reads what a message is, from either side. Tolerant as the servers' and clients' own parsers are: the last of duplicate keys counts.
 * `undefined` if the bytes are no JSON-RPC message.
 */
export function readEnvelope(bytes: Buffer): Envelope | undefined {
  if (!isUtf8(bytes)) return undefined;
  try {
    return read(bytes, new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH }));
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}

function read(bytes: Buffer, reader: JsonReader): Envelope | undefined {
  const start = reader.skipSpace(0);
  if (bytes[start] !== 0x7b) return undefined;
  const top = new Map<string, Span>();
  const end = reader.members(start, 0, (key, value) => void top.set(key, value));
  if (reader.skipSpace(end) !== bytes.length) return undefined;

  const methodSpan = top.get('method');
  const id = partAt(bytes, top.get('id'));
  const result = top.get('result');
  if (!methodSpan) {
    if (!result && !top.has('error')) return undefined;
    // Only the end of a subscription names it, and most results are large.
    const meta =
      result && bytes.includes('subscriptionId') ? members(bytes, reader, members(bytes, reader, result).get('_meta')) : undefined;
    return {
      kind: 'response',
      method: undefined,
      id,
      progressToken: undefined,
      requestId: undefined,
      subscriptionId: partAt(bytes, meta?.get(SUBSCRIPTION_KEY)),
      protocolVersion: undefined,
      modernMeta: '',
      failed: top.has('error'),
    };
  }
  if (valueKind(bytes, methodSpan.start) !== 'string') return undefined;
  const method = reader.text(methodSpan);
  const kind = top.has('id') ? 'request' : 'notification';
  if (kind === 'request' && !id) return undefined;
  const params = members(bytes, reader, top.get('params'));
  const meta = members(bytes, reader, params.get('_meta'));
  const version = meta.get(VERSION_KEY);
  return {
    kind,
    method,
    id,
    progressToken: partAt(bytes, kind === 'request' ? meta.get('progressToken') : params.get('progressToken')),
    requestId: method === 'notifications/cancelled' ? partAt(bytes, params.get('requestId')) : undefined,
    subscriptionId: partAt(bytes, meta.get(SUBSCRIPTION_KEY)),
    protocolVersion: version && valueKind(bytes, version.start) === 'string' ? reader.text(version) : undefined,
    modernMeta: [...meta]
      .filter(([key]) => MODERN_KEYS.has(key))
      .map(([key, span]) => `${JSON.stringify(key)}:${rawAt(bytes, span)}`)
      .join(','),
    failed: false,
  };
}

/** The text of a span as it stands. */
export function rawAt(bytes: Buffer, span: Span): string {
  return bytes.toString('utf8', span.start, span.end);
}

function members(bytes: Buffer, reader: JsonReader, span: Span | undefined): Map<string, Span> {
  const found = new Map<string, Span>();
  if (span && valueKind(bytes, span.start) === 'object') reader.members(span.start, 1, (key, value) => void found.set(key, value));
  return found;
}

function partAt(bytes: Buffer, span: Span | undefined): Part | undefined {
  if (!span) return undefined;
  const kind = valueKind(bytes, span.start);
  if (kind !== 'string' && kind !== 'number') return undefined;
  return { span, key: `${kind} ${String(JSON.parse(rawAt(bytes, span)))}` };
}
