import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Client as ModernClient, StreamableHTTPClientTransport as ModernTransport } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  type CallToolResult,
  type Progress,
} from '@modelcontextprotocol/sdk/types.js';
import { systemClock } from '../../src/common/clock.ts';
import type { UpstreamError } from '../../src/common/errors.ts';
import { ChannelUpstream } from '../../src/upstream/channelUpstream.ts';
import { ENDPOINT_TIMEOUT_MS } from '../../src/upstream/legacySseChannel.ts';
import { openUpstream } from '../../src/upstream/open.ts';
import { probe } from '../../src/upstream/probe.ts';
import { MAX_UNREAD_INPUT_BYTES } from '../../src/upstream/stdioChannel.ts';
import { MAX_STDERR_LINES } from '../../src/upstream/stdioStderr.ts';
import type { CommandPlace, UpstreamPlace } from '../../src/mcp/server.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { until } from '../harness/until.ts';
import { fetchThrough, modern, open, over, readUntil, rpc, send, toolCall } from '../support/agent.ts';
import { Notes, confirmed, ended, fixture, isRunning, packaged } from '../support/commands.ts';
import { FakeServer, beginStream, event } from '../support/fakeServer.ts';
import { temporaryFolder } from '../support/folders.ts';
import { ManualClock } from '../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { KeptLog, callsOn, recordText } from '../support/tunnels.ts';
import { EverythingServer } from './bridgePeers.ts';

const NOWHERE = new URL('http://localhost/mcp');
const textOf = (result: unknown) => (result as CallToolResult).content.map((c) => (c.type === 'text' ? c.text : '')).join('\n');

/** A client of SDK v1 through a tunnel. */
async function legacyClient(door: HeadlessTunnel, capabilities: object = {}, prepare: (client: Client) => void = () => undefined) {
  const client = new Client({ name: 'test', version: '1' }, { capabilities });
  prepare(client);
  const transport = new StreamableHTTPClientTransport(NOWHERE, { fetch: fetchThrough(door) });
  await client.connect(transport);
  return { client, transport };
}

/** A client of SDK v2 that finds out the era. */
async function modernClient(door: HeadlessTunnel): Promise<ModernClient> {
  const client = new ModernClient({ name: 'test', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(new ModernTransport(NOWHERE, { fetch: fetchThrough(door) }));
  return client;
}

/** Everything that server-everything and an SDK client have together must work whatever the wire is. */
function everythingWorks(tunnelTo: () => HeadlessTunnel): void {
  it('initializes, lists, calls, reads, prompts, completes and closes its session', async () => {
    const { client, transport } = await legacyClient(tunnelTo());
    assert.match(transport.sessionId ?? '', /./);
    assert.ok((await client.listTools()).tools.length > 5);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'größe 😀' } })), 'Echo: größe 😀');
    const { resources } = await client.listResources();
    assert.ok((await client.readResource({ uri: resources[0]!.uri })).contents.length > 0);
    const { prompts } = await client.listPrompts();
    assert.ok(prompts.length > 0);
    assert.ok((await client.getPrompt({ name: 'simple-prompt' })).messages.length > 0);
    const { completion } = await client.complete({
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'department', value: 'E' },
    });
    assert.ok(completion.values.includes('Engineering'));
    await transport.terminateSession();
    await client.close();
  });

  it('brings progress while the call runs, and keeps calls at the same time apart', async () => {
    const { client } = await legacyClient(tunnelTo());
    const seen: Progress[] = [];
    const long = client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 } }, undefined, {
      onprogress: (p) => seen.push(p),
    });
    const sums = await Promise.all(
      Array.from({ length: 20 }, async (_, a) => textOf(await client.callTool({ name: 'get-sum', arguments: { a, b: 1000 } }))),
    );
    sums.forEach((sum, a) => assert.ok(sum.includes(String(a + 1000)), sum));
    assert.match(textOf(await long), /completed/i);
    assert.equal(seen.length, 3);
    await client.close();
  });

  it('lets the server ask for input, for a model and for roots', async () => {
    const roots = Promise.withResolvers<undefined>();
    const { client } = await legacyClient(tunnelTo(), { elicitation: {}, sampling: {}, roots: { listChanged: true } }, (c) => {
      c.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name: 'Ada', check: true, email: 'a@b.example' } }));
      c.setRequestHandler(CreateMessageRequestSchema, () => ({
        role: 'assistant',
        model: 'm',
        content: { type: 'text', text: 'said the model' },
      }));
      c.setRequestHandler(ListRootsRequestSchema, () => {
        roots.resolve(undefined);
        return { roots: [{ uri: 'file:///somewhere', name: 'somewhere' }] };
      });
    });
    await roots.promise;
    assert.match(textOf(await client.callTool({ name: 'trigger-elicitation-request', arguments: {} })), /Ada/);
    assert.match(textOf(await client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'x' } })), /said the model/);
    assert.match(textOf(await client.callTool({ name: 'get-roots-list', arguments: {} })), /somewhere/);
    await client.close();
  });

  it('brings log messages and updates that belong to no call', async () => {
    const logged = Promise.withResolvers<undefined>();
    const { client } = await legacyClient(tunnelTo(), {}, (c) =>
      c.setNotificationHandler(LoggingMessageNotificationSchema, () => logged.resolve(undefined)),
    );
    await client.setLoggingLevel('debug');
    await client.callTool({ name: 'toggle-simulated-logging', arguments: {} });
    await logged.promise;
    await client.close();
  });
}

