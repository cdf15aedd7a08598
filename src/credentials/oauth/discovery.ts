import { UpstreamError, messageOf } from '../../common/errors.ts';
import { challengeOf } from './challenge.ts';
import { OAuthFailure, shownHost } from './failure.ts';
import { helpers, type AuthorizationServerMetadata, type OAuthProtectedResourceMetadata } from './library.ts';
import type { OAuthServer } from './state.ts';
import { scopesOf } from './settings.ts';
import { refuseNamedUrl, type GuardedFetch } from './wire.ts';

/** What a server says about how tokens for it are had, checked. */
export interface Discovered {
  /** Value of `resource` (RFC 8707): what the metadata says, else the server's URL. */
  readonly resource: string;
  readonly issuer: string;
  readonly metadata: AuthorizationServerMetadata;
  readonly server: OAuthServer;
  /** What to ask for: the challenge's scopes, else those of the resource, else none (PROTOCOL.md 6). */
  readonly scopes: readonly string[];
  /** Whether the authorization server gives refresh tokens for `offline_access`. */
  readonly offlineAccess: boolean;
}

/** What to look for. */
export interface DiscoveryOptions {
  /** `WWW-Authenticate` of the refusal, if there was one. */
  readonly wwwAuthenticate: string | undefined;
  /** The authorization server that the user agreed to; if the server names several, this one is taken. */
  readonly issuer?: string | undefined;
  /** Take a server without any metadata, with `/authorize` and `/token` of its own origin (2025-03-26). */
  readonly withoutMetadata?: boolean;
  /** `browser`: the user will sign in, so PKCE and an authorization endpoint are needed. */
  readonly flow: 'browser' | 'direct';
}

/**
 * Finds the authorization server of an MCP server (RFC 9728, RFC 8414, OpenID Connect Discovery). Throws {@link OAuthFailure} if there is
 * none, if what is found belongs to something else, or if it can't sign anybody in safely.
 */
export async function discover(server: URL, fetch: GuardedFetch, options: DiscoveryOptions): Promise<Discovered> {
  const challenge = challengeOf(options.wwwAuthenticate);
  const resource = await resourceMetadata(server, challenge?.resourceMetadata, fetch);
  if (resource && !covers(resource.resource, server))
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_RESOURCE',
      'discovery',
      'settings',
      `${server.host} says that it is another server (${shownHost(resource.resource)}). A token for that one is not asked for. Check the server’s URL.`,
    );
  const named = resource?.authorization_servers ?? [];
  const chosen = options.issuer !== undefined && named.includes(options.issuer) ? options.issuer : named[0];
  const metadata = await serverMetadata(server, chosen, fetch, options);
  const checked = check(server, metadata, options.flow);
  return {
    resource: resource?.resource ?? withoutFragment(server),
    issuer: metadata.issuer,
    metadata,
    server: checked,
    scopes: challenge?.scope === undefined ? scopesOf(resource?.scopes_supported?.join(' ')) : scopesOf(challenge.scope),
    offlineAccess: metadata.scopes_supported?.includes('offline_access') === true,
  };
}

/** Where the metadata of a resource lies: what the challenge names, then the path form, then the root (RFC 9728, 3.1 and 5.1). */
async function resourceMetadata(
  server: URL,
  named: string | undefined,
  fetch: GuardedFetch,
): Promise<OAuthProtectedResourceMetadata | undefined> {
  const { discoverOAuthProtectedResourceMetadata } = await helpers();
  const path = server.pathname.replace(/\/$/, '');
  const wellKnown = '/.well-known/oauth-protected-resource';
  const places = [
    ...new Set([...(named === undefined ? [] : [named]), `${server.origin}${wellKnown}${path}`, `${server.origin}${wellKnown}`]),
  ];
  let fault: OAuthFailure | undefined;
  for (const place of places) {
    let status = 0;
    try {
      if (!URL.canParse(place)) continue;
      return await discoverOAuthProtectedResourceMetadata(server, { resourceMetadataUrl: new URL(place) }, async (url, init) => {
        const response = await fetch(url, init);
        status = response.status;
        return response;
      });
    } catch (error) {
      if (error instanceof OAuthFailure) throw error;
      if (error instanceof UpstreamError && (error.code === 'CULVERT_UPSTREAM_ADDRESS' || error.leg === 'redirect'))
        throw unreachable(place, error);
      if (error instanceof UpstreamError && place === named) throw unreachable(place, error);
      // Not there, or nothing that can be read: the next place may be better.
      if (status >= 500)
        fault = new OAuthFailure(
          'CULVERT_CREDENTIAL_OAUTH_METADATA',
          'discovery',
          'later',
          `${shownHost(place)} failed (HTTP ${status}) when asked how to sign in. Try again later.`,
        );
    }
  }
  if (fault) throw fault;
  return undefined;
}

