import { Stop } from '../src/common/stop.ts';
import type { Placement } from '../src/credentials/credential.ts';
import { bindingOf, type Server } from '../src/mcp/server.ts';
import { readMessage } from '../src/mcp/message.ts';
import { startTunnel } from '../src/tunnel/index.ts';
import { addCredentials, finish } from '../src/tunnel/credentialing.ts';
import type { Passage } from '../src/tunnel/passage.ts';
import { median, percentile, printTable, type Target } from './report.ts';

/** Issue 8: what a warm credential may add to a call, microseconds. */
const MAX_ADDED_US = 20;
const CALLS = 20_000;
const WARM_UP = 5_000;
/** Calls that are timed together: one alone is shorter than the clock is exact. */
const BATCH = 100;

const PLACEMENTS: Readonly<Record<string, Placement | undefined>> = {
  none: undefined,
  bearer: { kind: 'bearer' },
  query: { kind: 'query', name: 'key' },
  'argument, none in the call': { kind: 'argument', placeholder: 'db', places: [{ tool: 'connect', argument: '/password' }] },
  'AWS signature of 10 KB': {
    kind: 'aws-sigv4',
    region: 'eu-central-1',
    service: 'service',
    accessKeyId: 'AKIDAKIDAKIDAKID',
  },
};

/** Measures stage 6 by itself, as the pipeline calls it: the values are known, nothing is sent. */
export async function measureInjection(rounds: number): Promise<Target[]> {
  const rows: string[][] = [['injection', '', 'p50 µs', 'p99 µs']];
  const targets: Target[] = [];
  const body = Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'connect', arguments: { text: 'x'.repeat(10_000) } } }),
  );
  const read = readMessage(body);
  if (!read.ok) throw new Error(read.reason);
  for (const [name, placement] of Object.entries(PLACEMENTS)) {
    const tunnel = await startTunnel({
      upstream: { url: 'http://127.0.0.1:9/mcp' },
      ...(placement ? { auth: { placement, value: ['sk', 'bench', 'v'.repeat(24)].join('-') } } : {}),
    });
    try {
      const { core } = tunnel;
      const server = core.servers.get(tunnel.serverId) as Server;
      bindingOf(server.upstream);
      const x = { server, message: read.message, httpMethod: 'POST', end: new Stop() } as unknown as Passage;
      const headers = { 'content-type': 'application/json' };
      const once = async () => {
        await addCredentials(x, core, headers);
        await finish(x, core, body, () => 1_700_000_000_000);
      };
      for (let i = 0; i < WARM_UP; i++) await once();
      const times: number[] = [];
      for (let i = 0; i < (CALLS * rounds) / 12; i += BATCH) {
        const from = performance.now();
        for (let n = 0; n < BATCH; n++) await once();
        times.push(((performance.now() - from) * 1_000) / BATCH);
      }
      rows.push(['', name, median(times).toFixed(2), percentile(times, 0.99).toFixed(2)]);
      if (name === 'bearer')
        targets.push({
          name: `injection adds ${median(times).toFixed(1)} µs (at most ${MAX_ADDED_US})`,
          met: median(times) <= MAX_ADDED_US,
        });
    } finally {
      await tunnel.close();
    }
  }
  printTable(rows);
  return targets;
}
