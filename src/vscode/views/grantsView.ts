import * as vscode from 'vscode';
import { explain, originOf } from '../../authorization/explain.ts';
import { visible } from '../../common/text.ts';
import { destinationOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { setContext } from '../adapters.ts';
import { CONTEXT, VIEWS } from '../names.ts';
import { changeWithUndo } from '../commands/presets.ts';
import { GrantsModel, type GrantRow, type Look } from './grantsModel.ts';
import { badgeUri } from './grantBadges.ts';
import { Rows, asMarkdownText } from './items.ts';
import { warningOf, warningUri } from './serverWarnings.ts';

export type { GrantRow } from './grantsModel.ts';

/** **Grants**: servers, below them tools with checkboxes, state and remaining time, below those the grants. */
export class GrantsView extends Rows<GrantRow> {
  readonly #app: App;
  readonly #view: vscode.TreeView<GrantRow>;
  readonly #model: GrantsModel;
  #countDown: NodeJS.Timeout | undefined;

  constructor(app: App) {
    super();
    this.#app = app;
    const { servers, access, catalog, credentials, approvals, audit } = app.core;
    this.#model = new GrantsModel({
      servers,
      access,
      catalog,
      credentials,
      caller: () => app.caller,
      now: () => Date.now(),
      warning: (server) => warningOf(server)?.short,
    });
    this.#view = vscode.window.createTreeView(VIEWS.grants, {
      treeDataProvider: this,
      manageCheckboxStateManually: true,
      showCollapseAll: true,
    });
    this.own(
      this.#view,
      { dispose: () => clearTimeout(this.#countDown) },
      this.#view.onDidChangeCheckboxState((event) => this.#tick(event.items)),
      this.#view.onDidChangeVisibility(() => this.redraw()),
    );
    this.redrawOn(
      servers.onDidChange,
      access.onDidChange,
      access.onDidExpire,
      catalog.onDidChange,
      credentials.onDidChange,
      approvals.onDidChange,
      app.branch.onDidChange,
    );
    this.own(audit.onDidAppend(() => this.#countUses()));
    this.onRedraw();
  }

  /** Shows the view and, where given, a server or one of its tools in it. */
  async reveal(server?: string, tool?: string): Promise<void> {
    const row = this.#model.children().find((r) => server === undefined || r.server === server);
    const found = row && tool !== undefined ? this.#model.toolRow(row.server, tool) : row;
    if (found) await this.#view.reveal(found, { expand: found.kind === 'server', focus: true, select: true });
    else await vscode.commands.executeCommand(`${VIEWS.grants}.focus`);
  }

  /** Ticks or unticks the row that has the focus. VS Code tells extensions only of the selection, so the focus is made part of it. */
  async toggleFocused(): Promise<void> {
    const before = this.#view.selection;
    await vscode.commands.executeCommand('list.toggleSelection');
    const after = this.#view.selection;
    const row = after.find((r) => !before.includes(r)) ?? before.find((r) => !after.includes(r));
    if (!row) return;
    await this.#view.reveal(row, { select: true, focus: true });
    const ticked = this.#model.look(row)?.ticked;
    const { Checked, Unchecked } = vscode.TreeItemCheckboxState;
    if (ticked !== undefined) this.#tick([[row, ticked ? Unchecked : Checked]]);
  }

  getParent(row: GrantRow): GrantRow | undefined {
    return this.#model.parent(row);
  }

  protected override idOf(row: GrantRow): string {
    return row.id;
  }

  protected override rowsBelow(row?: GrantRow): readonly GrantRow[] {
    return this.#model.children(row);
  }

  protected override looksOf(row: GrantRow): string | undefined {
    const look = this.#model.look(row);
    return look && JSON.stringify(look);
  }

  protected override itemOf(row: GrantRow): vscode.TreeItem | undefined {
    const look = this.#model.look(row);
    return look && this.#itemOf(row, look);
  }

  /** Tooltips are made when the pointer rests on a row. */
  resolveTreeItem(item: vscode.TreeItem, row: GrantRow): vscode.TreeItem {
    item.tooltip = new vscode.MarkdownString(
      this.#tooltipOf(row)
        .filter((part) => part !== '')
        .join('\n\n'),
    );
    return item;
  }

  protected override onRedraw(): void {
    this.#model.refresh();
    this.#startCountDown();
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
    const { waiting } = core.approvals;
    // VS Code shows the sum of this view's number and that of the unread leak warnings: only the words tell them apart.
    this.#view.badge =
      waiting > 0
        ? { value: waiting, tooltip: waiting === 1 ? '1 call waits for your answer' : `${waiting} calls wait for your answer` }
        : undefined;
  }

  /** A click on a box changed the box already: the row is drawn again whatever comes of it. */
  #tick(items: readonly (readonly [GrantRow, vscode.TreeItemCheckboxState])[]): void {
    const { access, servers } = this.#app.core;
    for (const [row, state] of items) {
      const effect = state === vscode.TreeItemCheckboxState.Checked ? 'allow' : 'deny';
      this.spoil(row);
      const server = servers.get(row.server);
      if (row.kind === 'tool') access.set(row.server, row.target, effect, 'tree');
      if (row.kind !== 'server' || !server) continue;
      const switches = this.#model.switches(row.server);
      const told =
        effect === 'deny' ? `Agents can call nothing of ${server.label} any more.` : `Agents can call everything of ${server.label} now.`;
      changeWithUndo(this.#app, server, told, () => {
        if (effect === 'deny') access.revokeServer(server.id);
        else
          access.setAll(
            server.id,
            switches.filter((s) => s.effect === 'deny').map((s) => s.target),
            'allow',
            'tree',
          );
      });
    }
    this.redraw();
  }

  /** Uses that are counted change no grant: the rows that show them are looked at after calls. */
  #countUses(): void {
    if (this.#view.visible && this.#app.core.access.all().some((g) => g.uses !== undefined)) this.redraw();
  }

  #startCountDown(): void {
    clearTimeout(this.#countDown);
    const next = this.#view.visible ? this.#model.nextChange() : undefined;
    if (next !== undefined) this.#countDown = setTimeout(() => this.redraw(), next);
  }

  #itemOf(row: GrantRow, look: Look): vscode.TreeItem {
    const { TreeItemCollapsibleState: Fold, TreeItemCheckboxState: Box } = vscode;
    const item = new vscode.TreeItem(look.label, { leaf: Fold.None, folded: Fold.Collapsed, open: Fold.Expanded }[look.folded]);
    item.id = row.id;
    item.contextValue = look.context;
    item.description = look.description;
    if (look.icon !== undefined)
      item.iconPath = new vscode.ThemeIcon(look.icon, look.color === undefined ? undefined : new vscode.ThemeColor(look.color));
    if (look.ticked !== undefined)
      item.checkboxState = {
        state: look.ticked ? Box.Checked : Box.Unchecked,
        tooltip: look.boxTitle ?? '',
        accessibilityInformation: { label: look.spoken },
      };
    item.accessibilityInformation = { label: look.spoken };
    const server = look.warning === true ? this.#app.core.servers.get(row.server) : undefined;
    // The colour of the label and the mark behind it come from the decoration of this address.
    if (server) item.resourceUri = warningUri(server);
    else if (look.badge) item.resourceUri = badgeUri(row.id, look.badge);
    return item;
  }

  #tooltipOf(row: GrantRow): string[] {
    const { core } = this.#app;
    const server = core.servers.get(row.server);
    const look = this.#model.look(row);
    if (!server || !look) return [];
    const text = (line: string) => asMarkdownText(visible(line));
    switch (row.kind) {
      case 'server': {
        const warning = warningOf(server);
        const credentials = server.credentials.map((id) => core.credentials.get(id)?.name ?? 'missing credential');
        const { allow, ask, deny } = this.#model.counts(server.id);
        return [
          `**${text(server.label)}**`,
          warning === undefined ? '' : text(warning.long),
          [
            `Goes to ${text(destinationOf(server))}`,
            `Credential: ${text(credentials.join(', ') || 'none')}`,
            `${allow + ask + deny} tools: ${allow} allowed, ${ask} ask, ${deny} denied`,
            `Id, for agents outside the editor: ${text(server.id)}`,
          ].join('  \n'),
        ];
      }
      case 'tool': {
        const tool = this.#model.tool(row);
        const ruling = this.#model.ruling(row);
        return [
          `**${text(look.label)}**`,
          tool?.description === undefined ? '' : text(tool.description),
          ...(ruling ? explain(ruling) : []).map(text),
          tool?.reads === true ? 'Says that it only reads.' : '',
        ];
      }
      case 'wide':
        return [`What holds for more than one thing of ${text(server.label)}. A grant that names a tool goes before it.`];
      case 'grant': {
        const grant = this.#model.grant(row);
        return grant ? [text(originOf(grant))] : [];
      }
    }
  }
}
