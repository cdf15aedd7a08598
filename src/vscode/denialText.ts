import type { Activity } from '../audit/activities.ts';
import type { Ruling } from '../authorization/decide.ts';
import { explain } from '../authorization/explain.ts';
import { visible } from '../common/text.ts';

/** What can be done about a denial. */
export type Remedy = 'resume' | 'allow' | 'edit' | 'revoke' | 'ask-again' | 'policy' | 'leaks' | 'record';

/** Whether a call was denied, before or after its intent was written. */
export function isDenied({ intent, outcome }: Activity): boolean {
  return intent.effect === 'deny' || outcome?.result === 'denied';
}

/** A denial for a person: what happened, why, how it would be decided now, and what would change it. */
export function denialText(
  { at, intent, outcome }: Activity,
  now: Ruling | undefined,
): { readonly title: string; readonly lines: readonly string[]; readonly remedies: readonly Remedy[] } {
  const what = visible(intent.tool ?? intent.method, 80);
  const who = intent.client === 'vscode' ? 'VS Code' : `${visible(intent.claims['clientName'] ?? 'An agent', 60)} (as it says)`;
  const stopped = intent.effect === 'allow';
  const reason = stopped ? (outcome?.error ?? 'It was stopped after it had been allowed.') : intent.reason;
  const lines = [visible(reason), `Called by ${who}, ${new Date(at).toLocaleString()}, for ${visible(intent.origin, 120)}.`];
  if (stopped) return { title: titleOf(what, intent.serverLabel), lines, remedies: ['leaks', 'record'] };
  if (!now) return { title: titleOf(what, intent.serverLabel), lines, remedies: ['record'] };
  const words = { allow: 'be let through', ask: 'ask you', deny: 'be denied' }[now.effect];
  const said = explain(now).filter((line) => line !== intent.reason);
  lines.push(`The same call now would ${words}.${said.length > 0 ? `\n${said.map((line) => visible(line)).join('\n')}` : ''}`);
  return { title: titleOf(what, intent.serverLabel), lines, remedies: [...remediesFor(intent.decidedBy, now), 'record'] };
}

function titleOf(what: string, serverLabel: string): string {
  return `Why “${what}” of ${visible(serverLabel, 60)} was denied`;
}

/** By what denied it then, and what would now. */
function remediesFor(decidedBy: string, now: Ruling): readonly Remedy[] {
  if (now.by.kind === 'policy') return ['policy'];
  if (now.by.kind === 'rule' && now.by.rule === 'paused') return ['resume'];
  if (now.effect === 'allow') return [];
  if (now.effect === 'deny' && now.by.kind === 'grant') return ['revoke', 'edit', 'allow'];
  if (decidedBy === 'refused' || decidedBy === 'dismissed') return ['ask-again', 'allow'];
  return ['allow'];
}
