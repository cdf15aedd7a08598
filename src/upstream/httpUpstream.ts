import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import zlib from 'node:zlib';
import type { Disposable } from '../common/disposable.ts';
import type { StopSignal } from '../common/stop.ts';
import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';

/** Variables that name proxies, as curl reads them: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, in either case. */
export type ProxyEnvironment = Readonly<Record<string, string | undefined>>;

/** This machine is never asked for through a proxy. */
const NEVER_PROXIED = 'localhost,127.0.0.1,::1,[::1]';

/** Limits of the leg to the server. */
export const CONNECT_TIMEOUT_MS = 15_000;
/** A tool may take long before it says anything; after this the call is given up. */
export const FIRST_BYTE_TIMEOUT_MS = 10 * 60_000;
/** Connections per server. */
export const MAX_SOCKETS = 256;
/** Idle connections are closed after this, before the common server default of 5 s does it under a request. */
export const IDLE_SOCKET_MS = 4_000;
/** Redirects within the same origin that are followed. */
export const MAX_REDIRECTS = 3;
/** Headers of a response, bytes. */
export const MAX_RESPONSE_HEADER_BYTES = 64 * 1024;

/** A request to the server, credentials included. Nothing may log it. */
export interface UpstreamRequest {
  readonly method: 'POST' | 'GET' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer | undefined;
  /** Ends the request and its response. */
  readonly signal: StopSignal;
}

export interface UpstreamResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, decoded if it came compressed. */
  readonly body: Readable;
}

/** Sends requests to one server over pooled keep-alive connections. */
export class HttpUpstream implements Disposable {
  readonly #agents;

