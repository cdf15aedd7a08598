import * as z from 'zod';
import { ID_PATTERN } from '../common/identifiers.ts';
import { visible } from '../common/text.ts';
import type { Principal } from '../mcp/principal.ts';
import { Conditions, describeConditions } from './conditions.ts';
import { MAX_GLOB_CHARACTERS } from './glob.ts';

/** Names or patterns in one target. */
export const MAX_NAMES = 1_000;
/** Longest reason that is kept with a grant, characters. */
export const MAX_WHY_CHARACTERS = 500;

const names = z.array(z.string()).min(1).readonly();

/** What of a server a grant is about, as version 1 knew it. */
const TARGETS_1 = [
  /** Tools by exact name. */
  z.strictObject({ kind: z.literal('tools'), names }),
  /** Tools that said they only read when the user first saw them. */
  z.strictObject({ kind: z.literal('reading-tools') }),
  z.strictObject({ kind: z.literal('all-tools') }),
  /** Resources, prompts or completion as a whole. */
  z.strictObject({ kind: z.literal('resources') }),
  z.strictObject({ kind: z.literal('prompts') }),
  z.strictObject({ kind: z.literal('completion') }),
  /** Methods that Culvert does not know, by exact name. */
  z.strictObject({ kind: z.literal('methods'), names }),
] as const;

/** What of a server a grant is about. */
export const Target = z.discriminatedUnion('kind', [
  ...TARGETS_1,
  /** Tools by patterns: `*` is any run of characters, `?` one; case counts. */
  z.strictObject({
    kind: z.literal('tools-like'),
    patterns: z.array(z.string().min(1).max(MAX_GLOB_CHARACTERS)).min(1).max(MAX_NAMES).readonly(),
  }),
]);
export type Target = z.infer<typeof Target>;

const SCOPE_1 = {
  client: z.enum(['vscode', 'agent']).optional(),
  window: z.string().optional(),
  workspace: z.string().optional(),
  workspaceName: z.string().optional(),
};

/** Who a grant is for. An absent field means any. */
export const Scope = z.strictObject({
  ...SCOPE_1,
  /** One session of one agent (legacy era: MCP session; else the client's conversation). */
  session: z.string().optional(),
  /** Name of the git branch that is checked out in the workspace. */
  branch: z.string().optional(),
});
export type Scope = z.infer<typeof Scope>;

const COMMON = {
  id: z.string().regex(ID_PATTERN),
  server: z.string(),
  effect: z.enum(['allow', 'ask', 'deny']),
  /** Milliseconds since the epoch; the grant counts before this instant. */
  expiresAt: z.number().int().optional(),
  createdAt: z.number().int(),
};

const Grant1 = z.strictObject({
  version: z.literal(1),
  ...COMMON,
  target: z.discriminatedUnion('kind', TARGETS_1),
  scope: z.strictObject(SCOPE_1),
  givenBy: z.enum(['wizard', 'prompt', 'tree', 'palette', 'headless']),
});

const Grant2 = z.strictObject({
  version: z.literal(2),
  ...COMMON,
  target: Target,
  scope: Scope,
  /** What the arguments must be; all of it. */
  conditions: Conditions.optional(),
  /** The grant ends with this, too. */
  endsWith: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('window'), window: z.string() }),
      z.strictObject({ kind: z.literal('task'), task: z.string() }),
    ])
    .optional(),
  /** How often it may be used in all. */
  uses: z.number().int().min(1).max(1_000_000).optional(),
  /** At most so many uses in any span of so many milliseconds. */
  rate: z.strictObject({ count: z.number().int().min(1).max(1_000), perMs: z.number().int().min(1_000).max(86_400_000) }).optional(),
  /** Ids of the grants that asked and that this one answers: it outranks them, however narrow they are. */
  answers: z.array(z.string()).max(16).readonly().optional(),
  /** Where it was given. */
  givenBy: z.enum(['wizard', 'prompt', 'tree', 'palette', 'headless', 'request', 'task', 'advice', 'editor']),
  /** Why, in the words of whoever gave it or asked for it. */
  why: z.string().max(MAX_WHY_CHARACTERS).optional(),
});

/** Permission for a principal to use tools of a server. Plain data, stored with a MAC. What version 1 stored is read as version 2. */
export const Grant = z
  .discriminatedUnion('version', [Grant1, Grant2])
  .transform((grant): Grant => (grant.version === 1 ? { ...grant, version: 2 } : grant));
export type Grant = z.infer<typeof Grant2>;

/** Who calls, with what the grants' scopes need to know about it. */
export interface Caller extends Principal {
  readonly session?: string | undefined;
  readonly branch?: string | undefined;
}

/** True while the grant counts at `now`. */
export function isLive(grant: Grant, now: number): boolean {
  // A clock set back before the grant was given must not lengthen it.
  return grant.expiresAt === undefined || (now < grant.expiresAt && now >= grant.createdAt - CLOCK_SLACK_MS);
}

