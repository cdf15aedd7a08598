import { JsonFault, JsonReader, MAX_RESULT_DEPTH, applyEdits, valueKind, type Edit, type Span } from '../mcp/json.ts';
import { findValue, idKey, readEnvelope } from '../mcp/message.ts';
import { principalKey } from '../mcp/principal.ts';
import { offersRequests, requestTool } from './accessRequests.ts';
import type { Answer } from './answers.ts';
import { callOf, callerOf, decideTask, grantOf, prospectOf } from './authority.ts';
import { stateOf } from './continuations.ts';
import type { Passage } from './passage.ts';
import { appendTool, limitCaching, presentServer, presentTasks, presentTools, type ToolView } from './presentation.ts';
import { expectAnswer } from './sessions.ts';
import type { StagesOptions } from './stages.ts';

/**
 * Largest answer that is looked at for the beginning of a task or a demand for input, bytes. Both hold a handle and a question, not
 * content; what is larger passes, but its task is nobody's and its continuation stays unlinked.
 */
export const MAX_HANDLE_BYTES = 64 * 1024;

const ERROR_END = Buffer.from('rror"');
const ERROR_KEY = Buffer.from('"error"');
const IS_ERROR_KEY = Buffer.from('"isError"');
const TASK_ID_KEY = Buffer.from('"taskId"');
const REQUEST_STATE_KEY = Buffer.from('"requestState"');

/** Results that a client may keep (2026-07-28, caching) and that depend on what the user allows. */
const CACHEABLE = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list', 'resources/read']);

/** Whether what a server sent answers the request it came with, another one, or nothing. */
type Role = 'answer' | 'other-answer' | 'message';

/** Messages in an array, as servers of revision 2025-03-26 may send them: each is presented for itself. */
export function presentAll(
  x: Passage,
  options: StagesOptions,
  message: Buffer,
  wanted: string | undefined,
): { readonly out: Buffer; readonly result?: Answer['result'] } {
  const reader = new JsonReader(message, { duplicates: 'allow', maxDepth: MAX_RESULT_DEPTH });
  const spans: Span[] = [];
  try {
    reader.elements(reader.skipSpace(0), 0, (span) => void spans.push(span));
  } catch (error) {
    // What no parser reads says nothing to anybody.
    if (error instanceof JsonFault && error.kind === 'syntax') return { out: message };
    throw error;
  }
  const edits: Edit[] = [];
  let result: Answer['result'] | undefined;
  for (const span of spans) {
    const part = message.subarray(span.start, span.end);
    const role = roleOf(x, options, part, wanted);
    const out = present(x, options, part, role);
    if (role === 'answer') result = resultOf(out);
    if (out !== part) edits.push({ span, replacement: out.toString('utf8') });
  }
  return { out: applyEdits(message, edits), ...(result === undefined ? {} : { result }) };
}

/**
 * What a message of a stream is to its request. An answer to another request passes, as it would without us: after a broken connection a
 * server may bring it on any stream of the session, and it comes from the server that this agent talks to in any case.
 */
export function roleOf(x: Passage, options: StagesOptions, message: Buffer, wanted: string | undefined): Role {
  const envelope = readEnvelope(message);
  if (envelope?.id === undefined) return 'message';
  if (envelope.hasMethod) {
    noteServerRequest(x, options, envelope.id);
    return 'message';
  }
  return envelope.id === wanted ? 'answer' : 'other-answer';
}

/** What the server says about itself and its tools as the user wants it seen; and what has to be remembered of it. */
export function present(x: Passage, options: StagesOptions, message: Buffer, role: Role): Buffer {
  if (role === 'message') return message;
  try {
    return presentAnswer(x, options, message, role);
  } catch (error) {
    // What no parser reads says nothing to anybody.
    if (error instanceof JsonFault && error.kind === 'syntax') return message;
    throw error;
  }
}

function presentAnswer(x: Passage, options: StagesOptions, sent: Buffer, role: Role): Buffer {
  // Readers of bodies drop a byte order mark; what follows must not escape us for it.
  const message = sent[0] === 0xef && sent[1] === 0xbb && sent[2] === 0xbf ? sent.subarray(3) : sent;
  if (role === 'other-answer') return listTasks(x, options, listTools(x, options, message).bytes);
  const method = x.message?.method;
  switch (method) {
    case 'tools/list': {
      const { bytes, changed } = listTools(x, options, message);
      return withCachingOf(x, options, bytes, changed);
    }
    case 'tools/call':
    case 'prompts/get':
      noteHandles(x, options, message);
      return message;
    case 'tasks/list':
      return listTasks(x, options, message);
    case 'initialize':
    case 'server/discover':
      return options.presentation.nameAfterLabel ? presentServer(message, x.server.label) : message;
    case 'resources/read':
      noteHandles(x, options, message);
      return withCachingOf(x, options, message, false);
    default:
      return method !== undefined && CACHEABLE.has(method) ? withCachingOf(x, options, message, false) : message;
  }
}

