import assert from 'node:assert/strict';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { modern, open, over, readUntil, rpc, send, toolCall } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor, type Behaviour } from '../support/fakeServer.ts';
import { lastCall, newScene, recorded, type Scene } from '../support/tunnels.ts';

/** PROTOCOL.md 1 against servers that do exactly what a test says. */
describe('the two eras', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
  });
  afterEach(() => scene.close());

  /** A server with sessions, and a stream on GET. */
  const withSession =
    (id: string, rest?: Behaviour): Behaviour =>
    (seen, response, request) => {
      if (seen.body.includes('initialize')) answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': id });
      else if (rest) rest(seen, response, request);
      else answerJson(response, resultFor(seen, {}));
    };

  describe('sessions', () => {
    beforeEach(async () => {
      scene.server.behave = withSession('s-1', (_seen, response) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
      );
      const got = await send(tunnel, { body: rpc('initialize') });
      assert.equal(got.headers['mcp-session-id'], 's-1');
    });

    it('pass through to whoever began them', async () => {
      await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
      assert.equal(scene.server.seen.at(-1)?.headers['mcp-session-id'], 's-1');
    });

    it('are unknown to another principal and to another server, and nobody tells the server', async () => {
      const before = scene.server.seen.length;
      const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
      for (const method of ['POST', 'GET', 'DELETE']) {
        const got = await send(other, {
          method,
          ...(method === 'POST' ? { body: toolCall('echo') } : {}),
          headers: { 'mcp-session-id': 's-1' },
        });
        assert.equal(got.status, 404);
      }
      const server = tunnel.core.servers.list()[0]!;
      tunnel.core.servers.put({ ...server, id: 'srv-2', label: 'Two' });
      const second = { ...tunnel, path: '/servers/srv-2/mcp', token: tunnel.tunnel.issue('srv-2', 'agent', 'own').token };
      assert.equal((await send(second, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } })).status, 404);
      assert.equal((await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-none' } })).status, 404);
      assert.equal(scene.server.seen.length, before);
    });

    it('survive a rotated token of the same principal', async () => {
      const again = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'agent', 'own').token };
      assert.equal((await send(again, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } })).status, 200);
    });

    it('can not be borrowed through the modern era', async () => {
      const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
      const { body, headers } = modern('tools/call', { name: 'echo', arguments: {} });
      await send(other, { body, headers: { ...headers, 'mcp-session-id': 's-1' } });
      assert.equal(scene.server.seen.at(-1)?.headers['mcp-session-id'], undefined);
    });

    it('end with a DELETE that is forwarded, and with a 404 of the server', async () => {
      assert.equal((await send(tunnel, { method: 'DELETE', headers: { 'mcp-session-id': 's-1' } })).status, 200);
      assert.deepEqual([scene.server.seen.at(-1)?.method, scene.server.seen.at(-1)?.headers['mcp-session-id']], ['DELETE', 's-1']);
      const count = scene.server.seen.length;
      assert.equal((await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } })).status, 404);
      assert.equal(scene.server.seen.length, count);
      await send(tunnel, { body: rpc('initialize') });
      scene.server.behave = (_seen, response) => answerJson(response, '{"gone":1.0}', 404);
      const got = await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
      assert.deepEqual([got.status, got.body.toString()], [404, '{"gone":1.0}']);
    });
  });

  it('adds no version header, and forwards the one it gets', async () => {
    await send(tunnel, { body: toolCall('echo') });
    await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-protocol-version': '2025-06-18' } });
    assert.deepEqual(
      scene.server.seen.map((s) => s.headers['mcp-protocol-version']),
      [undefined, '2025-06-18'],
    );
  });

  describe('answers to what the server asks', () => {
    const asking = (message: string): Behaviour =>
      withSession('s-1', (seen, response) => {
        if (seen.method === 'GET') {
          beginStream(response);
          response.write(message);
        } else response.writeHead(202).end();
      });
    const answer = (id: unknown) =>
      send(tunnel, {
        body: `{"jsonrpc":"2.0","id":${typeof id === 'string' ? id : JSON.stringify(id)},"result":{}}`,
        headers: { 'mcp-session-id': 's-1' },
      });

    for (const [what, message] of Object.entries({
      'as usual': 'data: {"jsonrpc":"2.0","id":"q 1","method":"sampling/createMessage","params":{}}\n\n',
      'with space before it': 'data:   {"jsonrpc":"2.0","id":"q 1","method":"sampling/createMessage","params":{}}\n\n',
      'over several lines': 'data: {"jsonrpc":"2.0","id":"q 1",\r\ndata: "method":"roots/list"}\r\n\r\n',
    }))
      it(`pass once, ${what}`, async () => {
        scene.server.behave = asking(message);
        await send(tunnel, { body: rpc('initialize') });
        const early = await answer('"q 1"');
        assert.equal(early.status, 400);
        const count = scene.server.seen.length;
        const stream = await open(tunnel, { method: 'GET', headers: { 'mcp-session-id': 's-1' } }).response;
        await readUntil(stream, 'q 1');
        assert.equal((await answer('"q 2"')).status, 400);
        assert.equal((await answer('"q 1"')).status, 202);
        assert.equal((await answer('"q 1"')).status, 400);
        assert.equal(scene.server.seen.length, count + 2);
        stream.destroy();
      });

    it('tell numbers from text', async () => {
      scene.server.behave = asking('data: {"jsonrpc":"2.0","id":1,"method":"ping"}\n\n');
      await send(tunnel, { body: rpc('initialize') });
      const stream = await open(tunnel, { method: 'GET', headers: { 'mcp-session-id': 's-1' } }).response;
      await readUntil(stream, 'ping');
      assert.equal((await answer('"1"')).status, 400);
      assert.equal((await answer(1)).status, 202);
      stream.destroy();
    });

    it('pass on the stream of a call, too', async () => {
      scene.server.behave = withSession('s-1', (seen, response) => {
        if (seen.body.includes('"result"')) {
          response.writeHead(202).end();
          return;
        }
        beginStream(response);
        response.write(event({ jsonrpc: '2.0', id: 'e1', method: 'elicitation/create', params: {} }));
        void scene.server.received(3).then(() => response.end(event(resultFor(seen, { content: [] }))));
      });
      await send(tunnel, { body: rpc('initialize') });
      const stream = await open(tunnel, { body: toolCall('ask', {}, 9), headers: { 'mcp-session-id': 's-1' } }).response;
      const seen = await readUntil(stream, 'e1');
      assert.equal((await answer('"e1"')).status, 202);
      await readUntil(stream, '"id":9', seen);
      stream.destroy();
    });
  });

  describe('a disconnect', () => {
    const waiting = () => {
      let onGone: () => void = () => undefined;
      const gone = new Promise<void>((resolve) => (onGone = resolve));
      let release: (text: string) => void = () => undefined;
      scene.server.behave = (seen, response) => {
        response.once('close', () => {
          if (!response.writableFinished) onGone();
        });
        release = (text) => response.end(text === '' ? resultFor(seen, {}) : text);
        response.writeHead(200, { 'content-type': 'application/json' });
        response.flushHeaders();
      };
      return { gone, release: () => release('') };
    };

    it('in the older era does not cancel the call', async () => {
      const { gone, release } = waiting();
      let cancelled = false;
      void gone.then(() => (cancelled = true));
      const { request } = open(tunnel, { body: toolCall('slow') });
      request.on('error', () => undefined);
      await scene.server.received(1);
      request.destroy();
      // A later call goes all the way while the first one is still there: by then a cancel would have arrived.
      const connection = scene.server.seen[0]?.connection;
      const { behave } = scene.server;
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}));
      assert.equal((await send(tunnel, { body: toolCall('echo') })).status, 200);
      scene.server.behave = behave;
      assert.deepEqual([cancelled, connection], [false, 1]);
      release();
      await recorded(tunnel, () => tunnel.core.audit.activities({ limit: 5 }).every((a) => a.outcome !== undefined));
      assert.equal(tunnel.core.audit.activities({ limit: 5 }).at(-1)?.outcome?.result, 'ok');
    });

    it('in the modern era cancels it at once', async () => {
      const { gone } = waiting();
      const { request } = open(tunnel, modern('tools/call', { name: 'slow', arguments: {} }));
      request.on('error', () => undefined);
      await scene.server.received(1);
      request.destroy();
      await gone;
      await recorded(tunnel, () => lastCall(tunnel).outcome !== undefined);
      assert.equal(lastCall(tunnel).outcome?.result, 'cancelled');
    });

    it('in the modern era cancels a stream in the middle', async () => {
      const closed = new Promise<void>((resolve) => {
        scene.server.behave = (_seen, response) => {
          beginStream(response);
          response.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params: {} }));
          response.once('close', () => resolve());
        };
      });
      const stream = await open(tunnel, modern('subscriptions/listen')).response;
      await readUntil(stream, 'progress');
      stream.destroy();
      await closed;
    });

    it('ends a GET stream at the server', async () => {
      const closed = new Promise<void>((resolve) => {
        scene.server.behave = (_seen, response) => {
          beginStream(response);
          response.once('close', () => resolve());
        };
      });
      const stream = await open(tunnel, { method: 'GET' }).response;
      stream.destroy();
      await closed;
    });
  });

  describe('streams', () => {
    it('pass ids, retry, empty data, comments and unknown fields byte for byte, with Last-Event-ID going up', async () => {
      const wire = [
        'id: 0\nretry: 3000\ndata:\n\n',
        ': alive\n\n',
        'event: message\r\nid: a1\r\ndata: {"jsonrpc":"2.0","method":"notifications/x","params":{"n":1.0}}\r\n\r\n',
        'x-field: 1\ndata: {"a":\ndata: 2}\n\n',
        '\n\n',
      ].join('');
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(wire);
      };
      const got = await send(tunnel, { method: 'GET', headers: { 'last-event-id': 'a0' } });
      assert.equal(got.body.toString(), wire);
      assert.equal(got.headers['content-type'], 'text/event-stream');
      assert.equal(scene.server.seen[0]?.headers['last-event-id'], 'a0');
    });

    it('end cleanly where the server ends cleanly, and break where it breaks', async () => {
      scene.server.behave = (seen, response) => {
        beginStream(response);
        response.write(': hello\n\n', () => (seen.headers['x-break'] === undefined ? response.end() : response.destroy()));
      };
      assert.equal(await over(await open(tunnel, { method: 'GET' }).response), 'end');
      assert.equal(await over(await open(tunnel, { method: 'GET', headers: { 'x-break': '1' } }).response), 'broken');
    });

    it('begin before the first event, and bring each event before the next is there', async () => {
      let write: (text: string) => void = () => undefined;
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        write = (text) => void response.write(text);
      };
      const stream = await open(tunnel, { method: 'GET' }).response;
      assert.equal(stream.statusCode, 200);
      for (const text of ['data: {"n":1}\n\n', ': beat\n', 'data: {"n":2}\n\n']) {
        write(text);
        await readUntil(stream, text);
      }
      stream.destroy();
    });

    it('bring no event that does not end', async () => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end('data: {"whole":1}\n\ndata: {"half":');
      };
      assert.equal((await send(tunnel, { method: 'GET' })).body.toString(), 'data: {"whole":1}\n\n');
    });

    it('pass the status of a server that offers none', async () => {
      scene.server.behave = (_seen, response) => response.writeHead(405, { allow: 'POST' }).end();
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
    });
  });

  it('has both on one endpoint: every request is of its own era', async () => {
    scene.server.behave = withSession('s-1');
    await send(tunnel, { body: rpc('initialize') });
    await send(tunnel, modern('server/discover'));
    await send(tunnel, { body: toolCall('echo'), headers: { 'mcp-session-id': 's-1' } });
    await send(tunnel, modern('tools/call', { name: 'echo', arguments: {} }));
    assert.deepEqual(
      tunnel.core.audit
        .activities({ limit: 9 })
        .map((a) => a.intent.era)
        .reverse(),
      ['legacy', 'modern', 'legacy', 'modern'],
    );
    assert.equal(scene.server.seen.length, 4);
  });

  it('ends a call in the middle when its access is taken away, and says so', async () => {
    scene.server.behave = () => undefined;
    const answer = send(tunnel, { body: toolCall('slow') });
    await scene.server.received(1);
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['slow'] }, 'deny', 'tree');
    const got = await answer;
    assert.equal(got.status, 200);
    assert.match(got.json().error?.message ?? '', /The call was ended/);
    assert.equal(lastCall(tunnel).outcome?.result, 'closed');
  });

  it('lets a call run on when something else is taken away', async () => {
    let finish: () => void = () => undefined;
    scene.server.behave = (seen, response) => {
      finish = () => answerJson(response, resultFor(seen, { ok: true }));
    };
    const answer = send(tunnel, { body: toolCall('slow') });
    await scene.server.received(1);
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['other'] }, 'deny', 'tree');
    finish();
    assert.deepEqual((await answer).json().result, { ok: true });
  });

  it('ends a stream whose reader stands still when its access is taken away', async () => {
    const flooded = new Promise<void>((resolve) => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        const pump = () => {
          while (response.write(`data: ${'x'.repeat(60_000)}\n\n`));
          // Nothing is taken any more: everything between here and the reader is full.
          const stuck = setTimeout(resolve, 200);
          response.once('drain', () => {
            clearTimeout(stuck);
            pump();
          });
        };
        pump();
      };
    });
    const stream = await open(tunnel, { body: toolCall('flood') }).response;
    stream.pause();
    await flooded;
    tunnel.core.setPaused(true);
    await recorded(tunnel, () => lastCall(tunnel).outcome !== undefined);
    assert.equal(await over(stream), 'broken');
  });

  it('records what the client claims as claims, and strips the editor’s own meta', async () => {
    const body =
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"vscode.conversationId":"c1","progressToken":1.0,"vscode.requestId":"r1","traceparent":"t1"},"arguments":{}}}';
    await send(tunnel, { body });
    assert.equal(
      scene.server.seen[0]?.body.toString(),
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","_meta":{"progressToken":1.0,"traceparent":"t1"},"arguments":{}}}',
    );
    assert.deepEqual(lastCall(tunnel).intent.claims, { conversationId: 'c1', requestId: 'r1', traceparent: 't1' });
  });

  it('frees the connection of a whole call for the next', async () => {
    for (let i = 0; i < 5; i++) await send(tunnel, { body: toolCall('echo') });
    assert.equal(scene.server.connections, 1);
  });
});
