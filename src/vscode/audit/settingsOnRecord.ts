import * as vscode from 'vscode';
import type { App } from '../app.ts';
import { SETTINGS } from '../names.ts';

/**
 * Puts changes of Culvert’s settings on the record and hands those of exports on. What they were is kept in the database under a MAC, so
 * that a file of settings that was edited while no window was open is noticed, and every change stands there once though all windows see
 * it.
 */
export function recordSettings(app: App): vscode.Disposable {
  const note = (keys: readonly string[]) => {
    try {
      app.core.record.settings.note(keys.map((key) => ({ key, value: userValue(key) })));
    } catch (error) {
      app.logger.warn(`Changed settings could not be recorded: ${String(error)}`);
    }
    // After it is on the record: an export that ends by it delivers that, too.
    app.core.exports.configure(vscode.workspace.getConfiguration().get<unknown>(SETTINGS.auditExports));
  };
  note(Object.values(SETTINGS));
  return vscode.workspace.onDidChangeConfiguration((event) => {
    const changed = Object.values(SETTINGS).filter((key) => event.affectsConfiguration(key));
    if (changed.length > 0) note(changed);
  });
}

/** A setting without what the workspace of this window says: that is another in each window, and can only tighten. */
function userValue(key: string): unknown {
  const found = vscode.workspace.getConfiguration().inspect<unknown>(key);
  const isWorkspaces = found?.workspaceValue !== undefined || found?.workspaceFolderValue !== undefined;
  return isWorkspaces ? (found.globalValue ?? found.defaultValue) : vscode.workspace.getConfiguration().get<unknown>(key);
}
