/**
 * The tunnel of the soak, in a process of its own so that its memory and handles are its own: `node --expose-gc tunnelHost.ts <upstream URL>
 * <state folder> <sessions>`. Takes {@link HostOrder} over IPC and answers each.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { startTunnel } from '../../src/tunnel/index.ts';

/** What the host is told. `rotate` puts new tokens in place of the old ones, `revoke` ends everything that holds one and lets all in anew. */
export type HostOrder = 'rotate' | 'revoke' | 'measure' | 'close';

/** Sessions that share a token. */
const SESSIONS_PER_CLIENT = 40;

/** Where clients connect to, and with what. */
export interface Access {
  readonly socketPath: string;
  readonly path: string;
  /** Of each client. */
  readonly tokens: readonly string[];
}

/** Memory after a collection, bytes; and the longest stall of the event loop since the last time, milliseconds. */
export interface Measure {
  readonly heapUsed: number;
  readonly rss: number;
  readonly stallMs: number;
}

/** What is still open after the tunnel has closed. */
export interface Leftover {
  readonly resources: readonly string[];
  readonly files: readonly string[];
  readonly problems: readonly string[];
}

/** How often the event loop is looked at, milliseconds. */
const LOOK_MS = 5;
/** How long closed handles may take to go, milliseconds. */
const SETTLE_MS = 5_000;

/** What keeps this process busy, and its open files. */
function snapshot(): { readonly resources: string[]; readonly files: string[] } {
  let files: string[] = [];
  try {
    files = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        // Sockets and pipes by their kind: their numbers change.
        return [readlinkSync(`/proc/self/fd/${fd}`).replace(/^(\w+):\[\d+\]$/, '$1')];
      } catch {
        return [];
      }
    });
  } catch {
    // No /proc: the resources have to do.
  }
  return { resources: process.getActiveResourcesInfo(), files };
}

/** What is in `after` more often than in `before`. */
function beyond(before: readonly string[], after: readonly string[]): string[] {
  const left = [...before];
  return after.filter((item) => {
    const at = left.indexOf(item);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

const [, , url = '', stateFolder = '', sessions = '1'] = process.argv;
// The channel to the parent is here to stay, and so is what is printed on, which a thread opens.
process.channel?.ref();
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
const before = snapshot();
const tunnel = await startTunnel({
  upstream: { url, label: 'Soak' },
  stateFolder,
  auth: { placement: { kind: 'bearer' }, value: ['sk', 'soak', '4f8a1c77e2b94d05'].join('-') },
});
const delay = monitorEventLoopDelay({ resolution: LOOK_MS });
delay.enable();

const issue = (): { readonly stem: string; readonly token: string } => tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own');
let clients = Array.from({ length: Math.ceil(Number(sessions) / SESSIONS_PER_CLIENT) }, issue);
const access = (): Access => ({ socketPath: tunnel.socketPath ?? '', path: tunnel.path, tokens: clients.map(({ token }) => token) });

async function obey(order: HostOrder): Promise<Access | Measure | Leftover> {
  if (order === 'rotate') {
    clients = clients.map(({ stem }) => ({ stem, token: tunnel.tunnel.rotate(stem) ?? 'none' }));
    return access();
  }
  if (order === 'revoke') {
    tunnel.tunnel.revokeServer(tunnel.serverId);
    clients = clients.map(() => issue());
    return access();
  }
  if (order === 'measure') {
    const stallMs = Math.max(0, delay.max / 1e6 - LOOK_MS);
    globalThis.gc?.();
    // The collection's own stall is seen at the next look; it is none of the tunnel's.
    await pause(2 * LOOK_MS);
    delay.reset();
    const { heapUsed, rss } = process.memoryUsage();
    return { heapUsed, rss, stallMs };
  }
  delay.disable();
  const { problems } = await tunnel.core.audit.verify();
  await tunnel.close();
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const after = snapshot();
    const resources = beyond(before.resources, after.resources);
    const files = beyond(before.files, after.files);
    if ((resources.length === 0 && files.length === 0) || Date.now() > until) return { resources, files, problems };
    await pause(50);
  }
}

process.on('message', (order: HostOrder) => {
  obey(order).then(
    (answer) => process.send?.(answer),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit(0));
process.send?.(access());
