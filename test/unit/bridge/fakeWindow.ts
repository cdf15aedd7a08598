import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CAPABILITY_FOLDER, endpointPath, sharedStem, type CapabilityFile } from '../../../src/common/capabilityFile.ts';

/** Id of the server that the windows of these tests front. */
export const SERVER = 'everything';

/** What a request looked like to the tunnel. */
export interface SeenRequest {
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Answers one authenticated request on the right path. */
export type Handler = (seen: SeenRequest, response: ServerResponse, incoming: IncomingMessage) => void;

/** A runtime folder of its own, as the extension makes one. */
export class RuntimeFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'culvert-bridge-'));

  constructor() {
    mkdirSync(join(this.path, CAPABILITY_FOLDER), { mode: 0o700 });
  }

  /** Writes a capability file the way the extension does: whole, by rename. */
  write(stem: string, content: Partial<CapabilityFile>, mode = 0o600): string {
    const path = join(this.path, CAPABILITY_FOLDER, `${stem}.json`);
    writeFileSync(`${path}.new`, JSON.stringify(content), { mode });
    chmodSync(`${path}.new`, mode);
    renameSync(`${path}.new`, path);
    return path;
  }

  /** Removes everything. */
  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A window with a tunnel that does what a test tells it: checks path and token, then hands the request to the handler. */
export class FakeWindow {
  readonly folder: RuntimeFolder;
  readonly stem: string;
  handler: Handler;
  /** Every request with a good token, oldest first. */
  readonly seen: SeenRequest[] = [];
  /** Number of requests with a bad token or path. */
  refused = 0;
  token = '';
  socket = '';
  #server: Server | undefined;
  readonly #window: string;

  constructor(folder: RuntimeFolder, handler: Handler, window = 'w1') {
    this.folder = folder;
    this.handler = handler;
    this.#window = window;
    this.stem = sharedStem(SERVER, window);
  }

  /** Listens on a new socket and writes the capability file with a new token. */
  async open(createdAt = Date.now()): Promise<this> {
    this.socket = join(this.folder.path, `${randomBytes(4).toString('hex')}.sock`);
    const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => this.#take(incoming, response));
    await new Promise<void>((resolve) => server.listen(this.socket, resolve));
    this.#server = server;
    this.rotate(createdAt);
    return this;
  }

  /** Replaces the token. */
  rotate(createdAt = Date.now()): void {
    this.token = randomBytes(32).toString('base64url');
    this.folder.write(this.stem, {
      version: 1,
      server: SERVER,
      socket: this.socket,
      token: this.token,
      pid: process.pid,
      window: this.#window,
      createdAt,
    });
  }

  /** Ends as a killed extension host does: connections cut, the capability file left behind. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #take(incoming: IncomingMessage, response: ServerResponse): void {
    if (
      incoming.headers.authorization !== `Bearer ${this.token}` ||
      incoming.url !== endpointPath(SERVER) ||
      incoming.headers.host !== 'localhost'
    ) {
      this.refused++;
      incoming.resume();
      response.writeHead(401).end();
      return;
    }
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () => {
      const seen = { method: incoming.method ?? '', headers: incoming.headers, body: Buffer.concat(parts) };
      this.seen.push(seen);
      this.handler(seen, response, incoming);
    });
  }
}

/** A handler that passes everything on to `url`, byte for byte, as the real tunnel does with an allowed call. */
export function forwardTo(url: string): Handler {
  return ({ method, headers, body }, response) => {
    const rest = Object.fromEntries(Object.entries(headers).filter(([name]) => !['authorization', 'host', 'connection'].includes(name)));
    const outgoing = request(url, { method, headers: rest }, (incoming) => {
      response.writeHead(incoming.statusCode ?? 502, incoming.headers);
      response.flushHeaders();
      incoming.pipe(response);
      incoming.on('error', () => response.destroy());
    });
    outgoing.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(503).end()));
    response.on('close', () => outgoing.destroy());
    outgoing.end(body);
  };
}

/** Ends `response` with a JSON body. */
export function json(response: ServerResponse, body: string | Buffer | object, status = 200, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body));
}

/** Starts an event stream. */
export function sse(response: ServerResponse, headers: Record<string, string> = {}): (text: string) => void {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers });
  response.flushHeaders();
  return (text) => void response.write(text);
}
