import * as vscode from 'vscode';
import { messageOf } from '../common/errors.ts';
import { visible } from '../common/text.ts';
import type { Credential } from '../credentials/credential.ts';
import { canOpen, type Proposal } from '../credentials/oauth/codeFlow.ts';
import { parametersOf } from '../credentials/oauth/callbackQuery.ts';
import { OAuthFailure, shownHost } from '../credentials/oauth/failure.ts';
import { holderOf } from '../credentials/oauth/oauthSource.ts';
import type { TypedClient } from '../credentials/oauth/state.ts';
import type { App } from './app.ts';
import { askClient } from './commands/signInDialog.ts';
import type { SignInDraft } from './commands/signInSetup.ts';
import { SIGN_IN_PATH } from './names.ts';
import { openWay } from './signInWay.ts';
import { single } from './steps.ts';

/** Scopes that are named one by one when the user is asked. */
const MAX_SHOWN_SCOPES = 30;

/** How a sign-in went. */
export type SignInResult =
  | { readonly kind: 'done'; readonly credential: Credential }
  | { readonly kind: 'given-up' }
  | { readonly kind: 'failed'; readonly message: string };

/** What is signed in. */
export interface SignInTask {
  /** Has the source `oauth` with the grant `code`. */
  readonly credential: Credential;
  /** The server’s label. */
  readonly label: string;
  readonly target: URL;
  /** What the server said when it refused; default: what it said last. */
  readonly wwwAuthenticate?: string | undefined;
  /** Another account than before is welcome. */
  readonly anyAccount?: boolean;
  /** A client that was registered by hand. */
  readonly client?: TypedClient | undefined;
  /** What is typed where the authorization server wants such a client; kept by whoever may ask again. */
  readonly typing?: SignInDraft | undefined;
}

/**
 * Signs the user in: finds out where, asks, opens the browser, waits. Whatever window the browser comes back to finishes it. Never throws for
 * what servers and users do.
 */
export async function signIn(app: App, task: SignInTask): Promise<SignInResult> {
  const { core, logger } = app;
  try {
    const proposal = await discovering(app, task);
    if (!proposal) return { kind: 'given-up' };
    if (!(await consents(task, proposal))) return { kind: 'given-up' };
    try {
      return await browsing(app, task, proposal);
    } catch (error) {
      if (!wantsClient(error)) throw error;
      const title = `Sign in to ${task.label}`;
      const client = await askClient(single(title), shownHost(proposal.found.issuer), task.typing ?? { typed: {} });
      return client ? await browsing(app, { ...task, client }, proposal) : { kind: 'given-up' };
    }
  } catch (error) {
    if (!(error instanceof OAuthFailure)) throw error;
    logger.info(`Signing in to ${task.label}: ${error.message}`);
    core.act({ act: 'sign-in-failed', subject: task.credential.name, detail: error.message });
    return { kind: 'failed', message: error.message };
  }
}

/** Whether an authorization server lets no client register by itself. */
function wantsClient(error: unknown): boolean {
  return (
    error instanceof OAuthFailure &&
    (error.code === 'CULVERT_CREDENTIAL_OAUTH_NO_CLIENT' || error.code === 'CULVERT_CREDENTIAL_OAUTH_REGISTRATION')
  );
}

/** Finds out where the sign-in leads; `undefined` if the user cancelled. */
async function discovering({ core }: App, { credential, label, target, wwwAuthenticate }: SignInTask): Promise<Proposal | undefined> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `Culvert: asking ${label} how to sign in…`, cancellable: true },
    async (_progress, token) => {
      const stop = stopOf(token);
      try {
        return await core.signIns.propose(target, holderOf(credential).settings, stop.signal, {
          credential,
          ...(wwwAuthenticate === undefined ? {} : { wwwAuthenticate }),
        });
      } catch (error) {
        if (stop.signal.aborted) return undefined;
        throw error;
      }
    },
  );
}

