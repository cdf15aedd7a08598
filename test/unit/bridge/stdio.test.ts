import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { LineSplitter, oneLine, Output } from '../../../src/bridge/stdio.ts';

const lines = (chunks: readonly Buffer[], max = 1_000): (string | undefined)[] => {
  const splitter = new LineSplitter(max);
  return chunks.flatMap((chunk) => splitter.push(chunk)).map((line) => line?.toString('utf8'));
};

describe('bridge: stdio', () => {
  it('cuts lines at LF and CRLF and leaves out empty ones', () => {
    assert.deepEqual(lines([Buffer.from('{"a":1}\n\n{"b":2}\r\n\r\nrest')]), ['{"a":1}', '{"b":2}']);
  });

  it('puts a character together that two chunks share', () => {
    const bytes = Buffer.from('{"a":"𝄞日"}\n');
    for (let cut = 1; cut < bytes.length; cut++) assert.deepEqual(lines([bytes.subarray(0, cut), bytes.subarray(cut)]), ['{"a":"𝄞日"}']);
  });

  it('reports a line that is too long once, and goes on after it', () => {
    assert.deepEqual(lines([Buffer.from('x'.repeat(60)), Buffer.from('x'.repeat(60)), Buffer.from('\nok\n')], 100), [undefined, 'ok']);
    assert.deepEqual(lines([Buffer.from(`${'x'.repeat(100)}\n${'y'.repeat(101)}\n`)], 100), ['x'.repeat(100), undefined]);
  });

  it('is the same whatever the chunks', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 20 })), fc.array(fc.nat(200), { maxLength: 8 }), (parts, cuts) => {
        const bytes = Buffer.from(parts.join('\n'));
        const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
        assert.deepEqual(lines([0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length))), lines([bytes]));
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  it('replaces raw line breaks by spaces and touches nothing else', () => {
    const plain = Buffer.from('{"a":"\\n"}');
    assert.equal(oneLine(plain), plain);
    assert.equal(oneLine(Buffer.from('{\r\n  "a": "\\n é"\n}')).toString(), '{    "a": "\\n é" }');
  });

  it('says when the reader has fallen behind, and when it has caught up', async () => {
    const taken: (() => void)[] = [];
    const stream = new Writable({ highWaterMark: 10, write: (_chunk, _encoding, done) => void taken.push(done) });
    const output = new Output(stream);
    assert.equal(output.behind, false);
    output.write(Buffer.from('x'.repeat(20)));
    assert.equal(output.behind, true);
    const drained = new Promise<void>((resolve) => output.whenDrained(resolve));
    taken.shift()?.();
    await drained;
    assert.equal(output.behind, false);
  });

  it('writes a large message and its newline in order', async () => {
    const parts: Buffer[] = [];
    const stream = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        parts.push(chunk);
        done();
      },
    });
    const output = new Output(stream);
    const big = Buffer.from(`"${'x'.repeat(200_000)}"`);
    output.write(big);
    output.write(Buffer.from('1'));
    await new Promise((resolve) => stream.end(resolve));
    assert.equal(Buffer.concat(parts).toString(), `${big.toString()}\n1\n`);
  });
});
