import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import * as vscode from 'vscode';
import type { Credential } from '../../credentials/credential.ts';
import { OAuthFailure } from '../../credentials/oauth/failure.ts';
import type { IdentityEndpoint } from '../../credentials/oauth/identityProvider.ts';
import { scopesOf } from '../../credentials/oauth/settings.ts';
import { stateSecret, typedState, type TypedClient } from '../../credentials/oauth/state.ts';
import { keptFor } from '../../credentials/oauth/tokenKeeper.ts';
import { Secret } from '../../credentials/secret.ts';
import type { App } from '../app.ts';
import { comesBackBy, editorRedirect } from '../signInWay.ts';
import { askChoice, askText, single, type Choice, type StepPlace, type StepResult } from '../steps.ts';
import { readPem } from './pem.ts';
import { askSource } from './sourceDialog.ts';
import {
  LOOPBACK_REDIRECT,
  mayKeep,
  needed,
  refuseAddress,
  refuseRedirect,
  refuseSecret,
  setupOf,
  signInDraftOf,
  type Algorithm,
  type Grant,
  type Proof,
  type ProofDraft,
  type SignInDraft,
  type SignInSetup,
} from './signInSetup.ts';
import { SKIP, inOrder, line, type Ask } from './sourceSteps.ts';

const GRANTS: readonly Choice<Grant>[] = [
  {
    label: '$(account) With the browser, as a client that you registered',
    description: 'with a client id',
    detail: 'For authorization servers at which Culvert can’t register by itself',
    value: 'code',
  },
  {
    label: '$(server-process) As a program of its own',
    description: 'client credentials: a client id with a secret or a private key',
    detail: 'Nobody signs in; the client has an account of its own',
    value: 'client-credentials',
  },
  {
    label: '$(organization) Through your company’s identity provider',
    description: 'enterprise-managed authorization (ID-JAG)',
    detail: 'The ID token of your company’s sign-in is exchanged for access to the server',
    value: 'enterprise',
  },
  {
    label: '$(cloud) As the workload that this machine is',
    description: 'workload identity',
    detail: 'A token that the platform gives (Kubernetes, a cloud, a CI) is exchanged for access to the server',
    value: 'workload',
  },
];

/** Asks how tokens are had and everything that the way needs. Going back from its first question is going back. */
export async function askSignIn(app: App, place: StepPlace, target: URL, draft: SignInDraft): Promise<StepResult<SignInSetup>> {
  for (;;) {
    const chosen = await askChoice(place, 'How does Culvert sign in?', GRANTS, draft.grant ?? 'code');
    if (chosen.kind !== 'value') return chosen;
    draft.grant = chosen.value;
    const end = await inOrder(...asksFor(app, { ...place, canGoBack: true }, target, draft, chosen.value));
    if (end === 'cancel') return { kind: 'cancel' };
    if (end === 'done') return { kind: 'value', value: setupOf(draft, chosen.value) };
  }
}

/** Asks for a client at an authorization server that lets none register by itself; `undefined` if the user gave up. */
export async function askClient(place: StepPlace, host: string, draft: SignInDraft): Promise<TypedClient | undefined> {
  const prompt = `${host} does not let Culvert register by itself. Register a client there by hand, of the kind “native” or “desktop”, then go on here.`;
  const end = await inOrder(...clientAsks({ ...place, canGoBack: true, prompt }, draft, `${prompt} `));
  if (end !== 'done') return undefined;
  const { settings, secret } = setupOf(draft, 'code');
  return settings.client && { settings: settings.client, ...(secret ? { secret } : {}) };
}

function asksFor(app: App, place: StepPlace, target: URL, draft: SignInDraft, grant: Grant): readonly Ask[] {
  const { typed } = draft;
  const scopes = line(
    place,
    typed,
    'scopes',
    'Scopes to ask for, separated by spaces. Empty: what the server says.',
    'read write',
    (text) =>
      text !== '' && scopesOf(text).length !== new Set(text.split(/\s+/)).size ? 'A scope has no quotes or backslashes.' : undefined,
  );
  const client = line(place, typed, 'client', 'The client id, as the authorization server gave it.', 'culvert-desktop', needed);
  const issuer: Ask = async () => {
    typed['issuer'] ||= (await namedBy(app, target)) ?? '';
    return line(
      place,
      typed,
      'issuer',
      `The authorization server for ${target.host}. What you enter next goes there only.`,
      'https://login.example.com',
      (text) => refuseAddress(text, target),
    )();
  };
  switch (grant) {
    case 'code':
      return [...clientAsks(place, draft, ''), scopes];
    case 'client-credentials':
      return [issuer, client, ...proofAsks(place, draft, ['secret', 'key'], atServer(typed)), scopes];
    case 'workload':
      return [
        issuer,
        assertionAsk(place, draft, 'Where does the platform’s token come from?'),
        line(place, typed, 'client', 'The client id. Empty: the token alone says who it is.', '', () => undefined),
        scopes,
      ];
    case 'enterprise':
      return [
        line(place, typed, 'provider', 'Your company’s identity provider.', 'https://id.example.com', (text) =>
          refuseAddress(text, target),
        ),
        line(place, typed, 'providerClient', 'The client id that the ID token was given for.', 'culvert', needed),
        endpointAsk(app, place, target, draft),
        ...proofAsks(place, (draft.atProvider ??= {}), ['none', 'secret', 'key'], atProvider(typed)),
        assertionAsk(place, draft, 'Where does the ID token come from?'),
        issuer,
        client,
        ...proofAsks(place, draft, ['none', 'secret', 'key'], atServer(typed)),
        scopes,
      ];
  }
}

