import { Agent, request, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import {
  answerText,
  BIG_EVENTS,
  bigText,
  Dice,
  LEGACY_VERSION,
  MODERN_VERSION,
  STEPS,
  TOOL,
  type Fault,
  type Manner,
  type Wish,
} from './plan.ts';
import type { Access } from './tunnelHost.ts';

/** How a call came out for its caller. `refused`: the tunnel or the server did not know the token or session any more. */
export type Outcome = 'answered' | 'error' | 'refused' | 'broken' | 'cancelled';

/** A call that was sent. */
export interface Call {
  readonly wish: Wish;
  readonly era: 'legacy' | 'modern';
  readonly from: number;
  readonly to: number;
  readonly outcome: Outcome;
  /** Whether token or session were out of date before it was sent, so that a refusal is right. */
  readonly stale: boolean;
  readonly detail: string;
}

/** What all sessions share. */
export interface Ground {
  access: Access;
  /** Grows with every restart of the server and every revocation: older sessions are gone. */
  generation: number;
  readonly calls: Call[];
  readonly violations: string[];
  /** When long streams were refused as not offered, milliseconds. */
  readonly refusedStreams: { readonly from: number; readonly to: number }[];
  /** Notifications that arrived on long streams. */
  notifications: number;
  /** Answers to questions of the server that were sent. */
  replies: number;
  readonly over: AbortSignal;
}

/** Between two calls of a session, milliseconds. */
const THINKING_MS = { from: 100, to: 1_100 };
/** A slow reader takes a chunk, then waits, milliseconds. */
const SLOW_MS = 15;
/** A call that has no outcome after this is lost, milliseconds. */
const LOST_MS = 30_000;
/** How often, and how far apart, something is sent again that was refused while its call runs. */
const INSIST_TIMES = 10;
const INSIST_MS = 50;
/** Progress after which a client gives a call up. */
const PATIENCE_STEPS = 2;

const MANNERS: readonly (readonly [number, Manner])[] = [
  [8, 'json'],
  [3, 'drip'],
  [8, 'stream'],
  [2, 'big'],
  [3, 'ask'],
  [2, 'hang'],
];
const FAULTS: readonly (readonly [number, Fault])[] = [
  [30, 'none'],
  [1, 'reset-before'],
  [1, 'reset-after'],
  [1, 'truncate'],
  [1, 'end-early'],
];

interface Rpc {
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: {
    readonly progressToken?: unknown;
    readonly progress?: number;
    readonly message?: string;
    readonly data?: { stream: number; n: number };
  };
  readonly result?: { readonly content?: readonly { readonly text?: string }[] };
  readonly error?: { readonly code?: number; readonly message?: string };
}

/** One agent's session through the tunnel: calls one after the other, and a long stream beside them. */
export class Session {
  readonly #ground: Ground;
  readonly #name: string;
  readonly #era: 'legacy' | 'modern';
  readonly #slow: boolean;
  readonly #listens: boolean;
  readonly #dice: Dice;
  readonly #agent = new Agent({ keepAlive: true });
  /** The token that it knows; it learns of another one by being refused. */
  #token: string;
  readonly #number: number;
  #generation = -1;
  #sessionId: string | undefined;
  #ids = 0;
  #stream: ClientRequest | undefined;

  constructor(ground: Ground, number: number, seed: number) {
    this.#ground = ground;
    this.#number = number;
    this.#token = this.#currentToken;
    this.#name = `s${number}`;
    this.#era = number % 3 === 2 ? 'modern' : 'legacy';
    this.#slow = number % 7 === 3;
    this.#listens = number % 2 === 0;
    this.#dice = new Dice(seed * 7_919 + number);
  }

  /** Calls until the ground is over; resolves when nothing of it is open. */
  async run(): Promise<void> {
    const { over } = this.#ground;
    // All at once is another test.
    await pause(this.#dice.between(0, THINKING_MS.to));
    while (!over.aborted) {
      if (this.#isStale() && !(await this.#connect())) {
        await pause(THINKING_MS.from);
        continue;
      }
      await this.#callOnce();
      await pause(this.#dice.between(THINKING_MS.from, THINKING_MS.to));
    }
    this.#stream?.destroy();
    this.#agent.destroy();
  }

  /** Whether the token or the session is known to be gone. Half the sessions don't know and find out by being refused. */
  #isStale(): boolean {
    return this.#generation < 0;
  }

  async #connect(): Promise<boolean> {
    this.#token = this.#currentToken;
    const { generation } = this.#ground;
    this.#sessionId = undefined;
    if (this.#era === 'legacy') {
      try {
        const params = { protocolVersion: LEGACY_VERSION, capabilities: { sampling: {} }, clientInfo: { name: this.#name, version: '1' } };
        const response = await this.#post({ id: 0, method: 'initialize', params });
        response.resume();
        const id = response.headers['mcp-session-id'];
        if (response.statusCode !== 200 || typeof id !== 'string') return false;
        this.#sessionId = id;
        (await this.#post({ method: 'notifications/initialized' })).resume();
      } catch {
        return false;
      }
    }
    this.#generation = generation;
    if (this.#listens) void this.#listen();
    return true;
  }

  get #currentToken(): string {
    const { tokens } = this.#ground.access;
    return tokens[this.#number % tokens.length] ?? '';
  }

  #headers(method?: string): OutgoingHttpHeaders {
    return {
      host: 'localhost',
      authorization: `Bearer ${this.#token}`,
      accept: 'application/json, text/event-stream',
      ...(this.#sessionId !== undefined && { 'mcp-session-id': this.#sessionId, 'mcp-protocol-version': LEGACY_VERSION }),
      ...(this.#era === 'modern' && {
        'mcp-protocol-version': MODERN_VERSION,
        'mcp-method': method,
        ...(method === 'tools/call' && { 'mcp-name': TOOL }),
      }),
    };
  }

  #open(
    method: 'POST' | 'GET',
    headers: OutgoingHttpHeaders,
    body?: string,
  ): { request: ClientRequest; response: Promise<IncomingMessage> } {
    const { socketPath, path } = this.#ground.access;
    const outgoing = request({ socketPath, path, method, headers, agent: method === 'POST' ? this.#agent : false });
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      outgoing.once('response', resolve);
      outgoing.on('error', reject);
    });
    outgoing.end(body);
    return { request: outgoing, response };
  }

  #send(message: Readonly<Record<string, unknown>>): { request: ClientRequest; response: Promise<IncomingMessage> } {
    const { params } = message;
    const meta = { 'io.modelcontextprotocol/protocolVersion': MODERN_VERSION, 'io.modelcontextprotocol/clientCapabilities': {} };
    const full =
      this.#era === 'modern'
        ? { ...message, params: { ...(params as object), _meta: { ...(params as { _meta?: object } | undefined)?._meta, ...meta } } }
        : message;
    const body = JSON.stringify({ jsonrpc: '2.0', ...full });
    const method = typeof message['method'] === 'string' ? message['method'] : undefined;
    const headers = { ...this.#headers(method), 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    return this.#open('POST', headers, body);
  }

  #post(message: Readonly<Record<string, unknown>>): Promise<IncomingMessage> {
    return this.#send(message).response;
  }

  /** A long stream, whose notifications must come in order and without a gap. */
  async #listen(): Promise<void> {
    this.#stream?.destroy();
    const from = performance.now();
    const opened =
      this.#era === 'modern'
        ? this.#send({ id: `listen-${++this.#ids}`, method: 'subscriptions/listen', params: { notifications: {} } })
        : this.#open('GET', { ...this.#headers(), accept: 'text/event-stream' });
    this.#stream = opened.request;
    try {
      const response = await opened.response;
      if (response.statusCode === 405) this.#ground.refusedStreams.push({ from, to: performance.now() });
      let last: { stream: number; n: number } | undefined;
      const parser = createParser({
        onEvent: ({ data }) => {
          const { id, params } = JSON.parse(data) as Rpc;
          if (id !== undefined) this.#violate(`an answer came on a long stream: ${data.slice(0, 200)}`);
          const seen = params?.data;
          if (!seen) return;
          this.#ground.notifications++;
          if (seen.n !== (last?.n ?? 0) + 1 || (last && seen.stream !== last.stream))
            this.#violate(`notification ${JSON.stringify(seen)} came after ${JSON.stringify(last)}`);
          last = seen;
        },
      });
      for await (const chunk of response) parser.feed((chunk as Buffer).toString());
    } catch {
      // Streams end with what they depend on; the next connect opens another.
    }
  }

  async #callOnce(): Promise<void> {
    const { calls, over } = this.#ground;
    const manner = this.#dice.pick(this.#era === 'modern' ? MANNERS.filter(([, m]) => m !== 'ask') : MANNERS);
    const wish: Wish = {
      nonce: `${this.#name}-${++this.#ids}`,
      manner,
      fault: manner === 'hang' || manner === 'ask' ? 'none' : this.#dice.pick(FAULTS),
    };
    const id = this.#ids;
    const stale = this.#token !== this.#currentToken || this.#generation !== this.#ground.generation;
    const from = performance.now();
    const lost = setTimeout(() => {
      this.#violate(`no outcome of ${JSON.stringify(wish)} after ${LOST_MS / 1_000} s`);
      sent.request.destroy();
    }, LOST_MS);
    const params = { name: TOOL, arguments: wish, _meta: { progressToken: `p-${wish.nonce}` } };
    const sent = this.#send({ id, method: 'tools/call', params });
    const seen = new Answers(id, wish, (text) => this.#violate(text));
    let outcome: Outcome;
    let detail = '';
    try {
      outcome = await this.#follow(await sent.response, sent.request, seen, id, wish);
    } catch (error) {
      detail = (error as Error).message;
      outcome = seen.count > 0 ? seen.outcome : 'broken';
    }
    clearTimeout(lost);
    if (seen.gaveUp && outcome === 'broken') outcome = 'cancelled';
    if (seen.error !== undefined) detail = seen.error;
    calls.push({ wish, era: this.#era, from, to: performance.now(), outcome, stale, detail });
    if (outcome === 'refused') this.#generation = -1;
    // A broken call may mean that the session is gone; whoever finds out later is refused.
    if (over.aborted) this.#stream?.destroy();
  }

  async #follow(response: IncomingMessage, sent: ClientRequest, seen: Answers, id: number, wish: Wish): Promise<Outcome> {
    const status = response.statusCode ?? 0;
    if (status !== 200) {
      response.resume();
      if (status !== 404 && status !== 503) this.#violate(`${JSON.stringify(wish)} was answered with HTTP ${status}`);
      return 'refused';
    }
    if (!String(response.headers['content-type']).startsWith('text/event-stream')) {
      const parts: Buffer[] = [];
      for await (const part of response) parts.push(part as Buffer);
      seen.take(Buffer.concat(parts).toString());
      return seen.outcome;
    }
    const decoder = new TextDecoder();
    const parser = createParser({
      onEvent: ({ data }) => {
        const question = seen.take(data);
        if (question !== undefined) this.#reply(question, wish.nonce);
        if (wish.manner === 'hang' && seen.steps === PATIENCE_STEPS) this.#giveUp(sent, seen, id);
      },
    });
    try {
      for await (const part of response) {
        parser.feed(decoder.decode(part as Buffer, { stream: true }));
        if (this.#slow && wish.manner === 'big') await pause(SLOW_MS);
      }
    } catch (error) {
      if (seen.count === 0) throw error;
      this.#violate(`the stream of ${wish.nonce} broke after its answer`);
    }
    return seen.count > 0 ? seen.outcome : 'broken';
  }

  /** Modern: leaving the stream is the cancellation. Legacy: a notification, and the server ends the stream. */
  #giveUp(sent: ClientRequest, seen: Answers, id: number): void {
    seen.gaveUp = true;
    if (this.#era === 'modern') sent.destroy();
    else
      void this.#insist({ method: 'notifications/cancelled', params: { requestId: id, reason: 'soak' } }).then((delivered) => {
        // Nobody hears of it any more: the server was restarted.
        if (!delivered) sent.destroy();
      });
  }

  #reply(question: unknown, nonce: string): void {
    this.#ground.replies++;
    const result = { role: 'assistant', model: 'none', content: { type: 'text', text: `reply to ${nonce}` } };
    void this.#insist({ id: question, result });
  }

  /** Delivers what belongs to a call that runs, with the new token if there is another one meanwhile. */
  async #insist(message: Readonly<Record<string, unknown>>): Promise<boolean> {
    for (let attempt = 0; attempt < INSIST_TIMES; attempt++) {
      try {
        const response = await this.#post(message);
        response.resume();
        if (response.statusCode === 202) return true;
      } catch {
        // Ended with what it belongs to.
      }
      await pause(INSIST_MS);
      this.#token = this.#currentToken;
    }
    return false;
  }

  #violate(text: string): void {
    this.#ground.violations.push(`${this.#name} (${this.#era}): ${text}`);
  }
}

