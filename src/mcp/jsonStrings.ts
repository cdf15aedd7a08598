import { JsonReader, valueKind, type Span } from './json.ts';

/** A string value (no key) within a JSON value. */
export interface JsonString {
  /** JSON Pointer (RFC 6901) from the value that was given. */
  readonly pointer: string;
  /** With its quotes. */
  readonly span: Span;
  /** Decoded. */
  readonly text: string;
}

/** Every string value within the value at `span`, in order. Throws JsonFault, not on bytes that `readMessage` accepted. */
export function stringsWithin(bytes: Buffer, span: Span): JsonString[] {
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  const out: JsonString[] = [];
  const visit = (value: Span, pointer: string): void => {
    switch (valueKind(bytes, value.start)) {
      case 'string':
        out.push({ pointer, span: value, text: reader.text(value) });
        return;
      case 'object':
        reader.members(value.start, 0, (key, member) => visit(member, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`));
        return;
      case 'array':
        reader.elements(value.start, 0, (element, index) => visit(element, `${pointer}/${index}`));
        return;
      default:
        return;
    }
  };
  visit(span, '');
  return out;
}
