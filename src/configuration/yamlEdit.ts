import type { BridgeMember } from './bridge.ts';
import { quote, quoteKey, quoteList, quoteMap } from './literal.ts';
import { between, endOf, sliceOf, type TextEdit } from './textEdit.ts';
import type { MappingNode } from './tree.ts';

/** The edit that turns a mapping into one that starts the bridge, in block or braces as it was. */
export function bridgeMapping(text: string, mapping: MappingNode, members: readonly BridgeMember[], eol: string): TextEdit {
  const raw = sliceOf(text, mapping.span);
  // A block scalar at the end includes its line end, which separates it from what follows.
  const span = mapping.braced ? mapping.span : between(mapping.span.offset, mapping.span.offset + raw.trimEnd().length);
  const lineStart = Math.max(text.lastIndexOf('\n', span.offset - 1), text.lastIndexOf('\r', span.offset - 1)) + 1;
  const indent = ' '.repeat(span.offset - lineStart);
  const lines = members.map((member) => {
    const key = `${quoteKey(member.key, 'yaml')}: `;
    if ('kept' in member) {
      const { kept } = member;
      return kept.value.span.length === 0 ? `${key}null` : sliceOf(text, between(kept.span.offset, endOf(kept.span))).trimEnd();
    }
    if ('text' in member) return key + quote(member.text);
    return key + ('list' in member ? quoteList(member.list) : quoteMap(member.map, 'yaml'));
  });
  return { ...span, text: mapping.braced ? `{ ${lines.join(', ')} }` : lines.join(eol + indent) };
}
