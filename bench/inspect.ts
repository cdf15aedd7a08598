import { createHash } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { RULES } from '../src/detection/rules/all.ts';
import { PatternMatcher } from '../src/detection/rules/matcher.ts';
import { Inspector, type Passing } from '../src/inspection/inspector.ts';
import { SecretSearch } from '../src/inspection/secretSearch.ts';
import { MB, corpus } from '../scripts/corpus.ts';
import { resultText } from './payload.ts';
import { KIB, MIB, median, percentile, printTable, sizeName, type Target } from './report.ts';

/** Issue 5. */
const SECRETS = 200;
const MIN_MB_PER_S = 80;
const MAX_10_KB_MS = 0.4;
const MAX_1_MB_MS = 20;
const MAX_STALL_MS = 10;
const MAX_START_MS = 60;
const CORPUS_MB = 10;
const LOOKS = new Map([
  [KIB, 2_000],
  [10 * KIB, 1_000],
  [100 * KIB, 150],
  [MIB, 30],
]);

const HERE: Passing = { server: 's', serverLabel: 'S', tool: 't', workspace: undefined };

function newSearch(): SecretSearch {
  const search = new SecretSearch({
    onProblem: (problem) => console.error(problem),
    startThread: () =>
      new Worker(new URL('../src/inspection/searchThread.ts', import.meta.url), { execArgv: ['--disable-warning=ExperimentalWarning'] }),
  });
  for (let i = 0; i < SECRETS; i++) {
    const random = createHash('sha512').update(`made up ${i}`).digest('base64url');
    search.learn(`s${i}@1`, `${['gh', 'p_'].join('')}${random.slice(0, 24 + (i % 5) * 8)}`);
  }
  return search;
}

function message(bytes: number): Buffer {
  return Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { content: [{ type: 'text', text: resultText(bytes) }] } }));
}

/** What the search for secrets costs by itself: matchers on clean files, whole messages, stalls of the event loop, starting. */
export async function measureInspection(rounds: number): Promise<Target[]> {
  const targets: Target[] = [];
  const rows: string[][] = [['what', '', 'p50 ms', 'p99 ms', 'MB/s']];

  const stalls = monitorEventLoopDelay({ resolution: 1 });
  const search = newSearch();
  stalls.enable();
  let begin = performance.now();
  await search.ready();
  const loading = performance.now() - begin;
  // The histogram notes a delay at the next turn.
  await new Promise((resolve) => setTimeout(resolve, 5));
  stalls.disable();
  begin = performance.now();
  search.known.prepare();
  const preparing = performance.now() - begin;
  rows.push(['rules', `${RULES.length}`, loading.toFixed(1), '', ''], ['known secrets', `${SECRETS}`, preparing.toFixed(1), '', '']);
  const loadStall = stalls.max / 1e6;
  targets.push(
    {
      name: `start: rules in ${loading.toFixed(0)} ms (at most ${MAX_START_MS} ms), longest stall ${loadStall.toFixed(1)} ms`,
      met: loading <= MAX_START_MS,
    },
    {
      name: `start: index of ${SECRETS} secrets in ${preparing.toFixed(0)} ms (at most ${MAX_START_MS} ms)`,
      met: preparing <= MAX_START_MS,
    },
  );

  const pieces = corpus(CORPUS_MB);
  const bytes = pieces.reduce((sum, { text }) => sum + text.length, 0);
  const patterns = new PatternMatcher(RULES);
  for (const [name, look] of [
    ['known secrets', (text: Buffer) => search.known.find(text)],
    ['patterns', (text: Buffer) => patterns.find(text)],
  ] as const) {
    const speeds: number[] = [];
    for (let round = 0; round < Math.max(3, rounds / 4); round++) {
      begin = performance.now();
      for (const { text } of pieces) look(text);
      speeds.push(bytes / MB / ((performance.now() - begin) / 1_000));
    }
    const speed = median(speeds);
    rows.push([name, `${(bytes / MB).toFixed(0)} MB of files`, '', '', speed.toFixed(0)]);
    targets.push({ name: `${name}: ${speed.toFixed(0)} MB/s on clean files (at least ${MIN_MB_PER_S})`, met: speed >= MIN_MB_PER_S });
  }

  const inspector = new Inspector({ secrets: search, nameOf: (id) => id });
  for (const [size, looks] of LOOKS) {
    const raw = message(size);
    for (let i = 0; i < looks / 2; i++) await inspector.look(raw, HERE);
    const times: number[] = [];
    const delays = monitorEventLoopDelay({ resolution: 1 });
    delays.enable();
    for (let i = 0; i < looks; i++) {
      begin = performance.now();
      await inspector.look(raw, HERE);
      times.push(performance.now() - begin);
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
    delays.disable();
    const p50 = median(times);
    rows.push(['a message', sizeName(size), p50.toFixed(3), percentile(times, 0.99).toFixed(3), (raw.length / 1_000 / p50).toFixed(0)]);
    if (size === 10 * KIB) targets.push({ name: `10 KB: ${p50.toFixed(3)} ms (at most ${MAX_10_KB_MS} ms)`, met: p50 <= MAX_10_KB_MS });
    if (size !== MIB) continue;
    const stall = delays.percentile(99) / 1e6;
    targets.push(
      { name: `1 MB: ${p50.toFixed(1)} ms (at most ${MAX_1_MB_MS} ms)`, met: p50 <= MAX_1_MB_MS },
      {
        name: `1 MB: the event loop stood still for ${stall.toFixed(1)} ms at most, p99 (at most ${MAX_STALL_MS} ms)`,
        met: stall <= MAX_STALL_MS,
      },
    );
  }
  search.dispose();
  printTable(rows);
  return targets;
}
