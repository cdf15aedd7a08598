import { visible } from '../common/text.ts';
import type { NearMiss, Ruling } from './decide.ts';
import { describeGrant, instant, span, type Grant } from './grant.ts';

const GIVEN: Readonly<Record<Grant['givenBy'], string>> = {
  wizard: 'when the server was added',
  prompt: 'in answer to a question',
  tree: 'in the Grants view',
  palette: 'by a command',
  headless: 'by the headless tunnel’s configuration',
  request: 'when an agent asked for it',
  task: 'at the start of a task',
  advice: 'on Culvert’s advice',
  editor: 'in the editor',
};

/** A decision in full, line by line: what it is and why, where that comes from, what nearly let it through, what policies in shadow mode say. */
export function explain(ruling: Ruling): readonly string[] {
  const lines = [ruling.reason];
  if (ruling.grant) lines.push(originOf(ruling.grant));
  if (ruling.narrowing) lines.push(`Decided by: ${ruling.narrowing.layer}, ${ruling.narrowing.rule}. Policies stand above grants.`);
  for (const miss of ruling.near) lines.push(describeNear(miss));
  for (const { layer, rule, effect, reason } of ruling.shadow ?? [])
    lines.push(`In shadow mode ${layer} (${rule}) would ${effect === 'ask' ? 'have asked' : 'have denied it'}: ${reason}`);
  return lines;
}

/** A grant that nearly let a call through, and why it did not: `Nearly: allow echo where owner is “acme” — the arguments are not like that.`. */
export function describeNear(miss: NearMiss): string {
  return `Nearly: ${describeGrant(miss.grant)} — ${whyNot(miss)}.`;
}

/** Where a grant comes from, in words: `Grant: allow echo, given in the Grants view on 2026-06-01 00:15 UTC, without an end.` */
export function originOf(grant: Grant): string {
  const end =
    grant.expiresAt !== undefined
      ? `until ${instant(grant.expiresAt)}`
      : grant.endsWith?.kind === 'task'
        ? 'until its task ends'
        : grant.endsWith
          ? 'until its window closes'
          : 'without an end';
  const why = grant.why === undefined ? '' : ` Reason: “${visible(grant.why, 200)}”.`;
  return `Grant: ${describeGrant(grant)}, given ${GIVEN[grant.givenBy]} on ${instant(grant.createdAt)}, ${end}.${why}`;
}

function whyNot({ grant, why }: NearMiss): string {
  switch (why) {
    case 'conditions':
      return 'the arguments are not like that';
    case 'unclear':
      return 'with these arguments that is not certain, since servers could read them in other ways';
    case 'ended':
      return grant.expiresAt === undefined ? 'its task is over' : `it ended at ${instant(grant.expiresAt)}`;
    case 'other-branch':
      return 'another git branch is checked out';
    case 'other-caller':
      return 'it is for another window, workspace, branch, session or client';
    case 'used-up':
      return `all ${grant.uses ?? 0} uses are taken`;
    case 'too-fast':
      return `only ${grant.rate?.count ?? 0} uses per ${span(grant.rate?.perMs ?? 1_000)} are allowed`;
  }
}
