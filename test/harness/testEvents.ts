/**
 * What happens in a mocha run, one JSON object a line, appended synchronously to a file. Written wherever mocha runs, read by the runner:
 * counts stay exact even if the process that ran the tests dies.
 */
import fs from 'node:fs';

/** One line of the file. */
export type TestEvent =
  | { readonly event: 'start'; readonly pid: number }
  | { readonly event: 'pass' | 'skip'; readonly title: string }
  | { readonly event: 'fail'; readonly title: string; readonly message: string }
  | { readonly event: 'end' };

/** What a stage came to. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Why `failed` holds more than the tests that failed. */
  readonly problems: readonly string[];
  /** Titles of the tests that failed. */
  readonly failures: readonly string[];
}

/** Appends an event to the file. */
export function writeEvent(file: string, event: TestEvent): void {
  fs.appendFileSync(file, `${JSON.stringify(event)}\n`);
}

/** Reads the events of a run; none if the file is not there. */
export function readEvents(file: string): TestEvent[] {
  if (!fs.existsSync(file)) return [];
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as TestEvent);
}

/**
 * Counts a stage. A window reload inside VS Code starts a suite again from the top: the last start counts, and what had failed before it
 * stays failed. A stage that broke off, ran nothing, or ended badly without saying why has a failure more.
 */
export function countEvents(
  events: readonly TestEvent[],
  outcome: { readonly exit: string | number; readonly mayBeEmpty?: boolean },
): Counts {
  const lastStart = events.findLastIndex(({ event }) => event === 'start');
  const last = events.slice(lastStart);
  const number = (kind: TestEvent['event']) => last.filter(({ event }) => event === kind).length;
  const failed = (list: readonly TestEvent[]) => list.flatMap((event) => (event.event === 'fail' ? [event.title] : []));
  const failures = failed(last);
  failures.push(...failed(events.slice(0, Math.max(0, lastStart))).filter((title) => !failures.includes(title)));

  const problems: string[] = [];
  if (lastStart < 0) problems.push(`ended before the first test (${outcome.exit})`);
  else if (number('end') === 0) problems.push(`broke off (${outcome.exit})`);
  else if (number('pass') + number('skip') + failures.length === 0 && !outcome.mayBeEmpty) problems.push('ran no tests');
  else if (outcome.exit !== 0 && failures.length === 0) problems.push(`ended with ${outcome.exit} although no test failed`);
  return { passed: number('pass'), failed: failures.length + problems.length, skipped: number('skip'), problems, failures };
}
