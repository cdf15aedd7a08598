import assert from 'node:assert/strict';
import { decodeJwt } from 'jose';
import type { Placement } from '../../src/credentials/credential.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { signV4 } from '../../src/credentials/sigv4.ts';
import type { SourceSpec } from '../../src/credentials/sourceSpec.ts';
import { bindingOf } from '../../src/mcp/server.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { Authority } from '../support/certificate.ts';
import { answerJson, resultFor } from '../support/fakeServer.ts';
import { FakeVault } from '../support/fakeVault.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

const AWS: Placement = { kind: 'aws-sigv4', region: 'eu-central-1', service: 'bedrock-agentcore', accessKeyId: 'AKIDAKIDAKIDAKID' };

describe('Redirects within the origin', () => {
  it('an AWS signature is made anew for where the request goes then', async () => {
    const scene = await newScene();
    try {
      const value = ['secret', 'access', 'key', '91fk'].join('-');
      scene.server.behave = (seen, response) => {
        if (seen.url === '/mcp') response.writeHead(307, { location: '/v2/mcp?stage=prod' }).end();
        else answerJson(response, resultFor(seen, {}));
      };
      const tunnel = await scene.open({ auth: { placement: AWS, value } });
      assert.equal((await send(tunnel, { body: toolCall('echo', {}) })).json().error, undefined);
      const [first, second] = scene.server.seen;
      assert.deepEqual([first?.url, second?.url], ['/mcp', '/v2/mcp?stage=prod']);
      for (const seen of [first, second]) {
        assert.ok(seen);
        const at = String(seen.headers['x-amz-date']);
        const expected = signV4(
          {
            method: 'POST',
            url: new URL(seen.url, scene.server.origin),
            headers: { 'content-type': seen.headers['content-type'] ?? '' },
            body: seen.body,
          },
          { accessKeyId: 'AKIDAKIDAKIDAKID', secretAccessKey: new Secret(value) },
          {
            region: 'eu-central-1',
            service: 'bedrock-agentcore',
            now: Date.parse(at.replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/, '$1-$2-$3T$4:$5:$6Z')),
          },
        );
        assert.equal(seen.headers.authorization, expected['authorization'], seen.url);
      }
      assert.notEqual(first?.headers.authorization, second?.headers.authorization);
    } finally {
      await scene.close();
    }
  });

  it('so is a proof of possession', async () => {
    const scene = await ProtectedScene.open({ dpop: 'plain' });
    try {
      const tunnel = await scene.tunnel();
      assert.equal(await callTool(tunnel), 'done');
      const { server } = scene.scene;
      const before = server.behave;
      server.behave = (seen, response, request) => {
        if (seen.url === '/mcp') response.writeHead(308, { location: '/mcp/moved' }).end();
        else before(seen, response, request);
      };
      assert.equal(await callTool(tunnel, 2), 'done');
      const [asked, moved] = server.seen.slice(-2).map(({ headers }) => decodeJwt<{ htu: string }>(String(headers['dpop'])));
      assert.deepEqual([asked?.htu, moved?.htu], [server.url, `${server.url}/moved`]);
      assert.notEqual(asked?.jti, moved?.jti);
    } finally {
      await scene.close();
    }
  });
});

describe('A Vault behind an authority of its own', () => {
  const authority = new Authority('Company authority');
  const [token, value] = [['token', 'for', 'vault', '77'].join('-'), ['value', 'in', 'vault', '88'].join('-')];
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  let vault: FakeVault;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
    vault = await new FakeVault(authority.issue()).start();
    vault.tokens.add(token);
    vault.kv.set('secret/api', { token: value });
  });
  afterEach(async () => {
    await scene.close();
    await vault.stop();
  });

  const use = async (authorities: string | undefined, from = vault) => {
    const { core } = tunnel;
    const server = core.servers.get(tunnel.serverId);
    assert.ok(server);
    const spec: SourceSpec = {
      kind: 'hashicorp-vault',
      address: from.address,
      ...(authorities === undefined ? {} : { authorities }),
      login: { method: 'token' },
      secret: { engine: 'kv2', mount: 'secret', path: 'api', field: 'token' },
    };
    const key = { secret: new Secret(token), origins: [from.address] };
    const credential = await core.credentials.add('vault', { kind: 'bearer' }, [bindingOf(server.upstream)], spec, key);
    core.servers.put({ ...server, credentials: [credential.id] });
  };
  const call = async () => (await send(tunnel, { body: toolCall('echo', {}) })).json();

  it('is trusted if the user chose the authority', async () => {
    await use(authority.cert);
    assert.equal((await call()).error, undefined);
    assert.equal(scene.server.seen.at(-1)?.headers.authorization, `Bearer ${value}`);
  });

  it('gets no token otherwise, nor with another authority; and what is trusted for one address is not for another', async () => {
    await use(undefined);
    assert.match((await call()).error?.message ?? '', /can’t be reached/);
    await use(new Authority('Somebody else').cert);
    assert.match((await call()).error?.message ?? '', /can’t be reached/);
    await use(authority.cert);
    assert.equal((await call()).error, undefined);
    const before = vault.seen.length;
    const other = await new FakeVault(authority.issue()).start();
    await use(undefined, other);
    assert.match((await call()).error?.message ?? '', /can’t be reached/);
    assert.equal(other.seen.length, 0);
    assert.equal(vault.seen.length, before);
    await other.stop();
  });
});
