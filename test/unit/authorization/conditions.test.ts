import assert from 'node:assert/strict';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import {
  Condition,
  compileCondition,
  compileConditions,
  describeCondition,
  type ConditionTools,
} from '../../../src/authorization/conditions.ts';
import { loadExpressions } from '../../../src/authorization/expressions.ts';
import { effort } from '../../support/effort.ts';

describe('conditions', () => {
  let tools: ConditionTools;
  before(async () => (tools = { expressions: await loadExpressions() }));
  const of = (condition: Condition, args: unknown) => {
    assert.equal(Condition.safeParse(condition).success, true);
    return compileCondition(condition)(CallArguments.fromText(typeof args === 'string' ? args : JSON.stringify(args)), tools);
  };

  const table: readonly (readonly [Condition, unknown, 'yes' | 'no' | 'unclear'])[] = [
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: 'acme' }, 'yes'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: 'other' }, 'no'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: 'ACME' }, 'unclear'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: ' acme\u200b' }, 'unclear'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: ['acme'] }, 'unclear'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, { owner: null }, 'no'],
    [{ test: 'equals', at: '/owner', value: 'acme' }, {}, 'no'],
    [{ test: 'equals', at: '/n', value: 5 }, { n: 5 }, 'yes'],
    [{ test: 'equals', at: '/n', value: 5 }, { n: '5' }, 'unclear'],
    [{ test: 'equals', at: '/n', value: 5 }, '{"n":5.0}', 'unclear'],
    [{ test: 'equals', at: '/n', value: 9007199254740992 }, '{"n":9007199254740993}', 'unclear'],
    [{ test: 'equals', at: '/n', value: 0.1 }, { n: 0.1 }, 'yes'],
    [{ test: 'equals', at: '/b', value: true }, { b: true }, 'yes'],
    [{ test: 'equals', at: '/b', value: true }, { b: 'true' }, 'unclear'],
    [{ test: 'equals', at: '/b', value: null }, { b: null }, 'yes'],
    [{ test: 'one-of', at: '/repo/name', values: ['a', 'b'] }, { repo: { name: 'b' } }, 'yes'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'] }, { labels: ['a', 'b'] }, 'yes'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'] }, { labels: ['a', 'c'] }, 'no'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'], elements: 'any' }, { labels: ['a', 'c'] }, 'yes'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'] }, { labels: [] }, 'yes'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'], elements: 'any' }, { labels: [] }, 'no'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'] }, {}, 'no'],
    [{ test: 'one-of', at: '/labels/*', values: ['a', 'b'] }, { labels: 'c' }, 'unclear'],
    [{ test: 'prefix', at: '/title', prefix: '[bot]' }, { title: '[bot] x' }, 'yes'],
    [{ test: 'prefix', at: '/title', prefix: '[bot]' }, { title: '[BOT] x' }, 'unclear'],
    [{ test: 'prefix', at: '/title', prefix: '[bot]' }, { title: 'x' }, 'no'],
    [{ test: 'glob', at: '/branch', patterns: ['feat/*', 'fix/**'] }, { branch: 'feat/a' }, 'yes'],
    [{ test: 'glob', at: '/branch', patterns: ['feat/*', 'fix/**'] }, { branch: 'feat/a/b' }, 'no'],
    [{ test: 'glob', at: '/branch', patterns: ['feat/*', 'fix/**'] }, { branch: 'fix/a/b' }, 'yes'],
    [{ test: 'glob', at: '/branch', patterns: ['feat/*'] }, { branch: 'FEAT/a' }, 'unclear'],
    [{ test: 'range', at: '/n', min: 1, max: 10 }, { n: 10 }, 'yes'],
    [{ test: 'range', at: '/n', min: 1, max: 10 }, { n: 10.5 }, 'no'],
    [{ test: 'range', at: '/n', min: 1 }, '{"n":1e999}', 'unclear'],
    [{ test: 'range', at: '/n', max: 10 }, '{"n":-0}', 'yes'],
    [{ test: 'range', at: '/n', min: 1, max: 10 }, { n: '5' }, 'unclear'],
    [{ test: 'range', at: '/n', min: 1, max: 10 }, { n: '1,000' }, 'unclear'],
    [{ test: 'range', at: '/n', min: 1, max: 10 }, { n: 'many' }, 'no'],
    [{ test: 'matches', at: '/branch', pattern: '(feat|fix)/[a-z-]+' }, { branch: 'feat/a-b' }, 'yes'],
    [{ test: 'matches', at: '/branch', pattern: '(feat|fix)/[a-z-]+' }, { branch: 'feat/a-b; rm' }, 'no'],
    [{ test: 'matches', at: '/branch', pattern: 'main' }, { branch: 'MAIN' }, 'unclear'],
    [{ test: 'matches', at: '/branch', pattern: '(' }, { branch: 'x' }, 'unclear'],
    [{ test: 'present', at: '/a' }, { a: 0 }, 'yes'],
    [{ test: 'present', at: '/a' }, { a: null }, 'unclear'],
    [{ test: 'present', at: '/a' }, {}, 'no'],
    [{ test: 'absent', at: '/force' }, {}, 'yes'],
    [{ test: 'absent', at: '/force' }, { force: false }, 'no'],
    [{ test: 'absent', at: '/force' }, { Force: true }, 'unclear'],
    [{ test: 'below', at: '/path', folder: '/proj' }, { path: '/proj/a' }, 'yes'],
    [{ test: 'below', at: '/paths/*', folder: '/proj' }, { paths: ['/proj/a', '/etc'] }, 'no'],
    [{ test: 'host', at: '/url', hosts: ['*.example.com'] }, { url: 'https://a.example.com' }, 'yes'],
    [{ test: 'equals', at: '/a', value: 1 }, '{"a":1,"a":2}', 'unclear'],
  ];
  for (const [condition, args, expected] of table)
    it(`${describeCondition(condition)}, ${typeof args === 'string' ? args : JSON.stringify(args)}: ${expected}`, () =>
      assert.equal(of(condition, args), expected));

  it('are unclear where the arguments or the engine are not known', () => {
    assert.equal(compileCondition({ test: 'equals', at: '/a', value: 1 })(undefined, {}), 'unclear');
    assert.equal(compileCondition({ test: 'matches', at: '/a', pattern: 'x' })(CallArguments.fromText('{"a":"x"}'), {}), 'unclear');
  });

  it('must all hold', () => {
    const both = compileConditions([
      { test: 'equals', at: '/a', value: 'x' },
      { test: 'equals', at: '/b', value: 'y' },
    ]);
    const verdict = (text: string) => both(CallArguments.fromText(text), {});
    assert.deepEqual(
      [verdict('{"a":"x","b":"y"}'), verdict('{"a":"X","b":"y"}'), verdict('{"a":"X","b":"z"}'), verdict('{"a":"x"}')],
      ['yes', 'unclear', 'no', 'no'],
    );
  });

  it('say the same arguments by their digest', () => {
    const sha256 = CallArguments.fromText('{"a":1,"b":2}').digest() ?? '';
    assert.equal(of({ test: 'same', sha256 }, '{"b":2,"a":1}'), 'yes');
    assert.equal(of({ test: 'same', sha256 }, '{"b":2,"a":1,"c":0}'), 'no');
  });

  it('take linear time for any expression', () => {
    const taken = effort(() => {
      assert.equal(of({ test: 'matches', at: '/a', pattern: '(a+)+(a|aa)+$' }, { a: `${'a'.repeat(30_000)}b` }), 'no');
    }, 2_000);
    assert.ok(taken < 2_000, `${taken} ms`);
  });

  it('refuse what they do not know', () => {
    for (const bad of [
      { test: 'equals', at: 'a', value: 1 },
      { test: 'equals', at: '/a', value: {} },
      { test: 'range', at: '/a' },
      { test: 'host', at: '/a', hosts: ['a/b'] },
      { test: 'script', at: '/a' },
      { test: 'equals', at: '/a', value: 1, more: 1 },
      { test: 'same', sha256: 'x' },
    ])
      assert.equal(Condition.safeParse(bad).success, false, JSON.stringify(bad));
  });
});
