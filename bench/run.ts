/**
 * What the tunnel costs, in one run: direct, through a do-nothing Node proxy, through the tunnel over its socket, through the tunnel over
 * the bridge. Rounds are interleaved, so that whatever else the machine does hits all alike. Every part is a process of its own; this one
 * only makes the load.
 *
 *     npm run bench -- [--rounds 12] [--sizes 1024,10240] [--seconds 0.3] [--strict]
 *
 * `--strict` makes a missed target the exit code 1.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { openBridge, openHttp, type Carrier } from './clients.ts';

const KIB = 1024;
const IN_FLIGHT = 32;
/** Calls per variant and round, by size: about as many bytes as are pleasant to wait for. */
const CALLS = new Map([
  [KIB, 200],
  [10 * KIB, 200],
  [100 * KIB, 80],
  [KIB * KIB, 20],
]);
const DEFAULT_CALLS = 50;
/** Before anything is counted, per variant: calls one after the other, then seconds with all in flight. Once for all, and for each size. */
const WARM_UP = { first: { calls: 1_500, seconds: 1.5 }, size: { calls: 100, seconds: 0.2 } };
/** Issue 2: added time at these sizes, against what the do-nothing proxy adds; and calls per second against the proxy's. */
const TARGET_SIZES = [KIB, 10 * KIB];
const MAX_ADDED_RATIO = 2;
const MIN_RATE_RATIO = 0.5;

type Variant = 'direct' | 'proxy' | 'tunnel' | 'bridge';
const VARIANTS: readonly Variant[] = ['direct', 'proxy', 'tunnel', 'bridge'];

interface Measured {
  /** Milliseconds, ascending once a size is done. */
  readonly times: number[];
  /** Calls per second with {@link IN_FLIGHT} in flight, one number per round. */
  readonly rates: number[];
}

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '12' },
    sizes: { type: 'string', default: [...CALLS.keys()].join(',') },
    seconds: { type: 'string', default: '0.3' },
    strict: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
const sizes = options.sizes.split(',').map(Number);

const children: ChildProcess[] = [];

