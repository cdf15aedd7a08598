import type { Clock } from '../common/clock.ts';
import { CLOCK_SLACK_MS } from './grant.ts';

/**
 * Remembers what has come to its end, so that a wall clock that is set back brings nothing to life again and makes nothing last longer: what
 * was seen to live ends at the latest when its time is over by the monotonic clock, and what was seen to end stays ended.
 */
export class Lapses {
  readonly #clock: Clock;
  /** By id: the end by the monotonic clock. */
  readonly #ends = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether something with this end is over, in whatever way the clock was moved. */
  ended(id: string, expiresAt: number): boolean {
    const now = this.#clock.now();
    const monotonic = this.#clock.monotonic();
    const end = this.#ends.get(id);
    if (now >= expiresAt) {
      this.#ends.set(id, Number.NEGATIVE_INFINITY);
      return true;
    }
    if (end === undefined) {
      this.#ends.set(id, monotonic + (expiresAt - now));
      return false;
    }
    return monotonic > end + CLOCK_SLACK_MS;
  }

  /** Forgets everything but these ids. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#ends.keys()) if (!ids.has(id)) this.#ends.delete(id);
  }
}
