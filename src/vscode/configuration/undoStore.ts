import type { SecretStorage } from 'vscode';
import * as z from 'zod';
import { FileUndo } from '../../configuration/files.ts';
import type { ImportUndo } from '../../configuration/importer.ts';
import type { App } from '../app.ts';
import { AppPorts } from './importPorts.ts';

const KEY = 'culvert.import-undo';
/** Longest text that is put into the keyring, characters; the undo of larger files lasts as long as the window. */
const MAX_STORED_CHARACTERS = 512 * 1024;
/** How long an import can be undone after a reload, milliseconds: the old files hold secrets. */
const KEPT_MS = 7 * 24 * 60 * 60_000;

const ids = z.array(z.string()).readonly();
const Stored = z.strictObject({
  version: z.literal(1),
  at: z.number().int(),
  credentials: ids,
  servers: ids,
  files: z.array(z.strictObject({ path: z.string(), written: z.string(), before: z.string().nullable() })),
  earlier: z.strictObject({ reused: ids, bound: ids }),
});

/** What takes the last import back. */
export interface LastImport {
  readonly undo: ImportUndo;
  readonly ports: AppPorts;
}

/** Keeps the undo of the last import in the keyring, where the secrets are that the old files hold. */
export class UndoStore {
  readonly #secrets: SecretStorage;

  constructor(secrets: SecretStorage) {
    this.#secrets = secrets;
  }

  async keep({ undo, ports }: LastImport): Promise<void> {
    const stored: z.input<typeof Stored> = {
      version: 1,
      at: Date.now(),
      credentials: undo.credentials,
      servers: undo.servers,
      files: undo.files.map((file) => file.toSecret()),
      earlier: ports.earlier,
    };
    const text = JSON.stringify(stored);
    if (text.length > MAX_STORED_CHARACTERS) await this.forget();
    else await this.#secrets.store(KEY, text);
  }

  /** The last import, if it is known and young enough. */
  async find(app: App): Promise<LastImport | undefined> {
    const text = await this.#secrets.get(KEY);
    if (text === undefined) return undefined;
    const parsed = Stored.safeParse(jsonOf(text));
    if (!parsed.success || Date.now() - parsed.data.at > KEPT_MS) {
      await this.forget();
      return undefined;
    }
    const { credentials, servers, files, earlier } = parsed.data;
    return {
      undo: { credentials, servers, files: files.map((file) => FileUndo.fromSecret(file)) },
      ports: new AppPorts(app, 'Culvert: Undo Import', 'nothing', earlier),
    };
  }

  async forget(): Promise<void> {
    await this.#secrets.delete(KEY);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
