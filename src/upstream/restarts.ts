import type { Clock } from '../common/clock.ts';
import { UpstreamError } from '../common/errors.ts';

/** A process that ends within this time without having said anything was not started well. Milliseconds. */
export const START_GRACE_MS = 5_000;
/** After a second failed start the next has to wait this long; each further one twice as long. Milliseconds. */
export const FIRST_BACKOFF_MS = 1_000;
export const MAX_BACKOFF_MS = 60_000;

/** Keeps a process that fails at its start from being started again and again. */
export class Restarts {
  readonly #clock: Clock;
  #failures = 0;
  #notBefore = 0;
  #last: UpstreamError | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Throws UpstreamError with the last failure while a start has to wait. */
  admit(): void {
    const wait = this.#notBefore - this.#clock.monotonic();
    if (!this.#last || wait <= 0) return;
    throw new UpstreamError(
      'CULVERT_UPSTREAM_BACKOFF',
      'start',
      `${this.#last.message} It failed ${this.#failures} times in a row; Culvert starts it again in ${Math.ceil(wait / 1000)} s at the earliest.`,
      { cause: this.#last },
    );
  }

  failed(error: UpstreamError): void {
    this.#last = error;
    this.#failures++;
    // The first may be the trial of another protocol revision: some servers end when they hear what they don't know.
    const wait = this.#failures < 2 ? 0 : Math.min(FIRST_BACKOFF_MS * 2 ** (this.#failures - 2), MAX_BACKOFF_MS);
    this.#notBefore = this.#clock.monotonic() + wait;
  }

  worked(): void {
    this.#failures = 0;
    this.#last = undefined;
  }
}
