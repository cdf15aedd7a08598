import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Capability } from './capability.ts';
import { mediaType, readBody, type HttpCall, type HttpClient } from './httpClient.ts';
import { parseObject, type Json } from './message.ts';
import { SseParser, type Cursor } from './sse.ts';
import type { Output } from './stdio.ts';

/** Revision that brought the `MCP-Protocol-Version` header. */
const FIRST_VERSION_WITH_HEADER = '2025-06-18';

/** A tunnel that was found, and the legacy session on it if one is open. A new session gets a new link. */
export class Link {
  readonly capability: Capability;
  /** `Mcp-Session-Id` that the server gave. */
  sessionId: string | undefined;
  /** Version negotiated by `initialize`. */
  version: string | undefined;
  readonly #http: HttpClient;
  readonly #path: string;

  constructor(http: HttpClient, path: string, capability: Capability) {
    this.#http = http;
    this.#path = path;
    this.capability = capability;
  }

  /** Sends one message: with `headers` one of the modern era, whose body they mirror; without, within the legacy session. */
  post(body: Buffer, headers: OutgoingHttpHeaders | undefined, onSent?: () => void): HttpCall {
    return this.#http.send(this.capability, {
      method: 'POST',
      path: this.#path,
      headers: {
        ...(headers ?? this.#sessionHeaders()),
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body,
      ...(onSent && { onSent }),
    });
  }

  /** Opens the stream of the session, or continues a broken one after the event `lastEventId`. */
  get(lastEventId: string | undefined): HttpCall {
    const headers: OutgoingHttpHeaders = { ...this.#sessionHeaders(), accept: 'text/event-stream' };
    // Header values are sent as latin1; an id beyond that goes out as the UTF-8 bytes that came in.
    if (lastEventId !== undefined) headers['last-event-id'] = Buffer.from(lastEventId, 'utf8').toString('latin1');
    return this.#http.send(this.capability, { method: 'GET', path: this.#path, headers });
  }

  /** Ends the session. */
  delete(): HttpCall {
    return this.#http.send(this.capability, { method: 'DELETE', path: this.#path, headers: this.#sessionHeaders() });
  }

  #sessionHeaders(): OutgoingHttpHeaders {
    const headers: OutgoingHttpHeaders = {};
    if (this.sessionId !== undefined) headers['mcp-session-id'] = this.sessionId;
    if (this.version !== undefined && this.version >= FIRST_VERSION_WITH_HEADER) headers['mcp-protocol-version'] = this.version;
    return headers;
  }
}

/** The `Mcp-Session-Id` of a response. */
export function sessionIdOf(response: IncomingMessage): string | undefined {
  const id = response.headers['mcp-session-id'];
  return typeof id === 'string' ? id : undefined;
}

/** True for the response that carries an event stream. */
export function isStream(response: IncomingMessage): boolean {
  return response.statusCode === 200 && mediaType(response) === 'text/event-stream';
}

/** What reading a stream needs besides the stream. */
export interface Reading {
  /** A stream is held back while this is behind. */
  readonly output: Output;
  /** Cap for one event or body, bytes. */
  readonly maxBytes: number;
}

/** Reads an event stream to its end. */
export function follow(
  response: IncomingMessage,
  cursor: Cursor,
  onMessage: (data: Buffer) => void,
  { output, maxBytes }: Reading,
): Promise<'ended' | 'too-large'> {
  const parser = new SseParser(cursor, onMessage, maxBytes);
  return new Promise((resolve) => {
    response.on('data', (chunk: Buffer) => {
      try {
        parser.push(chunk);
      } catch {
        resolve('too-large');
        response.destroy();
        return;
      }
      if (!output.behind) return;
      response.pause();
      output.whenDrained(() => response.resume());
    });
    response.once('end', () => resolve('ended'));
    response.once('close', () => resolve('ended'));
  });
}

/** The answer to a request that the bridge made itself, or why there is none. */
export type Reply = { readonly message: Json; readonly response: IncomingMessage } | string;

/**
 * Waits for the answer to the bridge's own request `id`, in a JSON body or on a stream; without an id, for the acknowledgement. Other
 * messages on the stream go to `pass`. Gives up after `limitMs`.
 */
export async function ownReply(
  call: HttpCall,
  id: string | undefined,
  limitMs: number,
  reading: Reading,
  pass: (message: Buffer) => void,
): Promise<Reply> {
  const timer = setTimeout(() => call.abort(), limitMs);
  try {
    const response = await call.response;
    let answer: Json | undefined;
    if (isStream(response)) {
      const onMessage = (data: Buffer): void => {
        const message = parseObject(data);
        if (message?.['id'] === id && !('method' in (message ?? {}))) {
          answer = message;
          call.abort();
        } else pass(data);
      };
      await follow(response, {}, onMessage, reading);
    } else {
      const body = await readBody(response, reading.maxBytes);
      if (body && (response.statusCode ?? 0) < 300) answer = parseObject(body) ?? (id === undefined ? {} : undefined);
    }
    return answer ? { message: answer, response } : `it answered ${response.statusCode ?? 0}`;
  } catch {
    return 'it did not answer';
  } finally {
    clearTimeout(timer);
  }
}
