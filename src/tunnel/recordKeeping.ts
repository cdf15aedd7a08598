import { readFile } from 'node:fs/promises';
import { ActivityIndex } from '../audit/activityIndex.ts';
import { AuditLog } from '../audit/auditLog.ts';
import type { Checkpoints } from '../audit/checkpoints.ts';
import type { AuditEvent } from '../audit/export/event.ts';
import { MAX_GRANTS, MAX_LISTED } from '../audit/export/evidence.ts';
import { Exports } from '../audit/export/exports.ts';
import { thumbprintOf } from '../audit/export/importLines.ts';
import { exportLines, type ExportOptions } from '../audit/export/jsonLines.ts';
import { readEvents, type ReadEvents } from '../audit/export/readEvents.ts';
import { LegalHold } from '../audit/legalHold.ts';
import { applyRetention, type RetentionPolicy, type RetentionResult } from '../audit/retention.ts';
import { SettingsNotes } from '../audit/settingsNotes.ts';
import { readSpan, type Period, type Span } from '../audit/spanJobs.ts';
import type { Clock } from '../common/clock.ts';
import { Secret } from '../credentials/secret.ts';
import type { SecretStore } from '../credentials/vault.ts';
import { DisposableStore, Emitter, toDisposable, type Disposable } from '../common/disposable.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { Stop, type StopSignal } from '../common/stop.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { JobThread } from '../store/jobThread.ts';
import { Lease } from '../store/leases.ts';
import type { MacKey } from '../store/signedCollection.ts';

/** How often the audit chains are signed, milliseconds. */
const CHECKPOINT_MS = 5 * 60_000;
/** How long after its start a window looks for the first time whether something of the record is to be dropped, and how often then, milliseconds. */
const RETENTION_MS = { first: 2 * 60_000, again: 60 * 60_000 };
/** How often retention is applied, milliseconds, and how long a window may be at it. */
const RETENTION_EVERY_MS = 24 * 60 * 60_000;
const RETENTION_LEASE_MS = 30 * 60_000;
/** How long after an entry the index follows by itself, milliseconds. Whoever asks it something brings it up at once. */
const INDEX_MS = 30_000;

/** Export secrets in the keyring, by their name behind this. */
const EXPORT_SECRET = 'culvert.export-secret.';
const exportSecretId = (name: string) => `export-${name}`;

export interface RecordKeepingOptions {
  readonly db: Database;
  readonly key: MacKey;
  readonly generations: Generations;
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Id of this window, for the record. */
  readonly window: string;
  /** Culvert's version, for exports. */
  readonly version?: string;
  /** Where export secrets lie. */
  readonly secretStore: Pick<SecretStore, 'get' | 'store'>;
  /** Makes the inspector know a value. */
  recognise(id: string, revision: number, secret: Secret): void;
  /** The same text with every known secret replaced. */
  redact(text: string): string;
  /** What is kept. Default: all. */
  retention?(): RetentionPolicy;
  /** Proxies on the way of exports. */
  proxies?(): Readonly<Record<string, string | undefined>>;
}

/** The record, and what is made of it beside the way of a call: signatures, the index, holds, retention, exports. */
export class RecordKeeping implements Disposable {
  readonly audit: AuditLog;
  /** Answers questions about the record. */
  readonly index: ActivityIndex;
  readonly hold: LegalHold;
  readonly checkpoints: Checkpoints;
  /** Streaming exports. */
  readonly exports: Exports;
  /** What settings were when they were last seen. */
  readonly settings: SettingsNotes;
  readonly #warned = new Emitter<string>();
  readonly #retention: Lease;
  readonly #stop = new Stop();
  readonly #options: RecordKeepingOptions;
  readonly #store = new DisposableStore();
  #indexTimer: Disposable | undefined;
  /** Of the export secrets as this window knows them. */
  #secretRevision = 1;

  /** Fires with what the user has to know: a sentence with what to do. */
  readonly onDidWarn = this.#warned.event;

