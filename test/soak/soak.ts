import { fork, spawn, type ChildProcess, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';
import type { Intent, Outcome as Recorded } from '../../src/audit/record.ts';
import { DATABASE_FILE } from '../../src/tunnel/core.ts';
import { Session, type Call, type Ground, type Outcome } from './client.ts';
import { Dice } from './plan.ts';
import type { Access, HostOrder, Leftover, Measure } from './tunnelHost.ts';

/** How long, and how much. */
export interface SoakOptions {
  readonly seconds: number;
  readonly sessions: number;
  readonly seed: number;
  /** Between two kills of the server, and between two rotations of the token, seconds. */
  readonly killEvery: number;
  readonly rotateEvery: number;
  /** Told how it goes. */
  readonly onProgress?: (line: string) => void;
}

/** What a soak came to. */
export interface SoakReport {
  readonly summary: readonly string[];
  /** What must not be. Empty if all is well. */
  readonly violations: readonly string[];
}

/** A time in which what was under way may have failed, milliseconds of the monotonic clock. */
interface Disturbance {
  readonly from: number;
  to: number;
  /** Whether it does no harm to what runs: only a token may be refused before its holder has the new one. */
  readonly refusesOnly: boolean;
}

/** After a restart or a rotation what was under way may still fail for so long, milliseconds. */
const GRACE_MS = 250;
/** Between two looks at the memory, milliseconds. */
const MEASURE_MS = 1_000;
/** How much more memory the last quarter may use than the second one: a share, and bytes for what is not in proportion. */
const GROWTH = { heapUsed: { share: 0.1, bytes: 6 * 1024 * 1024 }, rss: { share: 0.15, bytes: 32 * 1024 * 1024 } };
/** At the end every exchange of the server must be over within this, milliseconds. */
const DRAIN_MS = 5_000;
const MIB = 1024 * 1024;
/** Violations that are shown. */
const SHOWN = 30;

/** Runs sessions against a tunnel in front of a server that fails as it is told, and checks every call from three sides. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-soak-'));
  const parts: Ended[] = [];
  try {
    return await run(options, folder, parts);
  } finally {
    for (const part of parts) await part.end();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

interface Ended {
  end(): Promise<void>;
}

async function run(options: SoakOptions, folder: string, parts: Ended[]): Promise<SoakReport> {
  const say = options.onProgress ?? (() => undefined);
  const journal = join(folder, 'journal');
  writeFileSync(journal, '');
  const server = new FaultyServer(journal);
  parts.push(server);
  await server.start();
  const host = await Host.start(`http://127.0.0.1:${server.port}/mcp`, join(folder, 'state'), options.sessions);
  parts.push(host);

  const over = new AbortController();
  const ground: Ground = {
    access: host.access,
    generation: 0,
    calls: [],
    violations: [],
    refusedStreams: [],
    notifications: 0,
    replies: 0,
    over: over.signal,
  };
  const disturbances: Disturbance[] = [];
  const measures: Measure[] = [];
  const dice = new Dice(options.seed);
  const done = { kills: 0, rotations: 0 };
  const began = performance.now();
  const until = began + options.seconds * 1_000;
  const isOver = (): boolean => performance.now() >= until;
  /** Does something every so often, never twice at once, until time is up. */
  const repeat = async (everyMs: number, task: () => Promise<void>): Promise<void> => {
    for (;;) {
      const waitMs = everyMs * dice.between(0.7, 1.3);
      if (performance.now() + waitMs >= until) return;
      await pause(waitMs);
      await task();
    }
  };
  const disturb = async (task: () => Promise<void>, refusesOnly = false): Promise<void> => {
    const disturbance: Disturbance = { from: performance.now(), to: Infinity, refusesOnly };
    disturbances.push(disturbance);
    await task();
    disturbance.to = performance.now() + GRACE_MS;
  };

  const sessions = Array.from({ length: options.sessions }, (_, i) => new Session(ground, i, options.seed).run());
  const disturbers = [
    repeat(options.killEvery * 1_000, () =>
      disturb(async () => {
        await server.kill();
        // For a moment nobody listens.
        await pause(dice.between(0, 300));
        await server.start();
        ground.generation++;
        done.kills++;
      }),
    ),
    repeat(options.rotateEvery * 1_000, () => {
      // Every other time so that what runs may go on.
      const order = done.rotations++ % 2 === 0 ? 'rotate' : 'revoke';
      return disturb(async () => {
        ground.access = await host.order<Access>(order);
        if (order === 'revoke') ground.generation++;
      }, order === 'rotate');
    }),
    (async () => {
      let told = began;
      while (!isOver()) {
        await pause(Math.min(MEASURE_MS, Math.max(1, until - performance.now())));
        measures.push(await host.order<Measure>('measure'));
        if (performance.now() - told < 15_000) continue;
        told = performance.now();
        const { heapUsed, rss } = measures.at(-1) as Measure;
        say(
          `${((told - began) / 1_000).toFixed(0)} s: ${ground.calls.length} calls, ${done.kills} kills, ${done.rotations} rotations, heap ${mib(heapUsed)}, RSS ${mib(rss)}, ${ground.violations.length} violations`,
        );
      }
    })(),
  ];
  await Promise.all(disturbers);
  over.abort();
  await Promise.all(sessions);
  const seconds = (performance.now() - began) / 1_000;

  const { violations } = ground;
  if (!(await server.isIdle(DRAIN_MS))) violations.push('the server has exchanges open that nobody waits for');
  const leftover = await host.order<Leftover>('close');
  for (const resource of leftover.resources) violations.push(`left in the tunnel’s process: ${resource}`);
  for (const file of leftover.files) violations.push(`left open in the tunnel’s process: ${file}`);
  for (const problem of leftover.problems) violations.push(`the record: ${problem}`);
  for (const span of ground.refusedStreams)
    if (!isDisturbed({ ...span, outcome: 'refused' }, disturbances)) violations.push('a long stream was refused as not offered');
  violations.push(...judgeCalls(ground.calls, disturbances), ...judgeMemory(measures));
  const record = judgeRecord(join(folder, 'state', DATABASE_FILE), readFileSync(journal, 'utf8'), ground.calls, disturbances);
  violations.push(...record.violations);
  if (ground.calls.length === 0 || ground.notifications === 0) violations.push('nothing was tried');

  const summary = [
    `${options.sessions} sessions, ${seconds.toFixed(0)} s, seed ${options.seed}: ${ground.calls.length} calls (${(ground.calls.length / seconds).toFixed(0)}/s), ${ground.notifications} notifications on long streams, ${ground.replies} questions answered`,
    `disturbances: ${done.kills} kills and restarts of the server, ${done.rotations} token rotations (every other one ends what runs), ${ground.calls.filter(({ wish }) => wish.fault !== 'none').length} resets, truncations and early ends; ${ground.calls.filter((call) => call.wish.fault === 'none' && !call.stale && !isDisturbed(call, disturbances)).length} calls had nothing to fear`,
    `outcomes: ${(['answered', 'error', 'refused', 'broken', 'cancelled'] as const).map((o) => `${ground.calls.filter(({ outcome }) => outcome === o).length} ${o}`).join(', ')}`,
    ...errorsOf(ground.calls),
    `record: ${record.recorded} calls with intent and outcome, ${record.forwarded} of them at the server, file ${mib(statSync(join(folder, 'state', DATABASE_FILE)).size)}`,
    memoryLine(measures),
    `event loop of the tunnel: longest stall ${Math.max(...measures.map(({ stallMs }) => stallMs)).toFixed(0)} ms (the machine's load included)`,
  ];
  const shown = violations.length > SHOWN ? [...violations.slice(0, SHOWN), `… and ${violations.length - SHOWN} more`] : violations;
  return { summary, violations: shown };
}

