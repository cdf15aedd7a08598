import { agreed, type Verdict } from './verdict.ts';

/** What is known about the file system that a path belongs to. Injected; {@link localFiles} is the one of this machine. */
export interface Files {
  readonly flavor: 'posix' | 'windows';
  /** Whether `A` and `a` name the same file. Windows and macOS: no. */
  readonly caseSensitive: boolean;
  /**
   * An absolute normal path with every symbolic link followed, also one that points to nothing; what does not exist stays as it is.
   * `undefined` if it can't be told. Absent where links can't be looked at, as on another machine.
   */
  readonly follow?: ((path: string) => string | undefined) | undefined;
}

/** The same files for one decision: where a path leads is looked up once. */
export function remembered(files: Files): Files {
  const { follow } = files;
  if (!follow) return files;
  const seen = new Map<string, string | undefined>();
  return {
    ...files,
    follow: (path) => {
      if (!seen.has(path)) seen.set(path, follow(path));
      return seen.get(path);
    },
  };
}

/** Longest path that is looked at, characters. */
export const MAX_PATH_CHARACTERS = 8_192;
/** Folders deep. Each `..` may cost a look at the disk. */
const MAX_SEGMENTS = 512;

/** A folder that paths are compared with. */
export interface Folder {
  readonly path: Normal;
  /** As it was written. */
  readonly text: string;
}

/** An absolute path taken apart. `root` is `/`, `C:\` or `\\server\share\`, upper case on Windows. */
interface Normal {
  readonly root: string;
  readonly segments: readonly string[];
}

