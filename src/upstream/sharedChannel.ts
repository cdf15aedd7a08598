import type { Disposable } from '../common/disposable.ts';
import { UpstreamError, messageOf } from '../common/errors.ts';
import { applyEdits, type Edit } from '../mcp/json.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import type { ChannelReader, MessageChannel } from './channel.ts';
import { ChannelExchange, ownAnswer } from './channelExchange.ts';
import { Gate } from './channelGate.ts';
import { rawAt, readEnvelope, type Envelope, type Part } from './channelMessage.ts';
import { MAX_REQUESTS_IN_FLIGHT, type SessionOptions } from './channelSession.ts';
import type { UpstreamRequest, UpstreamResponse } from './upstream.ts';

/**
 * A server that knows only the older era may never answer what it does not know. After this, `server/discover` is answered for it, so that
 * the client falls back. Milliseconds; a package runner may have to fetch the server first.
 */
export const DISCOVER_TIMEOUT_MS = 15_000;

interface Shared {
  readonly exchange: ChannelExchange;
  readonly method: string;
  /** The client's own id and progress token as they stand in its request. */
  readonly rawId: string;
  readonly rawToken: string | undefined;
  readonly wantsLog: boolean;
}

/**
 * One channel for all clients of the modern era (from 2026-07-28), which has no sessions. Ids and progress tokens of different clients are
 * often the same, so the server sees numbers of ours in their place; each client sees its own again.
 */
export class SharedChannel implements Disposable {
  readonly #options: SessionOptions;
  readonly #onEnd: (channel: SharedChannel) => void;
  readonly #gate: Gate;
  readonly #byId = new Map<string, Shared>();
  #nextId = 1;
  #opening: Promise<MessageChannel> | undefined;
  #channel: MessageChannel | undefined;
  #ended: UpstreamError | undefined;
  #answered = false;
  #unclaimed = 0;
  /** Monotonic clock at the last sign of a client, milliseconds. */
  usedAt: number;
  /** Settles once nothing of the channel is left. */
  gone: Promise<void> = Promise.resolve();

  constructor(options: SessionOptions, onEnd: (channel: SharedChannel) => void) {
    this.#options = options;
    this.#onEnd = onEnd;
    this.#gate = new Gate(options.clock, () => this.#channel);
    this.usedAt = options.clock.monotonic();
  }

  get busy(): boolean {
    return this.#byId.size > 0;
  }

