import assert from 'node:assert/strict';
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { SseSplitter, withData, type SseBlock } from '../../src/mcp/sse.ts';
import type { FuzzTarget } from './target.ts';

/** An event as a reader of a stream gets it. */
interface Event {
  readonly data: string;
  readonly type: string;
  readonly lastId: string;
}

/** The whole stream at once, by the letter of the HTML Living Standard, 9.2.5 and 9.2.6. */
function eventsOf(bytes: Buffer): { readonly events: Event[]; readonly retry: number | undefined } {
  // UTF-8 decode: takes one mark at the very start away, and never fails.
  const text = new TextDecoder('utf-8').decode(bytes);
  const lines: string[] = [];
  let line = '';
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c !== '\n' && c !== '\r') {
      line += c;
      continue;
    }
    if (c === '\r' && text.charAt(i + 1) === '\n') i++;
    lines.push(line);
    line = '';
  }
  const events: Event[] = [];
  let data = '';
  let type = '';
  let lastId = '';
  let retry: number | undefined;
  for (const l of lines) {
    if (l === '') {
      if (data !== '') events.push({ data: data.slice(0, -1), type, lastId });
      data = '';
      type = '';
      continue;
    }
    const colon = l.indexOf(':');
    if (colon === 0) continue;
    const field = colon < 0 ? l : l.slice(0, colon);
    let value = colon < 0 ? '' : l.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') data += `${value}\n`;
    else if (field === 'event') type = value;
    else if (field === 'id' && !value.includes('\0')) lastId = value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) retry = Number(value);
  }
  return { events, retry };
}

const line = fc.oneof(
  { weight: 10, arbitrary: fc.constant('') },
  { weight: 6, arbitrary: fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => `data: ${text}`) },
  {
    weight: 8,
    arbitrary: fc.constantFrom(
      'data',
      'data:',
      'data: {"jsonrpc":"2.0","id":1,"result":{"t":"ü€😀"}}',
      'data:  two spaces',
      'data:{}',
      ':',
      ': keep-alive',
      'id: 7',
      'id',
      'id: \0',
      'event: message',
      'event:ping',
      'retry: 10',
      'retry: x',
      'unknown: 1',
      'data : x',
      ' data: x',
      'DATA: x',
      'dat',
      '\ufeffdata: marked',
      `data: ${'long '.repeat(500)}`,
    ),
  },
);
const end = fc.oneof(
  { weight: 5, arbitrary: fc.constant('\n') },
  { weight: 2, arbitrary: fc.constantFrom('\r\n', '\r') },
  { weight: 1, arbitrary: fc.constant('') },
);
const noise = fc.constantFrom('\xef\xbb\xbf', '\xff', '\xe2\x82', '\xf0\x9f\x98', '\0', '\x80', '\xe2\x82\xac');
/** Lines with all their ends, and bytes that have no business there. */
const stream = fc
  .array(
    fc.oneof(
      { weight: 20, arbitrary: fc.tuple(line, end).map(([text, by]) => Buffer.from(text + by)) },
      { weight: 1, arbitrary: noise.map((raw) => Buffer.from(raw, 'latin1')) },
    ),
    { maxLength: 14 },
  )
  .map((parts) => Buffer.concat(parts));
const cuts = fc.oneof(fc.constant('each byte' as const), fc.array(fc.nat(4_000), { maxLength: 8 }));

