import { Unescaped } from './escapes.ts';
import { MIN_RUN_SYMBOLS, periodFor } from './seeds.ts';
import { SYMBOL_OF } from './symbols.ts';

/** How a secret was written where it was found. */
export type SecretForm =
  | 'as is'
  | 'base64'
  | 'hex'
  | 'percent-encoded'
  | 'JSON-escaped'
  | 'HTML entities'
  | 'look-alike characters'
  | 'spaced out'
  | 'in another case'
  | 'reversed'
  | 'rot13'
  | 'base32'
  | 'UTF-16 in base64'
  | 'UTF-16 in hex'
  | 'byte values'
  | 'compressed'
  | 'hidden characters'
  | 'several encodings';

/** One spelling of one secret: what is searched for. */
export interface SecretPattern {
  readonly form: SecretForm;
  /** As it is spelled: ASCII for the encodings, the secret's own bytes otherwise. */
  readonly spelled: Uint8Array;
  /** Its symbols (`symbols.ts`), and the place of each in {@link spelled}. */
  readonly symbols: Uint8Array;
  readonly places: Uint32Array;
  /** Of its seeds, see `seeds.ts`: bulky spellings do with fewer. */
  readonly period: number;
  /** Bytes of the secret for each byte of {@link spelled}. */
  readonly bytesEach: number;
  /** Bytes of the secret before the first that {@link spelled} stands for: an alignment can cut one off. */
  readonly bytesBefore: number;
  /** What may stand between the symbols, see {@link Strictness}. */
  readonly strictness: Strictness;
  /** Whether a character of base64 or base32 beside it carries some bits of the secret, to be covered too. */
  readonly left: boolean;
  readonly right: boolean;
}

/**
 * What may differ from the spelling. The less there is to tell a secret from ordinary words, the less:
 * `exact`: fewer than 16 symbols and only letters or only digits. Same characters between, same or all swapped case.
 * `near`: fewer than 16 symbols. Any case; a little white space or punctuation between.
 * `loose`: any case, anything within reason between.
 */
export type Strictness = 'exact' | 'near' | 'loose';

/** Spellings of a secret with too few symbols to be found by them: searched for as bytes. */
export interface ExactPattern {
  readonly form: SecretForm;
  readonly bytes: Buffer;
}

/** Fewest bytes in common with a secret that count as a part of it, if the secret is longer. */
export const FRAGMENT_BYTES = 16;
/** From this many symbols on, chance does not make them. */
const LOOSE_SYMBOLS = 16;
/** Longest secret of which also the bulky spellings are searched, bytes. */
const BULKY_BYTES = 512;
/** As much of a secret is searched for, bytes: enough for keys and certificates. */
export const MAX_SECRET_BYTES = 16_384;

/** All spellings of `value` that are searched for. */
export function spellingsOf(value: string): { readonly patterns: readonly SecretPattern[]; readonly exact: readonly ExactPattern[] } {
  const bytes = Buffer.from(value, 'utf8').subarray(0, MAX_SECRET_BYTES);
  const patterns: SecretPattern[] = [];
  const exact: ExactPattern[] = [];
  const seen = new Set<string>();
  const add = (form: SecretForm, spelled: Buffer, bytesEach: number, more: Partial<SecretPattern> = {}) => {
    const symbols = new Uint8Array(spelled.length);
    const places = new Uint32Array(spelled.length);
    let n = 0;
    for (let i = 0; i < spelled.length; i++) {
      const symbol = SYMBOL_OF[spelled[i] as number] as number;
      if (symbol === 0) continue;
      symbols[n] = symbol;
      places[n++] = i;
    }
    if (n < MIN_RUN_SYMBOLS) {
      if (spelled.length > 0 && (form === 'as is' || spelled.length >= MIN_EXACT)) exact.push({ form, bytes: spelled });
      return;
    }
    const key = Buffer.from(symbols.subarray(0, n)).toString('latin1');
    if (seen.has(key)) return;
    seen.add(key);
    const letters = isOwnSpelling(form) ? key.replace(/\d/g, '').length : 1;
    patterns.push({
      form,
      spelled,
      symbols: symbols.subarray(0, n),
      places: places.subarray(0, n),
      period: periodFor(isBulky(form) ? Math.min(n, Math.floor(((FRAGMENT_BYTES / bytesEach) * n) / spelled.length)) : 0),
      bytesEach,
      bytesBefore: 0,
      strictness: n >= LOOSE_SYMBOLS ? 'loose' : isOwnSpelling(form) && (letters === 0 || letters === n) ? 'exact' : 'near',
      left: false,
      right: false,
      ...more,
    });
  };
  const ascii = (text: string) => Buffer.from(text, 'latin1');

  add('as is', bytes, 1);
  // What text is read as (`escapes.ts`) holds `e` for `é`: so must the pattern.
  const plain = plainSpelling(bytes);
  if (plain) add('as is', plain, 1);
  // So must one that holds what looks like an escape, where the text around it was escaped in another way.
  const reader = new Unescaped();
  for (let level = bytes, n = 0; n < MAX_OWN_LEVELS && reader.read(level); n++) {
    level = Buffer.from(reader.bytes);
    if (level.length >= MIN_EXACT) add('as is', level, 1);
  }
  for (const core of base64Cores(bytes)) {
    add('base64', ascii(core.text), 3 / 4, core);
    if (core.text.length < 2 * MIN_RUN_SYMBOLS) {
      const url = core.text.replaceAll('+', '-').replaceAll('/', '_');
      if (url !== core.text) add('base64', ascii(url), 3 / 4, core);
    }
  }
  add('hex', ascii(bytes.toString('hex')), 1 / 2);
  add('reversed', Buffer.from(bytes).reverse(), 1);
  if (bytes.length > BULKY_BYTES) return { patterns, exact };
  add('rot13', Buffer.from(bytes.map(rot13)), 1);
  for (const core of base32Cores(bytes)) add('base32', ascii(core.text), 5 / 8, core);
  const wide = Buffer.from(value, 'utf16le');
  const bytesPerUnit = bytes.length / Math.max(wide.length, 1);
  for (const core of base64Cores(wide)) add('UTF-16 in base64', ascii(core.text), (3 / 4) * bytesPerUnit, core);
  add('UTF-16 in hex', ascii(wide.toString('hex')), bytesPerUnit / 2);
  add('byte values', ascii(Array.from(bytes, (b) => `0x${b.toString(16).padStart(2, '0')}`).join('')), 1 / 4);
  add('byte values', ascii(Array.from(bytes, (b) => b.toString(8).padStart(3, '0')).join('')), 1 / 3);
  // Two digits or three for each byte; of the shortest parts that count, two.
  add('byte values', ascii(Array.from(bytes, String).join('')), 1 / 2);
  return { patterns, exact };
}

