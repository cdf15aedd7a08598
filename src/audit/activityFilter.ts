import type { Activity } from './activities.ts';
import type { Outcome } from './record.ts';

/** Which calls are meant. What is absent does not matter. */
export interface ActivityFilter {
  readonly server?: string;
  readonly tool?: string;
  readonly client?: string;
  /** As the client calls itself; empty for one that does not. */
  readonly clientName?: string;
  /** As the client says; empty for calls without. */
  readonly conversation?: string;
  /** `denied`: by a grant, a rule or the user. `stopped`: allowed, but not let through, or ended. */
  readonly decision?: 'allowed' | 'denied' | 'stopped';
  readonly result?: Outcome['result'];
  /** Only calls in which something was found. */
  readonly findings?: boolean;
  /** Stands in the intent or the outcome; no difference between upper and lower case. */
  readonly text?: string;
  /** Leaves out what belongs to every connection: initialize, lists, pings. */
  readonly named?: boolean;
  /** Milliseconds since the epoch; `to` is no longer meant. */
  readonly from?: number;
  readonly to?: number;
}

/** Whether a call is meant; for calls that the index does not have yet. */
export function isMeant({ at, intent, outcome }: Activity, filter: ActivityFilter): boolean {
  const equal = (wanted: string | undefined, is: string | undefined) => wanted === undefined || wanted === (is ?? '');
  const stopped = outcome?.result === 'denied' || outcome?.result === 'closed';
  return (
    equal(filter.server, intent.server) &&
    equal(filter.tool, intent.tool) &&
    equal(filter.client, intent.client) &&
    equal(filter.clientName, intent.claims['clientName']) &&
    equal(filter.conversation, intent.claims['conversationId']) &&
    equal(filter.result, outcome?.result) &&
    (filter.decision === undefined ||
      (filter.decision === 'stopped'
        ? intent.effect === 'allow' && stopped
        : (intent.effect === 'deny') === (filter.decision === 'denied'))) &&
    (filter.findings !== true || (outcome?.findings ?? 0) > 0) &&
    (filter.named !== true || intent.tool !== undefined) &&
    at >= (filter.from ?? 0) &&
    at < (filter.to ?? Infinity) &&
    (filter.text === undefined ||
      JSON.stringify([intent, outcome]).toLowerCase().includes(JSON.stringify(filter.text).slice(1, -1).toLowerCase()))
  );
}

/** The filter in SQL over the table `call`, but for its text. */
export function conditionOf(filter: ActivityFilter): { readonly where: string; readonly values: readonly (string | number)[] } {
  const parts: string[] = [];
  const values: (string | number)[] = [];
  const equal = (column: string, value: string | undefined) => {
    if (value === undefined) return;
    parts.push(`${column} = ?`);
    values.push(value);
  };
  equal('server', filter.server);
  equal('tool', filter.tool);
  equal('client', filter.client);
  equal('name', filter.clientName);
  equal('conversation', filter.conversation);
  equal('result', filter.result);
  if (filter.decision === 'denied') parts.push("effect = 'deny'");
  if (filter.decision === 'allowed') parts.push("effect = 'allow'");
  if (filter.decision === 'stopped') parts.push("effect = 'allow' AND result IN ('denied', 'closed')");
  if (filter.findings === true) parts.push('findings > 0');
  if (filter.named === true) parts.push('tool IS NOT NULL');
  if (filter.from !== undefined) {
    parts.push('at >= ?');
    values.push(filter.from);
  }
  if (filter.to !== undefined) {
    parts.push('at < ?');
    values.push(filter.to);
  }
  return { where: parts.length > 0 ? parts.join(' AND ') : '1', values };
}
