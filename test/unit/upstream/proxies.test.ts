import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { UpstreamError } from '../../../src/common/errors.ts';
import { proxyFor } from '../../../src/upstream/proxies.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

describe('proxyFor', () => {
  const through = (url: string, environment: Record<string, string>) => proxyFor(new URL(url), environment)?.place;

  it('reads the variables as curl does', () => {
    assert.equal(through('http://a.example/', {}), undefined);
    assert.equal(through('http://a.example/', { HTTP_PROXY: 'http://p:3128' }), 'p:3128');
    assert.equal(through('https://a.example/', { HTTP_PROXY: 'http://p:3128' }), undefined);
    assert.equal(through('https://a.example/', { https_proxy: 'p:3128' }), 'p:3128');
    assert.equal(through('https://a.example/', { https_proxy: 'low', HTTPS_PROXY: 'high' }), 'low:80');
    assert.equal(through('https://a.example/', { https_proxy: '', HTTPS_PROXY: 'high' }), undefined);
    assert.equal(through('https://a.example/', { ALL_PROXY: 'socks5h://p' }), 'p:1080');
    assert.equal(through('https://a.example/', { ALL_PROXY: 'socks5://p:9', HTTPS_PROXY: 'https://q' }), 'q:443');
  });

  it('asks this machine directly', () => {
    for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9', '[::1]'])
      assert.equal(through(`http://${host}:1/`, { ALL_PROXY: 'http://p' }), undefined, host);
    assert.equal(through('http://127.example.com/', { ALL_PROXY: 'http://p' }), 'p:80');
  });

  for (const [list, direct, proxied] of [
    ['*', ['http://a.example', 'http://10.0.0.1'], []],
    [
      'example.com',
      ['https://example.com', 'https://a.example.com', 'https://EXAMPLE.com.'],
      ['https://notexample.com', 'https://example.com.evil'],
    ],
    ['.example.com', ['https://example.com', 'https://a.b.example.com'], ['https://notexample.com']],
    ['*.example.com', ['https://a.example.com'], ['https://notexample.com']],
    [' a.test ,\tb.test', ['http://a.test', 'http://b.test'], ['http://c.test']],
    ['example.com:8443', ['https://example.com:8443'], ['https://example.com']],
    ['example.com:443', ['https://example.com'], ['http://example.com']],
    ['10.0.0.1', ['http://10.0.0.1', 'http://10.0.0.1:99'], ['http://10.0.0.10', 'http://110.0.0.1']],
    ['0.1', [], ['http://10.0.0.1']],
    ['10.0.0.0/8,192.168.4.0/22', ['http://10.255.1.1', 'http://192.168.7.9'], ['http://11.0.0.1', 'http://192.168.8.1']],
    ['10.0.0.0/99', [], ['http://10.0.0.0']],
    ['10.0.0.0/8', [], ['http://10.example.com']],
    ['fd00::1', ['http://[fd00::1]'], ['http://[fd00::2]']],
    ['[fd00::1]:8080', ['http://[fd00::1]:8080'], ['http://[fd00::1]']],
    ['fd00::/8', ['http://[fd12::9]'], ['http://[fe00::1]', 'http://10.0.0.1']],
    ['FD00:0:0::1', ['http://[fd00::1]'], []],
    [',, ', [], ['http://a.example']],
  ] as const)
    it(`NO_PROXY=${JSON.stringify(list)}`, () => {
      const environment = { ALL_PROXY: 'http://p', NO_PROXY: list };
      for (const url of direct) assert.equal(through(url, environment), undefined, url);
      for (const url of proxied) assert.equal(through(url, environment), 'p:80', url);
    });

  it('says that a variable names no proxy, without its content', () => {
    for (const bad of [`ftp://u:${madeUpSecret()}@p`, `socks4://u:${madeUpSecret()}@p`, `http://u:${madeUpSecret()}@`, 'http://'])
      assert.throws(
        () => through('https://a.example/', { HTTPS_PROXY: bad }),
        (error: unknown) =>
          error instanceof UpstreamError &&
          error.leg === 'proxy' &&
          tracesIn(`${error.message} ${inspect(error)}`, madeUpSecret()).length === 0,
      );
  });

  it('keeps user and password to what goes to the proxy', () => {
    const secret = madeUpSecret();
    const proxy = proxyFor(new URL('http://a.example'), { HTTP_PROXY: `http://me%40x:${encodeURIComponent(`${secret}:%`)}@p:1` });
    assert.equal(proxy?.authorization, `Basic ${Buffer.from(`me@x:${secret}:%`).toString('base64')}`);
    assert.deepEqual(
      tracesIn(`${inspect(proxy, { depth: 9, showHidden: true })} ${JSON.stringify(proxy)} ${proxy.refusedUser().message}`, secret),
      [],
    );
    assert.equal(proxyFor(new URL('http://a.example'), { HTTP_PROXY: 'http://p' })?.authorization, undefined);
    assert.equal(
      proxyFor(new URL('http://a.example'), { HTTP_PROXY: 'http://u:50%@p' })?.authorization,
      `Basic ${Buffer.from('u:50%').toString('base64')}`,
    );
  });
});
