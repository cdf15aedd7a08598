import type { ServerResponse } from 'node:http';
import type { StageTimes } from '../audit/record.ts';
import type { Call, Ruling } from '../authorization/decide.ts';
import type { Caller } from '../authorization/grant.ts';
import type { Stop } from '../common/stop.ts';
import type { Exchange } from '../mcp/exchange.ts';
import type { UpstreamResponse } from '../upstream/upstream.ts';
import type { Outgoing } from './credentialing.ts';
import type { Placed } from './openPassages.ts';
import type { Session } from './sessions.ts';
import type { Task } from './tasks.ts';

/** What stages keep about an exchange beside what the record needs. */
export interface Passage extends Exchange, Placed {
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
  /** Who calls and what, as they are decided; made at the first look. */
  caller: Caller | undefined;
  call: Call | undefined;
  /** Whether it calls the tool with which agents ask for access: Culvert answers it, whatever tools the server has by then. */
  asksForAccess: boolean;
  /** What the user was shown when asked ({@link shownDigest}); `undefined` if nobody was asked. Nothing else may be sent. */
  shown: string | undefined;
  /** For the record: name of the task whose grants let it through. */
  task: string | undefined;
  /** For the record: what policies in shadow mode would have done. */
  shadow: Ruling['shadow'];
  /** For the record: {@link Access.digest} when it was decided. */
  policyDigest: string | undefined;
  /** Whether it holds one of the streams that its capability may have. */
  standing: boolean;
  /** URL and headers with credentials. Never logged. */
  outgoing: Outgoing | undefined;
  upstream: UpstreamResponse | undefined;
  /** Whether the request was found to hold no known secret. */
  clean: boolean | undefined;
  /** Whether a credential is on the wire now. */
  usesCredential: boolean;
  /** For the record: the message that answered the request, as the agent got it. */
  reply: Buffer | undefined;
  /** For the record: milliseconds by stage, the stage it is in, and since when (monotonic clock). */
  readonly times: { -readonly [stage in keyof StageTimes]: StageTimes[stage] };
  stage: keyof StageTimes | undefined;
  since: number;
}

/** Notes that the way goes on to another stage, or is over. `now` is the monotonic clock, milliseconds. */
export function enter(x: Passage, stage: keyof StageTimes | undefined, now: number): void {
  if (x.stage !== undefined) x.times[x.stage] = Math.round(((x.times[x.stage] ?? 0) + now - x.since) * 1_000) / 1_000;
  x.stage = stage;
  x.since = now;
}

/** Whether this is an agent's own stream that only waits for the end of a pause, or of a policy that closes the server. */
export function isHeld({ httpMethod, decision }: Exchange): boolean {
  if (httpMethod !== 'GET' || decision?.effect !== 'deny') return false;
  return decision.by.kind === 'policy' || (decision.by.kind === 'rule' && decision.by.rule === 'paused');
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
