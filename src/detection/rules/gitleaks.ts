import { parse } from 'smol-toml';
import { LazyRule, problemOf } from './compiledRule.ts';
import { PatternMatcher, type PatternMatch } from './matcher.ts';
import { readRegex } from './regex.ts';
import { maxLength, minLength } from './regexFacts.ts';
import { regexSource, withoutPreamble } from './regexSource.ts';
import type { Rule } from './rule.ts';

/** A user's or company's own rules in the format of gitleaks (https://github.com/gitleaks/gitleaks#configuration). */
export interface GitleaksRules {
  readonly rules: readonly Rule[];
  /** What could not be used, each a sentence that names the rule. */
  readonly problems: readonly string[];
  /** Finds what the rules describe, without what the file's own allow-lists except. */
  readonly find: (text: Buffer) => PatternMatch[];
}

/** Largest file that is read, bytes, and most rules in it. */
export const MAX_GITLEAKS_BYTES = 1_048_576;
const MAX_RULES = 2_000;
/** Repetitions without an end get this one, and so the window its size. */
const CAP = 256;
/** How long rules are read at a time where that happens in slices, milliseconds. */
const SLICE_MS = 3;
/** Largest window of a rule, bytes. */
const MAX_WINDOW_BYTES = 8_192;

interface AllowList {
  readonly regexes: readonly RegExp[];
  readonly stopwords: readonly string[];
  /** What the expressions are tried on. */
  readonly target: 'secret' | 'match' | 'line';
  /** Whether all of them have to hold. */
  readonly all: boolean;
}

/**
 * Reads a `gitleaks.toml`. Expressions in RE2's syntax become JavaScript's; unbounded ones are bounded. Paths, commits and `extend` mean
 * nothing for traffic. Only for a file that the user chose: an allow-list in somebody else's hands lets secrets pass.
 */
export function readGitleaks(toml: string): GitleaksRules {
  const steps = reading(toml);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** The same in slices of a few milliseconds, for a thread that has other things to do. */
export async function readGitleaksInSlices(toml: string): Promise<GitleaksRules> {
  const steps = reading(toml);
  let begun = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    if (performance.now() - begun < SLICE_MS) continue;
    await new Promise(setImmediate);
    begun = performance.now();
  }
}

/** Reads a file, one rule a step. */
function* reading(toml: string): Generator<undefined, GitleaksRules> {
  const problems: string[] = [];
  if (Buffer.byteLength(toml) > MAX_GITLEAKS_BYTES) return nothing('The file is larger than 1 MB.');
  let data: Record<string, unknown>;
  try {
    data = parse(toml);
  } catch (error) {
    return nothing(`The file is no TOML: ${error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)}`);
  }
  if (data['extend'] !== undefined) problems.push('`extend` is not followed: only the rules of this file are used.');
  const shared = allowListsOf(data, 'the file', problems);
  const rules: Rule[] = [];
  const own = new Map<string, readonly AllowList[]>();
  const groups = new Map<string, number>();
  const entries = Array.isArray(data['rules']) ? data['rules'].filter(isRecord) : [];
  if (entries.length > MAX_RULES) problems.push(`Only the first ${MAX_RULES} rules are used.`);
  for (const entry of entries.slice(0, MAX_RULES)) {
    yield;
    const id = typeof entry['id'] === 'string' && entry['id'] !== '' ? entry['id'] : `rule ${rules.length + 1}`;
    const rule = ruleOf(id, entry);
    if (typeof rule === 'string') {
      problems.push(`Rule ${id} is not used: ${rule}.`);
      continue;
    }
    if (own.has(id)) {
      problems.push(`Rule ${id} is there twice; the first is used.`);
      continue;
    }
    own.set(id, allowListsOf(entry, `rule ${id}`, problems));
    if (typeof entry['secretGroup'] === 'number') groups.set(id, entry['secretGroup']);
    rules.push(rule);
  }
  for (const [id, group] of groups) if (group > 1) problems.push(`Rule ${id}: \`secretGroup\` ${group} counts as 1.`);
  // Each was tried when it was read.
  const lazy = rules.map((rule, index) => new LazyRule(rule, index));
  for (const rule of lazy) {
    yield;
    rule.compile();
  }
  const matcher = new PatternMatcher(rules, lazy);
  return {
    rules,
    problems,
    find: (text) =>
      matcher.find(text).filter((match) => ![...shared, ...(own.get(match.rule.id) ?? [])].some((list) => isAllowed(list, text, match))),
  };
}

function nothing(problem: string): GitleaksRules {
  return { rules: [], problems: [problem], find: () => [] };
}

function ruleOf(id: string, entry: Record<string, unknown>): Rule | string {
  const source = entry['regex'];
  if (typeof source !== 'string') return entry['path'] === undefined ? 'it has no `regex`' : 'it is about paths';
  const keywords = strings(entry['keywords']).map((keyword) => keyword.toLowerCase());
  try {
    const node = withoutPreamble(readRegex(source, { cap: CAP }));
    if (minLength(node) === 0) return 'its expression matches nothing, everywhere';
    if (maxLength(node) > MAX_WINDOW_BYTES) return `its expression can match more than ${MAX_WINDOW_BYTES} bytes`;
    const rule: Rule = {
      id,
      title: typeof entry['description'] === 'string' ? entry['description'] : id,
      docs: '',
      tier: 'structured',
      keywords,
      pattern: regexSource(node),
      anyCase: false,
      boundary: false,
      checks: [],
      minEntropy: typeof entry['entropy'] === 'number' ? entry['entropy'] : 0,
      ok: [],
      ng: [],
    };
    return problemOf(rule) ?? rule;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** `[allowlist]`, or `[[allowlists]]` of newer files. */
function allowListsOf(entry: Record<string, unknown>, where: string, problems: string[]): readonly AllowList[] {
  const lists: unknown = entry['allowlists'];
  const tables = [entry['allowlist'], ...(Array.isArray(lists) ? (lists as unknown[]) : [lists])].filter(isRecord);
  return tables.flatMap((table): AllowList[] => {
    const regexes = strings(table['regexes']).flatMap((source) => {
      try {
        return [new RegExp(regexSource(readRegex(source, { cap: CAP })))];
      } catch (error) {
        problems.push(`An exception of ${where} is not used: ${error instanceof Error ? error.message : String(error)}.`);
        return [];
      }
    });
    const stopwords = strings(table['stopwords']).map((word) => word.toLowerCase());
    if (regexes.length === 0 && stopwords.length === 0) return [];
    const target = table['regexTarget'];
    return [{ regexes, stopwords, target: target === 'match' || target === 'line' ? target : 'secret', all: table['condition'] === 'AND' }];
  });
}

/** Most bytes of a line on either side of a secret. */
const MAX_LINE_BYTES = 1_024;

function isAllowed({ regexes, stopwords, target, all }: AllowList, text: Buffer, { start, end }: PatternMatch): boolean {
  const secret = text.toString('latin1', start, end);
  let subject = secret;
  if (target !== 'secret') {
    const from = Math.max(text.lastIndexOf(0x0a, start) + 1, start - MAX_LINE_BYTES);
    const next = text.indexOf(0x0a, end);
    subject = text.toString('latin1', from, Math.min(next < 0 ? text.length : next, end + MAX_LINE_BYTES));
  }
  const holding = [
    ...regexes.map((regex) => regex.test(subject)),
    ...(stopwords.length > 0 ? [stopwords.some((word) => secret.toLowerCase().includes(word))] : []),
  ];
  return all ? holding.every(Boolean) : holding.some(Boolean);
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
