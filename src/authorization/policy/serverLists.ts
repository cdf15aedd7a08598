import { hash } from 'node:crypto';
import * as z from 'zod';
import { compileGlob } from '../glob.ts';
import type { Call } from '../decide.ts';
import { brokenLayer, type Narrowing, type PolicyLayer } from './layer.ts';

/** Names of VS Code's settings. */
export const SERVER_LIST_SETTINGS = {
  access: 'chat.mcp.access',
  allowed: 'chat.mcp.allowedServers',
  denied: 'chat.mcp.deniedServers',
} as const;

/**
 * One entry of `chat.mcp.allowedServers` or `chat.mcp.deniedServers`: a server by name, by URL with `*`, or by its exact command.
 * Source: VS Code 1.130, https://github.com/microsoft/vscode/pull/326226
 */
export const ServerMatcher = z.union([
  z.strictObject({ serverName: z.string().min(1) }),
  z.strictObject({ serverUrl: z.string().min(1).max(1_024) }),
  z.strictObject({ serverCommand: z.array(z.string()).min(1).readonly() }),
]);
export type ServerMatcher = z.infer<typeof ServerMatcher>;

/** The settings as they are in force. */
export interface ServerListSettings {
  /** `none` blocks every server; `registry` is VS Code's to check, since only it knows the registry. */
  readonly access?: unknown;
  /** `null` or `undefined`: every server. An empty list: none. */
  readonly allowed?: unknown;
  readonly denied?: unknown;
}

const NAME = 'VS Code’s policy for MCP servers';

/**
 * VS Code's own lists, held against where a server really is. VS Code itself sees only Culvert's bridge, so the lists would come to nothing
 * if Culvert did not apply them. Denied beats allowed. A list that can't be understood denies everything: an entry that is skipped could
 * have been the one that denies. `undefined` if there is nothing to apply.
 */
export function serverListsLayer({ access, allowed, denied }: ServerListSettings, shadow = false): PolicyLayer | undefined {
  const lists: { readonly allowed?: readonly ServerMatcher[]; readonly denied?: readonly ServerMatcher[] } = {};
  for (const [key, value] of [
    ['allowed', allowed],
    ['denied', denied],
  ] as const) {
    if (value === undefined || value === null) continue;
    const read = z.array(ServerMatcher).safeParse(value);
    if (!read.success) {
      const [issue] = read.error.issues;
      const where = issue && issue.path.length > 0 ? `entry ${Number(issue.path[0]) + 1}: ` : '';
      const message = `${where}an entry has exactly one of serverName, serverUrl and serverCommand.`;
      return brokenLayer(NAME, [{ source: SERVER_LIST_SETTINGS[key], line: 0, column: 0, endLine: 0, endColumn: 0, message }], shadow);
    }
    Object.assign(lists, { [key]: read.data });
  }
  if (access !== 'none' && !lists.allowed && (lists.denied ?? []).length === 0) return undefined;
  return {
    name: NAME,
    digest: hash('sha256', JSON.stringify([access === 'none', lists])),
    problems: [],
    ...(shadow ? { shadow } : {}),
    narrow: ({ call }) => judge(call, access === 'none', lists.allowed, lists.denied),
  };
}

function judge(
  call: Call,
  none: boolean,
  allowed: readonly ServerMatcher[] | undefined,
  denied: readonly ServerMatcher[] | undefined,
): Narrowing | undefined {
  const deny = (rule: string, why: string): Narrowing => ({
    effect: 'deny',
    rule,
    reason: `${call.serverLabel} is blocked: ${why}. Only whoever manages VS Code’s settings can change that.`,
  });
  if (none) return deny(SERVER_LIST_SETTINGS.access, 'MCP servers are switched off in VS Code');
  if (denied?.some((m) => matches(m, call, 'possibly')) === true)
    return deny(SERVER_LIST_SETTINGS.denied, 'it is on the list of denied servers');
  if (allowed && !allowed.some((m) => matches(m, call, 'surely')))
    return deny(SERVER_LIST_SETTINGS.allowed, 'it is not on the list of allowed servers');
  return undefined;
}

/** A server behind SSH is another one than the same address or command here: it is denied with it, but not allowed with it. */
function matches(matcher: ServerMatcher, { serverLabel, place }: Call, how: 'surely' | 'possibly'): boolean {
  if ('serverName' in matcher) return matcher.serverName === serverLabel;
  if (!place) return how === 'possibly';
  if (place.ssh !== undefined && how === 'surely') return false;
  if ('serverUrl' in matcher) return place.kind !== 'stdio' && matchesUrl(matcher.serverUrl, place.url);
  const command = place.kind === 'stdio' ? [place.command, ...place.args] : undefined;
  return command?.length === matcher.serverCommand.length && matcher.serverCommand.every((part, i) => part === command[i]);
}

interface UrlParts {
  readonly scheme: string;
  readonly host: string;
  readonly port: string;
  readonly rest: string;
}

/**
 * Whether a URL matches a pattern with `*`. In the authority a `*` stays within the host, and `:*` is any port or none; behind it, it is
 * anything. Case does not count.
 */
function matchesUrl(pattern: string, url: string): boolean {
  const wanted = takeApart(pattern);
  if (!wanted || !URL.canParse(url)) return false;
  const { protocol, hostname, port, pathname, search } = new URL(url);
  const scheme = protocol.slice(0, -1);
  const fits = (glob: string, text: string) =>
    compileGlob(glob.toLowerCase().replaceAll('?', '\u0000'))(text.toLowerCase().replaceAll('?', '\u0000'));
  if (!fits(wanted.scheme, scheme) || !fits(hostOf(wanted.host), hostname)) return false;
  const own = wanted.port === (scheme === 'https' ? '443' : '80') ? '' : wanted.port;
  return (own === '*' || fits(own, port)) && fits(wanted.rest, pathname + search);
}

function takeApart(pattern: string): UrlParts | undefined {
  const match = /^([^:/?#]+):\/\/([^/\\?#]*)([^#]*)/.exec(pattern);
  if (!match) return undefined;
  const [, scheme = '', authority = '', rest = ''] = match;
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority.slice(authority.lastIndexOf('@') + 1)) ?? [];
  if (host === '') return undefined;
  const behind = rest.replaceAll('\\', '/');
  return { scheme, host, port, rest: behind.startsWith('/') ? behind : `/${behind}` };
}

/** A name without wildcards as the URL standard writes it, so that an international one is found. */
function hostOf(host: string): string {
  return !host.includes('*') && URL.canParse(`http://${host}/`) ? new URL(`http://${host}/`).hostname : host;
}
