import { Gathering } from '../common/gathering.ts';

/** Cap for one event of a server-sent event stream, bytes. Larger results exist (images as base64) but not above this. */
export const MAX_EVENT_BYTES = 64 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;
const NEWLINE = Buffer.from('\n');
const MARK = Buffer.from('\ufeff');

/** One event, comment or blank block of a stream, with its bytes as received, the blank line that ends it included. */
export interface SseBlock {
  readonly raw: Buffer;
  /** The `data` lines joined with line feeds; `undefined` if the block has none (a comment, a priming event has empty data). */
  readonly data: Buffer | undefined;
  /** The lines of all other fields, each with a line feed; `undefined` if there are none. */
  readonly beside: Buffer | undefined;
}

/**
 * Splits a stream into blocks (HTML Living Standard, 9.2.6): lines end with LF, CRLF or CR; a blank line ends a block; chunks may
 * split anything. Comment lines that stand alone are given out at once, so that keep-alives keep alive.
 */
export class SseSplitter {
  readonly #pending = new Gathering();
  #first = true;
  /** Bytes of the current line seen so far, across chunks. */
  #lineBytes = 0;
  #blockBytes = 0;
  #commentOnly = true;
  #firstOfLine: number | undefined;
  #lastWasCr = false;
  readonly #maxBytes: number;

  constructor(maxBytes: number = MAX_EVENT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Takes a chunk and returns the blocks that it completes. Throws RangeError once a block exceeds the cap. */
  push(chunk: Buffer): SseBlock[] {
    const out: SseBlock[] = [];
    let from = 0;
    // Where the next line feed and carriage return are; searched natively, so that long lines cost next to nothing.
    let lf = -1;
    let cr = -1;
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i];
      if (c === LF && this.#lastWasCr) {
        // Second half of CRLF. If the CR ended the block, the LF goes out by itself as an empty block: harmless and in order.
        this.#lastWasCr = false;
        if (this.#blockBytes === 0) {
          out.push({ raw: chunk.subarray(i, i + 1), data: undefined, beside: undefined });
          from = i + 1;
        }
        continue;
      }
      this.#lastWasCr = c === CR;
      if (c !== LF && c !== CR) {
        if (this.#lineBytes === 0) this.#firstOfLine = c;
        if (lf < i) lf = positionOf(chunk, LF, i);
        if (cr < i) cr = positionOf(chunk, CR, i);
        const end = Math.min(lf, cr);
        this.#lineBytes += end - i;
        this.#blockBytes += end - i;
        i = end - 1;
        continue;
      }
      const blank = this.#lineBytes === 0;
      if (!blank && this.#firstOfLine !== 0x3a) this.#commentOnly = false;
      this.#blockBytes++;
      this.#lineBytes = 0;
      if (blank || this.#commentOnly) {
        out.push(parseBlock(this.#take(chunk.subarray(from, i + 1)), this.#first));
        this.#first = false;
        from = i + 1;
      }
    }
    if (from < chunk.length) {
      this.#pending.add(Buffer.from(chunk.subarray(from)));
      if (this.#pending.bytes > this.#maxBytes) throw new RangeError(`An event is larger than ${this.#maxBytes} bytes.`);
    }
    return out;
  }

  /** What is left when the stream ends: an unfinished block, or nothing. It is not an event (9.2.6: discarded by readers). */
  rest(): Buffer {
    return this.#take(Buffer.alloc(0));
  }

  #take(tail: Buffer): Buffer {
    const raw = this.#pending.take(tail);
    this.#blockBytes = 0;
    this.#lineBytes = 0;
    this.#commentOnly = true;
    return raw;
  }
}

/** Index of `byte` at or after `from`, or the length of the chunk. */
function positionOf(chunk: Buffer, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from);
  return at < 0 ? chunk.length : at;
}

function parseBlock(raw: Buffer, first: boolean): SseBlock {
  const data: Buffer[] = [];
  const others: Buffer[] = [];
  for (const { name, value, line } of fields(raw, first)) {
    if (name === 'data') data.push(value);
    else others.push(line, NEWLINE);
  }
  const beside = others.length === 0 ? undefined : Buffer.concat(others);
  if (data.length < 2) return { raw, data: data[0], beside };
  return { raw, data: Buffer.concat(data.flatMap((d, i) => (i === 0 ? [d] : [NEWLINE, d]))), beside };
}

interface Field {
  readonly name: string;
  readonly value: Buffer;
  readonly line: Buffer;
}

/** A byte order mark counts as none only at the beginning of the stream; anywhere else it makes a field unknown (9.2.5). */
function* fields(raw: Buffer, first: boolean): Generator<Field> {
  let at = first && startsWithMark(raw) ? MARK.length : 0;
  let lf = -1;
  let cr = -1;
  while (at < raw.length) {
    if (lf < at) lf = positionOf(raw, LF, at);
    if (cr < at) cr = positionOf(raw, CR, at);
    const end = Math.min(lf, cr);
    const line = raw.subarray(at, end);
    at = raw[end] === CR && raw[end + 1] === LF ? end + 2 : end + 1;
    if (line.length === 0) continue;
    const colon = line.indexOf(0x3a);
    if (colon === 0) yield { name: '', value: line.subarray(1), line };
    else if (colon < 0) yield { name: line.toString('utf8'), value: Buffer.alloc(0), line };
    else yield { name: line.toString('utf8', 0, colon), value: line.subarray(line[colon + 1] === 0x20 ? colon + 2 : colon + 1), line };
  }
}

function startsWithMark(bytes: Buffer): boolean {
  return bytes[0] === MARK[0] && bytes[1] === MARK[1] && bytes[2] === MARK[2];
}

/** The same block with other data: the other fields stand first, as they are or as `beside` has them. */
export function withData(block: SseBlock, data: Buffer, beside = block.beside): Buffer {
  const lines = data
    .toString('utf8')
    .split(/\r\n|\n|\r/)
    .map((part) => `data: ${part}\n`);
  // An unknown field that begins with a mark could come to stand at the beginning of the stream, and would be known there.
  const guard = beside && startsWithMark(beside) ? [MARK] : [];
  return Buffer.concat([...guard, ...(beside ? [beside] : []), Buffer.from(lines.join(''), 'utf8'), NEWLINE]);
}

/** A message as an event without id, for what the tunnel itself has to say on a stream. */
export function eventOf(message: string): Buffer {
  return Buffer.from(`event: message\ndata: ${message}\n\n`, 'utf8');
}
