/**
 * Runs test files in a process of their own: `node mochaStage.ts <events file> <grep or ''> <time limit of a test in ms> <file>...`
 * Ends with 1 if something failed.
 */
import Mocha from 'mocha';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { TRACES_VARIABLE, noteStored } from '../support/noted.ts';
import { runMocha } from './runMocha.ts';

/** A process that does not end by itself has left something open; after this many milliseconds it is ended. */
const LINGER_MS = 3_000;

// Ended from outside: still let everything that was started clean up.
process.once('SIGTERM', () => process.exit(143));

// Whatever a tunnel of these tests seals must be found nowhere else afterwards.
if (process.env[TRACES_VARIABLE] !== undefined) {
  const { prototype } = MemorySecretStore;
  const store = Reflect.get<MemorySecretStore, 'store'>(prototype, 'store');
  prototype.store = function (this: MemorySecretStore, key, value) {
    noteStored(value);
    return store.call(this, key, value);
  };
}

const [eventsFile = '', grep, timeoutMs, ...files] = process.argv.slice(2);
const failures = await runMocha(Mocha, { files, grep: grep === '' ? undefined : grep, timeoutMs: Number(timeoutMs), eventsFile });
process.exitCode = failures ? 1 : 0;
setTimeout(() => {
  console.error(`[mocha] the tests left something open: ${process.getActiveResourcesInfo().join(' ')}`);
  process.exit();
}, LINGER_MS).unref();
