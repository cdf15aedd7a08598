/**
 * What the tunnel costs, in one run: direct, through a do-nothing Node proxy, through the tunnel over its socket, through the tunnel over
 * the bridge. Rounds are interleaved, so that whatever else the machine does hits all alike. Every part is a process of its own; this one
 * only makes the load.
 *
 *     npm run bench -- [--only calls,streams,flight,idle,inspect,injection] [--rounds 12] [--sizes 1024,10240] [--seconds 0.3] [--stream-mb 50] [--idle 1000] [--strict]
 *
 * `calls`: added time and calls per second, by the size of the result. `streams`: the first event, and a large stream. `flight`: 1, 32 and 256
 * calls in flight. `idle`: memory of a session that only listens. `inspect`: what the search for
 * secrets costs by itself, with everything on and 200 vault secrets. `injection`: what a warm
 * credential adds. `--strict` makes a missed target the exit code 1.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { compiledTextScan } from '../scripts/textScan.ts';
import { openBridge, openHttp, type Carrier } from './clients.ts';
import { measureFlight } from './flight.ts';
import { measureIdle } from './idle.ts';
import { measureInspection } from './inspect.ts';
import { measureInjection } from './injection.ts';
import { Parts, WAYS } from './parts.ts';
import { KIB, median, MIB, percentile, printTable, rotated, sizeName, type Target } from './report.ts';
import { measureStreams } from './streams.ts';

const IN_FLIGHT = 32;
/** Calls per variant and round, by size: about as many bytes as are pleasant to wait for. */
const CALLS = new Map([
  [KIB, 200],
  [10 * KIB, 200],
  [100 * KIB, 80],
  [MIB, 20],
]);
const DEFAULT_CALLS = 50;
/** Turns of each way in a round, where calls follow one another: which processes share a core changes from turn to turn, and counts for much. */
const TURNS = 3;
/** Before anything is counted, per variant: calls one after the other, then seconds with all in flight. Once for all, and for each size. */
const WARM_UP = { first: { calls: 1_500, seconds: 1.5 }, size: { calls: 100, seconds: 0.2 } };
/** Issue 2: added time at these sizes, against what the do-nothing proxy adds; and calls per second against the proxy's. */
const TARGET_SIZES = [KIB, 10 * KIB];
const MAX_ADDED_RATIO = 2;
const MIN_RATE_RATIO = 0.5;
const PARTS = ['calls', 'streams', 'flight', 'idle', 'inspect', 'injection'];

type Variant = 'direct' | 'proxy' | 'tunnel' | 'bridge';
const VARIANTS: readonly Variant[] = ['direct', 'proxy', 'tunnel', 'bridge'];

interface Measured {
  /** Milliseconds. */
  readonly times: number[];
  /** Calls per second with {@link IN_FLIGHT} in flight, one number per round. */
  readonly rates: number[];
}

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: PARTS.join(',') },
    rounds: { type: 'string', default: '12' },
    sizes: { type: 'string', default: [...CALLS.keys()].join(',') },
    seconds: { type: 'string', default: '0.3' },
    'stream-mb': { type: 'string', default: '50' },
    idle: { type: 'string', default: '1000' },
    strict: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seconds = Number(options.seconds);
const sizes = options.sizes.split(',').map(Number);
const only = options.only.split(',');
const unknown = only.filter((name) => !PARTS.includes(name));
if (unknown.length > 0) throw new Error(`There is no part ${unknown.join(', ')}; there are ${PARTS.join(', ')}.`);

async function main(): Promise<number> {
  compiledTextScan();
  if (only.length === 1 && only[0] === 'inspect') return judge(await measureInspection(rounds));
  const parts = await new Parts().start();
  const carriers = new Map<Variant, Carrier>();
  const targets: Target[] = [];
  try {
    console.log(
      `${rounds} interleaved rounds, calls/s with ${IN_FLIGHT} in flight (median of ${rounds} times ${seconds} s), ${availableParallelism()} cores, Node ${process.versions.node}\n`,
    );
    if (only.includes('calls') || only.includes('flight')) {
      for (const way of WAYS) carriers.set(way, await openHttp(parts.route(way)));
      carriers.set('bridge', await openBridge(await bundleBridge(parts.folder), parts.bridgeArgs));
    }
    if (only.includes('calls')) {
      for (const carrier of carriers.values()) await warmUp(carrier, 10 * KIB, WARM_UP.first);
      const results = new Map<number, Map<Variant, Measured>>();
      for (const size of sizes) results.set(size, await measure(size, carriers));
      targets.push(...report(results));
    }
    if (only.includes('streams')) targets.push(...(await measureStreams(parts, rounds, Number(options['stream-mb']) * MIB)));
    if (only.includes('flight')) targets.push(...(await measureFlight(parts, carriers, rounds, seconds)));
    if (only.includes('injection')) targets.push(...(await measureInjection(rounds)));
    // Last: afterwards the tunnel's process holds what these sessions left to be collected.
    if (only.includes('idle')) targets.push(...(await measureIdle(parts, Number(options.idle))));
    if (only.includes('inspect')) targets.push(...(await measureInspection(rounds)));
  } finally {
    for (const carrier of carriers.values()) carrier.close();
    parts.close();
  }
  return judge(targets);
}

function judge(targets: readonly Target[]): number {
  console.log();
  for (const { name, met } of targets) console.log(`${met ? 'PASS' : 'MISS'}  ${name}`);
  return options.strict && targets.some(({ met }) => !met) ? 1 : 0;
}

/** The bridge as it is shipped: one file. */
async function bundleBridge(folder: string): Promise<string> {
  const outfile = join(folder, 'bridge.cjs');
  await build({
    entryPoints: [join(import.meta.dirname, '../src/bridge/main.ts')],
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    outfile,
  });
  return outfile;
}

async function measure(size: number, carriers: ReadonlyMap<Variant, Carrier>): Promise<Map<Variant, Measured>> {
  const measured = new Map(VARIANTS.map((variant): [Variant, Measured] => [variant, { times: [], rates: [] }]));
  const of = (variant: Variant): [Carrier, Measured] => [carriers.get(variant)!, measured.get(variant)!];
  for (const carrier of carriers.values()) await warmUp(carrier, size, WARM_UP.size);
  const calls = CALLS.get(size) ?? DEFAULT_CALLS;
  for (let round = 0; round < rounds * TURNS; round++) {
    for (const variant of rotated(VARIANTS, round)) {
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
    for (const variant of rotated(VARIANTS, round)) {
      const [carrier, { rates }] = of(variant);
      rates.push(await inFlight(carrier, size, seconds));
    }
  }
  return measured;
}

/** Lets compilers and connections settle. */
async function warmUp(carrier: Carrier, size: number, amount: { readonly calls: number; readonly seconds: number }): Promise<void> {
  for (let i = 0; i < amount.calls; i++) check(await carrier.call(size), size);
  await inFlight(carrier, size, amount.seconds);
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

function report(results: ReadonlyMap<number, ReadonlyMap<Variant, Measured>>): Target[] {
  const rows: string[][] = [['result', 'way', 'p50 ms', 'p99 ms', 'added p50', '/ proxy', 'calls/s', '/ proxy']];
  const targets: Target[] = [];
  for (const [size, measured] of results) {
    const p50 = (variant: Variant): number => median(measured.get(variant)!.times);
    const added = (variant: Variant): number => p50(variant) - p50('direct');
    const rate = (variant: Variant): number => median(measured.get(variant)!.rates);
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
  return targets;
}

process.exitCode = await main();
