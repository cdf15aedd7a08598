import { DatabaseSync } from 'node:sqlite';
import { parseTree, type Node, type ParseError } from 'jsonc-parser';

/** How a parser reads what the tunnel decides on. Values are in a canonical form in which numbers keep their digits. */
export interface Reading {
  readonly jsonrpc: string | undefined;
  readonly id: string | undefined;
  readonly method: string | undefined;
  readonly name: string | undefined;
  readonly uri: string | undefined;
  readonly taskId: string | undefined;
  readonly arguments: string | undefined;
  readonly task: string | undefined;
  readonly requestState: string | undefined;
  /** `params.notifications.taskIds` of `subscriptions/listen`. */
  readonly taskIds: string | undefined;
  /** `params._meta["io.modelcontextprotocol/protocolVersion"]`. */
  readonly protocolVersion: string | undefined;
  readonly result: boolean;
  readonly error: boolean;
}

/** A parser that servers use, or one that behaves like it. Gives `undefined` for what it does not take, or does not take as one object. */
export interface OtherParser {
  readonly name: string;
  read(text: string): Partial<Reading> | undefined;
}

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';

/** JSON as a tree that forgets nothing: members in order, duplicates included, numbers as they are written. */
type Tree =
  | { readonly kind: 'object'; readonly members: readonly (readonly [string, Tree])[] }
  | { readonly kind: 'array'; readonly items: readonly Tree[] }
  | { readonly kind: 'leaf'; readonly text: string };

/** Which member counts when a key stands more than once, and which keys are the same. */
interface Habits {
  readonly pick: 'first' | 'last';
  /** Whether the fields of the protocol (not the keys of free data) are found without regard to case. */
  readonly folds: boolean;
  /** What becomes of half a surrogate pair in a key. */
  readonly surrogates: 'kept' | 'replaced';
  /** Whether a key of the protocol ends at a NUL. */
  readonly cuts?: boolean;
}

/**
 * The same value always gives the same text, whatever the order of members and however strings are escaped. Half a surrogate pair, which
 * some keep and some replace, is the same as its replacement; two keys that become one by it are not the same as one.
 */
function canonical(tree: Tree, habits: Habits): string {
  if (tree.kind === 'leaf') return tree.text;
  if (tree.kind === 'array') return `[${tree.items.map((item) => canonical(item, habits)).join(',')}]`;
  const members = new Map<string, Tree>();
  for (const [key, value] of tree.members) if (habits.pick === 'last' || !members.has(key)) members.set(key, value);
  const parts = [...members].map(([key, value]) => `${JSON.stringify(key.toWellFormed())}:${canonical(value, habits)}`);
  return `{${parts.sort().join(',')}}`;
}

/** Unicode simple case folding, as `unicode.SimpleFold` in Go and the flags `iu` of a regular expression have it. */
function folds(key: string, field: string): boolean {
  return key === field || (key.length <= 4 * field.length && new RegExp(`^${field}$`, 'iu').test(key));
}

function member(tree: Tree | undefined, field: string, habits: Habits): Tree | undefined {
  if (tree?.kind !== 'object') return undefined;
  const found = tree.members.filter(([whole]) => {
    const key = habits.cuts === true ? whole.split('\0', 1)[0] : whole;
    return habits.folds ? folds(key ?? '', field) : key === field;
  });
  return found.at(habits.pick === 'first' ? 0 : -1)?.[1];
}

function readingOf(tree: Tree | undefined, habits: Habits): Reading | undefined {
  if (tree?.kind !== 'object') return undefined;
  const text = (value: Tree | undefined): string | undefined => value && canonical(value, habits);
  const params = member(tree, 'params', habits);
  const meta = member(params, '_meta', habits);
  const method = text(member(tree, 'method', habits));
  const listens = method === '"subscriptions/listen"';
  return {
    jsonrpc: text(member(tree, 'jsonrpc', habits)),
    id: text(member(tree, 'id', habits)),
    method,
    name: text(member(params, 'name', habits)),
    uri: text(member(params, 'uri', habits)),
    taskId: text(member(params, 'taskId', habits)),
    arguments: text(member(params, 'arguments', habits)),
    task: text(member(params, 'task', habits)),
    requestState: text(member(params, 'requestState', habits)),
    taskIds: listens ? text(member(member(params, 'notifications', habits), 'taskIds', habits)) : undefined,
    protocolVersion: text(member(meta, VERSION_KEY, { ...habits, folds: false })),
    result: member(tree, 'result', habits) !== undefined,
    error: member(tree, 'error', habits) !== undefined,
  };
}

/**
 * Valid JSON with every string and number as a string in which nothing is escaped: a letter for what it is, then its text, in hexadecimal if
 * it has an escape. So numbers keep their digits, and V8 12.8 to 14.6 reads the keys that are there: what they make of escaped keys depends
 * on what they parsed before (nodejs/node#63785).
 */
export function withoutEscapes(valid: string): string {
  return valid.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => {
    if (!token.startsWith('"')) return `"n${token}"`;
    if (!token.includes('\\')) return `"s${token.slice(1)}`;
    return `"x${Buffer.from(JSON.parse(token) as string, 'utf16le').toString('hex')}"`;
  });
}

