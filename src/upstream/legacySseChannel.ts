import type { Clock } from '../common/clock.ts';
import { UpstreamError, messageOf } from '../common/errors.ts';
import { Stop } from '../common/stop.ts';
import { SseSplitter, type SseBlock } from '../mcp/sse.ts';
import type { Body } from './body.ts';
import type { ChannelReader, MessageChannel, OpenChannel } from './channel.ts';
import { mediaTypeOf } from './headers.ts';
import type { SentRequest, Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Time for a server to name the address for messages once its stream is open, milliseconds. */
export const ENDPOINT_TIMEOUT_MS = 15_000;
/** Longest address that is taken, bytes. */
const MAX_ENDPOINT_BYTES = 8 * 1024;

/** Headers of a request that mean something only to Streamable HTTP. */
const NOT_ON_THIS_WIRE = new Set(['mcp-session-id', 'last-event-id', 'accept', 'content-type', 'content-length']);

/** What {@link legacySseOpener} needs. */
export interface LegacySseOptions {
  /** The HTTP way to the server. */
  readonly http: Upstream;
  /** The stream's URL as it was configured, without a credential. */
  readonly url: URL;
  readonly clock: Clock;
}

/**
 * Opens channels over the older HTTP+SSE transport (2024-11-05): a GET stream, whose first event `endpoint` names the URL that messages are
 * posted to. That URL must be of the same origin, or the credential would go elsewhere.
 */
export function legacySseOpener(options: LegacySseOptions): OpenChannel {
  return async (request, reader) => {
    const stop = new Stop();
    const onAbort = () => stop.abort();
    request.signal.addEventListener('abort', onAbort, { once: true });
    if (request.signal.aborted) stop.abort();
    try {
      const stream: SentRequest = {
        method: 'GET',
        url: request.url,
        headers: { ...carried(request.headers), accept: 'text/event-stream' },
        body: undefined,
      };
      const response = await options.http.send({ ...(await madeFor(stream, request)), signal: stop });
      if (response.status >= 400) return { refused: response };
      if (mediaTypeOf(response.headers) !== 'text/event-stream') {
        response.body.discard();
        throw new UpstreamError(
          'CULVERT_UPSTREAM_NO_STREAM',
          'response',
          `${options.url.host} did not answer with a stream, so it is no server of the older HTTP+SSE transport. Check the URL; many end in /sse.`,
        );
      }
      const channel = new LegacySseChannel(options, request, response.body, stop, reader);
      const timer = options.clock.after(ENDPOINT_TIMEOUT_MS, () =>
        channel.fail(
          new UpstreamError(
            'CULVERT_UPSTREAM_ENDPOINT_TIMEOUT',
            'timeout',
            `${options.url.host} opened its stream but named no address for messages within ${ENDPOINT_TIMEOUT_MS / 1000} seconds.`,
          ),
        ),
      );
      try {
        await channel.ready;
      } finally {
        timer.dispose();
      }
      return { channel };
    } catch (error) {
      stop.abort();
      throw error;
    } finally {
      request.signal.removeEventListener('abort', onAbort);
    }
  };
}

class LegacySseChannel implements MessageChannel {
  /** Resolves once the address for messages is known; rejects with UpstreamError. */
  readonly ready: Promise<void>;
  readonly #options: LegacySseOptions;
  readonly #opening: UpstreamRequest;
  readonly #stop: Stop;
  readonly #named = Promise.withResolvers<undefined>();
  readonly #over = Promise.withResolvers<undefined>();
  #reader: ChannelReader | undefined;
  #endpoint: URL | undefined;
  #flow: PromiseWithResolvers<undefined> | undefined;

  constructor(options: LegacySseOptions, opening: UpstreamRequest, body: Body, stop: Stop, reader: ChannelReader) {
    this.#options = options;
    this.#opening = opening;
    this.#stop = stop;
    this.#reader = reader;
    this.ready = this.#named.promise;
    this.ready.catch(() => undefined);
    stop.addEventListener('abort', () => this.#flow?.resolve(undefined));
    void this.#read(body);
  }

  async send(message: Buffer, request: UpstreamRequest = this.#opening): Promise<UpstreamResponse | undefined> {
    if (!this.#endpoint || !this.#reader) throw broken(this.#options.url);
    const post: SentRequest = {
      method: 'POST',
      url: withQueryOf(this.#endpoint, request.url, this.#options.url),
      headers: { ...carried(request.headers), accept: '*/*', 'content-type': 'application/json' },
      body: message,
    };
    // Most headers stand, and such messages go out in the turn in which they are handed over.
    const made = request.headersFor ? await madeFor(post, request) : post;
    // A message that was begun is finished: that its sender left is no cancel in this era.
    const response = await this.#options.http.send({ ...made, signal: this.#stop });
    if (response.status >= 400) return response;
    response.body.discard();
    return undefined;
  }

  pause(): void {
    this.#flow ??= Promise.withResolvers();
  }

  resume(): void {
    this.#flow?.resolve(undefined);
    this.#flow = undefined;
  }

  close(): Promise<void> {
    this.#reader = undefined;
    this.#stop.abort();
    return this.#over.promise;
  }

  /** Ends it and tells why. */
  fail(error: UpstreamError): void {
    const reader = this.#reader;
    this.#named.reject(error);
    void this.close();
    if (this.#endpoint) reader?.closed(error);
  }

  async #read(body: Body): Promise<void> {
    const splitter = new SseSplitter();
    try {
      for await (const chunk of body) {
        for (const block of splitter.push(chunk)) this.#block(block);
        if (this.#flow) await this.#flow.promise;
        if (this.#stop.aborted) break;
      }
      this.fail(broken(this.#options.url));
    } catch (error) {
      if (error instanceof UpstreamError) this.fail(error);
      else if (error instanceof RangeError)
        this.fail(
          new UpstreamError(
            'CULVERT_UPSTREAM_LARGE',
            'response',
            `${this.#options.url.host} sent an event that is too large to be checked.`,
          ),
        );
      else this.fail(broken(this.#options.url, error));
    } finally {
      this.#over.resolve(undefined);
    }
  }

  #block({ data, beside }: SseBlock): void {
    if (data === undefined) return;
    const name = eventName(beside);
    if (name === 'endpoint') this.#take(data);
    else if ((name === '' || name === 'message') && data.length > 0) this.#reader?.message(data);
  }

  #take(data: Buffer): void {
    // Only the first one counts: a later one could lead away.
    if (this.#endpoint) return;
    const text = data.length > MAX_ENDPOINT_BYTES ? '' : data.toString('utf8');
    const base = this.#options.url;
    const endpoint = URL.canParse(text, base.href) ? new URL(text, base) : undefined;
    if (text === '' || endpoint?.origin !== base.origin)
      throw new UpstreamError(
        'CULVERT_UPSTREAM_ENDPOINT',
        'redirect',
        `${base.host} wants messages to be sent to another origin, where its credential must not go. Set the server’s URL to where it really is, with “Culvert: Edit Server…”.`,
      );
    endpoint.hash = '';
    this.#endpoint = endpoint;
    this.#named.resolve(undefined);
  }
}

/** What of a request's headers goes on: the credential, and what describes the client. */
function carried(headers: UpstreamRequest['headers']): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_ON_THIS_WIRE.has(name)));
}

/** A request of our own in place of one that came, with signatures and proofs of possession that are for it. */
async function madeFor(sent: SentRequest, { headersFor }: UpstreamRequest): Promise<Omit<UpstreamRequest, 'signal'>> {
  return headersFor ? { ...sent, headers: await headersFor(sent), headersFor } : sent;
}

/** The address for messages with the query parameters that the credential added to the configured URL. */
function withQueryOf(endpoint: URL, requested: URL, configured: URL): URL {
  const url = new URL(endpoint);
  for (const [name, value] of requested.searchParams)
    if (configured.searchParams.get(name) !== value && !url.searchParams.has(name)) url.searchParams.append(name, value);
  return url;
}

function eventName(beside: Buffer | undefined): string {
  const line =
    beside
      ?.toString('utf8')
      .split('\n')
      .findLast((text) => /^event(:|$)/.test(text)) ?? '';
  return line.replace(/^event:? ?/, '');
}

function broken(url: URL, cause?: unknown): UpstreamError {
  const reason = cause === undefined ? 'ended' : `broke (${messageOf(cause)})`;
  return new UpstreamError(
    'CULVERT_UPSTREAM_STREAM_ENDED',
    'response',
    `The stream of ${url.host} ${reason}, so its answers can’t arrive. The call may or may not have been carried out.`,
    cause === undefined ? undefined : { cause },
  );
}
