import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RULES } from '../../../src/detection/rules/all.ts';
import { readGitleaks, readGitleaksInSlices } from '../../../src/detection/rules/gitleaks.ts';
import { loadSecretlint } from '../../../src/detection/rules/secretlint.ts';
import { shapeExample } from '../../../src/detection/rules/shape.ts';
import { madeUpGithubToken, randomFrom } from './examples.ts';

const value = shapeExample('{lowernum:32}', randomFrom(31));

/** Rules as they are usually written, in RE2's syntax. */
const FILE = String.raw`
title = "ours"
[extend]
useDefault = true
[allowlist]
stopwords = ["allowed0"]
[[rules]]
id = "acme-key"
description = "a key of Acme"
regex = '''(?i)[\w.-]{0,50}?(?:acme)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|:|=>)[\x60'"\s=]{0,5}([a-z0-9]{32})(?:[\x60'"\s;]|\\[nr]|$)'''
entropy = 3.0
keywords = ["ACME"]
[[rules.allowlists]]
regexes = ["^[0-9]+$"]
[[rules]]
id = "acme-token"
regex = '''\b(acme_[[:alnum:]]{20}(?P<more>[A-Z]*))\z'''
keywords = ["acme_"]
[[rules]]
id = "many"
regex = '''(?:[a-z]+[a-z0-9]*)+'''
keywords = ["many"]
[[rules]]
id = "no-keywords"
regex = '''[a-z]{40}'''
[[rules]]
id = "path"
path = '''\.pem$'''
[[rules]]
id = "script"
regex = '''\p{Greek}{12}'''
keywords = ["x"]
`;

describe('gitleaks rules', () => {
  const { rules, problems, find } = readGitleaks(FILE);
  const ids = (text: string) => find(Buffer.from(text)).map(({ rule }) => rule.id);

  it('are the same when read in slices', async () => {
    const sliced = await readGitleaksInSlices(FILE);
    assert.deepEqual([sliced.rules, sliced.problems], [rules, problems]);
    const text = Buffer.from(`my.ACME_secret = "${value}"\n`);
    assert.deepEqual(
      sliced.find(text).map(({ start, end }) => [start, end]),
      find(text).map(({ start, end }) => [start, end]),
    );
    assert.equal((await readGitleaksInSlices('x = [')).rules.length, 0);
  });

  it('are read and found, also in any case', () => {
    assert.deepEqual(
      rules.map(({ id }) => id),
      ['acme-key', 'acme-token'],
    );
    assert.deepEqual(ids(`my.ACME_secret = "${value}"\n`), ['acme-key']);
    assert.deepEqual(ids(`x ${['acme', shapeExample('{base62:20}', randomFrom(3))].join('_')}`), ['acme-token']);
    const [match] = find(Buffer.from(`é acme: '${value}'`));
    assert.equal(Buffer.from(`é acme: '${value}'`).toString('utf8', match!.start, match!.end), value);
  });

  it('heed entropy and the allow-lists of the file', () => {
    assert.deepEqual(ids(`acme = "${'ab'.repeat(16)}"`), []);
    assert.deepEqual(ids(`acme = "${shapeExample('{digit:32}', randomFrom(3))}"`), []);
    assert.deepEqual(ids(`acme = "allowed0${value.slice(8)}"`), []);
  });

  it('are named where they can not be used', () => {
    for (const id of ['many', 'no-keywords', 'path', 'script', 'extend'])
      assert.ok(
        problems.some((problem) => problem.includes(id)),
        id,
      );
    assert.equal(readGitleaks('][').problems.length, 1);
  });

  it('never throw, whatever the file', () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ maxLength: 5 }), (regex, keyword) => {
        readGitleaks(`[[rules]]\nid = "x"\nregex = ${JSON.stringify(regex)}\nkeywords = [${JSON.stringify(keyword)}]`).find(
          Buffer.from(regex + keyword),
        );
      }),
      { seed: 32, numRuns: 1_000 },
    );
  });
});

describe('secretlint rules', () => {
  it('find what they know, and no comment switches them off', async () => {
    const { rules, find } = await loadSecretlint();
    assert.ok(rules.length >= 13);
    const token = madeUpGithubToken(41);
    const text = Buffer.from(`ü secretlint-disable\n// secretlint-disable-next-line\nconst a = "${token}";`);
    const [match] = find(text);
    assert.equal(text.toString('utf8', match!.start, match!.end), token);
    assert.equal(
      RULES.some(({ id }) => id === match!.rule.id),
      false,
    );
  });
});
