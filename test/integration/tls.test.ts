import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import type { PeerCertificate, TLSSocket, TlsOptions } from 'node:tls';
import { inspect } from 'node:util';
import { UpstreamError } from '../../src/common/errors.ts';
import type { Tls } from '../../src/mcp/server.ts';
import { HttpUpstream, type HttpUpstreamOptions } from '../../src/upstream/httpUpstream.ts';
import { inspectCertificate } from '../../src/upstream/tls.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../src/upstream/upstream.ts';
import { Authority, selfSigned, type Issued } from '../support/certificate.ts';
import { temporaryFolder } from '../support/folders.ts';
import { askInFreshNode } from '../support/freshNode.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';

const SECRET = madeUpSecret();

/** A HTTPS server that counts connections, handshakes and requests; what it answers is what it knows of its client. */
class SecureServer {
  requests = 0;
  sockets = 0;
  resumed = 0;
  readonly protocols = new Set<string | null>();
  readonly #server: https.Server;
  readonly #open = new Set<Socket>();

  constructor(options: https.ServerOptions) {
    this.#server = https.createServer(options, (request, response) => {
      this.requests++;
      const peer = (request.socket as TLSSocket).getPeerCertificate() as Partial<PeerCertificate>;
      request.resume().once('end', () => response.end(peer.subject?.CN ?? 'nobody'));
    });
    this.#server.on('secureConnection', (socket) => {
      this.protocols.add(socket.getProtocol());
      if (socket.isSessionReused()) this.resumed++;
    });
    this.#server.on('connection', (socket: Socket) => {
      this.sockets++;
      this.#open.add(socket);
    });
    this.#server.on('tlsClientError', () => undefined);
  }

  async start(host = '127.0.0.1'): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, host, resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}/mcp`;
  }

  show(options: TlsOptions): void {
    this.#server.setSecureContext(options);
    for (const socket of this.#open) socket.destroy();
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('TLS to servers', () => {
  const root = new Authority('Culvert test root');
  const good = root.issue({ name: 'good' });
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  const serve = async (options: https.ServerOptions, host?: string) => {
    const server = await new SecureServer(options).start(host);
    closing.push(() => server.stop());
    return server;
  };
  const open = (tls: Tls = {}, options: HttpUpstreamOptions = {}) => {
    const upstream = new HttpUpstream({ proxies: {}, tls, ...options });
    closing.push(() => upstream.dispose());
    return upstream;
  };
  const post = (url: string): UpstreamRequest => ({
    method: 'POST',
    url: new URL(url),
    headers: { authorization: `Bearer ${SECRET}` },
    body: Buffer.from('{"id":1}'),
    signal: new AbortController().signal,
  });
  const read = async (response: UpstreamResponse) => (await response.body.collect(1000))?.toString();
  const ask = async (upstream: HttpUpstream, url: string) => read(await upstream.send(post(url)));
  const fails = (upstream: HttpUpstream, url: string, code: string, words: RegExp, leg: UpstreamError['leg'] = 'tls') =>
    assert.rejects(upstream.send(post(url)), (error: unknown) => {
      assert.ok(error instanceof UpstreamError, inspect(error));
      assert.deepEqual([error.code, error.leg], [code, leg], error.message);
      assert.match(error.message, words);
      assert.ok(!inspect(error, { depth: 9 }).includes('PRIVATE KEY'));
      assert.deepEqual(tracesIn(inspect(error, { depth: 9 }), SECRET), []);
      return true;
    });
  const trusting: Tls = { authorities: root.cert };

  it('trusts an authority of its own for one server, and only for that', async () => {
    const server = await serve(good);
    assert.equal(await ask(open(trusting), server.url), 'nobody');
    await fails(open(), server.url, 'CULVERT_UPSTREAM_TLS', /comes from an authority this machine does not trust: Culvert test root\./);
    assert.equal(server.requests, 1);
  });

  it('names cause and certificate: subject, issuer, validity, key', async () => {
    const server = await serve(good);
    await fails(open(), server.url, 'CULVERT_UPSTREAM_TLS', /^No safe connection to 127\.0\.0\.1:\d+: /);
    await fails(
      open(),
      server.url,
      'CULVERT_UPSTREAM_TLS',
      new RegExp(
        `The certificate: good, issued by Culvert test root, valid from [\\d-]{10} to [\\d-]{10}, key SHA-256 ${good.pin.replaceAll('+', '\\+')}\\.$`,
      ),
    );
  });

  for (const [what, shown, words] of [
    ['has expired', () => root.issue({ expired: true }), /its certificate has expired on \d{4}-\d\d-\d\d\..* check this machine’s clock/],
    [
      'is for others',
      () => root.issue({ hosts: ['other.test', '10.9.8.7'] }),
      /its certificate is for another host: other\.test, 10\.9\.8\.7\. Check the URL/,
    ],
    ['is self-signed', () => selfSigned(), /its certificate is self-signed: nobody vouches for it\..*Edit Server/],
    ['is self-signed by an impostor of the authority', () => new Authority('Culvert test root').issue(), /./],
  ] as const)
    it(`refuses a certificate that ${what}, before anything is sent`, async () => {
      const server = await serve(shown());
      await fails(open(trusting), server.url, 'CULVERT_UPSTREAM_TLS', words);
      assert.equal(server.requests, 0);
    });

  it('verifies the name where the URL has one, and IPv6', async () => {
    const named = await serve(root.issue({ hosts: ['localhost'] }));
    assert.equal(await ask(open(trusting), `https://localhost:${named.port}/`), 'nobody');
    await fails(open(trusting), named.url, 'CULVERT_UPSTREAM_TLS', /another host: localhost/);
    const six = await serve(root.issue({ hosts: ['::1'] }), '::1');
    assert.equal(await ask(open(trusting), `https://[::1]:${six.port}/`), 'nobody');
  });

  it('follows a chain over an intermediate authority, and says if the server leaves it out', async () => {
    const middle = new Authority('Middle', root);
    const leaf = middle.issue();
    const whole = await serve({ key: leaf.key, cert: leaf.cert + middle.cert });
    assert.equal(await ask(open(trusting), whole.url), 'nobody');
    const short = await serve(leaf);
    await fails(open(trusting), short.url, 'CULVERT_UPSTREAM_TLS', /authority this machine does not trust: Middle/);
    assert.equal(await ask(open({ authorities: root.cert + middle.cert }), short.url), 'nobody');
    assert.equal(await ask(open({ authorities: middle.cert }), short.url), 'nobody', 'an intermediate one may be trusted by itself');
  });

  it('trusts exactly one certificate where that is set as the authority', async () => {
    const own = selfSigned();
    assert.equal(await ask(open({ authorities: own.cert }), (await serve(own)).url), 'nobody');
    assert.equal(await ask(open({ authorities: good.cert }), (await serve(good)).url), 'nobody');
    await fails(open({ authorities: own.cert }), (await serve(selfSigned())).url, 'CULVERT_UPSTREAM_TLS', /self-signed/);
  });

  it('says that its authorities can’t be read', async () => {
    const server = await serve(good);
    for (const authorities of ['nonsense', root.cert.replace(/[A-Z]{6}/, '')])
      await fails(open({ authorities }), server.url, 'CULVERT_UPSTREAM_AUTHORITIES', /can’t be read as certificates \(PEM\)/);
    assert.equal(server.sockets, 0);
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const)
    it(`speaks ${maxVersion}, and resumes its sessions`, async () => {
      const server = await serve({ ...good, maxVersion });
      const upstream = open(trusting);
      assert.equal(await ask(upstream, server.url), 'nobody');
      await ask(upstream, server.url);
      // Both at once: one needs a connection of its own.
      await Promise.all([ask(upstream, server.url), ask(upstream, server.url), ask(upstream, server.url)]);
      assert.deepEqual([...server.protocols], [maxVersion]);
      assert.ok(server.sockets > 1 && server.resumed > 0, `${server.resumed} of ${server.sockets}`);
    });

  it('speaks nothing older', async () => {
    const server = await serve({ ...good, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' });
    await fails(open(trusting), server.url, 'CULVERT_UPSTREAM_TLS', /no version of TLS that is still safe \(1\.2 or later\)/);
    await fails(open({ unverified: true }), server.url, 'CULVERT_UPSTREAM_TLS', /1\.2 or later/);
  });

  it('says that the other side speaks something else, hangs up, or says nothing', async () => {
    const listen = async (server: net.Server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      closing.push(() => new Promise((resolve) => server.close(resolve)));
      return `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    };
    const plain = await listen(
      net.createServer((socket) =>
        socket
          .on('error', () => undefined)
          .resume()
          .end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      ),
    );
    await fails(open(), plain, 'CULVERT_UPSTREAM_TLS', /does not speak TLS there\. Check http: against https:/);
    const closer = await listen(net.createServer((socket) => socket.on('error', () => undefined).destroy()));
    await fails(open(), closer, 'CULVERT_UPSTREAM_TLS', /closed the connection while TLS was being set up/);
    const mute = net.createServer((socket) => {
      socket.on('error', () => undefined).resume();
      closing.push(() => socket.destroy());
    });
    const silent = await listen(mute);
    await fails(
      open({}, { limits: { connectTimeoutMs: 150 } }),
      silent,
      'CULVERT_UPSTREAM_CONNECT_TIMEOUT',
      /did not finish setting up TLS within 0\.15 seconds/,
      'timeout',
    );
  });

  describe('pins', () => {
    const middle = new Authority('Middle', root);
    const leaf = middle.issue();
    const other = 'A'.repeat(43) + '=';
    const whole = { key: leaf.key, cert: leaf.cert + middle.cert };

    for (const [what, pin] of [
      ['the certificate', leaf.pin],
      ['the intermediate authority', middle.pin],
      ['the root, which is not even sent', root.pin],
    ] as const)
      it(`holds for ${what}, again and again`, async () => {
        const server = await serve(whole);
        const upstream = open({ ...trusting, pins: [other, pin] });
        for (let i = 0; i < 2; i++) await Promise.all([ask(upstream, server.url), ask(upstream, server.url), ask(upstream, server.url)]);
        assert.ok(server.sockets > 1);
      });

    it('a mismatch ends the connection before a byte of the request, names the key and what to do', async () => {
      const server = await serve(whole);
      await fails(
        open({ ...trusting, pins: [other] }),
        server.url,
        'CULVERT_UPSTREAM_PIN',
        new RegExp(
          `the key it shows, ${leaf.pin.replaceAll('+', '\\+')}, is not the one that is pinned\\. Nothing was sent\\..*Edit Server`,
        ),
      );
      assert.equal(server.requests, 0);
    });

    it('survives a new certificate of the same key, and a change to the backup key', async () => {
      const server = await serve(good);
      const backup = root.issue();
      const upstream = open({ ...trusting, pins: [good.pin, backup.pin] });
      await ask(upstream, server.url);
      server.show(root.issue({ key: good.key }));
      await ask(upstream, server.url);
      server.show(backup);
      await ask(upstream, server.url);
      server.show(root.issue());
      await fails(upstream, server.url, 'CULVERT_UPSTREAM_PIN', /not among those that are pinned/);
      assert.equal(server.requests, 3);
    });

    it('holds without verification too', async () => {
      const own = selfSigned({ host: 'elsewhere.test', expired: true });
      const server = await serve(own);
      assert.equal(await ask(open({ unverified: true, pins: [own.pin] }), server.url), 'nobody');
      await fails(open({ unverified: true, pins: [other] }), server.url, 'CULVERT_UPSTREAM_PIN', /Nothing was sent/);
      assert.equal(server.requests, 1);
    });

    it('is not fooled by a pinned certificate that is only sent along', async () => {
      // A stranger, with a certificate from an authority that is trusted, shows the pinned one too, under the right name.
      const pinned = new Authority('Pinned', root);
      const stranger = new Authority('Pinned', root);
      const forged = stranger.issue();
      for (const chain of [pinned.cert + stranger.cert, stranger.cert + pinned.cert, pinned.cert]) {
        const server = await serve({ key: forged.key, cert: forged.cert + chain });
        await fails(
          open({ ...trusting, pins: [pinned.pin] }),
          server.url,
          chain.startsWith(pinned.cert) ? 'CULVERT_UPSTREAM_TLS' : 'CULVERT_UPSTREAM_PIN',
          /./,
        );
        await fails(open({ unverified: true, pins: [pinned.pin] }), server.url, 'CULVERT_UPSTREAM_PIN', /./);
        assert.equal(server.requests, 0);
      }
    });

    it('does not save a certificate that is not in order', async () => {
      const expired = root.issue({ expired: true });
      await fails(open({ ...trusting, pins: [expired.pin] }), (await serve(expired)).url, 'CULVERT_UPSTREAM_TLS', /expired/);
    });
  });

  it('checks nothing where the user switched it off, and only there', async () => {
    for (const shown of [selfSigned({ expired: true }), root.issue({ hosts: ['elsewhere.test'] })]) {
      const server = await serve(shown);
      assert.equal(await ask(open({ unverified: true }), server.url), 'nobody');
      await fails(open({}), server.url, 'CULVERT_UPSTREAM_TLS', /./);
    }
  });

  describe('client certificate', () => {
    const clients = new Authority('Clients');
    const middle = new Authority('Client middle', clients);
    const ours = middle.issue({ name: 'me', hosts: [] });
    const wanted = { ...good, ca: clients.cert, requestCert: true, rejectUnauthorized: true };
    const shows = (chain: string): Tls => ({ ...trusting, clientCertificate: { chain, keyCredential: 'key-1' } });
    const keyed = (key: string | undefined, asked: string[] = []): HttpUpstreamOptions => ({
      clientKey: (credential) => {
        asked.push(credential);
        return Promise.resolve(key === undefined ? undefined : { expose: () => key });
      },
    });

    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`is shown with its chain (${maxVersion}); the key is asked for with every connection`, async () => {
        const server = await serve({ ...wanted, maxVersion });
        const asked: string[] = [];
        const upstream = open(shows(ours.cert + middle.cert), keyed(ours.key, asked));
        assert.equal(await ask(upstream, server.url), 'me');
        assert.deepEqual(asked, ['key-1']);
        await Promise.all([ask(upstream, server.url), ask(upstream, server.url), ask(upstream, server.url)]);
        assert.equal(asked.length, server.sockets);
      });

      it(`is missed (${maxVersion})`, async () => {
        const server = await serve({ ...wanted, maxVersion });
        await fails(open(trusting), server.url, 'CULVERT_UPSTREAM_TLS', /wants a certificate of ours/);
        assert.equal(server.requests, 0);
      });

      it(`is refused without a word (${maxVersion})`, async () => {
        const server = await serve({ ...wanted, maxVersion });
        const strange = selfSigned();
        const upstream = open(shows(strange.cert), keyed(strange.key));
        if (maxVersion === 'TLSv1.2')
          await fails(upstream, server.url, 'CULVERT_UPSTREAM_TLS', /Check http: against https:, the certificate that we show,/);
        else await fails(upstream, server.url, 'CULVERT_UPSTREAM_BROKE', /broke before an answer/, 'request');
        assert.equal(server.requests, 0);
      });
    }

    it('says what is wrong with certificate or key, and never shows the key', async () => {
      const server = await serve(wanted);
      const other = root.issue();
      const locked = '-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHeMEkGCSqGSIb3\n-----END ENCRYPTED PRIVATE KEY-----\n';
      for (const [chain, key, words] of [
        [ours.cert, other.key, /the private key is not that of the certificate/],
        [ours.cert, `${SECRET} is no key`, /private key can’t be read/],
        [ours.cert, locked, /locked with a password/],
        ['nonsense', ours.key, /the certificate can’t be read/],
        [ours.cert, undefined, /not in the vault, or not for this server/],
      ] as const)
        await fails(open(shows(chain), keyed(key)), server.url, 'CULVERT_UPSTREAM_CLIENT_CERTIFICATE', words);
      await fails(
        open(shows(ours.cert), { clientKey: () => Promise.reject(new Error('the vault is closed')) }),
        server.url,
        'CULVERT_UPSTREAM_CLIENT_CERTIFICATE',
        /can’t be opened \(the vault is closed\)/,
      );
      assert.equal(server.sockets, 0);
    });

    it('is not shown any more once its key was taken back', async () => {
      const server = await serve(wanted);
      let key: string | undefined = ours.key;
      const upstream = open(shows(ours.cert + middle.cert), {
        clientKey: () => Promise.resolve(key === undefined ? undefined : { expose: () => key ?? '' }),
      });
      assert.equal(await ask(upstream, server.url), 'me');
      key = undefined;
      server.show(wanted);
      await fails(upstream, server.url, 'CULVERT_UPSTREAM_CLIENT_CERTIFICATE', /not in the vault/);
    });
  });

  describe('inspectCertificate', () => {
    it('shows who answers without sending anything, trusted or not', async () => {
      const middle = new Authority('Middle', root);
      const leaf = middle.issue({ name: 'srv', hosts: ['127.0.0.1', 'srv.test'] });
      const server = await serve({ key: leaf.key, cert: leaf.cert + middle.cert });
      const trusted = await inspectCertificate(new URL(server.url), { tls: trusting, proxies: {} });
      assert.deepEqual(
        [trusted.subject, trusted.issuer, trusted.names, trusted.pin, trusted.problem],
        ['srv', 'Middle', ['127.0.0.1', 'srv.test'], leaf.pin, undefined],
      );
      assert.deepEqual(trusted.pins, [leaf.pin, middle.pin, root.pin]);
      const unknown = await inspectCertificate(new URL(server.url), { proxies: {} });
      assert.deepEqual(unknown.pins, [leaf.pin, middle.pin]);
      assert.match(unknown.problem ?? '', /authority this machine does not trust: Middle/);
      assert.equal(
        await ask(open({ authorities: unknown.pem, pins: [unknown.pin] }), server.url),
        'nobody',
        'what was shown can be trusted',
      );
      assert.equal(server.requests, 1);
    });

    for (const [what, shown, words] of [
      ['expired', () => selfSigned({ expired: true }), /expired|self-signed/],
      ['for another host', () => root.issue({ hosts: ['x.test'] }), /another host: x\.test/],
    ] as const)
      it(`says that it is ${what}, whatever the settings say`, async () => {
        const certificate: Issued = shown();
        const server = await serve(certificate);
        const seen = await inspectCertificate(new URL(server.url), {
          tls: { ...trusting, unverified: true, pins: ['A'.repeat(43) + '='] },
          proxies: {},
        });
        assert.equal(seen.pin, certificate.pin);
        assert.match(seen.problem ?? '', words);
        assert.equal(server.requests, 0);
      });

    it('fails where there is no certificate', async () => {
      const plain = net.createServer((socket) =>
        socket
          .on('error', () => undefined)
          .resume()
          .end('HTTP/1.1 400 Bad Request\r\n\r\n'),
      );
      await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
      const { port } = plain.address() as AddressInfo;
      await assert.rejects(inspectCertificate(new URL(`https://127.0.0.1:${port}`), { proxies: {} }), {
        code: 'CULVERT_UPSTREAM_TLS',
        leg: 'tls',
      });
      await new Promise((resolve) => plain.close(resolve));
      await assert.rejects(inspectCertificate(new URL(`https://127.0.0.1:${port}`), { proxies: {} }), { code: 'CULVERT_UPSTREAM_REFUSED' });
    });
  });

  for (const variable of ['NODE_EXTRA_CA_CERTS', ...(process.platform === 'linux' ? ['SSL_CERT_FILE'] : [])])
    it(`trusts the authorities of the machine: ${variable}`, async function () {
      this.timeout(120_000);
      const folder = temporaryFolder();
      closing.push(() => folder.remove());
      const file = join(folder.path, 'ca.pem');
      writeFileSync(file, root.cert);
      const server = await serve(good);
      assert.deepEqual(await Promise.all([askInFreshNode(server.url, { [variable]: file }), askInFreshNode(server.url, {})]), [
        '200',
        'CULVERT_UPSTREAM_TLS',
      ]);
    });
});
