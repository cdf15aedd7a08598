import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { Location } from '../../../src/configuration/locate.ts';
import { MAX_ANALYSED_CHARACTERS, analyse, notSecretComment, notSecretHash } from '../../../src/configuration/plaintext.ts';
import { allFixtures, token } from './fixtures.ts';

const location = (
  path: string,
  servers: string[][],
  client: Location['client'] = 'vscode',
  format: Location['format'] = 'json',
): Location => ({
  client,
  scope: 'workspace',
  path,
  format,
  servers,
  editable: true,
});
const mcp = { kind: 'configuration', location: location('/w/.vscode/mcp.json', [['servers']]) } as const;
const settings = { kind: 'configuration', location: location('/w/.vscode/settings.json', [['mcp', 'servers']]) } as const;
const dotenv = { kind: 'dotenv' } as const;

describe('plaintext in open texts', () => {
  const github = token('github');
  const text = `{\n  "servers": {\n    "gh": { "url": "https://x.example/mcp", "headers": { "Authorization": "Bearer ${github}" } }\n  }\n}\n`;

  it('marks exactly the secret, and what holds it prints nothing of it', () => {
    const { secrets, entries } = analyse(text, mcp);
    assert.equal(secrets.length, 1);
    const [found] = secrets;
    assert.ok(found);
    assert.equal(text.slice(found.span.offset, found.span.offset + found.span.length), github);
    assert.equal(found.entry, entries[0]);
    assert.equal(found.hash, notSecretHash(github));
    const shown = JSON.stringify({ ...found, entry: undefined }) + inspect({ ...found, entry: undefined }, { depth: 9 });
    assert.ok(!shown.includes(github));
  });

  it('marks the whole literal where escapes stand in it', () => {
    const escaped = text.replace('Bearer ', 'Bearer\\u0020');
    const [found] = analyse(escaped, mcp).secrets;
    assert.ok(found);
    assert.equal(escaped.slice(found.span.offset, found.span.offset + found.span.length), `"Bearer\\u0020${github}"`);
  });

  it('finds what stands in variables of a .env text, and in settings about agents', () => {
    const password = token('password');
    const env = `# keys\nDB_PASSWORD="${password}"\nPORT=3000\n`;
    const [found] = analyse(env, dotenv).secrets;
    assert.ok(found?.pair);
    assert.equal(env.slice(found.span.offset, found.span.offset + found.span.length), `"${password}"`);
    const other = `{ "claude.apiKey": "${password}", "editor.token": "${password}", "chat.agents": [{ "env": { "API_TOKEN": "${password}" } }] }`;
    assert.deepEqual(
      analyse(other, settings).secrets.map(({ path }) => path),
      [['claude.apiKey'], ['chat.agents', 0, 'env', 'API_TOKEN']],
    );
  });

  it('leaves out what the user said is no secret, by hash or by a comment about exactly this value', () => {
    const hash = notSecretHash(github);
    assert.deepEqual(analyse(text, mcp, new Set([hash])).secrets, []);
    const above = text.replace('    "gh"', `    // ${notSecretComment(hash)}\n    "gh"`);
    assert.deepEqual(analyse(above, mcp).secrets, []);
    assert.equal(analyse(above.replaceAll(github, token('github', 'another')), mcp).secrets.length, 1, 'another value is marked again');
    const far = `// ${notSecretComment(hash)}\n${text}`;
    assert.equal(analyse(far, mcp).secrets.length, 1, 'a comment elsewhere says nothing');
  });

  it('says nothing about references, broken texts and huge ones', () => {
    assert.deepEqual(analyse(text.replace(github, '${culvert:gh-token}'), mcp).secrets, []);
    assert.deepEqual(analyse(text.replace(github, '${input:token}'), mcp).secrets, []);
    const broken = analyse(text.slice(0, 60), mcp);
    assert.deepEqual([broken.secrets, broken.problem?.code], [[], 'syntax']);
    assert.deepEqual(analyse(`${text}${' '.repeat(MAX_ANALYSED_CHARACTERS)}`, mcp).secrets, []);
    assert.deepEqual(analyse(`<<<<<<< a\n${text}>>>>>>> b\n`, mcp).secrets, []);
  });

  it('finds the secrets of every client’s fixtures', () => {
    let found = 0;
    for (const fixture of allFixtures()) {
      const format = fixture.path.endsWith('.toml') ? 'toml' : /\.ya?ml$/.test(fixture.path) ? 'yaml' : 'json';
      if (fixture.path.endsWith('.env')) continue;
      const servers = [['servers'], ['mcpServers'], ['mcp_servers'], ['context_servers'], ['projects', '*', 'mcpServers']];
      const all = analyse(fixture.text, {
        kind: 'configuration',
        location: location(`/h/${fixture.path}`, servers, fixture.client as Location['client'], format),
      });
      assert.equal(all.problem, undefined, fixture.name);
      found += all.secrets.filter(({ value }) => fixture.secrets.some((secret) => value.reveal().includes(secret))).length;
    }
    assert.ok(found > 15, `${found} found`);
  });
});
