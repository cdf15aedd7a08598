/**
 * A process that is killed: `node underLoad.ts <state folder> <upstream url> <secrets file>` runs a tunnel and calls through it until
 * somebody ends it. The secrets file stands for the keyring: it survives.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Emitter } from '../../src/common/disposable.ts';
import type { SecretStore } from '../../src/credentials/vault.ts';
import { startTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from './agent.ts';

/** Secrets in a file, for tests whose processes die. */
export class FileSecretStore implements SecretStore {
  readonly #path: string;
  readonly #changed = new Emitter<string>();
  readonly onDidChange = this.#changed.event;

  constructor(path: string) {
    this.#path = path;
  }

  #all(): Record<string, string> {
    return existsSync(this.#path) ? (JSON.parse(readFileSync(this.#path, 'utf8')) as Record<string, string>) : {};
  }

  #write(all: Record<string, string>): void {
    // Several processes write at a time.
    const next = `${this.#path}.${process.pid}.new`;
    writeFileSync(next, JSON.stringify(all));
    renameSync(next, this.#path);
  }

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.#all()[key]);
  }

  store(key: string, value: string): Promise<void> {
    this.#write({ ...this.#all(), [key]: value });
    this.#changed.fire(key);
    return Promise.resolve();
  }

  delete(key: string): Promise<void> {
    this.#write(Object.fromEntries(Object.entries(this.#all()).filter(([k]) => k !== key)));
    this.#changed.fire(key);
    return Promise.resolve();
  }
}

if (process.argv[1] === import.meta.filename) {
  const [stateFolder = '', url = '', secrets = ''] = process.argv.slice(2);
  const tunnel = await startTunnel({ upstream: { url }, stateFolder, vault: new FileSecretStore(secrets) });
  await tunnel.core.audit.checkpoint();
  let next = 0;
  const worker = async () => {
    for (;;) await send(tunnel, { body: toolCall('echo', { n: next }, `load-${next++}`) });
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}
