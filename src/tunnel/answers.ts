import type { Outcome } from '../audit/record.ts';
import { visible } from '../common/text.ts';
import { findValue } from '../mcp/message.ts';
import { ERROR_CODE, classifyMethod, errorBody } from '../mcp/methods.ts';
import type { Passage } from './passage.ts';

/** What ends an exchange. `sent`: the answer has already gone out as a stream. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer;
  readonly sent: boolean;
  readonly result: Outcome['result'];
  readonly error?: string;
}

/** What an agent is told whose call was ended from this side. */
export const ENDED =
  'The call was ended: the user withdrew the permission, or Culvert is closing. It may or may not have been carried out.';

/** What an agent is told whose call was ended before anything of it left. */
export const NOT_SENT = 'The call was not sent: the user withdrew the permission just then, or Culvert is closing.';

const METHOD_NOT_FOUND = -32601;
/** Invalid parameters (JSON-RPC 2.0, 5.1): what servers say of a task that they don't know. */
const INVALID_PARAMS = -32602;
/** The client did not say that it can do what the method takes (2026-07-28, error codes). */
const MISSING_CAPABILITY = -32021;

/** Id of the tasks extension, under which both sides declare it. */
const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks';
/** Where a modern request declares it. */
const DECLARED_TASKS = ['params', '_meta', 'io.modelcontextprotocol/clientCapabilities', 'extensions', TASKS_EXTENSION];
/** Methods of the tasks extension; the legacy era has two more. */
const MODERN_TASK_METHODS = new Set(['tasks/get', 'tasks/update', 'tasks/cancel', 'subscriptions/listen']);

/** A request that isn't even read as a call: nothing to record but the fact. */
export function refused(status: number, body: Buffer, error: string): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body, sent: false, result: 'denied', error };
}

/**
 * A denied call: 200 and a JSON-RPC error with the same id (PROTOCOL.md 2); a denied notification: 202; a denied stream: 405. A method
 * that nobody allowed because nobody knows it gets the answer that clients expect of such: -32601, in the modern era with 404. `hint` is
 * said to the agent beside the reason.
 */
export function denied(x: Passage, reason: string, hint = ''): Answer {
  const { method } = x.message ?? {};
  const unknown = method !== undefined && classifyMethod(method) === 'unknown';
  const status = unknown && x.era === 'modern' ? 404 : 200;
  const answer = deniedWith(x, status, unknown ? METHOD_NOT_FOUND : ERROR_CODE.denied, `${reason}${hint}`);
  // The hint is for the agent; the record says why.
  return { ...answer, error: reason };
}

/** The answer of a tool of Culvert's own. */
export function answerTool(x: Passage, text: string, isError: boolean): Answer {
  const result = {
    ...(x.era === 'modern' ? { resultType: 'complete' } : {}),
    content: [{ type: 'text', text }],
    ...(isError ? { isError } : {}),
  };
  const body = Buffer.from(`{"jsonrpc":"2.0","id":${x.message?.id ?? 'null'},"result":${JSON.stringify(result)}}`, 'utf8');
  x.responseBytes = body.length;
  return { status: 200, headers: { 'content-type': 'application/json' }, body, sent: false, result: 'ok' };
}

/**
 * A task that is not the agent's own: to it, as to a server, there is no such task. Clients that ask what they may not ask at all get the
 * answer that a server gives whatever the task is (tasks extension, error handling).
 */
export function foreignTask(x: Passage): Answer {
  const reason =
    'There is no such task of this agent: another one began it, or it began before this window was opened. Call the tool again.';
  if (x.era === 'modern' && x.message) {
    if (!MODERN_TASK_METHODS.has(x.message.method ?? '')) return deniedWith(x, 404, METHOD_NOT_FOUND, reason);
    if (!findValue(x.message.bytes, DECLARED_TASKS)) {
      const data = { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } };
      return deniedWith(x, 400, MISSING_CAPABILITY, 'The request does not declare the tasks extension.', data);
    }
  }
  return deniedWith(x, 200, INVALID_PARAMS, reason);
}

function deniedWith(x: Passage, status: number, code: number, reason: string, data?: Readonly<Record<string, unknown>>): Answer {
  return { ...answerError(x, status, code, `Culvert denied this call. ${reason}`, data), result: 'denied', error: reason };
}

/** A call that was allowed but did not get an answer from the server. */
export function notForwarded(x: Passage, status: number, reason: string): Answer {
  return {
    ...answerError(x, status === 502 ? 200 : status, ERROR_CODE.upstream, reason),
    result: 'upstream-error',
    error: visible(reason, 500),
  };
}

/** The end of a session that only we knew. */
export function sessionEnded(): Answer {
  return { status: 204, headers: {}, body: Buffer.alloc(0), sent: false, result: 'ok' };
}

function answerError(x: Passage, status: number, code: number, text: string, data?: Readonly<Record<string, unknown>>): Answer {
  const base = { sent: false, result: 'denied' as const };
  if (x.httpMethod !== 'POST') return { ...base, status: 405, headers: { allow: 'POST' }, body: Buffer.alloc(0) };
  if (x.message?.kind !== 'request') return { ...base, status: 202, headers: {}, body: Buffer.alloc(0) };
  return { ...base, status, headers: { 'content-type': 'application/json' }, body: errorBody(x.message.id, code, text, data) };
}
