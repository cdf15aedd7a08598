/**
 * Runs the official server suites against the reference server, once directly and once through the tunnel, and compares every check: over
 * HTTP, and over stdio through the bridge.
 *
 *     npm run conformance -- [--through tunnel,bridge|forwarder] [--revision 2025-11-25|2026-07-28] [--output <folder>]
 *
 * `--only client` runs the client suites, with the tunnel as OAuth client (clientSuite.ts); `--only server` the comparisons.
 * `--through forwarder` leaves the tunnel out, to see what the way to it does on its own. Exit code 1 on any difference.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { compiledTextScan } from '../../scripts/textScan.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { runClientSuites } from './clientSuite.ts';
import { startForwarder } from './forwarder.ts';
import { startReferenceServer } from './server.ts';
import { startStdioAdapter } from './stdioAdapter.ts';
import { isOfStdio } from './stdioView.ts';

/** Revisions whose suites are run, each on its own wire. */
const REVISIONS = ['2025-11-25', '2026-07-28'];
/** Longest run of one suite, milliseconds. */
const SUITE_LIMIT_MS = 900_000;

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
  readonly through: string;
  readonly scenario: string;
  readonly check: string;
  readonly before: string;
  readonly after: string;
  readonly message: string | undefined;
}

/** Gives `run` a URL that leads to a reference server of its own: nothing that one run leaves behind can make the other differ. */
type Way = <T>(run: (url: string) => Promise<T>) => Promise<T>;

/** Two ways that must look the same to the suites. */
interface Comparison {
  readonly direct: Way;
  readonly through: Way;
  /** Whether a check says something about what is between the two; what doesn't is left out. */
  readonly counts: (scenario: string, check: string) => boolean;
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: 'server,client' },
    through: { type: 'string', default: 'tunnel,bridge' },
    revision: { type: 'string' },
    output: { type: 'string' },
  },
});

const direct: Way = async (run) => {
  const reference = await startReferenceServer();
  try {
    return await run(reference.url);
  } finally {
    await reference.close();
  }
};

const throughForwarder: Way = (run) =>
  direct(async (url) => {
    const { hostname, port, pathname } = new URL(url);
    const forwarder = await startForwarder({ address: { host: hostname, port: Number(port) }, path: pathname });
    try {
      return await run(forwarder.url);
    } finally {
      await forwarder.close();
    }
  });

const throughTunnel: Way = (run) =>
  withTunnel(async (tunnel) => {
    if (tunnel.socketPath === undefined) throw new Error('The tunnel has no socket.');
    const forwarder = await startForwarder({ address: { socketPath: tunnel.socketPath }, path: tunnel.path, token: tunnel.token });
    try {
      return await run(forwarder.url);
    } finally {
      await forwarder.close();
    }
  });

const overStdio: Way = (run) => withAdapter([join(import.meta.dirname, 'stdioServer.ts')], run);

