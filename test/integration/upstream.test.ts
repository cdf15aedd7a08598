import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { UpstreamError } from '../../src/common/errors.ts';
import { HttpUpstream } from '../../src/upstream/httpUpstream.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../src/upstream/upstream.ts';
import { probe } from '../../src/upstream/probe.ts';
import { selfSigned } from '../support/certificate.ts';
import { FakeServer, answerJson, beginStream, event, idOf, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { EverythingServer, ModernServer } from './bridgePeers.ts';

/** Listens with a raw socket server; gives its URL. */
async function listen(server: net.Server | https.Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('HttpUpstream', () => {
  const closing: (() => unknown)[] = [];
  let upstream: HttpUpstream;
  let server: FakeServer;
  beforeEach(async () => {
    server = await new FakeServer().start();
    upstream = new HttpUpstream();
  });
  afterEach(async () => {
    upstream.dispose();
    await server.stop();
    for (const close of closing.splice(0)) await close();
  });

  const post = (url: string, part: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
    method: 'POST',
    url: new URL(url),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${madeUpSecret()}` },
    body: Buffer.from('{"id":1}'),
    signal: new AbortController().signal,
    ...part,
  });
  const read = async (response: UpstreamResponse) => {
    const parts: Buffer[] = [];
    for await (const part of response.body) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  const fails = (url: string, code: string, leg: UpstreamError['leg'], words: RegExp, part?: Partial<UpstreamRequest>) =>
    assert.rejects(upstream.send(post(url, part)), (error: unknown) => {
      assert.ok(error instanceof UpstreamError, String(error));
      assert.deepEqual([error.code, error.leg], [code, leg]);
      assert.match(error.message, words);
      assert.deepEqual(tracesIn(`${error.message} ${JSON.stringify(error)}`, madeUpSecret()), []);
      return true;
    });

  it('follows 307 and 308 within the origin, with method, body and credential', async () => {
    server.behave = (seen, response) => {
      const hop = Number(seen.url.slice(-1)) || 0;
      if (hop < 3) response.writeHead(hop % 2 ? 308 : 307, { location: `/mcp${hop + 1}` }).end('moved');
      else answerJson(response, '{"ok":1}');
    };
    assert.equal(await read(await upstream.send(post(server.url))), '{"ok":1}');
    assert.deepEqual(
      server.seen.map((s) => [s.method, s.url, s.body.toString(), s.headers.authorization]),
      [
        ['POST', '/mcp', '{"id":1}', `Bearer ${madeUpSecret()}`],
        ['POST', '/mcp1', '{"id":1}', `Bearer ${madeUpSecret()}`],
        ['POST', '/mcp2', '{"id":1}', `Bearer ${madeUpSecret()}`],
        ['POST', '/mcp3', '{"id":1}', `Bearer ${madeUpSecret()}`],
      ],
    );
  });

  for (const [what, status, location, words] of [
    ['in circles', 307, '/mcp', /again and again/],
    ['to another origin', 307, 'http://127.0.0.1:9/mcp', /to another origin, where its credential must not go/],
    ['to another scheme', 308, 'https://HOST/mcp', /to another origin/],
    ['to a relative address of another host', 307, '//localhost/mcp', /to another origin/],
    ['with 301', 301, '/other', /in a way that would change the request/],
    ['with 302', 302, '/other', /in a way/],
    ['with 303', 303, '/other', /in a way/],
    ['to nowhere', 307, undefined, /to nowhere/],
    ['to nonsense', 307, 'http://[', /to nowhere/],
  ] as const)
    it(`refuses to be sent ${what}`, async () => {
      server.behave = (_seen, response) =>
        response.writeHead(status, location === undefined ? {} : { location: location.replace('HOST', new URL(server.url).host) }).end();
      await fails(server.url, 'CULVERT_UPSTREAM_REDIRECT', 'redirect', words);
      assert.equal(server.seen.length, what === 'in circles' ? 4 : 1);
    });

  it('says that nothing listens', async () => {
    const { url } = server;
    await server.stop();
    await fails(url, 'CULVERT_UPSTREAM_REFUSED', 'connect', /Nothing listens at 127\.0\.0\.1:\d+/);
    await server.start();
  });

  it('says that there is no such host', () =>
    fails('http://culvert.invalid/mcp', 'CULVERT_UPSTREAM_NOT_FOUND', 'resolve', /There is no host culvert\.invalid/));

  it('says that it does not speak HTTP', async () => {
    const raw = net.createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH_9\r\n'));
    const where = await listen(raw);
    closing.push(() => raw.close());
    await fails(`http://${where}/mcp`, 'CULVERT_UPSTREAM_NOT_HTTP', 'response', /does not speak HTTP/);
  });

  it('says that the connection broke before an answer', async () => {
    server.behave = (_seen, response) => response.destroy();
    await fails(server.url, 'CULVERT_UPSTREAM_BROKE', 'request', /may or may not have been carried out/);
  });

  it('says that the headers are too large', async () => {
    server.behave = (_seen, response) => response.writeHead(200, { 'x-large': 'x'.repeat(70_000) }).end();
    await fails(server.url, 'CULVERT_UPSTREAM_HEADERS', 'response', /headers larger than 64 KiB/);
  });

  for (const [what, options, words] of [
    ['is self-signed', {}, /No safe connection to 127\.0\.0\.1:\d+: its certificate is self-signed/],
    ['has expired', { expired: true }, /its certificate (has expired|is self-signed)/],
  ] as const)
    it(`says that a certificate ${what}, before anything is sent`, async () => {
      let asked = 0;
      const secure = https.createServer(selfSigned(options), (_request, response) => {
        asked++;
        response.end();
      });
      const where = await listen(secure);
      closing.push(() => secure.close());
      await fails(`https://${where}/mcp`, 'CULVERT_UPSTREAM_TLS', 'tls', words);
      assert.equal(asked, 0);
    });

  it('says that there is no TLS where https was asked for', () =>
    fails(server.url.replace('http:', 'https:'), 'CULVERT_UPSTREAM_TLS', 'tls', /does not speak TLS there\. Check http: against https:/));

  it('uses a connection again, and opens others for what runs at once', async () => {
    for (let i = 0; i < 4; i++) await read(await upstream.send(post(server.url)));
    const alone: number = server.connections;
    await Promise.all([1, 2, 3].map(async () => read(await upstream.send(post(server.url)))));
    // One may still be handing over its last answer when the next request comes.
    assert.ok(alone <= 2 && server.connections <= 5, `${alone} connections for one after the other, ${server.connections} in all`);
  });

  it('does not send on a connection that the server closed meanwhile', async () => {
    server.behave = (_seen, response) => answerJson(response, '{}', 200, { connection: 'close' });
    for (let i = 0; i < 3; i++) assert.equal(await read(await upstream.send(post(server.url))), '{}');
    assert.equal(server.connections, 3);
  });

  it('ends a request that is given up, before and in the middle of the answer', async () => {
    await fails(server.url, 'CULVERT_UPSTREAM_ABORTED', 'request', /given up/, { signal: AbortSignal.abort() });
    assert.equal(server.seen.length, 0);
    server.behave = () => undefined;
    const early = new AbortController();
    const waiting = fails(server.url, 'CULVERT_UPSTREAM_ABORTED', 'request', /given up/, { signal: early.signal });
    await server.received(1);
    early.abort();
    await waiting;
    const closed = new Promise<void>((resolve) => {
      server.behave = (_seen, response) => {
        beginStream(response);
        response.write(': x\n\n');
        response.once('close', () => resolve());
      };
    });
    const late = new AbortController();
    const { body } = await upstream.send(post(server.url, { signal: late.signal }));
    const over = assert.rejects(async () => {
      for await (const part of body) if (part.length > 0) late.abort();
    });
    await over;
    await closed;
  });

  it('keeps no listener on a signal that outlives many requests', async () => {
    const life = new AbortController();
    for (let i = 0; i < 5; i++) await read(await upstream.send(post(server.url, { signal: life.signal })));
    await new Promise(setImmediate);
    assert.equal(getEventListeners(life.signal, 'abort').length, 0);
  });
});

describe('probe', function () {
  this.timeout(20_000);
  let upstream: HttpUpstream;
  let server: FakeServer;
  const closing: (() => unknown)[] = [];
  beforeEach(async () => {
    server = await new FakeServer().start();
    upstream = new HttpUpstream();
  });
  afterEach(async () => {
    upstream.dispose();
    await server.stop();
    for (const close of closing.splice(0)) await close();
  });

  const value = madeUpSecret();
  const go = (url = server.url, headers: Record<string, string> = {}, timeoutMs = 5000, signal = new AbortController().signal) =>
    probe(upstream, new URL(url), headers, signal, timeoutMs);
  const failsWith = async (outcome: ReturnType<typeof go>, what: string, words: RegExp) => {
    const found = await outcome;
    assert.equal(found.ok, false);
    assert.equal(found.what, what, found.message);
    assert.match(found.message, words);
    assert.deepEqual(tracesIn(JSON.stringify(found), value), []);
  };

  it('finds a good server of the older era, and its tools', async () => {
    const everything = await new EverythingServer().start();
    closing.push(() => everything.stop());
    const found = await go(everything.url);
    assert.ok(found.ok, JSON.stringify(found));
    assert.ok(found.tools.some((t) => t.name === 'echo' && (JSON.parse(t.definition) as { description: string }).description !== ''));
    assert.ok(found.serverName.length > 0);
  });

  it('finds a good server of the modern era', async () => {
    const good = await new ModernServer().start();
    closing.push(() => good.stop());
    const found = await go(good.url);
    assert.ok(found.ok, JSON.stringify(found));
    assert.ok(found.tools.some((t) => t.name === 'echo'));
  });

  it('reads every page, and sends the credential with every request', async () => {
    server.behave = (seen, response) => {
      const body = seen.body.toString();
      if (seen.headers.authorization !== `Bearer ${value}`) response.writeHead(401).end();
      else if (body.includes('server/discover'))
        answerJson(response, JSON.stringify({ jsonrpc: '2.0', id: idOf(seen), error: { code: -32601, message: 'no' } }), 400);
      else if (body.includes('initialize"'))
        answerJson(
          response,
          resultFor(seen, { protocolVersion: '2025-06-18', serverInfo: { name: 'paged', version: '1' }, capabilities: { tools: {} } }),
        );
      else if (body.includes('tools/list'))
        answerJson(
          response,
          resultFor(
            seen,
            body.includes('next')
              ? { tools: [{ name: 'b', inputSchema: { type: 'object' } }] }
              : { tools: [{ name: 'a', inputSchema: { type: 'object' } }], nextCursor: 'next' },
          ),
        );
      else response.writeHead(202).end();
    };
    const found = await go(server.url, { authorization: `Bearer ${value}` });
    assert.ok(found.ok, JSON.stringify(found));
    assert.deepEqual([found.serverName, found.tools.map((t) => t.name)], ['paged', ['a', 'b']]);
  });

  it('keeps a credential in the address out of what it says', async () => {
    server.behave = (_seen, response) => response.writeHead(404).end();
    await failsWith(go(`${server.url}?key=${value}`), 'url', /There is nothing at http:\/\/127\.0\.0\.1:\d+\/mcp \(HTTP 404\)/);
    assert.ok(server.seen.every((s) => s.url.endsWith(`?key=${value}`)));
  });

  for (const [what, type] of [
    ['a page', 'text/html'],
    ['JSON', 'application/json'],
  ] as const)
    it(`says that there is nothing where the answer is 404 with ${what}`, async () => {
      server.behave = (_seen, response) => response.writeHead(404, { 'content-type': type }).end('{"detail":"Not Found"}');
      await failsWith(go(), 'url', /There is nothing at .* \(HTTP 404\)\. Check the path/);
    });

  it('says that a page is no MCP server', async () => {
    server.behave = (_seen, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>hi</html>');
    await failsWith(go(), 'not-mcp', /answers, but not as an? MCP server/);
  });

  it('says that JSON that is something else is no MCP server', async () => {
    server.behave = (_seen, response) => answerJson(response, '{"hello":"world"}');
    await failsWith(go(server.url, {}, 1500), 'not-mcp', /./).catch(async () => failsWith(go(server.url, {}, 1500), 'slow', /./));
  });

  for (const status of [401, 403])
    it(`says that the credential was refused with ${status}, or is missing`, async () => {
      server.behave = (_seen, response) => answerJson(response, '{}', status, { 'www-authenticate': 'Bearer' });
      await failsWith(
        go(server.url, { authorization: `Bearer ${value}` }),
        'credential',
        new RegExp(`refused the credential \\(HTTP ${status}\\)`),
      );
      await failsWith(go(), 'credential', new RegExp(`wants a credential \\(HTTP ${status}\\)`));
      await failsWith(go(`${server.url}?key=${value}`), 'credential', /refused the credential/);
    });

  it('says what is wrong with TLS', async () => {
    const secure = https.createServer(selfSigned());
    const where = await listen(secure);
    closing.push(() => secure.close());
    await failsWith(go(`https://${where}/mcp`), 'tls', /its certificate is self-signed/);
    await failsWith(go(server.url.replace('http:', 'https:')), 'tls', /does not speak TLS/);
  });

  it('says that nothing listens, that there is no host, that it is moved', async () => {
    await failsWith(go('http://127.0.0.1:9/mcp'), 'url', /Nothing listens/);
    await failsWith(go('http://culvert.invalid/mcp'), 'url', /There is no host/);
    server.behave = (_seen, response) => response.writeHead(302, { location: 'https://login.example/' }).end();
    await failsWith(go(), 'url', /redirects \(302\)/);
  });

  it('gives up on a server that is slow, at once, in the middle, and for ever', async () => {
    server.behave = () => undefined;
    await failsWith(go(server.url, {}, 300), 'slow', /did not finish answering within 0\.3 seconds/);
    server.behave = (_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"jsonrpc":');
    };
    await failsWith(go(server.url, {}, 300), 'slow', /did not finish/);
    server.behave = (_seen, response) => {
      beginStream(response);
      response.write(event({ jsonrpc: '2.0', method: 'notifications/x' }));
    };
    await failsWith(go(server.url, {}, 300), 'slow', /did not finish/);
  });

  it('survives an answer that breaks off or is badly packed', async () => {
    server.behave = (_seen, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"jsonrpc":', () => response.destroy());
    };
    assert.equal((await go(server.url, {}, 1000)).ok, false);
    server.behave = (_seen, response) => answerJson(response, 'no such thing', 200, { 'content-encoding': 'gzip' });
    assert.equal((await go(server.url, {}, 1000)).ok, false);
    server.behave = (_seen, response) => answerJson(response, 'no such thing', 401, { 'content-encoding': 'gzip' });
    await failsWith(go(server.url, {}, 1000), 'credential', /wants a credential/);
  });

  it('can be cancelled', async () => {
    server.behave = () => undefined;
    const stop = new AbortController();
    const trial = go(server.url, {}, 5000, stop.signal);
    await server.received(1);
    stop.abort();
    await failsWith(trial, 'broken', /cancelled/);
  });
});
