import { lstatSync, mkdirSync, chmodSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { codeOf } from './errors.ts';

/** Longest socket path in bytes that every supported system takes (`sun_path`: 108 on Linux, 104 on macOS, both with a final NUL). */
export const MAX_SOCKET_PATH_BYTES = 103;

/** What {@link runtimeFolderCandidates} reads from its surroundings. */
export interface RuntimeEnvironment {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly tmp: string;
  /** Numeric user id; -1 where there is none (Windows). */
  readonly uid: number;
}

/** The surroundings of this process. */
export function currentEnvironment(): RuntimeEnvironment {
  return { platform: process.platform, env: process.env, home: homedir(), tmp: tmpdir(), uid: userInfo().uid };
}

/**
 * Folders in which sockets and capability files may lie, best first. Extension and bridge compute the same list, so that a bridge
 * whose client cleaned its environment still finds the folder.
 */
export function runtimeFolderCandidates(from: RuntimeEnvironment): string[] {
  if (from.platform === 'win32') return [join(from.env['LOCALAPPDATA'] ?? join(from.home, 'AppData', 'Local'), 'culvert', 'run')];
  const given = from.env['XDG_RUNTIME_DIR'];
  const folders = [
    ...(given ? [join(given, 'culvert')] : []),
    ...(from.platform === 'linux' ? [`/run/user/${from.uid}/culvert`] : []),
    join(from.tmp, `culvert-${from.uid}`),
    `/tmp/culvert-${from.uid}`,
  ];
  return [...new Set(folders)];
}

/** Why a folder can't be used for sockets and capability files, or `undefined` if it can. Never follows a link at `folder`. */
export function refuseFolder(folder: string, uid: number): string | undefined {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  if (!stat) return `${folder} does not exist.`;
  if (!stat.isDirectory()) return `${folder} is not a folder. Remove it and reload the window.`;
  if (uid >= 0 && stat.uid !== uid)
    return `${folder} belongs to another user (uid ${stat.uid}). Remove it, or set XDG_RUNTIME_DIR to a folder of your own.`;
  if (uid >= 0 && (stat.mode & 0o077) !== 0) return `${folder} can be entered by others. Run: chmod 700 ${folder}`;
  return undefined;
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: process.platform === 'win32', mode: 0o700 });
  } catch (error) {
    // Another window that starts at the same moment was first.
    if (codeOf(error) !== 'EEXIST') throw error;
  }
}

/** Creates `folder` with mode 0700 if it is missing, and tightens one of our own that is open to others. Returns the reason if it stays unusable. */
export function prepareFolder(folder: string, uid: number): string | undefined {
  try {
    // Parents are not made: a runtime folder that the system did not provide is none. Windows has no such folder to begin with.
    if (!lstatSync(folder, { throwIfNoEntry: false })) makeFolder(folder);
    const stat = lstatSync(folder);
    if (stat.isDirectory() && uid >= 0 && stat.uid === uid && (stat.mode & 0o077) !== 0) chmodSync(folder, 0o700);
  } catch (error) {
    return `${folder} can't be created (${error instanceof Error ? error.message : String(error)}).`;
  }
  return refuseFolder(folder, uid);
}
