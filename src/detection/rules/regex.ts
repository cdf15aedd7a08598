import { CLASSES, POSIX, everything, inverted, only, onlyOf, setOf, united, without } from './byteSets.ts';
import { maxLength } from './regexFacts.ts';

/**
 * Reads regular expressions, of JavaScript or RE2, into a tree over bytes. What can be known of one is in `regexFacts.ts`; `regexSource.ts`
 * writes it as JavaScript.
 */

export type Node =
  | { readonly kind: 'set'; readonly set: Uint8Array }
  | { readonly kind: 'sequence'; readonly nodes: readonly Node[] }
  | { readonly kind: 'choice'; readonly nodes: readonly Node[] }
  | { readonly kind: 'repeat'; readonly node: Node; readonly min: number; readonly max: number; readonly lazy: boolean }
  | { readonly kind: 'group'; readonly node: Node }
  /** `^`, `$`, `\b`, `\B` as JavaScript writes them, or what must stand before or behind. */
  | { readonly kind: 'assertion'; readonly source: string; readonly look?: Node };

/** What is wrong with an expression: the message says what, and where. */
export class RegexFault extends Error {
  override readonly name = 'RegexFault';
}

/** How an expression is to be read. */
export interface Reading {
  /** Letters in any case. RE2 expressions can say so themselves. */
  readonly anyCase?: boolean;
  /** Repetitions without an end get this one. Without it they are refused. */
  readonly cap?: number;
}

/** Longest expression that is read, characters, and deepest nesting. */
const MAX_SOURCE = 20_000;
const MAX_NESTING = 50;
/** Most nodes of an expression, counted with repetition: what is larger takes long to compile. */
const MAX_REPEAT = 10_000;

/** Reads an expression. @throws {RegexFault} if it is not understood, or not bounded. */
export function readRegex(source: string, reading: Reading = {}): Node {
  if (source.length > MAX_SOURCE) throw new RegexFault('it is too long');
  return new Reader(source, reading).all();
}

class Reader {
  readonly #source: string;
  readonly #cap: number | undefined;
  #at = 0;
  #anyCase: boolean;
  #dotAll = false;
  #multiline = false;
  #swapGreed = false;
  #depth = 0;

  constructor(source: string, { anyCase, cap }: Reading) {
    this.#source = source;
    this.#anyCase = anyCase ?? false;
    this.#cap = cap;
  }

  all(): Node {
    const node = this.#choice();
    if (this.#at < this.#source.length) throw this.#fault('a parenthesis too many');
    return node;
  }

  #fault(message: string): RegexFault {
    return new RegexFault(`${message} at character ${this.#at + 1}`);
  }

