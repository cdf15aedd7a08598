import { inspect } from 'node:util';

/**
 * A value that was found in plaintext and must not be shown or logged from here on. Prints as `[hidden]` wherever something prints it;
 * only {@link reveal} gives it, to whoever seals it.
 */
export class Hidden {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself: for sealing, for comparing, and for taking it out of a text. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return '[hidden]';
  }

  toJSON(): string {
    return '[hidden]';
  }

  [inspect.custom](): string {
    return '[hidden]';
  }

  [Symbol.toPrimitive](): string {
    return '[hidden]';
  }
}
