import type { Carrier } from './clients.ts';
import type { Parts } from './parts.ts';
import { KIB, median, percentile, printTable, rotated, sizeName, type Target } from './report.ts';

/** Calls under way at the same time, and the size of what they fetch. */
const IN_FLIGHT = [1, 32, 256];
const RESULT_BYTES = KIB;
/** Issue 3: with so many in flight the tunnel's event loop never stands still for longer, milliseconds. */
const STALL_AT = 256;
const MAX_STALL_MS = 50;
const WARM_UP_SECONDS = 1;

interface Flown {
  readonly rates: number[];
  readonly times: number[];
}

/** Keeps `inFlight` calls under way for a while. */
async function fly(carrier: Carrier, inFlight: number, seconds: number, into?: Flown): Promise<void> {
  const from = performance.now();
  const until = from + seconds * 1_000;
  let done = 0;
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (performance.now() < until) {
        const began = performance.now();
        const bytes = await carrier.call(RESULT_BYTES);
        if (bytes < RESULT_BYTES) throw new Error(`An answer has ${bytes} bytes.`);
        into?.times.push(performance.now() - began);
        done++;
      }
    }),
  );
  into?.rates.push((done * 1_000) / (performance.now() - from));
}

/** Measures calls per second and waiting times by the number of calls in flight, and how long the tunnel's event loop stands still. */
export async function measureFlight(
  parts: Parts,
  carriers: ReadonlyMap<string, Carrier>,
  rounds: number,
  seconds: number,
): Promise<Target[]> {
  const names = [...carriers.keys()];
  const rows: string[][] = [['in flight', 'way', 'calls/s', '/ proxy', 'p50 ms', 'p99 ms', 'longest stall ms']];
  const targets: Target[] = [];
  for (const inFlight of IN_FLIGHT) {
    const flown = new Map(names.map((name): [string, Flown] => [name, { rates: [], times: [] }]));
    let stallMs = 0;
    for (const name of names) await fly(carriers.get(name)!, inFlight, WARM_UP_SECONDS);
    for (let round = 0; round < rounds; round++)
      for (const name of rotated(names, round)) {
        if (name === 'tunnel') await parts.tunnelState();
        await fly(carriers.get(name)!, inFlight, seconds, flown.get(name));
        if (name === 'tunnel') stallMs = Math.max(stallMs, (await parts.tunnelState()).stallMs);
      }
    const rate = (name: string): number => median(flown.get(name)!.rates);
    for (const name of names)
      rows.push([
        name === names[0] ? String(inFlight) : '',
        name,
        rate(name).toFixed(0),
        name === 'direct' || name === 'proxy' ? '' : `${(rate(name) / rate('proxy')).toFixed(2)}x`,
        median(flown.get(name)!.times).toFixed(3),
        percentile(flown.get(name)!.times, 0.99).toFixed(3),
        name === 'tunnel' ? stallMs.toFixed(1) : '',
      ]);
    if (inFlight === STALL_AT)
      targets.push({
        name: `${STALL_AT} in flight: the tunnel's event loop stands still for ${stallMs.toFixed(1)} ms at the longest (below ${MAX_STALL_MS} ms)`,
        met: stallMs < MAX_STALL_MS,
      });
  }
  console.log(`\nCalls in flight, results of ${sizeName(RESULT_BYTES)}\n`);
  printTable(rows);
  return targets;
}
