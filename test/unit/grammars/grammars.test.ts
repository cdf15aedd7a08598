import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRegistryFromGrammars } from 'vscode-tmgrammar-test/dist/common/index.js';
import { parseGrammarTestCase, runGrammarTestCase } from 'vscode-tmgrammar-test/dist/unit/index.js';
import { effort } from '../../support/effort.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '../../..');
const CASES = join(HERE, 'cases');

interface HostGrammar {
  readonly scopeName: string;
  readonly content: string;
  readonly path: string;
}

const OWN = ['culvert-marks', 'culvert-output', 'culvert-audit'].map((name): HostGrammar => {
  const path = join(ROOT, 'syntaxes', `${name}.tmLanguage.json`);
  const content = readFileSync(path, 'utf8');
  return { scopeName: (JSON.parse(content) as { scopeName: string }).scopeName, content, path };
});

/** Where the marks go; package.json contributes the same list as `injectTo`. */
const INJECT_TO = [
  'source.json',
  'source.json.comments',
  'source.toml',
  'source.yaml',
  'source.dotenv',
  'source.env',
  'source.ini',
  'text.log',
  'text.html.markdown',
  'text.culvert.output',
  'source.culvert.audit',
];

/** The least that makes a host: strings as regions, comments, plain scalars. */
function standIn(scopeName: string, comment: string, plain?: string): HostGrammar {
  const patterns = [
    { name: 'comment.line', match: `${comment}.*$` },
    { name: 'string.quoted.double', begin: '"', end: '"', patterns: [{ name: 'constant.character.escape', match: '\\\\.' }] },
    { name: 'string.quoted.single', begin: "'", end: "'" },
    ...(plain === undefined ? [] : [{ name: 'string.unquoted', begin: plain, end: '$' }]),
  ];
  return { scopeName, path: `${scopeName}.json`, content: JSON.stringify({ scopeName, patterns }) };
}

const STAND_INS = [
  standIn('source.json', '//'),
  standIn('source.json.comments', '//'),
  standIn('source.toml', '#'),
  standIn('source.yaml', '#', '(?<=: )(?=\\S)'),
  standIn('source.dotenv', '#', '(?<==)(?=\\S)'),
];

/** VS Code's own grammars, where the tests have fetched a VS Code before; TOML has none there. */
function vscodeGrammars(): HostGrammar[] {
  const folder = join(ROOT, '.vscode-test');
  const server = existsSync(folder)
    ? readdirSync(folder).find((name) => existsSync(join(folder, name, 'extensions/json/syntaxes')))
    : undefined;
  if (server === undefined) return [];
  const own = [
    'json/syntaxes/JSON',
    'json/syntaxes/JSONC',
    'yaml/syntaxes/yaml',
    'yaml/syntaxes/yaml-1.2',
    'yaml/syntaxes/yaml-1.1',
    'yaml/syntaxes/yaml-1.0',
    'yaml/syntaxes/yaml-1.3',
    'yaml/syntaxes/yaml-embedded',
    'dotenv/syntaxes/dotenv',
  ].flatMap((name): HostGrammar[] => {
    const path = join(folder, server, 'extensions', `${name}.tmLanguage.json`);
    if (!existsSync(path)) return [];
    const content = readFileSync(path, 'utf8');
    return [{ scopeName: (JSON.parse(content) as { scopeName: string }).scopeName, content, path }];
  });
  return [...own, ...STAND_INS.filter(({ scopeName }) => !own.some((grammar) => grammar.scopeName === scopeName))];
}

const hosts: readonly (readonly [string, readonly HostGrammar[]])[] = [
  ['stand-ins', STAND_INS],
  ['VS Code’s own grammars', vscodeGrammars()],
];

for (const [what, grammars] of hosts) {
  if (grammars.length === 0) continue;
  describe(`grammars, inside ${what}`, () => {
    const registry = createRegistryFromGrammars(
      [...OWN, ...grammars].map(({ scopeName, content, path }) => ({
        content,
        grammar: { path, scopeName, ...(scopeName === 'culvert.marks.injection' ? { injectTo: INJECT_TO } : {}) },
      })),
    );
    for (const name of readdirSync(CASES).sort())
      it(name.replace('.tmtest', ''), async () => {
        const failures = await runGrammarTestCase(registry, parseGrammarTestCase(readFileSync(join(CASES, name), 'utf8')));
        assert.deepEqual(
          failures.map(({ line, start, end, missing, unexpected, actual }) => ({
            line: line + 1,
            start,
            end,
            missing,
            unexpected,
            actual: actual.join(' '),
          })),
          [],
        );
      });
  });
}

describe('grammars', () => {
  it('name every host in their selector', () => {
    const marks = JSON.parse(OWN[0]?.content ?? '{}') as { injectionSelector: string };
    for (const scope of INJECT_TO) assert.ok(marks.injectionSelector.split(/,\s*/).includes(`L:${scope}`), scope);
  });

  it('match in time that grows with the text, not faster', async () => {
    const registry = createRegistryFromGrammars(
      OWN.map(({ scopeName, content, path }) => ({
        content,
        grammar: { path, scopeName, ...(scopeName === 'culvert.marks.injection' ? { injectTo: INJECT_TO } : {}) },
      })),
    );
    const grammar = await registry.loadGrammar('text.culvert.output');
    assert.ok(grammar);
    for (const text of [
      '⟦culvert: '.repeat(2_000),
      '${culvert:'.repeat(2_000),
      `⟦culvert: ${'a '.repeat(10_000)}`,
      `A${' a'.repeat(10_000)}:`,
    ]) {
      assert.ok(effort(() => grammar.tokenizeLine(text, null), 2_000) < 2_000, text.slice(0, 20));
    }
  });
});
