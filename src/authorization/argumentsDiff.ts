import { visible } from '../common/text.ts';
import { CallArguments, canonical, childPath, describePath, type Value } from './arguments.ts';

/** Changes that are listed; what is beyond is counted by nobody. */
export const MAX_CHANGES = 50;
const SHOWN_CHARACTERS = 200;

/** One difference between the arguments of two calls, ready for showing: hidden characters visible, long values cut in the middle. */
export interface ArgumentChange {
  /** JSON Pointer, as in conditions. */
  readonly path: string;
  /** The path in words: `repo.owner`. */
  readonly name: string;
  readonly kind: 'added' | 'removed' | 'changed';
  readonly before?: string;
  readonly after?: string;
}

/** What differs between two arguments, as JSON texts, in order of the paths; `undefined` if one can't be read. */
export function diffArguments(before: string, after: string): readonly ArgumentChange[] | undefined {
  const [old, now] = [CallArguments.fromText(before).root(), CallArguments.fromText(after).root()];
  if (!old || !now) return undefined;
  const changes: ArgumentChange[] = [];
  compare(old, now, '', changes);
  return changes;
}

function compare(old: Value | undefined, now: Value | undefined, path: string, changes: ArgumentChange[]): void {
  if (changes.length >= MAX_CHANGES || (!old && !now)) return;
  const [before, after] = [membersOf(old), membersOf(now)];
  if (before && after && old?.kind === now?.kind) {
    for (const key of new Set([...before.keys(), ...after.keys()])) compare(before.get(key), after.get(key), childPath(path, key), changes);
    return;
  }
  if (old && now && canonical(old) === canonical(now)) return;
  changes.push({
    path,
    name: visible(describePath(path), 80),
    kind: old && now ? 'changed' : old ? 'removed' : 'added',
    ...(old ? { before: show(old) } : {}),
    ...(now ? { after: show(now) } : {}),
  });
}

function membersOf(value: Value | undefined): ReadonlyMap<string, Value> | undefined {
  if (value?.kind === 'object') return value.members;
  return value?.kind === 'list' ? new Map(value.elements.map((element, i) => [String(i), element])) : undefined;
}

function show(value: Value): string {
  return visible(value.kind === 'string' ? value.text : canonical(value), SHOWN_CHARACTERS);
}