/** Where the company’s identity provider gives tokens: as it says, and as the user has it. */
function endpointAsk(app: App, place: StepPlace, target: URL, draft: SignInDraft): Ask {
  const { typed } = draft;
  let asked: string | undefined;
  return async () => {
    const provider = typed['provider'] ?? '';
    const before = draft.foundProvider;
    if (before?.provider !== provider && asked !== provider) {
      asked = provider;
      // What one provider said holds for no other.
      if (typed['providerEndpoint'] === before?.tokenEndpoint) typed['providerEndpoint'] = '';
      const found = await identityEndpoint(app, target, provider);
      if (found) draft.foundProvider = { provider, ...found };
      else delete draft.foundProvider;
      typed['providerEndpoint'] ||= found?.tokenEndpoint ?? '';
    }
    return line(
      place,
      typed,
      'providerEndpoint',
      'Where the identity provider gives tokens. The ID token goes there only.',
      'https://id.example.com/oauth2/token',
      (text) => refuseAddress(text, target),
    )();
  };
}

/** A client for the browser: where it comes back to, its id, and how it shows who it is. */
function clientAsks(place: StepPlace, draft: SignInDraft, why: string): readonly Ask[] {
  const { typed } = draft;
  return [
    async () => {
      const by = comesBackBy();
      const own = by === 'editor' ? await editorRedirect() : LOOPBACK_REDIRECT;
      if (by === 'editor') typed['redirect'] = own;
      typed['redirect'] ||= own;
      return line(
        place,
        typed,
        'redirect',
        `${why}${by === 'editor' ? 'The redirect URI to register: the address of this editor.' : 'The redirect URI to register. Add a port, such as 127.0.0.1:8765, only if the authorization server wants a fixed one.'}`,
        own,
        (text) => (by === 'editor' ? (text === own ? undefined : `Only ${own} leads back to this editor.`) : refuseRedirect(text)),
      )();
    },
    line(place, typed, 'client', 'The client id, as the authorization server gave it.', 'culvert-desktop', needed),
    ...proofAsks(place, draft, ['none', 'secret', 'key'], atServer(typed)),
  ];
}

const PROOFS: Readonly<Record<Proof, Choice<Proof>>> = {
  none: { label: 'By nothing but its id', description: 'a public client', value: 'none' },
  secret: { label: 'With a secret', description: 'stored in the system’s keyring', value: 'secret' },
  key: { label: 'With a private key', description: 'private_key_jwt; stored in the system’s keyring', value: 'key' },
};

/** Who is shown it, in words, and where it goes. */
interface Shown {
  readonly question: string;
  readonly secret: string;
  readonly register: string;
  readonly address: () => string | undefined;
}

function atServer(typed: SignInDraft['typed']): Shown {
  return {
    question: 'How does the client show who it is?',
    secret: 'The client secret. It is stored in the system’s keyring and sent to the authorization server only.',
    register: 'at the authorization server',
    address: () => typed['issuer'],
  };
}

function atProvider(typed: SignInDraft['typed']): Shown {
  return {
    question: 'How does the client show the identity provider who it is?',
    secret: 'The client’s secret at the identity provider. It is stored in the system’s keyring and sent to its token endpoint only.',
    register: 'at the identity provider',
    address: () => typed['providerEndpoint'],
  };
}

function proofAsks(place: StepPlace, draft: ProofDraft, allowed: readonly Proof[], shown: Shown): readonly Ask[] {
  return [
    async () => {
      const result = await askChoice(
        place,
        shown.question,
        allowed.map((proof) => PROOFS[proof]),
        draft.proof,
      );
      if (result.kind === 'value') draft.proof = result.value;
      return result;
    },
    async () => {
      if (draft.proof === 'secret') return askSecret(place, draft, shown);
      return draft.proof === 'key' ? askKey(place, draft, shown) : SKIP;
    },
  ];
}

async function askSecret(place: StepPlace, draft: ProofDraft, { secret, address }: Shown): Promise<StepResult<unknown>> {
  const kept = mayKeep(draft, address()) ? draft.secret : undefined;
  const result = await askText(place, {
    prompt: `${secret}${kept ? ' Leave empty to keep what you entered before.' : ''}`,
    placeholder: kept ? 'entered' : 'paste it here',
    password: true,
    validate: (value) => (kept && value === '' ? undefined : refuseSecret(value)),
  });
  if (result.kind === 'value' && result.value !== '') {
    draft.secret = new Secret(result.value);
    delete draft.storedFor;
  }
  return result;
}

