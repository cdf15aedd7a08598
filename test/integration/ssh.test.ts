import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, realpathSync } from 'node:fs';
import http, { type ServerResponse } from 'node:http';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { Client as ModernClient, StreamableHTTPClientTransport as ModernTransport } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { CallToolResult, Progress } from '@modelcontextprotocol/sdk/types.js';
import { systemClock } from '../../src/common/clock.ts';
import { UpstreamError } from '../../src/common/errors.ts';
import type { CommandPlace, UpstreamPlace } from '../../src/mcp/server.ts';
import { ChannelUpstream } from '../../src/upstream/channelUpstream.ts';
import { openUpstream } from '../../src/upstream/open.ts';
import { probe } from '../../src/upstream/probe.ts';
import { SshUpstream } from '../../src/upstream/ssh.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { until } from '../harness/until.ts';
import { fetchThrough, open, over, readUntil, rpc, send, toolCall } from '../support/agent.ts';
import { Notes, confirmed, ended, fixture, isRunning, packaged } from '../support/commands.ts';
import { FakeServer, beginStream, event } from '../support/fakeServer.ts';
import { temporaryFolder } from '../support/folders.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { FarHost, NO_SSHD, freePort } from '../support/sshd.ts';
import { KeptLog } from '../support/tunnels.ts';
import { EverythingServer } from './bridgePeers.ts';

const NOWHERE = new URL('http://localhost/mcp');
const textOf = (result: unknown) => (result as CallToolResult).content.map((c) => (c.type === 'text' ? c.text : '')).join('\n');

