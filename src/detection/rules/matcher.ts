import { united } from './byteSets.ts';
import { checkHolds, entropyOf } from './checks.ts';
import { LazyRule, type CompiledRule } from './compiledRule.ts';
import { KeywordScanner, SENTINEL } from './keywords.ts';
import type { Rule } from './rule.ts';

/** A place that a rule found. Offsets count bytes; the secret alone, not what it was told by. */
export interface PatternMatch {
  readonly start: number;
  readonly end: number;
  readonly rule: Rule;
  /** True if a checksum in the token holds. */
  readonly verified: boolean;
}

/** Windows of a rule that touch are searched in one, up to this many bytes. */
const MAX_WINDOW_BYTES = 65_536;
/** Bytes before a window that an assertion may look at. */
const LOOK_BYTES = 64;
/** In place of a place: nobody has asked yet. */
const NEVER = 0xffffffff;
/** How long rules are compiled at a time where that happens in slices, milliseconds. */
const SLICE_MS = 3;

/** How a keyword leads to a rule. */
interface Lead {
  readonly lazy: LazyRule;
  readonly keywordLength: number;
}

/** Keywords below this are told with the help of what may stand behind them, characters. */
const SHORT_KEYWORD = 4;

/**
 * Finds what the rules describe. One pass finds all keywords; an expression is tried only where one is, and only as far as its longest match:
 * the time is linear, whatever the text.
 */
export class PatternMatcher {
  readonly rules: readonly Rule[];
  readonly #keywords: KeywordScanner;
  /** By keyword. */
  readonly #leads: readonly (readonly Lead[])[];
  /** Rules with a window that is to be searched. */
  readonly #opened = new Set<CompiledRule>();
  /** By rule: end of the last match, and the window that is to be searched. */
  readonly #ends: Uint32Array;
  readonly #from: Uint32Array;
  readonly #to: Uint32Array;
  /** By rule: a place in the text, and the next place from there on of the byte that its matches hold. */
  readonly #askedFrom: Uint32Array;
  readonly #nextAt: Uint32Array;
  /** Whether these are about this text. */
  #begun = false;

