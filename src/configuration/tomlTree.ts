import { ParseError, parseTOML, type AST } from 'toml-eslint-parser';
import { between, type Span } from './textEdit.ts';
import { MAX_DEPTH, around, memberOf, type Member, type Node, type Reading } from './tree.ts';

/** One `key = value` with the whole path of its key, tables included. */
export interface TomlPair {
  readonly path: readonly (string | number)[];
  /** How many steps of `path` stand before the equals sign on this line. */
  readonly written: number;
  readonly keySpan: Span;
  readonly span: Span;
  readonly value: AST.TOMLContentNode;
  /** Where each written part of the key stands. */
  readonly parts: readonly Span[];
}

/** A `[table]` or `[[table]]` with its pairs. `header` is the bracketed line without a comment behind it. */
export interface TomlTable {
  readonly path: readonly (string | number)[];
  readonly header: Span;
  readonly pairs: readonly TomlPair[];
}

/** A TOML file as its lines are: pairs before the first table, then tables in order. */
export interface TomlLines {
  readonly top: readonly TomlPair[];
  readonly tables: readonly TomlTable[];
}

const spanOf = (node: { readonly range: readonly [number, number] }): Span => between(...node.range);

function keyText(part: AST.TOMLBare | AST.TOMLQuoted): string {
  return part.type === 'TOMLBare' ? part.name : part.value;
}

function pairOf(node: AST.TOMLKeyValue, table: readonly (string | number)[]): TomlPair {
  const parts = node.key.keys;
  return {
    path: [...table, ...parts.map(keyText)],
    written: parts.length,
    keySpan: spanOf(node.key),
    span: spanOf(node),
    value: node.value,
    parts: parts.map(spanOf),
  };
}

/** The lines of a TOML 1.0 text. Throws the parser's ParseError if it is none. */
export function tomlLines(text: string): TomlLines {
  const [top] = parseTOML(text).body;
  const pairs: TomlPair[] = [];
  const tables: TomlTable[] = [];
  for (const node of top.body) {
    if (node.type === 'TOMLKeyValue') pairs.push(pairOf(node, []));
    else {
      const path = [...node.resolvedKey];
      // The node's own range ends with its last pair; the header is what the brackets enclose.
      const close = text.indexOf(']', node.key.range[1]);
      const header = between(node.range[0], close + (node.kind === 'array' ? 2 : 1));
      tables.push({ path, header, pairs: node.body.map((pair) => pairOf(pair, path)) });
    }
  }
  return { top: pairs, tables };
}

/** Reads TOML 1.0 (toml.io). A key that stands twice is an error of the format itself. */
export function readToml(text: string): Reading {
  let lines: TomlLines;
  try {
    lines = tomlLines(text);
  } catch (error) {
    if (error instanceof ParseError) {
      // A missing value is noticed on the next line; what is meant is where it is missing.
      const missing = error.message.startsWith('Unspecified');
      const offset = missing ? text.slice(0, error.index).trimEnd().length : error.index;
      return { message: missing ? 'a value is missing' : `${error.message.charAt(0).toLowerCase()}${error.message.slice(1)}`, offset };
    }
    if (error instanceof RangeError) return { message: 'it is nested too deeply', offset: 0 };
    throw error;
  }
  const root = new Draft(between(0, text.length));
  for (const pair of lines.top) if (!put(root, pair.path, pair)) return tooDeep(pair.span);
  for (const table of lines.tables) {
    if (!put(root, table.path, undefined, table.header)) return tooDeep(table.header);
    for (const pair of table.pairs) if (!put(root, pair.path, pair)) return tooDeep(pair.span);
  }
  return { root: root.finish(), duplicates: [] };
}

const tooDeep = (span: Span): Reading => ({ message: `it is nested more than ${MAX_DEPTH} levels deep`, offset: span.offset });

/** A table or array of tables while its lines, which may be anywhere in the file, are gathered. */
class Draft {
  readonly #children = new Map<string | number, { readonly keySpan: Span; child: Draft | Node }>();
  #span: Span;

