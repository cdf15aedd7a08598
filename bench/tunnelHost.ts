/**
 * The tunnel with everything on, in a process of its own: credential, decision, record, inspection. Arguments: upstream URL, secret. On a
 * line `state` on stdin it says how it is doing, on `token` it lets in another client.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { startTunnel } from '../src/tunnel/index.ts';
import type { TunnelState } from './parts.ts';

/** How often the event loop is looked at, milliseconds. */
const RESOLUTION_MS = 1;
const SETTLE_MS = 20;

const [, , url = '', secret = ''] = process.argv;
const tunnel = await startTunnel({ upstream: { url }, auth: { placement: { kind: 'bearer' }, value: secret }, access: 'everything' });
const { socketPath, path, token, serverId, runtimeFolder, capabilityStem } = tunnel;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();
console.log(JSON.stringify({ socketPath, path, token, serverId, runtimeFolder, capabilityStem }));

const orders = createInterface({ input: process.stdin });
orders.on('line', (order) => {
  if (order === 'token') {
    console.log(JSON.stringify({ token: tunnel.tunnel.issue(serverId, 'agent', 'own').token }));
    return;
  }
  // What it measures is the time between two looks.
  const stallMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
  // The second one takes what the first one has only queued: weak references, buffers.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  // The collections' own stall is seen at the next look; it is none of the tunnel's.
  setTimeout(() => {
    delay.reset();
    console.log(JSON.stringify({ rss, memory: heapUsed + external, stallMs } satisfies TunnelState));
  }, SETTLE_MS);
});
orders.once('close', () => void tunnel.close().then(() => process.exit(0)));
