import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { KnownSecrets } from '../../../src/detection/knownSecrets.ts';
import { RULES } from '../../../src/detection/rules/all.ts';
import { PatternMatcher } from '../../../src/detection/rules/matcher.ts';
import { madeUpGithubToken } from './examples.ts';

/** A fixed share of what `npm run detection` looks at, some megabytes. */
const FILES = [
  'typescript/lib/lib.dom.d.ts',
  'typescript/lib/typescript.d.ts',
  'zod/package.json',
  'undici/README.md',
  'mocha/CHANGELOG.md',
  'playwright-core/types/types.d.ts',
  'eslint/README.md',
];

describe('Clean text', () => {
  const modules = path.resolve(import.meta.dirname, '../../../node_modules');
  const texts = [
    ...FILES.map((file) => path.join(modules, file)).filter((file) => fs.existsSync(file)),
    path.join(modules, '../package-lock.json'),
  ].map((file) => fs.readFileSync(file));

  it('holds nothing that would be redacted', () => {
    const known = new KnownSecrets();
    for (let i = 0; i < 200; i++) known.set(`s${i}`, madeUpGithubToken(i));
    const patterns = new PatternMatcher(RULES.filter(({ tier }) => tier !== 'generic'));
    assert.ok(texts.reduce((sum, text) => sum + text.length, 0) > 2_000_000);
    for (const text of texts) {
      assert.deepEqual(
        patterns.find(text).map(({ rule }) => rule.id),
        [],
      );
      assert.deepEqual(known.find(text), []);
    }
  });
});
