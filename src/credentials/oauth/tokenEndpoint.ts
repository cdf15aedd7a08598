import { randomBytes } from 'node:crypto';
import type { OAuthTokens } from '@modelcontextprotocol/client';
import { UpstreamError, messageOf } from '../../common/errors.ts';
import { visible } from '../../common/text.ts';
import type { Prover } from './dpop.ts';
import { OAuthFailure, shownHost, shownText, type OAuthStep } from './failure.ts';
import { helpers, type AuthorizationServerMetadata } from './library.ts';
import type { OAuthClient, OAuthServer, OAuthState } from './state.ts';
import { guardedFetch, type OAuthWire } from './wire.ts';

/** Longest life of a client assertion, seconds. */
const ASSERTION_SECONDS = 120;
/** Longest token, characters. */
const MAX_TOKEN_CHARACTERS = 16 * 1024;

/** What a request to a token endpoint needs beside its grant. */
export interface TokenContext {
  readonly wire: OAuthWire;
  /** The MCP server. */
  readonly target: URL;
  readonly server: OAuthServer;
  readonly client: OAuthClient | undefined;
  readonly prover: Prover | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly step: OAuthStep;
}

/** How long a name may be waited for, milliseconds: the sign-in is over by then. */
const USERINFO_TIMEOUT_MS = 5_000;

export type Tokens = NonNullable<OAuthState['tokens']>;

/** Tokens, and who signed in where the authorization server says it. */
export interface Granted {
  readonly tokens: Tokens;
  readonly account: { readonly subject: string; readonly label: string } | undefined;
}

/** Asks for tokens with a grant (RFC 6749, 4 and 6; RFC 7523). Throws {@link OAuthFailure}. */
export async function requestTokens(
  context: TokenContext,
  grant: Readonly<Record<string, string>>,
  asked: readonly string[],
): Promise<Granted> {
  const answer = await requestRaw(context, grant);
  const type = answer.token_type.toLowerCase();
  const { server, now } = context;
  const tooLong = [answer.access_token, answer.refresh_token].some((token) => (token?.length ?? 0) > MAX_TOKEN_CHARACTERS);
  // RFC 6750, 2.1: visible characters, no spaces; anything else could not stand in a header.
  if (
    tooLong ||
    !/^[\x21-\x7e]+$/.test(answer.access_token) ||
    (type !== 'bearer' && type !== 'dpop') ||
    (type === 'dpop' && !context.prover)
  )
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_TOKEN',
      context.step,
      'settings',
      `${shownHost(server.issuer)} gave a token that can’t be used here.`,
    );
  const scope = answer.scope ?? (asked.length === 0 ? undefined : asked.join(' '));
  const tokens: Tokens = {
    id: randomBytes(9).toString('base64url'),
    access: answer.access_token,
    type: type === 'dpop' ? 'DPoP' : 'Bearer',
    issuedAt: now(),
    ...(answer.refresh_token === undefined ? {} : { refresh: answer.refresh_token }),
    ...(answer.expires_in === undefined || !Number.isFinite(answer.expires_in)
      ? {}
      : { expiresAt: now() + Math.max(0, answer.expires_in) * 1000 }),
    ...(scope === undefined ? {} : { scope }),
    ...(asked.length === 0 ? {} : { asked: asked.join(' ') }),
  };
  return { tokens, account: await namedAccount(tokens, accountOf(answer.id_token, context), context, grant['grant_type']) };
}

/**
 * Who signed in, by the UserInfo endpoint where the ID token says no name (OpenID Connect Core, 5.3). Only for a token that was granted
 * `openid`, so that it is meant to be shown there, and only once, with the sign-in. Best effort: it is but a name.
 */
async function namedAccount(
  tokens: Tokens,
  account: Granted['account'],
  { wire, target, server, prover, signal, now, step }: TokenContext,
  grantType: string | undefined,
): Promise<Granted['account']> {
  const { userinfoEndpoint } = server;
  if (grantType !== 'authorization_code' || userinfoEndpoint === undefined || (account && account.label !== account.subject))
    return account;
  if (tokens.scope?.split(' ').includes('openid') !== true) return account;
  try {
    const url = new URL(userinfoEndpoint);
    const headers = { accept: 'application/json', authorization: `${tokens.type} ${tokens.access}` };
    const proof = tokens.type === 'DPoP' && prover ? { dpop: prover.proof('GET', url, now(), tokens.access) } : {};
    const fetch = guardedFetch(
      (request) => wire({ ...request, redirects: 'none' }),
      target,
      step,
      AbortSignal.any([signal, AbortSignal.timeout(USERINFO_TIMEOUT_MS)]),
    );
    const response = await fetch(url, { headers: { ...headers, ...proof } });
    const claims = response.ok ? ((await response.json()) as Record<string, unknown>) : {};
    const { sub } = claims;
    // Another subject than that of the ID token is somebody else (5.3.2).
    if (typeof sub !== 'string' || sub === '' || (account && sub.slice(0, MAX_SUBJECT_CHARACTERS) !== account.subject)) return account;
    return { subject: sub.slice(0, MAX_SUBJECT_CHARACTERS), label: labelOf(claims, sub) };
  } catch {
    return account;
  }
}

