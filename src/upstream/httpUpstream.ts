import zlib from 'node:zlib';
import type { Dispatcher, Pool } from 'undici';
import { UpstreamError } from '../common/errors.ts';
import type { Tls } from '../mcp/server.ts';
import type { Resolve } from './addresses.ts';
import { Body } from './body.ts';
import { Connector, givenUp } from './connect.ts';
import { isBroken, requestError } from './failure.ts';
import {
  DEFAULT_LIMITS,
  IDLE_SOCKET_MS,
  MAX_CONNECTION_AGE_MS,
  MAX_REDIRECTS,
  MAX_RESPONSE_HEADER_BYTES,
  MAX_SOCKETS,
  type UpstreamLimits,
} from './limits.ts';
import { proxyFor, type Proxy, type ProxyEnvironment } from './proxies.ts';
import { Trust, type ClientKey } from './trust.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Headers of which a second one means nothing; as in Node's own client the first counts. */
const SINGLE = ['content-type', 'location', 'mcp-session-id'] as const;

/** How a server is reached. Everything has a default. */
export interface HttpUpstreamOptions {
  /** Proxies on the way; default: the environment's. */
  readonly proxies?: ProxyEnvironment | undefined;
  /** Whom TLS trusts beyond the system's authorities. */
  readonly tls?: Tls | undefined;
  /** Opens the private key of `tls.clientCertificate`; asked with every new connection. */
  readonly clientKey?: ClientKey | undefined;
  /**
   * A socket in the file system (a pipe on Windows) that leads to the server, through SSH for instance: nothing is resolved, no proxy is
   * used. TLS verifies the URL's host all the same.
   */
  readonly socketPath?: string | undefined;
  /** What messages call the server, `127.0.0.1:3000 on devbox` for instance; default: host and port of the URL. */
  readonly host?: string | undefined;
  /** `public`: the URL came from a server, not from the user, and may name nothing but the whole Internet. */
  readonly addresses?: 'configured' | 'public' | undefined;
  /** `none`: a redirect is an error, also within the origin; for bodies that hold a secret. */
  readonly redirects?: 'same-origin' | 'none' | undefined;
  /** In place of the system's resolver. */
  readonly resolve?: Resolve | undefined;
  readonly limits?: Partial<UpstreamLimits> | undefined;
  /** Wall clock, milliseconds since the epoch: unlike timers it goes on while the machine sleeps. */
  readonly now?: (() => number) | undefined;
}

/** Connections to one origin. */
interface Way {
  readonly pool: Pool;
  readonly connector: Connector;
  /** The server, for messages. */
  readonly place: string;
  /** Put before the path where a proxy takes the whole URL, else empty. */
  readonly prefix: string;
  /** The proxy that takes the requests themselves, not a tunnel. */
  readonly forwards: Proxy | undefined;
  readonly openedAt: number;
  usedAt: number;
}

/** A request that came to nothing, and whether any of it may have been sent. */
class Failed extends Error {
  readonly reason: Error;
  readonly begun: boolean;

  constructor(reason: Error, begun: boolean) {
    super();
    this.reason = reason;
    this.begun = begun;
  }
}

/** Sends requests to one server over pooled keep-alive connections. */
export class HttpUpstream implements Upstream {
  readonly #options: HttpUpstreamOptions;
  readonly #limits: UpstreamLimits;
  readonly #now: () => number;
  readonly #ways = new Map<string, Way>();
  /** What takes no more requests, but has some that are still answered. */
  readonly #retired = new Set<Pool>();
  #disposed = false;

