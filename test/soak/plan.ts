/** What the soak's clients ask and its server does, known to both sides: a call says in its arguments how it wants to be treated. */

/**
 * How the server answers when nothing goes wrong. `json`: at once; `drip`: JSON in pieces; `stream`: progress and answer as events; `big`: an
 * answer of many events; `ask`: asks the client something first (legacy); `hang`: only progress, until the client gives up.
 */
export type Manner = 'json' | 'drip' | 'stream' | 'big' | 'ask' | 'hang';

/**
 * What goes wrong on purpose. `reset-before`: the connection is reset before the head; `reset-after`: with the body begun; `truncate`: in the
 * middle of an event; `end-early`: the stream ends cleanly without an answer.
 */
export type Fault = 'none' | 'reset-before' | 'reset-after' | 'truncate' | 'end-early';

/** The arguments of a call. */
export interface Wish {
  /** Unique in a run; comes back in the answer. */
  readonly nonce: string;
  readonly manner: Manner;
  readonly fault: Fault;
}

export const TOOL = 'work';
export const MODERN_VERSION = '2026-07-28';
export const LEGACY_VERSION = '2025-11-25';
/** Progress notifications of a streamed call. */
export const STEPS = 3;
/** Events of a big answer, and bytes of each. */
export const BIG_EVENTS = 60;
export const BIG_EVENT_BYTES = 8 * 1024;

/** The text that answers a call. */
export function answerText({ nonce, manner }: Wish): string {
  return `${manner} of ${nonce}`;
}

/** The text of one event of a big answer: of the right length, and nobody else's. */
export function bigText(nonce: string, index: number): string {
  const unit = `${nonce}/${index} `;
  return unit.repeat(Math.ceil(BIG_EVENT_BYTES / unit.length)).slice(0, BIG_EVENT_BYTES);
}

/** Small reproducible randomness: two sessions never share a source. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to but without 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  /** One of the choices, by weight. */
  pick<T>(choices: readonly (readonly [weight: number, choice: T])[]): T {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, choice] of choices) if ((left -= weight) < 0) return choice;
    return (choices.at(-1) as readonly [number, T])[1];
  }
}
