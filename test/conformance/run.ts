/**
 * Runs the official server suites against the reference server, once directly and once through the tunnel, and compares every check.
 *
 *     npm run conformance -- [--through tunnel|forwarder] [--revision 2025-11-25|2026-07-28] [--output <folder>]
 *
 * `--through forwarder` leaves the tunnel out, to see what the way to it does on its own. Exit code 1 on any difference.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startTunnel } from '../../src/tunnel/index.ts';
import { startForwarder } from './forwarder.ts';
import { startReferenceServer } from './server.ts';

/** Revisions whose suites are run, each on its own wire. */
const REVISIONS = ['2025-11-25', '2026-07-28'];
/** Longest run of one suite, milliseconds. */
const SUITE_LIMIT_MS = 180_000;

/** One check of a scenario, as the suite reports it. */
interface Check {
  readonly id: string;
  readonly status: string;
  readonly errorMessage?: string;
}

/** Checks by scenario. */
type Report = Map<string, Check[]>;

interface Difference {
  readonly revision: string;
  readonly scenario: string;
  readonly check: string;
  readonly direct: string;
  readonly through: string;
  readonly message: string | undefined;
}

const { values: options } = parseArgs({
  options: { through: { type: 'string', default: 'tunnel' }, revision: { type: 'string' }, output: { type: 'string' } },
});

async function main(): Promise<number> {
  const output = options.output ?? mkdtempSync(join(tmpdir(), 'culvert-conformance-'));
  const revisions = REVISIONS.filter((revision) => options.revision === undefined || revision === options.revision);
  const differences: Difference[] = [];
  const counted = { scenarios: 0, checks: 0, passed: 0, failed: 0 };
  try {
    for (const revision of revisions) {
      // A server of its own for each run: nothing that one leaves behind can make the other differ.
      const direct = await withReference((url) => suite(url, revision, join(output, revision, 'direct')));
      const through = await withReference((url) => withWay(url, (way) => suite(way, revision, join(output, revision, options.through))));
      const found = compare(revision, direct, through);
      differences.push(...found);
      const checks = [...direct.values()].flat();
      const passed = checks.filter(({ status }) => status === 'SUCCESS').length;
      const failed = checks.filter(({ status }) => status === 'FAILURE').length;
      counted.scenarios += direct.size;
      counted.checks += checks.length;
      counted.passed += passed;
      counted.failed += failed;
      console.log(
        `${revision}: ${direct.size} scenarios, ${checks.length} checks directly (${passed} passed, ${failed} failed), ${found.length} different through the ${options.through}`,
      );
    }
  } finally {
    if (options.output === undefined) rmSync(output, { recursive: true, force: true });
  }
  for (const { revision, scenario, check, direct, through, message } of differences) {
    console.log(
      `  ${revision} ${scenario} ${check}: directly ${direct}, through the ${options.through} ${through}${message === undefined ? '' : ` (${message})`}`,
    );
  }
  const empty = counted.checks === 0;
  console.log(
    `conformance: ${empty ? 'NOTHING RAN' : differences.length === 0 ? 'OK' : 'DIFFERENT'}, ${counted.checks} checks in ${counted.scenarios} scenarios of ${revisions.length} revisions, ` +
      `${differences.length} differences (reference server: ${counted.passed} passed, ${counted.failed} failed)`,
  );
  return empty || differences.length > 0 ? 1 : 0;
}

async function withReference<T>(run: (url: string) => Promise<T>): Promise<T> {
  const reference = await startReferenceServer();
  try {
    return await run(reference.url);
  } finally {
    await reference.close();
  }
}

/** Gives `run` a plain URL that leads to `url` through the tunnel, or through the forwarder alone. */
async function withWay<T>(url: string, run: (way: string) => Promise<T>): Promise<T> {
  const upstream = new URL(url);
  if (options.through === 'forwarder') {
    const forwarder = await startForwarder({ address: { host: upstream.hostname, port: Number(upstream.port) }, path: upstream.pathname });
    try {
      return await run(forwarder.url);
    } finally {
      await forwarder.close();
    }
  }
  const tunnel = await startTunnel({
    upstream: { url },
    auth: { placement: { kind: 'bearer' }, value: 'sk-conformance-0123456789abcdef' },
    access: 'everything',
  });
  if (tunnel.socketPath === undefined) throw new Error('The tunnel has no socket.');
  const forwarder = await startForwarder({ address: { socketPath: tunnel.socketPath }, path: tunnel.path, token: tunnel.token });
  try {
    return await run(forwarder.url);
  } finally {
    await forwarder.close();
    await tunnel.close();
  }
}

/** Runs everything a revision requires, and what is not scored along with it. */
async function suite(url: string, revision: string, folder: string): Promise<Report> {
  const cli = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/dist/index.js');
  const child = spawn(process.execPath, [cli, 'server', '--url', url, '--requirements', revision, '--output-dir', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), SUITE_LIMIT_MS);
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => child.once('close', (_code, by) => resolve(by)));
  clearTimeout(timer);
  // The exit code only says whether everything passed; which is not the question here.
  if (signal !== null || !said.includes('=== SUMMARY ==='))
    throw new Error(`The suite did not finish against ${url}:\n${said.slice(-2_000)}`);
  const report: Report = new Map();
  for (const entry of readdirSync(folder).sort()) {
    const scenario = /^server-(.+)-\d{4}-\d\d-\d\dT/.exec(entry)?.[1] ?? entry;
    report.set(scenario, JSON.parse(readFileSync(join(folder, entry, 'checks.json'), 'utf8')) as Check[]);
  }
  return report;
}

/** Every check whose status differs, or that only one side has. Checks of the same id are told apart by their order. */
function compare(revision: string, direct: Report, through: Report): Difference[] {
  const differences: Difference[] = [];
  for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
    const left = numbered(direct.get(scenario));
    const right = numbered(through.get(scenario));
    for (const check of new Set([...left.keys(), ...right.keys()])) {
      const a = left.get(check);
      const b = right.get(check);
      if (a?.status === b?.status) continue;
      differences.push({
        revision,
        scenario,
        check,
        direct: a?.status ?? 'absent',
        through: b?.status ?? 'absent',
        message: b?.errorMessage ?? a?.errorMessage,
      });
    }
  }
  return differences;
}

function numbered(checks: readonly Check[] = []): Map<string, Check> {
  const seen = new Map<string, number>();
  return new Map(
    checks.map((check) => {
      const count = (seen.get(check.id) ?? 0) + 1;
      seen.set(check.id, count);
      return [count === 1 ? check.id : `${check.id} #${count}`, check];
    }),
  );
}

process.exitCode = await main();
