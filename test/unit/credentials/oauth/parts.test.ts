import assert from 'node:assert/strict';
import { challengeOf, challengesOf } from '../../../../src/credentials/oauth/challenge.ts';
import { covers } from '../../../../src/credentials/oauth/discovery.ts';
import { Prover, newProofKey } from '../../../../src/credentials/oauth/dpop.ts';
import { refuseNamedUrl } from '../../../../src/credentials/oauth/wire.ts';
import { jwtVerify, importJWK, decodeProtectedHeader, type JWK } from 'jose';

describe('WWW-Authenticate', () => {
  it('gives what asks for a token, among other schemes, quoted or not', () => {
    const header =
      'Basic realm="a, Bearer scope=\\"no\\"", Bearer error=invalid_token, scope="a b", resource_metadata="https://x.example/m", Negotiate YII=';
    assert.deepEqual(challengesOf(header), [
      { scheme: 'bearer', error: 'invalid_token', scope: 'a b', resourceMetadata: 'https://x.example/m' },
    ]);
  });

  it('puts several challenges together', () => {
    assert.deepEqual(challengeOf('DPoP algs="ES256", Bearer scope="a"'), {
      scheme: 'dpop',
      error: undefined,
      scope: 'a',
      resourceMetadata: undefined,
    });
  });

  it('takes nothing of what can’t be read', () => {
    for (const header of ['', '=,=', 'Bearer scope="unclosed', 'Bearer "x"', `Bearer scope="${'a'.repeat(10_000)}"`])
      assert.equal(challengeOf(header)?.scope, undefined, header.slice(0, 40));
  });
});

describe('what a server names', () => {
  const server = new URL('https://mcp.example/mcp');

  it('covers only itself and what is below it', () => {
    for (const resource of ['https://mcp.example/mcp', 'https://mcp.example', 'https://mcp.example/'])
      assert.ok(covers(resource, server), resource);
    for (const resource of [
      'https://mcp.example/mc',
      'https://mcp.example/mcp/more',
      'https://evil.example/mcp',
      'http://mcp.example/mcp',
      'mcp',
      'https://mcp.example/mcp#x',
    ])
      assert.ok(!covers(resource, server), resource);
  });

  it('is https, and this machine only for a server on it', () => {
    assert.equal(refuseNamedUrl('https://auth.example/', server), undefined);
    assert.equal(refuseNamedUrl('http://127.0.0.1:9/', new URL('http://localhost:8/mcp')), undefined);
    for (const url of [
      'http://auth.example/',
      'https://localhost/',
      'https://127.9.9.9/',
      'https://[::1]/',
      'javascript:alert(1)',
      'file:///x',
      'https://a:b@auth.example/',
      'nothing',
    ])
      assert.notEqual(refuseNamedUrl(url, server), undefined, url);
  });
});

describe('proofs of possession', () => {
  it('verify, bind method, address and token, differ each time, and carry the newest nonce of their origin only', async () => {
    const prover = new Prover(newProofKey());
    const url = new URL('https://mcp.example/mcp?x=1#y');
    assert.ok(prover.observe(url, 'n-1'));
    assert.ok(!prover.observe(url, 'n-1'));
    assert.ok(!prover.observe(url, 'bad nonce"'));
    const now = Date.now();
    const proof = prover.proof('POST', url, now, 'token');
    const { jwk, typ } = decodeProtectedHeader(proof) as { jwk: JWK; typ: string };
    assert.equal(typ, 'dpop+jwt');
    assert.equal(jwk.d, undefined);
    const { payload } = await jwtVerify(proof, await importJWK(jwk, 'ES256'));
    assert.deepEqual(
      { ...payload, jti: undefined },
      {
        jti: undefined,
        htm: 'POST',
        htu: 'https://mcp.example/mcp',
        iat: Math.floor(now / 1000),
        ath: 'PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A',
        nonce: 'n-1',
      },
    );
    assert.notEqual(prover.proof('POST', url, now, 'token'), proof);
    const other = JSON.parse(
      Buffer.from(prover.proof('GET', new URL('https://other.example/'), now).split('.')[1] ?? '', 'base64url').toString(),
    ) as object;
    assert.ok(!('nonce' in other) && !('ath' in other));
  });
});
