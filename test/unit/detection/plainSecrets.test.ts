import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PlainSecrets, type PlainForm } from '../../../src/detection/plainSecrets.ts';
import { madeUpSecret } from '../../support/secrets.ts';

const secretText = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_-]{8,40}$/),
  fc.string({ unit: 'grapheme', minLength: 8, maxLength: 24 }).filter((s) => s.isWellFormed()),
  fc.constantFrom('pa"ss\\wo"rd-9', 'größe-geheim-€', 'a b&c=d/e+f%g', 'line\nfeed-secret'),
);
const context = fc.uint8Array({ maxLength: 12 });

function knowing(...values: string[]): PlainSecrets {
  const known = new PlainSecrets();
  values.forEach((value, i) => known.set(`s${i}`, value));
  return known;
}

/** What is left of `text` when every match is cut out. */
function without(text: Buffer, known: PlainSecrets): string {
  let out = '';
  let at = 0;
  for (const { start, end } of known.find(text)) {
    out += text.toString('latin1', at, start);
    at = end;
  }
  return out + text.toString('latin1', at);
}

describe('PlainSecrets', () => {
  it('finds the value as it is, anywhere', () => {
    fc.assert(
      fc.property(secretText, context, context, (value, before, after) => {
        const text = Buffer.concat([Buffer.from(before), Buffer.from(value, 'utf8'), Buffer.from(after)]);
        const [match] = knowing(value).find(text);
        assert.ok(match && match.start <= before.length && match.end >= before.length + Buffer.byteLength(value));
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  for (const alphabet of ['base64', 'base64url'] as const)
    it(`finds the value in ${alphabet}, whatever stands before and behind it, and leaves nothing to decode`, () => {
      fc.assert(
        fc.property(fc.oneof(secretText, fc.constant(madeUpSecret())), context, context, (value, before, after) => {
          const bytes = Buffer.from(value, 'utf8');
          const text = Buffer.from(Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)]).toString(alphabet), 'latin1');
          const known = knowing(value);
          const matches = known.find(text).filter((m) => m.form === 'base64');
          assert.equal(matches.length > 0, true);
          // Whatever is left beside the match holds less than two bits of the secret's ends: no byte of it.
          const left = without(text, known);
          for (const cutOff of [left, left.slice(1), left.slice(2), left.slice(3)])
            assert.ok(!Buffer.from(cutOff, 'base64').includes(bytes.subarray(0, Math.max(4, bytes.length - 1))));
        }),
        { seed: 2, numRuns: 300 },
      );
    });

  it('finds hex in either and in mixed case', () => {
    fc.assert(
      fc.property(secretText, fc.infiniteStream(fc.boolean()), (value, upper) => {
        const hex = Array.from(Buffer.from(value, 'utf8').toString('hex'), (c) => (upper.next().value === true ? c.toUpperCase() : c)).join(
          '',
        );
        assert.equal(knowing(value).find(Buffer.from(`x${hex}y`))[0]?.form, 'hex' satisfies PlainForm);
      }),
      { seed: 3, numRuns: 100 },
    );
  });

  it('finds what URLs and forms make of it', () => {
    fc.assert(
      fc.property(secretText, (value) => {
        const known = knowing(value);
        const form = new URLSearchParams({ v: value }).toString().slice(2);
        const strict = encodeURIComponent(value).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
        const spellings = [
          encodeURIComponent(value),
          strict,
          form.replaceAll('+', '%20'),
          Array.from(Buffer.from(value), (b) => `%${b.toString(16).padStart(2, '0').toUpperCase()}`).join(''),
        ];
        for (const text of spellings) assert.ok(known.find(Buffer.from(`?a=${text}&b=1`)).length > 0, text);
      }),
      { seed: 4, numRuns: 150 },
    );
  });

  it('finds a query parameter with spaces as forms write it', () => {
    const known = knowing('secret with spaces');
    assert.equal(known.find(Buffer.from(new URLSearchParams({ v: 'secret with spaces' }).toString())).length, 1);
  });

  it('finds what is escaped as JSON in text, also all in ASCII', () => {
    for (const value of ['pa"ss\\wo"rd-9', 'größe-geheim-€', 'ab/cd/ef/gh"ij', '😀-geheim-ß'])
      for (const spelled of [
        JSON.stringify(value),
        JSON.stringify(value).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
        JSON.stringify(value).replaceAll('/', '\\/'),
      ])
        assert.equal(knowing(value).find(Buffer.from(spelled, 'utf8')).length, 1, spelled);
  });

  it('finds nothing in text that holds none', () => {
    const known = knowing(madeUpSecret(), 'pa"ss\\wo"rd-9');
    const text = Buffer.from(
      JSON.stringify({
        a: 'An honest sentence about tokens, passwords and base64 like SGVsbG8gd29ybGQ=.'.repeat(50),
        b: 'deadbeef'.repeat(40),
      }),
    );
    assert.deepEqual(known.find(text), []);
  });

  it('merges what overlaps and gives places in order', () => {
    const known = knowing('abcdefgh', 'efghijkl');
    const matches = known.find(Buffer.from('..abcdefghijkl..efghijkl'));
    assert.deepEqual(
      matches.map((m) => [m.start, m.end]),
      [
        [2, 14],
        [16, 24],
      ],
    );
  });

  it('looks only for what it is told to, and no more for what was taken out', () => {
    const known = knowing('abcdefgh', 'ijklmnop');
    const text = Buffer.from('abcdefgh ijklmnop');
    assert.deepEqual(
      known.find(text, (id) => id === 's1').map((m) => m.id),
      ['s1'],
    );
    known.delete('s1');
    assert.deepEqual([known.find(text).length, known.size, known.has('s1'), known.has('s0')], [1, 1, false, true]);
  });
});