  constructor(proxies: ProxyEnvironment = process.env) {
    const common = { keepAlive: true, maxSockets: MAX_SOCKETS, timeout: 0, scheduling: 'lifo' as const, proxyEnv: proxiesOf(proxies) };
    this.#agents = { http: new http.Agent(common), https: new https.Agent({ ...common, minVersion: 'TLSv1.2' }) };
    for (const agent of Object.values(this.#agents)) {
      const watched = new WeakSet<Socket>();
      agent.on('free', (socket: Socket) => {
        if (!watched.has(socket)) socket.on('timeout', () => socket.destroy());
        watched.add(socket);
        socket.setTimeout(IDLE_SOCKET_MS);
      });
    }
  }

  /** Sends a request and resolves with the head of the response. Follows 307 and 308 within the same origin. Throws {@link UpstreamError}. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    let url = request.url;
    for (let hop = 0; ; hop++) {
      const response = await this.#once({ ...request, url });
      const status = response.statusCode ?? 0;
      if (status < 300 || status >= 400 || status === 304) {
        const body = decoded(response);
        // Whoever reads the body hears of its errors; where nobody does, they must not end the process.
        body.on('error', () => undefined);
        return { status, headers: response.headers, body };
      }
      response.resume();
      url = redirectTarget(url, status, response.headers.location, hop);
    }
  }

  dispose(): void {
    this.#agents.http.destroy();
    this.#agents.https.destroy();
  }

  #once({ method, url, headers, body, signal }: UpstreamRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      // Not http.request: in the editor's extension host that is a patched function which replaces our agent by one without
      // keep-alive, so that every call would open a connection of its own. The class beneath is what it calls in the end.
      const outgoing = new http.ClientRequest({
        method,
        protocol: url.protocol,
        hostname: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        path: url.pathname + url.search,
        headers: { ...headers, host: url.host, ...(body ? { 'content-length': body.length } : {}) },
        agent: secure ? this.#agents.https : this.#agents.http,
        maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      });
      let connected = false;
      let timer: NodeJS.Timeout | undefined;
      const waiting = setTimeout(() => outgoing.destroy(timeoutError(url, 'answer')), FIRST_BYTE_TIMEOUT_MS);
      waiting.unref();
      const onAbort = () => outgoing.destroy(new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.'));
      const settle = () => {
        clearTimeout(timer);
        clearTimeout(waiting);
      };
      outgoing.once('socket', (socket) => {
        const ready = () => {
          connected = true;
          clearTimeout(timer);
          socket.setTimeout(0);
        };
        if (!socket.connecting) {
          ready();
          return;
        }
        timer = setTimeout(() => outgoing.destroy(timeoutError(url, 'connect')), CONNECT_TIMEOUT_MS);
        socket.once(secure ? 'secureConnect' : 'connect', ready);
      });
      outgoing.once('response', (response) => {
        settle();
        // From here on the abort ends the body.
        const end = () => signal.removeEventListener('abort', onAbort);
        response.once('close', end);
        resolve(response);
      });
      outgoing.on('error', (error) => {
        settle();
        signal.removeEventListener('abort', onAbort);
        reject(error instanceof UpstreamError ? error : classify(error, url, connected));
      });
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      outgoing.end(body);
    });
  }
}

function proxiesOf(from: ProxyEnvironment): Record<string, string> {
  const out: Record<string, string> = {};
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    const value = from[name.toLowerCase()] ?? from[name];
    if (value !== undefined && value !== '') out[name] = value;
  }
  return { ...out, NO_PROXY: out['NO_PROXY'] === undefined ? NEVER_PROXIED : `${NEVER_PROXIED},${out['NO_PROXY']}` };
}

function decoded(response: IncomingMessage): Readable {
  const encoding = (response.headers['content-encoding'] ?? 'identity').toLowerCase();
  // We ask for identity; some servers compress all the same.
  const decoder =
    encoding === 'gzip' || encoding === 'x-gzip'
      ? zlib.createGunzip()
      : encoding === 'deflate'
        ? zlib.createInflate()
        : encoding === 'br'
          ? zlib.createBrotliDecompress()
          : undefined;
  if (decoder) {
    response.on('error', (error) => decoder.destroy(error));
    response.on('aborted', () => decoder.destroy(new Error('The response broke off.')));
    return response.pipe(decoder);
  }
  if (encoding !== 'identity') {
    response.destroy();
    throw new UpstreamError(
      'CULVERT_UPSTREAM_ENCODING',
      'response',
      'The server answered in a compression that Culvert does not know, so its content can’t be checked.',
    );
  }
  return response;
}

function redirectTarget(from: URL, status: number, location: string | undefined, hop: number): URL {
  const refused = (why: string) =>
    new UpstreamError(
      'CULVERT_UPSTREAM_REDIRECT',
      'redirect',
      `The server redirects (${status}) ${why}. Set the server’s URL to where it really is, with “Culvert: Edit Server…”.`,
    );
  if (location === undefined || !URL.canParse(location, from.href)) throw refused('to nowhere');
  const target = new URL(location, from);
  if (target.origin !== from.origin) throw refused('to another origin, where its credential must not go');
  if (status !== 307 && status !== 308) throw refused('in a way that would change the request');
  if (hop >= MAX_REDIRECTS) throw refused('again and again');
  return target;
}

function timeoutError(url: URL, what: 'connect' | 'answer'): UpstreamError {
  return what === 'connect'
    ? new UpstreamError(
        'CULVERT_UPSTREAM_CONNECT_TIMEOUT',
        'timeout',
        `${url.host} did not accept a connection within ${CONNECT_TIMEOUT_MS / 1000} seconds. Check the URL and the network.`,
      )
    : new UpstreamError(
        'CULVERT_UPSTREAM_ANSWER_TIMEOUT',
        'timeout',
        `${url.host} did not answer within ${FIRST_BYTE_TIMEOUT_MS / 60_000} minutes.`,
      );
}

/** Turns a system or TLS error into one that says which leg failed and what to do. Names the host, never the path or query. */
function classify(error: Error, url: URL, connected: boolean): UpstreamError {
  const code = codeOf(error) ?? '';
  const cause = { cause: error };
  const host = url.host;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_FOUND',
      'resolve',
      `There is no host ${url.hostname}. Check the URL and the network.`,
      cause,
    );
  if (code === 'ECONNREFUSED')
    return new UpstreamError(
      'CULVERT_UPSTREAM_REFUSED',
      'connect',
      `Nothing listens at ${host}. Check the port and that the server is running.`,
      cause,
    );
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'ETIMEDOUT')
    return new UpstreamError('CULVERT_UPSTREAM_UNREACHABLE', 'connect', `${host} can’t be reached. Check the network.`, cause);
  if (
    code.startsWith('ERR_TLS') ||
    code.startsWith('ERR_SSL') ||
    code.includes('CERT') ||
    code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' ||
    code === 'EPROTO'
  ) {
    return new UpstreamError('CULVERT_UPSTREAM_TLS', 'tls', `No safe connection to ${host}: ${tlsReason(code, error)}`, cause);
  }
  if (code === 'HPE_HEADER_OVERFLOW')
    return new UpstreamError(
      'CULVERT_UPSTREAM_HEADERS',
      'response',
      `${host} answered with headers larger than ${MAX_RESPONSE_HEADER_BYTES / 1024} KiB.`,
      cause,
    );
  if (code.startsWith('HPE_'))
    return new UpstreamError(
      'CULVERT_UPSTREAM_NOT_HTTP',
      'response',
      `What listens at ${host} does not speak HTTP. Check the port, and http: against https:.`,
      cause,
    );
  return connected
    ? new UpstreamError(
        'CULVERT_UPSTREAM_BROKE',
        'request',
        `The connection to ${host} broke before an answer came. The call may or may not have been carried out.`,
        cause,
      )
    : new UpstreamError('CULVERT_UPSTREAM_FAILED', 'connect', `No connection to ${host}: ${messageOf(error)}.`, cause);
}

function tlsReason(code: string, error: Error): string {
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired.';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another host.';
  if (code === 'DEPTH_ZERO_SELF_SIGNED_CERT' || code === 'SELF_SIGNED_CERT_IN_CHAIN') return 'its certificate is self-signed.';
  if (code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' || code === 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY')
    return 'its certificate comes from an authority this machine does not trust.';
  if (code === 'EPROTO' && /wrong version number|packet length too long/i.test(error.message))
    return 'it does not speak TLS there. Check http: against https:.';
  return `${code}.`;
}
