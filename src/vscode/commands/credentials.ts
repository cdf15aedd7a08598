import * as vscode from 'vscode';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { CredentialError } from '../../credentials/source.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import type { Credential } from '../../credentials/credential.ts';
import { bindingOf, describeBinding, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { isSignIn, signInAgain } from '../signInCommands.ts';
import { confirmPlace } from './commandConfirmation.ts';
import { pickServer } from './pickServer.ts';
import { addCredential } from './serverCredentials.ts';
import { draftOf } from './serverDraft.ts';
import { tryServer, type TrialCredential } from './serverTrial.ts';
import { replaceClientSecret } from './signInDialog.ts';
import { askSource, keyOf, prepareSource } from './sourceDialog.ts';

/** How long the end of a credential waits for whoever gave it, milliseconds. */
const REVOKE_MS = 5_000;
/** How long a source is asked while it is tested, milliseconds. */
const TEST_MS = 60_000;

async function pickCredential(app: App, title: string, given: Credential | undefined): Promise<Credential | undefined> {
  if (given) return app.core.credentials.get(given.id);
  const result = await askChoice(
    single(title),
    'Which credential?',
    app.core.credentials.list().map((credential) => ({
      label: credential.name,
      description: credential.origins.map(describeBinding).join(', '),
      value: credential,
    })),
  );
  return result.kind === 'value' ? result.value : undefined;
}

/** **Culvert: Add Credential…** One more for a server, beside those that it has. */
export async function addCredentialTo(app: App): Promise<void> {
  const title = 'Culvert: Add Credential';
  const server = await pickServer(app, title, undefined);
  if (server) await addCredential(app, server, title);
}

/** **Culvert: Replace Credential…** The next call uses the new value. */
export async function replaceCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Replace Credential', given);
  if (!credential) return;
  if (isSignIn(credential)) {
    await signInAgain(app, credential);
    return;
  }
  if (credential.source) {
    const { client, identityProvider } = credential.source.kind === 'oauth' ? credential.source : {};
    const what = await askChoice<'source' | 'again' | 'value' | 'client' | 'identity'>(
      single(`Culvert: Replace ${credential.name}`),
      `It comes from the ${describeSource(credential.source)}.`,
      [
        { label: '$(refresh) Ask again now', description: 'the next call gets what its source has then', value: 'again' },
        ...(client
          ? [{ label: '$(key) Enter another secret or key for the client', description: client.id, value: 'client' as const }]
          : []),
        ...(identityProvider
          ? [
              {
                label: '$(organization) Enter another secret or key for the client at the identity provider',
                description: identityProvider.clientId,
                value: 'identity' as const,
              },
            ]
          : []),
        { label: '$(plug) Let it come from elsewhere', value: 'source' },
        { label: '$(key) Enter a value', description: 'stored in the system’s keyring', value: 'value' },
      ],
    );
    if (what.kind !== 'value') return;
    if (what.value === 'client' || what.value === 'identity') {
      await replaced(app, await replaceClientSecret(app, credential, what.value));
      return;
    }
    if (what.value !== 'value') {
      await replaceSource(app, credential, what.value === 'again');
      return;
    }
  }
  const result = await askText(single(`Culvert: Replace ${credential.name}`), {
    prompt: `The new value. It goes to ${credential.origins.map(describeBinding).join(', ')} only.`,
    placeholder: 'paste it here',
    password: true,
    validate: (value) => refuseValue(value, credential.placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS }),
  });
  if (result.kind !== 'value') return;
  await app.core.sources.release(credential, AbortSignal.timeout(REVOKE_MS));
  await replaced(app, await app.core.credentials.replace(credential.id, new Secret(result.value)));
}

async function replaceSource(app: App, credential: Credential, again: boolean): Promise<void> {
  const { core } = app;
  if (again) {
    await core.sources.release(credential, AbortSignal.timeout(REVOKE_MS));
    core.act({ act: 'credential-replaced', subject: credential.name, detail: 'its source is asked again' });
    await testCredential(app, credential);
    return;
  }
  const result = await askSource(single(`Culvert: Replace ${credential.name}`), undefined);
  if (result.kind !== 'value') return;
  await core.sources.release(credential, AbortSignal.timeout(REVOKE_MS));
  await replaced(app, await core.credentials.replaceSource(credential.id, result.value.spec, keyOf(result.value)));
}

async function replaced(app: App, credential: Credential | undefined): Promise<void> {
  if (!credential) return;
  const from = credential.source ? `, from the ${describeSource(credential.source)}` : '';
  app.core.act({ act: 'credential-replaced', subject: credential.name, detail: `revision ${credential.revision}${from}` });
  const choice = await vscode.window.showInformationMessage(`${credential.name} was replaced. The next call uses it.`, 'Test It');
  if (choice === 'Test It') await testCredential(app, credential);
}

