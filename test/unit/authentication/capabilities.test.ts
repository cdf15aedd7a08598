import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { Capabilities } from '../../../src/authentication/capabilities.ts';
import type { Principal } from '../../../src/mcp/principal.ts';

const principal: Principal = { client: 'vscode', window: 'win-1' };
const bearer = (token: string) => `Bearer ${token}`;

describe('Capabilities', () => {
  it('admits the holder of a token to its server, whatever the case of the scheme', () => {
    const capabilities = new Capabilities();
    const { token, capability } = capabilities.issue(principal, 'srv-a');
    for (const header of [bearer(token), `bearer ${token}`, `BEARER ${token}`]) {
      const outcome = capabilities.authenticate(header, 'srv-a');
      assert.ok(outcome.kind === 'ok' && outcome.capability.id === capability.id && outcome.capability.principal === principal);
    }
  });

  it('gives every capability a token of 256 bits of its own', () => {
    const capabilities = new Capabilities();
    const tokens = new Set(Array.from({ length: 100 }, () => capabilities.issue(principal, 'srv-a').token));
    assert.equal(tokens.size, 100);
    for (const token of tokens) assert.equal(Buffer.from(token, 'base64url').length, 32);
  });

  it('knows nobody else', () => {
    const capabilities = new Capabilities();
    const { token } = capabilities.issue(principal, 'srv-a');
    const other = token.startsWith('A') ? `B${token.slice(1)}` : `A${token.slice(1)}`;
    for (const header of [
      undefined,
      '',
      token,
      bearer(other),
      bearer(''),
      `Basic ${token}`,
      bearer(`${token} `),
      bearer(`${token}x`),
      `Bearer  ${token}`,
      `${bearer(token)}, ${bearer(token)}`,
      bearer(token).padEnd(600),
    ])
      assert.equal(capabilities.authenticate(header, 'srv-a').kind, 'unknown', String(header));
  });

  it('does not let a token into another server, even after it was revoked', () => {
    const capabilities = new Capabilities();
    const { token, capability } = capabilities.issue(principal, 'srv-a');
    assert.equal(capabilities.authenticate(bearer(token), 'srv-b').kind, 'unknown');
    capabilities.revoke(capability.id);
    assert.equal(capabilities.authenticate(bearer(token), 'srv-b').kind, 'unknown');
  });

  it('takes what a connection showed before for nothing more: not for another server, another token, another connection, nor once revoked', () => {
    const capabilities = new Capabilities();
    const [a, b] = [capabilities.issue(principal, 'srv-a'), capabilities.issue(principal, 'srv-b')];
    const [one, two] = [{}, {}];
    const kind = (token: string, server: string, connection: object) => capabilities.authenticate(bearer(token), server, connection).kind;
    for (let again = 0; again < 2; again++) {
      assert.equal(kind(a.token, 'srv-a', one), 'ok');
      assert.equal(kind(a.token, 'srv-b', one), 'unknown');
      assert.equal(kind(capabilities.issue(principal, 'srv-b').token, 'srv-a', one), 'unknown');
      assert.equal(capabilities.authenticate(undefined, 'srv-a', one).kind, 'unknown');
      assert.equal(kind(b.token, 'srv-b', one), 'ok');
      assert.equal(kind(a.token, 'srv-b', two), 'unknown');
    }
    assert.equal(kind(a.token, 'srv-a', one), 'ok');
    capabilities.revoke(a.capability.id);
    assert.equal(kind(a.token, 'srv-a', one), 'expired');
    assert.equal(kind(a.token, 'srv-a', two), 'expired');
  });

  it('tells a token that was revoked from one that never was', () => {
    const capabilities = new Capabilities();
    const [a, b, c] = [
      capabilities.issue(principal, 'srv-a'),
      capabilities.issue(principal, 'srv-a'),
      capabilities.issue(principal, 'srv-b'),
    ];
    assert.deepEqual(capabilities.revokeServer('srv-a'), [a.capability.id, b.capability.id]);
    assert.deepEqual(capabilities.revokeServer('srv-a'), []);
    assert.equal(capabilities.authenticate(bearer(a.token), 'srv-a').kind, 'expired');
    assert.equal(capabilities.authenticate(bearer(c.token), 'srv-b').kind, 'ok');
  });

  it('revokes one and leaves the others', () => {
    const capabilities = new Capabilities();
    const [a, b] = [capabilities.issue(principal, 'srv-a'), capabilities.issue(principal, 'srv-a')];
    assert.equal(capabilities.get(a.capability.id)?.server, 'srv-a');
    capabilities.revoke(a.capability.id);
    capabilities.revoke('cap-none');
    assert.equal(capabilities.get(a.capability.id), undefined);
    assert.equal(capabilities.authenticate(bearer(a.token), 'srv-a').kind, 'expired');
    assert.equal(capabilities.authenticate(bearer(b.token), 'srv-a').kind, 'ok');
    assert.deepEqual(capabilities.revokeServer('srv-a'), [b.capability.id]);
  });

  it('forgets the oldest revoked tokens, never a good one', () => {
    const capabilities = new Capabilities();
    const good = capabilities.issue(principal, 'srv-good');
    const first = capabilities.issue(principal, 'srv-0');
    capabilities.revokeServer('srv-0');
    for (let i = 0; i < 4096; i++) capabilities.issue(principal, 'srv-many');
    capabilities.revokeServer('srv-many');
    assert.equal(capabilities.authenticate(bearer(first.token), 'srv-0').kind, 'unknown');
    assert.equal(capabilities.authenticate(bearer(good.token), 'srv-good').kind, 'ok');
  });

  it('does not keep the token', () => {
    const capabilities = new Capabilities();
    const { token, capability } = capabilities.issue(principal, 'srv-a');
    assert.ok(!inspect([capabilities, capability], { depth: 9, showHidden: true }).includes(token));
    assert.ok(!JSON.stringify(capability).includes(token));
  });

  it('takes the same path to a digest that shares its beginning with a stored one as to any other', () => {
    // What is looked up is the SHA-256 of the token, so no prefix of a token can be found out: a token that differs in one character is
    // as unknown as an arbitrary one.
    const capabilities = new Capabilities();
    const { token } = capabilities.issue(principal, 'srv-a');
    for (let i = 0; i < token.length; i++) {
      const near = token.slice(0, i) + (token[i] === 'A' ? 'B' : 'A') + token.slice(i + 1);
      assert.deepEqual(capabilities.authenticate(bearer(near), 'srv-a'), { kind: 'unknown' });
    }
  });
});
