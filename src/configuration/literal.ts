import type { Format } from './document.ts';

/** A text as a literal of a format: always in double quotes, with the escapes that JSON, TOML 1.0 and YAML 1.2 share. */
export function quote(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f');
}

/** A key, in quotes where the format needs them. */
export function quoteKey(key: string, format: Format): string {
  if (format === 'json') return quote(key);
  return format === 'toml' ? (/^[A-Za-z0-9_-]+$/.test(key) ? key : quote(key)) : /^[A-Za-z_][A-Za-z0-9_-]*$/.test(key) ? key : quote(key);
}

/** A list of texts on one line, the same in all three formats. */
export function quoteList(texts: readonly string[]): string {
  return `[${texts.map(quote).join(', ')}]`;
}

/** Variables in braces on one line. */
export function quoteMap(map: Readonly<Record<string, string>>, format: Format): string {
  const pairs = Object.entries(map).map(([key, value]) => `${quoteKey(key, format)}${format === 'toml' ? ' = ' : ': '}${quote(value)}`);
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}

/**
 * The stretch inside a literal that stands for a stretch of its text, if the literal says the text as it is: plain, or in quotes without
 * escapes. `undefined` otherwise.
 */
export function withinLiteral(
  literal: string,
  text: string,
  offset: number,
  length: number,
): { readonly offset: number; readonly length: number } | undefined {
  if (literal === text) return { offset, length };
  const first = literal[0];
  const quoted =
    (first === '"' || first === "'") && literal.length === text.length + 2 && literal.endsWith(first) && literal.slice(1, -1) === text;
  return quoted ? { offset: offset + 1, length } : undefined;
}
