import * as vscode from 'vscode';
import type { Disposable } from '../../common/disposable.ts';
import { ShownRows } from './shownRows.ts';

/** A tree view of rows, drawn again row by row. */
export abstract class Rows<T> implements vscode.TreeDataProvider<T>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<T[] | undefined>();
  readonly #subscriptions: Disposable[] = [];
  readonly #shown = new ShownRows<T>({
    idOf: (row) => this.idOf(row),
    looksOf: (row) => this.looksOf(row),
    rowsBelow: (row) => this.rowsBelow(row),
  });
  #timer: NodeJS.Timeout | undefined;

  readonly onDidChangeTreeData = this.#changed.event;

  getChildren(row?: T): T[] {
    const rows = [...this.rowsBelow(row)];
    this.#shown.asked(rows, row);
    return rows;
  }

  getTreeItem(row: T): vscode.TreeItem {
    this.#shown.drawn(row);
    return this.itemOf(row) ?? new vscode.TreeItem('');
  }

  /** Id of a row among all of the tree. */
  protected abstract idOf(row: T): string;

  /** Rows below a row, or on top. The same objects as long as what they stand for is listed. */
  protected abstract rowsBelow(row?: T): readonly T[];

  /** A row as it looks now; `undefined` if what it stands for is gone. VS Code keeps a row as long as it is listed: what it shows is looked up. */
  protected abstract itemOf(row: T): vscode.TreeItem | undefined;

  /** Everything that can be seen of a row, as text; `undefined` if what it stands for is gone. */
  protected looksOf(row: T): string | undefined {
    const item = this.itemOf(row);
    return item && JSON.stringify([item.label, item.description, item.iconPath, item.contextValue, item.accessibilityInformation?.label]);
  }

  /** Looks again soon after any of these fires; many at once are one. */
  protected redrawOn(...events: ((listener: () => void) => Disposable)[]): void {
    for (const event of events) this.#subscriptions.push(event(() => this.redraw()));
  }

  redraw(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.onRedraw();
      const rows = this.#shown.changes();
      // One event for all: after the first VS Code takes its time for the next.
      if (rows === undefined || rows.length > 0) this.#changed.fire(rows && [...rows]);
    }, 40);
  }

  /** A click changed how a row looks: it is drawn again, whatever comes of the click. */
  protected spoil(row: T): void {
    this.#shown.spoil(row);
  }

  /** Called before it is looked what changed: to read anew, and for badges, messages and context keys. */
  protected onRedraw(): void {
    // Nothing by default.
  }

  protected own(...items: Disposable[]): void {
    this.#subscriptions.push(...items);
  }

  dispose(): void {
    clearTimeout(this.#timer);
    for (const s of this.#subscriptions) s.dispose();
    this.#changed.dispose();
  }
}

/** Time of day, with the date if it wasn't today. */
export function clockTime(at: number, now: number): string {
  const date = new Date(at);
  const time = date.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  return date.toDateString() === new Date(now).toDateString()
    ? time
    : `${date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' })} ${time}`;
}

/** How long ago, in the words of the interface. */
export function ago(at: number, now: number): string {
  const minutes = Math.floor((now - at) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.floor(hours / 24)} d ago`;
}

/** Text that a server or agent chose, safe in a Markdown tooltip. */
export function asMarkdownText(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+\-.!|<>&~$]/g, (c) => `\\${c}`).replaceAll('\n', ' ');
}
