import type { Decision } from '../mcp/decision.ts';
import {
  describeRehearsal,
  rehearse,
  type Flip,
  type RecordedCall,
  type Rehearsal,
  type RehearsalResult,
} from '../authorization/rehearse.ts';
import { visible } from '../common/text.ts';

/** Flips that are listed; the rest is counted. */
const SHOWN_FLIPS = 200;
/** Calls that are decided in one turn of the event loop: some milliseconds. */
const SLICE = 200;

const WORDS: Readonly<Record<Decision['effect'], string>> = { allow: 'let through', ask: 'asks', deny: 'denied' };

/**
 * What a change would flip: every call is decided as things stand, and with the change, in slices between which others get their turn.
 * Deciding it as things stand takes answers of the user, ends of grants and changes since out of the comparison.
 */
export async function compareRehearsals(
  calls: readonly RecordedCall[],
  current: Rehearsal,
  changed: Rehearsal,
  turn: () => Promise<void>,
): Promise<RehearsalResult> {
  const sum = { calls: 0, denied: 0, asked: 0, allowed: 0, uncertain: 0 };
  const flips: Flip[] = [];
  for (let from = 0; from < calls.length; from += SLICE) {
    const slice = calls.slice(from, from + SLICE);
    const as = new Map(rehearse(slice, current).flips.map((flip) => [flip.call.id, flip.after.effect]));
    const result = rehearse(
      slice.map((call) => ({ ...call, effect: as.get(call.id) ?? call.effect })),
      changed,
    );
    for (const key of ['calls', 'denied', 'asked', 'allowed', 'uncertain'] as const) sum[key] += result[key];
    flips.push(...result.flips);
    await turn();
  }
  return { ...sum, flips };
}

/** A rehearsal as a document. */
export function rehearsalText(change: string, span: string, result: RehearsalResult): string {
  const lines = [
    `Rehearsal: ${visible(change)}`,
    `Calls:     those of ${span}, decided as things stand and with the change`,
    '',
    describeRehearsal(result),
    ...(result.flips.length > 0 ? [''] : []),
  ];
  for (const { call, before, after, uncertain } of result.flips.slice(0, SHOWN_FLIPS)) {
    const when = new Date(call.at).toLocaleString();
    lines.push(
      `${when}  ${visible(call.call.tool ?? call.call.method ?? '', 80)} of ${visible(call.call.serverLabel, 60)}: ${WORDS[before]} → ${WORDS[after.effect]}${uncertain ? ' (perhaps: its arguments are not on the record)' : ''}`,
      `    ${visible(after.reason)}`,
    );
  }
  if (result.flips.length > SHOWN_FLIPS) lines.push(`… and ${result.flips.length - SHOWN_FLIPS} more`);
  lines.push(
    '',
    'Ends, numbers of uses and rates do not count here. Paths are judged by their text: links are not followed.',
    'Nothing was changed by this rehearsal.',
    '',
  );
  return lines.join('\n');
}
