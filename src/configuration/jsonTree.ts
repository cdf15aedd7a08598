import { parseTree, printParseErrorCode, type Node as JsonNode, type ParseError } from 'jsonc-parser';
import { between } from './textEdit.ts';
import { MAX_DEPTH, findDuplicates, type Member, type Node, type Reading } from './tree.ts';

const WORDS: Readonly<Record<string, string>> = {
  InvalidSymbol: 'this is no JSON value',
  InvalidNumberFormat: 'this is no number',
  PropertyNameExpected: 'a name in double quotes is expected',
  ValueExpected: 'a value is expected',
  ColonExpected: 'a colon is expected',
  CommaExpected: 'a comma is expected',
  CloseBraceExpected: 'a closing brace is missing',
  CloseBracketExpected: 'a closing bracket is missing',
  EndOfFileExpected: 'something follows after the end',
  UnexpectedEndOfComment: 'a comment is not closed',
  UnexpectedEndOfString: 'a string is not closed',
  InvalidEscapeCharacter: 'an escape in a string is wrong',
  InvalidUnicode: 'a \\u escape is wrong',
  InvalidCharacter: 'a control character stands in a string',
};

/**
 * Reads JSON with comments and trailing commas, as VS Code and most MCP clients do. An empty file is an empty object, as it is for them.
 * Strict readers (Claude Desktop: `JSON.parse`) take less; what they wrote themselves is read all the same.
 */
export function readJson(text: string): Reading {
  if (text.trim() === '') return { root: { kind: 'mapping', members: [], span: between(0, text.length), braced: false }, duplicates: [] };
  const tooDeep = nestedTooDeep(text);
  if (tooDeep !== undefined) return { message: `it is nested more than ${MAX_DEPTH} levels deep`, offset: tooDeep };
  const errors: ParseError[] = [];
  const tree = parseTree(text, errors, { allowTrailingComma: true, disallowComments: false });
  const [first] = errors;
  if (first) return { message: WORDS[printParseErrorCode(first.error)] ?? 'it is no JSON', offset: first.offset };
  if (!tree) return { message: 'it holds no value', offset: 0 };
  const root = convert(tree);
  return { root, duplicates: findDuplicates(root) };
}

/** Where brackets open too deep. The parser recurses, and a stack overflow is no error message. */
function nestedTooDeep(text: string): number | undefined {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case '"':
        i = stringEnd(text, i);
        break;
      case '/':
        i = commentEnd(text, i);
        break;
      case '{':
      case '[':
        if (++depth > MAX_DEPTH) return i;
        break;
      case '}':
      case ']':
        depth--;
        break;
      default:
    }
  }
  return undefined;
}

/** Last character of the string that begins at `start`: its quote, or the end of the line if it is not closed. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const c = text[i];
    if (c === '\\') i++;
    else if (c === '"' || c === '\n' || c === '\r') return i;
  }
  return text.length;
}

/** Last character of the comment that begins at `start`, or `start` if none does. */
function commentEnd(text: string, start: number): number {
  if (text[start + 1] === '/') {
    const end = text.indexOf('\n', start);
    return end < 0 ? text.length : end;
  }
  if (text[start + 1] !== '*') return start;
  const end = text.indexOf('*/', start + 2);
  return end < 0 ? text.length : end + 1;
}

function convert(node: JsonNode): Node {
  const span = { offset: node.offset, length: node.length };
  switch (node.type) {
    case 'object':
      return { kind: 'mapping', span, braced: true, members: (node.children ?? []).flatMap(convertProperty) };
    case 'array':
      return { kind: 'sequence', span, items: (node.children ?? []).map(convert) };
    default:
      return { kind: 'scalar', span, value: (node.value ?? null) as string | number | boolean | null };
  }
}

function convertProperty(property: JsonNode): Member[] {
  const [key, value] = property.children ?? [];
  if (!key || !value) return [];
  const converted = convert(value);
  return [
    {
      key: String(key.value),
      keySpan: { offset: key.offset, length: key.length },
      span: between(key.offset, value.offset + value.length),
      value: converted,
    },
  ];
}
