/** Control, format, private-use and other characters that show nothing or change what is shown, except line feed and tab. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|\u115f|\u1160|\u17b4|\u17b5|\u3164|\uffa0/gu;

/** Printable ASCII. */
const PLAIN = /^[\x20-\x7e]*$/;

/**
 * `text` for showing to a person who decides by it: invisible characters appear as `\u{…}`, line feeds and tabs as `\n`, `\t`,
 * and at most `maxCharacters` code points remain, the middle left out.
 */
export function visible(text: string, maxCharacters = Number.POSITIVE_INFINITY): string {
  // Most names: every character is one code point and shows itself.
  if (text.length <= maxCharacters && PLAIN.test(text)) return text;
  const shown = text.replace(INVISIBLE, (c) => (c === '\n' ? '\\n' : c === '\t' ? '\\t' : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`));
  const points = Array.from(shown);
  if (points.length <= maxCharacters) return shown;
  const head = Math.ceil((maxCharacters - 1) / 2);
  return `${points.slice(0, head).join('')}…${points.slice(points.length - (maxCharacters - 1 - head)).join('')}`;
}

/** Remaining time in the words of the interface: `45 s`, `14 min`, `3 h`, `2 d`. */
export function remaining(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}