  constructor(options: HttpUpstreamOptions = {}) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#now = options.now ?? Date.now;
  }

  /**
   * Sends a request and resolves with the head of the response. Follows 307 and 308 within the same origin. Throws {@link UpstreamError}.
   *
   * A request goes out a second time only where the first can have done nothing: none of it was sent, or it is a GET (RFC 9110, 9.2.2), and
   * the connection was closed before an answer. A server that closes a connection may have carried out a POST before; it is never repeated.
   */
  async send(asked: UpstreamRequest): Promise<UpstreamResponse> {
    let request = asked;
    let { url } = request;
    let repeated = false;
    for (let hop = 0; ;) {
      const now = this.#now();
      let way = this.#ways.get(url.origin);
      if (way === undefined || isStale(way, now)) way = await this.#open(url);
      way.usedAt = now;
      let response: UpstreamResponse;
      try {
        response = await exchange(way, request, url);
      } catch (error) {
        const reason = this.#failed(error, request, way);
        if (reason === undefined && !repeated) {
          repeated = true;
          // The other connections may have gone the same way.
          if (this.#ways.get(url.origin) === way) this.#retire(url.origin, way);
          continue;
        }
        throw reason ?? requestError((error as Failed).reason, way.place, this.#limits.firstByteTimeoutMs);
      }
      const { status } = response;
      if (status < 300) return decoded(response);
      if (status === 407 && way.forwards) {
        response.body.discard();
        throw way.forwards.refusedUser();
      }
      if (status >= 400 || status === 304) return decoded(response);
      response.body.discard();
      if (this.#options.redirects === 'none') throw redirected(status, 'elsewhere, where this request must not go');
      url = redirectTarget(url, status, response.headers.location, hop++);
      if (asked.headersFor) request = { ...asked, headers: await asked.headersFor({ ...asked, url }) };
    }
  }

  dispose(): void {
    this.#disposed = true;
    for (const { pool, connector } of this.#ways.values()) {
      connector.dispose();
      void pool.destroy().catch(() => undefined);
    }
    for (const pool of this.#retired) void pool.destroy().catch(() => undefined);
    this.#ways.clear();
    this.#retired.clear();
  }

  /** What to throw for a request that failed; `undefined` if it may be repeated. */
  #failed(error: unknown, { method }: UpstreamRequest, { place }: Way): Error | undefined {
    if (!(error instanceof Failed)) return error as Error;
    if (error.reason instanceof UpstreamError) return error.reason;
    if (this.#disposed) return givenUp();
    if (isBroken(error.reason) && (!error.begun || method === 'GET')) return undefined;
    return requestError(error.reason, place, this.#limits.firstByteTimeoutMs);
  }

  async #open(url: URL): Promise<Way> {
    // Not at the start of the editor: it takes some 40 ms to load.
    const { Pool } = await import('undici');
    if (this.#disposed) throw givenUp();
    const { origin } = url;
    const present = this.#ways.get(origin);
    const now = this.#now();
    if (present && !isStale(present, now)) return present;
    const { socketPath, host, tls, clientKey, addresses, resolve } = this.#options;
    const proxy = socketPath === undefined ? proxyFor(url, this.#options.proxies ?? process.env) : undefined;
    const place = host ?? url.host;
    const timeoutMs = this.#limits.connectTimeoutMs;
    const connector =
      present?.connector ??
      new Connector({ url: new URL(origin), place, trust: new Trust(tls, clientKey), proxy, socketPath, timeoutMs, addresses, resolve });
    const pool = new Pool(origin, {
      connections: MAX_SOCKETS,
      pipelining: 1,
      headersTimeout: this.#limits.firstByteTimeoutMs,
      // A stream may be silent for hours.
      bodyTimeout: 0,
      keepAliveTimeout: IDLE_SOCKET_MS,
      keepAliveMaxTimeout: IDLE_SOCKET_MS,
      maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      allowH2: false,
      connect: connector.connect,
    });
    const forwards = url.protocol === 'http:' && proxy?.takesRequests ? proxy : undefined;
    const way: Way = { pool, connector, place, prefix: forwards ? origin : '', forwards, openedAt: now, usedAt: now };
    if (present) this.#retire(origin, present);
    this.#ways.set(origin, way);
    return way;
  }

  /** Takes connections out of use; those that are busy end with what runs on them. */
  #retire(origin: string, { pool }: Way): void {
    this.#ways.delete(origin);
    this.#retired.add(pool);
    pool.close().then(
      () => this.#retired.delete(pool),
      () => this.#retired.delete(pool),
    );
  }
}

/**
 * Whether new connections are due: after {@link MAX_CONNECTION_AGE_MS}, so that names are resolved again; and where connections are still
 * there although their idle time is over, since then the machine slept, timers with it, and nobody knows what became of the other side.
 */
function isStale(way: Way, now: number): boolean {
  if (now - way.openedAt > MAX_CONNECTION_AGE_MS) return true;
  return now - way.usedAt > IDLE_SOCKET_MS && way.pool.stats.free > 0;
}

function exchange(way: Way, request: UpstreamRequest, url: URL): Promise<UpstreamResponse> {
  const { method, body, signal } = request;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(givenUp());
      return;
    }
    let controller: Dispatcher.DispatchController | undefined;
    let response: Body | undefined;
    const onAbort = () => {
      signal.removeEventListener('abort', onAbort);
      const error = givenUp();
      // A request that still waits for its connection is ended as soon as it has one, before anything is sent.
      controller?.abort(error);
      response?.fail(error);
      reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        if (signal.aborted) started.abort(givenUp());
      },
      onResponseStart(started, status, received) {
        // Interim answers (RFC 9110, 15.2) say nothing that anybody waits for.
        if (status < 200) return;
        for (const name of SINGLE) if (Array.isArray(received[name])) received[name] = received[name][0];
        response = new Body({ pause: () => started.pause(), resume: () => started.resume(), abandon: () => started.abort(givenUp()) });
        resolve({ status, headers: received, body: response });
      },
      onResponseData(_started, chunk) {
        response?.push(chunk);
      },
      onResponseEnd() {
        signal.removeEventListener('abort', onAbort);
        response?.end();
      },
      onResponseError(_started, error) {
        signal.removeEventListener('abort', onAbort);
        if (response) response.fail(error instanceof UpstreamError ? error : new Error('the connection closed', { cause: error }));
        else reject(new Failed(error, controller !== undefined));
      },
    };
    const user = way.forwards?.authorization;
    const headers = user === undefined ? request.headers : { ...request.headers, 'proxy-authorization': user };
    way.pool.dispatch({ method, origin: url.origin, path: way.prefix + url.pathname + url.search, headers, body: body ?? null }, handler);
  });
}

