import assert from 'node:assert/strict';
import fc from 'fast-check';
import { JsonLineSplitter } from '../../../src/mcp/jsonLines.ts';

function split(chunks: readonly Buffer[]): { readonly lines: string[]; readonly rest: string } {
  const splitter = new JsonLineSplitter();
  const lines = chunks.flatMap((chunk) => splitter.push(chunk).map((line) => line.toString('utf8')));
  return { lines, rest: splitter.rest().toString('utf8') };
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

describe('JsonLineSplitter', () => {
  it('gives each value with the line feed behind it, however the stream is cut and the values are laid out', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.jsonValue({ maxDepth: 3 }), fc.constantFrom(undefined, 1, '\t'), fc.constantFrom('\n', '\r\n', ' \n')), {
          maxLength: 6,
        }),
        fc.array(fc.nat(400), { maxLength: 20 }),
        (values, at) => {
          const lines = values.map(([value, space, end]) => JSON.stringify(value, undefined, space) + end);
          assert.deepEqual(split(cut(Buffer.from(lines.join('')), at)), { lines, rest: '' });
        },
      ),
      { seed: 21, numRuns: 300 },
    );
  });

  it('loses and adds nothing, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('{', '}', '[', ']', '"', '\\', '\n', 'ü', 'a', ' '), { maxLength: 60 }).map((parts) => parts.join('')),
        fc.array(fc.nat(60), { maxLength: 10 }),
        (text, at) => {
          const { lines, rest } = split(cut(Buffer.from(text), at));
          assert.equal(lines.join('') + rest, text);
          assert.deepEqual(split([Buffer.from(text)]), { lines, rest });
        },
      ),
      { seed: 22, numRuns: 500 },
    );
  });

  it('does not keep a line back that is no JSON', () => {
    assert.deepEqual(split([Buffer.from('"open\n{"a":1}\n')]).lines, ['"open\n', '{"a":1}\n']);
    assert.deepEqual(split([Buffer.from(']]\n{"a":1}\n')]).lines, [']]\n', '{"a":1}\n']);
  });

  it('takes a line feed in a string for none where it is escaped', () => {
    assert.deepEqual(split([Buffer.from('{"a":"x\\n\\"{"}\n')]).lines, ['{"a":"x\\n\\"{"}\n']);
  });

  it('refuses a value above the cap', () => {
    const splitter = new JsonLineSplitter(8);
    assert.deepEqual(splitter.push(Buffer.from('[1234567')), []);
    assert.throws(() => splitter.push(Buffer.from('8')), RangeError);
  });
});
