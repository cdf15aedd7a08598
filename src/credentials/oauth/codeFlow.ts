import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import { clientFor, otherIssuer } from './client.ts';
import { discover, type Discovered } from './discovery.ts';
import { Prover, newProofKey } from './dpop.ts';
import { OAuthFailure, shownHost, shownText } from './failure.ts';
import { helpers } from './library.ts';
import { scopesOf, type OAuthSettings } from './settings.ts';
import { OAuthClient, OAuthServer, PrivateJwk, typedClient, type OAuthState, type TypedClient } from './state.ts';
import { requestTokens, type Granted } from './tokenEndpoint.ts';
import { guardedFetch, isPlain, type OAuthWire } from './wire.ts';

/** How long a sign-in that was begun can be finished, milliseconds (PROTOCOL.md 6). */
export const SIGN_IN_LIMIT_MS = 10 * 60_000;

/** Longest authorization URL; browsers and operating systems take no longer ones. */
const MAX_URL_CHARACTERS = 8 * 1024;
/** Longest callback parameter, characters. */
const MAX_PARAMETER_CHARACTERS = 8 * 1024;

/** What a sign-in will do, found out before the user is asked and before anything is registered. */
export interface Proposal {
  readonly target: URL;
  readonly found: Discovered;
  /** What will be asked for. */
  readonly scopes: readonly string[];
  /** Whether the authorization server is another one than before. */
  readonly moved: string | undefined;
}

/** A sign-in under way: what finishing it takes, in any window. Holds secrets; lies in SecretStorage, under the hash of `state`. */
export const PendingSignIn = z.strictObject({
  version: z.literal(1),
  state: z.string(),
  verifier: z.string(),
  /** The MCP server’s URL. */
  target: z.string(),
  resource: z.string(),
  server: OAuthServer,
  issRequired: z.boolean(),
  client: OAuthClient,
  redirectUri: z.string(),
  scopes: z.array(z.string()),
  dpop: PrivateJwk.optional(),
  /** Milliseconds since the epoch. */
  begunAt: z.number(),
  /** What the caller needs at the end: the credential to sign in, for instance. */
  purpose: z.record(z.string(), z.string()),
});
export type PendingSignIn = z.infer<typeof PendingSignIn>;

/** What {@link propose} needs. */
export interface ProposeOptions {
  readonly wire: OAuthWire;
  readonly settings: OAuthSettings;
  /** What is stored, if there was a sign-in before. */
  readonly state: OAuthState | undefined;
  /** Header of the refusal that led here. */
  readonly wwwAuthenticate: string | undefined;
  readonly signal: AbortSignal;
}

/** Finds out where a sign-in would lead and what it would ask for. Throws {@link OAuthFailure}. */
export async function propose(target: URL, options: ProposeOptions): Promise<Proposal> {
  const { wire, settings, state, wwwAuthenticate, signal } = options;
  if (isPlain(target)) throw plainServer(target);
  const found = await discover(target, guardedFetch(wire, target, 'discovery', signal), {
    wwwAuthenticate,
    issuer: settings.issuer,
    withoutMetadata: settings.withoutMetadata === true,
    flow: 'browser',
  });
  const moved = settings.issuer !== undefined && settings.issuer !== found.issuer ? settings.issuer : undefined;
  // A client that was registered by hand belongs to the server it was registered at.
  if (moved !== undefined && settings.client) throw otherIssuer(moved, found.issuer);
  // Step-up: what was asked for before stays, or it would be lost (PROTOCOL.md 6). At another server nothing was asked for yet.
  const before = moved === undefined ? [...scopesOf(state?.tokens?.asked), ...scopesOf(state?.tokens?.scope)] : [];
  const wanted = settings.scopes ?? found.scopes;
  const union = [...new Set([...before, ...wanted])];
  const scopes = union.length > 0 && found.offlineAccess && !union.includes('offline_access') ? [...union, 'offline_access'] : union;
  return {
    target,
    found,
    scopes: found.offlineAccess ? scopes : scopes.filter((scope) => scope !== 'offline_access' || wanted.includes(scope)),
    moved,
  };
}

/** That a token would go over the network unencrypted. */
export function plainServer(target: URL): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_PLAIN',
    'discovery',
    'settings',
    `${target.host} is reached without encryption (http), so no token is asked for it. Use its https address.`,
  );
}

