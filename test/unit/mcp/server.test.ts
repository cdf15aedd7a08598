import assert from 'node:assert/strict';
import { Server, UpstreamPlace, originOf, plainHeadersOf } from '../../../src/mcp/server.ts';

const server = {
  version: 1,
  id: 'srv-1',
  label: 'GitHub',
  upstream: { kind: 'http', url: 'https://a.example/mcp?x=1' },
  credentials: [],
  createdAt: 1,
};
const takes = (url: string) => Server.safeParse({ ...server, upstream: { kind: 'http', url } }).success;

describe('Server', () => {
  it('takes http and https addresses that hold no secret and no fragment', () => {
    assert.equal(takes('https://a.example/mcp?x=1'), true);
    assert.equal(takes('http://127.0.0.1:3001/mcp'), true);
    for (const url of [
      'ftp://a/',
      'file:///etc/passwd',
      'javascript:1',
      'a.example',
      '',
      'https://user:pass@a.example/',
      'https://user@a.example/',
      'https://a.example/#f',
    ])
      assert.equal(takes(url), false, url);
  });

  it('takes no id that could leave a path or a command line', () => {
    for (const id of ['../x', 'a/b', 'A', '-x', '', 'x'.repeat(64), 'a b'])
      assert.equal(Server.safeParse({ ...server, id }).success, false, id);
  });
});

describe('originOf', () => {
  it('is scheme, host and port', () => {
    assert.equal(originOf('https://a.example:443/x'), 'https://a.example');
    assert.equal(originOf('http://a.example:8080/x?y'), 'http://a.example:8080');
  });

  it('takes plain headers, and none of the protocol, of a connection, or with a credential', () => {
    const place = (headers: Record<string, string>) =>
      UpstreamPlace.safeParse({ kind: 'http', url: 'https://api.example.com/mcp', headers }).success;
    assert.ok(place({ 'X-MCP-Toolsets': 'repos,issues', 'X-Empty': '', 'X-MCP-Readonly': 'true' }));
    for (const name of ['Authorization', 'cookie', 'X-API-Key', 'x-auth-token', 'Private-Token', 'api_key', 'Proxy-Authorization'])
      assert.ok(!place({ [name]: 'x' }), name);
    for (const name of ['Host', 'Connection', 'TE', 'Transfer-Encoding', 'Content-Length', 'Mcp-Session-Id', 'Accept', 'Origin', 'a b', ''])
      assert.ok(!place({ [name]: 'x' }), name);
    for (const value of ['a\r\nEvil: 1', 'a\n', ' padded', 'ü', 'x'.repeat(3000)])
      assert.ok(!place({ 'X-A': value }), JSON.stringify(value));
    assert.ok(!place({ 'X-A': '1', 'x-a': '2' }), 'the same header twice');
    assert.ok(!place(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`X-${i}`, '1']))));
    assert.deepEqual(plainHeadersOf({ kind: 'http', url: 'https://a.example/', headers: { 'X-Team': 'shop' } }), { 'x-team': 'shop' });
  });
});
