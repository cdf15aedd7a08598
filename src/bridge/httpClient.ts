import { Agent, request, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import type { Capability } from './capability.ts';
import type { Limits } from './limits.ts';

/** Why there is no response. */
export class ConnectionError extends Error {
  /**
   * False: the tunnel can't have got the whole message, so nothing came of it. Either no connection came about, or it turned out to be
   * closed while the message was being written.
   */
  readonly delivered: boolean;
  /** Nobody listens there. */
  readonly absent: boolean;

  constructor(cause: NodeJS.ErrnoException, connected: boolean, finished: boolean) {
    super(cause.message, { cause });
    this.delivered = connected && (finished || cause.code !== 'EPIPE');
    // A full backlog means that somebody does listen.
    this.absent = !connected && !['EAGAIN', 'EMFILE', 'ENFILE'].includes(cause.code ?? '');
  }
}

/** One HTTP request under way. */
export interface HttpCall {
  /** Status and headers. Rejects with a {@link ConnectionError}, or a TypeError if a header can't be sent. */
  readonly response: Promise<IncomingMessage>;
  /** Closes the connection, whatever its state. */
  abort(): void;
}

/** What is asked for. */
export interface HttpRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: Buffer;
  /** Called once the body has been given to the operating system. */
  readonly onSent?: () => void;
}

/** HTTP/1.1 to the tunnel, over a socket, a pipe or loopback, with connections kept open. */
export class HttpClient {
  readonly #agent: Agent;

  constructor(limits: Limits) {
    this.#agent = new Agent({
      keepAlive: true,
      timeout: limits.idleConnectionMs,
      maxFreeSockets: limits.idleConnections,
      scheduling: 'lifo',
    });
  }

  /** Starts a request. Never throws. */
  send(to: Capability, { method, path, headers, body, onSent }: HttpRequest): HttpCall {
    let aborted = false;
    let abort = (): void => {
      aborted = true;
    };
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      const all: OutgoingHttpHeaders = { ...headers, authorization: `Bearer ${to.token}` };
      if (body) all['content-length'] = body.length;
      if ('socketPath' in to.address) all['host'] = 'localhost';
      let connected = false;
      let finished = false;
      const outgoing = request({ ...to.address, method, path, headers: all, agent: this.#agent });
      abort = () => {
        aborted = true;
        outgoing.destroy();
      };
      outgoing.once('socket', (socket) => {
        if (!socket.connecting) connected = true;
        else socket.once('connect', () => (connected = true));
      });
      outgoing.once('finish', () => {
        finished = true;
        onSent?.();
      });
      outgoing.once('response', (incoming) => {
        // Whoever reads the body sees it break off; those who don't must not be ended by it.
        incoming.on('error', () => undefined);
        resolve(incoming);
      });
      outgoing.on('error', (error) => reject(new ConnectionError(error, connected, finished)));
      outgoing.end(body);
      if (aborted) outgoing.destroy();
    });
    return { response, abort: () => abort() };
  }
}

/** Reads a body to its end. Resolves with `undefined` if it breaks off or exceeds the cap. */
export function readBody(response: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    response.on('data', (part: Buffer) => {
      parts.push(part);
      bytes += part.length;
      if (bytes <= maxBytes) return;
      response.destroy();
      resolve(undefined);
    });
    response.once('end', () => {
      const [only] = parts;
      resolve(parts.length === 1 ? only : Buffer.concat(parts, bytes));
    });
    response.once('close', () => resolve(undefined));
  });
}

/** The media type of a response, without parameters. */
export function mediaType(response: IncomingMessage): string {
  return (response.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}
