import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parse as parseToml } from 'smol-toml';
import { parse as parseYaml } from 'yaml';
import type { Bridge } from '../../../src/configuration/bridge.ts';
import type { ClientId } from '../../../src/configuration/clients.ts';
import { findCredentials } from '../../../src/configuration/credentials.ts';
import {
  MAX_FILE_BYTES,
  encodeText,
  isProblem,
  readDocument,
  type ConfigurationDocument,
  type Format,
} from '../../../src/configuration/document.ts';
import { changeFor, editEntries, leftovers, replaceByReference, replaceText } from '../../../src/configuration/edit.ts';
import { readEntries } from '../../../src/configuration/entry.ts';
import type { Location } from '../../../src/configuration/locate.ts';
import { applyEdits, inverseEdits, positionAt } from '../../../src/configuration/textEdit.ts';
import { valueOf } from '../../../src/configuration/tree.ts';
import { token } from './fixtures.ts';

const bridge: Bridge = { command: '/opt/it’s/code', args: ['/ext/bridge.cjs', '--server', 'srv-1'], env: { ELECTRON_RUN_AS_NODE: '1' } };

const at = (client: ClientId, format: Format, servers: string[][]): Location => ({
  client,
  scope: 'user',
  path: '/h/file',
  format,
  servers,
  editable: true,
});
const JSON_AT = at('cursor', 'json', [['mcpServers']]);
const VSCODE_AT = at('vscode', 'json', [['servers']]);
const TOML_AT = at('codex', 'toml', [['mcp_servers']]);
const YAML_AT = at('continue', 'yaml', [['mcpServers']]);

function read(text: string, format: Format): ConfigurationDocument {
  const document = readDocument(encodeText(text, false), format, 'file');
  assert.ok(!isProblem(document), JSON.stringify(document));
  return document;
}

function changed(text: string, where: Location, names?: readonly string[]): string {
  const document = read(text, where.format);
  const entries = readEntries(document, where).filter((e) => !names || names.includes(e.name));
  const planned = editEntries(
    document,
    entries.map((entry) => changeFor(entry, bridge)),
    'file',
  );
  assert.ok(!isProblem(planned), JSON.stringify(planned));
  const back = applyEdits(planned.text, inverseEdits(document.text, planned.edits));
  assert.equal(back, document.text);
  return planned.text;
}

describe('editing VS Code files', () => {
  for (const [what, before, after, names] of [
    [
      'one of several on lines',
      '{\n  "servers": {\n    "a": {"command":"x"},\n    // about b\n    "b": {"command":"y"}\n  }\n}',
      '{\n  "servers": {\n    // about b\n    "b": {"command":"y"}\n  }\n}',
      ['a'],
    ],
    [
      'the last, with the comma before it',
      '{\n  "servers": {\n    "a": {"command":"x"},\n    "b": {"command":"y"}\n  }\n}',
      '{\n  "servers": {\n    "a": {"command":"x"}\n  }\n}',
      ['b'],
    ],
    [
      'the last with a trailing comma',
      '{"servers":{\n"a":{"command":"x"},\n"b":{"command":"y"},\n}}',
      '{"servers":{\n"a":{"command":"x"},\n}}',
      ['b'],
    ],
    ['all', '{"servers":{"a":{"command":"x"},"b":{"command":"y"}}}', '{"servers":{}}', ['a', 'b']],
    [
      'two neighbours at the end',
      '{"servers":{"a":{"command":"x"}, "b":{"command":"y"}, "c":{"command":"z"}}}',
      '{"servers":{"a":{"command":"x"} }}',
      ['b', 'c'],
    ],
    [
      'one before a comment on its line',
      '{"servers":{\n  "a":{"command":"x"}, // why\n  "b":{"command":"y"}\n}}',
      '{"servers":{\n  // why\n  "b":{"command":"y"}\n}}',
      ['a'],
    ],
    [
      'one with a comment before its comma',
      '{"servers":{"a":{"command":"x"} /* c */, "b":{"command":"y"}}}',
      '{"servers":{/* c */ "b":{"command":"y"}}}',
      ['a'],
    ],
  ] as const)
    it(`takes out ${what}`, () => assert.equal(changed(before, VSCODE_AT, names), after));
});

