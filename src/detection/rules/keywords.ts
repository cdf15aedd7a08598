/**
 * Finds many keywords in one pass, letters in any case: Aho and Corasick's automaton as one flat table ("Efficient string matching: an aid to
 * bibliographic search", 1975). Bytes that are in no keyword share a column.
 */
export class KeywordAutomaton {
  /** Column of each byte. */
  readonly #columns = new Uint8Array(256);
  /** State after each state and column, times the number of columns; negative, less one, where a keyword ends. */
  readonly #next: Int32Array;
  readonly #width: number;
  /** Keywords that end at each state. */
  readonly #ending: readonly (readonly number[])[];

  /** `keywords`: lower case, ASCII. */
  constructor(keywords: readonly string[]) {
    let width = 1;
    for (const keyword of keywords)
      for (const byte of Buffer.from(keyword, 'latin1')) if (this.#columns[byte] === 0) this.#columns[byte] = width++;
    for (let c = 0x41; c <= 0x5a; c++) this.#columns[c] = this.#columns[c | 0x20] as number;
    this.#width = width;
    const children = [new Map<number, number>()];
    const ending: number[][] = [[]];
    keywords.forEach((keyword, index) => {
      let state = 0;
      for (const byte of Buffer.from(keyword, 'latin1')) {
        const column = this.#columns[byte] as number;
        let child = children[state]?.get(column);
        if (child === undefined) {
          child = children.push(new Map()) - 1;
          ending.push([]);
          children[state]?.set(column, child);
        }
        state = child;
      }
      ending[state]?.push(index);
    });
    const fail = new Int32Array(children.length);
    const table = new Int32Array(children.length * width);
    const queue = [0];
    // It grows on the way.
    for (const state of queue) {
      const failed = fail[state] as number;
      if (state !== 0) ending[state]?.push(...(ending[failed] ?? []));
      for (let column = 0; column < width; column++) {
        const child = children[state]?.get(column);
        const otherwise = state === 0 ? 0 : (table[failed * width + column] as number);
        if (child !== undefined) {
          fail[child] = otherwise;
          queue.push(child);
        }
        table[state * width + column] = child ?? otherwise;
      }
    }
    this.#ending = ending;
    this.#next = table.map((state) => ((ending[state]?.length ?? 0) > 0 ? -state * width - 1 : state * width));
  }

  /** Calls `visit` for each keyword that ends right before `end`, in order. */
  scan(text: Uint8Array, visit: (keyword: number, end: number) => void): void {
    const columns = this.#columns;
    const next = this.#next;
    const { length } = text;
    let state = 0;
    for (let i = 0; i < length; i++) {
      state = next[state + (columns[text[i] as number] as number)] as number;
      if (state >= 0) continue;
      state = -state - 1;
      const keywords = this.#ending[state / this.#width] as readonly number[];
      for (const keyword of keywords) visit(keyword, i + 1);
    }
  }
}