  /** @throws if a rule can't be used, see `problemOf`. `lazy`: the rules, where somebody else sees to it that they can. */
  constructor(rules: readonly Rule[], lazy = rules.map(eager)) {
    this.rules = rules;
    const leads = new Map<string, Lead[]>();
    for (const one of lazy)
      for (const keyword of one.rule.keywords) {
        const list = leads.get(keyword) ?? [];
        list.push({ lazy: one, keywordLength: keyword.length });
        leads.set(keyword, list);
      }
    this.#keywords = new KeywordScanner(
      Array.from(leads, ([text, list]) => ({ text, after: setsAfter(text, list), needsSentinel: list.every(needsSentinel) })),
    );
    this.#leads = [...leads.values()];
    this.#ends = new Uint32Array(rules.length);
    this.#from = new Uint32Array(rules.length);
    this.#to = new Uint32Array(rules.length);
    this.#askedFrom = new Uint32Array(rules.length);
    this.#nextAt = new Uint32Array(rules.length);
  }

  /**
   * The same for rules that can be used, in slices of a few milliseconds, for a thread that has other things to do. What is not needed at
   * once is compiled behind its back.
   */
  static async inSlices(rules: readonly Rule[]): Promise<PatternMatcher> {
    const lazy = rules.map((rule, index) => new LazyRule(rule, index));
    const isShort = ({ rule }: LazyRule) => rule.keywords.some(({ length }) => length < SHORT_KEYWORD);
    await compileInSlices(lazy.filter(isShort));
    const matcher = new PatternMatcher(rules, lazy);
    setImmediate(() => void compileInSlices(lazy));
    return matcher;
  }

  /** All places in `text`, in order and apart: of places that overlap the one of the surer tier stays, then the longer one. */
  find(text: Buffer): PatternMatch[] {
    const out: PatternMatch[] = [];
    this.#begun = false;
    this.#keywords.scan(text, (keyword, at) => {
      if (!this.#begun) this.#begin();
      const leads = this.#leads[keyword] as readonly Lead[];
      for (const { lazy, keywordLength } of leads) {
        const compiled = lazy.compile();
        const { place } = compiled;
        if (place?.min !== place?.max || !place) {
          this.#widen(compiled, text, at, at + keywordLength, out);
          continue;
        }
        const start = at - place.min;
        if (start >= (this.#ends[compiled.index] as number) && passes(compiled, text, start)) this.#tryAt(compiled, text, start, out);
      }
    });
    for (const compiled of this.#opened) this.#search(compiled, text, out);
    this.#opened.clear();
    return out.length > 1 ? apart(out) : out;
  }

  /** Forgets the text before, at the first keyword: most texts hold none. */
  #begin(): void {
    this.#begun = true;
    this.#ends.fill(0);
    this.#to.fill(0);
    this.#askedFrom.fill(NEVER);
  }

  #tryAt(compiled: CompiledRule, text: Buffer, at: number, out: PatternMatch[]): void {
    const { rule, sticky, maxLength: longest, rare } = compiled;
    if (rule.boundary && !isBoundary(text, at)) return;
    if (rare !== undefined && !this.#holds(compiled.index, rare, text, at, at + longest)) return;
    const before = Math.max(0, at - LOOK_BYTES);
    const window = text.toString('latin1', before, Math.min(text.length, at + longest + LOOK_BYTES));
    sticky.lastIndex = at - before;
    const found = sticky.exec(window);
    if (found) this.#add(compiled, before, found, out);
  }

  /** Remembers that a rule is to be searched around a keyword. */
  #widen(compiled: CompiledRule, text: Buffer, at: number, end: number, out: PatternMatch[]): void {
    const { index, maxLength: longest, place, rare } = compiled;
    const from = Math.max(0, at - (place?.max ?? longest));
    const to = Math.min(text.length, (place ? at : end) + longest);
    if (rare !== undefined && !this.#holds(index, rare, text, from, to)) return;
    const [openFrom, openTo] = [this.#from[index] as number, this.#to[index] as number];
    // Keywords come nearly in order.
    if (openTo > 0 && from <= openTo && to >= openFrom && Math.max(to, openTo) - Math.min(from, openFrom) <= MAX_WINDOW_BYTES) {
      this.#from[index] = Math.min(from, openFrom);
      this.#to[index] = Math.max(to, openTo);
      return;
    }
    if (openTo > 0) this.#search(compiled, text, out);
    this.#opened.add(compiled);
    this.#from[index] = from;
    this.#to[index] = to;
  }

  /** Whether the byte that a rule’s matches hold stands in a part of the text. A text without it is looked through once. */
  #holds(rule: number, byte: number, text: Buffer, from: number, to: number): boolean {
    const asked = this.#askedFrom[rule] as number;
    if (asked === NEVER || (this.#nextAt[rule] as number) < from) {
      const at = text.indexOf(byte, from);
      this.#askedFrom[rule] = from;
      this.#nextAt[rule] = at < 0 ? text.length : at;
    } else if (from < asked) {
      // Back a little, as keywords come nearly in order.
      for (let i = from; i < Math.min(asked, to); i++) if (text[i] === byte) return true;
    }
    return (this.#nextAt[rule] as number) < to;
  }

  #search(compiled: CompiledRule, text: Buffer, out: PatternMatch[]): void {
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

  #add({ rule, index }: CompiledRule, before: number, found: RegExpExecArray, out: PatternMatch[]): void {
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

function eager(rule: Rule, index: number): LazyRule {
  const lazy = new LazyRule(rule, index);
  lazy.compile();
  return lazy;
}

async function compileInSlices(rules: readonly LazyRule[]): Promise<void> {
  let begun = performance.now();
  for (const lazy of rules) {
    lazy.compile();
    if (performance.now() - begun < SLICE_MS) continue;
    await new Promise(setImmediate);
    begun = performance.now();
  }
}

/** Whether every match of a rule holds the sentinel. Expressions that don't name it are not compiled to know. */
function needsSentinel({ lazy }: Lead): boolean {
  return lazy.rule.pattern.includes(String.fromCharCode(SENTINEL)) && lazy.compile().rare === SENTINEL;
}

/** What may stand right behind a keyword, as far as all that it leads to agrees; bytes of any of them. */
function setsAfter(text: string, leads: readonly Lead[]): readonly Uint8Array[] {
  if (text.length >= SHORT_KEYWORD) return [];
  const all = leads.map(({ lazy }) => lazy.compile().after(text));
  const length = Math.min(...all.map((sets) => sets.length));
  return Array.from({ length }, (_, i) => all.map((sets) => sets[i] as Uint8Array).reduce(united));
}

function passes({ probes }: CompiledRule, text: Buffer, at: number): boolean {
  for (const { place, set } of probes) {
    const c = text[at + place];
    if (c === undefined || set[c] === 0) return false;
  }
  return true;
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

/** How much a rule knows beforehand of what it finds, bytes. */
function told({ rule }: PatternMatch): number {
  return Math.max(...rule.keywords.map((keyword) => keyword.length));
}

function apart(matches: PatternMatch[]): PatternMatch[] {
  matches.sort(
    (a, b) =>
      a.start - b.start ||
      RANK[a.rule.tier] - RANK[b.rule.tier] ||
      b.end - a.end ||
      a.rule.keywords.length - b.rule.keywords.length ||
      told(b) - told(a),
  );
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
