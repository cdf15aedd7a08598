import { ActivityIndex } from '../audit/activityIndex.ts';
import { AuditLog } from '../audit/auditLog.ts';
import type { Checkpoints } from '../audit/checkpoints.ts';
import { LegalHold } from '../audit/legalHold.ts';
import type { Clock } from '../common/clock.ts';
import { DisposableStore, toDisposable, type Disposable } from '../common/disposable.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import type { MacKey } from '../store/signedCollection.ts';

/** How often the audit chains are signed, milliseconds. */
const CHECKPOINT_MS = 5 * 60_000;
/** How long after an entry the index follows by itself, milliseconds. Whoever asks it something brings it up at once. */
const INDEX_MS = 30_000;

export interface RecordKeepingOptions {
  readonly db: Database;
  readonly key: MacKey;
  readonly generations: Generations;
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Id of this window, for the record. */
  readonly window: string;
}

/** The record, and what is made of it beside the way of a call: signatures, the index, holds. */
export class RecordKeeping implements Disposable {
  readonly audit: AuditLog;
  /** Answers questions about the record. */
  readonly index: ActivityIndex;
  readonly hold: LegalHold;
  readonly checkpoints: Checkpoints;
  readonly #options: RecordKeepingOptions;
  readonly #store = new DisposableStore();
  #indexTimer: Disposable | undefined;

  constructor(options: RecordKeepingOptions) {
    const { db, key, generations, checkpoints, clock } = options;
    this.#options = options;
    this.checkpoints = checkpoints;
    this.audit = this.#store.add(new AuditLog(db, clock, checkpoints));
    this.hold = new LegalHold(db, key, generations, clock);
    this.index = this.#store.add(new ActivityIndex(db, this.audit));
    this.#store.add(this.audit.onDidAppend(() => this.#indexLater()));
    this.#store.add(toDisposable(() => this.#indexTimer?.dispose()));
    this.#checkpointLater();
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

  dispose(): void {
    this.#store.dispose();
  }

  #checkpointLater(): void {
    const timer = this.#options.clock.after(CHECKPOINT_MS, () => {
      this.#checkpointLater();
      void this.#checkpoint();
    });
    this.#store.add(timer);
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
