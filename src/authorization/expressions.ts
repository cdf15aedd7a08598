/** Longest regular expression, characters. */
export const MAX_EXPRESSION_CHARACTERS = 1_000;
/** Longest text that an expression is tried on, characters; longer ones are unclear. */
export const MAX_EXPRESSION_TEXT = 64 * 1024;

/** Compiled expressions that are kept. */
const MAX_CACHED = 2_000;

/** Says whether a text as a whole matches. */
export type Expression = (text: string) => boolean;

/** Compiles regular expressions; `undefined` for one that is none. */
export type ExpressionEngine = (pattern: string) => Expression | undefined;

/**
 * Loads the engine for regular expressions: RE2 syntax (https://github.com/google/re2/wiki/Syntax), time linear in the text whatever the
 * expression. Loaded only when a condition needs it; until then such a condition is unclear.
 */
export async function loadExpressions(): Promise<ExpressionEngine> {
  const { RE2JS } = await import('re2js');
  const cache = new Map<string, Expression | undefined>();
  return (pattern) => {
    if (cache.has(pattern)) return cache.get(pattern);
    let expression: Expression | undefined;
    try {
      if (pattern.length <= MAX_EXPRESSION_CHARACTERS) {
        const compiled = RE2JS.compile(pattern);
        expression = (text) => compiled.testExact(text);
      }
    } catch {
      // Not an expression; the schema of a policy says where.
    }
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(pattern, expression);
    return expression;
  };
}
