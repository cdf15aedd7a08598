import { Worker } from 'node:worker_threads';
import type { StopSignal } from '../common/stop.ts';

/** What a {@link Job} works with: it can't import anything. */
export interface JobTools {
  readonly sqlite: typeof import('node:sqlite');
  readonly crypto: typeof import('node:crypto');
  readonly fs: typeof import('node:fs');
  /** Values that outlast a job of this thread, such as open connections. */
  readonly kept: Map<string, unknown>;
}

/**
 * Long work on a database, cut into slices by `yield`; what is yielded is its progress. It is sent to a thread as text, so it must stand
 * alone: nothing from outside but its two parameters, both plain data but for the tools. It must not yield inside a transaction that
 * writes.
 */
export type Job<A, P, R> = (tools: JobTools, parameters: A) => Generator<P, R>;

export interface JobOptions<P> {
  readonly signal?: StopSignal | undefined;
  onProgress?(progress: P): void;
}

interface Running {
  readonly settle: (outcome: { readonly result: unknown } | { readonly error: unknown }) => void;
  readonly onProgress: (progress: unknown) => void;
}

type Answer =
  | { readonly id: number; readonly progress: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: unknown };

/** Jobs take turns slice by slice, so that a short one does not wait for the end of a long one. */
const THREAD = `
const { parentPort } = require('node:worker_threads');
const tools = { sqlite: require('node:sqlite'), crypto: require('node:crypto'), fs: require('node:fs'), kept: new Map() };
const stopped = new Set();
const jobs = new Map();
parentPort.on('message', ({ id, source, parameters, stop }) => {
  if (stop) return void stopped.add(id);
  try {
    let job = jobs.get(source);
    if (!job) jobs.set(source, job = (0, eval)('(' + source + ')'));
    const run = job(tools, parameters);
    const slice = () => {
      try {
        if (stopped.delete(id)) return void run.return();
        const next = run.next();
        if (next.done) return void parentPort.postMessage({ id, result: next.value });
        parentPort.postMessage({ id, progress: next.value });
        setImmediate(slice);
      } catch (error) { parentPort.postMessage({ id, error }); }
    };
    slice();
  } catch (error) { parentPort.postMessage({ id, error }); }
});
`;

/**
 * A thread for {@link Job}s. It starts with the first one. Where no thread can be had, jobs run here, slice by slice between what else
 * is to be done.
 */
export class JobThread {
  #worker: Worker | undefined;
  #ended = false;
  #noThread = false;
  #last = 0;
  readonly #running = new Map<number, Running>();
  readonly #waiting = new Map<number, () => void>();
  readonly #keptHere = new Map<string, unknown>();

  /** `here` keeps the jobs in this thread. */
  constructor(options: { readonly here?: boolean } = {}) {
    this.#noThread = options.here === true;
  }

  /** Runs a job. Rejects with what it throws, and with an `AbortError` when `signal` stops it or the thread is ended. */
  async run<A, P, R>(job: Job<A, P, R>, parameters: A, options: JobOptions<P> = {}): Promise<R> {
    const { signal } = options;
    if (this.#ended || signal?.aborted) throw cancelled();
    const id = ++this.#last;
    return new Promise<R>((resolve, reject) => {
      const stop = () => {
        this.#worker?.postMessage({ id, stop: true });
        settle({ error: cancelled() });
      };
      const settle: Running['settle'] = (outcome) => {
        signal?.removeEventListener('abort', stop);
        this.#running.delete(id);
        this.#waiting.delete(id);
        if (this.#running.size === 0) this.#worker?.unref();
        if ('result' in outcome) resolve(outcome.result as R);
        else reject(outcome.error instanceof Error ? outcome.error : new Error(String(outcome.error)));
      };
      signal?.addEventListener('abort', stop);
      this.#running.set(id, { settle, onProgress: (progress) => options.onProgress?.(progress as P) });
      if (this.#noThread) void this.#runHere(id, job, parameters);
      else {
        this.#waiting.set(id, () => void this.#runHere(id, job, parameters));
        const worker = this.#thread();
        worker.ref();
        worker.postMessage({ id, source: job.toString(), parameters });
      }
    });
  }

  /** Ends the thread; what still runs is cancelled. */
  async end(): Promise<void> {
    this.#ended = true;
    for (const { settle } of [...this.#running.values()]) settle({ error: cancelled() });
    for (const value of this.#keptHere.values()) (value as { close?: () => void }).close?.();
    this.#keptHere.clear();
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(THREAD, { eval: true, execArgv: [], env: {}, stdout: true, stderr: true });
    worker.on('message', (answer: Answer) => {
      this.#waiting.delete(answer.id);
      const running = this.#running.get(answer.id);
      if ('progress' in answer) running?.onProgress(answer.progress);
      else running?.settle('result' in answer ? { result: answer.result } : { error: answer.error });
    });
    worker.on('error', () => {
      this.#noThread = true;
      this.#worker = undefined;
      // Those that had begun may have written; those that had not are run here.
      const unheard = [...this.#waiting.values()];
      for (const [id, { settle }] of [...this.#running]) if (!this.#waiting.has(id)) settle({ error: new Error('The thread broke off.') });
      for (const run of unheard) run();
    });
    this.#worker = worker;
    return worker;
  }

  async #runHere<A, P, R>(id: number, job: Job<A, P, R>, parameters: A): Promise<void> {
    try {
      const [sqlite, crypto, fs] = await Promise.all([import('node:sqlite'), import('node:crypto'), import('node:fs')]);
      const run = job({ sqlite, crypto, fs, kept: this.#keptHere }, parameters);
      for (;;) {
        const running = this.#running.get(id);
        if (!running) return void run.return(undefined as never);
        const next = run.next();
        if (next.done === true) {
          running.settle({ result: next.value });
          return;
        }
        running.onProgress(next.value);
        await new Promise(setImmediate);
      }
    } catch (error) {
      this.#running.get(id)?.settle({ error });
    }
  }
}

function cancelled(): Error {
  return new DOMException('It was cancelled.', 'AbortError');
}
