import type { Clock } from '../common/clock.ts';
import type { Decision } from '../mcp/decision.ts';
import { denyBy } from '../mcp/decision.ts';
import { span } from './grant.ts';

/** How long a “no” is remembered, milliseconds. */
export const REFUSAL_MS = 5 * 60 * 1000;
/** After so many of them about one tool, it is not asked for at all for that long, whatever the arguments: nobody wears the user down. */
export const REFUSALS_PER_TOOL = 3;
const MAX_REMEMBERED = 1_000;

/** What the user said no to a moment ago, so that the same is not asked again. In memory only. */
export class Refusals {
  readonly #clock: Clock;
  /** By what was shown: when it was refused, by the monotonic clock. */
  readonly #exact = new Map<string, number>();
  readonly #tools = new Map<string, number[]>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `exact` names what was shown, `tool` the caller and the tool. */
  remember(exact: string, tool: string): void {
    const now = this.#clock.monotonic();
    if (this.#exact.size >= MAX_REMEMBERED) this.#exact.clear();
    if (this.#tools.size >= MAX_REMEMBERED) this.#tools.clear();
    this.#exact.set(exact, now);
    this.#tools.set(tool, [...this.#recent(tool), now]);
  }

  /** A denial if the user said no to this lately. */
  find(exact: string, tool: string, what: string): Decision | undefined {
    const now = this.#clock.monotonic();
    const at = this.#exact.get(exact);
    if (at !== undefined && now - at < REFUSAL_MS)
      return denyBy(
        'refused',
        `${what} is not allowed: the user said no to exactly this ${ago(now - at)}. Culvert asks again in ${left(REFUSAL_MS - (now - at))} at the earliest. Do something else, or tell the user why it is needed.`,
      );
    const recent = this.#recent(tool);
    const [oldest] = recent;
    if (oldest === undefined || recent.length < REFUSALS_PER_TOOL) return undefined;
    return denyBy(
      'refused',
      `${what} is not allowed: the user said no ${recent.length} times lately. Culvert asks again in ${left(REFUSAL_MS - (now - oldest))} at the earliest. Do something else, or tell the user why it is needed.`,
    );
  }

  forget(): void {
    this.#exact.clear();
    this.#tools.clear();
  }

  #recent(tool: string): number[] {
    const now = this.#clock.monotonic();
    return (this.#tools.get(tool) ?? []).filter((at) => now - at < REFUSAL_MS);
  }
}

function ago(ms: number): string {
  return ms < 1_000 ? 'just now' : `${span(round(ms))} ago`;
}

function left(ms: number): string {
  return span(round(ms));
}

function round(ms: number): number {
  return ms < 60_000 ? Math.max(1, Math.ceil(ms / 1_000)) * 1_000 : Math.ceil(ms / 60_000) * 60_000;
}
