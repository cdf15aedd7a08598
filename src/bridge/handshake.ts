import type { HttpCall } from './httpClient.ts';
import { sessionIdOf, type Link, type Reply } from './link.ts';
import { isJson, withId, type Json, type Message } from './message.ts';

/** Lists whose changes a server can announce. */
const LISTS = ['tools', 'prompts', 'resources'];

/**
 * What the agent did to open its legacy session and to set it up, so that the same session can be opened again on another tunnel: the
 * agent knows of one session and must not have to start over because a window was reloaded.
 */
export class Handshake {
  readonly #initialize: Buffer;
  readonly #capabilities: Json;
  #initialized: Buffer | undefined;
  #level: Buffer | undefined;
  readonly #subscriptions = new Map<unknown, Buffer>();
  #count = 0;

  /** `result` is the answer that the agent got to `initialize`. */
  constructor(initialize: Buffer, result: Json) {
    this.#initialize = initialize;
    this.#capabilities = isJson(result['capabilities']) ? result['capabilities'] : {};
  }

  /** The agent has sent `notifications/initialized`. */
  get complete(): boolean {
    return this.#initialized !== undefined;
  }

  /** True for a request that shapes the session beyond its opening. */
  static concerns({ method }: Message): boolean {
    return method === 'logging/setLevel' || method === 'resources/subscribe' || method === 'resources/unsubscribe';
  }

  /** Takes note of a message that was carried out and that shapes the session. */
  remember(message: Message): void {
    if (message.method === 'notifications/initialized') this.#initialized = message.bytes;
    else if (message.method === 'logging/setLevel') this.#level = message.bytes;
    else if (message.method === 'resources/subscribe') this.#subscriptions.set(message.params['uri'], message.bytes);
    else if (message.method === 'resources/unsubscribe') this.#subscriptions.delete(message.params['uri']);
  }

  /** Opens the session on `link`; `reply` waits for an answer. Returns `undefined`, or why it could not. */
  async replay(link: Link, reply: (call: HttpCall, id?: string) => Promise<Reply>): Promise<string | undefined> {
    const ask = (bytes: Buffer): Promise<Reply> => {
      const id = `culvert-bridge-${(this.#count += 1)}`;
      return reply(link.post(withId(bytes, JSON.stringify(id)), undefined), id);
    };
    const opened = await ask(this.#initialize);
    if (typeof opened === 'string') return opened;
    const { result } = opened.message;
    if (!isJson(result)) return 'the server refused to initialize';
    link.sessionId = sessionIdOf(opened.response);
    link.version = versionOf(result);
    const accepted = this.#initialized && (await reply(link.post(this.#initialized, undefined)));
    if (typeof accepted === 'string') return accepted;
    // The rest is set up as far as possible: a server that refuses a subscription now does not make the session useless.
    for (const bytes of [...(this.#level ? [this.#level] : []), ...this.#subscriptions.values()]) await ask(bytes);
    return undefined;
  }

  /** What the agent is told after a gap, in which it may have missed that a list changed. */
  missedChanges(): Buffer[] {
    const announced = LISTS.filter((list) => {
      const capability = this.#capabilities[list];
      return isJson(capability) && capability['listChanged'] === true;
    });
    return announced.map((list) => Buffer.from(`{"jsonrpc":"2.0","method":"notifications/${list}/list_changed"}`));
  }
}

/** The version that the result of `initialize` settles. */
export function versionOf(result: Json): string | undefined {
  const version = result['protocolVersion'];
  return typeof version === 'string' ? version : undefined;
}
