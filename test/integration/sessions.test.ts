import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CAPABILITY_FOLDER } from '../../src/common/capabilityFile.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { fetchThrough, modern, open, over, readUntil, rpc, send, toolCall, type Door, type Sent } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor, type Behaviour } from '../support/fakeServer.ts';
import { callsOn, lastCall, newScene, recorded, type Scene } from '../support/tunnels.ts';
import { ModernServer } from './bridgePeers.ts';

/** Sends, and makes sure that nothing reached the server. */
async function unseen(scene: Scene, door: Door, sent: Sent) {
  const before = scene.server.seen.length;
  const got = await send(door, sent);
  assert.equal(scene.server.seen.length, before, 'the server was contacted');
  return got;
}

/** PROTOCOL.md 1: a legacy client has a session, also where the server has none. */
describe('sessions that the tunnel mints', () => {
  let scene: Scene;
  let vault: MemorySecretStore;
  let tunnel: HeadlessTunnel;
  let other: Door;
  let id: string;
  const withId = (door: Door = tunnel, session = id) => ({ door, headers: { 'mcp-session-id': session } });
  beforeEach(async () => {
    scene = await newScene();
    vault = new MemorySecretStore();
    tunnel = await scene.open({ vault });
    other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
    const got = await send(tunnel, { body: rpc('initialize', { clientInfo: { name: 'me', version: '1' } }) });
    id = String(got.headers['mcp-session-id']);
  });
  afterEach(() => scene.close());

  it('are given to the client and never to the server', async () => {
    assert.match(id, /^[A-Za-z0-9_-]{43}$/);
    assert.equal((await send(tunnel, { body: toolCall('echo'), headers: withId().headers })).status, 200);
    assert.equal(scene.server.seen.at(-1)?.headers['mcp-session-id'], undefined);
    assert.equal(lastCall(tunnel).intent.claims['clientName'], 'me');
  });

  it('are each their own', async () => {
    const second = (await send(tunnel, { body: rpc('initialize') })).headers['mcp-session-id'];
    assert.notEqual(second, id);
    const stream = event({ jsonrpc: '2.0', id: 1, method: 'roots/list' });
    scene.server.behave = (_seen, response) => {
      beginStream(response);
      response.write(stream);
    };
    const listening = await open(tunnel, { method: 'GET', headers: withId().headers }).response;
    await readUntil(listening, 'roots/list');
    scene.server.behave = (_seen, response) => response.writeHead(202).end();
    const answer = { jsonrpc: '2.0', id: 1, result: { roots: [] } };
    assert.equal((await send(tunnel, { body: answer, headers: withId(tunnel, String(second)).headers })).status, 400);
    assert.equal((await send(tunnel, { body: answer, headers: withId().headers })).status, 202);
    listening.destroy();
  });

  it('are unknown to another principal and another server', async () => {
    for (const method of ['POST', 'GET', 'DELETE']) {
      const got = await unseen(scene, other, {
        method,
        headers: withId().headers,
        ...(method === 'POST' ? { body: toolCall('echo') } : {}),
      });
      assert.equal(got.status, 404);
    }
    const server = tunnel.core.servers.list()[0]!;
    tunnel.core.servers.put({ ...server, id: 'srv-2', label: 'Two' });
    const second = { ...tunnel, path: '/servers/srv-2/mcp', token: tunnel.tunnel.issue('srv-2', 'agent', 'own').token };
    assert.equal((await unseen(scene, second, { body: toolCall('echo'), headers: withId().headers })).status, 404);
  });

  it('end with a DELETE that the tunnel answers, and their stream with them, in order', async () => {
    scene.server.behave = (_seen, response) => beginStream(response);
    const stream = await open(tunnel, { method: 'GET', headers: withId().headers }).response;
    const ended = over(stream);
    const got = await unseen(scene, tunnel, { method: 'DELETE', headers: withId().headers });
    assert.deepEqual([got.status, got.body.length], [204, 0]);
    assert.equal(await ended, 'end');
    assert.deepEqual([lastCall(tunnel).intent.method, lastCall(tunnel).outcome?.result], ['DELETE session', 'ok']);
    for (const method of ['POST', 'DELETE'])
      assert.equal(
        (await unseen(scene, tunnel, { method, headers: withId().headers, ...(method === 'POST' ? { body: toolCall('echo') } : {}) }))
          .status,
        404,
      );
  });

  it('end when the connections to the server are ended, also for a new token', async () => {
    tunnel.tunnel.revokeServer(tunnel.serverId);
    assert.equal((await unseen(scene, tunnel, { body: toolCall('echo'), headers: withId().headers })).status, 404);
    const again = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own').token };
    const got = await unseen(scene, again, { body: toolCall('echo'), headers: withId().headers });
    assert.deepEqual([got.status, got.json().error?.code], [404, -31004]);
  });

  it('end when another window moves the server or gives it another credential: an id of the old place reaches nobody else', async () => {
    const [one, two] = [tunnel, await scene.open({ vault })];
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 'its-own' });
    const server = one.core.servers.get(one.serverId)!;
    const changes = [
      { ...server, upstream: { kind: 'http' as const, url: `${scene.server.url}/elsewhere` } },
      { ...server, credentials: ['cred-other'] },
    ];
    for (const changed of changes) {
      assert.equal((await send(two, { body: rpc('initialize') })).headers['mcp-session-id'], 'its-own');
      const headers = withId(two, 'its-own').headers;
      assert.equal((await send(two, { body: rpc('ping'), headers })).status, 200);
      one.core.servers.put(changed);
      assert.equal((await unseen(scene, two, { body: rpc('ping'), headers })).status, 404);
    }
  });

  it('are not denied their end, but a pause denies it as everything', async () => {
    tunnel.core.setPaused(true);
    assert.equal((await unseen(scene, tunnel, { method: 'DELETE', headers: withId().headers })).status, 405);
  });

  it('keep a session that the server names later to itself', async () => {
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 'late' });
    assert.equal((await send(tunnel, { body: toolCall('echo'), headers: withId().headers })).headers['mcp-session-id'], undefined);
  });

  it('are not for clients of the modern era, nor for servers that have some', async () => {
    assert.equal((await send(tunnel, modern('server/discover'))).headers['mcp-session-id'], undefined);
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 'its-own' });
    assert.equal((await send(tunnel, { body: rpc('initialize') })).headers['mcp-session-id'], 'its-own');
    scene.server.behave = (_seen, response) => answerJson(response, '{}', 400);
    assert.equal((await send(tunnel, { body: rpc('initialize') })).headers['mcp-session-id'], undefined);
  });

  it('carry the SDK’s client through its life with a real server that has none', async () => {
    const server = await new ModernServer().start();
    const door = await startTunnel({ upstream: { url: server.url } });
    try {
      const client = new Client({ name: 'test', version: '1' });
      const transport = new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: fetchThrough(door) });
      await client.connect(transport);
      assert.match(transport.sessionId ?? '', /^[A-Za-z0-9_-]{43}$/);
      const result = await client.callTool({ name: 'echo', arguments: { text: 'x' } });
      assert.deepEqual(result.content, [{ type: 'text', text: 'x' }]);
      await transport.terminateSession();
      assert.equal(lastCall(door).intent.method, 'DELETE session');
      await client.close();
    } finally {
      await door.close();
      await server.stop();
    }
  });
});

