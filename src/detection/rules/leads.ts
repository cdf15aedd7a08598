import type { Node } from './regex.ts';
import { maxLength, minLength } from './regexFacts.ts';

/** Bytes of a match before a keyword, fewest and most. */
export interface KeywordPlace {
  readonly min: number;
  readonly max: number;
}

/** Where in every match of an expression one of the keywords (lower case) begins; `undefined` if that can't be told. */
export function keywordPlace(node: Node, keywords: readonly string[]): KeywordPlace | undefined {
  const longest = Math.max(...keywords.map((keyword) => keyword.length));
  const nodes = flat(node);
  let [min, max] = [0, 0];
  for (const [k, first] of nodes.entries()) {
    const texts = beginnings({ kind: 'sequence', nodes: nodes.slice(k) }, longest);
    if (texts.every(({ text }) => keywords.some((keyword) => text.startsWith(keyword)))) return { min, max };
    min += minLength(first);
    max += maxLength(first);
  }
  return undefined;
}

/** Bytes that are seldom in text, the most telling first. */
const RARE = '@~^|$%+#';

/** A byte that every match holds and no keyword does, if there is one that ordinary text seldom holds. */
export function rareByte(node: Node, keywords: readonly string[]): number | undefined {
  const held = heldBytes(node);
  for (const c of RARE) if (held.has(c.charCodeAt(0)) && !keywords.some((keyword) => keyword.includes(c))) return c.charCodeAt(0);
  return undefined;
}

function heldBytes(node: Node): ReadonlySet<number> {
  switch (node.kind) {
    case 'set': {
      const first = node.set.indexOf(1);
      return first >= 0 && !node.set.includes(1, first + 1) ? new Set([first]) : NONE;
    }
    case 'sequence':
      return new Set(node.nodes.flatMap((inner) => [...heldBytes(inner)]));
    case 'choice': {
      const [first = NONE, ...others] = node.nodes.map(heldBytes);
      return new Set([...first].filter((byte) => others.every((other) => other.has(byte))));
    }
    case 'group':
      return heldBytes(node.node);
    case 'repeat':
      return node.min > 0 ? heldBytes(node.node) : NONE;
    case 'assertion':
      return NONE;
  }
}

const NONE: ReadonlySet<number> = new Set();

/** What follows one another in a match. */
function flat(node: Node): readonly Node[] {
  switch (node.kind) {
    case 'sequence':
      return node.nodes.flatMap(flat);
    case 'group':
      return flat(node.node);
    default:
      return [node];
  }
}

/** Text with which a match can begin, lower case; `open` if nothing else is known to stand before what comes behind the node. */
interface Beginning {
  readonly text: string;
  readonly open: boolean;
}

/** Most texts that are told apart, and most bytes at one place. */
const MAX_TEXTS = 64;
const MAX_BYTES = 8;
const NOTHING: readonly Beginning[] = [{ text: '', open: true }];
const ANYTHING: readonly Beginning[] = [{ text: '', open: false }];

/** All texts with which matches begin, as far as they are told, up to `most` characters or a little more. */
function beginnings(node: Node, most: number): readonly Beginning[] {
  switch (node.kind) {
    case 'set': {
      const bytes = new Set<string>();
      node.set.forEach((bit, byte) => bit === 1 && bytes.add(String.fromCharCode(byte).toLowerCase()));
      return bytes.size > MAX_BYTES ? ANYTHING : Array.from(bytes, (text) => ({ text, open: true }));
    }
    case 'assertion':
      return NOTHING;
    case 'group':
      return beginnings(node.node, most);
    case 'choice':
      return node.nodes.flatMap((inner) => beginnings(inner, most));
    case 'sequence':
      return node.nodes.reduce((all, inner) => followed(all, inner, most), NOTHING);
    case 'repeat': {
      let all = NOTHING;
      for (let n = 0; n < node.min && all.some(({ text, open }) => open && text.length < most); n++) all = followed(all, node.node, most);
      if (node.min === node.max) return all;
      if (node.max - node.min === 1) return [...all, ...followed(all, node.node, most)];
      return all.map(({ text }) => ({ text, open: false }));
    }
  }
}

function followed(all: readonly Beginning[], node: Node, most: number): readonly Beginning[] {
  if (!all.some(({ text, open }) => open && text.length < most)) return all;
  const next = beginnings(node, most);
  if (all.length * next.length > MAX_TEXTS) return all.map(({ text }) => ({ text, open: false }));
  return all.flatMap((one) =>
    one.open && one.text.length < most ? next.map(({ text, open }) => ({ text: one.text + text, open })) : [one],
  );
}
