import assert from 'node:assert/strict';
import { MAX_REQUEST_BYTES } from '../../src/listener/listener.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { MODERN, modern, open, over, rpc, send, toolCall, type Sent } from '../support/agent.ts';
import { answerJson, beginStream, resultFor } from '../support/fakeServer.ts';
import { lastCall, newScene, type Scene } from '../support/tunnels.ts';

/** PROTOCOL.md 2, the table of answers, row by row. */
describe('what the tunnel answers', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
  });
  afterEach(() => scene.close());

  const body = toolCall('echo');
  /** Sends, and makes sure that nothing reached the server. */
  const sendAndStop = async (sent: Sent, door = tunnel) => {
    const before = scene.server.seen.length;
    const got = await send(door, sent);
    assert.equal(scene.server.seen.length, before, 'the server was contacted');
    return got;
  };

  describe('on a socket', () => {
    for (const host of ['evil.example', '127.0.0.1', 'localhost:80', 'localhost.', 'LOCALHOST'])
      it(`403 to Host ${host}`, async () => {
        const got = await sendAndStop({ body, headers: { host } });
        assert.deepEqual([got.status, got.body.length], [403, 0]);
      });

    for (const origin of ['http://localhost', 'null', 'https://evil.example', 'vscode-webview://x'])
      it(`403 to Origin ${origin}`, async () => {
        const got = await sendAndStop({ body, headers: { origin } });
        assert.deepEqual([got.status, got.body.length], [403, 0]);
      });
  });

  describe('on a port', () => {
    let door: HeadlessTunnel;
    beforeEach(async () => {
      door = await scene.open({ listen: { kind: 'loopback', port: 0 }, stateFolder: undefined as never });
    });

    it('answers to its own name and origin, and to none else', async () => {
      const port = new URL(door.url ?? '').port;
      assert.equal((await send(door, { body })).status, 200);
      assert.equal((await send(door, { body, headers: { host: `localhost:${port}`, origin: `http://127.0.0.1:${port}` } })).status, 200);
      for (const headers of [
        { host: 'localhost' },
        { host: `evil.example:${port}` },
        { origin: 'http://127.0.0.1' },
        { origin: `https://127.0.0.1:${port}` },
      ])
        assert.equal((await sendAndStop({ body, headers }, door)).status, 403);
    });
  });

  for (const [what, headers] of Object.entries<Record<string, string | undefined>>({
    'no token': { authorization: undefined },
    'an unknown token': { authorization: `Bearer ${'A'.repeat(43)}` },
    'another scheme': { authorization: 'Basic YTpi' },
    'an unknown token and a session': { authorization: `Bearer ${'A'.repeat(43)}`, 'mcp-session-id': 's' },
  }))
    it(`401 to ${what}, with nothing that asks to sign in`, async () => {
      for (const method of ['POST', 'GET', 'DELETE']) {
        const got = await sendAndStop({ method, headers, ...(method === 'POST' ? { body } : {}) });
        assert.deepEqual([got.status, got.body.length, got.headers['www-authenticate']], [401, 0, undefined]);
      }
    });

  it('401 to the token of another server', async () => {
    const other = { ...tunnel.core.servers.list()[0]!, id: 'srv-other', label: 'Other' };
    tunnel.core.servers.put(other);
    const { token } = tunnel.tunnel.issue('srv-other', 'agent', 'own');
    assert.equal((await send({ ...tunnel, token, path: '/servers/srv-other/mcp' }, { body })).status, 200);
    assert.equal((await sendAndStop({ body }, { ...tunnel, token })).status, 401);
  });

  it('404 to an own token that was revoked and has a session, 503 without one; open streams end', async () => {
    scene.server.behave = (seen, response) => {
      if (seen.method === 'GET') beginStream(response);
      else answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 's1' });
    };
    await send(tunnel, { body: rpc('initialize') });
    const stream = await open(tunnel, { method: 'GET', headers: { 'mcp-session-id': 's1' } }).response;
    const ended = over(stream);
    tunnel.tunnel.revokeServer(tunnel.serverId);
    assert.equal(await ended, 'broken');
    const withSession = await sendAndStop({ body, headers: { 'mcp-session-id': 's1' } });
    assert.deepEqual([withSession.status, withSession.json().error?.code], [404, -31004]);
    assert.equal((await sendAndStop({ body })).status, 503);
  });

  const refused: Readonly<Record<string, readonly [string | Buffer, number]>> = {
    'an array': [JSON.stringify([body]), -32600],
    'a duplicate key': ['{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"x"}}', -32600],
    'a case variant': ['{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}', -32600],
    'bad UTF-8': [Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'), Buffer.from([0xff]), Buffer.from('"}')]), -32700],
    'trailing data': [`${JSON.stringify(body)}x`, -32700],
    'too deep': [`{"jsonrpc":"2.0","id":1,"method":"ping","params":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`, -32600],
    nothing: ['', -32700],
  };
  for (const [what, [text, code]] of Object.entries(refused))
    it(`400 and ${code} to ${what}, on the record`, async () => {
      const got = await sendAndStop({ body: text });
      assert.deepEqual([got.status, got.json().error?.code, got.json().id], [400, code, null]);
      const { intent, outcome } = lastCall(tunnel);
      assert.deepEqual([intent.effect, outcome?.result, outcome?.status], ['deny', 'denied', 400]);
    });

  it('415 to what is not sent as JSON', async () => {
    assert.equal((await sendAndStop({ body: JSON.stringify(body), headers: { 'content-type': 'text/plain' } })).status, 415);
    assert.equal((await sendAndStop({ body: JSON.stringify(body), headers: { 'content-type': undefined } })).status, 415);
  });

  it('413 to what is too large, said before and found out while reading', async () => {
    const large = Buffer.alloc(MAX_REQUEST_BYTES + 1, 0x20);
    assert.equal((await sendAndStop({ body: large })).status, 413);
    assert.equal(
      (await sendAndStop({ body: large, headers: { 'content-length': undefined, 'transfer-encoding': 'chunked' } })).status,
      413,
    );
    assert.equal((await send(tunnel, { body: JSON.stringify(body).padEnd(MAX_REQUEST_BYTES) })).status, 200);
  });

  it('200 and an error with the same id to a denied call, in words that help', async () => {
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'deny', 'tree');
    for (const id of [7, 'seven', '12345678901234567890']) {
      const got = await sendAndStop({
        body: `{"jsonrpc":"2.0","id":${typeof id === 'string' && /^\d+$/.test(id) ? id : JSON.stringify(id)},"method":"tools/call","params":{"name":"echo"}}`,
      });
      assert.equal(got.status, 200);
      assert.ok(got.body.includes(`"id":${typeof id === 'string' && /^\d+$/.test(id) ? id : JSON.stringify(id)},`));
      assert.equal(got.json().error?.code, -31001);
      assert.match(got.json().error?.message ?? '', /^Culvert denied this call\. The tool “echo” of Fake is denied by the user\./);
    }
    assert.deepEqual([lastCall(tunnel).intent.effect, lastCall(tunnel).outcome?.result], ['deny', 'denied']);
  });

  it('200 and an error to an unknown method', async () => {
    const got = await sendAndStop({ body: rpc('tools/explode') });
    assert.deepEqual([got.status, got.json().error?.code], [200, -32601]);
  });

  it('202 to a denied notification, 405 to a denied stream', async () => {
    tunnel.core.setPaused(true);
    const got = await sendAndStop({ body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
    assert.deepEqual([got.status, got.body.length], [202, 0]);
    assert.equal((await sendAndStop({ method: 'GET' })).status, 405);
    assert.equal((await sendAndStop({ method: 'DELETE' })).status, 405);
  });

  for (const status of [401, 403])
    it(`200 and an error where the server answers ${status}, 405 on a stream; its challenge stays here`, async () => {
      scene.server.behave = (_seen, response) =>
        answerJson(response, '{"error":"no"}', status, { 'www-authenticate': 'Bearer resource_metadata="https://evil.example"' });
      for (const method of ['initialize', 'tools/call']) {
        const got = await send(tunnel, { body: rpc(method, { name: 'echo' }) });
        assert.deepEqual([got.status, got.json().error?.code, got.json().id, got.headers['www-authenticate']], [200, -31002, 1, undefined]);
        assert.match(got.json().error?.message ?? '', new RegExp(`Fake wants a credential \\(HTTP ${status}\\)`));
      }
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
    });

  for (const status of [301, 302, 303, 304, 307, 308])
    it(`never ${status}: an error instead`, async () => {
      scene.server.behave = (_seen, response) => response.writeHead(status, { location: 'https://evil.example/' }).end();
      const got = await send(tunnel, { body });
      assert.deepEqual([got.status, got.json().error?.code, got.headers.location], [200, -31002, undefined]);
      assert.equal((await send(tunnel, { body: rpc('initialize') })).status, status === 304 ? 200 : 503);
      assert.equal(scene.server.seen.length, 2);
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
    });

  it('200 and an error where nothing listens, 503 on the very first request', async () => {
    await scene.server.stop();
    const got = await send(tunnel, { body });
    assert.deepEqual([got.status, got.json().error?.code], [200, -31002]);
    assert.match(got.json().error?.message ?? '', /^Fake: Nothing listens at 127\.0\.0\.1:\d+\. Check the port/);
    assert.equal((await send(tunnel, { body: rpc('initialize') })).status, 503);
    await scene.server.start();
  });

  it('destroys the answer where the server breaks off in the middle of a stream', async () => {
    scene.server.behave = (_seen, response) => {
      beginStream(response);
      response.write('data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n', () => response.destroy());
    };
    assert.equal(await over(await open(tunnel, { body }).response), 'broken');
    assert.equal(lastCall(tunnel).outcome?.result, 'upstream-error');
  });

  it('says so where the server breaks off in the middle of an answer', async () => {
    scene.server.behave = (_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      response.write('{"jsonrpc"', () => response.destroy());
    };
    const got = await send(tunnel, { body });
    assert.deepEqual([got.status, got.json().error?.code], [200, -31002]);
    assert.match(got.json().error?.message ?? '', /may or may not have been carried out/);
  });

  for (const path of [
    '/',
    '/.well-known/oauth-protected-resource',
    '/.well-known/oauth-authorization-server/servers/x',
    '/authorize',
    '/token',
    '/register',
    '/mcp',
    '/servers',
    '/servers/../x/mcp',
    '/servers/srv-x/mcp/',
    '/servers/srv-x/mcp?x=1',
    '/servers/SRV/mcp',
    '/servers/a%2fb/mcp',
  ])
    it(`404 to ${path}, whatever the token`, async () => {
      for (const method of ['GET', 'POST'])
        assert.equal((await sendAndStop({ method, path, ...(method === 'POST' ? { body } : {}) })).status, 404);
    });

  it('404 to an absolute address', async () => {
    assert.equal((await sendAndStop({ body, path: scene.server.url })).status, 404);
  });

  it('405 to OPTIONS and other methods, and no CORS', async () => {
    for (const method of ['OPTIONS', 'PUT', 'PATCH', 'HEAD', 'TRACE']) {
      const got = await sendAndStop({ method, headers: { 'access-control-request-method': 'POST' } });
      assert.equal(got.status, 405);
      assert.ok(!Object.keys(got.headers).some((name) => name.startsWith('access-control')));
    }
  });

  it('drops what the editor would act on from every answer', async () => {
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, {}), 200, {
        'set-cookie': 'a=b',
        'alt-svc': 'h3=":1"',
        'access-control-allow-origin': '*',
        'www-authenticate': 'x',
        'strict-transport-security': 'y',
        'x-kept': 'z',
      });
    const { headers } = await send(tunnel, { body });
    assert.equal(headers['x-kept'], 'z');
    for (const name of ['set-cookie', 'alt-svc', 'access-control-allow-origin', 'www-authenticate', 'strict-transport-security'])
      assert.equal(headers[name], undefined);
  });

  it('passes other statuses and their bodies on as they are', async () => {
    for (const status of [400, 404, 409, 429, 500, 503]) {
      scene.server.behave = (_seen, response) => answerJson(response, `{ "status" : ${status}.0 }`, status);
      const got = await send(tunnel, { body });
      assert.deepEqual([got.status, got.body.toString()], [status, `{ "status" : ${status}.0 }`]);
    }
  });

  describe('modern', () => {
    const good = modern('tools/call', { name: 'echo', arguments: {} });
    const cases: Readonly<Record<string, Record<string, string | undefined>>> = {
      'another revision in the header': { 'mcp-protocol-version': '2026-07-29' },
      'no revision in the header': { 'mcp-protocol-version': undefined },
      'another method in the header': { 'mcp-method': 'tools/list' },
      'no method in the header': { 'mcp-method': undefined },
      'another name in the header': { 'mcp-name': 'Echo' },
      'no name in the header': { 'mcp-name': undefined },
    };
    for (const [what, headers] of Object.entries(cases))
      it(`400 and -32020 to ${what}`, async () => {
        const got = await sendAndStop({ body: good.body, headers: { ...good.headers, ...headers } });
        assert.deepEqual([got.status, got.json().error?.code, got.json().id], [400, -32020, 1]);
      });

    it('400 to a modern header over an old body, before any question', async () => {
      tunnel.core.setPaused(true);
      const got = await sendAndStop({ body, headers: { 'mcp-protocol-version': MODERN } });
      assert.deepEqual([got.status, got.json().error?.code], [400, -32602]);
    });

    it('takes a name in base64', async () => {
      const { body: withName, headers } = modern('tools/call', { name: 'größe', arguments: {} });
      const got = await send(tunnel, {
        body: withName,
        headers: { ...headers, 'mcp-name': `=?base64?${Buffer.from('größe').toString('base64')}?=` },
      });
      assert.equal(got.status, 200);
      assert.equal(scene.server.seen.length, 1);
    });

    it('400 to an answer, which this era does not know', async () => {
      const got = await sendAndStop({ body: { jsonrpc: '2.0', id: 1, result: {} }, headers: { 'mcp-protocol-version': MODERN } });
      assert.deepEqual([got.status, got.json().error?.code], [400, -32600]);
    });

    it('forwards every Mcp-Param header', async () => {
      await send(tunnel, { ...good, headers: { ...good.headers, 'mcp-param-region': 'eu' } });
      assert.equal(scene.server.seen[0]?.headers['mcp-param-region'], 'eu');
    });
  });
});
