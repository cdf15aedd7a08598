import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';

/** The program that speaks MCP on stdio. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
}

/** A running adapter. */
export interface Adapter {
  readonly url: string;
  close(): Promise<void>;
}

type Json = Record<string, unknown>;
type Id = string | number;

interface Message extends Json {
  readonly id?: Id;
  readonly method?: string;
  readonly params?: Json & { readonly _meta?: Json };
  readonly error?: { readonly code?: number };
}

const VERSION_KEY = 'io.modelcontextprotocol/protocolVersion';
const SUBSCRIPTION_KEY = 'io.modelcontextprotocol/subscriptionId';
const FIRST_MODERN = '2026-07-28';
/** Errors of the modern era that go with HTTP 400. */
const MODERN_ERRORS = { from: -32_099, to: -32_000 };
const METHOD_NOT_FOUND = -32_601;
const HEADER_MISMATCH = -32_020;
/** How long a program may take to end when its stdin has ended, milliseconds. */
const END_MS = 2_000;

/**
 * Streamable HTTP in front of a program on stdio, for suites that know only URLs: a process for each legacy session, one for all modern
 * requests, whose ids are made unique. Whatever is HTTP's own (statuses, headers, sessions, continued streams) is the adapter's doing and
 * says nothing about the program.
 */
export async function startStdioAdapter(command: Command): Promise<Adapter> {
  const sessions = new Map<string, Program>();
  const all = new Set<Program>();
  let modern: Program | undefined;
  const start = (): Program => {
    const program = new Program(command);
    all.add(program);
    return program;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const header = request.headers['mcp-session-id'];
    const program = typeof header === 'string' ? sessions.get(header) : undefined;
    if (request.method === 'GET') {
      if (program) program.listen(response);
      else response.writeHead(header === undefined ? 405 : 404).end();
      return;
    }
    if (request.method === 'DELETE') {
      if (typeof header === 'string') sessions.delete(header);
      response.writeHead(program ? 200 : 404).end();
      await program?.end();
      return;
    }
    let message: Message;
    try {
      message = JSON.parse(Buffer.concat(parts).toString()) as Message;
    } catch {
      refuse(response, 400, -32_700, 'Parse error');
      return;
    }
    const version = request.headers['mcp-protocol-version'];
    const named = message.params?._meta?.[VERSION_KEY];
    // What header and body say must agree; a program on stdio sees no header.
    if (named === undefined ? typeof version === 'string' && version >= FIRST_MODERN : version !== named)
      refuse(response, 400, HEADER_MISMATCH, 'Header and body name different versions', message.id);
    else if (named !== undefined) {
      modern ??= start();
      modern.take(message, response, { modern: true });
    } else if (message.method === 'initialize') {
      const id = randomUUID();
      const fresh = start();
      sessions.set(id, fresh);
      response.setHeader('mcp-session-id', id);
      fresh.take(message, response, { modern: false });
    } else if (program) program.take(message, response, { modern: false });
    else refuse(response, header === undefined ? 400 : 404, -32_001, 'Session not found');
  };

  const http = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    close: async () => {
      await Promise.all([...all].map((program) => program.end()));
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function refuse(response: ServerResponse, status: number, code: number, message: string, id?: Id): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: { code, message } }));
}

/** A request that waits for its answer. */
interface Waiting {
  readonly id: Id;
  readonly progressToken: unknown;
  readonly response: ServerResponse;
  readonly modern: boolean;
}

/** One process and everything that waits for it. */
class Program {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<string, Waiting>();
  #stream: ServerResponse | undefined;
  #ids = 0;

