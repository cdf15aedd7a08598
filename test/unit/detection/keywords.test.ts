import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RULES } from '../../../src/detection/rules/all.ts';
import { setOf } from '../../../src/detection/rules/byteSets.ts';
import { KeywordScanner, type Keyword } from '../../../src/detection/rules/keywords.ts';
import { keywordPlace, rareByte } from '../../../src/detection/rules/leads.ts';
import { PatternMatcher } from '../../../src/detection/rules/matcher.ts';
import { readRegex } from '../../../src/detection/rules/regex.ts';
import { custom } from '../../../src/detection/rules/rule.ts';
import { shapeExample } from '../../../src/detection/rules/shape.ts';
import { randomFrom } from './examples.ts';

/** Where keywords stand, by the simplest search there is. */
function oracle(keywords: readonly string[], text: Buffer): string[] {
  const small = Buffer.from(text.map((c) => (c >= 0x41 && c <= 0x5a ? c + 32 : c))).toString('latin1');
  const out: string[] = [];
  keywords.forEach((keyword) => {
    for (let at = small.indexOf(keyword); at >= 0; at = small.indexOf(keyword, at + 1)) out.push(`${keyword} ${at}`);
  });
  return out.sort();
}

function scanned(keywords: readonly Keyword[], text: Buffer): string[] {
  const out: string[] = [];
  new KeywordScanner(keywords).scan(text, (keyword, start) => out.push(`${keywords[keyword]!.text} ${start}`));
  return out.sort();
}

