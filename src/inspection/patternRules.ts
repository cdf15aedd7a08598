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

  /** `onProblem` is told in a sentence what could not be used. */
  constructor(onProblem: (problem: string) => void) {
    this.#onProblem = onProblem;
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

  /** Uses other rule files, given as their texts (`gitleaks.toml`). */
  use(files: readonly string[]): void {
    this.#files = files;
    this.#loaded = false;
  }

  async #load(): Promise<void> {
    const files = this.#files;
    const finders: PatternFinder[] = [];
    try {
      this.#own ??= await ownRules();
      finders.push(this.#own);
    } catch (error) {
      this.#onProblem(`The pattern rules could not be loaded: ${error instanceof Error ? error.message : String(error)}`);
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
    this.#loaded = files === this.#files;
    if (!this.#loaded) await this.#load();
  }
}

async function ownRules(): Promise<PatternFinder> {
  const { loadRules } = await import('../detection/rules/load.ts');
  const rules = await loadRules();
  const { PatternMatcher } = await import('../detection/rules/matcher.ts');
  return PatternMatcher.inSlices(rules);
}
