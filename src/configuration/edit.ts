import { isDeepStrictEqual } from 'node:util';
import { bridgeMembers, bridgeValue, type Bridge } from './bridge.ts';
import type { FoundCredential } from './credentials.ts';
import { editObstacle, isProblem, parseDocument, type ConfigurationDocument, type FileProblem } from './document.ts';
import type { Entry } from './entry.ts';
import { bridgeObject, removeMembers } from './jsonEdit.ts';
import { quote, withinLiteral } from './literal.ts';
import { culvertReference } from './references.ts';
import { looksSecret, type LooksSecret } from './secretShape.ts';
import { applyEdits, between, sliceOf, type Span, type TextEdit } from './textEdit.ts';
import { bridgeTable } from './tomlEdit.ts';
import { memberOf, nodeAt, textOf, valueOf, type MappingNode, type Member, type Path } from './tree.ts';
import { bridgeMapping } from './yamlEdit.ts';

/** What becomes of an entry. */
export type EntryChange =
  /** Taken out: Culvert's own definition takes its place (VS Code). */
  | { readonly kind: 'remove'; readonly entry: Entry }
  /** Starts the bridge instead (every other client). */
  | { readonly kind: 'bridge'; readonly entry: Entry; readonly bridge: Bridge };

/** Edits of one file, checked: the text after them parses to what was intended and nothing else changed. */
export interface PlannedEdit {
  readonly edits: readonly TextEdit[];
  readonly text: string;
}

/** What replaces an entry: for VS Code it goes, for other clients it starts the bridge. */
export function changeFor(entry: Entry, bridge: Bridge): EntryChange {
  return entry.client === 'vscode' ? { kind: 'remove', entry } : { kind: 'bridge', entry, bridge };
}

/** Edits that carry out all changes of one file together. `name` is the file as messages call it. */
export function editEntries(
  document: ConfigurationDocument,
  changes: readonly EntryChange[],
  name: string,
  rules: LooksSecret = looksSecret,
): PlannedEdit | FileProblem {
  const edits: TextEdit[] = [];
  const expected = plainCopy(document);
  const removals = new Map<MappingNode, Set<Member>>();
  for (const change of changes) {
    const { path } = change.entry;
    const obstacle = editObstacle(document, path, name);
    if (obstacle) return obstacle;
    const node = nodeAt(document.root, path);
    if (node?.kind !== 'mapping') return changed(name);
    if (change.kind === 'remove') {
      const container = nodeAt(document.root, path.slice(0, -1));
      const key = path.at(-1);
      const member = typeof key === 'string' ? memberOf(container, key) : undefined;
      if (document.format !== 'json' || container?.kind !== 'mapping' || !member)
        return { code: 'not-editable', message: `Culvert does not remove entries from ${name}. Remove “${change.entry.name}” by hand.` };
      removals.set(container, (removals.get(container) ?? new Set()).add(member));
      put(expected, path, undefined);
      continue;
    }
    const members = bridgeMembers(change.entry, node, change.bridge, rules);
    put(expected, path, bridgeValue(members));
    if (document.format === 'json') edits.push({ ...node.span, text: bridgeObject(document.text, node, members, document.eol) });
    else if (document.format === 'yaml') edits.push(bridgeMapping(document.text, node, members, document.eol));
    else edits.push(...bridgeTable(document.text, document.root, path, members, document.eol));
  }
  for (const [container, members] of removals) edits.push(...removeMembers(document.text, container, members));
  return checked(document, edits, expected, name);
}

/** Edits that put `${culvert:name}` where a plaintext credential stands; the rest of its value stays. */
export function replaceByReference(
  document: ConfigurationDocument,
  found: Pick<FoundCredential, 'path' | 'within'>,
  reference: string,
  name: string,
): PlannedEdit | FileProblem {
  const old = textOf(nodeAt(document.root, found.path));
  if (old === undefined) return changed(name);
  const { offset, length } = found.within;
  return replaceText(document, found.path, offset, length, culvertReference(reference), name);
}

/** Edits that replace a stretch of one text value, touching as little of its literal as can be. */
export function replaceText(
  document: ConfigurationDocument,
  path: Path,
  offset: number,
  length: number,
  insertion: string,
  name: string,
): PlannedEdit | FileProblem {
  const obstacle = editObstacle(document, path, name);
  if (obstacle) return obstacle;
  const node = nodeAt(document.root, path);
  const old = textOf(node);
  if (node === undefined || old === undefined) return changed(name);
  const text = old.slice(0, offset) + insertion + old.slice(offset + length);
  const expected = plainCopy(document);
  put(expected, path, text);
  const part = withinLiteral(sliceOf(document.text, node.span), old, offset, length);
  if (part && quote(insertion) === `"${insertion}"`) {
    const small = checked(document, [{ offset: node.span.offset + part.offset, length: part.length, text: insertion }], expected, name);
    if (!isProblem(small)) return small;
  }
  return checked(document, [{ ...node.span, text: quote(text) }], expected, name);
}

/** Stretches of a text in which one of these values still stands: in a comment, or in another entry. */
export function leftovers(text: string, values: readonly string[]): Span[] {
  const spans: Span[] = [];
  for (const value of new Set(values)) {
    if (value === '') continue;
    for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + value.length)) spans.push(between(at, at + value.length));
  }
  return spans.sort((a, b) => a.offset - b.offset);
}

/** Parses the text after the edits and compares it with what was meant. An edit that would say anything else is not made. */
function checked(document: ConfigurationDocument, edits: readonly TextEdit[], expected: Holder, name: string): PlannedEdit | FileProblem {
  const text = applyEdits(document.text, edits);
  const after = parseDocument(text, document.format, name, document.bom);
  if (isProblem(after) || !isDeepStrictEqual(plainCopy(after), expected))
    return {
      code: 'unsafe-edit',
      message: `Culvert can’t change ${name} without changing more of it than it should. Make the change by hand.`,
    };
  return { edits, text };
}

const changed = (name: string): FileProblem => ({
  code: 'changed',
  message: `${name} is not as it was when Culvert read it. Read it again.`,
});

/** A document's value in a box, so that the root can be replaced too. */
interface Holder {
  root: unknown;
}

function plainCopy(document: ConfigurationDocument): Holder {
  // A clone has ordinary prototypes, which comparing minds.
  return structuredClone({ root: valueOf(document.root) });
}

function put(holder: Holder, path: Path, value: unknown): void {
  let at: unknown = holder;
  const steps: Path = ['root', ...path];
  for (const step of steps.slice(0, -1)) at = (at as Record<string | number, unknown>)[step];
  const last = steps.at(-1) ?? 'root';
  if (value === undefined) Reflect.deleteProperty(at as object, last);
  else (at as Record<string | number, unknown>)[last] = structuredClone(value);
}
