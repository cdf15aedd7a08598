import type { Entry, EntryValue, Input } from './entry.ts';
import { Hidden } from './hidden.ts';
import { isOnlyReferences, type Reference } from './references.ts';
import { looksSecret as defaultRules, maskSecret, type LooksSecret, type SecretLook } from './secretShape.ts';
import type { Span } from './textEdit.ts';
import type { Path } from './tree.ts';

/** How a found secret is put on a request once it is sealed: the shapes of `Placement` in src/credentials that a configuration can ask for. */
export type FoundPlacement =
  | { readonly kind: 'bearer' }
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'basic'; readonly username: string }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'environment'; readonly name: string };

/** A secret of an entry: in plaintext, or as a reference that somebody else fills. */
export interface FoundCredential {
  readonly source: 'plaintext' | 'reference';
  readonly where: EntryValue['where'] | 'url-user' | 'url-query' | 'url-path';
  /** Variable, header, parameter or option; `password` for a URL's. */
  readonly name: string;
  /** What is sealed. Absent for a reference: the user, or the variable, gives the value. */
  readonly value?: Hidden;
  readonly reference?: Reference;
  readonly look: SecretLook;
  /** Masked; for a reference the reference itself. */
  readonly evidence: string;
  /** Value of the file in which it stands. */
  readonly path: Path;
  readonly span: Span;
  /** Where the secret stands inside the value's text, escapes of the file's format resolved. */
  readonly within: Span;
  /** How Culvert places it, if it can. */
  readonly placement?: FoundPlacement;
  /** The server may not read it there: it took the secret as an argument so far. */
  readonly uncertain?: true;
  /** Why there is no placement, and what to do. */
  readonly obstacle?: string;
}

/** What {@link findCredentials} may be told. */
export interface CredentialRules {
  readonly looksSecret?: LooksSecret;
  /** `inputs` of the same file. */
  readonly inputs?: readonly Input[];
}

/** Headers that the protocol itself needs; no credential is placed there. As in src/credentials/credential.ts. */
const RESERVED_HEADERS =
  /^(?:host|connection|content-length|content-type|transfer-encoding|accept|mcp-session-id|mcp-protocol-version|te|upgrade|trailer)$/i;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const RESERVED_VARIABLES =
  /^(PATH|HOME|SHELL|IFS|LD_.*|DYLD_.*|NODE_OPTIONS|NODE_PATH|NODE_EXTRA_CA_CERTS|PYTHONPATH|PYTHONSTARTUP|BASH_ENV|ENV|ELECTRON_.*|SSH_.*)$/i;

/** Secrets of an entry, in the file's order. */
export function findCredentials(entry: Entry, rules: CredentialRules = {}): FoundCredential[] {
  const look = rules.looksSecret ?? defaultRules;
  const plain = entry.values.flatMap((value) => inValue(entry, value, look));
  const referenced = entry.references.flatMap(({ reference, value }) => byReference(value, reference, look, rules.inputs ?? []));
  return [...plain, ...referenced].sort((a, b) => a.span.offset - b.span.offset || a.within.offset - b.within.offset);
}

function inValue(entry: Entry, value: EntryValue, look: LooksSecret): FoundCredential[] {
  const references = entry.references.filter((r) => r.value === value).map((r) => r.reference);
  if (isOnlyReferences(value.value, references)) return [];
  switch (value.where) {
    case 'header':
      return inHeader(value, references.length > 0, look);
    case 'token':
      return [plaintext(value, value.value, 0, { rule: 'name', what: 'a bearer token', certain: true }, { placement: { kind: 'bearer' } })];
    case 'environment':
      return references.length > 0 ? [] : inEnvironment(value, look);
    case 'url':
      return inUrl(value, look);
    case 'argument':
      return inArgument(entry, value, references.length > 0, look);
    case 'command':
    case 'other': {
      const found = references.length > 0 ? undefined : look(value.name, value.value);
      const obstacle = `It stands under “${value.name}”, which Culvert does not know. Move it into a header or variable by hand.`;
      return found ? [plaintext(value, value.value, 0, found, { obstacle })] : [];
    }
  }
}

