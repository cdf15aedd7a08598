import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Passage } from '../../../src/tunnel/passage.ts';
import { Streams } from '../../../src/tunnel/streams.ts';

/** A response whose reader a test holds up. */
class Reader extends EventEmitter {
  writableNeedDrain = false;
  destroyed = false;
  writableEnded = false;
  readonly written: string[] = [];

  write(text: Buffer): boolean {
    this.written.push(text.toString());
    return true;
  }

  catchUp(): void {
    this.writableNeedDrain = false;
    this.emit('drain');
  }
}

function listening(streams: Streams): Reader {
  const reader = new Reader();
  const passage = { httpMethod: 'GET', server: { id: 'srv' }, principal: { client: 'agent' }, session: undefined };
  streams.add(passage as unknown as Passage, reader as unknown as ServerResponse);
  return reader;
}

describe('Streams', () => {
  it('are as many for a client as there may be', () => {
    const streams = new Streams(2);
    assert.deepEqual([streams.claim('a'), streams.claim('a'), streams.claim('a'), streams.claim('b')], [true, true, false, true]);
    streams.release('a');
    assert.deepEqual([streams.claim('a'), streams.claim('a')], [true, false]);
  });

  it('tell a reader that is behind once, when it has caught up', () => {
    const streams = new Streams();
    const reader = listening(streams);
    reader.writableNeedDrain = true;
    for (let i = 0; i < 1000; i++) streams.announceTools('srv');
    assert.equal(reader.written.length, 0);
    reader.catchUp();
    assert.equal(reader.written.length, 1);
    reader.catchUp();
    streams.announceTools('srv');
    assert.equal(reader.written.length, 2);
    assert.match(reader.written[0] ?? '', /list_changed/);
  });

  it('tell nobody who is gone', () => {
    const streams = new Streams();
    const reader = listening(streams);
    reader.writableNeedDrain = true;
    streams.announceTools('srv');
    reader.writableEnded = true;
    reader.catchUp();
    streams.announceTools('srv');
    assert.equal(reader.written.length, 0);
  });
});