/** Forms whose short runs nobody needs to find: they are rare, and many symbols long. */
function isBulky(form: SecretForm): boolean {
  return form === 'hex' || form === 'base32' || form === 'byte values' || form.startsWith('UTF-16');
}

/** How often escapes that a secret holds itself are undone. */
const MAX_OWN_LEVELS = 3;
/** Shortest spelling other than its own that is searched for as bytes. */
const MIN_EXACT = 8;

function isOwnSpelling(form: SecretForm): boolean {
  return form === 'as is' || form === 'reversed' || form === 'rot13';
}

/** The bytes as text is read, undefined if that is the same. */
export function plainSpelling(bytes: Buffer): Buffer | undefined {
  if (bytes.every((b) => b < 0x80)) return undefined;
  const text = new Unescaped();
  // Only what stands outside ASCII: escapes in a secret are part of it.
  const hidden = Buffer.from(bytes.map((b) => (b < 0x80 ? 0x2e : b)));
  if (!text.read(hidden)) return undefined;
  const out: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const start = text.startOf(i);
    out.push((bytes[start] as number) < 0x80 ? (bytes[start] as number) : (text.bytes[i] as number));
  }
  return Buffer.from(out);
}

function rot13(c: number): number {
  const letter = c | 0x20;
  return letter < 0x61 || letter > 0x7a ? c : letter < 0x6e ? c + 13 : c - 13;
}

/** The characters of an encoding that do not depend on what stands before or behind the bytes, at one alignment. */
interface Core {
  readonly text: string;
  readonly left: boolean;
  readonly right: boolean;
  readonly bytesBefore: number;
}

/** Base64 (RFC 4648, 4) at each of its three alignments. */
function base64Cores(bytes: Buffer): Core[] {
  return cores(bytes, 3, 6, (b) => b.toString('base64').replace(/=+$/, ''));
}

/** Base32 (RFC 4648, 6) at each of its five alignments. */
function base32Cores(bytes: Buffer): Core[] {
  return cores(bytes, 5, 5, toBase32);
}

function cores(bytes: Buffer, alignments: number, bitsEach: number, encode: (bytes: Buffer) => string): Core[] {
  return Array.from({ length: alignments }, (_, shift) => {
    const text = encode(Buffer.concat([Buffer.alloc(shift), bytes]));
    const first = Math.ceil((shift * 8) / bitsEach);
    const bits = (bytes.length + shift) * 8;
    return {
      text: text.slice(first, Math.floor(bits / bitsEach)),
      left: (shift * 8) % bitsEach !== 0,
      right: bits % bitsEach !== 0,
      bytesBefore: (first * bitsEach) / 8 - shift,
    };
  });
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** Base32 without padding. */
export function toBase32(bytes: Uint8Array): string {
  let [out, bits, value] = ['', 0, 0];
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) out += BASE32.charAt((value >>> (bits - 5)) & 31);
  }
  return bits > 0 ? out + BASE32.charAt((value << (5 - bits)) & 31) : out;
}
