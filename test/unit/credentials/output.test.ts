import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { CredentialError } from '../../../src/credentials/source.ts';
import { readOutput } from '../../../src/credentials/sources/output.ts';
import { madeUpSecret, tracesIn } from '../../support/secrets.ts';

const value = madeUpSecret();
const now = Date.parse('2026-01-01T00:00:00Z');
const read = (text: string, format: Parameters<typeof readOutput>[1] = 'auto', field?: string) =>
  readOutput(text, format, field, 'prog', now);

describe('Output of programs', () => {
  for (const [what, text, field, until] of [
    ['a line', `${value}\n`],
    ['a line of Windows', `${value}\r\n`],
    ['JSON with a field', JSON.stringify({ data: { 'a/b': value } }), '/data/a~1b'],
    ['an OAuth response', JSON.stringify({ access_token: value, expires_in: 60 }), undefined, now + 60_000],
    ['az', JSON.stringify({ accessToken: value, expires_on: 1767229200, expiresOn: '2026-01-01 01:00:00.0' }), undefined, 1767229200_000],
    [
      'ExecCredential',
      JSON.stringify({ status: { token: value, expirationTimestamp: '2026-01-01T02:00:00Z' } }),
      undefined,
      now + 7200_000,
    ],
  ] as const)
    it(`reads ${what}`, () => {
      const output = read(text, 'auto', field);
      assert.equal(output.secret.expose(), value);
      assert.equal(output.validUntil, until);
    });

  it('reads the first line of pass', () => assert.equal(read(`${value}\nuser: me\n`, 'first-line').secret.expose(), value));

  it('reads an AWS credential process', () => {
    const output = read(
      JSON.stringify({ Version: 1, AccessKeyId: 'AKID', SecretAccessKey: value, SessionToken: 'st', Expiration: '2026-01-01T01:00:00Z' }),
    );
    assert.deepEqual(
      [output.secret.expose(), output.parts?.['accessKeyId']?.expose(), output.parts?.['sessionToken']?.expose(), output.validUntil],
      [value, 'AKID', 'st', now + 3600_000],
    );
  });

  it('reads a git credential helper', () => {
    const output = read(`protocol=https\nusername=me\npassword=${value}\npassword_expiry_utc=1767229200\n`);
    assert.deepEqual([output.secret.expose(), output.parts?.['username']?.expose(), output.validUntil], [value, 'me', 1767229200_000]);
  });

  for (const [what, text, format, field] of [
    ['nothing', '\n', 'text'],
    ['several lines', `${value}\n${value}`, 'text'],
    ['no JSON', `{"a": ${value}`, 'json'],
    ['no such field', JSON.stringify({ a: value }), 'json', '/b'],
    ['a field of a prototype', JSON.stringify({ a: value }), 'json', '/constructor/name'],
    ['a number', JSON.stringify({ token: 12345678 }), 'json'],
    ['no password', `username=${value}`, 'git'],
    ['half of AWS', JSON.stringify({ SecretAccessKey: value }), 'aws'],
  ] as const)
    it(`refuses ${what}, without quoting it`, () =>
      assert.throws(
        () => read(text, format, field),
        (error: unknown) =>
          error instanceof CredentialError &&
          error.step === 'output' &&
          tracesIn(inspect(error, { depth: 9, showHidden: true }), value).length === 0,
      ));
});