/** PROTOCOL.md 2: how a tunnel token is replaced. */
describe('a rotated token', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  const sessionServer: Behaviour = (seen, response) => {
    if (seen.method === 'GET') beginStream(response);
    else answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 's-1' });
  };
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
    scene.server.behave = sessionServer;
    await send(tunnel, { body: rpc('initialize') });
  });
  afterEach(() => scene.close());
  const rotate = () => ({ ...tunnel, token: tunnel.tunnel.rotate(tunnel.capabilityStem) ?? '' });

  it('gets 404 with a session, 503 without, and the new one goes on with the session', async () => {
    const next = rotate();
    const gone = await unseen(scene, tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
    assert.deepEqual([gone.status, gone.json().error?.code, gone.json().id], [404, -31004, null]);
    for (const method of ['GET', 'DELETE'])
      assert.equal((await unseen(scene, tunnel, { method, headers: { 'mcp-session-id': 's-1' } })).status, 404);
    assert.equal((await unseen(scene, tunnel, { body: rpc('initialize') })).status, 503);
    assert.equal((await send(next, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } })).status, 200);
    assert.equal(scene.server.seen.at(-1)?.headers['mcp-session-id'], 's-1');
  });

  it('stands in the file of its capability at once', () => {
    const { token } = rotate();
    const file = join(tunnel.runtimeFolder, CAPABILITY_FOLDER, `${tunnel.capabilityStem}.json`);
    assert.equal((JSON.parse(readFileSync(file, 'utf8')) as { token: string }).token, token);
    assert.notEqual(token, tunnel.token);
    assert.equal(tunnel.tunnel.rotate('srv-none.cap-none'), undefined);
  });

  it('ends the streams of its capability in order, and of no other', async () => {
    const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own').token };
    const writes: ((text: string) => void)[] = [];
    scene.server.behave = (_seen, response) => {
      beginStream(response);
      writes.push((text) => void response.write(text));
    };
    const mine = await open(tunnel, { method: 'GET', headers: { 'mcp-session-id': 's-1' } }).response;
    const theirs = await open(other, { method: 'GET', headers: { 'mcp-session-id': 's-1' } }).response;
    const ended = over(mine);
    rotate();
    assert.equal(await ended, 'end');
    writes[1]?.(': still here\n\n');
    await readUntil(theirs, 'still here');
    theirs.destroy();
  });

  it('lets calls that run be answered', async () => {
    let finish: () => void = () => undefined;
    scene.server.behave = (seen, response) => (finish = () => answerJson(response, resultFor(seen, { ok: true })));
    const before = scene.server.seen.length;
    const answer = send(tunnel, { body: toolCall('slow'), headers: { 'mcp-session-id': 's-1' } });
    await scene.server.received(before + 1);
    rotate();
    finish();
    assert.deepEqual((await answer).json().result, { ok: true });
  });

  it('brings the call of a client that asks anew through without a word, as VS Code does', async () => {
    // On 404 with a session it resolves the definition again and repeats the call once (PROTOCOL.md 2).
    let door: Door = tunnel;
    const vscodeSend = async (sent: Sent) => {
      const got = await send(door, sent);
      if (got.status !== 404) return got;
      door = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own').token };
      const again = await send(door, { body: rpc('initialize') });
      return send(door, { ...sent, headers: { ...sent.headers, 'mcp-session-id': String(again.headers['mcp-session-id']) } });
    };
    rotate();
    const got = await vscodeSend({ body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
    assert.deepEqual([got.status, got.json().error], [200, undefined]);
    assert.equal(callsOn(tunnel).filter((c) => c.intent.tool === 'echo').length, 1);
  });
});

