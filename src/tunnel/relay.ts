import type { ServerResponse } from 'node:http';
import { messageOf } from '../common/errors.ts';
import { JsonFault } from '../mcp/json.ts';
import { findValue } from '../mcp/message.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import { principalKey } from '../mcp/principal.ts';
import { SseSplitter, withData, type SseBlock } from '../mcp/sse.ts';
import type { Body } from '../upstream/body.ts';
import { headersToAgent, mediaTypeOf } from '../upstream/headers.ts';
import { expectAnswer } from './sessions.ts';
import { ENDED, isHeldByPause, notForwarded, type Answer, type Passage, type StagesOptions } from './stages.ts';
import { presentServer, presentTools, type ListedTools, type ToolView } from './presentation.ts';

/** Largest answer that is not a stream, bytes; it is held whole while it is inspected. */
export const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** How often a comment goes out on a stream of our own, milliseconds, so that a dead client is noticed. */
export const KEEP_ALIVE_MS = 25_000;

const METHOD_KEY = Buffer.from('"method"');
const ERROR_KEY = Buffer.from('"error"');
const IS_ERROR_KEY = Buffer.from('"isError"');

/** Stage 8: brings the server's answer to the agent, every message of it inspected. */
export async function relay(x: Passage, options: StagesOptions): Promise<Answer> {
  const { upstream } = x;
  if (!upstream) return notForwarded(x, 500, 'There is no answer to bring.');
  noteSession(x, options);
  const cleaned = options.core.inspector.headers(headersToAgent(upstream.headers));
  x.findings.push(...cleaned.findings);
  const mediaType = mediaTypeOf(upstream.headers);
  if (mediaType === 'text/event-stream' && upstream.status < 300) return relayStream(x, options, upstream.body, cleaned.headers);
  if (x.httpMethod === 'GET' && upstream.status === 405 && options.presentation.ownStream) {
    upstream.body.discard();
    return ownStream(x, options);
  }
  return relayWhole(x, options, upstream.body, cleaned.headers, mediaType);
}

async function relayWhole(
  x: Passage,
  options: StagesOptions,
  body: Body,
  headers: Record<string, string | string[]>,
  mediaType: string,
): Promise<Answer> {
  const status = x.upstream?.status ?? 502;
  const bytes = await body.collect(MAX_RESPONSE_BYTES).catch((error: unknown) => messageOf(error));
  if (typeof bytes === 'string' && x.end.signal.aborted)
    return { ...notForwarded(x, 200, ENDED), result: x.gone.aborted ? 'cancelled' : 'closed' };
  if (typeof bytes === 'string')
    return notForwarded(x, 200, `${x.server.label} broke off its answer (${bytes}). The call may or may not have been carried out.`);
  if (bytes === undefined)
    return notForwarded(
      x,
      200,
      `${x.server.label} answered with more than ${MAX_RESPONSE_BYTES / 1024 / 1024} MiB, which can’t be checked.`,
    );
  let out = bytes;
  const result: Answer['result'] = status < 300 ? 'ok' : 'upstream-error';
  if (bytes.length > 0) {
    if (mediaType === 'application/json') {
      out = inspect(x, options, bytes);
    } else {
      // Not every server names its JSON so; text that is none is searched as text.
      const inspected = options.core.inspector.message(bytes);
      x.findings.push(...inspected.findings);
      out = inspected.bytes;
    }
  }
  x.responseBytes = out.length;
  return { status, headers, body: out, sent: false, result };
}

async function relayStream(x: Passage, options: StagesOptions, body: Body, headers: Record<string, string | string[]>): Promise<Answer> {
  const { response } = x;
  response.writeHead(x.upstream?.status ?? 200, headers);
  response.flushHeaders();
  const splitter = new SseSplitter();
  let result: Answer['result'] = x.httpMethod === 'POST' && x.message?.kind === 'request' ? 'closed' : 'ok';
  const leave = register(x, options);
  try {
    for await (const chunk of body) {
      for (const block of splitter.push(chunk)) {
        const out =
          block.data === undefined || block.data.length === 0 ? cleanText(x, options, block.raw) : inspectBlock(x, options, block);
        if (block.data !== undefined && isAnswerTo(x, block.data)) result = resultOf(block.data);
        x.responseBytes += out.length;
        await write(response, out, x);
      }
    }
    // A clean end is a clean end. An unfinished event is none (HTML Living Standard, 9.2.6) and is not passed on.
    response.end();
  } catch (error) {
    response.destroy();
    if (x.gone.aborted && x.era === 'modern') result = 'cancelled';
    else if (!x.end.signal.aborted) return { ...streamed(x, 'upstream-error'), error: messageOf(error) };
    else result = x.gone.aborted ? 'ok' : 'closed';
  } finally {
    leave();
  }
  return streamed(x, result);
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
    const beat = setInterval(() => response.write(': \n\n'), KEEP_ALIVE_MS);
    beat.unref();
    const onEnd = () => {
      clearInterval(beat);
      leave();
      // The end of a pause, said just now, must arrive.
      if (isHeldByPause(x)) response.end();
      else response.destroy();
      resolve(streamed(x, 'ok'));
    };
    response.once('close', onEnd);
    x.end.signal.addEventListener('abort', onEnd, { once: true });
  });
}

