import { hash } from 'node:crypto';
import { findCredentials, type CredentialRules, type FoundCredential } from './credentials.ts';
import { isProblem, parseDocument, type ConfigurationDocument, type FileProblem } from './document.ts';
import { findDotenvSecrets, type DotenvPair } from './dotenv.ts';
import { readEntries, readInputs, type Entry } from './entry.ts';
import { fileName } from './files.ts';
import { Hidden } from './hidden.ts';
import { withinLiteral } from './literal.ts';
import type { Location } from './locate.ts';
import { findReferences } from './references.ts';
import { looksSecret, type LooksSecret, type SecretLook } from './secretShape.ts';
import { between, endOf, sliceOf, type Span } from './textEdit.ts';
import { startsWith, textOf, type Node, type Path } from './tree.ts';

/** Largest text that is looked at while it is open in an editor, UTF-16 code units; larger ones are left alone. */
export const MAX_ANALYSED_CHARACTERS = 256 * 1024;
/** Findings of one text. */
export const MAX_PLAINTEXT_SECRETS = 200;

/** A plaintext secret of an open text, for a squiggle and what can be done about it. Holds the value: never log one. */
export interface PlaintextSecret {
  /** Tells it from others of the same text. */
  readonly id: string;
  /** Where it stands in the text. */
  readonly span: Span;
  readonly look: SecretLook;
  readonly value: Hidden;
  /** {@link notSecretHash} */
  readonly hash: string;
  /** Variable, header, key. */
  readonly name: string;
  /** The server that it belongs to. */
  readonly entry?: Entry;
  readonly credential?: FoundCredential;
  /** Where it stands in a `.env` text. */
  readonly pair?: DotenvPair;
  /** Value of a settings file that holds it. */
  readonly path?: Path;
}

/** What an open text is. */
export type TextKind = { readonly kind: 'configuration'; readonly location: Location } | { readonly kind: 'dotenv' };

/** What was found in a text. */
export interface Analysis {
  readonly secrets: readonly PlaintextSecret[];
  readonly entries: readonly Entry[];
  readonly document?: ConfigurationDocument;
  readonly problem?: FileProblem;
}

/** What stands in a setting or comment for a value that the user says is no secret: 64 bits of a digest, enough to tell values apart. */
export function notSecretHash(value: string): string {
  return hash('sha256', `culvert not a secret\n${value}`).slice(0, 16);
}

/** The comment that says so beside a value. */
export function notSecretComment(valueHash: string): string {
  return `culvert:not-secret ${valueHash}`;
}

/** Settings outside of servers in which credentials of agents and MCP servers are kept. */
const RELATED_SETTING = /mcp|copilot|claude|anthropic|openai|agent|\bchat\b|\bai\b/i;

/** Finds what stands in plaintext, without what the user said is no secret. */
export function analyse(
  text: string,
  what: TextKind,
  notSecrets: ReadonlySet<string> = new Set(),
  rules: LooksSecret = looksSecret,
): Analysis {
  if (text.length > MAX_ANALYSED_CHARACTERS) return { secrets: [], entries: [] };
  const keep = (all: readonly PlaintextSecret[]) =>
    all.filter((one) => !notSecrets.has(one.hash) && !isMarked(text, one)).slice(0, MAX_PLAINTEXT_SECRETS);
  if (what.kind === 'dotenv') return { secrets: keep(inDotenv(text, rules)), entries: [] };
  const { location } = what;
  const document = parseDocument(text, location.format, fileName(location.path));
  if (isProblem(document)) return { secrets: [], entries: [], problem: document };
  const entries = readEntries(document, location, fileName(location.path));
  const found = inEntries(document, entries, { looksSecret: rules, inputs: readInputs(document, location) });
  const beside = location.client === 'vscode' ? inSettings(document, entries, rules) : [];
  return { secrets: keep([...found, ...beside].sort((a, b) => a.span.offset - b.span.offset)), entries, document };
}

function secret(
  span: Span,
  value: string,
  name: string,
  look: SecretLook,
  more: Pick<PlaintextSecret, 'entry' | 'credential' | 'pair' | 'path'>,
): PlaintextSecret {
  const valueHash = notSecretHash(value);
  return { id: `${valueHash}@${span.offset}`, span, look, value: new Hidden(value), hash: valueHash, name, ...more };
}

function inDotenv(text: string, rules: LooksSecret): PlaintextSecret[] {
  return findDotenvSecrets(text, rules).map(({ pair, value, look }) => secret(pair.valueSpan, value.reveal(), pair.name, look, { pair }));
}

function inEntries(document: ConfigurationDocument, entries: readonly Entry[], rules: CredentialRules): PlaintextSecret[] {
  return entries.flatMap((entry) =>
    findCredentials(entry, rules).flatMap((credential) => {
      if (credential.source !== 'plaintext' || !credential.value) return [];
      const literal = sliceOf(document.text, credential.span);
      const whole = entry.values.find(({ path }) => path.length === credential.path.length && startsWith(path, credential.path));
      const { offset, length } = credential.within;
      const part = whole && withinLiteral(literal, whole.value, offset, length);
      const span = part ? { offset: credential.span.offset + part.offset, length: part.length } : credential.span;
      return [secret(span, credential.value.reveal(), credential.name, credential.look, { entry, credential, path: credential.path })];
    }),
  );
}

function inSettings(document: ConfigurationDocument, entries: readonly Entry[], rules: LooksSecret): PlaintextSecret[] {
  const found: PlaintextSecret[] = [];
  const walk = (node: Node, path: Path): void => {
    if (found.length >= MAX_PLAINTEXT_SECRETS || entries.some((entry) => startsWith(path, entry.path))) return;
    if (node.kind === 'mapping') for (const { key, value } of node.members) walk(value, [...path, key]);
    if (node.kind === 'sequence') node.items.forEach((item, i) => walk(item, [...path, i]));
    const value = textOf(node);
    if (value === undefined || !RELATED_SETTING.test(path.join('.')) || findReferences(value).length > 0) return;
    const name = path.findLast((step) => typeof step === 'string') ?? '';
    const look = rules(name.split('.').at(-1), value);
    if (look) found.push(secret(node.span, value, name, look, { path }));
  };
  walk(document.root, []);
  return found;
}

/** Whether a comment on the line, or on the one before, says that exactly this value is no secret. */
function isMarked(text: string, { span, hash: valueHash }: PlaintextSecret): boolean {
  const mark = notSecretComment(valueHash);
  if (!text.includes(mark)) return false;
  const lineStart = text.lastIndexOf('\n', span.offset - 1) + 1;
  const before = lineStart === 0 ? 0 : text.lastIndexOf('\n', lineStart - 2) + 1;
  const after = text.indexOf('\n', endOf(span));
  return sliceOf(text, between(before, after < 0 ? text.length : after)).includes(mark);
}