/** What becomes of agents when VS Code closes. */
describe('closing', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
  });
  afterEach(() => scene.close());

  it('lets calls finish, takes no new ones, ends streams in order, and waits for nothing else', async () => {
    let finish: () => void = () => undefined;
    scene.server.behave = (seen, response) => {
      if (seen.method === 'GET' || seen.body.includes('subscriptions/listen')) beginStream(response);
      else finish = () => answerJson(response, resultFor(seen, { ok: true }));
    };
    const streams = await Promise.all([open(tunnel, { method: 'GET' }).response, open(tunnel, modern('subscriptions/listen')).response]);
    const ended = streams.map(over);
    const answer = send(tunnel, { body: toolCall('slow') });
    await scene.server.received(3);
    const closed = tunnel.tunnel.close(60_000);
    const late = await unseen(scene, tunnel, { body: toolCall('late') });
    assert.deepEqual([late.status, late.body.length], [404, 0]);
    finish();
    assert.deepEqual((await answer).json().result, { ok: true });
    assert.deepEqual(await Promise.all(ended), ['end', 'end']);
    await closed;
    assert.deepEqual(
      callsOn(tunnel).map((c) => [c.intent.method, c.outcome?.result]),
      [
        ['GET stream', 'ok'],
        ['subscriptions/listen', 'ok'],
        ['tools/call', 'ok'],
      ],
    );
    await assert.rejects(send(tunnel, { body: toolCall('gone') }), /ENOENT|ECONNREFUSED/);
  });

  it('ends calls that do not finish in time, with a word', async () => {
    scene.server.behave = () => undefined;
    const answer = send(tunnel, { body: toolCall('slow') });
    await scene.server.received(1);
    await tunnel.tunnel.close(50);
    assert.match((await answer).json().error?.message ?? '', /Culvert is closing/);
    assert.equal(lastCall(tunnel).outcome?.result, 'closed');
  });

  it('breaks off the stream of a call that has no answer yet, so that nobody takes it for complete', async () => {
    scene.server.behave = (_seen, response) => {
      beginStream(response);
      response.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params: {} }));
    };
    const stream = await open(tunnel, { body: toolCall('slow') }).response;
    await readUntil(stream, 'progress');
    const ended = over(stream);
    await tunnel.tunnel.close(20);
    assert.equal(await ended, 'broken');
  });

  it('takes the capability files away first, so that bridges look elsewhere', async () => {
    const file = join(tunnel.runtimeFolder, CAPABILITY_FOLDER, `${tunnel.capabilityStem}.json`);
    readFileSync(file);
    scene.server.behave = () => undefined;
    const answer = send(tunnel, { body: toolCall('slow') });
    await scene.server.received(1);
    const closed = tunnel.tunnel.close(100);
    assert.throws(() => readFileSync(file), /ENOENT/);
    await closed;
    await answer;
    await recorded(tunnel, () => lastCall(tunnel).outcome !== undefined);
  });
});