async function askKey(place: StepPlace, draft: ProofDraft, shown: Shown): Promise<StepResult<unknown>> {
  const kept = mayKeep(draft, shown.address()) && draft.key !== undefined;
  const result = await askChoice<'keep' | 'make' | 'file'>(place, 'Which private key?', [
    ...(kept ? [{ label: '$(check) The one from before', value: 'keep' as const }] : []),
    { label: '$(sparkle) One that is made now', description: 'you register its public half, which is shown', value: 'make' },
    { label: '$(file) One from a file', description: 'PEM; Culvert keeps a copy, delete the file then', value: 'file' },
  ]);
  if (result.kind !== 'value' || result.value === 'keep') return result;
  const key = result.value === 'make' ? await makeKey(shown) : await keyFromFile();
  if (!key) return askKey(place, draft, shown);
  draft.key = key;
  delete draft.storedFor;
  return result;
}

/** Makes a key for signing (ES256) and shows its public half as a JSON Web Key Set (RFC 7517), as authorization servers take it. */
async function makeKey({ register }: Shown): Promise<NonNullable<ProofDraft['key']>> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const set = { keys: [{ ...publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] };
  const document = await vscode.workspace.openTextDocument({ content: JSON.stringify(set, null, 2), language: 'json' });
  await vscode.window.showTextDocument(document, { preserveFocus: true });
  void vscode.window.showInformationMessage(`Register this public key for the client ${register}. The private key stays in the keyring.`);
  return { secret: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string), algorithm: 'ES256' };
}

async function keyFromFile(): Promise<ProofDraft['key']> {
  const text = await readPem('Private Key of the Client', 'key');
  if (text === undefined) return undefined;
  try {
    const key = createPrivateKey(text);
    const algorithm = algorithmOf(createPublicKey(key).export({ format: 'jwk' }));
    if (algorithm) return { secret: new Secret(key.export({ type: 'pkcs8', format: 'pem' }) as string), algorithm };
  } catch {
    // Its own message could quote the key.
  }
  void vscode.window.showErrorMessage(
    'That key can’t sign for a client. Choose an RSA, P-256 or Ed25519 key in PEM form, without a password.',
  );
  return undefined;
}

/** The algorithm that fits a key (RFC 7518, 3.1; RFC 8037). */
function algorithmOf({ kty, crv }: { readonly kty?: string; readonly crv?: string }): Algorithm | undefined {
  if (kty === 'RSA') return 'RS256';
  return crv === 'P-256' ? 'ES256' : crv === 'Ed25519' ? 'EdDSA' : undefined;
}

function assertionAsk(place: StepPlace, draft: SignInDraft, question: string): Ask {
  return async () => {
    const result = await askSource(place, draft.assertion, question);
    if (result.kind === 'value') draft.assertion = result.value;
    return result;
  };
}

/**
 * Asks for another secret or key of a client that signs in by itself, at the authorization server or at the company’s identity provider; its
 * next token is asked for with it. The other one stays.
 */
export async function replaceClientSecret(
  app: App,
  { id, name, origins, source }: Credential,
  whose: 'client' | 'identity',
): Promise<Credential | undefined> {
  if (source?.kind !== 'oauth' || source.grant === 'code') return undefined;
  const before = await signInDraftOf(app, id);
  const entered: ProofDraft = {};
  const place = { ...single(`Culvert: Replace ${name}`), canGoBack: true };
  const shown = whose === 'client' ? atServer(before.typed) : atProvider(before.typed);
  if ((await inOrder(...proofAsks(place, entered, ['secret', 'key'], shown))) !== 'done') return undefined;
  const { settings, ...secrets } = setupOf(
    whose === 'client' ? { ...before, ...entered } : { ...before, atProvider: entered },
    source.grant,
  );
  const state = typedState(settings, secrets);
  if (!state) return undefined;
  const next = { ...settings, ...(source.assertion === undefined ? {} : { assertion: source.assertion }) };
  return app.core.credentials.replaceSource(id, next, { secret: stateSecret(state), origins: origins.map(keptFor) });
}

/** What the server names, to be looked at before anything goes there; nothing if it can’t be found out. */
function namedBy(app: App, target: URL): Promise<string | undefined> {
  return found(`Culvert: asking ${target.host} how to sign in…`, (signal) => app.core.signIns.namedBy(target, signal));
}

function identityEndpoint(app: App, target: URL, issuer: string): Promise<IdentityEndpoint | undefined> {
  return found('Culvert: asking the identity provider where it gives tokens…', (signal) =>
    app.core.signIns.identityEndpoint(target, issuer, signal),
  );
}

async function found<T>(title: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    async (_progress, token) => {
      const stop = new AbortController();
      const subscription = token.onCancellationRequested(() => stop.abort());
      try {
        return await ask(stop.signal);
      } catch (error) {
        if (!(error instanceof OAuthFailure)) throw error;
        return undefined;
      } finally {
        subscription.dispose();
      }
    },
  );
}
