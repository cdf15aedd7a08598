import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { decodeJwt, jwtVerify, SignJWT } from 'jose';
import { clientDocument } from '../../src/credentials/oauth/client.ts';
import { AuthorizationServer, type AuthorizationServerOptions } from '../support/authorizationServer.ts';
import { JWT_BEARER, TOKEN_EXCHANGE, exchangeIdTokens, idTokenOf, takeAssertions } from '../support/jwtGrants.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { recordText } from '../support/tunnels.ts';

const DOCUMENT_URL = 'https://culvert.example/client.json';
/** Claims of a proof that count here. */
type Proof = { readonly htu: string; readonly htm: string; readonly ath?: string; readonly nonce?: string; readonly jti: string };

describe('OAuth clients at a real authorization server', () => {
  let scene: ProtectedScene;
  const closers: (() => Promise<unknown>)[] = [];
  const open = async (options?: AuthorizationServerOptions) => (scene = await ProtectedScene.open(options));
  const pem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }) as string;
  const ec = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
    await scene.close();
  });

  it('a client metadata document is fetched by the provider, and nothing is registered', async () => {
    const { issuer } = await open({ documents: { [DOCUMENT_URL]: clientDocument(DOCUMENT_URL, ['http://127.0.0.1/callback']) } });
    const tunnel = await scene.tunnel({ clientDocumentUrl: DOCUMENT_URL });
    assert.equal(await callTool(tunnel), 'done');
    assert.equal(issuer.asked.filter(({ path }) => path === '/reg').length, 0);
    assert.equal(issuer.asked.find(({ path }) => path === '/auth')?.query.get('client_id'), DOCUMENT_URL);
    assert.equal(issuer.tokenRequests('authorization_code')[0]?.body.get('client_id'), DOCUMENT_URL);
  });

  it('without documents at the provider, Culvert registers although it has one', async () => {
    const { issuer } = await open();
    const tunnel = await scene.tunnel({ clientDocumentUrl: DOCUMENT_URL });
    assert.equal(await callTool(tunnel), 'done');
    assert.equal(issuer.asked.filter(({ path }) => path === '/reg').length, 1);
  });

  it('says that a client must be registered by hand where the provider registers nobody', async () => {
    await open({ registration: false });
    assert.match(await callTool(await scene.tunnel()), /lets no client register by itself.*enter its client id/);
  });

  it('a client that was typed during the sign-in is kept with it: a refresh shows its secret too', async () => {
    const secret = ['typed', 'during', 'sign', 'in', '77'].join('-');
    const { issuer } = await open({
      registration: false,
      accessTokenSeconds: 3,
      clients: [
        {
          client_id: 'by-hand',
          client_secret: secret,
          application_type: 'native',
          redirect_uris: ['http://127.0.0.1/back'],
          grant_types: ['authorization_code', 'refresh_token'],
        },
      ],
    });
    const tunnel = await scene.scene.open({ signIn: { settings: { grant: 'code' } } });
    const { signIns, credentials } = tunnel.core;
    const [credential] = credentials.list();
    assert.ok(credential?.source?.kind === 'oauth');
    const signal = AbortSignal.timeout(30_000);
    const { Secret } = await import('../../src/credentials/secret.ts');
    const client = { settings: { id: 'by-hand', redirectPath: '/back', redirectPort: 8_999 }, secret: new Secret(secret) };
    const proposal = await signIns.propose(new URL(scene.scene.server.url), credential.source, signal, { credential });
    const { url } = await signIns.start(credential, proposal, 'http://127.0.0.1:8999/back', signal, {}, client);
    const landed = await issuer.visit(url);
    assert.ok(landed);
    const stored = await signIns.complete(landed.searchParams, signal);
    assert.deepEqual(stored?.source?.kind === 'oauth' && stored.source.client, client.settings);
    assert.doesNotMatch(JSON.stringify(credentials.list()), new RegExp(secret));
    const until = Date.now() + 50_000;
    for (let id = 1; issuer.tokenRequests('refresh_token').length === 0 && Date.now() < until; id++) {
      assert.equal(await callTool(tunnel, id), 'done');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const expected = `Basic ${Buffer.from(`by-hand:${secret}`).toString('base64')}`;
    for (const grant of ['authorization_code', 'refresh_token'])
      assert.equal(issuer.tokenRequests(grant)[0]?.headers.authorization, expected, grant);
  }).timeout(120_000);

  describe('private_key_jwt', () => {
    const { publicKey, privateKey } = ec();
    const client = {
      client_id: 'signer',
      application_type: 'native',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [publicKey.export({ format: 'jwk' })] as never },
    } as const;
    const settings = {
      grant: 'code',
      client: { id: 'signer', method: 'private_key_jwt', algorithm: 'ES256', redirectPath: '/callback' },
    } as const;

    it('signs a client in by browser, with an assertion for this server, used once', async () => {
      const { issuer } = await open({
        registration: false,
        clients: [{ ...client, redirect_uris: [...client.redirect_uris], grant_types: [...client.grant_types] }],
      });
      const tunnel = await scene.tunnel({ signIn: { settings, clientSecret: pem(privateKey) } });
      assert.equal(await callTool(tunnel), 'done');
      const [request] = issuer.tokenRequests('authorization_code');
      const assertion = request?.body.get('client_assertion') ?? '';
      const { payload } = await jwtVerify(assertion, publicKey, { issuer: 'signer', subject: 'signer', audience: issuer.issuer });
      assert.ok((payload.exp ?? 0) - (payload.iat ?? 0) <= 120);
      // The provider remembers which were used.
      const again = await fetch(`${issuer.issuer}/token`, { method: 'POST', body: request?.body ?? '' });
      assert.equal(again.status, 401);
    });

    it('another key is refused, and said without a word of the key', async () => {
      await open({
        registration: false,
        clients: [{ ...client, redirect_uris: [...client.redirect_uris], grant_types: [...client.grant_types] }],
      });
      const other = pem(ec().privateKey);
      const tunnel = await scene.tunnel({ signIn: { settings, clientSecret: other } });
      assert.match(await callTool(tunnel), /refused to give a token \(invalid_client/);
      assert.ok(!(recordText(tunnel) + scene.scene.log.lines.join('\n')).includes(other.split('\n')[1] ?? '-'));
    });
  });

  describe('DPoP', () => {
    const proofsAt = (path: string): Proof[] =>
      (path === '/mcp' ? scene.scene.server.seen.map(({ url, headers }) => ({ path: url, headers })) : scene.issuer.asked)
        .filter((request) => request.path === path && request.headers['dpop'] !== undefined)
        .map(({ headers }) => decodeJwt<Proof>(String(headers['dpop'])));

    it('each proof is for its own request and token, and used once', async () => {
      await open({ dpop: 'plain' });
      const tunnel = await scene.tunnel();
      for (const id of [1, 2, 3]) assert.equal(await callTool(tunnel, id), 'done');
      const calls = proofsAt('/mcp').filter(({ ath }) => ath !== undefined);
      assert.equal(calls.length, 3);
      assert.ok(calls.every(({ htm, htu }) => htm === 'POST' && htu === scene.scene.server.url));
      const all = [...calls, ...proofsAt('/token')];
      assert.equal(new Set(all.map(({ jti }) => jti)).size, all.length);
      assert.ok(proofsAt('/token').every(({ htu, ath }) => htu === `${scene.issuer.issuer}/token` && ath === undefined));
    });

    it('a refresh keeps the key; another server has another one', async () => {
      await open({ dpop: 'nonce', accessTokenSeconds: 3 });
      const tunnel = await scene.tunnel();
      assert.equal(await callTool(tunnel), 'done');
      const key = scene.seen?.jkt;
      assert.ok(key);
      const until = Date.now() + 50_000;
      for (let id = 2; scene.issuer.tokenRequests('refresh_token').length < 2 && Date.now() < until; id++) {
        assert.equal(await callTool(tunnel, id), 'done');
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assert.equal(scene.seen?.jkt, key);
      assert.equal(scene.issuer.tokenRequests('authorization_code').filter(({ headers }) => headers['dpop'] !== undefined).length, 2);
      const second = await ProtectedScene.open({ dpop: 'plain' });
      closers.push(() => second.close());
      assert.equal(await callTool(await second.tunnel()), 'done');
      assert.ok(second.seen?.jkt);
      assert.notEqual(second.seen.jkt, key);
    }).timeout(120_000);
  });

  it('a client whose token the server does not take is told as one, and its source alone is tested as well', async () => {
    const secret = ['machine', 'of', 'the', 'test', '31'].join('-');
    const { issuer } = await open({
      registration: false,
      clients: [
        { client_id: 'machine', client_secret: secret, redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
      ],
    });
    const settings = { grant: 'client-credentials', issuer: issuer.issuer, client: { id: 'machine' } } as const;
    const tunnel = await scene.tunnel({ signIn: { settings, clientSecret: secret } });
    assert.equal(await callTool(tunnel), 'done');
    const [credential] = tunnel.core.credentials.list();
    assert.ok(credential);
    const ask = {
      credential,
      binding: scene.scene.server.origin,
      url: new URL(scene.scene.server.url),
      signal: AbortSignal.timeout(10_000),
    };
    const tested = await tunnel.core.sources.sourceOf(credential).test?.(ask);
    assert.deepEqual(tested, { state: 'valid', step: 'token', detail: `A token came from ${new URL(issuer.issuer).host}.` });
    scene.accepts = false;
    assert.match(await callTool(tunnel, 2), /refuses a token that was given for it a moment ago.*Check its client and scopes/);
    assert.ok(issuer.tokenRequests('client_credentials').length <= 2);
  });

  it('a workload’s token becomes access, at the authorization server alone', async () => {
    const platform = ec();
    const { issuer } = await open({ registration: false, clients: [workloadClient('workload')] });
    const taken = takeAssertions(issuer, () => ({
      issuer: 'https://platform.example',
      verify: (assertion, audience) => jwtVerify(assertion, platform.publicKey, { audience }),
    }));
    const value = await new SignJWT({})
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer('https://platform.example')
      .setSubject('job-17')
      .setAudience(issuer.issuer)
      .setExpirationTime('5 minutes')
      .sign(platform.privateKey);
    const signIn = {
      settings: { grant: 'workload', issuer: issuer.issuer, client: { id: 'workload' } },
      assertion: { value, origins: [issuer.issuer] },
    } as const;
    const tunnel = await scene.tunnel({ signIn });
    assert.equal(await callTool(tunnel), 'done');
    assert.deepEqual(
      taken.map(({ sub }) => sub),
      ['job-17'],
    );
    assert.ok(scene.scene.server.seen.every(({ headers }) => !JSON.stringify(headers).includes(value)));
    assert.ok(!(recordText(tunnel) + scene.scene.log.lines.join('\n')).includes(value));
  });

  it('a company’s ID token becomes a grant for this client and this server, and that becomes access', async () => {
    const signing = ec();
    const idp = await AuthorizationServer.start(() => 'urn:none', {
      registration: false,
      clients: [
        {
          client_id: 'culvert-at-the-company',
          redirect_uris: [],
          response_types: [],
          grant_types: [TOKEN_EXCHANGE],
          token_endpoint_auth_method: 'none',
        },
      ],
    });
    closers.push(() => idp.stop());
    exchangeIdTokens(idp, (jwt) => jwt.sign(signing.privateKey));
    const secret = ['at', 'the', 'resource', '55aa'].join('-');
    const { issuer } = await open({
      registration: false,
      clients: [{ ...workloadClient('culvert-at-the-resource'), client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' }],
    });
    const taken = takeAssertions(issuer, () => ({
      issuer: idp.issuer,
      idJag: true,
      verify: (assertion, audience) => jwtVerify(assertion, signing.publicKey, { audience }),
    }));
    const idToken = await idTokenOf(idp, 'culvert-at-the-company', 'ada');
    const tunnel = await scene.tunnel({
      signIn: {
        settings: {
          grant: 'enterprise',
          issuer: issuer.issuer,
          client: { id: 'culvert-at-the-resource' },
          identityProvider: { issuer: idp.issuer, clientId: 'culvert-at-the-company' },
        },
        clientSecret: secret,
        assertion: { value: idToken, origins: [idp.issuer] },
      },
    });
    assert.equal(await callTool(tunnel), 'done');
    assert.deepEqual(
      taken.map(({ sub, aud, resource }) => [sub, aud, resource]),
      [['ada', issuer.issuer, scene.scene.server.url]],
    );
    // The ID token went to the company alone, the client’s secret to the authorization server alone.
    assert.ok(issuer.asked.every(({ body }) => !body.toString().includes(idToken)));
    assert.ok(idp.asked.every(({ body, headers }) => !body.toString().includes(secret) && headers.authorization === undefined));
    assert.equal(issuer.asked.filter(({ path }) => path === '/auth').length, 0);
  });

  it('an ID token that the company does not take says that it ended there', async () => {
    const idp = await AuthorizationServer.start(() => 'urn:none', {
      registration: false,
      clients: [
        {
          client_id: 'culvert-at-the-company',
          redirect_uris: [],
          response_types: [],
          grant_types: [TOKEN_EXCHANGE],
          token_endpoint_auth_method: 'none',
        },
      ],
    });
    closers.push(() => idp.stop());
    exchangeIdTokens(idp, () => Promise.reject(new Error('not reached')));
    const { issuer } = await open({ registration: false, clients: [workloadClient('culvert-at-the-resource')] });
    const tunnel = await scene.tunnel({
      signIn: {
        settings: {
          grant: 'enterprise',
          issuer: issuer.issuer,
          client: { id: 'culvert-at-the-resource' },
          identityProvider: { issuer: idp.issuer, clientId: 'culvert-at-the-company' },
        },
        assertion: { value: 'not.an.id-token-at-all', origins: [idp.issuer] },
      },
    });
    assert.match(await callTool(tunnel), /did not exchange the ID token \(invalid_grant\)/);
    assert.equal(issuer.tokenRequests(JWT_BEARER).length, 0);
  });
});

/** A client that only exchanges assertions. */
function workloadClient(id: string) {
  return { client_id: id, redirect_uris: [], response_types: [], grant_types: [JWT_BEARER], token_endpoint_auth_method: 'none' as const };
}
