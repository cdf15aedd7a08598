import { findConflict, type FileProblem } from './document.ts';
import type { FoundPlacement } from './credentials.ts';
import { Hidden } from './hidden.ts';
import { culvertReference, findReferences, isOnlyReferences } from './references.ts';
import { looksSecret, maskSecret, type LooksSecret, type SecretLook } from './secretShape.ts';
import { applyEdits, between, positionAt, sliceOf, type Span, type TextEdit } from './textEdit.ts';

/** One `NAME=value` of a `.env` file. */
export interface DotenvPair {
  readonly name: string;
  /** With quotes taken off and, in double quotes, `\n` and `\r` resolved. */
  readonly value: string;
  readonly exported: boolean;
  readonly quote: '"' | "'" | '`' | '';
  /** From `export` or the name to the end of the value, without a comment behind it. */
  readonly span: Span;
  readonly nameSpan: Span;
  /** The value, quotes included. */
  readonly valueSpan: Span;
}

/** A secret of a `.env` file. */
export interface DotenvSecret {
  readonly pair: DotenvPair;
  readonly value: Hidden;
  readonly look: SecretLook;
  readonly evidence: string;
  readonly placement: FoundPlacement;
}

/** True for `.env`, `.env.local`, `prod.env`; not for the samples that are meant to be shared. */
export function isDotenvName(name: string): boolean {
  return /^(?:\.env(?:\.[\w-]+)*|[\w-]+\.env)$/i.test(name) && !/\.(?:example|sample|template|dist|defaults?)$/i.test(name);
}

/** The dialect of the npm package dotenv (lib/main.js, `LINE`), which VS Code's `envFile` (src/vs/base/common/envfile.ts) follows too. */
const LINE =
  /^[^\S\r\n]*(export[^\S\r\n]+)?([\w.-]+)(?:[^\S\r\n]*=[^\S\r\n]*|:[^\S\r\n]+)('(?:\\'|[^'])*'|"(?:\\"|[^"])*"|`(?:\\`|[^`])*`|[^#\r\n]*)?[^\S\r\n]*(?:#[^\r\n]*)?$/gm;

/** Reads a `.env` text. Lines that are no assignment are passed over, as every reader of the dialect does. */
export function parseDotenv(text: string): DotenvPair[] {
  const pairs: DotenvPair[] = [];
  for (const match of text.matchAll(LINE)) {
    const [whole, exported = '', name = '', raw = ''] = match;
    const literal = raw.trimEnd();
    const nameOffset = match.index + whole.indexOf(name, whole.indexOf(exported) + exported.length);
    const start = exported === '' ? nameOffset : match.index + whole.indexOf(exported);
    const gap = /^(?:[^\S\r\n]*=[^\S\r\n]*|:[^\S\r\n]+)/.exec(text.slice(nameOffset + name.length))?.[0].length ?? 1;
    const valueSpan = { offset: nameOffset + name.length + gap, length: literal.length };
    const quote = /^(['"`])[\s\S]*\1$/.test(literal) && literal.length > 1 ? (literal[0] as '"' | "'" | '`') : '';
    pairs.push({
      name,
      value: unquote(literal, quote),
      exported: exported !== '',
      quote,
      span: between(start, valueSpan.offset + valueSpan.length),
      nameSpan: { offset: nameOffset, length: name.length },
      valueSpan,
    });
  }
  return pairs;
}

function unquote(literal: string, quote: DotenvPair['quote']): string {
  if (quote === '') return literal;
  const inner = literal.slice(1, -1);
  return quote === '"' ? inner.replaceAll('\\n', '\n').replaceAll('\\r', '\r') : inner;
}

/** The variables of a file, the last one of a name winning. */
export function dotenvVariables(pairs: readonly DotenvPair[]): Record<string, string> {
  return Object.fromEntries(pairs.map(({ name, value }) => [name, value]));
}

/** The secrets of a `.env` text. */
export function findDotenvSecrets(text: string, rules: LooksSecret = looksSecret): DotenvSecret[] {
  return parseDotenv(text).flatMap((pair) => {
    const look = isOnlyReferences(pair.value, findReferences(pair.value, { braces: true, bare: true }))
      ? undefined
      : rules(pair.name, pair.value);
    if (!look) return [];
    return [
      {
        pair,
        value: new Hidden(pair.value),
        look,
        evidence: maskSecret(pair.value),
        placement: { kind: 'environment', name: pair.name } as const,
      },
    ];
  });
}

/** The edit that gives a variable another value in the same quotes; checked by reading the result. `name` is the file as messages call it. */
export function replaceDotenvValue(text: string, pair: DotenvPair, value: string, name: string): TextEdit | FileProblem {
  const conflict = refuseConflict(text, name);
  if (conflict) return conflict;
  for (const quote of new Set([pair.quote, '"', "'", '`', ''] as const)) {
    const edit = {
      ...pair.valueSpan,
      text: `${quote}${quote === '"' ? value.replaceAll('\n', '\\n').replaceAll('\r', '\\r') : value}${quote}`,
    };
    if (isSafe(text, [edit], pair, value)) return edit;
  }
  return { code: 'unsafe-edit', message: `${name} has no way to write that value. Change ${pair.name} by hand.` };
}

/** The edit that puts `${culvert:reference}` in the place of a variable's value. */
export function referDotenv(text: string, pair: DotenvPair, reference: string, name: string): TextEdit | FileProblem {
  return replaceDotenvValue(text, pair, culvertReference(reference), name);
}

/** Edits that take variables out with their lines. */
export function removeDotenv(text: string, pairs: readonly DotenvPair[], name: string): TextEdit[] | FileProblem {
  const conflict = refuseConflict(text, name);
  if (conflict) return conflict;
  return pairs.map(({ span }) => {
    const start = Math.max(text.lastIndexOf('\n', span.offset - 1), text.lastIndexOf('\r', span.offset - 1)) + 1;
    const rest = /^[^\r\n]*(?:\r\n|\n|\r)?/.exec(text.slice(span.offset + span.length))?.[0].length ?? 0;
    return { ...between(start, span.offset + span.length + rest), text: '' };
  });
}

function isSafe(text: string, edits: readonly TextEdit[], pair: DotenvPair, value: string): boolean {
  const before = parseDotenv(text).map((p) => ({
    name: p.name,
    value: p.span.offset === pair.span.offset ? value : p.value,
    exported: p.exported,
  }));
  const after = parseDotenv(applyEdits(text, edits)).map((p) => ({ name: p.name, value: p.value, exported: p.exported }));
  return JSON.stringify(before) === JSON.stringify(after) && sliceOf(text, pair.nameSpan) === pair.name;
}

function refuseConflict(text: string, name: string): FileProblem | undefined {
  const conflict = findConflict(text);
  if (conflict === undefined) return undefined;
  const at = positionAt(text, conflict);
  return { code: 'conflict', message: `${name} holds an unresolved merge conflict at line ${at.line}. Resolve it and try again.`, at };
}