/** Takes one message of the server through inspection and presentation. */
function inspect(x: Passage, options: StagesOptions, bytes: Buffer): Buffer {
  const inspected = options.core.inspector.message(bytes);
  x.findings.push(...inspected.findings);
  if (inspected.blocked === true)
    return errorBody(
      x.message?.kind === 'request' ? x.message.id : undefined,
      ERROR_CODE.upstream,
      'Culvert could not take a secret out of the answer, or not check it, so it did not let it pass. The call was carried out.',
    );
  const message = inspected.bytes;
  const method = x.httpMethod === 'GET' ? 'any' : x.message?.method;
  if (method === 'tools/list' || (method === 'any' && message.includes('tools'))) return listTools(x, options, message);
  if ((method === 'initialize' || method === 'server/discover') && options.presentation.nameAfterLabel)
    return presentServer(message, x.server.label);
  return message;
}

function listTools(x: Passage, options: StagesOptions, message: Buffer): Buffer {
  const { core, presentation } = options;
  const view = (name: string): ToolView => {
    const decision = core.access.decide(x.principal, {
      server: x.server.id,
      serverLabel: x.server.label,
      method: 'tools/call',
      tool: name,
      reads: core.catalog.reads(x.server.id, name),
    });
    return {
      listed: decision.effect !== 'deny',
      readOnlyHint: presentation.culvertConfirms && x.principal.client === 'vscode' ? true : undefined,
    };
  };
  // The catalog first: whether a tool reads is known from here on.
  const all = readTools(message);
  if (!all) return message;
  for (const name of core.catalog.observe(x.server.id, all.tools)) {
    x.findings.push({
      rule: 'tool-changed',
      severity: 'medium',
      subject: name,
      direction: 'to-agent',
      form: 'definition',
      action: 'reported',
    });
  }
  return presentTools(message, view)?.bytes ?? message;
}

/** The tools of a result; `undefined` if it is none, or nothing that can be read. */
function readTools(message: Buffer): ListedTools | undefined {
  try {
    return presentTools(message, () => ({ listed: true, readOnlyHint: undefined }));
  } catch (error) {
    if (error instanceof JsonFault && error.kind === 'syntax') return undefined;
    throw error;
  }
}

function inspectBlock(x: Passage, options: StagesOptions, block: SseBlock): Buffer {
  const data = block.data as Buffer;
  const out = inspect(x, options, data);
  noteServerRequest(x, out);
  // Ids and event names are seen by the client too.
  const beside = block.beside === undefined ? undefined : cleanText(x, options, block.beside);
  return out === data && beside === block.beside ? block.raw : withData(block, out, beside);
}

function cleanText(x: Passage, options: StagesOptions, raw: Buffer): Buffer {
  const inspected = options.core.inspector.text(raw);
  x.findings.push(...inspected.findings);
  return inspected.bytes;
}

/** A legacy server may ask the client something; only what it asked may be answered. */
function noteServerRequest(x: Passage, message: Buffer): void {
  if (x.era === 'modern' || !x.session || !message.includes(METHOD_KEY)) return;
  try {
    const method = findValue(message, ['method']);
    const id = findValue(message, ['id']);
    if (method && id) expectAnswer(x.session, message.toString('utf8', id.start, id.end));
  } catch (error) {
    // What no parser reads asks for nothing.
    if (!(error instanceof JsonFault)) throw error;
  }
}

function noteSession(x: Passage, options: StagesOptions): void {
  const id = x.upstream?.headers['mcp-session-id'];
  const status = x.upstream?.status ?? 0;
  if (x.era === 'modern') return;
  if (x.session && x.session.id !== '' && (status === 404 || (x.httpMethod === 'DELETE' && status < 300))) options.sessions.end(x.session);
  if (typeof id !== 'string' || status >= 300) return;
  x.session = options.sessions.begin(id, principalKey(x.principal), x.server.id);
  // Only initialize says who the client is. A request that held a secret is not quoted on later records.
  if (x.message?.method === 'initialize' && x.clean === true) x.session.claims = x.claims;
}

function isAnswerTo(x: Passage, data: Buffer): boolean {
  const wanted = x.message?.id;
  if (wanted === undefined || x.message?.kind !== 'request') return false;
  try {
    const id = findValue(data, ['id']);
    return id !== undefined && data.toString('utf8', id.start, id.end) === wanted && findValue(data, ['method']) === undefined;
  } catch {
    return false;
  }
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
