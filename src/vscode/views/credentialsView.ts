import * as vscode from 'vscode';
import { describePlacement, type Credential } from '../../credentials/credential.ts';
import { describeBinding } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { setContext } from '../adapters.ts';
import { CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { isSignIn, signInWords } from '../signInCommands.ts';
import { Rows, ago, asMarkdownText } from './items.ts';

/** **Credentials**: name, server, where it may go, last used. */
export class CredentialsView extends Rows<Credential> {
  readonly #app: App;

  constructor(app: App) {
    super();
    this.#app = app;
    this.own(vscode.window.createTreeView(VIEWS.credentials, { treeDataProvider: this }));
    this.redrawOn(app.core.credentials.onDidChange, app.core.servers.onDidChange, app.core.sources.onDidChange);
    this.onRedraw();
  }

  getChildren(row?: Credential): Credential[] {
    return row ? [] : this.#app.core.credentials.list();
  }

  getTreeItem(credential: Credential): vscode.TreeItem {
    const { core } = this.#app;
    const servers = core.servers.list().filter((s) => s.credentials.includes(credential.id));
    const use = core.credentials.lastUse(credential.id);
    const used = use ? `used ${ago(use.at, Date.now())}` : 'never used';
    const hosts =
      credential.placement.kind === 'environment'
        ? `the process has it, in ${credential.placement.name}`
        : credential.origins.map(describeBinding).join(', ');
    const item = new vscode.TreeItem(credential.name);
    item.id = credential.id;
    item.contextValue = ITEMS.credential;
    item.iconPath = new vscode.ThemeIcon(credential.placement.kind === 'environment' ? 'symbol-variable' : 'key');
    // Most names begin with their server's; said twice, there would be no room for the rest.
    const others = servers.map((s) => s.label).filter((label) => !credential.name.startsWith(label));
    const serverPart = servers.length === 0 ? ['no server'] : others.length === 0 ? [] : [others.join(', ')];
    const signedIn = signInWords(this.#app, credential);
    if (signedIn) item.iconPath = new vscode.ThemeIcon('account');
    item.description = [...serverPart, ...(signedIn ? [signedIn.short] : []), hosts, used].join(' · ');
    item.tooltip = new vscode.MarkdownString(
      [
        `**${asMarkdownText(credential.name)}**`,
        `For ${asMarkdownText(servers.map((s) => s.label).join(', ') || 'no server')}, as ${asMarkdownText(describePlacement(credential.placement))}`,
        credential.placement.kind === 'environment'
          ? 'Given to the process of one command, which holds it from then on and could pass it on'
          : `May go to ${asMarkdownText(credential.origins.map(describeBinding).join(', '))} and nowhere else`,
        ...(signedIn ? signedIn.lines.map(asMarkdownText) : []),
        `Stored ${asMarkdownText(new Date(credential.replacedAt ?? credential.createdAt).toLocaleString())}, ${used}${use ? `, ${use.count} times` : ''}`,
      ].join('\n\n'),
    );
    item.accessibilityInformation = { label: `${credential.name}, credential, ${item.description}` };
    return item;
  }

  protected override onRedraw(): void {
    setContext(CONTEXT.hasCredentials, this.#app.core.credentials.list().length > 0);
    setContext(CONTEXT.hasSignIns, this.#app.core.credentials.list().some(isSignIn));
  }
}
