import assert from 'node:assert/strict';
import { posix } from 'node:path';
import { isProblem } from '../../../src/configuration/document.ts';
import { applyEdits } from '../../../src/configuration/textEdit.ts';
import {
  compareBindings,
  putWorkspaceServer,
  readWorkspaceFile,
  workspaceServer,
  type KnownBindings,
  type WantedServer,
} from '../../../src/configuration/workspaceFile.ts';
import { token } from './fixtures.ts';

const read = (value: unknown) =>
  readWorkspaceFile(typeof value === 'string' ? value : JSON.stringify(value), '/w/shop', (...parts) => posix.join(...parts));
const servers = (value: unknown): readonly WantedServer[] => {
  const result = read(value);
  assert.ok(!isProblem(result), JSON.stringify(result));
  return result;
};

const github = {
  type: 'http',
  url: 'https://api.example.com/mcp',
  credentials: [{ reference: '${culvert:github-token}', placement: { kind: 'bearer' } }],
};

describe('.vscode/culvert.json', () => {
  it('names servers and references', () => {
    const [one, two] = servers({
      version: 1,
      policy: { anything: true },
      servers: { GitHub: github, tool: { type: 'stdio', command: 'node', args: ['x.js'], folder: 'tools' } },
    });
    assert.deepEqual(one?.credentials, [{ name: 'github-token', placement: { kind: 'bearer' } }]);
    assert.equal(one.binding, 'https://api.example.com');
    assert.equal(two?.place.kind === 'stdio' && two.place.folder, '/w/shop/tools');
  });

  it('holds no value, leads nowhere outside, and starts nothing unseen', () => {
    const secret = token('github');
    for (const [value, words] of [
      [{ servers: { a: { type: 'stdio', command: 'x', environment: { TOKEN: secret } } } }, /“TOKEN” of server “a” looks like a secret/],
      [{ servers: { a: { type: 'stdio', command: 'x', args: ['--token', secret] } } }, /“args” of server/],
      [{ servers: { a: { type: 'http', url: `https://x.example/?key=${token('plain')}` } } }, /“url” of server/],
      [{ servers: { a: { type: 'http', url: `https://kim:${secret}@x.example/` } } }, /“url” of server/],
      [
        { servers: { a: { ...github, credentials: [{ reference: secret, placement: { kind: 'bearer' } }] } } },
        /named as \$\{culvert:name\}/,
      ],
      [{ servers: { a: { ...github, credentials: [{ reference: '${culvert:a b}', placement: { kind: 'bearer' } }] } } }, /named as/],
      [{ servers: { a: { type: 'stdio', command: 'x', folder: '../other' } } }, /inside the workspace/],
      [{ servers: { a: { type: 'stdio', command: 'x', confirmed: 'yes' } } }, /confirmed|Unrecognized/],
      [{ servers: { a: { type: 'http', url: 'file:///etc/passwd' } } }, /./],
      ['{"servers":{"a":{"type":"http","url":"https://a"},"a":{"type":"http","url":"https://b"}}}', /“a” twice/],
      ['{ "servers": ', /line 1/],
    ] as const) {
      const result = read(value);
      assert.ok(isProblem(result), JSON.stringify(value));
      assert.match(result.message, words);
      assert.ok(!result.message.includes(secret));
    }
  });

  const known: KnownBindings = {
    servers: [{ label: 'github', binding: 'https://api.example.com' }],
    credentials: [{ name: 'github-token', bindings: ['https://api.example.com'], placement: { kind: 'bearer' } }],
  };
  const ask = (value: object, have = known) => compareBindings(servers({ servers: value }), have).questions.map((q) => q.kind);

  it('is ready where everything is as the user allowed it', () => {
    const result = compareBindings(servers({ servers: { GitHub: github } }), known);
    assert.deepEqual(result.questions, []);
    assert.equal(result.ready.length, 1);
  });

  it('never takes a known credential to a new origin without asking', () => {
    assert.deepEqual(ask({ GitHub: { ...github, url: 'https://evil.example/mcp' } }), ['moved-server', 'new-destination']);
    assert.deepEqual(ask({ Other: { ...github, url: 'https://evil.example/mcp' } }), ['new-server', 'new-destination']);
    assert.deepEqual(ask({ GitHub: { ...github, url: 'http://api.example.com/mcp' } }), ['moved-server', 'new-destination']);
    assert.deepEqual(ask({ GitHub: { ...github, url: 'https://api.example.com:8443/mcp' } }), ['moved-server', 'new-destination']);
    const stdio = {
      type: 'stdio',
      command: 'curl',
      args: ['https://evil.example'],
      credentials: [{ reference: '${culvert:github-token}', placement: { kind: 'environment', name: 'T' } }],
    };
    assert.deepEqual(ask({ GitHub: stdio }), ['moved-server', 'new-destination']);
  });

  it('asks for what is not filled, and for another placement', () => {
    assert.deepEqual(ask({ GitHub: github }, { ...known, credentials: [] }), ['fill']);
    assert.deepEqual(
      ask({ GitHub: { ...github, credentials: [{ reference: '${culvert:github-token}', placement: { kind: 'query', name: 'k' } }] } }),
      ['new-placement'],
    );
  });

  it('is written without values and keeps the rest of the file', () => {
    const server = workspaceServer(
      { kind: 'stdio', command: 'node', args: ['a'], folder: '/w/shop/tools', confirmed: 'x' },
      [{ name: 'n', placement: { kind: 'bearer' } }],
      '/w/shop',
      (from, to) => posix.relative(from, to),
    );
    const fresh = applyEdits('', putWorkspaceServer('', 'tool', server));
    assert.equal(servers(fresh)[0]?.credentials[0]?.name, 'n');
    const text = '{\n\t// ours\n\t"policy": {}, // keep\n\t"servers": {\n\t\t"a": { "type": "http", "url": "https://x.example" }\n\t}\n}\n';
    const after = applyEdits(text, putWorkspaceServer(text, 'tool', server));
    assert.ok(after.startsWith('{\n\t// ours\n\t"policy": {}, // keep\n'));
    assert.deepEqual(
      servers(after).map((s) => s.label),
      ['a', 'tool'],
    );
  });
});
