import zlib from 'node:zlib';
import type { Dispatcher } from 'undici';
import { UpstreamError } from '../common/errors.ts';
import { Body } from './body.ts';
import { classify } from './failure.ts';
import {
  CONNECT_TIMEOUT_MS,
  FIRST_BYTE_TIMEOUT_MS,
  IDLE_SOCKET_MS,
  MAX_REDIRECTS,
  MAX_RESPONSE_HEADER_BYTES,
  MAX_SOCKETS,
} from './limits.ts';
import { proxyFor, type ProxyEnvironment } from './proxies.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Headers of which a second one means nothing; as in Node's own client the first counts. */
const SINGLE = ['content-type', 'location', 'mcp-session-id'] as const;

/** Sends requests to one server over pooled keep-alive connections. */
export class HttpUpstream implements Upstream {
  readonly #proxies: ProxyEnvironment;
  readonly #dispatchers = new Map<string, Dispatcher>();
  #disposed = false;

  constructor(proxies: ProxyEnvironment = process.env) {
    this.#proxies = proxies;
  }

  /** Sends a request and resolves with the head of the response. Follows 307 and 308 within the same origin. Throws {@link UpstreamError}. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    let { url } = request;
    for (let hop = 0; ; hop++) {
      const dispatcher = this.#dispatchers.get(url.origin) ?? (await this.#open(url));
      const response = await once(dispatcher, request, url);
      const { status } = response;
      if (status < 300 || status >= 400 || status === 304) return decoded(response);
      response.body.discard();
      url = redirectTarget(url, status, response.headers.location, hop);
    }
  }

  dispose(): void {
    this.#disposed = true;
    for (const dispatcher of this.#dispatchers.values()) void dispatcher.destroy().catch(() => undefined);
    this.#dispatchers.clear();
  }

  async #open({ origin }: URL): Promise<Dispatcher> {
    // Not at the start of the editor: it takes some 40 ms to load.
    const { Pool, ProxyAgent } = await import('undici');
    const present = this.#dispatchers.get(origin);
    if (present) return present;
    if (this.#disposed) throw given();
    const options = {
      connections: MAX_SOCKETS,
      pipelining: 1,
      headersTimeout: FIRST_BYTE_TIMEOUT_MS,
      // A stream may be silent for hours.
      bodyTimeout: 0,
      keepAliveTimeout: IDLE_SOCKET_MS,
      keepAliveMaxTimeout: IDLE_SOCKET_MS,
      maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
      allowH2: false,
    };
    const tls = { minVersion: 'TLSv1.2' as const, timeout: CONNECT_TIMEOUT_MS };
    let proxy: URL | undefined;
    try {
      proxy = proxyFor(new URL(origin), this.#proxies);
    } catch (error) {
      throw new UpstreamError('CULVERT_UPSTREAM_PROXY', 'connect', (error as Error).message);
    }
    const dispatcher = proxy
      ? new ProxyAgent({ ...options, uri: proxy.href, requestTls: tls, connectTimeout: CONNECT_TIMEOUT_MS })
      : new Pool(origin, { ...options, connect: tls });
    this.#dispatchers.set(origin, dispatcher);
    return dispatcher;
  }
}

function given(): UpstreamError {
  return new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
}

function once(dispatcher: Dispatcher, { method, headers, body, signal }: UpstreamRequest, url: URL): Promise<UpstreamResponse> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(given());
      return;
    }
    let controller: Dispatcher.DispatchController | undefined;
    let response: Body | undefined;
    const onAbort = () => {
      signal.removeEventListener('abort', onAbort);
      const error = given();
      // A request that still waits for its connection is ended as soon as it has one, before anything is sent.
      controller?.abort(error);
      response?.fail(error);
      reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(started) {
        controller = started;
        if (signal.aborted) started.abort(given());
      },
      onResponseStart(started, status, received) {
        // Interim answers (RFC 9110, 15.2) say nothing that anybody waits for.
        if (status < 200) return;
        for (const name of SINGLE) if (Array.isArray(received[name])) received[name] = received[name][0];
        response = new Body({ pause: () => started.pause(), resume: () => started.resume(), abandon: () => started.abort(given()) });
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
        else reject(error instanceof UpstreamError ? error : classify(error, url, controller !== undefined));
      },
    };
    dispatcher.dispatch({ method, origin: url.origin, path: url.pathname + url.search, headers, body: body ?? null }, handler);
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
    abandon: () => void decoder.destroy(given()),
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