describe(`over SSH${NO_SSHD === undefined ? '' : ` (not run: ${NO_SSHD})`}`, function () {
  this.timeout(120_000);
  let far: FarHost;
  let log: KeptLog;
  let notes: Notes;
  const path = process.env['PATH'];
  const tunnels: HeadlessTunnel[] = [];
  const upstreams: (ChannelUpstream | SshUpstream)[] = [];
  before(async function () {
    if (NO_SSHD !== undefined) this.skip();
    far = await new FarHost().start();
    process.env['PATH'] = [far.bin, path].join(delimiter);
  });
  after(async () => {
    process.env['PATH'] = path;
    if (NO_SSHD === undefined) await far.stop();
  });
  beforeEach(() => {
    log = new KeptLog();
    notes = new Notes();
  });
  afterEach(async () => {
    for (const tunnel of tunnels.splice(0)) await tunnel.close();
    for (const upstream of upstreams.splice(0)) {
      upstream.dispose();
      await upstream.settled();
    }
    await ended([...notes.lines().flatMap((line) => (line.startsWith('pid ') ? [Number(line.slice(4))] : [])), ...sshProcesses()]);
    notes.remove();
  });

  /** The `ssh` processes of this test. */
  const sshProcesses = () => log.lines.flatMap((line) => /started .*\(process (\d+)\)/.exec(line)?.[1] ?? []).map(Number);
  const tunnelTo = async (place: UpstreamPlace, options: Partial<Parameters<typeof startTunnel>[0]> = {}): Promise<HeadlessTunnel> => {
    const tunnel = await startTunnel({ upstream: { place, label: 'Far' }, logger: log, ...options });
    tunnels.push(tunnel);
    return tunnel;
  };
  const upstreamTo = (place: UpstreamPlace, ssh = far.program): ChannelUpstream | SshUpstream => {
    const upstream = openUpstream(
      { label: 'Far', upstream: place },
      { proxies: {}, logger: log, clock: systemClock, clientKey: async () => undefined, redact: (text) => text, ssh },
    );
    assert.ok(upstream instanceof ChannelUpstream || upstream instanceof SshUpstream);
    upstreams.push(upstream);
    return upstream;
  };
  const clientOf = async (tunnel: HeadlessTunnel): Promise<Client> => {
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(NOWHERE, { fetch: fetchThrough(tunnel) }));
    return client;
  };
  const failureOf = async (place: UpstreamPlace) =>
    (await send(await tunnelTo(place), { body: rpc('initialize') })).json().error?.message ?? '';
  const post = (url: string, body: unknown, signal = new AbortController().signal) => ({
    method: 'POST' as const,
    url: new URL(url),
    headers: { accept: 'application/json, text/event-stream', 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(body)),
    signal,
  });
  const onFarHost = (place: CommandPlace, ssh = 'devbox') => confirmed({ ...place, ssh });

  describe('a command', () => {
    it('runs there with exact arguments, folder and variables', async () => {
      const folder = temporaryFolder();
      const inner = join(folder.path, "it's $HOME");
      mkdirSync(inner);
      const strange = ['a b', '$HOME', '`id`', "it's", '"q"', '', '\\n', 'ä😀', ';', '-x'];
      const value = `${madeUpSecret()} '$x'\\`;
      const place = confirmed({
        ...fixture('stdioPeer.ts', 'good', notes.path, ...strange),
        ssh: 'devbox',
        folder: inner,
        environment: { PLAIN: 'x  $y' },
      });
      const upstream = upstreamTo(place);
      const environment = { PEER_TOKEN: value };
      const begun = await upstream.send({ ...post('stdio:', rpc('initialize')), environment });
      const session = { 'mcp-session-id': String(begun.headers['mcp-session-id']) };
      const got = await upstream.send({ ...post('stdio:', toolCall('environment')), headers: session, environment });
      const { result } = JSON.parse((await got.body.collect(1e6))!.toString()) as {
        result: { structuredContent: { environment: Record<string, string>; folder: string; args: string[]; pid: number } };
      };
      const seen = result.structuredContent;
      assert.deepEqual(seen.args.slice(2), strange);
      assert.equal(realpathSync(seen.folder), realpathSync(inner));
      assert.equal(seen.environment['PLAIN'], 'x  $y');
      assert.equal(seen.environment['PEER_TOKEN'], value);
      assert.deepEqual(
        Object.keys(seen.environment).filter((name) => /culvert/i.test(name)),
        [],
      );
      // Not in any list of processes, here or there, and in no other environment.
      assert.deepEqual(tracesIn(spawnSync('ps', ['-ww', '-eo', 'args']).stdout, value), []);
      for (const pid of sshProcesses()) assert.deepEqual(tracesIn(readFileSync(`/proc/${pid}/environ`), value), []);
      assert.deepEqual(tracesIn(log.lines.join('\n'), value), []);
      upstream.dispose();
      await upstream.settled();
      await ended([seen.pid]);
      folder.remove();
    });

    it('serves an SDK client through the tunnel', async () => {
      const tunnel = await tunnelTo(onFarHost(packaged('@modelcontextprotocol/server-everything/dist/index.js', 'stdio')));
      const client = await clientOf(tunnel);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'größe' } })), 'Echo: größe');
      const seen: Progress[] = [];
      await client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 2 } }, undefined, {
        onprogress: (p) => seen.push(p),
      });
      assert.equal(seen.length, 2);
      await client.close();
    });

    it('serves the modern era', async () => {
      const tunnel = await tunnelTo(onFarHost(fixture('modernPeer.ts', notes.path)));
      const client = new ModernClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
      await client.connect(new ModernTransport(NOWHERE, { fetch: fetchThrough(tunnel) }));
      assert.equal(client.getProtocolEra(), 'modern');
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'new' } })), 'new');
      await client.close();
    });

    it('gets its secret from the vault, and the agent never sees it', async () => {
      const value = madeUpSecret();
      const tunnel = await tunnelTo(onFarHost(fixture('stdioPeer.ts')), {
        auth: { placement: { kind: 'environment', name: 'PEER_TOKEN' }, value },
      });
      const begun = await send(tunnel, { body: rpc('initialize') });
      const got = await send(tunnel, {
        body: toolCall('environment'),
        headers: { 'mcp-session-id': String(begun.headers['mcp-session-id']) },
      });
      assert.match(got.body.toString(), /"PEER_TOKEN":"⟦culvert: token redacted⟧"/);
      assert.deepEqual(tracesIn(Buffer.concat([got.body, Buffer.from(log.lines.join('\n'))]), value), []);
    });

    it('ends its session when the connection is lost, and is started anew', async () => {
      const tunnel = await tunnelTo(onFarHost(fixture('stdioPeer.ts', 'good', notes.path)));
      const begun = await send(tunnel, { body: rpc('initialize') });
      const headers = { 'mcp-session-id': String(begun.headers['mcp-session-id']) };
      const waiting = send(tunnel, { body: toolCall('quiet', {}, 'q'), headers });
      await notes.has('quiet');
      process.kill(sshProcesses()[0]!, 'SIGKILL');
      assert.match((await waiting).json().error?.message ?? '', /was ended by SIGKILL|connection to devbox ended/);
      assert.equal((await send(tunnel, { body: toolCall('x'), headers })).status, 404);
      await ended((await notes.pids(1)).slice(0, 1));
      assert.equal((await send(tunnel, { body: rpc('initialize') })).status, 200);
    });

    it('that is not there is said to be', async () => {
      assert.match(
        await failureOf(confirmed({ command: 'no-such-command-here', args: [], ssh: 'devbox' })),
        /no-such-command-here was not found on devbox/,
      );
      assert.match(
        await failureOf(onFarHost(fixture('stdioPeer.ts', 'dies'))),
        / on devbox exited with code 7 right after its start\. Its last words: cannot find my configuration/,
      );
    });

    it('can be tried', async () => {
      const found = await probe(upstreamTo(onFarHost(fixture('stdioPeer.ts'))), new URL('stdio:'), {}, new AbortController().signal, {
        environment: { TOKEN: madeUpSecret() },
      });
      assert.ok(found.ok, JSON.stringify(found));
    });
  });

  describe('a connection that fails says why, and what to do', () => {
    for (const [host, words] of [
      ['stranger', /The host key of stranger is not known yet\. Run ssh stranger once in a terminal/],
      ['changed', /The host key of changed is another one than before: somebody may be in between/],
      ['denied', /denied did not accept your SSH key.*ssh-add/],
      ['nowhere', /There is no host nowhere/],
      ['closed', /closed does not take SSH connections/],
    ] as const)
      it(host, async () => {
        assert.match(await failureOf(onFarHost(fixture('stdioPeer.ts'), host)), words);
        assert.match(await failureOf({ kind: 'http', url: 'http://127.0.0.1:1/mcp', ssh: host }), words);
        const found = await probe(
          upstreamTo({ kind: 'http', url: 'http://127.0.0.1:1/mcp', ssh: host }),
          new URL('http://127.0.0.1:1/mcp'),
          {},
          new AbortController().signal,
        );
        assert.equal(found.ok || found.what, 'url');
      });

    it('without ssh on the PATH', async () => {
      const upstream = openUpstream(
        { label: 'Far', upstream: { kind: 'http', url: 'http://127.0.0.1:1/mcp', ssh: 'devbox' } },
        {
          proxies: {},
          logger: log,
          clock: systemClock,
          clientKey: async () => undefined,
          redact: (text) => text,
          environment: { PATH: '/nonexistent' },
        },
      );
      await assert.rejects(upstream.send(post('http://127.0.0.1:1/mcp', rpc('initialize'))), /ssh was not found on the PATH/);
      upstream.dispose();
    });
  });

  describe('an HTTP server on the far loopback', () => {
    let server: FakeServer;
    beforeEach(async () => (server = await new FakeServer().start()));
    afterEach(() => server.stop());
    const folders = () => readdirSync(tmpdir()).filter((name) => name.startsWith('culvert-ssh-'));

    it('serves an SDK client through the tunnel', async () => {
      const everything = await new EverythingServer().start();
      const tunnel = await tunnelTo({ kind: 'http', url: everything.url, ssh: 'devbox' });
      const client = await clientOf(tunnel);
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'größe' } })), 'Echo: größe');
      const seen: Progress[] = [];
      await client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.2, steps: 2 } }, undefined, {
        onprogress: (p) => seen.push(p),
      });
      assert.equal(seen.length, 2);
      await client.close();
      await everything.stop();
    });

    it('serves over HTTP+SSE too', async () => {
      const everything = await new EverythingServer('sse').start();
      const client = await clientOf(await tunnelTo({ kind: 'sse', url: everything.url, ssh: 'devbox' }));
      assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'old' } })), 'Echo: old');
      await client.close();
      await everything.stop();
    });

    it('gets requests for itself with the credential, over one connection of SSH and a socket that only the user can reach', async () => {
      const value = madeUpSecret();
      const before = folders();
      const tunnel = await tunnelTo({ kind: 'http', url: server.url, ssh: 'devbox' }, { auth: { placement: { kind: 'bearer' }, value } });
      await Promise.all(Array.from({ length: 8 }, (_, i) => send(tunnel, { body: rpc('ping', {}, i) })));
      assert.equal(server.seen.length, 8);
      assert.ok(server.seen.every((s) => s.headers.authorization === `Bearer ${value}` && s.headers.host === new URL(server.url).host));
      assert.equal(sshProcesses().length, 1);
      const [folder] = folders().filter((name) => !before.includes(name));
      assert.ok(folder);
      assert.equal(
        spawnSync('stat', ['-c', '%a', join(tmpdir(), folder)])
          .stdout.toString()
          .trim(),
        '700',
      );
      await tunnel.close();
      await ended(sshProcesses());
      await until(() => !existsSync(join(tmpdir(), folder)));
    });

    it('is reached again after SSH has ended; what ran breaks off', async () => {
      let stream: ServerResponse | undefined;
      server.behave = (seen, response) => {
        if (seen.method === 'GET') {
          stream = response;
          beginStream(response);
          response.write(event({ jsonrpc: '2.0', method: 'notifications/x' }));
        } else response.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"result":{}}');
      };
      const tunnel = await tunnelTo({ kind: 'http', url: server.url, ssh: 'devbox' });
      const listening = await open(tunnel, { method: 'GET', headers: { accept: 'text/event-stream' } }).response;
      await readUntil(listening, 'notifications/x');
      assert.ok(stream);
      process.kill(sshProcesses()[0]!, 'SIGKILL');
      assert.equal(await over(listening), 'broken');
      await until(async () => (await send(tunnel, { body: rpc('ping') })).json().result !== undefined);
      assert.equal(sshProcesses().length, 2);
    });

    it('that does not run is said not to, and is found when it does', async () => {
      const port = await freePort();
      const url = `http://127.0.0.1:${port}/mcp`;
      const upstream = upstreamTo({ kind: 'http', url, ssh: 'devbox' });
      await assert.rejects(upstream.send(post(url, rpc('ping'))), (error: unknown) => {
        assert.ok(error instanceof UpstreamError);
        assert.equal(error.code, 'CULVERT_UPSTREAM_REFUSED');
        assert.match(error.message, new RegExp(`Nothing listens at 127\\.0\\.0\\.1:${port} on devbox`));
        return true;
      });
      assert.ok(sshProcesses().every(isRunning));
      const late = http.createServer((_request, response) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}'));
      await new Promise<void>((resolve) => late.listen(port, '127.0.0.1', resolve));
      assert.equal((await upstream.send(post(url, rpc('ping')))).status, 200);
      assert.equal(sshProcesses().length, 1);
      late.closeAllConnections();
      late.close();
    });

    it('behind a host that allows no forwarding is said to be', async () => {
      await far.also('closed-up', 'AllowTcpForwarding no');
      const upstream = upstreamTo({ kind: 'http', url: server.url, ssh: 'closed-up' });
      await assert.rejects(upstream.send(post(server.url, rpc('ping'))), /closed-up does not allow forwarding/);
      assert.equal(server.seen.length, 0);
    });

    it('takes no configuration of the user’s for more than it is', async () => {
      // A command, a terminal and a shared connection that would stay behind.
      far.alias('busy', {
        Port: portOf(far),
        RemoteCommand: 'echo no',
        ControlMaster: 'auto',
        ControlPath: `${homedir()}/culvert-test-%C`,
        ControlPersist: 'yes',
        RequestTTY: 'yes',
      });
      const tunnel = await tunnelTo({ kind: 'http', url: server.url, ssh: 'busy' });
      assert.ok((await send(tunnel, { body: rpc('ping') })).json().result);
      const other = await tunnelTo(onFarHost(fixture('stdioPeer.ts'), 'busy'));
      assert.equal((await send(other, { body: rpc('initialize') })).status, 200);
      assert.deepEqual(
        readdirSync(homedir()).filter((name) => name.startsWith('culvert-test-')),
        [],
      );
    });

    it('is let go although SSH takes no notice of it', async () => {
      // What is ignored at the start of a program stays ignored: OpenSSH itself sees to that.
      const { file, args } = far.program;
      const deaf = { file: 'sh', args: ['-c', `trap '' TERM; exec ${file} "$@"`, 'sh', ...args] };
      const upstream = upstreamTo({ kind: 'http', url: server.url, ssh: 'devbox' }, deaf);
      assert.equal((await upstream.send(post(server.url, rpc('ping')))).status, 200);
      upstream.dispose();
      await upstream.settled();
      await ended(sshProcesses());
    });

    it('is let go in the middle of a start', async () => {
      const upstream = upstreamTo({ kind: 'http', url: server.url, ssh: 'devbox' });
      const starting = upstream.send(post(server.url, rpc('ping')));
      upstream.dispose();
      await assert.rejects(starting, UpstreamError);
      await upstream.settled();
    });
  });
});

/** The port of the first server, from the user's configuration. */
function portOf(far: FarHost): number {
  const config = readFileSync(far.program.args[1] ?? '', 'utf8');
  return Number(/Host devbox\n(?: {2}.*\n)*? {2}Port (\d+)/.exec(config)?.[1]);
}
