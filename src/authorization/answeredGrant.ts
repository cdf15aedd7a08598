import { targetOf, workspaceOf, type Answer, type ApprovalRequest, type ProposalAnswer } from './approvalRequest.ts';
import type { Ruling } from './decide.ts';
import type { Grant } from './grant.ts';
import type { NewGrant } from './grantChanges.ts';
import type { AccessWish } from './requestAccess.ts';
import type { Tasks } from './tasks.ts';

/** How long “for 15 minutes” lasts, milliseconds. */
export const SHORT_GRANT_MS = 15 * 60 * 1000;

/** What holds at the moment of the answer. */
export interface Moment {
  /** What is decided about the call without the answer. */
  readonly ruling: Ruling | undefined;
  readonly tasks: Tasks;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The grant that an answer of the user gives; `undefined` if there is none, such as for the workspace where no folder is open. */
export function answeredGrant(request: ApprovalRequest, answer: Answer, moment: Moment): NewGrant | undefined {
  if (request.wish) return wishedGrant(request, request.wish, answer, moment);
  if (answer === 'once' || answer === 'all') return undefined;
  const { call, principal } = request;
  const { ruling, now } = moment;
  const asking = ruling?.effect === 'ask' && ruling.by.kind === 'grant' ? { answers: [ruling.by.grant] } : {};
  if (typeof answer === 'object') return proposedGrant(request, answer, asking, moment);
  const base = {
    server: call.server,
    target: targetOf(call),
    effect: answer === 'deny' ? ('deny' as const) : ('allow' as const),
    givenBy: 'prompt' as const,
    ...(answer === 'deny' ? {} : asking),
  };
  if (answer === 'short') return { ...base, scope: {}, expiresAt: now + SHORT_GRANT_MS };
  if (answer !== 'workspace') return { ...base, scope: {} };
  const scope = workspaceOf(principal);
  return scope && { ...base, scope };
}

/** What an agent asked for, as the user gives it. */
function wishedGrant(request: ApprovalRequest, wish: AccessWish, answer: Answer, moment: Moment): NewGrant | undefined {
  if (typeof answer === 'object') return proposedGrant(request, { why: wish.reason, forMs: wish.durationMs, ...answer }, {}, moment);
  const scope = answer === 'workspace' ? workspaceOf(request.principal) : {};
  return (
    scope && {
      server: request.call.server,
      target: { kind: 'tools', names: wish.tools },
      effect: 'allow',
      scope,
      givenBy: 'request',
      why: wish.reason,
      ...(answer === 'always' || answer === 'workspace' ? {} : { expiresAt: moment.now + wish.durationMs }),
    }
  );
}

function proposedGrant(
  request: ApprovalRequest,
  answer: ProposalAnswer,
  asking: Pick<NewGrant, 'answers'>,
  { tasks, now }: Moment,
): NewGrant | undefined {
  const proposal = request.proposals.find((p) => p.id === answer.proposal);
  const reach = proposal && reachOf(request, answer.where, tasks);
  if (!reach) return undefined;
  return {
    server: request.call.server,
    target: proposal.target,
    effect: answer.effect,
    givenBy: request.wish ? 'request' : 'prompt',
    ...reach,
    ...(answer.effect === 'allow' ? asking : {}),
    ...(proposal.conditions ? { conditions: proposal.conditions } : {}),
    ...(answer.forMs === undefined ? {} : { expiresAt: now + answer.forMs }),
    ...(answer.uses === undefined ? {} : { uses: answer.uses }),
    ...(answer.why === undefined ? {} : { why: answer.why }),
  };
}

/** For whom, and what it ends with. */
function reachOf(
  { principal, call }: ApprovalRequest,
  where: ProposalAnswer['where'],
  tasks: Tasks,
): Pick<Grant, 'scope' | 'endsWith'> | undefined {
  switch (where) {
    case undefined:
      return { scope: {} };
    case 'client':
      return { scope: { client: principal.client } };
    case 'window':
      return { scope: {}, endsWith: { kind: 'window', window: principal.window } };
    case 'session':
      return principal.session === undefined ? undefined : { scope: { session: principal.session } };
    case 'task': {
      const task = tasks.for(call.server);
      return task && { scope: {}, endsWith: { kind: 'task', task: task.id } };
    }
    case 'workspace':
    case 'branch': {
      const scope = workspaceOf(principal);
      if (where === 'workspace' || !scope) return scope && { scope };
      return principal.branch === undefined ? undefined : { scope: { ...scope, branch: principal.branch } };
    }
  }
}
