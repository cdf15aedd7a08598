import assert from 'node:assert/strict';
import fc from 'fast-check';
import { goesTo, parseHosts } from '../../../src/authorization/hosts.ts';

const of = (url: string, hosts: readonly string[], ports?: readonly number[], schemes?: readonly string[]) => {
  const parsed = parseHosts(hosts, ports, schemes);
  assert.ok(parsed);
  return goesTo(url, parsed);
};

describe('goesTo', () => {
  const table: readonly (readonly [string, readonly string[], 'yes' | 'no' | 'unclear'])[] = [
    ['https://example.com/a?b#c', ['example.com'], 'yes'],
    ['HTTPS://EXAMPLE.com', ['example.com'], 'yes'],
    ['https://example.com:443/', ['example.com'], 'yes'],
    ['https://example.com:8443/', ['example.com'], 'unclear'],
    ['https://api.example.com/', ['example.com'], 'no'],
    ['https://api.example.com/', ['*.example.com'], 'yes'],
    ['https://a.b.example.com/', ['*.example.com'], 'yes'],
    ['https://example.com/', ['*.example.com'], 'no'],
    ['https://badexample.com/', ['*.example.com', 'example.com'], 'no'],
    ['https://example.com.evil.org/', ['example.com', '*.example.com'], 'no'],
    ['https://evil.org/example.com', ['example.com'], 'no'],
    ['ftp://example.com/', ['example.com'], 'unclear'],
    // User info.
    ['https://example.com@evil.org/', ['example.com'], 'unclear'],
    ['https://evil.org@example.com/', ['example.com'], 'unclear'],
    ['https://user:pw@example.com/', ['example.com'], 'unclear'],
    ['https://evil.org\\@example.com/', ['example.com'], 'unclear'],
    ['https://evil.org#@example.com/', ['example.com'], 'no'],
    ['https:\\\\example.com\\a', ['example.com'], 'unclear'],
    ['https:/example.com', ['example.com'], 'unclear'],
    [' https://example.com/', ['example.com'], 'unclear'],
    ['https://exa\tmple.com/', ['example.com'], 'unclear'],
    ['https://example.com./', ['example.com'], 'unclear'],
    ['https://ex%61mple.com/', ['example.com'], 'unclear'],
    // Addresses.
    ['http://127.0.0.1/', ['127.0.0.1'], 'yes'],
    ['http://0x7f.1/', ['127.0.0.1'], 'unclear'],
    ['http://2130706433/', ['127.0.0.1'], 'unclear'],
    ['http://0177.0.0.1/', ['127.0.0.1'], 'unclear'],
    ['http://[::1]/', ['[::1]'], 'yes'],
    ['http://[0:0:0:0:0:0:0:1]/', ['[::1]'], 'unclear'],
    // International names.
    ['https://b\u00fccher.example/', ['b\u00fccher.example'], 'yes'],
    ['https://xn--bcher-kva.example/', ['b\u00fccher.example'], 'yes'],
    ['https://stra\u00dfe.example/', ['stra\u00dfe.example'], 'unclear'],
    ['https://\uff45xample.com/', ['example.com'], 'unclear'],
    ['https://example\u3002com/', ['example.com'], 'unclear'],
    ['https://ex\u0430mple.com/', ['example.com'], 'no'],
    // Servers that put a scheme in front themselves.
    ['example.com/a', ['example.com'], 'unclear'],
    ['//example.com/a', ['example.com'], 'unclear'],
    ['plain text', ['example.com'], 'no'],
    ['other.org', ['example.com'], 'no'],
  ];
  for (const [url, hosts, expected] of table)
    it(`${JSON.stringify(url)} to ${hosts.join(', ')}: ${expected}`, () => assert.equal(of(url, hosts), expected));

  it('goes by ports and schemes where they are named', () => {
    assert.equal(of('https://example.com:8443/', ['example.com'], [8443]), 'yes');
    assert.equal(of('https://example.com/', ['example.com'], [8443]), 'unclear');
    assert.equal(of('https://example.com/', ['example.com'], [443]), 'yes');
    assert.equal(of('http://example.com/', ['example.com'], undefined, ['https']), 'unclear');
    assert.equal(of('wss://example.com/', ['example.com'], undefined, ['wss']), 'yes');
  });

  it('takes no patterns that are no hosts', () => {
    for (const bad of ['', '*', '*.', 'a/b', 'a@b', 'http://a', '*.127.0.0.1', 'a b', 'a:80'])
      assert.equal(parseHosts([bad]), undefined, bad);
  });

  it('says “yes” only where the standard agrees', () => {
    const piece = fc.constantFrom(
      'https://',
      'http://',
      'HTTPS:',
      '//',
      '\\',
      '@',
      'example.com',
      'evil.org',
      ':80',
      ':443',
      '/',
      '?',
      '#',
      '.',
      '%2e',
      '\t',
      ' ',
      'api.',
      '\u3002',
    );
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), (pieces) => {
        const url = pieces.join('');
        if (of(url, ['example.com', '*.example.com']) !== 'yes') return;
        const { hostname } = new URL(url);
        assert.ok(hostname === 'example.com' || hostname.endsWith('.example.com'), url);
        assert.ok(!url.includes('@') && !url.includes('\\'), url);
      }),
      { seed: 3, numRuns: 5_000 },
    );
  });
});
