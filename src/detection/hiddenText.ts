import { isAscii } from 'node:buffer';
import { textScanFor } from './textScan.ts';

/**
 * Characters that a person does not see and a model does: tag characters, direction overrides, zero-width characters, variation selectors
 * that carry bytes, terminal escapes, control characters.
 */

export type HiddenKind = 'tag characters' | 'direction controls' | 'zero-width' | 'variation selectors' | 'terminal escape' | 'control';

/** A run of hidden characters of one kind. Offsets count bytes of the text. */
export interface HiddenSpan {
  readonly start: number;
  readonly end: number;
  readonly kind: HiddenKind;
  /** What it says, as far as that can be told: the message in tag characters, the name of a control. At most {@link MAX_DECODED} characters. */
  readonly decoded: string;
}

/** Longest {@link HiddenSpan.decoded}, characters. */
export const MAX_DECODED = 500;
/** Most spans that are told of in one text; what is behind counts as one more. */
export const MAX_SPANS = 1_000;
/** Fewer variation selectors in a row are how emoji and ideographs are chosen. */
const MIN_SELECTORS = 3;
/** Longest escape sequence that is followed to its end, bytes. */
const MAX_ESCAPE_BYTES = 4_096;
/** Fewest zero-width characters that are read as bits. */
const MIN_BITS = 16;

/** Whether a text can hold anything hidden. Looks at four bytes at a time. */
export function mayHideText(text: Buffer): boolean {
  const scan = textScanFor(text.length);
  if (scan) return scan.nextSuspect(scan.place(text), 0, text.length) < text.length;
  return !isAscii(text) || firstControl(text, 0) < text.length;
}

/** All hidden characters, in order. Honest uses are left alone: joiners in emoji and in scripts that need them, flags, a byte order mark. */
export function findHiddenText(text: Buffer): HiddenSpan[] {
  const spans: HiddenSpan[] = [];
  if (isAscii(text)) {
    for (let at = firstControl(text, 0); at < text.length;) {
      const end = isEscape(text, at) ? escapeEnd(text, at) : controlEnd(text, at);
      if (!separates(text, at, end) && !add(spans, text, { start: at, end, kind: isEscape(text, at) ? 'terminal escape' : 'control' }))
        return spans;
      at = firstControl(text, end);
    }
    return spans;
  }
  const scan = textScanFor(text.length);
  const placed = scan?.place(text) ?? 0;
  const nextFrom = (from: number) => (scan ? scan.nextSuspect(placed, from, text.length) : nextSuspect(text, from));
  let rightToLeft: boolean | undefined;
  for (let at = nextFrom(0); at < text.length;) {
    const [point, length] = pointAt(text, at);
    const kind = length === 0 ? undefined : kindOf(point);
    if (kind === undefined) {
      at = nextFrom(at + Math.max(length, 1));
      continue;
    }
    let end = kind === 'terminal escape' ? escapeEnd(text, at) : at + length;
    let points = 1;
    if (kind !== 'terminal escape')
      for (;;) {
        const [next, more] = end < text.length ? pointAt(text, end) : [0, 0];
        if (more === 0 || kindOf(next) !== kind) break;
        end += more;
        points++;
      }
    const next = end < text.length ? pointAt(text, end)[0] : 0;
    if (kind === 'direction controls') rightToLeft ??= holdsRightToLeft(text);
    const honest = separates(text, at, end) || isHonest(kind, point, points, at, shownBefore(text, at), next, rightToLeft ?? false);
    if (!honest && !add(spans, text, { start: at, end, kind })) return spans;
    at = nextFrom(end);
  }
  return spans;
}

/** Bytes with which something hidden can begin: control characters, and the first byte of the characters that {@link kindOf} knows. */
const IS_SUSPECT = Uint8Array.from({ length: 256 }, (_, c) =>
  (c < 0x20 && (c < 9 || c > 13)) || c === 0x7f || [0xc2, 0xcd, 0xd8, 0xe1, 0xe2, 0xe3, 0xef, 0xf3].includes(c) ? 1 : 0,
);

