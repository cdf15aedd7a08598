import { isDeepStrictEqual } from 'node:util';
import * as z from 'zod';
import { Emitter, type Disposable } from '../../common/disposable.ts';
import type { Clock } from '../../common/clock.ts';
import { messageOf } from '../../common/errors.ts';
import type { Database } from '../../store/database.ts';
import type { Generations } from '../../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../../store/signedCollection.ts';
import type { AuditLog } from '../auditLog.ts';
import type { Act } from '../record.ts';
import { ExportDefinition, destinationOf, readDefinitions, type ReadDefinition } from './definition.ts';
import { sinkFor, type SinkParts } from './sinks.ts';
import { Stream, type SinkStatus } from './stream.ts';

/** What the user started, as it was then. A definition that says something else since has to be started again. */
const Started = z.strictObject({ version: z.literal(1), id: z.string(), definition: ExportDefinition, at: z.number().int() });
type Started = z.infer<typeof Started>;

/** Longest that the last delivery of an export that ends may take, milliseconds. */
const LAST_DELIVERY_MS = 5_000;

/** How an export stands, for showing. */
export interface ExportState {
  readonly name: string;
  readonly kind: ExportDefinition['kind'] | undefined;
  /** Where it goes, without path and query. */
  readonly destination: string;
  /**
   * `off`: defined, but never started or stopped. `changed`: the settings say something else than what was started. `invalid`: the
   * settings can't be used. The others are those of a running one; `elsewhere`: another window delivers.
   */
  readonly state: 'off' | 'changed' | 'invalid' | SinkStatus['state'];
  /** Entries of the record that were not delivered yet; 0 unless it runs. */
  readonly behind: number;
  /** Time of the oldest of them, milliseconds since the epoch, where a delivery failed. */
  readonly behindSince: number | undefined;
  /** Events that were delivered in all. */
  readonly sent: number;
  readonly lastSentAt: number | undefined;
  /** Why the last delivery failed, or what is wrong with the settings. */
  readonly problem: string | undefined;
  readonly nextTryAt: number | undefined;
}

export interface ExportsOptions extends Omit<SinkParts, 'now'> {
  readonly db: Database;
  readonly log: AuditLog;
  readonly key: MacKey;
  readonly generations: Generations;
  readonly clock: Clock;
  /** Puts an act on the record. */
  act(act: Pick<Act, 'act' | 'subject' | 'detail'>): void;
}

interface Running {
  readonly definition: ExportDefinition;
  readonly stream: Stream;
  readonly subscription: Disposable;
}

/**
 * The streaming exports. The settings define them, but a file of settings can be written by agents too: an export runs only while what it
 * says is what the user started, and that stands in the database under a MAC. Every window runs them; one at a time delivers.
 */
export class Exports implements Disposable {
  readonly #options: ExportsOptions;
  readonly #started: SignedCollection<Started>;
  readonly #running = new Map<string, Running>();
  readonly #changed = new Emitter<undefined>();
  readonly #subscription: Disposable;
  #definitions: readonly ReadDefinition[] = [];
  #disposed = false;

  /** Fires when {@link states} may say something else. */
  readonly onDidChange = this.#changed.event;

  constructor(options: ExportsOptions) {
    this.#options = options;
    this.#started = new SignedCollection(options.db, 'export', Started, options.key, options.generations);
    this.#subscription = this.#started.onDidChange(() => this.#reconcile());
  }

