import { setTimeout as delay } from 'node:timers/promises';

/** How long {@link until} waits, in milliseconds. Long enough for a machine that is busy: only what fails waits for so long. */
const DEFAULT_TIMEOUT_MS = 40_000;
const DEFAULT_INTERVAL_MS = 30;

/** Options of {@link until}. */
export interface UntilOptions {
  /** Gives up after this many milliseconds (default 40 s). */
  readonly timeoutMs?: number;
  /** Time between two looks, in milliseconds (default 30). */
  readonly intervalMs?: number;
  /** Named in the error. */
  readonly what?: string;
}

/**
 * Polls `probe` until it returns something truthy, and returns that. A probe that throws counts as "not yet"; its last error is the
 * `cause` of the error thrown after the time limit. For what has no event to wait for.
 */
export async function until<T>(probe: () => T | Promise<T>, options: UntilOptions = {}): Promise<NonNullable<T>> {
  const end = Date.now() + (options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  let cause: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (Date.now() > end) throw new Error(`timed out waiting for ${options.what ?? probe.toString()}`, { cause });
    await delay(options.intervalMs ?? DEFAULT_INTERVAL_MS);
  }
}
