import { codeOf } from '../common/errors.ts';
import {
  MAX_FILE_BYTES,
  decodeText,
  digestOf,
  encodeText,
  isProblem,
  readDocument,
  type ConfigurationDocument,
  type FileProblem,
} from './document.ts';
import type { Folders, Location } from './locate.ts';

/** What is known about a file without reading it. */
export interface FileFacts {
  /** The file itself, links followed: what is read and written. */
  readonly target: string;
  /** Whether the path, or a folder on the way, is a link. */
  readonly linked: boolean;
  readonly isFile: boolean;
  /** Bytes. */
  readonly size: number;
  readonly writable: boolean;
  /** Permission bits; 0 where there are none (Windows). */
  readonly mode: number;
}

/** Port to the disk. Paths are absolute. */
export interface ConfigurationFiles extends Folders {
  facts(path: string): Promise<FileFacts | undefined>;
  read(path: string): Promise<Uint8Array>;
  /** Replaces the content; the file keeps its permissions. A new file, and the folders that it needs, are for this user only. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
}

/** A configuration file as it was read. Holds its plaintext: never log one. */
export interface OpenedFile {
  readonly location: Location;
  readonly facts: FileFacts;
  /** {@link digestOf} the bytes that were read. */
  readonly digest: string;
  readonly document: ConfigurationDocument;
}

/** A {@link FileUndo} as data. Holds the old file whole. */
export interface StoredFileUndo {
  readonly path: string;
  readonly written: string;
  /** Base64; null: there was no file. */
  readonly before: string | null;
}

/** What puts a file back as it was. Keeps the old bytes in memory, prints nothing of them. */
export class FileUndo {
  readonly path: string;
  /** Digest of what was written: only that is put back. */
  readonly written: string;
  /** `undefined`: there was no file. */
  readonly #before: Uint8Array | undefined;

  constructor(path: string, before: Uint8Array | undefined, written: string) {
    this.path = path;
    this.#before = before;
    this.written = written;
  }

  /** For a keyring, and nowhere else: the old bytes hold secrets. */
  toSecret(): StoredFileUndo {
    const before = this.#before === undefined ? null : Buffer.from(this.#before).toString('base64');
    return { path: this.path, written: this.written, before };
  }

  static fromSecret({ path, written, before }: StoredFileUndo): FileUndo {
    return new FileUndo(path, before === null ? undefined : Buffer.from(before, 'base64'), written);
  }

  /** Whether the file still is as it was written. */
  async isIntact(files: ConfigurationFiles): Promise<boolean> {
    try {
      return digestOf(await files.read(this.path)) === this.written;
    } catch {
      return false;
    }
  }

