import { dirname, join, resolve } from 'node:path';
import { readSmallFile } from '../common/smallFile.ts';

/** Folders above a workspace folder in which its repository is looked for. */
const MAX_LEVELS = 40;
const MAX_HEAD_BYTES = 4_096;

/**
 * Name of the branch that is checked out in the repository of a folder, as it is now; `undefined` if there is none or no branch. The same words as
 * git's: what follows `refs/heads/` in HEAD (gitrepository-layout). Reads two small files; never throws.
 */
export function branchOf(folder: string): string | undefined {
  const head = headOf(folder);
  const [, branch] = /^ref: refs\/heads\/(\S+)\s*$/.exec(head ?? '') ?? [];
  // With reftables HEAD says only that it says nothing.
  return branch === '.invalid' ? undefined : branch;
}

/** The branch of a workspace: that of its folders if they all have the same. */
export function branchOfAll(folders: readonly string[]): string | undefined {
  const [first, ...rest] = folders.map(branchOf);
  return rest.every((branch) => branch === first) ? first : undefined;
}

function headOf(folder: string): string | undefined {
  let here = folder;
  for (let level = 0; level < MAX_LEVELS; level++) {
    const text = (path: string) => {
      const read = readSmallFile(path, MAX_HEAD_BYTES);
      return read.kind === 'text' ? read.text : undefined;
    };
    const direct = text(join(here, '.git', 'HEAD'));
    if (direct !== undefined) return direct;
    // A worktree or submodule has a file that says where its repository is.
    const [, elsewhere] = /^gitdir: (.+?)\s*$/.exec(text(join(here, '.git')) ?? '') ?? [];
    // What a workspace names must not make this machine sign in elsewhere.
    if (elsewhere !== undefined) return /^[\\/]{2}/.test(elsewhere) ? undefined : text(join(resolve(here, elsewhere), 'HEAD'));
    const above = dirname(here);
    if (above === here) return undefined;
    here = above;
  }
  return undefined;
}
