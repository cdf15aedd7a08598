import * as z from 'zod';
import { visible } from '../common/text.ts';
import { describePath, fold, parsePath, type CallArguments, type PathSegment, type Value } from './arguments.ts';
import { MAX_EXPRESSION_CHARACTERS, MAX_EXPRESSION_TEXT, type ExpressionEngine } from './expressions.ts';
import { MAX_GLOB_CHARACTERS, compileGlob } from './glob.ts';
import { goesTo, parseHosts } from './hosts.ts';
import { below, parseFolder, type Files } from './paths.ts';
import { all, any, type Verdict } from './verdict.ts';

/** Conditions of one grant or rule. */
export const MAX_CONDITIONS = 32;
/** Values, patterns or hosts of one condition. */
const MAX_CHOICES = 256;
const MAX_TEXT_CHARACTERS = 4_096;

const Scalar = z.union([z.string().max(MAX_TEXT_CHARACTERS), z.number(), z.boolean(), z.null()]);
type Scalar = z.infer<typeof Scalar>;

const at = z
  .string()
  .max(1_024)
  .refine((path) => parsePath(path) !== undefined, 'A path is a JSON Pointer such as /repo/owner or /labels/*.')
  .meta({ description: 'Which argument: a JSON Pointer such as /repo/owner. * as a segment stands for every element of a list.' });
const elements = z
  .enum(['each', 'any'])
  .optional()
  .meta({ description: 'With * in the path: whether each element must pass, or any. Default: each.' });
const place = { at, elements };

/** What an argument must be. Plain data; {@link compileCondition} makes it work. */
export const Condition = z.discriminatedUnion('test', [
  z.strictObject({ test: z.literal('equals'), ...place, value: Scalar }).meta({ description: 'Equal to a value; type and case count.' }),
  z
    .strictObject({ test: z.literal('one-of'), ...place, values: z.array(Scalar).min(1).max(MAX_CHOICES).readonly() })
    .meta({ description: 'Equal to one of the values.' }),
  z
    .strictObject({ test: z.literal('prefix'), ...place, prefix: z.string().min(1).max(MAX_TEXT_CHARACTERS) })
    .meta({ description: 'A text that begins so. For paths use “below”.' }),
  z
    .strictObject({
      test: z.literal('glob'),
      ...place,
      patterns: z.array(z.string().min(1).max(MAX_GLOB_CHARACTERS)).min(1).max(MAX_CHOICES).readonly(),
    })
    .meta({ description: 'A text that matches a pattern: * any run without a slash, ** any run, ? one character.' }),
  z
    .strictObject({
      test: z.literal('matches'),
      ...place,
      pattern: z.string().min(1).max(MAX_EXPRESSION_CHARACTERS),
    })
    .meta({ description: 'A text that matches a regular expression (RE2 syntax) as a whole.' }),
  z
    .strictObject({ test: z.literal('range'), ...place, min: z.number().optional(), max: z.number().optional() })
    .refine((c) => c.min !== undefined || c.max !== undefined, 'A range has a minimum or a maximum.')
    .meta({ description: 'A number from min to max, both included.' }),
  z
    .strictObject({
      test: z.literal('below'),
      ...place,
      folder: z.string().min(1).max(MAX_TEXT_CHARACTERS),
      relativeTo: z.string().max(MAX_TEXT_CHARACTERS).optional(),
    })
    .meta({ description: 'The path of the folder or of something in it. Relative paths count only with relativeTo.' }),
  z
    .strictObject({
      test: z.literal('host'),
      ...place,
      hosts: z.array(z.string().min(1).max(255)).min(1).max(MAX_CHOICES).readonly(),
      ports: z.array(z.number().int().min(1).max(65_535)).min(1).max(MAX_CHOICES).readonly().optional(),
      schemes: z
        .array(z.string().regex(/^[a-z][a-z0-9+.-]{0,20}$/))
        .min(1)
        .max(16)
        .readonly()
        .optional(),
    })
    .refine((c) => parseHosts(c.hosts) !== undefined, 'A host is a name such as example.com, or *.example.com for all names below it.')
    .meta({ description: 'A URL to one of the hosts; *.example.com is every name below. Default: http and https at their own ports.' }),
  z.strictObject({ test: z.literal('present'), at }).meta({ description: 'The argument is there.' }),
  z.strictObject({ test: z.literal('absent'), at }).meta({ description: 'The argument is not there.' }),
  z
    .strictObject({ test: z.literal('same'), sha256: z.string().regex(/^[0-9a-f]{64}$/) })
    .meta({ description: 'Exactly these arguments: SHA-256 of their canonical form (keys sorted, no white space).' }),
]);
export type Condition = z.infer<typeof Condition>;

/** A list of conditions, all of which must hold. */
export const Conditions = z.array(Condition).min(1).max(MAX_CONDITIONS).readonly();

/** What conditions need to know of the world. */
export interface ConditionTools {
  /** Absent: paths are judged by their text alone, as for a server on another machine. */
  readonly files?: Files | undefined;
  /** Absent until it is loaded; regular expressions are unclear then. */
  readonly expressions?: ExpressionEngine | undefined;
}

