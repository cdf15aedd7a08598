/** Rounds that a piece of work has to stay below a limit. */
const ROUNDS = 8;

/**
 * How much computing a piece of work takes, in milliseconds of this thread: the least of some rounds, and no more rounds once it is below
 * `enoughMs`. Unlike the time that passes it does not grow when other processes want the machine.
 */
export function effort(work: () => void, enoughMs = 0): number {
  let least = Infinity;
  for (let round = 0; round < ROUNDS && least >= enoughMs; round++) {
    const before = process.threadCpuUsage();
    work();
    const { user, system } = process.threadCpuUsage(before);
    least = Math.min(least, (user + system) / 1_000);
  }
  return least;
}
