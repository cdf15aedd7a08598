import { isUtf8 } from 'node:buffer';
import type { Finding } from '../mcp/finding.ts';
import { JsonFault, JsonReader, MAX_RESULT_DEPTH, applyEdits, valueKind, type Edit, type Span } from '../mcp/json.ts';

/** A place where a known secret stands, in bytes, and how it is written. */
export interface FoundSecret {
  readonly start: number;
  readonly end: number;
  readonly id: string;
  readonly form: string;
}

/** Finds known secrets by their value. */
export interface SecretFinder {
  readonly size: number;
  /** Whether one of them holds a character that JSON writes as an escape. */
  readonly holdEscapable: boolean;
  some(fits: (id: string) => boolean): boolean;
  find(text: Buffer, only?: (id: string) => boolean): readonly FoundSecret[];
}

/** What inspection made of a piece of content. */
export interface Inspected {
  /** The same bytes if nothing was found. */
  readonly bytes: Buffer;
  readonly findings: readonly Finding[];
  /** True if nothing of it may pass: `bytes` then is only a mark, and no message. */
  readonly blocked?: boolean;
}

/** Text that stands for a secret that was taken out. The model reads it, so it says what happened. */
export function redactionMark(credential: string): string {
  return `⟦culvert: ${credential} redacted⟧`;
}

const BACKSLASH = 0x5c;
const ESCAPED_CHARACTER = Buffer.from('\\u');
const NONE: readonly Finding[] = [];
const ESCAPED_SLASH = Buffer.from('\\/');

/** Looks at everything that passes and takes out what must not. */
export class Inspector {
  readonly #secrets: SecretFinder;
  readonly #nameOf: (id: string) => string;

  /** `nameOf` gives the name of a secret by its id, for marks and findings. */
  constructor(secrets: SecretFinder, nameOf: (id: string) => string) {
    this.#secrets = secrets;
    this.#nameOf = nameOf;
  }

