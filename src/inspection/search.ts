import { isAscii } from 'node:buffer';
import { findHiddenText, mayHideText } from '../detection/hiddenText.ts';
import type { KnownSecrets } from '../detection/knownSecrets.ts';
import type { PatternMatch } from '../detection/rules/matcher.ts';
import { JsonFault, type Span } from '../mcp/json.ts';
import { FlatText } from './flatText.ts';
import { scalarsAt, type Scalar } from './scalars.ts';

/** What texts are searched with. */
export interface Detectors {
  readonly known: KnownSecrets;
  /** Pattern rules; empty until they are loaded. */
  readonly patterns: readonly { find(text: Buffer): readonly PatternMatch[] }[];
}

/** What is searched for. */
export interface Wanted {
  readonly hidden: boolean;
  /** Only these secrets, and no patterns. */
  readonly only?: readonly string[];
}

/** Something that was found, as plain data: it comes from a thread where the text is long. */
export interface Hit {
  readonly kind: 'known' | 'pattern' | 'hidden';
  /** Id of the secret or of the rule, or what kind of hidden text it is. */
  readonly id: string;
  readonly tier: 'known' | 'exact' | 'structured' | 'generic' | 'hidden';
  /** The rule’s title. */
  readonly title: string;
  readonly form: string;
  /** What was found, one character a byte, cut to {@link MAX_VALUE_BYTES}: for the digest, never kept. Empty for known secrets. */
  readonly value: string;
  readonly parts: readonly Part[];
}

/** A part of a hit: it may lie across several strings. */
export interface Part extends Span {
  /** The scalar it stands in; of text that is no JSON, all of it. For `blob`, the range counts bytes of what the string decodes to. */
  readonly token: Span;
  readonly kind: Scalar['kind'] | 'text' | 'blob';
  readonly path: readonly (string | number)[];
}

/** What a search gave. */
export interface Found {
  readonly hits: readonly Hit[];
  /** False if a part of the text was over a budget and stayed unread. */
  readonly complete: boolean;
  /** Whether it is nested too deep to be taken apart. */
  readonly tooDeep?: true;
}

/** Longest {@link Hit.value}, bytes. */
const MAX_VALUE_BYTES = 16_384;
/** Texts are searched with the pattern rules up to this size, bytes; beyond it only for known secrets. */
export const MAX_PATTERN_BYTES = 16 * 1_048_576;
/** Bytes that are decoded from the base64 fields of one message. */
const MAX_BLOB_BYTES = 16 * 1_048_576;
/** Shortest base64 field that is looked into, characters. */
const MIN_BLOB = 12;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
/** Members that hold base64 (resource contents, images, audio). */
const BLOB_KEYS = [Buffer.from('"blob"'), Buffer.from('"data"')];
const NOTHING: Found = { hits: [], complete: true };

interface FlatHit extends Omit<Hit, 'parts'> {
  start: number;
  end: number;
}

/** Searches messages and texts. Not to be used by two at a time. */
export class Search {
  readonly #detectors: Detectors;
  readonly #flat = new FlatText();

  constructor(detectors: Detectors) {
    this.#detectors = detectors;
  }

  /** Searches a JSON message, in every string, key, number and base64 field; what is no JSON, as text. */
  message(raw: Buffer, wanted: Wanted): Found {
    try {
      return this.#message(raw, wanted);
    } finally {
      this.#flat.release();
    }
  }

