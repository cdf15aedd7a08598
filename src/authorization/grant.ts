import { z } from 'zod';
import { ID_PATTERN } from '../common/identifiers.ts';
import { visible } from '../common/text.ts';
import type { Principal } from '../mcp/principal.ts';

/** What of a server a grant is about. */
export const Target = z.discriminatedUnion('kind', [
  /** Tools by exact name. */
  z.strictObject({ kind: z.literal('tools'), names: z.array(z.string()).min(1).readonly() }),
  /** Tools that said they only read when the user first saw them. */
  z.strictObject({ kind: z.literal('reading-tools') }),
  z.strictObject({ kind: z.literal('all-tools') }),
  /** Resources, prompts or completion as a whole. */
  z.strictObject({ kind: z.literal('resources') }),
  z.strictObject({ kind: z.literal('prompts') }),
  z.strictObject({ kind: z.literal('completion') }),
  /** Methods that Culvert does not know, by exact name. */
  z.strictObject({ kind: z.literal('methods'), names: z.array(z.string()).min(1).readonly() }),
]);
export type Target = z.infer<typeof Target>;

/** Who a grant is for. An absent field means any. */
const Scope = z.strictObject({
  client: z.enum(['vscode', 'agent']).optional(),
  window: z.string().optional(),
  workspace: z.string().optional(),
  workspaceName: z.string().optional(),
});

/** Permission for a principal to use tools of a server. Plain data, stored with a MAC. */
export const Grant = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  server: z.string(),
  target: Target,
  effect: z.enum(['allow', 'ask', 'deny']),
  scope: Scope,
  /** Milliseconds since the epoch; the grant counts before this instant. */
  expiresAt: z.number().int().optional(),
  createdAt: z.number().int(),
  /** Where it was given. */
  givenBy: z.enum(['wizard', 'prompt', 'tree', 'palette', 'headless']),
});
export type Grant = z.infer<typeof Grant>;

/** True while the grant counts at `now`. */
export function isLive(grant: Grant, now: number): boolean {
  // A clock set back before the grant was given must not lengthen it.
  return grant.expiresAt === undefined || (now < grant.expiresAt && now >= grant.createdAt - CLOCK_SLACK_MS);
}

/** How far the wall clock may go back before a grant that expires no longer counts, milliseconds. */
export const CLOCK_SLACK_MS = 60_000;

/** True if the grant is for this principal. */
export function appliesTo(grant: Grant, principal: Principal): boolean {
  const { client, window, workspace } = grant.scope;
  return (
    (client === undefined || client === principal.client) &&
    (window === undefined || window === principal.window) &&
    (workspace === undefined || workspace === principal.workspace)
  );
}

/** How narrowly a target names things; the narrower grant explains and, between allow and ask, decides. */
export function specificity(target: Target): number {
  switch (target.kind) {
    case 'tools':
    case 'methods':
      return 2;
    case 'reading-tools':
      return 1;
    default:
      return 0;
  }
}

/** What a target covers, in words. */
export function describeTarget(target: Target): string {
  switch (target.kind) {
    case 'tools':
      return target.names.map((name) => visible(name, 80)).join(', ');
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
      return `methods ${target.names.map((name) => visible(name, 80)).join(', ')}`;
  }
}

/** A grant in words, without its server and its end: `allow echo in my-project`. */
export function describeGrant(grant: Grant): string {
  const where = grant.scope.workspaceName === undefined ? '' : ` in ${grant.scope.workspaceName}`;
  return `${grant.effect} ${describeTarget(grant.target)}${where}`;
}