  /** One JSON message on its way to the agent: every known secret, in any string, key or number, becomes a mark. */
  message(bytes: Buffer): Inspected {
    const raw = this.#secrets.find(bytes);
    const escaped = bytes.includes(BACKSLASH) && (raw.length > 0 || this.#mayHide(bytes));
    if (raw.length === 0 && !escaped) return { bytes, findings: [] };
    let tokens: Span[];
    try {
      tokens = scalarsOf(bytes);
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error;
      // No JSON parser reads this, unless it is only too deep for ours: then nothing of it may pass unseen.
      if (error.kind === 'syntax') return this.text(bytes);
      return { bytes: Buffer.from('"⟦culvert: message nested too deep to be checked⟧"', 'utf8'), findings: [], blocked: true };
    }
    const findings: Finding[] = [];
    const edits: Edit[] = [];
    const touched = new Set<Span>();
    if (escaped) {
      for (const token of tokens) {
        if (!isEscapedString(bytes, token)) continue;
        const text = Buffer.from(JSON.parse(bytes.toString('utf8', token.start, token.end)) as string, 'utf8');
        const matches = this.#secrets.find(text);
        if (matches.length === 0) continue;
        touched.add(token);
        edits.push({ span: token, replacement: JSON.stringify(this.#mark(text, matches, findings).toString('utf8')) });
      }
    }
    let at = 0;
    for (const match of raw) {
      while (at < tokens.length && (tokens[at] as Span).end <= match.start) at++;
      const token = tokens[at];
      // What a string with escapes holds was looked at above, as every reader will read it; its raw bytes say something else.
      if (token && (touched.has(token) || isEscapedString(bytes, token)) && match.start >= token.start && match.end <= token.end) continue;
      if (!token || match.start < token.start || match.end > token.end) {
        // A secret that lies across tokens can't be cut out of JSON: nothing of the message may pass.
        findings.push(this.#finding(match, 'blocked'));
        return { bytes: Buffer.from(JSON.stringify(redactionMark(this.#nameOf(match.id))), 'utf8'), findings, blocked: true };
      }
      findings.push(this.#finding(match, 'redacted'));
      const mark = JSON.stringify(redactionMark(this.#nameOf(match.id)));
      if (bytes[token.start] === 0x22)
        edits.push({
          span: { start: Math.max(match.start, token.start + 1), end: Math.min(match.end, token.end - 1) },
          replacement: mark.slice(1, -1),
        });
      else if (!touched.has(token)) {
        touched.add(token);
        edits.push({ span: token, replacement: mark });
      }
    }
    return { bytes: applyEdits(bytes, edits), findings };
  }

  /** Content that is no JSON (an error page, a stray line): marks in place. */
  text(bytes: Buffer): Inspected {
    const matches = this.#secrets.find(bytes);
    if (matches.length === 0) return { bytes, findings: [] };
    const findings: Finding[] = [];
    return { bytes: this.#mark(bytes, matches, findings), findings };
  }

  /** Values of headers on their way to the agent. */
  headers(headers: Readonly<Record<string, string | string[]>>): {
    readonly headers: Readonly<Record<string, string | string[]>>;
    readonly findings: readonly Finding[];
  } {
    let all = '';
    for (const name in headers) all += `${String(headers[name])}\n`;
    if (this.#secrets.find(Buffer.from(all, 'latin1')).length === 0) return { headers, findings: NONE };
    const findings: Finding[] = [];
    const clean = (value: string) => {
      const matches = this.#secrets.find(Buffer.from(value, 'latin1'));
      for (const match of matches) findings.push(this.#finding(match, 'redacted'));
      return matches.length > 0 ? '[culvert: redacted]' : value;
    };
    const out: Record<string, string | string[]> = {};
    for (const [name, value] of Object.entries(headers)) out[name] = Array.isArray(value) ? value.map(clean) : clean(value);
    return { headers: out, findings };
  }

  /**
   * A message on its way to a server: which of the secrets that must not go there it holds. `foreign` tells by id. `scope` is text
   * beside the body, such as header values.
   */
  outgoing(bytes: Buffer, beside: string, foreign: (id: string) => boolean): readonly Finding[] {
    if (!this.#secrets.some(foreign)) return [];
    const matches = [...this.#secrets.find(bytes, foreign), ...this.#secrets.find(Buffer.from(beside, 'utf8'), foreign)];
    if (bytes.includes(BACKSLASH) && this.#mayHide(bytes)) {
      for (const token of scalarsOf(bytes)) {
        if (!isEscapedString(bytes, token)) continue;
        matches.push(
          ...this.#secrets.find(Buffer.from(JSON.parse(bytes.toString('utf8', token.start, token.end)) as string, 'utf8'), foreign),
        );
      }
    }
    const seen = new Map<string, Finding>();
    for (const match of matches) seen.set(`${match.id} ${match.form}`, { ...this.#finding(match, 'blocked'), direction: 'to-server' });
    return [...seen.values()];
  }

  /** Whether neither a message nor the texts beside it hold a known secret, of whatever origin. */
  isClean(bytes: Buffer, beside: string): boolean {
    if (this.#secrets.size === 0) return true;
    const { findings, blocked } = this.message(bytes);
    return findings.length === 0 && blocked !== true && this.#secrets.find(Buffer.from(beside, 'utf8')).length === 0;
  }

  /** The same text with every known secret replaced, for showing and recording. */
  redactForDisplay(text: string): string {
    const bytes = Buffer.from(text, 'utf8');
    return isUtf8(bytes) ? this.message(bytes).bytes.toString('utf8') : '';
  }

  /** The same plain data with every known secret replaced in its texts: an agent can put one into a name as well as into arguments. */
  redactPlain<T>(data: T): T {
    if (this.#secrets.size === 0) return data;
    const inspected = this.message(Buffer.from(JSON.stringify(data), 'utf8'));
    if (inspected.findings.length === 0) return data;
    if (inspected.blocked === true) throw new Error('The record of this call would hold a secret that can’t be taken out.');
    return JSON.parse(inspected.bytes.toString('utf8')) as T;
  }

  /**
   * Whether escapes could hide a secret from a search of the raw bytes: `\\uXXXX` can stand for any character, `\\/` for a slash; the other
   * escapes stand for characters that only unusual secrets hold.
   */
  #mayHide(bytes: Buffer): boolean {
    return this.#secrets.holdEscapable || bytes.includes(ESCAPED_CHARACTER) || bytes.includes(ESCAPED_SLASH);
  }

  #mark(text: Buffer, matches: readonly FoundSecret[], findings: Finding[]): Buffer {
    return applyEdits(
      text,
      matches.map((match) => {
        findings.push(this.#finding(match, 'redacted'));
        return { span: match, replacement: redactionMark(this.#nameOf(match.id)) };
      }),
    );
  }

  #finding(match: FoundSecret, action: Finding['action']): Finding {
    return { rule: 'known-secret', severity: 'high', subject: this.#nameOf(match.id), direction: 'to-agent', form: match.form, action };
  }
}

function isEscapedString(bytes: Buffer, token: Span): boolean {
  return bytes[token.start] === 0x22 && bytes.subarray(token.start, token.end).includes(BACKSLASH);
}

/** Every string (keys too), number and literal of a JSON text, in order. */
function scalarsOf(bytes: Buffer): Span[] {
  const out: Span[] = [];
  const reader = new JsonReader(bytes, { duplicates: 'allow' });
  const visit = (at: number, depth: number): number => {
    switch (valueKind(bytes, at)) {
      case 'object': {
        let i = reader.skipSpace(at + 1);
        if (depth >= MAX_RESULT_DEPTH) throw new JsonFault('depth', at, 'nested too deep');
        while (bytes[i] !== 0x7d) {
          if (bytes[i] !== 0x22) throw new JsonFault('syntax', i, 'expected a key');
          const end = reader.skipString(i);
          out.push({ start: i, end });
          i = reader.skipSpace(end);
          if (bytes[i] !== 0x3a) throw new JsonFault('syntax', i, 'expected a colon');
          i = reader.skipSpace(visit(reader.skipSpace(i + 1), depth + 1));
          if (bytes[i] === 0x2c) i = reader.skipSpace(i + 1);
          else if (bytes[i] !== 0x7d) throw new JsonFault('syntax', i, 'expected a comma or a closing brace');
        }
        return i + 1;
      }
      case 'array': {
        let i = reader.skipSpace(at + 1);
        if (depth >= MAX_RESULT_DEPTH) throw new JsonFault('depth', at, 'nested too deep');
        while (bytes[i] !== 0x5d) {
          i = reader.skipSpace(visit(i, depth + 1));
          if (bytes[i] === 0x2c) i = reader.skipSpace(i + 1);
          else if (bytes[i] !== 0x5d) throw new JsonFault('syntax', i, 'expected a comma or a closing bracket');
        }
        return i + 1;
      }
      default: {
        const end = reader.skipValue(at, 0);
        out.push({ start: at, end });
        return end;
      }
    }
  };
  // Readers of HTTP bodies drop a byte order mark.
  const begin = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  const end = visit(reader.skipSpace(begin), 0);
  if (reader.skipSpace(end) !== bytes.length) throw new JsonFault('syntax', end, 'something follows the value');
  return out;
}
