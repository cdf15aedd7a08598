import * as vscode from 'vscode';
import { SERVER_LIST_SETTINGS, type ServerListSettings } from '../authorization/policy/serverLists.ts';
import { localSystem } from '../authorization/policy/systemFile.ts';
import type { PolicySources } from '../tunnel/policies.ts';
import { SETTINGS } from './names.ts';

/** Settings that are policies; when one changes, they are read again. */
export const POLICY_SETTINGS: readonly string[] = [SETTINGS.policyRules, SETTINGS.policyMode, ...Object.values(SERVER_LIST_SETTINGS)];

/** Paths of the workspace's folders on this machine. A folder that lies elsewhere brings no policy and has no branch here. */
export function workspaceFolders(): readonly string[] {
  return (vscode.workspace.workspaceFolders ?? []).filter((f) => f.uri.scheme === 'file').map((f) => f.uri.fsPath);
}

/** Where policies come from in VS Code. */
export const policySources: PolicySources = {
  folders: workspaceFolders,
  settings: () => ({
    rules: everyValue(SETTINGS.policyRules, 'user'),
    shadow: vscode.workspace.getConfiguration().get<string>(SETTINGS.policyMode, 'enforce') === 'shadow',
    lists: serverLists(),
  }),
  rulesSetting: SETTINGS.policyRules,
  system: localSystem,
};

/**
 * Each value that a setting has anywhere, the effective one first (an organisation's goes before all others there). All are applied, so that one
 * that stands higher, such as a workspace's, adds to the others and never takes their place.
 */
function everyValue(setting: string, whose: 'user' | 'all'): readonly unknown[] {
  const configuration = vscode.workspace.getConfiguration();
  const found = configuration.inspect<unknown>(setting);
  const values = [
    configuration.get<unknown>(setting),
    found?.globalValue,
    ...(whose === 'all' ? [found?.workspaceValue, found?.workspaceFolderValue] : []),
  ];
  const distinct = new Map(values.filter((v) => v !== undefined && v !== null).map((v) => [JSON.stringify(v), v]));
  return [...distinct.values()];
}

function serverLists(): readonly ServerListSettings[] {
  return [
    ...everyValue(SERVER_LIST_SETTINGS.access, 'all').map((access) => ({ access })),
    ...everyValue(SERVER_LIST_SETTINGS.allowed, 'all').map((allowed) => ({ allowed })),
    ...everyValue(SERVER_LIST_SETTINGS.denied, 'all').map((denied) => ({ denied })),
  ];
}
