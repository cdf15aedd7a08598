import { gzipSync, deflateSync } from 'node:zlib';

/**
 * The oracle for known secrets: writes a text in other ways and tells where each part of it then stands. Shares no code with the product, and
 * is as simple as can be.
 */

/** A text with a part that matters. Offsets count bytes. */
export interface Marked {
  readonly text: Buffer;
  readonly start: number;
  readonly end: number;
}

export type Dress = (plain: Marked) => Marked;

/** Each byte becomes something by itself. */
function perByte(write: (byte: number, index: number) => Buffer | string, between = ''): Dress {
  return ({ text, start, end }) => {
    const parts = Array.from(text, (byte, i) => Buffer.from(write(byte, i)));
    const joint = Buffer.from(between);
    const out: Buffer[] = [];
    const offsets: number[] = [];
    let at = 0;
    parts.forEach((part, i) => {
      if (i > 0) {
        out.push(joint);
        at += joint.length;
      }
      offsets.push(at);
      out.push(part);
      at += part.length;
    });
    return { text: Buffer.concat(out), start: offsets[start]!, end: offsets[end - 1]! + parts[end - 1]!.length };
  };
}

/** Each character becomes something by itself. */
function perCharacter(write: (character: string) => string, joint = ''): Dress {
  return ({ text, start, end }) => {
    const piece = (from: number, to: number) => Buffer.from(Array.from(text.toString('utf8', from, to), write).join(joint));
    const [before, inner, after] = [piece(0, start), piece(start, end), piece(end, text.length)];
    return { text: Buffer.concat([before, inner, after]), start: before.length, end: before.length + inner.length };
  };
}

function inGroups(encode: (bytes: Buffer) => string, bitsEach: number): Dress {
  return ({ text, start, end }) => ({
    text: Buffer.from(encode(text)),
    start: Math.floor((start * 8) / bitsEach),
    end: Math.ceil((end * 8) / bitsEach),
  });
}

const hex2 = (n: number) => n.toString(16).padStart(2, '0');
const ASCII = (c: string) => c >= ' ' && c <= '~';

export function base32(bytes: Buffer): string {
  const bits = Array.from(bytes, (b) => b.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? []).map((five) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[parseInt(five.padEnd(5, '0'), 2)]).join('');
}

const mime: Dress = ({ text, start, end }) => {
  const lines = text.toString('base64').match(/.{1,76}/g) ?? [];
  const place = (character: number) => character + 2 * Math.floor(character / 76);
  return {
    text: Buffer.from(lines.join('\r\n')),
    start: place(Math.floor((start * 8) / 6)),
    end: place(Math.ceil((end * 8) / 6) - 1) + 1,
  };
};

