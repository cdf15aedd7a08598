import type { Decision } from '../mcp/decision.ts';
import { denyBy } from '../mcp/decision.ts';
import { classifyMethod, isListing, type MethodClass } from '../mcp/methods.ts';
import type { UpstreamPlace } from '../mcp/server.ts';
import { visible } from '../common/text.ts';
import type { CallArguments } from './arguments.ts';
import { describeConditions, type ConditionTools } from './conditions.ts';
import { appliesTo, instant, isCounted, isForOtherBranch, isLive, span, type Caller, type Grant } from './grant.ts';
import { GrantIndex, type Compiled, type Shelf } from './grantIndex.ts';
import type { Narrowing, PolicyLayer } from './policy/layer.ts';
import type { Verdict } from './verdict.ts';

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
  /** Absent where nobody knows them, as in a view: conditions are unclear then. Looked at only if a grant or rule has conditions. */
  readonly arguments?: CallArguments | undefined;
  /** Where the server really is. Policies that go by it deny without it. */
  readonly place?: UpstreamPlace | undefined;
  /** Names of the credentials that would go along, for policies. */
  readonly credentials?: readonly string[] | undefined;
}

/** What stands above grants. It can only narrow. */
export interface Policy {
  readonly paused: boolean;
  /** In any order: the strictest counts. */
  readonly layers?: readonly PolicyLayer[];
}

/** What is known beside the call and the grants. Plain look-ups; the same call with the same facts has the same decision. */
export interface Facts {
  readonly tools?: ConditionTools;
  /** Whether a grant with a limited number of uses has one left. Absent: it has none. */
  readonly usage?: (grant: Grant, now: number) => Usage;
  /** Whether a task runs. Absent: none does. */
  readonly taskRuns?: (task: string, now: number) => boolean;
  /** Name of a task, for policies. Default: its id. */
  readonly taskName?: (task: string) => string | undefined;
  /** Whether a grant was seen to end before, whatever the clock says now. */
  readonly ended?: (grant: Grant) => boolean;
  /**
   * The question is what any call could come to, whatever its arguments: conditions are met where that lets through or asks, and not met
   * where that denies. Nothing is let through on this.
   */
  readonly prospect?: boolean;
}

export type Usage = 'free' | 'used-up' | 'too-fast';

/** Why a grant that names the call does not let it through. */
export interface NearMiss {
  readonly grant: Grant;
  readonly why: 'conditions' | 'unclear' | 'ended' | 'other-caller' | 'other-branch' | 'used-up' | 'too-fast';
}

/** A decision with what made it. */
export interface Ruling extends Decision {
  /** The grant that decided. If its uses are counted, the call must take one before it goes out. */
  readonly grant?: Grant;
  /** What the policy above the grants said, where it narrowed. */
  readonly narrowing?: Narrowing & { readonly layer: string };
  /** What policies in shadow mode would have done. */
  readonly shadow?: readonly (Narrowing & { readonly layer: string })[];
  /** Grants that nearly let it through; at most {@link MAX_NEAR}. */
  readonly near: readonly NearMiss[];
}

/** Near misses that are kept for the explanation. */
export const MAX_NEAR = 3;

const NO_FACTS: Facts = {};
const NO_TOOLS: ConditionTools = {};

/**
 * Decides one call. Pure and total: no grant, no access; deny beats ask and allow; an ask gives way to an allow that names things more
 * narrowly or that answers it, and a plain ask to one as narrow; what stands above the grants can only take away.
 */
export function decide(
  principal: Caller,
  call: Call,
  grants: Iterable<Grant>,
  policy: Policy,
  now: number,
  facts: Facts = NO_FACTS,
): Ruling {
  if (policy.paused)
    return {
      ...denyBy('paused', 'All agent access is paused in Culvert. The user can end the pause with “Culvert: Resume Agent Access”.'),
      near: [],
    };
  try {
    const kind = call.method === undefined ? 'session' : classifyMethod(call.method);
    const ruling = kind === 'session' ? SESSION : byGrants(principal, call, kind, grants, now, facts);
    if (ruling.effect === 'deny' || !policy.layers || policy.layers.length === 0) return ruling;
    return narrow(ruling, principal, call, kind, policy.layers, now, facts);
  } catch {
    return { ...denyBy('fault', `${subject(call)} could not be checked, so it is not allowed. See “Culvert: Show Log”.`), near: [] };
  }
}