/** What came back for one call, checked as it comes. */
class Answers {
  /** Answers with the call's id. */
  count = 0;
  outcome: Outcome = 'broken';
  error: string | undefined;
  steps = 0;
  gaveUp = false;
  readonly #id: number;
  readonly #wish: Wish;
  readonly #violate: (text: string) => void;

  constructor(id: number, wish: Wish, violate: (text: string) => void) {
    this.#id = id;
    this.#wish = wish;
    this.#violate = violate;
  }

  /** Takes a message; gives the id of a question. */
  take(text: string): unknown {
    const { nonce, manner } = this.#wish;
    const { id, method, params, result, error } = JSON.parse(text) as Rpc;
    if (method === 'notifications/progress') {
      this.steps++;
      if (params?.progressToken !== `p-${nonce}` || params.progress !== this.steps)
        this.#violate(`${nonce} got the progress ${text.slice(0, 200)}`);
      if (manner === 'big' && params?.message !== bigText(nonce, this.steps))
        this.#violate(`${nonce} got another’s text in event ${this.steps}`);
      return undefined;
    }
    if (method !== undefined) {
      if (id !== `ask-${nonce}`) this.#violate(`${nonce} was asked ${text.slice(0, 200)}`);
      return id;
    }
    if (id !== this.#id) this.#violate(`${nonce}, id ${this.#id}, got the answer ${text.slice(0, 200)}`);
    if (++this.count > 1) this.#violate(`${nonce} was answered ${this.count} times`);
    if (error) {
      this.outcome = 'error';
      this.error = error.message ?? '';
      if (this.error === '' || typeof error.code !== 'number')
        this.#violate(`${nonce} got an error that says nothing: ${text.slice(0, 200)}`);
      return undefined;
    }
    this.outcome = 'answered';
    const wanted = manner === 'ask' ? `ask of ${nonce}: reply to ${nonce}` : answerText(this.#wish);
    const got = result?.content?.[0]?.text;
    // A question whose answer was lost in a restart of the tunnel's token is answered so by the server.
    if (got !== wanted) this.#violate(`${nonce} got ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`);
    const steps = manner === 'big' ? BIG_EVENTS : manner === 'stream' || manner === 'ask' ? STEPS : 0;
    if (this.steps !== steps) this.#violate(`${nonce} got ${this.steps} of ${steps} steps`);
    return undefined;
  }
}