type More = Pick<FoundCredential, 'placement' | 'obstacle' | 'uncertain'> & {
  readonly where?: FoundCredential['where'];
  readonly name?: string;
};

function plaintext(
  value: EntryValue,
  secret: string,
  offset: number,
  look: SecretLook,
  more: More,
  length = secret.length,
): FoundCredential {
  return {
    source: 'plaintext',
    where: value.where,
    name: value.name,
    value: new Hidden(secret),
    look,
    evidence: maskSecret(secret),
    path: value.path,
    span: value.span,
    within: { offset, length },
    ...more,
  };
}

/** RFC 9110, 11.6.2: a scheme, a space, the credentials. */
const AUTHORIZATION = /^(\s*(Bearer|Basic)\s+)(\S.*?)\s*$/i;

function inHeader(value: EntryValue, mixed: boolean, look: LooksSecret): FoundCredential[] {
  const isAuthorization = /^(?:proxy-)?authorization$/i.test(value.name);
  const [, lead = '', scheme = '', rest = ''] = isAuthorization ? (AUTHORIZATION.exec(value.value) ?? []) : [];
  const found = look(value.name, lead === '' ? value.value : rest);
  if (!found || mixed) return [];
  if (/^proxy-authorization$/i.test(value.name))
    return [plaintext(value, value.value, 0, found, { obstacle: 'It is for a proxy. Set the proxy in VS Code (http.proxy) instead.' })];
  if (/^bearer$/i.test(scheme)) return [plaintext(value, rest, lead.length, found, { placement: { kind: 'bearer' } })];
  const basic = /^basic$/i.test(scheme) ? decodeBasic(rest) : undefined;
  if (basic)
    return [plaintext(value, basic.password, lead.length, found, { placement: { kind: 'basic', username: basic.username } }, rest.length)];
  return [plaintext(value, value.value, 0, found, headerPlacement(value.name))];
}

function headerPlacement(name: string): Pick<FoundCredential, 'placement' | 'obstacle'> {
  if (HEADER_NAME.test(name) && !RESERVED_HEADERS.test(name)) return { placement: { kind: 'header', name } };
  return { obstacle: 'Culvert places no secret in a header that the protocol itself uses. Ask the server’s maker for another one.' };
}

