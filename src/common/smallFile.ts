import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, statSync } from 'node:fs';
import { codeOf, messageOf } from './errors.ts';

/** A file that others may have put there: its text, that there is none, or why it is not read. */
export type SmallFile =
  { readonly kind: 'text'; readonly text: string } | { readonly kind: 'none' } | { readonly kind: 'refused'; readonly reason: string };

/**
 * Reads a text file of at most `maxBytes` that somebody else may have put there: never waits for a pipe, follows no link in its last part,
 * takes only valid UTF-8. Never throws.
 */
export function readSmallFile(path: string, maxBytes: number): SmallFile {
  let file: number | undefined;
  try {
    if (lstatSync(path).isSymbolicLink()) return { kind: 'refused', reason: 'It is a link. Put a plain file there.' };
    // Windows has neither flag; they are undefined there, which counts as 0.
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const status = fstatSync(file);
    if (!status.isFile()) return { kind: 'refused', reason: 'It is no file.' };
    if (status.size > maxBytes) return { kind: 'refused', reason: `It is larger than ${Math.floor(maxBytes / 1024)} KB.` };
    // One more than there may be, should it grow meanwhile.
    const bytes = Buffer.alloc(status.size + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(file, bytes, length, bytes.length - length, null);
    if (length > status.size) return { kind: 'refused', reason: 'It changed while it was read.' };
    return { kind: 'text', text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, length)) };
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return { kind: 'none' };
    if (code === 'ELOOP') return { kind: 'refused', reason: 'It is a link. Put a plain file there.' };
    return { kind: 'refused', reason: code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'It is not UTF-8.' : messageOf(error) };
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** How long a file must be unchanged before its stamp is relied on, milliseconds: file systems tell times only so finely. */
const SETTLED_MS = 1_000;

/**
 * A text that changes when a file does: cheap enough for every call. `''` if there is none. A file that was changed just now has another
 * stamp at every look.
 */
export function stampOf(path: string, now: number): string {
  try {
    const link = lstatSync(path, { throwIfNoEntry: false });
    if (!link) return '';
    const { dev, ino, mode, size, mtimeMs, ctimeMs } = link.isSymbolicLink() ? statSync(path) : link;
    const fresh = Math.abs(now - Math.max(mtimeMs, ctimeMs)) < SETTLED_MS ? ` ${performance.now()}` : '';
    return `${dev} ${ino} ${mode} ${size} ${mtimeMs} ${ctimeMs}${link.isSymbolicLink() ? ` via ${link.ino} ${link.ctimeMs}` : ''}${fresh}`;
  } catch (error) {
    const code = codeOf(error);
    return code === 'ENOTDIR' ? '' : `unknown ${code ?? ''}`;
  }
}
