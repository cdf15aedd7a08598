import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JsonFault, JsonReader, applyEdits, MAX_DEPTH } from '../../../src/mcp/json.ts';

/** Reads a whole JSON text strictly. */
function read(text: string | Buffer, duplicates: 'refuse' | 'allow' = 'refuse'): void {
  const bytes = Buffer.from(text);
  const reader = new JsonReader(bytes, { duplicates });
  const end = reader.skipSpace(reader.skipValue(reader.skipSpace(0), 0));
  if (end !== bytes.length) throw new JsonFault('syntax', end, 'trailing');
}

function accepts(text: string): boolean {
  try {
    read(text, 'allow');
    return true;
  } catch (error) {
    assert.ok(error instanceof JsonFault);
    return false;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('JsonReader', () => {
  it('accepts what JSON.stringify writes, with any white space', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        read(JSON.stringify(value, undefined, space), 'allow');
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('agrees with JSON.parse on text that is nearly JSON', () => {
    const token = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\u00e4"',
      '"\\x"',
      '1',
      '-0',
      '01',
      '1.',
      '.5',
      '1e',
      '1e+2',
      'true',
      'nul',
      'null',
      ' ',
      '"\t"',
    );
    fc.assert(
      fc.property(fc.array(token, { minLength: 1, maxLength: 8 }), (tokens) => {
        const text = tokens.join('');
        assert.equal(accepts(text), parses(text), text);
      }),
      { seed: 2, numRuns: 3000 },
    );
  });

  for (const [what, text] of Object.entries({
    'a repeated key': '{"a":1,"a":2}',
    'a repeated key deep inside': '{"x":[{"y":{"a":1,"b":2,"a":3}}]}',
    'a key repeated in escapes': '{"a":1,"\\u0061":2}',
    'a key repeated among many': `{${Array.from({ length: 40 }, (_, i) => `"k${i}":1`).join(',')},"k3":1}`,
  }))
    it(`refuses ${what}`, () => {
      assert.throws(
        () => read(text),
        (e: unknown) => e instanceof JsonFault && e.kind === 'duplicate',
      );
      read(text, 'allow');
    });

  it('refuses to go deeper than its limit, and goes as deep as that', () => {
    const nested = (n: number) => '['.repeat(n) + ']'.repeat(n);
    read(nested(MAX_DEPTH));
    assert.throws(
      () => read(nested(MAX_DEPTH + 1)),
      (e: unknown) => e instanceof JsonFault && e.kind === 'depth',
    );
    assert.throws(
      () => read('{"a":'.repeat(MAX_DEPTH + 1)),
      (e: unknown) => e instanceof JsonFault && e.kind === 'depth',
    );
  });

  it('survives any bytes with a fault at worst', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof JsonFault);
        }
      }),
      { seed: 3, numRuns: 1000 },
    );
  });
});

describe('applyEdits', () => {
  it('changes the spans and leaves every other byte', () => {
    const bytes = Buffer.from('{"n":12345678901234567890 , "s":"x"}');
    const out = applyEdits(bytes, [
      { span: { start: 32, end: 35 }, replacement: '"€"' },
      { span: { start: 1, end: 4 }, replacement: '"m"' },
    ]);
    assert.equal(out.toString(), '{"m":12345678901234567890 , "s":"€"}');
  });

  it('gives the same buffer back where nothing changes, and refuses overlapping edits', () => {
    const bytes = Buffer.from('abc');
    assert.equal(applyEdits(bytes, []), bytes);
    const span = { start: 0, end: 2 };
    assert.throws(
      () =>
        applyEdits(bytes, [
          { span, replacement: '' },
          { span, replacement: '' },
        ]),
      RangeError,
    );
  });
});
