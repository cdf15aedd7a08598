import assert from 'node:assert/strict';
import { Client as ModernClient, StreamableHTTPClientTransport as ModernTransport } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
  type CallToolResult,
  type Progress,
} from '@modelcontextprotocol/sdk/types.js';
import { startDemoUpstream, LEAKING_TOOL, type DemoUpstream } from '../../scripts/demo/upstream.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { fetchThrough } from '../support/agent.ts';
import { tracesIn } from '../support/secrets.ts';
import { callsOn, recordText, recorded } from '../support/tunnels.ts';
import { ModernServer } from './bridgePeers.ts';

/** Where the SDKs believe to connect to: `fetch` leads into the tunnel. */
const NOWHERE = new URL('http://localhost/mcp');

const textOf = (result: unknown) => (result as CallToolResult).content.map((c) => (c.type === 'text' ? c.text : '')).join('\n');

/** A client of SDK v1 through a tunnel. */
async function legacyClient(
  door: HeadlessTunnel,
  capabilities: object = {},
): Promise<{ readonly client: Client; readonly transport: StreamableHTTPClientTransport }> {
  const client = new Client({ name: 'test', version: '1' }, { capabilities });
  const transport = new StreamableHTTPClientTransport(NOWHERE, { fetch: fetchThrough(door) });
  await client.connect(transport);
  return { client, transport };
}

describe('server-everything behind a gate, with the SDK’s client', function () {
  this.timeout(120_000);
  let demo: DemoUpstream;
  let tunnel: HeadlessTunnel;
  before(async () => {
    demo = await startDemoUpstream();
    tunnel = await startTunnel({
      upstream: { url: demo.url, label: 'Everything' },
      auth: { placement: { kind: 'bearer' }, value: demo.token, name: 'demo' },
    });
  });
  after(async () => {
    await tunnel.close();
    await demo.close();
  });

  it('initializes, lists, calls, reads and closes its session', async () => {
    const { client, transport } = await legacyClient(tunnel);
    assert.ok(transport.sessionId);
    assert.ok((await client.listTools()).tools.length > 5);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'größe 😀' } })), 'Echo: größe 😀');
    assert.match(textOf(await client.callTool({ name: 'get-sum', arguments: { a: 2, b: 40 } })), /42/);
    const { resources } = await client.listResources();
    assert.ok((await client.readResource({ uri: resources[0]!.uri })).contents.length > 0);
    assert.ok((await client.listPrompts()).prompts.length > 0);
    await transport.terminateSession();
    assert.equal(demo.requests.at(-1)?.method, 'DELETE');
    await client.close();
    assert.ok(demo.requests.every((r) => r.authorized && !r.headers['authorization']?.includes(tunnel.token)));
  });

  it('brings progress while the call runs', async () => {
    const { client } = await legacyClient(tunnel);
    const seen: Progress[] = [];
    const result = await client.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 3 } }, undefined, {
      onprogress: (p) => seen.push(p),
    });
    assert.equal(seen.length, 3);
    assert.match(textOf(result), /completed/i);
    await client.close();
  });

  it('lets the server ask the user, and the answer find its way', async () => {
    const { client } = await legacyClient(tunnel, { elicitation: {} });
    client.setRequestHandler(ElicitRequestSchema, () => ({
      action: 'accept',
      content: { name: 'Ada', check: true, email: 'a@b.example' },
    }));
    const result = await client.callTool({ name: 'trigger-elicitation-request', arguments: {} });
    assert.match(textOf(result), /Ada/);
    await client.close();
  });

  it('carries what the server asks of the client, and what the client asks of the server, both ways at once', async () => {
    const { client } = await legacyClient(tunnel, { sampling: {}, roots: { listChanged: true } });
    client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => ({
      model: 'test',
      role: 'assistant',
      content: { type: 'text', text: `sampled ${JSON.stringify(params.messages).includes('hello') ? 'hello' : '?'}` },
    }));
    let asked = 0;
    client.setRequestHandler(ListRootsRequestSchema, () => {
      asked++;
      return { roots: [{ uri: 'file:///größe', name: 'Größe' }] };
    });
    const [sampled, pong] = await Promise.all([
      client.callTool({ name: 'trigger-sampling-request', arguments: { prompt: 'hello', maxTokens: 5 } }),
      client.ping(),
    ]);
    assert.match(textOf(sampled), /sampled hello/);
    assert.deepEqual(pong, {});
    await client.sendRootsListChanged();
    assert.match(textOf(await client.callTool({ name: 'get-roots-list', arguments: {} })), /Größe/);
    assert.ok(asked > 0);
    await client.close();
  });

  it('completes, logs and tells of changed resources', async () => {
    const { client } = await legacyClient(tunnel);
    const told: string[] = [];
    const updated = new Promise<void>((resolve) =>
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
        told.push(params.uri);
        resolve();
      }),
    );
    const logged = new Promise<void>((resolve) => client.setNotificationHandler(LoggingMessageNotificationSchema, () => resolve()));
    const { resourceTemplates } = await client.listResourceTemplates();
    assert.ok(resourceTemplates.length > 0);
    const completed = await client.complete({
      ref: { type: 'ref/prompt', name: 'completable-prompt' },
      argument: { name: 'department', value: '' },
    });
    assert.ok(completed.completion.values.length > 0);
    await client.setLoggingLevel('debug');
    await client.callTool({ name: 'toggle-simulated-logging', arguments: {} });
    const uri = 'demo://resource/dynamic/text/1';
    await client.subscribeResource({ uri });
    await client.callTool({ name: 'toggle-subscriber-updates', arguments: {} });
    await Promise.all([updated, logged]);
    assert.ok(told.includes(uri));
    await client.unsubscribeResource({ uri });
    await client.close();
  });

  it('takes the credential out of a result that holds it, and keeps a finding', async () => {
    const { client } = await legacyClient(tunnel);
    const result = await client.callTool({ name: LEAKING_TOOL, arguments: {} });
    assert.match(textOf(result), /⟦culvert: demo redacted⟧/);
    assert.deepEqual(tracesIn(JSON.stringify(result), demo.token), []);
    assert.deepEqual(tracesIn(recordText(tunnel), demo.token), []);
    assert.ok(tunnel.core.findings.list({ dismissed: false }).some((f) => f.subject === 'demo' && f.tool === LEAKING_TOOL));
    await client.close();
  });

  it('denies a tool without contact, hides it, and has everything on a record that verifies', async () => {
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'deny', 'tree');
    const { client } = await legacyClient(tunnel);
    assert.ok((await client.callTool({ name: LEAKING_TOOL, arguments: {} })).content);
    assert.ok(!(await client.listTools()).tools.some((t) => t.name === 'echo'));
    const before = demo.toolCalls('echo').length;
    await assert.rejects(client.callTool({ name: 'echo', arguments: { message: 'x' } }), /Culvert denied this call/);
    assert.equal(demo.toolCalls('echo').length, before);
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'allow', 'tree');
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'x' } })), 'Echo: x');
    await client.close();
    await recorded(tunnel, () =>
      callsOn(tunnel)
        .filter((c) => c.intent.method !== 'GET stream')
        .every((c) => c.outcome !== undefined),
    );
    await tunnel.core.audit.checkpoint();
    assert.deepEqual((await tunnel.core.audit.verify()).problems, []);
    const names = callsOn(tunnel).map((c) => c.intent.tool);
    assert.ok(names.includes('echo') && names.includes(LEAKING_TOOL));
  });

  it('says what a refused credential needs, and goes on when it is good again', async () => {
    const { client } = await legacyClient(tunnel);
    demo.refuse(true);
    await assert.rejects(
      client.callTool({ name: 'echo', arguments: { message: 'x' } }),
      /did not accept the credential “demo” \(HTTP 401\)/,
    );
    demo.refuse(false);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { message: 'y' } })), 'Echo: y');
    await client.close();
  });
});

