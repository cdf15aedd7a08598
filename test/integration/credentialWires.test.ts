import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { decodeJwt } from 'jose';
import type { Placement } from '../../src/credentials/credential.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { signV4 } from '../../src/credentials/sigv4.ts';
import type { SourceSpec } from '../../src/credentials/sourceSpec.ts';
import { bindingOf } from '../../src/mcp/server.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { rpc, send, toolCall } from '../support/agent.ts';
import { Authority } from '../support/certificate.ts';
import { answerJson, beginStream, event, idOf, resultFor, type Behaviour, type Seen } from '../support/fakeServer.ts';
import { FakeVault } from '../support/fakeVault.ts';
import { ProtectedScene, callTool } from '../support/protectedScene.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

const AWS: Placement = { kind: 'aws-sigv4', region: 'eu-central-1', service: 'bedrock-agentcore', accessKeyId: 'AKIDAKIDAKIDAKID' };

/** The signature that belongs to a request as it came in. */
function signatureOf({ method, url, headers, body }: Seen, origin: string, value: string): string | undefined {
  const signed = Object.entries(headers).flatMap(([name, text]) =>
    typeof text === 'string' && ['content-type', 'mcp-session-id', 'mcp-protocol-version'].includes(name) ? [[name, text] as const] : [],
  );
  const at = String(headers['x-amz-date']).replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/, '$1-$2-$3T$4:$5:$6Z');
  return signV4(
    { method, url: new URL(url, origin), headers: Object.fromEntries(signed), body },
    { accessKeyId: 'AKIDAKIDAKIDAKID', secretAccessKey: new Secret(value) },
    { region: 'eu-central-1', service: 'bedrock-agentcore', now: Date.parse(at) },
  )['authorization'];
}

/** Answers as a server of the older HTTP+SSE transport, whose messages go to another URL than its stream. */
function speaksOldSse(result: unknown): Behaviour {
  let stream: ServerResponse | undefined;
  return (seen, response) => {
    if (seen.method === 'GET') {
      stream = response;
      beginStream(response);
      response.write('event: endpoint\ndata: /mcp/messages?session=7\n\n');
      return;
    }
    response.writeHead(202).end();
    if (idOf(seen) !== undefined) stream?.write(event(resultFor(seen, result)));
  };
}

/** What a client of the older era says, over one session. */
async function talk(tunnel: HeadlessTunnel): Promise<unknown> {
  const hello = await send(tunnel, { body: rpc('initialize', { protocolVersion: '2025-06-18', capabilities: {} }) });
  const session = hello.headers['mcp-session-id'];
  assert.ok(typeof session === 'string', hello.body.toString());
  const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-06-18' };
  await send(tunnel, { body: { jsonrpc: '2.0', method: 'notifications/initialized' }, headers });
  const answer = (await send(tunnel, { body: toolCall('echo', {}, 2), headers })).json();
  await send(tunnel, { method: 'DELETE', headers });
  return answer.error ?? answer.result;
}

describe('The older HTTP+SSE transport', () => {
  const ok = { content: [{ type: 'text', text: 'done' }] };

  it('has an AWS signature of its own on the stream and on every message', async () => {
    const scene = await newScene();
    try {
      const value = ['secret', 'access', 'key', '72se'].join('-');
      const answers = speaksOldSse(ok);
      scene.server.behave = (seen, response, request) => {
        if (seen.headers.authorization === signatureOf(seen, scene.server.origin, value)) answers(seen, response, request);
        else response.writeHead(403).end();
      };
      const place = { kind: 'sse', url: `${scene.server.origin}/mcp` } as const;
      const tunnel = await scene.open({ upstream: { place, label: 'Old' }, auth: { placement: AWS, value } });
      assert.deepEqual(await talk(tunnel), ok);
      assert.deepEqual(
        scene.server.seen.map(({ method, url }) => `${method} ${url}`),
        ['GET /mcp', ...Array<string>(3).fill('POST /mcp/messages?session=7')],
      );
    } finally {
      await scene.close();
    }
  });

  it('so has it a proof of possession, and with a nonce that the server wants only there', async () => {
    const scene = await ProtectedScene.open({ dpop: 'plain' });
    try {
      const { server } = scene.scene;
      const withoutToken = server.behave;
      const answers = speaksOldSse(ok);
      const proofs: { readonly htm: string; readonly htu: string; readonly nonce?: string; readonly jti: string }[] = [];
      server.behave = (seen, response, request) => {
        const proof = seen.headers['dpop'];
        if (proof === undefined) {
          withoutToken(seen, response, request);
          return;
        }
        const claims = decodeJwt<(typeof proofs)[number]>(String(proof));
        if (seen.method === 'POST' && claims.nonce !== 'fresh') {
          response.writeHead(401, { 'www-authenticate': 'DPoP error="use_dpop_nonce"', 'dpop-nonce': 'fresh' }).end();
          return;
        }
        proofs.push(claims);
        answers(seen, response, request);
      };
      const tunnel = await scene.tunnel({ upstream: { place: { kind: 'sse', url: server.url }, label: 'Old' } });
      assert.deepEqual(await talk(tunnel), ok);
      assert.deepEqual(
        proofs.slice(-3).map(({ htm, htu }) => `${htm} ${htu}`),
        Array<string>(3).fill(`POST ${server.url}/messages`),
      );
      assert.ok(proofs.slice(0, -3).every(({ htm, htu }) => `${htm} ${htu}` === `GET ${server.url}`));
      assert.equal(new Set(proofs.map(({ jti }) => jti)).size, proofs.length);
    } finally {
      await scene.close();
    }
  });
});

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
        assert.equal(seen.headers.authorization, signatureOf(seen, scene.server.origin, value), seen.url);
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
