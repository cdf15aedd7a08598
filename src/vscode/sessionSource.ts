import * as vscode from 'vscode';
import { Emitter, type Disposable } from '../common/disposable.ts';
import { Secret } from '../credentials/secret.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk, type SourceTest } from '../credentials/source.ts';
import type { SpecOf } from '../credentials/sourceSpec.ts';
import { revisionOf } from '../credentials/sources.ts';
import { endOfToken } from '../credentials/tokenEnd.ts';

/** How long a token is kept, milliseconds: the editor renews its sessions itself and says when they changed. */
const KEEP_MS = 60_000;

/** A provider of sessions, as the extension that brings it names it. */
export interface SessionProvider {
  readonly id: string;
  readonly label: string;
}

/** Providers that extensions declare. The editor has no list of those that are registered. */
export function sessionProviders(): SessionProvider[] {
  const found = new Map<string, string>();
  for (const { packageJSON } of vscode.extensions.all) {
    const declared = (packageJSON as { contributes?: { authentication?: unknown } }).contributes?.authentication;
    if (!Array.isArray(declared)) continue;
    for (const entry of declared as { id?: unknown; label?: unknown }[])
      if (typeof entry.id === 'string' && entry.id !== '') found.set(entry.id, typeof entry.label === 'string' ? entry.label : entry.id);
  }
  return [...found].map(([id, label]) => ({ id, label })).sort((a, b) => a.label.localeCompare(b.label));
}

/** Signs in, by the editor’s own dialogs: only from a command of the user. `undefined`: the user would not. */
export async function signIn(spec: Pick<SpecOf<'session'>, 'provider' | 'scopes'>): Promise<vscode.AuthenticationSession | undefined> {
  try {
    return await vscode.authentication.getSession(spec.provider, [...spec.scopes], { createIfNone: true });
  } catch (error) {
    // The user's “no” comes as an error too.
    if (error instanceof Error && /cancel|consent|did not/i.test(error.message)) return undefined;
    throw new CredentialError(
      'CULVERT_CREDENTIAL_SIGN_IN',
      'sign-in',
      `The editor could not sign in to ${spec.provider}. Check that the extension that brings it is installed and enabled, and that you are online.`,
    );
  }
}

/** Tokens of the editor's own sign-ins: GitHub, Microsoft, and whatever extensions register. During a call it never asks anybody. */
export class SessionSource implements CredentialSource, Disposable {
  readonly kind = 'session';
  readonly #changed = new Emitter<string>();
  readonly #subscription: vscode.Disposable;

  /** Fires with the id of a provider whose sessions changed. */
  readonly onDidChange = this.#changed.event;

  constructor() {
    this.#subscription = vscode.authentication.onDidChangeSessions(({ provider }) => this.#changed.fire(provider.id));
  }

  async resolve({ credential }: SourceAsk): Promise<Resolved> {
    if (credential.source?.kind !== 'session') throw new Error('The credential is not that of a session.');
    const { provider, scopes, account, accountLabel } = credential.source;
    let session: vscode.AuthenticationSession | undefined;
    try {
      session = await vscode.authentication.getSession(provider, [...scopes], {
        silent: true,
        ...(account === undefined ? {} : { account: { id: account, label: accountLabel ?? account } }),
      });
    } catch {
      session = undefined;
    }
    // The editor gives another account's session where it has no such one.
    if (!session || (account !== undefined && session.account.id !== account))
      throw new CredentialError(
        'CULVERT_CREDENTIAL_SIGNED_OUT',
        'sign-in',
        `You are not signed in to ${provider}${accountLabel === undefined ? '' : ` as ${accountLabel}`} in the editor, so “${credential.name}” has no value.`,
        {
          forAgent: `The user is not signed in to ${provider} in the editor. They can with “Culvert: Test Credential…”.`,
          action: 'sign-in',
        },
      );
    const validUntil = endOfToken(session.accessToken);
    return {
      secret: new Secret(session.accessToken),
      revision: revisionOf(session.accessToken),
      expiresAt: Date.now() + KEEP_MS,
      scopes: session.scopes,
      account: session.account.label,
      ...(validUntil === undefined ? {} : { validUntil }),
    };
  }

  async test(ask: SourceAsk): Promise<SourceTest> {
    const { account } = await this.resolve(ask);
    return { state: 'valid', step: 'sign-in', detail: `The editor is signed in as ${account ?? 'somebody'}.` };
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
  }
}
