/**
 * Grants that `oidc-provider` does not have itself: JWT assertions (RFC 7523) and token exchange (RFC 8693). It lets others be registered;
 * the checks of the assertion are then the test’s own, while client authentication, resource indicators and the token are the provider’s.
 */
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { errors } from 'oidc-provider';
import type { AuthorizationServer } from './authorizationServer.ts';

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** Type of an identity assertion authorization grant (draft-ietf-oauth-identity-assertion-authz-grant, 6.1). */
const ID_JAG = 'oauth-id-jag+jwt';

/** Who may say who somebody is, and how an assertion of theirs is checked. */
export interface Trusted {
  readonly issuer: string;
  readonly verify: (assertion: string, audience: string) => Promise<{ readonly payload: JWTPayload }>;
  /** Only ID-JAGs count. */
  readonly idJag?: boolean;
}

/** Lets an authorization server give tokens for assertions. What it took is in the list that is returned. */
export function takeAssertions(server: AuthorizationServer, trusted: (assertion: string) => Trusted): JWTPayload[] {
  const taken: JWTPayload[] = [];
  const { provider } = server;
  provider.registerGrantType(
    JWT_BEARER,
    async (ctx) => {
      const { params, client } = ctx.oidc;
      const { assertion, resource, scope } = params as Record<string, string>;
      const { issuer, verify, idJag } = trusted(assertion ?? '');
      const { payload } = await verify(assertion ?? '', server.issuer).catch(() => {
        throw new errors.InvalidGrant('the assertion is not valid');
      });
      const header = decodeProtectedHeader(assertion ?? '');
      // An ID-JAG is for one client and one resource.
      const fits = header.typ === ID_JAG && payload['client_id'] === client.clientId && payload['resource'] === resource;
      if (payload.iss !== issuer || (idJag === true && !fits)) throw new errors.InvalidGrant('the assertion is for somebody else');
      taken.push(payload);
      const token = new provider.ClientCredentials({ client: client, scope: scope ?? '' });
      Object.assign(token, { aud: resource });
      const value = await token.save();
      ctx.body = { access_token: value, token_type: 'Bearer', expires_in: token.expiration, scope };
    },
    ['assertion', 'resource', 'scope'],
  );
  return taken;
}

/** Lets an identity provider exchange its ID tokens for ID-JAGs. */
export function exchangeIdTokens(provider: AuthorizationServer, sign: (jwt: SignJWT) => Promise<string>): void {
  provider.provider.registerGrantType(
    TOKEN_EXCHANGE,
    async (ctx) => {
      const { client, params } = ctx.oidc;
      const { subject_token: idToken, audience, resource, scope } = params as Record<string, string>;
      const keys = createRemoteJWKSet(new URL(`${provider.issuer}/jwks`));
      const { payload } = await jwtVerify(idToken ?? '', keys, { issuer: provider.issuer, audience: client.clientId }).catch(() => {
        throw new errors.InvalidGrant('the ID token is not valid');
      });
      const jwt = new SignJWT({ client_id: 'culvert-at-the-resource', resource, scope })
        .setProtectedHeader({ alg: 'ES256', typ: ID_JAG })
        .setIssuer(provider.issuer)
        .setSubject(payload.sub ?? '')
        .setAudience(audience ?? '')
        .setIssuedAt()
        .setExpirationTime('2 minutes')
        .setJti(crypto.randomUUID());
      ctx.body = {
        access_token: await sign(jwt),
        issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
        token_type: 'N_A',
        expires_in: 120,
        scope,
      };
    },
    ['audience', 'resource', 'subject_token', 'subject_token_type', 'requested_token_type', 'scope'],
  );
}

/** An ID token as the provider signs them. */
export async function idTokenOf({ provider }: AuthorizationServer, clientId: string, account: string): Promise<string> {
  const client = await provider.Client.find(clientId);
  if (!client) throw new Error('There is no such client.');
  const token = new provider.IdToken({}, { client, ctx: undefined as never });
  token.set('sub', account);
  return token.issue({ use: 'idtoken' });
}