const throughBridge: Way = (run) =>
  withTunnel(async (tunnel) => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-bridge-'));
    const outfile = join(folder, 'bridge.cjs');
    try {
      const entryPoints = [join(import.meta.dirname, '../../src/bridge/main.ts')];
      await build({ entryPoints, bundle: true, minify: true, platform: 'node', format: 'cjs', target: 'node20', outfile });
      const { serverId, capabilityStem, runtimeFolder } = tunnel;
      return await withAdapter([outfile, '--server', serverId, '--capability', capabilityStem, '--runtime', runtimeFolder], run);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  tunnel: { direct, through: throughTunnel, counts: () => true },
  forwarder: { direct, through: throughForwarder, counts: () => true },
  bridge: { direct: overStdio, through: throughBridge, counts: isOfStdio },
};

function withTunnel<T>(run: (tunnel: HeadlessTunnel) => Promise<T>): Promise<T> {
  return direct(async (url) => {
    const tunnel = await startTunnel({
      upstream: { url },
      auth: { placement: { kind: 'bearer' }, value: 'sk-conformance-0123456789abcdef' },
      access: 'everything',
    });
    try {
      return await run(tunnel);
    } finally {
      await tunnel.close();
    }
  });
}

async function withAdapter<T>(args: readonly string[], run: (url: string) => Promise<T>): Promise<T> {
  const adapter = await startStdioAdapter({ command: process.execPath, args: ['--disable-warning=ExperimentalWarning', ...args] });
  try {
    return await run(adapter.url);
  } finally {
    await adapter.close();
  }
}

async function main(): Promise<number> {
  compiledTextScan();
  const output = options.output ?? mkdtempSync(join(tmpdir(), 'culvert-conformance-'));
  const revisions = REVISIONS.filter((revision) => options.revision === undefined || revision === options.revision);
  const differences: Difference[] = [];
  const counted = { scenarios: 0, checks: 0, passed: 0, failed: 0 };
  let empty = revisions.length === 0;
  let problems: readonly string[] = [];
  const parts = options.only.split(',');
  try {
    for (const through of parts.includes('server') ? options.through.split(',') : []) {
      const comparison = COMPARISONS[through];
      if (!comparison) throw new Error(`There is no way ${through}; there are ${Object.keys(COMPARISONS).join(', ')}.`);
      for (const revision of revisions) {
        const folder = join(output, revision, through);
        const before = await comparison.direct((url) => suite(url, revision, join(folder, 'direct')));
        const after = await comparison.through((url) => suite(url, revision, join(folder, 'through')));
        const left = only(before, comparison);
        const found = compare(left, only(after, comparison)).map((difference) => ({ revision, through, ...difference }));
        differences.push(...found);
        const checks = [...left.values()].flat();
        const passed = checks.filter(({ status }) => status === 'SUCCESS').length;
        const failed = checks.filter(({ status }) => status === 'FAILURE').length;
        const leftOut = [...before.values()].flat().length - checks.length;
        counted.scenarios += left.size;
        counted.checks += checks.length;
        counted.passed += passed;
        counted.failed += failed;
        empty ||= passed === 0;
        console.log(
          `${revision} ${through}: ${left.size} scenarios, ${checks.length} checks directly (${passed} passed, ${failed} failed${leftOut > 0 ? `, ${leftOut} more left out` : ''}), ${found.length} different`,
        );
      }
    }
    if (parts.includes('client')) problems = (await runClientSuites(revisions, output)).problems;
  } finally {
    if (options.output === undefined) rmSync(output, { recursive: true, force: true });
  }
  for (const { revision, through, scenario, check, before, after, message } of differences) {
    console.log(
      `  ${revision} ${scenario} ${check}: directly ${before}, through the ${through} ${after}${message === undefined ? '' : ` (${message})`}`,
    );
  }
  console.log(
    `conformance: ${empty ? 'NOTHING RAN' : differences.length === 0 ? 'OK' : 'DIFFERENT'}, ${counted.checks} checks in ${counted.scenarios} scenarios of ${revisions.length} revisions, ` +
      `${differences.length} differences (reference server: ${counted.passed} passed, ${counted.failed} failed)`,
  );
  for (const problem of problems) console.log(`  ${problem}`);
  console.log(
    `client conformance: ${!parts.includes('client') ? 'not run' : problems.length === 0 ? 'OK' : `${problems.length} problems`}`,
  );
  return empty || differences.length > 0 || problems.length > 0 ? 1 : 0;
}

/** The checks that count in a comparison. */
function only(report: Report, { counts }: Comparison): Report {
  const out: Report = new Map();
  for (const [scenario, checks] of report) {
    const kept = checks.filter(({ id }) => counts(scenario, id));
    if (kept.length > 0) out.set(scenario, kept);
  }
  return out;
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
    const file = join(folder, entry, 'checks.json');
    // A scenario that breaks down leaves none.
    report.set(
      scenario,
      existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Check[]) : [{ id: 'scenario', status: 'BROKE DOWN' }],
    );
  }
  return report;
}

/** Every check whose status differs, or that only one side has. Checks of the same id are told apart by their order. */
function compare(direct: Report, through: Report): Omit<Difference, 'revision' | 'through'>[] {
  const differences: Omit<Difference, 'revision' | 'through'>[] = [];
  for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
    const left = numbered(direct.get(scenario));
    const right = numbered(through.get(scenario));
    for (const check of new Set([...left.keys(), ...right.keys()])) {
      const a = left.get(check);
      const b = right.get(check);
      if (a?.status === b?.status) continue;
      differences.push({
        scenario,
        check,
        before: a?.status ?? 'absent',
        after: b?.status ?? 'absent',
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