async function serverMetadata(
  server: URL,
  issuer: string | undefined,
  fetch: GuardedFetch,
  options: DiscoveryOptions,
): Promise<AuthorizationServerMetadata> {
  const { discoverAuthorizationServerMetadata } = await helpers();
  // Before RFC 9728 was used, the server itself was the authorization server (2025-03-26).
  const asked = issuer ?? server.origin;
  let metadata: AuthorizationServerMetadata | undefined;
  try {
    metadata = await discoverAuthorizationServerMetadata(asked, { fetchFn: fetch });
  } catch (error) {
    if (error instanceof OAuthFailure) throw error;
    if (error instanceof UpstreamError) throw unreachable(asked, error);
    throw isMismatch(error) ? otherIssuer(asked) : unreadable(asked, error);
  }
  if (metadata) {
    const root = issuer === undefined && metadata.issuer === `${asked}/`;
    if (metadata.issuer !== asked && !root) throw otherIssuer(asked);
    return metadata;
  }
  if (issuer !== undefined || options.withoutMetadata !== true)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_NO_METADATA',
      'discovery',
      'settings',
      issuer === undefined
        ? `${server.host} wants a sign-in but does not say where (no protected-resource or authorization server metadata). Use a token or key instead.`
        : `${shownHost(issuer)}, which ${server.host} names for signing in, has no authorization server metadata. Use a token or key instead.`,
    );
  return {
    issuer: asked,
    authorization_endpoint: `${asked}/authorize`,
    token_endpoint: `${asked}/token`,
    registration_endpoint: `${asked}/register`,
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
  };
}

/** Refuses metadata with which a sign-in would not be safe. */
function check(server: URL, metadata: AuthorizationServerMetadata, flow: DiscoveryOptions['flow']): OAuthServer {
  const refuse = (why: string) =>
    new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_UNSAFE',
      'discovery',
      'settings',
      `${shownHost(metadata.issuer)} can’t be used for signing in: ${why}.`,
    );
  const optional = metadata as Record<string, unknown>;
  const revocation = typeof optional['revocation_endpoint'] === 'string' ? optional['revocation_endpoint'] : undefined;
  const userinfo = typeof optional['userinfo_endpoint'] === 'string' ? optional['userinfo_endpoint'] : undefined;
  const endpoints: [what: string, url: string | undefined][] = [
    ['token endpoint', metadata.token_endpoint],
    ...(flow === 'browser' ? [['sign-in page', metadata.authorization_endpoint] as [string, string]] : []),
    ['registration endpoint', metadata.registration_endpoint],
    ['revocation endpoint', revocation],
  ];
  for (const [what, url] of endpoints) {
    const refused = url === undefined ? undefined : refuseNamedUrl(url, server);
    if (refused !== undefined) throw refuse(`its ${what} ${refused}`);
  }
  if (flow === 'browser') {
    if (!metadata.response_types_supported.includes('code')) throw refuse('it does not offer the authorization code flow');
    // Absent counts as “not supported” (2025-11-25, authorization: PKCE).
    if (metadata.code_challenge_methods_supported?.includes('S256') !== true)
      throw refuse('it does not say that it supports PKCE with S256, so a stolen code could be used by others');
  }
  return {
    issuer: metadata.issuer,
    tokenEndpoint: metadata.token_endpoint,
    ...(revocation === undefined ? {} : { revocationEndpoint: revocation }),
    // It only gives a name, so one that can’t be used is left alone.
    ...(userinfo === undefined || refuseNamedUrl(userinfo, server) !== undefined ? {} : { userinfoEndpoint: userinfo }),
    ...(metadata.token_endpoint_auth_methods_supported ? { authMethods: metadata.token_endpoint_auth_methods_supported } : {}),
    dpop: signingAlgorithms(optional['dpop_signing_alg_values_supported']).includes('ES256'),
  };
}

function signingAlgorithms(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Whether a resource is this server, or what this server is a part of (RFC 9728, 3.3; 2025-11-25, canonical URIs). */
export function covers(resource: string, server: URL): boolean {
  if (!URL.canParse(resource)) return false;
  const { origin, pathname, hash } = new URL(resource);
  if (origin !== server.origin || hash !== '') return false;
  const parent = pathname.endsWith('/') ? pathname : `${pathname}/`;
  return server.pathname === pathname || `${server.pathname}/`.startsWith(parent);
}

function withoutFragment(url: URL): string {
  const copy = new URL(url);
  copy.hash = '';
  return copy.href;
}

/** The helpers’ IssuerMismatchError, by name: its class is loaded lazily. */
function isMismatch(error: unknown): boolean {
  return error instanceof Error && error.name === 'IssuerMismatchError';
}

function otherIssuer(asked: string): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_ISSUER',
    'discovery',
    'settings',
    `${shownHost(asked)} calls itself another authorization server in its metadata. Nobody is signed in there, since a token could go to a stranger.`,
  );
}

function unreadable(place: string, cause: unknown): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_METADATA',
    'discovery',
    'later',
    `What ${shownHost(place)} says about signing in can’t be read.`,
    {
      cause,
    },
  );
}

function unreachable(place: string, cause: UpstreamError): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_UNREACHABLE',
    'discovery',
    'later',
    `How to sign in could not be found out at ${shownHost(place)}. ${messageOf(cause)}`,
    { cause },
  );
}
