import { overlap, united } from './byteSets.ts';
import type { Node } from './regex.ts';

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