  /** Puts the bytes back exactly. Refuses if the file changed since. */
  async restore(files: ConfigurationFiles): Promise<FileProblem | undefined> {
    const name = fileName(this.path);
    if (!(await this.isIntact(files)))
      return {
        code: 'changed',
        message: `${name} was changed after Culvert wrote it, so it was left as it is now. Undo that change first.`,
      };
    const before = this.#before;
    return await tried(name, () => (before === undefined ? files.remove(this.path) : files.write(this.path, before)));
  }
}

/** The last part of a path, for messages. */
export function fileName(path: string): string {
  return path.split(/[/\\]/).at(-1) ?? path;
}

/** Reads and parses a configuration file. */
export async function openFile(files: ConfigurationFiles, location: Location): Promise<OpenedFile | FileProblem> {
  const name = fileName(location.path);
  try {
    const facts = await files.facts(location.path);
    if (!facts) return { code: 'missing', message: `${name} is no longer there.` };
    if (!facts.isFile) return { code: 'no-file', message: `${name} is no regular file, so Culvert leaves it alone.` };
    if (facts.size > MAX_FILE_BYTES)
      return {
        code: 'too-large',
        message: `${name} is larger than ${MAX_FILE_BYTES / 1024 / 1024} MB, so Culvert leaves it alone. Move its servers by hand.`,
      };
    const bytes = await files.read(facts.target);
    const document = readDocument(bytes, location.format, name);
    return isProblem(document) ? document : { location, facts, digest: digestOf(bytes), document };
  } catch (error) {
    return { code: 'unreadable', message: `${name} can’t be read (${codeOf(error) ?? 'unknown error'}). Check its permissions.` };
  }
}

/** Why a file can't be written now, as far as can be told without writing. */
export function refuseWrite(opened: OpenedFile): FileProblem | undefined {
  const name = fileName(opened.location.path);
  if (!opened.location.editable)
    return { code: 'not-editable', message: `${name} belongs to the administrator of this machine. Ask them to change it.` };
  if (!opened.facts.writable) return { code: 'read-only', message: `${name} is read-only. Allow writing to it and try again.` };
  return undefined;
}

/** A sentence to show before an edit that goes somewhere else than it seems. */
export function linkNotice(opened: OpenedFile): string | undefined {
  return opened.facts.linked ? `${fileName(opened.location.path)} is a link: the edit goes to ${opened.facts.target}.` : undefined;
}

/** Writes a text in the place of what was read, if the file still is what was read. Returns what undoes it. */
export async function writeFile(files: ConfigurationFiles, opened: OpenedFile, text: string): Promise<FileUndo | FileProblem> {
  const name = fileName(opened.location.path);
  const refusal = refuseWrite(opened);
  if (refusal) return refusal;
  const { target } = opened.facts;
  let before: Uint8Array;
  try {
    const facts = await files.facts(opened.location.path);
    before = await files.read(target);
    if (facts?.target !== target || digestOf(before) !== opened.digest) return changedMeanwhile(name);
  } catch {
    return changedMeanwhile(name);
  }
  const bytes = encodeText(text, opened.document.bom);
  const problem = await tried(name, () => files.write(target, bytes));
  return problem ?? new FileUndo(target, before, digestOf(bytes));
}

/** A text file that is edited whole or made, whatever its format: `.env`, `.vscode/culvert.json`. Holds its plaintext: never log one. */
export interface TextFile {
  readonly path: string;
  /** Links followed. */
  readonly target: string;
  /** Of the bytes; `undefined` if there is no such file yet. */
  readonly digest: string | undefined;
  readonly text: string;
  readonly bom: boolean;
}

/** Reads a text file for an edit; one that is missing reads as empty. */
export async function openTextFile(files: ConfigurationFiles, path: string): Promise<TextFile | FileProblem> {
  const name = fileName(path);
  try {
    const facts = await files.facts(path);
    if (!facts) return { path, target: path, digest: undefined, text: '', bom: false };
    if (!facts.isFile) return { code: 'no-file', message: `${name} is no regular file, so Culvert leaves it alone.` };
    if (facts.size > MAX_FILE_BYTES)
      return { code: 'too-large', message: `${name} is larger than ${MAX_FILE_BYTES / 1024 / 1024} MB, so Culvert leaves it alone.` };
    if (!facts.writable) return { code: 'read-only', message: `${name} is read-only. Allow writing to it and try again.` };
    const bytes = await files.read(facts.target);
    const decoded = decodeText(bytes, name);
    return isProblem(decoded) ? decoded : { path, target: facts.target, digest: digestOf(bytes), ...decoded };
  } catch (error) {
    return { code: 'unreadable', message: `${name} can’t be read (${codeOf(error) ?? 'unknown error'}). Check its permissions.` };
  }
}

/** Writes a text in the place of what was read, if nothing else changed or made the file meanwhile. */
export async function writeTextFile(files: ConfigurationFiles, file: TextFile, text: string): Promise<FileUndo | FileProblem> {
  const name = fileName(file.path);
  let before: Uint8Array | undefined;
  try {
    const facts = await files.facts(file.path);
    before = facts ? await files.read(facts.target) : undefined;
    if ((facts?.target ?? file.path) !== file.target || (before && digestOf(before)) !== file.digest) return changedMeanwhile(name);
  } catch {
    return changedMeanwhile(name);
  }
  const bytes = encodeText(text, file.bom);
  const problem = await tried(name, () => files.write(file.target, bytes));
  return problem ?? new FileUndo(file.target, before, digestOf(bytes));
}

const changedMeanwhile = (name: string): FileProblem => ({
  code: 'changed',
  message: `${name} was changed by something else in the meantime. Nothing was written; read it again.`,
});

async function tried(name: string, write: () => Promise<void>): Promise<FileProblem | undefined> {
  try {
    await write();
    return undefined;
  } catch (error) {
    return {
      code: 'read-only',
      message: `${name} can’t be written (${codeOf(error) ?? 'unknown error'}). Check its permissions and the disk.`,
    };
  }
}
