import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT, generateKeyPair, type CryptoKey } from 'jose';
import { useCulvert } from '../harness/openCulvert.ts';
import type { Workbench } from '../harness/workbench.ts';
import { noteSecret } from '../support/noted.ts';
import { temporaryFolder } from '../support/folders.ts';
import { AuthorizationServer } from '../support/authorizationServer.ts';
import { JWT_BEARER, TOKEN_EXCHANGE, exchangeIdTokens, idTokenOf, takeAssertions } from '../support/jwtGrants.ts';
import { call, chooseStart, complaint, openViews, setSetting, step, told, typed } from './actions.ts';
import { filesWith } from './secretScan.ts';
import { SignInServer, signInAs, tabOf } from './signInServer.ts';

describe('Signing in with clients of one’s own', () => {
  const culvert = useCulvert();
  const folder = temporaryFolder();
  const secrets = {
    desktop: ['desktop', 'client', 'a1b2'].join('-'),
    machine: ['machine', 'client', 'c3d4'].join('-'),
    company: ['company', 'client', 'e5f6'].join('-'),
  };
  /** The public key that the dialog made, as the user registers it. */
  let registered: unknown = { keys: [] };
  let platform: { readonly publicKey: CryptoKey; readonly privateKey: CryptoKey };
  let server: SignInServer;
  let company: AuthorizationServer;

  before(async () => {
    platform = await generateKeyPair('ES256');
    const direct = { redirect_uris: [], response_types: [] };
    server = await new SignInServer().start({
      registration: false,
      clients: [
        {
          client_id: 'desktop',
          client_secret: secrets.desktop,
          application_type: 'native',
          redirect_uris: ['http://127.0.0.1/callback'],
          grant_types: ['authorization_code', 'refresh_token'],
        },
        { ...direct, client_id: 'machine', client_secret: secrets.machine, grant_types: ['client_credentials'] },
        {
          ...direct,
          client_id: 'signer',
          grant_types: ['client_credentials'],
          token_endpoint_auth_method: 'private_key_jwt',
          token_endpoint_auth_signing_alg: 'ES256',
          jwks_uri: 'https://keys.example/signer',
        },
        { ...direct, client_id: 'culvert-at-the-resource', grant_types: [JWT_BEARER], token_endpoint_auth_method: 'none' },
        { ...direct, client_id: 'workload', grant_types: [JWT_BEARER], token_endpoint_auth_method: 'none' },
      ],
      configuration: { fetch: () => Promise.resolve(Response.json(registered)) },
    });
    assert.ok(server.issuer);
    company = await AuthorizationServer.start(() => 'urn:none', {
      host: '::1',
      registration: false,
      clients: [{ ...direct, client_id: 'culvert', client_secret: secrets.company, grant_types: [TOKEN_EXCHANGE] }],
    });
    exchangeIdTokens(company, (jwt) => jwt.sign(platform.privateKey));
    takeAssertions(server.issuer, (assertion) => ({
      issuer: decodeJwt(assertion).iss === company.issuer ? company.issuer : 'https://platform.example',
      idJag: decodeJwt(assertion).iss === company.issuer,
      verify: (text, audience) => jwtVerify(text, platform.publicKey, { audience }),
    }));
  });
  after(async () => {
    await server.stop();
    await company.stop();
    folder.remove();
  });
  beforeEach(() => culvert().window.clearNotifications());

  /** Add Server up to how it authenticates. */
  const begin = async (window: Workbench, label: string, how: string) => {
    await window.command('Culvert: Add Server…');
    await window.inputBox(label, { title: step(1) });
    await window.pick('At a URL', { title: step(2) });
    await window.inputBox(server.server.url, { title: step(3) });
    await window.pick(how, { title: step(4) });
  };
  const nothingWritten = (secret: string) => assert.deepEqual(filesWith(culvert().server.runFolder, secret), []);

  it('an authorization server that registers nobody is answered with the client id, and what was typed stays when steps go back', async () => {
    const { window } = culvert();
    await setSetting(window, 'culvert.signIn.callback', 'loopback');
    await begin(window, 'Tracker', 'Sign in');
    await window.dialog('Sign In');
    await window.quickInputWith(/does not let Culvert register by itself.*redirect URI/);
    assert.equal(await typed(window), 'http://127.0.0.1/callback');
    await window.inputBox('https://evil.example/callback', { submit: false });
    await complaint(window, /begins with http:\/\/127\.0\.0\.1/);
    await window.inputBox('http://127.0.0.1/callback');
    await window.quickInputWith('The client id, as the authorization server gave it.');
    await window.inputBox('desktop');
    await window.quickInputWith('With a private key');
    await window.quickInputButton('Back');
    await window.quickInputWith('The client id, as the authorization server gave it.');
    assert.equal(await typed(window), 'desktop');
    await window.inputBox('desktop');
    await window.quickInputWith('With a private key');
    await window.pick('With a secret');
    await window.quickInputWith('The client secret.');
    const tab = await tabOf(window, () => window.inputBox(secrets.desktop));
    await signInAs(tab, 'ada');
    await tab.getByText('You can close this tab').waitFor();
    await tab.close();
    await chooseStart(window, 'Tracker', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/tracker_look$/)), { ok: true, text: 'looked' });
    assert.deepEqual(server.callers, ['ada']);
    const expected = `Basic ${Buffer.from(`desktop:${secrets.desktop}`).toString('base64')}`;
    assert.equal(server.issuer?.tokenRequests('authorization_code')[0]?.headers.authorization, expected);
    nothingWritten(secrets.desktop);
  });

  it('client credentials: a wrong secret leads back to the question, with everything else as it was typed', async () => {
    const { window } = culvert();
    await begin(window, 'Machine', 'Sign in another way…');
    await window.pick('As a program of its own', { title: step(5) });
    await window.quickInputWith('The authorization server for');
    assert.equal(await typed(window), server.issuer?.issuer);
    await window.inputBox('http://login.example.com', { submit: false });
    await complaint(window, /Plain http:\/\/ would show secrets/);
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id');
    await window.inputBox('machine');
    await window.quickInputWith('With a private key');
    await window.pick('With a secret');
    await window.quickInputWith('The client secret.');
    await window.inputBox(`${secrets.machine}-wrong`);
    await window.quickInputWith('Scopes to ask for');
    await window.inputBox('mcp:read');
    await window.pick('Change how it signs in');
    await window.pick('As a program of its own', { title: step(5) });
    await window.quickInputWith('The authorization server for');
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id');
    assert.equal(await typed(window), 'machine');
    await window.inputBox('machine');
    await window.quickInputWith('With a private key');
    await window.pick('With a secret');
    await window.quickInputWith('Leave empty to keep what you entered before.');
    await window.inputBox(secrets.machine);
    await window.quickInputWith('Scopes to ask for');
    assert.equal(await typed(window), 'mcp:read');
    await window.inputBox('mcp:read');
    await chooseStart(window, 'Machine', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/machine_look$/)), { ok: true, text: 'looked' });
    await openViews(window, 'Credentials');
    await window.tree('Credentials').waitDescription('Machine credential', /^client /);
    nothingWritten(secrets.machine);
  });

  it('a private key that is made here: its public half is shown for registering, and what it signs is taken', async () => {
    const { window } = culvert();
    await begin(window, 'Signer', 'Sign in another way…');
    await window.pick('As a program of its own', { title: step(5) });
    await window.quickInputWith('The authorization server for');
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id');
    await window.inputBox('signer');
    await window.quickInputWith('With a private key');
    await window.pick('With a private key');
    await window.quickInputWith('One that is made now');
    await window.pick('One that is made now');
    await window.quickInputWith('Scopes to ask for');
    const shown = await window.eval((api) => api.window.visibleTextEditors.map(({ document }) => document.getText()));
    registered = JSON.parse(shown.find((text) => text.includes('"keys"')) ?? '{}');
    assert.ok(!JSON.stringify(registered).includes('"d"'), 'the private half is not shown');
    await window.inputBox('mcp:read');
    await chooseStart(window, 'Signer', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/signer_look$/)), { ok: true, text: 'looked' });
    const assertion = server.issuer?.tokenRequests('client_credentials').at(-1)?.body.get('client_assertion') ?? '';
    assert.equal(decodeProtectedHeader(assertion).alg, 'ES256');
  });

  it('a workload: the platform’s token from a file goes to the authorization server alone', async () => {
    const { window } = culvert();
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer('https://platform.example')
      .setSubject('job-17')
      .setAudience(server.issuer?.issuer ?? '')
      .setExpirationTime('1 hour')
      .sign(platform.privateKey);
    const file = path.join(folder.path, 'token');
    fs.writeFileSync(file, token, { mode: 0o600 });
    await begin(window, 'Job', 'Sign in another way…');
    await window.pick('As the workload that this machine is', { title: step(5) });
    await window.quickInputWith('The authorization server for');
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('HashiCorp Vault or OpenBao');
    await window.pick('A file');
    await window.quickInputWith('The file. Nobody else may read it');
    await window.inputBox(file);
    await window.quickInputWith('If it is JSON: the field.');
    await window.inputBox('');
    await window.quickInputWith('The client id. Empty: the token alone');
    await window.inputBox('workload');
    await window.quickInputWith('Scopes to ask for');
    await window.inputBox('mcp:read');
    await chooseStart(window, 'Job', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/job_look$/)), { ok: true, text: 'looked' });
    assert.ok(server.server.seen.every(({ headers }) => !JSON.stringify(headers).includes(token)));
    await window.tree('Credentials').waitDescription('Job identity credential', /from file .*token/);
    // Forgotten with the credential that it is for. Its server stays, and runs without one: it must not keep later ones from starting.
    await window.tree('Credentials').inlineAction('Job credential', 'Forget Credential');
    await window.dialog('Forget');
    await window.tree('Credentials').row('Job identity credential').waitFor({ state: 'detached' });
  });

  it('the company’s identity provider: its ID token goes there alone, and what it gives to the authorization server', async () => {
    const { window } = culvert();
    const idToken = noteSecret(await idTokenOf(company, 'culvert', 'ada'));
    const file = path.join(folder.path, 'id-token');
    fs.writeFileSync(file, idToken, { mode: 0o600 });
    await begin(window, 'Company', 'Sign in another way…');
    await window.pick('Through your company’s identity provider', { title: step(5) });
    await window.quickInputWith('Your company’s identity provider.');
    await window.inputBox(company.issuer);
    await window.quickInputWith('The client id that the ID token was given for.');
    await window.inputBox('culvert');
    await window.quickInputWith('Where the identity provider gives tokens.');
    assert.equal(await typed(window), `${company.issuer}/token`);
    await window.inputBox(`${company.issuer}/token`);
    await window.quickInputWith('By nothing but its id');
    await window.pick('With a secret');
    await window.quickInputWith('The client’s secret at the identity provider.');
    await window.inputBox(secrets.company);
    await window.quickInputWith('HashiCorp Vault or OpenBao');
    await window.pick('A file');
    await window.quickInputWith('The file. Nobody else may read it');
    await window.inputBox(file);
    await window.quickInputWith('If it is JSON: the field.');
    await window.inputBox('');
    await window.quickInputWith('The authorization server for');
    assert.equal(await typed(window), server.issuer?.issuer);
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id, as the authorization server gave it.');
    await window.inputBox('culvert-at-the-resource');
    await window.quickInputWith('By nothing but its id');
    await window.pick('By nothing but its id');
    await window.quickInputWith('Scopes to ask for');
    await window.inputBox('mcp:read');
    await chooseStart(window, 'Company', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/company_look$/)), { ok: true, text: 'looked' });
    assert.ok(server.issuer?.asked.every(({ body }) => !body.toString().includes(idToken)));
    assert.ok(server.server.seen.every(({ headers }) => !JSON.stringify(headers).includes(idToken)));
    const expected = `Basic ${Buffer.from(`culvert:${secrets.company}`).toString('base64')}`;
    assert.ok(company.tokenRequests(TOKEN_EXCHANGE).every(({ headers }) => headers.authorization === expected));
    assert.ok(server.issuer?.asked.every(({ headers }) => headers.authorization !== expected));
    nothingWritten(idToken);
    nothingWritten(secrets.company);
  });

  it('Edit Server keeps the client’s secret at the identity provider, and Replace Credential takes another one', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants');
    await window.tree('Grants').contextMenu('Company', 'Edit Server…');
    await window.pick('How it authenticates', { title: 'Edit Server: Company' });
    await window.pick('Sign in another way…', { title: 'Edit Server' });
    await window.quickInputWith('Through your company’s identity provider');
    await window.pick('Through your company’s identity provider');
    await window.quickInputWith('Your company’s identity provider.');
    assert.equal(await typed(window), company.issuer);
    await window.inputBox(company.issuer);
    await window.quickInputWith('The client id that the ID token was given for.');
    assert.equal(await typed(window), 'culvert');
    await window.inputBox('culvert');
    await window.quickInputWith('Where the identity provider gives tokens.');
    assert.equal(await typed(window), `${company.issuer}/token`);
    await window.inputBox(`${company.issuer}/token`);
    await window.quickInputWith('By nothing but its id');
    await window.pick('With a secret');
    await window.quickInputWith('Leave empty to keep what you entered before.');
    const before = company.tokenRequests(TOKEN_EXCHANGE).length;
    await window.inputBox('');
    await window.quickInputWith('HashiCorp Vault or OpenBao');
    await window.pick('A file');
    await window.quickInputWith('The file. Nobody else may read it');
    assert.equal(await typed(window), path.join(folder.path, 'id-token'));
    await window.inputBox(path.join(folder.path, 'id-token'));
    await window.quickInputWith('If it is JSON: the field.');
    await window.inputBox('');
    await window.quickInputWith('The authorization server for');
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id, as the authorization server gave it.');
    await window.inputBox('culvert-at-the-resource');
    await window.quickInputWith('By nothing but its id');
    await window.pick('By nothing but its id');
    await window.quickInputWith('Scopes to ask for');
    await window.inputBox('mcp:read');
    await openViews(window, 'Credentials');
    await window.tree('Credentials').row('Company credential 2').waitFor();
    const tool = await window.startMcp(/company_look$/);
    assert.deepEqual(await call(window, tool), { ok: true, text: 'looked' });
    // The row is there before the server is tried, so not until now.
    assert.ok(company.tokenRequests(TOKEN_EXCHANGE).length > before);
    const replace = async (secret: string) => {
      await window.tree('Credentials').inlineAction('Company credential 2', 'Replace Credential');
      await window.pick('at the identity provider', { title: 'Replace Company credential 2' });
      await window.quickInputWith('With a private key');
      await window.pick('With a secret');
      await window.quickInputWith('The client’s secret at the identity provider.');
      await window.inputBox(secret);
      await told(window, 'Company credential 2 was replaced. The next call uses it.');
      await window.clearNotifications();
    };
    await replace(`${secrets.company}-wrong`);
    assert.match((await call(window, tool)).text, /does not take this client \(invalid_client\)/);
    await replace(secrets.company);
    assert.deepEqual(await call(window, tool), { ok: true, text: 'looked' });
    nothingWritten(secrets.company);
  });

  it('Edit Server has what was set up, and asks for the secret only if it changes', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants');
    await window.tree('Grants').contextMenu('Machine', 'Edit Server…');
    await window.pick('How it authenticates', { title: 'Edit Server: Machine' });
    await window.pick('Sign in another way…', { title: 'Edit Server' });
    await window.quickInputWith('As a program of its own');
    await window.pick('As a program of its own');
    await window.quickInputWith('The authorization server for');
    assert.equal(await typed(window), server.issuer?.issuer);
    await window.inputBox(server.issuer?.issuer ?? '');
    await window.quickInputWith('The client id');
    assert.equal(await typed(window), 'machine');
    await window.inputBox('machine');
    await window.quickInputWith('With a private key');
    await window.pick('With a secret');
    await window.quickInputWith('Leave empty to keep what you entered before.');
    const before = server.issuer?.tokenRequests('client_credentials').length ?? 0;
    await window.inputBox('');
    await window.quickInputWith('Scopes to ask for');
    await window.inputBox('');
    await openViews(window, 'Credentials');
    await window.tree('Credentials').row('Machine credential 2').waitFor();
    assert.ok((server.issuer?.tokenRequests('client_credentials').length ?? 0) > before);
    assert.deepEqual(await call(window, await window.startMcp(/machine_look$/)), { ok: true, text: 'looked' });
  });

  it('another secret of the client is used by the next token', async () => {
    const { window } = culvert();
    await openViews(window, 'Credentials');
    await window.tree('Credentials').inlineAction('Machine credential 2', 'Replace Credential');
    await window.pick('Enter another secret or key for the client', { title: 'Replace Machine credential 2' });
    await window.quickInputWith('With a private key');
    await window.pick('With a secret');
    await window.quickInputWith('The client secret.');
    const before = server.issuer?.tokenRequests('client_credentials').length ?? 0;
    await window.inputBox(secrets.machine);
    await told(window, 'Machine credential 2 was replaced. The next call uses it.');
    assert.deepEqual(await call(window, await window.startMcp(/machine_look$/)), { ok: true, text: 'looked' });
    assert.ok((server.issuer?.tokenRequests('client_credentials').length ?? 0) > before);
    nothingWritten(secrets.machine);
  });
});
