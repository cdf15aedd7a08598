import assert from 'node:assert/strict';
import type { UpstreamPlace } from '../../../../src/mcp/server.ts';
import { serverListsLayer, type ServerListSettings } from '../../../../src/authorization/policy/serverLists.ts';

const http = (url: string, ssh?: string): UpstreamPlace => ({ kind: 'http', url, ...(ssh === undefined ? {} : { ssh }) });
const command = (line: string, ssh?: string): UpstreamPlace => {
  const [first = '', ...args] = line.split(' ');
  return { kind: 'stdio', command: first, args, ...(ssh === undefined ? {} : { ssh }) };
};

function judge(settings: ServerListSettings, place: UpstreamPlace | undefined, label = 'GitHub'): 'deny' | 'pass' {
  const layer = serverListsLayer(settings);
  const said = layer?.narrow({
    principal: { client: 'vscode', window: 'w' },
    call: { server: 's', serverLabel: label, method: 'initialize', place },
    now: 0,
    task: undefined,
    tools: {},
  });
  return said?.effect === 'deny' ? 'deny' : 'pass';
}

describe('VS Code’s server lists', () => {
  const pass = (settings: ServerListSettings, place: UpstreamPlace | undefined, label?: string) =>
    assert.equal(judge(settings, place, label), 'pass');
  const deny = (settings: ServerListSettings, place: UpstreamPlace | undefined, label?: string) =>
    assert.equal(judge(settings, place, label), 'deny');
  const api = http('https://mcp.example.com/v1');

  it('are nothing where nothing is set, and block everything where the list is empty', () => {
    assert.equal(serverListsLayer({}), undefined);
    assert.equal(serverListsLayer({ allowed: null, denied: [] }), undefined);
    deny({ allowed: [] }, api);
    deny({ access: 'none' }, api);
    pass({ access: 'all' }, api);
  });

  it('go by name, URL and exact command; denied beats allowed', () => {
    pass({ allowed: [{ serverName: 'GitHub' }] }, api);
    deny({ allowed: [{ serverName: 'github' }] }, api);
    deny({ allowed: [{ serverName: 'GitHub' }], denied: [{ serverUrl: 'https://mcp.example.com/*' }] }, api);
    pass({ allowed: [{ serverCommand: ['npx', '-y', 'x'] }] }, command('npx -y x'));
    deny({ allowed: [{ serverCommand: ['npx', '-y', 'x'] }] }, command('npx -y x --more'));
    deny({ allowed: [{ serverCommand: ['npx', '-y', 'x'] }] }, command('npx -y'));
    deny({ allowed: [{ serverCommand: ['npx'] }] }, api);
  });

  const urls: readonly (readonly [string, string, boolean])[] = [
    ['https://mcp.example.com/*', 'https://mcp.example.com/v1', true],
    ['https://mcp.example.com/*', 'https://mcp.example.com/', true],
    ['https://mcp.example.com', 'https://mcp.example.com/', true],
    ['https://mcp.example.com', 'https://mcp.example.com/v1', false],
    ['https://mcp.example.com:443/*', 'https://mcp.example.com/v1', true],
    ['https://*.example.com/*', 'https://a.b.example.com/v1', true],
    ['https://*.example.com/*', 'https://example.com/v1', false],
    ['https://*.example.com/*', 'https://evil.org/.example.com/', false],
    ['https://*.example.com/*', 'https://example.com.evil.org/', false],
    ['https://mcp.example.com/*', 'http://mcp.example.com/', false],
    ['*://mcp.example.com/*', 'http://mcp.example.com/', true],
    ['http://localhost:*/*', 'http://localhost:3000/mcp', true],
    ['http://localhost:*/*', 'http://localhost/mcp', true],
    ['http://localhost/*', 'http://localhost:3000/mcp', false],
    ['HTTPS://MCP.Example.com/V1', 'https://mcp.example.com/v1', true],
    ['https://b\u00fccher.example/*', 'https://xn--bcher-kva.example/', true],
    ['mcp.example.com/*', 'https://mcp.example.com/', false],
    ['*', 'https://mcp.example.com/', false],
    ['https://user@mcp.example.com/*', 'https://mcp.example.com/', true],
    ['https://mcp.example.com/a?b=*', 'https://mcp.example.com/a?b=c', true],
    ['https://mcp.example.com/a?b', 'https://mcp.example.com/axb', false],
  ];
  for (const [pattern, url, matches] of urls)
    it(`${pattern} ${matches ? 'is' : 'is not'} ${url}`, () => (matches ? pass : deny)({ allowed: [{ serverUrl: pattern }] }, http(url)));

  it('know a server behind SSH as another one', () => {
    deny({ allowed: [{ serverUrl: 'http://127.0.0.1:3000/*' }] }, http('http://127.0.0.1:3000/', 'box'));
    deny({ denied: [{ serverUrl: 'http://127.0.0.1:3000/*' }] }, http('http://127.0.0.1:3000/', 'box'));
    deny({ allowed: [{ serverCommand: ['x'] }] }, command('x', 'box'));
  });

  it('deny where the place is not known, or an entry can’t be understood', () => {
    deny({ allowed: [{ serverUrl: 'https://mcp.example.com/*' }] }, undefined);
    deny({ denied: [{ serverUrl: 'https://other.example.com/*' }] }, undefined);
    for (const denied of ['x', {}, [{ serverName: '' }], [{ serverName: 'a', serverUrl: 'b' }], [{ serverCommand: 'x' }], [null]])
      deny({ denied }, api);
  });
});
