import type { Call } from './call.ts';

/** Every message weighs at least this much, bytes, so that a flood of tiny ones is held back too. */
const MIN_WEIGHT_BYTES = 512;

/** Back-pressure: what was read from the agent and not yet taken by the tunnel; above a bound, reading is paused. */
export class Pressure {
  readonly #maxBytes: number;
  readonly #onChange: (paused: boolean) => void;
  #held = 0;
  #paused = false;

  /** `onChange` is called with true when reading must be paused, with false when it may go on. */
  constructor(maxBytes: number, onChange: (paused: boolean) => void) {
    this.#maxBytes = maxBytes;
    this.#onChange = onChange;
  }

  /** A message came. */
  hold(call: Call): void {
    call.held = call.message.bytes.length + MIN_WEIGHT_BYTES;
    this.#held += call.held;
    if (this.#paused || this.#held <= this.#maxBytes) return;
    this.#paused = true;
    this.#onChange(true);
  }

  /** A message was taken, or is given up. */
  release(call: Call): void {
    this.#held -= call.held;
    call.held = 0;
    if (!this.#paused || this.#held > this.#maxBytes / 2) return;
    this.#paused = false;
    this.#onChange(false);
  }
}