  #choice(): Node {
    if (++this.#depth > MAX_NESTING) throw this.#fault('nested too deep');
    const nodes = [this.#sequence()];
    while (this.#source[this.#at] === '|') {
      this.#at++;
      nodes.push(this.#sequence());
    }
    this.#depth--;
    return nodes.length === 1 ? (nodes[0] as Node) : { kind: 'choice', nodes };
  }

  #sequence(): Node {
    const nodes: Node[] = [];
    while (this.#at < this.#source.length && this.#source[this.#at] !== '|' && this.#source[this.#at] !== ')') {
      const node = this.#atom();
      if (node) nodes.push(this.#repeated(node));
    }
    return nodes.length === 1 ? (nodes[0] as Node) : { kind: 'sequence', nodes };
  }

  #repeated(node: Node): Node {
    const match = /^(?:([*+?])|\{(\d{1,5})(?:(,)(\d{0,5}))?\})([?+]?)/.exec(this.#source.slice(this.#at, this.#at + 20));
    if (!match) return node;
    const [all, sign, least, comma, most, how] = match;
    this.#at += all.length;
    const min = sign ? (sign === '+' ? 1 : 0) : Number(least);
    let max = sign === '?' ? 1 : sign || (comma && most === '') ? Number.POSITIVE_INFINITY : comma ? Number(most) : min;
    if (max === Number.POSITIVE_INFINITY) {
      if (this.#cap === undefined) throw this.#fault('repetition without an end');
      max = Math.max(this.#cap, min);
    }
    if (max < min || max > MAX_REPEAT) throw this.#fault('repetition out of range');
    if (node.kind === 'assertion') return min === 0 ? { kind: 'sequence', nodes: [] } : node;
    // Possessive means: no way back. In a bounded window that only costs time.
    return this.#repeated({ kind: 'repeat', node, min, max, lazy: (how === '?') !== this.#swapGreed });
  }

  #atom(): Node | undefined {
    const c = this.#source[this.#at] as string;
    switch (c) {
      case '(':
        return this.#group();
      case '[':
        return { kind: 'set', set: this.#class() };
      case '.':
        this.#at++;
        return { kind: 'set', set: this.#dotAll ? everything() : without(everything(), 0x0a) };
      case '^':
      case '$':
        this.#at++;
        return { kind: 'assertion', source: this.#multiline ? (c === '^' ? '(?<=^|\\n)' : '(?=\\n|$)') : c };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw this.#fault('nothing to repeat');
      default: {
        const point = this.#source.codePointAt(this.#at) ?? 0;
        this.#at += point > 0xffff ? 2 : 1;
        return this.#literal(point);
      }
    }
  }

  /** A character outside ASCII stands as the bytes of its UTF-8. */
  #literal(point: number): Node {
    if (point < 0x80) return { kind: 'set', set: this.#folded(only(point)) };
    const nodes = Array.from(Buffer.from(String.fromCodePoint(point)), (byte): Node => ({ kind: 'set', set: only(byte) }));
    return { kind: 'sequence', nodes };
  }

  #group(): Node | undefined {
    const rest = this.#source.slice(this.#at, this.#at + 80);
    const flags = /^\(\?([imsU]*)(?:-([imsU]+))?([:)])/.exec(rest);
    const saved = [this.#anyCase, this.#dotAll, this.#multiline, this.#swapGreed] as const;
    if (flags && flags[0] !== '(?)') {
      const [all, on = '', off = '', end] = flags;
      this.#at += all.length;
      for (const [letters, value] of [
        [on, true],
        [off, false],
      ] as const)
        for (const letter of letters) {
          if (letter === 'i') this.#anyCase = value;
          else if (letter === 's') this.#dotAll = value;
          else if (letter === 'm') this.#multiline = value;
          else this.#swapGreed = value;
        }
      // Flags by themselves hold to the end of the group around them.
      if (end === ')') return undefined;
      const node = this.#closed();
      [this.#anyCase, this.#dotAll, this.#multiline, this.#swapGreed] = saved;
      return node;
    }
    const look = /^\(\?<?[=!]/.exec(rest)?.[0];
    if (look) {
      this.#at += look.length;
      const node = this.#closed();
      if (maxLength(node) > MAX_LOOK) throw this.#fault('looks too far around');
      return { kind: 'assertion', source: look.slice(1), look: node };
    }
    const named = /^\(\?P?<\w+>/.exec(rest)?.[0];
    if (!named && rest.startsWith('(?')) throw this.#fault('a group of unknown kind');
    this.#at += named?.length ?? 1;
    const node = this.#closed();
    [this.#anyCase, this.#dotAll, this.#multiline, this.#swapGreed] = saved;
    return { kind: 'group', node };
  }

  #closed(): Node {
    const node = this.#choice();
    if (this.#source[this.#at] !== ')') throw this.#fault('a parenthesis is not closed');
    this.#at++;
    return node;
  }

  #escape(): Node | undefined {
    const c = this.#source[this.#at + 1];
    if (c === undefined) throw this.#fault('a backslash at the end');
    const assertion = { b: '\\b', B: '\\B', A: '^', z: '$', Z: '$' }[c];
    if (assertion !== undefined) {
      this.#at += 2;
      return { kind: 'assertion', source: assertion };
    }
    if (c === 'Q') {
      const end = this.#source.indexOf('\\E', this.#at);
      const text = this.#source.slice(this.#at + 2, end < 0 ? undefined : end);
      this.#at = end < 0 ? this.#source.length : end + 2;
      return { kind: 'sequence', nodes: Array.from(text, (character) => this.#literal(character.codePointAt(0) ?? 0)) };
    }
    const set = this.#escapedSet();
    return { kind: 'set', set };
  }

  /** `\d`, `\x41`, `\.` and so on, as a set. */
  #escapedSet(): Uint8Array {
    const c = this.#source[this.#at + 1] ?? '';
    this.#at += 2;
    const named = CLASSES[c.toLowerCase()];
    if (named) return c === c.toLowerCase() ? setOf(named) : inverted(setOf(named));
    const control = { n: 0x0a, r: 0x0d, t: 0x09, f: 0x0c, v: 0x0b, a: 0x07, 0: 0 }[c];
    if (control !== undefined) return only(control);
    if (c === 'x' || c === 'u') {
      const hex = /^(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2}))/.exec(c === 'x' ? this.#source.slice(this.#at, this.#at + 9) : '');
      if (!hex) throw this.#fault('an escape that is not understood');
      this.#at += hex[0].length;
      const value = parseInt(hex[1] ?? hex[2] ?? '', 16);
      if (value > 0xff) throw this.#fault('a character outside Latin-1');
      return this.#folded(only(value));
    }
    if (/[0-9A-Za-z]/.test(c)) throw this.#fault(`\\${c} is not supported`);
    return only(c.charCodeAt(0));
  }

  #class(): Uint8Array {
    let set = new Uint8Array(256);
    this.#at++;
    const inverse = this.#source[this.#at] === '^';
    if (inverse) this.#at++;
    for (let first = true; this.#source[this.#at] !== ']' || first; first = false) {
      if (this.#at >= this.#source.length) throw this.#fault('a bracket is not closed');
      const posix = /^\[:(\^?)([a-z]+):\]/.exec(this.#source.slice(this.#at, this.#at + 14));
      if (posix) {
        const ranges = POSIX[posix[2] ?? ''];
        if (!ranges) throw this.#fault('a class of unknown name');
        this.#at += posix[0].length;
        set = united(set, posix[1] ? inverted(setOf(ranges)) : setOf(ranges));
        continue;
      }
      const from = this.#classItem();
      const single = onlyOf(from);
      if (single !== undefined && this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']') {
        this.#at++;
        const to = onlyOf(this.#classItem());
        if (to === undefined || to < single) throw this.#fault('a range that is none');
        for (let c = single; c <= to; c++) set[c] = 1;
      } else set = united(set, from);
    }
    this.#at++;
    const folded = this.#folded(set);
    return inverse ? inverted(folded) : folded;
  }

  #classItem(): Uint8Array {
    if (this.#source[this.#at] === '\\') {
      if (this.#source[this.#at + 1] === 'b') {
        this.#at += 2;
        return only(8);
      }
      const saved = this.#anyCase;
      this.#anyCase = false;
      const set = this.#escapedSet();
      this.#anyCase = saved;
      return set;
    }
    const point = this.#source.codePointAt(this.#at) ?? 0;
    if (point > 0x7f) throw this.#fault('a character outside ASCII in brackets');
    this.#at++;
    return only(point);
  }

  #folded(set: Uint8Array): Uint8Array {
    if (!this.#anyCase) return set;
    const out = set.slice();
    for (let c = 0x41; c <= 0x5a; c++) if (set[c] === 1 || set[c | 0x20] === 1) out[c] = out[c | 0x20] = 1;
    return out;
  }
}

/** Furthest that an assertion may look, bytes. */
const MAX_LOOK = 64;