describe('server-everything over its standard input and output', function () {
  this.timeout(120_000);
  let tunnel: HeadlessTunnel;
  before(async () => {
    tunnel = await startTunnel({
      upstream: { place: packaged('@modelcontextprotocol/server-everything/dist/index.js', 'stdio'), label: 'Everything' },
    });
  });
  after(() => tunnel.close());
  everythingWorks(() => tunnel);

  it('falls back to the older era with a client of both', async () => {
    const client = await modernClient(tunnel);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'old' } })), 'Echo: old');
    await client.close();
  });
});

describe('server-everything over HTTP+SSE', function () {
  this.timeout(120_000);
  let server: EverythingServer;
  let tunnel: HeadlessTunnel;
  before(async () => {
    server = await new EverythingServer('sse').start();
    tunnel = await startTunnel({ upstream: { place: { kind: 'sse', url: server.url }, label: 'Everything' } });
  });
  after(async () => {
    await tunnel.close();
    await server.stop();
  });
  everythingWorks(() => tunnel);

  it('falls back to the older era with a client of both', async () => {
    const client = await modernClient(tunnel);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'old' } })), 'Echo: old');
    await client.close();
  });
});

describe('server-filesystem over its standard input and output', function () {
  this.timeout(120_000);
  it('reads and writes where it may, and nowhere else', async () => {
    const folder = temporaryFolder();
    const path = realpathSync(folder.path);
    const tunnel = await startTunnel({ upstream: { place: packaged('@modelcontextprotocol/server-filesystem/dist/index.js', path) } });
    try {
      const { client } = await legacyClient(tunnel);
      const text = 'Zeile 1\r\nZeile 2 😀\n';
      await client.callTool({ name: 'write_file', arguments: { path: join(path, 'a.txt'), content: text } });
      assert.equal(textOf(await client.callTool({ name: 'read_text_file', arguments: { path: join(path, 'a.txt') } })), text);
      assert.match(textOf(await client.callTool({ name: 'read_text_file', arguments: { path: '/etc/hostname' } })), /denied/i);
      await client.close();
    } finally {
      await tunnel.close();
      folder.remove();
    }
  });
});

