import type { DirectOptions } from './directGrants.ts';
import { OAuthFailure, shownHost } from './failure.ts';
import { helpers } from './library.ts';
import type { OAuthSettings } from './settings.ts';
import type { OAuthClient, OAuthState } from './state.ts';
import { authenticate, failureOf } from './tokenEndpoint.ts';
import { guardedFetch, refuseNamedUrl, type GuardedFetch } from './wire.ts';

/** Codes with which an identity provider turns the client down, not the ID token (RFC 6749, 5.2). */
const CLIENT_REFUSED = new Set(['invalid_client', 'unauthorized_client']);

/** Where a company’s identity provider gives tokens. */
export interface IdentityEndpoint {
  readonly tokenEndpoint: string;
  /** How clients may authenticate there; empty: it does not say. */
  readonly authMethods: readonly string[];
}

/**
 * An ID token of the company’s identity provider becomes a grant for one authorization server (ID-JAG; RFC 8693). A client that has a secret
 * or a key there shows it (draft-ietf-oauth-identity-assertion-authz-grant, 4.3). Throws {@link OAuthFailure}.
 */
export async function identityGrant(
  target: URL,
  audience: string,
  resource: string,
  scopes: readonly string[],
  { settings, state, assertion, wire, signal, now }: DirectOptions,
): Promise<string> {
  const { identityProvider } = settings;
  if (!identityProvider || settings.assertion === undefined) throw noAssertion('an identity provider and its ID token');
  const { issuer, clientId } = identityProvider;
  const { requestJwtAuthorizationGrant } = await helpers();
  const fetch = guardedFetch(wire, target, 'discovery', signal);
  try {
    const { tokenEndpoint, authMethods } = await endpointOf(identityProvider, target, fetch);
    if (refuseNamedUrl(tokenEndpoint, target) !== undefined) throw new Error('no token endpoint');
    const client = clientOf(identityProvider, state);
    const idToken = await assertion(settings.assertion, new URL(tokenEndpoint), signal);
    const { jwtAuthGrant } = await requestJwtAuthorizationGrant({
      tokenEndpoint,
      audience,
      resource,
      idToken: idToken.expose(),
      clientId,
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      fetchFn: async (url, init) => {
        const headers = new Headers(init?.headers);
        const body = new URLSearchParams(typeof init?.body === 'string' ? init.body : '');
        // The helper only knows the id, and a secret beside it in the body.
        body.delete('client_id');
        await authenticate({ server: { issuer, authMethods: [...authMethods] }, client, now }, headers, body);
        return fetch(url, { ...init, headers, body });
      },
    });
    return jwtAuthGrant;
  } catch (error) {
    if (error instanceof OAuthFailure) throw error;
    // What the helper says quotes the answer; the text of RFC 6749 errors is in front of it.
    const code = /failed: ([a-z_]+)/.exec(error instanceof Error ? error.message : '')?.[1];
    if (code === undefined) throw failureOf(error, { issuer }, 'token');
    if (CLIENT_REFUSED.has(code))
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_REFUSED',
        'token',
        'settings',
        `${shownHost(issuer)} does not take this client (${code}). Enter its id, and its secret or key, with “Culvert: Edit Server…”.`,
        { error: code },
      );
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_REFUSED',
      'token',
      'sign-in',
      `${shownHost(issuer)} did not exchange the ID token (${code}). Sign in at your company again.`,
      { error: code },
    );
  }
}

/** Where a company’s identity provider gives tokens, as its metadata says. Throws {@link OAuthFailure}. */
export async function identityEndpoint(issuer: string, target: URL, fetch: GuardedFetch): Promise<IdentityEndpoint> {
  const { discoverAuthorizationServerMetadata } = await helpers();
  try {
    const metadata = await discoverAuthorizationServerMetadata(issuer, { fetchFn: fetch });
    if (metadata?.issuer !== issuer) throw new Error('another issuer, or none');
    if (refuseNamedUrl(metadata.token_endpoint, target) !== undefined) throw new Error('no token endpoint');
    return { tokenEndpoint: metadata.token_endpoint, authMethods: metadata.token_endpoint_auth_methods_supported ?? [] };
  } catch (error) {
    if (error instanceof OAuthFailure) throw error;
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_METADATA',
      'discovery',
      'settings',
      `${shownHost(issuer)} does not say where it gives tokens. Enter its token endpoint.`,
      { cause: error },
    );
  }
}

/** That a sign-in lacks what it builds on. */
export function noAssertion(what: string): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_NO_ASSERTION',
    'token',
    'settings',
    `This sign-in needs ${what}. Set it up again with “Culvert: Edit Server…”.`,
  );
}

type IdentityProvider = NonNullable<OAuthSettings['identityProvider']>;

/** The endpoint that the user agreed to, else what the provider says. */
async function endpointOf({ issuer, tokenEndpoint }: IdentityProvider, target: URL, fetch: GuardedFetch): Promise<IdentityEndpoint> {
  return tokenEndpoint === undefined ? identityEndpoint(issuer, target, fetch) : { tokenEndpoint, authMethods: [] };
}

/** Our client at the identity provider. A secret goes only where it was entered for. */
function clientOf(
  { issuer, clientId: id, tokenEndpoint, method, algorithm }: IdentityProvider,
  state: OAuthState | undefined,
): OAuthClient {
  const known = state?.identityClient;
  const fits = known?.issuer === issuer && known.id === id && known.tokenEndpoint === tokenEndpoint;
  if (method !== undefined && method !== 'none' && !fits)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_KEY',
      'token',
      'settings',
      `The secret or key of the client at ${shownHost(issuer)} is missing. Enter it again with “Culvert: Edit Server…”.`,
    );
  return {
    issuer,
    kind: 'pre-registered',
    id,
    ...(fits ? { secret: known.secret } : {}),
    ...(method === undefined ? {} : { method }),
    ...(algorithm === undefined ? {} : { algorithm }),
  };
}
