import { isAlias, isMap, isScalar, isSeq, parseAllDocuments, type ParsedNode } from 'yaml';
import { between, type Span } from './textEdit.ts';
import { MAX_DEPTH, MAX_DUPLICATES, around, type DuplicateKey, type Member, type Node, type Path, type Reading } from './tree.ts';

/**
 * Reads a YAML 1.2 file of one document. Aliases are not expanded and what carries an anchor or a tag is not edited: a change there would
 * reach other places too.
 */
export function readYaml(text: string): Reading {
  const deep = nestedTooDeep(text);
  if (deep !== undefined) return { message: `it is nested more than ${MAX_DEPTH} levels deep`, offset: deep };
  const documents = parseAllDocuments(text, { uniqueKeys: false, stringKeys: false, prettyErrors: false });
  if (!Array.isArray(documents) || documents.length === 0)
    return { root: { kind: 'mapping', members: [], span: between(0, text.length), braced: false }, duplicates: [] };
  const [document, second] = documents;
  if (second) return { message: 'it holds more than one document', offset: second.range[0] };
  const problem = document?.errors[0];
  if (problem) return { message: lowered(problem.message), offset: problem.pos[0] };
  const duplicates: DuplicateKey[] = [];
  const root = document?.contents ? convert(document.contents, [], duplicates) : undefined;
  if (document?.contents && !root) return { message: `it is nested more than ${MAX_DEPTH} levels deep`, offset: 0 };
  return { root: root ?? { kind: 'mapping', members: [], span: between(0, text.length), braced: false }, duplicates };
}

/**
 * Where brackets or list signs nest too deep. The parser's time grows with the square of the depth, so this comes first; brackets inside
 * texts are counted too, and only a file with hundreds of unmatched ones suffers from that.
 */
function nestedTooDeep(text: string): number | undefined {
  const chain = /(?:[-?][ \t]+){200}/.exec(text);
  if (chain) return chain.index;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '[' || c === '{') {
      if (++depth > MAX_DEPTH) return i;
    } else if ((c === ']' || c === '}') && depth > 0) depth--;
  }
  const indented = /^[ ]{1000}/m.exec(text);
  return indented?.index;
}

const lowered = (text: string): string => `${text.charAt(0).toLowerCase()}${text.slice(1)}`.replace(/\.$/, '');

function spanOf(node: ParsedNode): Span {
  const [start, end] = node.range;
  return between(start, end);
}

function convert(node: ParsedNode, path: Path, duplicates: DuplicateKey[]): Node | undefined {
  const span = spanOf(node);
  if (path.length > MAX_DEPTH) return undefined;
  if (isAlias(node) || node.anchor !== undefined || node.tag !== undefined) return { kind: 'opaque', span };
  if (isScalar(node)) {
    const { value } = node;
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || value === null)
      return { kind: 'scalar', span, value };
    return { kind: 'opaque', span };
  }
  if (isSeq(node)) {
    const items = node.items.map((item, i) => convert(item, [...path, i], duplicates));
    return items.every((item) => item !== undefined) ? { kind: 'sequence', span: trimmed(span, items), items } : undefined;
  }
  if (!isMap(node)) return { kind: 'opaque', span };
  const members: Member[] = [];
  const seen = new Set<string>();
  for (const { key, value } of node.items) {
    if (!isScalar(key)) return { kind: 'opaque', span };
    const name = String(key.value);
    const keySpan = spanOf(key);
    if (seen.has(name) && duplicates.length < MAX_DUPLICATES) duplicates.push({ path: [...path, name], span: keySpan });
    seen.add(name);
    const converted: Node | undefined = value
      ? convert(value, [...path, name], duplicates)
      : { kind: 'scalar', value: null, span: between(keySpan.offset + keySpan.length, keySpan.offset + keySpan.length) };
    if (!converted) return undefined;
    members.push({ key: name, keySpan, span: around(keySpan, converted.span), value: converted });
  }
  const braced = node.flow === true;
  return {
    kind: 'mapping',
    members,
    span: braced
      ? span
      : trimmed(
          span,
          members.map((m) => m.value),
        ),
    braced,
  };
}

/** A block's range runs on to the next thing; what belongs to it ends with its last value. */
function trimmed(span: Span, values: readonly (Node | undefined)[]): Span {
  const last = values.at(-1);
  return last ? between(span.offset, Math.max(span.offset, last.span.offset + last.span.length)) : span;
}
