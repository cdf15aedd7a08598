import type { Act, Intent, Outcome } from '../record.ts';

/** What sinks get: a call that is over, or something that was done and is no call. */
export type AuditEvent = CallEvent | ActEvent;

interface Placed {
  /** The same in every delivery: chain and number of the entry that completes the event, `chain-…:17`. */
  readonly id: string;
  readonly chain: string;
  readonly n: number;
  /** Milliseconds since the epoch: for a call when it began. */
  readonly at: number;
  /** Hash of that entry in its chain, hex: ties the event to the record. */
  readonly hash: string;
}

/** A call. Without an outcome its end is not on record: the window broke off. */
export interface CallEvent extends Placed {
  readonly kind: 'call';
  readonly exchange: string;
  readonly intent: Intent;
  readonly outcome: Outcome | undefined;
  readonly endedAt: number | undefined;
}

/** Something the user or Culvert did. */
export interface ActEvent extends Placed {
  readonly kind: 'act';
  readonly act: Act;
}

/** What became of a call, in one word. */
export function fateOf({ intent, outcome }: Pick<CallEvent, 'intent' | 'outcome'>): 'ok' | 'failed' | 'denied' | 'stopped' | 'unknown' {
  if (intent.effect === 'deny') return 'denied';
  switch (outcome?.result) {
    case undefined:
      return 'unknown';
    case 'ok':
      return 'ok';
    case 'denied':
    case 'closed':
      return 'stopped';
    default:
      return 'failed';
  }
}

/** An event in one sentence, for messages of a log. */
export function sentenceOf(event: AuditEvent): string {
  if (event.kind === 'act') return [event.act.act.replaceAll('-', ' '), event.act.subject, event.act.detail].filter(Boolean).join(': ');
  const { intent } = event;
  const what = `${intent.method}${intent.tool === undefined ? '' : ` ${intent.tool}`} of ${intent.serverLabel}`;
  const who = intent.claims['clientName'] ?? intent.client;
  return `${what} by ${who}: ${fateOf(event)}`;
}
