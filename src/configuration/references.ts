import type { Span } from './textEdit.ts';

/** What a reference leads to. */
export type ReferenceKind =
  /** `${input:id}`: VS Code asks and remembers. */
  | 'input'
  /** `${env:NAME}`, `${NAME}`, `$NAME`, `%NAME%`: a variable of the client's process. */
  | 'environment'
  /** `${culvert:name}`: a credential sealed in Culvert. */
  | 'culvert'
  /** `${file:/path}` of Windsurf: the content of a file. */
  | 'file'
  /** `${{ secrets.NAME }}` of Continue. */
  | 'secret'
  /** `${workspaceFolder}`, `${userHome}` and the like: a place, no secret. */
  | 'place'
  /** `${command:…}`, `${config:…}` and whatever else a client resolves. */
  | 'other';

/** One reference inside a text. */
export interface Reference {
  readonly kind: ReferenceKind;
  /** Name of the input, variable, credential or file. */
  readonly name: string;
  /** Value if the variable is not set: `${NAME:-default}`. */
  readonly fallback?: string;
  /** Where it stands inside the text that was searched. */
  readonly span: Span;
}

/** How variables are written in a client's files, besides `${env:NAME}`. */
export interface ReferenceDialect {
  /** `${NAME}` and `${NAME:-default}` are variables (Claude Code, Copilot CLI, Gemini CLI). */
  readonly braces?: boolean;
  /** `$NAME` is a variable (Gemini CLI). */
  readonly bare?: boolean;
}

/** What a name in `${culvert:name}` may consist of: it is typed by people and stands in many formats. */
export const REFERENCE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/;

const PLACES = new Set([
  'workspaceFolder',
  'workspaceFolderBasename',
  'workspaceRoot',
  'userHome',
  'pathSeparator',
  '/',
  'cwd',
  'CLAUDE_PROJECT_DIR',
]);
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `${culvert:name}` as text. */
export function culvertReference(name: string): string {
  return `\${culvert:${name}}`;
}

/**
 * Finds the references in a value. Sources: VS Code's variables reference; Cursor, “Config interpolation”; Claude Code, “Environment
 * variable expansion in .mcp.json”; Gemini CLI, packages/cli/src/utils/envVarResolver.ts; Windsurf, “Config Interpolation”; Continue,
 * “Secrets”.
 */
export function findReferences(text: string, dialect: ReferenceDialect = {}): Reference[] {
  const found: Reference[] = [];
  const pattern = /\$\{\{\s*(?:secrets|inputs)\.([\w.-]+)\s*\}\}|\$\{([^{}]*)\}|\$([A-Za-z_]\w*)/g;
  for (const match of text.matchAll(pattern)) {
    const span = { offset: match.index, length: match[0].length };
    const [, secret, braced, bare] = match;
    if (secret !== undefined) found.push({ kind: 'secret', name: secret, span });
    else if (bare !== undefined) {
      if (dialect.bare) found.push({ kind: 'environment', name: bare, span });
    } else if (braced !== undefined) found.push({ ...readBraced(braced, dialect), span });
  }
  return found;
}

function readBraced(inside: string, dialect: ReferenceDialect): Omit<Reference, 'span'> {
  const colon = inside.indexOf(':');
  const kind = colon < 0 ? inside : inside.slice(0, colon);
  const rest = colon < 0 ? '' : inside.slice(colon + 1);
  if (colon >= 0 && kind === 'input') return { kind: 'input', name: rest };
  if (colon >= 0 && kind === 'env') return { kind: 'environment', name: rest };
  if (colon >= 0 && kind === 'culvert') return { kind: 'culvert', name: rest };
  if (colon >= 0 && kind === 'file') return { kind: 'file', name: rest };
  if (PLACES.has(kind) && !rest.startsWith('-')) return { kind: 'place', name: inside };
  if (dialect.braces && VARIABLE.test(kind)) {
    if (colon < 0) return { kind: 'environment', name: kind };
    if (rest.startsWith('-')) return { kind: 'environment', name: kind, fallback: rest.slice(1) };
  }
  return { kind: 'other', name: inside };
}

/** True if nothing but references and the scheme of an Authorization header stands in the text: it holds no plaintext. */
export function isOnlyReferences(text: string, references: readonly Reference[]): boolean {
  if (references.length === 0) return false;
  let rest = '';
  let at = 0;
  for (const { span } of references) {
    rest += text.slice(at, span.offset);
    at = span.offset + span.length;
  }
  rest += text.slice(at);
  return /^\s*(?:Bearer|Basic|Token|ApiKey)?[\s:]*$/i.test(rest);
}
