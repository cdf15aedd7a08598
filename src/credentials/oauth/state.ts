import * as z from 'zod';
import { Secret } from '../secret.ts';
import { ClientMethod, type OAuthSettings } from './settings.ts';

/** How we are known at one authorization server. Never used at another. */
export const OAuthClient = z.strictObject({
  issuer: z.string(),
  /** By hand, by the URL of a metadata document, or by dynamic registration (RFC 7591). */
  kind: z.enum(['pre-registered', 'document', 'registered']),
  id: z.string(),
  /** Secret, or private key (PKCS #8, PEM) for `private_key_jwt`. */
  secret: z.string().optional(),
  method: ClientMethod.optional(),
  algorithm: z.string().optional(),
  /** Registered for this redirect URI. */
  redirectUri: z.string().optional(),
});
export type OAuthClient = z.infer<typeof OAuthClient>;

/** What is known of the authorization server between two discoveries: what a refresh and a revocation need. */
export const OAuthServer = z.strictObject({
  issuer: z.string(),
  tokenEndpoint: z.string(),
  revocationEndpoint: z.string().optional(),
  /** Says who signed in (OpenID Connect Core, 5.3). */
  userinfoEndpoint: z.string().optional(),
  authMethods: z.array(z.string()).optional(),
  /** Whether it binds tokens to a key (RFC 9449). */
  dpop: z.boolean(),
});
export type OAuthServer = z.infer<typeof OAuthServer>;

/** Private key of an elliptic curve as a JSON Web Key (RFC 7518, 6.2). */
export const PrivateJwk = z.strictObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: z.string(),
  y: z.string(),
  d: z.string(),
});
export type PrivateJwk = z.infer<typeof PrivateJwk>;

/** Everything about one sign-in that is secret or belongs to it: the value that the vault seals for an OAuth credential. */
export const OAuthState = z.strictObject({
  oauth: z.literal(1),
  server: OAuthServer.optional(),
  /** Value of `resource` (RFC 8707). */
  resource: z.string().optional(),
  client: OAuthClient.optional(),
  /** Secret or private key of our client at a company’s identity provider, and for which client and endpoint it was entered. */
  identityClient: z
    .strictObject({ issuer: z.string(), tokenEndpoint: z.string().optional(), id: z.string(), secret: z.string() })
    .optional(),
  tokens: z
    .strictObject({
      /** Another one for other tokens; says nothing about them. */
      id: z.string(),
      access: z.string(),
      type: z.enum(['Bearer', 'DPoP']),
      refresh: z.string().optional(),
      /** Milliseconds since the epoch. */
      issuedAt: z.number(),
      expiresAt: z.number().optional(),
      /** What was granted, space-separated. */
      scope: z.string().optional(),
      /** What was asked for; a step-up asks for the union with it. */
      asked: z.string().optional(),
    })
    .optional(),
  /** The key that tokens are bound to; one per credential, so one per server. */
  dpop: PrivateJwk.optional(),
});
export type OAuthState = z.infer<typeof OAuthState>;

/** A client as somebody registered it by hand. */
export interface TypedClient {
  readonly settings: NonNullable<OAuthSettings['client']>;
  /** Secret, or private key (PKCS #8, PEM) for `private_key_jwt`. */
  readonly secret?: Secret;
}

/** What is stored of a client whose secret or key the user typed, before anybody signed in. Only ever used at `issuer`, if that is known. */
export function typedClient(client: NonNullable<OAuthSettings['client']>, issuer: string | undefined, secret: string): OAuthState {
  const { id, method, algorithm } = client;
  return {
    oauth: 1,
    client: {
      issuer: issuer ?? '',
      kind: 'pre-registered',
      id,
      secret,
      ...(method === undefined ? {} : { method }),
      ...(algorithm === undefined ? {} : { algorithm }),
    },
  };
}

/** What is stored of what the user typed for a sign-in without a browser; `undefined` if nothing of it is secret. */
export function typedState(
  { client, issuer, identityProvider }: Pick<OAuthSettings, 'client' | 'issuer' | 'identityProvider'>,
  { secret, identitySecret }: { readonly secret?: Secret | undefined; readonly identitySecret?: Secret | undefined },
): OAuthState | undefined {
  const state: OAuthState = client && secret ? typedClient(client, issuer, secret.expose()) : { oauth: 1 };
  if (identityProvider && identitySecret) {
    const { issuer: provider, clientId: id, tokenEndpoint } = identityProvider;
    state.identityClient = {
      issuer: provider,
      id,
      secret: identitySecret.expose(),
      ...(tokenEndpoint === undefined ? {} : { tokenEndpoint }),
    };
  }
  return state.client || state.identityClient ? state : undefined;
}

/** Reads the value of the vault; `undefined` if it is not one of ours. */
export function readState(value: Secret): OAuthState | undefined {
  try {
    const parsed = OAuthState.safeParse(JSON.parse(value.expose()));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** The value for the vault. */
export function stateSecret(state: OAuthState): Secret {
  return new Secret(JSON.stringify(state));
}

/** Every single secret in a state, for the inspector: each must be recognised if it comes back. */
export function secretsIn(state: OAuthState): { readonly revision: string; readonly secret: Secret }[] {
  const id = state.tokens?.id ?? 'client';
  const parts: [part: string, value: string | undefined][] = [
    ['access', state.tokens?.access],
    ['refresh', state.tokens?.refresh],
    ['client', state.client?.secret],
    ['identity', state.identityClient?.secret],
    ['key', state.dpop?.d],
  ];
  return parts.flatMap(([part, value]) =>
    value === undefined || value.length < 8 ? [] : [{ revision: `${id}.${part}`, secret: new Secret(value) }],
  );
}

/**
 * Whether a secret of {@link secretsIn}, by the end of its id, is one that the MCP server never gets: only the access token is for it, all else for
 * who gives tokens.
 */
export function isForIssuer(id: string): boolean {
  return /\.(?:refresh|client|identity|key)$/.test(id);
}

/** The same for a value of the vault; `undefined` if it is no state of ours. */
export function signInParts(value: Secret): { readonly revision: string; readonly secret: Secret }[] | undefined {
  if (!value.expose().startsWith('{"oauth":1')) return undefined;
  const state = readState(value);
  return state && secretsIn(state);
}