describe('a server of SDK v2', function () {
  this.timeout(120_000);
  let server: ModernServer;
  let tunnel: HeadlessTunnel;
  before(async () => {
    server = await new ModernServer().start();
    tunnel = await startTunnel({ upstream: { url: server.url, label: 'Modern' }, listen: { kind: 'loopback', port: 0 } });
  });
  after(async () => {
    await tunnel.close();
    await server.stop();
  });

  const modernClient = async (mode: 'auto' | 'legacy' = 'auto') => {
    const client = new ModernClient(
      { name: 'test', version: '1' },
      mode === 'auto' ? { versionNegotiation: { mode }, capabilities: { elicitation: {} } } : {},
    );
    await client.connect(new ModernTransport(NOWHERE, { fetch: fetchThrough(tunnel) }));
    return client;
  };

  it('speaks the modern era with its own client: call, headers, progress', async () => {
    const client = await modernClient();
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'größe' } })), 'größe');
    await client.listTools();
    assert.equal(textOf(await client.callTool({ name: 'routed', arguments: { region: 'eu' } })), 'to eu');
    const seen: unknown[] = [];
    assert.equal(textOf(await client.callTool({ name: 'steps', arguments: {} }, { onprogress: (p) => void seen.push(p) })), 'done');
    assert.equal(seen.length, 3);
    await client.close();
    assert.ok(callsOn(tunnel).some((c) => c.intent.era === 'modern' && c.intent.tool === 'routed' && c.outcome?.result === 'ok'));
  });

  it('cancels at the server when the client gives up', async () => {
    const client = await modernClient();
    const began = new Promise<void>((resolve) => (server.onWait = resolve));
    const ended = new Promise<void>((resolve) => (server.onCancel = resolve));
    const stop = new AbortController();
    const call = client.callTool({ name: 'wait', arguments: {} }, { signal: stop.signal }).catch(() => undefined);
    await began;
    stop.abort();
    await ended;
    await call;
    assert.ok(server.cancelled.includes('wait'));
    await client.close();
  });

  it('records every step of a call that needs input, each decided for itself', async () => {
    const client = await modernClient();
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
    assert.equal(textOf(await client.callTool({ name: 'ask', arguments: {} })), 'hello Ada');
    assert.equal(callsOn(tunnel).filter((c) => c.intent.tool === 'ask').length, 2);
    await client.close();
  });

  it('speaks the older era with the older client on the same endpoint', async () => {
    const { client } = await legacyClient(tunnel);
    assert.equal(textOf(await client.callTool({ name: 'echo', arguments: { text: 'old' } })), 'old');
    await client.close();
    assert.ok(callsOn(tunnel).some((c) => c.intent.era === 'legacy' && c.intent.tool === 'echo'));
  });
});