/** Starts one of the scripts here and waits for the line of JSON with which it says that it is ready. */
async function start(script: string, ...args: string[]): Promise<Record<string, string>> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, script), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.push(child);
  let said = '';
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${script} ended with ${code ?? 'a signal'} before it was ready.`)));
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString();
      if (said.includes('\n')) resolve(JSON.parse(said) as Record<string, string>);
    });
  });
}

async function main(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
  const carriers = new Map<Variant, Carrier>();
  try {
    const secret = `sk-bench-${randomBytes(24).toString('base64url')}`;
    const { url = '' } = await start('upstream.ts', secret);
    const upstream = new URL(url);
    const { socketPath = '' } = await start('nullProxy.ts', join(folder, 'proxy.sock'), url);
    const tunnel = await start('tunnelHost.ts', url, secret);
    const bundle = join(folder, 'bridge.cjs');
    await build({
      entryPoints: [join(import.meta.dirname, '../src/bridge/main.ts')],
      bundle: true,
      minify: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      outfile: bundle,
    });

    carriers.set(
      'direct',
      await openHttp({ address: { host: upstream.hostname, port: Number(upstream.port) }, path: upstream.pathname, token: secret }),
    );
    carriers.set('proxy', await openHttp({ address: { socketPath }, path: upstream.pathname, token: secret }));
    carriers.set(
      'tunnel',
      await openHttp({ address: { socketPath: tunnel['socketPath'] ?? '' }, path: tunnel['path'] ?? '', token: tunnel['token'] ?? '' }),
    );
    carriers.set(
      'bridge',
      await openBridge(bundle, [
        '--server',
        tunnel['serverId'] ?? '',
        '--capability',
        tunnel['capabilityStem'] ?? '',
        '--runtime',
        tunnel['runtimeFolder'] ?? '',
      ]),
    );

    console.log(
      `${rounds} interleaved rounds, calls/s with ${IN_FLIGHT} in flight (median of ${rounds} times ${seconds} s), ${availableParallelism()} cores, Node ${process.versions.node}\n`,
    );
    for (const carrier of carriers.values()) await warmUp(carrier, 10 * KIB, WARM_UP.first);
    const results = new Map<number, Map<Variant, Measured>>();
    for (const size of sizes) results.set(size, await measure(size, carriers));
    return report(results);
  } finally {
    for (const carrier of carriers.values()) carrier.close();
    for (const child of children) child.removeAllListeners('exit').stdin?.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(size: number, carriers: ReadonlyMap<Variant, Carrier>): Promise<Map<Variant, Measured>> {
  const measured = new Map(VARIANTS.map((variant): [Variant, Measured] => [variant, { times: [], rates: [] }]));
  const of = (variant: Variant): [Carrier, Measured] => [carriers.get(variant)!, measured.get(variant)!];
  for (const carrier of carriers.values()) await warmUp(carrier, size, WARM_UP.size);
  const calls = CALLS.get(size) ?? DEFAULT_CALLS;
  for (let round = 0; round < rounds; round++) {
    for (const variant of rotated(round)) {
      const [carrier, { times }] = of(variant);
      for (let i = 0; i < calls; i++) {
        const from = performance.now();
        const bytes = await carrier.call(size);
        times.push(performance.now() - from);
        check(bytes, size);
      }
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const variant of rotated(round)) {
      const [carrier, { rates }] = of(variant);
      rates.push(await inFlight(carrier, size, seconds));
    }
  }
  for (const { times } of measured.values()) times.sort((a, b) => a - b);
  return measured;
}

/** Lets compilers and connections settle. */
async function warmUp(carrier: Carrier, size: number, amount: { readonly calls: number; readonly seconds: number }): Promise<void> {
  for (let i = 0; i < amount.calls; i++) check(await carrier.call(size), size);
  await inFlight(carrier, size, amount.seconds);
}

/** The variants, another one first in every round. */
function rotated(round: number): readonly Variant[] {
  const first = round % VARIANTS.length;
  return [...VARIANTS.slice(first), ...VARIANTS.slice(0, first)];
}

/** Calls per second with {@link IN_FLIGHT} calls always under way. */
async function inFlight(carrier: Carrier, size: number, forSeconds: number): Promise<number> {
  const from = performance.now();
  const until = from + forSeconds * 1_000;
  let done = 0;
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      while (performance.now() < until) {
        check(await carrier.call(size), size);
        done++;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - from);
}

/** An answer that is too short is an error, and would flatter whoever gives it. */
function check(bytes: number, size: number): void {
  if (bytes < size) throw new Error(`An answer has ${bytes} bytes instead of ${size}.`);
}

function report(results: ReadonlyMap<number, ReadonlyMap<Variant, Measured>>): number {
  const rows: string[][] = [['result', 'way', 'p50 ms', 'p99 ms', 'added p50', '/ proxy', 'calls/s', '/ proxy']];
  const targets: { readonly name: string; readonly met: boolean }[] = [];
  for (const [size, measured] of results) {
    const p50 = (variant: Variant): number => percentile(measured.get(variant)!.times, 0.5);
    const added = (variant: Variant): number => p50(variant) - p50('direct');
    const rate = (variant: Variant): number =>
      percentile(
        measured.get(variant)!.rates.toSorted((a, b) => a - b),
        0.5,
      );
    for (const variant of VARIANTS) {
      const proxied = variant !== 'direct';
      rows.push([
        variant === 'direct' ? sizeName(size) : '',
        variant,
        p50(variant).toFixed(3),
        percentile(measured.get(variant)!.times, 0.99).toFixed(3),
        proxied ? added(variant).toFixed(3) : '',
        proxied && variant !== 'proxy' ? `${(added(variant) / added('proxy')).toFixed(2)}x` : '',
        rate(variant).toFixed(0),
        proxied && variant !== 'proxy' ? `${(rate(variant) / rate('proxy')).toFixed(2)}x` : '',
      ]);
    }
    if (!TARGET_SIZES.includes(size)) continue;
    const ratio = added('tunnel') / added('proxy');
    targets.push({
      name: `${sizeName(size)}: tunnel adds ${ratio.toFixed(2)}x what the do-nothing proxy adds (p50, at most ${MAX_ADDED_RATIO}x)`,
      met: ratio <= MAX_ADDED_RATIO,
    });
    const rateRatio = rate('tunnel') / rate('proxy');
    targets.push({
      name: `${sizeName(size)}: tunnel keeps ${rateRatio.toFixed(2)}x of the proxy's calls per second (at least ${MIN_RATE_RATIO}x)`,
      met: rateRatio >= MIN_RATE_RATIO,
    });
  }
  printTable(rows);
  console.log();
  for (const { name, met } of targets) console.log(`${met ? 'PASS' : 'MISS'}  ${name}`);
  return options.strict && targets.some(({ met }) => !met) ? 1 : 0;
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows)
    console.log(row.map((cell, column) => (column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  '));
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

function sizeName(bytes: number): string {
  return bytes >= KIB * KIB ? `${bytes / KIB / KIB} MB` : `${bytes / KIB} KB`;
}

process.exitCode = await main();
