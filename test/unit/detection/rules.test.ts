import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RULES } from '../../../src/detection/rules/all.ts';
import { loadRules } from '../../../src/detection/rules/load.ts';
import { githubChecksum } from '../../../src/detection/rules/checks.ts';
import { problemOf } from '../../../src/detection/rules/compiledRule.ts';
import { PatternMatcher } from '../../../src/detection/rules/matcher.ts';
import type { Rule } from '../../../src/detection/rules/rule.ts';
import { shapeExample } from '../../../src/detection/rules/shape.ts';
import { examplesFor, randomFrom } from './examples.ts';
import { effort } from '../../support/effort.ts';

const all = new PatternMatcher(RULES);
/** Attack strings are this long. */
const ATTACK_BYTES = 65_536;
/** The most that one may take. The target is 50 ms on a machine that does nothing else; CI shares its processors. */
const ATTACK_MS = Number(process.env['CULVERT_ATTACK_MS'] ?? 400);

function found(matcher: PatternMatcher, text: string, id: string): boolean {
  return matcher.find(Buffer.from(text, 'latin1')).some(({ rule }) => rule.id === id);
}

describe('Pattern rules', () => {
  it('are at least 150, each with an id of its own, a title, a link and examples', () => {
    assert.ok(RULES.length >= 150, String(RULES.length));
    assert.equal(new Set(RULES.map(({ id }) => id)).size, RULES.length);
    for (const rule of RULES) {
      assert.match(rule.id, /^[a-z0-9]+(-[a-z0-9]+)*$/);
      assert.match(rule.docs, /^https:\/\//);
      assert.match(rule.title, /^(?:an?|the|user|registry) /);
      assert.ok(examplesFor(rule).ok.length > 0 && rule.ng.length > 0, rule.id);
    }
  });

  it('are the same a file at a time, and in slices find the same', async () => {
    const loaded = await loadRules();
    assert.deepEqual(
      loaded.map(({ id }) => id),
      RULES.map(({ id }) => id),
    );
    const sliced = await PatternMatcher.inSlices(loaded);
    for (const rule of RULES) {
      const text = Buffer.from(examplesFor(rule).ok.join(' '), 'latin1');
      const show = (matcher: PatternMatcher) => matcher.find(text).map((m) => [m.rule.id, m.start, m.end, m.verified]);
      assert.deepEqual(show(sliced), show(all), rule.id);
    }
  });

  it('are bounded: no repetition without an end, none within another', () => {
    for (const rule of RULES) assert.equal(problemOf(rule), undefined, rule.id);
    const broken = (pattern: string): Rule => ({ ...RULES[0]!, pattern });
    for (const pattern of [
      'ghp_a+',
      'ghp_[a-z]*',
      'ghp_(?:a{1,9}b{0,9}){1,9}',
      'ghp_(?:a{0,3}){2,9}',
      'ghp_a{2,}',
      'ghp_(',
      'ghp_\\1',
      'abc',
      `ghp_${'a{9000}'.repeat(3)}`,
    ])
      assert.notEqual(problemOf(broken(pattern)), undefined, pattern);
  });

  for (const rule of RULES)
    it(`${rule.id}: finds what it should, alone and among all, and nothing else`, () => {
      const alone = new PatternMatcher([rule]);
      const { ok, ng } = examplesFor(rule);
      for (const text of ok) {
        assert.ok(found(alone, text, rule.id), `not found: ${text}`);
        assert.ok(all.find(Buffer.from(text, 'latin1')).length > 0, `not found among all: ${text}`);
      }
      for (const text of ng) assert.ok(!found(alone, text, rule.id), `found: ${text}`);
    });

  it('gives the place of the secret alone', () => {
    const secret = shapeExample('{base62:30}', randomFrom(5));
    const text = `{"a":1,"Authorization":"Bearer ${secret}","é":2}`;
    const bytes = Buffer.from(text);
    const [match] = all.find(bytes);
    assert.equal(bytes.toString('utf8', match!.start, match!.end), secret);
  });

  it('finds a token behind a literal \\n, an escape or a quote, and none within a word', () => {
    const value = ['gh', 'p_'].join('') + shapeExample('{base62:36}', randomFrom(6));
    for (const before of ['\\n', '\\t', '%3D', '\\u003d', '"', '=', '\u001b[32m', 'é', '-', '_'])
      assert.equal(all.find(Buffer.from(`x${before}${value}`)).length, 1, before);
    assert.equal(all.find(Buffer.from(`xyz${value}`)).length, 0);
  });

  it('says where a checksum holds', () => {
    const body = shapeExample('{base62:30}', randomFrom(7));
    const good = ['gh', 'p_', body, githubChecksum(body)].join('');
    const bad = ['gh', 'p_', body, body.slice(0, 6)].join('');
    assert.deepEqual(
      [good, bad].map((text) => all.find(Buffer.from(text))[0]?.verified),
      [true, false],
    );
  });

  it('finds the same wherever it stands in a text', () => {
    const examples = RULES.filter(({ tier }) => tier === 'exact').flatMap((rule) => examplesFor(rule).ok.slice(0, 1));
    fc.assert(
      fc.property(fc.constantFrom(...examples), fc.lorem({ maxCount: 30 }), fc.lorem({ maxCount: 5 }), (example, before, after) => {
        const alone = all.find(Buffer.from(` ${example} `, 'latin1'));
        const within = all.find(Buffer.from(`${before} ${example} ${after}`, 'latin1'));
        assert.deepEqual(
          within.map(({ rule, start }) => [rule.id, start - before.length]),
          alone.map(({ rule, start }) => [rule.id, start]),
        );
      }),
      { seed: 21, numRuns: 400 },
    );
  });

  it('never throws, and gives places in order and apart, whatever the bytes', () => {
    const words = RULES.flatMap(({ keywords }) => keywords);
    const piece = fc.oneof(
      fc.constantFrom(...words),
      fc.base64String({ maxLength: 60 }),
      fc.string({ unit: 'binary', maxLength: 10 }),
      fc.constantFrom('=', ': "', '\\n', '{', '.', '-----'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const text = Buffer.from(pieces.join(''));
        let last = 0;
        for (const { start, end } of all.find(text)) {
          assert.ok(start >= last && end > start && end <= text.length);
          last = end;
        }
      }),
      { seed: 22, numRuns: 1_500 },
    );
  });

  it('stays linear under floods of keywords and of what almost matches', () => {
    const slow: string[] = [];
    const time = (matcher: PatternMatcher, text: Buffer, what: string) => {
      const ms = effort(() => matcher.find(text), ATTACK_MS);
      if (ms > ATTACK_MS) slow.push(`${what}: ${ms.toFixed(0)} ms`);
    };
    for (const rule of RULES) {
      const matcher = new PatternMatcher([rule]);
      for (const text of attacksOn(rule)) time(matcher, text, `${rule.id} ${text.toString('latin1', 0, 40)}`);
    }
    for (const rule of RULES.slice(0, 400)) time(all, attacksOn(rule)[0]!, `all, ${rule.id}`);
    assert.deepEqual(slow, []);
  }).timeout(360_000);
});

/** Texts of {@link ATTACK_BYTES} that make an expression work: keywords, beginnings of matches, and what they may go on with, again and again. */
function attacksOn(rule: Rule): readonly Buffer[] {
  const example = examplesFor(rule).ok[0]!;
  const keyword = rule.keywords[0]!;
  const fill = (unit: string) => Buffer.from(unit.repeat(Math.ceil(ATTACK_BYTES / unit.length)).slice(0, ATTACK_BYTES), 'latin1');
  return [
    fill(keyword),
    fill(`${keyword} `),
    fill(`${keyword}=`),
    fill(`${keyword}${'a1B'.repeat(1_500)}`),
    fill(`${keyword}: "${'aB3'.repeat(60)}`),
    fill(example.slice(0, -1)),
    fill(`${example.slice(0, Math.ceil(example.length / 2))}\u0000`),
    fill(`${example.slice(0, -1)}${'a'.repeat(500)}`),
  ];
}