/** Registers where needed and makes the URL for the browser. The caller keeps `pending` secret. Throws {@link OAuthFailure}. */
export async function begin(
  { target, found, scopes }: Proposal,
  options: ProposeOptions & {
    readonly redirectUri: string;
    readonly documentUrl: string | undefined;
    readonly now: number;
    readonly purpose: Readonly<Record<string, string>>;
    /** A client that the user typed for this sign-in, in place of what is known. */
    readonly client?: TypedClient | undefined;
  },
): Promise<{ readonly url: URL; readonly pending: PendingSignIn }> {
  const { wire, state, signal, redirectUri, documentUrl, now, purpose, client: typed } = options;
  const settings = typed ? { ...options.settings, client: typed.settings } : options.settings;
  const known = typed ? typed.secret && typedClient(typed.settings, found.issuer, typed.secret.expose()).client : state?.client;
  const client = await clientFor(found, guardedFetch(wire, target, 'registration', signal), {
    settings,
    known,
    documentUrl,
    redirectUri,
    scopes,
  });
  const token = randomBytes(32).toString('base64url');
  const { startAuthorization } = await helpers();
  const { authorizationUrl, codeVerifier } = await startAuthorization(found.issuer, {
    metadata: found.metadata,
    clientInformation: { client_id: client.id },
    redirectUrl: redirectUri,
    state: token,
    resource: found.resource,
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
  });
  if (authorizationUrl.href.length > MAX_URL_CHARACTERS)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_UNSAFE',
      'sign-in',
      'settings',
      `The sign-in page of ${shownHost(found.issuer)} has an address that is too long for a browser.`,
    );
  const dpop = found.server.dpop ? (state?.dpop ?? newProofKey()) : undefined;
  const pending: PendingSignIn = {
    version: 1,
    state: token,
    verifier: codeVerifier,
    target: target.href,
    resource: found.resource,
    server: found.server,
    issRequired: found.metadata.authorization_response_iss_parameter_supported === true,
    client,
    redirectUri,
    scopes: [...scopes],
    begunAt: now,
    purpose: { ...purpose },
    ...(dpop ? { dpop } : {}),
  };
  return { url: authorizationUrl, pending };
}

/** Under which name a pending sign-in is kept: nobody finds it without knowing `state`. */
export function pendingKey(state: string): string {
  return createHash('sha256').update(`culvert sign-in ${state}`).digest('base64url');
}

/**
 * What the browser brought back becomes tokens. `state` was used to find `pending`, which must be gone from where it was kept by now: it is
 * good once. Throws {@link OAuthFailure}.
 */
export async function finish(
  pending: PendingSignIn,
  callback: URLSearchParams,
  { wire, now, signal }: { readonly wire: OAuthWire; readonly now: () => number; readonly signal: AbortSignal },
): Promise<{ readonly state: OAuthState; readonly account: Granted['account'] }> {
  const { server, client, scopes, resource, dpop } = pending;
  const host = shownHost(server.issuer);
  const one = (name: string): string | undefined => {
    const all = callback.getAll(name);
    if (all.length > 1 || (all[0]?.length ?? 0) > MAX_PARAMETER_CHARACTERS) throw strange(host);
    return all[0];
  };
  if (!sameText(one('state') ?? '', pending.state)) throw strange(host);
  if (now() - pending.begunAt > SIGN_IN_LIMIT_MS)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_LATE',
      'sign-in',
      'sign-in',
      `The sign-in at ${host} took longer than ${SIGN_IN_LIMIT_MS / 60_000} minutes. Sign in again.`,
    );
  // Before anything else that came along is believed (RFC 9207, 2.4).
  const { validateAuthorizationResponseIssuer } = await helpers();
  try {
    validateAuthorizationResponseIssuer({ iss: one('iss'), expectedIssuer: server.issuer, issParameterSupported: pending.issRequired });
  } catch {
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_MIX_UP',
      'sign-in',
      'sign-in',
      `The answer to the sign-in does not come from ${host}, where you were sent (mix-up). It was thrown away. Sign in again, and if it happens again, don’t trust the server.`,
    );
  }
  const error = one('error');
  if (error !== undefined) throw declined(host, error, one('error_description'));
  const code = one('code');
  if (code === undefined || code === '') throw strange(host);
  const prover = dpop ? new Prover(dpop) : undefined;
  const { tokens, account } = await requestTokens(
    { wire, target: new URL(pending.target), server, client, prover, signal, now, step: 'token' },
    { grant_type: 'authorization_code', code, code_verifier: pending.verifier, redirect_uri: pending.redirectUri, resource },
    scopes,
  );
  return { state: { oauth: 1, server, resource, client, tokens, ...(dpop ? { dpop } : {}) }, account };
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash('sha256').update(text).digest());
  return left !== undefined && right !== undefined && timingSafeEqual(left, right);
}

function strange(host: string): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_CALLBACK',
    'sign-in',
    'sign-in',
    `What came back from the sign-in at ${host} can’t be used. Sign in again.`,
  );
}

function declined(host: string, error: string, description: string | undefined): OAuthFailure {
  if (error === 'access_denied')
    return new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_DENIED',
      'sign-in',
      'sign-in',
      `The sign-in at ${host} was declined there, so nothing was stored.`,
      { error },
    );
  const said = shownText(description ?? error);
  return new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_REFUSED', 'sign-in', 'sign-in', `${host} did not sign you in: ${said}`, {
    error: shownText(error),
  });
}

/** Whether a URL may be opened in the browser: a web address, encrypted unless it is on this machine. Never `javascript:`, `file:`, `vscode:` … */
export function canOpen(url: URL): boolean {
  return (url.protocol === 'https:' || url.protocol === 'http:') && !isPlain(url) && url.username === '' && url.password === '';
}
