/** Bytes of a body that may wait to be read before its source is asked to pause. */
export const MAX_WAITING_BYTES = 256 * 1024;
/** Rest of a body that nobody wants is read up to here, so that its connection can be used again; beyond, the connection is closed. */
const MAX_DISCARDED_BYTES = 64 * 1024;

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

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** For the source: a chunk arrived. */
  push(chunk: Buffer): void {
    if (this.#state === 'discarded') {
      this.#waiting += chunk.length;
      if (this.#waiting > MAX_DISCARDED_BYTES) this.#source.abandon();
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
    this.#stir();
  }

  /** For the source: the body broke off. */
  fail(error: Error): void {
    if (this.#state !== 'open') return;
    this.#state = 'broken';
    this.#error = error;
    this.#stir();
  }

  /** The whole body, or `undefined` if it has more than `maxBytes`. Rejects if it broke off. */
  async collect(maxBytes: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    let size = 0;
    for (;;) {
      for (const chunk of this.#take()) {
        size += chunk.length;
        parts.push(chunk);
      }
      if (size > maxBytes) {
        this.discard();
        return undefined;
      }
      if (this.#state === 'ended') return parts.length === 1 ? parts[0] : Buffer.concat(parts);
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

  /** Reads what is left and forgets it. */
  discard(): void {
    if (this.#state !== 'open') return;
    this.#state = 'discarded';
    this.#waiting = this.#chunks.reduce((size, chunk) => size + chunk.length, 0);
    this.#chunks = [];
    if (this.#waiting > MAX_DISCARDED_BYTES) this.#source.abandon();
    else if (this.#paused) this.#source.resume();
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