/** The text of a string of {@link withoutEscapes}. */
export function plainText(token: string): string {
  return token.startsWith('x') ? Buffer.from(token.slice(1), 'hex').toString('utf16le') : token.slice(1);
}

/** What `JSON.parse` makes of valid JSON where nothing went before. */
export function parsePlainly(valid: string): unknown {
  const restore = (v: unknown): unknown => {
    if (typeof v === 'string') return v.startsWith('n') ? Number(v.slice(1)) : plainText(v);
    if (Array.isArray(v)) return v.map(restore);
    if (typeof v !== 'object' || v === null) return v;
    const out = {};
    for (const [key, child] of Object.entries(v))
      Object.defineProperty(out, plainText(key), { value: restore(child), enumerable: true, writable: true, configurable: true });
    return out;
  };
  return restore(JSON.parse(withoutEscapes(valid)));
}

/** JavaScript: what `JSON.parse` makes of it, numbers aside. */
function lastTree(text: string): Tree | undefined {
  let value: unknown;
  try {
    JSON.parse(text);
    value = JSON.parse(withoutEscapes(text));
  } catch {
    return undefined;
  }
  const treeOf = (v: unknown): Tree => {
    if (Array.isArray(v)) return { kind: 'array', items: v.map(treeOf) };
    if (typeof v === 'object' && v !== null) {
      // The same key may have been spelled in two ways; the later one counts.
      const members = Object.entries(v).map(([key, child]): [string, Tree] => [plainText(key), treeOf(child)]);
      return { kind: 'object', members };
    }
    if (typeof v !== 'string') return { kind: 'leaf', text: JSON.stringify(v) };
    return { kind: 'leaf', text: v.startsWith('n') ? v.slice(1) : JSON.stringify(plainText(v).toWellFormed()) };
  };
  return treeOf(value);
}

/** The same text through the parser of VS Code's own JSON files, which keeps every member. `undefined` if it sees a fault. */
function wholeTree(text: string, habits: Habits): Tree | undefined {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false });
  if (!root || errors.length > 0) return undefined;
  const keyOf = (value: string): string => (habits.surrogates === 'replaced' ? value.toWellFormed() : value);
  const treeOf = (node: Node): Tree => {
    if (node.type === 'object')
      return {
        kind: 'object',
        members: (node.children ?? []).map(({ children = [] }): [string, Tree] => [
          keyOf(String(children[0]?.value)),
          treeOf(children[1] as Node),
        ]),
      };
    if (node.type === 'array') return { kind: 'array', items: (node.children ?? []).map(treeOf) };
    if (node.type === 'string') return { kind: 'leaf', text: JSON.stringify(String(node.value).toWellFormed()) };
    return { kind: 'leaf', text: text.slice(node.offset, node.offset + node.length) };
  };
  return treeOf(root);
}

/** JavaScript and most others: the last of several members of one key counts. */
export const lastWins: OtherParser = {
  name: 'JSON.parse',
  read: (text) => readingOf(lastTree(text), { pick: 'last', folds: false, surrogates: 'kept' }),
};

/** The first of several members of one key counts, as in parsers that look a key up in a list. */
export const firstWins: OtherParser = {
  name: 'first wins',
  read(text) {
    const habits: Habits = { pick: 'first', folds: false, surrogates: 'kept' };
    return readingOf(wholeTree(text, habits), habits);
  },
};

/** Go's encoding/json into a struct: the last member whose key is the same but for case counts, half surrogate pairs become U+FFFD. */
export const caseFolding: OtherParser = {
  name: 'case folding',
  read(text) {
    const habits: Habits = { pick: 'last', folds: true, surrogates: 'replaced' };
    return readingOf(wholeTree(text, habits), habits);
  },
};

/** A reader of C strings: a key ends at a NUL, and the first of several members counts. */
export const cutAtNul: OtherParser = {
  name: 'C strings',
  read(text) {
    const habits: Habits = { pick: 'first', folds: false, surrogates: 'kept', cuts: true };
    return readingOf(wholeTree(text, habits), habits);
  },
};

/** SQLite's parser, written in C: takes JSON5 as well, and the first of several members. Its readings are of strings only. */
export class SqliteParser implements OtherParser {
  readonly name = 'SQLite';
  readonly #db = new DatabaseSync(':memory:');
  readonly #query = this.#db.prepare(
    `SELECT json_valid(?1) AS valid, json_type(?1) AS type, json_extract(?1, '$.jsonrpc') AS jsonrpc, json_extract(?1, '$.method') AS method,
     json_type(?1, '$.method') AS methodType, json_extract(?1, '$.params.name') AS name, json_type(?1, '$.params.name') AS nameType`,
  );

  read(text: string): Partial<Reading> | undefined {
    // Its own texts end at a NUL and hold no half of a surrogate pair.
    if (/\\u(0000|d[89a-f])/i.test(text)) return {};
    const row = this.#query.get(text) as Record<string, string | number | null>;
    if (row['valid'] !== 1 || row['type'] !== 'object') return undefined;
    const string = (value: unknown): string => JSON.stringify(value);
    return {
      jsonrpc: string(row['jsonrpc']),
      ...(row['methodType'] === 'text' && { method: string(row['method']) }),
      ...(row['nameType'] === 'text' && { name: string(row['name']) }),
    };
  }

  close(): void {
    this.#db.close();
  }
}
