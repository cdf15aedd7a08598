import { checkHolds, entropyOf } from './checks.ts';
import { KeywordAutomaton } from './keywords.ts';
import { leadingSets, maxLength, minLength, nestedRepetition, readRegex, type Node } from './regex.ts';
import type { Rule } from './rule.ts';

/** A place that a rule found. Offsets count bytes; the secret alone, not what it was told by. */
export interface PatternMatch {
  readonly start: number;
  readonly end: number;
  readonly rule: Rule;
  /** True if a checksum in the token holds. */
  readonly verified: boolean;
}

/** Longest match of a rule, bytes: a rule that could find longer ones is refused. A private key of 8,192 bits is the longest thing to find. */
export const MAX_MATCH_BYTES = 16_384;
/** Places of a match that are looked at before the regular expression is. */
const PROBED_PLACES = 48;
/** Windows of a rule that touch are searched in one, up to this many bytes. */
const MAX_WINDOW_BYTES = 65_536;
/** Bytes before a window that an assertion may look at. */
const LOOK_BYTES = 64;
/** How long rules are compiled at a time where that happens in slices, milliseconds. */
const SLICE_MS = 3;

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

interface Compiled {
  readonly rule: Rule;
  readonly index: number;
  readonly maxLength: number;
  /** Sticky: tried at one place. */
  readonly sticky: RegExp;
  readonly global: RegExp;
  /** Places at which the byte is checked first, and with which table. */
  readonly probes: readonly { readonly place: number; readonly set: Uint8Array }[];
}

/** A rule that is ready for use, and its expression. */
type CompiledRule = Compiled & { readonly node: Node };

/** How a keyword leads to a rule: every match begins with it, or has it somewhere. */
interface Lead {
  readonly compiled: Compiled;
  readonly keywordLength: number;
  readonly begins: boolean;
}

/**
 * Finds what the rules describe. One pass finds all keywords; an expression is tried only where one is, and only as far as its longest match:
 * the time is linear, whatever the text.
 */
export class PatternMatcher {
  readonly rules: readonly Rule[];
  readonly #automaton: KeywordAutomaton;
  /** By keyword. */
  readonly #leads: readonly (readonly Lead[])[];
  /** Rules whose matches don't begin with a keyword. */
  readonly #searched: readonly Compiled[];
  /** By rule: end of the last match, and the window that is to be searched. */
  readonly #ends: Uint32Array;
  readonly #from: Uint32Array;
  readonly #to: Uint32Array;

  /** @throws if a rule can't be used, see {@link problemOf}. `prepared`: the rules compiled, if somebody did that already. */
  constructor(rules: readonly Rule[], prepared: readonly CompiledRule[] = rules.map(compileRule)) {
    this.rules = rules;
    const byKeyword = new Map<string, Lead[]>();
    const searched: Compiled[] = [];
    rules.forEach((rule, index) => {
      const compiled = prepared[index] as CompiledRule;
      const begins = rule.keywords.map((keyword) => beginsWith(compiled.node, keyword, rule.keywords));
      const all = begins.every(Boolean);
      if (!all) searched.push(compiled);
      for (const keyword of rule.keywords) {
        const lead = { compiled, keywordLength: keyword.length, begins: all };
        const list = byKeyword.get(keyword);
        if (list) list.push(lead);
        else byKeyword.set(keyword, [lead]);
      }
    });
    this.#automaton = new KeywordAutomaton([...byKeyword.keys()]);
    this.#leads = [...byKeyword.values()];
    this.#searched = searched;
    this.#ends = new Uint32Array(rules.length);
    this.#from = new Uint32Array(rules.length);
    this.#to = new Uint32Array(rules.length);
  }

  /** The same as the constructor, in slices of a few milliseconds: for a thread that has other things to do. */
  static async inSlices(rules: readonly Rule[]): Promise<PatternMatcher> {
    const prepared: CompiledRule[] = [];
    let begun = performance.now();
    for (const [index, rule] of rules.entries()) {
      prepared.push(compileRule(rule, index));
      if (performance.now() - begun < SLICE_MS) continue;
      await new Promise(setImmediate);
      begun = performance.now();
    }
    await new Promise(setImmediate);
    return new PatternMatcher(rules, prepared);
  }

