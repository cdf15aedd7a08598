import * as vscode from 'vscode';
import type { StoredFinding } from '../../inspection/findingLog.ts';
import type { App } from '../app.ts';
import { COMMANDS, CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { Rows, asMarkdownText, clockTime } from './items.ts';
import { SEVERITIES, actionWord, explainFinding, placeOf, titleOf, ROTATE_RULE } from './leakTexts.ts';

/** Findings with a heading: of one severity, of one server in it, or those that were dismissed. */
export interface LeakGroup {
  readonly kind: 'group';
  readonly id: string;
  readonly label: string;
  readonly icon: string;
  readonly colour: string | undefined;
  readonly open: boolean;
  readonly count: number;
  readonly children: readonly LeakRow[];
}

/** One finding. */
export interface FindingRow {
  readonly kind: 'finding';
  readonly finding: StoredFinding;
}

export type LeakRow = LeakGroup | FindingRow;

const COLOURS: Readonly<Record<StoredFinding['severity'], string>> = {
  high: 'list.errorForeground',
  medium: 'list.warningForeground',
  low: 'descriptionForeground',
};

/** **Leak Warnings**: what was recognised in passing content and what was done about it, by severity and server. Never the value. */
export class LeakWarningsView extends Rows<LeakRow> {
  readonly #app: App;
  readonly #view: vscode.TreeView<LeakRow>;
  #rows: readonly LeakRow[] = [];

  constructor(app: App) {
    super();
    this.#app = app;
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

  getChildren(row?: LeakRow): LeakRow[] {
    if (!row) return [...this.#rows];
    return row.kind === 'group' ? [...row.children] : [];
  }

  getTreeItem(row: LeakRow): vscode.TreeItem {
    return row.kind === 'group' ? groupItem(row) : this.#findingItem(row.finding);
  }

  /** Only what is read anew is drawn anew; times of day stand for themselves. */
  protected override looks(): string {
    const texts = (row: LeakRow): unknown =>
      row.kind === 'group' ? [row.id, row.label, row.count, row.children.map(texts)] : [row.finding, this.#labelOf(row.finding.server)];
    return JSON.stringify(this.#rows.map(texts));
  }

  protected override onRedraw(): void {
    const { findings, leaks } = this.#app.core;
    this.#rows = this.#read();
    const unread = findings.unread();
    this.#view.badge =
      unread > 0 ? { value: unread, tooltip: `${unread} unread leak ${unread === 1 ? 'warning' : 'warnings'}` } : undefined;
    void vscode.commands.executeCommand('setContext', CONTEXT.unreadLeaks, unread > 0);
    void vscode.commands.executeCommand('setContext', CONTEXT.leakDecisions, leaks.decisions.list().length > 0);
    void vscode.commands.executeCommand('setContext', CONTEXT.canaries, leaks.canaries.list().length > 0);
  }

  #read(): readonly LeakRow[] {
    const { findings } = this.#app.core;
    const open = findings.list({ dismissed: false });
    const rows: LeakRow[] = [];
    for (const { severity, label } of SEVERITIES) {
      const found = open.filter((f) => f.severity === severity);
      if (found.length === 0) continue;
      const children = this.#byServer(severity, found);
      const icon = severity === 'high' ? 'error' : severity === 'medium' ? 'warning' : 'info';
      rows.push({
        kind: 'group',
        id: severity,
        label,
        icon,
        colour: COLOURS[severity],
        open: severity !== 'low',
        count: found.length,
        children,
      });
    }
    const dismissed = findings.list({ dismissed: true });
    if (dismissed.length > 0)
      rows.push({
        kind: 'group',
        id: 'dismissed',
        label: 'Dismissed',
        icon: 'circle-slash',
        colour: undefined,
        open: false,
        count: dismissed.length,
        children: dismissed.map((finding) => ({ kind: 'finding', finding })),
      });
    return rows;
  }

  #byServer(severity: string, found: readonly StoredFinding[]): LeakRow[] {
    const servers = new Map<string, StoredFinding[]>();
    for (const finding of found) {
      const list = servers.get(finding.server);
      if (list) list.push(finding);
      else servers.set(finding.server, [finding]);
    }
    return [...servers].map(([server, list]) => ({
      kind: 'group',
      id: `${severity}/${server}`,
      label: this.#labelOf(server),
      icon: 'server',
      colour: undefined,
      open: true,
      count: list.length,
      children: list.map((finding) => ({ kind: 'finding', finding })),
    }));
  }

  #labelOf(server: string): string {
    if (server === '') return 'This machine';
    return this.#app.core.servers.get(server)?.label ?? 'A removed server';
  }

  #findingItem(finding: StoredFinding): vscode.TreeItem {
    const server = this.#labelOf(finding.server);
    const title = titleOf(finding);
    const item = new vscode.TreeItem(title);
    item.id = finding.id;
    item.contextValue = contextOf(this.#app, finding);
    const times = finding.count > 1 ? `×${finding.count}` : undefined;
    const done = [actionWord(finding), times].filter((word) => word !== undefined).join(' ');
    const place = finding.dismissed || finding.tool !== undefined ? placeOf(finding, server) : undefined;
    const words = [finding.unread ? 'new' : undefined, place, done === '' ? undefined : done, clockTime(finding.lastAt, Date.now())];
    item.description = words.filter((word) => word !== undefined).join(' · ');
    item.iconPath = new vscode.ThemeIcon(iconOf(finding), finding.dismissed ? undefined : new vscode.ThemeColor(COLOURS[finding.severity]));
    item.command = { command: COMMANDS.openFinding, title: 'Open', arguments: [{ kind: 'finding', finding } satisfies FindingRow] };
    item.tooltip = new vscode.MarkdownString(
      [
        ...explainFinding(finding, server).map(asMarkdownText),
        `First ${asMarkdownText(new Date(finding.firstAt).toLocaleString())}, ${finding.count === 1 ? 'once' : `${finding.count} times`} in all.`,
      ].join('\n\n'),
    );
    item.accessibilityInformation = { label: `${title}, ${server}, severity ${finding.severity}, ${item.description}` };
    return item;
  }
}

function groupItem(group: LeakGroup): vscode.TreeItem {
  const { Expanded, Collapsed } = vscode.TreeItemCollapsibleState;
  const item = new vscode.TreeItem(group.label, group.open ? Expanded : Collapsed);
  item.id = `group/${group.id}`;
  item.contextValue = ITEMS.leakGroup;
  item.description = String(group.count);
  item.iconPath = new vscode.ThemeIcon(group.icon, group.colour === undefined ? undefined : new vscode.ThemeColor(group.colour));
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