/** What looks harmless and is read by some programs as something else. */
const SUSPICIOUS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u00a5\u20a9]|\$[\w{(]|%[A-Za-z_][^%/\\]*%|^~/u;
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)([.:].*)?$/i;
const SHORT_NAME = /~\d/;

/** Prepares a folder; `undefined` if it is no absolute path that means the same to every program. */
export function parseFolder(folder: string, flavor: Files['flavor']): Folder | undefined {
  const path = parse(folder, flavor);
  return path && !odd(folder, path, flavor) ? { path: lexical(path), text: folder } : undefined;
}

/**
 * Whether `value` names the folder or something below it, however the server reads it: with `..` taken away before or after links are
 * followed, backslashes as separators or not, percent-encoding decoded or not. Where readings differ it is unclear.
 */
export function below(value: string, folder: Folder, files: Files, relativeTo?: string): Verdict {
  if (value === '' || value.length > MAX_PATH_CHARACTERS) return 'unclear';
  const target = followed(folder.path, files);
  if (!target) return 'unclear';
  return agreed(readings(value, files).map((reading) => belowAsRead(reading, folder.path, target, files, relativeTo)));
}

/** Ways in which programs read the same text as a path. */
function readings(value: string, files: Files): string[] {
  const out = new Set([value]);
  if (files.flavor === 'posix' && value.includes('\\')) out.add(value.replaceAll('\\', '/'));
  if (value.includes('%')) {
    try {
      out.add(decodeURIComponent(value));
    } catch {
      // No percent-encoding, so nobody decodes it.
    }
  }
  const compatible = value.normalize('NFKC');
  // Full-width dots and slashes become plain ones in some programs.
  if (/[./\\:~]/.test(compatible) && compatible !== value) out.add(compatible);
  out.add(value.normalize('NFC'));
  return [...out];
}

function belowAsRead(value: string, folder: Normal, target: Normal, files: Files, relativeTo: string | undefined): Verdict {
  const path = parse(value, files.flavor) ?? (relativeTo === undefined ? undefined : parseRelative(value, relativeTo, files.flavor));
  if (!path || path.segments.length > MAX_SEGMENTS) return 'unclear';
  const outcomes: Verdict[] = [];
  const plain = lexical(path);
  if (files.follow) {
    const first = followed(plain, files);
    const second = path.segments.includes('..') ? walked(path, files) : first;
    if (!first || !second) return 'unclear';
    outcomes.push(relation(first, target, files), relation(second, target, files));
  } else outcomes.push(relation(plain, folder, files));
  const verdict = agreed(outcomes);
  return odd(value, path, files.flavor) ? 'unclear' : verdict;
}

/** Whether a text holds anything by which programs may come to another path than this one. */
function odd(text: string, path: Normal, flavor: Files['flavor']): boolean {
  if (SUSPICIOUS.test(text)) return true;
  if (flavor === 'posix') return text.startsWith('//');
  return path.segments.some(
    (s) =>
      (s !== '..' && /[. ]$/.test(s)) || /[<>:"|?*]/.test(s) || DEVICE.test(s) || SHORT_NAME.test(s) || (s !== '..' && /^\.+$/.test(s)),
  );
}

/** Takes an absolute path apart; `..` stays. `undefined` for what is relative, a device or drive-relative. */
function parse(text: string, flavor: Files['flavor']): Normal | undefined {
  if (flavor === 'posix') return text.startsWith('/') ? { root: '/', segments: split(text, /\/+/) } : undefined;
  let rest = text;
  const verbatim = /^(?:\\\\\?\\|\\\?\?\\)/.exec(rest);
  if (verbatim) {
    rest = rest.slice(verbatim[0].length);
    // Nothing is normalised behind this prefix, except by programs that take it off.
    if (/\/|(^|\\)\.{1,2}(\\|$)/.test(rest)) return undefined;
    const unc = /^UNC\\/i.exec(rest);
    if (unc) rest = `\\\\${rest.slice(4)}`;
    else if (!/^[A-Za-z]:\\/.test(rest)) return undefined;
  }
  const drive = /^([A-Za-z]):[\\/]/.exec(rest);
  if (drive) return { root: `${(drive[1] as string).toUpperCase()}:\\`, segments: split(rest.slice(3), /[\\/]+/) };
  const share = /^[\\/]{2}([^\\/?.][^\\/]*)[\\/]+([^\\/]+)(?:[\\/]|$)/.exec(rest);
  if (!share) return undefined;
  return {
    root: `\\\\${(share[1] as string).toUpperCase()}\\${(share[2] as string).toUpperCase()}\\`,
    segments: split(rest.slice(share[0].length), /[\\/]+/),
  };
}

function parseRelative(text: string, base: string, flavor: Files['flavor']): Normal | undefined {
  const from = parse(base, flavor);
  // `C:x`, `\x` and `\\.\` are neither absolute nor below the base.
  if (!from || /^[\\/]/.test(text) || (flavor === 'windows' && /^[A-Za-z]:/.test(text)) || /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text))
    return undefined;
  return { root: from.root, segments: [...from.segments, ...split(text, flavor === 'posix' ? /\/+/ : /[\\/]+/)] };
}

function split(text: string, separator: RegExp): string[] {
  return text.split(separator).filter((s) => s !== '' && s !== '.');
}

/** `..` taken away by the text alone. */
function lexical(path: Normal): Normal {
  const segments: string[] = [];
  for (const segment of path.segments) {
    if (segment === '..') segments.pop();
    else segments.push(segment);
  }
  return { root: path.root, segments };
}

function followed(path: Normal, files: Files): Normal | undefined {
  if (!files.follow) return path;
  const text = files.follow(join(path, files.flavor));
  const parsed = text === undefined ? undefined : parse(text, files.flavor);
  return parsed && lexical(parsed);
}

/** `..` taken away as the system does it: after the link in front of it was followed. */
function walked(path: Normal, files: Files): Normal | undefined {
  let here: Normal | undefined = { root: path.root, segments: [] };
  let pending: string[] = [];
  for (const segment of path.segments) {
    if (segment !== '..') {
      pending.push(segment);
      continue;
    }
    here = followed({ root: here.root, segments: [...here.segments, ...pending] }, files);
    if (!here) return undefined;
    here = { root: here.root, segments: here.segments.slice(0, -1) };
    pending = [];
  }
  return followed({ root: here.root, segments: [...here.segments, ...pending] }, files);
}

function join(path: Normal, flavor: Files['flavor']): string {
  return path.root + path.segments.join(flavor === 'posix' ? '/' : '\\');
}

function relation(path: Normal, folder: Normal, files: Files): Verdict {
  if (path.root !== folder.root) return 'no';
  let verdict: Verdict = 'yes';
  for (const [i, wanted] of folder.segments.entries()) {
    const found = path.segments[i];
    if (found === undefined) return 'no';
    const same = sameName(found, wanted, files.caseSensitive);
    if (same === 'no') return 'no';
    if (same === 'unclear') verdict = 'unclear';
  }
  return verdict;
}

/** Systems fold case and accents by tables of their own, so only what ASCII says is sure. */
function sameName(a: string, b: string, caseSensitive: boolean): Verdict {
  if (a === b) return 'yes';
  if (!caseSensitive && lowerAscii(a) === lowerAscii(b)) return 'yes';
  return foldName(a) === foldName(b) ? 'unclear' : 'no';
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (c) => c.toLowerCase());
}

function foldName(text: string): string {
  return text
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/[. ]+$/, '');
}