// --- The three sides

function isDisturbed({ from, to, outcome }: Pick<Call, 'from' | 'to' | 'outcome'>, disturbances: readonly Disturbance[]): boolean {
  return disturbances.some((d) => from <= d.to && to >= d.from && (!d.refusesOnly || outcome === 'refused'));
}

/** The callers' side: whoever asked for no fault and was not disturbed has an answer; the others have at least an end. */
function judgeCalls(calls: readonly Call[], disturbances: readonly Disturbance[]): string[] {
  return calls.flatMap((call) => {
    const { wish, outcome, stale, detail, era } = call;
    const disturbed = isDisturbed(call, disturbances);
    const wanted: readonly Outcome[] =
      wish.fault === 'none' ? (wish.manner === 'hang' ? ['cancelled'] : ['answered']) : ['error', 'broken'];
    if (wanted.includes(outcome) || (disturbed && outcome !== 'cancelled') || (stale && outcome === 'refused')) return [];
    return [`${era} ${JSON.stringify(wish)} came out as ${outcome}, ${disturbed ? 'disturbed' : 'undisturbed'}: ${detail}`];
  });
}

/** The record's side and the server's: what was sent is on the record once, with its end, and what arrived was sent once. */
function judgeRecord(
  path: string,
  journal: string,
  calls: readonly Call[],
  disturbances: readonly Disturbance[],
): { readonly recorded: number; readonly forwarded: number; readonly violations: string[] } {
  const violations: string[] = [];
  const intents = new Map<string, { exchange: string; intent: Intent }[]>();
  const outcomes = new Map<string, Recorded[]>();
  const db = new DatabaseSync(path, { readOnly: true });
  let open = 0;
  for (const row of db.prepare('SELECT kind, exchange, body FROM audit WHERE exchange IS NOT NULL').iterate()) {
    const exchange = String(row['exchange']);
    if (row['kind'] === 'outcome') outcomes.set(exchange, [...(outcomes.get(exchange) ?? []), JSON.parse(String(row['body'])) as Recorded]);
    else if (row['kind'] === 'intent') {
      open++;
      const intent = JSON.parse(String(row['body'])) as Intent;
      const nonce = /"nonce":"([^"]+)"/.exec(intent.arguments ?? '')?.[1];
      if (nonce !== undefined) intents.set(nonce, [...(intents.get(nonce) ?? []), { exchange, intent }]);
    }
  }
  db.close();
  for (const [exchange, ends] of outcomes) if (ends.length !== 1) violations.push(`exchange ${exchange} has ${ends.length} outcomes`);
  if (open !== outcomes.size) violations.push(`${open} intents and ${outcomes.size} outcomes are on the record`);

  const arrived = new Map<string, number>();
  for (const nonce of journal.split('\n')) if (nonce !== '') arrived.set(nonce, (arrived.get(nonce) ?? 0) + 1);
  for (const [nonce, times] of arrived) {
    if (times > 1) violations.push(`${nonce} arrived at the server ${times} times`);
    if (!intents.has(nonce)) violations.push(`${nonce} arrived at the server and is not on the record`);
  }
  const refused = new Set(calls.filter(({ outcome }) => outcome === 'refused').map(({ wish }) => wish.nonce));
  for (const [nonce, found] of intents) {
    if (found.length > 1) violations.push(`${nonce} is on the record ${found.length} times`);
    // A call in a session that is gone is refused on the record, too.
    for (const { intent } of found)
      if (intent.effect !== 'allow' && !refused.has(nonce)) violations.push(`${nonce} was denied: ${intent.reason}`);
  }
  for (const call of calls) {
    const { wish, outcome } = call;
    if (outcome === 'refused') continue;
    const found = intents.get(wish.nonce)?.[0];
    if (!found && outcome === 'broken') continue;
    const end = found && outcomes.get(found.exchange)?.[0]?.result;
    if (end === undefined) violations.push(`${wish.nonce} (${outcome}) is not on the record`);
    // An answer may be on its way to its caller when the stream is ended under it.
    else if ((outcome === 'answered') !== (end === 'ok') && !(end === 'ok' && outcome === 'broken' && isDisturbed(call, disturbances)))
      violations.push(`${wish.nonce}: ${outcome} for its caller, ${end} on the record`);
    if (outcome === 'answered' && !arrived.has(wish.nonce)) violations.push(`${wish.nonce} was answered and never arrived`);
  }
  return { recorded: intents.size, forwarded: arrived.size, violations };
}