describe('a server of SDK v2 over its standard input and output', function () {
  this.timeout(120_000);
  let notes: Notes;
  let tunnel: HeadlessTunnel;
  before(async () => {
    notes = new Notes();
    tunnel = await startTunnel({ upstream: { place: fixture('modernPeer.ts', notes.path) } });
  });
  after(async () => {
    await tunnel.close();
    await ended(await notes.pids(1));
    notes.remove();
  });

  it('speaks the modern era, one process for all clients, each with its own ids', async () => {
    const [a, b] = [await modernClient(tunnel), await modernClient(tunnel)];
    const pids = await Promise.all([a, b].map(async (client) => textOf(await client.callTool({ name: 'pid', arguments: {} }))));
    assert.equal(pids[0], pids[1]);
    const texts = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => textOf(await [a, b][i % 2]!.callTool({ name: 'echo', arguments: { text: `n${i}` } }))),
    );
    assert.deepEqual(
      texts,
      Array.from({ length: 40 }, (_, i) => `n${i}`),
    );
    await a.close();
    await b.close();
    assert.ok(callsOn(tunnel).some((c) => c.intent.era === 'modern' && c.intent.tool === 'pid'));
  });

  it('brings progress to whom it belongs', async () => {
    const clients = [await modernClient(tunnel), await modernClient(tunnel)];
    await Promise.all(
      clients.map(async (client) => {
        const seen: number[] = [];
        assert.equal(
          textOf(await client.callTool({ name: 'steps', arguments: {} }, { onprogress: (p) => void seen.push(p.progress) })),
          'done',
        );
        assert.deepEqual(seen, [1, 2, 3]);
        await client.close();
      }),
    );
  });

  it('cancels at the server when a client gives up', async () => {
    const client = await modernClient(tunnel);
    const stop = new AbortController();
    const waiting = client.callTool({ name: 'wait', arguments: {} }, { signal: stop.signal }).catch(() => undefined);
    await notes.has('waiting');
    stop.abort();
    await notes.has('cancelled');
    await waiting;
    await client.close();
  });

  it('carries subscriptions until they are closed', async () => {
    const [a, b] = [await modernClient(tunnel), await modernClient(tunnel)];
    const changed = Promise.withResolvers<undefined>();
    let others = 0;
    a.setNotificationHandler('notifications/tools/list_changed', () => changed.resolve(undefined));
    b.setNotificationHandler('notifications/tools/list_changed', () => {
      others++;
    });
    const subscription = await a.listen({ toolsListChanged: true });
    const own = await b.listen({});
    assert.deepEqual(subscription.honoredFilter, { toolsListChanged: true });
    await b.callTool({ name: 'change', arguments: {} });
    await changed.promise;
    await subscription.close();
    await own.close();
    assert.equal(others, 0);
    await a.close();
    await b.close();
  });

  it('speaks the older era with an older client, in a process of its own', async () => {
    const modern = await modernClient(tunnel);
    const { client, transport } = await legacyClient(tunnel);
    const pids = [
      textOf(await modern.callTool({ name: 'pid', arguments: {} })),
      textOf(await client.callTool({ name: 'pid', arguments: {} })),
    ];
    assert.notEqual(pids[0], pids[1]);
    await transport.terminateSession();
    await ended([Number(pids[1])]);
    assert.ok(isRunning(Number(pids[0])));
    await client.close();
    await modern.close();
  });
});

/** What an agent gets in words. */
async function failureOf(tunnel: HeadlessTunnel, body: unknown, session?: string): Promise<string> {
  const got = await send(tunnel, { body, headers: session === undefined ? {} : { 'mcp-session-id': session } });
  return got.json().error?.message ?? '';
}

