import { createHmac, randomBytes } from 'node:crypto';
import type { Disposable } from '../common/disposable.ts';
import { UpstreamError } from '../common/errors.ts';
import { ERROR_CODE, eraOf, errorBody } from '../mcp/methods.ts';
import { ownAnswer } from './channelExchange.ts';
import { rawAt, readEnvelope } from './channelMessage.ts';
import { ChannelSession, type SessionOptions } from './channelSession.ts';
import { SharedChannel } from './sharedChannel.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';

/** Sessions of one server at a time; each may be a process. */
export const MAX_CHANNEL_SESSIONS = 128;
/** A session without a request or a stream for this long is one whose client went without a word. Milliseconds. */
export const SESSION_IDLE_MS = 30 * 60_000;
/** A process that holds a replaced secret and is never quiet is ended after this all the same. Milliseconds. */
export const STALE_MS = 60_000;
/** How often that is looked for, milliseconds. */
const IDLE_CHECK_MS = 60_000;

/** Options of {@link ChannelUpstream}. */
export interface ChannelUpstreamOptions extends SessionOptions {
  /** Whether there is a way to speak the modern era. */
  readonly modern: boolean;
  readonly maxSessions?: number;
  /** Called at the end, for what the channels run on. */
  readonly onDispose?: () => void;
}

/**
 * Makes a Streamable HTTP server of message channels: a channel per session in the legacy era, one for all clients in the modern one.
 */
export class ChannelUpstream implements Upstream {
  readonly #options: ChannelUpstreamOptions;
  readonly #maxSessions: number;
  readonly #sessions = new Map<string, ChannelSession>();
  /** Under which environment each was begun; a digest, so that secrets don't lie around. */
  readonly #environments = new WeakMap<ChannelSession | SharedChannel, string>();
  readonly #staleSince = new WeakMap<ChannelSession | SharedChannel, number>();
  readonly #key = randomBytes(32);
  readonly #ending = new Set<Promise<void>>();
  #shared: SharedChannel | undefined;
  #idleCheck: Disposable | undefined;
  #disposed = false;

  constructor(options: ChannelUpstreamOptions) {
    this.#options = options;
    this.#maxSessions = options.maxSessions ?? MAX_CHANNEL_SESSIONS;
  }