  constructor(options: RecordKeepingOptions) {
    const { db, key, generations, checkpoints, clock, window } = options;
    this.#options = options;
    this.checkpoints = checkpoints;
    this.audit = this.#store.add(new AuditLog(db, clock, checkpoints));
    this.hold = new LegalHold(db, key, generations, clock);
    this.index = this.#store.add(new ActivityIndex(db, this.audit));
    this.exports = this.#store.add(
      new Exports({
        db,
        log: this.audit,
        key,
        generations,
        clock,
        version: options.version ?? '0',
        secret: (name) => this.#exportSecret(name),
        readFile: (path) => readFile(path, 'utf8'),
        ...(options.proxies ? { proxies: () => options.proxies?.() ?? {} } : {}),
        act: (act) => this.audit.act({ ...act, window }),
      }),
    );
    this.settings = new SettingsNotes(db, key, generations, (act) =>
      this.audit.act({ ...act, ...(act.detail === undefined ? {} : { detail: options.redact(act.detail) }), window }),
    );
    this.#retention = new Lease(db, 'retention', this.audit.chain, RETENTION_LEASE_MS);
    this.#store.add(this.audit.onDidAppend(() => this.#indexLater()));
    this.#store.add(
      toDisposable(() => {
        this.#stop.abort();
        this.#indexTimer?.dispose();
      }),
    );
    this.#store.add(this.#warned);
    this.#repeat(CHECKPOINT_MS, CHECKPOINT_MS, () => this.#checkpoint());
    this.#repeat(RETENTION_MS.first, RETENTION_MS.again, () => this.#retain());
  }

  /**
   * Makes this window's chain known in the keyring. Where the keyring can't be written, calls are denied until it can; the rest works, so
   * that the user can do something about it.
   */
  async begin(): Promise<void> {
    try {
      await this.audit.begin();
    } catch (error) {
      this.#options.logger.error(
        `The system’s keyring can’t be written (${messageOf(error)}), so calls are denied until it can. Unlock it; Culvert tries again by itself.`,
      );
    }
  }

  /** Notes that the window closes, and signs. Nothing is written afterwards. */
  async end(): Promise<void> {
    this.audit.act({ act: 'stopped', window: this.#options.window });
    await this.audit.end();
  }

  /** Drops what is older, or more, than is to be kept. Rejects with AuditError if the record was changed from outside. */
  applyRetention(policy: RetentionPolicy): Promise<RetentionResult> {
    const { db, checkpoints, clock } = this.#options;
    const { audit: log, hold } = this;
    return applyRetention({ db, log, checkpoints, hold, clock, policy, sinks: this.exports.active(), signal: this.#stop.signal });
  }

  /** Where the entries of a period lie, and its acts. */
  async span(period: Period, signal?: StopSignal): Promise<Span> {
    this.audit.flush();
    const thread = new JobThread();
    try {
      return await thread.run(
        readSpan,
        { ...period, path: this.#options.db.path, maxActs: MAX_LISTED + 1, maxGrants: MAX_GRANTS },
        { signal },
      );
    } finally {
      await thread.end();
    }
  }

  /** The signed export of a span of `seq`, or of all ({@link exportLines}). What is there up to now is signed first. */
  async *lines(span: Pick<ExportOptions, 'from' | 'to' | 'signal' | 'onProgress'>): AsyncGenerator<string, void, undefined> {
    const { db, checkpoints, clock } = this.#options;
    await this.audit.checkpoint();
    yield* exportLines({ ...span, db, checkpoints, now: clock.now() });
  }

  /** The calls and acts of a span of `seq`. */
  events(span: Omit<ReadEvents, 'db'>): AsyncGenerator<AuditEvent, void, undefined> {
    return readEvents({ ...span, db: this.#options.db });
  }

  /** Keeps the value of an export secret in the keyring. Rejects if that can't be written. */
  async setExportSecret(name: string, secret: Secret): Promise<void> {
    await this.#options.secretStore.store(EXPORT_SECRET + name, secret.expose());
    this.#options.recognise(exportSecretId(name), ++this.#secretRevision, secret);
    this.audit.act({ act: 'export-changed', subject: name, detail: 'secret entered', window: this.#options.window });
    this.exports.renew();
  }

  /** What goes to a receiver must not come back through a tool unnoticed. */
  async #exportSecret(name: string): Promise<string | undefined> {
    const value = await this.#options.secretStore.get(EXPORT_SECRET + name);
    if (value !== undefined) this.#options.recognise(exportSecretId(name), this.#secretRevision, new Secret(value));
    return value;
  }

  /** Name of the key that signs (RFC 7638): what an export is compared with. */
  async thumbprint(): Promise<string> {
    return thumbprintOf(await this.checkpoints.publicKey());
  }

  /** Notices what other windows changed. */
  refresh(): void {
    this.exports.refresh();
    this.hold.refresh();
  }

  dispose(): void {
    this.#store.dispose();
  }

  #repeat(firstMs: number, againMs: number, task: () => Promise<void>): void {
    let timer: Disposable;
    const again = (ms: number) => {
      timer = this.#options.clock.after(ms, () => {
        again(againMs);
        void task();
      });
    };
    again(firstMs);
    this.#store.add(toDisposable(() => timer.dispose()));
  }

  /** Once a day, by one window for all. */
  async #retain(): Promise<void> {
    const { clock, logger } = this.#options;
    const policy = this.#options.retention?.() ?? {};
    if (policy.maxDays === undefined && policy.maxBytes === undefined) return;
    try {
      if (!this.#retention.take(clock.now(), RETENTION_EVERY_MS)) return;
      try {
        const { dropped, reason } = await this.applyRetention(policy);
        if (dropped > 0) logger.info(`Retention dropped ${dropped} entries of the record (${reason}).`);
      } finally {
        // Also after a failure: it is told once a day.
        this.#retention.release(clock.now());
      }
    } catch (error) {
      if (this.#stop.aborted) return;
      logger.warn(messageOf(error));
      this.#warned.fire(messageOf(error));
    }
  }

  async #checkpoint(): Promise<void> {
    const { logger } = this.#options;
    await this.audit.checkpoint().catch((error: unknown) => logger.warn(`The record could not be signed: ${messageOf(error)}`));
    await this.#updateIndex();
  }

  #indexLater(): void {
    this.#indexTimer ??= this.#options.clock.after(INDEX_MS, () => {
      this.#indexTimer = undefined;
      void this.#updateIndex();
    });
  }

  /** What an index can't be made of now is tried again with the next question. */
  async #updateIndex(): Promise<void> {
    await this.index.update().catch((error: unknown) => this.#options.logger.debug(`The index of the record: ${messageOf(error)}`));
  }
}