/** **Culvert: Test Credential…** Asks its source, then tries it on the server it is for, and says which of them failed and why. */
export async function testCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Test Credential', given);
  if (!credential) return;
  const { sources } = app.core;
  const server = app.core.servers.list().find((s) => s.credentials.includes(credential.id));
  if (!server) {
    void vscode.window.showWarningMessage(`No server uses ${credential.name}, so there is nowhere to test it.`);
    return;
  }
  const trial = await trialOf(app, server, credential);
  if (!trial) return;
  const place = await confirmPlace(draftOf(server));
  if (!place) return;
  const result = await tryServer(server.label, place, trial.values, app.logger);
  if (result.ok) {
    sources.noteHealth(credential.id, { state: 'valid' });
    void vscode.window.showInformationMessage(
      `${credential.name} works: ${server.label} answered and lists ${result.tools.length} ${result.tools.length === 1 ? 'tool' : 'tools'}.${trial.detail}`,
    );
    return;
  }
  if (result.what === 'credential') {
    sources.noteHealth(credential.id, { state: 'invalid', step: 'server', detail: result.message });
    void vscode.window.showWarningMessage(`${credential.name} does not work. ${result.message}${trial.detail}`);
  } else void vscode.window.showWarningMessage(`${credential.name} could not be tested. ${result.message}${trial.detail}`);
}

/** The values of all credentials of a server, fresh from their sources; `undefined` if one can't be had: that was said. */
async function trialOf(
  app: App,
  server: Server,
  tested: Credential,
): Promise<{ readonly values: TrialCredential[]; readonly detail: string } | undefined> {
  const { credentials, sources } = app.core;
  const binding = bindingOf(server.upstream);
  const url = server.upstream.kind === 'stdio' ? new URL('stdio:') : new URL(server.upstream.url);
  const values: TrialCredential[] = [];
  let detail = '';
  for (const id of server.credentials) {
    const stored = credentials.get(id);
    if (!stored) {
      void vscode.window.showWarningMessage('A credential of the server is missing. Add it again with “Culvert: Edit Server…”.');
      return undefined;
    }
    const signal = AbortSignal.timeout(TEST_MS);
    try {
      const credential = await prepareSource(app, stored);
      if (!credential) return undefined;
      const found = id === tested.id ? await sources.sourceOf(credential).test?.({ credential, binding, url, signal }) : undefined;
      if (found && found.state !== 'valid') {
        if (found.state === 'invalid') sources.noteHealth(id, { state: 'invalid', step: found.step, detail: found.detail });
        void vscode.window.showWarningMessage(
          `${credential.name} ${found.state === 'invalid' ? 'does not work' : 'could not be tested'} (${found.step}). ${found.detail}`,
        );
        return undefined;
      }
      if (found) detail = ` ${found.detail}`;
      const resolved = await sources.once(credential, binding, url, signal);
      const { secret, parts, nothing } = resolved;
      if (nothing === true) continue;
      const source = sources.sourceOf(credential);
      values.push({
        placement: credential.placement,
        secret,
        ...(parts ? { parts } : {}),
        ...(source.prove
          ? {
              prove: (method: string, to: URL) =>
                source.prove?.({ credential, binding, url, signal }, { method, url: to, body: undefined, resolved }) ?? {},
            }
          : {}),
      });
    } catch (error) {
      if (!(error instanceof CredentialError)) throw error;
      sources.noteHealth(id, { state: 'failed', step: error.step, detail: error.message });
      void vscode.window.showWarningMessage(`${stored.name} can’t be used (${error.step}). ${error.message}`);
      return undefined;
    }
  }
  return { values, detail };
}

/** **Culvert: Forget Credential…** */
export async function forgetCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Forget Credential', given);
  if (!credential) return;
  const { core } = app;
  const servers = core.servers.list().filter((s) => s.credentials.includes(credential.id));
  const what = credential.source
    ? `What its source gave is given back where that can be done; the ${describeSource(credential.source)} keeps it.`
    : 'The value is removed from the keyring; it stays valid at its provider until you revoke it there.';
  const detail = servers.length > 0 ? `${servers.map((s) => s.label).join(', ')} can’t be used until you enter another one. ${what}` : what;
  if ((await vscode.window.showWarningMessage(`Forget ${credential.name}?`, { modal: true, detail }, 'Forget')) !== 'Forget') return;
  await core.sources.revoke(credential, AbortSignal.timeout(REVOKE_MS));
  await core.credentials.forget(credential.id);
  core.act({ act: 'credential-forgotten', subject: credential.name });
}