  /** Whether calls wait for an answer; subscriptions don't. */
  get answers(): boolean {
    for (const { method } of this.#byId.values()) if (method !== 'subscriptions/listen') return true;
    return false;
  }

  /** Sends a message of a client. Throws UpstreamError. */
  async post(request: UpstreamRequest, envelope: Envelope): Promise<UpstreamResponse> {
    this.#touch();
    const body = request.body ?? Buffer.alloc(0);
    if (envelope.kind === 'response')
      return ownAnswer(400, errorBody(undefined, -32600, 'This protocol revision has no requests from the server to answer.'));
    if (envelope.kind === 'request' && envelope.id) return this.#ask(request, body, { ...envelope, id: envelope.id });
    // Over HTTP the end of the response is the cancel (2026-07-28, transports), and ids of others must stay out of reach.
    if (envelope.method !== 'notifications/cancelled') await (await this.#open(request)).send(body, request);
    return ownAnswer(202, Buffer.alloc(0));
  }

  /** Ends the channel, and with `error` every request on it. */
  end(error: UpstreamError): void {
    if (this.#ended) return;
    this.#ended = error;
    for (const { exchange } of [...this.#byId.values()]) exchange.fail(error);
    this.#gate.dispose();
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

  async #ask(request: UpstreamRequest, body: Buffer, envelope: Envelope & { readonly id: Part }): Promise<UpstreamResponse> {
    const { id, progressToken, method = '' } = envelope;
    const rawId = rawAt(body, id.span);
    if (this.#byId.size >= MAX_REQUESTS_IN_FLIGHT)
      return ownAnswer(503, errorBody(rawId, ERROR_CODE.upstream, `More than ${MAX_REQUESTS_IN_FLIGHT} requests wait for this server.`));
    const wireId = this.#nextId++;
    const key = `number ${wireId}`;
    let sent = false;
    const exchange = new ChannelExchange(rawId, request, this.#gate, this.#options.clock, (reason) => {
      this.#byId.delete(key);
      discover?.dispose();
      this.#touch();
      if (sent && (reason === 'stopped' || reason === 'late')) this.#cancel(wireId, envelope.modernMeta);
    });
    const discover =
      method === 'server/discover'
        ? this.#options.clock.after(DISCOVER_TIMEOUT_MS, () => {
            exchange.answer(errorBody(rawId, -32601, 'The server did not answer server/discover.'));
            this.#endIfUseless();
          })
        : undefined;
    if (request.signal.aborted) return exchange.head;
    const rawToken = progressToken && rawAt(body, progressToken.span);
    this.#byId.set(key, { exchange, method, rawId, rawToken, wantsLog: body.includes('logLevel') });
    const edits = [id.span, ...(progressToken ? [progressToken.span] : [])].map((span) => ({ span, replacement: String(wireId) }));
    try {
      const channel = await this.#open(request);
      // Given up while it opened: nothing was sent, so nothing need be cancelled.
      if (this.#byId.has(key)) {
        sent = true;
        await channel.send(applyEdits(body, edits));
      }
    } catch (error) {
      exchange.fail(error instanceof Error ? error : new Error(messageOf(error)));
    }
    return exchange.head;
  }

  #open(request: UpstreamRequest): Promise<MessageChannel> {
    if (this.#ended) return Promise.reject(this.#ended);
    this.#opening ??= this.#start(request).catch((error: unknown) => {
      this.end(error instanceof UpstreamError ? error : new UpstreamError('CULVERT_UPSTREAM_FAILED', 'connect', messageOf(error)));
      throw error;
    });
    return this.#opening;
  }

  async #start(request: UpstreamRequest): Promise<MessageChannel> {
    const reader: ChannelReader = { message: (bytes) => this.#message(bytes), closed: (error) => this.end(error) };
    const opening = Promise.withResolvers<undefined>();
    this.gone = opening.promise;
    const opened = await this.#options.open(request, reader).finally(() => opening.resolve(undefined));
    if ('refused' in opened) {
      opened.refused.body.discard();
      throw new UpstreamError('CULVERT_UPSTREAM_REFUSED', 'connect', `The server answered HTTP ${opened.refused.status}.`);
    }
    this.#channel = opened.channel;
    if (this.#isOver()) {
      this.gone = opened.channel.close();
      throw this.#ended ?? new Error('ended');
    }
    return opened.channel;
  }

  #cancel(wireId: number, meta: string): void {
    if (this.#ended) return;
    const params = meta === '' ? `"requestId":${wireId}` : `"_meta":{${meta}},"requestId":${wireId}`;
    this.#channel
      ?.send(Buffer.from(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{${params}}}`, 'utf8'))
      .catch((error: unknown) => this.#options.logger.debug(`${this.#options.label}: ${messageOf(error)}`));
  }

  #message(bytes: Buffer): boolean {
    const envelope = readEnvelope(bytes);
    if (!envelope) return false;
    if (this.#ended) return true;
    if (envelope.kind === 'response') this.#answer(bytes, envelope);
    else if (envelope.kind === 'notification') this.#bring(bytes, envelope);
    // The era has no requests of servers; a client must not answer one.
    else this.#drop();
    return true;
  }

  #answer(bytes: Buffer, { id, subscriptionId, failed }: Envelope): void {
    const shared = id && this.#byId.get(id.key);
    if (!id || !shared) {
      this.#options.logger.debug(`${this.#options.label} answered a request that nobody waits for.`);
      return;
    }
    this.#answered ||= !failed;
    shared.exchange.answer(applyEdits(bytes, [{ span: id.span, replacement: shared.rawId }, ...this.#back(subscriptionId)]));
    if (failed && shared.method === 'server/discover') this.#endIfUseless();
  }

  #bring(bytes: Buffer, { progressToken, requestId, subscriptionId, method }: Envelope): void {
    const part = progressToken ?? subscriptionId ?? requestId;
    const shared = part ? this.#byId.get(part.key) : this.#only(method ?? '');
    if (!shared?.exchange.mayStream) {
      this.#drop();
      return;
    }
    const edits = [
      ...(progressToken ? [{ span: progressToken.span, replacement: shared.rawToken ?? shared.rawId }] : []),
      ...this.#back(subscriptionId),
      ...this.#back(requestId),
    ];
    shared.exchange.note(applyEdits(bytes, edits));
  }

  /**
   * The request that a notification without any name belongs to, if there can be only one: changes go to who listens for them, log
   * messages to who asked for them. What could be another client's is given to none.
   */
  #only(method: string): Shared | undefined {
    const isChange = method.endsWith('/list_changed') || method === 'notifications/resources/updated';
    const candidates = [...this.#byId.values()].filter((shared) =>
      isChange
        ? shared.method === 'subscriptions/listen'
        : shared.method !== 'subscriptions/listen' && (method !== 'notifications/message' || shared.wantsLog),
    );
    return candidates.length === 1 ? candidates[0] : undefined;
  }

  /** The edit that gives a client its own id in place of ours. */
  #back(part: Part | undefined): Edit[] {
    const shared = part && this.#byId.get(part.key);
    return shared ? [{ span: part.span, replacement: shared.rawId }] : [];
  }

  #drop(): void {
    this.#unclaimed++;
    this.#options.logger.debug(`${this.#options.label} said something that belongs to no request, ${this.#unclaimed} times so far.`);
  }

  /** A server of the older era was only asked whether it is one: it need not stay. */
  #endIfUseless(): void {
    if (!this.#answered && this.#byId.size === 0)
      this.end(new UpstreamError('CULVERT_UPSTREAM_CLOSED', 'request', 'The server does not speak this protocol revision.'));
  }

  #touch(): void {
    this.usedAt = this.#options.clock.monotonic();
  }

  #isOver(): boolean {
    return this.#ended !== undefined;
  }
}
