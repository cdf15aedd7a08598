import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { CAPABILITY_FOLDER, isSharedStem, type CapabilityFile } from '../common/capabilityFile.ts';
import { refuseFolder } from '../common/runtimeFolder.ts';

/** Where a tunnel listens and what opens it. Taken from a capability file that passed every check. */
export interface Capability {
  readonly address: { readonly socketPath: string } | { readonly host: '127.0.0.1'; readonly port: number };
  readonly token: string;
  readonly createdAt: number;
}

/** What to look for, and where. */
export interface Search {
  /** Runtime folders, best first. */
  readonly folders: readonly string[];
  readonly server: string;
  /** Stem of one capability file; without it every shared capability of the server counts. */
  readonly stem: string | undefined;
  /** Numeric user id; -1 where there is none. */
  readonly uid: number;
}

/** Longest capability file that is read, bytes. */
const MAX_FILE_BYTES = 16 * 1024;
const SUFFIX = '.json';
/** Ids of servers, and stems: what is safe in a path, a URL and a file name alike. */
const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}$/;
/** A base64url token; nothing that could end a header line. */
const TOKEN = /^[A-Za-z0-9_-]{16,512}$/;
const LOOPBACK = /^http:\/\/127\.0\.0\.1:(\d{1,5})\/?$/;

/** True for what may stand as a server id or as a stem on the command line. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/**
 * Every capability that fits and can be trusted. With a stem: at most one, from the best folder that has it. Without: all shared ones,
 * newest first. A folder or file that others could have written, that is a link, or that is malformed, counts as absent.
 */
export function findCapabilities(search: Search): Capability[] {
  const found: Capability[] = [];
  for (const runtime of search.folders) {
    const folder = join(runtime, CAPABILITY_FOLDER);
    if (refuseFolder(runtime, search.uid) !== undefined || refuseFolder(folder, search.uid) !== undefined) continue;
    for (const stem of search.stem === undefined ? sharedStems(folder, search.server) : [search.stem]) {
      const capability = readCapability(join(folder, stem + SUFFIX), search);
      if (capability) found.push(capability);
    }
    if (search.stem !== undefined && found.length > 0) break;
  }
  return found.sort((a, b) => b.createdAt - a.createdAt);
}

/** True if both open the same tunnel. Tokens are random and belong to one tunnel. */
export function sameCapability(a: Capability, b: Capability): boolean {
  return a.token === b.token;
}

/** Whether something accepts connections there. A socket file that a crashed window left behind does not. */
export function answers(capability: Capability, limitMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect('socketPath' in capability.address ? { path: capability.address.socketPath } : capability.address);
    const settle = (open: boolean): void => {
      socket.destroy();
      resolve(open);
    };
    socket.setTimeout(limitMs, () => settle(false));
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

function sharedStems(folder: string, server: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(SUFFIX))
      .map((name) => name.slice(0, -SUFFIX.length))
      .filter((stem) => isSharedStem(stem, server));
  } catch {
    return [];
  }
}

function readCapability(path: string, search: Search): Capability | undefined {
  let file: number;
  try {
    // O_NONBLOCK: a pipe laid in the file's place must not block us. O_NOFOLLOW, then fstat: what is checked is what is read.
    // Both are absent on Windows, whatever the types say.
    file = openSync(
      path,
      constants.O_RDONLY | ((constants.O_NOFOLLOW as number | undefined) ?? 0) | ((constants.O_NONBLOCK as number | undefined) ?? 0),
    );
  } catch {
    return undefined;
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) return undefined;
    if (search.uid >= 0 && (stat.uid !== search.uid || (stat.mode & 0o077) !== 0)) return undefined;
    const bytes = Buffer.alloc(MAX_FILE_BYTES);
    return parseCapability(bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, 0)), search.server);
  } catch {
    return undefined;
  } finally {
    closeSync(file);
  }
}

function parseCapability(text: string, server: string): Capability | undefined {
  // A file is rewritten by rename, but one from a future version may hold anything: nothing is assumed about its shape.
  const value = JSON.parse(text) as Partial<Record<keyof CapabilityFile, unknown>> | null;
  if (value?.version !== 1 || value.server !== server) return undefined;
  const { token, socket, url, createdAt } = value;
  if (typeof token !== 'string' || !TOKEN.test(token) || typeof createdAt !== 'number') return undefined;
  if (typeof socket === 'string' && socket !== '') return { address: { socketPath: socket }, token, createdAt };
  const port = typeof url === 'string' ? Number(LOOPBACK.exec(url)?.[1] ?? 0) : 0;
  return port > 0 && port < 65_536 ? { address: { host: '127.0.0.1', port }, token, createdAt } : undefined;
}
