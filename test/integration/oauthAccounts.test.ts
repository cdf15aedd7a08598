import assert from 'node:assert/strict';
import type { Credential } from '../../src/credentials/credential.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { SCOPES } from '../support/authorizationServer.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { recordText } from '../support/tunnels.ts';

describe('OAuth accounts', () => {
  let scene: ProtectedScene;
  let tunnel: HeadlessTunnel;
  const settings = { grant: 'code', scopes: ['openid', 'mcp:read'] } as const;
  let signal: AbortSignal;
  beforeEach(async () => {
    signal = AbortSignal.timeout(60_000);
    scene = await ProtectedScene.open({ resourceScopes: ['openid', ...SCOPES] });
    tunnel = await scene.tunnel({ signIn: { settings } });
    assert.equal(await callTool(tunnel), 'done');
  });
  afterEach(() => scene.close());

  /** A sign-in as the editor does it, at a redirect URI that the test reads itself. */
  const signIn = async (credential: Credential, purpose: Record<string, string> = {}): Promise<Credential | undefined> => {
    const { signIns } = tunnel.core;
    assert.ok(credential.source?.kind === 'oauth');
    const proposal = await signIns.propose(new URL(scene.scene.server.url), credential.source, signal, { credential });
    const { url } = await signIns.start(credential, proposal, 'http://127.0.0.1:1/callback', signal, purpose);
    const landed = await scene.issuer.visit(url);
    assert.ok(landed);
    return signIns.complete(landed.searchParams, signal);
  };
  const only = (): Credential => {
    const [credential] = tunnel.core.credentials.list();
    assert.ok(credential);
    return credential;
  };

  it('know who signed in, and keep another account out of a sign-in', async () => {
    const credential = only();
    assert.deepEqual(credential.source?.kind === 'oauth' && credential.source.account, { subject: 'ada', label: 'ada' });
    scene.issuer.account = 'bob';
    const given = scene.issuer.given.length;
    await assert.rejects(signIn(credential), /You signed in as bob, but “sign-in” is for ada\. Nothing was changed/);
    // What bob was given is taken back, and ada's goes on.
    assert.equal(await scene.issuer.find(scene.issuer.given[given] ?? '', scene.scene.server.url), undefined);
    assert.equal(await callTool(tunnel, 2), 'done');
    assert.equal(scene.seen?.account, 'ada');
    assert.match(recordText(tunnel), /sign-in-failed/);
  });

  describe('whose name the ID token does not say', () => {
    const label = () => {
      const { source } = only();
      return source?.kind === 'oauth' ? source.account?.label : undefined;
    };
    const saysAtUserinfo = (sub: string, seen: (string | undefined)[] = []) => {
      scene.issuer.intercept = ({ path, headers }, response) => {
        if (path !== '/me') return false;
        seen.push(headers.authorization);
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ sub, email: `${sub}@example.com` }));
        return true;
      };
      return seen;
    };

    it('are named by the UserInfo endpoint, asked once with the token that it is for', async () => {
      const seen = saysAtUserinfo('ada');
      await signIn(only());
      assert.equal(label(), 'ada@example.com');
      assert.deepEqual(seen, [`Bearer ${scene.issuer.given.at(-1)}`]);
    });

    it('keep their subject where that endpoint speaks of somebody else, or is away', async () => {
      saysAtUserinfo('bob');
      await signIn(only());
      assert.equal(label(), 'ada');
      scene.issuer.intercept = ({ path }, response) => path === '/me' && Boolean(response.writeHead(500).end());
      await signIn(only());
      assert.equal(label(), 'ada');
    });
  });

  it('are chosen for a workspace, and only among those that are bound to the same place', async () => {
    const { core } = tunnel;
    const [server] = core.servers.list();
    assert.ok(server);
    scene.issuer.account = 'bob';
    const source = { kind: 'oauth', ...settings } as const;
    const second = await core.credentials.add('second', { kind: 'bearer' }, [scene.scene.server.origin], source);
    await signIn(second, { account: 'any' });
    core.accounts.choose(server.id, 'workspace-a', second.id);
    assert.deepEqual(core.accounts.for(server, 'workspace-a'), [second.id]);
    assert.deepEqual(core.accounts.for(server, 'workspace-b'), server.credentials);
    const elsewhere = await core.credentials.add('elsewhere', { kind: 'bearer' }, ['https://other.example'], source);
    core.accounts.choose(server.id, 'workspace-b', elsewhere.id);
    assert.deepEqual(core.accounts.for(server, 'workspace-b'), server.credentials);
    core.accounts.choose(server.id, 'workspace-a', undefined);
    assert.deepEqual(core.accounts.for(server, 'workspace-a'), server.credentials);
  });

  it('a sign-in that one window began is finished by another, and the first hears of it', async () => {
    const own = await ProtectedScene.open();
    try {
      const shared = { vault: new MemorySecretStore(), signIn: { settings } };
      const [first, second] = [await own.scene.open(shared), await own.scene.open(shared)];
      const [credential] = first.core.credentials.list();
      assert.ok(credential?.source?.kind === 'oauth');
      const proposal = await first.core.signIns.propose(new URL(own.scene.server.url), credential.source, signal, { credential });
      const { url, id } = await first.core.signIns.start(credential, proposal, 'http://127.0.0.1:1/callback', signal);
      const ended = first.core.signIns.pending.ended(id, signal);
      const landed = await own.issuer.visit(url);
      assert.ok(landed);
      assert.equal((await second.core.signIns.complete(landed.searchParams, signal))?.id, credential.id);
      assert.deepEqual(await ended, { ok: true });
      for (const window of [first, second]) assert.equal(await callTool(window, 9), 'done');
      assert.equal(own.issuer.tokenRequests('authorization_code').length, 1);
    } finally {
      await own.close();
    }
  });

  it('a sign-in is finished once, and only by its own state', async () => {
    const { signIns } = tunnel.core;
    const credential = only();
    assert.ok(credential.source?.kind === 'oauth');
    const proposal = await signIns.propose(new URL(scene.scene.server.url), credential.source, signal, { credential });
    const { url, id } = await signIns.start(credential, proposal, 'http://127.0.0.1:1/callback', signal);
    const landed = await scene.issuer.visit(url);
    assert.ok(landed);
    assert.equal(await signIns.complete(new URLSearchParams({ code: 'x', state: 'guessed' }), signal), undefined);
    const ended = signIns.pending.ended(id, signal);
    assert.ok(await signIns.complete(landed.searchParams, signal));
    assert.deepEqual(await ended, { ok: true });
    assert.equal(await signIns.complete(landed.searchParams, signal), undefined);
  });
});
