import { keywordPlace, rareByte, type KeywordPlace } from './leads.ts';
import { readRegex, type Node } from './regex.ts';
import { leadingSets, maxLength, minLength, nestedRepetition } from './regexFacts.ts';
import type { Rule } from './rule.ts';

/** Longest match of a rule, bytes: a rule that could find longer ones is refused. A private key of 8,192 bits is the longest thing to find. */
export const MAX_MATCH_BYTES = 16_384;
/** Places of a match that are looked at before the regular expression is. */
const PROBED_PLACES = 48;

/** Bytes behind a keyword that may be needed to tell it. */
const SHORT = 2;

/** What stops a rule from being used, undefined if nothing does. */
export function problemOf(rule: Rule): string | undefined {
  try {
    return problemWith(rule, readRegex(rule.pattern, { anyCase: rule.anyCase }));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function problemWith(rule: Rule, node: Node): string | undefined {
  if (rule.keywords.length === 0) return 'it has no keywords: it would have to be tried everywhere';
  if (rule.keywords.some((k) => k.length < 2 || k !== k.toLowerCase() || /[^\x20-\x7e]/.test(k))) return 'a keyword is no lower-case ASCII';
  if (maxLength(node) > MAX_MATCH_BYTES) return `it can match more than ${MAX_MATCH_BYTES} bytes`;
  if (minLength(node) < 4) return 'it can match less than four bytes';
  return nestedRepetition(node);
}

/** A rule that is ready for use. */
export interface CompiledRule {
  readonly rule: Rule;
  readonly index: number;
  readonly maxLength: number;
  /** Sticky: tried at one place. */
  readonly sticky: RegExp;
  readonly global: RegExp;
  /** Places at which the byte is checked first, and with which table. */
  readonly probes: readonly { readonly place: number; readonly set: Uint8Array }[];
  /** Where in a match the keywords stand; `undefined` if that can't be told. */
  readonly place: KeywordPlace | undefined;
  /** What can stand behind its keywords, by place; only where they stand at a fixed place. */
  readonly after: (keyword: string) => readonly Uint8Array[];
  /** A byte that every match holds and text seldom does. */
  readonly rare: number | undefined;
}

function compileRule(rule: Rule, index: number): CompiledRule {
  const node = readRegex(rule.pattern, { anyCase: rule.anyCase });
  const problem = problemWith(rule, node);
  if (problem !== undefined) throw new Error(`Rule ${rule.id}: ${problem}`);
  const flags = rule.anyCase ? 'i' : '';
  const sets = leadingSets(node, PROBED_PLACES);
  // The last place tells most, the one in the middle next, the first few nothing: they are the keyword.
  const places = [...new Set([sets.length - 1, sets.length >> 1, Math.floor(sets.length * 0.75)])].filter((place) => place >= 0);
  const place = keywordPlace(node, rule.keywords);
  return {
    rule,
    index,
    maxLength: maxLength(node),
    sticky: new RegExp(rule.pattern, `${flags}y`),
    global: new RegExp(rule.pattern, `${flags}g`),
    probes: places.map((at) => ({ place: at, set: sets[at] as Uint8Array })),
    place,
    after: ({ length }) => (place?.min === place?.max ? sets.slice((place?.min ?? sets.length) + length).slice(0, SHORT) : []),
    rare: rareByte(node, rule.keywords),
  };
}

/** A rule that is compiled when its keyword is met first: most never are. */
export class LazyRule {
  readonly rule: Rule;
  readonly index: number;
  #compiled: CompiledRule | undefined;

  constructor(rule: Rule, index: number) {
    this.rule = rule;
    this.index = index;
  }

  /** @throws if the rule can’t be used. */
  compile(): CompiledRule {
    return (this.#compiled ??= compileRule(this.rule, this.index));
  }
}
