import { execFile } from 'node:child_process';
import { dirname, sep } from 'node:path';
import type { Scope } from './locate.ts';

/** Who besides the user may get to read a file. */
export interface Exposure {
  /** Version control tracks it: everybody with the repository has it. */
  readonly tracked: boolean;
  /** The cloud service that carries it to other machines. */
  readonly synced?: string;
  /** The editor’s Settings Sync carries it to other machines, if it is on; nobody tells an extension whether it is. */
  readonly settingsSync: boolean;
  /** Other users of this machine can read it. */
  readonly worldReadable: boolean;
}

/** How long one question to git may take, milliseconds. */
const GIT_TIMEOUT_MS = 5_000;
/** Earlier versions of a file that are looked at, and bytes of one. */
export const MAX_REVISIONS = 50;
const MAX_BLOB_BYTES = 5 * 1024 * 1024;

/** Folders that a cloud service keeps on other machines too, by a part of their path. */
const CLOUD_FOLDERS: readonly (readonly [part: RegExp, name: string])[] = [
  [/^OneDrive(?: - .*)?$/i, 'OneDrive'],
  [/^Dropbox(?: \(.*\))?$/i, 'Dropbox'],
  [/^(?:Google ?Drive|GoogleDrive-.*|My Drive)$/i, 'Google Drive'],
  [/^(?:Mobile Documents|iCloudDrive|com~apple~CloudDocs)$/i, 'iCloud'],
  [/^(?:Nextcloud|ownCloud|pCloudDrive|MEGA|Syncthing|Box(?: Sync)?)$/i, 'a synchronised folder'],
];

/** The cloud folder that a path is in. */
export function cloudFolderOf(path: string): string | undefined {
  for (const part of path.split(/[/\\]/)) {
    const found = CLOUD_FOLDERS.find(([pattern]) => pattern.test(part));
    if (found) return found[1];
  }
  return undefined;
}

/** Runs git on a folder; resolves to its output, or `undefined` if it fails. No secret ever stands in `args`. */
export type Git = (folder: string, args: readonly string[]) => Promise<Buffer | undefined>;

/** The git of this machine. A repository can name programs to run in its configuration: what starts them is switched off. */
export const systemGit: Git = (folder, args) =>
  new Promise((resolve) => {
    execFile(
      'git',
      ['-c', 'core.fsmonitor=false', '-c', 'core.hooksPath=/dev/null', '--no-pager', '--no-optional-locks', '-C', folder, ...args],
      { encoding: 'buffer', timeout: GIT_TIMEOUT_MS, maxBuffer: MAX_BLOB_BYTES, windowsHide: true, env: gitEnvironment() },
      (error, stdout) => resolve(error ? undefined : stdout),
    );
  });

function gitEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, USERPROFILE, SystemRoot } = process.env;
  return { PATH, HOME, USERPROFILE, SystemRoot, LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0' };
}

/** Whether version control tracks a file. */
export async function isTracked(path: string, git: Git): Promise<boolean> {
  return (await git(dirname(path), ['ls-files', '--error-unmatch', '--', path])) !== undefined;
}

/** Who can read a file. Without `git` nothing is said about version control. `mode`: permission bits, 0 if there are none. */
export async function exposureOf(
  file: { readonly path: string; readonly mode: number; readonly scope?: Scope; readonly client?: string },
  git: Git | undefined,
): Promise<Exposure> {
  const synced = cloudFolderOf(file.path);
  return {
    tracked: git !== undefined && (await isTracked(file.path, git)),
    ...(synced === undefined ? {} : { synced }),
    settingsSync: file.client === 'vscode' && (file.scope === 'user' || file.scope === 'profile'),
    worldReadable: (file.mode & 0o004) !== 0,
  };
}

/** The exposure as sentences; empty if only the user can read the file. */
export function describeExposure({ tracked, synced, settingsSync, worldReadable }: Exposure): string[] {
  return [
    ...(tracked ? ['The file is in version control: everybody who has the repository can read it.'] : []),
    ...(synced === undefined ? [] : [`The file is copied to other machines by ${synced}.`]),
    ...(settingsSync ? ['Settings Sync, if it is on, copies the file to your other machines.'] : []),
    ...(worldReadable ? ['Other users of this machine can read the file.'] : []),
  ];
}

/**
 * Which of these values stand in earlier versions of a file, as its history says. Looks at the latest {@link MAX_REVISIONS} versions,
 * comparing in this process: no value is given to git.
 */
export async function inHistory(path: string, values: readonly string[], git: Git): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const folder = dirname(path);
  const top = (await git(folder, ['rev-parse', '--show-prefix']))?.toString('utf8').trim();
  const log = await git(folder, ['log', `--max-count=${MAX_REVISIONS}`, '--format=%H', '--', path]);
  if (top === undefined || log === undefined) return found;
  const name = path.slice(folder.length + sep.length);
  for (const revision of log.toString('utf8').split('\n')) {
    if (!/^[0-9a-f]{40,64}$/.test(revision)) continue;
    const blob = await git(folder, ['cat-file', 'blob', `${revision}:${top}${name}`]);
    const text = blob?.toString('utf8') ?? '';
    for (const value of values) if (value !== '' && text.includes(value)) found.add(value);
    if (found.size === values.length) break;
  }
  return found;
}
