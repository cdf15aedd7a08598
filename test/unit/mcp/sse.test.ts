import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SseSplitter, eventOf, withData, type SseBlock } from '../../../src/mcp/sse.ts';
import { effort } from '../../support/effort.ts';

/** Events of a whole stream, read at once by the letter of the HTML Living Standard, 9.2.6: the oracle. */
function eventsOf(text: string): string[] {
  const events: string[] = [];
  let data: string[] = [];
  const lines = text.split(/\r\n|\r|\n/);
  // What stands behind the last line end is no line.
  for (const line of lines.slice(0, -1)) {
    if (line === '') {
      if (data.length > 0) events.push(data.join('\n'));
      data = [];
    } else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
    else if (line === 'data') data.push('');
  }
  return events;
}

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  const places = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

function split(chunks: readonly Buffer[]): { readonly blocks: SseBlock[]; readonly rest: Buffer } {
  const splitter = new SseSplitter();
  const blocks = chunks.flatMap((chunk) => splitter.push(chunk));
  return { blocks, rest: splitter.rest() };
}

const piece = fc.constantFrom(
  'data',
  ':',
  ' ',
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  'id: 7',
  'event: message',
  '{"a":"ü€😀"}',
  'retry: 10',
  'data: ',
  ': c',
);
const stream = fc.array(piece, { maxLength: 40 }).map((parts) => parts.join(''));
const cuts = fc.array(fc.nat(400), { maxLength: 30 });

describe('SseSplitter', () => {
  it('gives out the same bytes, in order, however the stream is cut', () => {
    fc.assert(
      fc.property(stream, cuts, (text, at) => {
        const bytes = Buffer.from(text, 'utf8');
        const { blocks, rest } = split(cut(bytes, at));
        assert.deepEqual(Buffer.concat([...blocks.map((b) => b.raw), rest]), bytes);
      }),
      { seed: 1, numRuns: 600 },
    );
  });

  it('finds the events that a reader of the whole stream finds', () => {
    fc.assert(
      fc.property(stream, cuts, (text, at) => {
        const { blocks } = split(cut(Buffer.from(text, 'utf8'), at));
        const found = blocks.flatMap((b) => (b.data === undefined ? [] : [b.data.toString('utf8')]));
        assert.deepEqual(found, eventsOf(text));
      }),
      { seed: 2, numRuns: 600 },
    );
  });

  it('keeps a character together that two chunks share', () => {
    const bytes = Buffer.from('data: €\n\n', 'utf8');
    for (let at = 1; at < bytes.length; at++) {
      const { blocks } = split([bytes.subarray(0, at), bytes.subarray(at)]);
      assert.equal(blocks.find((b) => b.data)?.data?.toString('utf8'), '€');
    }
  });

  it('gives out an event with the byte that ends it, and a comment with its line', () => {
    const splitter = new SseSplitter();
    assert.equal(splitter.push(Buffer.from('data: 1\n')).length, 0);
    assert.equal(splitter.push(Buffer.from('\n')).length, 1);
    assert.equal(splitter.push(Buffer.from(': alive\n')).length, 1);
  });

  it('tells empty data (a priming event) from none', () => {
    const { blocks } = split([Buffer.from('id: 1\ndata:\n\nid: 2\n\n')]);
    assert.deepEqual(
      blocks.map((b) => b.data?.toString()),
      ['', undefined],
    );
  });

  it('takes many short lines in linear time, whatever ends them', () => {
    for (const end of ['\n', '\r', '\r\n']) {
      const bytes = Buffer.from(`data: x${end}`.repeat(200_000) + end);
      const taken = effort(() => assert.equal(split([bytes]).blocks[0]?.data?.length, 399_999), 3_000);
      // A quadratic search takes minutes.
      assert.ok(taken < 3_000, `${taken} ms`);
    }
  });

  it('refuses an event above the cap', () => {
    const splitter = new SseSplitter(16);
    assert.throws(() => splitter.push(Buffer.from('data: 0123456789abcdef')), RangeError);
  });

  it('gives nothing for an event that does not end', () => {
    const { blocks, rest } = split([Buffer.from('data: whole\n\ndata: ha')]);
    assert.equal(blocks.length, 1);
    assert.equal(rest.toString(), 'data: ha');
  });
});

describe('withData', () => {
  const lineText = fc.stringMatching(/^[ -~ü€😀]{0,20}$/u);

  it('changes the data and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('id', 'event', 'retry', 'x'), lineText), { maxLength: 4 }),
        fc.array(lineText, { minLength: 1, maxLength: 3 }),
        fc.constantFrom('\n', '\r\n', '\r'),
        lineText,
        (others, data, end, replacement) => {
          const text = [...others.map(([n, v]) => `${n}: ${v}`), ...data.map((d) => `data: ${d}`), '', ''].join(end);
          const block = split([Buffer.from(text, 'utf8')]).blocks[0];
          assert.ok(block);
          const changed = split([withData(block, Buffer.from(replacement, 'utf8'))]).blocks[0];
          assert.ok(changed);
          assert.equal(changed.data?.toString('utf8'), replacement);
          assert.deepEqual(changed.beside, block.beside);
        },
      ),
      { seed: 3, numRuns: 200 },
    );
  });

  it('keeps data of several lines', () => {
    const block = split([Buffer.from('id: 1\ndata: x\n\n')]).blocks[0];
    assert.ok(block);
    assert.equal(withData(block, Buffer.from('a\nb')).toString(), 'id: 1\ndata: a\ndata: b\n\n');
  });

  it('takes other lines in place of those beside the data', () => {
    const block = split([Buffer.from('id: secret\ndata: x\n\n')]).blocks[0];
    assert.ok(block);
    assert.equal(withData(block, Buffer.from('x'), Buffer.from('id: gone\n')).toString(), 'id: gone\ndata: x\n\n');
  });
});

describe('eventOf', () => {
  it('is one event without an id', () => {
    const { blocks } = split([eventOf('{"a":1}')]);
    assert.deepEqual([blocks.length, blocks[0]?.data?.toString(), blocks[0]?.beside?.toString()], [1, '{"a":1}', 'event: message\n']);
  });
});
