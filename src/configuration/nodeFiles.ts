import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, lstat, mkdir, readFile, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from '../common/errors.ts';
import type { ConfigurationFiles, FileFacts } from './files.ts';

async function unlessMissing<T>(task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined;
    throw error;
  }
}

async function canWrite(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The disk of this machine. */
export const nodeFiles: ConfigurationFiles = {
  async facts(path): Promise<FileFacts | undefined> {
    const target = await unlessMissing(() => realpath(path));
    const found = target === undefined ? undefined : await unlessMissing(() => stat(target));
    if (target === undefined || !found) return undefined;
    const linked = (await lstat(path)).isSymbolicLink() || target !== resolve(path);
    return { target, linked, isFile: found.isFile(), size: found.size, writable: await canWrite(target), mode: found.mode & 0o777 };
  },

  async isFile(path) {
    return (await unlessMissing(() => stat(path)))?.isFile() ?? false;
  },

  async list(folder) {
    try {
      return await readdir(folder);
    } catch {
      return [];
    }
  },

  read: (path) => readFile(path),

  remove: (path) => rm(path),

  async write(path, bytes) {
    const old = await unlessMissing(() => stat(path));
    if (!old) await mkdir(dirname(path), { recursive: true });
    const draft = join(dirname(path), `.culvert-${randomUUID()}.tmp`);
    try {
      // Whoever reads meanwhile sees the old file or the new one, never a part.
      await writeFile(draft, bytes, { mode: 0o600, flag: 'wx' });
      await chmod(draft, old ? old.mode & 0o777 : 0o600);
      if (old && old.nlink > 1) throw Object.assign(new Error('hard links'), { code: 'EMLINK' });
      await rename(draft, path);
    } catch (error) {
      await rm(draft, { force: true });
      // Mounted or hard-linked files can't be replaced, folders may not allow new files: those are written in place.
      if (!old || !['EMLINK', 'EBUSY', 'EXDEV', 'EACCES', 'EPERM'].includes(codeOf(error) ?? '')) throw error;
      await writeFile(path, bytes);
    }
  },
};