function decodeBasic(text: string): { readonly username: string; readonly password: string } | undefined {
  const decoded = Buffer.from(text, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon <= 0 || colon === decoded.length - 1 || decoded.includes('\uFFFD')) return undefined;
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function inEnvironment(value: EntryValue, look: LooksSecret): FoundCredential[] {
  const found = look(value.name, value.value);
  return found ? [plaintext(value, value.value, 0, found, variablePlacement(value.name))] : [];
}

function variablePlacement(name: string): Pick<FoundCredential, 'placement' | 'obstacle'> {
  if (VARIABLE_NAME.test(name) && !RESERVED_VARIABLES.test(name)) return { placement: { kind: 'environment', name } };
  return { obstacle: 'That variable decides what the process runs, so Culvert puts no secret there. Remove the secret from it by hand.' };
}

function inUrl(value: EntryValue, look: LooksSecret): FoundCredential[] {
  const text = value.value;
  const found: FoundCredential[] = [];
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)@/i.exec(text);
  if (authority?.[1] !== undefined) {
    const start = authority[0].length - authority[1].length - 1;
    const colon = authority[1].indexOf(':');
    const user = decoded(colon < 0 ? authority[1] : authority[1].slice(0, colon));
    const password = colon < 0 ? '' : decoded(authority[1].slice(colon + 1));
    const rule: SecretLook = { rule: 'shape:url-password', what: 'a password in a URL', certain: true };
    if (password !== '' && user !== '' && !password.includes('${'))
      found.push(
        plaintext(
          value,
          password,
          start + colon + 1,
          rule,
          { where: 'url-user', name: user, placement: { kind: 'basic', username: user } },
          authority[1].length - colon - 1,
        ),
      );
    else if (user !== '' && !user.includes('${')) {
      const header = `Basic ${Buffer.from(`${user}:`, 'utf8').toString('base64')}`;
      const placement: FoundPlacement = { kind: 'header', name: 'Authorization' };
      const length = colon < 0 ? authority[1].length : colon;
      found.push({
        ...plaintext(value, header, start, rule, { where: 'url-user', name: 'user', placement }, length),
        evidence: maskSecret(user),
      });
    }
  }
  const query = text.indexOf('?');
  const fragment = text.indexOf('#');
  const end = fragment < 0 ? text.length : fragment;
  if (query >= 0 && query < end) {
    let at = query + 1;
    for (const part of text.slice(at, end).split('&')) {
      const equals = part.indexOf('=');
      const name = decoded(equals < 0 ? part : part.slice(0, equals));
      const parameter = equals < 0 ? '' : decoded(part.slice(equals + 1).replaceAll('+', ' '));
      const rule = parameter.includes('${') ? undefined : look(name, parameter);
      if (rule && name.length <= 64)
        found.push(
          plaintext(
            value,
            parameter,
            at + equals + 1,
            rule,
            { where: 'url-query', name, placement: { kind: 'query', name } },
            part.length - equals - 1,
          ),
        );
      at += part.length + 1;
    }
  }
  const pathEnd = query < 0 ? end : Math.min(query, end);
  const pathStart = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(text)?.[0].length ?? 0;
  let at = pathStart;
  for (const segment of text.slice(pathStart, pathEnd).split('/')) {
    const rule =
      look(undefined, decoded(segment)) ??
      (looksRandom(segment) ? { rule: 'shape:random', what: 'a long random part of an address', certain: false } : undefined);
    if (rule)
      found.push(
        plaintext(value, segment, at, rule, {
          where: 'url-path',
          name: 'address',
          obstacle:
            'It is part of the address itself, which Culvert stores and shows. If the server also takes a header, use that; treat the address as a secret until then.',
        }),
      );
    at += segment.length + 1;
  }
  return found;
}

/** Long, of letters and digits mixed, and no UUID or word chain: how capability addresses (Zapier, Pipedream) look. */
function looksRandom(segment: string): boolean {
  return (
    segment.length >= 40 &&
    /^[A-Za-z0-9_-]+$/.test(segment) &&
    /\d/.test(segment) &&
    /[A-Za-z]/.test(segment) &&
    segment.split(/[-_]/).length <= 6
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Options of container tools that set a variable: `-e NAME=value`, `--env NAME=value`. */
const VARIABLE_OPTIONS = new Set(['-e', '--env']);

function inArgument(entry: Entry, value: EntryValue, mixed: boolean, look: LooksSecret): FoundCredential[] {
  if (mixed) return [];
  const text = value.value;
  const assignment = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]+)$/.exec(text);
  if (VARIABLE_OPTIONS.has(value.name) && assignment?.[1] !== undefined) {
    const found = look(assignment[1], assignment[2] ?? '');
    if (!found) return [];
    return [
      plaintext(value, assignment[2] ?? '', assignment[1].length + 1, found, { name: assignment[1], ...variablePlacement(assignment[1]) }),
    ];
  }
  const remote = remoteUrl(entry);
  if (remote !== undefined && value.name === '--header') {
    const [, name = '', gap = '', content = ''] = /^([^:\s]+):(\s*)([\s\S]*)$/.exec(text) ?? [];
    const offset = name.length + 1 + gap.length;
    return inHeader({ ...value, where: 'header', name, value: content }, false, look).map((found) => ({
      ...found,
      where: 'argument' as const,
      within: { ...found.within, offset: found.within.offset + offset },
    }));
  }
  if (remote !== undefined && text === remote) return inUrl(value, look);
  const option = /^(--?[A-Za-z][\w.-]*)=([\s\S]+)$/.exec(text);
  const name = option?.[1] ?? value.name;
  const secret = option?.[2] ?? text;
  const offset = text.length - secret.length;
  const found = look(name.replace(/^-+/, ''), secret);
  if (!found || (option === null && /^--?[A-Za-z]/.test(text) && !found.certain)) return [];
  const variable = name
    .replace(/^-+/, '')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .toUpperCase();
  const usable = VARIABLE_NAME.test(variable) && !RESERVED_VARIABLES.test(variable);
  if (!usable)
    return [
      plaintext(value, secret, offset, found, {
        name: name === '' ? 'argument' : name,
        obstacle: 'Every process of this machine can read it on the command line. Find out which variable the server reads instead.',
      }),
    ];
  return [plaintext(value, secret, offset, found, { name, placement: { kind: 'environment', name: variable }, uncertain: true })];
}

