import * as z from 'zod';
import { Emitter, type Disposable, type Event } from '../common/disposable.ts';
import { VaultError, messageOf } from '../common/errors.ts';
import { Secret } from './secret.ts';

/** Where secrets lie at rest: the shape of VS Code's SecretStorage. */
export interface SecretStore {
  get(key: string): Promise<string | undefined>;
  store(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
  /** Fires with the key, in every window. */
  readonly onDidChange: Event<string>;
}

/** Shortest secret that redaction can find without hitting honest text, characters. */
export const MIN_SECRET_CHARACTERS = 8;

/** Longest secret, characters. */
export const MAX_SECRET_CHARACTERS = 16 * 1024;

const PREFIX = 'culvert.credential.';

const Sealed = z.strictObject({ version: z.literal(1), value: z.string(), origins: z.array(z.string()), revision: z.number().int() });

/** Why the vault did not give a secret. */
export type Refusal = { readonly ok: false; readonly reason: 'missing' | 'other-origin' | 'unreadable' };
export type Opened = { readonly ok: true; readonly secret: Secret; readonly revision: number } | Refusal;

/** Keeps secret values: in SecretStorage at rest, as {@link Secret} in memory. A value is given only for an origin that it was sealed for. */
export class Vault implements Disposable {
  readonly #store: SecretStore;
  readonly #cache = new Map<string, Promise<z.infer<typeof Sealed> | Refusal>>();
  readonly #changed = new Emitter<string>();
  readonly #subscription: Disposable;

  /** Fires with a credential's id after its value was sealed, replaced or forgotten, in any window. */
  readonly onDidChange = this.#changed.event;

  constructor(store: SecretStore) {
    this.#store = store;
    this.#subscription = store.onDidChange((key) => {
      if (!key.startsWith(PREFIX)) return;
      const id = key.slice(PREFIX.length);
      this.#cache.delete(id);
      this.#changed.fire(id);
    });
  }

  /** The secret for a request to `origin`. */
  async open(id: string, origin: string): Promise<Opened> {
    const sealed = await this.#read(id);
    if ('ok' in sealed) return sealed;
    if (!sealed.origins.includes(origin)) return { ok: false, reason: 'other-origin' };
    return { ok: true, secret: new Secret(sealed.value), revision: sealed.revision };
  }

  /** As {@link open}, but read from the store anew: for values that another process replaces, whose event may be late. */
  reopen(id: string, origin: string): Promise<Opened> {
    this.#cache.delete(id);
    return this.open(id, origin);
  }

  /** The secret for recognising it in passing content, whatever its origin. Never for sending. */
  async openForDetection(id: string): Promise<{ readonly secret: Secret; readonly revision: number } | undefined> {
    const sealed = await this.#read(id);
    return 'ok' in sealed ? undefined : { secret: new Secret(sealed.value), revision: sealed.revision };
  }

  /** Stores a value, bound to `origins`, and reads it back. Throws {@link VaultError} if it did not arrive. */
  async seal(id: string, secret: Secret, origins: readonly string[], revision: number): Promise<void> {
    const text = JSON.stringify({ version: 1, value: secret.expose(), origins, revision });
    try {
      await this.#store.store(PREFIX + id, text);
    } catch (error) {
      throw new VaultError(
        'CULVERT_VAULT_WRITE',
        `The secret could not be stored: ${messageOf(error)}. Check that the system's keyring is unlocked.`,
      );
    }
    this.#cache.delete(id);
    if ((await this.#store.get(PREFIX + id)) !== text) {
      throw new VaultError(
        'CULVERT_VAULT_FORGETS',
        'The secret was stored but could not be read back. Check that the system has a keyring and that it is unlocked.',
      );
    }
    this.#changed.fire(id);
  }

  /** Removes a value for good. */
  async forget(id: string): Promise<void> {
    await this.#store.delete(PREFIX + id);
    this.#cache.delete(id);
    this.#changed.fire(id);
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
    this.#cache.clear();
  }

  #read(id: string): Promise<z.infer<typeof Sealed> | Refusal> {
    let entry = this.#cache.get(id);
    if (!entry) {
      entry = this.#load(id);
      this.#cache.set(id, entry);
      // What isn't there may come: only a value is worth remembering.
      void entry.then((result) => {
        if ('ok' in result && this.#cache.get(id) === entry) this.#cache.delete(id);
      });
    }
    return entry;
  }

  async #load(id: string): Promise<z.infer<typeof Sealed> | Refusal> {
    let text: string | undefined;
    try {
      text = await this.#store.get(PREFIX + id);
    } catch {
      return { ok: false, reason: 'unreadable' };
    }
    if (text === undefined) return { ok: false, reason: 'missing' };
    try {
      return Sealed.parse(JSON.parse(text));
    } catch {
      return { ok: false, reason: 'unreadable' };
    }
  }
}
