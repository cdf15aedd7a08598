import { constants } from 'node:fs';
import { lstat, open, readlink, realpath } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { codeOf } from '../../common/errors.ts';
import { CredentialError, type CredentialSource, type Resolved, type SourceAsk } from '../source.ts';
import type { SpecOf } from '../sourceSpec.ts';
import { resolvedOf } from './command.ts';
import { readOutput } from './output.ts';

/** Largest file, bytes. */
export const MAX_FILE_BYTES = 64 * 1024;
/** Links that lead to it, one through another. */
const MAX_LINKS = 16;
/** How long a value is kept, seconds: a file that somebody changed counts soon. */
const KEEP_SECONDS = 2;

/**
 * Files that hold a secret. Only such as nobody else can read or put in place: owned by the user or root, without any right of group or
 * others, in folders that nobody else may write; links count as good as what they lead through. On Windows only what it is (a file, its
 * size) is looked at, since its rights are no mode.
 */
export class FileSource implements CredentialSource {
  readonly kind = 'file';
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async resolve({ credential }: SourceAsk): Promise<Resolved> {
    if (credential.source?.kind !== 'file') throw new Error('The credential is not that of a file.');
    const { source } = credential;
    const text = await readSafely(absolute(source.path), source);
    const now = this.#clock.now();
    return resolvedOf(readOutput(text, source.format, source.field, source.path, now), KEEP_SECONDS, now);
  }
}

function absolute(given: string): string {
  return /^~[\\/]/.test(given) ? path.join(homedir(), given.slice(2)) : path.resolve(given);
}

async function readSafely(file: string, { path: shown }: SpecOf<'file'>): Promise<string> {
  try {
    const real = await realpath(file);
    if (process.platform !== 'win32') {
      await checkWay(file, shown, MAX_LINKS);
      await checkWay(real, shown, MAX_LINKS);
    }
    // No link at its end any more, and a pipe is not waited for. Windows knows neither flag: they are nothing there.
    const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      // What is open is what is looked at.
      const { mode, uid, size, ...entry } = await handle
        .stat()
        .then((s) => ({ mode: s.mode, uid: s.uid, size: s.size, isFile: s.isFile() }));
      if (!entry.isFile) throw refused(shown, 'it is no file');
      if (process.platform !== 'win32') {
        if (!isOurs(uid)) throw refused(shown, 'it belongs to another user');
        if ((mode & 0o077) !== 0) throw refused(shown, `others may read it (mode ${(mode & 0o777).toString(8)}). Run “chmod 600” on it`);
      }
      if (size > MAX_FILE_BYTES) throw refused(shown, `it is larger than ${MAX_FILE_BYTES / 1024} KiB`);
      const bytes = Buffer.alloc(MAX_FILE_BYTES + 1);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
      if (bytesRead > MAX_FILE_BYTES) throw refused(shown, `it is larger than ${MAX_FILE_BYTES / 1024} KiB`);
      return bytes.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof CredentialError) throw error;
    const code = codeOf(error);
    throw refused(
      shown,
      code === 'ENOENT' || code === 'ENOTDIR'
        ? 'there is none'
        : code === 'EACCES' || code === 'EPERM'
          ? 'you may not read it'
          : `it can’t be read (${code ?? 'unknown error'})`,
    );
  }
}

/**
 * Nobody else may be able to put another file in its place: every folder on the way is the user's or root's and closed to others, and so is
 * every link and the way that it leads.
 */
async function checkWay(file: string, shown: string, links: number): Promise<void> {
  if (links === 0) throw refused(shown, 'it lies behind too many links');
  for (let at = file; ; at = path.dirname(at)) {
    const { uid, mode, ...entry } = await lstat(at).then((s) => ({ uid: s.uid, mode: s.mode, isLink: s.isSymbolicLink() }));
    if (!isOurs(uid)) throw refused(shown, `${at} belongs to another user`);
    if (entry.isLink) await checkWay(path.resolve(path.dirname(at), await readlink(at)), shown, links - 1);
    // In a sticky folder such as /tmp others can't replace what is ours.
    else if (at !== file && (mode & 0o022) !== 0 && (mode & 0o1000) === 0) throw refused(shown, `others may change the folder ${at}`);
    if (at === path.dirname(at)) return;
  }
}

function isOurs(uid: number): boolean {
  return uid === 0 || uid === process.getuid?.();
}

function refused(shown: string, why: string): CredentialError {
  return new CredentialError('CULVERT_CREDENTIAL_FILE', 'file', `The secret in ${shown} can’t be used: ${why}.`, {
    forAgent: `The file of the credential can’t be used: ${why}.`,
  });
}
