import { agreed, type Verdict } from './verdict.ts';

/** Hosts that a URL may go to, compiled from `example.com` and `*.example.com`. */
export interface Hosts {
  readonly exact: ReadonlySet<string>;
  /** `.example.com`: everything below. */
  readonly suffixes: readonly string[];
  /** Absent: the scheme's own port. */
  readonly ports: ReadonlySet<number> | undefined;
  readonly schemes: ReadonlySet<string>;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443, 'ws:': 80, 'wss:': 443, 'ftp:': 21 };
/** Longest URL that is looked at, characters. */
const MAX_URL_CHARACTERS = 16_384;

/** Compiles host patterns; `undefined` if one of them is no host. */
export function parseHosts(patterns: readonly string[], ports?: readonly number[], schemes?: readonly string[]): Hosts | undefined {
  const exact = new Set<string>();
  const suffixes: string[] = [];
  for (const pattern of patterns) {
    const below = pattern.startsWith('*.');
    const host = canonicalHost(below ? pattern.slice(2) : pattern);
    if (host === undefined || (below && isAddress(host))) return undefined;
    if (below) suffixes.push(`.${host}`);
    else exact.add(host);
  }
  return {
    exact,
    suffixes,
    ports: ports && new Set(ports),
    schemes: new Set((schemes ?? ['https', 'http']).map((s) => `${s.toLowerCase()}:`)),
  };
}

/**
 * Whether a URL goes to one of the hosts, by the WHATWG URL standard and by what other parsers make of it: user info, backslashes, white
 * space, addresses in odd forms, names that differ between IDNA versions, and a trailing dot make it unclear at best.
 */
export function goesTo(text: string, hosts: Hosts): Verdict {
  if (text.length > MAX_URL_CHARACTERS) return 'unclear';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.hostname === '') {
    // Some servers put the scheme in front themselves.
    const guess = `https://${text.replace(/^[\s/\\]+/, '')}`;
    if (!URL.canParse(guess)) return /[/@:\\]/.test(text) ? 'unclear' : 'no';
    return matchesHost(new URL(guess), hosts) === 'no' && !text.includes('@') && !text.includes('\\') ? 'no' : 'unclear';
  }
  const verdict = matchesHost(url, hosts);
  if (isPlain(text, url)) return verdict;
  const others = otherHosts(text).map((host) => matchesName(host, hosts));
  const heard = agreed([verdict === 'no' ? 'no' : 'unclear', ...others.map((v): Verdict => (v === 'no' ? 'no' : 'unclear'))]);
  return heard === 'no' && !/[@\\\s]/.test(text) ? 'no' : 'unclear';
}

function matchesHost(url: URL, hosts: Hosts): Verdict {
  const name = matchesName(url.hostname, hosts);
  if (name !== 'yes') return name;
  if (!hosts.schemes.has(url.protocol)) return 'unclear';
  const port = url.port === '' ? DEFAULT_PORTS[url.protocol] : Number(url.port);
  if (hosts.ports) return port !== undefined && hosts.ports.has(port) ? 'yes' : 'unclear';
  return url.port === '' ? 'yes' : 'unclear';
}

function matchesName(hostname: string, hosts: Hosts): Verdict {
  if (hosts.exact.has(hostname)) return 'yes';
  if (!isAddress(hostname) && hosts.suffixes.some((s) => hostname.length > s.length && hostname.endsWith(s))) return 'yes';
  const bare = hostname.replace(/\.+$/, '');
  return bare !== hostname && matchesName(bare, hosts) !== 'no' ? 'unclear' : 'no';
}

/** True if every parser finds the same host: scheme, two slashes, the very host that the standard finds, then a port, path or nothing. */
function isPlain(text: string, url: URL): boolean {
  const match = /^([a-z][a-z0-9+.-]*:)\/\/([^/?#]+)/i.exec(text);
  if (match?.[1]?.toLowerCase() !== url.protocol || /[\s\\\p{Cc}\p{Cf}]/u.test(text)) return false;
  const authority = (match[2] as string).replace(/:\d*$/, '');
  if (authority.includes('@') || authority.includes('%')) return false;
  if (/^[\x21-\x7e]+$/.test(authority)) return authority.toLowerCase() === url.hostname && !authority.endsWith('.');
  // ß, ς and the joiners are where IDNA 2003 and 2008 part (UTS #46, 7).
  return !/[ßς\u200c\u200d]/u.test(authority) && authority === authority.normalize('NFKC').toLowerCase() && !/[。．｡]/u.test(authority);
}

/** Everything in the text that some parser could take for the host. */
function otherHosts(text: string): string[] {
  const out: string[] = [];
  for (const part of text.split(/[/\\@?#\s]+/)) {
    const host = canonicalHost(part.replace(/:\d*$/, ''));
    if (host !== undefined) out.push(host);
  }
  return out;
}

function canonicalHost(text: string): string | undefined {
  if (
    text === '' ||
    /[/\\?#@*\s]|:\d*$/.test(text.startsWith('[') ? text.replace(/^\[[^\]]*\]/, '') : text) ||
    !URL.canParse(`http://${text}/`)
  )
    return undefined;
  const { hostname, port } = new URL(`http://${text}/`);
  return port === '' && hostname !== '' ? hostname.replace(/\.+$/, '') : undefined;
}

function isAddress(host: string): boolean {
  return host.startsWith('[') || /^\d+(\.\d+){3}$/.test(host);
}
