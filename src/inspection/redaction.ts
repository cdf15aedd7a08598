import { applyEdits, type Edit, type Span } from '../mcp/json.ts';
import { charactersOf, lengthMask, redactionMark, shapeMask } from './marks.ts';
import type { OutputSchema } from './outputSchemas.ts';
import type { Part } from './search.ts';

/** Something that has to go: where it stands, and the name that its mark has; '' for what goes without one. */
export interface Removal {
  readonly parts: readonly Part[];
  readonly name: string;
  /** What is put in its place instead of the usual mark. */
  readonly mark?: string;
}

interface Cut extends Span {
  readonly name: string;
  readonly mark?: string | undefined;
}

interface Token {
  readonly token: Span;
  readonly kind: Part['kind'];
  readonly path: readonly (string | number)[];
  readonly cuts: Cut[];
}

const FILLER = 0x2a;

/**
 * Takes things out of a message and puts marks in their places. Bytes beside them stay as they were; the message stays valid JSON, its base64
 * fields base64, and structured results as their schema wants them, as far as that can be told. `whole` replaces each string that holds
 * something as a whole.
 */
export function redact(raw: Buffer, removals: readonly Removal[], schema: OutputSchema | undefined, whole = false): Buffer {
  const tokens = new Map<number, Token>();
  for (const { parts, name, mark } of removals)
    for (const { token, kind, path, start, end } of parts) {
      let entry = tokens.get(token.start);
      if (!entry) tokens.set(token.start, (entry = { token, kind, path, cuts: [] }));
      entry.cuts.push({ start, end, name, mark });
    }
  return applyEdits(
    raw,
    [...tokens.values()].flatMap((token) => editsOf(raw, token, schema, whole)),
  );
}

function editsOf(raw: Buffer, { token, kind, path, cuts }: Token, schema: OutputSchema | undefined, whole: boolean): Edit[] {
  const merged = merge(cuts);
  const name = merged.find((cut) => cut.name !== '')?.name ?? 'hidden text';
  switch (kind) {
    case 'text':
      return whole
        ? [{ span: token, replacement: redactionMark(name) }]
        : merged.map(({ start, end, name: own, mark }) => ({
            span: { start, end },
            replacement: mark ?? (own === '' ? '' : redactionMark(own)),
          }));
    case 'blob':
      return [{ span: token, replacement: JSON.stringify(whole ? toBase64(redactionMark(name)) : maskedBlob(raw, token, merged)) }];
    case 'other': {
      const limit = limitOf(schema, path);
      return [{ span: token, replacement: limit?.number === true ? '0' : JSON.stringify(redactionMark(name)) }];
    }
    case 'key':
    case 'string': {
      const limit = kind === 'string' ? limitOf(schema, path) : undefined;
      const inner = { start: token.start + 1, end: token.end - 1 };
      if (limit && merged.some((cut) => cut.name !== '')) return [masked(raw, token, whole ? [{ ...inner, name }] : merged, limit)];
      if (whole) return [{ span: inner, replacement: inJson(redactionMark(name)) }];
      return merged.map(({ start, end, name: own, mark }) => ({
        span: { start, end },
        replacement: inJson(mark ?? (own === '' ? '' : redactionMark(own))),
      }));
    }
  }
}

/** A string as its schema wants it: with marks if they fit, else with masks of the same length. */
function masked(raw: Buffer, token: Span, cuts: readonly Cut[], limit: NonNullable<ReturnType<OutputSchema['limitAt']>>): Edit {
  const build = (fill: (text: string, name: string, mark?: string) => string): string => {
    let out = '';
    let at = token.start + 1;
    for (const { start, end, name, mark } of cuts) {
      out += unescaped(raw, at, start) + (name === '' ? '' : fill(unescaped(raw, start, end), name, mark));
      at = end;
    }
    return out + unescaped(raw, at, token.end - 1);
  };
  let text = build((_, name, mark) => mark ?? redactionMark(name));
  if (limit.shape) {
    const kept = build((value) => value);
    const shaped = build(shapeMask);
    text = shaped === kept ? build(lengthMask) : shaped;
  } else if (limit.maxCharacters !== undefined && charactersOf(text) > limit.maxCharacters) text = build(lengthMask);
  return { span: token, replacement: JSON.stringify(text) };
}

/** What a part of a string says: cuts never fall into an escape. */
export function unescaped(raw: Buffer, start: number, end: number): string {
  return JSON.parse(`"${raw.toString('utf8', start, end)}"`) as string;
}

function maskedBlob(raw: Buffer, token: Span, cuts: readonly Cut[]): string {
  const decoded = Buffer.from(raw.toString('latin1', token.start + 1, token.end - 1), 'base64');
  for (const { start, end } of cuts) decoded.fill(FILLER, start, end);
  return decoded.toString('base64');
}

function toBase64(text: string): string {
  return Buffer.from(text, 'utf8').toString('base64');
}

function limitOf(schema: OutputSchema | undefined, path: readonly (string | number)[]) {
  return schema && path[0] === 'result' && path[1] === 'structuredContent' ? schema.limitAt(path.slice(2)) : undefined;
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** Cuts that touch become one, named by the first that has a name. */
function merge(cuts: Cut[]): Cut[] {
  cuts.sort((a, b) => a.start - b.start || b.end - a.end);
  const out: Cut[] = [];
  for (const cut of cuts) {
    const last = out.at(-1);
    if (last && cut.start < last.end)
      out[out.length - 1] = { start: last.start, end: Math.max(last.end, cut.end), name: last.name === '' ? cut.name : last.name };
    else out.push(cut);
  }
  return out;
}
