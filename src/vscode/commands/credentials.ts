import * as vscode from 'vscode';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import type { Credential } from '../../credentials/credential.ts';
import { bindingOf, describeBinding, destinationOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { isSignIn, signInAgain } from '../signInCommands.ts';
import { confirmPlace, draftOf, tryServer, type TrialCredential } from './serverDialog.ts';

/** How long taking tokens back may hold up forgetting them, milliseconds. */
const REVOKE_MS = 5_000;

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

/** **Culvert: Replace Credential…** The next call uses the new value. */
export async function replaceCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Replace Credential', given);
  if (!credential) return;
  if (isSignIn(credential)) {
    await signInAgain(app, credential);
    return;
  }
  const result = await askText(single(`Culvert: Replace ${credential.name}`), {
    prompt: `The new value. It goes to ${credential.origins.map(describeBinding).join(', ')} only.`,
    placeholder: 'paste it here',
    password: true,
    validate: (value) => refuseValue(value, credential.placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS }),
  });
  if (result.kind !== 'value') return;
  const replaced = await app.core.credentials.replace(credential.id, new Secret(result.value));
  if (!replaced) return;
  app.core.act({ act: 'credential-replaced', subject: credential.name, detail: `revision ${replaced.revision}` });
  const choice = await vscode.window.showInformationMessage(`${credential.name} was replaced. The next call uses it.`, 'Test It');
  if (choice === 'Test It') await testCredential(app, replaced);
}

/** **Culvert: Test Credential…** Tries it on the server it is for. */
export async function testCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Test Credential', given);
  if (!credential) return;
  const server = app.core.servers.list().find((s) => s.credentials.includes(credential.id));
  if (!server) {
    void vscode.window.showWarningMessage(`No server uses ${credential.name}, so there is nowhere to test it.`);
    return;
  }
  const trial: TrialCredential[] = [];
  for (const id of server.credentials) {
    const { placement, name } = app.core.credentials.get(id) ?? { placement: undefined, name: 'A credential' };
    const opened = await app.core.credentials.vault.open(id, bindingOf(server.upstream));
    if (placement && opened.ok) trial.push({ placement, secret: opened.secret });
    else {
      const why =
        !opened.ok && opened.reason === 'other-origin'
          ? `It is not bound to ${destinationOf(server)}.`
          : 'Its value is not in the system’s keyring. Enter it again with “Culvert: Replace Credential…”.';
      void vscode.window.showWarningMessage(`${name} can’t be used. ${why}`);
      return;
    }
  }
  const place = await confirmPlace(draftOf(server));
  if (!place) return;
  const result = await tryServer(server.label, place, trial, app.logger);
  if (result.ok)
    void vscode.window.showInformationMessage(
      `${credential.name} works: ${server.label} answered and lists ${result.tools.length} ${result.tools.length === 1 ? 'tool' : 'tools'}.`,
    );
  else
    void vscode.window.showWarningMessage(
      result.what === 'credential'
        ? `${credential.name} does not work. ${result.message}`
        : `${credential.name} could not be tested. ${result.message}`,
    );
}

/** **Culvert: Forget Credential…** */
export async function forgetCredential(app: App, given: Credential | undefined): Promise<void> {
  const credential = await pickCredential(app, 'Culvert: Forget Credential', given);
  if (!credential) return;
  const { core } = app;
  const servers = core.servers.list().filter((s) => s.credentials.includes(credential.id));
  const detail =
    servers.length > 0
      ? `${servers.map((s) => s.label).join(', ')} can’t be used until you enter another one. The value is removed from the keyring; it stays valid at its provider until you revoke it there.`
      : 'The value is removed from the keyring; it stays valid at its provider until you revoke it there.';
  if ((await vscode.window.showWarningMessage(`Forget ${credential.name}?`, { modal: true, detail }, 'Forget')) !== 'Forget') return;
  await core.sources.revoke(credential, AbortSignal.timeout(REVOKE_MS));
  await core.credentials.forget(credential.id);
  core.act({ act: 'credential-forgotten', subject: credential.name });
}
