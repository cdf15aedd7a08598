const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const SPACE = 0x20;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
const NEWLINE = Buffer.from('\n');

/** Where a stream has come to; kept across its reconnections. */
export interface Cursor {
  /** Id of the last event that had one. */
  lastEventId?: string | undefined;
  /** Pause before a reconnection that the server asks for, milliseconds. */
  retryMs?: number | undefined;
}

/**
 * Reads a server-sent event stream (HTML Living Standard, 9.2.6): lines end with LF, CRLF or CR, chunks may split anything, a character
 * included. Moves the cursor, and gives the data of every `message` event to `onMessage`: the bytes as received, several `data` lines
 * joined with LF. `push` throws a RangeError once an event exceeds the cap.
 */
export class SseParser {
  readonly #cursor: Cursor;
  readonly #onMessage: (data: Buffer) => void;
  readonly #maxBytes: number;
  #line: Buffer[] = [];
  #lineBytes = 0;
  #eventBytes = 0;
  #data: Buffer[] = [];
  #type = '';
  #id: string | undefined;
  #afterCr = false;
  #first = true;

  constructor(cursor: Cursor, onMessage: (data: Buffer) => void, maxBytes: number) {
    this.#cursor = cursor;
    this.#onMessage = onMessage;
    this.#maxBytes = maxBytes;
  }

  /** Takes the next bytes. */
  push(chunk: Buffer): void {
    let from = 0;
    if (this.#afterCr && chunk.length > 0) {
      this.#afterCr = false;
      if (chunk[0] === LF) from = 1;
    }
    let cr = chunk.indexOf(CR, from);
    let lf = chunk.indexOf(LF, from);
    while (cr >= 0 || lf >= 0) {
      const at = cr >= 0 && (lf < 0 || cr < lf) ? cr : lf;
      this.#add(chunk.subarray(from, at));
      this.#endLine();
      from = at + 1;
      if (at === cr) {
        if (from === chunk.length) this.#afterCr = true;
        else if (chunk[from] === LF) from++;
        cr = chunk.indexOf(CR, from);
      }
      if (lf >= 0 && lf < from) lf = chunk.indexOf(LF, from);
    }
    this.#add(chunk.subarray(from));
  }

  #add(part: Buffer): void {
    if (part.length === 0) return;
    this.#eventBytes += part.length;
    if (this.#eventBytes > this.#maxBytes) throw new RangeError('An event is too long.');
    this.#line.push(part);
    this.#lineBytes += part.length;
  }

  #endLine(): void {
    const [only] = this.#line;
    let line = this.#line.length === 1 && only ? only : Buffer.concat(this.#line, this.#lineBytes);
    this.#line = [];
    this.#lineBytes = 0;
    if (this.#first) {
      this.#first = false;
      if (line.subarray(0, 3).equals(BOM)) line = line.subarray(3);
    }
    if (line.length === 0) this.#endEvent();
    else if (line[0] === COLON) this.#eventBytes -= line.length;
    else {
      const colon = line.indexOf(COLON);
      const value = colon < 0 ? line.subarray(line.length) : line.subarray(line[colon + 1] === SPACE ? colon + 2 : colon + 1);
      this.#field(colon < 0 ? line.toString('latin1') : line.toString('latin1', 0, colon), value);
    }
  }

  #field(name: string, value: Buffer): void {
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#type = value.toString();
    else if (name === 'id' && !value.includes(0)) this.#id = value.toString();
    else if (name === 'retry') {
      const text = value.toString('latin1');
      if (/^\d{1,9}$/.test(text)) this.#cursor.retryMs = Number(text);
    }
  }

  #endEvent(): void {
    const data = this.#data;
    const type = this.#type;
    this.#data = [];
    this.#type = '';
    this.#eventBytes = 0;
    if (this.#id !== undefined) {
      // An empty id takes the last one back.
      this.#cursor.lastEventId = this.#id === '' ? undefined : this.#id;
      this.#id = undefined;
    }
    const [only] = data;
    if (only === undefined || (type !== '' && type !== 'message')) return;
    const joined = data.length === 1 ? only : Buffer.concat(data.flatMap((line, i) => (i === 0 ? [line] : [NEWLINE, line])));
    if (joined.length > 0) this.#onMessage(joined);
  }
}
