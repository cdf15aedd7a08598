import type { Writable } from 'node:stream';

const LF = 0x0a;
const CR = 0x0d;
const NEWLINE = Buffer.from('\n');
const SPACE = 0x20;
/** Below this a message and its newline are copied into one write, bytes. */
const COPY_BYTES = 64 * 1024;

/** Cuts a byte stream into lines. A line longer than the cap is skipped and reported once, as `undefined`. */
export class LineSplitter {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Lines that `chunk` completes, without their LF or CRLF; empty ones left out. */
  push(chunk: Buffer): (Buffer | undefined)[] {
    const lines: (Buffer | undefined)[] = [];
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      this.#add(chunk.subarray(from, at));
      from = at + 1;
      if (this.#bytes > this.#maxBytes) lines.push(undefined);
      else {
        const [only] = this.#parts;
        const line = this.#parts.length === 1 && only ? only : Buffer.concat(this.#parts, this.#bytes);
        const end = line[line.length - 1] === CR ? line.length - 1 : line.length;
        if (end > 0) lines.push(line.subarray(0, end));
      }
      this.#parts = [];
      this.#bytes = 0;
    }
    this.#add(chunk.subarray(from));
    return lines;
  }

  #add(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) this.#parts = [];
    else if (part.length > 0) this.#parts.push(part);
  }
}

/** Writes messages to stdout, one a line, and says when the reader has fallen behind. */
export class Output {
  readonly #stream: Writable;
  #waiting: (() => void)[] = [];

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('drain', () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const resume of waiting) resume();
    });
  }

  /** Writes one message whole. Look at {@link behind} before reading more from where it came. */
  write(message: Buffer): void {
    const line = oneLine(message);
    if (line.length < COPY_BYTES) {
      this.#stream.write(Buffer.concat([line, NEWLINE]));
      return;
    }
    this.#stream.cork();
    this.#stream.write(line);
    this.#stream.write(NEWLINE);
    this.#stream.uncork();
  }

  /** True while the reader has fallen behind. */
  get behind(): boolean {
    return this.#stream.writableNeedDrain;
  }

  /** Calls `resume` once, when everything written so far has been taken. */
  whenDrained(resume: () => void): void {
    if (this.behind) this.#waiting.push(resume);
    else resume();
  }
}

/**
 * The message without raw line breaks, which stdio frames with. Between the tokens of a JSON text they are mere white space, and inside
 * a string they can't be (RFC 8259, 7), so a space means the same. Returns the same buffer if there is nothing to change.
 */
export function oneLine(message: Buffer): Buffer {
  if (!message.includes(LF) && !message.includes(CR)) return message;
  const line = Buffer.from(message);
  for (let i = 0; i < line.length; i++) if (line[i] === LF || line[i] === CR) line[i] = SPACE;
  return line;
}
