import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { chmodSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Gathering } from '../common/gathering.ts';
import { ID_PATTERN } from '../common/identifiers.ts';
import type { Disposable } from '../common/disposable.ts';
import { ListenerError, codeOf, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { Stop, type StopSignal } from '../common/stop.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';

/** Largest body of a request, bytes. Arguments that hold files exist; a request above this is refused with 413. */
export const MAX_REQUEST_BYTES = 16 * 1024 * 1024;
/** Headers of a request, bytes. */
export const MAX_REQUEST_HEADER_BYTES = 32 * 1024;
/** Time for a client to send its headers and for a whole request to arrive, milliseconds. */
export const HEADERS_TIMEOUT_MS = 10_000;
export const REQUEST_TIMEOUT_MS = 60_000;
/** Connections of all clients of this window together. */
export const MAX_CONNECTIONS = 1024;
/** Connections beyond the limit that are still told so; any more are closed without a word. */
const SURPLUS_CONNECTIONS = 64;

/** Where to listen: a socket or named pipe, or a port of the loopback interface (0 takes any). */
export type Address = { readonly kind: 'socket'; readonly path: string } | { readonly kind: 'loopback'; readonly port: number };

/** What the caller's token turned out to be. */
export type Admission<P> = { readonly kind: 'ok'; readonly capability: P } | { readonly kind: 'expired' } | { readonly kind: 'unknown' };

/** A request that was admitted, complete and bounded. */
export interface Inbound<P> {
  readonly httpMethod: 'POST' | 'GET' | 'DELETE';
  readonly server: string;
  readonly capability: P;
  readonly headers: IncomingHttpHeaders;
  /** Exactly the bytes received; empty for GET and DELETE. */
  readonly body: Buffer;
  readonly response: ServerResponse;
  /** Ends when the client is gone before the response was complete. */
  readonly gone: StopSignal;
}

/** The bounds of a listener; the constants above are the defaults. */
export interface ListenerLimits {
  readonly requestBytes: number;
  readonly requestHeaderBytes: number;
  readonly connections: number;
}

/** What the listener needs from the rest. */
export interface ListenerOptions<P> {
  readonly address: Address;
  readonly limits?: ListenerLimits;
  /** `connection` is the same object for all requests of one connection. */
  authenticate(authorization: string | undefined, server: string, connection: object): Admission<P>;
  handle(inbound: Inbound<P>): Promise<void>;
  readonly logger: Logger;
}

const NO_BODY = Buffer.alloc(0);
const PATH = /^\/servers\/([^/]+)\/mcp$/;

/** Accepts connections of agents, turns away what is malformed, foreign or too large, and hands on the rest. */
export class Listener<P> implements Disposable {
  readonly #options: ListenerOptions<P>;
  readonly #server: http.Server;
  readonly #limits: ListenerLimits;
  /** Connections beyond the limit: what comes on them is refused. */
  readonly #surplus = new WeakSet<Socket>();
  #address: Address;
  #connections = 0;

  private constructor(options: ListenerOptions<P>) {
    this.#options = options;
    this.#address = options.address;
    this.#limits = options.limits ?? {
      requestBytes: MAX_REQUEST_BYTES,
      requestHeaderBytes: MAX_REQUEST_HEADER_BYTES,
      connections: MAX_CONNECTIONS,
    };
    this.#server = http.createServer(
      {
        maxHeaderSize: this.#limits.requestHeaderBytes,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: 0,
        insecureHTTPParser: false,
        noDelay: true,
      },
      (request, response) => this.#accept(request, response),
    );
    this.#server.maxConnections = this.#limits.connections + SURPLUS_CONNECTIONS;
    this.#server.on('connection', (socket: Socket) => this.#count(socket));
    this.#server.on('clientError', (error, socket) => {
      const status = codeOf(error) === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
      if (socket.writable) socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      else socket.destroy();
    });
  }

  /** Starts listening. Throws {@link ListenerError} with what to do. */
  static async open<P>(options: ListenerOptions<P>): Promise<Listener<P>> {
    const listener = new Listener(options);
    await listener.#listen();
    return listener;
  }

  /** Where it listens; with the real port. */
  get address(): Address {
    return this.#address;
  }

  async #listen(): Promise<void> {
    const { address } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(asListenerError(error, address)));
      if (address.kind === 'socket') this.#server.listen({ path: address.path, exclusive: true }, resolve);
      else this.#server.listen({ host: '127.0.0.1', port: address.port, exclusive: true }, resolve);
    });
    this.#server.on('error', (error) => this.#options.logger.error(`The tunnel’s listener failed: ${messageOf(error)}`));
    if (address.kind === 'socket') {
      if (process.platform !== 'win32') chmodSync(address.path, 0o600);
      return;
    }
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') throw new ListenerError('CULVERT_LISTENER_FAILED', 'The tunnel has no address.');
    this.#address = { kind: 'loopback', port: bound.port };
  }

  dispose(): void {
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#address.kind === 'socket' && process.platform !== 'win32') rmSync(this.#address.path, { force: true });
  }

  #count(socket: Socket): void {
    this.#connections++;
    socket.once('close', () => this.#connections--);
    if (this.#connections <= this.#limits.connections) return;
    this.#surplus.add(socket);
    this.#options.logger.warn(`More than ${this.#limits.connections} connections of agents are open. Another one was refused.`);
  }

  /** No promise until the request is complete: each would cost a turn of the microtasks. */
  #accept(request: IncomingMessage, response: ServerResponse): void {
    const gone = new Stop();
    response.on('close', () => {
      if (!response.writableFinished) gone.abort();
    });
    // A broken connection is no fault of ours; the abort above tells whom it concerns.
    response.on('error', ignore);
    request.on('error', ignore);
    try {
      this.#admit(request, response, gone.signal);
    } catch (error) {
      this.#failed(response, error);
    }
  }

  #failed(response: ServerResponse, error: unknown): void {
    this.#options.logger.error(`A request could not be handled: ${messageOf(error)}`);
    if (!response.headersSent) finish(response, 500);
    else response.destroy();
  }

  #admit(request: IncomingMessage, response: ServerResponse, gone: StopSignal): void {
    const { headers } = request;
    if (this.#surplus.has(request.socket)) {
      const body = errorBody(undefined, ERROR_CODE.closed, 'Culvert has as many connections open as it may. Close one, then try again.');
      finish(response, 503, { 'content-type': 'application/json', connection: 'close' }, body);
      return;
    }
    if (!this.#hostIsOurs(headers.host) || !this.#originIsOurs(headers.origin)) {
      finish(response, 403);
      return;
    }
    const server = PATH.exec(request.url ?? '')?.[1];
    if (server === undefined || !ID_PATTERN.test(server)) {
      finish(response, 404);
      return;
    }
    const httpMethod = request.method;
    if (httpMethod !== 'POST' && httpMethod !== 'GET' && httpMethod !== 'DELETE') {
      finish(response, 405, { allow: 'GET, POST, DELETE' });
      return;
    }
    const admission = this.#options.authenticate(headers.authorization, server, request.socket);
    if (admission.kind === 'unknown') {
      finish(response, 401);
      return;
    }
    if (admission.kind === 'expired') {
      const body = errorBody(undefined, ERROR_CODE.session, 'This connection to Culvert has ended. Connect again.');
      finish(response, headers['mcp-session-id'] === undefined ? 503 : 404, { 'content-type': 'application/json' }, body);
      return;
    }
    const { capability } = admission;
    const hand = (body: Buffer) => {
      this.#options
        .handle({ httpMethod, server, capability, headers, body, response, gone })
        .catch((error: unknown) => this.#failed(response, error));
    };
    if (httpMethod !== 'POST') {
      hand(NO_BODY);
      return;
    }
    readBody(request, this.#limits.requestBytes, (body) => {
      try {
        if (body === 'too-large') finish(response, 413, { connection: 'close' });
        else if (body === 'broken') return;
        else if (!isJson(headers['content-type'])) finish(response, 415);
        else hand(body);
      } catch (error) {
        this.#failed(response, error);
      }
    });
  }

  #hostIsOurs(host: string | undefined): boolean {
    if (this.#address.kind === 'socket') return host === 'localhost';
    return host === `127.0.0.1:${this.#address.port}` || host === `localhost:${this.#address.port}`;
  }

  #originIsOurs(origin: string | undefined): boolean {
    if (origin === undefined) return true;
    return (
      this.#address.kind === 'loopback' &&
      (origin === `http://127.0.0.1:${this.#address.port}` || origin === `http://localhost:${this.#address.port}`)
    );
  }
}

