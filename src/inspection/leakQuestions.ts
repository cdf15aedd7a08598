import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import type { StopSignal } from '../common/stop.ts';
import type { Finding } from '../mcp/finding.ts';

/** Questions that may wait; more are answered “no” at once. */
export const MAX_WAITING_QUESTIONS = 50;

/** A call that holds what looks like a secret. Holds no value. */
export interface LeakQuestion {
  readonly id: string;
  readonly server: string;
  readonly serverLabel: string;
  /** Absent for what is no tool call. */
  readonly tool: string | undefined;
  /** Host (and port) where it would go, or the command. */
  readonly destination: string;
  /** Client in words. */
  readonly client: string;
  /** What was found, and where in the message. */
  readonly findings: readonly Finding[];
  /** Whether the answer can be remembered. */
  readonly lasting: boolean;
  /** When an unanswered question is a “no”, milliseconds since the epoch. */
  readonly deadline: number;
}

/**
 * `once`: this call. `always`: such values in calls of this tool, from now on. `never`: the opposite, from now on. `no`: not this call;
 * also if the question was closed.
 */
export type LeakAnswer = 'once' | 'always' | 'never' | 'no';

/** Shows a question to the user. One at a time; `signal` ends when it is no longer waiting. */
export interface LeakAsker {
  ask(question: LeakQuestion, signal: AbortSignal): Promise<LeakAnswer>;
}

interface Waiting {
  readonly question: LeakQuestion;
  readonly key: string;
  readonly answers: ((answer: LeakAnswer | 'unanswered') => void)[];
  readonly stop: AbortController;
}

/** Asks about calls that hold what looks like a secret: one question at a time, the same one only once. Nobody there, or no answer, is a “no”. */
export class LeakQuestions implements Disposable {
  readonly #asker: LeakAsker | undefined;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  readonly #changed = new Emitter<number>();
  #asking = false;

  /** Fires with the number of waiting questions. */
  readonly onDidChange = this.#changed.event;

  constructor(asker: LeakAsker | undefined, clock: Clock) {
    this.#asker = asker;
    this.#clock = clock;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Waits for the user’s word. `unanswered`: the time was over, or nobody can be asked. Never rejects. */
  ask(what: Omit<LeakQuestion, 'id' | 'deadline'>, timeoutMs: number, signal: StopSignal): Promise<LeakAnswer | 'unanswered'> {
    if (!this.#asker || signal.aborted || this.#waiting.length >= MAX_WAITING_QUESTIONS) return Promise.resolve('unanswered');
    const key = JSON.stringify([
      what.server,
      what.tool,
      what.client,
      what.findings.map(({ rule, digest, subject }) => [rule, digest, subject]),
    ]);
    return new Promise((resolve) => {
      let done = false;
      const finish = (answer: LeakAnswer | 'unanswered') => {
        if (done) return;
        done = true;
        timer.dispose();
        signal.removeEventListener('abort', gone);
        resolve(answer);
        // The last that waited for it: nobody needs the answer any more.
        const waiting = this.#waiting.find((w) => w.answers.includes(finish));
        if (!waiting) return;
        waiting.answers.splice(waiting.answers.indexOf(finish), 1);
        if (waiting.answers.length === 0) this.#drop(waiting);
      };
      const gone = () => finish('unanswered');
      const timer = this.#clock.after(timeoutMs, gone);
      signal.addEventListener('abort', gone);
      const same = this.#waiting.find((w) => w.key === key);
      if (same) same.answers.push(finish);
      else {
        const question: LeakQuestion = { ...what, id: newId('leak'), deadline: this.#clock.now() + timeoutMs };
        this.#waiting.push({ question, key, answers: [finish], stop: new AbortController() });
        this.#changed.fire(this.#waiting.length);
      }
      void this.#next();
    });
  }

  dispose(): void {
    for (const waiting of [...this.#waiting]) for (const answer of [...waiting.answers]) answer('unanswered');
    this.#changed.dispose();
  }

  #drop(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    waiting.stop.abort();
    this.#changed.fire(this.#waiting.length);
  }

  async #next(): Promise<void> {
    if (this.#asking || !this.#asker) return;
    this.#asking = true;
    try {
      for (let waiting = this.#waiting[0]; waiting; waiting = this.#waiting[0]) {
        const { stop, question, answers } = waiting;
        const gone = new Promise<'unanswered'>((resolve) =>
          stop.signal.addEventListener('abort', () => resolve('unanswered'), { once: true }),
        );
        const answer = await Promise.race([this.#asker.ask(question, stop.signal), gone]).catch((): LeakAnswer => 'no');
        for (const tell of [...answers]) tell(answer);
        this.#drop(waiting);
      }
    } finally {
      this.#asking = false;
    }
  }
}
