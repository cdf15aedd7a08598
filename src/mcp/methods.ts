import { isUtf8 } from 'node:buffer';

/**
 * What a method needs to be let through (PROTOCOL.md 3):
 * `session` comes with any access to the server, `tool` is decided per tool, `resource`, `prompt` and `completion` per switch of the
 * server, `unknown` only where the user allowed that very method.
 */
export type MethodClass = 'session' | 'tool' | 'resource' | 'prompt' | 'completion' | 'unknown';

const SESSION = new Set(['initialize', 'ping', 'server/discover', 'logging/setLevel', 'tools/list', 'subscriptions/listen']);

const LISTS = new Set(['resources/list', 'resources/templates/list', 'prompts/list']);

/** Methods that only list what there is. Where the switch says “ask”, they pass without a question: clients call them at every start. */
export function isListing(method: string): boolean {
  return LISTS.has(method);
}

/** Class of a method that a client calls. Exact and case-sensitive. */
export function classifyMethod(method: string): MethodClass {
  if (method === 'tools/call') return 'tool';
  if (SESSION.has(method) || method.startsWith('notifications/') || method.startsWith('tasks/')) return 'session';
  if (method.startsWith('resources/')) return 'resource';
  if (method.startsWith('prompts/')) return 'prompt';
  if (method === 'completion/complete') return 'completion';
  return 'unknown';
}

/** Protocol revision with which the modern era begins: no session, no initialize. */
export const FIRST_MODERN_VERSION = '2026-07-28';

/** Era of one message. The body decides; the header counts only where the body says nothing. */
export function eraOf(bodyVersion: string | undefined, headerVersion: string | undefined): 'legacy' | 'modern' {
  if (bodyVersion !== undefined) return 'modern';
  return headerVersion !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(headerVersion) && headerVersion >= FIRST_MODERN_VERSION
    ? 'modern'
    : 'legacy';
}

/** Codes of the JSON-RPC errors that Culvert itself answers with. Outside -32768..-32000, which JSON-RPC and MCP keep for themselves. */
export const ERROR_CODE = {
  denied: -31001,
  upstream: -31002,
  closed: -31003,
  session: -31004,
} as const;

/** A JSON-RPC error answer. `id` is the raw id of the request, or `undefined` where none could be read. */
export function errorBody(id: string | undefined, code: number, message: string, data?: Readonly<Record<string, unknown>>): Buffer {
  const error = JSON.stringify(data ? { code, message, data } : { code, message });
  return Buffer.from(`{"jsonrpc":"2.0","id":${id ?? 'null'},"error":${error}}`, 'utf8');
}

const BASE64_VALUE = /^=\?base64\?(.*)\?=$/s;

/**
 * Decodes a header value of the form `=?base64?…?=` (2026-07-28, transports: value encoding); other values come back as they are.
 * `undefined` if what stands there is no canonical base64 of UTF-8: such a value equals nothing.
 */
export function decodeHeaderValue(value: string): string | undefined {
  const encoded = BASE64_VALUE.exec(value)?.[1];
  if (encoded === undefined) return value;
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.toString('base64') === encoded && isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}
