import { noteSecret } from './noted.ts';

/** A made-up secret that stands in no source file as a whole. */
export function madeUpSecret(tag = 'a'): string {
  return noteSecret(['tok', '8fK2', 'Qw93', tag, 'zL0p', 'VxR7'].join('-'));
}

/** The ways in which a value could hide in a file: as is, base64 at three alignments and both alphabets, hex, percent-encoded, escaped. */
export function traces(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8');
  const cores = [0, 1, 2].map((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    return text.slice(shift === 0 ? 0 : shift + 1, Math.floor(((bytes.length + shift) * 8) / 6));
  });
  const hex = bytes.toString('hex');
  return [
    value,
    ...cores,
    ...cores.map((c) => c.replaceAll('+', '-').replaceAll('/', '_')),
    hex,
    hex.toUpperCase(),
    encodeURIComponent(value),
    Array.from(bytes, (b) => `%${b.toString(16).padStart(2, '0')}`).join(''),
    JSON.stringify(value).slice(1, -1),
  ];
}

/** Which traces of `value` stand in `haystack`. */
export function tracesIn(haystack: Buffer | string, value: string): string[] {
  const bytes = typeof haystack === 'string' ? Buffer.from(haystack, 'utf8') : haystack;
  return traces(value).filter((trace) => bytes.includes(trace));
}
