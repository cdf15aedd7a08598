/** Longest pattern that is taken, characters. Matching costs at most pattern times text. */
export const MAX_GLOB_CHARACTERS = 1_024;

/** A compiled pattern. */
export type Matcher = (text: string) => boolean;

const STAR = 0;
const GLOBSTAR = 1;
const ANY_ONE = 2;

/**
 * Compiles a pattern: `*` stands for any run of characters, `?` for one. With a `separator`, neither crosses it and `**` does. All
 * other characters stand for themselves, case counts. Time is bounded by pattern times text, whatever the pattern.
 */
export function compileGlob(pattern: string, separator?: string): Matcher {
  const tokens = tokenize(pattern, separator !== undefined);
  const first = tokens[0];
  if (tokens.every((t) => typeof t === 'string')) return (text) => text === pattern;
  if (tokens.length === 1 && first !== ANY_ONE && (separator === undefined || first === GLOBSTAR)) return () => true;
  return (text) => matches(tokens, text, separator);
}

function tokenize(pattern: string, globstar: boolean): (string | number)[] {
  const tokens: (string | number)[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern.charAt(i);
    if (c === '?') tokens.push(ANY_ONE);
    else if (c !== '*') tokens.push(c);
    else {
      let stars = 1;
      while (pattern.charAt(i + 1) === '*') {
        stars++;
        i++;
      }
      tokens.push(globstar && stars > 1 ? GLOBSTAR : STAR);
    }
  }
  return tokens;
}

/** All positions of the pattern that the text read so far can have led to, moved on character by character. */
function matches(tokens: readonly (string | number)[], text: string, separator: string | undefined): boolean {
  let here = new Uint8Array(tokens.length + 1);
  let next = new Uint8Array(tokens.length + 1);
  reach(tokens, here, 0);
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    const barrier = c === separator;
    next.fill(0);
    let alive = false;
    for (let at = 0; at < tokens.length; at++) {
      if (here[at] !== 1) continue;
      const token = tokens[at];
      if (token === GLOBSTAR || (token === STAR && !barrier)) {
        reach(tokens, next, at);
        alive = true;
      } else if (token === c || (token === ANY_ONE && !barrier)) {
        reach(tokens, next, at + 1);
        alive = true;
      }
    }
    if (!alive) return false;
    [here, next] = [next, here];
  }
  return here[tokens.length] === 1;
}

function reach(tokens: readonly (string | number)[], positions: Uint8Array, from: number): void {
  for (let at = from; ; at++) {
    positions[at] = 1;
    const token = tokens[at];
    if (token !== STAR && token !== GLOBSTAR) return;
  }
}
