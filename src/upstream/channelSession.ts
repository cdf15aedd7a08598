import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { UpstreamError, messageOf } from '../common/errors.ts';
import { newToken } from '../common/identifiers.ts';
import type { Logger } from '../common/logger.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import type { ChannelReader, MessageChannel, OpenChannel } from './channel.ts';
import { ChannelExchange, STREAM_HEADERS, ownAnswer } from './channelExchange.ts';
import { EventStream, Gate } from './channelGate.ts';
import { rawAt, readEnvelope, type Envelope, type Part } from './channelMessage.ts';
import type { UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Messages of the server that wait for the client's GET stream: enough for what servers say before clients open it. */
export const MAX_WAITING_MESSAGES = 1_000;
/** The same in bytes. */
export const MAX_WAITING_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Requests of a client that may wait in one session. */
export const MAX_REQUESTS_IN_FLIGHT = 1_000;

/** What sessions and the shared channel need. */
export interface SessionOptions {
  readonly open: OpenChannel;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The server's name, for the log. */
  readonly label: string;
}

/** A legacy session (up to 2025-11-25): a channel of its own, whose messages pass as they are. */
export class ChannelSession implements Disposable {
  /** 256 random bits in visible ASCII (2025-11-25, session management). */
  readonly id = newToken();
  readonly #options: SessionOptions;
  readonly #onEnd: (session: ChannelSession) => void;
  readonly #gate: Gate;
  readonly #inFlight = new Map<string, ChannelExchange>();
  /** Open GET streams, the newest last. */
  readonly #listeners = new Set<EventStream>();
  readonly #waiting: Buffer[] = [];
  readonly #tokens = new Map<string, ChannelExchange>();
  #waitingBytes = 0;
  #dropped = 0;
  #channel: MessageChannel | undefined;
  #state: 'opening' | 'open' | 'ended' = 'opening';
  #why: UpstreamError | undefined;
  /** Whether the server answered `initialize` with a result. */
  #agreed = false;
  /** Monotonic clock at the last sign of the client, milliseconds. */
  usedAt: number;
  /** Settles once nothing of the channel is left. */
  gone: Promise<void> = Promise.resolve();

  constructor(options: SessionOptions, onEnd: (session: ChannelSession) => void) {
    this.#options = options;
    this.#onEnd = onEnd;
    this.#gate = new Gate(options.clock, () => this.#channel);
    this.usedAt = options.clock.monotonic();
  }

  /** Whether anybody waits for something of it. */
  get busy(): boolean {
    return this.#state === 'opening' || this.#inFlight.size > 0 || this.#listeners.size > 0;
  }

  /** Whether calls wait for an answer. */
  get answers(): boolean {
    return this.#inFlight.size > 0;
  }

  /** Opens the channel and brings the answer to `initialize`, with the session's id if the server agreed. Throws UpstreamError. */
  async begin(request: UpstreamRequest, envelope: Envelope & { readonly id: Part }): Promise<UpstreamResponse> {
    const reader: ChannelReader = { message: (bytes) => this.#message(bytes), closed: (error) => this.end(error) };
    const opening = Promise.withResolvers<undefined>();
    this.gone = opening.promise;
    try {
      const opened = await this.#options.open(request, reader).finally(() => opening.resolve(undefined));
      if ('refused' in opened) {
        this.end();
        return opened.refused;
      }
      this.#channel = opened.channel;
      if (this.#isOver() || request.signal.aborted) {
        this.gone = opened.channel.close();
        throw this.#why ?? new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
      }
      this.#state = 'open';
      return await this.#ask(request, envelope, false);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Sends a message of the client. Throws UpstreamError. */
  async post(request: UpstreamRequest, envelope: Envelope): Promise<UpstreamResponse> {
    this.#touch();
    if (envelope.kind === 'request' && envelope.id) return this.#ask(request, { ...envelope, id: envelope.id }, true);
    const refused = await this.#hand(request);
    if (refused) {
      this.#endIfForgotten(refused);
      return refused;
    }
    if (envelope.requestId) {
      // Whoever cancels waits for nothing, and the server need not answer (2025-11-25, cancellation): no request may stay for ever.
      const cancelled = this.#inFlight.get(envelope.requestId.key);
      cancelled?.answer(errorBody(cancelled.rawId, ERROR_CODE.closed, 'The client cancelled this request.'));
    }
    return ownAnswer(202, Buffer.alloc(0));
  }

  /** Opens the stream for what belongs to no request, beginning with what waits for it. */
  listen(request: UpstreamRequest): UpstreamResponse {
    this.#touch();
    const stop = () => stream.fail(new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The stream was given up.'));
    const stream = new EventStream(this.#gate, () => {
      this.#listeners.delete(stream);
      request.signal.removeEventListener('abort', stop);
      this.#touch();
    });
    this.#listeners.add(stream);
    request.signal.addEventListener('abort', stop, { once: true });
    for (const message of this.#waiting.splice(0)) stream.push(message);
    this.#waitingBytes = 0;
    if (request.signal.aborted) stop();
    return { status: 200, headers: STREAM_HEADERS, body: stream.body };
  }

  /** Ends the session: with an error what waits breaks off, without it streams end cleanly. */
  end(error?: UpstreamError): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#why = error;
    const why = error ?? new UpstreamError('CULVERT_UPSTREAM_SESSION', 'request', 'The session was ended.');
    for (const exchange of [...this.#inFlight.values()]) exchange.fail(why);
    for (const stream of [...this.#listeners]) {
      if (error) stream.fail(error);
      else stream.end();
    }
    this.#gate.dispose();
    this.#waiting.length = 0;
    if (this.#channel) this.gone = this.#channel.close();
    this.#onEnd(this);
  }

  dispose(): void {
    this.end(
      new UpstreamError(
        'CULVERT_UPSTREAM_CLOSED',
        'request',
        'Culvert closed the connection. The call may or may not have been carried out.',
      ),
    );
  }

  async #ask(
    request: UpstreamRequest,
    { id, progressToken, method }: Envelope & { readonly id: Part },
    streaming: boolean,
  ): Promise<UpstreamResponse> {
    const raw = rawAt(request.body ?? Buffer.alloc(0), id.span);
    if (this.#inFlight.has(id.key)) return ownAnswer(400, errorBody(raw, -32600, 'A request with this id is being answered already.'));
    if (this.#inFlight.size >= MAX_REQUESTS_IN_FLIGHT)
      return ownAnswer(503, errorBody(raw, ERROR_CODE.upstream, `More than ${MAX_REQUESTS_IN_FLIGHT} requests wait in this session.`));
    const exchange = new ChannelExchange(
      raw,
      request,
      this.#gate,
      this.#options.clock,
      (reason) => {
        this.#inFlight.delete(id.key);
        if (progressToken) this.#tokens.delete(progressToken.key);
        this.#touch();
        if (reason !== 'stopped' && reason !== 'late') return;
        // An initialize can't be cancelled (2025-11-25, cancellation): the session goes with it.
        if (method === 'initialize') this.end();
        else this.#tell(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":${raw}}}`, 'utf8'), request);
      },
      streaming,
    );
    if (request.signal.aborted) return exchange.head;
    this.#inFlight.set(id.key, exchange);
    if (progressToken) this.#tokens.set(progressToken.key, exchange);
    this.#hand(request).then(
      (refused) => {
        if (!refused) return;
        exchange.refuse(refused);
        this.#endIfForgotten(refused);
      },
      (error: unknown) => exchange.fail(error instanceof Error ? error : new Error(messageOf(error))),
    );
    if (method !== 'initialize') return exchange.head;
    const response = await exchange.head;
    if (response.status < 300 && this.#state === 'open' && this.#agreed)
      return { ...response, headers: { ...response.headers, 'mcp-session-id': this.id } };
    this.end();
    return response;
  }

  async #hand(request: UpstreamRequest): Promise<UpstreamResponse | undefined> {
    return this.#channel?.send(request.body ?? Buffer.alloc(0), request);
  }

  /** The server does not know the session any more that its channel stands for. */
  #endIfForgotten({ status }: UpstreamResponse): void {
    if (status === 404 || status === 410) this.end();
  }

  /** Says something to the server by ourselves. */
  #tell(message: Buffer, request?: UpstreamRequest): void {
    if (this.#state !== 'open') return;
    const { logger, label } = this.#options;
    this.#channel?.send(message, request).then(
      (refused) => refused?.body.discard(),
      (error: unknown) => logger.debug(`${label}: ${messageOf(error)}`),
    );
  }

  #message(bytes: Buffer): boolean {
    const envelope = readEnvelope(bytes);
    if (!envelope) return false;
    if (this.#state === 'ended') return true;
    if (envelope.kind === 'response') this.#answer(bytes, envelope);
    else this.#bring(bytes, envelope);
    return true;
  }

  #answer(bytes: Buffer, { id, failed }: Envelope): void {
    const exchange = id && this.#inFlight.get(id.key);
    if (!exchange) {
      this.#options.logger.debug(`${this.#options.label} answered a request that nobody waits for.`);
      return;
    }
    if (!failed) this.#agreed = true;
    exchange.answer(bytes);
  }

  /**
   * Finds the stream for what the server says by itself. Progress names its request. Anything else belongs to the only request there is;
   * among several, to the client's own stream; without that, to the newest request, so that a question of the server reaches the client.
   */
  #bring(bytes: Buffer, envelope: Envelope): void {
    const named = envelope.progressToken && envelope.kind === 'notification' ? this.#tokens.get(envelope.progressToken.key) : undefined;
    if (named?.mayStream) {
      named.note(bytes);
      return;
    }
    const open = [...this.#inFlight.values()].filter((exchange) => exchange.mayStream);
    const listener = [...this.#listeners].at(-1);
    const request = this.#inFlight.size === 1 ? open[0] : listener ? undefined : open.at(-1);
    if (request) request.note(bytes);
    else if (listener) listener.push(bytes);
    else this.#keep(bytes, envelope);
  }

  #keep(bytes: Buffer, { kind, id }: Envelope): void {
    if (this.#waiting.length < MAX_WAITING_MESSAGES && this.#waitingBytes + bytes.length <= MAX_WAITING_MESSAGE_BYTES) {
      this.#waiting.push(bytes);
      this.#waitingBytes += bytes.length;
      return;
    }
    if (this.#dropped++ === 0)
      this.#options.logger.warn(`${this.#options.label} says more than its client listens to: the rest is dropped until it does.`);
    // Nobody will answer: the server must not wait for it.
    if (kind === 'request' && id) this.#tell(errorBody(rawAt(bytes, id.span), ERROR_CODE.closed, 'The client does not listen.'));
  }

  #touch(): void {
    this.usedAt = this.#options.clock.monotonic();
  }

  #isOver(): boolean {
    return this.#state === 'ended';
  }
}
