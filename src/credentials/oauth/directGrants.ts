import { otherIssuer, preRegistered } from './client.ts';
import { discover } from './discovery.ts';
import { Prover, newProofKey } from './dpop.ts';
import { OAuthFailure } from './failure.ts';
import { identityGrant, noAssertion } from './identityProvider.ts';
import { plainServer } from './codeFlow.ts';
import type { OAuthSettings } from './settings.ts';
import type { OAuthClient, OAuthState } from './state.ts';
import { requestTokens } from './tokenEndpoint.ts';
import { guardedFetch, isPlain, type OAuthWire } from './wire.ts';
import type { Secret } from '../secret.ts';

/** What getting tokens without a browser needs. */
export interface DirectOptions {
  readonly wire: OAuthWire;
  readonly settings: OAuthSettings;
  readonly state: OAuthState | undefined;
  readonly wwwAuthenticate: string | undefined;
  readonly signal: AbortSignal;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The value of the credential that is the assertion, for where it is sent. */
  readonly assertion: (credential: string, url: URL, signal: AbortSignal) => Promise<Secret>;
}

/** Tokens for a client that needs nobody to sign in: client credentials, company identity, workload identity. Throws {@link OAuthFailure}. */
export async function acquire(target: URL, options: DirectOptions): Promise<OAuthState> {
  const { wire, settings, state, wwwAuthenticate, signal, now } = options;
  if (isPlain(target)) throw plainServer(target);
  // Nobody looks at where a secret goes without a browser, so somebody must have said it before.
  if (settings.issuer === undefined)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_NO_ISSUER',
      'token',
      'settings',
      'Enter the authorization server that this client is registered at.',
    );
  const found = await discover(target, guardedFetch(wire, target, 'discovery', signal), {
    wwwAuthenticate,
    issuer: settings.issuer,
    flow: 'direct',
  });
  const client = clientOf(found.issuer, options);
  const scopes = settings.scopes ?? found.scopes;
  const dpop = found.server.dpop ? (state?.dpop ?? newProofKey()) : undefined;
  const prover = dpop ? new Prover(dpop) : undefined;
  const grant = await grantOf(target, found.issuer, found.resource, scopes, options);
  const { tokens } = await requestTokens(
    { wire, target, server: found.server, client, prover, signal, now, step: 'token' },
    { ...grant, resource: found.resource, ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }) },
    scopes,
  );
  return {
    oauth: 1,
    server: found.server,
    resource: found.resource,
    tokens,
    // What is stored of the client stays: its secret was typed in.
    ...(client ? { client } : {}),
    ...(state?.identityClient ? { identityClient: state.identityClient } : {}),
    ...(dpop ? { dpop } : {}),
  };
}

function clientOf(issuer: string, { settings, state }: DirectOptions): OAuthClient | undefined {
  // A workload may be known by its token alone (RFC 7521, 4.1).
  if (settings.grant === 'workload' && !settings.client) {
    if (settings.issuer !== undefined && settings.issuer !== issuer) throw otherIssuer(settings.issuer, issuer);
    return undefined;
  }
  return preRegistered(issuer, settings, state?.client);
}

async function grantOf(
  target: URL,
  issuer: string,
  resource: string,
  scopes: readonly string[],
  options: DirectOptions,
): Promise<Record<string, string>> {
  const { settings } = options;
  switch (settings.grant) {
    case 'client-credentials':
      return { grant_type: 'client_credentials' };
    case 'workload':
      return { grant_type: JWT_BEARER, assertion: await workloadToken(target, issuer, options) };
    case 'enterprise':
      return { grant_type: JWT_BEARER, assertion: await identityGrant(target, issuer, resource, scopes, options) };
    case 'code':
      throw new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_SIGN_IN', 'sign-in', 'sign-in', 'Nobody is signed in.');
  }
}

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

async function workloadToken(target: URL, issuer: string, { settings, assertion, signal }: DirectOptions): Promise<string> {
  if (settings.assertion === undefined) throw noAssertion('the token of the platform');
  return (await assertion(settings.assertion, new URL(issuer, target), signal)).expose();
}
