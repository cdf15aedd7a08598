import type { IdentityEndpoint } from '../../credentials/oauth/identityProvider.ts';
import { OAuthSettings, scopesOf } from '../../credentials/oauth/settings.ts';
import { isLoopback, isPlain } from '../../credentials/oauth/wire.ts';
import type { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import type { App } from '../app.ts';
import type { SourceDraft } from './sourceSteps.ts';

/** Where a browser comes back to on the user’s own machine; the port is any (RFC 8252, 7.3). */
export const LOOPBACK_REDIRECT = 'http://127.0.0.1/callback';

/** How tokens are had. */
export type Grant = OAuthSettings['grant'];
/** What a client’s key signs with. */
export type Algorithm = NonNullable<NonNullable<OAuthSettings['client']>['algorithm']>;

type IdentityProvider = NonNullable<OAuthSettings['identityProvider']>;

/** How a client shows who it is. */
export type Proof = 'none' | 'secret' | 'key';

/** How a client shows who it is, as the dialog gathers it. */
export interface ProofDraft {
  proof?: Proof;
  secret?: Secret;
  key?: { readonly secret: Secret; readonly algorithm: Algorithm };
  /** The address for which a secret that is stored was entered: it goes to no other. */
  storedFor?: string;
}

/** How tokens are had, as the dialog gathers it. Changed in place, so that nothing typed is lost when steps go back. */
export interface SignInDraft extends ProofDraft {
  grant?: Grant;
  /** Texts by name: `issuer`, `client`, `redirect`, `scopes`, `provider`, `providerClient`, `providerEndpoint`. */
  readonly typed: Record<string, string>;
  /** The client at the company’s identity provider. */
  atProvider?: ProofDraft;
  /** What the identity provider said of itself. */
  foundProvider?: { readonly provider: string } & IdentityEndpoint;
  /** Where the token comes from that is exchanged. */
  assertion?: SourceDraft;
}

/** What came of the dialog. */
export interface SignInSetup {
  readonly settings: OAuthSettings;
  /** Secret or private key of `settings.client`. */
  readonly secret?: Secret;
  /** The same of the client at `settings.identityProvider`. */
  readonly identitySecret?: Secret;
  /** Where the token comes from that is exchanged, and the origin that it is bound to. */
  readonly assertion?: { readonly source: SourceDraft; readonly origin: string };
}

/** Whether what is stored may go where the draft leads; `undefined` if nobody knows yet. */
export function mayKeep({ storedFor }: ProofDraft, address: string | undefined): boolean {
  return storedFor === undefined || storedFor === (address ?? storedFor);
}

/** What was gathered, as it is stored. */
export function setupOf(draft: SignInDraft, grant: Grant): SignInSetup {
  const { typed, proof = 'none', secret, key, assertion, storedFor } = draft;
  const id = typed['client'] ?? '';
  const redirect = grant === 'code' && typed['redirect'] !== undefined ? new URL(typed['redirect']) : undefined;
  const loopback = redirect?.protocol === 'http:' && redirect.hostname === '127.0.0.1' ? redirect : undefined;
  const proven = grant === 'workload' ? 'none' : proof;
  const chosen = chosenOf({ proof: proven, ...(secret ? { secret } : {}), ...(key ? { key } : {}) });
  const scopes = scopesOf(typed['scopes']);
  const settings = OAuthSettings.parse({
    kind: 'oauth',
    grant,
    // A secret that is stored goes to the authorization server for which it was entered, whatever the server names now.
    ...(grant !== 'code' ? { issuer: typed['issuer'] } : chosen && storedFor !== undefined ? { issuer: storedFor } : {}),
    ...(id === ''
      ? {}
      : {
          client: {
            id,
            ...(proven === 'key' && key ? { method: 'private_key_jwt', algorithm: key.algorithm } : {}),
            ...(loopback ? { redirectPath: loopback.pathname } : {}),
            ...(loopback && loopback.port !== '' ? { redirectPort: Number(loopback.port) } : {}),
          },
        }),
    ...(scopes.length === 0 ? {} : { scopes }),
    ...(grant === 'enterprise'
      ? {
          identityProvider: {
            issuer: typed['provider'],
            clientId: typed['providerClient'],
            ...(typed['providerEndpoint'] === '' ? {} : { tokenEndpoint: typed['providerEndpoint'] }),
            ...methodAtProvider(draft),
          },
        }
      : {}),
  });
  const identitySecret = grant === 'enterprise' ? chosenOf(draft.atProvider) : undefined;
  const proofOrigin = grant === 'enterprise' ? typed['providerEndpoint'] : grant === 'workload' ? typed['issuer'] : undefined;
  return {
    settings,
    ...(chosen ? { secret: chosen } : {}),
    ...(identitySecret ? { identitySecret } : {}),
    ...(proofOrigin !== undefined && assertion ? { assertion: { source: assertion, origin: new URL(proofOrigin).origin } } : {}),
  };
}

function chosenOf({ proof, secret, key }: ProofDraft = {}): Secret | undefined {
  return proof === 'secret' ? secret : proof === 'key' ? key?.secret : undefined;
}

/** How the client authenticates at the identity provider: a secret in the body only where it takes it in no header (RFC 6749, 2.3.1). */
function methodAtProvider({ typed, atProvider, foundProvider }: SignInDraft): Pick<IdentityProvider, 'method' | 'algorithm'> {
  if (!chosenOf(atProvider)) return {};
  if (atProvider?.proof === 'key' && atProvider.key) return { method: 'private_key_jwt', algorithm: atProvider.key.algorithm };
  const methods = foundProvider?.tokenEndpoint === typed['providerEndpoint'] ? (foundProvider?.authMethods ?? []) : [];
  const inBody = methods.includes('client_secret_post') && !methods.includes('client_secret_basic');
  return { method: inBody ? 'client_secret_post' : 'client_secret_basic' };
}

/** What a stored client shows. */
function proofOf(
  { method, algorithm }: Pick<IdentityProvider, 'method' | 'algorithm'>,
  secret: Secret | undefined,
  storedFor: string | undefined,
): ProofDraft {
  if (!secret) return { proof: 'none' };
  return {
    ...(method === 'private_key_jwt' ? { proof: 'key', key: { secret, algorithm: algorithm ?? 'ES256' } } : { proof: 'secret', secret }),
    ...(storedFor === undefined ? {} : { storedFor }),
  };
}

/** The draft that describes how a credential signs in, for changing it. A stored secret stays where it was entered for. */
export async function signInDraftOf({ core }: App, id: string): Promise<SignInDraft> {
  const credential = core.credentials.get(id);
  if (credential?.source?.kind !== 'oauth') return { typed: {} };
  const { grant, issuer, client, scopes, identityProvider, assertion } = credential.source;
  const { secret, identitySecret } = await core.signIns.secretsOf(credential);
  const proof = assertion === undefined ? undefined : core.credentials.get(assertion)?.source;
  const { redirectPath = '/callback', redirectPort } = client ?? {};
  return {
    grant,
    typed: {
      ...(issuer === undefined ? {} : { issuer }),
      ...(client
        ? { client: client.id, redirect: `http://127.0.0.1${redirectPort === undefined ? '' : `:${redirectPort}`}${redirectPath}` }
        : {}),
      ...(scopes ? { scopes: scopes.join(' ') } : {}),
      ...(identityProvider
        ? {
            provider: identityProvider.issuer,
            providerClient: identityProvider.clientId,
            providerEndpoint: identityProvider.tokenEndpoint ?? '',
          }
        : {}),
    },
    ...proofOf(client ?? {}, client && secret, issuer),
    ...(identityProvider ? providerDraft(identityProvider, identitySecret) : {}),
    ...(proof ? { assertion: { spec: proof } } : {}),
  };
}

function providerDraft(provider: IdentityProvider, secret: Secret | undefined): Pick<SignInDraft, 'atProvider' | 'foundProvider'> {
  const { issuer, tokenEndpoint, method } = provider;
  return {
    atProvider: proofOf(provider, secret, tokenEndpoint),
    ...(tokenEndpoint === undefined || method === undefined
      ? {}
      : { foundProvider: { provider: issuer, tokenEndpoint, authMethods: [method] } }),
  };
}

/** Why an id can’t be one. */
export function needed(text: string): string | undefined {
  return text === '' ? 'Enter something.' : text.length > 2_048 ? 'That is too long.' : undefined;
}

/** Why a secret can’t be one. */
export function refuseSecret(text: string): string | undefined {
  if (text.length < MIN_SECRET_CHARACTERS) return `A secret has at least ${MIN_SECRET_CHARACTERS} characters.`;
  return text.length > MAX_SECRET_CHARACTERS ? 'That is too long.' : undefined;
}

/** Why an address can’t be one that secrets go to. */
export function refuseAddress(text: string, target: URL): string | undefined {
  if (!URL.canParse(text)) return 'Enter a whole address, such as https://login.example.com.';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'The address must begin with https://.';
  if (url.username + url.password + url.hash !== '') return 'Leave out user name, password and everything from the # on.';
  if (isPlain(url)) return 'Use https://. Plain http:// would show secrets to the network; it is only for this machine.';
  return isLoopback(url) && !isLoopback(target) ? 'That is this machine, but the server is elsewhere.' : undefined;
}

/** Why a redirect URI does not lead back to this machine. */
export function refuseRedirect(text: string): string | undefined {
  const wanted = `It begins with http://127.0.0.1, such as ${LOOPBACK_REDIRECT}.`;
  if (!URL.canParse(text)) return wanted;
  const url = new URL(text);
  if (url.protocol !== 'http:' || url.hostname !== '127.0.0.1' || url.username + url.password + url.search + url.hash !== '') return wanted;
  return /^\/[\w./~-]*$/.test(url.pathname) ? undefined : 'Its path has letters, digits, dots, hyphens and slashes only.';
}
