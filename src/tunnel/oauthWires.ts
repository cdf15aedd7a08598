import type { Disposable } from '../common/disposable.ts';
import { UpstreamError } from '../common/errors.ts';
import { isLoopback, MAX_OAUTH_BYTES, OAUTH_TIMEOUT_MS, type OAuthWire } from '../credentials/oauth/wire.ts';
import { originOf, type Tls } from '../mcp/server.ts';
import { HttpUpstream } from '../upstream/httpUpstream.ts';
import type { Resolve } from '../upstream/addresses.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import type { ServerRegistry } from '../upstream/serverRegistry.ts';

/** How long a connection to an authorization server and its first byte may take, milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;

/** What wires are made of. */
export interface OAuthWiresOptions {
  readonly servers: ServerRegistry;
  readonly proxies?: (() => ProxyEnvironment) | undefined;
  /** In place of the system's resolver. */
  readonly resolve?: Resolve | undefined;
}

/** Connections to authorization servers, under the rules for addresses that servers name (PROTOCOL.md 5). */
export class OAuthWires implements Disposable {
  readonly #options: OAuthWiresOptions;
  readonly #upstreams = new Map<string, HttpUpstream>();

  constructor(options: OAuthWiresOptions) {
    this.#options = options;
  }

  /** A way to what the MCP server at `target` names. Its own origin and `named` are where the user sent us; all else must be public. */
  readonly wire = (target: URL, named: readonly string[]): OAuthWire => {
    return async ({ method, url, headers, body, redirects, signal }) => {
      const local = isLoopback(target) && isLoopback(url);
      const addresses = url.origin === target.origin || named.includes(url.origin) || local ? 'configured' : 'public';
      const upstream = this.#upstream(url, addresses, redirects);
      const response = await upstream.send({
        method,
        url,
        headers,
        body: body === undefined ? undefined : Buffer.from(body, 'utf8'),
        signal,
      });
      let bytes: Buffer | undefined;
      try {
        bytes = await response.body.collect(MAX_OAUTH_BYTES, { timeoutMs: OAUTH_TIMEOUT_MS });
      } catch (error) {
        throw new UpstreamError('CULVERT_UPSTREAM_BROKEN', 'response', `The answer of ${url.host} broke off or took too long.`, {
          cause: error,
        });
      }
      if (bytes === undefined)
        throw new UpstreamError(
          'CULVERT_UPSTREAM_LARGE',
          'response',
          `The answer of ${url.host} has more than ${MAX_OAUTH_BYTES / 1024} KB.`,
        );
      const plain: Record<string, string> = {};
      for (const [name, value] of Object.entries(response.headers))
        if (value !== undefined && name !== 'content-length') plain[name] = String(value);
      return { status: response.status, headers: plain, body: bytes.toString('utf8') };
    };
  };

  dispose(): void {
    for (const upstream of this.#upstreams.values()) upstream.dispose();
    this.#upstreams.clear();
  }

  #upstream(url: URL, addresses: 'configured' | 'public', redirects: 'same-origin' | 'none'): HttpUpstream {
    const tls = addresses === 'configured' ? this.#tlsOf(url.origin) : undefined;
    const key = JSON.stringify([addresses, redirects, tls ?? null]);
    let upstream = this.#upstreams.get(key);
    if (!upstream) {
      upstream = new HttpUpstream({
        addresses,
        redirects,
        tls,
        proxies: this.#options.proxies?.(),
        resolve: this.#options.resolve,
        limits: { connectTimeoutMs: CONNECT_TIMEOUT_MS, firstByteTimeoutMs: OAUTH_TIMEOUT_MS },
      });
      this.#upstreams.set(key, upstream);
    }
    return upstream;
  }

  /** Authorities and pins that the user set for a server hold for an authorization server of the same origin. */
  #tlsOf(origin: string): Tls | undefined {
    for (const { upstream } of this.#options.servers.list())
      if (upstream.kind !== 'stdio' && upstream.ssh === undefined && upstream.tls && originOf(upstream.url) === origin) {
        const { authorities, pins } = upstream.tls;
        return { ...(authorities === undefined ? {} : { authorities }), ...(pins ? { pins } : {}) };
      }
    return undefined;
  }
}
