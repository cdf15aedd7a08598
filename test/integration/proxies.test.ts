import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { UpstreamError } from '../../src/common/errors.ts';
import type { Tls } from '../../src/mcp/server.ts';
import { HttpUpstream, type HttpUpstreamOptions } from '../../src/upstream/httpUpstream.ts';
import type { ProxyEnvironment } from '../../src/upstream/proxies.ts';
import { inspectCertificate } from '../../src/upstream/tls.ts';
import type { UpstreamRequest } from '../../src/upstream/upstream.ts';
import { Authority, selfSigned } from '../support/certificate.ts';
import { FakeServer, answerJson, beginStream } from '../support/fakeServer.ts';
import { temporaryFolder } from '../support/folders.ts';
import { askInFreshNode } from '../support/freshNode.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';

const SECRET = madeUpSecret();
const PASSWORD = madeUpSecret('p');
/** Names that only the proxies of these tests know; all lead to this machine. */
const NAME = 'server.example';

/** What a proxy saw. */
interface Asked {
  readonly line: string;
  readonly authorization: string | undefined;
  readonly host: string | undefined;
}

/** A proxy for requests and tunnels (RFC 9110, 9.3.6; RFC 9112, 3.2.2), over TCP or TLS. */
class HttpProxy {
  readonly asked: Asked[] = [];
  /** Every byte that came in after a tunnel was open. */
  tunnelled = Buffer.alloc(0);
  user: string | undefined;
  /** In place of opening a tunnel. */
  answer: string | undefined;
  readonly server: http.Server;
  readonly #sockets = new Set<Socket>();