describe('commands', function () {
  this.timeout(120_000);
  let notes: Notes;
  let log: KeptLog;
  let tunnel: HeadlessTunnel | undefined;
  beforeEach(() => {
    notes = new Notes();
    log = new KeptLog();
  });
  afterEach(async () => {
    await tunnel?.close();
    tunnel = undefined;
    await ended(notes.lines().flatMap((line) => (line.startsWith('pid ') ? [Number(line.slice(4))] : [])));
    notes.remove();
  });

  const start = async (place: UpstreamPlace, options: Partial<Parameters<typeof startTunnel>[0]> = {}): Promise<HeadlessTunnel> =>
    (tunnel = await startTunnel({ upstream: { place, label: 'Peer' }, logger: log, ...options }));
  const begin = async (door: HeadlessTunnel): Promise<string> => {
    const got = await send(door, {
      body: rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } }),
    });
    assert.equal(got.status, 200, got.body.toString());
    return String(got.headers['mcp-session-id']);
  };
  const inSession = async (door: HeadlessTunnel, session: string, body: unknown) =>
    send(door, { body, headers: { 'mcp-session-id': session } });
  const environmentOf = async (door: HeadlessTunnel, session: string) =>
    (await inSession(door, session, toolCall('environment'))).json().result!['structuredContent'] as {
      readonly environment: Record<string, string>;
      readonly folder: string;
      readonly args: readonly string[];
      readonly pid: number;
    };

  it('start without a shell, with exact arguments, in the folder that was set or the home', async () => {
    const strange = ['a b', '$HOME', '`id`', '"quoted"', "it's", '*', '', '\\', 'ä😀', ';echo x'];
    const door = await start(fixture('stdioPeer.ts', 'good', notes.path, ...strange));
    const seen = await environmentOf(door, await begin(door));
    assert.deepEqual(seen.args.slice(2), strange);
    assert.equal(realpathSync(seen.folder), realpathSync(homedir()));
    await door.close();
    const folder = temporaryFolder();
    mkdirSync(join(folder.path, 'in ner'));
    const there = await start(confirmed({ ...fixture('stdioPeer.ts'), folder: join(folder.path, 'in ner') }));
    assert.equal(realpathSync((await environmentOf(there, await begin(there))).folder), realpathSync(join(folder.path, 'in ner')));
    await there.close();
    folder.remove();
  });

  it('get a minimal environment, the variables that were set, and the secret, which shows nowhere else', async () => {
    const value = madeUpSecret();
    process.env['CULVERT_TEST_UNRELATED'] = 'mine';
    const place = confirmed({ ...fixture('stdioPeer.ts', 'good', notes.path), environment: { PLAIN: 'x y', LANG: 'C.UTF-8' } });
    const door = await start(place, { auth: { placement: { kind: 'environment', name: 'PEER_TOKEN' }, value } });
    const session = await begin(door);
    const got = await inSession(door, session, toolCall('environment'));
    delete process.env['CULVERT_TEST_UNRELATED'];
    // The result holds the secret, so that it must have been taken out on its way.
    assert.deepEqual(tracesIn(got.body, value), []);
    const { environment } = got.json().result!['structuredContent'] as { environment: Record<string, string> };
    assert.match(environment['PEER_TOKEN'] ?? '', /culvert/);
    assert.deepEqual([environment['PLAIN'], environment['LANG'], environment['HOME']], ['x y', 'C.UTF-8', process.env['HOME']]);
    assert.deepEqual(
      Object.keys(environment).filter((name) => !/^(PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|LANG|LC_\w+|TMPDIR|PLAIN|PEER_TOKEN)$/.test(name)),
      [],
    );
    await inSession(door, session, toolCall('say', { text: `my token is ${value}` }));
    await inSession(door, session, toolCall('die'));
    assert.ok(log.lines.some((line) => line.startsWith('[Peer] my token is ')));
    assert.deepEqual(tracesIn(log.lines.join('\n') + recordText(door), value), []);
  });

  it('are started anew when the credential is replaced: the old session is over', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good', notes.path), {
      auth: { placement: { kind: 'environment', name: 'PEER_TOKEN' }, value: madeUpSecret() },
    });
    const session = await begin(door);
    const credential = door.core.servers.list()[0]!.credentials[0]!;
    const { Secret } = await import('../../src/credentials/secret.ts');
    await door.core.credentials.replace(credential, new Secret(madeUpSecret('b')));
    const got = await inSession(door, session, toolCall('environment'));
    assert.equal(got.status, 404);
    await ended((await notes.pids(1)).slice(0, 1));
    await environmentOf(door, await begin(door));
    assert.equal((await notes.pids(2)).length, 2);
  });

  it('get messages on one line each, with nothing else changed', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const session = await begin(door);
    const body =
      '{"jsonrpc":"2.0",\n  "id": 12345678901234567890,\r\n "method":"tools/call","params":{"name":"line","arguments":{"n":1.0,"s":"\\u00e4\\n"}}}';
    const got = await inSession(door, session, body);
    assert.match(got.body.toString(), /"id":12345678901234567000/);
    const { content } = got.json().result as { content: { text: string }[] };
    assert.equal(content[0]!.text, body.replaceAll(/[\r\n]/g, ' '));
  });

  it('are asked and answered across the stream of a call', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const session = await begin(door);
    const { response } = open(door, { body: toolCall('ask', {}, 'call'), headers: { 'mcp-session-id': session } });
    const stream = await response;
    const asked = await readUntil(stream, 'elicitation/create');
    assert.equal((await inSession(door, session, { jsonrpc: '2.0', id: 'question', result: { action: 'decline' } })).status, 202);
    await readUntil(stream, '"id":"call"', asked);
    assert.equal(await over(stream), 'end');
  });

  it('may print what is no message: it is logged and left out', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const session = await begin(door);
    const got = await inSession(door, session, toolCall('junk'));
    assert.equal(got.body.toString(), '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}');
    assert.deepEqual(
      log.lines.flatMap((line) => /wrote a line that is no message, which was left out: (.*)/.exec(line)?.[1] ?? []),
      ['This is no message.', '{"level":"info","text":"nor is this"}'],
    );
  });

  it('may answer with much, but in lines that end', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good', notes.path));
    const session = await begin(door);
    const got = await inSession(door, session, toolCall('large', { size: 12_000_000 }));
    assert.ok(got.body.length > 12_000_000);
    assert.match(await failureOf(door, toolCall('endless'), session), /wrote a line of more than 16 MiB, so it was ended/);
    await ended(await notes.pids(1));
    assert.equal((await inSession(door, session, toolCall('x'))).status, 404);
  });

  it('may flood the error output: what is logged has bounds', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const session = await begin(door);
    await inSession(door, session, toolCall('flood', { lines: 50_000 }));
    await inSession(door, session, toolCall('x'));
    await door.close();
    await until(() => log.lines.some((line) => line.endsWith(' exited with code 0.')));
    assert.equal(log.lines.filter((line) => /^\[Peer\] line \d+$/.test(line)).length, MAX_STDERR_LINES);
    assert.ok(log.lines.some((line) => /^\[Peer\] … \d+ more lines$/.test(line)));
  });

  it('that end at their start are named with their last words, and not started again and again', async () => {
    const value = madeUpSecret();
    const door = await start(fixture('stdioPeer.ts', 'dies', `token ${value} is wrong`), {
      auth: { placement: { kind: 'environment', name: 'PEER_TOKEN' }, value },
    });
    const failure = () => failureOf(door, rpc('initialize'));
    const first = await failure();
    assert.match(first, /exited with code 7 right after its start\. Its last words: cannot find my configuration \/ token .* is wrong/);
    assert.deepEqual(tracesIn(first, value), []);
    await failure();
    assert.match(await failure(), /failed 2 times in a row; Culvert starts it again in \d+ s at the earliest/);
  });

  it('that do not exist, may not be run, or whose folder is missing are said to', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder.path, 'text'), 'no program');
    for (const [place, words] of [
      [{ command: 'no-such-command-here', args: [] }, /The command no-such-command-here was not found on the PATH/],
      [{ command: join(folder.path, 'none'), args: [] }, /There is no program .*none\. Check the path/],
      [{ command: join(folder.path, 'text'), args: [] }, /text may not be run/],
      [{ ...fixture('stdioPeer.ts'), folder: join(folder.path, 'gone') }, /The folder .*gone does not exist/],
    ] as const) {
      const door = await start(confirmed(place));
      assert.match(await failureOf(door, rpc('initialize')), words);
      await door.close();
    }
    folder.remove();
  });

  it('are not started before they are confirmed', async () => {
    const door = await start({ ...fixture('stdioPeer.ts', 'good', notes.path), confirmed: 'of another command' });
    assert.match(await failureOf(door, rpc('initialize')), /not confirmed/);
    assert.deepEqual(notes.lines(), []);
  });

  it('that die under a call end it, and the session, with the reason', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const session = await begin(door);
    const { response } = open(door, { method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } });
    const stream = await response;
    const waiting = failureOf(door, toolCall('quiet', {}, 'q'), session);
    const failure = await failureOf(door, toolCall('die'), session);
    assert.match(
      failure,
      /Peer: .* exited with code 3\. The call may or may not have been carried out\. Its last words: I have had enough\./,
    );
    assert.match(await waiting, /exited with code 3/);
    assert.equal(await over(stream), 'broken');
    assert.equal((await inSession(door, session, toolCall('x'))).status, 404);
    await begin(door);
  });

  it('that die when they hear what they don’t know are used all the same', async () => {
    const door = await start(fixture('stdioPeer.ts', 'strict'));
    const client = await modernClient(door);
    assert.equal(textOf(await client.callTool({ name: 'x', arguments: {} })), 'x');
    await client.close();
  });

  it('end with their session, and each session has its own', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good'));
    const sessions = [await begin(door), await begin(door)];
    const [a, b] = [await environmentOf(door, sessions[0]!), await environmentOf(door, sessions[1]!)];
    assert.notEqual(a.pid, b.pid);
    assert.equal((await send(door, { method: 'DELETE', headers: { 'mcp-session-id': sessions[0]! } })).status, 200);
    await ended([a.pid]);
    assert.ok(isRunning(b.pid));
    await door.close();
    await ended([b.pid]);
  });

  it('are cancelled when the tunnel ends a call', async () => {
    const door = await start(fixture('stdioPeer.ts', 'good', notes.path));
    const session = await begin(door);
    const waiting = failureOf(door, toolCall('quiet', {}, 'q'), session);
    await notes.has('quiet');
    door.core.access.set(door.serverId, { kind: 'tools', names: ['quiet'] }, 'deny', 'tree');
    assert.match(await waiting, /The call was ended/);
    const { structuredContent } = (await inSession(door, session, toolCall('cancelled'))).json().result as { structuredContent: unknown };
    assert.deepEqual(structuredContent, { cancelled: ['q'] });
  });
});

