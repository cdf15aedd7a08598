import assert from 'node:assert/strict';
import { Server, originOf } from '../../../src/mcp/server.ts';

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
});
