import type { ActivityConversation, ActivityDay } from '../../audit/activityIndex.ts';
import type { Activity } from '../../audit/activities.ts';
import { visible } from '../../common/text.ts';

/** A day on which something was called. */
export interface DayRow {
  readonly kind: 'day';
  readonly id: string;
  readonly from: number;
  readonly to: number;
  face: Face;
}

/** Calls of one conversation of one agent on one day. */
export interface ConversationRow {
  readonly kind: 'conversation';
  readonly id: string;
  readonly day: DayRow;
  readonly client: string;
  readonly clientName: string;
  readonly conversation: string;
  face: Face;
}

/** A call. Holds only what is seen: thousands may be loaded. */
export interface CallRow {
  readonly kind: 'call';
  readonly id: string;
  readonly seq: number;
  readonly exchange: string;
  readonly parent: ConversationRow;
  /** Whether its end is not known yet. */
  open: boolean;
  face: Face;
}

/** Loads more of what is above it. */
export interface MoreRow {
  readonly kind: 'more';
  readonly id: string;
  readonly parent: ConversationRow | undefined;
  face: Face;
}

export type ActivityRow = DayRow | ConversationRow | CallRow | MoreRow;

/** How a row looks. Plain data, so that two can be compared as text. */
export interface Face {
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly color?: string;
  /** For screen readers. */
  readonly spoken: string;
  readonly expanded?: boolean;
}

export function dayFace(day: Pick<ActivityDay, 'from' | 'calls' | 'denied' | 'findings'>, now: number, expanded: boolean): Face {
  const label = dayLabel(day.from, now);
  const description = counts(day);
  return { label, description, icon: 'calendar', spoken: `${label}, ${description}`, expanded };
}

export function conversationFace(of: Omit<ActivityConversation, 'firstAt'>, expanded: boolean): Face {
  const label = agentLabel(of.client, of.clientName);
  const mark = of.conversation === '' ? [] : [shortConversation(of.conversation)];
  const description = [...mark, counts(of), timeOfDay(of.lastAt)].join(' · ');
  return {
    label,
    description,
    icon: of.conversation === '' ? 'hubot' : 'comment-discussion',
    spoken: `${label}, ${of.conversation === '' ? 'without a conversation' : `conversation ${mark.join()}`}, ${counts(of)}, last at ${timeOfDay(of.lastAt)}`,
    expanded,
  };
}

/** Longest address of a resource in a row, characters: VS Code would cut off its end, which tells one from the next. */
const LONGEST_ADDRESS = 32;

export function callFace({ intent, outcome, at }: Pick<Activity, 'intent' | 'outcome' | 'at'>): Face {
  const [icon, color, words] = stateOf({ intent, outcome });
  const label = visible(intent.tool ?? intent.method, intent.method.startsWith('resources/') ? LONGEST_ADDRESS : 80);
  const description = `${words} · ${visible(intent.serverLabel, 60)} · ${timeOfDay(at, true)}`;
  return { label, description, icon, ...(color === undefined ? {} : { color }), spoken: `${label}, ${description}` };
}

/** Icon, colour and words for how a call went. */
export function stateOf({
  intent,
  outcome,
}: Pick<Activity, 'intent' | 'outcome'>): [icon: string, color: string | undefined, words: string] {
  if (intent.effect === 'deny') return ['circle-slash', 'problemsWarningIcon.foreground', 'denied'];
  if (!outcome) return ['loading', undefined, 'running'];
  const redacted = outcome.findings > 0 ? ', redacted' : '';
  switch (outcome.result) {
    case 'ok':
      return [outcome.findings > 0 ? 'shield' : 'check', outcome.findings > 0 ? 'charts.yellow' : 'charts.green', `ok${redacted}`];
    case 'denied':
      return ['circle-slash', 'problemsWarningIcon.foreground', 'stopped'];
    case 'tool-error':
    case 'rpc-error':
      return ['warning', 'charts.yellow', `tool error${redacted}`];
    case 'upstream-error':
      return ['error', 'charts.red', 'server failed'];
    case 'cancelled':
      return ['circle-slash', undefined, 'cancelled'];
    case 'closed':
      return ['circle-slash', 'problemsWarningIcon.foreground', 'ended'];
  }
}

/** The agent in words; its name is what it says itself. */
export function agentLabel(client: string, clientName: string): string {
  if (client === 'vscode') return 'VS Code';
  return clientName === '' ? 'Agent without a name' : visible(clientName, 40);
}

/** The beginning of a conversation's id, enough to tell two apart. */
export function shortConversation(id: string): string {
  return visible(id.replace(/^conversation[-_]/, ''), 200).slice(0, 8);
}

export function dayLabel(from: number, now: number): string {
  const date = new Date(from);
  const today = new Date(now);
  if (date.toDateString() === today.toDateString()) return 'Today';
  if (date.toDateString() === new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1).toDateString()) return 'Yesterday';
  return date.toLocaleDateString(undefined, {
    weekday: 'short',
    month: 'short',
    day: 'numeric',
    ...(date.getFullYear() === today.getFullYear() ? {} : { year: 'numeric' }),
  });
}

/** `12 calls · 1 denied · 2 with findings` */
export function counts({
  calls,
  denied,
  findings,
}: {
  readonly calls: number;
  readonly denied: number;
  readonly findings: number;
}): string {
  return [
    `${calls.toLocaleString()} ${calls === 1 ? 'call' : 'calls'}`,
    ...(denied > 0 ? [`${denied.toLocaleString()} denied`] : []),
    ...(findings > 0 ? [`${findings.toLocaleString()} with findings`] : []),
  ].join(' · ');
}

function timeOfDay(at: number, seconds = false): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) });
}

/** The row of a call. */
export function callRow(parent: ConversationRow, call: Activity): CallRow {
  const open = call.outcome === undefined && call.intent.effect === 'allow';
  return { kind: 'call', id: call.exchange, seq: call.seq, exchange: call.exchange, parent, open, face: callFace(call) };
}

/** The same row with what is known of its call now; a new one if it stands elsewhere. */
export function updated(row: CallRow | undefined, parent: ConversationRow, call: Activity): CallRow {
  const made = callRow(parent, call);
  if (row?.parent !== parent) return made;
  row.face = keepSame(row.face, made.face);
  row.open = made.open;
  return row;
}

/** `old` if both look the same. */
export function keepSame(old: Face, made: Face): Face {
  return JSON.stringify(old) === JSON.stringify(made) ? old : made;
}

export function sums(calls: readonly Activity[]): { calls: number; denied: number; findings: number } {
  return {
    calls: calls.length,
    denied: calls.filter(({ intent }) => intent.effect === 'deny').length,
    findings: calls.filter(({ outcome }) => (outcome?.findings ?? 0) > 0).length,
  };
}
