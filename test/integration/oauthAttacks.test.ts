import assert from 'node:assert/strict';
import { FakeServer, answerJson } from '../support/fakeServer.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { recordText } from '../support/tunnels.ts';

/** Issue 8: each is stopped, explained, and recorded. */
describe('OAuth under attack', () => {
  let scene: ProtectedScene;
  const closers: (() => Promise<unknown>)[] = [];
  beforeEach(async () => {
    scene = await ProtectedScene.open();
  });
  afterEach(async () => {
    for (const close of closers.splice(0)) await close();
    await scene.close();
  });

  /** Calls with a tunnel that signs in; what the agent is told. Nothing may have been exchanged. */
  const stopped = async (browse = scene.issuer.browse): Promise<string> => {
    const tunnel = await scene.tunnel({ openBrowser: browse });
    const told = await callTool(tunnel);
    assert.equal(scene.issuer.tokenRequests('authorization_code').length, 0, 'a code was exchanged');
    assert.ok(recordText(tunnel).includes(told.slice(0, 20)), 'it is on the record');
    return told;
  };

  /** An authorization server that says what it is told to. */
  const fakeIssuer = async (metadata: (origin: string) => Record<string, unknown>): Promise<FakeServer> => {
    const fake = await new FakeServer().start();
    closers.push(() => fake.stop());
    fake.behave = (seen, response) => {
      if (seen.url.startsWith('/.well-known/oauth-authorization-server'))
        answerJson(
          response,
          JSON.stringify({
            issuer: fake.origin,
            authorization_endpoint: `${fake.origin}/auth`,
            token_endpoint: `${fake.origin}/token`,
            registration_endpoint: `${fake.origin}/reg`,
            response_types_supported: ['code'],
            code_challenge_methods_supported: ['S256'],
            ...metadata(fake.origin),
          }),
        );
      else response.writeHead(404).end();
    };
    scene.issuers = [fake.origin];
    return fake;
  };

  it('mix-up: an answer that comes from another authorization server', async () => {
    const told = await stopped(async (url) => {
      const landed = await scene.issuer.visit(url);
      landed?.searchParams.set('iss', 'https://evil.example');
      await (await fetch(landed ?? url)).text();
    });
    assert.match(told, /does not come from .* \(mix-up\)/);
  });

  it('mix-up: an answer without the issuer that was promised', async () => {
    const told = await stopped(async (url) => {
      const landed = await scene.issuer.visit(url);
      landed?.searchParams.delete('iss');
      await (await fetch(landed ?? url)).text();
    });
    assert.match(told, /\(mix-up\)/);
  });

  it('metadata that names another issuer than was asked for', async () => {
    const fake = await fakeIssuer(() => ({ issuer: 'https://good.example' }));
    assert.match(await stopped(), /calls itself another authorization server/);
    assert.ok(fake.seen.every(({ method }) => method === 'GET'));
  });

  it('a server without PKCE', async () => {
    await fakeIssuer(() => ({ code_challenge_methods_supported: undefined }));
    assert.match(await stopped(), /does not say that it supports PKCE/);
  });

  for (const address of [
    'https://10.0.0.5',
    'https://169.254.169.254',
    'https://[fd00:ec2::254]',
    'http://10.0.0.5',
    'https://192.168.1.1:8443',
  ])
    it(`metadata at a private address: ${address}`, async () => {
      scene.issuers = [address];
      assert.match(await stopped(), /nothing is sent there|Nothing was sent there/i);
    });

  for (const endpoint of [
    'javascript:alert(1)',
    'file:///etc/passwd',
    'vscode://evil.extension/run',
    'http://evil.example/auth',
    'https://user:pass@evil.example/',
  ])
    it(`a sign-in page at ${endpoint}`, async () => {
      await fakeIssuer(() => ({ authorization_endpoint: endpoint }));
      const opened: string[] = [];
      await stopped(async (url) => void opened.push(url.href));
      assert.deepEqual(opened, []);
    });

  it('metadata that redirects to another origin', async () => {
    const fake = await fakeIssuer(() => ({}));
    fake.behave = (_seen, response) =>
      response.writeHead(307, { location: `${scene.issuer.issuer}/.well-known/openid-configuration` }).end();
    assert.match(await stopped(), /redirects/);
  });

  it('a token endpoint that redirects', async () => {
    scene.issuer.intercept = ({ path }, response) => {
      if (path !== '/token') return false;
      response.writeHead(307, { location: '/elsewhere' }).end();
      return true;
    };
    const tunnel = await scene.tunnel();
    assert.match(await callTool(tunnel), /redirects/);
    assert.equal(scene.issuer.asked.filter(({ path }) => path === '/elsewhere').length, 0);
  });

  it('a server that claims to be another', async () => {
    scene.resource = 'https://api.bank.example/mcp';
    assert.match(await stopped(), /says that it is another server \(api\.bank\.example\)/);
  });

  it('a server that answers 401 for ever', async () => {
    const tunnel = await scene.tunnel();
    scene.accepts = false;
    for (let id = 1; id <= 5; id++) assert.notEqual(await callTool(tunnel, id), 'done');
    assert.ok(scene.issuer.asked.filter(({ path }) => path === '/auth').length <= 3);
    assert.match(await callTool(tunnel, 6), /sign-ins within a minute|refuses|Sign in/);
  });

  it('a callback with a state that nobody asked for, or a second one', async () => {
    const pages: number[] = [];
    const tunnel = await scene.tunnel({
      openBrowser: async (url) => {
        const landed = await scene.issuer.visit(url);
        assert.ok(landed);
        const wrong = new URL(landed);
        wrong.searchParams.set('state', 'made-up');
        pages.push((await fetch(wrong)).status);
        const other = new URL(landed);
        other.pathname = '/callback/elsewhere';
        pages.push((await fetch(other)).status);
        pages.push((await fetch(landed)).status);
        pages.push(
          await fetch(landed).then(
            ({ status }) => status,
            () => 0,
          ),
        );
      },
    });
    assert.equal(await callTool(tunnel), 'done');
    assert.deepEqual(pages.slice(0, 3), [404, 404, 200]);
    assert.ok(pages[3] === 404 || pages[3] === 0);
  });

  it('an answer of the token endpoint that never ends, and one that is too large', async () => {
    scene.issuer.intercept = ({ path }, response) => {
      if (path !== '/token') return false;
      response.writeHead(200, { 'content-type': 'application/json' }).end(`{"access_token":"${'a'.repeat(300_000)}"}`);
      return true;
    };
    assert.match(await callTool(await scene.tunnel()), /more than 256 KB/);
  });
});
