import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { callsOn } from '../support/tunnels.ts';
import { EverythingServer } from './bridgePeers.ts';
import { peerV1 } from './peers.ts';

const require = createRequire(import.meta.url);
/** Programs of other projects start slowly. */
const PROGRAM_MS = 240_000;
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const textOf = (result: unknown): string => (result as CallToolResult).content.map((c) => (c.type === 'text' ? c.text : '')).join('\n');

/** A program's file in a package, whether or not the package exports it. */
function fileIn(packageName: string, file: string): string {
  return join(dirname(require.resolve(`${packageName}/package.json`)), file);
}

describe('the MCP Inspector’s command line', function () {
  this.timeout(PROGRAM_MS);
  let server: EverythingServer;
  let tunnel: HeadlessTunnel;
  let home: string;

  /** Runs it; gives what it prints, as JSON. */
  const inspect = async (args: readonly string[]): Promise<Record<string, unknown>> => {
    const program = fileIn('@modelcontextprotocol/inspector', 'clients/launcher/build/index.js');
    const said = await new Promise<string>((resolve, reject) => {
      const child = execFile(
        process.execPath,
        [program, '--cli', ...args],
        // A home of its own: it keeps a catalogue there.
        { timeout: PROGRAM_MS, env: { PATH: process.env['PATH'], HOME: home, NO_COLOR: '1' } },
        (error, stdout, stderr) => (error ? reject(new Error(`${error.message}\n${stdout}\n${stderr}`)) : resolve(stdout)),
      );
      child.stdin?.end();
    });
    return JSON.parse(said) as Record<string, unknown>;
  };

  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'cv-home-'));
    server = await new EverythingServer().start();
    tunnel = await startTunnel({ upstream: { url: server.url, label: 'Everything' }, listen: { kind: 'loopback', port: 0 } });
  });
  after(async () => {
    await tunnel.close();
    await server.stop();
    rmSync(home, { recursive: true, force: true, maxRetries: 3 });
  });

  const ways: readonly (readonly [string, () => string[]])[] = [
    [
      'the loopback listener',
      () => [`${tunnel.url ?? ''}${tunnel.path}`, '--transport', 'http', '--header', `Authorization: Bearer ${tunnel.token}`],
    ],
    [
      'the bridge',
      () => {
        const bridge = join(import.meta.dirname, '../../src/bridge/main.ts');
        const { serverId, capabilityStem, runtimeFolder } = tunnel;
        const args = [bridge, '--server', serverId, '--capability', capabilityStem, '--runtime', runtimeFolder];
        const config = join(home, 'servers.json');
        writeFileSync(config, JSON.stringify({ mcpServers: { everything: { command: process.execPath, args } } }));
        return ['--config', config, '--server', 'everything'];
      },
    ],
  ];
  for (const [name, target] of ways)
    it(`lists, calls and reads through ${name}`, async () => {
      const on = (...args: string[]): string[] => [...target(), ...args];
      const { tools } = (await inspect(on('--method', 'tools/list'))) as { tools: { name: string }[] };
      assert.ok(tools.some((t) => t.name === 'get-sum'));
      const called = await inspect(on('--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'message=größe'));
      assert.equal(textOf(called), 'Echo: größe');
      const { resources } = (await inspect(on('--method', 'resources/list'))) as { resources: { uri: string }[] };
      const read = await inspect(on('--method', 'resources/read', '--uri', resources[0]!.uri));
      assert.ok((read as { contents: unknown[] }).contents.length > 0);
      assert.ok(callsOn(tunnel).some((c) => c.intent.tool === 'echo' && c.outcome?.result === 'ok'));
    });
});

describe('Playwright’s MCP server', function () {
  this.timeout(PROGRAM_MS);
  const browser = BROWSERS.find((file) => existsSync(file));
  let child: ChildProcess;
  let tunnel: HeadlessTunnel;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cv-playwright-'));
    const args = ['--port', '0', '--host', '127.0.0.1', '--headless', '--isolated', '--no-sandbox', '--output-dir', folder];
    child = spawn(process.execPath, [fileIn('@playwright/mcp', 'cli.js'), ...args, ...(browser ? ['--executable-path', browser] : [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: folder,
    });
    let said = '';
    const url = await new Promise<string>((resolve, reject) => {
      const onText = (text: Buffer): void => {
        said += text.toString();
        const at = /Listening on (http:\/\/\S+)/.exec(said)?.[1];
        if (at !== undefined) resolve(at);
      };
      child.stdout?.on('data', onText);
      child.stderr?.on('data', onText);
      child.once('exit', () => reject(new Error(`Playwright’s server ended: ${said}`)));
    });
    tunnel = await startTunnel({ upstream: { url: new URL('/mcp', url).href, label: 'Playwright' } });
  });
  after(async () => {
    await tunnel.close();
    child.removeAllListeners('exit');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  it('lists its tools', async () => {
    const peer = await peerV1(tunnel, {});
    const { tools } = (await peer.request('tools/list')) as unknown as { tools: { name: string }[] };
    assert.ok(tools.length > 15, `${tools.length} tools`);
    assert.ok(tools.some((t) => t.name === 'browser_navigate'));
    await peer.terminate();
    await peer.close();
  });

  it('drives a browser', async function () {
    // Said by CI too, which installs one.
    if (browser === undefined) this.skip();
    const page = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      response.end('<title>Größe</title><button onclick="this.textContent=\'pressed\'">press me</button>');
    });
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve));
    const peer = await peerV1(tunnel, {});
    try {
      const call = async (name: string, args: Record<string, unknown> = {}): Promise<CallToolResult> =>
        (await peer.request('tools/call', { name, arguments: args })) as unknown as CallToolResult;
      const url = `http://127.0.0.1:${(page.address() as AddressInfo).port}/`;
      assert.match(textOf(await call('browser_navigate', { url })), /Größe/);
      const seen = textOf(await call('browser_snapshot'));
      const target = /button "press me".*\[ref=(\w+)\]/.exec(seen)?.[1];
      assert.ok(target, seen);
      await call('browser_click', { element: 'the button', target, ref: target });
      assert.match(textOf(await call('browser_snapshot')), /button "pressed"/);
      const picture = (await call('browser_take_screenshot', { type: 'png' })).content.find((c) => c.type === 'image');
      assert.ok(picture && picture.data.length > 1_000);
      await call('browser_close');
    } finally {
      await peer.terminate();
      await peer.close();
      page.closeAllConnections();
      await new Promise((resolve) => page.close(resolve));
    }
    assert.ok(callsOn(tunnel).some((c) => c.intent.tool === 'browser_click' && c.outcome?.result === 'ok'));
  });
});
