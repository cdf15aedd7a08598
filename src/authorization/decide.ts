import type { Decision } from '../mcp/decision.ts';
import { denyBy } from '../mcp/decision.ts';
import { classifyMethod, isListing } from '../mcp/methods.ts';
import type { Principal } from '../mcp/principal.ts';
import { visible } from '../common/text.ts';
import { appliesTo, isLive, specificity, type Grant, type Target } from './grant.ts';

/** One call as far as it matters for the decision. */
export interface Call {
  readonly server: string;
  /** For the explanation. */
  readonly serverLabel: string;
  /** Absent for what belongs to the transport: the GET stream, the end of a session, the answer to a server's request. */
  readonly method: string | undefined;
  /** Exact name of the tool for `tools/call`. */
  readonly tool?: string | undefined;
  /** Whether the tool said that it only reads when it was first seen; false if it isn't known. */
  readonly reads?: boolean;
}

/** What stands above grants. It can only narrow. */
export interface Policy {
  readonly paused: boolean;
}

/**
 * Decides one call. Pure and total: no grant, no access; deny beats allow and ask; between allow and ask the more specific grant
 * decides, and of two equally specific ones allow.
 */
export function decide(principal: Principal, call: Call, grants: Iterable<Grant>, policy: Policy, now: number): Decision {
  if (policy.paused)
    return denyBy('paused', 'All agent access is paused in Culvert. The user can end the pause with “Culvert: Resume Agent Access”.');
  const kind = call.method === undefined ? 'session' : classifyMethod(call.method);
  if (kind === 'session')
    return { effect: 'allow', by: { kind: 'rule', rule: 'session' }, reason: 'Part of every connection to the server.' };
  let best: Grant | undefined;
  for (const grant of grants) {
    if (grant.server !== call.server || !isLive(grant, now) || !appliesTo(grant, principal) || !covers(grant.target, kind, call)) continue;
    if (best === undefined || outranks(grant, best)) best = grant;
  }
  if (best === undefined)
    return denyBy(
      'no-grant',
      `${subject(call)} is not allowed. The user can allow it in Culvert’s Grants view or with “Culvert: Allow Tool…”.`,
    );
  if (best.effect === 'ask' && call.method !== undefined && isListing(call.method)) {
    return { effect: 'allow', by: { kind: 'grant', grant: best.id }, reason: 'Lists are let through; using what they name asks the user.' };
  }
  return { effect: best.effect, by: { kind: 'grant', grant: best.id }, reason: reasonOf(best, call) };
}

function outranks(a: Grant, b: Grant): boolean {
  if ((a.effect === 'deny') !== (b.effect === 'deny')) return a.effect === 'deny';
  const difference = specificity(a.target) - specificity(b.target);
  if (difference !== 0) return difference > 0;
  if (a.effect !== b.effect) return a.effect === 'allow';
  // Same effect, same width: the one that lasts longest explains.
  return (a.expiresAt ?? Number.POSITIVE_INFINITY) > (b.expiresAt ?? Number.POSITIVE_INFINITY);
}

function covers(target: Target, kind: ReturnType<typeof classifyMethod>, call: Call): boolean {
  switch (target.kind) {
    case 'tools':
      return kind === 'tool' && call.tool !== undefined && target.names.includes(call.tool);
    case 'reading-tools':
      return kind === 'tool' && call.reads === true;
    case 'all-tools':
      return kind === 'tool';
    case 'resources':
      return kind === 'resource';
    case 'prompts':
      return kind === 'prompt';
    case 'completion':
      return kind === 'completion';
    case 'methods':
      return kind === 'unknown' && call.method !== undefined && target.names.includes(call.method);
  }
}

/** The thing a call is about, in words: `The tool “echo” of GitHub`. */
export function subject(call: Call): string {
  switch (call.method === undefined ? 'session' : classifyMethod(call.method)) {
    case 'tool':
      return `The tool “${visible(call.tool ?? '', 80)}” of ${call.serverLabel}`;
    case 'resource':
      return `Reading resources of ${call.serverLabel}`;
    case 'prompt':
      return `Using prompts of ${call.serverLabel}`;
    default:
      return `The method ${visible(call.method ?? 'transport', 80)} of ${call.serverLabel}`;
  }
}

function reasonOf(grant: Grant, call: Call): string {
  const where = grant.scope.workspaceName ? ` in ${grant.scope.workspaceName}` : '';
  const until = grant.expiresAt === undefined ? '' : ` until ${new Date(grant.expiresAt).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
  if (grant.effect === 'allow') return `${subject(call)} is allowed${where}${until}.`;
  if (grant.effect === 'ask') return `${subject(call)} asks the user each time${where}${until}.`;
  return `${subject(call)} is denied by the user${where}${until}. Don’t try again unless the user changes it in Culvert’s Grants view.`;
}
