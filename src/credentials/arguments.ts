import type { Edit, Span } from '../mcp/json.ts';
import { stringsWithin } from '../mcp/jsonStrings.ts';
import type { Placement } from './credential.ts';
import type { Secret } from './secret.ts';

/** What begins a placeholder in an argument. */
export const PLACEHOLDER_START = '${culvert:';

const PLACEHOLDER = /\$\{culvert:([A-Za-z0-9_.-]{1,60})\}/g;
const START = Buffer.from(PLACEHOLDER_START);

/** A placeholder that a call holds where its credential may not go, or that stands for nothing the server has. */
export interface Misplaced {
  readonly placeholder: string;
  /** JSON Pointer into the arguments. */
  readonly argument: string;
}

/** A credential that may stand in arguments. */
export interface ArgumentValue {
  readonly placement: Extract<Placement, { kind: 'argument' }>;
  readonly secret: Secret;
}

/** Whether a message may hold a placeholder at all: one search of its bytes. */
export function mayHoldPlaceholder(bytes: Buffer): boolean {
  return bytes.includes(START);
}

/**
 * Puts values in the place of their placeholders, where the user bound them to that tool and argument. Anything else that looks like the
 * placeholder of a credential is told as misplaced: the call must not go out then. Pure.
 */
export function fillPlaceholders(
  bytes: Buffer,
  span: Span,
  tool: string,
  values: readonly ArgumentValue[],
): { readonly edits: readonly Edit[]; readonly misplaced: readonly Misplaced[] } {
  const edits: Edit[] = [];
  const misplaced: Misplaced[] = [];
  for (const { pointer, span: at, text } of stringsWithin(bytes, span)) {
    if (!text.includes(PLACEHOLDER_START)) continue;
    const before = misplaced.length;
    const filled = text.replace(PLACEHOLDER, (whole, name: string) => {
      const value = values.find(
        ({ placement }) =>
          placement.placeholder === name && placement.places.some((place) => place.tool === tool && place.argument === pointer),
      );
      if (!value) {
        misplaced.push({ placeholder: name, argument: pointer });
        return whole;
      }
      return value.secret.expose();
    });
    if (filled !== text && misplaced.length === before) edits.push({ span: at, replacement: JSON.stringify(filled) });
  }
  return { edits, misplaced };
}