function ignore(): void {
  // Told otherwise.
}

function isJson(contentType: string | undefined): boolean {
  return contentType === 'application/json' || (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() === 'application/json';
}

function finish(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: Buffer = Buffer.alloc(0),
): void {
  response.writeHead(status, { ...headers, 'content-length': body.length }).end(body);
}

/** Calls `done` once: with the whole body, or why there is none. */
function readBody(request: IncomingMessage, maxBytes: number, done: (body: Buffer | 'too-large' | 'broken') => void): void {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
    done('too-large');
    return;
  }
  let parts: Gathering | undefined = new Gathering();
  const finished = (body: Buffer | 'too-large' | 'broken') => {
    parts = undefined;
    done(body);
  };
  request.on('data', (part: Buffer) => {
    if (!parts) return;
    if (parts.bytes + part.length > maxBytes) {
      request.pause();
      finished('too-large');
    } else parts.add(part);
  });
  request.on('end', () => {
    if (parts) finished(parts.take());
  });
  // Behind its end, too; then nobody listens any more.
  request.on('close', () => {
    if (parts) finished('broken');
  });
}

function asListenerError(error: Error, address: Address): ListenerError {
  const where = address.kind === 'socket' ? address.path : `127.0.0.1:${address.port}`;
  const code = codeOf(error);
  if (code === 'EADDRINUSE')
    return new ListenerError('CULVERT_LISTENER_IN_USE', `${where} is in use. Reload the window.`, { cause: error });
  if (code === 'EACCES' || code === 'EPERM')
    return new ListenerError('CULVERT_LISTENER_DENIED', `${where} can’t be opened: access denied.`, { cause: error });
  return new ListenerError('CULVERT_LISTENER_FAILED', `${where} can’t be opened: ${messageOf(error)}.`, { cause: error });
}
