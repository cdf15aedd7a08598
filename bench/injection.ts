import { Stop } from '../src/common/stop.ts';
import type { Placement } from '../src/credentials/credential.ts';
import { bindingOf, type Server } from '../src/mcp/server.ts';
import { readMessage } from '../src/mcp/message.ts';
import { startTunnel } from '../src/tunnel/index.ts';
import { Prover, newProofKey } from '../src/credentials/oauth/dpop.ts';
import { addCredentials, finish } from '../src/tunnel/credentialing.ts';
import type { Passage } from '../src/tunnel/passage.ts';
import { median, percentile, printTable, type Target } from './report.ts';

/** Issue 8: what a warm credential may add to a call, microseconds. */
const MAX_ADDED_US = 20;
/** And a proof of possession (RFC 9449), which is signed for every call, microseconds. */
const MAX_PROOF_US = 200;
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
      const times = await timed(rounds, once);
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
  const proof = await measureProof(rounds);
  rows.push(['', 'DPoP proof', median(proof).toFixed(2), percentile(proof, 0.99).toFixed(2)]);
  targets.push({
    name: `a DPoP proof takes ${median(proof).toFixed(0)} µs (at most ${MAX_PROOF_US})`,
    met: median(proof) <= MAX_PROOF_US,
  });
  printTable(rows);
  return targets;
}

/** A proof for a call, with a token and a nonce, as the source makes it. */
function measureProof(rounds: number): Promise<number[]> {
  const prover = new Prover(newProofKey());
  const url = new URL('https://api.example.com/mcp');
  prover.observe(url, 'nonce-of-the-bench-0123456789');
  const token = ['at', 'bench', 'v'.repeat(40)].join('-');
  return timed(rounds, () => void prover.proof('POST', url, Date.now(), token));
}

/** Microseconds of one call, each measured over {@link BATCH} of them. */
async function timed(rounds: number, once: () => Promise<void> | void): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < (CALLS * rounds) / 12; i += BATCH) {
    const from = performance.now();
    for (let n = 0; n < BATCH; n++) await once();
    times.push(((performance.now() - from) * 1_000) / BATCH);
  }
  return times;
}
