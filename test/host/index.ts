/** The suite that VS Code runs in its extension host: every test file of this folder, bundled by scripts/build.ts. */
import fs from 'node:fs';
import path from 'node:path';
import { runMocha } from '../harness/runMocha.ts';

/** Time limit of a test that sets none, in milliseconds. */
const TEST_TIMEOUT_MS = 120_000;

/** Called by VS Code (or by the harness's suiteWrapper). Rejects if a test failed. */
export async function run(): Promise<void> {
  const eventsFile = process.env['CULVERT_TEST_EVENTS'];
  if (!eventsFile) throw new Error('CULVERT_TEST_EVENTS is not set: start the host suites with npm run test:host');
  const files = fs
    .readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.cjs'))
    .sort()
    .map((file) => path.join(import.meta.dirname, file));
  const { default: Mocha } = await import('mocha');
  const failures = await runMocha(Mocha, { files, grep: process.env['CULVERT_TEST_GREP'], timeoutMs: TEST_TIMEOUT_MS, eventsFile });
  if (failures > 0) throw new Error(`${failures} failed`);
}
