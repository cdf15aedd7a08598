import { readFile, stat } from 'node:fs/promises';
import { DisposableStore, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import type { MacKey } from '../store/signedCollection.ts';
import { Canaries, type CanaryKeeper } from './canaries.ts';
import { canaryOf, isCanary } from './canaryId.ts';
import { FindingLog } from './findingLog.ts';
import { Fragments } from './fragments.ts';
import { Inspector } from './inspector.ts';
import { LeakDecisions } from './leakDecisions.ts';
import { DEFAULT_LEAK_POLICY, type LeakPolicy } from './leakPolicy.ts';
import { LeakQuestions, type LeakAsker } from './leakQuestions.ts';
import { ListMemory } from './listMemory.ts';
import { OutputSchemas } from './outputSchemas.ts';
import { stderrCleaner } from './stderrText.ts';
import { SecretSearch, type SecretSearchOptions } from './secretSearch.ts';

/** Largest rule file, bytes. */
const MAX_RULE_FILE_BYTES = 1_048_576;

export interface LeakGuardOptions {
  readonly db: Database;
  readonly key: MacKey;
  readonly generations: Generations;
  readonly clock: Clock;
  /** Who is asked about calls that hold what looks like a secret; absent: such calls are denied. */
  readonly asker: LeakAsker | undefined;
  readonly startThread: SecretSearchOptions['startThread'];
  readonly onProblem: (problem: string) => void;
  /** Where the values of canaries lie. */
  readonly keeper: CanaryKeeper;
  /** Name of a secret of the vault by its id. */
  readonly nameOf: (id: string) => string;
}

/** Everything that stands between secrets and those who must not get them: what is searched for, what is done about it, what was found. */
export class LeakGuard implements Disposable {
  readonly secrets: SecretSearch;
  readonly inspector: Inspector;
  readonly findings: FindingLog;
  readonly decisions: LeakDecisions;
  readonly questions: LeakQuestions;
  readonly fragments: Fragments;
  readonly schemas = new OutputSchemas();
  readonly lists: ListMemory;
  readonly canaries: Canaries;
  readonly #nameOf: (id: string) => string;
  readonly #store = new DisposableStore();
  readonly #onProblem: (problem: string) => void;
  #policy: LeakPolicy = DEFAULT_LEAK_POLICY;
  #readingFiles: Promise<void> = Promise.resolve();

  constructor({ db, key, generations, clock, asker, startThread, onProblem, keeper, nameOf }: LeakGuardOptions) {
    this.#nameOf = nameOf;
    this.#onProblem = onProblem;
    this.secrets = this.#store.add(new SecretSearch({ startThread, onProblem }));
    this.decisions = this.#store.add(new LeakDecisions(db, key, generations, clock));
    this.findings = this.#store.add(new FindingLog(db, clock, this.decisions));
    this.questions = this.#store.add(new LeakQuestions(asker, clock));
    this.fragments = new Fragments(this.secrets.known);
    this.inspector = new Inspector({
      secrets: this.secrets,
      nameOf: (id) => this.nameOf(id),
      policy: () => this.#policy,
      decisions: this.decisions,
    });
    this.canaries = this.#store.add(new Canaries({ db, key, generations }, keeper, this.secrets, clock));
    this.lists = new ListMemory(this.inspector, () => this.secrets.version);
    this.#store.add(this.decisions.onDidChange(() => this.lists.clear()));
  }

  /** Name of a secret that was found, by the id under which it is known to the search. */
  nameOf(id: string): string {
    return isCanary(id) ? (this.canaries.get(canaryOf(id))?.name ?? 'a planted value') : this.#nameOf(id);
  }

  /** Takes secrets out of what a process writes to its error output; one for each process. Lines have to come whole. */
  stderrCleaner(): (text: string) => string {
    return stderrCleaner(this.secrets.known, this.inspector, (id) => this.nameOf(id));
  }

  /** Everything that keeps its rows under a MAC. */
  get signedParts(): readonly (LeakDecisions | Canaries)[] {
    return [this.decisions, this.canaries];
  }

  /** Notices what other windows changed. */
  refresh(): void {
    for (const part of this.signedParts) part.refresh();
    this.findings.refresh();
  }

  get policy(): LeakPolicy {
    return this.#policy;
  }

  /** What is done from now on. Rule files are read anew if others are named; what can't be used is told, and the rest holds. */
  setPolicy(policy: LeakPolicy): void {
    const before = this.#policy;
    this.#policy = policy;
    this.lists.clear();
    this.secrets.useSecretlint(policy.secretlint);
    if (JSON.stringify(before.ruleFiles) === JSON.stringify(policy.ruleFiles)) return;
    this.#readingFiles = this.#readingFiles.then(() => this.#readFiles(policy.ruleFiles));
  }

  /** Resolves when all rules are loaded; `undefined` if they are. */
  ready(): Promise<void> | undefined {
    return this.secrets.ready();
  }

  /** Resolves when rule files that were named were read. */
  async settled(): Promise<void> {
    await this.#readingFiles;
    await this.ready();
  }

  dispose(): void {
    this.#store.dispose();
  }

  async #readFiles(paths: readonly string[]): Promise<void> {
    const texts: string[] = [];
    for (const path of paths) {
      try {
        if ((await stat(path)).size > MAX_RULE_FILE_BYTES) throw new Error('it is larger than 1 MB');
        texts.push(await readFile(path, 'utf8'));
      } catch (error) {
        this.#onProblem(`The rule file ${path} is not used: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    this.secrets.useRuleFiles(texts);
  }
}
