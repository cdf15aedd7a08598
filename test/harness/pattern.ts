/** `text` as the source of a pattern that matches it literally. */
export function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** A pattern for texts of the interface: an expression as it is, a string literally and in any case. */
export function pattern(text: string | RegExp): RegExp {
  return text instanceof RegExp ? text : new RegExp(escapePattern(text), 'i');
}
