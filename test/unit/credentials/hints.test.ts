import assert from 'node:assert/strict';
import type { Credential } from '../../../src/credentials/credential.ts';
import { UNUSED_MS, hintsOf } from '../../../src/credentials/hints.ts';
import { endOfToken } from '../../../src/credentials/tokenEnd.ts';

const now = Date.UTC(2026, 5, 1);
const row = (changes: Partial<Credential> = {}): Credential => ({
  version: 1,
  id: 'cred-1',
  name: 'token',
  placement: { kind: 'bearer' },
  origins: ['https://a.example'],
  revision: 1,
  createdAt: now,
  ...changes,
});
const hints = (changes: Partial<Credential> = {}, facts: Partial<Parameters<typeof hintsOf>[1]> = {}) =>
  hintsOf(row(changes), { servers: 1, lastUse: now, scopes: undefined, now, ...facts }).join(' ');

describe('Hints about credentials', () => {
  it('are none for one that is used, narrow and safe', () => assert.equal(hints(), ''));
  it('tell that nobody uses it', () => {
    assert.match(hints({}, { servers: 0 }), /No server uses it/);
    assert.match(hints({}, { lastUse: now - UNUSED_MS - 1 }), /not used for 30 days/);
    assert.match(hints({ createdAt: now - UNUSED_MS - 1 }, { lastUse: undefined }), /not used for 30 days/);
  });
  it('tell that it may do or go more than it needs', () => {
    for (const scope of ['repo', 'admin:org', 'https://graph.microsoft.com/.default', 'https://www.googleapis.com/auth/cloud-platform'])
      assert.match(hints({}, { scopes: [scope] }), /fewer scopes/, scope);
    for (const scope of ['read:user', 'repo-status-x'.slice(5), 'wiki.read', 'gist'])
      assert.equal(hints({}, { scopes: [scope] }), '', scope);
    assert.match(hints({ origins: ['https://a.example', 'https://b.example'] }), /2 places/);
    assert.match(hints({ placement: { kind: 'query', name: 'key' } }), /ends up in logs/);
    assert.match(hints({ origins: ['http://a.example'] }), /plain http/);
    assert.equal(hints({ origins: ['http://127.0.0.1:3000'] }), '');
  });
});

describe('The end of a token', () => {
  const jwt = (claims: unknown) => ['e30', Buffer.from(JSON.stringify(claims)).toString('base64url'), 'c2ln'].join('.');
  it('is what a JWT says of itself', () => assert.equal(endOfToken(jwt({ exp: 1_780_000_000 })), 1_780_000_000_000));
  for (const value of ['no-token-at-all', 'a.b.c', jwt({}), jwt({ exp: 'soon' }), jwt({ exp: 5 }), jwt(null), `${'a'.repeat(9000)}.e30.x`])
    it(`is not known of ${value.slice(0, 24)}`, () => assert.equal(endOfToken(value), undefined));
});
