import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import { jwtVerify } from 'jose';
import type { ClientMetadata, Configuration } from 'oidc-provider';
import { holderOf } from '../../src/credentials/oauth/oauthSource.ts';
import type { OAuthSettings } from '../../src/credentials/oauth/settings.ts';
import { stateSecret, typedState } from '../../src/credentials/oauth/state.ts';
import { keptFor } from '../../src/credentials/oauth/tokenKeeper.ts';
import { Secret } from '../../src/credentials/secret.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { AuthorizationServer } from '../support/authorizationServer.ts';
import { answerJson, resultFor } from '../support/fakeServer.ts';
import { JWT_BEARER, TOKEN_EXCHANGE, exchangeIdTokens, idTokenOf, takeAssertions } from '../support/jwtGrants.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { recordText } from '../support/tunnels.ts';

type IdentityProvider = NonNullable<OAuthSettings['identityProvider']>;

describe('A client of one’s own at the company’s identity provider', () => {
  const ofCompany = ['at', 'the', 'company', '91c4'].join('-');
  const ofServer = ['at', 'the', 'resource', '27fe'].join('-');
  const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const direct = { redirect_uris: [], response_types: [] };
  let scene: ProtectedScene;
  let idp: AuthorizationServer;
  let settings: Omit<OAuthSettings, 'kind' | 'assertion'>;
  let idToken: string;

  /** The company, whose client is `client`, and the server’s authorization server. */
  const begin = async (client: Partial<ClientMetadata>, configuration?: Partial<Configuration>) => {
    idp = await AuthorizationServer.start(() => 'urn:none', {
      registration: false,
      clients: [{ ...direct, client_id: 'culvert', grant_types: [TOKEN_EXCHANGE], ...client }],
      ...(configuration ? { configuration } : {}),
    });
    exchangeIdTokens(idp, (jwt) => jwt.sign(signing.privateKey));
    scene = await ProtectedScene.open({
      registration: false,
      clients: [{ ...direct, client_id: 'culvert-at-the-resource', client_secret: ofServer, grant_types: [JWT_BEARER] }],
    });
    takeAssertions(scene.issuer, () => ({
      issuer: idp.issuer,
      idJag: true,
      verify: (assertion, audience) => jwtVerify(assertion, signing.publicKey, { audience }),
    }));
    idToken = await idTokenOf(idp, 'culvert', 'ada');
    settings = { grant: 'enterprise', issuer: scene.issuer.issuer, client: { id: 'culvert-at-the-resource' } };
  };
  const tunnel = (more: Partial<IdentityProvider>, identitySecret: string | undefined): Promise<HeadlessTunnel> =>
    scene.tunnel({
      signIn: {
        settings: { ...settings, identityProvider: { issuer: idp.issuer, clientId: 'culvert', ...more } },
        clientSecret: ofServer,
        ...(identitySecret === undefined ? {} : { identitySecret }),
        assertion: { value: idToken, origins: [idp.issuer] },
      },
    });
  const exchange = () => {
    const [request, ...more] = idp.tokenRequests(TOKEN_EXCHANGE);
    assert.ok(request && more.length === 0);
    return request;
  };
  const basic = (id: string, secret: string) => `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
  afterEach(async () => {
    await scene.close();
    await idp.stop();
  });

  it('shows its secret there alone, and its other one to the authorization server alone', async () => {
    await begin({ client_secret: ofCompany });
    const door = await tunnel({ tokenEndpoint: `${idp.issuer}/token`, method: 'client_secret_basic' }, ofCompany);
    assert.equal(await callTool(door), 'done');
    assert.equal(exchange().headers.authorization, basic('culvert', ofCompany));
    assert.deepEqual([exchange().body.get('client_id'), exchange().body.get('client_secret')], [null, null]);
    const [grant] = scene.issuer.tokenRequests(JWT_BEARER);
    assert.equal(grant?.headers.authorization, basic('culvert-at-the-resource', ofServer));
    const sentTo = (requests: readonly object[]) =>
      JSON.stringify(requests, (_, v: unknown) => (v instanceof URLSearchParams ? String(v) : v));
    const encoded = basic('culvert', ofCompany);
    for (const text of [sentTo(scene.issuer.asked), sentTo(scene.scene.server.seen.map(({ url, headers }) => ({ url, headers })))])
      assert.ok(!text.includes(ofCompany) && !text.includes(encoded));
    assert.ok(!sentTo(idp.asked).includes(ofServer));
    const stored = ['', '-wal'].map((end) => fs.readFileSync(`${scene.scene.databasePath}${end}`, 'latin1')).join('');
    for (const text of [recordText(door), scene.scene.log.lines.join('\n'), JSON.stringify(door.core.credentials.list()), stored])
      assert.ok(!text.includes(ofCompany));
    // And it is known as a secret: neither it nor the other one leaves for the server, and what comes back of it is taken out.
    for (const secret of [ofCompany, ofServer]) {
      const answer = (await send(door, { body: toolCall('work', { note: `it is ${secret}` }, 6) })).json();
      assert.match(answer.error?.message ?? '', /sign-in/);
    }
    assert.ok(scene.scene.server.seen.every(({ body }) => !body.includes(ofCompany) && !body.includes(ofServer)));
    scene.scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `it is ${ofCompany}` }] }));
    const told = await callTool(door, 7);
    assert.match(told, /^it is /);
    assert.ok(!told.includes(ofCompany));
  });

  it('keeps it for the next token, and takes one that was replaced', async () => {
    await begin({ client_secret: ofCompany });
    const tokenEndpoint = `${idp.issuer}/token`;
    const door = await tunnel({ tokenEndpoint, method: 'client_secret_basic' }, `${ofCompany}-old`);
    assert.match(await callTool(door), /does not take this client \(invalid_client\).*Edit Server/);
    const credential = door.core.credentials.list().find(({ name }) => name === 'sign-in');
    assert.ok(credential?.source?.kind === 'oauth');
    const state = typedState(credential.source, { secret: new Secret(ofServer), identitySecret: new Secret(ofCompany) });
    assert.ok(state);
    const key = { secret: stateSecret(state), origins: credential.origins.map(keptFor) };
    await door.core.credentials.replaceSource(credential.id, credential.source, key);
    assert.equal(await callTool(door, 2), 'done');
    const before = idp.tokenRequests(TOKEN_EXCHANGE).length;
    const { keeper } = door.core.signIns.source;
    const [binding = ''] = credential.origins;
    const holder = holderOf(credential);
    const held = await keeper.load(holder, binding, true);
    const why = { refused: true, wwwAuthenticate: undefined, signal: AbortSignal.timeout(20_000) };
    await keeper.renew(holder, binding, new URL(scene.scene.server.url), held?.state.tokens?.id, why);
    const requests = idp.tokenRequests(TOKEN_EXCHANGE);
    assert.equal(requests.length, before + 1);
    assert.equal(requests.at(-1)?.headers.authorization, basic('culvert', ofCompany));
  });

  it('shows it in the body where the identity provider takes it nowhere else', async () => {
    await begin(
      { client_secret: ofCompany, token_endpoint_auth_method: 'client_secret_post' },
      { clientAuthMethods: ['client_secret_post'] },
    );
    assert.equal(await callTool(await tunnel({}, ofCompany)), 'done');
    assert.deepEqual([exchange().headers.authorization, exchange().body.get('client_secret')], [undefined, ofCompany]);
  });

  it('signs with its key, for the identity provider', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await begin({
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [publicKey.export({ format: 'jwk' })] as never },
    });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const door = await tunnel({ tokenEndpoint: `${idp.issuer}/token`, method: 'private_key_jwt', algorithm: 'ES256' }, pem);
    assert.equal(await callTool(door), 'done');
    const assertion = exchange().body.get('client_assertion') ?? '';
    await jwtVerify(assertion, publicKey, { issuer: 'culvert', subject: 'culvert', audience: idp.issuer });
    assert.ok(!recordText(door).includes(pem.split('\n')[1] ?? '-'));
  });

  it('is not shown to another endpoint, nor for another client, than it was entered for', async () => {
    await begin({ client_secret: ofCompany });
    const door = await tunnel({ tokenEndpoint: `${idp.issuer}/token`, method: 'client_secret_basic' }, ofCompany);
    const credential = door.core.credentials.list().find(({ name }) => name === 'sign-in');
    assert.ok(credential?.source?.kind === 'oauth' && credential.source.identityProvider);
    const { source } = credential;
    const { identityProvider } = credential.source;
    for (const change of [{ tokenEndpoint: `${idp.issuer}/other` }, { clientId: 'somebody-else' }, { issuer: `${idp.issuer}/other` }]) {
      await door.core.credentials.replaceSource(credential.id, { ...source, identityProvider: { ...identityProvider, ...change } });
      assert.match(await callTool(door), /The secret or key of the client at .* is missing/, JSON.stringify(change));
    }
    assert.deepEqual(
      idp.asked.filter(({ method }) => method === 'POST'),
      [],
    );
  });
});
