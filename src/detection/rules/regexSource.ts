import { onlyOf } from './byteSets.ts';
import type { Node } from './regex.ts';

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
