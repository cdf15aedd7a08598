/**
 * Reads regular expressions, of JavaScript or RE2, into a tree over bytes: to know how long a match can be, what it can begin with, whether
 * matching can take more than linear time, and to write RE2's as JavaScript.
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

const CLASSES: Readonly<Record<string, string>> = { d: '09', w: '09AZaz__', s: '\t\r  ' };
const POSIX: Readonly<Record<string, string>> = {
  alnum: '09AZaz',
  alpha: 'AZaz',
  ascii: '\u0000\u007f',
  blank: '\t\t  ',
  cntrl: '\u0000\u001f\u007f\u007f',
  digit: '09',
  graph: '!~',
  lower: 'az',
  print: ' ~',
  punct: '!/:@[`{~',
  space: '\t\r  ',
  upper: 'AZ',
  word: '09AZaz__',
  xdigit: '09AFaf',
};

/** First and last character of each range, one after the other. */
function setOf(ranges: string): Uint8Array {
  const set = new Uint8Array(256);
  for (let i = 0; i < ranges.length; i += 2) for (let c = ranges.charCodeAt(i); c <= ranges.charCodeAt(i + 1); c++) set[c] = 1;
  return set;
}

/** Sets of one byte are shared; nothing changes a set once it is in a tree. */
const SINGLES = new Map<number, Uint8Array>();

function only(byte: number): Uint8Array {
  let set = SINGLES.get(byte);
  if (!set) {
    set = new Uint8Array(256);
    set[byte] = 1;
    SINGLES.set(byte, set);
  }
  return set;
}

function onlyOf(set: Uint8Array): number | undefined {
  const at = set.indexOf(1);
  return at >= 0 && !set.includes(1, at + 1) ? at : undefined;
}

function everything(): Uint8Array {
  return new Uint8Array(256).fill(1);
}

function without(set: Uint8Array, byte: number): Uint8Array {
  set[byte] = 0;
  return set;
}

function inverted(set: Uint8Array): Uint8Array {
  return set.map((bit) => 1 - bit);
}

function united(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(256);
  for (let i = 0; i < 256; i++) out[i] = (a[i] as number) | (b[i] as number);
  return out;
}

function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.some((bit, i) => bit === 1 && b[i] === 1);
}

/** Bytes of the longest match. */
export function maxLength(node: Node): number {
  return lengthOf(node, Math.max, (repeat) => repeat.max);
}

/** Bytes of the shortest match. */
export function minLength(node: Node): number {
  return lengthOf(node, Math.min, (repeat) => repeat.min);
}

function lengthOf(node: Node, pick: (...n: number[]) => number, times: (repeat: { min: number; max: number }) => number): number {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return node.nodes.reduce((sum, inner) => sum + lengthOf(inner, pick, times), 0);
    case 'choice':
      return pick(...node.nodes.map((inner) => lengthOf(inner, pick, times)));
    case 'repeat':
      return times(node) * lengthOf(node.node, pick, times);
    case 'group':
      return lengthOf(node.node, pick, times);
    case 'assertion':
      return 0;
  }
}

/** What every match can have at its first places, as far as they are at fixed places; at most `most`. */
export function leadingSets(node: Node, most: number): readonly Uint8Array[] {
  return leading(node, most).sets;
}

function leading(node: Node, most: number): { readonly sets: Uint8Array[]; readonly fixed: boolean } {
  switch (node.kind) {
    case 'set':
      return { sets: most > 0 ? [node.set] : [], fixed: true };
    case 'assertion':
      return { sets: [], fixed: true };
    case 'group':
      return leading(node.node, most);
    case 'sequence': {
      const sets: Uint8Array[] = [];
      for (const inner of node.nodes) {
        const more = leading(inner, most - sets.length);
        sets.push(...more.sets);
        if (!more.fixed || sets.length >= most) return { sets, fixed: false };
      }
      return { sets, fixed: true };
    }
    case 'choice': {
      const all = node.nodes.map((inner) => ({ ...leading(inner, most), min: minLength(inner), max: maxLength(inner) }));
      const length = Math.min(...all.map(({ sets }) => sets.length));
      const sets = Array.from({ length }, (_, i) => all.map((one) => one.sets[i] as Uint8Array).reduce((a, b) => united(a, b)));
      return { sets, fixed: all.every(({ fixed, min, max }) => fixed && min === length && max === length) };
    }
    case 'repeat': {
      const sets: Uint8Array[] = [];
      for (let i = 0; i < node.min && sets.length < most; i++) {
        const more = leading(node.node, most - sets.length);
        sets.push(...more.sets);
        if (!more.fixed || more.sets.length === 0) return { sets, fixed: false };
      }
      return { sets, fixed: node.min === node.max && sets.length < most };
    }
  }
}

