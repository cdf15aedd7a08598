import { Gathering } from '../common/gathering.ts';
import { DISCARD_TIMEOUT_MS, MAX_DISCARDED_BYTES } from './limits.ts';

/** Bytes of a body that may wait to be read before its source is asked to pause. */
export const MAX_WAITING_BYTES = 256 * 1024;

/** What a body can ask of where it comes from. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** Nobody reads on: the source may end. */
  abandon(): void;
}

/**
 * The body of a response: chunks in order, read once, by `for await` or by {@link collect}. Lighter than a stream, since most bodies are
 * there before anybody reads them.
 */
export class Body implements AsyncIterable<Buffer> {
  readonly #source: BodySource;
  #chunks: Buffer[] = [];
  #waiting = 0;
  #paused = false;
  #state: 'open' | 'ended' | 'broken' | 'discarded' = 'open';
  #error: Error | undefined;
  #wake: (() => void) | undefined;
  #limit: NodeJS.Timeout | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** For the source: a chunk arrived. */
  push(chunk: Buffer): void {
    if (this.#state === 'discarded') {
      this.#waiting += chunk.length;
      if (this.#waiting > MAX_DISCARDED_BYTES) this.#abandon();
      return;
    }
    if (this.#state !== 'open') return;
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    if (!this.#paused && this.#waiting > MAX_WAITING_BYTES && this.#wake === undefined) {
      this.#paused = true;
      this.#source.pause();
    }
    this.#stir();
  }

  /** For the source: the body is complete. */
  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    clearTimeout(this.#limit);
    this.#stir();
  }

  /** For the source: the body broke off. */
  fail(error: Error): void {
    clearTimeout(this.#limit);
    if (this.#state !== 'open') return;
    this.#state = 'broken';
    this.#error = error;
    this.#stir();
  }

  /**
   * The whole body, or `undefined` if it has more than `maxBytes`; a promise unless all of it is there. Rejects if it broke off, or has not
   * ended within `timeoutMs`; whichever it is, its source is let go.
   */
  collect(maxBytes: number, limits?: { readonly timeoutMs: number }): Promise<Buffer | undefined> | Buffer {
    const [only] = this.#chunks;
    if (this.#state === 'ended' && only && this.#chunks.length === 1 && only.length <= maxBytes) {
      this.#take();
      return only;
    }
    return this.#collect(maxBytes, limits);
  }

  async #collect(maxBytes: number, limits: { readonly timeoutMs: number } | undefined): Promise<Buffer | undefined> {
    const timeoutMs = limits?.timeoutMs;
    if (timeoutMs !== undefined && this.#state === 'open') {
      this.#limit = setTimeout(() => this.giveUp(new Error(`it did not end within ${timeoutMs / 1000} seconds`)), timeoutMs);
      this.#limit.unref();
    }
    const parts = new Gathering();
    for (;;) {
      for (const chunk of this.#take()) parts.add(chunk);
      if (parts.bytes > maxBytes) {
        this.discard();
        return undefined;
      }
      if (this.#state === 'ended') return parts.take();
      if (this.#state !== 'open') throw this.#error ?? new Error('the body was given up');
      await this.#more();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void> {
    try {
      for (;;) {
        for (const chunk of this.#take()) yield chunk;
        if (this.#chunks.length > 0) continue;
        if (this.#state === 'ended') return;
        if (this.#state !== 'open') throw this.#error ?? new Error('the body was given up');
        await this.#more();
      }
    } finally {
      if (this.#state === 'open') this.#source.abandon();
    }
  }

  /** Reads what is left and forgets it; what is too much, or not over after `timeoutMs`, is broken off. */
  discard(timeoutMs = DISCARD_TIMEOUT_MS): void {
    if (this.#state !== 'open') return;
    this.#state = 'discarded';
    this.#waiting = this.#chunks.reduce((size, chunk) => size + chunk.length, 0);
    this.#chunks = [];
    clearTimeout(this.#limit);
    if (this.#waiting > MAX_DISCARDED_BYTES) {
      this.#abandon();
      return;
    }
    this.#limit = setTimeout(() => this.#abandon(), timeoutMs);
    this.#limit.unref();
  }

  /** Breaks it off: nobody will read on. */
  giveUp(error = new Error('the body was given up')): void {
    if (this.#state !== 'open') return;
    this.fail(error);
    this.#source.abandon();
  }

  #abandon(): void {
    clearTimeout(this.#limit);
    this.#source.abandon();
  }

  #take(): Buffer[] {
    const chunks = this.#chunks;
    if (chunks.length === 0) return chunks;
    this.#chunks = [];
    this.#waiting = 0;
    if (this.#paused) {
      this.#paused = false;
      this.#source.resume();
    }
    return chunks;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #stir(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