const SESSION: Ruling = {
  effect: 'allow',
  by: { kind: 'rule', rule: 'session' },
  reason: 'Part of every connection to the server.',
  near: [],
};

function byGrants(principal: Caller, call: Call, kind: MethodClass, grants: Iterable<Grant>, now: number, facts: Facts): Ruling {
  const shelves = GrantIndex.of(grants).shelves(call.server, kind, kind === 'tool' ? call.tool : call.method, call.reads === true);
  const trial = new Trial(principal, call, now, facts);
  const deny = first(shelves, 'deny', (c) => trial.applies(c) !== 'no');
  if (deny) return made(deny, call, []);
  const asks: Compiled[] = [];
  for (const shelf of shelves) for (const c of shelf.ask) if (trial.applies(c) !== 'no') asks.push(c);
  const allow = first(
    shelves,
    'allow',
    (c) => asks.every((ask) => outranks(c, ask)) && trial.applies(c) === 'yes' && trial.hasUse(c.grant),
  );
  if (allow) return made(allow, call, []);
  const [ask] = asks;
  if (ask) {
    if (call.method !== undefined && isListing(call.method))
      return {
        effect: 'allow',
        by: { kind: 'grant', grant: ask.grant.id },
        reason: 'Lists are let through; using what they name asks the user.',
        grant: ask.grant,
        near: [],
      };
    return made(ask, call, trial.near);
  }
  return {
    ...denyBy(
      'no-grant',
      `${subject(call)} is not allowed.${hint(trial.near)} The user can allow it in Culvert’s Grants view or with “Culvert: Allow Tool for…”.`,
    ),
    near: trial.near,
  };
}

/** Tries grants on one call, and remembers which nearly fit. */
class Trial {
  readonly #principal: Caller;
  readonly #call: Call;
  readonly #now: number;
  readonly #facts: Facts;
  readonly near: NearMiss[] = [];

  constructor(principal: Caller, call: Call, now: number, facts: Facts) {
    this.#principal = principal;
    this.#call = call;
    this.#now = now;
    this.#facts = facts;
  }

