import type { ServerResponse } from 'node:http';
import { messageOf } from '../common/errors.ts';
import { ListMemory } from '../inspection/listMemory.ts';
import type { Finding } from '../mcp/finding.ts';
import { JSON_LINES_TYPES, JsonLineSplitter } from '../mcp/jsonLines.ts';
import { JsonFault, JsonReader, MAX_RESULT_DEPTH, applyEdits, valueKind, type Edit, type Span } from '../mcp/json.ts';
import { findValue, idKey, readEnvelope } from '../mcp/message.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import { principalKey } from '../mcp/principal.ts';
import { SseSplitter, withData, type SseBlock } from '../mcp/sse.ts';
import type { Body } from '../upstream/body.ts';
import { headersToAgent, mediaTypeOf } from '../upstream/headers.ts';
import { MAX_ERROR_BODY_BYTES } from '../upstream/limits.ts';
import { offersRequests, requestTool } from './accessRequests.ts';
import { ENDED, notForwarded, type Answer } from './answers.ts';
import { callOf, callerOf, decideTask, grantOf, prospectOf } from './authority.ts';
import { stateOf } from './continuations.ts';
import { passingOf } from './outgoing.ts';
import { enter, isHeld, type Passage } from './passage.ts';
import { appendTool, limitCaching, presentServer, presentTasks, presentTools, type ToolView } from './presentation.ts';
import { expectAnswer } from './sessions.ts';
import type { StagesOptions } from './stages.ts';

/** Largest answer that is not a stream, bytes; it is held whole while it is inspected. */
export const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** How often a comment goes out on a stream of our own, milliseconds, so that a dead client is noticed. */
export const KEEP_ALIVE_MS = 25_000;

/**
 * Largest answer that is looked at for the beginning of a task or a demand for input, bytes. Both hold a handle and a question, not
 * content; what is larger passes, but its task is nobody's and its continuation stays unlinked.
 */
export const MAX_HANDLE_BYTES = 64 * 1024;

/** Findings that are kept of one exchange. What is found beyond is redacted all the same. */
const MAX_FINDINGS = 2_000;

const ERROR_KEY = Buffer.from('"error"');
const IS_ERROR_KEY = Buffer.from('"isError"');
const TASK_ID_KEY = Buffer.from('"taskId"');
const REQUEST_STATE_KEY = Buffer.from('"requestState"');

/** Results that a client may keep (2026-07-28, caching) and that depend on what the user allows. */
const CACHEABLE = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list', 'resources/read']);

/** Whether what a server sent answers the request it came with, another one, or nothing. */
type Role = 'answer' | 'other-answer' | 'message';

/** Stage 8: brings the server's answer to the agent, every message of it inspected. */
export async function relay(x: Passage, options: StagesOptions): Promise<Answer> {
  const { upstream } = x;
  if (!upstream) return notForwarded(x, 500, 'There is no answer to bring.');
  const { core } = options;
  const cleaned = core.inspector.headers(sessionHeaders(x, options, headersToAgent(upstream.headers)), passingOf(x, core));
  x.findings.push(...cleaned.findings);
  const mediaType = mediaTypeOf(upstream.headers);
  if (upstream.status < 300) {
    if (mediaType === 'text/event-stream') return relayStream(x, options, upstream.body, cleaned.headers, new Events(x, options));
    if (isLines(x, mediaType)) return relayStream(x, options, upstream.body, cleaned.headers, new Lines(x, options));
  }
  // A server that gave no session can’t end one: it only has no stream.
  const noStream = x.httpMethod === 'GET' && (upstream.status === 405 || (upstream.status === 404 && x.session?.minted === true));
  if (noStream && options.presentation.ownStream) {
    upstream.body.discard();
    return ownStream(x, options);
  }
  return relayWhole(x, options, upstream.body, cleaned.headers);
}

/** A subscription may also come as JSON values line by line, under a name of its own or, without a length, as plain JSON. */
function isLines(x: Passage, mediaType: string): boolean {
  if (JSON_LINES_TYPES.has(mediaType)) return true;
  return (
    x.message?.method === 'subscriptions/listen' && mediaType === 'application/json' && x.upstream?.headers['content-length'] === undefined
  );
}