describe('KeywordScanner', () => {
  const small = fc.stringMatching(/^[a-z0-9_:$"-]{2,9}$/);

  it('finds every keyword at every place, once, in any case', () => {
    const words = fc.uniqueArray(fc.oneof(small, fc.stringMatching(/^[ab]{2,5}$/)), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(words, fc.infiniteStream(fc.nat(5)), fc.string({ unit: 'binary', maxLength: 6 }), (texts, pick, noise) => {
        const next = () => Number(pick.next().value);
        const pieces = Array.from({ length: 12 }, () => {
          const word = texts[next() % texts.length]!;
          return [word, word.toUpperCase(), noise, word.slice(0, -1), 'a', ''][next()]!;
        });
        const text = Buffer.from(pieces.join(''));
        assert.deepEqual(
          scanned(
            texts.map((t) => ({ text: t, after: [] })),
            text,
          ),
          oracle(texts, text),
        );
      }),
      { seed: 41, numRuns: 600 },
    );
  });

  it('finds those of all rules at the beginning and the end of texts of any length', () => {
    const texts = [...new Set(RULES.flatMap(({ keywords }) => keywords))];
    const keywords = texts.map((text) => ({ text, after: [] }));
    const scanner = new KeywordScanner(keywords);
    for (const text of texts)
      for (const before of ['', 'x', 'xy', 'xyz', '\u00ff'])
        for (const behind of ['', 'z', 'zz', 'zzz', '\0', ' rest']) {
          const all = Buffer.from(before + text.toUpperCase() + behind, 'latin1');
          const found: string[] = [];
          scanner.scan(all, (keyword, start) => found.push(`${texts[keyword]!} ${start}`));
          assert.ok(found.includes(`${text} ${before.length}`), `${text} behind ${before.length} before ${behind}`);
        }
  });

  it('needs no more behind a short keyword than what must stand there', () => {
    const digit = setOf('09');
    const keywords: Keyword[] = [
      { text: 'q~', after: [digit, digit] },
      { text: 'abc', after: [digit] },
      { text: 'yc', after: [digit] },
      { text: 'zz', after: [] },
    ];
    for (const before of ['', '-', '--', '---', '----'])
      assert.deepEqual(scanned(keywords, Buffer.from(`${before}Q~12`)), [`q~ ${before.length}`]);
    for (const before of ['', '-', '--', '---'])
      for (const [text, word] of [
        ['aBc7', 'abc'],
        ['YC0', 'yc'],
        ['zZ', 'zz'],
      ] as const)
        assert.deepEqual(scanned(keywords, Buffer.from(before + text)), [`${word} ${before.length}`]);
  });
});

describe('What is known of an expression', () => {
  const place = (pattern: string, ...keywords: string[]) => keywordPlace(readRegex(pattern), keywords);

  it('tells where keywords stand in it', () => {
    assert.deepEqual(place('abc_[0-9]{4}', 'abc_'), { min: 0, max: 0 });
    assert.deepEqual(place('[0-9a-f]{32}-us[0-9]{1,2}', '-us'), { min: 32, max: 32 });
    assert.deepEqual(place('(?:https?|jdbc:[a-z]{2,9})://x', '://'), { min: 4, max: 14 });
    assert.deepEqual(place('\\b(?<![a-z])x(?:a|b|c)_[0-9]{9}', 'xa_', 'xb_', 'xc_'), { min: 0, max: 0 });
    assert.deepEqual(place('-{5}BEGIN X', '-----begin'), { min: 0, max: 0 });
    assert.deepEqual(place('\\\\?"d"', '"d"'), { min: 0, max: 1 });
    // One of the ways in which a match can go on has no keyword in it.
    assert.equal(place('x(?:a|b|d)_[0-9]{9}', 'xa_', 'xb_', 'xc_'), undefined);
    assert.equal(place('[0-9a-f]{32}', 'context'), undefined);
    assert.equal(place('ab{0,3}c', 'abc'), undefined);
  });

  it('tells what every match holds and text seldom does', () => {
    const rare = (pattern: string, ...keywords: string[]) => rareByte(readRegex(pattern), keywords);
    assert.equal(rare('[a-z]{1,9}://[a-z]{1,9}:[^@]{8,99}@(?=x)', '://'), 0x40);
    assert.equal(rare('a(?:b@|c@)d', 'a'), 0x40);
    for (const pattern of ['a(?:b@|c)d', 'ab@{0,1}c', 'a[@~]b', 'ab(?=@)', 'abc']) assert.equal(rare(pattern, 'a'), undefined, pattern);
    assert.equal(rare('x@y', 'x@'), undefined);
  });

  it('skips no match for it, however far the byte is', () => {
    const rule = custom({
      id: 'x',
      title: 'a',
      docs: '',
      tier: 'exact',
      keywords: ['://'],
      pattern: '(?:ab|abcdef)://([a-z]{4,60})@',
      ok: [],
      ng: [],
    });
    const matcher = new PatternMatcher([rule]);
    const random = randomFrom(8);
    const places = (text: string) => matcher.find(Buffer.from(text)).map(({ start, end }) => text.slice(start, end));
    for (let length = 4; length <= 60; length++) {
      const secret = shapeExample(`{lower:${length}}`, random);
      for (const scheme of ['ab', 'abcdef'])
        for (const [before, behind] of [
          ['', ''],
          ['@ ab://no ', ' ab://none ab://'],
          ['ab://'.repeat(40), 'x'.repeat(500)],
        ] as const) {
          const text = `${before} ${scheme}://${secret}@${behind}`;
          assert.ok(places(text).includes(secret), text);
        }
    }
    assert.deepEqual(places(`ab://${'x'.repeat(61)}@`), []);
    assert.deepEqual(places('ab://secret secret secret'), []);
  });

  it('finds what stands before a keyword, wherever windows end', () => {
    const rule = custom({
      id: 'x',
      title: 'a',
      docs: '',
      tier: 'exact',
      keywords: ['-us'],
      pattern: '[0-9a-f]{32}-us[0-9]',
      ok: [],
      ng: [],
    });
    const matcher = new PatternMatcher([rule]);
    const secret = `${shapeExample('{hex:32}', randomFrom(12))}-us7`;
    for (const before of ['', 'x', '-us', '-us-us ', `${secret} `, 'f'.repeat(70)])
      assert.ok(
        matcher.find(Buffer.from(`${before}${secret}`)).some(({ start }) => start === before.length),
        before,
      );
    assert.deepEqual(matcher.find(Buffer.from('-us1 ff-us2')), []);
  });
});
