import type { BridgeMember } from './bridge.ts';
import { quote, quoteMap } from './literal.ts';
import { between, endOf, sliceOf, type Span, type TextEdit } from './textEdit.ts';
import type { MappingNode, Member } from './tree.ts';

/** Spaces or tab by which a text indents one level; two spaces if it shows none. */
export function indentUnit(text: string): string {
  const indents = text.split(/\r?\n/).flatMap((line) => /^([ \t]+)\S/.exec(line)?.[1] ?? []);
  if (indents.some((indent) => indent.startsWith('\t'))) return '\t';
  const widths = indents.map((indent) => indent.length).filter((width) => width > 1);
  return ' '.repeat(widths.length === 0 ? 2 : Math.min(8, ...widths));
}

/** Leading white space of the line that an offset is on. */
export function lineIndent(text: string, offset: number): string {
  const start = lineStart(text, offset);
  return /^[ \t]*/.exec(text.slice(start, offset))?.[0] ?? '';
}

function lineStart(text: string, offset: number): number {
  return Math.max(text.lastIndexOf('\n', offset - 1), text.lastIndexOf('\r', offset - 1)) + 1;
}

/** The offset of the comma behind a member, if there is one before the next member or the end. */
function commaAfter(text: string, offset: number): number | undefined {
  const trivia = /(?:\s|\/\/[^\r\n]*|\/\*[\s\S]*?\*\/)*/y;
  trivia.lastIndex = offset;
  const at = offset + (trivia.exec(text)?.[0].length ?? 0);
  return text[at] === ',' ? at : undefined;
}

/** Edits that take members out of an object, with their commas and, where they had lines of their own, those lines. Comments stay. */
export function removeMembers(text: string, object: MappingNode, removed: ReadonlySet<Member>): TextEdit[] {
  const edits: TextEdit[] = [];
  const cut = (span: Span): void => void edits.push({ ...span, text: '' });
  const { members } = object;
  const lastKept = members.findLast((member) => !removed.has(member));
  const last = members.at(-1);
  if (lastKept && last && lastKept !== last && commaAfter(text, endOf(last.span)) === undefined) {
    const comma = commaAfter(text, endOf(lastKept.span));
    if (comma !== undefined) cut(between(comma, comma + 1));
  }
  for (const member of members) {
    if (!removed.has(member)) continue;
    const comma = commaAfter(text, endOf(member.span));
    const memberEnd = endOf(member.span);
    // A comment between value and comma stays, so the comma goes by itself.
    const joined = comma !== undefined && text.slice(memberEnd, comma).trim() === '';
    let end = joined ? comma + 1 : memberEnd;
    if (comma !== undefined && !joined) cut(between(comma, comma + 1));
    let start = member.span.offset;
    const from = lineStart(text, start);
    const ownLine = text.slice(from, start).trim() === '' && from > object.span.offset;
    const after = /^[ \t]*(?:\r\n|\n|\r)/.exec(text.slice(end));
    if (ownLine && after) {
      start = from;
      end += after[0].length;
    } else end += /^[ \t]*/.exec(text.slice(end))?.[0].length ?? 0;
    cut(between(start, end));
  }
  return edits;
}

/** Text of an object that starts the bridge, in the layout of the object it replaces. */
export function bridgeObject(text: string, object: MappingNode, members: readonly BridgeMember[], eol: string): string {
  const spread = /[\r\n]/.test(sliceOf(text, object.span));
  const base = lineIndent(text, object.span.offset);
  const [first] = object.members;
  const unit = indentUnit(text);
  const firstIndent =
    first && /^[ \t]*$/.test(text.slice(lineStart(text, first.span.offset), first.span.offset))
      ? lineIndent(text, first.span.offset)
      : undefined;
  const inner = firstIndent !== undefined && firstIndent.length > base.length ? firstIndent : base + unit;
  const oldList = object.members.find(({ value }) => value.kind === 'sequence' && value.items.length > 0);
  const spreadLists = spread && (!oldList || /[\r\n]/.test(sliceOf(text, oldList.value.span)));
  const lines = members.map((member) => {
    if ('kept' in member) return sliceOf(text, member.kept.span);
    const key = `${quote(member.key)}: `;
    if ('text' in member) return key + quote(member.text);
    if ('map' in member) {
      if (!spread) return key + quoteMap(member.map, 'json');
      const pairs = Object.entries(member.map).map(([name, value]) => `${inner}${unit}${quote(name)}: ${quote(value)}`);
      return `${key}{${eol}${pairs.join(`,${eol}`)}${eol}${inner}}`;
    }
    if (!spreadLists || member.list.length === 0) return `${key}[${member.list.map(quote).join(', ')}]`;
    return `${key}[${eol}${member.list.map((item) => `${inner}${unit}${quote(item)}`).join(`,${eol}`)}${eol}${inner}]`;
  });
  return spread ? `{${eol}${lines.map((line) => inner + line).join(`,${eol}`)}${eol}${base}}` : `{ ${lines.join(', ')} }`;
}
