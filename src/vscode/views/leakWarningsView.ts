import * as vscode from 'vscode';
import type { StoredFinding } from '../../inspection/findingLog.ts';
import type { App } from '../app.ts';
import { COMMANDS, CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { Rows, asMarkdownText, clockTime } from './items.ts';
import { LeakRows, idOfLeakRow, type FindingRow, type LeakGroup, type LeakRow } from './leakRows.ts';
import { actionWord, explainFinding, placeOf, titleOf, ROTATE_RULE } from './leakTexts.ts';

const COLOURS: Readonly<Record<StoredFinding['severity'], string>> = {
  high: 'list.errorForeground',
  medium: 'list.warningForeground',
  low: 'descriptionForeground',
};

/** **Leak Warnings**: what was recognised in passing content and what was done about it, by severity and server. Never the value. */
export class LeakWarningsView extends Rows<LeakRow> {
  readonly #app: App;
  readonly #view: vscode.TreeView<LeakRow>;
  readonly #rows: LeakRows;

  constructor(app: App) {
    super();
    this.#app = app;
    this.#rows = new LeakRows({ findings: app.core.findings, labelOf: (server) => this.#labelOf(server) });
    this.#view = vscode.window.createTreeView(VIEWS.leaks, { treeDataProvider: this, showCollapseAll: true });
    this.own(this.#view);
    this.redrawOn(
      app.core.findings.onDidChange,
      app.core.servers.onDidChange,
      app.core.leaks.decisions.onDidChange,
      app.core.leaks.canaries.onDidChange,
    );
    this.onRedraw();
  }

  protected override idOf(row: LeakRow): string {
    return idOfLeakRow(row);
  }

  protected override rowsBelow(row?: LeakRow): readonly LeakRow[] {
    return this.#rows.below(row);
  }

  /** Only what is read anew is drawn anew; times of day stand for themselves, and cost much to write for a thousand rows. */
  protected override looksOf(row: LeakRow): string {
    return JSON.stringify(row.kind === 'group' ? [row.label, row.count] : [row.finding, this.#labelOf(row.finding.server)]);
  }

  protected override itemOf(row: LeakRow): vscode.TreeItem {
    return row.kind === 'group' ? groupItem(row) : this.#findingItem(row.finding);
  }

  /** Tooltips are made when the pointer rests on a row. */
  resolveTreeItem(item: vscode.TreeItem, row: LeakRow): vscode.TreeItem {
    if (row.kind === 'finding') item.tooltip = this.#tooltipOf(row.finding);
    return item;
  }

  protected override onRedraw(): void {
    const { findings, leaks } = this.#app.core;
    this.#rows.read();
    const unread = findings.unread();
    this.#view.badge =
      unread > 0 ? { value: unread, tooltip: `${unread} unread leak ${unread === 1 ? 'warning' : 'warnings'}` } : undefined;
    void vscode.commands.executeCommand('setContext', CONTEXT.unreadLeaks, unread > 0);
    void vscode.commands.executeCommand('setContext', CONTEXT.leakDecisions, leaks.decisions.list().length > 0);
    void vscode.commands.executeCommand('setContext', CONTEXT.canaries, leaks.canaries.list().length > 0);
  }

  #labelOf(server: string): string {
    if (server === '') return 'This machine';
    return this.#app.core.servers.get(server)?.label ?? 'A removed server';
  }

  #findingItem(finding: StoredFinding): vscode.TreeItem {
    const server = this.#labelOf(finding.server);
    const title = titleOf(finding);
    const item = new vscode.TreeItem(title);
    item.id = idOfLeakRow({ kind: 'finding', finding });
    item.contextValue = contextOf(this.#app, finding);
    const times = finding.count > 1 ? `×${finding.count}` : undefined;
    const done = [actionWord(finding), times].filter((word) => word !== undefined).join(' ');
    const place = finding.dismissed || finding.tool !== undefined ? placeOf(finding, server) : undefined;
    const words = [finding.unread ? 'new' : undefined, place, done === '' ? undefined : done, clockTime(finding.lastAt, Date.now())];
    item.description = words.filter((word) => word !== undefined).join(' · ');
    item.iconPath = new vscode.ThemeIcon(iconOf(finding), finding.dismissed ? undefined : new vscode.ThemeColor(COLOURS[finding.severity]));
    item.command = { command: COMMANDS.openFinding, title: 'Open', arguments: [{ kind: 'finding', finding } satisfies FindingRow] };
    item.accessibilityInformation = { label: `${title}, ${server}, severity ${finding.severity}, ${item.description}` };
    return item;
  }

  #tooltipOf(finding: StoredFinding): vscode.MarkdownString {
    const times = finding.count === 1 ? 'once' : `${finding.count} times`;
    return new vscode.MarkdownString(
      [
        ...explainFinding(finding, this.#labelOf(finding.server)).map(asMarkdownText),
        `First ${asMarkdownText(new Date(finding.firstAt).toLocaleString())}, ${times} in all.`,
      ].join('\n\n'),
    );
  }
}

function groupItem(group: LeakGroup): vscode.TreeItem {
  const { Expanded, Collapsed } = vscode.TreeItemCollapsibleState;
  const item = new vscode.TreeItem(group.label, group.open ? Expanded : Collapsed);
  item.id = idOfLeakRow(group);
  item.contextValue = ITEMS.leakGroup;
  item.description = String(group.count);
  item.iconPath = new vscode.ThemeIcon(group.icon, group.severity && new vscode.ThemeColor(COLOURS[group.severity]));
  item.accessibilityInformation = { label: `${group.label}, ${group.count} ${group.count === 1 ? 'warning' : 'warnings'}` };
  return item;
}

/** What a row can be used for, in words that menus look for: `finding`, then what holds of it. */
function contextOf({ core }: App, finding: StoredFinding): string {
  const words: string[] = [ITEMS.finding, finding.dismissed ? 'dismissed' : 'open'];
  if (finding.exchange !== '') words.push('recorded');
  if (finding.rule === ROTATE_RULE || finding.tier === 'known' || isPattern(finding)) words.push('rotatable');
  if (core.findings.canBeHarmless(finding)) words.push('doubtful');
  if (finding.tool !== undefined && core.servers.get(finding.server) !== undefined) words.push('revocable');
  return words.join(' ');
}

/** Whether a pattern rule found it. */
export function isPattern({ tier }: StoredFinding): boolean {
  return tier === 'exact' || tier === 'structured' || tier === 'generic';
}

function iconOf({ rule, tier, direction }: StoredFinding): string {
  if (rule === 'tool-changed') return 'edit';
  if (rule === ROTATE_RULE) return 'sync';
  if (tier === 'canary') return 'bell';
  if (tier === 'hidden') return 'eye-closed';
  if (rule === 'not-fully-scanned') return 'search-stop';
  return direction === 'to-agent' ? 'shield' : 'export';
}