describe('the processes of commands', function () {
  this.timeout(120_000);
  let notes: Notes;
  let log: KeptLog;
  const opened: ChannelUpstream[] = [];
  beforeEach(() => {
    notes = new Notes();
    log = new KeptLog();
  });
  afterEach(async () => {
    for (const upstream of opened.splice(0)) {
      upstream.dispose();
      await upstream.settled();
    }
    notes.remove();
  });

  const openCommand = (place: CommandPlace): ChannelUpstream => {
    const upstream = openUpstream(
      { label: 'Peer', upstream: place },
      { proxies: {}, logger: log, clock: systemClock, clientKey: async () => undefined, redact: (text) => text },
    );
    assert.ok(upstream instanceof ChannelUpstream);
    opened.push(upstream);
    return upstream;
  };
  const request = (body: unknown, headers: Record<string, string> = {}) => ({
    method: 'POST' as const,
    url: new URL('stdio:'),
    headers: { accept: 'application/json, text/event-stream', ...headers },
    body: Buffer.from(JSON.stringify(body)),
    signal: new AbortController().signal,
  });
  const begin = async (upstream: ChannelUpstream) => String((await upstream.send(request(rpc('initialize')))).headers['mcp-session-id']);

  it('are killed if they neither end with their input nor at SIGTERM', async () => {
    const upstream = openCommand(fixture('stdioPeer.ts', 'stubborn', notes.path));
    await begin(upstream);
    const pids = await notes.pids(1);
    upstream.dispose();
    await upstream.settled();
    await ended(pids, 1000);
    assert.deepEqual(notes.lines().slice(1), ['end', 'SIGTERM']);
    assert.ok(log.lines.some((line) => line.includes('was ended by SIGKILL')));
  });

  it('take what they started with them', async () => {
    const upstream = openCommand(fixture('stdioPeer.ts', 'parent', notes.path));
    await begin(upstream);
    const pids = await notes.pids(2);
    assert.ok(pids.every(isRunning));
    upstream.dispose();
    await upstream.settled();
    await ended(pids, 1000);
  });

  it('are not left behind by a start that is disposed of, or given up', async () => {
    const upstream = openCommand(fixture('stdioPeer.ts', 'deaf'));
    const stop = new AbortController();
    const starting = upstream.send({ ...request(rpc('initialize')), signal: stop.signal });
    stop.abort();
    await assert.rejects(starting, /given up/);
    const second = upstream.send(request(rpc('initialize')));
    upstream.dispose();
    await assert.rejects(second, /closed|given up/);
    await upstream.settled();
    const pids = log.lines.flatMap((line) => /started .* \(process (\d+)\)/.exec(line)?.[1] ?? []).map(Number);
    assert.equal(pids.length, 2);
    await ended(pids, 1000);
  });

  it('that read nothing take no memory without end', async () => {
    const upstream = openCommand(fixture('stdioPeer.ts', 'deaf'));
    const text = 'x'.repeat(MAX_UNREAD_INPUT_BYTES / 4);
    const failures = Array.from({ length: 6 }, async (_, id) => {
      const { body, headers } = modern('tools/call', { name: 'x', arguments: { text } }, id);
      return upstream.send(request(body, headers as Record<string, string>)).then(
        () => '',
        (error: unknown) => (error as UpstreamError).code,
      );
    });
    const first = await Promise.race(failures);
    assert.equal(first, 'CULVERT_UPSTREAM_NOT_READING');
    upstream.dispose();
    const all = await Promise.all(failures);
    assert.ok(all.filter((code) => code === 'CULVERT_UPSTREAM_CLOSED').length >= 3, all.join());
  });

  it('do not outlive the process that started them', async () => {
    const leaving = spawn(process.execPath, [join(import.meta.dirname, '../fixtures/leaves.ts'), notes.path], { stdio: 'inherit' });
    const [code] = (await once(leaving, 'exit')) as [number];
    assert.equal(code, 0);
    await ended(await notes.pids(1), 1000);
  });

  it('that write faster than they are read wait', async () => {
    const upstream = openCommand(fixture('stdioPeer.ts', 'good', notes.path));
    const headers = { 'mcp-session-id': await begin(upstream) };
    const response = await upstream.send(request(toolCall('burst', { count: 2_000 }), headers));
    const taken = () => notes.lines().filter((line) => line === 'taken').length;
    // Nobody reads: it comes to a standstill.
    let before = -1;
    await until(
      () => {
        const now = taken();
        const stands = now > 0 && now === before;
        before = now;
        return stands;
      },
      { intervalMs: 400, what: 'a standstill' },
    );
    assert.ok(taken() < 200, `${taken()} messages were taken`);
    let size = 0;
    for await (const chunk of response.body) size += chunk.length;
    assert.ok(size > 20_000_000);
    await until(() => taken() === 2_000);
  });

  it('are tried with their secrets, in either era', async () => {
    const value = madeUpSecret();
    for (const [place, name] of [
      [fixture('stdioPeer.ts'), 'peer'],
      [fixture('stdioPeer.ts', 'strict'), 'peer'],
      [fixture('modernPeer.ts'), 'modern'],
    ] as const) {
      const found = await probe(openCommand(place), new URL('stdio:'), {}, new AbortController().signal, { environment: { TOKEN: value } });
      assert.ok(found.ok, JSON.stringify(found));
      assert.equal(found.serverName, name);
      assert.ok(found.tools.length > 0);
    }
    const bad = await probe(openCommand(fixture('stdioPeer.ts', 'dies', value)), new URL('stdio:'), {}, new AbortController().signal, {
      environment: { TOKEN: value },
    });
    assert.ok(!bad.ok);
    assert.equal(bad.what, 'command');
    assert.match(bad.message, /exited with code 7 right after its start/);
    assert.deepEqual(tracesIn(bad.message + log.lines.join(''), value), []);
    const none = await probe(
      openCommand(confirmed({ command: 'no-such-command-here', args: [] })),
      new URL('stdio:'),
      {},
      new AbortController().signal,
    );
    assert.equal(none.ok || none.what, 'command');
    const silent = await probe(openCommand(fixture('stdioPeer.ts', 'deaf')), new URL('stdio:'), {}, new AbortController().signal, {
      timeoutMs: 400,
    });
    assert.equal(silent.ok || silent.what, 'slow');
  });
});

