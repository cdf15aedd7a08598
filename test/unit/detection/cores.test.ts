import assert from 'node:assert/strict';
import { coresOf } from '../../../src/detection/cores.ts';
import { KnownSecrets } from '../../../src/detection/knownSecrets.ts';
import { shapeExample } from '../../../src/detection/rules/shape.ts';
import { randomFrom } from './examples.ts';

const made = (shape: string) => shapeExample(shape, randomFrom(51));
const password = made('{base62:16}');
const line = made('{base64:64}');
const pem =
  ['-----BEGIN', 'PRIVATE KEY-----'].join(' ') +
  `\n${line}\n${line}\n${line}\n${made('{base64:40}')}\n` +
  ['-----END', 'PRIVATE KEY-----'].join(' ');

describe('coresOf', () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['a token', password, [password]],
    ['a bearer header', `Bearer ${password}`, [password]],
    ['a basic header', `Basic ${Buffer.from(`me:${password}`).toString('base64')}`, [password]],
    ['a URL', `postgres://me:${password}@db.example.test/x`, [password]],
    ['a URL with escapes', 'https://me:pa%24s%2Fword1@h.test', ['pa%24s%2Fword1', 'pa$s/word1']],
    ['a connection string', `Server=db;User Id=sa;Password=${password};Encrypt=True`, [password]],
    [
      'a storage connection string',
      `DefaultEndpointsProtocol=https;AccountName=a;AccountKey=${made('{base64:86}')}==;EndpointSuffix=x`,
      [`${made('{base64:86}')}==`],
    ],
    ['a shared access signature', `https://a.test/c?sv=1&sig=${made('{base62:43}')}`, [made('{base62:43}')]],
    ['a JWT', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl', ['eyJzdWIiOiJ4In0.c2lnbmF0dXJl']],
    ['a key', pem, [`${line}\n${line}\n${made('{base64:40}')}`.replaceAll('\n', '')]],
    ['a JSON of credentials', JSON.stringify({ type: 'x', client_email: 'a@b.test', client_secret: password }), [password]],
    ['what is short', 'abc', ['abc']],
    ['a URL without a password', 'https://example.test/path', ['https://example.test/path']],
  ];
  for (const [name, value, cores] of cases) it(`takes what is secret of ${name}`, () => assert.deepEqual(coresOf(value), cores));

  it('leaves host, user and armour to be read', () => {
    const known = new KnownSecrets();
    known.set('a', `postgres://me:${password}@db.example.test/x`);
    known.set('b', pem);
    assert.deepEqual(known.find(Buffer.from('postgres://me@db.example.test/x -----BEGIN PRIVATE KEY-----')), []);
    assert.equal(known.find(Buffer.from(`PGPASSWORD=${password}`))[0]?.id, 'a');
    assert.equal(known.find(Buffer.from(JSON.stringify(pem)))[0]?.id, 'b');
  });
});
