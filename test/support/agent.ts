import http, { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';

/** Where an agent connects to. */
export type Door = Pick<HeadlessTunnel, 'socketPath' | 'url' | 'path' | 'token'>;

/** What an agent sends; the defaults are those of a good one. */
export interface Sent {
  readonly method?: string;
  readonly path?: string;
  /** Text is sent as it is, anything else as JSON. */
  readonly body?: unknown;
  /** `undefined` takes a default header away. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly signal?: AbortSignal;
  readonly agent?: http.Agent;
}

/** An answer read to its end. */
export interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Body as JSON. */
  json(): Rpc;
}

/** A JSON-RPC answer as tests look at it. */
export interface Rpc {
  readonly id?: unknown;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

/** Begins a request and gives it and its response head. */
export function open(door: Door, sent: Sent): { readonly request: ClientRequest; readonly response: Promise<IncomingMessage> } {
  const isRaw = typeof sent.body === 'string' || Buffer.isBuffer(sent.body);
  const body = sent.body === undefined ? undefined : Buffer.from(isRaw ? (sent.body as string) : JSON.stringify(sent.body));
  const headers: OutgoingHttpHeaders = {
    authorization: `Bearer ${door.token}`,
    accept: 'application/json, text/event-stream',
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
    ...(door.socketPath === undefined ? {} : { host: 'localhost' }),
    ...(sent.headers as OutgoingHttpHeaders | undefined),
  };
  for (const [name, value] of Object.entries(headers)) if (value === undefined) Reflect.deleteProperty(headers, name);
  const where = door.socketPath === undefined ? { port: new URL(door.url ?? '').port, host: '127.0.0.1' } : { socketPath: door.socketPath };
  const request = http.request({
    ...where,
    method: sent.method ?? 'POST',
    path: sent.path ?? door.path,
    headers,
    agent: sent.agent ?? false,
    ...(sent.signal ? { signal: sent.signal } : {}),
  });
  const response = new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  request.end(body);
  return { request, response };
}

/** Sends a request and reads the whole answer. */
export async function send(door: Door, sent: Sent): Promise<Got> {
  const response = await open(door, sent).response;
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  return { status: response.statusCode ?? 0, headers: response.headers, body, json: () => JSON.parse(body.toString('utf8')) as Rpc };
}

/** A JSON-RPC request. */
export function rpc(method: string, params?: unknown, id: number | string = 1): Record<string, unknown> {
  return { jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) };
}

/** A call of a tool, in the older era. */
export function toolCall(name: string, args: unknown = {}, id: number | string = 1): Record<string, unknown> {
  return rpc('tools/call', { name, arguments: args }, id);
}

/** Protocol revision of the modern era. */
export const MODERN = '2026-07-28';

/** Body and headers of a modern request. */
export function modern(
  method: string,
  params: Record<string, unknown> = {},
  id: number | string = 1,
): Required<Pick<Sent, 'body' | 'headers'>> {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const name = params['name'] ?? params['uri'];
  return {
    body: rpc(method, { ...params, _meta: { ...meta, ...(params['_meta'] as object | undefined) } }, id),
    headers: { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...(typeof name === 'string' ? { 'mcp-name': name } : {}) },
  };
}

/** Reads a stream until it holds `text`; gives everything read so far. */
export async function readUntil(stream: IncomingMessage, text: string, before = ''): Promise<string> {
  let seen = before;
  if (seen.includes(text)) return seen;
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      seen += chunk.toString('utf8');
      if (seen.includes(text)) done(() => resolve(seen));
    };
    const onEnd = () => done(() => reject(new Error(`The stream ended without ${JSON.stringify(text)}: ${JSON.stringify(seen)}`)));
    const done = (then: () => void) => {
      stream.off('data', onData).off('close', onEnd);
      stream.pause();
      then();
    };
    stream.on('data', onData).once('close', onEnd).resume();
  });
}

/** Resolves when a stream is over: `end` for a clean end, `broken` otherwise. */
export function over(stream: IncomingMessage): Promise<'end' | 'broken'> {
  return new Promise((resolve) => {
    stream.on('error', () => undefined);
    stream.once('close', () => resolve(stream.complete ? 'end' : 'broken'));
    stream.resume();
  });
}

/** A `fetch` for the SDKs' clients that goes through a tunnel, streams included. */
export function fetchThrough(door: Door): (url: string | URL, init?: RequestInit) => Promise<Response> {
  return async (_url, init) => {
    const body = typeof init?.body === 'string' ? init.body : undefined;
    const headers: Record<string, string> = Object.fromEntries(new Headers(init?.headers));
    headers['authorization'] = `Bearer ${door.token}`;
    const { response } = open(door, {
      method: init?.method ?? 'GET',
      body,
      headers,
      ...(init?.signal ? { signal: init.signal } : {}),
    });
    const got = await response;
    got.on('error', () => undefined);
    const status = got.statusCode ?? 500;
    const empty = status === 202 || status === 204 || status === 304;
    if (empty) got.resume();
    return new Response(empty ? null : (Readable.toWeb(got) as ReadableStream<Uint8Array>), {
      status,
      headers: Object.entries(got.headers).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, String(value)] as [string, string]],
      ),
    });
  };
}
