import { MAX_CONNECTIONS, MAX_REQUEST_BYTES, MAX_REQUEST_HEADER_BYTES } from '../listener/listener.ts';
import { ERROR_BODY_TIMEOUT_MS } from '../upstream/limits.ts';
import { MAX_PENDING_SERVER_REQUESTS, MAX_SESSIONS } from './sessions.ts';
import { MAX_STREAMS_PER_CLIENT } from './streams.ts';
import { MAX_TASKS } from './tasks.ts';

/** The bounds of a tunnel that its owner may set; each default says why it is what it is. */
export interface Limits {
  /** Largest body of a request, bytes. More is answered with 413. */
  readonly requestBytes: number;
  /** Headers of a request together, bytes. More is answered with 431. */
  readonly requestHeaderBytes: number;
  /** Connections of all agents together. One more is answered with 503. */
  readonly connections: number;
  /** Standing streams of one capability. One more is answered with an error, on GET with 405. */
  readonly streamsPerClient: number;
  /** Legacy sessions that are remembered. One more takes the place of the one that was idle longest. */
  readonly sessions: number;
  /** Requests of a server that wait for an answer in one session. One more takes the place of the oldest. */
  readonly pendingRequests: number;
  /** Tasks that are remembered. One more takes the place of the oldest. */
  readonly tasks: number;
  /** Time that the body of an answer with an error status may take, milliseconds. Then the status goes on without it. */
  readonly errorBodyMs: number;
}

/** The bounds where nothing else is said. */
export const DEFAULT_LIMITS: Limits = {
  requestBytes: MAX_REQUEST_BYTES,
  requestHeaderBytes: MAX_REQUEST_HEADER_BYTES,
  connections: MAX_CONNECTIONS,
  streamsPerClient: MAX_STREAMS_PER_CLIENT,
  sessions: MAX_SESSIONS,
  pendingRequests: MAX_PENDING_SERVER_REQUESTS,
  tasks: MAX_TASKS,
  errorBodyMs: ERROR_BODY_TIMEOUT_MS,
};
