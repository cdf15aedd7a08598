import * as vscode from 'vscode';
import { createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { pipeline } from 'node:stream/promises';

/** Characters that are gathered before they are written. */
const CHUNK_CHARACTERS = 64 * 1024;

/** Asks where a file goes. `undefined` if the user gave up. */
export async function askWhere(title: string, name: string, filters: Readonly<Record<string, string[]>>): Promise<string | undefined> {
  // What comes from the record does not belong into a repository unless somebody says so.
  const defaultUri = vscode.Uri.joinPath(vscode.Uri.file(homedir()), name);
  const uri = await vscode.window.showSaveDialog({ title, defaultUri, filters });
  if (!uri) return undefined;
  if (uri.scheme === 'file') return uri.fsPath;
  throw new Error('It can be written only to a folder of the machine that Culvert runs on. Choose one there.');
}

/**
 * Writes texts one after the other into a file that only this user can read. It is there once it is whole: what breaks off leaves nothing.
 * Returns how many there were.
 */
export async function writeAll(path: string, texts: AsyncIterable<string>): Promise<number> {
  const part = `${path}.part`;
  await rm(part, { force: true });
  let written = 0;
  const chunks = async function* () {
    let waiting = '';
    for await (const text of texts) {
      written++;
      waiting += text;
      if (waiting.length < CHUNK_CHARACTERS) continue;
      yield waiting;
      waiting = '';
    }
    yield waiting;
  };
  try {
    await pipeline(chunks, createWriteStream(part, { mode: 0o600, flags: 'wx' }));
    await rename(part, path);
    return written;
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

/** The same for one text. */
export async function writeOne(path: string, text: string): Promise<void> {
  await writeAll(
    path,
    (async function* () {
      yield text;
    })(),
  );
}

/** Opens a file of this machine in an editor. */
export async function openFile(path: string): Promise<void> {
  await vscode.window.showTextDocument(vscode.Uri.file(path), { preview: true });
}