/** The next place from `from` on where something hidden may stand; many a text is full of curly quotes and accents, so two bytes are looked at. */
function nextSuspect(text: Buffer, from: number): number {
  const { length } = text;
  const data = new DataView(text.buffer, text.byteOffset, length);
  for (let i = from; i < length; i++) {
    // Four bytes a step as long as all of them are shown ASCII: as in {@link firstControl}, or with the highest bit.
    while (i + 4 <= length) {
      const four = data.getInt32(i, true);
      if ((((four - 0x20202020) | (four + 0x01010101) | four) & 0x80808080) !== 0) break;
      i += 4;
    }
    if (i >= length) break;
    const c = text[i] as number;
    if (IS_SUSPECT[c] === 0) continue;
    if (c < 0x80) return i;
    const next = text[i + 1] ?? 0;
    switch (c) {
      case 0xc2:
        if (next < 0xa0 || next === 0xad) return i;
        break;
      case 0xe1:
        if (next === 0x85 || next === 0x9e || next === 0xa0) return i;
        break;
      case 0xe2: {
        const third = text[i + 2] ?? 0;
        if (next === 0x80 ? (third >= 0x8b && third <= 0x8f) || third >= 0xaa : next === 0x81 && third >= 0xa0) return i;
        break;
      }
      case 0xe3:
        if (next === 0x85) return i;
        break;
      case 0xcd:
        if (next === 0x8f) return i;
        break;
      case 0xd8:
        if (next === 0x9c) return i;
        break;
      case 0xef:
        if (next === 0xb8 || next === 0xbb || next === 0xbe || next === 0xbf) return i;
        break;
      default:
        return i;
    }
  }
  return length;
}

/** Most characters that are stepped back over. */
const MAX_BACK = 64;

/** The last character before `at` that shows, 0 if there is none. */
function shownBefore(text: Buffer, at: number): number {
  let i = at;
  for (let n = 0; n < MAX_BACK && i > 0; n++) {
    i--;
    while (i > 0 && ((text[i] as number) & 0xc0) === 0x80) i--;
    const [point, length] = pointAt(text, i);
    if (length === 0) return point;
    if (kindOf(point) === undefined) return point;
  }
  return 0;
}

/** `text` without what is hidden in it; the same buffer if there is nothing. */
export function withoutHiddenText(text: Buffer, spans: readonly HiddenSpan[]): Buffer {
  if (spans.length === 0) return text;
  const kept: Buffer[] = [];
  let at = 0;
  for (const { start, end } of spans) {
    kept.push(text.subarray(at, start));
    at = end;
  }
  kept.push(text.subarray(at));
  return Buffer.concat(kept);
}

/** Calls `visit` for bytes that are written as variation selectors, one for each byte, with the place of the run. */
export function forEachHiddenMessage(text: Buffer, visit: (decoded: Buffer, start: number, end: number) => void): void {
  for (let at = nextSelector(text, 0); at < text.length; at = nextSelector(text, at)) {
    const bytes: number[] = [];
    const start = at;
    for (;;) {
      const [point, length] = at < text.length ? pointAt(text, at) : [0, 0];
      const byte = selectorByte(point);
      if (length === 0 || byte < 0) break;
      bytes.push(byte);
      at += length;
    }
    if (bytes.length >= MIN_SELECTORS) visit(Buffer.from(bytes), start, at);
    if (at === start) at++;
  }
}

function add(spans: HiddenSpan[], text: Buffer, span: Omit<HiddenSpan, 'decoded'>): boolean {
  if (spans.length === MAX_SPANS) {
    spans.push({ ...span, end: text.length, decoded: '…' });
    return false;
  }
  spans.push({ ...span, decoded: decodedOf(text.subarray(span.start, span.end), span.kind) });
  return true;
}

/** Bytes of the escape character and of the control characters that honest text does not hold: all but tab, line ends, vertical tab and form feed. */
const IS_CONTROL = Uint8Array.from({ length: 256 }, (_, c) => ((c < 0x20 && (c < 9 || c > 13)) || c === 0x7f ? 1 : 0));

function firstControl(text: Buffer, from: number): number {
  const { length } = text;
  const data = new DataView(text.buffer, text.byteOffset, length);
  let i = from;
  for (; i + 4 <= length; i += 4) {
    const four = data.getUint32(i, true);
    // Some byte below 0x20, or 0x7f ("Determine if a word has a byte less than n", Bit Twiddling Hacks; for text in ASCII).
    const low = (four - 0x20202020) & 0x80808080;
    const deleted = (four + 0x01010101) & 0x80808080;
    if ((low | deleted) !== 0) for (let k = i; k < i + 4; k++) if (IS_CONTROL[text[k] as number] === 1) return k;
  }
  for (; i < length; i++) if (IS_CONTROL[text[i] as number] === 1) return i;
  return length;
}

/**
 * Whether a run is one or two of the characters that keep data apart: NUL (`find -print0`, text in UTF-16) and the separators U+001C to
 * U+001F (RFC 7464, HL7). Taken out, they would join what they part; more of them in a row could spell something.
 */
function separates(text: Buffer, start: number, end: number): boolean {
  if (end - start > 2) return false;
  for (let i = start; i < end; i++) if (text[i] !== 0 && ((text[i] as number) < 0x1c || (text[i] as number) > 0x1f)) return false;
  return true;
}