/** Memory is flat: the last quarter needs what the second one did. */
function judgeMemory(measures: readonly Measure[]): string[] {
  const { second, last } = quarters(measures);
  return (['heapUsed', 'rss'] as const).flatMap((kind) => {
    const limit = second[kind] * (1 + GROWTH[kind].share) + GROWTH[kind].bytes;
    return last[kind] <= limit ? [] : [`${kind} grew from ${mib(second[kind])} in the second quarter to ${mib(last[kind])} in the last`];
  });
}

function quarters(measures: readonly Measure[]): { readonly second: Measure; readonly last: Measure } {
  const part = (n: number): readonly Measure[] =>
    measures.slice(Math.floor((measures.length * n) / 4), Math.ceil((measures.length * (n + 1)) / 4));
  const median = (of: readonly Measure[], kind: keyof Measure): number =>
    of.map((m) => m[kind]).sort((a, b) => a - b)[Math.floor(of.length / 2)] ?? NaN;
  const both = (n: number): Measure => ({
    heapUsed: median(part(n), 'heapUsed'),
    rss: median(part(n), 'rss'),
    stallMs: median(part(n), 'stallMs'),
  });
  return { second: both(1), last: both(3) };
}

function memoryLine(measures: readonly Measure[]): string {
  const { second, last } = quarters(measures);
  return `memory of the tunnel, medians of the second and the last quarter: heap ${mib(second.heapUsed)} -> ${mib(last.heapUsed)}, RSS ${mib(second.rss)} -> ${mib(last.rss)}`;
}

