import type { Decision } from '../mcp/decision.ts';
import { decide, type Call, type Facts, type Policy, type Ruling } from './decide.ts';
import { isLive, type Caller, type Grant } from './grant.ts';

/** A call as the record has it. */
export interface RecordedCall {
  /** Id of the exchange. */
  readonly id: string;
  /** When it was decided, milliseconds since the epoch. */
  readonly at: number;
  readonly principal: Caller;
  /** Without `arguments` if they were not recorded, or not whole, or with a secret taken out: then conditions are unclear. */
  readonly call: Call;
  /** What was done with it. The answer to a question counts as what it was. */
  readonly effect: Decision['effect'];
}

/** What is tried on the recorded calls. */
export interface Rehearsal {
  readonly grants: readonly Grant[];
  readonly policy: Policy;
  readonly facts?: Facts;
  /** Now: which grants are live. The calls themselves are decided as if their limits in time and number did not count. */
  readonly now: number;
}

/** A call that would be decided otherwise. */
export interface Flip {
  readonly call: RecordedCall;
  readonly before: Decision['effect'];
  readonly after: Ruling;
  /** True if the arguments are not known and the outcome hangs on them. */
  readonly uncertain: boolean;
}

/** What a changed policy or changed grants would have made of past calls. */
export interface RehearsalResult {
  readonly calls: number;
  /** In the order of the calls. */
  readonly flips: readonly Flip[];
  /** Calls that would now be denied, would now ask, would now be let through. */
  readonly denied: number;
  readonly asked: number;
  readonly allowed: number;
  /** Calls whose arguments are not known and whose outcome hangs on them, flips or not. */
  readonly uncertain: number;
}

/**
 * Decides recorded calls anew under changed grants or a changed policy. Pure. Uses and rates are not counted; grants bound to a task that
 * runs now count.
 */
export function rehearse(calls: readonly RecordedCall[], { grants, policy, facts = {}, now }: Rehearsal): RehearsalResult {
  const timeless = grants.filter((g) => isLive(g, now)).map(withoutLimits);
  const unpaused = { ...policy, paused: false };
  const at: Facts = {
    ...(facts.tools ? { tools: facts.tools } : {}),
    ...(facts.taskRuns ? { taskRuns: (task: string) => facts.taskRuns?.(task, now) === true } : {}),
  };
  const flips: Flip[] = [];
  let uncertain = 0;
  for (const call of calls) {
    const after = decide(call.principal, call.call, timeless, unpaused, call.at, at);
    const unsure = call.call.tool !== undefined && call.call.arguments === undefined && hangsOnArguments(after, timeless, policy);
    if (unsure) uncertain++;
    if (after.effect !== call.effect) flips.push({ call, before: call.effect, after, uncertain: unsure });
  }
  const count = (effect: Decision['effect']) => flips.filter((f) => f.after.effect === effect).length;
  return { calls: calls.length, flips, denied: count('deny'), asked: count('ask'), allowed: count('allow'), uncertain };
}

function withoutLimits(grant: Grant): Grant {
  const unlimited = { ...grant };
  delete unlimited.expiresAt;
  delete unlimited.uses;
  delete unlimited.rate;
  return unlimited;
}

function hangsOnArguments(after: Ruling, grants: readonly Grant[], policy: Policy): boolean {
  if (after.near.some((miss) => miss.why === 'unclear') || after.grant?.conditions) return true;
  // Which rule of a policy looked at the arguments is not known from outside.
  return after.by.kind === 'policy' && (policy.layers?.length ?? 0) > 0 && grants.length > 0;
}

/** What a rehearsal found, in words. */
export function describeRehearsal({ calls, flips, denied, asked, allowed, uncertain }: RehearsalResult): string {
  if (calls === 0) return 'There are no recorded calls to try it on.';
  const unsure = uncertain > 0 ? ` For ${uncertain} of them it hangs on arguments that were not recorded.` : '';
  if (flips.length === 0)
    return `Nothing would change: ${calls === 1 ? 'the one recorded call' : `all ${calls} recorded calls`} would be decided as ${calls === 1 ? 'it was' : 'they were'}.${unsure}`;
  const parts = [
    denied > 0 ? `${denied} would be denied` : '',
    asked > 0 ? `${asked} would ask` : '',
    allowed > 0 ? `${allowed} would be let through` : '',
  ].filter((p) => p !== '');
  return `Of ${calls} recorded calls ${flips.length} would be decided otherwise: ${parts.join(', ')}.${unsure}`;
}
