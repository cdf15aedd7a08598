import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client as ModernClient } from '@modelcontextprotocol/client';
import { StdioClientTransport as ModernTransport } from '@modelcontextprotocol/client/stdio';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
  type ClientCapabilities,
} from '@modelcontextprotocol/sdk/types.js';
import { build } from 'esbuild';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { FakeWindow, forwardTo, json, RuntimeFolder, SERVER, type Handler } from '../unit/bridge/fakeWindow.ts';
import { EverythingServer, ModernServer } from './bridgePeers.ts';

interface Wire {
  readonly id?: unknown;
  readonly method?: string;
  readonly result?: Record<string, unknown>;
  readonly error?: { code: number; message: string };
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content.map((block) => block.text).join('');

describe('bridge process', function () {
  this.timeout(120_000);

  let out: string;
  let bundle: string;
  let folder: RuntimeFolder;
  let window: FakeWindow;

  const args = (): string[] => [bundle, '--server', SERVER, '--runtime', folder.path];
  const open = async (handler: Handler): Promise<FakeWindow> => (window = await new FakeWindow(folder, handler).open());
  const restart = async (): Promise<void> => {
    const { handler } = window;
    await window.kill();
    await open(handler);
  };

  before(async () => {
    out = mkdtempSync(join(tmpdir(), 'culvert-bundle-'));
    bundle = join(out, 'bridge.cjs');
    await build({
      entryPoints: [join(import.meta.dirname, '../../src/bridge/main.ts')],
      bundle: true,
      minify: true,
      platform: 'node',
      format: 'cjs',
      target: 'node20',
      outfile: bundle,
    });
  });
  after(() => rmSync(out, { recursive: true, force: true }));
  beforeEach(() => {
    folder = new RuntimeFolder();
    window = new FakeWindow(folder, () => undefined);
  });
  afterEach(async () => {
    await window.kill();
    folder.dispose();
  });

  it('is small', () => {
    assert.ok(readFileSync(bundle).length < 25 * 1024, String(readFileSync(bundle).length));
  });

  /** The bridge with bare pipes. */
  class Bare {
    readonly lines: string[] = [];
    readonly #messages: Wire[] = [];
    errors = '';
    readonly child: ChildProcess;
    readonly exited: Promise<number | null>;
    #waiting: (() => void)[] = [];

    constructor(more: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
      this.child = spawn(process.execPath, [...args(), ...more], {
        env: { ...process.env, ...env, ELECTRON_RUN_AS_NODE: '1' },
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      this.exited = once(this.child, 'exit').then(([code]) => code as number | null);
      let rest = '';
      this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        const parts = (rest + text).split('\n');
        rest = parts.pop() ?? '';
        this.lines.push(...parts);
        this.#messages.push(...parts.map((line) => JSON.parse(line) as Wire));
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const look of waiting) look();
      });
      this.child.stderr?.on('data', (text: Buffer) => (this.errors += text.toString()));
    }

    write(text: string | Buffer): void {
      this.child.stdin?.write(text);
    }

    send(message: object): void {
      this.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
    }

    async message(fits: (message: Wire) => boolean): Promise<Wire> {
      for (;;) {
        const found = this.#messages.find(fits);
        if (found) return found;
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
    }

    answer(id: unknown): Promise<Wire> {
      return this.message((message) => message.id === id && message.method === undefined);
    }

    async end(): Promise<number | null> {
      this.child.stdin?.end();
      return this.exited;
    }
  }

  const echo: Handler = (seen, response) => {
    if (seen.body.length === 0) {
      response.writeHead(405).end();
      return;
    }
    const { id, method, params } = JSON.parse(seen.body.toString()) as { id?: unknown; method: string; params?: unknown };
    if (id === undefined) response.writeHead(202).end();
    else if (method === 'initialize')
      json(
        response,
        { jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'x', version: '1' } } },
        200,
        { 'mcp-session-id': 's' },
      );
    else json(response, { jsonrpc: '2.0', id, result: { params } });
  };

