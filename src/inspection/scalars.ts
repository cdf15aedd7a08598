import { JsonFault, JsonReader, MAX_RESULT_DEPTH, valueKind, type Span } from '../mcp/json.ts';

/** A string, key, number or literal of a JSON text. */
export interface Scalar extends Span {
  readonly kind: 'string' | 'key' | 'other';
  /** Its place: keys and indices from the top. That of a key is that of its object. */
  readonly path: readonly (string | number)[];
}

/** Longest key in a path that is shown, characters: keys may be data. */
const MAX_KEY_CHARACTERS = 60;
const MAX_SHOWN_PATH = 300;

/**
 * The scalars of a JSON text that overlap one of the ranges (in order of their starts), in order. Throws {@link JsonFault}; a repeated key is
 * none. A byte order mark at the beginning is skipped, as readers of bodies do.
 */
export function scalarsAt(bytes: Buffer, ranges: readonly Span[]): Scalar[] {
  const out: Scalar[] = [];
  const reader = new JsonReader(bytes, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
  const path: (string | number | Span)[] = [];
  let next = 0;
  // Ranges may reach into one another: what ends before a scalar begins is behind us, as long as all before it are.
  const touches = (start: number, end: number) => {
    while (next < ranges.length && (ranges[next] as Span).end <= start) next++;
    for (let k = next; k < ranges.length && (ranges[k] as Span).start < end; k++) if ((ranges[k] as Span).end > start) return true;
    return false;
  };
  const note = (start: number, end: number, kind: Scalar['kind']) => {
    if (next >= ranges.length || !touches(start, end)) return;
    const at = path.map((step) => (typeof step === 'object' ? reader.text(step) : step));
    out.push({ start, end, kind, path: at });
  };
  const visit = (at: number, depth: number): number => {
    switch (valueKind(bytes, at)) {
      case 'object': {
        let i = reader.skipSpace(at + 1);
        if (depth >= MAX_RESULT_DEPTH) throw new JsonFault('depth', at, 'nested too deep');
        while (bytes[i] !== 0x7d) {
          if (bytes[i] !== 0x22) throw new JsonFault('syntax', i, 'expected a key');
          const end = reader.skipString(i);
          note(i, end, 'key');
          path.push({ start: i, end });
          i = reader.skipSpace(end);
          if (bytes[i] !== 0x3a) throw new JsonFault('syntax', i, 'expected a colon');
          i = reader.skipSpace(visit(reader.skipSpace(i + 1), depth + 1));
          path.pop();
          if (bytes[i] === 0x2c) i = reader.skipSpace(i + 1);
          else if (bytes[i] !== 0x7d) throw new JsonFault('syntax', i, 'expected a comma or a closing brace');
        }
        return i + 1;
      }
      case 'array': {
        let i = reader.skipSpace(at + 1);
        if (depth >= MAX_RESULT_DEPTH) throw new JsonFault('depth', at, 'nested too deep');
        for (let index = 0; bytes[i] !== 0x5d; index++) {
          path.push(index);
          i = reader.skipSpace(visit(i, depth + 1));
          path.pop();
          if (bytes[i] === 0x2c) i = reader.skipSpace(i + 1);
          else if (bytes[i] !== 0x5d) throw new JsonFault('syntax', i, 'expected a comma or a closing bracket');
        }
        return i + 1;
      }
      case 'string': {
        const end = reader.skipString(at);
        note(at, end, 'string');
        return end;
      }
      default: {
        const end = reader.skipValue(at, 0);
        note(at, end, 'other');
        return end;
      }
    }
  };
  const begin = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const end = visit(reader.skipSpace(begin), 0);
  if (reader.skipSpace(end) !== bytes.length) throw new JsonFault('syntax', end, 'something follows the value');
  return out;
}

/** A path as a JSON pointer (RFC 6901) for showing: cut where it is long. */
export function pointerOf(path: readonly (string | number)[]): string {
  const text = path
    .map((step) => `/${String(step).slice(0, MAX_KEY_CHARACTERS).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
    .toWellFormed();
  return text.length <= MAX_SHOWN_PATH ? text : `${text.slice(0, MAX_SHOWN_PATH)}…`;
}
