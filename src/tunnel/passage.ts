import type { ServerResponse } from 'node:http';
import type { Stop } from '../common/stop.ts';
import type { Exchange } from '../mcp/exchange.ts';
import type { UpstreamResponse } from '../upstream/upstream.ts';
import type { Outgoing } from './credentialing.ts';
import type { Session } from './sessions.ts';
import type { Task } from './tasks.ts';

/** What stages keep about an exchange beside what the record needs. */
export interface Passage extends Exchange {
  readonly response: ServerResponse;
  /** Id of the capability that let it in. */
  readonly capability: string;
  /** Ends the exchange from our side: access withdrawn, tunnel closing; also the agent's leave where that means cancel. */
  readonly end: Stop;
  /** Whether a stream that `end` ends is closed in order, as the server would, instead of broken off. */
  endsCleanly: boolean;
  session: Session | undefined;
  /** The tasks that the message is about; all its principal's own. */
  tasks: readonly Task[];
  /** The exchange that this one goes on with: it asked for input, or began the task. */
  continues: string | undefined;
  /** Whether it holds one of the streams that its capability may have. */
  standing: boolean;
  /** URL and headers with credentials. Never logged. */
  outgoing: Outgoing | undefined;
  upstream: UpstreamResponse | undefined;
  /** Whether the request was found to hold no known secret. */
  clean: boolean | undefined;
  /** Whether a credential is on the wire now. */
  usesCredential: boolean;
}

/** Whether this is an agent's own stream that only waits for the end of the pause. */
export function isHeldByPause({ httpMethod, decision }: Exchange): boolean {
  return httpMethod === 'GET' && decision?.by.kind === 'rule' && decision.by.rule === 'paused';
}

/** Whether it stays open for as long as its agent listens, and carries no answer that anybody waits for. */
export function isStanding({ httpMethod, message }: Exchange): boolean {
  return httpMethod === 'GET' || message?.method === 'subscriptions/listen';
}

/** Value of a request header; of several the first. */
export function header({ headers }: Exchange, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}
