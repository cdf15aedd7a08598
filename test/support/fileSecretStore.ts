import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Emitter } from '../../src/common/disposable.ts';
import type { SecretStore } from '../../src/credentials/vault.ts';
import { noteStored } from './noted.ts';

/** A secret store that several processes share, as windows share the system’s keyring; changes of other processes raise no event. */
export class FileSecretStore implements SecretStore {
  readonly #folder: string;
  readonly #changed = new Emitter<string>();
  readonly onDidChange = this.#changed.event;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
  }

  async get(key: string): Promise<string | undefined> {
    return readFile(this.#path(key), 'utf8').catch(() => undefined);
  }

  async store(key: string, value: string): Promise<void> {
    noteStored(value);
    const path = this.#path(key);
    const fresh = `${path}.${randomUUID()}`;
    await writeFile(fresh, value, { mode: 0o600 });
    await rename(fresh, path);
    this.#changed.fire(key);
  }

  async delete(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
    this.#changed.fire(key);
  }

  #path(key: string): string {
    return join(this.#folder, createHash('sha256').update(key).digest('hex'));
  }
}
