import { IRREGULAR, OPERANDS, STREAMS, UNKNOWN, followIrregular, type Stream } from '../src/authorization/policy/wasmStreams.ts';

/** Where a section stands: its first byte, the first byte of its content, and the end. */
export interface Section {
  readonly at: number;
  readonly start: number;
  readonly end: number;
}

/** Told of each part of the code: the stream that it belongs to, and from where to where it goes. */
export type OnPart = (stream: Stream, from: number, to: number) => void;

/** Sections by number (WebAssembly Core 3.0, 5.5.2). */
const IMPORTS = 2;
const GLOBALS = 6;
const EXPORTS = 7;
const START = 8;
const ELEMENTS = 9;
const CODE = 10;
const END = 0x0b;

/** Reads a WebAssembly module as far as it is known here. @throws on what is not known, rather than to take it for something else. */
export class Wasm {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get code(): Section {
    const section = this.#section(CODE);
    if (!section) throw new Error('the module has no code');
    return section;
  }

  /** Functions that come from outside. They are counted first. */
  get importedFunctions(): number {
    let functions = 0;
    if (this.#enter(IMPORTS))
      this.#each(() => {
        this.#skip(this.#number());
        this.#skip(this.#number());
        const kind = this.#byte();
        if (kind !== 0) throw new Error(`an import of the kind ${kind}`);
        this.#number();
        functions++;
      });
    return functions;
  }

  /** Functions that can be reached from outside, those by export that `keep` holds for needed. */
  roots(keep: (name: string) => boolean): number[] {
    const roots: number[] = [];
    if (this.#enter(EXPORTS))
      this.#each(() => {
        const length = this.#number();
        const name = this.#bytes.toString('utf8', this.#at, (this.#at += length));
        const kind = this.#byte();
        const index = this.#number();
        if (kind === 0 && keep(name)) roots.push(index);
      });
    if (this.#enter(START)) roots.push(this.#number());
    if (this.#enter(GLOBALS))
      this.#each(() => {
        this.#skip(2);
        roots.push(...this.#expression());
      });
    if (this.#enter(ELEMENTS)) this.#each(() => roots.push(...this.#element()));
    return roots;
  }

  /** Walks through the code, function by function. */
  walk(onPart: OnPart, onFunction?: (start: number, end: number) => void): void {
    const { start, end } = this.code;
    this.#at = start;
    this.#part('shape', onPart);
    for (let functions = readNumber(this.#bytes, start).value; functions > 0; functions--) {
      const from = this.#at;
      const to = this.#part('shape', onPart) + this.#at;
      onFunction?.(from, to);
      for (let groups = this.#part('shape', onPart); groups > 0; groups--) {
        this.#part('shape', onPart);
        onPart('shape', this.#at, ++this.#at);
      }
      while (this.#at < to) this.#instruction(onPart);
      if (this.#at !== to) throw new Error('a function does not end with its last instruction');
    }
    if (this.#at !== end) throw new Error('the code does not end with its last function');
  }

  #element(): number[] {
    const flags = this.#number();
    if (flags > 7) throw new Error(`elements of the kind ${flags}`);
    const found: number[] = [];
    if ((flags & 0b011) === 0b010) this.#number();
    if ((flags & 0b001) === 0) found.push(...this.#expression());
    if ((flags & 0b011) !== 0) this.#skip(1);
    this.#each(() => {
      if (flags & 0b100) found.push(...this.#expression());
      else found.push(this.#number());
    });
    return found;
  }

  /** Functions that a constant expression names. */
  #expression(): number[] {
    const found: number[] = [];
    while (this.#bytes[this.#at] !== END)
      this.#instruction((stream, from) => {
        if (stream === 'call') found.push(readNumber(this.#bytes, from).value);
      });
    this.#skip(1);
    return found;
  }

  #instruction(onPart: OnPart): void {
    const operation = this.#byte();
    onPart('operation', this.#at - 1, this.#at);
    const first = OPERANDS[operation * 2] ?? UNKNOWN;
    if (first === UNKNOWN) throw new Error(`unknown instruction ${operation}`);
    if (first === IRREGULAR) {
      followIrregular(
        operation,
        () => this.#part('other', onPart),
        (count) => onPart('other', this.#at, (this.#at += count)),
      );
      return;
    }
    for (const stream of [first, OPERANDS[operation * 2 + 1] ?? 0]) if (stream !== 0) this.#part(STREAMS[stream] ?? 'other', onPart);
  }

  #part(stream: Stream, onPart: OnPart): number {
    const { value, end } = readNumber(this.#bytes, this.#at);
    onPart(stream, this.#at, end);
    this.#at = end;
    return value;
  }

  #section(wanted: number): Section | undefined {
    for (let at = 8; at < this.#bytes.length;) {
      const { value, end: start } = readNumber(this.#bytes, at + 1);
      const end = start + value;
      if (this.#bytes[at] === wanted) return { at, start, end };
      at = end;
    }
    return undefined;
  }

  #enter(wanted: number): boolean {
    const section = this.#section(wanted);
    if (section) this.#at = section.start;
    return section !== undefined;
  }

  #each(read: () => void): void {
    for (let left = this.#number(); left > 0; left--) read();
  }

  #number(): number {
    const { value, end } = readNumber(this.#bytes, this.#at);
    this.#at = end;
    return value;
  }

  #byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  #skip(bytes: number): void {
    this.#at += bytes;
  }
}

/** A number in LEB128, without its sign beyond 32 bits, and where it ends. */
function readNumber(bytes: Buffer, at: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let i = at, shift = 0; ; i++, shift += 7) {
    const byte = bytes[i] ?? 0;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return { value: value >>> 0, end: i + 1 };
  }
}

/** The function that a part of the stream `call` names. */
export function functionAt(bytes: Buffer, at: number): number {
  return readNumber(bytes, at).value;
}

/** A number in LEB128. */
export function leb128(value: number): Buffer {
  const bytes: number[] = [];
  for (let left = value; ; left >>>= 7) {
    if (left < 0x80) return Buffer.from([...bytes, left]);
    bytes.push((left & 0x7f) | 0x80);
  }
}
