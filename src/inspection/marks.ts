/** Text that stands for a secret that was taken out. The model reads it, so it says what happened. */
export function redactionMark(name: string): string {
  return `⟦culvert: ${name} redacted⟧`;
}

/** What a schema says about a string. `shape`: more than its length matters, such as a pattern, a format or a list of values. */
export interface StringLimit {
  readonly maxCharacters: number | undefined;
  readonly shape: boolean;
  /** The value must be a number. */
  readonly number: boolean;
}

/** Length as schemas count it: code points. */
export function charactersOf(text: string): number {
  return Array.from(text).length;
}

/** Of the same length, with nothing of what it stands for. */
export function lengthMask(text: string): string {
  return '*'.repeat(charactersOf(text));
}

/**
 * Of the same length and the same kinds of characters, so that a pattern or format most likely still holds: letters become `a` or `A`,
 * digits `0`, everything else stays.
 */
export function shapeMask(text: string): string {
  return text
    .replace(/\p{Ll}|\p{Lo}/gu, 'a')
    .replace(/\p{Lu}/gu, 'A')
    .replace(/\p{N}/gu, '0');
}
