/**
 * What is secret of a credential's value: the password of a URL or connection string, not its host; the body of a PEM block, not its
 * armour; a JWT from its second segment on. The rest is public, and would be found in honest text.
 */

/** Shorter parts are not taken for the secret, characters: then the whole value is it. */
const MIN_CORE = 8;
/** The first line of a PEM body is the same for every key of its kind (RFC 7468; 64 characters a line). */
const PEM_LINE = 64;
/** A body of fewer lines is searched for as a whole. */
const MIN_PEM_LINES = 3;

const SCHEME = /^(?:Bearer|Basic|Token|ApiKey|Digest|Negotiate|DPoP|PRIVATE-TOKEN:?|X-API-Key:)[ \t]+/i;
const PEM = /-----BEGIN [A-Z0-9 ]{1,60}-----([^-]{16,})-----END [A-Z0-9 ]{1,60}-----/g;
const JWT = /^eyJ[\w-]{4,}\.([\w-]{4,}\.[\w-]*)$/;
const USER_INFO = /^[a-z][a-z0-9+.-]{0,30}:\/\/([^\s/?#@]{0,512}(?:@[^\s/?#@]{0,512})?)@/i;
const PAIRS =
  /(?:^|[;?&])\s*(?:password|pwd|pass|accountkey|sharedaccesskey|sharedsecretvalue|sharedaccesssignature|sig|secret|client_secret|access_token|token|api[-_]?key|key)\s*=\s*("[^"]*"|'[^']*'|[^;&]*)/gi;

/** The texts that must not be found anywhere, at least one. */
export function coresOf(value: string): readonly string[] {
  const trimmed = value.trim();
  const found = new Set<string>();
  const add = (text: string | undefined) => {
    if (text !== undefined && text.length >= MIN_CORE) found.add(text);
  };
  const bare = trimmed.replace(SCHEME, '');
  if (/^Basic[ \t]/i.test(trimmed)) {
    const decoded = Buffer.from(bare, 'base64').toString('utf8');
    add(decoded.slice(decoded.indexOf(':') + 1));
  } else if (bare.startsWith('{')) for (const text of secretsOfJson(bare)) add(text);
  else if (bare.includes('-----BEGIN ')) for (const text of pemBodies(bare)) add(text);
  else if (JWT.test(bare)) add(JWT.exec(bare)?.[1]);
  else if (USER_INFO.test(bare)) {
    const info = USER_INFO.exec(bare)?.[1] ?? '';
    const password = info.includes(':') ? info.slice(info.indexOf(':') + 1) : info;
    add(password);
    add(percentDecoded(password));
    for (const pair of bare.matchAll(PAIRS)) add(unquoted(pair[1] ?? ''));
  } else if (/^[\w .-]{2,40}=/.test(bare) || /^[a-z]{2,20}:\/\/[^\s]*[?&]/i.test(bare))
    for (const pair of bare.matchAll(PAIRS)) add(unquoted(pair[1] ?? ''));
  if (found.size > 0) return [...found];
  return [bare.length >= MIN_CORE ? bare : value];
}

function unquoted(text: string): string {
  const trimmed = text.trim();
  return /^(["']).*\1$/s.test(trimmed) ? trimmed.slice(1, -1) : trimmed;
}

function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function pemBodies(text: string): string[] {
  return [...text.matchAll(PEM)].map(([, inner = '']) => {
    // Traditional encryption headers (RFC 1421) end with an empty line; a literal \n is how JSON and .env files write line ends.
    const lines = inner.replaceAll('\\n', '\n').split(/\r?\n/);
    const blank = lines.findIndex((line, i) => i > 0 && line.trim() === '' && lines.slice(0, i).some((l) => l.includes(':')));
    const body = lines
      .slice(blank + 1)
      .map((line) => line.trim())
      .join('\n')
      .trim();
    const flat = body.replaceAll('\n', '');
    return flat.length > MIN_PEM_LINES * PEM_LINE ? flat.slice(PEM_LINE) : flat;
  });
}

/** Keys of JSON credentials whose values are secret: service accounts, client secrets, key files. */
const SECRET_KEY = /private_?key$|secret|password|token$|access_?key$|api_?key$|^key$|^sig$|credential/i;
/** Levels of JSON that are looked into. */
const MAX_JSON_DEPTH = 4;

function secretsOfJson(text: string): string[] {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return [];
  }
  const out: string[] = [];
  const visit = (node: unknown, depth: number) => {
    if (typeof node !== 'object' || node === null || depth > MAX_JSON_DEPTH) return;
    for (const [key, inner] of Object.entries(node)) {
      if (typeof inner !== 'string') visit(inner, depth + 1);
      else if (SECRET_KEY.test(key)) out.push(...coresOf(inner));
    }
  };
  visit(data, 0);
  return out;
}
