import * as vscode from 'vscode';
import type { Credential } from '../credentials/credential.ts';
import type { Server } from '../mcp/server.ts';
import type { App } from './app.ts';
import { credentialName } from './credentialName.ts';
import { canSignIn, isSignIn, signInNew, signInsFor } from './signInCommands.ts';
import { askChoice, single } from './steps.ts';

/** **Culvert: Switch Account…** Which of several sign-ins a server is used with, everywhere or in this workspace; or one more. */
export async function switchAccount(app: App, given: Server | undefined): Promise<void> {
  const { core, principal } = app;
  const title = 'Culvert: Switch Account';
  const server = given ?? (await pickServer(app, title));
  if (!server) return;
  const accounts = signInsFor(app, server);
  const current = core.accounts.chosen(server, principal.workspace);
  const choice = await askChoice<Credential | 'new'>(single(`${title}: ${server.label}`), 'Which account?', [
    ...accounts.map((credential) => ({
      label: `$(account) ${nameOf(credential)}`,
      description: credential.id === current ? 'in use here' : '',
      value: credential,
    })),
    { label: '$(add) Another account…', description: 'signs in with the browser', value: 'new' as const },
  ]);
  if (choice.kind !== 'value') return;
  const name = credentialName(server.label, (taken) => core.credentials.list().some((credential) => credential.name === taken));
  const credential = choice.value === 'new' ? await signInNew(app, server.label, server.upstream, name, undefined) : choice.value;
  if (!credential) return;
  const where = principal.workspace === undefined ? 'everywhere' : await askWhere(server, nameOf(credential));
  if (where === undefined) return;
  if (where === 'workspace' && principal.workspace !== undefined) core.accounts.choose(server.id, principal.workspace, credential.id);
  else {
    const others = server.credentials.filter((id) => !accounts.some((account) => account.id === id));
    core.servers.put({ ...server, credentials: [credential.id, ...others] });
    if (principal.workspace !== undefined) core.accounts.choose(server.id, principal.workspace, undefined);
  }
  core.act({
    act: 'server-edited',
    server: server.id,
    subject: server.label,
    detail: `account ${nameOf(credential)} ${where === 'workspace' ? 'in this workspace' : 'everywhere'}`,
  });
  void vscode.window.showInformationMessage(
    `${server.label} is used as ${nameOf(credential)} ${where === 'workspace' ? 'in this workspace' : 'from now on'}.`,
  );
}

async function askWhere(server: Server, name: string): Promise<'workspace' | 'everywhere' | undefined> {
  const result = await askChoice<'workspace' | 'everywhere'>(single(`Use ${server.label} as ${name}`), 'Where?', [
    { label: '$(folder) In this workspace', description: 'elsewhere it stays as it is', value: 'workspace' },
    { label: '$(globe) Everywhere', description: 'where no workspace says otherwise', value: 'everywhere' },
  ]);
  return result.kind === 'value' ? result.value : undefined;
}

async function pickServer(app: App, title: string): Promise<Server | undefined> {
  const servers = app.core.servers
    .list()
    .filter(({ upstream, credentials }) => canSignIn(upstream) && credentials.some((id) => isSignInId(app, id)));
  if (servers.length === 0) {
    void vscode.window.showInformationMessage(
      'No server in Culvert is signed in to yet. “Culvert: Edit Server…” offers it where a server wants it.',
    );
    return undefined;
  }
  const result = await askChoice(
    single(title),
    'Which server?',
    servers.map((server) => ({ label: server.label, value: server })),
  );
  return result.kind === 'value' ? result.value : undefined;
}

function isSignInId(app: App, id: string): boolean {
  const credential = app.core.credentials.get(id);
  return credential !== undefined && isSignIn(credential);
}

function nameOf({ name, source }: Credential): string {
  return source?.kind === 'oauth' && source.account ? source.account.label : name;
}