/** So few rounds of a repeated group can't go wrong much; the tests time every rule. */
const FEW_ROUNDS = 4;

/** Why matching could take more than a bounded number of steps for each byte, undefined if it can't: repetition within repetition. */
export function nestedRepetition(node: Node): string | undefined {
  switch (node.kind) {
    case 'set':
      return undefined;
    case 'sequence':
    case 'choice':
      return node.nodes.map(nestedRepetition).find((problem) => problem !== undefined);
    case 'group':
      return nestedRepetition(node.node);
    case 'assertion':
      return node.look && nestedRepetition(node.look);
    case 'repeat': {
      const inner = nestedRepetition(node.node);
      if (inner !== undefined || node.max <= 1) return inner;
      const variable = variableSets(node.node);
      if (variable.length === 0 || node.max <= FEW_ROUNDS) return undefined;
      if (minLength(node.node) === 0) return 'a repeated group that can be empty';
      // Harmless where every round has to pass a character that the inner repetition can't take: there is one way only.
      return fixedSets(node.node).some((fixed) => !variable.some((set) => overlap(set, fixed)))
        ? undefined
        : 'repetition within repetition';
    }
  }
}

function variableSets(node: Node): readonly Uint8Array[] {
  switch (node.kind) {
    case 'repeat':
      return node.min === node.max ? variableSets(node.node) : [anyOf(node.node)];
    case 'sequence':
    case 'choice':
      return node.nodes.flatMap(variableSets);
    case 'group':
      return variableSets(node.node);
    default:
      return [];
  }
}

/** Sets of the characters that have to stand in every match, on the first level of a sequence. */
function fixedSets(node: Node): readonly Uint8Array[] {
  switch (node.kind) {
    case 'set':
      return [node.set];
    case 'sequence':
      return node.nodes.flatMap(fixedSets);
    case 'group':
      return fixedSets(node.node);
    case 'repeat':
      return node.min > 0 ? fixedSets(node.node) : [];
    default:
      return [];
  }
}

function anyOf(node: Node): Uint8Array {
  switch (node.kind) {
    case 'set':
      return node.set;
    case 'sequence':
    case 'choice':
      return node.nodes.map(anyOf).reduce((a, b) => united(a, b), new Uint8Array(256));
    case 'group':
    case 'repeat':
      return anyOf(node.node);
    case 'assertion':
      return new Uint8Array(256);
  }
}

/** Without what may stand before the first thing that has to: searching finds the match from there. */
export function withoutPreamble(node: Node): Node {
  if (node.kind !== 'sequence') return node;
  let first = 0;
  while (first < node.nodes.length - 1) {
    const inner = node.nodes[first] as Node;
    if (inner.kind !== 'repeat' || inner.min > 0 || holdsGroup(inner)) break;
    first++;
  }
  return first === 0 ? node : { kind: 'sequence', nodes: node.nodes.slice(first) };
}

function holdsGroup(node: Node): boolean {
  switch (node.kind) {
    case 'group':
      return true;
    case 'sequence':
    case 'choice':
      return node.nodes.some(holdsGroup);
    case 'repeat':
      return holdsGroup(node.node);
    default:
      return false;
  }
}

/** The expression in JavaScript, for texts of one character a byte, without flags. */
export function regexSource(node: Node): string {
  switch (node.kind) {
    case 'set':
      return setSource(node.set);
    case 'sequence':
      return node.nodes.map((inner) => (inner.kind === 'choice' ? `(?:${regexSource(inner)})` : regexSource(inner))).join('');
    case 'choice':
      return node.nodes.map(regexSource).join('|');
    case 'group':
      return `(${regexSource(node.node)})`;
    case 'assertion':
      return node.look ? `(${node.source}${regexSource(node.look)})` : node.source;
    case 'repeat': {
      const { min, max, lazy } = node;
      const inner = node.node.kind === 'set' || node.node.kind === 'group' ? regexSource(node.node) : `(?:${regexSource(node.node)})`;
      return `${inner}{${min}${min === max ? '' : `,${max}`}}${lazy && min !== max ? '?' : ''}`;
    }
  }
}

function setSource(set: Uint8Array): string {
  const single = onlyOf(set);
  if (single !== undefined) return byteSource(single);
  const ranges: string[] = [];
  for (let c = 0; c < 256; c++) {
    if (set[c] !== 1) continue;
    let last = c;
    while (last < 255 && set[last + 1] === 1) last++;
    ranges.push(c === last ? byteSource(c) : `${byteSource(c)}-${byteSource(last)}`);
    c = last;
  }
  return `[${ranges.join('')}]`;
}

function byteSource(byte: number): string {
  const c = String.fromCharCode(byte);
  return /[0-9A-Za-z]/.test(c) ? c : `\\x${byte.toString(16).padStart(2, '0')}`;
}