function chunksOf(bytes: Buffer, at: 'each byte' | readonly number[]): Buffer[] {
  if (at === 'each byte') return [...bytes.keys()].map((i) => bytes.subarray(i, i + 1));
  const places = [...new Set(at.map((n) => n % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((to, i) => bytes.subarray(places[i - 1] ?? 0, to));
}

function split(chunks: readonly Buffer[]): { readonly blocks: SseBlock[]; readonly rest: Buffer } {
  const splitter = new SseSplitter();
  // When a block has been looked at, the memory of its chunk is somebody else's again.
  const blocks = chunks.flatMap((chunk) => {
    const lent = Buffer.from(chunk);
    const given = splitter.push(lent).map(({ raw, data, beside }) => ({ raw: Buffer.from(raw), data: data && Buffer.from(data), beside }));
    lent.fill(0x21);
    return given;
  });
  return { blocks, rest: splitter.rest() };
}

/** The events of a real client's parser, fed with everything at once. A CR at the end it takes for the first half of a CRLF until more comes. */
function clientEvents(bytes: Buffer): Pick<Event, 'data'>[] {
  const events: Pick<Event, 'data'>[] = [];
  createParser({ onEvent: ({ data }) => void events.push({ data }) }).feed(`${new TextDecoder('utf-8').decode(bytes)}:\n`);
  return events;
}

/** The fuzz targets of the splitter of event streams. */
export function streamTargets(): FuzzTarget[] {
  return [
    {
      name: 'stream: same bytes, same events however it is cut',
      share: 0.12,
      property: (tally) =>
        fc.property(stream, cuts, (bytes, at) => {
          const splitter = new SseSplitter();
          const blocks = chunksOf(bytes, at).flatMap((chunk) => splitter.push(chunk));
          assert.ok(
            Buffer.concat([...blocks.map(({ raw }) => raw), splitter.rest()]).equals(bytes),
            'the bytes are others, or in another order',
          );
          const { events } = eventsOf(bytes);
          tally.count(events.length === 0 ? 'without events' : 'with events');
          assert.deepEqual(
            blocks.flatMap(({ data }) => (data === undefined ? [] : [data.toString('utf8')])),
            events.map(({ data }) => data),
          );
        }),
    },
    {
      name: 'stream: keeps nothing of a chunk',
      share: 0.02,
      property: (tally) =>
        fc.property(stream, cuts, (bytes, at) => {
          const { blocks, rest } = split(chunksOf(bytes, at));
          tally.count('streams');
          assert.ok(Buffer.concat([...blocks.map(({ raw }) => raw), rest]).equals(bytes), 'a chunk was kept and not copied');
        }),
    },
    {
      name: 'stream: what is changed arrives, all else stays',
      share: 0.03,
      property: (tally) =>
        fc.property(stream, cuts, fc.string({ unit: 'grapheme', maxLength: 12 }), (bytes, at, replacement) => {
          const { blocks } = split(chunksOf(bytes, at));
          const data = replacement.replaceAll(/[\r\n]/g, ' ');
          const before = eventsOf(Buffer.concat(blocks.map(({ raw }) => raw)));
          const after = eventsOf(
            Buffer.concat(blocks.map((block) => (block.data === undefined ? block.raw : withData(block, Buffer.from(data))))),
          );
          tally.count('streams');
          assert.deepEqual(
            after.events,
            before.events.map((event) => ({ ...event, data })),
          );
          assert.equal(after.retry, before.retry);
        }),
    },
    {
      name: 'stream: no more is held than the cap allows',
      share: 0.01,
      property: (tally) =>
        fc.property(stream, cuts, fc.integer({ min: 1, max: 60 }), (bytes, at, cap) => {
          const splitter = new SseSplitter(cap);
          let held = 0;
          for (const chunk of chunksOf(bytes, at)) {
            held += chunk.length;
            try {
              held -= splitter.push(chunk).reduce((sum, { raw }) => sum + raw.length, 0);
            } catch (error) {
              assert.ok(error instanceof RangeError);
              tally.count('above the cap');
              return;
            }
            assert.ok(held <= cap, `${held} bytes are held`);
          }
          tally.count('below the cap');
        }),
    },
    {
      name: 'stream: a real client sees the same events',
      share: 0.02,
      property: (tally) =>
        fc.property(stream, cuts, (bytes, at) => {
          const { blocks } = split(chunksOf(bytes, at));
          tally.count('streams');
          // What the client gets through the tunnel is whole blocks.
          assert.deepEqual(
            blocks.flatMap(({ data }) => (data === undefined ? [] : [{ data: data.toString('utf8') }])),
            clientEvents(Buffer.concat(blocks.map(({ raw }) => raw))),
          );
        }),
    },
  ];
}
