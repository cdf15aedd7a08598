import { shapeKeywords, shapeParts, shapeSource } from './shape.ts';

/**
 * How sure a rule is. `exact`: the provider's own format, with a beginning that nothing else has. `structured`: told by what stands around
 * it. Both are redacted towards the model. `generic`: a guess by name and randomness, counted and shown only.
 */
export type Tier = 'exact' | 'structured' | 'generic';

/** Further checks of what a regular expression found, by name. `crc32-*` raise confidence; the others must hold. */
export type Check = 'crc32-github' | 'jwt' | 'not-placeholder' | 'mixed' | 'basic-credentials';

/** A pattern rule: plain data. */
export interface Rule {
  /** Stable, in kebab case; stored with findings. */
  readonly id: string;
  /** What was found, as the end of "This looks like …". */
  readonly title: string;
  /** The provider's page on the format, or on what to do about a leak. */
  readonly docs: string;
  readonly tier: Tier;
  /** Lower-case texts of which one is in or right at the beginning of every match, ASCII. */
  readonly keywords: readonly string[];
  /** Source of a regular expression over bytes; bounded. The first group, if there is one, is the secret. */
  readonly pattern: string;
  readonly anyCase: boolean;
  /** Whether a letter or digit before it means that it is something else. */
  readonly boundary: boolean;
  readonly checks: readonly Check[];
  /** Least Shannon entropy of the secret, bits a character. */
  readonly minEntropy: number;
  /** Shapes of texts in which it is found, and in which it is not; for tests. */
  readonly ok: readonly string[];
  readonly ng: readonly string[];
}

type Extras = Partial<Pick<Rule, 'tier' | 'keywords' | 'boundary' | 'checks' | 'minEntropy' | 'ok' | 'ng'>>;

/** A token that is known by its beginning (or by `keywords` within it). */
export function token(id: string, title: string, docs: string, shape: string, extras: Extras = {}): Rule {
  return {
    id,
    title,
    docs,
    tier: 'exact',
    keywords: extras.keywords ?? shapeKeywords(shape),
    pattern: shapeSource(shape),
    anyCase: false,
    boundary: true,
    checks: [],
    minEntropy: 2,
    ok: [shape, `"${shape}"`, `key=${shape} `, `x\\n${shape}\\n`],
    ng: [shorter(shape)],
    ...extras,
  };
}

/** Characters that a name may go on with behind the keyword, between name and operator, and between operator and value. */
const NAME_REST = '[\\w.-]{0,24}';
const OPERATOR = '(?:"|\'|\\\\"|`|&quot;){0,1}[\\t ]{0,3}(?:=>|:=|=|:|,)[\\t ]{0,3}(?:"|\'|\\\\"|`|&quot;){0,1}';

/** A value of no peculiar form that is assigned to something whose name begins with one of `names` (lower case). */
export function assigned(id: string, title: string, docs: string, names: readonly string[], shape: string, extras: Extras = {}): Rule {
  const name = names[0] ?? '';
  return {
    id,
    title,
    docs,
    tier: 'structured',
    keywords: names,
    pattern: `(?:${names.map((n) => n.replace(/[.-]/g, '\\$&')).join('|')})${NAME_REST}${OPERATOR}(${shapeSource(shape)})`,
    anyCase: true,
    boundary: false,
    checks: ['not-placeholder'],
    minEntropy: 3,
    ok: [
      `${name}: ${shape}`,
      `"${name}_key": "${shape}"`,
      `export ${name.toUpperCase()}_TOKEN=${shape}\n`,
      `{\\"${name}\\":\\"${shape}\\"}`,
    ],
    ng: [`${name} ${shape}`, `${name}: ${shorter(shape)}`, shape],
    ...extras,
  };
}

/** A rule of any form. `examples` are shapes of texts in which it is found. */
export function custom(rule: Pick<Rule, 'id' | 'title' | 'docs' | 'tier' | 'keywords' | 'pattern' | 'ok' | 'ng'> & Partial<Rule>): Rule {
  return { anyCase: false, boundary: false, checks: [], minEntropy: 0, ...rule };
}

/** The same shape with its longest run one character too short. */
function shorter(shape: string): string {
  const runs = shapeParts(shape).flatMap((part) => (part.kind === 'run' ? [part] : []));
  const longest = Math.max(...runs.map(({ min }) => min));
  const run = runs.findLast(({ min }) => min === longest);
  if (!run) return '';
  const { alphabet, min, max } = run;
  const at = shape.lastIndexOf(min === max ? `{${alphabet}:${min}}` : `{${alphabet}:${min}-${max}}`);
  return `${shape.slice(0, at)}{${alphabet}:${Math.max(0, min - 1)}}`;
}