/** A compiled condition. `undefined` stands for arguments nobody knows, as in a view. */
export type Check = (args: CallArguments | undefined, tools: ConditionTools) => Verdict;

type Test = (value: Value, tools: ConditionTools) => Verdict;

/** Compiles a condition once; the result keeps nothing of a call. Total. */
export function compileCondition(condition: Condition): Check {
  if (condition.test === 'same') {
    const { sha256 } = condition;
    return (args) => {
      const digest = args?.digest();
      return digest === undefined ? 'unclear' : digest === sha256 ? 'yes' : 'no';
    };
  }
  const segments = parsePath(condition.at);
  if (!segments) return () => 'unclear';
  if (condition.test === 'present' || condition.test === 'absent') return compilePresence(condition, segments);
  const test = compileTest(condition);
  const wild = segments.includes('*');
  const quantify = wild && condition.elements === 'any' ? any : all;
  const path = condition.at;
  return (args, tools) => {
    const selection = args?.select(path, segments);
    if (!selection) return 'unclear';
    const { values, ambiguous } = selection;
    // A list that is there and empty has no element that fails; an argument that is not there has nothing that passes.
    if (values.length === 0) return ambiguous ? 'unclear' : wild ? emptyList(args, segments, condition.elements) : 'no';
    const first = values[0];
    const verdict = values.length === 1 && first ? test(first, tools) : quantify(lazily(values, test, tools));
    return ambiguous ? 'unclear' : verdict;
  };
}

/** Compiles conditions that must all hold. */
export function compileConditions(conditions: readonly Condition[]): Check {
  const checks = conditions.map(compileCondition);
  const [only] = checks;
  if (checks.length === 1 && only) return only;
  return (args, tools) => {
    let verdict: Verdict = 'yes';
    for (const check of checks) {
      const part = check(args, tools);
      if (part === 'no') return 'no';
      if (part === 'unclear') verdict = 'unclear';
    }
    return verdict;
  };
}

/** True if one of the conditions needs the engine for regular expressions. */
export function needExpressions(conditions: readonly Condition[]): boolean {
  return conditions.some((c) => c.test === 'matches');
}

function* lazily(values: readonly Value[], test: Test, tools: ConditionTools): Generator<Verdict> {
  for (const value of values) yield test(value, tools);
}

function emptyList(args: CallArguments | undefined, segments: readonly PathSegment[], quantifier: 'each' | 'any' | undefined): Verdict {
  if (quantifier === 'any') return 'no';
  const star = segments.indexOf('*');
  const above = segments.slice(0, star);
  const key = JSON.stringify(above);
  const holder = args?.select(key, above)?.values[0];
  return holder?.kind === 'list' ? 'yes' : 'no';
}

function compilePresence(condition: Extract<Condition, { test: 'present' | 'absent' }>, segments: readonly PathSegment[]): Check {
  const present = condition.test === 'present';
  const path = condition.at;
  return (args) => {
    const selection = args?.select(path, segments);
    if (!selection || selection.ambiguous) return 'unclear';
    // Whether null counts as given is for every server to say.
    if (selection.values.some((v) => v.kind === 'null')) return 'unclear';
    return selection.values.length > 0 === present ? 'yes' : 'no';
  };
}

function compileTest(condition: Exclude<Condition, { test: 'same' | 'present' | 'absent' }>): Test {
  switch (condition.test) {
    case 'equals':
      return equalTo([condition.value]);
    case 'one-of':
      return equalTo(condition.values);
    case 'prefix': {
      const { prefix } = condition;
      const folded = fold(prefix);
      return onText((text) => (text.startsWith(prefix) ? 'yes' : fold(text).startsWith(folded) ? 'unclear' : 'no'));
    }
    case 'glob': {
      const matchers = condition.patterns.map((p) => compileGlob(p, '/'));
      const lenient = condition.patterns.map((p) => compileGlob(fold(p), '/'));
      return onText((text) => {
        if (text.length > MAX_EXPRESSION_TEXT) return 'unclear';
        if (matchers.some((m) => m(text))) return 'yes';
        const folded = fold(text);
        return lenient.some((m) => m(folded)) ? 'unclear' : 'no';
      });
    }
    case 'matches': {
      const { pattern } = condition;
      return (value, tools) => {
        const expression = tools.expressions?.(pattern);
        if (value.kind === 'null') return 'no';
        if (!expression || value.kind !== 'string' || value.text.length > MAX_EXPRESSION_TEXT) return 'unclear';
        if (expression(value.text)) return 'yes';
        const folded = fold(value.text);
        return folded !== value.text && expression(folded) ? 'unclear' : 'no';
      };
    }
    case 'range':
      return inRange(condition.min ?? Number.NEGATIVE_INFINITY, condition.max ?? Number.POSITIVE_INFINITY);
    case 'below': {
      const { folder, relativeTo } = condition;
      const parsed = { posix: parseFolder(folder, 'posix'), windows: parseFolder(folder, 'windows') };
      return (value, tools) => {
        if (value.kind !== 'string') return value.kind === 'null' ? 'no' : 'unclear';
        const files = tools.files ?? textOnly(folder);
        const where = parsed[files.flavor];
        return where ? below(value.text, where, files, relativeTo) : 'unclear';
      };
    }
    case 'host': {
      const hosts = parseHosts(condition.hosts, condition.ports, condition.schemes);
      if (!hosts) return () => 'unclear';
      return onText((text) => goesTo(text, hosts));
    }
  }
}

