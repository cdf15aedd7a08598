import type { Answer, ApprovalRequest } from '../authorization/approvalRequest.ts';
import type { ArgumentChange } from '../authorization/argumentsDiff.ts';
import { span } from '../authorization/grant.ts';
import { REFUSAL_MS } from '../authorization/refusals.ts';
import type { Proposal } from '../authorization/widenings.ts';
import { remaining, visible } from '../common/text.ts';
import { classifyMethod } from '../mcp/methods.ts';
import { reaches, spellOut, termsOf, type ReachContext } from './reach.ts';

/** Arguments that are shown as rows; the rest is in the details. */
const SHOWN_ARGUMENTS = 5;
/** Differences inside one argument that are shown below it. */
const SHOWN_INNER = 3;
const SHOWN_CHARACTERS = 160;
/** Tools that a wish lists one by one. */
const SHOWN_TOOLS = 5;

/** Where the question stands: the call; what like it to allow; for how long. */
export type PromptStep = { readonly kind: 'call' } | { readonly kind: 'what' } | { readonly kind: 'reach'; readonly proposal: Proposal };

/** A row of the question. Text as it was written by servers and agents, hidden characters made visible. */
export type PromptRow =
  | { readonly kind: 'separator'; readonly label: string }
  | { readonly kind: 'fact'; readonly icon: string; readonly label: string; readonly description: string }
  | {
      readonly kind: 'choice';
      readonly icon: string;
      readonly label: string;
      readonly description: string;
      readonly detail?: string;
      readonly then: { readonly answer: Answer } | { readonly step: PromptStep };
    };

