import * as vscode from 'vscode';
import type { Disposable } from '../../common/disposable.ts';

/** A tree view of rows that know how to draw themselves. */
export abstract class Rows<T> implements vscode.TreeDataProvider<T>, vscode.Disposable {
  readonly #changed = new vscode.EventEmitter<T | undefined>();
  readonly #subscriptions: Disposable[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looks: string | undefined;

  readonly onDidChangeTreeData = this.#changed.event;

  abstract getChildren(row?: T): T[];
  abstract getTreeItem(row: T): vscode.TreeItem;

  /** Draws again soon after any of these fires; many at once are one. */
  protected redrawOn(...events: ((listener: () => void) => Disposable)[]): void {
    for (const event of events) this.#subscriptions.push(event(() => this.redraw()));
  }

  redraw(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.onRedraw();
      this.fireChanges();
    }, 40);
  }

  /** Tells VS Code what looks different now. It drops clicks on rows that are just being drawn again: nothing without need. */
  protected fireChanges(): void {
    const looks = this.looks();
    if (looks !== undefined && looks === this.#looks) return;
    this.#looks = looks;
    this.changed(undefined);
  }

  /** Everything that can be seen, as text; `undefined` if that isn't known, so that every redraw is done. */
  protected looks(): string | undefined {
    return undefined;
  }

  /** Has a row drawn again, with what is below it; `undefined`: all rows. */
  protected changed(row: T | undefined): void {
    this.#changed.fire(row);
  }

  /** Called before a redraw, for badges, messages and context keys. */
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
