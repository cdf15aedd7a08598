import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

/** Hop-by-hop headers (RFC 9110, 7.6.1) and their kin; they belong to one connection. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
];

/** Headers of the agent that no server gets: replaced by ours, or telling things that are not the server's business. */
const NOT_TO_UPSTREAM = ['host', 'authorization', 'cookie', 'origin', 'referer', 'forwarded', 'dpop', 'content-length', 'accept-encoding'];

/** Headers of the server that the agent doesn't get: VS Code would act on them, or they speak of an origin that isn't ours. */
const NOT_TO_AGENT = ['www-authenticate', 'set-cookie', 'alt-svc', 'strict-transport-security', 'content-length', 'content-encoding'];

/** What most messages carry: looked up once, for every header of every call. */
const COMMON = [
  'accept',
  'accept-language',
  'cache-control',
  'content-type',
  'date',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'server',
  'user-agent',
  'vary',
  'x-powered-by',
];
const TO_UPSTREAM = fates([...HOP_BY_HOP, ...NOT_TO_UPSTREAM]);
const TO_AGENT = fates([...HOP_BY_HOP, ...NOT_TO_AGENT]);

/** By name: whether a header goes on. */
function fates(dropped: readonly string[]): ReadonlyMap<string, boolean> {
  return new Map([...COMMON.map((name) => [name, true] as const), ...dropped.map((name) => [name, false] as const)]);
}

/** Headers for the server: everything the agent sent but what PROTOCOL.md 4 takes out. The caller adds credentials. */
export function headersToUpstream(from: IncomingHttpHeaders): Record<string, string | string[]> {
  const out = filtered(from, TO_UPSTREAM, (name) => !name.startsWith('sec-') && !name.startsWith('x-forwarded-'));
  out['accept-encoding'] = 'identity';
  return out;
}

/** Headers for the agent. The caller sets the length if it knows it. */
export function headersToAgent(from: IncomingHttpHeaders): Record<string, string | string[]> {
  return filtered(from, TO_AGENT, (name) => !name.startsWith('access-control-'));
}

/** The headers that go on: as `known` says, else as `goesOn` does. */
function filtered(
  from: IncomingHttpHeaders,
  known: ReadonlyMap<string, boolean>,
  goesOn: (name: string) => boolean,
): Record<string, string | string[]> {
  const listed = listedInConnection(from.connection);
  const out: Record<string, string | string[]> = {};
  for (const name in from) {
    const value = from[name];
    if (value === undefined || !(known.get(name) ?? goesOn(name)) || listed?.has(name) === true) continue;
    out[name] = value;
  }
  return out;
}

/** Media type of a `Content-Type`, lower case, without parameters. */
export function mediaTypeOf(headers: IncomingHttpHeaders | OutgoingHttpHeaders): string {
  const value = headers['content-type'];
  return typeof value === 'string' ? (value.split(';', 1)[0] ?? '').trim().toLowerCase() : '';
}

/** Headers that `Connection` names; `undefined` for what nearly every message says. */
function listedInConnection(value: string | undefined): ReadonlySet<string> | undefined {
  if (value === undefined || value === 'keep-alive' || value === 'close') return undefined;
  return new Set(value.split(',').map((name) => name.trim().toLowerCase()));
}