  applies({ grant, check, like }: Compiled): Verdict {
    const { tool } = this.#call;
    if (like && (tool === undefined || !like.some((matches) => matches(tool)))) return 'no';
    if (!appliesTo(grant, this.#principal))
      return this.#miss(grant, isForOtherBranch(grant, this.#principal) ? 'other-branch' : 'other-caller');
    if (!this.#runs(grant)) return this.#miss(grant, 'ended');
    if (!check) return 'yes';
    if (this.#facts.prospect === true) return grant.effect === 'deny' ? 'no' : 'yes';
    const verdict = check()(this.#call.arguments, this.#facts.tools ?? NO_TOOLS);
    if (verdict === 'no') this.#miss(grant, 'conditions');
    if (verdict === 'unclear') this.#miss(grant, 'unclear');
    return verdict;
  }

  hasUse(grant: Grant): boolean {
    if (!isCounted(grant)) return true;
    const usage = this.#facts.usage?.(grant, this.#now) ?? 'used-up';
    if (usage !== 'free') this.#miss(grant, usage);
    return usage === 'free';
  }

  #runs(grant: Grant): boolean {
    // Asked first, so that an end is remembered.
    if (this.#facts.ended?.(grant) === true || !isLive(grant, this.#now)) return false;
    return grant.endsWith?.kind !== 'task' || this.#facts.taskRuns?.(grant.endsWith.task, this.#now) === true;
  }

  #miss(grant: Grant, why: NearMiss['why']): 'no' {
    if (grant.effect === 'allow' && this.near.length < MAX_NEAR) this.near.push({ grant, why });
    return 'no';
  }
}

function first(shelves: readonly Shelf[], effect: 'deny' | 'allow', fits: (c: Compiled) => boolean): Compiled | undefined {
  for (const shelf of shelves) for (const c of shelf[effect]) if (fits(c)) return c;
  return undefined;
}

/** Whether an allow goes before an ask. Conditions on the allow never lift it: made narrower, it must not let more through. */
function outranks(allow: Compiled, ask: Compiled): boolean {
  if (allow.grant.answers?.includes(ask.grant.id) === true) return true;
  if (allow.specificity !== ask.specificity) return allow.specificity > ask.specificity;
  return !ask.particular;
}

function made({ grant }: Compiled, call: Call, near: readonly NearMiss[]): Ruling {
  return { effect: grant.effect, by: { kind: 'grant', grant: grant.id }, reason: reasonOf(grant, call), grant, near };
}

function narrow(
  ruling: Ruling,
  principal: Caller,
  call: Call,
  kind: MethodClass,
  layers: readonly PolicyLayer[],
  now: number,
  facts: Facts,
): Ruling {
  const id = ruling.grant?.endsWith?.kind === 'task' ? ruling.grant.endsWith.task : undefined;
  const task = id === undefined ? undefined : (facts.taskName?.(id) ?? id);
  const question = { principal, call, now, task, tools: facts.tools ?? NO_TOOLS, prospect: facts.prospect === true };
  // What every connection needs, and lists, can be denied but nobody can be asked about them.
  const askable = kind !== 'session' && !(call.method !== undefined && isListing(call.method));
  let narrowing: Ruling['narrowing'];
  const shadow: (Narrowing & { readonly layer: string })[] = [];
  for (const layer of layers) {
    const said = layer.narrow(question);
    if (!said || (said.effect === 'ask' && !askable)) continue;
    const found = { ...said, layer: layer.name };
    if (layer.shadow === true) shadow.push(found);
    else if (!narrowing || (said.effect === 'deny' && narrowing.effect === 'ask')) narrowing = found;
  }
  const withShadow = shadow.length > 0 ? { ...ruling, shadow } : ruling;
  if (!narrowing || (narrowing.effect === 'ask' && ruling.effect === 'ask')) return withShadow;
  return {
    ...withShadow,
    effect: narrowing.effect,
    by: { kind: 'policy', layer: narrowing.layer, rule: narrowing.rule },
    reason: narrowing.reason,
    narrowing,
  };
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
  const where = placeOf(grant);
  const until = grant.expiresAt === undefined ? '' : ` until ${instant(grant.expiresAt)}`;
  const task = grant.endsWith?.kind === 'task' ? ' for the running task' : '';
  const conditions = grant.conditions ? ` where ${describeConditions(grant.conditions)}` : '';
  if (grant.effect === 'allow') return `${subject(call)} is allowed${conditions}${where}${task}${until}.`;
  if (grant.effect === 'ask') return `${subject(call)} asks the user each time${conditions}${where}${task}${until}.`;
  const why = grant.why === undefined ? '' : ` The reason given: “${visible(grant.why, 200)}”.`;
  return `${subject(call)} is denied by the user${conditions}${where}${task}${until}.${why} Don’t try again unless the user changes it in Culvert’s Grants view.`;
}

function placeOf({ scope }: Grant): string {
  const parts = [
    scope.workspaceName === undefined ? '' : ` in ${visible(scope.workspaceName, 80)}`,
    scope.branch === undefined ? '' : ` on branch ${visible(scope.branch, 80)}`,
  ];
  return parts.join('');
}

/** What the grants that nearly fit ask for. */
function hint(near: readonly NearMiss[]): string {
  const [miss] = near;
  if (!miss) return '';
  const { grant, why } = miss;
  switch (why) {
    case 'conditions':
      return ` It is allowed only where ${describeConditions(grant.conditions ?? [])}, and these arguments are not like that.`;
    case 'unclear':
      return ` It is allowed only where ${describeConditions(grant.conditions ?? [])}, and with these arguments that is not certain. Write them plainly: full paths without “..”, whole URLs, values as they are.`;
    case 'used-up':
      return ' The number of uses that the user allowed is used up.';
    case 'too-fast':
      return ` It was used as often as the user allowed${grant.rate ? ` (${grant.rate.count} times per ${span(grant.rate.perMs)})` : ''}. Wait, then try again.`;
    case 'ended':
      return grant.expiresAt === undefined
        ? ' The task for which the user allowed it is over.'
        : ' The time for which the user allowed it is over.';
    case 'other-branch':
      return ` The user allowed it${placeOf(grant)}, but another branch is checked out.`;
    case 'other-caller':
      return ` The user allowed it elsewhere${placeOf(grant)}, not here.`;
  }
}
