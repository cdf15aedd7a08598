import * as vscode from 'vscode';
import type { StoredFinding } from '../../inspection/findingLog.ts';
import { visible } from '../../common/text.ts';
import type { App } from '../app.ts';
import { COMMANDS, ITEMS, VIEWS } from '../names.ts';
import { Rows, asMarkdownText, clockTime } from './items.ts';

/** **Leak Warnings**: what was recognised in passing content and what was done about it. Never the value. */
export class LeakWarningsView extends Rows<StoredFinding> {
  readonly #app: App;
  readonly #view: vscode.TreeView<StoredFinding>;

  constructor(app: App) {
    super();
    this.#app = app;
    this.#view = vscode.window.createTreeView(VIEWS.leaks, { treeDataProvider: this });
    this.own(this.#view);
    this.redrawOn(app.core.findings.onDidChange, app.core.servers.onDidChange);
    this.onRedraw();
  }

  getChildren(row?: StoredFinding): StoredFinding[] {
    return row ? [] : this.#app.core.findings.list({ dismissed: false });
  }

  getTreeItem(finding: StoredFinding): vscode.TreeItem {
    const server = this.#app.core.servers.get(finding.server)?.label ?? 'a removed server';
    const item = new vscode.TreeItem(titleOf(finding));
    const times = finding.count > 1 ? ` ×${finding.count}` : '';
    item.id = finding.id;
    item.contextValue = ITEMS.finding;
    const where = finding.rule === 'tool-changed' || finding.tool === undefined ? server : `${visible(finding.tool, 60)} · ${server}`;
    item.description = `${where} · ${finding.action}${times} · ${clockTime(finding.lastAt, Date.now())}`;
    item.iconPath = new vscode.ThemeIcon(
      finding.rule === 'tool-changed' ? 'edit' : 'shield',
      new vscode.ThemeColor(finding.severity === 'high' ? 'charts.red' : 'charts.yellow'),
    );
    item.command = { command: COMMANDS.showRecord, title: 'Show Record', arguments: [finding] };
    item.tooltip = new vscode.MarkdownString(
      [
        asMarkdownText(explain(finding, server)),
        `First ${asMarkdownText(new Date(finding.firstAt).toLocaleString())}, ${finding.count} times in all.`,
      ].join('\n\n'),
    );
    item.accessibilityInformation = { label: `${titleOf(finding)}, ${item.description}` };
    return item;
  }

  protected override onRedraw(): void {
    const open = this.#app.core.findings.list({ dismissed: false }).length;
    this.#view.badge = open > 0 ? { value: open, tooltip: `${open} leak ${open === 1 ? 'warning' : 'warnings'}` } : undefined;
  }
}

/** What happened, short: the description says where. */
function titleOf(finding: StoredFinding): string {
  if (finding.rule === 'tool-changed') return `${visible(finding.subject, 60)} was redefined`;
  return finding.direction === 'to-agent' ? `“${finding.subject}” in an answer` : `“${finding.subject}” in a call`;
}

function explain(finding: StoredFinding, server: string): string {
  if (finding.rule === 'tool-changed') {
    return `${server} now describes the tool “${visible(finding.subject, 80)}” in other words than when you first saw it. Look at what it does before you go on allowing it.`;
  }
  const form = finding.form === 'as is' ? '' : `, written in ${finding.form}`;
  return finding.direction === 'to-agent'
    ? `${server} sent the value of the credential “${finding.subject}” back${form}. Culvert took it out before the agent saw it. Think about replacing the credential: the server shows it to whoever asks.`
    : `An agent tried to send the value of the credential “${finding.subject}” to ${server}${form}, where it does not belong. The call was stopped on this machine.`;
}