describe('editing other clients’ files', () => {
  const secret = token('plain', 'edit');

  it('keeps what a client says about a server, and drops an unknown key with a secret in it', () => {
    const text = JSON.stringify(
      { mcpServers: { a: { url: 'https://x.example', autoApprove: ['one'], note: 'plain', weird: { token: secret } } } },
      undefined,
      2,
    );
    const after = JSON.parse(changed(text, JSON_AT)) as { mcpServers: { a: object } };
    assert.deepEqual(Object.keys(after.mcpServers.a), ['command', 'args', 'env', 'autoApprove', 'note']);
  });

  it('writes TOML in all its spellings', () => {
    const cases = [
      `[mcp_servers.a]\nurl = "https://x"\nbearer_token = "${secret}"`,
      `[mcp_servers.a]\ncommand = "x"\n[mcp_servers.a.env]\nT = "${secret}"\n[other]\nb = 1\n`,
      `mcp_servers.a.command = "x"\nmcp_servers.a.env.T = "${secret}"\n`,
      `[mcp_servers.a.env]\nT = "${secret}"\n# end\n`,
      `[mcp_servers]\na = { command = "x", env = { T = "${secret}" } }\n`,
      `[mcp_servers]\na.command = "x" # keep?\na.args = [\n "y",\n]\nb.command = "z"\n`,
      `mcp_servers = { a = { command = "x", enabled = false } }\n`,
      `[mcp_servers."a b"]\ncommand = 'x'\nenabled = false\n\n[mcp_servers."a b".tools.t]\napproval_mode = "prompt"\n`,
    ];
    for (const text of cases) {
      const after = changed(text, TOML_AT, text.includes('b.command') ? ['a'] : undefined);
      const servers = (parseToml(after) as { mcp_servers: Record<string, Record<string, unknown>> }).mcp_servers;
      const server = servers['a'] ?? servers['a b'];
      assert.equal(server?.['command'], bridge.command, after);
      assert.deepEqual(server['args'], bridge.args, after);
      assert.ok(!after.includes(secret), after);
      if (text.includes('enabled')) assert.equal(server['enabled'], false);
      if (text.includes('approval_mode')) assert.equal(JSON.stringify(server['tools']), '{"t":{"approval_mode":"prompt"}}');
      if (text.includes('b.command')) assert.equal(servers['b']?.['command'], 'z');
    }
  });

  it('writes YAML in block and braces, and does not touch what an alias reaches', () => {
    const text = `mcpServers:\n  - name: a # first\n    url: https://x\n    requestOptions:\n      headers: {Authorization: "Bearer ${secret}"}\n    # about b\n  - {name: b, command: y}\nrest: [1, 2] # end\n`;
    const after = changed(text, YAML_AT);
    const value = parseYaml(after) as { mcpServers: Record<string, unknown>[]; rest: unknown };
    assert.deepEqual(
      value.mcpServers,
      ['a', 'b'].map((name) => ({ name, command: bridge.command, args: bridge.args, env: bridge.env })),
    );
    assert.ok(after.includes('# about b') && after.includes('rest: [1, 2] # end'));
    const aliased = read('base: &b {T: x}\nmcpServers:\n  - name: a\n    command: c\n    env: *b\n', 'yaml');
    const [entry] = readEntries(aliased, YAML_AT);
    assert.ok(entry);
    assert.deepEqual(Object.keys(entry.env), []);
    assert.ok(!isProblem(editEntries(aliased, [changeFor(entry, bridge)], 'file')));
  });

  it('finds a sealed value that still stands in a comment', () => {
    const text = `{ "mcpServers": { "a": { "command": "x", "env": { "TOKEN": "${secret}" } } } } // was ${secret}`;
    const after = changed(text, JSON_AT);
    assert.deepEqual(
      leftovers(after, [secret]).map((span) => after.slice(span.offset)),
      [secret],
    );
  });
});

describe('references in the place of values', () => {
  const secret = token('plain', 'reference');
  for (const [what, where, text] of [
    ['JSON', JSON_AT, `{"mcpServers":{"a":{"url":"https://x","headers":{"Authorization":"Bearer ${secret}"}}}} // end`],
    ['JSON with escapes', JSON_AT, `{"mcpServers":{"a":{"url":"https://x","headers":{"Authorization":"Bearer\\u0020${secret}"}}}}`],
    ['TOML', TOML_AT, `[mcp_servers.a]\nurl = 'https://x'\nhttp_headers = { Authorization = 'Bearer ${secret}' }\n`],
    [
      'YAML',
      YAML_AT,
      `mcpServers:\n  - name: a\n    url: https://x\n    requestOptions:\n      headers:\n        Authorization: Bearer ${secret} # mine\n`,
    ],
    [
      'YAML in braces',
      YAML_AT,
      `mcpServers: [{name: a, url: "https://x", requestOptions: {headers: {Authorization: Bearer ${secret}}}}]\n`,
    ],
    [
      'YAML folded',
      YAML_AT,
      `mcpServers:\n  - name: a\n    url: https://x\n    requestOptions:\n      headers:\n        Authorization: >-\n          Bearer\n          ${secret}\n`,
    ],
  ] as const)
    it(`are written in ${what}`, () => {
      const document = read(text, where.format);
      const [entry] = readEntries(document, where);
      const [found] = entry ? findCredentials(entry) : [];
      assert.ok(found);
      const planned = replaceByReference(document, found, 'x-token', 'file');
      assert.ok(!isProblem(planned), JSON.stringify(planned));
      assert.ok(!planned.text.includes(secret));
      const [after] = readEntries(read(planned.text, where.format), where);
      assert.equal(after?.headers['Authorization'], 'Bearer ${culvert:x-token}');
      if (what === 'JSON' || what === 'TOML' || what === 'YAML') assert.equal(planned.text, text.replace(secret, '${culvert:x-token}'));
    });
});

