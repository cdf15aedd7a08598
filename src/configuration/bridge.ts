import { CLIENTS } from './clients.ts';
import type { Entry } from './entry.ts';
import { looksSecret, type LooksSecret } from './secretShape.ts';
import { valueOf, type MappingNode, type Member, type Node } from './tree.ts';

/** How the bridge of a server is started: the process (editor or Node), the bridge's path and `--server <id>`, and variables without secrets. */
export interface Bridge {
  readonly command: string;
  readonly args: readonly string[];
  /** `ELECTRON_RUN_AS_NODE` if the process is the editor's own executable. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One member of an entry that starts the bridge. */
export type BridgeMember =
  | { readonly key: string; readonly text: string }
  | { readonly key: string; readonly list: readonly string[] }
  | { readonly key: string; readonly map: Readonly<Record<string, string>> }
  /** Stays as it is written in the file. */
  | { readonly key: string; readonly kept: Member };

/** Keys that say where a server is or how it authenticates; none of them stays. */
const REPLACED = new Set([
  'type',
  'source',
  'command',
  'args',
  'env',
  'envFile',
  'env_file',
  'env_vars',
  'cwd',
  'url',
  'serverUrl',
  'httpUrl',
  'tcp',
  'headers',
  'http_headers',
  'env_http_headers',
  'bearer_token',
  'bearer_token_env_var',
  'requestOptions',
  'apiKey',
  'transport',
  'auth',
  'oauth',
  'oauth_resource',
  'scopes',
  'settings',
  'authProviderType',
  'targetAudience',
  'targetServiceAccount',
]);

/** Whether a member stays: the client's own settings about a server do, and what is unknown unless a secret could be in it. */
export function isKept(member: Member, rules: LooksSecret = looksSecret): boolean {
  if (REPLACED.has(member.key)) return false;
  return !holdsSecret(member.key, member.value, rules);
}

function holdsSecret(name: string, node: Node, rules: LooksSecret): boolean {
  switch (node.kind) {
    case 'scalar':
      return typeof node.value === 'string' && rules(name, node.value) !== undefined;
    case 'sequence':
      return node.items.some((item) => holdsSecret(name, item, rules));
    case 'mapping':
      return node.members.some((member) => holdsSecret(member.key, member.value, rules));
    case 'opaque':
      // What it holds stands elsewhere, so nothing is known about it.
      return true;
  }
}

/** The members of a secret-free entry in the dialect of its client, in order. */
export function bridgeMembers(
  entry: Pick<Entry, 'client'>,
  node: MappingNode,
  bridge: Bridge,
  rules: LooksSecret = looksSecret,
): BridgeMember[] {
  const client = CLIENTS[entry.client];
  const kept = node.members.filter((member) => isKept(member, rules));
  const lead = kept.filter(({ key }) => key === 'name');
  const rest = kept.filter(({ key }) => key !== 'name');
  return [
    ...lead.map((member): BridgeMember => ({ key: member.key, kept: member })),
    ...Object.entries(client.bridgeHead).map(([key, text]): BridgeMember => ({ key, text })),
    { key: 'command', text: bridge.command },
    { key: 'args', list: bridge.args },
    ...(bridge.env && Object.keys(bridge.env).length > 0 ? [{ key: 'env', map: bridge.env }] : []),
    ...rest.map((member): BridgeMember => ({ key: member.key, kept: member })),
    ...Object.entries(client.bridgeTail).flatMap(([key, list]): BridgeMember[] => (kept.some((m) => m.key === key) ? [] : [{ key, list }])),
  ];
}

/** What the members mean, for checking an edit against. */
export function bridgeValue(members: readonly BridgeMember[]): Record<string, unknown> {
  const value = Object.create(null) as Record<string, unknown>;
  for (const member of members) {
    if ('text' in member) value[member.key] = member.text;
    else if ('list' in member) value[member.key] = [...member.list];
    else if ('map' in member) value[member.key] = { ...member.map };
    else value[member.key] = valueOf(member.kept.value);
  }
  return value;
}
