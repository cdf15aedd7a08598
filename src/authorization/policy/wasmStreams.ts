/**
 * WebAssembly with the parts of its instructions kept apart: operations in one stream, numbers of locals in the next, and so on. It is the
 * same bytes in another order, but like lies beside like, and Brotli makes them a tenth smaller so. `scripts/cedarEngine.ts` writes it.
 */

/** What each stream holds. The first is the module without its code. */
export const STREAMS = [
  'frame',
  'shape',
  'operation',
  'local',
  'constant',
  'long',
  'align',
  'offset',
  'call',
  'branch',
  'type',
  'other',
] as const;
export type Stream = (typeof STREAMS)[number];

/** Longest time that rebuilding holds up others, milliseconds. */
const SLICE_MS = 4;
/** Functions between two looks at the clock. */
const SLICE_FUNCTIONS = 32;

/** In {@link OPERANDS}: what follows the operation hangs on more than the operation. */
export const IRREGULAR = 0xff;
/** In {@link OPERANDS}: no such operation is known. */
export const UNKNOWN = 0xfe;

/**
 * What follows each operation (WebAssembly Core 3.0, 5.4): numbers in LEB128. Two places for each operation: stream of the first number and
 * of the second, 0 for none.
 */
export const OPERANDS: Readonly<Uint8Array> = operands();

function operands(): Uint8Array {
  const table = new Uint8Array(512).fill(UNKNOWN);
  const set = (from: number, to: number, first?: Stream, second?: Stream) => {
    for (let operation = from; operation <= to; operation++) {
      table[operation * 2] = first ? STREAMS.indexOf(first) : 0;
      table[operation * 2 + 1] = second ? STREAMS.indexOf(second) : 0;
    }
  };
  set(0x00, 0x01);
  set(0x02, 0x04, 'type');
  set(0x05, 0x05);
  set(0x0b, 0x0b);
  set(0x0c, 0x0d, 'branch');
  set(0x0f, 0x0f);
  set(0x10, 0x10, 'call');
  set(0x11, 0x11, 'other', 'other');
  set(0x1a, 0x1b);
  set(0x20, 0x22, 'local');
  set(0x23, 0x26, 'other');
  set(0x28, 0x3e, 'align', 'offset');
  set(0x3f, 0x40, 'other');
  set(0x41, 0x41, 'constant');
  set(0x42, 0x42, 'long');
  set(0x45, 0xc4);
  set(0xd0, 0xd0, 'other');
  set(0xd1, 0xd1);
  set(0xd2, 0xd2, 'call');
  for (const operation of [0x0e, 0x1c, 0x43, 0x44, 0xfc]) table[operation * 2] = IRREGULAR;
  return table;
}

/**
 * What follows an {@link IRREGULAR} operation. All of it stands in the stream `other`; `number` and `bytes` move what is next there.
 * @throws on one that is not known.
 */
export function followIrregular(operation: number, number: () => number, bytes: (count: number) => void): void {
  const numbers = (count: number) => {
    for (let left = count; left > 0; left--) number();
  };
  if (operation === 0x0e)
    numbers(number() + 1); // br_table: labels, and the one for all else
  else if (operation === 0x1c)
    numbers(number()); // select with types
  else if (operation === 0x43)
    bytes(4); // f32.const
  else if (operation === 0x44)
    bytes(8); // f64.const
  else if (operation === 0xfc) {
    const more = number();
    if (more > 17) throw new Error(`unknown instruction 0xfc ${more}`);
    // Conversions have none. Those that copy name two places.
    if (more > 7) numbers([8, 10, 12, 14].includes(more) ? 2 : 1);
  }
}

/**
 * Puts a module together from its streams, a few milliseconds at a time. `codeAt` is where in the first stream the code belongs,
 * `codeLength` its length, bytes. The result is not checked.
 */
export async function putTogether(streams: readonly Uint8Array[], codeAt: number, codeLength: number): Promise<Uint8Array<ArrayBuffer>> {
  const [frame = new Uint8Array(), shape = new Uint8Array(), operation = new Uint8Array()] = streams;
  const other = streams[STREAMS.indexOf('other')] ?? new Uint8Array();
  const module = new Uint8Array(frame.length + codeLength);
  module.set(frame.subarray(0, codeAt));
  module.set(frame.subarray(codeAt), codeAt + codeLength);
  const next = new Uint32Array(STREAMS.length);
  let at = codeAt;
  let nextOperation = 0;
  const move = (from: Uint8Array, stream: number): number => {
    let place = next[stream] ?? 0;
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = from[place++] ?? 0;
      module[at++] = byte;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    next[stream] = place;
    return value >>> 0;
  };
  const bytes = (from: Uint8Array, stream: number, count: number) => {
    const place = next[stream] ?? 0;
    module.set(from.subarray(place, place + count), at);
    at += count;
    next[stream] = place + count;
  };
  const otherNumber = () => move(other, STREAMS.length - 1);
  const otherBytes = (count: number) => {
    bytes(other, STREAMS.length - 1, count);
  };
  const none = new Uint8Array();
  const moveFunction = () => {
    const length = move(shape, 1);
    const end = at + length;
    for (let groups = move(shape, 1); groups > 0; groups--) {
      move(shape, 1);
      bytes(shape, 1, 1);
    }
    while (at < end) {
      const code = operation[nextOperation++] ?? 0;
      module[at++] = code;
      const first = OPERANDS[code * 2] ?? 0;
      if (first === 0) continue;
      if (first >= UNKNOWN) {
        if (first === UNKNOWN) throw new Error(`unknown instruction ${code}`);
        followIrregular(code, otherNumber, otherBytes);
        continue;
      }
      move(streams[first] ?? none, first);
      const second = OPERANDS[code * 2 + 1] ?? 0;
      if (second !== 0) move(streams[second] ?? none, second);
    }
  };
  let since = performance.now();
  for (let functions = move(shape, 1); functions > 0; functions--) {
    moveFunction();
    if (functions % SLICE_FUNCTIONS !== 0 || performance.now() - since < SLICE_MS) continue;
    await new Promise(setImmediate);
    since = performance.now();
  }
  return module;
}
