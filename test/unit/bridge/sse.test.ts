import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SseParser, type Cursor } from '../../../src/bridge/sse.ts';

function read(chunks: readonly Buffer[], maxBytes = 1 << 20): { messages: string[]; cursor: Cursor } {
  const messages: string[] = [];
  const cursor: Cursor = { lastEventId: undefined, retryMs: undefined };
  const parser = new SseParser(cursor, (data) => messages.push(data.toString('utf8')), maxBytes);
  for (const chunk of chunks) parser.push(chunk);
  return { messages, cursor };
}

const text = (value: string): Buffer[] => [Buffer.from(value)];

describe('bridge: event streams', () => {
  it('gives out the data of message events, with or without the optional space', () => {
    assert.deepEqual(read(text('data: {"a":1}\n\ndata:{"b":2}\n\n')).messages, ['{"a":1}', '{"b":2}']);
    assert.deepEqual(read(text('event: message\ndata: x\n\nevent: ping\ndata: y\n\nevent:\ndata: z\n\n')).messages, ['x', 'z']);
  });

  it('joins several data lines with a line feed', () => {
    assert.deepEqual(read(text('data: {\ndata:  "a": 1\ndata: }\n\n')).messages, ['{\n "a": 1\n}']);
  });

  it('takes LF, CRLF and CR as line ends, also where a chunk ends between CR and LF', () => {
    for (const end of ['\n', '\r\n', '\r'])
      assert.deepEqual(read(text(`data: a${end}${end}data: b${end}${end}`)).messages, ['a', 'b'], JSON.stringify(end));
    assert.deepEqual(read([Buffer.from('data: a\r'), Buffer.from('\n\r'), Buffer.from('\ndata: b\r\n\r\n')]).messages, ['a', 'b']);
  });

  it('keeps id and retry, also of events without data, and takes an id back', () => {
    const { messages, cursor } = read(text('id: 7\nretry: 250\ndata:\n\n'));
    assert.deepEqual(messages, []);
    assert.deepEqual(cursor, { lastEventId: '7', retryMs: 250 });
    assert.equal(read(text('id: 7\n\nid\n\n')).cursor.lastEventId, undefined);
    assert.equal(read(text('id: 7\n\nid: a\0b\n\n')).cursor.lastEventId, '7');
    assert.equal(read(text('retry: soon\n\n')).cursor.retryMs, undefined);
    assert.equal(read(text('id: 9\ndata: never ended')).cursor.lastEventId, undefined, 'an event counts once it has ended');
  });

  it('ignores comments, unknown fields and a byte order mark', () => {
    assert.deepEqual(read(text('\ufeffdata: a\n:comment\nfoo: bar\nbaz\n\n: keep-alive\n\ndata: b\n\n')).messages, ['a', 'b']);
  });

  it('refuses an event above the cap; comments do not count', () => {
    assert.throws(() => read(text(`data: ${'x'.repeat(200)}\n\n`), 100), RangeError);
    assert.throws(
      () =>
        read(
          Array.from({ length: 50 }, () => Buffer.from('data: xxxxx\n')),
          100,
        ),
      RangeError,
    );
    const keepAlives = Array.from({ length: 50 }, () => Buffer.from(': keep-alive\n'));
    assert.deepEqual(read([...keepAlives, Buffer.from('data: x\n\n')], 100).messages, ['x']);
  });

  it('reads the same whatever the chunks, down to the byte', () => {
    const line = fc.constantFrom(
      'data: {"é":"日本語 𝄞"}',
      'data: x',
      'data:',
      'data',
      'id: 1',
      'id: zwölf',
      ': c',
      'event: message',
      'event: other',
      'retry: 5',
      '',
    );
    const stream = fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 30 });
    fc.assert(
      fc.property(stream, fc.array(fc.nat(400), { maxLength: 12 }), (lines, cuts) => {
        const bytes = Buffer.from(lines.map(([l, end]) => l + end).join(''));
        const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
        const chunks = [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
        assert.deepEqual(read(chunks), read([bytes]));
        assert.deepEqual(read([...bytes].map((byte) => Buffer.from([byte]))), read([bytes]));
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});
