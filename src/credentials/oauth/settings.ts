import * as z from 'zod';
import { ID_PATTERN } from '../../common/identifiers.ts';

/** Longest scope in characters, and scopes of one credential. */
const MAX_SCOPE_CHARACTERS = 256;
const MAX_SCOPES = 100;
/** Longest client id and URL, characters. Client ids may be URLs. */
const MAX_TEXT_CHARACTERS = 2_048;

/** A scope token (RFC 6749, 3.3). */
export const Scope = z
  .string()
  .max(MAX_SCOPE_CHARACTERS)
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'A scope has no spaces, quotes or backslashes.');

const text = z.string().min(1).max(MAX_TEXT_CHARACTERS);

/** How a client shows at the token endpoint that it is who it says (RFC 6749, 2.3; OpenID Connect Core, 9). */
export const ClientMethod = z.enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt']);
export type ClientMethod = z.infer<typeof ClientMethod>;

/** What a client’s key signs with (RFC 7518, 3.1; RFC 8037). */
export const Algorithm = z.enum(['ES256', 'RS256', 'PS256', 'EdDSA']);

/** How tokens are had for a credential. Plain data on its row, under the MAC; every secret is in the vault. */
export const OAuthSettings = z.strictObject({
  kind: z.literal('oauth'),
  /**
   * `code`: the user signs in by browser. `client-credentials`: the client is its own account. `enterprise`: an ID token of the company's
   * identity provider is exchanged for a grant (ID-JAG). `workload`: a token of the platform is the grant (RFC 7523).
   */
  grant: z.enum(['code', 'client-credentials', 'enterprise', 'workload']),
  /** The authorization server that the user agreed to. Tokens come from no other; absent before the first sign-in. */
  issuer: text.optional(),
  /** A client that was registered by hand; only ever used at `issuer`. Its secret or key is in the vault. */
  client: z
    .strictObject({
      id: text,
      method: ClientMethod.optional(),
      algorithm: Algorithm.optional(),
      /** Path and port of the redirect URI on this machine that it was registered with. Default: any, made up for each sign-in. */
      redirectPath: z
        .string()
        .max(MAX_TEXT_CHARACTERS)
        .regex(/^\/[\w./~-]*$/)
        .optional(),
      redirectPort: z.number().int().min(1).max(65_535).optional(),
    })
    .optional(),
  /** Asked for in place of what the server says. */
  scopes: z.array(Scope).max(MAX_SCOPES).readonly().optional(),
  /** Who signed in, as the authorization server says. */
  account: z.strictObject({ subject: text, label: z.string().max(200) }).optional(),
  /** For `enterprise`: the identity provider and our client there. The client’s secret or key, if it has one, is in the vault. */
  identityProvider: z
    .strictObject({
      issuer: text,
      clientId: text,
      tokenEndpoint: text.optional(),
      method: ClientMethod.optional(),
      algorithm: Algorithm.optional(),
    })
    .optional(),
  /** For `enterprise` and `workload`: the credential whose value is the ID token or the platform's token; bound to where it is sent. */
  assertion: z.string().regex(ID_PATTERN).optional(),
  /** The user lets a server sign in that has no protected-resource metadata and no authorization server metadata (2025-03-26). */
  withoutMetadata: z.literal(true).optional(),
});
export type OAuthSettings = z.infer<typeof OAuthSettings>;

/** The scopes in a space-separated text, each once. */
export function scopesOf(scope: string | undefined): string[] {
  return [...new Set((scope ?? '').split(/\s+/).filter((one) => Scope.safeParse(one).success))].slice(0, MAX_SCOPES);
}
