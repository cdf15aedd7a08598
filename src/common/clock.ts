/** Time as the core sees it; injected so that tests can move it. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Monotonic clock, milliseconds with a fraction, origin arbitrary. */
  monotonic(): number;
  /** Runs `task` once after `delayMs`; dispose to cancel. The timer does not keep the process alive. */
  after(delayMs: number, task: () => void): { dispose(): void };
}

/** The clock of the system. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs);
    timer.unref();
    return { dispose: () => clearTimeout(timer) };
  },
};
