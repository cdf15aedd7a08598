import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { findCredentials } from '../../../src/configuration/credentials.ts';
import { isProblem, parseDocument, type Format } from '../../../src/configuration/document.ts';
import { bridgedServer, describeEntry, readEntries, readInputs, type Entry } from '../../../src/configuration/entry.ts';
import type { ClientId } from '../../../src/configuration/clients.ts';
import type { Location } from '../../../src/configuration/locate.ts';
import { nodeFiles } from '../../../src/configuration/nodeFiles.ts';
import { placeOf } from '../../../src/configuration/place.ts';
import { scan, type FoundServer } from '../../../src/configuration/scan.ts';
import { looksSecret, maskSecret } from '../../../src/configuration/secretShape.ts';
import { sliceOf } from '../../../src/configuration/textEdit.ts';
import { bindingOf } from '../../../src/mcp/server.ts';
import { fill, machine, token } from './fixtures.ts';

const location = (client: ClientId, servers: string[][], format: Format = 'json'): Location => ({
  client,
  scope: 'user',
  path: '/h/file',
  format,
  servers,
  editable: true,
});

function entries(text: string, where: Location): Entry[] {
  const document = parseDocument(text, where.format, 'file');
  assert.ok(!isProblem(document), JSON.stringify(document));
  return readEntries(document, where);
}

function entry(body: object, client: ClientId = 'vscode'): Entry {
  const [found] = entries(JSON.stringify({ servers: { it: body } }), location(client, [['servers']]));
  assert.ok(found);
  return found;
}

const context = { surroundings: { platform: 'linux', env: { REGION: 'eu' }, home: '/home/kim' }, workspaceFolder: '/w/shop' } as const;

describe('reading entries', () => {
  it('reads every server of every fixture, in its dialect', async () => {
    const here = machine();
    try {
      const { servers, problems } = await scan(nodeFiles, await here.locations(), here.contextOf);
      assert.deepEqual(problems, []);
      const byName = (client: string, name: string): FoundServer => {
        const found = servers.find((s) => s.entry.client === client && s.entry.name === name);
        assert.ok(found, `${client} ${name}`);
        return found;
      };
      assert.equal(servers.length, 45);
      assert.equal(byName('windsurf', 'figma').entry.transport, 'http');
      assert.equal(byName('gemini-cli', 'events').entry.transport, 'sse');
      assert.equal(byName('gemini-cli', 'maps').entry.url, 'https://mapstools.googleapis.com/mcp');
      assert.equal(byName('zed', 'old-style').entry.command, '/usr/local/bin/old-mcp');
      assert.equal(byName('zed', 'github-extension').entry.transport, 'unknown');
      assert.equal(byName('continue', 'Linear').entry.headers['Authorization']?.slice(0, 7), 'Bearer ');
      assert.deepEqual(byName('codex', 'dotted').entry.path, ['mcp_servers', 'dotted']);
      assert.equal(byName('codex', 'dotted').entry.command, 'dotted-mcp');
      assert.equal(byName('codex', 'inline').entry.command, 'node');
      assert.deepEqual(byName('claude-code', 'sentry').entry.path, ['projects', '/home/kim/shop', 'mcpServers', 'sentry']);
      assert.equal(byName('cursor', 'supabase').entry.disabled, true);
      assert.deepEqual(byName('vscode', 'database').entry.env['MAX_TOKENS'], '4000');
      for (const { entry: found, file } of servers)
        assert.ok(sliceOf(file.document.text, found.nameSpan).includes(found.name.split(' ')[0] ?? ''), `${found.client} ${found.name}`);
    } finally {
      here.dispose();
    }
  });

  it('finds every made-up secret of the fixtures and shows none', async () => {
    const here = machine();
    try {
      const { servers } = await scan(nodeFiles, await here.locations(), here.contextOf);
      const found = servers.flatMap((s) => [
        ...s.credentials.flatMap((c) => c.value?.reveal() ?? []),
        ...(s.environmentFile?.secrets.map((secret) => secret.value.reveal()) ?? []),
      ]);
      for (const secret of here.secrets)
        assert.ok(
          found.some((value) => value.includes(secret)),
          maskSecret(secret),
        );
      const shown = servers
        .map((s) => `${describeEntry(s.entry)} ${inspect(s.credentials, { depth: 9 })} ${JSON.stringify(s.credentials)}`)
        .join('\n');
      for (const secret of here.secrets) assert.ok(!shown.includes(secret), maskSecret(secret));
      for (const harmless of ['MAX_TOKENS', 'LOG_LEVEL', 'SLACK_TEAM_ID', 'PGAPPNAME', 'X-MCP-Toolsets', 'REGION'])
        assert.ok(!servers.some((s) => s.credentials.some((c) => c.name === harmless)), harmless);
    } finally {
      here.dispose();
    }
  });

  it('reads inputs and what they are for', () => {
    const text = JSON.stringify({ servers: {}, inputs: [{ id: 'a', password: true, description: 'Key' }, { id: 'b' }, { no: 1 }] });
    const document = parseDocument(text, 'json', 'file');
    assert.ok(!isProblem(document));
    assert.deepEqual(readInputs(document, location('vscode', [['servers']])), [
      { id: 'a', password: true, description: 'Key' },
      { id: 'b', password: false },
    ]);
  });

  it('takes the last of two equal names and says that the file is not edited', () => {
    const [found, ...rest] = entries('{"servers":{"a":{"command":"one"},"a":{"command":"two"}}}', location('cursor', [['servers']]));
    assert.equal(found?.command, 'two');
    assert.equal(found.obstacle?.code, 'duplicate-key');
    assert.match(found.obstacle.message, /same key twice.*line 1/);
    assert.deepEqual(rest, []);
  });

  it('keeps a server named __proto__ an ordinary one', () => {
    const [found] = entries('{"servers":{"__proto__":{"command":"x","env":{"__proto__":"v"}}}}', location('cursor', [['servers']]));
    assert.equal(found?.name, '__proto__');
    assert.deepEqual(Object.keys(found.env), ['__proto__']);
    assert.equal(Object.getPrototypeOf({}), Object.prototype);
  });

  it('recognises an entry that starts the bridge', () => {
    assert.equal(bridgedServer({ args: ['/x/bridge.cjs', '--server', 'srv-1'] }), 'srv-1');
    assert.equal(bridgedServer({ args: ['C:\\x\\bridge.cjs', '--capability', 'c', '--server', 'srv-1'] }), 'srv-1');
    assert.equal(bridgedServer({ args: ['/x/other.cjs', '--server', 'srv-1'] }), undefined);
  });
});

