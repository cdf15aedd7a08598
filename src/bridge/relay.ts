import type { IncomingMessage } from 'node:http';
import { Call, failure } from './call.ts';
import { answers, findCapabilities, sameCapability, type Capability, type Search } from './capability.ts';
import { Handshake, versionOf } from './handshake.ts';
import { modernHeaders, ToolHeaders, type Ask } from './headers.ts';
import { ConnectionError, HttpClient, mediaType, readBody, type HttpCall } from './httpClient.ts';
import type { Limits } from './limits.ts';
import { follow, isStream, Link, ownReply, sessionIdOf, type Reading, type Reply } from './link.ts';
import {
  ERROR_CODE,
  errorAnswer,
  idKey,
  isJson,
  parseObject,
  rawId,
  rawIdKey,
  readMessage,
  shapeOf,
  type Json,
  type Message,
} from './message.ts';
import { lookPause, sleep, streamPause } from './pauses.ts';
import { Pressure } from './pressure.ts';
import { isSessionGone, statusText } from './refusal.ts';
import type { Cursor } from './sse.ts';
import type { Output } from './stdio.ts';

/** What the relay needs from its surroundings. */
export interface RelayOptions {
  readonly search: Search;
  /** Path of the server's MCP endpoint on the tunnel. */
  readonly path: string;
  readonly output: Output;
  readonly limits: Limits;
  /** Takes a short line for whoever looks for a fault. */
  readonly log: (line: string) => void;
  /** Called with true when stdin must be paused, with false when it may go on. */
  readonly onPressure: (paused: boolean) => void;
}

/** Methods that change nothing, so that sending one twice does no harm. */
const HARMLESS = /^(initialize|ping|server\/discover|(tools|prompts|resources(\/templates)?)\/list)$/;
/** Header/body mismatch, 2026-07-28. */
const HEADER_MISMATCH = -32020;
/** Requests of the server that wait for the agent's answer. Beyond, the oldest is forgotten. */
const MAX_SERVER_REQUESTS = 1_024;

const NOT_RUNNING =
  'Culvert is not running for this server. Open VS Code with Culvert enabled in the window where this server was added, then try again.';
const INTERRUPTED =
  'The window restarted or the connection broke while this call was running; it may or may not have been carried out. Check before you repeat it.';

/** Why a message can be sent again: what must be put right first. */
interface Retry {
  /**
   * `unreachable`: nobody listens. `refused`: the token or the server is unknown there. `busy`: so says the tunnel, maybe because of an old
   * token. `session`: the session is gone. `again`: nothing, just try.
   */
  readonly cause: 'unreachable' | 'refused' | 'busy' | 'session' | 'again';
  /** The answer if it can't be put right. */
  readonly otherwise: Buffer;
}

