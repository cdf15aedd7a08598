import * as vscode from 'vscode';
import type { Activity } from '../../audit/auditLog.ts';
import { visible } from '../../common/text.ts';
import { clientLabel } from '../../mcp/principal.ts';
import type { App } from '../app.ts';
import { COMMANDS, ITEMS, VIEWS } from '../names.ts';
import { Rows, asMarkdownText, clockTime } from './items.ts';

/** A call, or the row that loads more. */
export type ActivityRow = { readonly kind: 'call'; readonly activity: Activity } | { readonly kind: 'more' };

/** Calls that are shown at first and with every “Load more”. */
export const PAGE = 100;
/** How often calls of other windows are looked for while the view is visible, milliseconds. */
const LOOK_MS = 2_000;

/** **Activity**: what was called, when, by whom, decision and outcome, newest first. */
export class ActivityView extends Rows<ActivityRow> {
  readonly #app: App;
  #limit = PAGE;
  #newest = 0;

  constructor(app: App) {
    super();
    this.#app = app;
    const view = vscode.window.createTreeView(VIEWS.activity, { treeDataProvider: this });
    const look = setInterval(() => {
      if (view.visible && (this.#read(1)[0]?.seq ?? 0) !== this.#newest) this.redraw();
    }, LOOK_MS);
    this.own(view, { dispose: () => clearInterval(look) });
    this.redrawOn(app.core.audit.onDidAppend);
  }

  /** Shows a page more. */
  more(): void {
    this.#limit += PAGE;
    this.redraw();
  }

  getChildren(row?: ActivityRow): ActivityRow[] {
    if (row) return [];
    const calls = this.#read(this.#limit + 1);
    this.#newest = calls[0]?.seq ?? 0;
    const rows: ActivityRow[] = calls.slice(0, this.#limit).map((activity) => ({ kind: 'call', activity }));
    if (calls.length > this.#limit) rows.push({ kind: 'more' });
    return rows;
  }

  getTreeItem(row: ActivityRow): vscode.TreeItem {
    if (row.kind === 'more') {
      const item = new vscode.TreeItem('Load more');
      item.id = 'more';
      item.iconPath = new vscode.ThemeIcon('chevron-down');
      item.command = { command: COMMANDS.loadMore, title: 'Load more' };
      return item;
    }
    const { intent, outcome, at, exchange } = row.activity;
    const item = new vscode.TreeItem(visible(intent.tool ?? intent.method, 80));
    const [icon, color, words] = stateOf(row.activity);
    const who = clientLabel(
      { client: intent.client === 'vscode' ? 'vscode' : 'agent', window: intent.window },
      intent.claims['clientName'],
    );
    const shortWho = intent.client === 'vscode' ? 'VS Code' : visible(intent.claims['clientName'] ?? 'agent', 24);
    item.id = exchange;
    item.contextValue = ITEMS.call;
    item.iconPath = new vscode.ThemeIcon(icon, color === undefined ? undefined : new vscode.ThemeColor(color));
    item.description = `${words} · ${intent.serverLabel} · ${shortWho} · ${clockTime(at, Date.now())}`;
    item.command = { command: COMMANDS.showRecord, title: 'Show Record', arguments: [row] };
    item.tooltip = new vscode.MarkdownString(
      [
        `**${asMarkdownText(visible(intent.tool ?? intent.method))}** of ${asMarkdownText(intent.serverLabel)}`,
        `${asMarkdownText(words)}: ${asMarkdownText(intent.reason)}`,
        `By ${asMarkdownText(visible(who))}${intent.workspace === undefined ? '' : ` in ${asMarkdownText(intent.workspace)}`}, ${asMarkdownText(new Date(at).toLocaleString())}`,
        `To ${asMarkdownText(intent.origin)}${intent.credentials.length > 0 ? ` with ${asMarkdownText(intent.credentials.join(', '))}` : ''}`,
        outcome ? `${outcome.totalMs} ms, ${intent.requestBytes} bytes out, ${outcome.responseBytes} bytes in` : 'Not finished.',
        outcome?.error === undefined ? '' : asMarkdownText(visible(outcome.error)),
      ]
        .filter((p) => p !== '')
        .join('\n\n'),
    );
    item.accessibilityInformation = { label: `${intent.tool ?? intent.method}, ${item.description}, by ${who}` };
    return item;
  }

  #read(limit: number): Activity[] {
    return this.#app.core.audit.activities({ limit, named: true });
  }
}

function stateOf({ intent, outcome }: Activity): [icon: string, color: string | undefined, words: string] {
  if (intent.effect === 'deny') return ['circle-slash', 'problemsWarningIcon.foreground', 'denied'];
  if (!outcome) return ['loading', undefined, 'running'];
  const redacted = outcome.findings > 0 ? ', redacted' : '';
  switch (outcome.result) {
    case 'ok':
      return [outcome.findings > 0 ? 'shield' : 'check', outcome.findings > 0 ? 'charts.yellow' : 'charts.green', `ok${redacted}`];
    case 'denied':
      return ['circle-slash', 'problemsWarningIcon.foreground', 'stopped'];
    case 'tool-error':
    case 'rpc-error':
      return ['warning', 'charts.yellow', `tool error${redacted}`];
    case 'upstream-error':
      return ['error', 'charts.red', 'server failed'];
    case 'cancelled':
      return ['circle-slash', undefined, 'cancelled'];
    case 'closed':
      return ['circle-slash', 'problemsWarningIcon.foreground', 'ended'];
  }
}
