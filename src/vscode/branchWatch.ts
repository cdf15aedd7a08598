import * as vscode from 'vscode';
import { dirname } from 'node:path';
import type { Caller } from '../authorization/grant.ts';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Principal } from '../mcp/principal.ts';
import { branchOfAll, headFileOf } from './gitBranch.ts';
import { workspaceFolders } from './policySettings.ts';

/** Name of the branch that the window's workspace has checked out, as it is now; `undefined` if there is none, or more than one. */
export function branchHere(): string | undefined {
  return branchOfAll(workspaceFolders());
}

/**
 * A principal of this window as one that calls now, for views. The branch is looked up at the first need and stays the same for as long as
 * the result is used: ask for another one for every look.
 */
export function callerNow(principal: Principal): Caller {
  let found: { readonly name: string | undefined } | undefined;
  return {
    ...principal,
    get branch() {
      found ??= { name: branchHere() };
      return found.name;
    },
  };
}

/** A caller on the record as it would call now: in this window's workspace with the branch that is checked out. */
export function withBranch(caller: Caller, here: Caller): Caller {
  return caller.workspace === here.workspace ? { ...caller, branch: here.branch } : caller;
}

/** Says when another branch is checked out. Calls look for themselves: this is for what is shown and listed. */
export class BranchWatch implements vscode.Disposable {
  readonly #changed = new Emitter<undefined>();
  readonly #subscriptions: Disposable[];
  #watchers: vscode.Disposable[] = [];
  /** Files that are watched. */
  #watched = '';
  #name: string | undefined;

  /** Fires after another branch was checked out, or none. */
  readonly onDidChange = this.#changed.event;

  constructor() {
    this.#subscriptions = [
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.#look()),
      // Where files can’t be watched, the user comes back from the terminal at least.
      vscode.window.onDidChangeWindowState(({ focused }) => {
        if (focused) this.#look();
      }),
    ];
    this.#watch();
    this.#name = branchHere();
  }

  dispose(): void {
    for (const item of [...this.#subscriptions, ...this.#watchers]) item.dispose();
    this.#changed.dispose();
  }

  #look(): void {
    this.#watch();
    const name = branchHere();
    if (name === this.#name) return;
    this.#name = name;
    this.#changed.fire(undefined);
  }

  /** Follows the HEAD of each folder's repository, and one that is made in the folder. */
  #watch(): void {
    const patterns = workspaceFolders().flatMap((folder) => {
      const head = headFileOf(folder);
      const made = new vscode.RelativePattern(vscode.Uri.file(folder), '.git/HEAD');
      return head === undefined ? [made] : [made, new vscode.RelativePattern(vscode.Uri.file(dirname(head)), 'HEAD')];
    });
    const watched = JSON.stringify(patterns.map(({ baseUri, pattern }) => [baseUri.fsPath, pattern]));
    if (watched === this.#watched) return;
    this.#watched = watched;
    for (const watcher of this.#watchers.splice(0)) watcher.dispose();
    const look = () => this.#look();
    for (const pattern of patterns) {
      const watcher = vscode.workspace.createFileSystemWatcher(pattern);
      this.#watchers.push(watcher, watcher.onDidChange(look), watcher.onDidCreate(look), watcher.onDidDelete(look));
    }
  }
}
