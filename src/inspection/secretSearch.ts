import type { Worker } from 'node:worker_threads';
import { KnownSecrets } from '../detection/knownSecrets.ts';
import type { Disposable } from '../common/disposable.ts';
import { PatternRules } from './patternRules.ts';
import { Search, type Detectors, type Found, type Wanted } from './search.ts';
import { SearchBatches, type Batch, type BatchAnswer } from './searchBatches.ts';

/** Texts above this are searched in a thread of their own, bytes: below it takes a few milliseconds. */
export const LARGE_BYTES = 256 * 1024;
/** How long the thread stays when nothing is searched, milliseconds. */
const IDLE_MS = 60_000;

/** What the thread is told. */
export type ToThread =
  | { readonly kind: 'secrets'; readonly set: readonly (readonly [string, string])[]; readonly deleted: readonly string[] }
  | { readonly kind: 'rules'; readonly files: readonly string[]; readonly secretlint: boolean }
  | { readonly kind: 'search'; readonly id: number; readonly bytes: Uint8Array; readonly wanted: Wanted }
  | Batch;

/** What the thread answers. */
export type FromThread = { readonly id: number; readonly found: Found } | { readonly id: number; readonly failed: string } | BatchAnswer;

/** What is searched for in answers on their way to the agent. */
export const INCOMING: Wanted = { hidden: true };

export interface SecretSearchOptions {
  /** Starts the thread that runs `searchThread.ts`; absent: everything is searched here. */
  readonly startThread?: (() => Worker) | undefined;
  readonly onProblem: (problem: string) => void;
}

/** Everything that is searched for, here and in a thread for what is large. Values stay in the memory of this process. */
export class SecretSearch implements Disposable {
  readonly known = new KnownSecrets();
  readonly rules: PatternRules;
  readonly detectors: Detectors;
  readonly #here: Search;
  readonly #options: SecretSearchOptions;
  readonly #values = new Map<string, string>();
  readonly #waiting = new Map<number, { readonly resolve: (found: Found) => void; readonly bytes: Buffer; readonly wanted: Wanted }>();
  readonly #batches: SearchBatches;
  #thread: Worker | undefined;
  /** Whether the thread has loaded what it needs. */
  #warm = false;
  #idle: NodeJS.Timeout | undefined;
  #last = 0;
  #version = 0;
  #disposed = false;
  #secretlint = false;

