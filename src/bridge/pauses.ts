import type { Limits } from './limits.ts';

/** Pause before another look for the window, milliseconds; `attempt` from 0. */
export function lookPause(limits: Limits, attempt: number): number {
  return backOff(attempt, limits.firstLookMs, limits.longestLookMs);
}

/** Pause before a broken stream is opened again, milliseconds, unless the server names one; `attempt` from 0. */
export function streamPause(limits: Limits, attempt: number): number {
  return backOff(attempt, limits.firstStreamPauseMs, limits.longestStreamPauseMs);
}

/** Doubles from `first` up to `longest`. */
function backOff(attempt: number, first: number, longest: number): number {
  return Math.min(first * 2 ** attempt, longest);
}

/** Waits for `ms` milliseconds. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
