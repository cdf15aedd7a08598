/**
 * Runs the tests: `npm test -- [unit|integration|host|ui]... [--grep PATTERN]`, all stages by default.
 *
 * A failure in one stage does not stop the next. After them, what they left behind is searched for the secrets that they used, which counts
 * as a test. The last line is the sum: `N passed, M failed`, with `, K skipped` if there are any. A stage
 * that crashes, breaks off or runs nothing counts as a failure. Exit code: 0 all passed, 1 something failed, 2 something is missing on this
 * machine (the message says what to install).
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { runTests } from '@vscode/test-electron';
import { build, buildTests } from '../scripts/build.ts';
import { writeDemoFile } from '../scripts/demo/demoFile.ts';
import { startDemoUpstream } from '../scripts/demo/upstream.ts';
import { compiledTextScan } from '../scripts/textScan.ts';
import { ensureChromium, MissingPrerequisite } from './harness/chromium.ts';
import { HOST_DEMO_LABEL } from './harness/hostDemo.ts';
import { PROJECT_ROOT } from './harness/paths.ts';
import { canRunDesktop, resolveVSCode } from './harness/resolveVSCode.ts';
import { stageExtension } from './harness/stageExtension.ts';
import { countEvents, readEvents, type Counts } from './harness/testEvents.ts';
import { TRACES_VARIABLE, keepTraces, noteSecret } from './support/noted.ts';
import { scanTraces } from './support/scanTraces.ts';

const STAGES = ['unit', 'integration', 'host', 'ui'] as const;
type Stage = (typeof STAGES)[number];

/** Time limit of a stage, in milliseconds: several times what it takes on two cores. It only ends what hangs. */
const STAGE_TIMEOUT_MS = 40 * 60_000;
/** Time limit of a single test that sets none, in milliseconds: many times what one takes. What may take long only here is measured, not timed out. */
const TEST_TIMEOUT_MS = { unit: 30_000, integration: 60_000, ui: 240_000 };

