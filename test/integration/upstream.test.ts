import assert from 'node:assert/strict';
import { getEventListeners, once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { UpstreamError } from '../../src/common/errors.ts';
import { HttpUpstream, type HttpUpstreamOptions } from '../../src/upstream/httpUpstream.ts';
import { IDLE_SOCKET_MS, MAX_CONNECTION_AGE_MS, MAX_ERROR_BODY_BYTES, TCP_KEEP_ALIVE_MS } from '../../src/upstream/limits.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../src/upstream/upstream.ts';
import { probe } from '../../src/upstream/probe.ts';
import { Authority, selfSigned } from '../support/certificate.ts';
import { FakeServer, answerJson, beginStream, event, idOf, resultFor } from '../support/fakeServer.ts';
import { temporaryFolder } from '../support/folders.ts';
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

describe('HttpUpstream under faults', () => {
  const closing: (() => unknown)[] = [];
  let server: FakeServer;
  beforeEach(async () => {
    server = await new FakeServer().start();
    server.behave = (_seen, response) => answerJson(response, '{}');
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await server.stop();
  });

  const open = (options: HttpUpstreamOptions = {}) => {
    const upstream = new HttpUpstream({ proxies: {}, ...options });
    closing.push(() => upstream.dispose());
    return upstream;
  };
  const request = (url: string, part: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
    method: 'POST',
    url: new URL(url),
    headers: {},
    body: Buffer.from('{"id":1}'),
    signal: new AbortController().signal,
    ...part,
  });
  const get = { method: 'GET', body: undefined } as const;
  const ask = async (upstream: HttpUpstream, url = server.url, part: Partial<UpstreamRequest> = {}) => {
    const { body } = await upstream.send(request(url, part));
    return (await body.collect(100_000))?.toString();
  };
  const fails = (outcome: Promise<unknown>, code: string, leg: UpstreamError['leg'], words: RegExp) =>
    assert.rejects(outcome, (error: unknown) => {
      assert.ok(error instanceof UpstreamError, String(error));
      assert.deepEqual([error.code, error.leg], [code, leg], error.message);
      assert.match(error.message, words);
      return true;
    });
  /** A server that does with every connection what a test says, and counts what came in. */
  const raw = async (serve: (socket: net.Socket, number: number) => void) => {
    let count = 0;
    const sockets = new Set<net.Socket>();
    const heard: string[] = [];
    const listening = net.createServer((socket) => {
      sockets.add(socket.on('error', () => undefined));
      const number = ++count;
      socket.on('data', (bytes: Buffer) => (heard[number - 1] = (heard[number - 1] ?? '') + bytes.toString('latin1')));
      serve(socket, number);
    });
    const at = await listen(listening);
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => listening.close(resolve));
    });
    return { url: `http://${at}/mcp`, heard, sockets, connections: () => count };
  };
  const OK = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}';
  const answered = async (socket: net.Socket) => {
    await once(socket, 'data');
    socket.write(OK);
  };
  /** What is left of an answer when its last byte was read: the client puts the connection back a moment later. */
  const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

  describe('repeats', () => {
    it('a request of which nothing was sent, whatever its method', async () => {
      let first: net.Socket | undefined;
      const peer = await raw((socket, number) => {
        if (number === 1) first = socket;
        void answered(socket);
      });
      const upstream = open();
      assert.equal(await ask(upstream, peer.url), '{}');
      await settle();
      // The reset is on its way before the next request can be written, and is noticed as late as can be.
      first?.resetAndDestroy();
      assert.equal(await ask(upstream, peer.url), '{}');
      assert.deepEqual(
        peer.heard.map((text) => text.split('POST ').length - 1),
        [1, 1],
      );
    });

    it('a GET that got no answer, once', async () => {
      const peer = await raw((socket, number) => {
        if (number === 1) void once(socket, 'data').then(() => socket.resetAndDestroy());
        else void answered(socket);
      });
      assert.equal(await ask(open(), peer.url, get), '{}');
      assert.equal(peer.connections(), 2);
      const never = await raw((socket) => void once(socket, 'data').then(() => socket.end()));
      await fails(ask(open(), never.url, get), 'CULVERT_UPSTREAM_BROKE', 'request', /broke before an answer came/);
      assert.equal(never.connections(), 2);
    });

    for (const method of ['POST', 'DELETE'] as const)
      for (const [how, end] of [
        ['closed', (socket: net.Socket) => void socket.end()],
        ['reset', (socket: net.Socket) => void socket.resetAndDestroy()],
        ['closed within the head', (socket: net.Socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-')],
      ] as const)
        it(`no ${method} that may have been carried out: the connection was ${how}`, async () => {
          const fresh = await raw((socket) => void once(socket, 'data').then(() => end(socket)));
          const outcome = ask(open(), fresh.url, method === 'DELETE' ? { method, body: undefined } : {});
          await assert.rejects(outcome, (error: UpstreamError) => ['request', 'response'].includes(error.leg));
          assert.equal(fresh.connections(), 1);
          // The same on a connection that served before.
          const used = await raw((socket) => {
            void answered(socket).then(async () => {
              await once(socket, 'data');
              end(socket);
            });
          });
          const upstream = open();
          await ask(upstream, used.url);
          await settle();
          await assert.rejects(ask(upstream, used.url, method === 'DELETE' ? { method, body: undefined } : {}));
          assert.equal(used.connections(), 1);
        });

    it('nothing where nobody listens', async () => {
      let asked = 0;
      const { url } = server;
      const port = Number(new URL(url).port);
      await server.stop();
      const upstream = open({
        resolve: (_name, _options, callback) => {
          asked++;
          callback(null, [{ address: '127.0.0.1', family: 4 }]);
        },
      });
      await fails(ask(upstream, `http://devbox:${port}/`), 'CULVERT_UPSTREAM_REFUSED', 'connect', /Nothing listens at devbox:\d+/);
      assert.equal(asked, 1);
      await server.start();
    });
  });

  it('goes on after a server that was started again', async () => {
    const upstream = open();
    const first = await raw((socket) => void answered(socket));
    assert.equal(await ask(upstream, first.url), '{}');
    const { port } = new URL(first.url);
    await settle();
    await closing.pop()?.();
    await fails(ask(upstream, first.url), 'CULVERT_UPSTREAM_REFUSED', 'connect', /Nothing listens/);
    const again = net.createServer((socket) => void answered(socket.on('error', () => undefined)));
    await new Promise<void>((resolve) => again.listen(Number(port), '127.0.0.1', resolve));
    assert.equal(await ask(upstream, first.url), '{}');
    again.close();
  });

  it('uses no connection again that outlived its idle time, as after sleep', async () => {
    let now = Date.now();
    const upstream = open({ now: () => now });
    await ask(upstream);
    await settle();
    await ask(upstream);
    await settle();
    assert.equal(server.connections, 1);
    now += IDLE_SOCKET_MS + 1;
    await ask(upstream);
    assert.equal(server.connections, 2);
    await settle();
    now -= 60 * 60_000;
    await ask(upstream);
    assert.equal(server.connections, 2);
  });

  it('lets a stream go on that lives through the change', async () => {
    let now = Date.now();
    let end: (() => void) | undefined;
    server.behave = (seen, response) => {
      if (seen.method !== 'GET') {
        answerJson(response, '{}');
        return;
      }
      beginStream(response);
      end = () => response.end('data: late\n\n');
    };
    const upstream = open({ now: () => now });
    const { body } = await upstream.send(request(server.url, get));
    now += MAX_CONNECTION_AGE_MS + 1;
    await ask(upstream);
    end?.();
    assert.equal((await body.collect(100))?.toString(), 'data: late\n\n');
  });

  it('resolves a name anew for a new connection, and a steady one after a while', async () => {
    const other = await new FakeServer().start();
    closing.push(() => other.stop());
    other.behave = (_seen, response) => answerJson(response, '"other"');
    let now = Date.now();
    const names: string[] = [];
    let path = '127.0.0.1';
    const upstream = open({
      now: () => now,
      resolve: (name, _options, callback) => {
        names.push(name);
        callback(null, [{ address: path, family: 4 }]);
      },
    });
    const url = `http://devbox:${new URL(server.url).port}/`;
    assert.equal(await ask(upstream, url), '{}');
    await settle();
    path = '127.0.0.2';
    assert.equal(await ask(upstream, url), '{}', 'the connection that is open is used');
    assert.deepEqual(names, ['devbox']);
    now += MAX_CONNECTION_AGE_MS + 1;
    // Nothing listens at the new address on this port.
    await fails(ask(upstream, url), 'CULVERT_UPSTREAM_REFUSED', 'connect', /Nothing listens/);
    assert.deepEqual(names, ['devbox', 'devbox']);
  });

  describe('addresses', () => {
    const leading =
      (...addresses: string[]): HttpUpstreamOptions['resolve'] =>
      (_name, _options, callback) =>
        callback(
          null,
          addresses.map((address) => ({ address, family: net.isIP(address) })),
        );
    const at = (host: string) => `http://${host}:${new URL(server.url).port}/mcp`;

    it('follows what the user named', async () => {
      for (const host of ['127.0.0.1', 'localhost', '127.1', 'devbox', 'box.local', 'x.internal'])
        assert.equal(await ask(open({ resolve: leading('127.0.0.1') }), at(host)), '{}', host);
    });

    it('does not follow a public name to this machine, the link, or metadata', async () => {
      for (const address of ['127.0.0.1', '::1', '0.0.0.0', '::ffff:127.0.0.1', '169.254.169.254', 'fe80::1', 'fd00:ec2::254'])
        await fails(
          ask(open({ resolve: leading(address) }), at('mcp.example.com')),
          'CULVERT_UPSTREAM_ADDRESS',
          'resolve',
          /mcp\.example\.com leads to .*DNS rebinding/,
        );
      await fails(
        ask(open({ resolve: leading('169.254.169.254') }), at('metadata.google.internal')),
        'CULVERT_UPSTREAM_ADDRESS',
        'resolve',
        /metadata service/,
      );
      await fails(ask(open({ resolve: leading('10.0.0.1') }), at('localhost')), 'CULVERT_UPSTREAM_ADDRESS', 'resolve', /private network/);
      assert.equal(server.connections, 0);
    });

    it('reaches only the public where a server named the URL', async () => {
      const strict = (...addresses: string[]) => open({ addresses: 'public', resolve: leading(...addresses) });
      for (const host of ['127.0.0.1', '127.1', '0x7f000001', '[::1]', '[::ffff:127.0.0.1]', 'localhost', 'mcp.example.com'])
        await fails(ask(strict('127.0.0.1'), at(host)), 'CULVERT_UPSTREAM_ADDRESS', 'resolve', /an address of this machine/);
      await fails(ask(strict('10.0.0.1', '192.168.0.1'), at('mcp.example.com')), 'CULVERT_UPSTREAM_ADDRESS', 'resolve', /private network/);
      assert.equal(server.connections, 0);
    });
  });

  describe('limits', () => {
    it('for a connection counts the name too', () =>
      fails(
        ask(open({ resolve: () => undefined, limits: { connectTimeoutMs: 100 } }), 'http://devbox:1/'),
        'CULVERT_UPSTREAM_CONNECT_TIMEOUT',
        'timeout',
        /devbox:1 did not accept a connection within 0\.1 seconds/,
      ));

    it('for the first byte, and none for what follows', async () => {
      const upstream = open({ limits: { firstByteTimeoutMs: 300 } });
      server.behave = () => undefined;
      await fails(ask(upstream), 'CULVERT_UPSTREAM_ANSWER_TIMEOUT', 'timeout', /did not answer within 0\.3 seconds/);
      let end: (() => void) | undefined;
      server.behave = (_seen, response) => {
        beginStream(response);
        end = () => response.end('data: late\n\n');
      };
      const { body } = await upstream.send(request(server.url));
      setTimeout(() => end?.(), 2_000);
      assert.equal((await body.collect(100))?.toString(), 'data: late\n\n');
    });

    it('for the body of an answer that says no', async () => {
      server.behave = (_seen, response) => {
        response.writeHead(500, { 'content-type': 'text/plain' });
        response.write('because');
      };
      const closed = new Promise<void>((resolve) => {
        const behave = server.behave;
        server.behave = (seen, response, from) => {
          response.once('close', resolve);
          behave(seen, response, from);
        };
      });
      const { body } = await open().send(request(server.url));
      await assert.rejects(async () => body.collect(MAX_ERROR_BODY_BYTES, { timeoutMs: 50 }), /it did not end within 0\.05 seconds/);
      await closed;
    });

    it('reach through compression', async () => {
      const closed = new Promise<void>((resolve) => {
        server.behave = (_seen, response) => {
          response.once('close', resolve);
          const zip = zlib.createGzip();
          zip.pipe(response.writeHead(500, { 'content-encoding': 'gzip' }));
          zip.write('because');
          zip.flush();
        };
      });
      const { body } = await open().send(request(server.url));
      await assert.rejects(async () => body.collect(MAX_ERROR_BODY_BYTES, { timeoutMs: 50 }), /did not end/);
      await closed;
    });
  });

  it('lets 50 MB wait at the server while nobody reads them', async function () {
    this.timeout(120_000);
    const piece = Buffer.alloc(64 * 1024, 'x');
    const total = 800 * piece.length;
    let written = 0;
    const { url, sockets } = await raw((socket) => {
      void once(socket, 'data').then(() => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${total}\r\n\r\n`);
        const more = () => {
          while (written < total) {
            written += piece.length;
            if (!socket.write(piece)) return;
          }
        };
        socket.on('drain', more);
        more();
      });
    });
    global.gc?.();
    const before = process.memoryUsage().arrayBuffers;
    const { body } = await open().send(request(url));
    // Until nothing moves any more.
    for (let last = -1; last !== written;) {
      last = written;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const [socket] = sockets;
    // What the kernel keeps for both ends is not ours.
    assert.ok((socket?.bytesWritten ?? total) < 20_000_000, `${written} of ${total} written`);
    const waiting = process.memoryUsage().arrayBuffers - before;
    assert.ok(waiting < 4 * 1024 * 1024, `${waiting} bytes wait`);
    let size = 0;
    for await (const chunk of body) size += chunk.length;
    assert.equal(size, total);
  });

  if (process.platform === 'linux')
    it('asks TCP whether the other side of a silent stream is still there', async () => {
      let ours = 0;
      server.behave = (_seen, response) => {
        ours = response.socket?.remotePort ?? 0;
        beginStream(response);
      };
      const { body } = await open().send(request(server.url, get));
      await settle();
      // proc_pid_net(5): the local address in hex, `tr` (2: keep-alive timer) and when it fires in 1/100 s.
      const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n');
      const line = lines.find((text) => text.includes(`0100007F:${ours.toString(16).toUpperCase().padStart(4, '0')} 0100007F:`));
      const [timer, when] = (line?.trim().split(/\s+/)[5] ?? '').split(':');
      assert.equal(timer, '02', line);
      const left = Number.parseInt(when ?? '', 16) * 10;
      assert.ok(left > 0 && left <= TCP_KEEP_ALIVE_MS, `${left} ms`);
      body.giveUp();
    });

  it('ends what it is doing when it is disposed, also what still connects', async () => {
    const mute = await raw(() => undefined);
    const early = open();
    const connecting = fails(ask(early, mute.url.replace('http:', 'https:')), 'CULVERT_UPSTREAM_ABORTED', 'request', /given up/);
    while (mute.connections() === 0) await new Promise(setImmediate);
    const gone = Promise.all([...mute.sockets].map((socket) => once(socket, 'close')));
    early.dispose();
    await Promise.all([connecting, gone]);
    await fails(ask(early), 'CULVERT_UPSTREAM_ABORTED', 'request', /given up/);
  });

  describe('over a socket in the file system', () => {
    const root = new Authority();
    const serveAt = async (listening: net.Server) => {
      const folder = temporaryFolder();
      const path = process.platform === 'win32' ? `\\\\.\\pipe\\culvert-test-${process.pid}` : join(folder.path, 's');
      await new Promise<void>((resolve) => listening.listen(path, resolve));
      closing.push(
        () => folder.remove(),
        () => new Promise((resolve) => listening.close(resolve)),
      );
      return path;
    };
    const handler: http.RequestListener = (request, response) =>
      void request.resume().once('end', () => response.end(request.headers.host));

    it('resolves nothing, uses no proxy, and sends the host of the URL', async () => {
      const socketPath = await serveAt(http.createServer(handler));
      const upstream = open({
        socketPath,
        proxies: { ALL_PROXY: 'http://127.0.0.1:9' },
        resolve: () => assert.fail('nothing is to be resolved'),
      });
      assert.equal(await ask(upstream, 'http://mcp.example.com:81/'), 'mcp.example.com:81');
    });

    it('verifies the name of the URL', async () => {
      const socketPath = await serveAt(https.createServer(root.issue({ hosts: ['mcp.example.com'] }), handler));
      const tls = { authorities: root.cert };
      assert.equal(await ask(open({ socketPath, tls }), 'https://mcp.example.com/'), 'mcp.example.com');
      await fails(
        ask(open({ socketPath, tls, host: '127.0.0.1 on devbox' }), 'https://127.0.0.1/'),
        'CULVERT_UPSTREAM_TLS',
        'tls',
        /No safe connection to 127\.0\.0\.1 on devbox: its certificate is for another host: mcp\.example\.com/,
      );
    });

    it('says where nothing listens', () =>
      fails(
        ask(open({ socketPath: join(tmpdir(), 'culvert-nothing'), host: '127.0.0.1:3000 on devbox' }), 'http://127.0.0.1:3000/'),
        'CULVERT_UPSTREAM_FAILED',
        'connect',
        /No connection to 127\.0\.0\.1:3000 on devbox/,
      ));
  });
});

describe('probe', function () {
  this.timeout(120_000);
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
    probe(upstream, new URL(url), headers, signal, { timeoutMs });
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
