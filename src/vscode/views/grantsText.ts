import type { Ruling } from '../../authorization/decide.ts';
import { describeConditions } from '../../authorization/conditions.ts';
import { describeGrant, describeTarget, type Grant, type Target } from '../../authorization/grant.ts';
import { visible } from '../../common/text.ts';
import { timeLeft } from '../reach.ts';
import type { Badge } from './grantsModel.ts';

/** Longest conditions that fit beside a name, characters; the tooltip has all. */
const SHOWN_CHARACTERS = 60;

/** How access to a server stands, for its row: `3 of 7 allowed, 2 ask`; `all 7 ask`. */
export function serverWords(counts: Readonly<Record<Ruling['effect'], number>>, paused: boolean): string {
  if (paused) return 'paused';
  const { allow, ask, deny } = counts;
  const total = allow + ask + deny;
  if (total === 0) return 'tools not seen yet';
  if (allow + ask === 0) return 'no access';
  const of = (count: number) => (count === total ? (total === 1 ? '' : `all ${total} `) : `${count} of ${total} `);
  if (allow === 0) return `${of(ask)}${ask === 1 ? 'asks' : 'ask'}`;
  return `${of(allow)}allowed${ask > 0 ? `, ${ask} ${ask === 1 ? 'asks' : 'ask'}` : ''}`;
}

/** What {@link stateWords} needs to know beside the decision. */
export interface StateFacts {
  readonly now: number;
  readonly endOf: (grant: Grant) => number | undefined;
  readonly used: (grant: string) => number;
}

/** How access to a tool stands, for its row, and the mark at its end: `allowed where owner is “acme”, 12 min left`. */
export function stateWords(ruling: Ruling | undefined, facts: StateFacts): { readonly words: string; readonly badge?: Badge } {
  if (!ruling) return { words: 'no access' };
  const { effect, by, grant, near } = ruling;
  // A view knows no arguments: grants with conditions are unclear there, but they are what the user gave.
  const partly = near.find((miss) => miss.why === 'unclear')?.grant;
  const some = partly && `${conditionWords(partly)}${limits(partly, facts)}`;
  switch (effect) {
    case 'allow':
      return {
        words: `allowed${placeWords(grant)}${limits(grant, facts)}${widely(grant)}`,
        ...(grant?.scope.branch === undefined ? {} : { badge: 'branch' }),
      };
    case 'ask':
      return { words: some === undefined ? `asks${by.kind === 'policy' ? ' (policy)' : ''}` : `asks, except ${some}`, badge: 'asks' };
    case 'deny':
      if (by.kind === 'rule' && by.rule === 'paused') return { words: 'paused' };
      if (by.kind === 'policy') return { words: 'denied (policy)', badge: 'denied' };
      if (by.kind === 'grant') return { words: `denied${placeWords(grant)}${limits(grant, facts)}`, badge: 'denied' };
      return some === undefined ? { words: 'no access' } : { words: `allowed ${some}`, badge: 'partly' };
  }
}

/** A grant in its own row. */
export function grantWords(
  grant: Grant,
  facts: {
    /** What the row above stands for, which need not be said again. */
    readonly under: Target | undefined;
    readonly now: number;
    readonly end: number | undefined;
    readonly used: number;
    readonly task: string | undefined;
    /** Whether it is for another git branch than the one that is checked out. */
    readonly elsewhere: boolean;
  },
): { readonly label: string; readonly description: string } {
  const { under, now, end, used, task, elsewhere } = facts;
  const whole = describeGrant(grant);
  const named = `${grant.effect} ${describeTarget(grant.target)}`;
  const isSame = under !== undefined && JSON.stringify(under) === JSON.stringify(grant.target);
  const short = isSame && whole.startsWith(named) ? `${grant.effect}${whole.slice(named.length)}` : whole;
  const parts = [
    elsewhere ? 'not on the branch that is checked out' : '',
    task === undefined ? '' : `task “${visible(task, 40)}”`,
    end === undefined ? '' : timeLeft(end - now),
    grant.uses === undefined ? '' : `${Math.max(0, grant.uses - used)} of ${grant.uses} uses left`,
  ].filter((part) => part !== '');
  return { label: `${short.slice(0, 1).toUpperCase()}${short.slice(1)}`, description: parts.join(', ') };
}

function conditionWords(grant: Grant): string {
  return `where ${visible(describeConditions(grant.conditions ?? []), SHOWN_CHARACTERS)}${placeWords(grant)}`;
}

function placeWords(grant: Grant | undefined): string {
  const { workspaceName, branch } = grant?.scope ?? {};
  // Who looks is in the workspace; beside its name there would be no room for the branch.
  if (branch !== undefined) return ` on branch ${visible(branch, 40)}`;
  return workspaceName === undefined ? '' : ` in ${visible(workspaceName, 40)}`;
}

/** Says if a tool is allowed only because many are. */
function widely(grant: Grant | undefined): string {
  const wide = grant?.target.kind === 'all-tools' || grant?.target.kind === 'reading-tools' || grant?.target.kind === 'tools-like';
  return grant && wide ? ` (${describeTarget(grant.target)})` : '';
}

function limits(grant: Grant | undefined, { now, endOf, used }: StateFacts): string {
  if (!grant) return '';
  const end = endOf(grant);
  const parts = [
    grant.endsWith?.kind === 'task' ? ' for the task' : '',
    grant.endsWith?.kind === 'window' ? ' in this window' : '',
    end === undefined ? '' : `, ${timeLeft(end - now)}`,
    grant.uses === undefined ? '' : `, ${Math.max(0, grant.uses - used(grant.id))} uses left`,
  ];
  return parts.join('');
}
