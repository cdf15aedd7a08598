import assert from 'node:assert/strict';
import { compileGlob } from '../../../src/authorization/glob.ts';
import { effort } from '../../support/effort.ts';

describe('compileGlob', () => {
  const table: readonly (readonly [string, string, string | undefined, boolean])[] = [
    ['get_*', 'get_issue', undefined, true],
    ['get_*', 'Get_issue', undefined, false],
    ['get_*', 'forget_issue', undefined, false],
    ['*', '', undefined, true],
    ['a?c', 'abc', undefined, true],
    ['a?c', 'ac', undefined, false],
    ['a.c', 'abc', undefined, false],
    ['feat/*', 'feat/a', '/', true],
    ['feat/*', 'feat/a/b', '/', false],
    ['feat/**', 'feat/a/b', '/', true],
    ['**/x', 'a/b/x', '/', true],
    ['*a*b*', 'xxaxxbxx', undefined, true],
    ['*a*b*', 'xxbxxaxx', undefined, false],
  ];
  for (const [pattern, text, separator, expected] of table)
    it(`${pattern} ${expected ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, () =>
      assert.equal(compileGlob(pattern, separator)(text), expected));

  it('takes no longer than pattern times text', () => {
    const matches = compileGlob('*a'.repeat(100));
    const taken = effort(() => assert.equal(matches('a'.repeat(20_000) + 'b'), false), 2_000);
    assert.ok(taken < 2_000, `${taken} ms`);
  });
});
