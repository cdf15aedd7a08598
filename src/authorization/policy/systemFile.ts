import { constants, type Stats } from 'node:fs';
import { access, lstat, open, readFile, realpath, rm } from 'node:fs/promises';
import { posix, win32 } from 'node:path';
import { codeOf, messageOf } from '../../common/errors.ts';
import { MAX_POLICY_BYTES, type PolicyText, type Protection } from './cedar.ts';

/**
 * Where an organisation puts its policy. Fixed: neither a setting nor an environment variable moves it, since an agent can change both.
 * On Windows below Program Files, because everybody may create files below ProgramData.
 */
export function systemPolicyPath(platform: NodeJS.Platform = process.platform): string {
  if (platform === 'win32') return 'C:\\Program Files\\Culvert\\policy.cedar';
  if (platform === 'darwin') return '/Library/Application Support/Culvert/policy.cedar';
  return '/etc/culvert/policy.cedar';
}

/** What reading the file needs of the system; {@link localSystem} is the one of this machine. */
export interface PolicySystem {
  readonly platform: NodeJS.Platform;
  /** Id of the user that VS Code runs as; `undefined` on Windows. */
  readonly uid: number | undefined;
  /** Throws with `code` as Node does. */
  readText(path: string): Promise<string>;
  status(path: string): Promise<Pick<Stats, 'uid' | 'mode' | 'size'> & { readonly kind: 'file' | 'folder' | 'link' | 'other' }>;
  real(path: string): Promise<string>;
  /** Whether this process could write there. Leaves nothing behind. */
  canWrite(path: string, kind: 'file' | 'folder'): Promise<boolean>;
}

/**
 * Reads the organisation's policy. `undefined` if there is none. A file that the user could have written, or that can't be read, comes back
 * as one that is not protected, which denies everything. Never rejects.
 */
export async function readSystemPolicy(system: PolicySystem, path = systemPolicyPath(system.platform)): Promise<PolicyText | undefined> {
  const refused = (reason: string): PolicyText => ({ source: path, text: '', protection: { ok: false, reason } });
  try {
    const { kind, size } = await system.status(path);
    if (kind === 'folder' || kind === 'other') return refused('It is no file. Put the policy there as a plain file.');
    if (size > MAX_POLICY_BYTES) return refused(`It is larger than ${MAX_POLICY_BYTES / 1024} KB.`);
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    return refused(`It can’t be looked at: ${messageOf(error)}. Every user needs to read it.`);
  }
  try {
    const protection = await protectionOf(system, path);
    return protection.ok ? { source: path, text: await system.readText(path), protection } : refused(protection.reason);
  } catch (error) {
    return refused(`It can’t be read: ${messageOf(error)}. Every user needs to read it.`);
  }
}

/** Whether nobody but an administrator can change what a path leads to: the file, the folders above it, and where links on the way lead. */
export async function protectionOf(system: PolicySystem, path: string): Promise<Protection> {
  const paths = system.platform === 'win32' ? win32 : posix;
  const real = await system.real(path);
  for (const start of new Set([path, real])) {
    for (let here = start; ; here = paths.dirname(here)) {
      const why = await weakness(system, here);
      if (why !== undefined) return { ok: false, reason: `${here} ${why}` };
      if (here === paths.parse(here).root) break;
    }
  }
  return { ok: true };
}

async function weakness(system: PolicySystem, path: string): Promise<string | undefined> {
  const { uid, mode, kind } = await system.status(path);
  if (system.platform !== 'win32') {
    if (uid !== 0) return 'does not belong to root. Only an administrator’s file counts: chown it to root.';
    // The mode of a link says nothing; what it leads to is looked at as well.
    if (kind !== 'link' && (mode & 0o022) !== 0 && (kind !== 'folder' || (mode & 0o1000) === 0))
      return 'can be written by others than root. Take that away: chmod go-w.';
    // Who is root can write everything; the owner is what counts then.
    if (system.uid === 0) return undefined;
  }
  if (kind !== 'file' && kind !== 'folder') return undefined;
  // At the root of a Windows drive everybody may make folders, and nobody may rename what is there.
  if (system.platform === 'win32' && win32.parse(path).root === path) return undefined;
  // Access control lists say more than the mode does.
  return (await system.canWrite(path, kind))
    ? 'can be written by the user that VS Code runs as. Take that away; if VS Code runs as administrator, start it as a normal user.'
    : undefined;
}

/** This machine. */
export const localSystem: PolicySystem = {
  platform: process.platform,
  uid: process.getuid?.(),
  readText: (path) => readFile(path, 'utf8'),
  async status(path) {
    const stats = await lstat(path);
    const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'link' : 'other';
    return { uid: stats.uid, mode: stats.mode, size: stats.size, kind };
  },
  real: (path) => realpath(path),
  async canWrite(path, kind) {
    try {
      if (process.platform !== 'win32') await access(path, constants.W_OK);
      // access() does not know Windows' access control lists; opening does.
      else if (kind === 'file') await (await open(path, 'r+')).close();
      else {
        const probe = win32.join(path, `.culvert-${process.pid}-${Date.now()}`);
        await (await open(probe, 'wx')).close();
        await rm(probe, { force: true });
      }
      return true;
    } catch {
      return false;
    }
  },
};
