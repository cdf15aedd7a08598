import { Gathering } from '../common/gathering.ts';
import { MAX_EVENT_BYTES } from './sse.ts';

/** Media types under which JSON values follow each other, each ended by a line feed. */
export const JSON_LINES_TYPES: ReadonlySet<string> = new Set([
  'application/json-lines',
  'application/jsonlines',
  'application/jsonl',
  'application/x-jsonlines',
  'application/x-jsonl',
  'application/x-ndjson',
  'application/ndjson',
]);

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Splits a stream of JSON values at the line feeds behind them. A value that is written over several lines stays in one piece, so that
 * it is read as the client will read it. Chunks may split anything.
 */
export class JsonLineSplitter {
  readonly #maxBytes: number;
  readonly #pending = new Gathering();
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(maxBytes: number = MAX_EVENT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Takes a chunk and returns the lines that it completes, each with its line feed. Throws RangeError once a value exceeds the cap. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = [];
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i];
      if (c === LF) {
        // JSON has no raw line feed in a string: what is open then is no JSON, and each of its lines stands for itself.
        if (this.#inString || this.#depth <= 0) {
          out.push(this.#take(chunk.subarray(from, i + 1)));
          from = i + 1;
        }
      } else if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === BACKSLASH) this.#escaped = true;
        else if (c === QUOTE) this.#inString = false;
      } else if (c === QUOTE) this.#inString = true;
      else if (c === 0x7b || c === 0x5b) this.#depth++;
      else if (c === 0x7d || c === 0x5d) this.#depth--;
    }
    if (from < chunk.length) {
      this.#pending.add(Buffer.from(chunk.subarray(from)));
      if (this.#pending.bytes > this.#maxBytes) throw new RangeError(`A line is larger than ${this.#maxBytes} bytes.`);
    }
    return out;
  }

  /** What is left when the stream ends: a last line without line feed, or nothing. */
  rest(): Buffer {
    return this.#take(Buffer.alloc(0));
  }

  #take(tail: Buffer): Buffer {
    const line = this.#pending.take(tail);
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    return line;
  }
}
