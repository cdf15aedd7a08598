import { inspect } from 'node:util';

/**
 * A secret value in memory. It prints as `[redacted]` wherever something prints it; only {@link expose} gives the value, and every
 * caller of it is a place to look at in review.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Callers put it on the connection to its origin, into SecretStorage, or into the matcher; nowhere else. */
  expose(): string {
    return this.#value;
  }

  toString(): string {
    return '[redacted]';
  }

  toJSON(): string {
    return '[redacted]';
  }

  [inspect.custom](): string {
    return '[redacted]';
  }

  [Symbol.toPrimitive](): string {
    return '[redacted]';
  }
}
