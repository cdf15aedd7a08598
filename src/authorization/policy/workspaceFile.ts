import { lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readSmallFile } from '../../common/smallFile.ts';
import { MAX_WORKSPACE_POLICY, WORKSPACE_POLICY_PATH, workspaceLayer } from './jsonPolicy.ts';
import { brokenLayer, type PolicyLayer } from './layer.ts';

/** Path of the policy that a workspace folder brings along. */
export function workspacePolicyPath(folder: string): string {
  return join(folder, ...WORKSPACE_POLICY_PATH.split('/'));
}

/**
 * The layer of the policy that a workspace folder brings along; `undefined` if it has none. A link is refused, also one on the way there: what
 * it leads to is not the workspace's, and would be quoted to agents. What can't be read denies. Never throws.
 */
export function readWorkspaceLayer(folder: string): PolicyLayer | undefined {
  const path = workspacePolicyPath(folder);
  const read = readSmallFile(path, MAX_WORKSPACE_POLICY);
  if (read.kind === 'none') return undefined;
  if (read.kind === 'refused') return refused(path, read.reason);
  if (isLink(dirname(path))) return refused(path, 'Its folder is a link. Put the policy into the workspace itself.');
  try {
    return workspaceLayer(path, read.text);
  } catch {
    // The parser calls itself for each level.
    return refused(path, 'It is nested too deep.');
  }
}

function refused(source: string, message: string): PolicyLayer {
  return brokenLayer('The workspace’s policy', [{ source, line: 0, column: 0, endLine: 0, endColumn: 0, message }]);
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return true;
  }
}