/** Without a file system the folder tells how paths are written there; case is not relied on. */
function textOnly(folder: string): Files {
  return { flavor: folder.startsWith('/') ? 'posix' : 'windows', caseSensitive: true };
}

/** A test of texts. Other values are nothing sure: a server may take a list, or turn a number into text. */
function onText(test: (text: string) => Verdict): Test {
  return (value) => {
    if (value.kind === 'string') return test(value.text);
    return value.kind === 'null' ? 'no' : 'unclear';
  };
}

function equalTo(wanted: readonly Scalar[]): Test {
  const texts = new Set(wanted.filter((w) => typeof w === 'string'));
  const folded = new Set(wanted.map((w) => fold(String(w))));
  return (value) => {
    switch (value.kind) {
      case 'string':
        if (texts.has(value.text)) return 'yes';
        return folded.has(fold(value.text)) ? 'unclear' : 'no';
      case 'number': {
        const number = Number(value.text);
        if (wanted.includes(number))
          return Number.isSafeInteger(number) && isWhole(value.text) ? 'yes' : String(number) === value.text ? 'yes' : 'unclear';
        return folded.has(value.text) || folded.has(String(number)) ? 'unclear' : 'no';
      }
      case 'boolean':
        return wanted.includes(value.value) ? 'yes' : folded.has(String(value.value)) ? 'unclear' : 'no';
      case 'null':
        return wanted.includes(null) ? 'yes' : folded.has('null') || folded.has('') ? 'unclear' : 'no';
      default:
        return 'unclear';
    }
  };
}

function isWhole(text: string): boolean {
  return /^-?\d+$/.test(text) && text !== '-0';
}

function inRange(min: number, max: number): Test {
  return (value) => {
    if (value.kind === 'number') {
      const number = Number(value.text);
      if (number < min || number > max) return 'no';
      // Digits that a double does not hold are read in different ways.
      return Number.isFinite(number) && (Number.isSafeInteger(Math.trunc(number)) || String(number) === value.text) ? 'yes' : 'unclear';
    }
    if (value.kind === 'null') return 'no';
    if (value.kind !== 'string') return 'unclear';
    const text = fold(value.text);
    const number = Number(text);
    // “1,000” and “12 kg” are numbers to some.
    if (Number.isNaN(number)) return /\d/.test(text) ? 'unclear' : 'no';
    return number >= min && number <= max ? 'unclear' : 'no';
  };
}

/** A condition in words: `owner is “acme”`. */
export function describeCondition(condition: Condition): string {
  if (condition.test === 'same') return 'exactly the same arguments';
  const wild = condition.at.includes('*');
  const path = visible(describePath(condition.at), 80);
  const what = wild && 'elements' in condition && condition.elements === 'any' ? `any of ${path}` : wild ? `each of ${path}` : path;
  switch (condition.test) {
    case 'equals':
      return `${what} is ${show(condition.value)}`;
    case 'one-of':
      return `${what} is ${either(condition.values.map(show))}`;
    case 'prefix':
      return `${what} begins with ${show(condition.prefix)}`;
    case 'glob':
      return `${what} is like ${either(condition.patterns.map(show))}`;
    case 'matches':
      return `${what} matches /${visible(condition.pattern, 80)}/`;
    case 'range':
      if (condition.min === undefined) return `${what} is at most ${condition.max}`;
      return condition.max === undefined ? `${what} is at least ${condition.min}` : `${what} is from ${condition.min} to ${condition.max}`;
    case 'below':
      return `${what} is in ${visible(condition.folder, 120)}`;
    case 'host': {
      const ports = condition.ports ? ` at port ${condition.ports.join(' or ')}` : '';
      return `${what} goes to ${either(condition.hosts.map((h) => visible(h, 80)))}${ports}`;
    }
    case 'present':
      return `${what} is given`;
    case 'absent':
      return `${what} is not given`;
  }
}

/** Conditions in words, joined with “and”. */
export function describeConditions(conditions: readonly Condition[]): string {
  return conditions.map(describeCondition).join(' and ');
}

function show(value: Scalar): string {
  return typeof value === 'string' ? `“${visible(value, 60)}”` : String(value);
}

function either(parts: readonly string[]): string {
  const shown = parts.length > 5 ? [...parts.slice(0, 4), `${parts.length - 4} more`] : parts;
  return shown.length === 1 ? (shown[0] as string) : `${shown.slice(0, -1).join(', ')} or ${shown.at(-1) as string}`;
}