async function relayWhole(
  x: Passage,
  options: StagesOptions,
  body: Body,
  headers: Readonly<Record<string, string | string[]>>,
): Promise<Answer> {
  const status = x.upstream?.status ?? 502;
  const isError = status >= 300;
  const maxBytes = isError ? MAX_ERROR_BODY_BYTES : MAX_RESPONSE_BYTES;
  // An error says why in a few words; one that never ends, such as an event stream, must not hold the call for ever.
  const limits = isError ? { timeoutMs: options.errorBodyMs } : undefined;
  const bytes = await body.collect(maxBytes, limits).catch((error: unknown) => messageOf(error));
  if (typeof bytes === 'string' && x.end.signal.aborted)
    return { ...notForwarded(x, 200, ENDED), result: x.gone.aborted ? 'cancelled' : 'closed' };
  // Clients go by the status of an error, whatever became of its words.
  if (isError && !Buffer.isBuffer(bytes)) {
    const why = bytes ?? `its text is larger than ${MAX_ERROR_BODY_BYTES / 1024} KiB`;
    return notForwarded(x, status, `${x.server.label} answered HTTP ${status} without a whole text (${why}).`);
  }
  if (typeof bytes === 'string')
    return notForwarded(x, 200, `${x.server.label} broke off its answer (${bytes}). The call may or may not have been carried out.`);
  if (bytes === undefined)
    return notForwarded(x, 200, `${x.server.label} answered with more than ${maxBytes / 1024 / 1024} MiB, which can’t be checked.`);
  enter(x, 'inspectIn', options.clock.monotonic());
  // Whatever its type: not every server names its JSON so, and text that is none is searched as text.
  const out = bytes.length > 0 ? await inspect(x, options, bytes) : bytes;
  x.responseBytes = out.length;
  return { status, headers, body: out, sent: false, result: isError ? 'upstream-error' : 'ok' };
}

/** How a stream is taken apart, and what of it goes on. */
interface Framing {
  /** What a chunk completes, inspected, in order. */
  push(chunk: Buffer): AsyncIterable<Buffer>;
  /** What is left at a clean end and still goes on. */
  rest(): AsyncIterable<Buffer>;
  /** How the request was answered, once it was. */
  readonly result: Answer['result'] | undefined;
}

async function relayStream(
  x: Passage,
  options: StagesOptions,
  body: Body,
  headers: Readonly<Record<string, string | string[]>>,
  framing: Framing,
): Promise<Answer> {
  const { response } = x;
  response.writeHead(x.upstream?.status ?? 200, headers);
  response.flushHeaders();
  let result: Answer['result'] = x.httpMethod === 'POST' && x.message?.kind === 'request' ? 'closed' : 'ok';
  const leave = register(x, options);
  const bring = async (pieces: AsyncIterable<Buffer>) => {
    for await (const piece of pieces) {
      x.responseBytes += piece.length;
      await write(response, piece, x);
    }
  };
  try {
    for await (const chunk of body) await bring(framing.push(chunk));
    await bring(framing.rest());
    // A clean end is a clean end, also where the answer is missing.
    response.end();
  } catch (error) {
    if (x.endsCleanly) response.end();
    else response.destroy();
    if (x.gone.aborted && x.era === 'modern') result = 'cancelled';
    else if (!x.end.signal.aborted) return { ...streamed(x, 'upstream-error'), error: messageOf(error) };
    else result = x.gone.aborted || x.endsCleanly ? 'ok' : 'closed';
  } finally {
    leave();
  }
  return streamed(x, framing.result ?? result);
}

/** Server-sent events. */
class Events implements Framing {
  result: Answer['result'] | undefined;
  readonly #splitter = new SseSplitter();
  readonly #x: Passage;
  readonly #options: StagesOptions;
  readonly #wanted: string | undefined;

  constructor(x: Passage, options: StagesOptions) {
    this.#x = x;
    this.#options = options;
    this.#wanted = wantedId(x);
  }

