type Headers = Readonly<Record<string, string | string[]>>;

/**
 * Headers that were found clean last. From call to call they are nearly always the same, and comparing them takes a fraction of making one text
 * of them.
 */
export class LastHeaders {
  readonly #names: string[] = [];
  readonly #values: string[] = [];
  #version = -1;

  /** Whether these are the same, in the same order, and the same is searched for (`version`). */
  are(headers: Headers, version: number): boolean {
    if (version !== this.#version) return false;
    let i = 0;
    for (const name in headers) {
      if (this.#names[i] !== name || this.#values[i] !== headers[name]) return false;
      i++;
    }
    return i === this.#names.length;
  }

  /** Remembers headers; none of those of which one has several values. */
  keep(headers: Headers, version: number): void {
    this.#names.length = 0;
    this.#values.length = 0;
    this.#version = -1;
    for (const name in headers) {
      const value = headers[name];
      if (typeof value !== 'string') return;
      this.#names.push(name);
      this.#values.push(value);
    }
    this.#version = version;
  }
}
