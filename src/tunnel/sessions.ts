import type { Claims } from '../mcp/message.ts';

/** Sessions that are remembered; the oldest go first. A client whose session was forgotten gets 404 and begins anew. */
export const MAX_SESSIONS = 10_000;
/** Requests of a server (sampling, elicitation, roots, ping) that may wait for an answer in one session. */
export const MAX_PENDING_SERVER_REQUESTS = 1_000;

/** A legacy session of a server, bound to whoever began it. */
export interface Session {
  readonly id: string;
  readonly principal: string;
  readonly server: string;
  /** Raw ids of the server's requests that the client has not answered. */
  readonly pending: Set<string>;
  /** What the client said about itself when it began; a claim, like everything it says. */
  claims: Claims;
  /** Whether the client has had a stream of its own. */
  listened: boolean;
}

/** The legacy sessions that went through this window (PROTOCOL.md 1): an id is good only for the principal and server it was made for. */
export class Sessions {
  readonly #byId = new Map<string, Session>();

  /** Remembers a session that a server opened for a principal. */
  begin(id: string, principal: string, server: string): Session {
    const key = keyOf(server, id, principal);
    const old = this.#byId.get(key);
    if (old?.principal === principal) return old;
    const session: Session = { id, principal, server, pending: new Set(), claims: {}, listened: false };
    this.#byId.set(key, session);
    if (this.#byId.size > MAX_SESSIONS) {
      const oldest = this.#byId.keys().next().value;
      if (oldest !== undefined) this.#byId.delete(oldest);
    }
    return session;
  }

  /** The session, if it belongs to this principal and server. */
  find(id: string, principal: string, server: string): Session | undefined {
    const session = this.#byId.get(keyOf(server, id, principal));
    return session?.principal === principal ? session : undefined;
  }

  end(session: Session): void {
    this.#byId.delete(keyOf(session.server, session.id, session.principal));
  }
}

/** Notes a request of the server that waits for the client's answer. */
export function expectAnswer(session: Session, id: string): void {
  if (session.pending.size < MAX_PENDING_SERVER_REQUESTS) session.pending.add(id);
}

/** A server without sessions (id '') has one per principal. */
function keyOf(server: string, id: string, principal: string): string {
  return id === '' ? `${server}\u0000\u0000${principal}` : `${server}\u0000${id}`;
}
