import assert from 'node:assert/strict';
import { Placement } from '../../../src/credentials/credential.ts';
import { inject, refuseValue } from '../../../src/credentials/injection.ts';
import { Secret } from '../../../src/credentials/secret.ts';

const url = new URL('https://a.example/mcp?x=1');
const secret = new Secret('se cret/+&=ü');

describe('inject', () => {
  it('places a secret as its placement says', () => {
    assert.deepEqual(inject(url, { kind: 'bearer' }, secret).headers, { authorization: 'Bearer se cret/+&=ü' });
    assert.deepEqual(inject(url, { kind: 'header', name: 'X-Api-Key' }, secret).headers, { 'x-api-key': 'se cret/+&=ü' });
    const basic = inject(url, { kind: 'basic', username: 'me' }, secret).headers['authorization'] ?? '';
    assert.equal(Buffer.from(basic.replace('Basic ', ''), 'base64').toString(), 'me:se cret/+&=ü');
    const query = inject(url, { kind: 'query', name: 'key' }, secret);
    assert.deepEqual([query.url.searchParams.get('key'), query.url.searchParams.get('x'), query.headers], ['se cret/+&=ü', '1', {}]);
    assert.equal(url.search, '?x=1');
    assert.equal(
      inject(url, { kind: 'header', name: 'Authorization', template: 'token {secret}' }, secret).headers['authorization'],
      'token se cret/+&=ü',
    );
    assert.equal(inject(url, { kind: 'cookie', name: 'sid' }, new Secret('abc')).cookie, 'sid=abc');
    const given = inject(url, { kind: 'basic' }, secret, { username: new Secret('them') }).headers['authorization'] ?? '';
    assert.equal(Buffer.from(given.replace('Basic ', ''), 'base64').toString(), 'them:se cret/+&=ü');
  });

  it('puts a value that looks like the mark of a template in as it is', () =>
    assert.equal(inject(url, { kind: 'header', name: 'x', template: 'a {secret}' }, new Secret('$&$1')).headers['x'], 'a $&$1'));
});

describe('Placement', () => {
  const header = (name: string) => Placement.safeParse({ kind: 'header', name }).success;

  it('takes no header that the wire needs or that is none', () => {
    for (const name of [
      'Host',
      'content-length',
      'Transfer-Encoding',
      'mcp-session-id',
      'connection',
      'a b',
      'a:b',
      'a\r\nb',
      '',
      'ü',
      'x'.repeat(65),
    ])
      assert.equal(header(name), false, name);
    assert.equal(header('X-Api-Key'), true);
  });

  it('takes no user name with a colon', () => assert.equal(Placement.safeParse({ kind: 'basic', username: 'a:b' }).success, false));
});

describe('refuseValue', () => {
  const refuse = (value: string, placement: Placement = { kind: 'bearer' }) => refuseValue(value, placement, { min: 8, max: 20 });

  it('says why a value can not be used, without repeating it', () => {
    for (const value of [' 12345678', '12345678\n', '1234567', 'x'.repeat(21), 'größe-123', 'a\r\nx: 1234', 'Bearer 123456']) {
      const why = refuse(value);
      assert.ok(why !== undefined && !why.includes(value), value);
    }
    assert.equal(refuse('12345678'), undefined);
    assert.equal(refuse('größe-123', { kind: 'query', name: 'k' }), undefined);
  });
});