  /** Answers as a Streamable HTTP server would. Throws UpstreamError. */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    if (this.#disposed || request.signal.aborted)
      throw new UpstreamError('CULVERT_UPSTREAM_ABORTED', 'request', 'The request was given up.');
    const version = single(request.headers['mcp-protocol-version']);
    if (request.method !== 'POST') {
      const id = single(request.headers['mcp-session-id']);
      if (id === undefined || eraOf(undefined, version) === 'modern') return ownAnswer(405, Buffer.alloc(0), { allow: 'POST' });
      const session = this.#session(id, request);
      if (!session) return unknownSession();
      if (request.method === 'GET') return session.listen(request);
      session.end();
      return ownAnswer(200, Buffer.alloc(0));
    }
    const body = request.body ?? Buffer.alloc(0);
    const envelope = readEnvelope(body);
    if (!envelope) return ownAnswer(400, errorBody(undefined, -32700, 'This is no JSON-RPC message.'));
    const rawId = envelope.id && rawAt(body, envelope.id.span);
    if (eraOf(envelope.protocolVersion, version) === 'modern') {
      if (this.#options.modern) return this.#sharedFor(request).post(request, envelope);
      return ownAnswer(400, errorBody(rawId, -32601, 'This server speaks an older protocol revision. Begin with initialize.'));
    }
    const id = single(request.headers['mcp-session-id']);
    if (envelope.method === 'initialize' && envelope.id) {
      if (id !== undefined) this.#sessions.get(id)?.end();
      return this.#begin(request, { ...envelope, id: envelope.id });
    }
    if (id === undefined) return ownAnswer(400, errorBody(rawId, -32600, 'Mcp-Session-Id is missing. Begin with initialize.'));
    return (await this.#session(id, request)?.post(request, envelope)) ?? unknownSession(rawId);
  }

  /** Resolves once nothing is left of what was ended so far: processes, connections. */
  async settled(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  dispose(): void {
    this.#disposed = true;
    this.#idleCheck?.dispose();
    for (const session of [...this.#sessions.values()]) session.dispose();
    this.#shared?.dispose();
    this.#options.onDispose?.();
  }

  async #begin(request: UpstreamRequest, envelope: Parameters<ChannelSession['begin']>[1]): Promise<UpstreamResponse> {
    if (this.#sessions.size >= this.#maxSessions) {
      const [idlest] = [...this.#sessions.values()].filter((s) => !s.busy).sort((a, b) => a.usedAt - b.usedAt);
      if (!idlest) {
        const text = `${this.#options.label} has ${this.#maxSessions} sessions, all in use. Close an agent that uses it, then try again.`;
        return ownAnswer(503, errorBody(rawAt(request.body ?? Buffer.alloc(0), envelope.id.span), ERROR_CODE.upstream, text));
      }
      idlest.end();
    }
    const session = new ChannelSession(this.#options, (ended) => {
      this.#sessions.delete(ended.id);
      this.#follow(ended);
    });
    this.#sessions.set(session.id, session);
    this.#environments.set(session, this.#digest(request));
    this.#watchIdle();
    return session.begin(request, envelope);
  }

  /**
   * The session of a request. One that was begun with a credential that has been replaced since is over at the next quiet moment: calls that
   * run are answered first.
   */
  #session(id: string, request: UpstreamRequest): ChannelSession | undefined {
    const session = this.#sessions.get(id);
    if (!session || this.#environments.get(session) === this.#digest(request)) return session;
    if (session.answers && this.#mayWait(session)) return session;
    session.end(replaced());
    return undefined;
  }

  /** Whether the end of something stale can wait a little longer. */
  #mayWait(stale: ChannelSession | SharedChannel): boolean {
    const now = this.#options.clock.monotonic();
    const since = this.#staleSince.get(stale) ?? now;
    this.#staleSince.set(stale, since);
    return now - since < STALE_MS;
  }

  #sharedFor(request: UpstreamRequest): SharedChannel {
    const digest = this.#digest(request);
    const shared = this.#shared;
    if (shared && this.#environments.get(shared) !== digest) {
      if (shared.answers && this.#mayWait(shared)) return shared;
      shared.end(replaced());
    }
    if (!this.#shared) {
      this.#shared = new SharedChannel(this.#options, (ended) => {
        if (this.#shared === ended) this.#shared = undefined;
        this.#follow(ended);
      });
      this.#environments.set(this.#shared, digest);
      this.#watchIdle();
    }
    return this.#shared;
  }

  /** Remembers what is ending until it is gone. */
  #follow(ended: ChannelSession | SharedChannel): void {
    const over = gone(ended).finally(() => this.#ending.delete(over));
    this.#ending.add(over);
  }

  #watchIdle(): void {
    this.#idleCheck ??= this.#options.clock.after(IDLE_CHECK_MS, () => {
      this.#idleCheck = undefined;
      const since = this.#options.clock.monotonic() - SESSION_IDLE_MS;
      for (const session of [...this.#sessions.values()]) if (!session.busy && session.usedAt < since) session.end();
      if (this.#shared && !this.#shared.busy && this.#shared.usedAt < since) this.#shared.dispose();
      if (this.#sessions.size > 0 || this.#shared) this.#watchIdle();
    });
  }

  #digest({ environment = {} }: UpstreamRequest): string {
    const entries = Object.entries(environment);
    if (entries.length === 0) return '';
    return createHmac('sha256', this.#key)
      .update(JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1))))
      .digest('base64');
  }
}

/** Waits for what a channel left; one that ended while it was opened is closed after that. */
async function gone(ended: ChannelSession | SharedChannel): Promise<void> {
  for (let last: Promise<void> | undefined; last !== ended.gone;) {
    last = ended.gone;
    await last.catch(() => undefined);
    await Promise.resolve();
  }
}

function replaced(): UpstreamError {
  return new UpstreamError(
    'CULVERT_UPSTREAM_CREDENTIAL_REPLACED',
    'request',
    'The credential was replaced while the server ran with the old one, so it was ended. Calls that ran may or may not have been carried out.',
  );
}

function unknownSession(rawId?: string): UpstreamResponse {
  return ownAnswer(404, errorBody(rawId, ERROR_CODE.session, 'This session is over. Begin a new one with initialize.'));
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
