import * as vscode from 'vscode';
import type { ActivityFilter } from '../../audit/activityFilter.ts';
import type { Activity } from '../../audit/activities.ts';
import type { Intent, Outcome } from '../../audit/record.ts';
import type { Disposable } from '../../common/disposable.ts';
import { messageOf } from '../../common/errors.ts';
import { visible } from '../../common/text.ts';
import { clientLabel } from '../../mcp/principal.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { exportsBehind } from '../audit/streams.ts';
import { COMMANDS, CONTEXT, ITEMS, VIEWS } from '../names.ts';
import { StoredFilter, describeFilter } from './activityFilters.ts';
import { shortConversation, stateOf, type ActivityRow, type MoreRow } from './activityRows.ts';
import { ActivityTree } from './activityTree.ts';
import { asMarkdownText } from './items.ts';

/** How often calls of other windows are looked for while the view is visible, milliseconds. */
const LOOK_MS = 2_000;
/** How long after an entry the view is drawn again, milliseconds: many at once are one. */
const REDRAW_MS = 150;
/** How long the numbers of unfolded rows may be behind while calls come, milliseconds. */
const LATE_MS = 1_000;
/** Entries that the index may be behind without a word. */
const BEHIND = 2_000;
/** Key of workspaceState. */
const FILTER_KEY = 'culvert.activityFilter';

/** **Activity**: what was called, by day, agent and conversation; decision and outcome; newest first. */
export class ActivityView implements vscode.TreeDataProvider<ActivityRow>, vscode.Disposable {
  readonly #app: App;
  readonly #state: vscode.Memento;
  readonly #tree: ActivityTree;
  readonly #view: vscode.TreeView<ActivityRow>;
  readonly #changed = new vscode.EventEmitter<ActivityRow | ActivityRow[] | undefined>();
  readonly #subscriptions: Disposable[];
  readonly #labels = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #lateTimer: NodeJS.Timeout | undefined;
  #refreshing = false;
  #wanted = false;
  /** How far the index was at the last look, and whether it lacked something. */
  #seen = -1;
  #wasBehind = false;
  #filter: ActivityFilter;

  readonly onDidChangeTreeData = this.#changed.event;

  constructor(app: App, state: vscode.Memento) {
    this.#app = app;
    this.#state = state;
    this.#filter = StoredFilter.safeParse(state.get(FILTER_KEY)).data ?? {};
    this.#tree = new ActivityTree(app.core.index, Date.now);
    this.#tree.filter = this.#filter;
    this.#view = vscode.window.createTreeView(VIEWS.activity, { treeDataProvider: this, showCollapseAll: true });
    const look = setInterval(() => {
      if (this.#view.visible) void this.#look();
    }, LOOK_MS);
    this.#subscriptions = [
      this.#view,
      this.#changed,
      { dispose: () => clearInterval(look) },
      app.core.audit.onDidAppend(() => this.#soon()),
      app.core.exports.onDidChange(() => this.#tell()),
      this.#view.onDidCollapseElement(({ element }) => this.#tree.fold(element)),
      this.#view.onDidChangeVisibility(({ visible: shown }) => {
        if (shown) this.#soon();
      }),
    ];
    this.#describe();
  }

  /** What is shown now. */
  get filter(): ActivityFilter {
    return this.#filter;
  }

  /** Shows other calls from now on, after a reload too. */
  async setFilter(filter: ActivityFilter): Promise<void> {
    this.#filter = StoredFilter.parse(filter);
    this.#tree.filter = this.#filter;
    this.#describe();
    this.#changed.fire(undefined);
    await this.#state.update(FILTER_KEY, this.#isFiltered ? this.#filter : undefined);
  }

  /** Shows a page more. */
  async more(row: MoreRow): Promise<void> {
    this.#changed.fire(await this.#tree.more(row));
  }

  async getChildren(row?: ActivityRow): Promise<ActivityRow[]> {
    try {
      const rows = await this.#tree.children(row);
      if (row === undefined) {
        this.#wasBehind ||= this.#app.core.index.status.behind > 0;
        this.#tell();
      }
      return rows;
    } catch (error) {
      this.#app.logger.warn(`Activity: ${messageOf(error)}`);
      this.#view.message = `The record can’t be read: ${messageOf(error)}`;
      return [];
    }
  }

  getParent(row: ActivityRow): ActivityRow | undefined {
    return this.#tree.parent(row);
  }

  getTreeItem(row: ActivityRow): vscode.TreeItem {
    const { label, description, icon, color, spoken, expanded } = row.face;
    const item = new vscode.TreeItem(
      label,
      expanded === undefined
        ? vscode.TreeItemCollapsibleState.None
        : expanded
          ? vscode.TreeItemCollapsibleState.Expanded
          : vscode.TreeItemCollapsibleState.Collapsed,
    );
    // Another filter has rows of its own: what was folded there says nothing here.
    item.id = `${row.id} ${JSON.stringify(this.#filter)}`;
    item.description = description;
    item.iconPath = new vscode.ThemeIcon(icon, color === undefined ? undefined : new vscode.ThemeColor(color));
    item.accessibilityInformation = { label: spoken };
    if (row.kind === 'more') item.command = { command: COMMANDS.loadMore, title: 'Load More', arguments: [row] };
    if (row.kind === 'call') {
      item.contextValue = ITEMS.call;
      item.command = { command: COMMANDS.showRecord, title: 'Show Record', arguments: [{ kind: 'call', exchange: row.exchange }] };
    }
    if (row.kind === 'conversation') {
      item.contextValue = ITEMS.conversation;
      item.tooltip = new vscode.MarkdownString(
        row.conversation === ''
          ? 'The client named no conversation.'
          : `Conversation ${asMarkdownText(visible(row.conversation, 200))}, as the client says.`,
      );
    }
    return item;
  }