  constructor({ command, args }: Command) {
    this.#child = spawn(command, args, { stdio: 'pipe' });
    this.#child.stderr.pipe(process.stderr);
    this.#child.stdin.on('error', () => undefined);
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#bring(JSON.parse(line) as Message));
    this.#child.once('exit', () => {
      for (const { response } of this.#waiting.values()) response.destroy();
      this.#stream?.destroy();
    });
  }

  /** A message of the client. */
  take(message: Message, response: ServerResponse, { modern }: { readonly modern: boolean }): void {
    const { id, method, params } = message;
    if (method === undefined || id === undefined) {
      const requestId = method === 'notifications/cancelled' ? this.#ownId(params?.['requestId']) : undefined;
      this.#write(requestId === undefined ? message : { ...message, params: { ...params, requestId } });
      response.writeHead(202).end();
      return;
    }
    const own = `adapter-${++this.#ids}`;
    this.#waiting.set(own, { id, progressToken: params?._meta?.['progressToken'], response, modern });
    response.once('close', () => {
      // On stdio there is no stream to leave; the notification says the same.
      if (this.#waiting.delete(own) && modern)
        this.#write({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: own, _meta: params?._meta } });
    });
    this.#write({ ...message, id: own });
  }

  /** The session's own stream. */
  listen(response: ServerResponse): void {
    this.#stream = response;
    begin(response);
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
    await exited;
    clearTimeout(timer);
  }

  #write(message: Json): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  #ownId(id: unknown): string | undefined {
    return [...this.#waiting].find(([, waiting]) => waiting.id === id)?.[0];
  }

  /** A message of the program. */
  #bring(message: Message): void {
    const { id, method } = message;
    if (method !== undefined) {
      const target = this.#streamFor(message);
      if (!target) return;
      const [response, restored] = target;
      begin(response);
      say(response, restored);
      return;
    }
    const waiting = this.#waiting.get(String(id));
    if (!waiting) return;
    this.#waiting.delete(String(id));
    const answer = withSubscription({ ...message, id: waiting.id }, String(id), waiting.id);
    const { response } = waiting;
    if (response.headersSent) {
      say(response, answer);
      response.end();
    } else {
      response.writeHead(statusOf(message, waiting.modern), { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer));
    }
  }

  /**
   * Where a request or notification of the program goes, as a client may see it: progress and subscriptions to what they belong to, changes to
   * the session's stream, anything else to the latest request that waits.
   */
  #streamFor(message: Message): readonly [ServerResponse, Json] | undefined {
    const { method = '', params } = message;
    const subscription = params?._meta?.[SUBSCRIPTION_KEY];
    const subscribed = this.#waiting.get(String(subscription));
    if (subscribed) return [subscribed.response, withSubscription(message, String(subscription), subscribed.id)];
    const waiting = [...this.#waiting.values()];
    if (method === 'notifications/progress') {
      const owner = waiting.findLast(({ progressToken }) => progressToken === params?.['progressToken']);
      return owner && [owner.response, message];
    }
    const ofSession = /list_changed$|^notifications\/resources\/updated$/.test(method);
    const response = ofSession ? this.#stream : (waiting.at(-1)?.response ?? this.#stream);
    return response && [response, message];
  }
}

/** The message with the client's id of a subscription in the place of ours. */
function withSubscription(message: Message, own: string, theirs: Id): Json {
  const restore = (part: Json | undefined): Json | undefined => {
    const meta = part?.['_meta'] as Json | undefined;
    return meta?.[SUBSCRIPTION_KEY] === own ? { ...part, _meta: { ...meta, [SUBSCRIPTION_KEY]: theirs } } : part;
  };
  const params = restore(message.params);
  const result = restore(message['result'] as Json | undefined);
  return { ...message, ...(params && { params }), ...(result && { result }) };
}

function begin(response: ServerResponse): void {
  if (response.headersSent) return;
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  response.flushHeaders();
}

function say(response: ServerResponse, message: Json): void {
  response.write(`event: message\ndata: ${JSON.stringify(message)}\n\n`);
}

/** The status that goes with an answer over HTTP. */
function statusOf({ error }: Message, modern: boolean): number {
  if (!modern || error?.code === undefined) return 200;
  if (error.code === METHOD_NOT_FOUND) return 404;
  return error.code >= MODERN_ERRORS.from && error.code <= MODERN_ERRORS.to ? 400 : 200;
}