  constructor(options: SecretSearchOptions) {
    this.#options = options;
    this.rules = new PatternRules(options.onProblem);
    this.detectors = { known: this.known, patterns: this.rules.finders };
    this.#here = new Search(this.detectors);
    this.#batches = new SearchBatches({
      ready: () => this.#isWarm(),
      send: (batch) => {
        clearTimeout(this.#idle);
        this.#thread?.ref();
        this.#tell(batch);
      },
      here: (bytes) => this.#here.message(bytes, INCOMING),
      version: () => this.#version,
    });
  }

  /** Changes whenever something else is searched for than before. */
  get version(): number {
    return this.#version;
  }

  /** Ids of the secrets that are searched for. */
  get ids(): readonly string[] {
    return [...this.#values.keys()];
  }

  has(id: string): boolean {
    return this.known.has(id);
  }

  /** Searches for a value from now on, in any dress. */
  learn(id: string, value: string): void {
    this.known.set(id, value);
    this.#values.set(id, value);
    this.#version++;
    this.#tell({ kind: 'secrets', set: [[id, value]], deleted: [] });
  }

  forget(id: string): void {
    if (!this.known.has(id)) return;
    this.known.delete(id);
    this.#values.delete(id);
    this.#version++;
    this.#tell({ kind: 'secrets', set: [], deleted: [id] });
  }

  /** Uses these rule files, given as their texts. */
  useRuleFiles(files: readonly string[]): void {
    this.rules.use(files);
    this.#version++;
    this.#tell({ kind: 'rules', files, secretlint: this.#secretlint });
  }

  /** Uses secretlint’s rules too, from now on, or not any more. Their time is not bounded, so only the thread does; see {@link goesAside}. */
  useSecretlint(on: boolean): void {
    if (on === this.#secretlint) return;
    this.#secretlint = on;
    this.#version++;
    this.#tell({ kind: 'rules', files: this.rules.files, secretlint: on });
  }

  /** Whether a message of this size, in bytes, is to be searched by {@link large}: it would take too long here, or not be searched as wanted. */
  goesAside(bytes: number): boolean {
    return bytes > LARGE_BYTES || (this.#secretlint && this.#options.startThread !== undefined);
  }

  /** Resolves when the rules are loaded and the secrets known; `undefined` if they are. */
  ready(): Promise<void> | undefined {
    const rules = this.rules.ready();
    if (!this.known.isFarFromPrepared) return rules;
    // One after the other: two slices in one turn are twice as long.
    return Promise.resolve(rules).then(() => this.known.prepareInSlices());
  }

  /** Whether the thread runs now. */
  get hasThread(): boolean {
    return this.#thread !== undefined;
  }

  /**
   * Searches a message on its way to the agent off this thread, where many come at a time; `undefined` if that is better done here, now. Never
   * rejects.
   */
  along(bytes: Buffer): Promise<Found> | undefined {
    return this.#batches.take(bytes);
  }

  /** Starts the thread if need be; nothing waits for that. */
  #isWarm(): boolean {
    if (this.#warm || this.#thread || this.#disposed || !this.#options.startThread) return this.#warm && this.#waiting.size === 0;
    void this.large(Buffer.from('{}'), INCOMING);
    return false;
  }

  /** Searches a message off this thread, or here where there is no other. Never rejects. */
  async large(bytes: Buffer, wanted: Wanted): Promise<Found> {
    await this.ready();
    const thread = this.#start();
    if (!thread) return this.#here.message(bytes, wanted);
    return new Promise((resolve) => {
      const id = ++this.#last;
      this.#waiting.set(id, { resolve, bytes, wanted });
      clearTimeout(this.#idle);
      thread.ref();
      thread.postMessage({ kind: 'search', id, bytes, wanted } satisfies ToThread);
    });
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#idle);
    void this.#thread?.terminate();
    this.#thread = undefined;
    this.#leave();
  }

  /** Nobody is left without an answer. */
  #leave(): void {
    this.#warm = false;
    this.#batches.giveUp();
    for (const [id] of [...this.#waiting]) this.#finishHere(id);
  }

  #start(): Worker | undefined {
    if (this.#thread || this.#disposed || !this.#options.startThread) return this.#thread;
    let thread: Worker;
    try {
      thread = this.#options.startThread();
    } catch (error) {
      this.#options.onProblem(`Large answers are searched without a thread: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
    this.#thread = thread;
    thread.on('message', (answer: FromThread) => {
      if ('batch' in answer) {
        this.#batches.finish(answer);
        this.#rest();
      } else if ('failed' in answer) this.#finishHere(answer.id);
      else {
        this.#warm = true;
        this.#finish(answer.id, answer.found);
      }
    });
    const broken = () => {
      if (this.#thread !== thread) return;
      this.#thread = undefined;
      this.#leave();
    };
    thread.on('error', (error) => {
      this.#options.onProblem(`The thread for large answers broke off: ${error instanceof Error ? error.message : String(error)}`);
      broken();
    });
    thread.on('exit', broken);
    thread.unref();
    this.#tell({ kind: 'secrets', set: [...this.#values], deleted: [] });
    this.#tell({ kind: 'rules', files: this.rules.files, secretlint: this.#secretlint });
    return thread;
  }

  #tell(message: ToThread): void {
    this.#thread?.postMessage(message);
  }

  #finish(id: number, found: Found): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.resolve(found);
    this.#rest();
  }

  /** Ends the thread after a while in which there is nothing to do. */
  #rest(): void {
    if (this.#waiting.size > 0 || this.#batches.active) return;
    this.#thread?.unref();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      const thread = this.#thread;
      this.#thread = undefined;
      this.#warm = false;
      void thread?.terminate();
    }, IDLE_MS);
    this.#idle.unref();
  }

  #finishHere(id: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting) this.#finish(id, this.#here.message(waiting.bytes, waiting.wanted));
  }
}