function listTools(x: Passage, options: StagesOptions, message: Buffer): { readonly bytes: Buffer; readonly changed: boolean } {
  const { core, presentation } = options;
  const hidden: string[] = [];
  const view = (name: string): ToolView => {
    const { effect, by } = prospectOf(x, options, name);
    if (effect === 'deny' && by.kind === 'rule' && by.rule === 'no-grant') hidden.push(name);
    return {
      listed: effect !== 'deny',
      readOnlyHint: presentation.culvertConfirms && x.principal.client === 'vscode' ? true : undefined,
    };
  };
  // The catalog first: whether a tool reads is known from here on.
  const all = presentTools(message, () => ({ listed: true, readOnlyHint: undefined }));
  if (!all) return { bytes: message, changed: false };
  for (const { name, definition } of all.tools) core.leaks.schemas.note(x.server.id, name, definition);
  for (const name of core.catalog.observe(x.server.id, all.tools)) {
    x.findings.push({
      rule: 'tool-changed',
      severity: 'medium',
      subject: name,
      direction: 'to-agent',
      form: 'definition',
      action: 'reported',
      tier: 'tool',
    });
  }
  const shown = presentTools(message, view) ?? { bytes: message, changed: false };
  // Its own tool stands on the last page, when it is known whether the server has one of that name.
  if (x.message?.method !== 'tools/list' || !offersRequests(x, options) || hasMorePages(message)) return shown;
  return { bytes: appendTool(shown.bytes, requestTool(hidden)), changed: true };
}

function hasMorePages(message: Buffer): boolean {
  const cursor = findValue(message, ['result', 'nextCursor']);
  return cursor !== undefined && valueKind(message, cursor.start) === 'string';
}

/** Tasks of other agents, and of tools that are not allowed any more, are not listed. */
function listTasks(x: Passage, options: StagesOptions, message: Buffer): Buffer {
  const owner = principalKey(x.principal);
  return presentTasks(message, (id) => {
    const task = options.tasks.find(id, owner, x.server.id);
    return task !== undefined && decideTask(x, options, task).effect !== 'deny';
  });
}

/** What depends on grants must not be kept for others, nor longer than they last (PROTOCOL.md 1). */
function withCachingOf(x: Passage, options: StagesOptions, message: Buffer, changed: boolean): Buffer {
  if (x.era === 'legacy') return message;
  const { core, clock } = options;
  const { personal, endsAt } = core.access.outlook(callerOf(x, options), x.server.id);
  if (!changed && !personal && endsAt === undefined) return message;
  return limitCaching(message, endsAt === undefined ? undefined : Math.max(0, endsAt - clock.now()));
}

/** A legacy server may ask the client something; only what it asked may be answered. */
function noteServerRequest(x: Passage, { logger, pendingRequests }: StagesOptions, id: string): void {
  if (x.era === 'modern' || !x.session) return;
  if (expectAnswer(x.session, id, pendingRequests))
    logger.warn(
      `${x.server.label} has asked its client more than ${pendingRequests} things that were never answered. The oldest can’t be answered any more.`,
    );
}

/** Remembers the task that a call became, and the demand for input that it was answered with. */
function noteHandles(x: Passage, options: StagesOptions, message: Buffer): void {
  if (message.length > MAX_HANDLE_BYTES) return;
  const isCall = x.message?.method === 'tools/call';
  if (isCall && (x.era === 'modern' || x.message?.asksForTask === true) && message.includes(TASK_ID_KEY)) noteTask(x, options, message);
  if (x.era === 'modern' && message.includes(REQUEST_STATE_KEY)) noteState(x, options, message);
}

function noteTask(x: Passage, options: StagesOptions, message: Buffer): void {
  const id = textAt(message, x.era === 'modern' ? ['result', 'taskId'] : ['result', 'task', 'taskId']);
  if (id === undefined || (x.era === 'modern' && textAt(message, ['result', 'resultType']) !== 'task')) return;
  options.tasks.add(id, {
    principal: principalKey(x.principal),
    server: x.server.id,
    tool: x.message?.name ?? '',
    exchange: x.id,
    grant: grantOf(x.decision),
    arguments: callOf(x, options).arguments?.kept(),
  });
}

function noteState(x: Passage, { continuations }: StagesOptions, message: Buffer): void {
  const state = findValue(message, ['result', 'requestState']);
  if (state) continuations.add(stateOf(message, state), principalKey(x.principal), x.server.id, x.continues ?? x.id);
}

function textAt(message: Buffer, keys: readonly string[]): string | undefined {
  const span = findValue(message, keys);
  if (!span || valueKind(message, span.start) !== 'string') return undefined;
  return JSON.parse(message.toString('utf8', span.start, span.end)) as string;
}

/** Id of the request whose answer is waited for, in the spelling of {@link idKey}. */
export function wantedId({ message }: Passage): string | undefined {
  return message?.kind === 'request' && message.id !== undefined ? idKey(message.id) : undefined;
}

/** Whether a message is an array of messages. */
export function isArray(message: Buffer): boolean {
  let i = 0;
  while (message[i] === 0x20 || message[i] === 0x0a || message[i] === 0x0d || message[i] === 0x09) i++;
  return message[i] === 0x5b;
}

/** How a call ended, by its answer. */
export function resultOf(message: Buffer): Answer['result'] {
  // Inside a string the quotes would be escaped: most messages need no reading for this label of the record. Both keys end alike.
  if (!message.includes(ERROR_END) || (!message.includes(ERROR_KEY) && !message.includes(IS_ERROR_KEY))) return 'ok';
  try {
    if (findValue(message, ['error'])) return 'rpc-error';
    const flag = findValue(message, ['result', 'isError']);
    return flag && message.toString('utf8', flag.start, flag.end) === 'true' ? 'tool-error' : 'ok';
  } catch {
    return 'rpc-error';
  }
}