  constructor(certificate?: https.ServerOptions) {
    const onRequest = (request: http.IncomingMessage, response: http.ServerResponse) => {
      if (!this.#admit(request)) {
        response.writeHead(407, { 'proxy-authenticate': 'Basic' }).end('who are you');
        return;
      }
      const target = new URL(request.url ?? '');
      const headers = { ...request.headers };
      delete headers['proxy-authorization'];
      const onward = http.request({
        host: '127.0.0.1',
        port: target.port,
        method: request.method,
        path: target.pathname + target.search,
        headers,
      });
      onward.on('response', (answer) => answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers)));
      onward.on('error', () => response.writeHead(502).end());
      request.pipe(onward);
    };
    this.server = certificate ? https.createServer(certificate, onRequest) : http.createServer(onRequest);
    this.server.on('connection', (socket: Socket) => this.#sockets.add(socket.on('error', () => undefined)));
    this.server.on('connect', (request: http.IncomingMessage, socket: Socket) => {
      if (!this.#admit(request)) socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n');
      else if (this.answer !== undefined) socket.end(this.answer);
      else {
        const onward = net.connect(Number(request.url?.split(':').at(-1)), '127.0.0.1');
        this.#sockets.add(onward);
        onward.once('connect', () => {
          socket.write('HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n');
          socket.on('data', (bytes: Buffer) => (this.tunnelled = Buffer.concat([this.tunnelled, bytes])));
          socket.pipe(onward).pipe(socket);
        });
        onward.on('error', () => socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n'));
      }
    });
  }

  #admit(request: http.IncomingMessage): boolean {
    const authorization = request.headers['proxy-authorization'];
    this.asked.push({ line: `${request.method ?? ''} ${request.url ?? ''}`, authorization, host: request.headers.host });
    return this.user === undefined || authorization === `Basic ${Buffer.from(this.user).toString('base64')}`;
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A SOCKS 5 proxy (RFC 1928, RFC 1929). */
class SocksProxy {
  readonly asked: string[] = [];
  user: string | undefined;
  reply = 0;
  readonly #server: net.Server;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#server = net.createServer((socket) => {
      this.#sockets.add(socket.on('error', () => undefined));
      void this.#serve(socket).catch(() => socket.destroy());
    });
  }

  async #serve(socket: Socket): Promise<void> {
    let kept = Buffer.alloc(0);
    const take = async (size: number): Promise<Buffer> => {
      while (kept.length < size) kept = Buffer.concat([kept, await new Promise<Buffer>((resolve) => socket.once('data', resolve))]);
      const taken = kept.subarray(0, size);
      kept = kept.subarray(size);
      return taken;
    };
    const methods = await take((await take(2))[1] ?? 0);
    const wanted = this.user === undefined ? 0 : 2;
    if (!methods.includes(wanted)) {
      socket.end(Buffer.from([5, 0xff]));
      return;
    }
    // Byte by byte: no answer needs to come whole.
    socket.write(Buffer.from([5]));
    await new Promise(setImmediate);
    socket.write(Buffer.from([wanted]));
    if (wanted === 2) {
      const user = await take((await take(2))[1] ?? 0);
      const password = await take((await take(1))[0] ?? 0);
      const good = `${user.toString()}:${password.toString()}` === this.user;
      socket.write(Buffer.from([1, good ? 0 : 1]));
      if (!good) return;
    }
    const type = (await take(4))[3];
    const host =
      type === 3
        ? (await take((await take(1))[0] ?? 0)).toString()
        : type === 1
          ? (await take(4)).join('.')
          : (await take(16)).toString('hex');
    const port = (await take(2)).readUInt16BE();
    this.asked.push(`${host}:${port}`);
    if (this.reply !== 0) {
      socket.end(Buffer.from([5, this.reply, 0, 1, 0, 0, 0, 0, 0, 0]));
      return;
    }
    const onward = net.connect(port, '127.0.0.1');
    this.#sockets.add(onward.on('error', () => socket.destroy()));
    await new Promise((resolve) => onward.once('connect', resolve));
    socket.write(Buffer.concat([Buffer.from([5, 0, 0, 3, 4]), Buffer.from('name'), Buffer.from([1, 2])]));
    socket.pipe(onward).pipe(socket);
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('servers behind proxies', () => {
  const root = new Authority('Culvert test root');
  const trusting: Tls = { authorities: root.cert };
  const closing: (() => unknown)[] = [];
  let plain: FakeServer;
  let secure: https.Server;
  let securePort: number;
  const seenSecurely: string[] = [];
  beforeEach(async () => {
    plain = await new FakeServer().start();
    seenSecurely.length = 0;
    secure = https.createServer(root.issue({ hosts: [NAME] }), (request, response) => {
      seenSecurely.push(
        `${request.method ?? ''} ${request.url ?? ''} ${request.headers.host ?? ''} ${request.headers['proxy-authorization'] ?? '-'}`,
      );
      request.resume().once('end', () => response.end('safe'));
    });
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
    securePort = (secure.address() as AddressInfo).port;
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await plain.stop();
    secure.closeAllConnections();
    await new Promise((resolve) => secure.close(resolve));
  });

  const httpProxy = async (certificate?: https.ServerOptions) => {
    const proxy = new HttpProxy(certificate);
    const at = await proxy.start();
    closing.push(() => proxy.stop());
    return { proxy, at };
  };
  const socksProxy = async () => {
    const proxy = new SocksProxy();
    const at = await proxy.start();
    closing.push(() => proxy.stop());
    return { proxy, at };
  };
  const open = (proxies: ProxyEnvironment, options: HttpUpstreamOptions = {}) => {
    const upstream = new HttpUpstream({ proxies, ...options });
    closing.push(() => upstream.dispose());
    return upstream;
  };
  const post = (url: string): UpstreamRequest => ({
    method: 'POST',
    url: new URL(url),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${SECRET}` },
    body: Buffer.from('{"id":1}'),
    signal: new AbortController().signal,
  });
  const ask = async (upstream: HttpUpstream, url: string) => {
    const { status, body } = await upstream.send(post(url));
    return `${status} ${(await body.collect(10_000))?.toString() ?? ''}`;
  };
  const fails = (upstream: HttpUpstream, url: string, code: string, words: RegExp, leg: UpstreamError['leg'] = 'proxy') =>
    assert.rejects(upstream.send(post(url)), (error: unknown) => {
      assert.ok(error instanceof UpstreamError, inspect(error));
      assert.deepEqual([error.code, error.leg], [code, leg], error.message);
      assert.match(error.message, words);
      const all = inspect(error, { depth: 9, showHidden: true });
      assert.deepEqual([...tracesIn(all, PASSWORD), ...tracesIn(all, SECRET)], []);
      return true;
    });
  const plainUrl = () => `http://${NAME}:${new URL(plain.origin).port}/mcp?x=1`;
  const secureUrl = () => `https://${NAME}:${securePort}/mcp?x=1`;

  describe('HTTP', () => {
    it('asks for http: with the whole URL', async () => {
      plain.behave = (_seen, response) => answerJson(response, '{}');
      const { proxy, at } = await httpProxy();
      const upstream = open({ HTTP_PROXY: `http://${at}` });
      assert.equal(await ask(upstream, plainUrl()), '200 {}');
      const { port } = new URL(plain.origin);
      assert.deepEqual(proxy.asked, [{ line: `POST ${plainUrl()}`, authorization: undefined, host: `${NAME}:${port}` }]);
      assert.deepEqual(
        plain.seen.map((s) => [s.url, s.headers.host, s.headers.authorization, s.body.toString()]),
        [['/mcp?x=1', `${NAME}:${port}`, `Bearer ${SECRET}`, '{"id":1}']],
      );
    });

    it('opens a tunnel for https:, in which the proxy reads nothing and TLS is verified against the server', async () => {
      const { proxy, at } = await httpProxy();
      assert.equal(await ask(open({ HTTPS_PROXY: at }, { tls: trusting }), secureUrl()), '200 safe');
      assert.deepEqual(proxy.asked, [{ line: `CONNECT ${NAME}:${securePort}`, authorization: undefined, host: `${NAME}:${securePort}` }]);
      assert.deepEqual(seenSecurely, [`POST /mcp?x=1 ${NAME}:${securePort} -`]);
      assert.ok(proxy.tunnelled.length > 0);
      assert.deepEqual(tracesIn(proxy.tunnelled, SECRET), []);
      await fails(open({ HTTPS_PROXY: at }), secureUrl(), 'CULVERT_UPSTREAM_TLS', /does not trust: Culvert test root/, 'tls');
      await fails(
        open({ HTTPS_PROXY: at }, { tls: trusting }),
        `https://other.example:${securePort}/`,
        'CULVERT_UPSTREAM_TLS',
        /another host: server\.example/,
        'tls',
      );
    });

    it('holds pins and shows client certificates inside the tunnel', async () => {
      const { at } = await httpProxy();
      await fails(
        open({ HTTPS_PROXY: at }, { tls: { ...trusting, pins: ['A'.repeat(43) + '='] } }),
        secureUrl(),
        'CULVERT_UPSTREAM_PIN',
        /is not the one that is pinned\. Nothing was sent/,
        'tls',
      );
      assert.deepEqual(seenSecurely, []);
      assert.equal(await ask(open({ HTTPS_PROXY: at }, { tls: { ...trusting, pins: [root.pin] } }), secureUrl()), '200 safe');
      const seen = await inspectCertificate(new URL(secureUrl()), { proxies: { HTTPS_PROXY: at } });
      assert.deepEqual([seen.names, (seen.problem ?? '').includes('does not trust')], [[NAME], true]);
    });

    it('tells the proxy who we are, and no server', async () => {
      plain.behave = (_seen, response) => answerJson(response, '{}');
      const { proxy, at } = await httpProxy();
      proxy.user = `me:${PASSWORD}`;
      const address = `http://me:${PASSWORD}@${at}`;
      assert.equal(await ask(open({ ALL_PROXY: address }, { tls: trusting }), secureUrl()), '200 safe');
      assert.equal(await ask(open({ ALL_PROXY: address }), plainUrl()), '200 {}');
      assert.match(seenSecurely[0] ?? '', / -$/);
      assert.equal(plain.seen[0]?.headers['proxy-authorization'], undefined);
      for (const url of [secureUrl(), plainUrl()]) {
        await fails(
          open({ ALL_PROXY: `http://${at}` }),
          url,
          'CULVERT_UPSTREAM_PROXY_AUTH',
          new RegExp(`^The proxy ${at} wants a user name and a password`),
        );
        await fails(
          open({ ALL_PROXY: `http://me:${PASSWORD}x@${at}` }),
          url,
          'CULVERT_UPSTREAM_PROXY_AUTH',
          /refused the user name and password in its address/,
        );
      }
    });

    for (const [answer, code, words] of [
      [
        'HTTP/1.1 403 Forbidden\r\n\r\n',
        'CULVERT_UPSTREAM_PROXY_REFUSED',
        /does not let connections to server\.example:\d+ through \(HTTP 403\)/,
      ],
      ['HTTP/1.1 502 Bad Gateway\r\n\r\n<html>', 'CULVERT_UPSTREAM_PROXY_REFUSED', /can’t reach server\.example:\d+ \(HTTP 502\)/],
      ['HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n', 'CULVERT_UPSTREAM_PROXY_REFUSED', /opens no way .* \(HTTP 301\)/],
      ['SSH-2.0-OpenSSH_9\r\n\r\n\r\n', 'CULVERT_UPSTREAM_PROXY', /does not answer as an HTTP proxy does/],
      [`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}`, 'CULVERT_UPSTREAM_PROXY', /does not answer as an HTTP proxy does/],
      ['HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\nforged', 'CULVERT_UPSTREAM_PROXY', /does not answer as an HTTP proxy does/],
      ['HTTP/1.1 200', 'CULVERT_UPSTREAM_PROXY_BROKE', /closed the connection instead of opening a way/],
      ['', 'CULVERT_UPSTREAM_PROXY_BROKE', /closed the connection/],
    ] as const)
      it(`says that the proxy answers ${JSON.stringify(answer.slice(0, 40))}`, async () => {
        const { proxy, at } = await httpProxy();
        proxy.answer = answer;
        await fails(open({ HTTPS_PROXY: `http://me:${PASSWORD}@${at}` }), secureUrl(), code, words);
      });

    it('says that the proxy can’t be reached, or says nothing', async () => {
      await fails(
        open({ HTTPS_PROXY: 'http://127.0.0.1:9' }),
        secureUrl(),
        'CULVERT_UPSTREAM_PROXY_UNREACHABLE',
        /^The proxy 127\.0\.0\.1:9 can’t be used\. Nothing listens/,
      );
      await fails(
        open({ HTTP_PROXY: 'http://proxy.invalid:9' }),
        plainUrl(),
        'CULVERT_UPSTREAM_PROXY_UNREACHABLE',
        /There is no host proxy\.invalid/,
      );
      const mute = net.createServer((socket) => {
        socket.on('error', () => undefined).resume();
        closing.push(() => socket.destroy());
      });
      await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
      closing.push(() => new Promise((resolve) => mute.close(resolve)));
      const at = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
      for (const scheme of ['http', 'socks5'])
        await fails(
          open({ HTTPS_PROXY: `${scheme}://${at}` }, { limits: { connectTimeoutMs: 120 } }),
          secureUrl(),
          'CULVERT_UPSTREAM_CONNECT_TIMEOUT',
          /^The proxy 127\.0\.0\.1:\d+ opened no way to server\.example:\d+ within 0\.12 seconds/,
          'timeout',
        );
    });

    it('keeps its connections and streams', async () => {
      const { proxy, at } = await httpProxy();
      const upstream = open({ HTTPS_PROXY: at }, { tls: trusting });
      for (let i = 0; i < 4; i++) assert.equal(await ask(upstream, secureUrl()), '200 safe');
      // One may still be handing over its last answer when the next request comes.
      assert.ok(proxy.asked.length <= 2, String(proxy.asked.length));
      plain.behave = (_seen, response) => {
        beginStream(response);
        response.write('data: 1\n\n');
      };
      const { body } = await open({ HTTP_PROXY: at }).send({ ...post(plainUrl()), method: 'GET', body: undefined });
      for await (const chunk of body) {
        assert.equal(chunk.toString(), 'data: 1\n\n');
        break;
      }
    });
  });

  it('speaks TLS with a proxy that wants it, verified by itself', async () => {
    const { at } = await httpProxy(selfSigned());
    await fails(
      open({ HTTPS_PROXY: `https://${at}` }, { tls: { ...trusting, unverified: true } }),
      secureUrl(),
      'CULVERT_UPSTREAM_PROXY_TLS',
      new RegExp(`No safe connection to the proxy ${at}: its certificate is self-signed`),
    );
    await fails(open({ HTTP_PROXY: `https://${at}` }), plainUrl(), 'CULVERT_UPSTREAM_PROXY_TLS', /self-signed/);
  });

  it('speaks TLS to the server inside TLS to the proxy', async function () {
    this.timeout(120_000);
    const folder = temporaryFolder();
    closing.push(() => folder.remove());
    const file = join(folder.path, 'ca.pem');
    writeFileSync(file, root.cert);
    const { proxy, at } = await httpProxy(root.issue());
    plain.behave = (_seen, response) => answerJson(response, '{}');
    const variables = { NODE_EXTRA_CA_CERTS: file, ALL_PROXY: `https://me:${PASSWORD}@${at}` };
    assert.deepEqual(await Promise.all([secureUrl(), plainUrl()].map((url) => askInFreshNode(url, variables))), ['200', '200']);
    assert.deepEqual(proxy.asked.map((a) => a.line).sort(), [`CONNECT ${NAME}:${securePort}`, `GET ${plainUrl()}`]);
    assert.deepEqual([...tracesIn(proxy.tunnelled, '/mcp?x=1'), seenSecurely.length], [1]);
  });

  describe('SOCKS 5', () => {
    it('leaves the name to the proxy, for https: and http:', async () => {
      plain.behave = (_seen, response) => answerJson(response, '{}');
      const { proxy, at } = await socksProxy();
      const upstream = open({ ALL_PROXY: `socks5://${at}` }, { tls: { ...trusting, pins: [root.pin] } });
      assert.equal(await ask(upstream, secureUrl()), '200 safe');
      assert.equal(await ask(open({ ALL_PROXY: `socks5h://${at}` }), plainUrl()), '200 {}');
      assert.deepEqual(proxy.asked, [`${NAME}:${securePort}`, `${NAME}:${new URL(plain.origin).port}`]);
      assert.equal(plain.seen[0]?.url, '/mcp?x=1');
      await fails(
        open({ ALL_PROXY: `socks://${at}` }, { tls: { ...trusting, pins: ['A'.repeat(43) + '='] } }),
        secureUrl(),
        'CULVERT_UPSTREAM_PIN',
        /Nothing was sent/,
        'tls',
      );
      assert.equal(seenSecurely.length, 1);
    });

    it('gives addresses as addresses', async () => {
      const { proxy, at } = await socksProxy();
      proxy.reply = 5;
      for (const host of ['192.0.2.7', '[2001:db8::7]'])
        await fails(open({ ALL_PROXY: `socks5://${at}` }), `http://${host}:7/`, 'CULVERT_UPSTREAM_PROXY_REFUSED', /nothing listens there/);
      assert.deepEqual(proxy.asked, ['192.0.2.7:7', '20010db8000000000000000000000007:7']);
    });

    it('says who we are', async () => {
      const { proxy, at } = await socksProxy();
      proxy.user = `me:${PASSWORD}`;
      assert.equal(await ask(open({ ALL_PROXY: `socks5://me:${PASSWORD}@${at}` }, { tls: trusting }), secureUrl()), '200 safe');
      await fails(
        open({ ALL_PROXY: `socks5://me:${PASSWORD}x@${at}` }),
        secureUrl(),
        'CULVERT_UPSTREAM_PROXY_AUTH',
        /refused the user name and password/,
      );
      await fails(open({ ALL_PROXY: `socks5://${at}` }), secureUrl(), 'CULVERT_UPSTREAM_PROXY_AUTH', /wants a user name and a password/);
    });

    for (const [reply, words] of [
      [1, /SOCKS reply 1/],
      [2, /does not let connections to server\.example:\d+ through/],
      [4, /can’t reach server\.example:\d+ \(the host\)/],
      [5, /nothing listens there/],
    ] as const)
      it(`says that the proxy replies ${reply}`, async () => {
        const { proxy, at } = await socksProxy();
        proxy.reply = reply;
        await fails(open({ ALL_PROXY: `socks5://${at}` }), secureUrl(), 'CULVERT_UPSTREAM_PROXY_REFUSED', words);
      });

    it('says that it is no SOCKS proxy', async () => {
      const { at } = await httpProxy();
      await fails(open({ ALL_PROXY: `socks5://${at}` }), secureUrl(), 'CULVERT_UPSTREAM_PROXY', /does not answer as a SOCKS 5 proxy does/);
    });
  });

  it('goes the direct way where NO_PROXY or the address says so, or a socket leads there', async () => {
    plain.behave = (_seen, response) => answerJson(response, '{}');
    const { proxy, at } = await httpProxy();
    const { port } = new URL(plain.origin);
    const resolve: HttpUpstreamOptions['resolve'] = (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]);
    assert.equal(await ask(open({ HTTP_PROXY: at, NO_PROXY: '.local' }, { resolve }), `http://box.local:${port}/`), '200 {}');
    assert.equal(await ask(open({ HTTP_PROXY: at }), `${plain.origin}/`), '200 {}');
    assert.deepEqual(proxy.asked, []);
  });
});
