import assert from 'node:assert/strict';
import { Secret } from '../../../src/credentials/secret.ts';
import { mayKeep, refuseAddress, refuseRedirect, setupOf, type SignInDraft } from '../../../src/vscode/commands/signInSetup.ts';
import { madeUpSecret } from '../../support/secrets.ts';

const ISSUER = 'https://login.example.com';
const secret = new Secret(madeUpSecret('client'));
const draft = (more: Partial<SignInDraft> = {}): SignInDraft => ({
  typed: { issuer: ISSUER, client: 'culvert', redirect: 'http://127.0.0.1:8765/back', scopes: 'read  write read' },
  proof: 'secret',
  secret,
  ...more,
});

describe('how a sign-in is set up', () => {
  it('keeps secrets beside the settings, never in them', () => {
    const { settings, secret: kept } = setupOf(draft(), 'client-credentials');
    assert.equal(kept, secret);
    assert.deepEqual(settings, {
      kind: 'oauth',
      grant: 'client-credentials',
      issuer: ISSUER,
      client: { id: 'culvert' },
      scopes: ['read', 'write'],
    });
    assert.ok(!JSON.stringify(setupOf(draft(), 'code')).includes(secret.expose()));
  });

  it('takes path and port of the redirect URI for the browser alone', () => {
    assert.deepEqual(setupOf(draft(), 'code').settings.client, { id: 'culvert', redirectPath: '/back', redirectPort: 8765 });
    const external = draft({ typed: { client: 'culvert', redirect: 'vscode://culvert.culvert/sign-in' } });
    assert.deepEqual(setupOf(external, 'code').settings.client, { id: 'culvert' });
  });

  it('sends a stored secret nowhere but where it was entered for', () => {
    const stored = draft({ storedFor: ISSUER });
    assert.equal(mayKeep(stored, ISSUER), true);
    assert.equal(mayKeep(stored, undefined), true);
    assert.equal(mayKeep(stored, 'https://other.example'), false);
    // By browser the server names the authorization server: only this one will do then.
    assert.equal(setupOf(stored, 'code').settings.issuer, ISSUER);
    assert.equal(setupOf(draft(), 'code').settings.issuer, undefined);
  });

  it('binds the token that is exchanged to where that happens', () => {
    const assertion = { spec: { kind: 'environment', variable: 'ID_TOKEN' } } as const;
    assert.equal(setupOf(draft({ assertion }), 'workload').assertion?.origin, ISSUER);
    const company = { provider: 'https://id.example.com', providerClient: 'c', providerEndpoint: 'https://tokens.example.com/oauth2' };
    const enterprise = draft({ assertion, typed: { ...draft().typed, ...company } });
    assert.equal(setupOf(enterprise, 'enterprise').assertion?.origin, 'https://tokens.example.com');
    assert.equal(setupOf(enterprise, 'client-credentials').assertion, undefined);
    assert.equal(setupOf(draft({ assertion }), 'workload').secret, undefined, 'a workload shows nothing but its token');
  });

  it('keeps the secret of the client at the identity provider apart, with how that wants it shown', () => {
    const tokenEndpoint = 'https://id.example.com/token';
    const typed = { ...draft().typed, provider: 'https://id.example.com', providerClient: 'c', providerEndpoint: tokenEndpoint };
    const atProvider = { proof: 'secret', secret: new Secret(madeUpSecret('identity')) } as const;
    const company = (more: Partial<SignInDraft>) => setupOf(draft({ typed, ...more }), 'enterprise');
    assert.equal(company({}).settings.identityProvider?.method, undefined);
    assert.equal(company({ atProvider: { ...atProvider, proof: 'none' } }).identitySecret, undefined);
    const setup = company({ atProvider });
    assert.equal(setup.identitySecret, atProvider.secret);
    assert.equal(setup.secret, secret);
    assert.deepEqual(setup.settings.identityProvider, {
      issuer: 'https://id.example.com',
      clientId: 'c',
      tokenEndpoint,
      method: 'client_secret_basic',
    });
    const found = { provider: 'https://id.example.com', tokenEndpoint, authMethods: ['client_secret_post', 'private_key_jwt'] };
    const methodOf = (more: Partial<SignInDraft>) => company(more).settings.identityProvider?.method;
    assert.equal(methodOf({ atProvider, foundProvider: found }), 'client_secret_post');
    assert.equal(methodOf({ atProvider, foundProvider: { ...found, tokenEndpoint: 'https://id.example.com/v1' } }), 'client_secret_basic');
    const key = { secret: new Secret(madeUpSecret('key')), algorithm: 'RS256' } as const;
    const signing = company({ atProvider: { proof: 'key', key } });
    assert.deepEqual([signing.identitySecret, signing.settings.identityProvider?.algorithm], [key.secret, 'RS256']);
    assert.equal(setupOf(draft({ typed, atProvider }), 'client-credentials').identitySecret, undefined);
  });

  it('refuses addresses that a secret must not go to', () => {
    const server = new URL('https://api.example.com/mcp');
    for (const [address, why] of [
      ['login.example.com', /whole address/],
      ['ftp://login.example.com', /must begin with https/],
      ['http://login.example.com', /Plain http/],
      ['https://me:pass@login.example.com', /Leave out user name/],
      ['http://127.0.0.1:9', /this machine, but the server is elsewhere/],
    ] as const)
      assert.match(refuseAddress(address, server) ?? '', why, address);
    assert.equal(refuseAddress(ISSUER, server), undefined);
    assert.equal(refuseAddress('http://127.0.0.1:9', new URL('http://127.0.0.1:8/mcp')), undefined);
    for (const redirect of ['https://127.0.0.1/x', 'http://localhost/x', 'http://127.0.0.1/x?y', 'http://127.0.0.1/a%20b', 'x'])
      assert.ok(refuseRedirect(redirect), redirect);
    assert.equal(refuseRedirect('http://127.0.0.1:1234/callback'), undefined);
  });
});
