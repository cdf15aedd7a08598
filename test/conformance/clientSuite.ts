/**
 * Runs every client scenario that a revision requires, and those that are only reported, with the tunnel as OAuth client; then the same with
 * clients that are broken on purpose, which must fail.
 *
 *     npm run conformance -- --only client [--revision 2025-11-25|2026-07-28] [--output <folder>]
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Longest run of one suite, and of one scenario, milliseconds: all scenarios run at once, each with a process of its own. */
const SUITE_LIMIT_MS = 900_000;
const SCENARIO_LIMIT_MS = 300_000;

/** Checks whose failure each broken client must cause: a suite that lets them pass would show nothing. */
const BROKEN: readonly { readonly fault: string; readonly revision: string; readonly scenario: string }[] = [
  { fault: 'no-pkce', revision: '2025-11-25', scenario: 'auth/metadata-default' },
  { fault: 'no-resource', revision: '2026-07-28', scenario: 'auth/token-endpoint-auth-none' },
  { fault: 'any-issuer', revision: '2026-07-28', scenario: 'auth/iss-wrong-issuer' },
  { fault: 'drop-scopes', revision: '2026-07-28', scenario: 'auth/scope-from-www-authenticate' },
];

interface Check {
  readonly id: string;
  readonly status: string;
  readonly errorMessage?: string;
}

/** What came of the client suites. */
export interface ClientReport {
  readonly scenarios: number;
  readonly checks: number;
  /** Failures and warnings, each in a line. */
  readonly problems: readonly string[];
}

/** Runs the suites of the revisions. */
export async function runClientSuites(revisions: readonly string[], output: string): Promise<ClientReport> {
  const problems: string[] = [];
  const counted = { scenarios: 0, checks: 0 };
  for (const revision of revisions) {
    const folder = join(output, revision, 'client');
    await run(['--requirements', revision], folder, ['--revision', revision]);
    const report = reportOf(folder);
    const checks = [...report.values()].flat();
    counted.scenarios += report.size;
    counted.checks += checks.length;
    const bad = [...report].flatMap(([scenario, all]) =>
      all.filter(isBad).map((check) => `${revision} ${scenario} ${check.id}: ${check.status} ${check.errorMessage ?? ''}`),
    );
    problems.push(...bad);
    if (report.size === 0) problems.push(`${revision}: nothing ran`);
    const passed = checks.filter(({ status }) => status === 'SUCCESS').length;
    console.log(`${revision} client: ${report.size} scenarios, ${checks.length} checks (${passed} passed, ${bad.length} failed or warned)`);
  }
  for (const { fault, revision, scenario } of BROKEN.filter((one) => revisions.includes(one.revision))) {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-broken-'));
    try {
      await run(['--scenario', scenario, '--spec-version', revision], folder, ['--revision', revision, '--broken', fault]);
      const seen = [...reportOf(folder).values()].flat().some(isBad);
      console.log(`${revision} client broken by ${fault}: ${seen ? 'fails, as it must' : 'PASSES'}`);
      if (!seen) problems.push(`${revision} ${scenario}: a client with the fault ${fault} passes`);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return { ...counted, problems };
}

function isBad({ status }: Check): boolean {
  return status === 'FAILURE' || status === 'WARNING' || status === 'BROKE DOWN';
}

async function run(args: readonly string[], folder: string, extra: readonly string[]): Promise<void> {
  const cli = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/dist/index.js');
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'client.ts'), ...extra].join(' ');
  const child = spawn(
    process.execPath,
    [cli, 'client', '--command', command, '--output-dir', folder, '--timeout', String(SCENARIO_LIMIT_MS), ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let said = '';
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const timer = setTimeout(() => child.kill('SIGKILL'), SUITE_LIMIT_MS);
  const signal = await new Promise<NodeJS.Signals | null>((resolve) => child.once('close', (_code, by) => resolve(by)));
  clearTimeout(timer);
  if (signal !== null || readdirIfThere(folder).length === 0) throw new Error(`The client suite did not finish:\n${said.slice(-2_000)}`);
}

/** Checks by scenario; folders are nested where a scenario’s name holds a slash. */
function reportOf(folder: string): Map<string, Check[]> {
  const report = new Map<string, Check[]>();
  const visit = (at: string, name: string): void => {
    const file = join(at, 'checks.json');
    const scenario = /^(.+)-\d{4}-\d\d-\d\dT/.exec(name)?.[1];
    if (existsSync(file)) report.set(scenario ?? name, JSON.parse(readFileSync(file, 'utf8')) as Check[]);
    else if (scenario !== undefined) report.set(scenario, [{ id: 'scenario', status: 'BROKE DOWN' }]);
    else for (const entry of readdirIfThere(at)) if (!entry.includes('.')) visit(join(at, entry), name === '' ? entry : `${name}/${entry}`);
  };
  for (const entry of readdirIfThere(folder)) visit(join(folder, entry), entry);
  return report;
}

function readdirIfThere(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}
