/**
 * What the record costs: writing on the way of a call, and verifying, indexing and asking a long one.
 *
 *     npm run bench:audit -- [--entries 1000000] [--calls 5000] [--strict]
 *
 * `--strict` makes a missed target (issue 7) the exit code 1.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ActivityIndex } from '../src/audit/activityIndex.ts';
import { AuditLog } from '../src/audit/auditLog.ts';
import { entryHash } from '../src/audit/chain.ts';
import { Checkpoints, newSigningKey } from '../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../src/audit/record.ts';
import { systemClock } from '../src/common/clock.ts';
import { Database } from '../src/store/database.ts';
import { rowsOf, summaryOf } from '../src/vscode/panel/panelData.ts';
import { ActivityTree } from '../src/vscode/views/activityTree.ts';

const { values: options } = parseArgs({
  options: {
    entries: { type: 'string', default: '1000000' },
    calls: { type: 'string', default: '5000' },
    strict: { type: 'boolean', default: false },
  },
});
const MIB = 1024 * 1024;
const DAYS = 30;

const intentOf = (i: number): Intent => ({
  v: 2,
  client: i % 3 === 0 ? 'agent' : 'vscode',
  window: 'win-0123456789ab',
  workspace: 'project',
  claims: { clientName: i % 3 === 0 ? 'Claude Code' : 'Visual Studio Code', conversationId: `conversation-${Math.floor(i / 40)}` },
  server: `srv-${i % 8}`,
  serverLabel: 'Issues',
  origin: 'https://api.example.com',
  era: 'modern',
  protocol: '2026-07-28',
  rpcId: String(i),
  method: 'tools/call',
  tool: `tool_${i % 50}`,
  argumentsDigest: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  arguments: JSON.stringify({ query: `is:open label:bug number ${i}`, page: i % 10 }),
  effect: i % 25 === 0 ? 'deny' : 'allow',
  decidedBy: 'grant-0123456789ab',
  grant: 'grant-0123456789ab',
  policyDigest: '5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456',
  reason: 'You allowed all tools of this server.',
  credentials: ['token (revision 1)'],
  credentialUse: [{ id: 'cred-0123456789ab', name: 'token', revision: 1 }],
  requestBytes: 420,
  mono: i + 0.25,
});
const outcomeOf = (i: number): Outcome => ({
  v: 2,
  result: i % 25 === 0 ? 'denied' : 'ok',
  status: 200,
  responseBytes: 2_000 + (i % 1_000),
  findings: i % 500 === 0 ? 1 : 0,
  totalMs: (i % 400) + 0.5,
  decisionMs: 0.2,
  upstreamMs: i % 400,
  resultDigest: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  stages: {
    parse: 0.02,
    authenticate: 0.003,
    authorize: 0.01,
    record: 0.04,
    inspectOut: 0.002,
    credentials: 0.01,
    upstream: i % 400,
    inspectIn: 0.05,
  },
  mono: i + 12.5,
});

const missed: string[] = [];
/** Prints a measurement and holds it against its target. */
function say(what: string, value: number, unit: string, target?: number): void {
  const met = target === undefined || value <= target;
  const goal = target === undefined ? '' : `  (at most ${target} ${unit}${met ? '' : ', MISSED'})`;
  console.log(`${what.padEnd(52)} ${value.toFixed(value < 100 ? 2 : 0).padStart(10)} ${unit}${goal}`);
  if (!met) missed.push(what);
}
async function timed<T>(what: string, work: () => Promise<T>, target?: number): Promise<T> {
  const from = performance.now();
  const result = await work();
  say(what, performance.now() - from, 'ms', target);
  return result;
}
function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

