import type Mocha from 'mocha';
import { writeEvent } from './testEvents.ts';

/** Options of {@link runMocha}. */
export interface MochaRun {
  readonly files: readonly string[];
  /** Runs only the tests whose full title matches. */
  readonly grep: string | undefined;
  /** Time limit of a test or hook that sets none, in milliseconds. */
  readonly timeoutMs: number;
  /** Where the events go (see `testEvents.ts`). */
  readonly eventsFile: string;
}

/**
 * Runs test files with mocha (bdd) in this process, prints as its spec reporter does, and writes the events. Mocha itself is handed in,
 * because how it is loaded differs between Node and VS Code. Returns the number of failures.
 */
export async function runMocha(MochaClass: typeof Mocha, { files, grep, timeoutMs, eventsFile }: MochaRun): Promise<number> {
  class EventReporter extends MochaClass.reporters.Spec {
    constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
      super(runner, options);
      const { constants } = MochaClass.Runner;
      writeEvent(eventsFile, { event: 'start', pid: process.pid });
      runner.on(constants.EVENT_TEST_PASS, (test) => writeEvent(eventsFile, { event: 'pass', title: test.fullTitle() }));
      runner.on(constants.EVENT_TEST_PENDING, (test) => writeEvent(eventsFile, { event: 'skip', title: test.fullTitle() }));
      runner.on(constants.EVENT_TEST_FAIL, (test, error: unknown) => {
        writeEvent(eventsFile, { event: 'fail', title: test.fullTitle(), message: error instanceof Error ? error.message : String(error) });
      });
      runner.on(constants.EVENT_RUN_END, () => writeEvent(eventsFile, { event: 'end' }));
    }
  }
  const mocha = new MochaClass({
    ui: 'bdd',
    timeout: timeoutMs,
    forbidOnly: process.env['CI'] !== undefined,
    ...(grep && { grep }),
  });
  mocha.reporter(EventReporter);
  for (const file of files) {
    mocha.files = [file];
    try {
      await mocha.loadFilesAsync();
    } catch (error) {
      // One file that can't be loaded is one failure; the others still run.
      console.error(`${file} can't be loaded:`, error);
      const cantLoad = new MochaClass.Test('can be loaded', () => {
        throw error;
      });
      MochaClass.Suite.create(mocha.suite, file).addTest(cantLoad);
    }
  }
  return new Promise((resolve) => mocha.run(resolve));
}