/** Escapes, which unwind one after the other. */
export const escapes: Readonly<Record<string, Dress>> = {
  'percent, everything': perByte((b) => `%${hex2(b)}`),
  'percent, upper case': perByte((b) => `%${hex2(b).toUpperCase()}`),
  'percent, as in URLs': perCharacter((c) => (c.isWellFormed() ? encodeURIComponent(c) : c)),
  'JSON string': perCharacter((c) => JSON.stringify(c).slice(1, -1)),
  'JSON in ASCII': perCharacter((c) =>
    JSON.stringify(c)
      .slice(1, -1)
      .replace(/[\u007f-\uffff]/g, (u) => `\\u${u.charCodeAt(0).toString(16).padStart(4, '0')}`),
  ),
  'unicode escapes': perCharacter((c) =>
    Array.from({ length: c.length }, (_, i) => `\\u${c.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
  ),
  'x escapes': perByte((b) => `\\x${hex2(b)}`),
  'octal escapes': perByte((b) => `\\${b.toString(8).padStart(3, '0')}`),
  'decimal entities': perCharacter((c) => `&#${c.codePointAt(0)!};`),
  'hex entities': perCharacter((c) => `&#x${c.codePointAt(0)!.toString(16).toUpperCase()};`),
  'HTML text': perCharacter((c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c] ?? c),
};

/** Characters that count as the same. */
export const disguises: Readonly<Record<string, Dress>> = {
  'zero-width between': perCharacter((c) => c, '\u200b'),
  'combining marks': perCharacter((c) => c, '\u0336'),
  'variation selectors': perCharacter((c) => c, '\ufe0e'),
  'soft hyphens': perCharacter((c) => c, '\u00ad\u2060'),
  fullwidth: perCharacter((c) => (c > ' ' && ASCII(c) ? String.fromCharCode(c.charCodeAt(0) + 0xfee0) : c)),
  'tag characters': perCharacter((c) => (ASCII(c) ? String.fromCodePoint(c.charCodeAt(0) + 0xe0000) : c)),
  mathematical: perCharacter((c) =>
    /[a-z]/.test(c)
      ? String.fromCodePoint(0x1d41a + c.charCodeAt(0) - 97)
      : /[A-Z]/.test(c)
        ? String.fromCodePoint(0x1d400 + c.charCodeAt(0) - 65)
        : c,
  ),
  'look-alikes': perCharacter((c) => ({ a: 'а', e: 'е', o: 'о', p: 'р', c: 'с', x: 'х', A: 'А', B: 'В', H: 'Н', O: 'О', T: 'Т' })[c] ?? c),
};

/** Transforms of the secret itself, which nobody undoes: they are searched for. */
export const spellings: Readonly<Record<string, Dress>> = {
  'as is': (plain) => plain,
  spaced: perByte((b) => Buffer.from([b]), ' '),
  dashed: perByte((b) => Buffer.from([b]), '-'),
  'one a line': perByte((b) => Buffer.from([b]), '\r\n'),
  reversed: ({ text, start, end }) => ({ text: Buffer.from(text).reverse(), start: text.length - end, end: text.length - start }),
  rot13: perByte((b) => Buffer.from([/[a-m]/i.test(String.fromCharCode(b)) ? b + 13 : /[n-z]/i.test(String.fromCharCode(b)) ? b - 13 : b])),
  'case swapped': perByte((b) => Buffer.from([/[a-z]/i.test(String.fromCharCode(b)) ? b ^ 0x20 : b])),
  'upper case': perByte((b) => Buffer.from([b >= 97 && b <= 122 ? b - 32 : b])),
  'UTF-16': perByte((b) => Buffer.from([b]), '\0'),
  base64: inGroups((b) => b.toString('base64'), 6),
  base64url: inGroups((b) => b.toString('base64url'), 6),
  'base64 in lines': mime,
  'base64 of UTF-16': ({ text, start, end }) =>
    inGroups((b) => b.toString('base64'), 6)(perByte((b) => Buffer.from([b, 0]))({ text, start, end })),
  base32: inGroups(base32, 5),
  hex: perByte(hex2),
  'hex, upper case': perByte((b) => hex2(b).toUpperCase()),
  'hex with spaces': perByte(hex2, ' '),
  'hex with colons': perByte(hex2, ':'),
  'hex of UTF-16': perByte((b) => `${hex2(b)}00`),
  'hex bytes of C': perByte((b) => `0x${hex2(b)}`, ', '),
  'decimal bytes': perByte(String, ','),
};

/** What is decoded, and looked at again. The mark covers all of it. */
export const containers: Readonly<Record<string, Dress>> = {
  base64: inGroups((b) => b.toString('base64'), 6),
  base64url: inGroups((b) => b.toString('base64url'), 6),
  'base64 in lines': mime,
  hex: perByte(hex2),
  base32: inGroups(base32, 5),
};

export const compressed: Readonly<Record<string, Dress>> = {
  gzip: ({ text }) => whole(gzipSync(text).toString('base64')),
  zlib: ({ text }) => whole(deflateSync(text).toString('base64url')),
};

function whole(text: string): Marked {
  return { text: Buffer.from(text), start: 0, end: text.replace(/=+$/, '').length };
}

/** Puts a text between others. */
export function between(before: string, inner: Marked, after: string): Marked {
  const head = Buffer.from(before);
  return { text: Buffer.concat([head, inner.text, Buffer.from(after)]), start: head.length + inner.start, end: head.length + inner.end };
}