describe('HTTP+SSE servers that misbehave', function () {
  this.timeout(120_000);
  let server: FakeServer;
  let other: FakeServer;
  let tunnel: HeadlessTunnel;
  let stream: ServerResponse | undefined;
  let dropped = false;
  const value = madeUpSecret();
  /** What the stream says first. */
  let first: string;
  beforeEach(async () => {
    server = await new FakeServer().start();
    other = await new FakeServer().start();
    first = 'event: endpoint\ndata: /message?session=1\n\n';
    stream = undefined;
    dropped = false;
    server.behave = (seen, response) => {
      if (seen.method === 'GET') {
        stream = response;
        response.once('close', () => (dropped = true));
        beginStream(response);
        response.write(first);
        return;
      }
      response.writeHead(202).end('Accepted');
      const { id, method } = JSON.parse(seen.body.toString()) as { id?: unknown; method?: string };
      if (method === 'initialize')
        stream?.write(event({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-06-18', capabilities: {} } }));
      if (method === 'tools/call') stream?.write(event({ jsonrpc: '2.0', id, result: { content: [] } }));
    };
    tunnel = await startTunnel({
      upstream: { place: { kind: 'sse', url: `${server.origin}/sse?v=1` }, label: 'Old' },
      auth: { placement: { kind: 'bearer' }, value },
    });
  });
  afterEach(async () => {
    await tunnel.close();
    await server.stop();
    await other.stop();
  });
  const begin = async () => String((await send(tunnel, { body: rpc('initialize') })).headers['mcp-session-id']);

  it('get the credential on the stream and with every message, at the address that they named', async () => {
    const session = await begin();
    const got = await send(tunnel, { body: toolCall('x', {}, 'a'), headers: { 'mcp-session-id': session } });
    assert.deepEqual(got.json(), { jsonrpc: '2.0', id: 'a', result: { content: [] } });
    assert.deepEqual(
      server.seen.map((s) => [s.method, s.url, s.headers.authorization, s.headers['mcp-session-id']]),
      [
        ['GET', '/sse?v=1', `Bearer ${value}`, undefined],
        ['POST', '/message?session=1', `Bearer ${value}`, undefined],
        ['POST', '/message?session=1', `Bearer ${value}`, undefined],
      ],
    );
    assert.equal((await send(tunnel, { method: 'DELETE', headers: { 'mcp-session-id': session } })).status, 200);
  });

  it('may not name an address of another origin: nothing goes there', async () => {
    for (const address of [`${other.origin}/message`, '//localhost/message', 'http://[', 'x'.repeat(10_000)]) {
      first = `event: endpoint\ndata: ${address}\n\n`;
      assert.match(await failureOf(tunnel, rpc('initialize')), /another origin, where its credential must not go/);
    }
    assert.equal(other.seen.length, 0);
    assert.ok(server.seen.every((s) => s.method === 'GET'));
  });

  it('may not name a second one', async () => {
    first = `event: endpoint\ndata: /message\n\nevent: endpoint\ndata: ${other.origin}/steal\n\n`;
    await begin();
    assert.equal(server.seen.at(-1)?.url, '/message');
    assert.equal(other.seen.length, 0);
  });

  it('that are no such servers are said to be', async () => {
    server.behave = (_seen, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>');
    assert.match(await failureOf(tunnel, rpc('initialize')), /no server of the older HTTP\+SSE transport/);
    server.behave = (_seen, response) => response.writeHead(401).end();
    assert.match(await failureOf(tunnel, rpc('initialize')), /did not accept the credential “token” \(HTTP 401\)/);
    server.behave = (_seen, response) => {
      beginStream(response);
      response.end('event: message\ndata: {}\n\n');
    };
    assert.match(await failureOf(tunnel, rpc('initialize')), /The stream of .* ended/);
  });

  it('that name no address in time are said to, and let go', async () => {
    const clock = new ManualClock();
    first = ': nothing yet\n\n';
    const place: UpstreamPlace = { kind: 'sse', url: `${server.origin}/sse` };
    const upstream = openUpstream(
      { label: 'Old', upstream: place },
      { proxies: {}, logger: new KeptLog(), clock, clientKey: async () => undefined, redact: (text) => text },
    );
    const body = Buffer.from(JSON.stringify(rpc('initialize')));
    const opening = upstream.send({ method: 'POST', url: new URL(place.url), headers: {}, body, signal: new AbortController().signal });
    const failed = assert.rejects(opening, /named no address for messages within 15 seconds/);
    const moving = setInterval(() => clock.advance(ENDPOINT_TIMEOUT_MS), 10);
    await failed;
    clearInterval(moving);
    await until(() => dropped);
    upstream.dispose();
  });

  it('that send an event without end are let go', async () => {
    const session = await begin();
    const waiting = failureOf(tunnel, rpc('tools/list', {}, 'w'), session);
    await server.received(3);
    const part = Buffer.alloc(1024 * 1024, 'x');
    const pour = () => {
      while (!dropped && stream?.write(part) === true);
      if (!dropped) stream?.once('drain', pour);
    };
    stream?.write('data: ');
    pour();
    assert.match(await waiting, /sent an event that is too large to be checked/);
    await until(() => dropped);
  });

  it('can be tried', async () => {
    const everything = await new EverythingServer('sse').start();
    const upstream = openUpstream(
      { label: 'Old', upstream: { kind: 'sse', url: everything.url } },
      { proxies: {}, logger: new KeptLog(), clock: systemClock, clientKey: async () => undefined, redact: (text) => text },
    );
    const found = await probe(upstream, new URL(everything.url), {}, new AbortController().signal);
    assert.ok(found.ok && found.tools.some((t) => t.name === 'echo'), JSON.stringify(found));
    const none = await probe(upstream, new URL(everything.url.replace('/sse', '/none')), {}, new AbortController().signal);
    assert.equal(none.ok || none.what, 'url');
    upstream.dispose();
    await everything.stop();
  });

  it('that break their stream end calls and session with the reason', async () => {
    const session = await begin();
    const { response } = open(tunnel, { method: 'GET', headers: { 'mcp-session-id': session, accept: 'text/event-stream' } });
    const listening = await response;
    const waiting = failureOf(tunnel, rpc('tools/list', {}, 'w'), session);
    await server.received(3);
    stream?.destroy();
    assert.match(await waiting, /Old: The stream of 127\.0\.0\.1:\d+ broke .*may or may not have been carried out/);
    assert.equal(await over(listening), 'broken');
    assert.equal((await send(tunnel, { body: toolCall('x'), headers: { 'mcp-session-id': session } })).status, 404);
  });

  it('that forgot a session end it', async () => {
    const session = await begin();
    server.behave = (_seen, response) => response.writeHead(404).end();
    assert.equal((await send(tunnel, { body: toolCall('x'), headers: { 'mcp-session-id': session } })).status, 404);
    assert.equal((await send(tunnel, { body: rpc('ping'), headers: { 'mcp-session-id': session } })).status, 404);
  });

  it('get a credential of the query with every message', async () => {
    await tunnel.close();
    tunnel = await startTunnel({
      upstream: { place: { kind: 'sse', url: `${server.origin}/sse?v=1` } },
      auth: { placement: { kind: 'query', name: 'key' }, value },
    });
    await begin();
    assert.deepEqual(
      server.seen.map((s) => s.url),
      [`/sse?v=1&key=${value}`, `/message?session=1&key=${value}`],
    );
  });
});
