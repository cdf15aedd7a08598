import type { PatternMatch } from './matcher.ts';
import type { Rule } from './rule.ts';

/**
 * secretlint's rules (MIT), made safe for traffic: each is called directly, so neither comments in the text (`secretlint-disable`) nor
 * allow-lists switch it off, and the profiler of its core, which keeps a record of every call, never runs.
 */
export interface SecretlintMatcher {
  readonly rules: readonly Rule[];
  /** Places in `text`. The rules are regular expressions over all of it: some 50 MB/s, and no guarantee of linear time. */
  readonly find: (text: Buffer) => PatternMatch[];
}

/** As much of a rule of secretlint as is used here. */
export interface SecretlintRule {
  readonly meta: { readonly id: string; readonly type: string; readonly docs?: { readonly url?: string } };
  readonly messages: object;
  create(context: SecretlintContext, options: object): { readonly file?: (source: SecretlintSource) => void | Promise<void> };
}

interface SecretlintContext {
  readonly sharedOptions: object;
  createTranslator(messages: object): (id: string) => { readonly message: string; readonly messageId: string };
  report(found: { readonly range: readonly [number, number] }): void;
  ignore(): void;
}

interface SecretlintSource {
  readonly content: string;
  readonly filePath: undefined;
  readonly ext: '';
  readonly contentType: 'text';
  readonly hasBOM: false;
  indexToPosition(index: number): { readonly line: number; readonly column: number };
  locationToRange(): readonly [number, number];
  rangeToLocation(): object;
}

/** Longest text that is looked at, bytes: the rules' time is not bounded by construction. */
export const MAX_SECRETLINT_BYTES = 262_144;

/** Loads the package, which takes some milliseconds: call it when it is first needed. */
export async function loadSecretlint(): Promise<SecretlintMatcher> {
  const preset = (await import('@secretlint/secretlint-rule-preset-recommend')) as unknown as { readonly rules: readonly SecretlintRule[] };
  return secretlintMatcher(preset.rules);
}

/** Makes a matcher of rules; those that only filter are left out. */
export function secretlintMatcher(creators: readonly SecretlintRule[]): SecretlintMatcher {
  let found: (readonly [number, number])[] = [];
  const context: SecretlintContext = {
    sharedOptions: {},
    createTranslator: () => (id) => ({ message: id, messageId: id }),
    report: ({ range }) => found.push(range),
    ignore: () => undefined,
  };
  const handlers = creators
    .filter(({ meta }) => meta.type === 'scanner')
    .map((creator) => ({ rule: ruleOf(creator), file: creator.create(context, {}).file }));
  return {
    rules: handlers.map(({ rule }) => rule),
    find: (text) => {
      if (text.length > MAX_SECRETLINT_BYTES) return [];
      // One character a byte: places are places in the bytes.
      const content = text.toString('latin1');
      const source: SecretlintSource = {
        content,
        filePath: undefined,
        ext: '',
        contentType: 'text',
        hasBOM: false,
        indexToPosition: () => ({ line: 1, column: 0 }),
        locationToRange: () => [0, 0],
        rangeToLocation: () => ({}),
      };
      const out: PatternMatch[] = [];
      for (const { rule, file } of handlers) {
        found = [];
        void file?.(source);
        for (const [start, end] of found) out.push({ start, end, rule, verified: false });
      }
      return out.sort((a, b) => a.start - b.start || b.end - a.end);
    },
  };
}

function ruleOf({ meta }: SecretlintRule): Rule {
  const name = meta.id.replace(/^@secretlint\/secretlint-rule-/, '');
  return {
    id: `secretlint-${name}`,
    title: `a secret of the kind ${name}`,
    docs: meta.docs?.url ?? 'https://github.com/secretlint/secretlint',
    tier: 'structured',
    keywords: [],
    pattern: '',
    anyCase: false,
    boundary: false,
    checks: [],
    minEntropy: 0,
    ok: [],
    ng: [],
  };
}
