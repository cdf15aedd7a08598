import { isBase64Character, MIN_ENCODED } from './encodedRuns.ts';
import { mayBeginEscape } from './escapes.ts';
import type { BuiltIndex } from './secretIndex.ts';
import { MIN_RUN_SYMBOLS } from './seeds.ts';
import { roomFor, SYMBOL_OF } from './symbols.ts';

/** Bytes before and behind a change that may be part of one escape with it: longest are surrogate pairs and entities. */
const ESCAPE_BYTES = 16;

/**
 * Tells whether a change by unescaping can have brought up a secret: text in a European language is full of characters that are read as
 * others, and searching around all of them would be searching everything twice. Whatever comes up and was not in the text before reaches
 * over the change, or ends at it: so it has a seed among the eight letters and digits before and behind it, or one that the text
 * had before; or it is encoded in a run of characters that reaches to it; or there is another escape.
 */
export class ChangeFilter {
  #symbols = new Uint8Array(256);
  #data = new DataView(this.#symbols.buffer);

  /** Looks at the change from `from` to `to` of `text`, as far as `around` bytes. `goesOn`: whether there may be more escapes in the text. */
  isSuspect(text: Uint8Array, from: number, to: number, goesOn: boolean, { around, filter, layers, exact }: BuiltIndex): boolean {
    if (exact.length > 0) return true;
    if (goesOn)
      for (let i = Math.max(0, from - ESCAPE_BYTES); i < Math.min(text.length, to + ESCAPE_BYTES); i++)
        if (mayBeginEscape(text[i])) return true;
    if (reachesRun(text, from, to)) return true;
    if (!filter) return false;
    const count = this.#read(text, from, to, around);
    const symbols = this.#symbols;
    for (let at = filter.next(symbols, this.#data, 0, count); at < count; at = filter.next(symbols, this.#data, filter.after(at), count))
      for (const { seeds } of layers) if (seeds.holds(symbols, at)) return true;
    return false;
  }

  /** Reads the symbols of a part of a text, and of as much on either side as holds eight of them. Gives their number. */
  #read(text: Uint8Array, from: number, to: number, around: number): number {
    let start = from;
    for (let n = 0; start > 0 && start > from - around && n < MIN_RUN_SYMBOLS; start--) if (SYMBOL_OF[text[start - 1] as number] !== 0) n++;
    if (this.#symbols.length < to - start + 2 * MIN_RUN_SYMBOLS) {
      this.#symbols = new Uint8Array(roomFor(to - start + 2 * MIN_RUN_SYMBOLS));
      this.#data = new DataView(this.#symbols.buffer);
    }
    const symbols = this.#symbols;
    let count = 0;
    for (let i = start; i < to; i++) {
      const symbol = SYMBOL_OF[text[i] as number] as number;
      symbols[count] = symbol;
      if (symbol !== 0) count++;
    }
    const end = Math.min(text.length, to + around);
    for (let [i, n] = [to, 0]; i < end && n < MIN_RUN_SYMBOLS; i++) {
      const symbol = SYMBOL_OF[text[i] as number] as number;
      if (symbol === 0) continue;
      symbols[count++] = symbol;
      n++;
    }
    return count;
  }
}

/** Whether something encoded that is long enough to be decoded reaches to the part of a text. */
function reachesRun(text: Uint8Array, from: number, to: number): boolean {
  let run = 0;
  for (let i = from - 1; i >= 0 && run < MIN_ENCODED; i--) {
    if (isBase64Character(text[i])) run++;
    else if (!isLineEnd(text[i])) break;
  }
  for (let i = from; i < text.length && run < MIN_ENCODED; i++) {
    if (isBase64Character(text[i])) run++;
    else if (isLineEnd(text[i])) continue;
    else if (i >= to) break;
    else run = 0;
  }
  return run >= MIN_ENCODED;
}

function isLineEnd(c: number | undefined): boolean {
  return c === 0x0a || c === 0x0d;
}