describe('plaintext credentials', () => {
  const secret = token('plain', 'test');
  const placements = (body: object, client?: ClientId) =>
    findCredentials(entry(body, client)).map((c) => [c.source, c.placement ?? c.obstacle?.split('.')[0], c.value?.reveal() ?? c.evidence]);

  for (const [what, body, expected] of [
    [
      'a bearer token',
      { url: 'https://x.example', headers: { Authorization: `Bearer ${secret}` } },
      [['plaintext', { kind: 'bearer' }, secret]],
    ],
    [
      'another scheme',
      { url: 'https://x.example', headers: { authorization: `Token ${secret}` } },
      [['plaintext', { kind: 'header', name: 'authorization' }, `Token ${secret}`]],
    ],
    [
      'basic',
      { url: 'https://x.example', headers: { Authorization: `Basic ${Buffer.from(`kim:${secret}`).toString('base64')}` } },
      [['plaintext', { kind: 'basic', username: 'kim' }, secret]],
    ],
    ['a user in the URL', { url: `https://kim:${secret}@x.example/mcp` }, [['plaintext', { kind: 'basic', username: 'kim' }, secret]]],
    [
      'a query parameter',
      { url: `https://x.example/mcp?a=1&api_key=${secret}` },
      [['plaintext', { kind: 'query', name: 'api_key' }, secret]],
    ],
    [
      'a part of the address',
      { url: `https://x.example/s/${token('github')}/mcp` },
      [['plaintext', 'It is part of the address itself, which Culvert stores and shows', token('github')]],
    ],
    ['a variable', { command: 'x', env: { MY_TOKEN: secret } }, [['plaintext', { kind: 'environment', name: 'MY_TOKEN' }, secret]]],
    [
      'a reserved variable',
      { command: 'x', env: { NODE_OPTIONS: token('github') } },
      [['plaintext', 'That variable decides what the process runs, so Culvert puts no secret there', token('github')]],
    ],
    ['an option', { command: 'x', args: ['--api-key', secret] }, [['plaintext', { kind: 'environment', name: 'API_KEY' }, secret]]],
    [
      'an option with an equals sign',
      { command: 'x', args: [`--token=${secret}`] },
      [['plaintext', { kind: 'environment', name: 'TOKEN' }, secret]],
    ],
    [
      'docker',
      { command: 'docker', args: ['run', '-e', `A_TOKEN=${secret}`, 'img'] },
      [['plaintext', { kind: 'environment', name: 'A_TOKEN' }, secret]],
    ],
    [
      'mcp-remote',
      { command: 'npx', args: ['mcp-remote@latest', 'https://x.example/mcp', '--header', `X-Api-Key:${secret}`] },
      [['plaintext', { kind: 'header', name: 'X-Api-Key' }, secret]],
    ],
    [
      'an input',
      { url: 'https://x.example', headers: { Authorization: 'Bearer ${input:token}' } },
      [['reference', { kind: 'bearer' }, '${input:token}']],
    ],
    [
      'a variable of the client',
      { command: 'x', env: { API_KEY: '${env:API_KEY}' } },
      [['reference', { kind: 'environment', name: 'API_KEY' }, '${env:API_KEY}']],
    ],
    [
      'nothing',
      {
        command: 'x',
        args: ['--port', '8080', '--token-file', '/run/token'],
        env: { TOKEN_URL: 'https://x.example/token', API_KEY: '<your-api-key>', DEBUG: 'true' },
      },
      [],
    ],
  ] as const)
    it(`finds ${what}`, () => assert.deepEqual(placements(body), expected));

  it('reads Claude Code’s own references only in files that know them', () => {
    const body = { command: 'x', env: { API_KEY: '${API_KEY:-none}' } };
    const [found] = findCredentials(entry(body, 'claude-code'));
    assert.equal(found?.reference?.fallback, 'none');
    assert.equal(found.reference.name, 'API_KEY');
  });

  it('says where inside the value the secret stands', () => {
    const body = { url: `https://kim:${secret}@x.example/mcp?key=${secret}`, headers: { Authorization: `Bearer ${secret}` } };
    const it = entry(body);
    for (const found of findCredentials(it)) {
      const value = it.values.find((v) => v.path === found.path)?.value ?? '';
      assert.equal(sliceOf(value, found.within), secret);
    }
  });

  it('takes rules from outside', () => {
    const found = findCredentials(entry({ command: 'x', env: { PLAIN: 'anything' } }), {
      looksSecret: (name) => (name === 'PLAIN' ? { rule: 'r', what: 'w', certain: true } : undefined),
    });
    assert.deepEqual(
      found.map((c) => c.look.rule),
      ['r'],
    );
  });

  it('never masks by showing', () => {
    for (const value of ['short', 'with some spaces in between it', secret, token('github')]) {
      const shown = maskSecret(value);
      assert.ok(!shown.includes(value));
      assert.ok(shown.replace(/ \(.*/, '').length <= value.length / 2 + 1, shown);
    }
    assert.equal(looksSecret('PASSWORD', 'changeme'), undefined);
  });
});

describe('places', () => {
  const place = (body: object, client?: ClientId) => {
    const found = entry(body, client);
    return placeOf(
      found,
      findCredentials(found).filter((c) => c.placement),
      context,
    );
  };
  const secret = token('plain', 'place');

  it('leaves no secret in a place', () => {
    for (const body of [
      { url: `https://kim:${secret}@x.example/mcp?a=1&api_key=${secret}&b=2#${secret}` },
      {
        command: 'docker',
        args: ['run', '-e', `A_TOKEN=${secret}`, '--token', secret, `--key=${secret}`, 'img'],
        env: { SECRET_KEY: secret, REGION: '${env:REGION}' },
      },
      { command: 'npx', args: ['-y', 'mcp-remote', `https://x.example/mcp?token=${secret}`, '--header', `Authorization:Bearer ${secret}`] },
    ]) {
      const found = place(body);
      assert.ok('place' in found, JSON.stringify(found));
      assert.ok(!JSON.stringify(found).includes(secret), JSON.stringify(found));
      assert.ok(bindingOf(found.place).length > 0);
    }
    const http = place({ url: `https://kim:${secret}@x.example/mcp?a=1&api_key=${secret}&b=2` });
    assert.ok('place' in http && http.place.kind === 'http');
    assert.equal(http.place.url, 'https://x.example/mcp?a=1&b=2');
  });

  it('resolves what only the client would', () => {
    assert.deepEqual(
      place({
        command: '${userHome}/bin/x',
        args: ['${workspaceFolder}/a', '${workspaceFolderBasename}'],
        cwd: 'sub',
        env: { R: '${env:REGION}' },
      }),
      {
        place: { kind: 'stdio', command: '/home/kim/bin/x', args: ['/w/shop/a', 'shop'], environment: { R: 'eu' } },
        leftOut: ['working folder sub'],
      },
    );
    assert.match(JSON.stringify(place({ command: 'x', args: ['${env:MISSING}'] })), /variable MISSING, which is not set here/);
    assert.match(JSON.stringify(place({ command: 'x', args: ['${command:pick}'] })), /only VS Code can resolve/);
    assert.match(JSON.stringify(place({ url: 'ftp://x.example' })), /obstacle/);
  });

  it('takes plain headers over, and says which get lost', () => {
    const headers = { 'X-Team': 'shop', Host: 'other.example', 'MCP-Session-Id': '1', 'X-Where': '${userHome}/x' };
    const found = place({ url: 'https://x.example', headers });
    assert.ok('place' in found);
    assert.deepEqual(found.place.kind === 'stdio' ? {} : found.place.headers, { 'X-Team': 'shop', 'X-Where': '/home/kim/x' });
    assert.deepEqual(found.leftOut, ['header Host', 'header MCP-Session-Id']);
    const remote = place({ command: 'npx', args: ['mcp-remote', 'https://x.example/mcp', '--header', 'X-Team: shop'] });
    assert.deepEqual('place' in remote && remote.place.kind === 'http' ? remote.place.headers : {}, { 'X-Team': 'shop' });
  });
});

it('fixtures hold no token that a scanner would take for one', () => {
  assert.equal(fill('@@TOKEN:github@@', 'x').secrets.length, 1);
});