/** What the question knows beside the request. */
export interface PromptContext {
  /** Name of the running task that the server belongs to. */
  readonly task: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Title of the question. */
export function promptTitle(request: ApprovalRequest, waiting: number, step: PromptStep): string {
  const { call, wish } = request;
  const server = visible(call.serverLabel, 60);
  const [first = '', ...others] = wish?.tools ?? [call.tool ?? call.method ?? ''];
  const what = others.length > 0 ? `${others.length + 1} tools` : `“${visible(first, 60)}”`;
  if (step.kind === 'what') return `Culvert: allow “${visible(first, 60)}” of ${server}: what of it?`;
  if (step.kind === 'reach') return `Culvert: allow ${what} of ${server}: for how long?`;
  const place = waiting > 1 ? ` (1 of ${waiting})` : '';
  return wish
    ? `Culvert: allow ${what} of ${server} for ${span(wish.durationMs)}?${place}`
    : `Culvert: allow ${what} of ${server}?${place}`;
}

/** Who asks, how often, and what happens without an answer. */
export function promptPlaceholder(request: ApprovalRequest, now: number): string {
  const { wish, identical, client, deadline } = request;
  const wants = wish ? 'asks for access' : identical > 1 ? `wants to make ${identical} calls like this` : 'wants to call it';
  return `${visible(client, 80)} ${wants}. Denied in ${remaining(deadline - now)} unless you answer.`;
}

/** Why the question is asked at all, above the rows. */
export function promptReason(request: ApprovalRequest): string {
  const { why, lasting, nearly = [], wish } = request;
  if (wish) return 'An agent asks for access. Nothing is allowed until you say so.';
  const policy = lasting ? [] : ['A policy wants you to be asked each time, so no grant would spare you the question.'];
  return [why, ...nearly, ...policy].filter((line) => line !== '').join(' ');
}

/** What stands above the rows of a step: why it is asked, or in full what the row that has the focus would allow. */
export function promptAbove(request: ApprovalRequest, step: PromptStep, focused: PromptRow | undefined): string {
  if (step.kind === 'call') return promptReason(request);
  const detail = focused?.kind === 'choice' ? focused.detail : undefined;
  return detail === undefined ? '' : `This would ${detail}.`;
}

/** The rows of a step. */
export function promptRows(request: ApprovalRequest, step: PromptStep, context: PromptContext): readonly PromptRow[] {
  switch (step.kind) {
    case 'call':
      return request.wish ? wishRows(request, context) : callRows(request, context);
    case 'what':
      return [
        separator('From exactly this call to everything like it'),
        ...request.proposals.map((proposal): PromptRow => ({
          kind: 'choice',
          icon: 'filter',
          label: proposal.label,
          description: '',
          detail: proposal.words,
          then: { step: { kind: 'reach', proposal } },
        })),
      ];
    case 'reach':
      return reachRows(request, step.proposal, context);
  }
}

/** The choices of callers and time beside a request. */
export function reachContextOf({ principal }: Pick<ApprovalRequest, 'principal'>, task: string | undefined): ReachContext {
  const { session, workspaceName, branch } = principal;
  return { task, session, workspaceName, branch };
}

function callRows(request: ApprovalRequest, { task }: PromptContext): PromptRow[] {
  const { call, principal, identical, lasting } = request;
  const kind = call.method === 'tools/call' || call.method === undefined ? 'tool' : 'method';
  const others = identical - 1;
  // What is given by hand while a task runs ends with it.
  const end = task === undefined ? undefined : `ends with the task “${visible(task, 40)}”`;
  const canWiden = lasting && request.proposals.length > 0;
  return [
    separator('The call (Enter here shows everything)'),
    fact('tools', visible(call.tool ?? call.method ?? '', 80), `${kind} of ${visible(call.serverLabel, 60)}`),
    ...argumentRows(request.argumentsText, request.changes),
    ...placeRows(request),
    separator('Your answer'),
    choice(
      'check',
      'Allow once',
      others > 0 ? `only this call; ${others} more like it ${others === 1 ? 'waits' : 'wait'}` : 'only this call',
      'once',
    ),
    ...(others > 0 ? [choice('check-all', `Allow all ${identical}`, 'the calls that wait and say exactly this', 'all')] : []),
    // What is narrow stands in front: in a low window the end of the list is out of sight.
    choice('close', 'Not now', `no, and not asked again about this for ${span(REFUSAL_MS)}`, 'no'),
    choice('circle-slash', 'Deny', 'from now on; change it in the Grants view', 'deny'),
    ...(lasting ? [choice('clock', 'Allow for 15 minutes', wholeOf(call.method), 'short')] : []),
    ...(canWiden
      ? [
          {
            kind: 'choice',
            icon: 'filter',
            label: 'Allow some like this…',
            description: 'you choose what, and for how long',
            then: { step: { kind: 'what' } },
          } satisfies PromptRow,
        ]
      : []),
    ...(lasting && principal.workspaceName !== undefined
      ? [choice('folder', 'Allow in this workspace', end ?? visible(principal.workspaceName, 60), 'workspace')]
      : []),
    ...(lasting ? [choice('unlock', 'Always', end ?? 'everywhere, until you revoke it', 'always')] : []),
  ];
}

/** What is allowed if nothing is said about arguments. */
function wholeOf(method: string | undefined): string {
  switch (method === undefined ? 'tool' : classifyMethod(method)) {
    case 'resource':
      return 'all resources of this server';
    case 'prompt':
      return 'all prompts of this server';
    case 'completion':
    case 'unknown':
      return 'this method, any arguments';
    default:
      return 'this tool, any arguments';
  }
}

function wishRows(request: ApprovalRequest, { now, task }: PromptContext): PromptRow[] {
  const { wish, proposals } = request;
  if (!wish) return [];
  const forMs = wish.durationMs;
  const shown = wish.tools.slice(0, wish.tools.length > SHOWN_TOOLS ? SHOWN_TOOLS - 1 : SHOWN_TOOLS);
  const rest = wish.tools.length - shown.length;
  const context = reachContextOf(request, task);
  const asked = proposals.find((p) => p.id === 'asked');
  return [
    separator('What the agent asks for (Enter here shows everything)'),
    ...shown.map((tool) => fact('tools', visible(tool, 80), `tool of ${visible(request.call.serverLabel, 60)}`)),
    ...(rest > 0 ? [fact('tools', `and ${rest} more`, '')] : []),
    fact('comment', `“${visible(wish.reason, SHOWN_CHARACTERS)}”`, 'why, in its own words'),
    fact('clock', span(forMs), 'for how long'),
    ...placeRows(request),
    separator('Your answer'),
    ...proposals.map((proposal): PromptRow => ({
      kind: 'choice',
      icon: proposal.id === 'reading' ? 'eye' : 'clock',
      label: `${proposal.id === 'reading' ? 'Allow only what reads' : 'Allow it'} for ${span(forMs)}`,
      description: '',
      detail: spellOut(termsOf(proposal, { forMs }, context, now), now),
      then: { answer: { kind: 'proposal', proposal: proposal.id, effect: 'allow', forMs, why: wish.reason } },
    })),
    ...(asked
      ? [
          {
            kind: 'choice',
            icon: 'filter',
            label: 'Allow it for another time…',
            description: 'you choose for how long, and where',
            then: { step: { kind: 'reach', proposal: asked } },
          } satisfies PromptRow,
        ]
      : []),
    choice('close', 'Not now', `no, and not asked again for ${span(REFUSAL_MS)}`, 'no'),
  ];
}

function reachRows(request: ApprovalRequest, proposal: Proposal, { now, task }: PromptContext): PromptRow[] {
  const context = reachContextOf(request, task);
  return [
    separator('For how long, and where'),
    ...reaches(context).map((reach): PromptRow => ({
      kind: 'choice',
      icon: reach.icon,
      label: reach.label,
      description: reach.description,
      detail: spellOut(termsOf(proposal, reach, context, now), now),
      then: {
        answer: {
          kind: 'proposal',
          proposal: proposal.id,
          effect: 'allow',
          ...(reach.forMs === undefined ? {} : { forMs: reach.forMs }),
          ...(reach.uses === undefined ? {} : { uses: reach.uses }),
          ...(reach.where === undefined ? {} : { where: reach.where }),
        },
      },
    })),
  ];
}

function placeRows({ destination, credentials }: ApprovalRequest): PromptRow[] {
  return [
    fact('globe', visible(destination, 120), 'where it goes'),
    fact('key', credentials.map((name) => visible(name, 60)).join(', ') || 'none', 'credential that Culvert adds'),
  ];
}

/** Arguments one by one, with what differs from the last call that the user approved. */
export function argumentRows(text: string | undefined, changes: readonly ArgumentChange[] | undefined): readonly PromptRow[] {
  if (text === undefined) return [];
  const parsed = parseObject(text);
  if (!parsed) return [fact('symbol-parameter', 'arguments', visible(text, SHOWN_CHARACTERS))];
  const names = Object.keys(parsed);
  const gone = (changes ?? []).filter((c) => c.kind === 'removed' && topOf(c) === c.path);
  if (names.length === 0 && gone.length === 0) return [fact('symbol-parameter', 'no arguments', same(changes))];
  // What changed must not be what is cut off.
  const ordered = [...names].sort((a, b) => Number(isTouched(b, changes)) - Number(isTouched(a, changes)));
  const kept = new Set(ordered.slice(0, names.length > SHOWN_ARGUMENTS ? SHOWN_ARGUMENTS - 1 : SHOWN_ARGUMENTS));
  const rows = names.filter((name) => kept.has(name)).flatMap((name) => argumentRow(name, parsed[name], changes));
  if (names.length > kept.size) rows.push(fact('ellipsis', `and ${names.length - kept.size} more`, ''));
  for (const change of gone.slice(0, SHOWN_INNER))
    rows.push(fact('diff-removed', change.name, `not given now; last time ${change.before ?? ''}`));
  if (changes?.length === 0) rows.push(fact('history', 'the same arguments', 'as in the last call of this tool that you allowed'));
  return rows;
}

function argumentRow(name: string, value: unknown, changes: readonly ArgumentChange[] | undefined): PromptRow[] {
  const shown = visible(typeof value === 'string' ? value : JSON.stringify(value), SHOWN_CHARACTERS);
  const label = visible(name, 40);
  const touching = (changes ?? []).filter((c) => topOf(c) === pointer(name));
  const whole = touching.find((c) => c.path === pointer(name));
  if (whole?.kind === 'added') return [fact('diff-added', label, `${shown}   (not given last time)`)];
  if (whole) return [fact('diff-modified', label, `${shown}   (last time ${whole.before ?? ''})`)];
  const inner = touching.slice(0, SHOWN_INNER).map((c) => {
    const icon = c.kind === 'added' ? 'diff-added' : c.kind === 'removed' ? 'diff-removed' : 'diff-modified';
    const words =
      c.kind === 'added'
        ? `${c.after ?? ''}   (not given last time)`
        : c.kind === 'removed'
          ? `not given now; last time ${c.before ?? ''}`
          : `${c.after ?? ''}   (last time ${c.before ?? ''})`;
    return fact(icon, c.name, words);
  });
  if (touching.length > SHOWN_INNER) inner.push(fact('diff-modified', `and ${touching.length - SHOWN_INNER} more differences`, ''));
  return [fact('symbol-parameter', label, shown), ...inner];
}

function isTouched(name: string, changes: readonly ArgumentChange[] | undefined): boolean {
  return (changes ?? []).some((c) => topOf(c) === pointer(name));
}

function same(changes: readonly ArgumentChange[] | undefined): string {
  return changes?.length === 0 ? 'as in the last call of this tool that you allowed' : '';
}

function pointer(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('*', '~2')}`;
}

function topOf({ path }: ArgumentChange): string {
  return `/${path.split('/')[1] ?? ''}`;
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Everything about the call, for a document. */
export function promptDetails(request: ApprovalRequest): string {
  let args = request.argumentsText ?? '';
  try {
    args = JSON.stringify(JSON.parse(args), undefined, 2);
  } catch {
    // Shown as it is.
  }
  const { wish, changes } = request;
  return [
    `Who calls:    ${visible(request.client)}`,
    `Server:       ${visible(request.call.serverLabel)}`,
    wish
      ? `Tools:        ${wish.tools.map((t) => visible(t)).join(', ')}`
      : `Tool:         ${visible(request.call.tool ?? request.call.method ?? '')}`,
    ...(wish ? [`Reason:       “${visible(wish.reason)}” (the agent’s words)`, `How long:     ${span(wish.durationMs)}`] : []),
    `Goes to:      ${visible(request.destination)}`,
    `Credential:   ${request.credentials.map((name) => visible(name)).join(', ') || 'none'}`,
    `Why it asks:  ${promptReason(request)}`,
    `SHA-256:      ${request.digest}`,
    ...(changes && changes.length > 0
      ? [
          '',
          'Different from the last call of this tool that you allowed:',
          '',
          ...changes.map((c) => `  ${c.name}: ${c.before ?? '(not given)'} → ${c.after ?? '(not given)'}`),
        ]
      : []),
    '',
    'Arguments (hidden characters made visible):',
    '',
    args
      .split('\n')
      .map((line) => visible(line))
      .join('\n'),
    '',
  ].join('\n');
}

function separator(label: string): PromptRow {
  return { kind: 'separator', label };
}

function fact(icon: string, label: string, description: string): PromptRow {
  return { kind: 'fact', icon, label, description };
}

function choice(icon: string, label: string, description: string, answer: Answer): PromptRow {
  return { kind: 'choice', icon, label, description, then: { answer } };
}
