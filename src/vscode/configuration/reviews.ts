import * as vscode from 'vscode';
import { basename } from 'node:path';
import type { Review } from '../../configuration/importer.ts';
import { IMPORT_SCHEME } from '../names.ts';
import { askChoice, single } from '../steps.ts';

/** Shows edits of files in the diff editor before they are made. The texts are in memory and go with the question. */
export class Reviews implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #texts = new Map<string, string>();
  readonly #registration = vscode.workspace.registerTextDocumentContentProvider(IMPORT_SCHEME, this);
  #serial = 0;

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.#texts.get(uri.path) ?? '';
  }

  /** Asks for one import: `yes` to all that follow is remembered. */
  session(title: string): (edit: Review) => Promise<boolean> {
    let all = false;
    return async (edit) => {
      if (all) return true;
      const rest = edit.of - edit.index;
      const answer = await this.#ask(title, edit, rest);
      all = answer === 'all';
      return answer !== 'no';
    };
  }

  /** Opens a comparison of two texts that are made for the occasion. */
  async compare(title: string, before: string, after: string): Promise<void> {
    const [left, right] = [this.#uri(`before/${title}`, before), this.#uri(`after/${title}`, after)];
    await vscode.commands.executeCommand('vscode.diff', left, right, title, { preview: true });
  }

  dispose(): void {
    this.#registration.dispose();
    this.#texts.clear();
  }

  async #ask(title: string, edit: Review, rest: number): Promise<'yes' | 'all' | 'no'> {
    const name = basename(edit.path);
    const right = this.#uri(name, edit.text);
    const left = edit.isNew ? this.#uri(`new/${name}`, '') : vscode.Uri.file(edit.target);
    try {
      await vscode.commands.executeCommand('vscode.diff', left, right, `${name}: what Culvert changes`, { preview: true });
      const place = {
        ...single(edit.of > 1 ? `${title}: ${name} (${edit.index} of ${edit.of})` : `${title}: ${name}`),
        prompt: [`The edit of ${edit.target} is shown behind this.`, ...edit.notices].join(' '),
      };
      const answer = await askChoice<'yes' | 'all' | 'no'>(place, 'Make this edit?', [
        { label: '$(check) Make this edit', description: edit.isNew ? 'the file is new' : '', value: 'yes' },
        ...(rest > 0
          ? [{ label: `$(check-all) Make this one and the other ${rest === 1 ? 'edit' : `${rest} edits`}`, value: 'all' as const }]
          : []),
        { label: '$(discard) Leave everything as it was', description: 'no file, server or secret is changed', value: 'no' },
      ]);
      return answer.kind === 'value' ? answer.value : 'no';
    } finally {
      await closeDiff(right);
      for (const uri of [left, right]) if (uri.scheme === IMPORT_SCHEME) this.#texts.delete(uri.path);
    }
  }

  #uri(name: string, text: string): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: IMPORT_SCHEME, path: `/${++this.#serial}/${name}` });
    this.#texts.set(uri.path, text);
    return uri;
  }
}

async function closeDiff(right: vscode.Uri): Promise<void> {
  const tabs = vscode.window.tabGroups.all
    .flatMap(({ tabs: open }) => open)
    .filter(({ input }) => input instanceof vscode.TabInputTextDiff && input.modified.toString() === right.toString());
  if (tabs.length > 0) await vscode.window.tabGroups.close(tabs, true);
}
