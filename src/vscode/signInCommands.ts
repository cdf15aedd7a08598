import * as vscode from 'vscode';
import type { Credential } from '../credentials/credential.ts';
import { shownHost } from '../credentials/oauth/failure.ts';
import type { CredentialError } from '../credentials/source.ts';
import { bindingOf, originOf, type Server, type UpstreamPlace } from '../mcp/server.ts';
import type { App } from './app.ts';
import { askChoice, single } from './steps.ts';
import type { SignInDraft, SignInSetup } from './commands/signInSetup.ts';
import { signIn, type SignInResult } from './signIn.ts';

/** Whether a credential is a user’s sign-in. */
export function isSignIn({ source }: Credential): boolean {
  return source?.kind === 'oauth' && source.grant === 'code';
}

/** Whether a server can be signed in to: its URL is what we see ourselves. */
export function canSignIn(place: UpstreamPlace): place is Exclude<UpstreamPlace, { kind: 'stdio' }> {
  return place.kind !== 'stdio' && place.ssh === undefined;
}

/** **Culvert: Sign In…** */
export async function signInCommand(app: App, given: Credential | undefined): Promise<void> {
  const { core } = app;
  const credential = given ? core.credentials.get(given.id) : await pickSignIn(app);
  if (!credential) return;
  await signInAgain(app, credential);
}

/** Signs a credential in, and tells how it went. */
export async function signInAgain(app: App, credential: Credential): Promise<SignInResult | undefined> {
  const server = app.core.servers
    .list()
    .find(({ credentials, upstream }) => credentials.includes(credential.id) || credential.origins.includes(bindingOf(upstream)));
  if (!server || !canSignIn(server.upstream)) {
    void vscode.window.showWarningMessage(`No server uses ${credential.name}, so there is nowhere to sign in.`);
    return undefined;
  }
  const result = await signIn(app, { credential, label: server.label, target: new URL(server.upstream.url) });
  tell(result, server.label);
  return result;
}

/** Signs in to a server that has no credential yet, or with another account. The credential is gone again if nothing comes of it. */
export async function signInNew(
  app: App,
  label: string,
  place: UpstreamPlace,
  name: string,
  wwwAuthenticate: string | undefined,
  { setup, typing }: { readonly setup?: SignInSetup | undefined; readonly typing?: SignInDraft | undefined } = {},
): Promise<Credential | undefined> {
  if (!canSignIn(place)) return undefined;
  const { core } = app;
  const { client: registered, ...settings } = setup?.settings ?? { kind: 'oauth', grant: 'code' };
  const credential = await core.credentials.add(name, { kind: 'bearer' }, [bindingOf(place)], settings);
  const client = registered && { settings: registered, ...(setup?.secret ? { secret: setup.secret } : {}) };
  let kept = false;
  try {
    const result = await signIn(app, { credential, label, target: new URL(place.url), wwwAuthenticate, anyAccount: true, client, typing });
    if (result.kind === 'failed') void vscode.window.showWarningMessage(result.message);
    kept = result.kind === 'done';
    return kept ? core.credentials.get(credential.id) : undefined;
  } finally {
    if (!kept) await core.credentials.forget(credential.id);
  }
}

/** Tells how a sign-in went. */
export function tell(result: SignInResult, label: string): void {
  if (result.kind === 'done') {
    const { source } = result.credential;
    const account = source?.kind === 'oauth' && source.account ? ` as ${source.account.label}` : '';
    void vscode.window.showInformationMessage(`You are signed in to ${label}${account}. The next call uses it.`);
  } else if (result.kind === 'failed') void vscode.window.showWarningMessage(result.message);
}

async function pickSignIn(app: App): Promise<Credential | undefined> {
  const all = app.core.credentials.list().filter(isSignIn);
  if (all.length === 0) {
    void vscode.window.showInformationMessage(
      'No server in Culvert is signed in to yet. “Culvert: Add Server…” and “Culvert: Edit Server…” offer it where a server wants it.',
    );
    return undefined;
  }
  const result = await askChoice(
    single('Culvert: Sign In'),
    'Which sign-in?',
    all.map((credential) => ({ label: credential.name, description: accountOf(credential), value: credential })),
  );
  return result.kind === 'value' ? result.value : undefined;
}

function accountOf({ source }: Credential): string {
  return source?.kind === 'oauth' ? (source.account?.label ?? 'not signed in, or the account is not known') : '';
}

/** What is known of a sign-in, for the view: who, where, what for, how long. `undefined` for other credentials. */
export function signInWords(
  { core }: App,
  { id, source }: Credential,
): { readonly short: string; readonly lines: readonly string[] } | undefined {
  if (source?.kind !== 'oauth') return undefined;
  const held = core.sources.held(id);
  const { account, issuer, grant, client } = source;
  if (grant !== 'code')
    return {
      short: GRANT_WORDS[grant],
      lines: [
        `${GRANT_WORDS[grant]}${client ? ` ${client.id}` : ''}${issuer === undefined ? '' : ` at ${shownHost(issuer)}`}`,
        ...scopeLines(held?.scopes ?? source.scopes ?? []),
        ...endLines(held?.validUntil),
      ],
    };
  const scopes = held?.scopes ?? source.scopes ?? [];
  return {
    short: account?.label ?? (issuer === undefined ? 'not signed in' : 'signed in'),
    lines: [
      `${account ? `Signed in as ${account.label}` : issuer === undefined ? 'Not signed in' : 'Signed in'}${issuer === undefined ? '' : ` at ${shownHost(issuer)}`}`,
      ...scopeLines(scopes),
      ...endLines(held?.validUntil),
    ],
  };
}

/** What signs in where no user does. */
const GRANT_WORDS = {
  'client-credentials': 'client',
  enterprise: 'company identity',
  workload: 'workload identity',
} as const;

function scopeLines(scopes: readonly string[]): string[] {
  return scopes.length === 0 ? [] : [`Permissions: ${scopes.join(', ')}`];
}

function endLines(until: number | undefined): string[] {
  return until === undefined ? [] : [`Ends ${new Date(until).toLocaleString()}`];
}

/** Sign-ins that may be used for a server. */
export function signInsFor(app: App, server: Server): Credential[] {
  const { upstream } = server;
  if (!canSignIn(upstream)) return [];
  const origin = originOf(upstream.url);
  return app.core.credentials.list().filter((credential) => isSignIn(credential) && credential.origins.includes(origin));
}

/** Says once that a sign-in has ended, with the way to renew it. */
export class SignInReminder implements vscode.Disposable {
  readonly #app: App;
  readonly #subscription: { dispose(): void };
  readonly #shown = new Set<string>();

  constructor(app: App) {
    this.#app = app;
    this.#subscription = app.core.sources.onDidFail(({ credential, error }) => void this.#remind(credential, error));
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #remind(credential: Credential, error: CredentialError): Promise<void> {
    if (error.action !== 'sign-in' || !isSignIn(credential) || this.#shown.has(credential.id)) return;
    this.#shown.add(credential.id);
    try {
      const choice = await vscode.window.showWarningMessage(error.message, 'Sign in Again');
      if (choice === 'Sign in Again') await signInAgain(this.#app, this.#app.core.credentials.get(credential.id) ?? credential);
    } finally {
      this.#shown.delete(credential.id);
    }
  }
}
