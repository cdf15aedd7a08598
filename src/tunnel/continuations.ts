import { hash } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import type { Span } from '../mcp/json.ts';

/** Calls that wait for input and are remembered; the oldest go first. One that is forgotten goes on all the same, only unlinked. */
export const MAX_CONTINUATIONS = 10_000;
/** How long a call that needs input is expected to be repeated, milliseconds: a person may be asked. */
export const CONTINUATION_MS = 60 * 60_000;

/**
 * Which exchange a repeated request continues (2026-07-28, multi round-trip requests): the client sends back the `requestState` that
 * came with the demand for input. Kept as a digest, by principal and server. Only the record goes by it, never a decision.
 */
export class Continuations {
  readonly #byState = new Map<string, { readonly exchange: string; readonly until: number }>();
  readonly #clock: Clock;
  readonly #max: number;

  constructor(clock: Clock, max: number = MAX_CONTINUATIONS) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Remembers that `exchange`, the first of its kind, asked for input with this state. */
  add(state: string, principal: string, server: string, exchange: string): void {
    const key = keyOf(state, principal, server);
    this.#byState.delete(key);
    this.#byState.set(key, { exchange, until: this.#clock.monotonic() + CONTINUATION_MS });
    if (this.#byState.size <= this.#max) return;
    const oldest = this.#byState.keys().next().value;
    if (oldest !== undefined) this.#byState.delete(oldest);
  }

  /** The exchange that a request with this state continues. */
  find(state: string, principal: string, server: string): string | undefined {
    const found = this.#byState.get(keyOf(state, principal, server));
    return found && found.until > this.#clock.monotonic() ? found.exchange : undefined;
  }
}

function keyOf(state: string, principal: string, server: string): string {
  return `${server}\u0000${principal}\u0000${hash('sha256', state, 'base64url')}`;
}

/** The `requestState` at a span as text, alike however its JSON is spelled. */
export function stateOf(bytes: Buffer, span: Span): string {
  const raw = bytes.toString('utf8', span.start, span.end);
  return raw.startsWith('"') ? (JSON.parse(raw) as string) : raw;
}
