import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { HttpRoute } from './clients.ts';

/** The ways that HTTP clients can take to the server. */
export type Way = 'direct' | 'proxy' | 'tunnel';
export const WAYS: readonly Way[] = ['direct', 'proxy', 'tunnel'];

/** What the tunnel's process says about itself. Bytes after a collection; the longest stall since it was last asked, milliseconds. */
export interface TunnelState {
  readonly rss: number;
  /** The heap and what it keeps outside of it. */
  readonly memory: number;
  readonly stallMs: number;
}

/** A script of this folder as a process of its own, which says a line of JSON when it is ready and one for each line it is told. */
class Part {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(script: string, args: readonly string[]) {
    const options = ['--disable-warning=ExperimentalWarning', '--expose-gc'];
    this.#child = spawn(process.execPath, [...options, join(import.meta.dirname, script), ...args], { stdio: 'pipe' });
    this.#child.stderr.pipe(process.stderr);
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async next<T>(): Promise<T> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error(`${this.#child.spawnargs.slice(3).join(' ')} ended before its time.`);
    return JSON.parse(line.value) as T;
  }

  ask<T>(what: string): Promise<T> {
    this.#child.stdin.write(`${what}\n`);
    return this.next<T>();
  }

  end(): void {
    this.#child.stdin.end();
  }
}

/** Server, do-nothing proxy and tunnel, each in its own process. */
export class Parts {
  readonly folder = mkdtempSync(join(tmpdir(), 'culvert-bench-'));
  readonly routes = new Map<Way, HttpRoute>();
  /** Arguments of the bridge. */
  readonly bridgeArgs: string[] = [];
  readonly #parts: Part[] = [];
  #tunnel: Part | undefined;

  async start(): Promise<this> {
    const secret = `sk-bench-${randomBytes(24).toString('base64url')}`;
    const { url = '' } = await this.#run('upstream.ts', secret).next<{ url?: string }>();
    const upstream = new URL(url);
    const { socketPath = '' } = await this.#run('nullProxy.ts', join(this.folder, 'proxy.sock'), url).next<{ socketPath?: string }>();
    this.#tunnel = this.#run('tunnelHost.ts', url, secret);
    const tunnel = await this.#tunnel.next<Record<string, string>>();
    const of = (name: string): string => tunnel[name] ?? '';
    this.routes.set('direct', {
      address: { host: upstream.hostname, port: Number(upstream.port) },
      path: upstream.pathname,
      token: secret,
    });
    this.routes.set('proxy', { address: { socketPath }, path: upstream.pathname, token: secret });
    this.routes.set('tunnel', { address: { socketPath: of('socketPath') }, path: of('path'), token: of('token') });
    this.bridgeArgs.push('--server', of('serverId'), '--capability', of('capabilityStem'), '--runtime', of('runtimeFolder'));
    return this;
  }

  route(way: Way): HttpRoute {
    const route = this.routes.get(way);
    if (!route) throw new Error('The parts are not started.');
    return route;
  }

  /** Memory and stalls of the tunnel's process. */
  async tunnelState(): Promise<TunnelState> {
    if (!this.#tunnel) throw new Error('The parts are not started.');
    return this.#tunnel.ask<TunnelState>('state');
  }

  /** The way through the tunnel for another client than the others. */
  async newClient(): Promise<HttpRoute> {
    if (!this.#tunnel) throw new Error('The parts are not started.');
    return { ...this.route('tunnel'), ...(await this.#tunnel.ask<{ token: string }>('token')) };
  }

  close(): void {
    for (const part of this.#parts) part.end();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #run(script: string, ...args: string[]): Part {
    const part = new Part(script, args);
    this.#parts.push(part);
    return part;
  }
}
