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
  const [, branch] = /^ref: refs\/heads\/(\S+)\s*$/.exec(headOf(folder)?.text ?? '') ?? [];
  // With reftables HEAD says only that it says nothing.
  return branch === '.invalid' ? undefined : branch;
}

/** Path of the file that says which branch is checked out in the repository of a folder; `undefined` if there is none. */
export function headFileOf(folder: string): string | undefined {
  return headOf(folder)?.path;
}

/** The branch of a workspace: that of its folders if they all have the same. */
export function branchOfAll(folders: readonly string[]): string | undefined {
  const [first, ...rest] = folders.map(branchOf);
  return rest.every((branch) => branch === first) ? first : undefined;
}

function headOf(folder: string): { readonly path: string; readonly text: string } | undefined {
  const headAt = (path: string) => {
    const text = textOf(path);
    return text === undefined ? undefined : { path, text };
  };
  let here = folder;
  for (let level = 0; level < MAX_LEVELS; level++) {
    const direct = headAt(join(here, '.git', 'HEAD'));
    if (direct) return direct;
    // A worktree or submodule has a file that says where its repository is.
    const [, elsewhere] = /^gitdir: (.+?)\s*$/.exec(textOf(join(here, '.git')) ?? '') ?? [];
    // What a workspace names must not make this machine sign in elsewhere.
    if (elsewhere !== undefined) return /^[\\/]{2}/.test(elsewhere) ? undefined : headAt(join(resolve(here, elsewhere), 'HEAD'));
    const above = dirname(here);
    if (above === here) return undefined;
    here = above;
  }
  return undefined;
}

function textOf(path: string): string | undefined {
  const read = readSmallFile(path, MAX_HEAD_BYTES);
  return read.kind === 'text' ? read.text : undefined;
}
