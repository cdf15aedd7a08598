import * as z from 'zod';
import { messageOf } from '../../common/errors.ts';
import { OAuthFailure, shownHost, shownText } from './failure.ts';
import type { Discovered } from './discovery.ts';
import type { OAuthSettings } from './settings.ts';
import type { OAuthClient } from './state.ts';
import type { GuardedFetch } from './wire.ts';

/** What Culvert calls itself at authorization servers. */
export const CLIENT_NAME = 'Culvert';

/** Ways to authenticate, the one we want first: a program on the user’s machine keeps no secret (RFC 8252, 8.5). */
const METHODS = ['none', 'client_secret_basic', 'client_secret_post'] as const;

/** What a client may be made of at an authorization server. */
export interface ClientOptions {
  readonly settings: Pick<OAuthSettings, 'client' | 'issuer'>;
  /** How we were known there before. */
  readonly known: OAuthClient | undefined;
  /** Where our client metadata document lies, if one is hosted (Client ID Metadata Documents, 2025-11-25). */
  readonly documentUrl: string | undefined;
  readonly redirectUri: string;
  readonly scopes: readonly string[];
}

/**
 * Who we are at the authorization server that was found: registered by hand, else by our metadata document, else by dynamic registration
 * (PROTOCOL.md 6). What belongs to one issuer is used at no other. Throws {@link OAuthFailure}.
 */
export async function clientFor(found: Discovered, fetch: GuardedFetch, options: ClientOptions): Promise<OAuthClient> {
  const { settings, known, documentUrl, redirectUri } = options;
  const { issuer, metadata } = found;
  if (settings.client) return preRegistered(issuer, settings, known);
  if (documentUrl !== undefined && goesByDocument(found, documentUrl)) return { issuer, kind: 'document', id: documentUrl, method: 'none' };
  const reusable = known?.issuer === issuer && known.kind === 'registered' && known.redirectUri === redirectUri;
  if (reusable) return known;
  if (metadata.registration_endpoint === undefined)
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_NO_CLIENT',
      'registration',
      'settings',
      `${shownHost(issuer)} lets no client register by itself. Register one there by hand, with the redirect URI ${redirectUri}, and enter its client id.`,
    );
  return register(found, fetch, options);
}

/** Path of the redirect URI on this machine that a metadata document names. The port is any (RFC 8252, 7.3). */
export const DOCUMENT_REDIRECT_PATH = '/callback';

/** Whether the authorization server takes our metadata document. */
export function goesByDocument({ metadata }: Discovered, documentUrl: string | undefined): boolean {
  return metadata.client_id_metadata_document_supported === true && documentUrl !== undefined && isDocumentUrl(documentUrl);
}

/** The client of the settings, which is only good at the issuer it was registered at. */
export function preRegistered(
  issuer: string,
  settings: Pick<OAuthSettings, 'client' | 'issuer'>,
  known: OAuthClient | undefined,
): OAuthClient {
  const { client } = settings;
  if (!client)
    throw new OAuthFailure('CULVERT_CREDENTIAL_OAUTH_NO_CLIENT', 'registration', 'settings', 'No client id is entered for this sign-in.');
  if (settings.issuer !== undefined && settings.issuer !== issuer) throw otherIssuer(settings.issuer, issuer);
  const secret =
    known?.kind === 'pre-registered' && known.id === client.id && (known.issuer === issuer || known.issuer === '')
      ? known.secret
      : undefined;
  return {
    issuer,
    kind: 'pre-registered',
    id: client.id,
    ...(secret === undefined ? {} : { secret }),
    ...(client.method === undefined ? {} : { method: client.method }),
    ...(client.algorithm === undefined ? {} : { algorithm: client.algorithm }),
  };
}

/** That a server now names another authorization server than the one the user agreed to. */
export function otherIssuer(agreed: string, now: string): OAuthFailure {
  return new OAuthFailure(
    'CULVERT_CREDENTIAL_OAUTH_MOVED',
    'discovery',
    'sign-in',
    `The server now wants a sign-in at ${shownHost(now)}; you agreed to ${shownHost(agreed)}. Nothing of the old sign-in was sent there. If the server has moved, sign in again.`,
  );
}

/** What a registration answers that we use (RFC 7591, 3.2.1). */
const Registered = z.object({
  client_id: z.string().min(1).max(2_048),
  client_secret: z.string().max(4_096).optional(),
  token_endpoint_auth_method: z.string().optional(),
});

/** `error` and `error_description` of a rejected registration (RFC 7591, 3.2.2). */
const Rejected = z.object({ error: z.string(), error_description: z.string().optional() });

/** Dynamic client registration (RFC 7591). The helper for it is going away, and says the whole answer in its error. */
async function register(
  { issuer, metadata }: Discovered,
  fetch: GuardedFetch,
  { redirectUri, scopes }: ClientOptions,
): Promise<OAuthClient> {
  const methods = metadata.token_endpoint_auth_methods_supported ?? [];
  const method = methods.length === 0 ? 'none' : (METHODS.find((one) => methods.includes(one)) ?? 'none');
  const body = {
    client_name: CLIENT_NAME,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: method,
    application_type: 'native',
    ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
  };
  let response: Response;
  try {
    response = await fetch(metadata.registration_endpoint ?? '', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
    });
  } catch (error) {
    if (error instanceof OAuthFailure) throw error;
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_UNREACHABLE',
      'registration',
      'later',
      `Culvert could not be registered at ${shownHost(issuer)}. ${messageOf(error)}`,
      { cause: error },
    );
  }
  const answer: unknown = await response.json().catch(() => undefined);
  const registered = Registered.safeParse(answer);
  if (!response.ok || !registered.success) {
    const rejected = Rejected.safeParse(answer);
    const said = rejected.success ? ` (${shownText(rejected.data.error_description ?? rejected.data.error)})` : '';
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_REGISTRATION',
      'registration',
      'settings',
      `${shownHost(issuer)} did not register Culvert${said}. Register a client there by hand, with the redirect URI ${redirectUri}, and enter its client id.`,
    );
  }
  const { client_id: id, client_secret: secret, token_endpoint_auth_method: told } = registered.data;
  const chosen = told ?? (secret === undefined ? 'none' : method);
  return {
    issuer,
    kind: 'registered',
    id,
    redirectUri,
    ...(secret === undefined ? {} : { secret }),
    ...(chosen === 'none' || chosen === 'client_secret_basic' || chosen === 'client_secret_post' ? { method: chosen } : {}),
  };
}

function isDocumentUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return url.protocol === 'https:' && url.pathname !== '/' && url.username === '' && url.hash === '';
}

/** The document that an organisation hosts under the URL it sets, for {@link ClientOptions.documentUrl}. */
export function clientDocument(url: string, redirectUris: readonly string[]): Record<string, unknown> {
  return {
    client_id: url,
    client_name: CLIENT_NAME,
    redirect_uris: redirectUris,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    application_type: 'native',
  };
}
