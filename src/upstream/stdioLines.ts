import { Gathering } from '../common/gathering.ts';

/** Longest line of a server that is taken, bytes: a message with everything in it, as base64. */
export const MAX_STDIO_LINE_BYTES = 16 * 1024 * 1024;

const LF = 0x0a;
const CR = 0x0d;

/** Splits what a process writes into lines at LF or CRLF, whatever chunks it comes in. Empty lines are left out. */
export class LineSplitter {
  readonly #pending = new Gathering();
  readonly #maxBytes: number;

  constructor(maxBytes: number = MAX_STDIO_LINE_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Takes a chunk and gives the lines that it completes. Throws RangeError once a line exceeds the cap. */
  push(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(LF, from);
      const size = this.#pending.bytes + (at < 0 ? chunk.length : at) - from;
      if (size > this.#maxBytes) {
        this.#pending.clear();
        throw new RangeError(`A line is longer than ${this.#maxBytes} bytes.`);
      }
      if (at < 0) break;
      const line = this.#take(chunk.subarray(from, at));
      if (line.length > 0) lines.push(line);
      from = at + 1;
    }
    if (from < chunk.length) this.#pending.add(chunk.subarray(from));
    return lines;
  }

  /** What came after the last line feed; it is forgotten. */
  rest(): Buffer {
    return this.#take(Buffer.alloc(0));
  }

  #take(tail: Buffer): Buffer {
    const line = this.#pending.take(tail);
    return line.at(-1) === CR ? line.subarray(0, -1) : line;
  }
}