/** Asks before the browser opens and before anything is registered: who, where, what for. */
async function consents({ credential, label, target, client }: SignInTask, { found, scopes, moved }: Proposal): Promise<boolean> {
  const shown = scopes.slice(0, MAX_SHOWN_SCOPES).map((scope) => visible(scope, 100));
  const more = scopes.length > MAX_SHOWN_SCOPES ? [`and ${scopes.length - MAX_SHOWN_SCOPES} more`] : [];
  const { account, client: known } = holderOf(credential).settings;
  const clientId = (client?.settings ?? known)?.id;
  const lines = [
    ...(moved === undefined
      ? []
      : [`This is another place than before: you signed in at ${shownHost(moved)}. Go on only if you know why.`, '']),
    `Server: ${target.host}`,
    `You sign in at: ${new URL(found.metadata.authorization_endpoint).origin}${new URL(found.issuer).origin === new URL(found.metadata.authorization_endpoint).origin ? '' : ` (of ${shownHost(found.issuer)})`}`,
    `Tokens come from: ${new URL(found.server.tokenEndpoint).origin}`,
    `It asks for: ${scopes.length === 0 ? 'whatever the server gives by default' : [...shown, ...more].join(', ')}`,
    ...(clientId === undefined ? [] : [`Client: ${visible(clientId, 100)}`]),
    ...(account ? [`Account so far: ${visible(account.label, 100)}`] : []),
    '',
    `Agents will be able to use ${label} in your name within these permissions, as far as you allow its tools in Culvert. They never see the token: it is stored in the system’s keyring and sent to ${target.host} only.`,
  ];
  const choice = await vscode.window.showInformationMessage(`Sign in to ${label}?`, { modal: true, detail: lines.join('\n') }, 'Sign In');
  return choice === 'Sign In';
}

async function browsing(app: App, task: SignInTask, proposal: Proposal): Promise<SignInResult> {
  const { core } = app;
  const { credential, client } = task;
  const { settings } = holderOf(credential);
  const way = await openWay(app, client ? { ...settings, client: client.settings } : settings, proposal);
  try {
    const purpose = { window: app.principal.window, label: task.label, account: task.anyAccount === true ? 'any' : 'same' };
    const { url, id } = await core.signIns.start(credential, proposal, way.redirectUri, AbortSignal.timeout(60_000), purpose, client);
    way.listen(url.searchParams.get('state') ?? '', (parameters) => void finishHere(core.signIns, parameters, app));
    if (!canOpen(url))
      throw new OAuthFailure(
        'CULVERT_CREDENTIAL_OAUTH_ADDRESS',
        'sign-in',
        'settings',
        `${shownHost(proposal.found.issuer)} names a sign-in page that is no web address. It was not opened.`,
      );
    return await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: `Culvert: waiting for you to sign in to ${task.label} in the browser…`,
        cancellable: true,
      },
      async (_progress, token) => {
        const stop = stopOf(token);
        // As text: VS Code would write the query of a Uri anew, and change what is encoded in it.
        if (!(await vscode.env.openExternal(url.href as unknown as vscode.Uri))) {
          await core.signIns.pending.drop(id);
          return { kind: 'given-up' };
        }
        const end = await core.signIns.pending.ended(id, stop.signal);
        if (end?.ok === true) return { kind: 'done', credential: core.credentials.get(credential.id) ?? credential };
        if (end) return { kind: 'failed', message: end.message };
        if (stop.signal.aborted) return { kind: 'given-up' };
        return {
          kind: 'failed',
          message: `Nobody signed in to ${task.label} within ten minutes, so nothing was stored. If the browser did not open, or you closed its tab, sign in again.`,
        };
      },
    );
  } finally {
    way.dispose();
  }
}

/** What came back is finished; the window that waits hears of it through the database, and says what came of it. */
async function finishHere(signIns: App['core']['signIns'], parameters: URLSearchParams, app: App): Promise<Credential | undefined> {
  try {
    return await signIns.complete(parameters, AbortSignal.timeout(60_000));
  } catch (error) {
    app.logger.info(`Signing in: ${messageOf(error)}`);
    return undefined;
  }
}

/** Takes what the browser brings to the editor’s own address, for sign-ins that any window began. */
export class SignInUriHandler implements vscode.UriHandler {
  readonly #app: () => App | undefined;

  constructor(app: () => App | undefined) {
    this.#app = app;
  }

  async handleUri(uri: vscode.Uri): Promise<void> {
    const app = this.#app();
    if (!app || uri.path !== SIGN_IN_PATH) return;
    const credential = await finishHere(app.core.signIns, parametersOf(uri.query), app);
    // Whoever sent the browser out says the same; if that window is closed, nobody else would.
    if (credential) app.logger.info(`${credential.name} was signed in.`);
  }
}

function stopOf(token: vscode.CancellationToken): AbortController {
  const stop = new AbortController();
  token.onCancellationRequested(() => stop.abort());
  return stop;
}
