import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { codeOf } from '../common/errors.ts';
import type { UpstreamPlace } from '../mcp/server.ts';
import type { Files } from './paths.ts';

/** Links in a row before it is taken for a circle; Linux stops at as many (path_resolution(7)). */
const MAX_LINKS = 40;

/** The file system of this machine. Case is taken to count on Linux only, whatever single volumes do. */
export function localFiles(platform: NodeJS.Platform = process.platform): Files {
  return {
    flavor: platform === 'win32' ? 'windows' : 'posix',
    caseSensitive: platform !== 'win32' && platform !== 'darwin',
    follow: (path) => follow(path, 0),
  };
}

function follow(path: string, links: number): string | undefined {
  if (links > MAX_LINKS) return undefined;
  try {
    // An exception costs more than all the rest, and what does not exist is common.
    if (statSync(path, { throwIfNoEntry: false })) return realpathSync.native(path);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') return undefined;
  }
  const parent = dirname(path);
  if (parent === path) return path;
  const above = follow(parent, links);
  if (above === undefined) return undefined;
  const here = join(above, path.slice(parent.length).replace(/^[\\/]/, ''));
  try {
    const status = lstatSync(here, { throwIfNoEntry: false });
    // A link that points to nothing: who writes there creates what it points to.
    return status?.isSymbolicLink() === true ? follow(resolve(above, readlinkSync(here)), links + 1) : here;
  } catch {
    return undefined;
  }
}

const local = new WeakMap<UpstreamPlace, boolean>();

/** Whether the paths that a server is given are those of this machine. Where it isn't known, they are looked at as if. */
export function isLocal(place: UpstreamPlace | undefined): boolean {
  if (!place) return true;
  let is = local.get(place);
  if (is === undefined) local.set(place, (is = isHere(place)));
  return is;
}

function isHere(place: UpstreamPlace): boolean {
  if (place.ssh !== undefined) return false;
  return place.kind === 'stdio' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(place.url).hostname);
}
