/** What a server says in `WWW-Authenticate` (RFC 9110, 11.6.1) about the token that it wants (RFC 6750, RFC 9449, RFC 9728). */
export interface Challenge {
  readonly scheme: 'bearer' | 'dpop';
  readonly error: string | undefined;
  readonly scope: string | undefined;
  readonly resourceMetadata: string | undefined;
}

/** Longest header that is read, characters. */
const MAX_CHALLENGE_CHARACTERS = 8 * 1024;

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;

/** The challenges of a header that ask for a token. Of what can't be read nothing is taken. */
export function challengesOf(header: string | undefined): Challenge[] {
  if (header === undefined || header.length > MAX_CHALLENGE_CHARACTERS) return [];
  const found: Challenge[] = [];
  for (const { scheme, parameters } of parse(header)) {
    const name = scheme.toLowerCase();
    if (name !== 'bearer' && name !== 'dpop') continue;
    found.push({
      scheme: name,
      error: parameters.get('error'),
      scope: parameters.get('scope'),
      resourceMetadata: parameters.get('resource_metadata'),
    });
  }
  return found;
}

/** One challenge that says everything that several say: the first value of each parameter. */
export function challengeOf(header: string | undefined): Challenge | undefined {
  const [first, ...others] = challengesOf(header);
  if (!first) return undefined;
  const all = [first, ...others];
  return {
    scheme: first.scheme,
    error: all.find(({ error }) => error !== undefined)?.error,
    scope: all.find(({ scope }) => scope !== undefined)?.scope,
    resourceMetadata: all.find(({ resourceMetadata }) => resourceMetadata !== undefined)?.resourceMetadata,
  };
}

interface Parsed {
  readonly scheme: string;
  readonly parameters: Map<string, string>;
}

/** `scheme name=value, name="value", scheme …`; a parameter is told from a scheme by the equals sign behind it. */
function parse(header: string): Parsed[] {
  const out: Parsed[] = [];
  let current: Parsed | undefined;
  let at = 0;
  const skip = (set: string) => {
    while (at < header.length && set.includes(header[at] ?? '')) at++;
  };
  const token = () => {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(header)?.[0];
    if (match !== undefined) at += match.length;
    return match;
  };
  for (;;) {
    skip(' \t,');
    if (at >= header.length) return out;
    const name = token();
    if (name === undefined) return out;
    const afterName = at;
    skip(' \t');
    if (current && header[at] === '=' && header[at + 1] !== '=') {
      at++;
      skip(' \t');
      const value = header[at] === '"' ? quoted() : token();
      if (value === undefined) return out;
      if (!current.parameters.has(name.toLowerCase())) current.parameters.set(name.toLowerCase(), value);
      continue;
    }
    at = afterName;
    current = { scheme: name, parameters: new Map() };
    out.push(current);
    // token68 (`Negotiate YII=`): nothing in it is for us.
    skip(' \t');
    const start = at;
    const run = /[A-Za-z0-9\-._~+/]+=*(?=\s*(,|$))/y;
    run.lastIndex = at;
    if (run.test(header)) at = run.lastIndex;
    else at = start;
  }

  function quoted(): string | undefined {
    let value = '';
    for (at++; at < header.length; at++) {
      const c = header[at] ?? '';
      if (c === '"') {
        at++;
        return value;
      }
      value += c === '\\' ? (header[++at] ?? '') : c;
    }
    return undefined;
  }
}
