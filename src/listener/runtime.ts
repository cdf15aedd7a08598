import { randomBytes } from 'node:crypto';
import { lstatSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { CAPABILITY_FOLDER, type CapabilityFile } from '../common/capabilityFile.ts';
import { ListenerError } from '../common/errors.ts';
import {
  MAX_SOCKET_PATH_BYTES,
  currentEnvironment,
  prepareFolder,
  runtimeFolderCandidates,
  type RuntimeEnvironment,
} from '../common/runtimeFolder.ts';

/** Age at which the temporary form of a capability file belongs to nobody any more, milliseconds. */
const TEMPORARY_MS = 60_000;
/** A socket that is younger may be one that a starting window has bound and does not listen at yet, milliseconds. */
const FRESH_SOCKET_MS = 5_000;

/** Where a window's socket and capability files lie. */
export interface RuntimeFolder {
  readonly folder: string;
  /** Socket path or pipe name of this window. */
  readonly socketPath: string;
}

/** Finds or makes a folder that only this user can enter and whose socket paths are short enough. Throws {@link ListenerError} naming every reason. */
export function openRuntimeFolder(from: RuntimeEnvironment = currentEnvironment()): RuntimeFolder {
  const reasons: string[] = [];
  for (const folder of runtimeFolderCandidates(from)) {
    const name = randomBytes(6).toString('hex');
    const socketPath = from.platform === 'win32' ? `\\\\.\\pipe\\culvert-${randomBytes(16).toString('hex')}` : join(folder, `${name}.sock`);
    if (from.platform !== 'win32' && Buffer.byteLength(socketPath) > MAX_SOCKET_PATH_BYTES) {
      reasons.push(`${folder} is too long for a socket (at most ${MAX_SOCKET_PATH_BYTES} bytes with the file name).`);
      continue;
    }
    const reason = prepareFolder(folder, from.uid) ?? prepareFolder(join(folder, CAPABILITY_FOLDER), from.uid);
    if (reason === undefined) return { folder, socketPath };
    reasons.push(reason);
  }
  throw new ListenerError('CULVERT_LISTENER_NO_FOLDER', `Culvert found no safe folder for its socket. ${reasons.join(' ')}`);
}

/** Path of a capability file. */
export function capabilityPath(folder: string, stem: string): string {
  return join(folder, CAPABILITY_FOLDER, `${stem}.json`);
}

/** Writes a capability file (mode 0600), whole or not at all. */
export function writeCapabilityFile(folder: string, stem: string, content: CapabilityFile): void {
  const path = capabilityPath(folder, stem);
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  writeFileSync(temporary, JSON.stringify(content), { mode: 0o600, flag: 'wx' });
  renameSync(temporary, path);
}

export function removeCapabilityFile(folder: string, stem: string): void {
  rmSync(capabilityPath(folder, stem), { force: true });
}

/** Removes sockets that nobody listens on and capability files of extension hosts that are gone. Never touches a live window's. */
export async function sweepRuntimeFolder(folder: string): Promise<void> {
  for (const name of readdirSync(join(folder, CAPABILITY_FOLDER))) {
    const path = join(folder, CAPABILITY_FOLDER, name);
    // A file that another window is just writing.
    if (name.endsWith('.tmp') && Date.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < TEMPORARY_MS) continue;
    const pid = pidOf(path);
    if (pid === undefined || !isAlive(pid)) rmSync(path, { force: true });
  }
  if (process.platform === 'win32') return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const stat = name.endsWith('.sock') ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
    if (stat?.isSocket() !== true || Date.now() - stat.mtimeMs < FRESH_SOCKET_MS) continue;
    if (!(await answers(path))) rmSync(path, { force: true });
  }
}

function pidOf(path: string): number | undefined {
  try {
    const content = JSON.parse(readFileSync(path, 'utf8')) as Partial<CapabilityFile>;
    return typeof content.pid === 'number' ? content.pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** True unless a connection is refused outright: a window that is busy for a moment must not lose its socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.setTimeout(1000, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'));
  });
}
