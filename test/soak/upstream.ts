/**
 * The server behind the soak, a process of its own that gets killed: `node upstream.ts <port> <journal>`. Does what each call wishes, faults
 * included, and notes in the journal, before it answers, that a call has arrived. `GET /open` tells how many exchanges are open.
 */
import { randomUUID } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { answerText, BIG_EVENTS, bigText, LEGACY_VERSION, MODERN_VERSION, STEPS, TOOL, type Wish } from './plan.ts';

/** Between steps of a stream, and between notifications, milliseconds. */
const STEP_MS = 25;
const NOTIFICATION_MS = 200;

interface Message {
  readonly id?: string | number;
  readonly method?: string;
  readonly params?: {
    readonly name?: string;
    readonly arguments?: Wish;
    readonly requestId?: string | number;
    readonly _meta?: { readonly progressToken?: string | number };
  };
  readonly result?: unknown;
}

const [, , port = '0', journalPath = ''] = process.argv;
const journal = openSync(journalPath, 'a');
const sessions = new Set<string>();
/** Calls that run, by session and id, for cancellation. */
const running = new Map<string, AbortController>();
/** Questions to clients that wait for their answer. */
const questions = new Map<string, (answer: unknown) => void>();
let streams = 0;
let open = 0;

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  if (request.url === '/open') {
    response.end(String(open));
    return;
  }
  open++;
  response.once('close', () => open--);
  response.on('error', () => undefined);
  request.on('error', () => undefined);
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    answer(request, response, Buffer.concat(parts)).catch(() => response.destroy());
  });
});

async function answer(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
  const session = request.headers['mcp-session-id'];
  const modern = request.headers['mcp-protocol-version'] === MODERN_VERSION;
  const known = modern || (typeof session === 'string' && sessions.has(session));
  if (request.method === 'GET') {
    if (known) await notify(response);
    else refuse(response);
    return;
  }
  if (request.method === 'DELETE') {
    sessions.delete(String(session));
    response.writeHead(200).end();
    return;
  }
  const message = JSON.parse(body.toString()) as Message;
  if (message.method === 'initialize') {
    const id = randomUUID();
    sessions.add(id);
    json(
      response,
      message,
      { protocolVersion: LEGACY_VERSION, capabilities: { tools: {} }, serverInfo: { name: 'soak', version: '1' } },
      id,
    );
  } else if (!known) refuse(response);
  else if (message.method === 'tools/list') json(response, message, { tools: [{ name: TOOL, inputSchema: { type: 'object' } }] });
  else if (message.method === 'subscriptions/listen') await notify(response, message);
  else if (message.method === 'tools/call') await work(request, response, message, String(session));
  else {
    if (message.method === 'notifications/cancelled') running.get(`${String(session)} ${String(message.params?.requestId)}`)?.abort();
    else if (message.method === undefined) questions.get(String(message.id))?.(message.result);
    response.writeHead(202).end();
  }
}

function refuse(response: ServerResponse): void {
  response.writeHead(404, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }));
}

function resultText({ id }: Message, result: unknown): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result });
}

function json(response: ServerResponse, message: Message, result: unknown, session?: string): void {
  response.writeHead(200, { 'content-type': 'application/json', ...(session !== undefined && { 'mcp-session-id': session }) });
  response.end(resultText(message, result));
}

function begin(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.flushHeaders();
}

/** Resolves when the reader has caught up, or is gone. */
function caughtUp(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}

/** Writes an event; waits while the reader is behind. */
async function say(response: ServerResponse, message: unknown): Promise<void> {
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  if (response.write(`event: message\ndata: ${text}\n\n`) || response.destroyed) return;
  await caughtUp(response);
}

/** A long stream: numbered notifications until the client leaves. */
async function notify(response: ServerResponse, listen?: Message): Promise<void> {
  const stream = ++streams;
  begin(response);
  if (listen) await say(response, { jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: {} });
  for (let n = 1; !response.destroyed; n++) {
    await say(response, { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: { stream, n } } });
    await pause(NOTIFICATION_MS);
  }
}

async function work({ socket }: IncomingMessage, response: ServerResponse, message: Message, session: string): Promise<void> {
  const wish = message.params?.arguments;
  if (!wish) throw new Error('A call without a wish.');
  // In one write, so that nothing of it is lost when the process is killed.
  writeSync(journal, `${wish.nonce}\n`);
  const { manner, fault, nonce } = wish;
  if (fault === 'reset-before') {
    socket.resetAndDestroy();
    return;
  }
  const result = { content: [{ type: 'text', text: answerText(wish) }] };
  const text = resultText(message, result);
  if (manner === 'json' || manner === 'drip') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    const pieces = manner === 'json' && fault === 'none' ? [text] : [text.slice(0, 9), text.slice(9, 30), text.slice(30)];
    for (const piece of pieces) {
      response.write(piece);
      if (fault !== 'none') {
        await pause(STEP_MS);
        socket.resetAndDestroy();
        return;
      }
      if (pieces.length > 1) await pause(STEP_MS);
    }
    response.end();
    return;
  }
  const stop = new AbortController();
  const key = `${session} ${String(message.id)}`;
  running.set(key, stop);
  response.once('close', () => stop.abort());
  try {
    await streamed(response, message, wish, stop.signal);
    if (fault === 'reset-after') socket.resetAndDestroy();
    else if (fault === 'truncate') {
      response.write(`event: message\ndata: ${text.slice(0, text.length - 4)}`);
      await pause(STEP_MS);
      response.destroy();
    } else if (fault === 'end-early' || stop.signal.aborted) response.end();
    else if (manner === 'ask')
      response.end(`data: ${resultText(message, { content: [{ type: 'text', text: await ask(response, nonce, stop.signal) }] })}\n\n`);
    else response.end(`data: ${text}\n\n`);
  } finally {
    running.delete(key);
  }
}

async function streamed(response: ServerResponse, message: Message, { manner, nonce }: Wish, signal: AbortSignal): Promise<void> {
  begin(response);
  const progressToken = message.params?._meta?.progressToken;
  const progress = (n: number, text: string): Promise<void> =>
    say(response, { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: n, message: text } });
  if (manner === 'big') for (let i = 1; i <= BIG_EVENTS && !signal.aborted; i++) await progress(i, bigText(nonce, i));
  else if (manner === 'hang') for (let i = 1; !signal.aborted; i++) await Promise.all([progress(i, nonce), pause(STEP_MS)]);
  else for (let i = 1; i <= STEPS && !signal.aborted; i++) await Promise.all([progress(i, nonce), pause(STEP_MS)]);
}

/** Asks the client on the stream of its call; the answer comes as a request of its own. */
async function ask(response: ServerResponse, nonce: string, signal: AbortSignal): Promise<string> {
  const id = `ask-${nonce}`;
  const answered = new Promise<unknown>((resolve) => {
    questions.set(id, resolve);
    signal.addEventListener('abort', () => resolve(undefined));
  });
  await say(response, { jsonrpc: '2.0', id, method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } });
  const reply = (await answered) as { readonly content?: { readonly text?: string } } | undefined;
  questions.delete(id);
  return `ask of ${nonce}: ${reply?.content?.text ?? 'no answer'}`;
}

server.listen(Number(port), '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
process.stdin.resume().once('end', () => process.exit(0));
