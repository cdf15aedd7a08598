import * as vscode from 'vscode';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { effectiveLeakPolicy, readLeakSettings, type LeakPolicy, type LeakSettings } from '../inspection/leakPolicy.ts';
import type { LeakGuard } from '../inspection/leakGuard.ts';
import { SETTINGS } from './names.ts';

/** What the settings say about leaks: the user’s, which those of the workspace can only make stricter. */
export function leakPolicy(): LeakPolicy {
  const configuration = vscode.workspace.getConfiguration();
  const read = (which: 'globalValue' | 'workspaceValue', folder: string | undefined): LeakSettings => {
    const of = (name: string): unknown => configuration.inspect<unknown>(name)?.[which];
    const settings = readLeakSettings({
      tiers: of(SETTINGS.leakTiers),
      servers: of(SETTINGS.leakServers),
      ruleFiles: of(SETTINGS.leakRuleFiles),
      ignoredRules: of(SETTINGS.leakIgnoredRules),
      secretlint: of(SETTINGS.leakSecretlint),
    });
    return { ...settings, ruleFiles: (settings.ruleFiles ?? []).flatMap((path) => absolute(path, folder) ?? []) };
  };
  return effectiveLeakPolicy(
    read('globalValue', homedir()),
    // An untrusted folder has no say at all, though it could only make things stricter: rule files are read and compiled.
    vscode.workspace.isTrusted ? read('workspaceValue', vscode.workspace.workspaceFolders?.[0]?.uri.fsPath) : {},
  );
}

/** Keeps the policy as the settings have it. */
export function followLeakSettings(leaks: LeakGuard): vscode.Disposable {
  leaks.setPolicy(leakPolicy());
  return vscode.Disposable.from(
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration('culvert.leaks')) leaks.setPolicy(leakPolicy());
    }),
    vscode.workspace.onDidGrantWorkspaceTrust(() => leaks.setPolicy(leakPolicy())),
  );
}

function absolute(path: string, folder: string | undefined): string | undefined {
  const expanded = path.startsWith('~/') ? join(homedir(), path.slice(2)) : path;
  if (isAbsolute(expanded)) return expanded;
  return folder === undefined ? undefined : resolve(folder, expanded);
}