const { values, positionals } = parseArgs({ allowPositionals: true, options: { grep: { type: 'string', short: 'g' } } });
const stages = STAGES.filter((stage) => positionals.length === 0 || positionals.includes(stage));
const unknown = positionals.filter((name) => !STAGES.some((stage) => stage === name));
if (unknown.length > 0) {
  console.error(`unknown stage ${unknown.join(', ')}; there are ${STAGES.join(', ')}`);
  process.exit(2);
}

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'culvert-'));
process.once('exit', () => fs.rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
const traces = path.join(work, 'traces');
fs.mkdirSync(traces, { mode: 0o700 });
// What the processes that the tests start need to find their way.
process.env['CULVERT_PROJECT_ROOT'] = PROJECT_ROOT;
process.env['CULVERT_TEST_NODE'] = process.execPath;
if (process.stdout.isTTY) process.env['MOCHA_COLORS'] = '1';

try {
  compiledTextScan();
  process.exitCode = await runStages();
} catch (error) {
  if (!(error instanceof MissingPrerequisite)) throw error;
  console.error(`\n${error.message}`);
  process.exitCode = 2;
}

async function runStages(): Promise<number> {
  const inVSCode = stages.some((stage) => stage === 'host' || stage === 'ui');
  // Said at the start, not after minutes.
  if (inVSCode && process.platform === 'linux' && (stages.includes('ui') || !(await canRunDesktop()))) ensureChromium();

  const results = new Map<string, Counts>();
  let built = true;
  if (inVSCode) {
    heading('build');
    try {
      await build();
      await buildTests();
    } catch (error) {
      built = false;
      console.error(error);
      results.set('build', broken('the build failed'));
    }
  }
  for (const stage of stages) {
    heading(stage);
    const needsBuild = stage === 'host' || stage === 'ui';
    const started = Date.now();
    const counts = needsBuild && !built ? broken('not run: the build failed') : await runStage(stage);
    results.set(stage, counts);
    console.log(`${stage}: ${summary(counts)} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  }
  if (stages.some((stage) => stage !== 'unit')) {
    heading('traces');
    results.set('traces', lookAtTraces());
  }
  return report(results);
}

/** Looks for every secret of the run in everything that Culvert and VS Code wrote meanwhile: database, log, storage, settings. */
function lookAtTraces(): Counts {
  const started = Date.now();
  const { secrets, files, bytes, found } = scanTraces(traces);
  const megabytes = (bytes / 1024 / 1024).toFixed(0);
  const took = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`traces: ${secrets} secrets looked for in ${files} files of ${megabytes} MB, ${found.length} found (${took} s)`);
  for (const line of found) console.log(`  ${line}`);
  const nothing = (secrets === 0 || files === 0) && values.grep === undefined;
  const problems = nothing ? ['the scan had nothing to look at'] : [];
  const failed = found.length > 0 || nothing ? 1 : 0;
  return { passed: 1 - failed, failed, skipped: 0, problems, failures: found.length > 0 ? ['no secret is left behind anywhere'] : [] };
}

function runStage(stage: Stage): Promise<Counts> {
  switch (stage) {
    case 'unit':
      return runMochaStage(stage, '.test.ts');
    case 'integration':
      return runMochaStage(stage, '.test.ts');
    case 'host':
      return runHostStage();
    case 'ui':
      if (process.platform === 'linux') return runMochaStage(stage, '.ui.test.ts');
      console.log('The UI suites drive the VS Code server build, which is for Linux. Not run.');
      return Promise.resolve({ passed: 0, failed: 0, skipped: 1, problems: [], failures: [] });
  }
}

async function runMochaStage(stage: Exclude<Stage, 'host'>, suffix: string): Promise<Counts> {
  const folder = path.join(PROJECT_ROOT, 'test', stage);
  const files = fs.existsSync(folder) ? fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  const tests = files.filter((file) => file.endsWith(suffix)).sort();
  const eventsFile = path.join(work, `${stage}.jsonl`);
  const child = spawn(
    process.execPath,
    [
      path.join(PROJECT_ROOT, 'test/harness/mochaStage.ts'),
      eventsFile,
      values.grep ?? '',
      String(TEST_TIMEOUT_MS[stage]),
      ...tests.map((file) => path.join(folder, file)),
    ],
    {
      cwd: PROJECT_ROOT,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: {
        ...process.env,
        ...(stage === 'ui' ? awayFromMidnight() : {}),
        ...(stage === 'unit' ? {} : { [TRACES_VARIABLE]: traces }),
      },
    },
  );
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 5_000).unref();
  }, STAGE_TIMEOUT_MS);
  const exit = await new Promise<string | number>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(late ? `no end after ${STAGE_TIMEOUT_MS / 60_000} minutes` : (code ?? signal ?? 'unknown')),
    );
  });
  clearTimeout(timer);
  return count(eventsFile, exit);
}

/**
 * UI tests speak of today and yesterday and last for many minutes, with the time of VS Code and the browser, which no test can move: near
 * midnight they run in a time zone where it is noon.
 */
function awayFromMidnight(now = new Date()): { readonly TZ?: string } {
  if (now.getHours() >= 1 && now.getHours() < 22) return {};
  // Its sign is the other way round: Etc/GMT+5 is five hours behind UTC.
  const behind = now.getUTCHours() - 12;
  return { TZ: behind < 0 ? `Etc/GMT${behind}` : `Etc/GMT+${behind}` };
}

/** Runs `out/host/index.cjs` inside a real VS Code. The extension is in test mode there, and is given the demo server. */
async function runHostStage(): Promise<Counts> {
  const eventsFile = path.join(work, 'host.jsonl');
  const upstream = await startDemoUpstream();
  try {
    const { kind, vscodeExecutablePath } = await resolveVSCode();
    console.log(`VS Code: ${kind}`);
    process.env[TRACES_VARIABLE] = traces;
    noteSecret(upstream.token);
    const demoFile = path.join(work, 'demo.json');
    writeDemoFile(demoFile, { label: HOST_DEMO_LABEL, url: upstream.url, token: upstream.token });
    const workspace = path.join(work, 'workspace');
    fs.mkdirSync(path.join(work, 'user/User'), { recursive: true });
    fs.mkdirSync(workspace);
    fs.writeFileSync(path.join(work, 'user/User/settings.json'), JSON.stringify({ 'chat.mcp.autostart': 'never' }));
    const exit = await runTests({
      vscodeExecutablePath,
      extensionDevelopmentPath: stageExtension(path.join(work, 'culvert')),
      extensionTestsPath: path.join(PROJECT_ROOT, 'out/host/index.cjs'),
      launchArgs: [workspace, `--user-data-dir=${path.join(work, 'user')}`, `--extensions-dir=${path.join(work, 'extensions')}`],
      extensionTestsEnv: {
        CULVERT_DEMO: demoFile,
        CULVERT_TEST_DEMO_CONTROL: upstream.controlUrl,
        CULVERT_TEST_EVENTS: eventsFile,
        CULVERT_TEST_GREP: values.grep,
      },
    }).catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    return count(eventsFile, exit);
  } finally {
    // Of a desktop VS Code; the server build keeps its own.
    keepTraces('host', work, ['user']);
    Reflect.deleteProperty(process.env, TRACES_VARIABLE);
    await upstream.close();
  }
}

/** With a pattern, a stage may have no test that matches. */
function count(eventsFile: string, exit: string | number): Counts {
  return countEvents(readEvents(eventsFile), { exit, mayBeEmpty: values.grep !== undefined && stages.length > 1 });
}

function report(results: ReadonlyMap<string, Counts>): number {
  heading('result');
  const all = [...results.values()];
  const total = (key: 'passed' | 'failed' | 'skipped') => all.reduce((sum, counts) => sum + counts[key], 0);
  for (const [name, { failures, problems }] of results) {
    for (const line of [...failures, ...problems]) console.log(`  ${name}: ${line}`);
  }
  const counts = { passed: total('passed'), failed: total('failed'), skipped: total('skipped') };
  console.log(summary(counts));
  return counts.failed > 0 ? 1 : 0;
}

function broken(problem: string): Counts {
  return { passed: 0, failed: 1, skipped: 0, problems: [problem], failures: [] };
}

function summary({ passed, failed, skipped }: Pick<Counts, 'passed' | 'failed' | 'skipped'>): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function heading(text: string): void {
  console.log(`\n== ${text} ==`);
}
