import fc from 'fast-check';

/** Counts what became of cases, so that a run shows whether it tried anything. */
export class Tally {
  readonly counts = new Map<string, number>();

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  toString(): string {
    return [...this.counts].map(([what, n]) => `${n} ${what}`).join(', ');
  }
}

/** Something to fuzz, and its part of all cases. */
export interface FuzzTarget {
  readonly name: string;
  /** All shares together are 1. */
  readonly share: number;
  property(tally: Tally): fc.IRawProperty<unknown>;
}

/** What a target's run came to. */
export interface FuzzResult {
  readonly name: string;
  readonly cases: number;
  readonly tally: Tally;
  /** Counterexample and how to see it again; `undefined` if there is none. */
  readonly failure: string | undefined;
}

/** Cases of one go of fast-check: bounds its memory, and how far a failure is from the seed that reproduces it. */
const BATCH_CASES = 20_000;

/** Runs a target's share of `cases`; stops at the first failure. */
export function runTarget(target: FuzzTarget, cases: number, seed: number): FuzzResult {
  const tally = new Tally();
  const wanted = Math.max(1, Math.round(cases * target.share));
  let done = 0;
  for (let batch = 0; done < wanted; batch++) {
    const numRuns = Math.min(BATCH_CASES, wanted - done);
    const details = fc.check(target.property(tally) as fc.IRawProperty<unknown, false>, { seed: batchSeed(seed, batch), numRuns });
    if (details.failed) {
      const { errorInstance } = details;
      const why = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
      return { name: target.name, cases: done + details.numRuns, tally, failure: `${why}\n${fc.defaultReportMessage(details)}` };
    }
    done += numRuns;
  }
  return { name: target.name, cases: done, tally, failure: undefined };
}

/** Neighbouring seeds share no batch. */
function batchSeed(seed: number, batch: number): number {
  return (Math.imul(seed, 1_000_003) + batch) | 0;
}