function controlEnd(text: Buffer, at: number): number {
  let end = at + 1;
  while (end < text.length && IS_CONTROL[text[end] as number] === 1 && text[end] !== ESCAPE) end++;
  return end;
}

const ESCAPE = 0x1b;

function isEscape(text: Buffer, at: number): boolean {
  return text[at] === ESCAPE;
}

/** The end of the escape sequence (ECMA-48, 5.4 and 5.6) that begins at `at`, at the latest {@link MAX_ESCAPE_BYTES} behind. */
function escapeEnd(text: Buffer, at: number): number {
  const last = Math.min(text.length, at + MAX_ESCAPE_BYTES);
  let i = text[at] === ESCAPE ? at + 1 : at + 2;
  // The one-byte forms are written in UTF-8 as two bytes: c2 9b and so on.
  const kind = text[at] === ESCAPE ? text[i++] : (text[at + 1] as number) - 0x40;
  if (kind === 0x5b) {
    while (i < last && (text[i] as number) >= 0x20 && (text[i] as number) < 0x40) i++;
    return i < last && (text[i] as number) >= 0x40 && (text[i] as number) < 0x7f ? i + 1 : i;
  }
  // OSC, DCS, SOS, PM and APC end with BEL or ST, and carry any text: hyperlinks and window titles.
  if (kind === 0x5d || kind === 0x50 || kind === 0x58 || kind === 0x5e || kind === 0x5f) {
    for (; i < last; i++) {
      if (text[i] === 0x07) return i + 1;
      if (text[i] === ESCAPE) return text[i + 1] === 0x5c ? i + 2 : i;
      if (text[i] === 0xc2 && text[i + 1] === 0x9c) return i + 2;
      if (text[i] === 0x0a) return i;
    }
    return i;
  }
  if (kind === undefined) return at + 1;
  while (i < last && (text[i - 1] as number) >= 0x20 && (text[i - 1] as number) < 0x30) i++;
  return Math.min(i, last);
}

function kindOf(point: number): HiddenKind | undefined {
  if (point < 0x80) return point === ESCAPE ? 'terminal escape' : IS_CONTROL[point] === 1 ? 'control' : undefined;
  if (point < 0xa0) return point === 0x9b || point === 0x9d || point === 0x90 ? 'terminal escape' : point === 0x85 ? undefined : 'control';
  if (point >= 0xe0000) {
    if (point <= 0xe007f) return 'tag characters';
    return point >= 0xe0100 && point <= 0xe01ef ? 'variation selectors' : undefined;
  }
  if (point < 0x200b)
    return point === 0x00ad ||
      point === 0x034f ||
      point === 0x115f ||
      point === 0x1160 ||
      point === 0x180e ||
      point === 0x17b4 ||
      point === 0x17b5
      ? 'zero-width'
      : point === 0x061c
        ? 'direction controls'
        : undefined;
  if (point <= 0x200d || (point >= 0x2060 && point <= 0x2064) || (point >= 0x206a && point <= 0x206f)) return 'zero-width';
  if (point === 0x200e || point === 0x200f || (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069))
    return 'direction controls';
  if (point >= 0xfe00 && point <= 0xfe0f) return 'variation selectors';
  return point === 0x3164 || point === 0xffa0 || point === 0xfeff || (point >= 0xfff9 && point <= 0xfffb) ? 'zero-width' : undefined;
}

/** Base of the flags of England, Scotland and Wales, which are written with tag characters (UTS 51, annex C). */
const BLACK_FLAG = 0x1f3f4;
/** Most tag characters of a flag, the closing one included. */
const MAX_FLAG_TAGS = 7;
const PICTOGRAPH = /[\p{Extended_Pictographic}\p{Emoji_Modifier}\u20e3\ufe0f]/u;
const NEEDS_JOINERS =
  /[\p{scx=Arab}\p{scx=Syrc}\p{scx=Mong}\p{scx=Deva}\p{scx=Beng}\p{scx=Guru}\p{scx=Gujr}\p{scx=Orya}\p{scx=Taml}\p{scx=Telu}\p{scx=Knda}\p{scx=Mlym}\p{scx=Sinh}\p{scx=Khmr}\p{scx=Thai}\p{scx=Laoo}\p{scx=Mymr}\p{scx=Tibt}]/u;

