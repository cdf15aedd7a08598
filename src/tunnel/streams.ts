import type { ServerResponse } from 'node:http';
import { eventOf } from '../mcp/sse.ts';
import type { Passage } from './passage.ts';
import type { Session } from './sessions.ts';

/**
 * Standing streams (GET, `subscriptions/listen`) that one capability may have open. An editor has one per session and window; an agent
 * that opens them without closing them must not take the connections of all others.
 */
export const MAX_STREAMS_PER_CLIENT = 64;

const TOOLS_CHANGED = eventOf('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');

/** The open streams to agents: how many each has, and how they are told that their tools changed. */
export class Streams {
  readonly #open = new Map<Passage, ServerResponse>();
  readonly #claimed = new Map<string, number>();
  /** Responses whose reader is behind, and that are told once it has caught up. */
  readonly #owed = new WeakSet<ServerResponse>();
  readonly #maxPerClient: number;

  constructor(maxPerClient: number = MAX_STREAMS_PER_CLIENT) {
    this.#maxPerClient = maxPerClient;
  }

  /** Takes one of the streams that a capability may have; false if it has them all. */
  claim(capability: string): boolean {
    const count = this.#claimed.get(capability) ?? 0;
    if (count >= this.#maxPerClient) return false;
    this.#claimed.set(capability, count + 1);
    return true;
  }

  /** Gives back what {@link claim} took. */
  release(capability: string): void {
    const count = (this.#claimed.get(capability) ?? 0) - 1;
    if (count > 0) this.#claimed.set(capability, count);
    else this.#claimed.delete(capability);
  }

  /** Registers a stream; call the result when it ends. */
  add(passage: Passage, response: ServerResponse): () => void {
    this.#open.set(passage, response);
    const { session } = passage;
    if (session) session.streams++;
    return () => {
      if (this.#open.delete(passage) && session) session.streams--;
    };
  }

  /** Ends the streams of a session that is over, cleanly. */
  endSession(session: Session): void {
    for (const passage of [...this.#open.keys()]) {
      if (passage.session !== session || passage.httpMethod !== 'GET') continue;
      passage.endsCleanly = true;
      passage.end.abort();
    }
  }

  /** Whether the editor itself listens to this server, and so will hear when its tools change. */
  hasEditor(server: string): boolean {
    return [...this.#open].some(
      ([
        {
          httpMethod,
          principal,
          server: { id },
        },
        response,
      ]) => httpMethod === 'GET' && principal.client === 'vscode' && id === server && !response.destroyed,
    );
  }

  /** Tells one agent that its tools changed. One that does not read is told once, when it reads again. */
  announceToolsTo(response: ServerResponse): void {
    if (response.destroyed || response.writableEnded) return;
    if (!response.writableNeedDrain) {
      response.write(TOOLS_CHANGED);
      return;
    }
    if (this.#owed.has(response)) return;
    this.#owed.add(response);
    response.once('drain', () => {
      this.#owed.delete(response);
      this.announceToolsTo(response);
    });
  }

  /** Tells every agent that listens to this server that its tools changed. Only streams without a request: others end with their answer. */
  announceTools(server: string): void {
    for (const [passage, response] of this.#open) {
      if (passage.httpMethod === 'GET' && passage.server.id === server) this.announceToolsTo(response);
    }
  }
}
