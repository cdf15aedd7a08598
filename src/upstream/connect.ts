import net from 'node:net';
import type { buildConnector } from 'undici';
import { UpstreamError } from '../common/errors.ts';
import { configuredRule, guardedLookup, publicOnly, refuseHost, type AddressRule, type Resolve } from './addresses.ts';
import { Attempt, connectTimeout, settled } from './attempt.ts';
import { connectError } from './failure.ts';
import { ADDRESS_ATTEMPT_MS, TCP_KEEP_ALIVE_MS } from './limits.ts';
import type { Proxy } from './proxies.ts';
import { defaultContext, handshake, type Trust } from './trust.ts';

/** Where connections go, and how. */
export interface Route {
  /** Scheme, host and port of the server. */
  readonly url: URL;
  /** The server, for messages. */
  readonly place: string;
  readonly trust: Trust;
  readonly proxy?: Proxy | undefined;
  /** A socket in the file system (a pipe on Windows) that leads to the server. */
  readonly socketPath?: string | undefined;
  readonly timeoutMs: number;
  /** `public`: nothing but the whole Internet, for addresses that a server named; default: what the user's URL allows. */
  readonly addresses?: 'configured' | 'public' | undefined;
  readonly resolve?: Resolve | undefined;
}

/** Opens connections to one server: name, connection, proxy, TLS, pins, in that order. What it gives is ready for a request. */
export class Connector {
  readonly #route: Route;
  readonly #rule: AddressRule;
  readonly #running = new Set<Attempt>();
  #disposed = false;

  constructor(route: Route) {
    this.#route = route;
    const { url, trust, addresses } = route;
    this.#rule = addresses === 'public' ? publicOnly : configuredRule(url.hostname, url.protocol === 'https:' && trust.proves);
  }

  /** For undici. Fails with UpstreamError. */
  readonly connect = (_options: buildConnector.Options, callback: buildConnector.Callback): void => {
    this.open().then(
      (socket) => callback(null, socket),
      (error: unknown) => callback(error as Error, null),
    );
  };

  /** A connection to the server. Throws UpstreamError. */
  async open(): Promise<net.Socket> {
    const { url, trust, place } = this.#route;
    const context = url.protocol === 'https:' ? await trust.context(place) : undefined;
    return this.#attempt(async (attempt) => {
      const raw = await this.#reach(attempt);
      return context ? trust.secure(raw, hostOf(url), place, context, attempt) : raw;
    });
  }

  /** A connection as {@link open} makes it before TLS, for `use`, which ends it. */
  async reach<T>(use: (raw: net.Socket, attempt: Attempt) => Promise<T>): Promise<T> {
    return this.#attempt(async (attempt) => use(await this.#reach(attempt), attempt));
  }

  dispose(): void {
    this.#disposed = true;
    for (const attempt of this.#running) attempt.stop(givenUp());
  }

  async #attempt<T>(work: (attempt: Attempt) => Promise<T>): Promise<T> {
    if (this.#disposed) throw givenUp();
    const { timeoutMs, place, proxy } = this.#route;
    const attempt = new Attempt(timeoutMs, (phase) => connectTimeout(phase, timeoutMs, place, proxy?.place));
    this.#running.add(attempt);
    try {
      return await work(attempt);
    } finally {
      attempt.end();
      this.#running.delete(attempt);
    }
  }

  async #reach(attempt: Attempt): Promise<net.Socket> {
    const { url, place, proxy, socketPath, resolve } = this.#route;
    const host = hostOf(url);
    if (socketPath !== undefined) return dial({ path: socketPath }, attempt, (error) => connectError(error, place, host));
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    if (this.#route.addresses === 'public') {
      const refused = refuseHost(host, this.#rule);
      if (refused) throw refused;
    }
    if (!proxy) {
      const lookup = guardedLookup({ allow: this.#rule, ...(resolve && { resolve }) });
      return dial({ host, port, lookup }, attempt, (error) => connectError(error, place, host));
    }
    const raw = await dial({ host: proxy.host, port: proxy.port }, attempt, (error) => proxyUnreachable(error, proxy));
    attempt.now('proxy');
    const socket = proxy.secure ? await secured(raw, proxy, attempt) : raw;
    attempt.now('proxy');
    if (url.protocol === 'https:' || !proxy.takesRequests) await proxy.tunnel(socket, host, port, place);
    return socket;
  }
}

/** That a request or connection was given up by us. */
export function givenUp(): UpstreamError {
  return new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

async function dial(
  to: { readonly path: string } | { readonly host: string; readonly port: number; readonly lookup?: net.LookupFunction },
  attempt: Attempt,
  failed: (error: Error) => UpstreamError,
): Promise<net.Socket> {
  const socket = net.connect({ ...to, autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS });
  attempt.hold(socket);
  try {
    await settled(socket, 'connect');
    // Not as options of connect, which VS Code's own net.connect loses.
    socket.setNoDelay(true).setKeepAlive(true, TCP_KEEP_ALIVE_MS);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error instanceof UpstreamError ? error : failed(error as Error);
  }
}

function proxyUnreachable(error: Error, proxy: Proxy): UpstreamError {
  const { message } = connectError(error, proxy.place, proxy.host);
  return new UpstreamError(
    'CULVERT_UPSTREAM_PROXY_UNREACHABLE',
    'proxy',
    `The proxy ${proxy.place} can’t be used. ${message} Check http.proxy, or HTTPS_PROXY and its kin.`,
    { cause: error },
  );
}

async function secured(raw: net.Socket, proxy: Proxy, attempt: Attempt): Promise<net.Socket> {
  const place = `the proxy ${proxy.place}`;
  try {
    return await handshake(raw, proxy.host, { context: defaultContext(), verified: true, place }, attempt);
  } catch (error) {
    if (!(error instanceof UpstreamError) || error.leg !== 'tls') throw error;
    throw new UpstreamError('CULVERT_UPSTREAM_PROXY_TLS', 'proxy', error.message, { cause: error });
  }
}
