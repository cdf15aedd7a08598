import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import { Credential, type Placement } from './credential.ts';
import type { Secret } from './secret.ts';
import type { SourceSpec } from './sourceSpec.ts';
import type { Vault } from './vault.ts';

/** How old what is known about a credential may be, milliseconds. */
const RECENT_MS = 50;

/** How long uses are gathered before they are written, milliseconds. */
const FLUSH_AFTER_MS = 1000;

/** Use of a credential, for showing. */
export interface CredentialUse {
  readonly at: number;
  readonly count: number;
}

/** Named credentials: what is known about them in the database, their values in the vault. */
export class CredentialRegistry implements Disposable {
  readonly vault: Vault;
  readonly #db: Database;
  readonly #collection: SignedCollection<Credential>;
  readonly #clock: Clock;
  readonly #changed = new Emitter<undefined>();
  readonly #subscription: Disposable;
  readonly #uses = new Map<string, number>();
  #flushTimer: Disposable | undefined;

  /** Fires when a credential was added, replaced or forgotten, in any window. */
  readonly onDidChange = this.#changed.event;

  constructor(db: Database, key: MacKey, generations: Generations, vault: Vault, clock: Clock) {
    this.#db = db;
    this.vault = vault;
    this.#clock = clock;
    this.#collection = new SignedCollection(db, 'credential', Credential, key, generations);
    this.#subscription = this.#collection.onDidChange(() => this.#changed.fire(undefined));
  }

  list(): Credential[] {
    return [...this.#collection.rows().values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  get(id: string): Credential | undefined {
    return this.#collection.rows().get(id);
  }

  /** The same, as it was a moment ago at the earliest: for the way of a call, where what decides is what the vault says for the origin. */
  recent(id: string): Credential | undefined {
    return this.#collection.rows(RECENT_MS).get(id);
  }

  /** Seals a new credential. The secret is stored first: a row never names a value that isn't there. */
  async seal(name: string, placement: Placement, origins: readonly string[], secret: Secret): Promise<Credential> {
    const row: Credential = {
      version: 1,
      id: newId('cred'),
      name,
      placement,
      origins: [...origins],
      revision: 1,
      createdAt: this.#clock.now(),
    };
    await this.vault.seal(row.id, secret, origins, 1);
    this.#collection.write([row]);
    return row;
  }

  /**
   * Adds a credential whose value comes from elsewhere. `key` is what the source itself needs, such as the token for a HashiCorp Vault: it is
   * sealed for `key.origins` alone, which are those of the source and never the server's.
   */
  async add(
    name: string,
    placement: Placement,
    origins: readonly string[],
    source: SourceSpec,
    key?: { readonly secret: Secret; readonly origins: readonly string[] },
  ): Promise<Credential> {
    const id = newId('cred');
    const row: Credential = { version: 1, id, name, placement, source, origins: [...origins], revision: 1, createdAt: this.#clock.now() };
    if (key) await this.vault.seal(id, key.secret, key.origins, 1);
    this.#collection.write([row]);
    return row;
  }

  /** Puts another value in the place of a credential's, whose source is the vault from now on. It stays bound to the same origins. */
  async replace(id: string, secret: Secret): Promise<Credential | undefined> {
    const old = this.get(id);
    if (!old) return undefined;
    const row: Credential = { ...old, revision: old.revision + 1, replacedAt: this.#clock.now() };
    delete row.source;
    await this.vault.seal(id, secret, old.origins, row.revision);
    this.#collection.write([row]);
    return row;
  }

  /** Lets a credential's value come from another source, or changes what is known of its source. `key` as in {@link add}. */
  async replaceSource(
    id: string,
    source: SourceSpec,
    key?: { readonly secret: Secret; readonly origins: readonly string[] },
  ): Promise<Credential | undefined> {
    const old = this.get(id);
    if (!old) return undefined;
    const row: Credential = { ...old, source, revision: old.revision + 1, replacedAt: this.#clock.now() };
    if (key) await this.vault.seal(id, key.secret, key.origins, row.revision);
    else if (old.source?.kind !== source.kind) await this.vault.forget(id);
    this.#collection.write([row]);
    return row;
  }

  /** Binds a credential to other origins. Only after the user said so: this is what lets a secret go somewhere new. */
  async rebind(id: string, origins: readonly string[]): Promise<Credential | undefined> {
    const old = this.get(id);
    if (!old) return undefined;
    const row: Credential = { ...old, origins: [...origins], revision: old.revision + 1, replacedAt: this.#clock.now() };
    // What lies in the vault for another source goes to that source, wherever the value itself may go.
    if (!old.source) {
      const opened = await this.vault.openForDetection(id);
      if (!opened) return undefined;
      await this.vault.seal(id, opened.secret, origins, row.revision);
    }
    this.#collection.write([row]);
    return row;
  }

  /** Forgets a credential and its value; with the last one that builds on it, also the token that it is exchanged for. */
  async forget(id: string): Promise<void> {
    const proof = assertionOf(this.get(id));
    await this.vault.forget(id);
    this.#collection.write([], [id]);
    this.#db.run('DELETE FROM credential_use WHERE credential = ?', id);
    if (proof !== undefined && !this.list().some((other) => assertionOf(other) === proof)) await this.forget(proof);
  }

  /** Notes that a credential went out. Written to the database a moment later, many uses at once; the record itself is elsewhere. */
  used(id: string): void {
    this.#uses.set(id, (this.#uses.get(id) ?? 0) + 1);
    this.#flushTimer ??= this.#clock.after(FLUSH_AFTER_MS, () => this.#flushUses());
  }

  #flushUses(): void {
    this.#flushTimer = undefined;
    const uses = [...this.#uses];
    this.#uses.clear();
    try {
      for (const [id, count] of uses) {
        this.#db.run(
          'INSERT INTO credential_use (credential, at, count) VALUES (?, ?, ?) ON CONFLICT (credential) DO UPDATE SET at = excluded.at, count = count + excluded.count',
          id,
          this.#clock.now(),
          count,
        );
      }
    } catch {
      // Only a display of when a credential was last used; the audit record holds every use.
      return;
    }
    if (uses.length > 0) this.#changed.fire(undefined);
  }

  lastUse(id: string): CredentialUse | undefined {
    const row = this.#db.get('SELECT at, count FROM credential_use WHERE credential = ?', id);
    return row === undefined ? undefined : { at: Number(row['at']), count: Number(row['count']) };
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
    this.#flushTimer?.dispose();
    this.#flushUses();
    this.#subscription.dispose();
    this.#changed.dispose();
  }
}

/** The credential whose value is exchanged for tokens of this one. */
export function assertionOf(credential: Credential | undefined): string | undefined {
  return credential?.source?.kind === 'oauth' ? credential.source.assertion : undefined;
}