/** Longest subject that is kept, characters (OpenID Connect Core, 2). */
const MAX_SUBJECT_CHARACTERS = 255;

function labelOf(claims: Readonly<Record<string, unknown>>, subject: string): string {
  const label = [claims['email'], claims['preferred_username'], claims['name'], subject].find(
    (text) => typeof text === 'string' && text !== '',
  );
  return visible(String(label), 100);
}

/**
 * Who an ID token is about. It came over TLS from the token endpoint itself, so its signature says nothing new (OpenID Connect Core,
 * 3.1.3.7, 6); only for showing and for telling one account from another.
 */
function accountOf(idToken: string | undefined, { server, client }: TokenContext): Granted['account'] {
  try {
    const claims = JSON.parse(Buffer.from(idToken?.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<string, unknown>;
    const audience = Array.isArray(claims['aud']) ? (claims['aud'] as unknown[]) : [claims['aud']];
    const subject = claims['sub'];
    if (claims['iss'] !== server.issuer || !audience.includes(client?.id) || typeof subject !== 'string' || subject === '')
      return undefined;
    return { subject: subject.slice(0, MAX_SUBJECT_CHARACTERS), label: labelOf(claims, subject) };
  } catch {
    return undefined;
  }
}

/** The answer of a token endpoint as the helpers read it; also for exchanges whose result is no token for a server. */
async function requestRaw(context: TokenContext, grant: Readonly<Record<string, string>>): Promise<OAuthTokens> {
  const { server, client, prover, step } = context;
  const { fetchToken } = await helpers();
  const nonce = { isNew: false };
  const fetch = guardedFetch(
    context.wire,
    context.target,
    step,
    context.signal,
    ({ method, url }): Record<string, string> => (prover ? { dpop: prover.proof(method, url, context.now()) } : {}),
    (url, response) => {
      nonce.isNew = prover?.observe(url, response.headers['dpop-nonce']) ?? false;
    },
  );
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetchToken(
        {
          redirectUrl: undefined,
          clientMetadata: { redirect_uris: [] },
          clientInformation: () => (client ? { client_id: client.id, issuer: server.issuer } : undefined),
          tokens: () => undefined,
          saveTokens: () => undefined,
          redirectToAuthorization: () => undefined,
          saveCodeVerifier: () => undefined,
          codeVerifier: () => '',
          prepareTokenRequest: () => new URLSearchParams(grant),
          addClientAuthentication: (headers, params) => authenticate(context, headers, params),
        },
        server.issuer,
        { metadata: metadataOf(server), fetchFn: fetch },
      );
    } catch (error) {
      // RFC 9449, 8: the same request again, with the nonce and a new proof and assertion.
      if (attempt === 1 && nonce.isNew && codeOfOAuth(error) === 'use_dpop_nonce') continue;
      throw failureOf(error, server, step);
    }
  }
}

/** Shows who we are (RFC 6749, 2.3.1; RFC 7523, 2.2). Throws {@link OAuthFailure}. */
export async function authenticate(
  { server, client, now }: Pick<TokenContext, 'client' | 'now'> & { readonly server: Pick<OAuthServer, 'issuer' | 'authMethods'> },
  headers: Headers,
  params: URLSearchParams,
): Promise<void> {
  if (!client) return;
  const { id, secret } = client;
  const method = methodOf(client, server);
  if (method === 'private_key_jwt') {
    const { SignJWT, importPKCS8 } = await helpers();
    const algorithm = client.algorithm ?? 'ES256';
    const seconds = Math.floor(now() / 1000);
    const key = await importPKCS8(secret ?? '', algorithm).catch(() => {
      // Its own message could quote the key.
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_KEY',
        'token',
        'settings',
        `The private key for ${shownHost(server.issuer)} can’t be read. It must be PKCS #8 in PEM form, for ${algorithm}.`,
      );
    });
    const assertion = await new SignJWT({})
      .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
      .setIssuer(id)
      .setSubject(id)
      .setAudience(server.issuer)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + ASSERTION_SECONDS)
      .setJti(crypto.randomUUID())
      .sign(key);
    params.set('client_id', id);
    params.set('client_assertion', assertion);
    params.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
  } else if (method === 'client_secret_basic' && secret !== undefined)
    headers.set('Authorization', `Basic ${Buffer.from(`${formEncoded(id)}:${formEncoded(secret)}`).toString('base64')}`);
  else {
    params.set('client_id', id);
    if (method === 'client_secret_post' && secret !== undefined) params.set('client_secret', secret);
  }
}

