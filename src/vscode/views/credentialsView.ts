import * as vscode from 'vscode';
import { remaining } from '../../common/text.ts';
import { describePlacement, type Credential } from '../../credentials/credential.ts';
import { assertionOf } from '../../credentials/credentialRegistry.ts';
import { hintsOf } from '../../credentials/hints.ts';
import { describeSource, scopesOf } from '../../credentials/sources/describe.ts';
import { describeBinding, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { setContext } from '../adapters.ts';
import { CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { isSignIn, signInWords } from '../signInCommands.ts';
import { Rows, ago, asMarkdownText } from './items.ts';

/** Icons by where a value comes from. */
const ICONS: Readonly<Record<string, string>> = {
  sealed: 'key',
  environment: 'symbol-variable',
  file: 'file',
  command: 'terminal',
  keyring: 'lock',
  session: 'account',
  'hashicorp-vault': 'library',
  oauth: 'account',
};

/** **Credentials**: name, server, state, where it may go, where it comes from, last used. */
export class CredentialsView extends Rows<Credential> {
  readonly #app: App;
  readonly #view: vscode.TreeView<Credential>;
  /** By id: the rows that VS Code has. */
  #rows = new Map<string, Credential>();

  constructor(app: App) {
    super();
    this.#app = app;
    this.#view = vscode.window.createTreeView(VIEWS.credentials, { treeDataProvider: this });
    this.own(this.#view);
    this.redrawOn(app.core.credentials.onDidChange, app.core.servers.onDidChange, app.core.sources.onDidChange);
    this.onRedraw();
  }

  /** Shows the view and a credential in it. */
  async reveal(id: string): Promise<void> {
    const credential = this.rowsBelow().find((c) => c.id === id);
    if (credential) await this.#view.reveal(credential, { focus: true, select: true });
  }

  getParent(): undefined {
    return undefined;
  }

  protected override idOf({ id }: Credential): string {
    return id;
  }

  protected override rowsBelow(row?: Credential): readonly Credential[] {
    if (row) return [];
    this.#rows = new Map(
      this.#app.core.credentials.list().map((credential) => [credential.id, this.#rows.get(credential.id) ?? credential]),
    );
    return [...this.#rows.values()];
  }

  /** The servers that use a credential, itself or through one that it is exchanged for. */
  #serversOf({ id }: Credential): Server[] {
    const { credentials, servers } = this.#app.core;
    const ids = new Set([id, ...credentials.list().flatMap((other) => (assertionOf(other) === id ? [other.id] : []))]);
    return servers.list().filter((server) => server.credentials.some((one) => ids.has(one)));
  }

  protected override itemOf(row: Credential): vscode.TreeItem {
    return this.#itemOf(this.#app.core.credentials.get(row.id) ?? row);
  }

  #itemOf(credential: Credential): vscode.TreeItem {
    const { core } = this.#app;
    const servers = this.#serversOf(credential);
    const use = core.credentials.lastUse(credential.id);
    const used = use ? `used ${ago(use.at, Date.now())}` : 'never used';
    const hosts =
      credential.placement.kind === 'environment'
        ? `the process has it, in ${credential.placement.name}`
        : credential.origins.map(describeBinding).join(', ');
    const item = new vscode.TreeItem(credential.name);
    item.id = credential.id;
    item.contextValue = ITEMS.credential;
    const state = this.#stateOf(credential);
    item.iconPath = state.wrong
      ? new vscode.ThemeIcon('warning', new vscode.ThemeColor('list.warningForeground'))
      : new vscode.ThemeIcon(
          ICONS[credential.placement.kind === 'environment' ? 'environment' : (credential.source?.kind ?? 'sealed')] ?? 'key',
        );
    // Most names begin with their server's; said twice, there would be no room for the rest.
    const others = servers.map((s) => s.label).filter((label) => !credential.name.startsWith(label));
    const serverPart = servers.length === 0 ? ['no server'] : others.length === 0 ? [] : [others.join(', ')];
    const signedIn = signInWords(this.#app, credential);
    const from = credential.source && !signedIn ? [`from ${describeSource(credential.source)}`] : [];
    item.description = [...serverPart, ...(signedIn ? [signedIn.short] : []), ...state.words, hosts, ...from, used].join(' · ');
    item.accessibilityInformation = { label: `${credential.name}, credential, ${item.description}` };
    return item;
  }

  /** Made when somebody looks: it tells times and numbers that nobody need redraw a row for. */
  resolveTreeItem(item: vscode.TreeItem, credential: Credential): vscode.TreeItem {
    const now = this.#app.core.credentials.get(credential.id) ?? credential;
    item.tooltip = this.#tooltipOf(now);
    return item;
  }

  #tooltipOf(credential: Credential): vscode.MarkdownString {
    const { core } = this.#app;
    const servers = this.#serversOf(credential);
    const use = core.credentials.lastUse(credential.id);
    const used = use ? `used ${ago(use.at, Date.now())}` : 'never used';
    const state = this.#stateOf(credential);
    const signedIn = signInWords(this.#app, credential);
    const hints = hintsOf(credential, {
      servers: servers.length,
      lastUse: use?.at,
      scopes: core.sources.held(credential.id)?.scopes,
      now: Date.now(),
    });
    return new vscode.MarkdownString(
      [
        `**${asMarkdownText(credential.name)}**`,
        `For ${asMarkdownText(servers.map((s) => s.label).join(', ') || 'no server')}, as ${asMarkdownText(describePlacement(credential.placement))}`,
        credential.placement.kind === 'environment'
          ? 'Given to the process of one command, which holds it from then on and could pass it on'
          : `May go to ${asMarkdownText(credential.origins.map(describeBinding).join(', '))} and nowhere else`,
        ...(credential.source ? [`Comes from the ${asMarkdownText(describeSource(credential.source))}`] : []),
        ...(signedIn ? signedIn.lines.map(asMarkdownText) : []),
        ...state.lines.map(asMarkdownText),
        `${credential.source ? 'Set' : 'Stored'} ${asMarkdownText(new Date(credential.replacedAt ?? credential.createdAt).toLocaleString())}, ${used}${use ? `, ${use.count} times` : ''}`,
        ...hints.map((hint) => `$(lightbulb) ${asMarkdownText(hint)}`),
      ].join('\n\n'),
      true,
    );
  }

  /** How it does, in words for the row and lines for the tooltip. */
  #stateOf(credential: Credential): { readonly wrong: boolean; readonly words: readonly string[]; readonly lines: readonly string[] } {
    const { sources } = this.#app.core;
    const health = sources.health(credential.id);
    const held = sources.held(credential.id);
    const words: string[] = [];
    const lines: string[] = [];
    if (health?.state === 'invalid') words.push('refused by the server');
    if (health?.state === 'failed') words.push(`failed: ${health.step ?? 'source'}`);
    if (health?.detail !== undefined) lines.push(health.detail);
    if (health?.state === 'valid') lines.push(`Tested ${ago(health.at, Date.now())}: it works`);
    const left = held?.validUntil === undefined ? undefined : held.validUntil - Date.now();
    const over = left !== undefined && left <= 0;
    const wrong = health?.state === 'invalid' || health?.state === 'failed';
    // A sign-in tells the rest in its own words.
    if (credential.source?.kind === 'oauth') return { wrong, words, lines };
    if (left !== undefined) words.push(over ? 'has ended' : `ends in ${remaining(left)}`);
    if (held?.validUntil !== undefined)
      lines.push(`Good until ${new Date(held.validUntil).toLocaleString()}${credential.source ? '; renewed by its source' : ''}`);
    if (held?.account !== undefined) lines.push(`Account: ${held.account}`);
    const scopes = held?.scopes ?? scopesOf(credential);
    if (scopes.length > 0) lines.push(`Scopes: ${scopes.join(', ')}`);
    return { wrong: wrong || (over && !credential.source), words, lines };
  }

  protected override onRedraw(): void {
    setContext(CONTEXT.hasCredentials, this.#app.core.credentials.list().length > 0);
    setContext(CONTEXT.hasSignIns, this.#app.core.credentials.list().some(isSignIn));
  }
}
