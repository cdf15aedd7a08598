import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { AuditLog } from '../audit/auditLog.ts';
import type { Act } from '../audit/record.ts';
import { Checkpoints, newSigningKey, type CheckpointKeeper } from '../audit/checkpoints.ts';
import { Access } from '../authorization/access.ts';
import { describeGrant } from '../authorization/grant.ts';
import { Approvals, type Approver } from '../authorization/approvals.ts';
import { CredentialRegistry } from '../credentials/credentialRegistry.ts';
import { Vault, type SecretStore } from '../credentials/vault.ts';
import { DisposableStore, toDisposable, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { VaultError, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { KnownSecrets } from '../detection/knownSecrets.ts';
import { FindingLog } from '../inspection/findingLog.ts';
import { Inspector } from '../inspection/inspector.ts';
import { ToolCatalog } from '../integrity/toolCatalog.ts';
import { Database } from '../store/database.ts';
import { claimDatabase, fingerprintOf, storedFingerprint } from '../store/keyIdentity.ts';
import { MacKey, type Tampering } from '../store/signedCollection.ts';
import { ServerRegistry } from '../upstream/serverRegistry.ts';

/** Name of the database file below the state folder. */
export const DATABASE_FILE = 'culvert.db';

const STORE_KEY = 'culvert.store-key';
const KEEPER_KEYS = { 'signing-key': 'culvert.audit-signing-key', 'last-checkpoint': 'culvert.audit-last-checkpoint' } as const;

/** How long a window waits for the key that another window is just making, milliseconds. */
const KEY_WAIT_MS = 5_000;
/** How often what other windows wrote is looked for while nothing is called, milliseconds. */
const REFRESH_MS = 500;
/** How often the audit chains are signed, milliseconds. */
const CHECKPOINT_MS = 5 * 60_000;

export interface CoreOptions {
  /** Folder of the database; shared by all windows of the user. */
  readonly stateFolder: string;
  readonly secretStore: SecretStore;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Id of this window, for the record. */
  readonly window: string;
}

/** Everything that is stored and decided, without the wire: what the tunnel works with and the views show. */
export class Core implements Disposable {
  readonly servers: ServerRegistry;
  readonly access: Access;
  readonly approvals: Approvals;
  readonly credentials: CredentialRegistry;
  readonly catalog: ToolCatalog;
  readonly inspector: Inspector;
  readonly findings: FindingLog;
  readonly audit: AuditLog;
  readonly #secrets = new KnownSecrets();
  readonly #options: CoreOptions;
  readonly #store = new DisposableStore();
  #learning: Promise<void> = Promise.resolve();
  #reported = '';

  private constructor(options: CoreOptions, db: Database, key: MacKey, vault: Vault, checkpoints: Checkpoints) {
    this.#options = options;
    this.#store.add(toDisposable(() => db.close()));
    this.#store.add(vault);
    this.servers = this.#store.add(new ServerRegistry(db, key));
    this.access = this.#store.add(new Access(db, key, options.clock));
    this.credentials = this.#store.add(new CredentialRegistry(db, key, vault, options.clock));
    this.catalog = this.#store.add(new ToolCatalog(db, key, options.clock));
    this.findings = this.#store.add(new FindingLog(db, options.clock));
    this.audit = this.#store.add(new AuditLog(db, options.clock, checkpoints));
    this.approvals = this.#store.add(new Approvals(this.access, options.approver, options.clock));
    this.inspector = new Inspector(this.#secrets, (id) => this.credentials.get(credentialOf(id))?.name ?? 'a credential');
    this.#store.add(
      this.access.onDidAct(({ given, revoked }) => {
        for (const grant of given) this.act({ act: 'grant-given', server: grant.server, subject: describeGrant(grant), detail: `by ${grant.givenBy}` });
        for (const grant of revoked) this.act({ act: 'grant-revoked', server: grant.server, subject: describeGrant(grant) });
      }),
    );
    this.#store.add(vault.onDidChange((id) => this.#learn([id])));
    this.#store.add(this.credentials.onDidChange(() => this.#learnNew()));
    this.#repeat(REFRESH_MS, () => this.refresh());
    this.#repeat(
      CHECKPOINT_MS,
      () =>
        void this.audit.checkpoint().catch((error: unknown) => options.logger.warn(`The record could not be signed: ${messageOf(error)}`)),
    );
    this.#learn(this.credentials.list().map((c) => c.id));
  }

  /** Opens the state. Throws StoreError or VaultError with what the user can do; nothing is changed then. */
  static async open(options: CoreOptions): Promise<Core> {
    const db = Database.open(join(options.stateFolder, DATABASE_FILE));
    try {
      const { key, replacedEarlier } = await openKey(db, options.secretStore, options.clock);
      const keeper: CheckpointKeeper = {
        get: (name) => options.secretStore.get(KEEPER_KEYS[name]),
        set: (name, value) => options.secretStore.store(KEEPER_KEYS[name], value),
      };
      const core = new Core(options, db, key, new Vault(options.secretStore), new Checkpoints(db, keeper, options.clock));
      await core.ready();
      core.audit.act({
        act: 'started',
        window: options.window,
        ...(replacedEarlier ? { detail: 'A new record was begun; the one before it was set aside or removed.' } : {}),
      });
      return core;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Resolves when every sealed value is known to the inspector. */
  async ready(): Promise<void> {
    await this.#learning;
  }

  /** Puts something that is no call on the record. What can't be written is logged: the act itself has happened. */
  act(act: Omit<Act, 'window'>): void {
    try {
      this.audit.act({ ...act, window: this.#options.window });
    } catch (error) {
      this.#options.logger.error(`An act could not be recorded (${act.act}): ${messageOf(error)}`);
    }
  }

  /** Pauses or resumes all agent access, in every window. */
  setPaused(paused: boolean): void {
    this.access.setPaused(paused);
    this.act({ act: paused ? 'paused' : 'resumed' });
  }

  /** Notices what other windows changed. */
  refresh(): void {
    try {
      this.servers.refresh();
      this.access.refresh();
      this.credentials.refresh();
      this.catalog.refresh();
      this.#reportTampering();
    } catch (error) {
      this.#options.logger.warn(messageOf(error));
    }
  }

  /** Rows that something other than Culvert changed and that therefore count as absent. */
  tampering(): readonly Tampering[] {
    return [...this.servers.tampering(), ...this.access.tampering(), ...this.credentials.tampering(), ...this.catalog.tampering()];
  }

  /** Signs the record and closes everything. */
  async close(): Promise<void> {
    try {
      this.audit.act({ act: 'stopped', window: this.#options.window });
      await this.audit.checkpoint();
    } catch (error) {
      this.#options.logger.warn(`The record could not be signed at the end: ${messageOf(error)}`);
    }
    this.dispose();
  }

  dispose(): void {
    this.#store.dispose();
  }

  #reportTampering(): void {
    const found = this.tampering();
    const text = JSON.stringify(found);
    if (text === this.#reported) return;
    this.#reported = text;
    for (const { collection, id, problem } of found) {
      this.#options.logger.warn(`The database was changed from outside: ${collection} ${id}: ${problem}. The entry is ignored.`);
      this.audit.act({ act: 'tampering-found', subject: `${collection} ${id}`, detail: problem, window: this.#options.window });
    }
  }

  #learnNew(): void {
    const known = this.#known;
    this.#learn(
      this.credentials
        .list()
        .map((c) => c.id)
        .filter((id) => !known.has(id)),
    );
  }

  readonly #known = new Set<string>();

  /** Values of earlier revisions stay known while the process runs: a replaced token may still be valid somewhere. */
  #learn(ids: readonly string[]): void {
    if (ids.length === 0) return;
    for (const id of ids) this.#known.add(id);
    this.#learning = this.#learning.then(async () => {
      for (const id of ids) {
        const opened = await this.credentials.vault.openForDetection(id);
        if (opened) this.#secrets.set(`${id}@${this.credentials.get(id)?.revision ?? 0}`, opened.secret.expose());
      }
    });
  }

  #repeat(ms: number, task: () => void): void {
    let timer: Disposable;
    const again = () => {
      timer = this.#options.clock.after(ms, () => {
        task();
        again();
      });
    };
    again();
    this.#store.add(toDisposable(() => timer.dispose()));
  }
}

/** The credential that a known secret belongs to. */
export function credentialOf(secretId: string): string {
  return secretId.split('@', 1)[0] ?? secretId;
}

/**
 * The key under which the database is signed. In a fresh database exactly one window makes the keys; others wait for them. A
 * database whose key is gone means that the keyring forgets: that is said, and nothing is overwritten.
 */
async function openKey(
  db: Database,
  secrets: SecretStore,
  clock: Clock,
): Promise<{ readonly key: MacKey; readonly replacedEarlier: boolean }> {
  const stored = await secrets.get(STORE_KEY);
  if (storedFingerprint(db) === undefined) {
    const key = stored === undefined ? randomBytes(32) : Buffer.from(stored, 'base64url');
    if (claimDatabase(db, fingerprintOf(key))) {
      if ((await secrets.get(KEEPER_KEYS['signing-key'])) === undefined)
        await secrets.store(KEEPER_KEYS['signing-key'], await newSigningKey());
      // A fresh database has no checkpoints; one that is remembered belongs to a database that was set aside or removed.
      const replacedEarlier = (await secrets.get(KEEPER_KEYS['last-checkpoint'])) !== undefined;
      if (replacedEarlier) await secrets.delete(KEEPER_KEYS['last-checkpoint']);
      if (stored === undefined) await secrets.store(STORE_KEY, key.toString('base64url'));
      return { key: new MacKey(key), replacedEarlier };
    }
  }
  const expected = storedFingerprint(db);
  const find = async () => {
    const text = await secrets.get(STORE_KEY);
    const key = text === undefined ? undefined : Buffer.from(text, 'base64url');
    return key?.length === 32 && fingerprintOf(key) === expected ? new MacKey(key) : undefined;
  };
  const deadline = clock.monotonic() + KEY_WAIT_MS;
  for (;;) {
    const key = await find();
    if (key) return { key, replacedEarlier: false };
    if (clock.monotonic() >= deadline) break;
    await new Promise<void>((resolve) => {
      const subscription = secrets.onDidChange(() => done());
      const timer = clock.after(250, () => done());
      const done = () => {
        subscription.dispose();
        timer.dispose();
        resolve();
      };
    });
  }
  throw new VaultError(
    'CULVERT_VAULT_FORGOT',
    'The system’s keyring no longer has Culvert’s key, so stored servers and grants can’t be trusted. If the keyring is locked, unlock it and reload the window; if it forgets at every start, set one up (see the README), then choose “Start Over”.',
  );
}
