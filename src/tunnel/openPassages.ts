/** A member of {@link OpenPassages}; it alone writes `at`. */
export interface Placed {
  /** Where it stands; -1 while it stands nowhere. */
  at: number;
}

/**
 * What is under way, in no order. Not a `Set`: one that is added to and removed from all the time is copied again and again inside V8, and
 * each copy that is done with holds on to what was in it and to the next copy. With many calls a second that kept every call alive until
 * the next full collection, and collections took a fifth of the time.
 */
export class OpenPassages<T extends Placed> implements Iterable<T> {
  readonly #all: T[] = [];

  get size(): number {
    return this.#all.length;
  }

  add(one: T): void {
    one.at = this.#all.push(one) - 1;
  }

  delete(one: T): void {
    if (this.#all[one.at] !== one) return;
    const last = this.#all.pop();
    if (last !== undefined && last !== one) {
      last.at = one.at;
      this.#all[one.at] = last;
    }
    one.at = -1;
  }

  /** Those under way when it is asked; what comes or goes meanwhile changes nothing. */
  [Symbol.iterator](): Iterator<T> {
    return this.#all.slice()[Symbol.iterator]();
  }
}