describe('files that are refused', () => {
  const refusal = (bytes: Uint8Array | string, format: Format = 'json') => {
    const result = readDocument(typeof bytes === 'string' ? encodeText(bytes, false) : bytes, format, 'mcp.json');
    return isProblem(result) ? result : undefined;
  };
  for (const [what, bytes, format, code, words] of [
    ['a broken file', '{\n  "a": ,\n}', 'json', 'syntax', /line 2, column 8, a value is expected/],
    ['broken TOML', 'a = 1\nb = \n', 'toml', 'syntax', /line 2, column 4, a value is missing/],
    ['TOML with the same key twice', 'a = 1\na = 2\n', 'toml', 'syntax', /line 2/],
    ['broken YAML', 'a: [1\nb: 2\n', 'yaml', 'syntax', /line \d, column \d/],
    ['several YAML documents', 'a: 1\n---\nb: 2\n', 'yaml', 'syntax', /more than one document/],
    ['an unresolved merge', '{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> other\n}', 'json', 'conflict', /merge conflict at line 2/],
    ['an unresolved merge with CRLF', '{\r\n<<<<<<< HEAD\r\n=======\r\n>>>>>>> other\r\n}', 'json', 'conflict', /line 2/],
    ['deep nesting', '['.repeat(100_000), 'json', 'syntax', /more than 200 levels/],
    ['deep nesting in YAML', '['.repeat(500_000), 'yaml', 'syntax', /more than 200 levels/],
    ['a chain of lists in YAML', '- '.repeat(100_000), 'yaml', 'syntax', /more than 200 levels/],
    ['deep nesting in TOML', `a = ${'['.repeat(50_000)}`, 'toml', 'syntax', /./],
    ['a huge file', new Uint8Array(MAX_FILE_BYTES + 1), 'json', 'too-large', /larger than 5 MB/],
    ['huge YAML', new Uint8Array(1024 * 1024 + 1).fill(0x20), 'yaml', 'too-large', /larger than 1 MB/],
    ['comments that never end', '/* '.repeat(1_000_000), 'json', 'syntax', /comment is not closed/],
    ['UTF-16', Buffer.from('\uFEFF{}', 'utf16le'), 'json', 'encoding', /not UTF-8/],
    ['Latin-1', Buffer.from([0x7b, 0xe4, 0x7d]), 'json', 'encoding', /not UTF-8/],
  ] as const)
    it(`says why for ${what}`, () => {
      const problem = refusal(bytes, format);
      assert.equal(problem?.code, code);
      assert.match(problem.message, words);
    });

  it('reads an empty file as one without servers', () => {
    for (const format of ['json', 'toml', 'yaml'] as const) assert.equal(refusal('', format), undefined);
    assert.equal(refusal('// only a comment\n{}'), undefined);
  });

  it('counts lines and columns for people', () => {
    assert.deepEqual(positionAt('a\r\nb\rc\nd', 7), { line: 4, column: 1 });
    assert.deepEqual(positionAt('', 0), { line: 1, column: 1 });
  });
});