/** Carries messages between stdio and a tunnel, in both eras, across restarts of the window. */
export class Relay {
  readonly #options: RelayOptions;
  readonly #limits: Limits;
  readonly #output: Output;
  readonly #reading: Reading;
  readonly #http: HttpClient;
  readonly #pressure: Pressure;
  readonly #tools = new ToolHeaders();
  /** Requests of the agent in flight. */
  readonly #calls = new Map<string, Call>();
  /** Requests of the server that the agent has not answered, with the link they came over. */
  readonly #serverRequests = new Map<string, { readonly id: Buffer; readonly link: Link }>();
  #link: Link | undefined;
  #establishing: Promise<Link | undefined> | undefined;
  #handshake: Handshake | undefined;
  /** Set while `initialize` or `notifications/initialized` is under way; everything else waits. */
  #gate: Promise<void> | undefined;
  #notifications: Promise<unknown> = Promise.resolve();
  #modernVersion: string | undefined;
  #reason = NOT_RUNNING;
  #listening: Link | undefined;
  #stream: HttpCall | undefined;
  #watching = false;
  #closing = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#limits = options.limits;
    this.#output = options.output;
    this.#reading = { output: options.output, maxBytes: options.limits.messageBytes };
    this.#pressure = new Pressure(options.limits.heldBytes, options.onPressure);
    this.#http = new HttpClient(options.limits);
  }

  /** Takes a line from stdin; `undefined` stands for one that was too long. */
  accept(line: Buffer | undefined): void {
    const message = line && readMessage(line);
    if (!message) this.#output.write(errorAnswer('null', { code: ERROR_CODE.invalid, message: this.#tooLong() }));
    else if (message.kind === 'fault') this.#output.write(message.answer);
    else if (message.kind === 'request') this.#request(message);
    else if (message.kind === 'response') this.#response(message);
    else if (message.method === 'notifications/cancelled') this.#cancel(message);
    else this.#notification(message);
  }

  /** Stdin has ended: lets running calls finish for a moment, then ends the session. */
  async close(): Promise<void> {
    const deadline = Date.now() + this.#limits.drainMs;
    while ([...this.#calls.values()].some((call) => call.message.method !== 'subscriptions/listen') && Date.now() < deadline)
      await sleep(20);
    this.#closing = true;
    this.#stream?.abort();
    for (const call of this.#calls.values()) call.http?.abort();
    await Promise.race([this.#endSession(), sleep(this.#limits.goodbyeMs)]);
  }

  // --- What comes from the agent

  #request(message: Message): void {
    const call = new Call(message);
    if (this.#calls.size >= this.#limits.calls) {
      this.#fail(call, ERROR_CODE.busy, `More than ${this.#limits.calls} calls are running. Wait for some to finish.`);
      return;
    }
    this.#calls.set(message.key, call);
    this.#pressure.hold(call);
    if (message.modernVersion !== undefined) this.#modernVersion = message.modernVersion;
    if (message.method === 'initialize' && message.modernVersion === undefined) {
      this.#closeGate(async () => {
        void this.#endSession();
        const answered = new Promise<void>((resolve) => (call.onDone = resolve));
        // The stream of its answer may stay open; the others wait for the answer alone.
        await Promise.race([this.#serve(call), answered]);
      });
    } else void this.#afterGate(call);
  }

  #notification(message: Message): void {
    const call = new Call(message);
    this.#pressure.hold(call);
    if (message.method === 'notifications/initialized') {
      this.#closeGate(async () => {
        if (this.#handshake?.complete === false) this.#handshake.remember(message);
        await this.#serve(call);
        if (this.#link && this.#handshake) void this.#listen(this.#link);
      });
    } else {
      // One after the other: progress must not overtake progress. Requests do not wait for them.
      this.#notifications = this.#notifications.then(() => this.#afterGate(call));
    }
  }

  /** An answer to a request of the server goes over the link the request came from, or nowhere: elsewhere it would answer another question. */
  #response(message: Message): void {
    const link = this.#serverRequests.get(message.key)?.link;
    this.#serverRequests.delete(message.key);
    const call = new Call(message, link);
    this.#pressure.hold(call);
    if (link && link === this.#link) void this.#afterGate(call);
    else this.#fail(call);
  }

  #cancel(message: Message): void {
    const call = this.#calls.get(idKey(message.params['requestId']));
    if (!call) {
      // Unknown or done. Only a legacy server can have a use for it (a cancelled task, say).
      if (this.#handshake && message.modernVersion === undefined) this.#notification(message);
      return;
    }
    call.cancelled = true;
    this.#calls.delete(call.message.key);
    if (call.message.modernVersion !== undefined || !call.http) {
      // In the modern era the closed stream is the cancel (2026-07-28, Cancellation); what never was sent needs none.
      call.http?.abort();
      this.#finish(call);
    } else if (call.held > 0) call.onSent = () => this.#cancelLegacy(call, message);
    else this.#cancelLegacy(call, message);
  }

  #cancelLegacy(call: Call, message: Message): void {
    this.#notification(message);
    setTimeout(() => call.http?.abort(), this.#limits.cancelLingerMs).unref();
  }

  // --- A message and its answer

  async #serve(call: Call): Promise<void> {
    const deadline = Date.now() + this.#limits.windowReturnMs;
    for (let attempt = 0, again = 0; !call.isOver();) {
      const link = call.only ?? this.#link ?? (await this.#establish(0));
      if (call.isOver()) return;
      if (!link) {
        this.#fail(call, ERROR_CODE.notRunning, this.#reason);
        return;
      }
      const retry = await this.#attempt(call, link);
      if (!retry || call.isOver()) return;
      if (retry.cause === 'again' && Date.now() < deadline) await sleep(lookPause(this.#limits, again++));
      else if (retry.cause === 'again' || call.only || attempt++ >= this.#limits.retries || !(await this.#recover(link, retry.cause))) {
        if (retry.cause === 'unreachable') this.#fail(call, ERROR_CODE.notRunning, this.#reason);
        else this.#answer(call, retry.otherwise);
      } else if (call.message.method === 'notifications/initialized') {
        // The session was opened again with this very message.
        this.#finish(call);
        return;
      }
    }
  }

  /** Sends the message once. Returns only what is left to do; otherwise the call is over. */
  async #attempt(call: Call, link: Link): Promise<Retry | undefined> {
    const { message } = call;
    const version = message.modernVersion ?? (this.#handshake || message.method === 'initialize' ? undefined : this.#modernVersion);
    const onSent = (): void => {
      this.#pressure.release(call);
      call.onSent?.();
    };
    const http = link.post(message.bytes, version === undefined ? undefined : modernHeaders(message, version, this.#tools), onSent);
    call.http = http;
    call.link = link;
    let response: IncomingMessage;
    try {
      response = await http.response;
    } catch (error) {
      if (!(error instanceof ConnectionError))
        this.#fail(call, ERROR_CODE.invalid, 'The method or the protocol version can not stand in a header.');
      else if (error.absent) return { cause: 'unreachable', otherwise: failure(call, ERROR_CODE.notRunning, this.#reason) };
      else if (!error.delivered)
        return { cause: 'again', otherwise: failure(call, ERROR_CODE.busy, 'Culvert takes no more connections at the moment.') };
      else if (HARMLESS.test(message.method)) return { cause: 'again', otherwise: failure(call, ERROR_CODE.interrupted, INTERRUPTED) };
      else this.#fail(call, ERROR_CODE.interrupted, INTERRUPTED);
      return undefined;
    }
    if (message.kind !== 'request' && (response.statusCode ?? 0) < 300) {
      response.resume();
      this.#finish(call);
      return undefined;
    }
    if (response.statusCode !== 200) return this.#status(call, link, response);
    if (message.method === 'initialize') link.sessionId = sessionIdOf(response);
    if (mediaType(response) === 'text/event-stream') {
      await this.#streamed(call, link, response);
      return undefined;
    }
    const body = await readBody(response, this.#limits.messageBytes);
    if (!body) this.#fail(call, ERROR_CODE.interrupted, INTERRUPTED);
    else if (!this.#takeAnswer(body, call)) this.#fail(call, ERROR_CODE.badAnswer, 'The server sent no JSON-RPC answer to this call.');
    return undefined;
  }

  /** An answer with another status than 200. */
  async #status(call: Call, link: Link, response: IncomingMessage): Promise<Retry | undefined> {
    const status = response.statusCode ?? 0;
    const body = (await readBody(response, this.#limits.messageBytes)) ?? Buffer.alloc(0);
    const json = parseObject(body);
    const error = errorOf(json);
    const ours = error !== undefined && idKey(json?.['id']) === call.message.key;
    const otherwise = ours
      ? body
      : error
        ? errorAnswer(rawId(call.message.bytes), error)
        : failure(call, ERROR_CODE.refused, statusText(status));
    if (status === 401) return { cause: 'refused', otherwise };
    if (
      call.message.modernVersion === undefined &&
      link.sessionId !== undefined &&
      call.message.method !== 'initialize' &&
      isSessionGone(status, error, ours)
    )
      return { cause: 'session', otherwise };
    if (status === 404 && !error) return { cause: 'refused', otherwise };
    if (status === 503 && this.#isReplaced(link)) return { cause: 'busy', otherwise };
    if (status === 400 && error?.['code'] === HEADER_MISMATCH && call.message.method === 'tools/call' && !call.relisted) {
      // The server wants arguments repeated as headers. stdio clients know nothing of that; nothing was carried out yet.
      call.relisted = true;
      const ask: Ask = (bytes, headers, id) => this.#ownReply(link, link.post(bytes, headers), id);
      if (await this.#tools.listAnew(call.message, this.#limits.ownListPages, ask)) return { cause: 'again', otherwise };
    }
    this.#answer(call, otherwise);
    return undefined;
  }

  /** Passes on the stream that answers a request, and continues it where the server allows that. */
  async #streamed(call: Call, link: Link, first: IncomingMessage): Promise<void> {
    let response: IncomingMessage | undefined = first;
    for (let attempts = 0; response;) {
      const before: string | undefined = call.cursor.lastEventId;
      const end = await follow(response, call.cursor, (data) => this.#take(data, link, call), this.#reading);
      if (end === 'too-large') this.#fail(call, ERROR_CODE.badAnswer, this.#tooLong());
      if (call.cursor.lastEventId !== before) attempts = 0;
      response = undefined;
      while (
        !response &&
        !call.isOver() &&
        call.message.modernVersion === undefined &&
        call.cursor.lastEventId !== undefined &&
        attempts < this.#limits.streamAttempts
      ) {
        await sleep(call.cursor.retryMs ?? streamPause(this.#limits, attempts));
        attempts++;
        // Another session has no memory of this stream.
        if (call.isOver() || this.#closing || this.#link !== link) break;
        call.http = link.get(call.cursor.lastEventId);
        try {
          const next = await call.http.response;
          if (isStream(next)) response = next;
          else {
            next.resume();
            break;
          }
        } catch (error) {
          if (error instanceof ConnectionError && error.absent) break;
        }
      }
    }
    this.#fail(call, ERROR_CODE.interrupted, INTERRUPTED);
  }

  /** Answers a call with an error of the bridge; for any other message, notes that it was lost. */
  #fail(call: Call, code = 0, message = ''): void {
    this.#answer(call, call.message.kind === 'request' ? failure(call, code, message) : Buffer.alloc(0));
  }

  /** Writes the answer of a call, once. */
  #answer(call: Call, bytes: Buffer): void {
    const { message, link } = call;
    if (!call.isOver()) {
      if (message.kind !== 'request') this.#options.log(`could not deliver ${message.method || 'an answer'}`);
      else {
        if (link && message.modernVersion === undefined) this.#learnSession(message, link, bytes);
        else if (message.method === 'tools/list') this.#tools.learn(parseObject(bytes)?.['result']);
        this.#output.write(bytes);
      }
    }
    this.#finish(call);
  }

  /** Remembers what shapes the session. */
  #learnSession(message: Message, link: Link, bytes: Buffer): void {
    if (message.method !== 'initialize' && !Handshake.concerns(message)) return;
    const result = parseObject(bytes)?.['result'];
    if (!isJson(result)) return;
    if (message.method === 'initialize') {
      link.version = versionOf(result);
      this.#handshake = new Handshake(message.bytes, result);
    } else this.#handshake?.remember(message);
  }

  // --- What comes from the server besides answers

  /** Takes a message of the server from a stream; `call` is what the stream answers. */
  #take(data: Buffer, link: Link, call?: Call): void {
    const shape = shapeOf(data);
    if (shape?.method) {
      if (shape.id) {
        this.#serverRequests.set(rawIdKey(shape.id), { id: shape.id, link });
        if (this.#serverRequests.size > MAX_SERVER_REQUESTS)
          for (const oldest of this.#serverRequests.keys()) if (this.#serverRequests.delete(oldest)) break;
      }
      this.#output.write(data);
    } else if (!this.#takeAnswer(data, call)) this.#options.log('left out an event that answers nothing');
  }

  /** Takes an answer to `call` or, since a server may resume on another stream, to any other running one. False: it is none. */
  #takeAnswer(data: Buffer, call: Call | undefined): boolean {
    const shape = shapeOf(data);
    if (!shape?.answer) return false;
    const key = rawIdKey(shape.id);
    const answered = call?.message.key === key ? call : this.#calls.get(key);
    if (answered) this.#answer(answered, data);
    else if (call && (key === '' || key === 'null'))
      this.#answer(call, errorAnswer(rawId(call.message.bytes), errorOf(parseObject(data)) ?? {}));
    else return false;
    return true;
  }

  /** Keeps the session's own stream open as long as `link` is the one in use. */
  async #listen(link: Link): Promise<void> {
    if (this.#listening === link) return;
    this.#listening = link;
    const cursor: Cursor = {};
    let worked = false;
    const current = (): boolean => this.#link === link && !this.#closing;
    for (let attempts = 0; attempts < this.#limits.streamAttempts && current(); attempts++) {
      this.#stream?.abort();
      this.#stream = link.get(cursor.lastEventId);
      try {
        const response = await this.#stream.response;
        if (!isStream(response)) {
          response.resume();
          // 405: the server has no such stream. A 404 or 401 means more only if there was a stream before.
          if (worked && current() && (response.statusCode === 404 || response.statusCode === 401))
            void this.#recover(link, response.statusCode === 401 ? 'refused' : 'session');
          return;
        }
        worked = true;
        const onMessage = (data: Buffer): void => {
          attempts = 0;
          this.#take(data, link);
        };
        await follow(response, cursor, onMessage, this.#reading);
      } catch (error) {
        if (error instanceof ConnectionError && error.absent) {
          if (current()) void this.#recover(link, 'unreachable');
          return;
        }
      }
      if (current()) await sleep(cursor.retryMs ?? streamPause(this.#limits, attempts));
    }
  }

  // --- The way to the tunnel

  /** Puts right what made `link` fail. False: it can't be. */
  async #recover(link: Link, cause: Exclude<Retry['cause'], 'again'>): Promise<boolean> {
    if (this.#link !== link) return (this.#link ?? (await this.#establishing)) !== undefined;
    this.#link = undefined;
    const waitMs = { unreachable: this.#limits.windowReturnMs, refused: this.#limits.tokenReturnMs, busy: 0, session: 0 }[cause];
    const found = await this.#establish(waitMs, cause === 'refused' || cause === 'busy' ? link.capability : undefined);
    if (found) return true;
    // A refused token may still be good for what is running.
    if (cause === 'refused' || cause === 'busy') this.#link ??= link;
    else if (this.#handshake) void this.#watch();
    return false;
  }

  /** Finds a tunnel and opens the session on it, if there is one to open. One search at a time. */
  #establish(waitMs: number, unlike?: Capability): Promise<Link | undefined> {
    this.#establishing ??= this.#search(waitMs, unlike).finally(() => (this.#establishing = undefined));
    return this.#establishing;
  }

  async #search(waitMs: number, unlike: Capability | undefined): Promise<Link | undefined> {
    const deadline = Date.now() + waitMs;
    this.#reason = NOT_RUNNING;
    for (let look = 0; !this.#closing; look++) {
      for (const capability of findCapabilities(this.#options.search)) {
        if (unlike && sameCapability(capability, unlike)) continue;
        if (!(await answers(capability, this.#limits.connectMs))) continue;
        const link = new Link(this.#http, this.#options.path, capability);
        const refusal = await this.#handshake?.replay(link, (call, id) => this.#ownReply(link, call, id));
        if (refusal === undefined) {
          this.#arrive(link);
          return link;
        }
        this.#reason = `Culvert is there, but the session could not be opened again: ${refusal}. Restart the server in your agent.`;
      }
      const pause = lookPause(this.#limits, look);
      if (Date.now() + pause > deadline) break;
      await sleep(pause);
    }
    return undefined;
  }

  #arrive(link: Link): void {
    this.#link = link;
    if (!this.#handshake) return;
    for (const [key, { id, link: from }] of this.#serverRequests) {
      if (from === link) continue;
      this.#serverRequests.delete(key);
      this.#output.write(
        Buffer.from(
          `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${id.toString()},"reason":"The window restarted."}}`,
        ),
      );
    }
    if (!this.#handshake.complete) return;
    for (const change of this.#handshake.missedChanges()) this.#output.write(change);
    void this.#listen(link);
  }

  /** Looks now and then for a window that is long in coming back, so that the agent hears of changes before it calls. */
  async #watch(): Promise<void> {
    if (this.#watching) return;
    this.#watching = true;
    for (let attempts = 1; attempts <= this.#limits.streamAttempts && !this.#closing; attempts++) {
      await sleep(streamPause(this.#limits, attempts));
      if (this.#link ?? (await this.#establish(0))) break;
    }
    this.#watching = false;
  }

  /** Whether the capability file names another tunnel or token by now. */
  #isReplaced(link: Link): boolean {
    return !findCapabilities(this.#options.search).some((capability) => sameCapability(capability, link.capability));
  }

  /** Ends the legacy session, if there is one, and forgets it. */
  async #endSession(): Promise<void> {
    const link = this.#link;
    if (!link || !this.#handshake) return;
    this.#handshake = undefined;
    this.#stream?.abort();
    this.#link = new Link(this.#http, this.#options.path, link.capability);
    if (link.sessionId !== undefined) await link.delete().response.catch(() => undefined);
  }

  #tooLong(): string {
    return `A message is longer than ${this.#limits.messageBytes} bytes.`;
  }

  #ownReply(link: Link, call: HttpCall, id: string | undefined): Promise<Reply> {
    return ownReply(call, id, this.#limits.handshakeMs, this.#reading, (data) => this.#take(data, link));
  }

  // --- Order

  /** Runs `task` after whatever holds the gate now; everything that comes later waits for it. */
  #closeGate(task: () => Promise<void>): void {
    const gate: Promise<void> = (this.#gate ?? Promise.resolve()).then(task).then(() => {
      if (this.#gate === gate) this.#gate = undefined;
    });
    this.#gate = gate;
  }

  async #afterGate(call: Call): Promise<void> {
    while (this.#gate) await this.#gate;
    await this.#serve(call);
  }

  #finish(call: Call): void {
    call.done = true;
    this.#pressure.release(call);
    if (this.#calls.get(call.message.key) === call) this.#calls.delete(call.message.key);
    call.onDone?.();
  }
}

function errorOf(message: Json | undefined): Json | undefined {
  const error = message?.['error'];
  return isJson(error) ? error : undefined;
}
