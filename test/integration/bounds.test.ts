import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import type { Limits } from '../../src/tunnel/limits.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { modern, open, over, readUntil, rpc, send, toolCall, type Door, type Sent } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor } from '../support/fakeServer.ts';
import { callsOn, lastCall, newScene, recorded, type Scene } from '../support/tunnels.ts';

/** Every bound at its edge: what is just within passes, one more gets a clear answer, and what it took is given back. */
describe('bounds', () => {
  let scene: Scene;
  beforeEach(async () => {
    scene = await newScene();
  });
  afterEach(() => scene.close());
  const openWith = (limits: Partial<Limits>): Promise<HeadlessTunnel> => scene.open({ limits });

  it('body size', async () => {
    const tunnel = await openWith({ requestBytes: 1000 });
    const body = JSON.stringify(toolCall('echo'));
    assert.equal((await send(tunnel, { body: body.padEnd(1000) })).status, 200);
    assert.equal((await send(tunnel, { body: body.padEnd(1001) })).status, 413);
    const chunked = { 'content-length': undefined, 'transfer-encoding': 'chunked' };
    assert.equal((await send(tunnel, { body: body.padEnd(1000), headers: chunked })).status, 200);
    assert.equal((await send(tunnel, { body: body.padEnd(1001), headers: chunked })).status, 413);
    assert.equal(scene.server.seen.length, 2);
  });

  it('header size', async () => {
    const tunnel = await openWith({ requestHeaderBytes: 4096 });
    assert.equal((await send(tunnel, { body: toolCall('echo'), headers: { 'x-long': 'x'.repeat(3000) } })).status, 200);
    const got = await send(tunnel, { body: toolCall('echo'), headers: { 'x-long': 'x'.repeat(4096) } });
    assert.deepEqual([got.status, got.body.length], [431, 0]);
    assert.equal(scene.server.seen.length, 1);
  });

  it('what is no HTTP gets 400', async () => {
    const tunnel = await openWith({});
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = net.connect(tunnel.socketPath ?? '', () => socket.write('hello\r\n\r\n'));
      socket.on('data', (part) => (text += part.toString())).once('close', () => resolve(text));
    });
    assert.match(answer, /^HTTP\/1\.1 400 /);
  });

  it('connections', async () => {
    const tunnel = await openWith({ connections: 3 });
    const agent = new http.Agent({ keepAlive: true });
    const idle = await Promise.all(
      [1, 2].map(
        () =>
          new Promise<net.Socket>((resolve) => {
            const socket: net.Socket = net.connect(tunnel.socketPath ?? '', () => resolve(socket));
          }),
      ),
    );
    assert.equal((await send(tunnel, { body: toolCall('echo'), agent })).status, 200);
    const refused = await send(tunnel, { body: toolCall('echo') });
    assert.equal(refused.status, 503);
    assert.match(refused.json().error?.message ?? '', /as many connections open as it may/);
    assert.equal(refused.headers.connection, 'close');
    // The one that was there before works on.
    assert.equal((await send(tunnel, { body: toolCall('echo'), agent })).status, 200);
    assert.equal(scene.server.seen.length, 2);
    assert.ok(scene.log.lines.some((line) => line.includes('More than 3 connections')));
    const closed = Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
    for (const socket of idle) socket.destroy();
    await closed;
    // The listener hears of it in its own time.
    let status = 503;
    while (status === 503) ({ status } = await send(tunnel, { body: toolCall('echo') }));
    assert.equal(status, 200);
    agent.destroy();
  });

  describe('streams of one client', () => {
    const listen: Readonly<Record<string, Sent>> = {
      'by GET': { method: 'GET' },
      'by subscriptions/listen': modern('subscriptions/listen'),
    };
    for (const [how, sent] of Object.entries(listen))
      it(how, async () => {
        const tunnel = await openWith({ streamsPerClient: 2 });
        const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own').token };
        scene.server.behave = (seen, response) => {
          if (seen.body.includes('tools/call')) answerJson(response, resultFor(seen, {}));
          else beginStream(response);
        };
        const streams = await Promise.all([open(tunnel, { method: 'GET' }).response, open(tunnel, sent).response]);
        const refused = await send(tunnel, sent);
        if (how === 'by GET') assert.equal(refused.status, 405);
        else {
          assert.deepEqual([refused.status, refused.json().error?.code, refused.json().id], [200, -31001, 1]);
          assert.match(refused.json().error?.message ?? '', /as many streams of Fake open as it may/);
        }
        assert.equal(scene.server.seen.length, 2);
        assert.equal(lastCall(tunnel).intent.effect, 'deny');
        // Calls and other clients are not concerned.
        assert.equal((await send(tunnel, { body: toolCall('echo') })).status, 200);
        const theirs = await open(other, sent).response;
        assert.equal(theirs.statusCode, 200);
        theirs.destroy();
        const count = callsOn(tunnel).length;
        streams[0].destroy();
        await recorded(tunnel, () => callsOn(tunnel)[0]?.outcome !== undefined);
        assert.equal(callsOn(tunnel).length, count);
        const again = await open(tunnel, sent).response;
        assert.equal(again.statusCode, 200);
        again.destroy();
        streams[1].destroy();
      });

    it('are given back however they end: refused, denied, broken', async () => {
      const tunnel = await openWith({ streamsPerClient: 1 });
      for (const status of [401, 404, 405, 500]) {
        scene.server.behave = (_seen, response) => response.writeHead(status).end();
        await send(tunnel, { method: 'GET' });
      }
      tunnel.core.setPaused(true);
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
      tunnel.core.setPaused(false);
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.write(': x\n\n', () => response.destroy());
      };
      assert.equal(await over(await open(tunnel, { method: 'GET' }).response), 'broken');
      await recorded(tunnel, () => callsOn(tunnel).every((c) => c.outcome !== undefined));
      scene.server.behave = (_seen, response) => beginStream(response);
      const stream = await open(tunnel, { method: 'GET' }).response;
      assert.equal(stream.statusCode, 200);
      stream.destroy();
    });
  });

  it('sessions: the one idle longest goes first, never one with a stream', async () => {
    const tunnel = await openWith({ sessions: 3 });
    let next = 0;
    scene.server.behave = (seen, response) => {
      if (seen.method === 'GET') beginStream(response);
      else if (seen.body.includes('initialize')) answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': `s-${next++}` });
      else answerJson(response, resultFor(seen, {}));
    };
    const begin = () => send(tunnel, { body: rpc('initialize') });
    const works = async (session: string) =>
      (await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': session } })).status === 200;
    // The first request without an id is remembered too: it is the client's session as long as there is no other.
    await begin();
    const stream = await open(tunnel, { method: 'GET', headers: { 'mcp-session-id': 's-0' } }).response;
    await begin();
    assert.deepEqual([await works('s-0'), await works('s-1')], [true, true]);
    await begin();
    await begin();
    assert.deepEqual([await works('s-0'), await works('s-1')], [true, false]);
    const gone = await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
    assert.deepEqual([gone.status, gone.json().error?.code], [404, -31004]);
    stream.destroy();
  });

  it('requests of a server that wait: one more passes and the oldest can’t be answered any more', async () => {
    const tunnel = await openWith({ pendingRequests: 2 });
    const ask = (id: number) => event({ jsonrpc: '2.0', id, method: 'sampling/createMessage', params: {} });
    let write: (text: string) => void = () => undefined;
    scene.server.behave = (seen, response) => {
      if (seen.method !== 'GET') {
        response.writeHead(202).end();
        return;
      }
      beginStream(response);
      write = (text) => void response.write(text);
      write(ask(1) + ask(2));
    };
    const answer = async (id: number) => (await send(tunnel, { body: { jsonrpc: '2.0', id, result: {} } })).status;
    const stream = await open(tunnel, { method: 'GET' }).response;
    let seen = await readUntil(stream, '"id":2');
    assert.equal(await answer(1), 202);
    write(ask(3));
    seen = await readUntil(stream, '"id":3', seen);
    assert.ok(!scene.log.lines.some((line) => line.includes('never answered')));
    write(ask(4));
    await readUntil(stream, '"id":4', seen);
    assert.deepEqual([await answer(2), await answer(3), await answer(4)], [400, 202, 202]);
    assert.ok(scene.log.lines.some((line) => line.includes('Fake has asked its client more than 2 things that were never answered')));
    stream.destroy();
  });

  for (const form of ['an event stream', 'text'] as const)
    it(`an error that never ends, as ${form}: its status goes on, and the server is let go`, async () => {
      const tunnel = await openWith({ errorBodyMs: 50 });
      const closed = new Promise<void>((resolve) => {
        scene.server.behave = (_seen, response) => {
          response.writeHead(404, { 'content-type': form === 'text' ? 'text/plain' : 'text/event-stream' });
          response.write(': for ever\n\n');
          response.once('close', () => resolve());
        };
      });
      const got = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual([got.status, got.json().error?.code, got.json().id], [404, -31002, 1]);
      assert.match(got.json().error?.message ?? '', /^Fake answered HTTP 404 without a whole text/);
      await closed;
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
    });

  it('an error whose text is too large: its status goes on', async () => {
    const tunnel = await openWith({});
    const text = (size: number) => `{"error":"${'x'.repeat(size)}"}`;
    scene.server.behave = (_seen, response) => answerJson(response, text(1024 * 1024 - 12), 500);
    assert.equal((await send(tunnel, { body: toolCall('echo') })).body.length, 1024 * 1024);
    scene.server.behave = (_seen, response) => answerJson(response, text(1024 * 1024 - 11), 500);
    const got = await send(tunnel, { body: toolCall('echo') });
    assert.deepEqual([got.status, got.json().error?.code], [500, -31002]);
  });

  it('a reader that stands still costs no memory: the server is asked to wait', async function () {
    this.timeout(120_000);
    const tunnel: Door & HeadlessTunnel = await openWith({});
    const block = `data: ${'x'.repeat(64 * 1024)}\n\n`;
    let written = 0;
    const stuck = new Promise<void>((resolve) => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        const pump = () => {
          // Far more than every buffer on the way holds together.
          while (written < 512 * 1024 * 1024) {
            written += block.length;
            if (response.write(block)) continue;
            const idle = setTimeout(resolve, 300);
            response.once('drain', () => {
              clearTimeout(idle);
              pump();
            });
            return;
          }
          resolve();
        };
        pump();
      };
    });
    const stream = await open(tunnel, { method: 'GET' }).response;
    stream.pause();
    await stuck;
    assert.ok(written < 32 * 1024 * 1024, `${written} bytes were taken`);
    // What the tunnel itself has to say waits too.
    for (let i = 0; i < 100; i++)
      tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['x'] }, i % 2 ? 'deny' : 'allow', 'tree');
    stream.destroy();
  });
});
