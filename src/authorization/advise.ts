import { remaining } from '../common/text.ts';
import { CallArguments } from './arguments.ts';
import type { Condition } from './conditions.ts';
import { describeGrant, isLive, span, type Grant, type Target } from './grant.ts';
import type { NewGrant } from './grantChanges.ts';
import { widenings } from './widenings.ts';

/** After how long without use a grant is said to be unused, milliseconds. */
export const UNUSED_MS = 7 * 24 * 60 * 60 * 1000;
/** How long before its end a grant is said to expire soon, milliseconds. */
export const SOON_MS = 10 * 60 * 1000;
/** Calls from which a narrower grant may be derived; fewer say too little. */
export const MIN_CALLS = 5;
/** Different tools or values that a narrowed grant names; with more it is no help. */
const MAX_NAMED = 8;

/** A use of a grant, from the record. */
export interface GrantUse {
  readonly at: number;
  readonly tool: string | undefined;
  /** The arguments as a JSON text, secrets taken out; absent if they were not recorded whole. */
  readonly arguments?: string;
}

/** Uses by id of the grant, over the span that the record was read. */
export type GrantUsage = ReadonlyMap<string, readonly GrantUse[]>;

/** Something that could be tightened. */
export interface Advice {
  readonly kind: 'unused' | 'wider-than-used' | 'expires-soon' | 'ended';
  readonly grant: Grant;
  /** What is the matter, and what would be done about it. */
  readonly reason: string;
  /** What takes the grant's place; absent: nothing, it is withdrawn, or (for `expires-soon`) left to end. */
  readonly narrowed?: NewGrant;
  /** {@link narrowed} spelled out. */
  readonly words?: string;
}

/**
 * What of the grants that allow could be tightened, by what was used of them. `since` is how far back `usage` reaches, milliseconds since
 * the epoch. Pure. A narrowed grant never allows what the grant does not.
 */
export function advise(grants: readonly Grant[], usage: GrantUsage, now: number, since: number): readonly Advice[] {
  const out: Advice[] = [];
  for (const grant of grants) {
    if (grant.effect !== 'allow') continue;
    const uses = usage.get(grant.id) ?? [];
    const what = describeGrant(grant);
    if (!isLive(grant, now)) {
      out.push({ kind: 'ended', grant, reason: `“${what}” has ended and can be removed from the list.` });
      continue;
    }
    if (grant.expiresAt !== undefined && grant.expiresAt - now <= SOON_MS)
      out.push({
        kind: 'expires-soon',
        grant,
        reason: `“${what}” ends in ${remaining(grant.expiresAt - now)}. It was used ${times(uses.length)}.`,
      });
    const watched = now - Math.max(grant.createdAt, since);
    if (uses.length === 0) {
      if (watched >= UNUSED_MS && grant.target.kind !== 'completion')
        out.push({
          kind: 'unused',
          grant,
          reason: `“${what}” was not used for ${span(days(watched))}. It can be withdrawn; if it is needed again, you are asked.`,
        });
      continue;
    }
    const narrowed = uses.length >= MIN_CALLS ? narrower(grant, uses) : undefined;
    if (narrowed)
      out.push({
        kind: 'wider-than-used',
        grant,
        reason: `“${what}” was used ${times(uses.length)}, always for less than it allows.`,
        narrowed,
        words: describeGrant(narrowed),
      });
  }
  return out;
}

/**
 * The grant cut down to what was used: the tools, and of a single tool what its arguments were about. “Tools that only read” stays: a name
 * would hold on even if the tool began to write.
 */
function narrower(grant: Grant, uses: readonly GrantUse[]): NewGrant | undefined {
  const tools = [...new Set(uses.map((u) => u.tool))];
  if (tools.length > MAX_NAMED || tools.some((t) => t === undefined)) return undefined;
  const names = tools.filter((t) => t !== undefined).sort();
  const target: Target = { kind: 'tools', names };
  const { kind } = grant.target;
  const fewer = kind === 'all-tools' || kind === 'tools-like' || (kind === 'tools' && names.length < new Set(grant.target.names).size);
  const conditions = names.length === 1 && !grant.conditions ? commonConditions(grant.server, names[0] ?? '', uses) : undefined;
  if (!fewer && !conditions) return undefined;
  const terms: NewGrant & Partial<Grant> = { ...grant, givenBy: 'advice', target: fewer ? target : grant.target };
  delete terms.version;
  delete terms.id;
  delete terms.createdAt;
  return conditions ? { ...terms, conditions } : terms;
}

/** Conditions that every recorded call of a tool passes, from what the calls were about. */
function commonConditions(server: string, tool: string, uses: readonly GrantUse[]): readonly Condition[] | undefined {
  const calls = uses.map((use) => (use.arguments === undefined ? undefined : CallArguments.fromText(use.arguments)));
  const [first] = calls;
  if (!first || calls.some((c) => c?.root() === undefined)) return undefined;
  const call = { server, serverLabel: '', method: 'tools/call', tool };
  const candidates = widenings(call, first).find((p) => p.id.startsWith('named-'))?.conditions ?? [];
  const found: Condition[] = [];
  for (const candidate of candidates) {
    if (candidate.test !== 'equals') continue;
    const values = new Set<string | number>();
    for (const args of calls) {
      const [value] =
        args?.select(candidate.at, [{ key: candidate.at.slice(1).replaceAll('~1', '/').replaceAll('~2', '*').replaceAll('~0', '~') }])
          ?.values ?? [];
      if (value?.kind === 'string') values.add(value.text);
      else if (value?.kind === 'number') values.add(Number(value.text));
      else return undefined;
    }
    if (values.size === 1) found.push(candidate);
    else if (values.size <= MAX_NAMED) found.push({ test: 'one-of', at: candidate.at, values: [...values].sort() });
  }
  return found.length > 0 ? found : undefined;
}

function times(count: number): string {
  return count === 0 ? 'never' : count === 1 ? 'once' : `${count} times`;
}

function days(ms: number): number {
  return Math.floor(ms / 86_400_000) * 86_400_000;
}
