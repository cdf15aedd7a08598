import * as vscode from 'vscode';
import type { Proposal } from '../credentials/oauth/codeFlow.ts';
import { OAuthFailure } from '../credentials/oauth/failure.ts';
import type { OAuthSettings } from '../credentials/oauth/settings.ts';
import { settings } from './adapters.ts';
import type { App } from './app.ts';
import { SIGN_IN_PATH } from './names.ts';

/** `publisher.name` of package.json. */
const EXTENSION_ID = 'culvert.culvert';

/** How the browser comes back. */
export interface Way extends vscode.Disposable {
  readonly redirectUri: string;
  /** Takes the answer with this `state`; resolves with it. Nothing comes where the editor’s own address takes it. */
  listen(state: string, take: (parameters: URLSearchParams) => void): void;
}

/** On the user’s own machine a port of it (RFC 8252, 7.3); where the extension runs elsewhere or in a browser, the editor’s own address. */
export function comesBackBy(): 'loopback' | 'editor' {
  const local = vscode.env.uiKind === vscode.UIKind.Desktop && vscode.env.remoteName === undefined;
  const callback = settings.signInCallback();
  return callback === 'loopback' || (callback === 'automatic' && local) ? 'loopback' : 'editor';
}

/** The editor’s own address, which leads to whichever window is in front. */
export async function editorRedirect(): Promise<string> {
  const own = vscode.Uri.from({ scheme: vscode.env.uriScheme, authority: EXTENSION_ID, path: SIGN_IN_PATH });
  return (await vscode.env.asExternalUri(own)).toString(true);
}

/** Opens the way back. Throws OAuthFailure where the registered port is taken. */
export async function openWay({ core }: App, how: OAuthSettings, proposal: Proposal): Promise<Way> {
  if (comesBackBy() === 'editor') return { redirectUri: await editorRedirect(), listen: () => undefined, dispose: () => undefined };
  const listener = await core.signIns.openCallback(how, proposal).catch((error: unknown) => {
    const { redirectPort } = how.client ?? {};
    if (redirectPort === undefined) throw error;
    throw new OAuthFailure(
      'CULVERT_CREDENTIAL_OAUTH_PORT',
      'sign-in',
      'later',
      `The browser is to come back to port ${redirectPort} of this machine, which another program uses. End that program, then sign in again.`,
      { cause: error },
    );
  });
  return {
    redirectUri: listener.redirectUri,
    listen: (state, take) => void listener.answer(state).then(take),
    dispose: () => listener.dispose(),
  };
}