function isHonest(
  kind: HiddenKind,
  point: number,
  points: number,
  at: number,
  previous: number,
  next: number,
  rightToLeft: boolean,
): boolean {
  switch (kind) {
    case 'tag characters':
      return previous === BLACK_FLAG && points <= MAX_FLAG_TAGS;
    case 'variation selectors':
      return points < MIN_SELECTORS && previous !== 0;
    case 'direction controls':
      // Marks, isolates and embeddings are part of texts in Hebrew or Arabic; overrides turn any text around.
      return rightToLeft && points <= 2 && point !== 0x202d && point !== 0x202e;
    case 'zero-width':
      if (points > 2) return false;
      if (point === 0xfeff) return at === 0;
      if (point === 0xad) return isLetter(previous);
      if (point === 0x200d && PICTOGRAPH.test(String.fromCodePoint(previous))) return PICTOGRAPH.test(String.fromCodePoint(next));
      return (point === 0x200c || point === 0x200d || point === 0x200b) && NEEDS_JOINERS.test(String.fromCodePoint(previous));
    default:
      return false;
  }
}

function isLetter(point: number): boolean {
  return /\p{L}/u.test(String.fromCodePoint(point));
}

/** Whether there is a letter of Hebrew or Arabic, or of the scripts beside them: U+0590 to U+08FF, U+FB1D to U+FDFF, U+FE70 to U+FEFC. */
function holdsRightToLeft(text: Buffer): boolean {
  for (let i = 0; i + 1 < text.length; i++) {
    const c = text[i] as number;
    if (c >= 0xd6 && c <= 0xdf) return true;
    if (c === 0xe0 && (text[i + 1] as number) >= 0xa0 && (text[i + 1] as number) <= 0xa3) return true;
    if (c === 0xef && (text[i + 1] as number) >= 0xac && (text[i + 1] as number) <= 0xb7) return true;
  }
  return false;
}

function decodedOf(bytes: Buffer, kind: HiddenKind): string {
  const points = Array.from(bytes.toString('utf8').slice(0, MAX_DECODED * 2), (c) => c.codePointAt(0) ?? 0);
  const text = () => {
    switch (kind) {
      case 'tag characters':
        return points.map((p) => (p >= 0xe0020 && p <= 0xe007e ? String.fromCharCode(p - 0xe0000) : '')).join('');
      case 'variation selectors':
        return shown(Buffer.from(points.map(selectorByte).filter((b) => b >= 0)).toString('utf8'));
      case 'zero-width':
        return bitsOf(points) ?? names(points);
      case 'terminal escape':
        return shown(bytes.toString('utf8'));
      default:
        return names(points);
    }
  };
  return text().slice(0, MAX_DECODED);
}

/** Zero-width characters as bits: the first that occurs counts as 0, any other as 1, or the other way round, if that gives text. */
function bitsOf(points: readonly number[]): string | undefined {
  if (points.length < MIN_BITS) return undefined;
  for (const zero of new Set(points)) {
    const bytes: number[] = [];
    for (let i = 0; i + 8 <= points.length; i += 8) bytes.push(points.slice(i, i + 8).reduce((n, p) => n * 2 + (p === zero ? 0 : 1), 0));
    const text = Buffer.from(bytes).toString('latin1');
    if (/^[\x20-\x7e\n\r\t]+$/.test(text)) return text;
  }
  return undefined;
}

function names(points: readonly number[]): string {
  const list = points.slice(0, 8).map((p) => `U+${p.toString(16).toUpperCase().padStart(4, '0')}`);
  return list.join(' ') + (points.length > 8 ? ` … (${points.length})` : '');
}

function shown(text: string): string {
  // eslint-disable-next-line no-control-regex -- that is what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\ufffd]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** The byte that a variation selector stands for where bytes are smuggled in them, -1 for other characters. */
function selectorByte(point: number): number {
  if (point >= 0xfe00 && point <= 0xfe0f) return point - 0xfe00;
  return point >= 0xe0100 && point <= 0xe01ef ? point - 0xe0100 + 16 : -1;
}

/** The next place at or behind `from` where a variation selector may stand. */
function nextSelector(text: Buffer, from: number): number {
  if (from >= text.length) return text.length;
  const low = text.indexOf(SELECTORS_LOW, from);
  const high = text.indexOf(SELECTORS_HIGH, from);
  return low < 0 ? (high < 0 ? text.length : high) : high < 0 ? low : Math.min(low, high);
}

const SELECTORS_LOW = Buffer.from([0xef, 0xb8]);
const SELECTORS_HIGH = Buffer.from([0xf3, 0xa0]);

/** The code point at a place and its length in UTF-8; length 0 if the bytes are no UTF-8. */
function pointAt(text: Buffer, at: number): readonly [number, number] {
  const c = text[at] as number;
  if (c < 0x80) return [c, 1];
  const length = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > text.length) return [0xfffd, 0];
  let point = c & (0x7f >> length);
  for (let i = 1; i < length; i++) {
    const next = text[at + i] as number;
    if ((next & 0xc0) !== 0x80) return [0xfffd, 0];
    point = (point << 6) | (next & 0x3f);
  }
  return [point, length];
}
