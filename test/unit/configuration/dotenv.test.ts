import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isProblem } from '../../../src/configuration/document.ts';
import {
  findDotenvSecrets,
  isDotenvName,
  parseDotenv,
  referDotenv,
  removeDotenv,
  replaceDotenvValue,
} from '../../../src/configuration/dotenv.ts';
import { applyEdits, sliceOf } from '../../../src/configuration/textEdit.ts';
import { token } from './fixtures.ts';

const secret = token('plain', 'dotenv');
const TEXT = `# keys
export A_TOKEN="${secret}" # mine
B_KEY='${secret}b'
C=plain # note
  D_SECRET = ${secret}d
E: yaml-like
MULTI="one
two"
EMPTY=
GITHUB=\${GITHUB_TOKEN}
no assignment
`;

describe('.env files', () => {
  it('are read as dotenv reads them, with places', () => {
    const pairs = parseDotenv(TEXT);
    assert.deepEqual(
      pairs.map(({ name, value, quote, exported }) => [name, value, quote, exported]),
      [
        ['A_TOKEN', secret, '"', true],
        ['B_KEY', `${secret}b`, "'", false],
        ['C', 'plain', '', false],
        ['D_SECRET', `${secret}d`, '', false],
        ['E', 'yaml-like', '', false],
        ['MULTI', 'one\ntwo', '"', false],
        ['EMPTY', '', '', false],
        ['GITHUB', '${GITHUB_TOKEN}', '', false],
      ],
    );
    for (const pair of pairs) {
      assert.equal(sliceOf(TEXT, pair.nameSpan), pair.name);
      assert.ok(sliceOf(TEXT, pair.valueSpan).includes(pair.value));
    }
    assert.equal(sliceOf(TEXT, pairs[0]!.span), `export A_TOKEN="${secret}"`);
  });

  it('show which variables are secrets', () => {
    assert.deepEqual(
      findDotenvSecrets(TEXT).map(({ pair, placement }) => [pair.name, placement.kind]),
      [
        ['A_TOKEN', 'environment'],
        ['B_KEY', 'environment'],
        ['D_SECRET', 'environment'],
      ],
    );
  });

  it('are edited at the value only', () => {
    for (const name of ['A_TOKEN', 'B_KEY', 'C', 'D_SECRET', 'EMPTY', 'MULTI']) {
      const pair = parseDotenv(TEXT).find((p) => p.name === name)!;
      const edit = referDotenv(TEXT, pair, 'x', '.env');
      assert.ok(!isProblem(edit));
      const after = applyEdits(TEXT, [edit]);
      assert.equal(parseDotenv(after).find((p) => p.name === name)?.value, '${culvert:x}');
      assert.equal(after.length, TEXT.length - edit.length + edit.text.length);
    }
    const removed = removeDotenv(
      TEXT,
      parseDotenv(TEXT).filter((p) => ['A_TOKEN', 'MULTI'].includes(p.name)),
      '.env',
    );
    assert.ok(!isProblem(removed));
    assert.equal(applyEdits(TEXT, removed), TEXT.replace(/export.*\n/, '').replace(/MULTI="one\ntwo"\n/, ''));
  });

  it('with a merge conflict are left alone', () => {
    const text = `<<<<<<< a\nA_TOKEN=${secret}\n=======\nA_TOKEN=b\n>>>>>>> b\n`;
    const [pair] = parseDotenv(text);
    const result = referDotenv(text, pair!, 'x', '.env');
    assert.ok(isProblem(result) && result.code === 'conflict');
  });

  it('take any value that they can hold, or say that they can’t', () => {
    const source = 'A=1\nKEY="old" # c\r\nB=2\n';
    const pair = parseDotenv(source)[1]!;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (value) => {
        const edit = replaceDotenvValue(source, pair, value, '.env');
        if (isProblem(edit)) return;
        const after = parseDotenv(applyEdits(source, [edit]));
        assert.deepEqual(
          after.map((p) => [p.name, p.value]),
          [
            ['A', '1'],
            ['KEY', value],
            ['B', '2'],
          ],
        );
      }),
    );
  });

  it('are told from samples by their names', () => {
    for (const name of ['.env', '.env.local', '.env.production', 'prod.env']) assert.ok(isDotenvName(name), name);
    for (const name of ['.env.example', '.env.sample', '.environment', 'env', '.env.template']) assert.ok(!isDotenvName(name), name);
  });
});