describe('edits of generated configurations', () => {
  const name = fc
    .oneof(fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/), fc.string({ minLength: 1, maxLength: 8 }))
    .filter((n) => n.trim() !== '');
  const text = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('${env:X}', 'C:\\a\\b', '"quoted"', '# no comment', '// x', 'ü€😀', "it's", '{', '- a', ': b'),
  );
  const server = fc.oneof(
    fc.record(
      {
        command: text,
        args: fc.array(text, { maxLength: 3 }),
        env: fc.dictionary(name, text, { maxKeys: 3, noNullPrototype: true }),
        disabled: fc.boolean(),
      },
      { noNullPrototype: true, requiredKeys: ['command'] },
    ),
    fc.record(
      { url: fc.webUrl(), headers: fc.dictionary(name, text, { maxKeys: 2, noNullPrototype: true }), timeout: fc.nat() },
      { noNullPrototype: true, requiredKeys: ['url'] },
    ),
  );
  const servers = fc.dictionary(name, server, { minKeys: 1, maxKeys: 4, noNullPrototype: true });
  const layout = fc.record({ indent: fc.constantFrom('', '  ', '    ', '\t'), eol: fc.constantFrom('\n', '\r\n'), comments: fc.boolean() });
  type Layout = { indent: string; eol: string; comments: boolean };

  /** JSON with comments and trailing commas sprinkled in where lines end. */
  function print(value: unknown, { indent, eol, comments }: Layout): string {
    const lines = JSON.stringify(value, undefined, indent).split('\n');
    const sprinkled =
      comments && indent !== ''
        ? lines.map((line, i) =>
            /["\]}\d]$/.test(line) && i < lines.length - 1 && /^\s*[}\]]/.test(lines[i + 1] ?? '')
              ? `${line}, // ${i}`
              : i % 3 === 0
                ? `${line} /* ${i} */`
                : line,
          )
        : lines;
    return `${comments ? `// head${eol}` : ''}${sprinkled.join(eol)}${eol}`;
  }

  it('change only the picked entries of JSON, and give back the bytes', () => {
    fc.assert(
      fc.property(servers, layout, fc.infiniteStream(fc.boolean()), fc.constantFrom(JSON_AT, VSCODE_AT), (map, form, picks, where) => {
        const container = where.servers[0]?.[0] ?? '';
        const before = print({ first: [1, { two: null }], [container]: map, last: 'x' }, form);
        const document = read(before, 'json');
        const entries = readEntries(document, where);
        const picked = entries.filter(() => picks.next().value === true);
        const planned = editEntries(
          document,
          picked.map((entry) => changeFor(entry, bridge)),
          'file',
        );
        assert.ok(!isProblem(planned), JSON.stringify(planned));
        assert.equal(applyEdits(planned.text, inverseEdits(before, planned.edits)), before);
        const expected = structuredClone(map) as Record<string, unknown>;
        for (const { name: key } of picked) {
          if (where === VSCODE_AT) Reflect.deleteProperty(expected, key);
          else Object.defineProperty(expected, key, { value: undefined, configurable: true, enumerable: true, writable: true });
        }
        const after = structuredClone(valueOf(read(planned.text, 'json').root)) as Record<string, Record<string, unknown>>;
        for (const key of Object.keys(expected)) {
          const now = after[container]?.[key];
          if (picked.some((entry) => entry.name === key)) assert.deepEqual((now as { args: unknown }).args, bridge.args);
          else assert.deepEqual(now, JSON.parse(JSON.stringify(expected[key])));
        }
        assert.deepEqual(Object.keys(after[container] ?? {}).sort(), Object.keys(expected).sort());
        // Outside the entries' own lines nothing moves: every comment is still there, and every edit lies within or beside a picked entry.
        for (const edit of planned.edits)
          assert.ok(
            edit.text !== '' ||
              /^[\s,]*$/.test(before.slice(edit.offset, edit.offset + edit.length)) ||
              picked.some((e) => edit.offset + edit.length > e.span.offset && edit.offset < e.span.offset + e.span.length),
            JSON.stringify(before.slice(edit.offset, edit.offset + edit.length)),
          );
      }),
      { numRuns: 300 },
    );
  });

  it('replace one value of any format and nothing else', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 30 }),
        fc.nat(),
        fc.nat(),
        fc.constantFrom<Format>('json', 'yaml', 'toml'),
        (value, a, b, format) => {
          const literal = JSON.stringify(value).replaceAll('\u007f', '\\u007f');
          fc.pre(value.isWellFormed());
          const source =
            format === 'toml'
              ? `a = 1 # x\nkey = ${literal} # y\n`
              : format === 'yaml'
                ? `a: 1 # x\nkey: ${literal} # y\n`
                : `{ "a": 1, /* x */ "key": ${literal} } // y`;
          const [from, to] = [a % (value.length + 1), b % (value.length + 1)].sort((x, y) => x - y) as [number, number];
          const document = read(source, format);
          const planned = replaceText(document, ['key'], from, to - from, '${culvert:n}', 'file');
          const wanted = `${value.slice(0, from)}\${culvert:n}${value.slice(to)}`;
          fc.pre(wanted.isWellFormed());
          assert.ok(!isProblem(planned), JSON.stringify(planned));
          assert.deepEqual(structuredClone(valueOf(read(planned.text, format).root)), { a: 1, key: wanted });
          if (format === 'toml') assert.equal(parseToml(planned.text)['key'], wanted);
        },
      ),
      { numRuns: 300 },
    );
  });
});
