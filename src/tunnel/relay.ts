import type { ServerResponse } from 'node:http';
import { messageOf } from '../common/errors.ts';
import { ListMemory } from '../inspection/listMemory.ts';
import type { Inspected } from '../inspection/inspector.ts';
import type { Finding } from '../mcp/finding.ts';
import { JSON_LINES_TYPES, JsonLineSplitter } from '../mcp/jsonLines.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import { principalKey } from '../mcp/principal.ts';
import { SseSplitter, withData, type SseBlock } from '../mcp/sse.ts';
import type { Body } from '../upstream/body.ts';
import { headersToAgent, mediaTypeOf } from '../upstream/headers.ts';
import { MAX_ERROR_BODY_BYTES } from '../upstream/limits.ts';
import { ENDED, notForwarded, type Answer } from './answers.ts';
import { passingOf } from './outgoing.ts';
import { enter, isHeld, type Passage } from './passage.ts';
import { isArray, present, presentAll, resultOf, roleOf, wantedId } from './presenting.ts';
import type { StagesOptions } from './stages.ts';

/** Largest answer that is not a stream, bytes; it is held whole while it is inspected. */
export const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** How often a comment goes out on a stream of our own, milliseconds, so that a dead client is noticed. */
export const KEEP_ALIVE_MS = 25_000;

/** Findings that are kept of one exchange. What is found beyond is redacted all the same. */
const MAX_FINDINGS = 2_000;

/** Stage 8: brings the server's answer to the agent, every message of it inspected. */
export function relay(x: Passage, options: StagesOptions): Promise<Answer> | Answer {
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
  const arriving = body.collect(maxBytes, limits);
  const bytes = arriving instanceof Promise ? await arriving.catch((error: unknown) => messageOf(error)) : arriving;
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
  const inspected = bytes.length > 0 ? inspect(x, options, bytes) : bytes;
  const out = inspected instanceof Promise ? await inspected : inspected;
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
function inspect(x: Passage, options: StagesOptions, bytes: Buffer): Promise<Buffer> | Buffer {
  const redacted = redact(x, options, bytes);
  if (redacted instanceof Promise) return redacted.then((message) => shown(x, options, message));
  return shown(x, options, redacted);
}

/** An inspected answer as the agent gets it. */
function shown(x: Passage, options: StagesOptions, message: Buffer | undefined): Buffer {
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
function redact(x: Passage, { core }: StagesOptions, bytes: Buffer): Promise<Buffer | undefined> | Buffer | undefined {
  const where = passingOf(x, core);
  const looked = ListMemory.remembers(x.message?.method) ? core.leaks.lists.look(bytes, where) : core.inspector.look(bytes, where);
  return looked instanceof Promise ? looked.then((inspected) => cleaned(x, inspected)) : cleaned(x, looked);
}

function cleaned(x: Passage, inspected: Inspected): Buffer | undefined {
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

function cleanText(x: Passage, options: StagesOptions, raw: Buffer): Buffer {
  const inspected = options.core.inspector.text(raw, passingOf(x, options.core));
  if (inspected.findings.length > 0) noteFindings(x, inspected.findings);
  return inspected.bytes;
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