  /** All places in `text`, in order and apart: of places that overlap the one of the surer tier stays, then the longer one. */
  find(text: Buffer): PatternMatch[] {
    const out: PatternMatch[] = [];
    this.#ends.fill(0);
    this.#to.fill(0);
    this.#automaton.scan(text, (keyword, end) => {
      const leads = this.#leads[keyword] as readonly Lead[];
      for (const { compiled, keywordLength, begins } of leads) {
        const at = end - keywordLength;
        if (!begins) this.#widen(compiled, text, at, end, out);
        else if (at >= (this.#ends[compiled.index] as number) && passes(compiled, text, at)) this.#tryAt(compiled, text, at, out);
      }
    });
    for (const compiled of this.#searched) this.#search(compiled, text, out);
    return out.length > 1 ? apart(out) : out;
  }

  #tryAt(compiled: Compiled, text: Buffer, at: number, out: PatternMatch[]): void {
    const { rule, sticky, maxLength: longest } = compiled;
    if (rule.boundary && !isBoundary(text, at)) return;
    const before = Math.max(0, at - LOOK_BYTES);
    const window = text.toString('latin1', before, Math.min(text.length, at + longest + LOOK_BYTES));
    sticky.lastIndex = at - before;
    const found = sticky.exec(window);
    if (found) this.#add(compiled, before, found, out);
  }

  /** Remembers that a rule is to be searched around a keyword. */
  #widen(compiled: Compiled, text: Buffer, at: number, end: number, out: PatternMatch[]): void {
    const { index, maxLength: longest } = compiled;
    const from = Math.max(0, at - longest);
    const to = Math.min(text.length, end + longest);
    const open = this.#to[index] as number;
    if (open > 0 && from <= open && to - (this.#from[index] as number) <= MAX_WINDOW_BYTES) {
      this.#to[index] = to;
      return;
    }
    if (open > 0) this.#search(compiled, text, out);
    this.#from[index] = from;
    this.#to[index] = to;
  }

  #search(compiled: Compiled, text: Buffer, out: PatternMatch[]): void {
    const { index, rule, global } = compiled;
    const to = this.#to[index] as number;
    if (to === 0) return;
    this.#to[index] = 0;
    const from = Math.max(this.#from[index] as number, this.#ends[index] as number);
    const before = Math.max(0, from - LOOK_BYTES);
    const window = text.toString('latin1', before, Math.min(text.length, to + LOOK_BYTES));
    global.lastIndex = from - before;
    for (let found = global.exec(window); found; found = global.exec(window))
      if (!rule.boundary || isBoundary(text, before + found.index)) this.#add(compiled, before, found, out);
  }

  #add({ rule, index }: Compiled, before: number, found: RegExpExecArray, out: PatternMatch[]): void {
    const [whole, group] = found;
    const secret = group ?? whole;
    const start = before + found.index + (group === undefined ? 0 : whole.lastIndexOf(group));
    if (isFilled(secret, rule)) return;
    if (rule.minEntropy > 0 && entropyOf(secret) < rule.minEntropy) return;
    let verified = false;
    for (const check of rule.checks) {
      const holds = checkHolds(check, secret);
      if (check.startsWith('crc32')) verified ||= holds === true;
      else if (holds === false) return;
    }
    this.#ends[index] = before + found.index + whole.length;
    out.push({ start, end: start + secret.length, rule, verified });
  }
}

function compileRule(rule: Rule, index: number): CompiledRule {
  const node = readRegex(rule.pattern, { anyCase: rule.anyCase });
  const problem = problemWith(rule, node);
  if (problem !== undefined) throw new Error(`Rule ${rule.id}: ${problem}`);
  const flags = rule.anyCase ? 'i' : '';
  const sets = leadingSets(node, PROBED_PLACES);
  // The last place tells most, the one in the middle next, the first few nothing: they are the keyword.
  const places = [...new Set([sets.length - 1, sets.length >> 1, Math.floor(sets.length * 0.75)])].filter((place) => place >= 0);
  return {
    rule,
    index,
    node,
    maxLength: maxLength(node),
    sticky: new RegExp(rule.pattern, `${flags}y`),
    global: new RegExp(rule.pattern, `${flags}g`),
    probes: places.map((place) => ({ place, set: sets[place] as Uint8Array })),
  };
}