/** How a client authenticates: as it was told or registered, else the best that both sides know. */
function methodOf(
  { method, secret }: OAuthClient,
  { authMethods = [] }: Pick<OAuthServer, 'authMethods'>,
): NonNullable<OAuthClient['method']> {
  if (method === 'private_key_jwt') return method;
  if (secret === undefined) return 'none';
  if (method !== undefined && method !== 'none' && (authMethods.length === 0 || authMethods.includes(method))) return method;
  if (authMethods.length === 0 || authMethods.includes('client_secret_basic')) return 'client_secret_basic';
  return authMethods.includes('client_secret_post') ? 'client_secret_post' : 'none';
}

/** `application/x-www-form-urlencoded` of one value (RFC 6749, 2.3.1). */
function formEncoded(text: string): string {
  return new URLSearchParams([['', text]]).toString().slice(1);
}

/** Revokes a token (RFC 7009). True if the server said that it is gone. */
export async function revokeToken(context: TokenContext, token: string, hint: 'access_token' | 'refresh_token'): Promise<boolean> {
  const { server, prover } = context;
  if (server.revocationEndpoint === undefined) return false;
  const headers = new Headers({ 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' });
  const body = new URLSearchParams({ token, token_type_hint: hint });
  await authenticate(context, headers, body);
  const fetch = guardedFetch(context.wire, context.target, context.step, context.signal, ({ method, url }): Record<string, string> =>
    prover ? { dpop: prover.proof(method, url, context.now()) } : {},
  );
  try {
    const { ok } = await fetch(server.revocationEndpoint, { method: 'POST', headers, body });
    return ok;
  } catch (error) {
    throw failureOf(error, server, context.step);
  }
}

function metadataOf({ issuer, tokenEndpoint }: OAuthServer): AuthorizationServerMetadata {
  return { issuer, token_endpoint: tokenEndpoint, authorization_endpoint: tokenEndpoint, response_types_supported: ['code'] };
}

/** `error` of RFC 6749, 5.2, by shape: the class is loaded lazily. */
function codeOfOAuth(error: unknown): string | undefined {
  return error instanceof Error && error.name === 'OAuthError' && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined;
}

/** Codes that only a new sign-in helps against. */
const SIGN_IN_AGAIN = new Set([
  'invalid_grant',
  'invalid_token',
  'access_denied',
  'interaction_required',
  'login_required',
  'consent_required',
]);
const SETTINGS = new Set([
  'invalid_client',
  'unauthorized_client',
  'invalid_scope',
  'invalid_target',
  'unsupported_grant_type',
  'invalid_request',
]);

/** What the user reads of a failed request. What the helper says may quote the whole answer, so little of it is repeated. */
export function failureOf(error: unknown, server: Pick<OAuthServer, 'issuer'>, step: OAuthStep): OAuthFailure {
  if (error instanceof OAuthFailure) return error;
  const host = shownHost(server.issuer);
  if (error instanceof UpstreamError)
    return new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_UNREACHABLE',
      step,
      'later',
      `${host} could not be asked for a token. ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  const code = codeOfOAuth(error);
  const known = code !== undefined && (SIGN_IN_AGAIN.has(code) || SETTINGS.has(code));
  if (!known)
    return new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_TOKEN',
      step,
      'later',
      `${host} gave no token${code === undefined || code === 'server_error' ? ', and no reason that can be read' : ` (${shownText(code)})`}.`,
    );
  const remedy = SIGN_IN_AGAIN.has(code) ? 'sign-in' : 'settings';
  const said = error instanceof Error && error.message !== '' && error.message !== code ? `: ${shownText(error.message)}` : '';
  return new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_REFUSED', step, remedy, `${host} refused to give a token (${code}${said}).`, {
    error: code,
  });
}
