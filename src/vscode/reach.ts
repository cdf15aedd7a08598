import type { ProposalAnswer } from '../authorization/approvalRequest.ts';
import { describeGrant, type Grant, type GrantTerms } from '../authorization/grant.ts';
import type { Proposal } from '../authorization/widenings.ts';
import { visible } from '../common/text.ts';

/** For how long and where something is allowed, as the user chooses it. */
export interface Reach {
  readonly id: string;
  readonly label: string;
  readonly icon: string;
  readonly description: string;
  readonly forMs?: number;
  readonly uses?: number;
  readonly where?: ProposalAnswer['where'];
}

/** What there is to choose from where the user stands. */
export interface ReachContext {
  /** Name of the running task of the server; what is allowed by hand meanwhile ends with it. */
  readonly task?: string | undefined;
  readonly session?: string | undefined;
  readonly workspaceName?: string | undefined;
  readonly branch?: string | undefined;
}

const MINUTE_MS = 60_000;

/** The choices, the shortest first. */
export function reaches({ task, session, workspaceName, branch }: ReachContext): readonly Reach[] {
  // A task ends everything that is given while it runs; saying “always” beside it would be untrue.
  const open = task === undefined;
  return [
    { id: 'once', label: 'Once', icon: 'check', description: 'this call, or the next like it', uses: 1 },
    { id: 'short', label: '15 minutes', icon: 'clock', description: '', forMs: 15 * MINUTE_MS },
    { id: 'hour', label: '1 hour', icon: 'clock', description: '', forMs: 60 * MINUTE_MS },
    ...(task === undefined
      ? []
      : [{ id: 'task', label: 'Until the task ends', icon: 'checklist', description: visible(task, 60), where: 'task' as const }]),
    ...(session === undefined
      ? []
      : [{ id: 'session', label: 'This session', icon: 'comment', description: 'of this agent', where: 'session' as const }]),
    ...(open ? [{ id: 'window', label: 'This window', icon: 'window', description: 'until it is closed', where: 'window' as const }] : []),
    ...(workspaceName === undefined || !open
      ? []
      : [
          {
            id: 'workspace',
            label: 'This workspace',
            icon: 'folder',
            description: visible(workspaceName, 60),
            where: 'workspace' as const,
          },
        ]),
    ...(workspaceName === undefined || branch === undefined || !open
      ? []
      : [{ id: 'branch', label: 'This branch', icon: 'git-branch', description: visible(branch, 60), where: 'branch' as const }]),
    ...(open ? [{ id: 'always', label: 'Always', icon: 'check-all', description: 'until you revoke it' }] : []),
  ];
}

/** The terms of a grant from a proposal and a reach, for saying them before it is given. */
export function termsOf(
  { target, conditions }: Pick<Proposal, 'target' | 'conditions'>,
  reach: Pick<Reach, 'forMs' | 'uses' | 'where'>,
  context: ReachContext,
  now: number,
): GrantTerms {
  const { where, forMs, uses } = reach;
  const inWorkspace = where === 'workspace' || where === 'branch';
  const endsWith: Grant['endsWith'] =
    where === 'window' ? { kind: 'window', window: '' } : context.task === undefined ? undefined : { kind: 'task', task: '' };
  return {
    target,
    effect: 'allow',
    scope: {
      ...(inWorkspace ? { workspace: '', workspaceName: context.workspaceName ?? '' } : {}),
      ...(where === 'branch' && context.branch !== undefined ? { branch: context.branch } : {}),
      ...(where === 'session' ? { session: '' } : {}),
    },
    ...(conditions ? { conditions } : {}),
    ...(forMs === undefined ? {} : { expiresAt: now + forMs }),
    ...(uses === undefined ? {} : { uses }),
    ...(endsWith ? { endsWith } : {}),
  };
}

/** A grant in words, with its end by the clock on the wall: `allow echo where owner is “acme”, until 22:15`. */
export function spellOut(terms: GrantTerms, now: number): string {
  const { expiresAt, endsWith, uses } = terms;
  const end =
    expiresAt !== undefined ? `, until ${wallClock(expiresAt, now)}` : endsWith || uses !== undefined ? '' : ', until you revoke it';
  return `${describeGrant(terms)}${end}`;
}

/** An instant in local time: `22:15`, with the day if that is not today's. */
export function wallClock(at: number, now: number): string {
  const [date, today] = [new Date(at), new Date(now)];
  const time = `${String(date.getHours()).padStart(2, '0')}:${String(date.getMinutes()).padStart(2, '0')}`;
  if (date.toDateString() === today.toDateString()) return time;
  return `${date.toLocaleDateString(undefined, { month: 'short', day: 'numeric' })} ${time}`;
}

/** Time left, for rows that are drawn anew only when it reads differently: minutes, and below one minute steps of five seconds. */
export function timeLeft(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds <= 10) return `${seconds} s left`;
  if (seconds <= 60) return `${Math.ceil(seconds / 5) * 5} s left`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 100) return `${minutes} min left`;
  const hours = Math.round(minutes / 60);
  return `${hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`} left`;
}

/** After how many milliseconds {@link timeLeft} reads differently, at the latest; at least a tenth of a second. */
export function untilNextText(ms: number): number {
  const step = ms <= 11_000 ? 1_000 : ms <= 65_000 ? 5_000 : MINUTE_MS;
  const rest = ms % step;
  return Math.max(100, rest === 0 ? step : rest);
}