function passes({ probes }: Compiled, text: Buffer, at: number): boolean {
  for (const { place, set } of probes) {
    const c = text[at + place];
    if (c === undefined || set[c] === 0) return false;
  }
  return true;
}

/** Whether every match that has the keyword begins with it, or with another one of `all`. */
function beginsWith(node: Node, keyword: string, all: readonly string[]): boolean {
  const heads = firstNodes(node);
  return heads.some((head) => spells(head, keyword)) && heads.every((head) => all.some((other) => spells(head, other)));
}

/** The alternatives with which a match can begin, each as a sequence. */
function firstNodes(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'choice':
      return node.nodes.flatMap(firstNodes);
    case 'group':
      return firstNodes(node.node);
    case 'sequence': {
      const first = node.nodes.findIndex((inner) => inner.kind !== 'assertion');
      if (first < 0) return [node];
      const rest = node.nodes.slice(first + 1);
      return firstNodes(node.nodes[first] as Node).map((head): Node => ({ kind: 'sequence', nodes: [head, ...rest] }));
    }
    default:
      return [node];
  }
}

function spells(node: Node, keyword: string): boolean {
  const sets = leadingSets(node, keyword.length);
  if (sets.length < keyword.length) return false;
  return sets.every((set, i) => {
    const c = keyword.charCodeAt(i);
    return (
      (set[c] === 1 || set[c & 0xdf] === 1) &&
      set.every((bit, byte) => bit === 0 || byte === c || (byte >= 0x41 && byte <= 0x5a && (byte | 0x20) === c))
    );
  });
}

/** Whether a token may begin here: behind no letter or digit, unless that is part of an escape (`\n`, `%3D`, `\u003d`). */
function isBoundary(text: Buffer, at: number): boolean {
  if (at === 0 || !isWordByte(text[at - 1] as number)) return true;
  const before = text.toString('latin1', Math.max(0, at - 6), at);
  // eslint-disable-next-line no-control-regex -- the colour of a terminal
  return /\\[bfnrt]$|%[0-9A-Fa-f]{2}$|\\u00[0-7][0-9A-Fa-f]$|\\x[0-7][0-9A-Fa-f]$|\x1b\[[0-9;]{0,3}m$/.test(before);
}

function isWordByte(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a);
}

/** Longest secret that is looked at for filling, characters: keys and certificates hold zeros. */
const MAX_FILLED = 64;
const FILLING = /(.)\1{5}|0123456789|1234567890|abcdefghij/i;

/** Whether it was made up by hand: `…000000`, `…1234567890`. Chance does that once in some million tokens. */
function isFilled(secret: string, { keywords }: Rule): boolean {
  return secret.length <= MAX_FILLED && FILLING.test(secret) && !keywords.some((keyword) => FILLING.test(keyword));
}

const RANK = { exact: 0, structured: 1, generic: 2 } as const;

function apart(matches: PatternMatch[]): PatternMatch[] {
  matches.sort((a, b) => a.start - b.start || RANK[a.rule.tier] - RANK[b.rule.tier] || b.end - a.end);
  const out: PatternMatch[] = [];
  for (const match of matches) {
    const last = out.at(-1);
    if (!last || match.start >= last.end) {
      out.push(match);
      continue;
    }
    const better =
      RANK[match.rule.tier] < RANK[last.rule.tier] ||
      (match.rule.tier === last.rule.tier && match.end - match.start > last.end - last.start);
    // Both are covered; one of them names it.
    out[out.length - 1] = { ...(better ? match : last), start: last.start, end: Math.max(last.end, match.end) };
  }
  return out;
}