  /** Takes the setting as it is now. */
  configure(setting: unknown): void {
    const definitions = readDefinitions(setting);
    if (isDeepStrictEqual(definitions, this.#definitions)) return;
    this.#definitions = definitions;
    this.#reconcile();
  }

  /** How each export of the settings stands, in their order. */
  states(): readonly ExportState[] {
    return this.#definitions.map((read) => this.#stateOf(read));
  }

  /** What the settings say of an export, if it can be used. */
  definition(name: string): ExportDefinition | undefined {
    return this.#definitions.find((read) => read.name === name)?.definition;
  }

  /** Whether something of it was delivered before, so that it can go on there. */
  hasCursor(name: string): boolean {
    return this.#options.db.get('SELECT 1 AS one FROM export_cursor WHERE sink = ?', name) !== undefined;
  }

  /** Names of the exports that run; retention waits for them. */
  active(): string[] {
    return [...this.#running.keys()];
  }

  /** Starts an export as it is defined now: the user said so. `resume` goes on where it stopped. Throws StoreError. */
  start(name: string, from: 'now' | 'start' | 'resume'): void {
    const { db, clock } = this.#options;
    const definition = this.definition(name);
    if (!definition) return;
    this.#end(name);
    if (from !== 'resume') db.run('DELETE FROM export_cursor WHERE sink = ?', name);
    if (from === 'start') db.run("INSERT OR IGNORE INTO export_cursor (sink, seq, open) VALUES (?, 0, '[]')", name);
    this.#options.act({ act: 'export-changed', subject: name, detail: `started: ${definition.kind} to ${destinationOf(definition)}` });
    this.#started.write([{ version: 1, id: name, definition, at: clock.now() }]);
  }

  /** Stops an export. That it was stopped is the last that it delivers, if it can. Throws StoreError. */
  async stop(name: string): Promise<void> {
    this.#options.act({ act: 'export-changed', subject: name, detail: 'stopped' });
    const running = this.#running.get(name);
    if (running) await this.#deliverLast(running);
    this.#started.write([], [name]);
  }

  /** Has a secret or a file that an export uses changed: it begins with new ones. */
  renew(): void {
    for (const name of [...this.#running.keys()]) this.#end(name);
    this.#reconcile();
  }

  /** Notices what other windows started and stopped. */
  refresh(): void {
    this.#started.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#started.tampering();
  }

  forgetTampering(): void {
    this.#started.forgetTampering();
  }

  dispose(): void {
    this.#disposed = true;
    this.#subscription.dispose();
    for (const name of [...this.#running.keys()]) this.#end(name);
    this.#changed.dispose();
  }

  #reconcile(): void {
    if (this.#disposed) return;
    const rows = this.#started.rows();
    const wanted = new Map<string, ExportDefinition>();
    for (const { name, definition } of this.#definitions)
      if (definition && isDeepStrictEqual(rows.get(name)?.definition, definition)) wanted.set(name, definition);
    for (const [name, running] of [...this.#running]) {
      if (isDeepStrictEqual(wanted.get(name), running.definition)) continue;
      this.#running.delete(name);
      // What ended it is on the record by now, and goes out with it.
      void this.#deliverLast(running).then(() => this.#endStream(running));
    }
    for (const [name, definition] of wanted) if (!this.#running.has(name)) this.#run(name, definition);
    this.#changed.fire(undefined);
  }

  #run(name: string, definition: ExportDefinition): void {
    const { db, log, clock } = this.#options;
    const stream = new Stream(db, log, sinkFor(definition, { ...this.#options, now: () => clock.now() }), clock);
    const subscription = stream.onDidChange(() => this.#changed.fire(undefined));
    this.#running.set(name, { definition, stream, subscription });
  }

  #end(name: string): void {
    const running = this.#running.get(name);
    this.#running.delete(name);
    if (running) this.#endStream(running);
  }

  #endStream({ stream, subscription }: Running): void {
    subscription.dispose();
    stream.dispose();
  }

  async #deliverLast({ stream }: Running): Promise<void> {
    let timer: Disposable | undefined;
    const wait = new Promise<void>((resolve) => (timer = this.#options.clock.after(LAST_DELIVERY_MS, resolve)));
    await Promise.race([stream.flush(), wait]).finally(() => timer?.dispose());
  }

  #stateOf({ name, definition, problem }: ReadDefinition): ExportState {
    const none = { behind: 0, behindSince: undefined, sent: 0, lastSentAt: undefined, nextTryAt: undefined };
    if (!definition) return { ...none, name, kind: undefined, destination: '', state: 'invalid', problem };
    const base = { ...none, name, kind: definition.kind, destination: destinationOf(definition) };
    const running = this.#running.get(name);
    if (!running) return { ...base, state: this.#started.rows().has(name) ? 'changed' : 'off', problem: undefined };
    try {
      const { state, behind, sent, lastSentAt, lastError, nextTryAt } = running.stream.status;
      const failed = behind > 0 && lastError !== undefined;
      return {
        ...base,
        state,
        behind,
        behindSince: failed ? running.stream.behindSince : undefined,
        sent,
        lastSentAt,
        problem: failed ? lastError : undefined,
        nextTryAt,
      };
    } catch (error) {
      return { ...base, state: 'waiting', problem: messageOf(error) };
    }
  }
}