/** The response with its body unpacked. We ask for identity; some servers compress all the same. */
function decoded(response: UpstreamResponse): UpstreamResponse {
  const { body, headers } = response;
  const named = headers['content-encoding'] as string | string[] | undefined;
  if (named === undefined) return response;
  const encoding = String(named).toLowerCase();
  if (encoding === 'identity') return response;
  const decoder =
    encoding === 'gzip' || encoding === 'x-gzip'
      ? zlib.createGunzip()
      : encoding === 'deflate'
        ? zlib.createInflate()
        : encoding === 'br'
          ? zlib.createBrotliDecompress()
          : encoding === 'zstd'
            ? zlib.createZstdDecompress()
            : undefined;
  if (!decoder) {
    body.discard();
    throw new UpstreamError(
      'CULVERT_UPSTREAM_ENCODING',
      'response',
      'The server answered in a compression that Culvert does not know, so its content can’t be checked.',
    );
  }
  const unpacked = new Body({
    pause: () => void decoder.pause(),
    resume: () => void decoder.resume(),
    abandon: () => {
      decoder.destroy(givenUp());
      body.giveUp();
    },
  });
  decoder.on('data', (chunk: Buffer) => unpacked.push(chunk));
  decoder.once('end', () => unpacked.end());
  decoder.once('error', (error) => unpacked.fail(error));
  void (async () => {
    try {
      for await (const chunk of body) {
        if (decoder.destroyed) return;
        if (!decoder.write(chunk)) await new Promise<void>((resolve) => decoder.once('drain', resolve).once('close', resolve));
      }
      decoder.end();
    } catch (error) {
      decoder.destroy(error as Error);
    }
  })();
  return { ...response, body: unpacked };
}

function redirectTarget(from: URL, status: number, location: string | undefined, hop: number): URL {
  const refused = (why: string) => redirected(status, why, ' Set the server’s URL to where it really is, with “Culvert: Edit Server…”.');
  if (location === undefined || !URL.canParse(location, from.href)) throw refused('to nowhere');
  const target = new URL(location, from);
  if (target.origin !== from.origin) throw refused('to another origin, where its credential must not go');
  if (status !== 307 && status !== 308) throw refused('in a way that would change the request');
  if (hop >= MAX_REDIRECTS) throw refused('again and again');
  return target;
}

function redirected(status: number, why: string, remedy = ''): UpstreamError {
  return new UpstreamError('CULVERT_UPSTREAM_REDIRECT', 'redirect', `The server redirects (${status}) ${why}.${remedy}`);
}