/** Address that `npx mcp-remote <url>` connects to: such an entry is an HTTP server in disguise. Source: the package's README. */
export function remoteUrl(entry: Pick<Entry, 'command' | 'args'>): string | undefined {
  const at = entry.args.findIndex((arg) => /^mcp-remote(?:@[\w.-]+)?$/.test(arg));
  const direct = /(?:^|[/\\])mcp-remote(?:\.cmd)?$/.test(entry.command ?? '');
  if (at < 0 && !direct) return undefined;
  return entry.args.slice(at + 1).find((arg) => /^https?:\/\//i.test(arg));
}

function byReference(value: EntryValue, reference: Reference, look: LooksSecret, inputs: readonly Input[]): FoundCredential[] {
  if (reference.kind === 'place' || reference.kind === 'other') return [];
  const input = reference.kind === 'input' ? inputs.find(({ id }) => id === reference.name) : undefined;
  // Whether it stands for a secret is said by the names around it; the value is elsewhere. Long and mixed, so that only names decide.
  const probe = 'k8Zq2Lw9Xv4T';
  const named =
    input?.password === true ||
    reference.kind === 'secret' ||
    reference.kind === 'culvert' ||
    look(value.name.replace(/^-+/, ''), probe) !== undefined ||
    look(reference.name, probe) !== undefined;
  if (!named) return [];
  const placement = referencePlacement(value, reference);
  return [
    {
      source: 'reference',
      where: value.where,
      name: value.name,
      reference,
      look: { rule: `reference:${reference.kind}`, what: 'a reference to a secret', certain: true },
      evidence: value.value.slice(reference.span.offset, reference.span.offset + reference.span.length),
      path: value.path,
      span: value.span,
      within: reference.span,
      ...placement,
    },
  ];
}

function referencePlacement(value: EntryValue, { span }: Reference): Pick<FoundCredential, 'placement' | 'obstacle' | 'uncertain'> {
  const whole = value.value.trim().length === span.length;
  switch (value.where) {
    case 'token':
      return { placement: { kind: 'bearer' } };
    case 'environment':
      if (whole) return variablePlacement(value.name);
      return { obstacle: 'Only a part of the variable is the secret. Seal the whole value of the variable.' };
    case 'header':
      if (/^\s*Bearer\s+$/i.test(value.value.slice(0, span.offset))) return { placement: { kind: 'bearer' } };
      if (whole) return headerPlacement(value.name);
      return { obstacle: 'Only a part of the header is the secret. Seal the whole value of the header.' };
    case 'url': {
      const name = /[?&]([^=&#]+)=$/.exec(value.value.slice(0, span.offset))?.[1];
      if (name !== undefined) return { placement: { kind: 'query', name: decoded(name) } };
      return { obstacle: 'It is part of the address itself. If the server also takes a header, use that.' };
    }
    default:
      return { obstacle: 'Culvert puts no secret on a command line. Find out which variable or header the server reads instead.' };
  }
}
