import type { PatternMatch } from '../detection/rules/matcher.ts';

/** Something that finds what pattern rules describe. */
export interface PatternFinder {
  find(text: Buffer): readonly PatternMatch[];
}

/**
 * The pattern rules: our own, and those of files that the user named. Loaded when they are first needed and compiled in slices, so that
 * neither activation nor anything else waits for them.
 */
export class PatternRules {
  /** What is loaded; the same list all the time. */
  readonly finders: PatternFinder[] = [];
  readonly #onProblem: (problem: string) => void;
  #files: readonly string[] = [];
  #loading: Promise<void> | undefined;
  #loaded = false;
  #own: PatternFinder | undefined;
  readonly #loadSecretlint: (() => Promise<PatternFinder>) | undefined;
  #secretlint = false;

  /**
   * `onProblem` is told in a sentence what could not be used. `loadSecretlint`: only where it may take its time, in a thread; elsewhere its
   * rules are not used, whatever {@link use} says.
   */
  constructor(onProblem: (problem: string) => void, loadSecretlint?: () => Promise<PatternFinder>) {
    this.#onProblem = onProblem;
    this.#loadSecretlint = loadSecretlint;
  }

  /** The texts of the rule files that are used. */
  get files(): readonly string[] {
    return this.#files;
  }

  /** Resolves when all rules are there; `undefined` if they are. Never rejects: what can't be loaded is told, and the rest is used. */
  ready(): Promise<void> | undefined {
    if (this.#loaded) return undefined;
    this.#loading ??= this.#load().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  /** Uses other rule files, given as their texts (`gitleaks.toml`), and secretlint’s rules or not. */
  use(files: readonly string[], secretlint = false): void {
    this.#files = files;
    this.#secretlint = secretlint;
    this.#loaded = false;
  }

  async #load(): Promise<void> {
    const files = this.#files;
    const secretlint = this.#secretlint;
    const finders: PatternFinder[] = [];
    try {
      this.#own ??= await ownRules();
      const more = secretlint
        ? await this.#loadSecretlint?.().catch((error: unknown) => this.#tellOf('The rules of secretlint', error))
        : undefined;
      finders.push(more ? besides(this.#own, more) : this.#own);
    } catch (error) {
      this.#tellOf('The pattern rules', error);
    }
    if (files.length > 0) {
      const { readGitleaksInSlices } = await import('../detection/rules/gitleaks.ts');
      for (const toml of files) {
        await new Promise(setImmediate);
        const read = await readGitleaksInSlices(toml);
        for (const problem of read.problems) this.#onProblem(problem);
        if (read.rules.length > 0) finders.push(read);
      }
    }
    this.finders.splice(0, this.finders.length, ...finders);
    this.#loaded = files === this.#files && secretlint === this.#secretlint;
    if (!this.#loaded) await this.#load();
  }

  #tellOf(what: string, error: unknown): undefined {
    this.#onProblem(`${what} could not be loaded: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What `more` finds where `own` has nothing that is taken out: one value is told of once, by the rule that knows most of it. */
function besides(own: PatternFinder, more: PatternFinder): PatternFinder {
  return {
    find: (text) => {
      const found = own.find(text);
      const sure = found.filter(({ rule }) => rule.tier !== 'generic');
      return [...found, ...more.find(text).filter((match) => !sure.some(({ start, end }) => start < match.end && end > match.start))];
    },
  };
}

async function ownRules(): Promise<PatternFinder> {
  const { loadRules } = await import('../detection/rules/load.ts');
  const rules = await loadRules();
  const { PatternMatcher } = await import('../detection/rules/matcher.ts');
  return PatternMatcher.inSlices(rules);
}
