import type { ServerResponse } from 'node:http';
import { eventOf } from '../mcp/sse.ts';
import type { Passage } from './stages.ts';

/** Streams of all agents together; one more takes the place of none and is refused by the connection limit before. */
const TOOLS_CHANGED = eventOf('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');

/** The open streams to agents, so that they can be told that their tools changed. */
export class Streams {
  readonly #open = new Map<Passage, ServerResponse>();

  /** Registers a stream; call the result when it ends. */
  add(passage: Passage, response: ServerResponse): () => void {
    this.#open.set(passage, response);
    return () => this.#open.delete(passage);
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

  /** Tells one agent that its tools changed. */
  announceToolsTo(response: ServerResponse): void {
    response.write(TOOLS_CHANGED);
  }

  /** Tells every agent that listens to this server that its tools changed. Only streams without a request: others end with their answer. */
  announceTools(server: string): void {
    for (const [passage, response] of this.#open) {
      if (passage.httpMethod === 'GET' && passage.server.id === server && !response.destroyed) response.write(TOOLS_CHANGED);
    }
  }
}