/** How far the wall clock may go back before a grant that expires no longer counts, milliseconds. */
export const CLOCK_SLACK_MS = 60_000;

/** True if the grant is for this principal. */
export function appliesTo(grant: Grant, principal: Caller): boolean {
  const { branch } = grant.scope;
  return appliesWithoutBranch(grant, principal) && (branch === undefined || branch === principal.branch);
}

/** True if only another git branch has to be checked out for the grant to be for this principal. */
export function isForOtherBranch(grant: Grant, principal: Caller): boolean {
  return appliesWithoutBranch(grant, principal) && !appliesTo(grant, principal);
}

function appliesWithoutBranch({ scope, endsWith }: Grant, principal: Caller): boolean {
  const { client, window, workspace, session } = scope;
  return (
    (client === undefined || client === principal.client) &&
    (window === undefined || window === principal.window) &&
    (workspace === undefined || workspace === principal.workspace) &&
    (session === undefined || session === principal.session) &&
    (endsWith?.kind !== 'window' || endsWith.window === principal.window)
  );
}

/** True if the grant is not for every caller. */
export function isScoped({ scope: { client, window, workspace, session, branch }, endsWith }: Grant): boolean {
  return [client, window, workspace, session, branch].some((part) => part !== undefined) || endsWith?.kind === 'window';
}

/** How narrowly a target names things; the narrower grant explains and, between allow and ask, decides. */
export function specificity(target: Target): number {
  switch (target.kind) {
    case 'tools':
    case 'methods':
      return 3;
    case 'tools-like':
      return 2;
    case 'reading-tools':
      return 1;
    default:
      return 0;
  }
}

/** True if the grant's number of uses is limited, so that each must be counted. */
export function isCounted(grant: Grant): boolean {
  return grant.uses !== undefined || grant.rate !== undefined;
}

/** What a target covers, in words. */
export function describeTarget(target: Target): string {
  switch (target.kind) {
    case 'tools':
      return list(target.names);
    case 'tools-like':
      return `tools like ${list(target.patterns)}`;
    case 'reading-tools':
      return 'tools that only read';
    case 'all-tools':
      return 'all tools';
    case 'resources':
      return 'resources';
    case 'prompts':
      return 'prompts';
    case 'completion':
      return 'completion';
    case 'methods':
      return `methods ${list(target.names)}`;
  }
}

function list(items: readonly string[]): string {
  return items.map((name) => visible(name, 80)).join(', ');
}

/** What a grant is made of, as far as it can be said in words. */
export type GrantTerms = Pick<Grant, 'target' | 'effect' | 'scope'> &
  Partial<Pick<Grant, 'conditions' | 'uses' | 'rate' | 'endsWith' | 'expiresAt'>>;

/** A grant in words, without its server and its end: `allow echo where owner is “acme” in my-project, at most 3 times`. */
export function describeGrant(grant: GrantTerms): string {
  const { scope, uses, rate, conditions } = grant;
  const parts = [`${grant.effect} ${describeTarget(grant.target)}`];
  if (conditions) parts.push(`where ${describeConditions(conditions)}`);
  if (scope.workspaceName !== undefined) parts.push(`in ${visible(scope.workspaceName, 80)}`);
  else if (scope.workspace !== undefined) parts.push('in one workspace');
  if (scope.branch !== undefined) parts.push(`on branch ${visible(scope.branch, 80)}`);
  if (scope.client !== undefined) parts.push(scope.client === 'vscode' ? 'for VS Code' : 'for agents outside the editor');
  if (scope.session !== undefined) parts.push('in one session');
  if (scope.window !== undefined || grant.endsWith?.kind === 'window') parts.push('in one window');
  const limits = [
    ...(uses === undefined ? [] : [uses === 1 ? 'once' : `at most ${uses} times`]),
    ...(rate === undefined ? [] : [`at most ${rate.count} times per ${span(rate.perMs)}`]),
    ...(grant.endsWith?.kind === 'task' ? ['until the task ends'] : []),
  ];
  return [parts.join(' '), ...limits].join(', ');
}

/** A span in words: `15 minutes`, `1 hour`. */
export function span(ms: number): string {
  const units: readonly (readonly [number, string])[] = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1_000, 'second'],
  ];
  const [size, name] = units.find(([unit]) => ms >= unit && ms % unit === 0) ?? [1_000, 'second'];
  const count = Math.max(1, Math.round(ms / size));
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/** The whole of a grant in words, with its server and its end: `allow echo of GitHub … until 2026-06-01 00:15 UTC`. */
export function describeGrantFully(grant: GrantTerms, serverLabel: string): string {
  const end = grant.expiresAt === undefined ? (grant.endsWith ? '' : ', until it is revoked') : `, until ${instant(grant.expiresAt)}`;
  return `On ${visible(serverLabel, 60)}: ${describeGrant(grant)}${end}.`;
}

/** An instant in words: `2026-06-01 00:15 UTC`. */
export function instant(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
