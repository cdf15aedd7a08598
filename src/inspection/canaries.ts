import { randomBytes, randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { Emitter, type Disposable, type Event } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import { githubChecksum } from '../detection/rules/checks.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import { canarySecretId } from './canaryId.ts';
import type { SecretSearch } from './secretSearch.ts';

/** Canaries that may be planted at a time. */
export const MAX_CANARIES = 100;
const MAX_NAME_CHARACTERS = 60;

/** What a canary looks like: its value opens nothing. */
export const CANARY_KINDS = ['github-token', 'aws-key', 'api-key', 'password'] as const;
export type CanaryKind = (typeof CANARY_KINDS)[number];

/** A made-up credential that was planted. Plain data, stored with a MAC; the value lies in the keyring. */
export const Canary = z.strictObject({
  version: z.literal(1),
  id: z.string(),
  kind: z.enum(CANARY_KINDS),
  /** Under which findings name it. */
  name: z.string().min(1).max(MAX_NAME_CHARACTERS),
  /** `file`: written there. `vault`: only the keyring has it. `shown`: the user put it somewhere. */
  place: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('file'), path: z.string() }),
    z.strictObject({ kind: z.literal('vault') }),
    z.strictObject({ kind: z.literal('shown') }),
  ]),
  plantedAt: z.number().int(),
});
export type Canary = z.infer<typeof Canary>;

/** Where values lie: the shape of VS Code’s SecretStorage. */
export interface CanaryKeeper {
  get(key: string): Promise<string | undefined>;
  store(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
}

const keyOf = (id: string) => `culvert.canary.${id}`;

/**
 * Made-up credentials that nobody has a use for. One that shows up in traffic tells that somebody read what it was planted in, and which way
 * it took: the finding (rule `canary`) has server, tool, direction, place in the message and exchange.
 */
export class Canaries implements Disposable {
  readonly #collection: SignedCollection<Canary>;
  readonly #keeper: CanaryKeeper;
  readonly #secrets: SecretSearch;
  readonly #clock: Clock;
  readonly #subscription: Disposable;
  #learned = new Set<string>();
  #underWay = 0;
  #learning: Promise<void> = Promise.resolve();

  readonly onDidChange: Event<undefined>;
  readonly #acted = new Emitter<{ readonly canary: Canary; readonly planted: boolean }>();

  /** Fires with what was planted or removed in this window, for the record. */
  readonly onDidAct = this.#acted.event;

  constructor(
    stored: { readonly db: Database; readonly key: MacKey; readonly generations: Generations },
    keeper: CanaryKeeper,
    secrets: SecretSearch,
    clock: Clock,
  ) {
    this.#collection = new SignedCollection<Canary>(stored.db, 'canaries', Canary, stored.key, stored.generations);
    this.#keeper = keeper;
    this.#secrets = secrets;
    this.#clock = clock;
    this.onDidChange = this.#collection.onDidChange;
    this.#subscription = this.onDidChange(() => void this.learn());
    void this.learn();
  }

  /** Resolves when every value that was planted so far is recognised. */
  get learned(): Promise<void> {
    return this.#learning;
  }

  /** Whether some may not be recognised yet. */
  get isLearning(): boolean {
    return this.#underWay > 0;
  }

  /** Newest first. */
  list(): readonly Canary[] {
    return [...this.#collection.rows().values()].sort((a, b) => b.plantedAt - a.plantedAt);
  }

  get(id: string): Canary | undefined {
    return this.#collection.rows().get(id);
  }

  /**
   * Makes a canary up and plants it. The value is returned this once: for `shown`, to be put somewhere by the user. A file must not exist
   * yet: nothing is overwritten, and none that is in use gets a wrong credential. Rejects with what the file system or the keyring says.
   */
  async plant(kind: CanaryKind, name: string, place: Canary['place']): Promise<{ readonly canary: Canary; readonly value: string }> {
    if (this.#collection.rows().size >= MAX_CANARIES)
      throw new RangeError(`${MAX_CANARIES} canaries are planted already. Remove some first.`);
    const { value, text } = madeUp(kind);
    const canary = Canary.parse({ version: 1, id: newId('canary'), kind, name, place, plantedAt: this.#clock.now() });
    // Known before it can be read.
    this.#learn(canary.id, value);
    try {
      await this.#keeper.store(keyOf(canary.id), value);
      this.#collection.write([canary]);
      if (place.kind === 'file') await writeFile(place.path, text, { flag: 'wx', mode: 0o600 });
    } catch (error) {
      await this.remove(canary.id);
      throw error;
    }
    this.#acted.fire({ canary, planted: true });
    return { canary, value };
  }

  /** Forgets a canary. Its file, if it has one, stays: it may have been edited since. */
  async remove(id: string): Promise<void> {
    const canary = this.get(id);
    if (canary) this.#collection.write([], [id]);
    await this.#keeper.delete(keyOf(id));
    this.#forget(id);
    if (canary) this.#acted.fire({ canary, planted: false });
  }

  /** Looks which canaries there are now, and learns their values. */
  learn(): Promise<void> {
    this.#underWay++;
    this.#learning = this.#learning
      .then(async () => {
        const planted = new Set(this.list().map(({ id }) => id));
        for (const id of [...this.#learned]) if (!planted.has(id)) this.#forget(id);
        for (const id of planted) {
          if (this.#learned.has(id)) continue;
          const value = await this.#keeper.get(keyOf(id));
          if (value !== undefined) this.#learn(id, value);
        }
      })
      // A keyring that is locked for a moment: the next change looks again.
      .catch(() => undefined)
      .finally(() => this.#underWay--);
    return this.#learning;
  }

  refresh(): void {
    this.#collection.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#collection.tampering();
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#collection.forgetTampering();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#learned = new Set();
    this.#acted.dispose();
  }

  #learn(id: string, value: string): void {
    this.#learned.add(id);
    this.#secrets.learn(canarySecretId(id), value);
  }

  #forget(id: string): void {
    this.#learned.delete(id);
    this.#secrets.forget(canarySecretId(id));
  }
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** A value of a kind, and the text of a file that one would expect it in. */
function madeUp(kind: CanaryKind): { readonly value: string; readonly text: string } {
  const random = (length: number, alphabet = LETTERS) => Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('');
  switch (kind) {
    case 'github-token': {
      const body = random(30);
      const value = `ghp_${body}${githubChecksum(body)}`;
      return { value, text: `GITHUB_TOKEN=${value}\n` };
    }
    case 'aws-key': {
      const value = randomBytes(30).toString('base64');
      const id = `AKIA${random(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}`;
      return { value, text: `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${value}\n` };
    }
    case 'api-key': {
      const value = `sk_live_${random(32)}`;
      return { value, text: `API_KEY=${value}\n` };
    }
    case 'password': {
      const value = `${random(6)}-${random(6)}-${random(6)}`;
      return { value, text: `DB_PASSWORD=${value}\n` };
    }
  }
}
