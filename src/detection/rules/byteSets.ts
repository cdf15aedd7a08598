/** Sets of bytes, as 256 zeros and ones. */

export const CLASSES: Readonly<Record<string, string>> = { d: '09', w: '09AZaz__', s: '\t\r  ' };
export const POSIX: Readonly<Record<string, string>> = {
  alnum: '09AZaz',
  alpha: 'AZaz',
  ascii: '\u0000\u007f',
  blank: '\t\t  ',
  cntrl: '\u0000\u001f\u007f\u007f',
  digit: '09',
  graph: '!~',
  lower: 'az',
  print: ' ~',
  punct: '!/:@[`{~',
  space: '\t\r  ',
  upper: 'AZ',
  word: '09AZaz__',
  xdigit: '09AFaf',
};

/** First and last character of each range, one after the other. */
export function setOf(ranges: string): Uint8Array {
  const set = new Uint8Array(256);
  for (let i = 0; i < ranges.length; i += 2) for (let c = ranges.charCodeAt(i); c <= ranges.charCodeAt(i + 1); c++) set[c] = 1;
  return set;
}

/** Sets of one byte are shared; nothing changes a set once it is in a tree. */
const SINGLES = new Map<number, Uint8Array>();

export function only(byte: number): Uint8Array {
  let set = SINGLES.get(byte);
  if (!set) {
    set = new Uint8Array(256);
    set[byte] = 1;
    SINGLES.set(byte, set);
  }
  return set;
}

export function onlyOf(set: Uint8Array): number | undefined {
  const at = set.indexOf(1);
  return at >= 0 && !set.includes(1, at + 1) ? at : undefined;
}

export function everything(): Uint8Array {
  return new Uint8Array(256).fill(1);
}

export function without(set: Uint8Array, byte: number): Uint8Array {
  set[byte] = 0;
  return set;
}

export function inverted(set: Uint8Array): Uint8Array {
  return set.map((bit) => 1 - bit);
}

export function united(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(256);
  for (let i = 0; i < 256; i++) out[i] = (a[i] as number) | (b[i] as number);
  return out;
}

export function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.some((bit, i) => bit === 1 && b[i] === 1);
}