/** What callers were told, numbers taken out, most frequent first. */
function errorsOf(calls: readonly Call[]): string[] {
  const counts = new Map<string, number>();
  for (const { outcome, detail } of calls) {
    if (outcome !== 'error') continue;
    const text = detail.replaceAll(/\d+/g, 'N');
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([text, count]) => `  ${count} times: ${text}`);
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

// --- The processes

/** The server, which can be killed and comes back on the same port. */
class FaultyServer implements Ended {
  port = 0;
  readonly #journal: string;
  #child: ChildProcessWithoutNullStreams | undefined;

  constructor(journal: string) {
    this.#journal = journal;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'upstream.ts'), String(this.port), this.#journal], { stdio: 'pipe' });
    this.#child = child;
    child.stderr.pipe(process.stderr);
    const [said] = (await Promise.race([
      once(child.stdout, 'data'),
      once(child, 'exit').then(() => Promise.reject(new Error('The server did not start.'))),
    ])) as [Buffer];
    this.port = (JSON.parse(said.toString()) as { port: number }).port;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Whether nothing is open within a time. */
  async isIdle(withinMs: number): Promise<boolean> {
    const until = performance.now() + withinMs;
    while (performance.now() < until) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/open`);
      if ((await answer.text()) === '0') return true;
      await pause(50);
    }
    return false;
  }

  end(): Promise<void> {
    return this.kill();
  }
}

/** The tunnel in its own process. */
class Host implements Ended {
  readonly access: Access;
  readonly #child: ChildProcess;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess, access: Access) {
    this.#child = child;
    this.access = access;
  }

  static async start(url: string, stateFolder: string, sessions: number): Promise<Host> {
    const child = fork(join(import.meta.dirname, 'tunnelHost.ts'), [url, stateFolder, String(sessions)], {
      execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [access] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('The tunnel did not start.'))),
    ])) as [Access];
    return new Host(child, access);
  }

  /** Gives an order and resolves with the answer; one at a time. */
  order<T>(order: HostOrder): Promise<T> {
    const answer = this.#last.then(async () => {
      const answered = new AbortController();
      const { signal } = answered;
      const answer = once(this.#child, 'message', { signal });
      const gone = once(this.#child, 'exit', { signal }).then(() => Promise.reject(new Error('The tunnel’s process ended.')));
      this.#child.send(order);
      try {
        const [value] = (await Promise.race([answer, gone])) as [T];
        return value;
      } finally {
        gone.catch(() => undefined);
        answered.abort();
      }
    });
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }
}
