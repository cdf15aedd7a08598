import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import type { AuthorizationServerOptions } from '../support/authorizationServer.ts';
import { answerJson, resultFor } from '../support/fakeServer.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { recordText } from '../support/tunnels.ts';

describe('OAuth at a real authorization server', () => {
  let protectedScene: ProtectedScene;
  const open = async (options?: AuthorizationServerOptions) => (protectedScene = await ProtectedScene.open(options));
  afterEach(() => protectedScene.close());

  it('registers, signs in with PKCE and a resource indicator, and the call that waited is answered', async () => {
    const { issuer } = await open();
    const tunnel = await protectedScene.tunnel();
    assert.equal(await callTool(tunnel), 'done');
    assert.deepEqual(protectedScene.seen, { scopes: ['mcp:read'], account: 'ada', jkt: undefined });
    const authorization = issuer.asked.find(({ path }) => path === '/auth');
    assert.equal(authorization?.query.get('code_challenge_method'), 'S256');
    assert.equal(authorization.query.get('resource'), protectedScene.scene.server.url);
    assert.match(authorization.query.get('redirect_uri') ?? '', /^http:\/\/127\.0\.0\.1:\d+\/callback\/[\w-]{22}$/);
    const [token] = issuer.tokenRequests('authorization_code');
    assert.equal(token?.body.get('resource'), protectedScene.scene.server.url);
    assert.equal(issuer.asked.filter(({ path }) => path === '/reg').length, 1);
    // A second call needs nothing but its token.
    const before = issuer.asked.length;
    assert.equal(await callTool(tunnel, 2), 'done');
    assert.equal(issuer.asked.length, before);
  });

  it('gives no token to the agent, the database, the log, or the record', async () => {
    const { issuer, scene } = await open();
    const tunnel = await protectedScene.tunnel();
    await callTool(tunnel);
    const tokens = issuer.given;
    assert.ok(tokens.length > 0);
    // A server that hands the token back.
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `you sent ${seen.headers.authorization ?? ''}` }] }));
    assert.doesNotMatch(await callTool(tunnel, 2), new RegExp(tokens.join('|')));
    assert.ok(tunnel.core.findings.list({ dismissed: false }).length > 0);
    const stored = JSON.stringify(tunnel.core.credentials.list()) + recordText(tunnel) + scene.log.lines.join('\n');
    for (const token of tokens) assert.doesNotMatch(stored, new RegExp(token));
  });

  it('is given to nobody as a whole who opens values for the server', async () => {
    const { scene } = await open();
    const tunnel = await protectedScene.tunnel();
    await callTool(tunnel);
    const [credential] = tunnel.core.credentials.list();
    assert.deepEqual(await tunnel.core.credentials.vault.open(credential?.id ?? '', scene.server.origin), {
      ok: false,
      reason: 'other-origin',
    });
  });

  it('asks for the union of scopes when a call needs more', async () => {
    const { issuer } = await open();
    const tunnel = await protectedScene.tunnel();
    assert.equal(await callTool(tunnel), 'done');
    protectedScene.needs = 'mcp:write';
    assert.equal(await callTool(tunnel, 2), 'done');
    const asked = issuer.asked.filter(({ path }) => path === '/auth').map(({ query }) => query.get('scope')?.split(' ').sort().join(' '));
    assert.deepEqual(asked, ['mcp:read offline_access', 'mcp:read mcp:write offline_access']);
  });

  it('refreshes before a token ends, with the rotated token each time', async () => {
    const { issuer } = await open({ accessTokenSeconds: 3 });
    const tunnel = await protectedScene.tunnel();
    const refreshed = () => issuer.tokenRequests('refresh_token').length;
    const until = Date.now() + 60_000;
    for (let id = 1; refreshed() < 2 && Date.now() < until; id++) {
      assert.equal(await callTool(tunnel, id), 'done');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.equal(await callTool(tunnel, 999), 'done');
    assert.ok(refreshed() >= 2);
    assert.equal(issuer.tokenRequests('authorization_code').length, 1, 'nobody signed in again');
    assert.equal(issuer.revokedFamilies, 0);
  }).timeout(120_000);

  it('a refresh token that was taken back ends the sign-in in the same words for every call, told once', async () => {
    const { issuer } = await open({ accessTokenSeconds: 3 });
    const vault = new MemorySecretStore();
    assert.equal(await callTool(await protectedScene.tunnel({ vault })), 'done');
    // As in the editor, nobody opens a browser while a call waits.
    const tunnel = await protectedScene.scene.open({ vault });
    const told: string[] = [];
    tunnel.core.sources.onDidFail(({ error }) => told.push(error.message));
    issuer.intercept = ({ body }, response) => {
      if (body.get('grant_type') !== 'refresh_token') return false;
      response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}');
      return true;
    };
    const until = Date.now() + 60_000;
    let answer = 'done';
    for (let id = 2; answer === 'done' && Date.now() < until; id++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      answer = await callTool(tunnel, id);
    }
    for (const text of [answer, await callTool(tunnel, 998), await callTool(tunnel, 999)])
      assert.match(text, /The sign-in of “sign-in” at 127\.0\.0\.1:\d+ has ended\. Sign in again\./);
    assert.equal(told.length, 1);
    assert.equal(issuer.tokenRequests('refresh_token').length, 1, 'it is never shown again');
  }).timeout(20_000);

  it('proves possession with a key of its own, and takes the nonce', async () => {
    await open({ dpop: 'nonce' });
    const tunnel = await protectedScene.tunnel();
    assert.equal(await callTool(tunnel), 'done');
    assert.ok(protectedScene.seen?.jkt);
  });

  it('uses a client that was registered by hand, with its secret', async () => {
    const redirect = /^http:\/\/127\.0\.0\.1/;
    const secret = ['client', 'secret', '4Zk2', '&=+% x'].join('-');
    const { issuer } = await open({
      registration: false,
      clients: [
        {
          client_id: 'by hand',
          client_secret: secret,
          application_type: 'native',
          redirect_uris: ['http://127.0.0.1/callback'],
          token_endpoint_auth_method: 'client_secret_basic',
          grant_types: ['authorization_code', 'refresh_token'],
        },
      ],
    });
    const tunnel = await protectedScene.tunnel({
      signIn: { settings: { grant: 'code', client: { id: 'by hand', redirectPath: '/callback' } }, clientSecret: secret },
    });
    assert.equal(await callTool(tunnel), 'done');
    assert.match(issuer.tokenRequests('authorization_code')[0]?.body.get('redirect_uri') ?? '', redirect);
  });

  it('gets tokens for a client alone, by its private key', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { issuer } = await open({
      clients: [
        {
          client_id: 'machine',
          redirect_uris: [],
          response_types: [],
          grant_types: ['client_credentials'],
          token_endpoint_auth_method: 'private_key_jwt',
          token_endpoint_auth_signing_alg: 'ES256',
          jwks: { keys: [publicKey.export({ format: 'jwk' })] as never },
        },
      ],
    });
    const tunnel = await protectedScene.tunnel({
      signIn: {
        settings: {
          grant: 'client-credentials',
          issuer: issuer.issuer,
          client: { id: 'machine', method: 'private_key_jwt', algorithm: 'ES256' },
        },
        clientSecret: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
      },
    });
    assert.equal(await callTool(tunnel), 'done');
    assert.equal(issuer.asked.filter(({ path }) => path === '/auth').length, 0);
  });

  it('takes the tokens back when the credential is forgotten', async () => {
    const { issuer } = await open();
    const tunnel = await protectedScene.tunnel();
    await callTool(tunnel);
    const [credential] = tunnel.core.credentials.list();
    assert.ok(credential);
    await tunnel.core.sources.revoke(credential, AbortSignal.timeout(5_000));
    await tunnel.core.credentials.forget(credential.id);
    assert.equal(issuer.asked.filter(({ path }) => path === '/token/revocation').length, 2);
    assert.equal(await issuer.find(issuer.given[0] ?? '', protectedScene.scene.server.url), undefined);
  });

  it('says that a sign-in was declined, and stores nothing', async () => {
    const { issuer } = await open();
    issuer.account = '';
    const tunnel = await protectedScene.tunnel();
    assert.match(await callTool(tunnel), /was declined there, so nothing was stored/);
    assert.equal(issuer.tokenRequests('authorization_code').length, 0);
    assert.match(recordText(tunnel), /sign-in-failed/);
  });

  it('without a browser says that somebody has to sign in', async () => {
    await open();
    const tunnel = await protectedScene.scene.open({ signIn: { settings: { grant: 'code' } } });
    assert.match(await callTool(tunnel), /is not signed in.*Sign in/);
  });
});
