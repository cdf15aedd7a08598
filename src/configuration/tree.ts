import { between, endOf, type Span } from './textEdit.ts';

/** Deepest nesting that is read, in levels. Real configurations stay below 20; what recurses needs a bound. */
export const MAX_DEPTH = 200;

/** Where a value is inside a file: keys and indexes from the root. */
export type Path = readonly (string | number)[];

/** A text, number, truth value or nothing. */
export interface ScalarNode {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  readonly span: Span;
}

/** A value that is read as nothing and never edited: a date, a YAML alias or tag, a value that carries an anchor. */
export interface OpaqueNode {
  readonly kind: 'opaque';
  readonly span: Span;
}

/** One key with its value. `span` reaches from the key to the end of the value, without separators. */
export interface Member {
  readonly key: string;
  readonly keySpan: Span;
  readonly span: Span;
  readonly value: Node;
}

/** An object (JSON), table (TOML) or mapping (YAML). A key that stands twice is there twice. */
export interface MappingNode {
  readonly kind: 'mapping';
  readonly members: readonly Member[];
  readonly span: Span;
  /** Written in braces; false for block mappings and for tables that are spread over lines. */
  readonly braced: boolean;
}

/** An array or list. */
export interface SequenceNode {
  readonly kind: 'sequence';
  readonly items: readonly Node[];
  readonly span: Span;
}

/** A value of a JSON, TOML or YAML file with the place where it stands. */
export type Node = ScalarNode | OpaqueNode | MappingNode | SequenceNode;

/** A key that stands twice in one object. Readers differ in which one they take. */
export interface DuplicateKey {
  /** Path of the second one. */
  readonly path: Path;
  readonly span: Span;
}

/** A file that its format's parser does not take. */
export interface SyntaxProblem {
  readonly message: string;
  readonly offset: number;
}

/** What a format's reader returns. */
export type Reading = { readonly root: Node; readonly duplicates: readonly DuplicateKey[] } | SyntaxProblem;

/** The value behind a key: the last one if it stands twice, as JSON.parse reads it. */
export function memberOf(node: Node | undefined, key: string): Member | undefined {
  return node?.kind === 'mapping' ? node.members.findLast((member) => member.key === key) : undefined;
}

/** The members of a mapping that count: of a key that stands twice the last one. In one pass, for mappings of any size. */
export function countingMembers(node: MappingNode): Member[] {
  return [...new Map(node.members.map((member) => [member.key, member])).values()];
}

/** The node at a path. */
export function nodeAt(root: Node, path: Path): Node | undefined {
  let node: Node = root;
  for (const step of path) {
    const next: Node | undefined =
      typeof step === 'string' ? memberOf(node, step)?.value : node.kind === 'sequence' ? node.items[step] : undefined;
    if (next === undefined) return undefined;
    node = next;
  }
  return node;
}

/** Text of a scalar that is one. */
export function textOf(node: Node | undefined): string | undefined {
  return node?.kind === 'scalar' && typeof node.value === 'string' ? node.value : undefined;
}

/** The node as plain data. Opaque values become `undefined`; of a key that stands twice the last counts. */
export function valueOf(node: Node): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'opaque':
      return undefined;
    case 'sequence':
      return node.items.map(valueOf);
    case 'mapping':
      // No prototype: a key named __proto__ is a key like any other.
      return Object.assign(Object.create(null) as object, Object.fromEntries(node.members.map((m) => [m.key, valueOf(m.value)])));
  }
}

/** Most duplicate keys that are gathered; one is enough to refuse an edit. */
export const MAX_DUPLICATES = 1_000;

/** Keys that stand twice in a JSON tree. */
export function findDuplicates(root: Node): DuplicateKey[] {
  const found: DuplicateKey[] = [];
  const walk = (node: Node, path: Path): void => {
    if (node.kind === 'sequence') node.items.forEach((item, i) => walk(item, [...path, i]));
    if (node.kind !== 'mapping') return;
    const seen = new Set<string>();
    for (const { key, keySpan, value } of node.members) {
      if (seen.has(key) && found.length < MAX_DUPLICATES) found.push({ path: [...path, key], span: keySpan });
      seen.add(key);
      walk(value, [...path, key]);
    }
  };
  walk(root, []);
  return found;
}

/** Whether `path` begins with `prefix`. */
export function startsWith(path: Path, prefix: Path): boolean {
  return prefix.length <= path.length && prefix.every((step, i) => step === path[i]);
}

/** The smallest span around both. */
export function around(a: Span, b: Span): Span {
  const start = Math.min(a.offset, b.offset);
  return between(start, Math.max(endOf(a), endOf(b)));
}
