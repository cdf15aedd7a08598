import { hash } from 'node:crypto';
import { readJson } from './jsonTree.ts';
import { positionAt, type Position } from './textEdit.ts';
import { readToml } from './tomlTree.ts';
import { startsWith, type DuplicateKey, type Node, type Path } from './tree.ts';
import { readYaml } from './yamlTree.ts';

/**
 * Largest file that is read, in bytes. `~/.claude.json` grows to a few megabytes with its history; beyond this a file is no
 * configuration, and parsing it would hold up the extension host.
 */
export const MAX_FILE_BYTES = 5 * 1024 * 1024;

/** Largest TOML or YAML file, in bytes: their parsers are slower by far, and no client writes a history into them. */
export const MAX_MARKUP_BYTES = 1024 * 1024;

/** Syntax of a configuration file. JSON always means JSON with comments and trailing commas. */
export type Format = 'json' | 'toml' | 'yaml';

/** A configuration file that was understood. */
export interface ConfigurationDocument {
  readonly format: Format;
  /** Without the byte order mark, so that offsets are those of an editor's document. */
  readonly text: string;
  readonly root: Node;
  readonly duplicates: readonly DuplicateKey[];
  /** The file began with the UTF-8 byte order mark. */
  readonly bom: boolean;
  readonly eol: '\n' | '\r\n';
}

/** Why a file is not read or not edited. */
export interface FileProblem {
  readonly code:
    | 'missing'
    | 'no-file'
    | 'unreadable'
    | 'too-large'
    | 'encoding'
    | 'conflict'
    | 'syntax'
    | 'duplicate-key'
    | 'changed'
    | 'read-only'
    | 'not-editable'
    | 'unsafe-edit';
  /** What is wrong and what to do next, as sentences. Never holds anything of the file's content. */
  readonly message: string;
  readonly at?: Position;
}

/** True for what went wrong instead of a result. */
export function isProblem(result: object): result is FileProblem {
  return 'code' in result && 'message' in result;
}

/** SHA-256 of a file's bytes, hex. */
export function digestOf(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}

/** The text of a file, its byte order mark taken off. `name` is the file as messages call it. */
export function decodeText(bytes: Uint8Array, name: string): { readonly text: string; readonly bom: boolean } | FileProblem {
  if (bytes.length > MAX_FILE_BYTES)
    return {
      code: 'too-large',
      message: `${name} is larger than ${MAX_FILE_BYTES / 1024 / 1024} MB, so Culvert leaves it alone. Move its servers by hand.`,
    };
  const utf16 = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // Without a mark, UTF-16 of plain English decodes as UTF-8 with a NUL in every other place.
    if (utf16 || text.includes('\0')) throw new TypeError('not UTF-8');
    return text.startsWith('\uFEFF') ? { text: text.slice(1), bom: true } : { text, bom: false };
  } catch {
    return { code: 'encoding', message: `${name} is not UTF-8. Save it with that encoding and try again.` };
  }
}

/** The bytes of a text, with the byte order mark if the file had one. */
export function encodeText(text: string, bom: boolean): Uint8Array {
  return new TextEncoder().encode(bom ? `\uFEFF${text}` : text);
}

/** Offset of the first line of an unresolved merge: a line of seven `<` with, further down, one of seven `>`. */
export function findConflict(text: string): number | undefined {
  const opening = /^<{7}(?: |\r?$)/m.exec(text);
  if (!opening) return undefined;
  return /^>{7}(?: |\r?$)/m.test(text.slice(opening.index)) ? opening.index : undefined;
}

/** Line end that most lines of a text have. */
export function lineEndOf(text: string): '\n' | '\r\n' {
  const crlf = text.split('\r\n').length - 1;
  return crlf * 2 > text.split('\n').length - 1 ? '\r\n' : '\n';
}

/** Reads a configuration text. */
export function parseDocument(text: string, format: Format, name: string, bom = false): ConfigurationDocument | FileProblem {
  const conflict = findConflict(text);
  if (conflict !== undefined) {
    const at = positionAt(text, conflict);
    return { code: 'conflict', message: `${name} holds an unresolved merge conflict at line ${at.line}. Resolve it and try again.`, at };
  }
  const reading = format === 'json' ? readJson(text) : format === 'toml' ? readToml(text) : readYaml(text);
  if ('message' in reading) {
    const at = positionAt(text, Math.min(reading.offset, text.length));
    const message = `${name} can’t be read: at line ${at.line}, column ${at.column}, ${reading.message}. Correct it and try again.`;
    return { code: 'syntax', message, at };
  }
  return { format, text, root: reading.root, duplicates: reading.duplicates, bom, eol: lineEndOf(text) };
}

/** Reads the bytes of a configuration file. */
export function readDocument(bytes: Uint8Array, format: Format, name: string): ConfigurationDocument | FileProblem {
  if (format !== 'json' && bytes.length > MAX_MARKUP_BYTES)
    return {
      code: 'too-large',
      message: `${name} is larger than ${MAX_MARKUP_BYTES / 1024 / 1024} MB, so Culvert leaves it alone. Move its servers by hand.`,
    };
  const decoded = decodeText(bytes, name);
  return isProblem(decoded) ? decoded : parseDocument(decoded.text, format, name, decoded.bom);
}

/** Why what stands at `path` is not edited: a key on the way to it or below it stands twice, and clients differ in which one they take. */
export function editObstacle(document: ConfigurationDocument, path: Path, name: string): FileProblem | undefined {
  const twice = document.duplicates.find((duplicate) => startsWith(duplicate.path, path) || startsWith(path, duplicate.path));
  if (!twice) return undefined;
  const at = positionAt(document.text, twice.span.offset);
  const message = `${name} has the same key twice, the second time at line ${at.line}. Clients differ in which one they take: remove one and try again.`;
  return { code: 'duplicate-key', message, at };
}