  describe('on its own', () => {
    it('answers in order of arrival of a broken line, and keeps its bytes', async () => {
      await open(echo);
      const bridge = new Bare();
      const line = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"text":"日本語 𝄞 \\u00e9"}}\r\n{"jsonrpc"\n');
      for (const byte of line) bridge.write(Buffer.from([byte]));
      await bridge.answer(1);
      assert.equal((await bridge.message((message) => message.error?.code === -32700)).id, null);
      assert.deepEqual(window.seen[0]?.body, line.subarray(0, line.indexOf('\r')));
      assert.equal(await bridge.end(), 0);
      assert.equal(bridge.errors, '');
    });

    it('carries ten megabytes each way', async () => {
      await open(echo);
      const bridge = new Bare();
      const text = 'é"\\\n'.repeat(2_500_000);
      bridge.send({ id: 'big', method: 'tools/call', params: { text } });
      const { result } = await bridge.answer('big');
      assert.equal((result?.['params'] as { text: string }).text, text);
      await bridge.end();
    });

    it('explains that there is no window, lives on, and finds one later', async () => {
      window.handler = echo;
      const bridge = new Bare();
      bridge.send({ id: 1, method: 'initialize', params: {} });
      const { error } = await bridge.answer(1);
      assert.match(String(error?.message), /Culvert is not running for this server\. Open VS Code/);
      bridge.send({ method: 'notifications/initialized' });
      await window.open();
      bridge.send({ id: 2, method: 'initialize', params: {} });
      assert.ok((await bridge.answer(2)).result);
      assert.equal(bridge.lines.length, 2);
      await bridge.end();
    });

    it('trusts no capability that others can read', async function () {
      if (process.platform === 'win32') this.skip();
      await open(echo);
      const path = join(folder.path, 'capabilities', `${window.stem}.json`);
      chmodSync(path, 0o644);
      const bridge = new Bare();
      bridge.send({ id: 1, method: 'ping' });
      assert.ok((await bridge.answer(1)).error);
      chmodSync(path, 0o600);
      chmodSync(folder.path, 0o711);
      bridge.send({ id: 2, method: 'ping' });
      assert.ok((await bridge.answer(2)).error);
      chmodSync(folder.path, 0o700);
      bridge.send({ id: 3, method: 'ping' });
      assert.ok((await bridge.answer(3)).result);
      assert.equal(window.refused, 0);
      await bridge.end();
    });

    it('takes the capability it is told to, and refuses one that leads elsewhere', async () => {
      await open(echo);
      folder.write('mine', { version: 1, server: SERVER, socket: window.socket, token: window.token, pid: 1, window: 'w', createdAt: 1 });
      const bridge = new Bare(['--capability', 'mine']);
      bridge.send({ id: 1, method: 'ping' });
      assert.ok((await bridge.answer(1)).result);
      await bridge.end();
      for (const wrong of ['../mine', 'a/b', '']) {
        const refused = new Bare(['--capability', wrong]);
        assert.equal(await refused.exited, 2, wrong);
        assert.match(refused.errors, /usage/);
      }
      for (const more of [['--server', '../x'], ['--token', 'x'], ['--capability']])
        assert.equal(await new Bare(more).exited, 2, more.join(' '));
    });

    it('leaves the environment behind, and the token out of everything it prints', async function () {
      if (process.platform !== 'linux') this.skip();
      // The parent hands over a module that looks at the environment once the bridge has started.
      await open((_seen, response) => response.writeHead(401).end());
      const spy = join(out, 'spy.cjs');
      const { writeFileSync } = await import('node:fs');
      writeFileSync(spy, "setTimeout(() => process.stderr.write('ENV:' + JSON.stringify(Object.keys(process.env)) + '\\n'), 300);");
      const bridge = new Bare([], { NODE_OPTIONS: `--require ${spy}`, SOME_API_KEY: 'sk-secret' });
      bridge.send({ id: 1, method: 'tools/call' });
      await bridge.answer(1);
      while (!bridge.errors.includes('ENV:')) await once(bridge.child.stderr ?? assert.fail(), 'data');
      assert.match(bridge.errors, /ENV:\[\]/);
      await bridge.end();
      assert.ok(!(bridge.errors + bridge.lines.join('')).includes(window.token));
    });

    it('ends when stdin ends, and says goodbye to its session', async () => {
      await open(echo);
      const bridge = new Bare();
      bridge.send({ id: 1, method: 'initialize', params: {} });
      await bridge.answer(1);
      bridge.send({ method: 'notifications/initialized' });
      bridge.send({ id: 2, method: 'ping' });
      await bridge.answer(2);
      const start = Date.now();
      assert.equal(await bridge.end(), 0);
      assert.ok(Date.now() - start < 5_000);
      assert.equal(window.seen.at(-1)?.method, 'DELETE');
      assert.equal(window.seen.at(-1)?.headers['mcp-session-id'], 's');
    });

    it('answers what was asked before stdin ended', async () => {
      await open((seen, response, incoming) => void setTimeout(() => echo(seen, response, incoming), 100));
      const bridge = new Bare();
      bridge.send({ id: 1, method: 'tools/call' });
      assert.equal(await bridge.end(), 0);
      assert.equal(bridge.lines.length, 1);
    });

    it('ends when nobody reads its answers any more', async () => {
      await open(echo);
      const bridge = new Bare();
      bridge.child.stdout?.destroy();
      const keep = setInterval(() => bridge.send({ id: 1, method: 'ping' }), 50);
      bridge.child.stdin?.on('error', () => undefined);
      assert.equal(await bridge.exited, 0);
      clearInterval(keep);
    });

    it('ends with its parent, though stdin stays open', async function () {
      if (process.platform === 'win32') this.skip();
      await open(echo);
      // A parent that starts the bridge with our own stdin and dies.
      const script = `const c = require('child_process').spawn(process.execPath, ${JSON.stringify(args())}, { stdio: ['inherit', 'inherit', 'inherit'] }); process.stderr.write('PID:' + c.pid + '\\n'); setTimeout(() => process.exit(0), 200);`;
      const parent = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'pipe'] });
      let said = '';
      parent.stderr.on('data', (text: Buffer) => (said += text.toString()));
      await once(parent, 'exit');
      const pid = Number(/PID:(\d+)/.exec(said)?.[1]);
      const alive = (): boolean => {
        try {
          return process.kill(pid, 0);
        } catch {
          return false;
        }
      };
      const start = Date.now();
      while (alive() && Date.now() - start < 40_000) await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(alive(), false);
      parent.stdin.destroy();
    });

    it('pauses a flood on stdin while the tunnel stands still', async () => {
      const held: (() => void)[] = [];
      // A request whose body was still on its way when the others were answered meets this handler too.
      let released = false;
      await open((seen, response, incoming) => {
        if (released) echo(seen, response, incoming);
        else held.push(() => echo(seen, response, incoming));
      });
      const bridge = new Bare();
      bridge.send({ id: 0, method: 'initialize', params: {} });
      const text = 'x'.repeat(1_000_000);
      let taken = 0;
      for (let id = 1; id <= 60; id++)
        bridge.child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { text } })}\n`, () => taken++);
      while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.ok(taken < 30, `${taken} of 60 megabytes were taken`);
      released = true;
      for (const answer of held) answer();
      await bridge.answer(60);
      await bridge.end();
    }).timeout(180_000);
  });

  describe('with the SDK v1 client and server-everything', () => {
    let everything: EverythingServer;
    let client: Client;

    before(async () => {
      everything = await new EverythingServer().start();
    });
    after(() => everything.stop());
    beforeEach(async () => {
      await open(forwardTo(everything.url));
    });
    afterEach(() => client.close());

    const connect = async (capabilities: ClientCapabilities = {}, prepare?: (client: Client) => void): Promise<void> => {
      client = new Client({ name: 'test', version: '1' }, { capabilities });
      prepare?.(client);
      await client.connect(
        new StdioClientTransport({ command: process.execPath, args: args(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
    };

    it('lists, calls, reads, completes', async () => {
      await connect();
      const { tools } = await client.listTools();
      assert.ok(tools.some((tool) => tool.name === 'echo'));
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'grüße 𝄞' } })), 'Echo: grüße 𝄞');
      const { resources } = await client.listResources();
      assert.ok((await client.readResource({ uri: resources[0]?.uri ?? '' })).contents.length > 0);
      const { prompts } = await client.listPrompts();
      assert.ok(prompts.length > 0);
      assert.ok((await client.getPrompt({ name: 'simple-prompt' })).messages.length > 0);
      const { completion } = await client.complete({
        ref: { type: 'ref/prompt', name: 'completable-prompt' },
        argument: { name: 'department', value: 'E' },
      });
      assert.deepEqual(completion.values, ['Engineering']);
      await client.ping();
    });

    it('passes an error of the server', async () => {
      await connect();
      await assert.rejects(client.readResource({ uri: 'demo://nothing/here' }), /not found/i);
    });

    it('reports progress while a call runs', async () => {
      await connect();
      const steps: number[] = [];
      await client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.4, steps: 4 } }, undefined, {
        onprogress: ({ progress }) => void steps.push(progress),
      });
      // The SDK's client forgets the last one if it arrives together with the result.
      assert.deepEqual(steps.slice(0, 3), [1, 2, 3]);
    });

    it('carries sampling, elicitation and roots to the client and back', async () => {
      const asked: string[] = [];
      await connect({ sampling: {}, elicitation: {}, roots: { listChanged: true } }, (made) => {
        made.setRequestHandler(CreateMessageRequestSchema, () => {
          asked.push('sampling');
          return { model: 'scripted', role: 'assistant', content: { type: 'text', text: 'from the agent' } };
        });
        made.setRequestHandler(ElicitRequestSchema, () => {
          asked.push('elicitation');
          return { action: 'accept', content: { name: 'Ada', check: true } };
        });
        made.setRequestHandler(ListRootsRequestSchema, () => {
          asked.push('roots');
          return { roots: [{ uri: 'file:///work', name: 'work' }] };
        });
      });
      assert.match(textOf(await client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'hi' } })), /from the agent/);
      assert.match(textOf(await client.callTool({ name: 'trigger-elicitation-request', arguments: {} })), /Ada/);
      // The server asks for the roots over the session's own stream, a moment after it was initialized.
      while (!asked.includes('roots')) await new Promise((resolve) => setTimeout(resolve, 20));
      assert.match(textOf(await client.callTool({ name: 'get-roots-list', arguments: {} })), /file:\/\/\/work/);
      assert.ok(asked.includes('sampling') && asked.includes('elicitation'));
    });

    it('brings log messages and resource updates over the stream of the session', async () => {
      const logged = new Promise<void>((resolve) => {
        void connect({}, (made) => made.setNotificationHandler(LoggingMessageNotificationSchema, () => resolve())).then(async () => {
          await client.setLoggingLevel('debug');
          await client.callTool({ name: 'toggle-simulated-logging', arguments: {} });
        });
      });
      await logged;
      const updated = new Promise<string>((resolve) =>
        client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => resolve(params.uri)),
      );
      await client.subscribeResource({ uri: 'demo://resource/dynamic/text/1' });
      await client.callTool({ name: 'toggle-subscriber-updates', arguments: {} });
      assert.equal(await updated, 'demo://resource/dynamic/text/1');
    });

    it('cancels a call and goes on', async () => {
      await connect();
      const stop = new AbortController();
      const call = client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 30, steps: 300 } }, undefined, {
        signal: stop.signal,
        onprogress: () => stop.abort('enough'),
      });
      await assert.rejects(call);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'still here' } })), 'Echo: still here');
      assert.ok(window.seen.some((seen) => seen.body.includes('notifications/cancelled')));
    });

    it('survives a restart of the window without the client noticing', async () => {
      await connect();
      await client.listTools();
      const changed = new Promise<void>((resolve) => client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve()));
      await restart();
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'after' } })), 'Echo: after');
      await changed;
      await restart();
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'again' } })), 'Echo: again');
    });

    it('fails a call that was running when the window restarted, and only that', async () => {
      await connect();
      let progressed = (): void => undefined;
      const running = new Promise<void>((resolve) => (progressed = resolve));
      const call = client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 60, steps: 600 } }, undefined, {
        onprogress: () => progressed(),
      });
      const failed = assert.rejects(call, /may or may not have been carried out/);
      await running;
      await restart();
      await failed;
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'on' } })), 'Echo: on');
    });

    it('opens the session again when the server itself restarted', async () => {
      await connect();
      await client.ping();
      await everything.stop();
      everything = await new EverythingServer().start();
      window.handler = forwardTo(everything.url);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'back' } })), 'Echo: back');
    });

    it('runs a hundred calls at once', async () => {
      await connect();
      const results = await Promise.all(
        Array.from({ length: 100 }, (_, i) => client.callTool({ name: 'echo', arguments: { message: `n${i}` } })),
      );
      results.forEach((result, i) => assert.equal(textOf(result), `Echo: n${i}`));
    });
  });

  describe('with the SDK v2 client and server', () => {
    let modern: ModernServer;
    let client: ModernClient;

    beforeEach(async () => {
      modern = await new ModernServer().start();
      await open(forwardTo(modern.url));
    });
    afterEach(async () => {
      await client.close();
      await modern.stop();
    });

    const connect = async (mode: 'auto' | 'legacy' | { pin: string } = { pin: '2026-07-28' }): Promise<void> => {
      client = new ModernClient({ name: 'test', version: '1' }, { capabilities: { elicitation: {} }, versionNegotiation: { mode } });
      client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
      await client.connect(
        new ModernTransport({ command: process.execPath, args: args(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
    };

    it('speaks the modern era, with names and arguments in headers where they belong', async () => {
      await connect();
      assert.ok((await client.listTools()).tools.length >= 5);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'grüße' } })), 'grüße');
      assert.equal((await client.getPrompt({ name: 'größe' })).messages.length, 1);
      assert.equal(textOf(await client.callTool({ name: 'routed', arguments: { region: 'eu-west' } })), 'to eu-west');
      assert.equal(window.seen.at(-1)?.headers['mcp-param-region'], 'eu-west');
      assert.ok(
        window.seen.every((seen) => seen.headers['mcp-protocol-version'] === '2026-07-28' && seen.headers['mcp-session-id'] === undefined),
      );
    });

    it('finds out by itself that a tool wants its arguments in headers', async () => {
      await connect();
      assert.equal(textOf(await client.callTool({ name: 'routed', arguments: { region: 'eu' } })), 'to eu');
    });

    it('reports progress, asks for input by another round', async () => {
      await connect();
      const steps: number[] = [];
      await client.callTool({ name: 'steps', arguments: {} }, { onprogress: ({ progress }) => void steps.push(progress) });
      assert.deepEqual(steps, [1, 2, 3]);
      assert.equal(textOf(await client.callTool({ name: 'ask', arguments: {} })), 'hello Ada');
    });

    it('cancels by closing the stream', async () => {
      await connect();
      const stop = new AbortController();
      const cancelled = new Promise<void>((resolve) => (modern.onCancel = resolve));
      modern.onWait = () => stop.abort('enough');
      await assert.rejects(client.callTool({ name: 'wait', arguments: {} }, { signal: stop.signal }));
      await cancelled;
      assert.ok(!window.seen.some((seen) => seen.body.includes('notifications/cancelled')));
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'on' } })), 'on');
    });

    it('subscribes, hears, and hears of the end', async () => {
      await connect();
      let heard = (): void => undefined;
      const change = new Promise<void>((resolve) => (heard = resolve));
      client.setNotificationHandler('notifications/tools/list_changed', () => heard());
      const subscription = await client.listen({ toolsListChanged: true });
      modern.handler.notify.toolsChanged();
      await change;
      await restart();
      assert.equal(await subscription.closed, 'remote');
      const again = await client.listen({ toolsListChanged: true });
      await again.close();
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'on' } })), 'on');
    });

    it('negotiates, and falls back to the legacy era', async () => {
      await connect('auto');
      assert.equal(client.getProtocolEra(), 'modern');
      await client.close();
      await connect('legacy');
      assert.equal(client.getProtocolEra(), 'legacy');
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'old' } })), 'old');
    });
  });

  describe('with the SDK v2 client and a legacy server', () => {
    let everything: EverythingServer;
    before(async () => {
      everything = await new EverythingServer().start();
    });
    after(() => everything.stop());

    it('probes, falls back, works', async () => {
      await open(forwardTo(everything.url));
      const client = new ModernClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
      await client.connect(
        new ModernTransport({ command: process.execPath, args: args(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
      assert.equal(client.getProtocolEra(), 'legacy');
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'x' } })), 'Echo: x');
      await client.close();
    });
  });

  describe('with the tunnel itself', () => {
    let everything: EverythingServer;
    let state: string;
    let vault: MemorySecretStore;
    let tunnel: HeadlessTunnel;

    const start = async (url = everything.url): Promise<void> => {
      tunnel = await startTunnel({
        upstream: { url },
        auth: { placement: { kind: 'bearer' }, value: 'sk-bridge-0123456789' },
        access: 'everything',
        stateFolder: state,
        vault,
      });
      tunnel.tunnel.issue(tunnel.serverId, 'agent', 'shared');
    };
    const tunnelArgs = (): string[] => [bundle, '--server', tunnel.serverId, '--runtime', tunnel.runtimeFolder];

    before(async () => {
      everything = await new EverythingServer().start();
    });
    after(() => everything.stop());
    beforeEach(() => {
      state = mkdtempSync(join(tmpdir(), 'culvert-state-'));
      vault = new MemorySecretStore();
    });
    afterEach(async () => {
      await tunnel.close();
      rmSync(state, { recursive: true, force: true });
    });

    it('carries an old client, through a restart as well', async () => {
      await start();
      const client = new Client({ name: 'test', version: '1' }, { capabilities: { sampling: {} } });
      client.setRequestHandler(CreateMessageRequestSchema, () => ({
        model: 'scripted',
        role: 'assistant',
        content: { type: 'text', text: 'from the agent' },
      }));
      await client.connect(
        new StdioClientTransport({ command: process.execPath, args: tunnelArgs(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
      assert.ok((await client.listTools()).tools.length > 5);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'through' } })), 'Echo: through');
      assert.match(textOf(await client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'hi' } })), /from the agent/);
      await tunnel.close();
      await start();
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'again' } })), 'Echo: again');
      await client.close();
    });

    it('an old client goes on when the server moves, without the move being seen', async () => {
      const elsewhere = await new EverythingServer().start();
      await start();
      const { core } = tunnel;
      const client = new Client({ name: 'test', version: '1' });
      await client.connect(
        new StdioClientTransport({ command: process.execPath, args: tunnelArgs(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
      const echo = async (message: string) => textOf(await client.callTool({ name: 'echo', arguments: { message } }));
      assert.equal(await echo('here'), 'Echo: here');
      const server = core.servers.get(tunnel.serverId);
      assert.ok(server);
      for (const credential of server.credentials) await core.credentials.rebind(credential, [new URL(elsewhere.url).origin]);
      core.servers.put({ ...server, upstream: { kind: 'http', url: elsewhere.url } });
      // Nothing is left that could answer from the old place.
      await everything.stop();
      try {
        assert.equal(await echo('there'), 'Echo: there');
      } finally {
        await everything.start();
        await client.close();
        await elsewhere.stop();
      }
    });

    it('carries a new client', async () => {
      const modern = await new ModernServer().start();
      await start(modern.url);
      const client = new ModernClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
      await client.connect(
        new ModernTransport({ command: process.execPath, args: tunnelArgs(), env: { ELECTRON_RUN_AS_NODE: '1' }, stderr: 'ignore' }),
      );
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'grüße' } })), 'grüße');
      assert.equal(textOf(await client.callTool({ name: 'routed', arguments: { region: 'eu' } })), 'to eu');
      const stop = new AbortController();
      const cancelled = new Promise<void>((resolve) => (modern.onCancel = resolve));
      modern.onWait = () => stop.abort('enough');
      await assert.rejects(client.callTool({ name: 'wait', arguments: {} }, { signal: stop.signal }));
      await cancelled;
      const subscription = await client.listen({ toolsListChanged: true });
      const changed = new Promise<void>((resolve) => client.setNotificationHandler('notifications/tools/list_changed', () => resolve()));
      modern.handler.notify.toolsChanged();
      await changed;
      await subscription.close();
      await client.close();
      await modern.stop();
    });
  });
});