  /** The tooltip, read when it is wanted. */
  async resolveTreeItem(item: vscode.TreeItem, row: ActivityRow): Promise<vscode.TreeItem> {
    if (row.kind !== 'call') return item;
    const entries = await this.#app.core.index.record(row.exchange);
    const intent = entries.find(({ kind }) => kind === 'intent');
    if (intent)
      item.tooltip = tooltipOf({
        seq: row.seq,
        exchange: row.exchange,
        at: intent.at,
        intent: intent.body as Intent,
        outcome: entries.find(({ kind }) => kind === 'outcome')?.body as Outcome | undefined,
      });
    return item;
  }

  dispose(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#lateTimer);
    for (const item of this.#subscriptions) item.dispose();
  }

  /** The name of a server for its id; of one that is gone once {@link learnLabels} has looked for it. */
  serverLabel(id: string): string {
    return this.#app.core.servers.get(id)?.label ?? this.#labels.get(id) ?? 'a removed server';
  }

  /** Looks up what servers were called that are gone. */
  async learnLabels(ids: readonly string[]): Promise<void> {
    for (const server of ids) {
      if (this.#app.core.servers.get(server) || this.#labels.has(server)) continue;
      const { calls } = await this.#app.core.index.calls({ server }, { limit: 1 });
      if (calls[0]) this.#labels.set(server, calls[0].intent.serverLabel);
    }
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#view.visible) void this.#refresh();
    }, REDRAW_MS);
  }

  /** Whether another window wrote something. */
  async #look(): Promise<void> {
    const { index } = this.#app.core;
    await index.update().catch(() => undefined);
    if (this.#indexed !== this.#seen) await this.#refresh();
  }

  async #refresh(): Promise<void> {
    this.#wanted = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    try {
      while (this.#wanted) await this.#refreshOnce();
    } catch (error) {
      this.#app.logger.debug(`Activity: ${messageOf(error)}`);
    } finally {
      this.#refreshing = false;
    }
  }

  async #refreshOnce(): Promise<void> {
    this.#wanted = false;
    const empty = this.#tree.isEmpty();
    const { index } = this.#app.core;
    // Days that the index did not have yet may lie between those that it had.
    const caughtUp = this.#wasBehind && index.status.behind === 0;
    if (caughtUp) this.#tree.reset();
    const rows = caughtUp ? [undefined] : await this.#tree.refresh();
    this.#wasBehind = index.status.behind > 0;
    this.#seen = this.#indexed;
    // The first row takes the place of the words that there is none.
    if (rows.includes(undefined) || (empty && !this.#tree.isEmpty())) this.#changed.fire(undefined);
    // One event for all: after the first VS Code takes its time for the next.
    else if (rows.length > 0) this.#changed.fire(rows.filter((row) => row !== undefined));
    if (this.#tree.isLate) this.#lateTimer ??= setTimeout(() => this.#catchUp(), LATE_MS);
    this.#tell();
  }

  /** Draws again what was put off. */
  #catchUp(): void {
    this.#lateTimer = undefined;
    const rows = this.#tree.takeLate();
    if (rows.length > 0) this.#changed.fire(rows);
  }

  /** What the user must know beside the rows. */
  #tell(): void {
    const { behind } = this.#app.core.index.status;
    const notes = [
      behind > BEHIND ? `The record is being read: ${behind.toLocaleString()} entries to go. Older calls follow.` : '',
      this.#tree.isEmpty() && this.#isFiltered ? 'No call fits the filter.' : '',
      exportsBehind(this.#app.core.exports.states()),
    ].filter((note) => note !== '');
    const message = notes.join(' ');
    if ((this.#view.message ?? '') !== message) this.#view.message = message;
  }

  /** How far the index is. */
  get #indexed(): number {
    const { entries, behind } = this.#app.core.index.status;
    return entries - behind;
  }

  get #isFiltered(): boolean {
    return Object.keys(this.#filter).length > 0;
  }

  #describe(): void {
    const { server } = this.#filter;
    const show = () => (this.#view.description = describeFilter(this.#filter, (id) => this.serverLabel(id)) ?? '');
    show();
    if (server !== undefined) void this.learnLabels([server]).then(show, () => undefined);
    setContext(CONTEXT.activityFiltered, this.#isFiltered);
  }
}

function tooltipOf({ intent, outcome, at }: Activity): vscode.MarkdownString {
  const [, , words] = stateOf({ intent, outcome });
  const who = clientLabel({ client: intent.client === 'vscode' ? 'vscode' : 'agent', window: intent.window }, intent.claims['clientName']);
  const conversation = intent.claims['conversationId'];
  return new vscode.MarkdownString(
    [
      `**${asMarkdownText(visible(intent.tool ?? intent.method))}** of ${asMarkdownText(visible(intent.serverLabel))}`,
      `${asMarkdownText(words)}: ${asMarkdownText(visible(intent.reason))}`,
      `By ${asMarkdownText(visible(who))}${intent.workspace === undefined ? '' : ` in ${asMarkdownText(visible(intent.workspace))}`}, ${asMarkdownText(new Date(at).toLocaleString())}${conversation === undefined ? '' : `, conversation ${asMarkdownText(shortConversation(conversation))}`}`,
      `To ${asMarkdownText(visible(intent.origin))}${intent.credentials.length > 0 ? ` with ${asMarkdownText(visible(intent.credentials.join(', ')))}` : ''}`,
      outcome ? `${outcome.totalMs} ms, ${intent.requestBytes} bytes out, ${outcome.responseBytes} bytes in` : 'Not finished.',
      outcome?.error === undefined ? '' : asMarkdownText(visible(outcome.error)),
    ]
      .filter((part) => part !== '')
      .join('\n\n'),
  );
}
