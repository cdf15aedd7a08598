import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request as it came in at a {@link FakeServer}. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The number of the connection it came on. */
  readonly connection: number;
}

/** Answers one request; `seen` is complete. */
export type Behaviour = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void;

/** A HTTP server that remembers every request, with its exact bytes, and does what a test says: also what no good server does. */
export class FakeServer {
  readonly seen: Seen[] = [];
  behave: Behaviour = (seen, response) => answerJson(response, resultFor(seen, {}));
  connections = 0;
  readonly #http: http.Server;
  readonly #numbers = new WeakMap<Socket, number>();
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor() {
    this.#http = http.createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on('error', () => undefined);
      response.on('error', () => undefined);
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const seen: Seen = {
          method: request.method ?? '',
          url: request.url ?? '',
          headers: request.headers,
          body: Buffer.concat(parts),
          connection: this.#numbers.get(request.socket) ?? 0,
        };
        this.seen.push(seen);
        for (const waiting of this.#waiting.filter((w) => w.count <= this.seen.length)) waiting.resolve();
        this.behave(seen, response, request);
      });
    });
    this.#http.on('connection', (socket) => this.#numbers.set(socket, ++this.connections));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.origin}/mcp`;
  }

  /** Resolves once `count` requests have come in, counted from the start. */
  received(count: number): Promise<void> {
    if (this.seen.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  async stop(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }
}

/** Id of a JSON-RPC message. */
export function idOf(seen: Seen): unknown {
  return (JSON.parse(seen.body.toString('utf8')) as { id?: unknown }).id;
}

/** A JSON-RPC result for a request. */
export function resultFor(seen: Seen, result: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id: idOf(seen), result });
}

/** Answers with JSON text as it is given. */
export function answerJson(response: ServerResponse, text: string | Buffer, status = 200, headers: http.OutgoingHttpHeaders = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
}

/** Begins an event stream. */
export function beginStream(response: ServerResponse, headers: http.OutgoingHttpHeaders = {}): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', ...headers });
  response.flushHeaders();
}

/** A message as an event. */
export function event(message: unknown): string {
  return `event: message\ndata: ${typeof message === 'string' ? message : JSON.stringify(message)}\n\n`;
}
