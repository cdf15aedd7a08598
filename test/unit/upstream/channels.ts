import type { ChannelReader, MessageChannel, OpenChannel } from '../../../src/upstream/channel.ts';
import { ChannelUpstream, type ChannelUpstreamOptions } from '../../../src/upstream/channelUpstream.ts';
import type { UpstreamRequest, UpstreamResponse } from '../../../src/upstream/upstream.ts';
import { Stop } from '../../../src/common/stop.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { KeptLog } from '../../support/tunnels.ts';

/** The server's side of a channel, moved by a test. */
export class FakeChannel implements MessageChannel {
  readonly sent: string[] = [];
  readonly reader: ChannelReader;
  /** What `send` answers from now on. */
  refusal: UpstreamResponse | Error | undefined;
  paused = false;
  closed = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(reader: ChannelReader) {
    this.reader = reader;
  }

  send(message: Buffer): Promise<UpstreamResponse | undefined> {
    this.sent.push(message.toString());
    for (const wake of this.#waiting.splice(0)) wake();
    return this.refusal instanceof Error ? Promise.reject(this.refusal) : Promise.resolve(this.refusal);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(): Promise<void> {
    this.closed++;
    return Promise.resolve();
  }

  /** Says something as the server. */
  say(message: unknown): boolean {
    return this.reader.message(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)));
  }

  /** Resolves once the client has sent so many messages. */
  async received(count: number): Promise<void> {
    while (this.sent.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** The last message that the client sent. */
  last(): Record<string, unknown> {
    return JSON.parse(this.sent.at(-1) ?? 'null') as Record<string, unknown>;
  }
}

/** A {@link ChannelUpstream} on fake channels. */
export class Bench {
  readonly clock = new ManualClock();
  readonly log = new KeptLog();
  readonly channels: FakeChannel[] = [];
  readonly upstream: ChannelUpstream;
  /** What opening gives in place of a channel. */
  refusal: UpstreamResponse | Error | undefined;

  constructor(options: Partial<ChannelUpstreamOptions> = {}) {
    const open: OpenChannel = (_request, reader) => {
      if (this.refusal instanceof Error) return Promise.reject(this.refusal);
      if (this.refusal) return Promise.resolve({ refused: this.refusal });
      const channel = new FakeChannel(reader);
      this.channels.push(channel);
      return Promise.resolve({ channel });
    };
    this.upstream = new ChannelUpstream({ label: 'Fake', clock: this.clock, logger: this.log, modern: true, open, ...options });
  }

  /** Sends as an agent would. */
  send(body: unknown, part: Partial<UpstreamRequest> = {}): Promise<UpstreamResponse> {
    return this.upstream.send({
      method: 'POST',
      url: new URL('stdio:'),
      signal: new Stop(),
      body: body === undefined ? undefined : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      ...part,
      headers: { accept: 'application/json, text/event-stream', ...part.headers },
    });
  }

  /** Begins a session and gives its channel and a sender in it. */
  async session(part: Partial<UpstreamRequest> = {}): Promise<{
    readonly id: string;
    readonly channel: FakeChannel;
    readonly send: (body: unknown, more?: Partial<UpstreamRequest>) => Promise<UpstreamResponse>;
  }> {
    const count = this.channels.length;
    const answer = this.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params: {} }, part);
    while (this.channels.length === count) await new Promise((resolve) => setImmediate(resolve));
    const channel = this.channels[count]!;
    await channel.received(1);
    channel.say({ jsonrpc: '2.0', id: 0, result: {} });
    const response = await answer;
    const id = String(response.headers['mcp-session-id']);
    return {
      id,
      channel,
      send: (body, more = {}) => this.send(body, { ...part, ...more, headers: { 'mcp-session-id': id, ...more.headers } }),
    };
  }
}

/** The whole body as text. */
export async function textOf(response: UpstreamResponse): Promise<string> {
  return (await response.body.collect(1e9))!.toString();
}

/** Reads events one by one. */
export function eventsOf(response: UpstreamResponse): { next(): Promise<string | undefined> } {
  const chunks = response.body[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value } = await chunks.next();
      return value instanceof Buffer ? value.toString() : undefined;
    },
  };
}