  constructor(span: Span) {
    this.#span = span;
  }

  child(step: string | number, keySpan: Span): Draft | undefined {
    const found = this.#children.get(step);
    if (found) {
      if (!(found.child instanceof Draft)) return undefined;
      found.child.#span = around(found.child.#span, keySpan);
      return found.child;
    }
    const child = new Draft(keySpan);
    this.#children.set(step, { keySpan, child });
    return child;
  }

  set(step: string | number, keySpan: Span, value: Node): void {
    this.#children.set(step, { keySpan, child: value });
  }

  finish(): Node {
    const entries = [...this.#children].map(([step, { keySpan, child }]) => {
      const value = child instanceof Draft ? child.finish() : child;
      return { step, keySpan, value };
    });
    if (entries.length > 0 && entries.every(({ step }) => typeof step === 'number'))
      return { kind: 'sequence', span: this.#span, items: entries.map(({ value }) => value) };
    const members = entries.map(({ step, keySpan, value }): Member => ({
      key: String(step),
      keySpan,
      span: around(keySpan, value.span),
      value,
    }));
    return { kind: 'mapping', span: members.reduce((span, member) => around(span, member.span), this.#span), members, braced: false };
  }
}

function put(root: Draft, path: readonly (string | number)[], pair: TomlPair | undefined, header?: Span): boolean {
  if (path.length > MAX_DEPTH) return false;
  let at = root;
  const own = pair?.keySpan ?? header ?? between(0, 0);
  for (const [i, step] of path.entries()) {
    const part = pair?.parts[i - (path.length - pair.written)] ?? own;
    if (pair && i === path.length - 1) {
      const value = convert(pair.value, 0);
      if (!value) return false;
      at.set(step, part, value);
    } else {
      const next = at.child(step, part);
      if (!next) return true;
      at = next;
    }
  }
  return true;
}

function convert(node: AST.TOMLContentNode, depth: number): Node | undefined {
  const span = spanOf(node);
  if (depth > MAX_DEPTH) return undefined;
  switch (node.type) {
    case 'TOMLArray': {
      const items = node.elements.map((element) => convert(element, depth + 1));
      return items.every((item) => item !== undefined) ? { kind: 'sequence', span, items } : undefined;
    }
    case 'TOMLInlineTable': {
      const members: Member[] = [];
      for (const pair of node.body) if (!putInline(members, pairOf(pair, []), 0, depth + 1)) return undefined;
      return { kind: 'mapping', span, members, braced: true };
    }
    case 'TOMLValue':
      if (node.kind === 'string' || node.kind === 'boolean') return { kind: 'scalar', span, value: node.value };
      if (node.kind === 'integer' || node.kind === 'float') return { kind: 'scalar', span, value: node.value };
      return { kind: 'opaque', span };
  }
}

/** Puts `a.b = 1` inside `{ … }` as nested mappings. */
function putInline(members: Member[], pair: TomlPair, at: number, depth: number): boolean {
  const key = String(pair.path[at] ?? '');
  const keySpan = pair.parts[at] ?? pair.keySpan;
  if (depth > MAX_DEPTH) return false;
  if (at === pair.path.length - 1) {
    const value = convert(pair.value, depth);
    if (value) members.push({ key, keySpan, span: pair.span, value });
    return value !== undefined;
  }
  const known = memberOf({ kind: 'mapping', members, span: pair.span, braced: true }, key);
  const inner = known?.value.kind === 'mapping' ? [...known.value.members] : [];
  if (!putInline(inner, pair, at + 1, depth + 1)) return false;
  const span = known ? around(known.span, pair.span) : pair.span;
  const merged: Member = { key, keySpan: known?.keySpan ?? keySpan, span, value: { kind: 'mapping', members: inner, span, braced: false } };
  if (known) members.splice(members.indexOf(known), 1, merged);
  else members.push(merged);
  return true;
}
