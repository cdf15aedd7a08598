import type { BridgeMember } from './bridge.ts';
import { quote, quoteKey, quoteList, quoteMap } from './literal.ts';
import { between, endOf, sliceOf, type Span, type TextEdit } from './textEdit.ts';
import { tomlLines, type TomlPair } from './tomlTree.ts';
import { nodeAt, startsWith, type Node, type Path } from './tree.ts';

function lineOf(text: string, span: Span): Span {
  const start = text.lastIndexOf('\n', span.offset - 1) + 1;
  const newline = text.indexOf('\n', endOf(span));
  return between(start, newline < 0 ? text.length : newline + 1);
}

function assignment(member: BridgeMember): string | undefined {
  if ('kept' in member) return undefined;
  const key = `${quoteKey(member.key, 'toml')} = `;
  if ('text' in member) return key + quote(member.text);
  return key + ('list' in member ? quoteList(member.list) : quoteMap(member.map, 'toml'));
}

/**
 * Edits that turn the table at `path`, however it is written (table with subtables, dotted keys, braces), into one that starts the bridge.
 * Lines and subtables of kept keys stay where they are; comment lines between keys stay.
 */
export function bridgeTable(text: string, root: Node, path: Path, members: readonly BridgeMember[], eol: string): TextEdit[] {
  const kept = new Set(members.flatMap((member) => ('kept' in member ? [member.key] : [])));
  const fresh = members.flatMap((member) => assignment(member) ?? []);
  const node = nodeAt(root, path);
  if (node?.kind === 'mapping' && node.braced) {
    const raw = members.map((member) => ('kept' in member ? sliceOf(text, member.kept.span) : (assignment(member) ?? '')));
    return [{ ...node.span, text: `{ ${raw.join(', ')} }` }];
  }
  const { top, tables } = tomlLines(text);
  const edits: TextEdit[] = [];
  /** Where the new lines go, and what each of their keys begins with. */
  let place: { readonly offset: number; readonly prefix: string; readonly ownLine: boolean } | undefined;
  const own = tables.find((table) => table.path.length === path.length && startsWith(table.path, path));
  if (own) place = { offset: endOf(lineOf(text, own.header)), prefix: '', ownLine: text.includes('\n', endOf(own.header)) };

  const goes = (pair: TomlPair): boolean =>
    startsWith(pair.path, path) && pair.path.length > path.length && !kept.has(String(pair.path[path.length]));
  const cutPair = (pair: TomlPair): void => {
    const line = lineOf(text, pair.span);
    // Dotted keys outside the table keep their prefix, so that the new lines mean the same place.
    const before = pair.path.length - pair.written;
    const lead = pair.parts.slice(0, Math.max(0, path.length - before));
    const from = lead[0]?.offset;
    const prefix = from === undefined ? '' : `${text.slice(from, endOf(lead.at(-1) ?? pair.keySpan))}.`;
    place ??= { offset: line.offset, prefix, ownLine: true };
    edits.push({ ...line, text: '' });
  };
  for (const pair of top) if (goes(pair)) cutPair(pair);
  for (const table of tables) {
    const inside = startsWith(table.path, path) && table.path.length > path.length;
    if (inside && !kept.has(String(table.path[path.length]))) {
      const header = lineOf(text, table.header);
      place ??= { offset: header.offset, prefix: '', ownLine: true };
      edits.push({ ...header, text: '' });
      for (const pair of table.pairs) edits.push({ ...lineOf(text, pair.span), text: '' });
    } else for (const pair of table.pairs) if (goes(pair)) cutPair(pair);
  }
  if (!place) return [];
  const isolated = !own && place.prefix === '';
  const heading = isolated ? `[${path.map((step) => quoteKey(String(step), 'toml')).join('.')}]${eol}` : '';
  const { prefix, offset, ownLine } = place;
  const block = heading + fresh.map((line) => `${prefix}${line}${eol}`).join('');
  edits.push({ offset, length: 0, text: ownLine ? block : eol + block });
  return merged(edits);
}

/** Edits at the same place become one; an insertion before a removal at the same offset is a replacement. */
function merged(edits: readonly TextEdit[]): TextEdit[] {
  const result: TextEdit[] = [];
  for (const edit of edits.toSorted((a, b) => a.offset - b.offset || a.length - b.length)) {
    const last = result.at(-1);
    if (last && endOf(last) === edit.offset)
      result[result.length - 1] = { offset: last.offset, length: last.length + edit.length, text: last.text + edit.text };
    else result.push(edit);
  }
  return result;
}