const folder = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
const keyring = new Map([['signing-key', await newSigningKey()]]);
const keeper = {
  get: (name: string) => Promise.resolve(keyring.get(name)),
  set: (name: string, value: string) => Promise.resolve(void keyring.set(name, value)),
};
try {
  await measureWriting();
  await measureReading();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (missed.length > 0) console.log(`\nMissed: ${missed.join('; ')}.`);
process.exitCode = options.strict && missed.length > 0 ? 1 : 0;

/** Open and close of a call at 1,000 calls a second, and as fast as it goes. */
async function measureWriting(): Promise<void> {
  const db = Database.open(join(folder, 'write.db'));
  const log = new AuditLog(db, systemClock, new Checkpoints(db, keeper, systemClock));
  const calls = Number(options.calls);
  const run = async (count: number, perSecond?: number): Promise<{ open: number[]; both: number[] }> => {
    const [open, both]: [number[], number[]] = [[], []];
    const began = performance.now();
    for (let i = 0; i < count; i++) {
      while (perSecond !== undefined && performance.now() - began < (i * 1_000) / perSecond) await new Promise(setImmediate);
      const [intent, outcome] = [intentOf(i), outcomeOf(i)];
      const id = `x-${began}-${i}`;
      const from = performance.now();
      await log.open(id, intent);
      const opened = performance.now();
      log.close(id, outcome);
      const closed = performance.now();
      open.push((opened - from) * 1_000);
      both.push((closed - from) * 1_000);
      if (perSecond === undefined) await new Promise(setImmediate);
    }
    for (const list of [open, both]) list.sort((a, b) => a - b);
    return { open, both };
  };
  await run(2_000);
  const { open, both } = await run(calls, 1_000);
  say('open, 1,000 calls/s, p50', percentile(open, 0.5), 'us');
  say('open and close, 1,000 calls/s, p50', percentile(both, 0.5), 'us', 60);
  say('open and close, 1,000 calls/s, p99', percentile(both, 0.99), 'us', 1_000);
  const fast = await run(calls * 4);
  say('open, one after the other, p50', percentile(fast.open, 0.5), 'us');
  say('open, one after the other, mean', fast.open.reduce((a, b) => a + b, 0) / fast.open.length, 'us');
  log.dispose();
  db.close();
}

/** What the view asks for when it is opened: days, what lies in the newest, and the calls of its first conversation. */
async function paint(tree: ActivityTree): Promise<void> {
  const [day] = await tree.children();
  const below = day ? await tree.children(day) : [];
  const [conversation] = below.filter(({ kind }) => kind === 'conversation');
  if (conversation) await tree.children(conversation);
}

/** A long record: verified, indexed, asked. */
async function measureReading(): Promise<void> {
  const path = join(folder, 'read.db');
  const db = Database.open(path);
  const entries = Number(options.entries);
  const began = systemClock.now() - DAYS * 24 * 60 * 60_000;
  const step = (DAYS * 24 * 60 * 60_000) / entries;
  await timed(`writing ${entries} entries for the test`, async () => {
    const heads = new Map<string, { n: number; hash: string }>();
    for (let from = 0; from < entries / 2; from += 10_000)
      db.transaction(() => {
        for (let i = from; i < Math.min(from + 10_000, entries / 2); i++)
          for (const kind of ['intent', 'outcome'] as const) {
            // Windows of some hours.
            const chain = `chain-${Math.floor(i / 5_000)}-${i % 2}`;
            const head = heads.get(chain) ?? { n: 0, hash: '' };
            const intent = intentOf(i);
            const at = Math.floor(began + i * 2 * step);
            const body = JSON.stringify(kind === 'intent' ? intent : outcomeOf(i));
            const next = { n: head.n + 1, hash: entryHash(head.hash, chain, head.n + 1, at, kind, `x-${i}`, body) };
            heads.set(chain, next);
            const [server, tool] = kind === 'intent' ? [intent.server, intent.tool ?? null] : [null, null];
            db.run(
              'INSERT INTO audit (chain, n, at, kind, exchange, server, tool, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
              chain,
              next.n,
              at,
              kind,
              `x-${i}`,
              server,
              tool,
              body,
              next.hash,
            );
          }
      });
  });
  say('size of the database', (statSync(path).size + statSync(`${path}-wal`).size) / MIB, 'MiB');
  const log = new AuditLog(db, systemClock, new Checkpoints(db, keeper, systemClock));
  keyring.delete('last-checkpoint');
  await timed('first checkpoint', () => log.checkpoint());

  let longest = 0;
  let last = performance.now();
  const ticker = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  const { problems, endings } = await timed('verify', () => log.verify(), 10_000);
  if (problems.length > 0) throw new Error(problems.join());
  say('  crashed windows it names', endings.filter(({ how }) => how === 'crashed').length, '');
  say('  longest hold of the event loop', longest, 'ms');

  const index = new ActivityIndex(db, log);
  const early = performance.now();
  const page = await index.calls({ named: true }, { limit: 100 });
  say(`first page while the index is empty (${page.calls.length} calls)`, performance.now() - early, 'ms', 200);
  await timed('building the index', () => index.update());
  say('size of the index', (statSync(`${path}.index`).size + statSync(`${path}.index-wal`).size) / MIB, 'MiB');
  const first = await timed('first page', () => index.calls({ named: true }, { limit: 100 }), 200);
  await timed('second page', () => index.calls({ named: true }, { limit: 100, before: first.next }), 200);
  await timed('page of a server and tool', () => index.calls({ server: 'srv-3', tool: 'tool_11' }, { limit: 100 }), 200);
  await timed('page of findings', () => index.calls({ findings: true }, { limit: 100 }), 200);
  await timed('page of denials', () => index.calls({ decision: 'denied' }, { limit: 100 }), 200);
  await timed('page with a text, one hit', () => index.calls({ text: `number ${Math.floor(entries / 4)}"` }, { limit: 100 }), 200);
  const days = await timed('days', () => index.days({}, { limit: 14 }), 200);
  const [day] = days.slice(7);
  if (day) {
    await timed(`conversations of a day (${day.calls} calls)`, () => index.conversations({ from: day.from, to: day.to }), 200);
    await timed('page of a day a week ago', () => index.calls({ from: day.from, to: day.to }, { limit: 100 }), 200);
  }
  const tree = new ActivityTree(index, () => systemClock.now());
  tree.filter = {};
  await timed('activity tree: first paint, the newest day open', () => paint(tree), 200);
  for (const span of ['day', 'month', 'all'] as const)
    await timed(
      `panel: first paint, ${span}`,
      async () => {
        const { range } = await summaryOf(index, { kind: 'query', serial: 1, span }, systemClock.now(), (id) => id);
        await rowsOf(index, { kind: 'list', serial: 2, range });
      },
      200,
    );
  await timed('sums of a day', () => index.aggregate({ from: systemClock.now() - 24 * 60 * 60_000 }), 200);
  await timed('sums of all', () => index.aggregate({}));
  await timed('record of one call', () => index.record('x-1000'), 200);
  clearInterval(ticker);
  say('longest hold of the event loop in all', longest, 'ms');
  say('memory of the process', process.memoryUsage().rss / MIB, 'MiB');
  index.dispose();
  log.dispose();
  db.close();
}
