import { isIP } from 'node:net';
import { OAuthFailure, shownHost, type OAuthStep } from './failure.ts';

/** Largest answer of an authorization server that is read, bytes. Metadata with many scopes has some ten kilobytes. */
export const MAX_OAUTH_BYTES = 256 * 1024;
/** How long one request may take with everything, milliseconds. */
export const OAUTH_TIMEOUT_MS = 20_000;

/** A request to an authorization server, or for metadata. Body and headers may hold secrets: nothing may log it. */
export interface OAuthRequest {
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** `none`: a redirect is an error, since a body with secrets must not follow it. */
  readonly redirects: 'same-origin' | 'none';
  readonly signal: AbortSignal;
}

export interface OAuthResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** At most {@link MAX_OAUTH_BYTES}. */
  readonly body: string;
}

/**
 * The port to the network. What sends must connect to public addresses only, unless the URL has the origin of the MCP server or one that the
 * user typed; it must cap time and size. Rejects with UpstreamError.
 */
export type OAuthWire = (request: OAuthRequest) => Promise<OAuthResponse>;

/** `fetch` as the helpers of the MCP client take it. */
export type GuardedFetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/**
 * Why a URL that a server named can't be used; `undefined` if it can. Only `https:`, and `http:` on this machine if the MCP server is on it
 * too (PROTOCOL.md 5).
 */
export function refuseNamedUrl(text: string, server: URL): string | undefined {
  if (!URL.canParse(text)) return 'is no URL';
  const url = new URL(text);
  if (url.username !== '' || url.password !== '') return 'holds a user name or password';
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'is no web address';
  if (isLoopback(url) && !isLoopback(server)) return 'is on this machine, but the server is not';
  if (url.protocol === 'http:' && !isLoopback(url)) return 'is not encrypted (http)';
  return undefined;
}

/** Whether a URL names this machine. */
export function isLoopback({ hostname }: URL): boolean {
  const name = hostname
    .toLowerCase()
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '');
  if (isIP(name) === 4) return name.startsWith('127.');
  return name === '::1' || name === 'localhost' || name.endsWith('.localhost');
}

/** Whether plain HTTP would carry a token over a network. */
export function isPlain(url: URL): boolean {
  return url.protocol !== 'https:' && !isLoopback(url);
}

/** A `fetch` that goes through `wire`, and only to URLs that a server may name. `onResponse` sees status and headers of each answer. */
export function guardedFetch(
  wire: OAuthWire,
  server: URL,
  step: OAuthStep,
  signal: AbortSignal,
  onRequest?: (request: { readonly method: string; readonly url: URL }) => Promise<Record<string, string>> | Record<string, string>,
  onResponse?: (url: URL, response: OAuthResponse) => void,
): GuardedFetch {
  return async (input, init) => {
    const text = String(input);
    const refused = refuseNamedUrl(text, server);
    if (refused !== undefined)
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_ADDRESS',
        step,
        'settings',
        `${server.host} names ${shownHost(text)} for signing in, which ${refused}. Nothing was sent there.`,
      );
    const url = new URL(text);
    const method = init?.method === 'POST' ? 'POST' : 'GET';
    const extra = (await onRequest?.({ method, url })) ?? {};
    const body = init?.body === undefined || init.body === null ? undefined : bodyText(init.body);
    const response = await wire({
      method,
      url,
      headers: { ...Object.fromEntries(new Headers(init?.headers)), 'accept-encoding': 'identity', ...extra },
      body,
      redirects: method === 'GET' ? 'same-origin' : 'none',
      signal: AbortSignal.any([signal, AbortSignal.timeout(OAUTH_TIMEOUT_MS), ...(init?.signal ? [init.signal] : [])]),
    });
    onResponse?.(url, response);
    const empty = response.status === 204 || response.status === 304;
    return new Response(empty ? null : response.body, { status: response.status, headers: response.headers });
  };
}

function bodyText(body: NonNullable<RequestInit['body']>): string {
  if (typeof body === 'string') return body;
  if (body instanceof URLSearchParams) return body.toString();
  throw new TypeError('Only text is sent to an authorization server.');
}