  #message(raw: Buffer, wanted: Wanted): Found {
    const flat = this.#flat.read(raw);
    const found = this.#find(flat, wanted);
    const blobs = this.#flat.mayHoldBlobs ? blobFields(raw) : [];
    if (found.hits.length === 0 && blobs.length === 0) return found.complete ? NOTHING : { hits: [], complete: false };
    let complete = found.complete;
    const inBlobs = blobs.flatMap((blob) => {
      const search = this.#find(blob.decoded, { ...wanted, hidden: false });
      complete &&= search.complete;
      return search.hits.map((hit) => ({ hit, blob }));
    });
    if (blobs.length > 0) complete &&= !blobs.some(({ cut }) => cut);
    if (found.hits.length === 0 && inBlobs.length === 0) return complete ? NOTHING : { hits: [], complete };
    const places = found.hits.map((hit) => ({ hit, ...widened(raw, this.#flat.startOf(hit.start), this.#flat.endOf(hit.end)) }));
    const ranges = [...places, ...inBlobs.map(({ blob }) => blob.token)].sort((a, b) => a.start - b.start);
    let scalars: Scalar[];
    try {
      scalars = scalarsAt(raw, ranges);
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error;
      if (error.kind === 'depth') return { hits: [], complete, tooDeep: true };
      // No JSON parser reads this: it is text.
      const token = { start: 0, end: raw.length };
      return { hits: places.map(({ hit, start, end }) => asHit(hit, [{ start, end, token, kind: 'text', path: [] }])), complete };
    }
    const blobAt = new Map(blobs.map((blob) => [blob.token.start, blob]));
    const blobOf = (s: Scalar) => {
      const blob = s.kind === 'string' && !isLogData(s) ? blobAt.get(s.start) : undefined;
      return blob?.token.end === s.end ? blob : undefined;
    };
    const decodedHits = new Set(inBlobs.map(({ blob }) => blob.token.start));
    const hits: Hit[] = [];
    for (const { hit, start, end } of places) {
      const parts = overlapping(scalars, start, end).flatMap((s): Part[] => {
        const blob = blobOf(s);
        if (blob)
          return decodedHits.has(s.start) ? [] : [{ start: 0, end: blob.decoded.length, token: spanOf(s), kind: 'blob', path: s.path }];
        const inner = s.kind === 'other' ? s : { start: s.start + 1, end: s.end - 1 };
        const part = { start: Math.max(start, inner.start), end: Math.min(end, inner.end) };
        return part.end > part.start ? [{ ...part, token: spanOf(s), kind: s.kind, path: s.path }] : [];
      });
      if (parts.length > 0) hits.push(asHit(hit, parts));
    }
    for (const { hit, blob } of inBlobs) {
      const scalar = overlapping(scalars, blob.token.start, blob.token.end)[0];
      if (!scalar) continue;
      const { token } = blob;
      const part: Part = blobOf(scalar)
        ? { start: hit.start, end: hit.end, token, kind: 'blob', path: scalar.path }
        : { start: token.start + 1, end: token.end - 1, token, kind: scalar.kind, path: scalar.path };
      hits.push(asHit(hit, [part]));
    }
    return { hits, complete };
  }

  /** Searches text that is no JSON. */
  text(raw: Buffer, wanted: Wanted): Found {
    const { hits, complete } = this.#find(raw, wanted);
    if (hits.length === 0 && complete) return NOTHING;
    const token = { start: 0, end: raw.length };
    return {
      hits: hits.map((hit) => {
        const { start, end } = widened(raw, hit.start, hit.end);
        return asHit(hit, [{ start, end, token, kind: 'text', path: [] }]);
      }),
      complete,
    };
  }

  #find(text: Buffer, { hidden, only }: Wanted): { readonly hits: FlatHit[]; readonly complete: boolean } {
    const hits: FlatHit[] = [];
    const { known, patterns } = this.#detectors;
    const ids = only && new Set(only);
    const search = known.search(text, ids && ((id) => ids.has(id)));
    let { complete } = search;
    for (const { start, end, id, form } of search.matches)
      hits.push({ kind: 'known', id, tier: 'known', title: '', form, value: '', start, end });
    if (only) return { hits, complete };
    const knownHits = hits.slice();
    if (text.length > MAX_PATTERN_BYTES) complete &&= patterns.length === 0;
    else
      for (const matcher of patterns)
        for (const { start, end, rule, verified } of matcher.find(text)) {
          // What the vault knows is named by its own name, and covers all that looks like it.
          const known = knownHits.find((hit) => hit.start < end && hit.end > start);
          if (known) {
            known.start = Math.min(known.start, start);
            known.end = Math.max(known.end, end);
            continue;
          }
          hits.push({
            kind: 'pattern',
            id: rule.id,
            tier: rule.tier,
            title: rule.title,
            form: verified ? 'as is, checksum holds' : 'as is',
            value: text.toString('latin1', start, Math.min(end, start + MAX_VALUE_BYTES)),
            start,
            end,
          });
        }
    if (hidden && mayHideText(text))
      for (const { start, end, kind, decoded } of allHiddenText(text))
        hits.push({ kind: 'hidden', id: kind, tier: 'hidden', title: kind, form: kind, value: decoded, start, end });
    return { hits, complete };
  }
}

/** All hidden text, also where there is more than is told of in one go. */
function allHiddenText(text: Buffer): ReturnType<typeof findHiddenText> {
  const out = findHiddenText(text);
  for (let last = out.at(-1); last?.decoded === '…' && last.end === text.length; last = out.at(-1)) {
    out.pop();
    const from = last.start;
    const more = findHiddenText(text.subarray(from));
    for (const span of more) out.push({ ...span, start: span.start + from, end: span.end + from });
    if (more.length === 0) break;
  }
  return out;
}

interface BlobField {
  readonly token: Span;
  readonly decoded: Buffer;
  /** Whether it was too long to be decoded. */
  readonly cut: boolean;
}

/** Fields that hold base64 as a whole, by the names they have in MCP. */
function blobFields(raw: Buffer): BlobField[] {
  const out: BlobField[] = [];
  let budget = MAX_BLOB_BYTES;
  for (const key of BLOB_KEYS)
    for (let at = raw.indexOf(key); at >= 0; at = raw.indexOf(key, at + key.length)) {
      let i = at + key.length;
      while (isSpace(raw[i])) i++;
      if (raw[i] !== 0x3a) continue;
      i++;
      while (isSpace(raw[i])) i++;
      if (raw[i] !== 0x22) continue;
      const end = raw.indexOf(0x22, i + 1);
      const length = end - i - 1;
      if (end < 0 || length < MIN_BLOB || length % 4 !== 0 || !isAscii(raw.subarray(i + 1, end))) continue;
      const token = { start: i, end: end + 1 };
      if (length > budget) {
        out.push({ token, decoded: Buffer.alloc(0), cut: true });
        continue;
      }
      const text = raw.toString('latin1', i + 1, end);
      if (!BASE64.test(text)) continue;
      budget -= length;
      out.push({ token, decoded: Buffer.from(text, 'base64'), cut: false });
    }
  return out;
}

/** What a log notification says (2025-11-25, server/utilities/logging): text that happens to look like base64. */
function isLogData({ path }: Scalar): boolean {
  return path.length === 2 && path[0] === 'params' && path[1] === 'data';
}

function isSpace(c: number | undefined): boolean {
  return c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;
}

/** Those of `scalars` (in order, apart) that a range touches. */
function overlapping(scalars: readonly Scalar[], start: number, end: number): readonly Scalar[] {
  let [low, high] = [0, scalars.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((scalars[middle] as Scalar).end <= start) low = middle + 1;
    else high = middle;
  }
  let until = low;
  while (until < scalars.length && (scalars[until] as Scalar).start < end) until++;
  return scalars.slice(low, until);
}

/** A range that cuts no character of UTF-8. */
function widened(raw: Buffer, from: number, to: number): Span {
  let [start, end] = [from, to];
  while (start > 0 && ((raw[start] as number) & 0xc0) === 0x80) start--;
  while (end < raw.length && ((raw[end] as number) & 0xc0) === 0x80) end++;
  return { start, end };
}

function spanOf({ start, end }: Span): Span {
  return { start, end };
}

function asHit({ kind, id, tier, title, form, value }: FlatHit, parts: readonly Part[]): Hit {
  return { kind, id, tier, title, form, value, parts };
}
