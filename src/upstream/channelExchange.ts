import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { UpstreamError } from '../common/errors.ts';
import { EventStream, wholeBody, type Gate } from './channelGate.ts';
import { FIRST_BYTE_TIMEOUT_MS } from './limits.ts';
import type { UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** The head of every stream. */
export const STREAM_HEADERS = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } as const;
const JSON_HEADERS = { 'content-type': 'application/json' } as const;

/** Whether a client takes an event stream in answer to this request. */
function acceptsStream(headers: UpstreamRequest['headers']): boolean {
  const accept = String(headers['accept'] ?? '').toLowerCase();
  return accept.includes('text/event-stream') || accept.includes('*/*');
}

/**
 * A request that waits on a channel. Answered with JSON if its answer is the first that comes, else with an event stream, which ends with
 * the answer.
 */
export class ChannelExchange {
  /** The id as it stands in the request. */
  readonly rawId: string;
  readonly #head = Promise.withResolvers<UpstreamResponse>();
  readonly #request: UpstreamRequest;
  readonly #gate: Gate;
  readonly #timer: Disposable;
  readonly #mayStream: boolean;
  readonly #onEnd: (reason: 'answered' | 'ended' | 'stopped' | 'late') => void;
  #stream: EventStream | undefined;
  #settled = false;

  /**
   * `onEnd` is told once: `answered`, `ended` by whoever called {@link fail}, `stopped` by the request's own signal, or `late`. `streaming:
   * false` keeps it from becoming a stream.
   */
  constructor(
    rawId: string,
    request: UpstreamRequest,
    gate: Gate,
    clock: Clock,
    onEnd: (reason: 'answered' | 'ended' | 'stopped' | 'late') => void,
    streaming = true,
  ) {
    this.rawId = rawId;
    this.#request = request;
    this.#gate = gate;
    this.#onEnd = onEnd;
    this.#mayStream = streaming && acceptsStream(request.headers);
    // A failure may come before anybody waits for the head.
    this.#head.promise.catch(() => undefined);
    this.#timer = clock.after(FIRST_BYTE_TIMEOUT_MS, () => {
      if (!this.#stream)
        this.#end(
          'late',
          new UpstreamError(
            'CULVERT_UPSTREAM_ANSWER_TIMEOUT',
            'timeout',
            `The server did not answer within ${FIRST_BYTE_TIMEOUT_MS / 60_000} minutes.`,
          ),
        );
    });
    request.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (request.signal.aborted) this.#onAbort();
  }

  /** The response; rejects with UpstreamError. */
  get head(): Promise<UpstreamResponse> {
    return this.#head.promise;
  }

  /** Whether something other than the answer can be brought with it. */
  get mayStream(): boolean {
    return this.#mayStream && !this.#settled;
  }

  /** Brings a message that belongs to the request. */
  note(message: Buffer): void {
    if (!this.mayStream) return;
    if (!this.#stream) {
      this.#timer.dispose();
      this.#stream = new EventStream(this.#gate, () => undefined);
      this.#head.resolve({ status: 200, headers: STREAM_HEADERS, body: this.#stream.body });
    }
    this.#stream.push(message);
  }

  /** Brings the answer, with `headers` if it is the first that comes. */
  answer(message: Buffer, headers: Readonly<Record<string, string>> = {}): void {
    if (this.#settled) return;
    this.#settle();
    if (this.#stream) {
      this.#stream.push(message);
      this.#stream.end();
    } else this.#head.resolve({ status: 200, headers: { ...JSON_HEADERS, ...headers }, body: wholeBody(message) });
    this.#onEnd('answered');
  }

  /** Ends it with a response that did not come through the channel. */
  refuse(response: UpstreamResponse): void {
    if (this.#settled) return;
    this.#settle();
    this.#head.resolve(response);
    this.#stream?.end();
    this.#onEnd('ended');
  }

  /** The channel or something on it broke. */
  fail(error: Error): void {
    this.#end('ended', error);
  }

  readonly #onAbort = (): void =>
    this.#end('stopped', new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.'));

  #end(reason: 'ended' | 'stopped' | 'late', error: Error): void {
    if (this.#settled) return;
    this.#settle();
    this.#head.reject(error);
    this.#stream?.fail(error);
    this.#onEnd(reason);
  }

  #settle(): void {
    this.#settled = true;
    this.#timer.dispose();
    this.#request.signal.removeEventListener('abort', this.#onAbort);
  }
}

/** A JSON answer that did not come from the server. */
export function ownAnswer(status: number, body: Buffer, headers: Readonly<Record<string, string>> = {}): UpstreamResponse {
  return { status, headers: body.length > 0 ? { ...JSON_HEADERS, ...headers } : headers, body: wholeBody(body) };
}
