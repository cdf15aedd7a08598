import type { IncomingHttpHeaders } from 'node:http';
import type { StopSignal } from '../common/stop.ts';
import type { Claims, Message } from './message.ts';
import type { Decision } from './decision.ts';
import type { Finding } from './finding.ts';
import type { Principal } from './principal.ts';
import type { Server } from './server.ts';

/** One request of an agent and everything that answers it, as it goes through the pipeline. Stages fill it in, in order. */
export interface Exchange {
  readonly id: string;
  readonly httpMethod: 'POST' | 'GET' | 'DELETE';
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** Ends when the agent is gone. */
  readonly gone: StopSignal;
  /** Monotonic clock at arrival, milliseconds. */
  readonly startedAt: number;
  /** 1 parse: the message; absent for GET and DELETE. */
  message: Message | undefined;
  era: 'legacy' | 'modern';
  /** 2 authentication. */
  readonly principal: Principal;
  readonly server: Server;
  claims: Claims;
  /** 3 authorization. */
  decision: Decision | undefined;
  decidedAt: number;
  /** 4 audit: true once the intent is in the record. */
  recorded: boolean;
  /** 5 and 8 inspection. */
  readonly findings: Finding[];
  /** 9 audit. */
  responseBytes: number;
  upstreamMs: number | undefined;
}

/** What an exchange does in words of the record: the method, or what it is without one. */
export function methodOf(exchange: Exchange): string {
  if (exchange.message?.method !== undefined) return exchange.message.method;
  if (exchange.httpMethod === 'GET') return 'GET stream';
  if (exchange.httpMethod === 'DELETE') return 'DELETE session';
  return 'response';
}
