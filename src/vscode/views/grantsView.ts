import * as vscode from 'vscode';
import type { Decision } from '../../mcp/decision.ts';
import type { Server } from '../../mcp/server.ts';
import type { Target } from '../../authorization/grant.ts';
import { describeTarget } from '../../authorization/grant.ts';
import { remaining, visible } from '../../common/text.ts';
import { destinationOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { setContext } from '../adapters.ts';
import { CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { Rows, asMarkdownText } from './items.ts';
import { warningOf, warningUri } from './serverWarnings.ts';

/** A server, or one thing of it that can be switched on and off. */
export type GrantRow =
  | { readonly kind: 'server'; readonly server: Server }
  | {
      readonly kind: 'tool';
      readonly server: Server;
      readonly target: Target;
      readonly label: string;
      readonly tool: string | undefined;
      readonly description: string | undefined;
      readonly reads: boolean;
    };

/** How often the time left is drawn again, milliseconds. */
const COUNTDOWN_MS = 5_000;

/** **Grants**: servers, below them tools with checkboxes, state and remaining time. */
export class GrantsView extends Rows<GrantRow> {
  readonly #app: App;
  readonly #view: vscode.TreeView<GrantRow>;

  constructor(app: App) {
    super();
    this.#app = app;
    this.#view = vscode.window.createTreeView(VIEWS.grants, {
      treeDataProvider: this,
      manageCheckboxStateManually: true,
      showCollapseAll: true,
    });
    const countDown = setInterval(() => {
      if (this.#view.visible && app.core.access.nextExpiry() !== undefined) this.redraw();
    }, COUNTDOWN_MS);
    this.own(
      this.#view,
      { dispose: () => clearInterval(countDown) },
      this.#view.onDidChangeCheckboxState((event) => {
        for (const [row, state] of event.items) {
          if (row.kind === 'tool')
            app.core.access.set(row.server.id, row.target, state === vscode.TreeItemCheckboxState.Checked ? 'allow' : 'deny', 'tree');
        }
        this.redraw(true);
      }),
    );
    const { servers, access, catalog, approvals } = app.core;
    this.redrawOn(servers.onDidChange, access.onDidChange, access.onDidExpire, catalog.onDidChange, approvals.onDidChange);
    this.onRedraw();
  }

  /** Shows the view and, where given, a server in it. */
  async reveal(server?: string): Promise<void> {
    const row = this.getChildren().find((r) => server === undefined || r.server.id === server);
    if (row) await this.#view.reveal(row, { expand: true, focus: true, select: true });
    else await vscode.commands.executeCommand(`${VIEWS.grants}.focus`);
  }

  getParent(row: GrantRow): GrantRow | undefined {
    return row.kind === 'tool' ? { kind: 'server', server: row.server } : undefined;
  }

  getChildren(row?: GrantRow): GrantRow[] {
    const { core } = this.#app;
    if (!row) return core.servers.list().map((server) => ({ kind: 'server', server }));
    if (row.kind === 'tool') return [];
    const { server } = row;
    const tools = [...core.catalog.tools(server.id)]
      .sort((a, b) => a.name.localeCompare(b.name))
      .map((tool): GrantRow => ({
        kind: 'tool',
        server,
        target: { kind: 'tools', names: [tool.name] },
        label: visible(tool.name, 80),
        tool: tool.name,
        description: tool.description,
        reads: tool.reads,
      }));
    const group = (kind: 'resources' | 'prompts', label: string, description: string): GrantRow => ({
      kind: 'tool',
      server,
      target: { kind },
      label,
      tool: undefined,
      description,
      reads: true,
    });
    return [
      ...tools,
      group('resources', 'Resources', 'Everything the server offers for reading.'),
      group('prompts', 'Prompts', 'Prompts the server offers.'),
    ];
  }

  getTreeItem(row: GrantRow): vscode.TreeItem {
    return row.kind === 'server' ? this.#serverItem(row.server) : this.#toolItem(row);
  }

  protected override looks(): string {
    const seen = (row: GrantRow): unknown => {
      const { id, label, description, contextValue, checkboxState, iconPath, tooltip } = this.getTreeItem(row);
      // Commands get the row with its server: it must not be an old one.
      const server = row.kind === 'server' ? row.server : undefined;
      return [id, label, description, contextValue, checkboxState, iconPath, tooltip, server, this.getChildren(row).map(seen)];
    };
    return JSON.stringify(this.getChildren().map(seen));
  }

  protected override onRedraw(): void {
    const { core } = this.#app;
    const servers = core.servers.list();
    const paused = core.access.policy().paused;
    setContext(CONTEXT.hasServers, servers.length > 0);
    setContext(
      CONTEXT.hasTools,
      servers.some((s) => core.catalog.tools(s.id).length > 0),
    );
    setContext(CONTEXT.hasGrants, core.access.all().length > 0);
    setContext(CONTEXT.paused, paused);
    setContext(CONTEXT.waiting, core.approvals.waiting > 0);
    const tampered = core.tampering().length;
    setContext(CONTEXT.tampered, tampered > 0);
    const notes = [
      paused ? 'All agent access is paused.' : '',
      core.approvals.waiting > 0 ? 'An agent is waiting for your answer.' : '',
      tampered > 0
        ? `${tampered} stored ${tampered === 1 ? 'entry was' : 'entries were'} changed by something other than Culvert and ${tampered === 1 ? 'is' : 'are'} ignored; calls ask until you review them.`
        : '',
    ].filter((n) => n !== '');
    this.#view.message = notes.join(' ');
    this.#view.badge =
      core.approvals.waiting > 0 ? { value: core.approvals.waiting, tooltip: 'Calls that wait for your answer' } : undefined;
  }

  #serverItem(server: Server): vscode.TreeItem {
    const { core } = this.#app;
    const item = new vscode.TreeItem(server.label, vscode.TreeItemCollapsibleState.Expanded);
    const effects = core.catalog
      .tools(server.id)
      .map((tool) => this.#decide(server, { kind: 'tools', names: [tool.name] }, tool.name, tool.reads).effect);
    const count = (effect: Decision['effect']) => effects.filter((e) => e === effect).length;
    const parts = [count('allow') > 0 ? `${count('allow')} allowed` : '', count('ask') > 0 ? `${count('ask')} ask` : ''].filter(
      (p) => p !== '',
    );
    const credentials = server.credentials.map((id) => core.credentials.get(id)?.name ?? 'missing credential');
    item.id = server.id;
    item.contextValue = ITEMS.server;
    const warning = warningOf(server);
    // The colour of the label comes from the decoration of this address.
    if (warning !== undefined) item.resourceUri = warningUri(server);
    item.iconPath = warning
      ? new vscode.ThemeIcon('warning', new vscode.ThemeColor('errorForeground'))
      : new vscode.ThemeIcon(core.access.policy().paused ? 'debug-pause' : server.upstream.kind === 'stdio' ? 'terminal' : 'server');
    item.description =
      warning !== undefined
        ? warning.short
        : core.access.policy().paused
          ? 'paused'
          : effects.length === 0
            ? 'tools not seen yet'
            : parts.length > 0
              ? parts.join(', ')
              : 'no access';
    item.tooltip = new vscode.MarkdownString(
      `**${asMarkdownText(server.label)}**\n\n${warning === undefined ? '' : `${asMarkdownText(warning.long)}\n\n`}Goes to ${asMarkdownText(destinationOf(server))}  \nCredential: ${asMarkdownText(credentials.join(', ') || 'none')}  \n${effects.length} tools: ${count('allow')} allowed, ${count('ask')} ask, ${count('deny')} denied  \nId, for agents outside the editor: ${asMarkdownText(server.id)}`,
    );
    item.accessibilityInformation = { label: `${server.label}, server, ${item.description}` };
    return item;
  }

  #toolItem(row: GrantRow & { kind: 'tool' }): vscode.TreeItem {
    const decision = this.#decide(row.server, row.target, row.tool, row.reads);
    const item = new vscode.TreeItem(row.label, vscode.TreeItemCollapsibleState.None);
    const state = this.#stateOf(decision);
    item.id = `${row.server.id}/${row.target.kind}/${row.tool ?? ''}`;
    item.contextValue = `${ITEMS.tool}.${decision.effect}`;
    item.checkboxState = {
      state: decision.effect === 'deny' ? vscode.TreeItemCheckboxState.Unchecked : vscode.TreeItemCheckboxState.Checked,
      tooltip: decision.effect === 'deny' ? 'Allow' : 'Deny',
      accessibilityInformation: { label: `${row.label}: ${state}` },
    };
    item.description = state;
    item.tooltip = new vscode.MarkdownString(
      [
        `**${asMarkdownText(row.label)}**`,
        row.description === undefined ? '' : asMarkdownText(visible(row.description)),
        asMarkdownText(decision.reason),
        row.tool !== undefined && row.reads ? 'Says that it only reads.' : '',
      ]
        .filter((p) => p !== '')
        .join('\n\n'),
    );
    item.accessibilityInformation = { label: `${row.label} of ${row.server.label}, ${state}` };
    return item;
  }

  #stateOf(decision: Decision): string {
    const { core } = this.#app;
    if (decision.effect === 'deny')
      return decision.by.kind === 'rule' && decision.by.rule === 'paused'
        ? 'paused'
        : decision.by.kind === 'grant'
          ? 'denied'
          : 'no access';
    const id = decision.by.kind === 'grant' ? decision.by.grant : undefined;
    const grant = core.access.all().find((g) => g.id === id);
    const left = grant?.expiresAt === undefined ? '' : `, ${remaining(grant.expiresAt - Date.now())} left`;
    const where = grant?.scope.workspaceName === undefined ? '' : ` in ${grant.scope.workspaceName}`;
    const by =
      grant && (grant.target.kind === 'all-tools' || grant.target.kind === 'reading-tools') && decision.effect === 'allow'
        ? ` (${describeTarget(grant.target)})`
        : '';
    return decision.effect === 'ask' ? 'asks' : `allowed${where}${by}${left}`;
  }

  #decide(server: Server, target: Target, tool: string | undefined, reads: boolean): Decision {
    const { core, principal } = this.#app;
    const method = target.kind === 'resources' ? 'resources/read' : target.kind === 'prompts' ? 'prompts/get' : 'tools/call';
    return core.access.decide(principal, { server: server.id, serverLabel: server.label, method, tool, reads });
  }
}
