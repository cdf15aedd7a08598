import * as vscode from 'vscode';
import { remaining } from '../common/text.ts';
import type { Credential } from '../credentials/credential.ts';
import type { SourceFailure } from '../credentials/sources.ts';
import type { App } from './app.ts';
import { COMMANDS } from './names.ts';
import { SessionSource } from './sessionSource.ts';
import { isSignIn } from './signInCommands.ts';

/** A value that nobody renews is warned about this long before its end, milliseconds. */
const WARN_BEFORE_MS = 24 * 3600_000;
/** How often is looked for values that end soon, milliseconds. */
const LOOK_MS = 10 * 60_000;

/** What the user can do about a failure, in a button. */
const ACTIONS = {
  'sign-in': ['Sign In…', COMMANDS.testCredential],
  confirm: ['Look at It…', COMMANDS.testCredential],
  replace: ['Replace…', COMMANDS.replaceCredential],
  edit: ['Edit Server…', COMMANDS.editServer],
} as const;

/** Brings the editor's own sessions in as a source, and tells the user, once each, about credentials that fail or end soon. */
export function watchCredentials(app: App): vscode.Disposable {
  const { sources, credentials } = app.core;
  const sessions = new SessionSource();
  const warned = new Set<string>();
  const look = () => {
    const now = Date.now();
    for (const credential of credentials.list()) {
      const { validUntil } = sources.held(credential.id) ?? {};
      const name = `${credential.id} ${validUntil ?? 0}`;
      // What has a source is renewed by it.
      if (credential.source || validUntil === undefined || validUntil - now > WARN_BEFORE_MS || warned.has(name)) continue;
      warned.add(name);
      void warn(credential, validUntil - now);
    }
  };
  // Sealed values tell their end, if they do, once they were read: that asks nobody.
  for (const credential of credentials.list()) {
    const [binding] = credential.origins;
    if (credential.source || binding === undefined) continue;
    try {
      void Promise.resolve(sources.resolve(credential, binding, new URL('stdio:'))).catch(() => undefined);
    } catch {
      // Said when a call needs it.
    }
  }
  const timer = setInterval(look, LOOK_MS);
  timer.unref();
  const subscriptions = [
    sources.register(sessions),
    sessions,
    sessions.onDidChange((provider) => {
      for (const { id, source } of credentials.list()) if (source?.kind === 'session' && source.provider === provider) sources.drop(id);
    }),
    sources.onDidChange(look),
    sources.onDidFail((failure) => void tell(failure)),
    { dispose: () => clearInterval(timer) },
  ];
  return vscode.Disposable.from(...subscriptions);
}

async function tell({ credential, error }: SourceFailure): Promise<void> {
  // SignInReminder offers to sign in again.
  if (error.action === 'sign-in' && isSignIn(credential)) return;
  // A client of its own signs nobody in: what helps is how it is set up.
  const action = error.action === 'sign-in' && credential.source?.kind === 'oauth' ? 'edit' : error.action;
  const [label, command] = action ? ACTIONS[action] : ['Test It…', COMMANDS.testCredential];
  const choice = await vscode.window.showWarningMessage(error.message, label);
  if (choice === label) await vscode.commands.executeCommand(command, ...(command === COMMANDS.editServer ? [] : [credential]));
}

async function warn(credential: Credential, leftMs: number): Promise<void> {
  const when = leftMs > 0 ? `ends in ${remaining(leftMs)}` : 'has ended';
  const choice = await vscode.window.showWarningMessage(
    `${credential.name} ${when}, by its own words. Get another at its provider and enter it, or calls will fail.`,
    'Replace…',
  );
  if (choice === 'Replace…') await vscode.commands.executeCommand(COMMANDS.replaceCredential, credential);
}
