import { Emitter } from '../common/disposable.ts';
import type { SecretStore } from './vault.ts';

/** A secret store in the memory of this process, for the headless tunnel. */
export class MemorySecretStore implements SecretStore {
  readonly #values = new Map<string, string>();
  readonly #changed = new Emitter<string>();

  readonly onDidChange = this.#changed.event;

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.#values.get(key));
  }

  store(key: string, value: string): Promise<void> {
    this.#values.set(key, value);
    this.#changed.fire(key);
    return Promise.resolve();
  }

  /** Names of everything that is in it. */
  keys(): string[] {
    return [...this.#values.keys()];
  }

  delete(key: string): Promise<void> {
    this.#values.delete(key);
    this.#changed.fire(key);
    return Promise.resolve();
  }
}