  async *push(chunk: Buffer): AsyncIterable<Buffer> {
    for (const block of this.#splitter.push(chunk))
      yield block.data === undefined || block.data.length === 0
        ? cleanText(this.#x, this.#options, block.raw)
        : await this.#event(block, block.data);
  }

  /** An unfinished event is none (HTML Living Standard, 9.2.6) and is not passed on. */
  async *rest(): AsyncIterable<Buffer> {
    // Nothing.
  }

  async #event(block: SseBlock, data: Buffer): Promise<Buffer> {
    const { out, result } = await inspectMessage(this.#x, this.#options, data, this.#wanted);
    this.result = result ?? this.result;
    // Ids and event names are seen by the client too.
    const beside = block.beside === undefined ? undefined : cleanText(this.#x, this.#options, block.beside);
    return out === data && beside === block.beside ? block.raw : withData(block, out, beside);
  }
}

/** JSON values, one a line. */
class Lines implements Framing {
  result: Answer['result'] | undefined;
  readonly #splitter = new JsonLineSplitter();
  readonly #x: Passage;
  readonly #options: StagesOptions;
  readonly #wanted: string | undefined;

  constructor(x: Passage, options: StagesOptions) {
    this.#x = x;
    this.#options = options;
    this.#wanted = wantedId(x);
  }

  async *push(chunk: Buffer): AsyncIterable<Buffer> {
    for (const line of this.#splitter.push(chunk)) yield await this.#line(line);
  }

  async *rest(): AsyncIterable<Buffer> {
    const line = this.#splitter.rest();
    if (line.length > 0) yield await this.#line(line);
  }

  async #line(line: Buffer): Promise<Buffer> {
    const { out, result } = await inspectMessage(this.#x, this.#options, line, this.#wanted);
    this.result = result ?? this.result;
    // A message that took the place of another has lost its line feed.
    return out === line || out.at(-1) === 0x0a ? out : Buffer.concat([out, Buffer.from('\n')]);
  }
}

/** Registers a stream. One that a session opens again is told that the tools changed: nobody listened in between. */
function register(x: Passage, options: StagesOptions): () => void {
  const { streams, ownStream: speaks } = options.presentation;
  const leave = streams.add(x, x.response);
  if (x.httpMethod === 'GET' && x.session && speaks) {
    if (x.session.listened) streams.announceToolsTo(x.response);
    x.session.listened = true;
  }
  return leave;
}

/**
 * A stream in place of the one a server does not offer or may not be asked for in a pause, so that the agent hears when its tools
 * change. It carries nothing of the server.
 */
export function ownStream(x: Passage, options: StagesOptions): Promise<Answer> {
  const { response } = x;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.write(': culvert\n\n');
  const leave = register(x, options);
  return new Promise((resolve) => {
    const beat = setInterval(() => {
      // A reader that is behind needs no sign of life, and must not make us keep them for it.
      if (!response.writableNeedDrain) response.write(': \n\n');
    }, KEEP_ALIVE_MS);
    beat.unref();
    const onEnd = () => {
      clearInterval(beat);
      leave();
      // The end of a pause, said just now, must arrive.
      if (isHeld(x) || x.endsCleanly) response.end();
      else response.destroy();
      resolve(streamed(x, 'ok'));
    };
    response.once('close', onEnd);
    if (x.end.aborted) onEnd();
    else x.end.signal.addEventListener('abort', onEnd, { once: true });
  });
}

/** Takes a whole answer through inspection and presentation. */
async function inspect(x: Passage, options: StagesOptions, bytes: Buffer): Promise<Buffer> {
  const message = await redact(x, options, bytes);
  if (!message) return blocked(x);
  if (isArray(message)) return presentAll(x, options, message, wantedId(x)).out;
  // A message alone in its answer can only be meant for the request, whatever its id; that spares reading it for one.
  return present(x, options, message, x.message ? 'answer' : roleOf(x, options, message, undefined));
}

/** Takes one message of a stream through inspection and presentation. `result` is how the request was answered, if this answers it. */
async function inspectMessage(
  x: Passage,
  options: StagesOptions,
  bytes: Buffer,
  wanted: string | undefined,
): Promise<{ readonly out: Buffer; readonly result?: Answer['result'] }> {
  const message = await redact(x, options, bytes);
  if (!message) return { out: blocked(x) };
  if (isArray(message)) return presentAll(x, options, message, wanted);
  const role = roleOf(x, options, message, wanted);
  const out = present(x, options, message, role);
  if (role === 'answer') x.reply = out;
  return role === 'answer' ? { out, result: resultOf(out) } : { out };
}

/** A message without what must not pass; `undefined` if none of it may. */
async function redact(x: Passage, { core }: StagesOptions, bytes: Buffer): Promise<Buffer | undefined> {
  const where = passingOf(x, core);
  const looked = ListMemory.remembers(x.message?.method) ? core.leaks.lists.look(bytes, where) : core.inspector.look(bytes, where);
  const inspected = looked instanceof Promise ? await looked : looked;
  if (inspected.findings.length > 0) noteFindings(x, inspected.findings);
  return inspected.blocked === true ? undefined : inspected.bytes;
}

/** Keeps what was found; a stream that goes on for ever must not fill the memory with it. */
function noteFindings(x: Passage, findings: readonly Finding[]): void {
  if (x.findings.length < MAX_FINDINGS) x.findings.push(...findings);
}

function blocked(x: Passage): Buffer {
  return errorBody(
    x.message?.kind === 'request' ? x.message.id : undefined,
    ERROR_CODE.upstream,
    'Culvert could not take a secret out of the answer, or not check it, so it did not let it pass. The call was carried out.',
  );
}

/** Messages in an array, as servers of revision 2025-03-26 may send them: each is presented for itself. */
function presentAll(
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
function roleOf(x: Passage, options: StagesOptions, message: Buffer, wanted: string | undefined): Role {
  const envelope = readEnvelope(message);
  if (envelope?.id === undefined) return 'message';
  if (envelope.hasMethod) {
    noteServerRequest(x, options, envelope.id);
    return 'message';
  }
  return envelope.id === wanted ? 'answer' : 'other-answer';
}

/** What the server says about itself and its tools as the user wants it seen; and what has to be remembered of it. */
function present(x: Passage, options: StagesOptions, message: Buffer, role: Role): Buffer {
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

function cleanText(x: Passage, options: StagesOptions, raw: Buffer): Buffer {
  const inspected = options.core.inspector.text(raw, passingOf(x, options.core));
  if (inspected.findings.length > 0) noteFindings(x, inspected.findings);
  return inspected.bytes;
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

/**
 * Notes where a legacy session begins and ends, and gives one to the client of a server that has none: so that answers, streams and the
 * end of what a client began can be told from those of another.
 */
function sessionHeaders(x: Passage, options: StagesOptions, headers: Record<string, string | string[]>): Record<string, string | string[]> {
  if (x.era === 'modern') return headers;
  const status = x.upstream?.status ?? 0;
  const id = x.upstream?.headers['mcp-session-id'];
  if (x.session?.minted === true && typeof id === 'string') {
    // The client knows its session by our id.
    delete headers['mcp-session-id'];
  }
  const isOver = (status === 404 && x.session?.minted !== true) || (x.httpMethod === 'DELETE' && status < 300);
  if (isOver && x.session && x.session.id !== '') options.sessions.end(x.session);
  if (status >= 300) return headers;
  const begins = x.message?.method === 'initialize';
  const owner = principalKey(x.principal);
  if (typeof id === 'string' && (begins || x.session?.minted !== true)) x.session = options.sessions.begin(id, owner, x.server.id);
  else if (begins) x.session = options.sessions.mint(owner, x.server.id);
  else return headers;
  // Only initialize says who the client is. A request that held a secret is not quoted on later records.
  if (begins && x.clean === true) x.session.claims = x.claims;
  return begins ? { ...headers, 'mcp-session-id': x.session.id } : headers;
}

/** Id of the request whose answer is waited for, in the spelling of {@link idKey}. */
function wantedId({ message }: Passage): string | undefined {
  return message?.kind === 'request' && message.id !== undefined ? idKey(message.id) : undefined;
}

function isArray(message: Buffer): boolean {
  let i = 0;
  while (message[i] === 0x20 || message[i] === 0x0a || message[i] === 0x0d || message[i] === 0x09) i++;
  return message[i] === 0x5b;
}

/** How a call ended, by its answer. */
export function resultOf(message: Buffer): Answer['result'] {
  // Inside a string the quotes would be escaped: most messages need no reading for this label of the record.
  if (!message.includes(ERROR_KEY) && !message.includes(IS_ERROR_KEY)) return 'ok';
  try {
    if (findValue(message, ['error'])) return 'rpc-error';
    const flag = findValue(message, ['result', 'isError']);
    return flag && message.toString('utf8', flag.start, flag.end) === 'true' ? 'tool-error' : 'ok';
  } catch {
    return 'rpc-error';
  }
}

function streamed(x: Passage, result: Answer['result']): Answer {
  return { status: x.upstream?.status ?? 200, headers: {}, body: Buffer.alloc(0), sent: true, result };
}

/** Writes with back-pressure. A client that is gone takes nothing, and holds up nobody; neither does an exchange that was ended. */
function write(response: ServerResponse, bytes: Buffer, { gone, end }: Passage): Promise<void> | undefined {
  if (gone.aborted || end.signal.aborted || response.destroyed || response.write(bytes)) return undefined;
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      end.signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
    // A reader that stands still must not keep a stream alive that was ended.
    end.signal.addEventListener('abort', done);
  });
}
