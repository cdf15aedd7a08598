import { newToken } from '../common/identifiers.ts';
import { NO_CLAIMS, type Claims } from '../mcp/message.ts';

/** Sessions that are remembered; the one that was idle longest goes first. A client whose session was forgotten gets 404 and begins anew. */
export const MAX_SESSIONS = 10_000;
/**
 * Requests of a server (sampling, elicitation, roots, ping) that may wait for an answer in one session. One more takes the place of the
 * oldest, which nobody has answered for longest and whose answer is refused from then on; the new one passes as ever.
 */
export const MAX_PENDING_SERVER_REQUESTS = 1_000;

/** A legacy session of a server, bound to whoever began it. */
export interface Session {
  /** What the client sends as `Mcp-Session-Id`; empty where neither the server nor we gave one. */
  readonly id: string;
  readonly principal: string;
  readonly server: string;
  /** The id is ours, because the server has no sessions: it never sees it. */
  readonly minted: boolean;
  /** Ids of the server's requests that the client has not answered, in the spelling of `idKey`, oldest first. */
  readonly pending: Set<string>;
  /** What the client said about itself when it began; a claim, like everything it says. */
  claims: Claims;
  /** Whether the client has had a stream of its own. */
  listened: boolean;
  /** Streams of the session that are open now. */
  streams: number;
}

/** The legacy sessions that went through this window (PROTOCOL.md 1): an id is good only for the principal and server it was made for. */
export class Sessions {
  readonly #byId = new Map<string, Session>();
  readonly #max: number;

  constructor(max: number = MAX_SESSIONS) {
    this.#max = max;
  }

  /** Remembers a session that a server opened for a principal. */
  begin(id: string, principal: string, server: string): Session {
    const old = this.#byId.get(keyOf(server, id, principal));
    return old?.principal === principal ? old : this.#add(id, principal, server, false);
  }

  /** Makes a session for a server that has none: 256 random bits. */
  mint(principal: string, server: string): Session {
    return this.#add(newToken(), principal, server, true);
  }

  /** The session, if it belongs to this principal and server. */
  find(id: string, principal: string, server: string): Session | undefined {
    const key = keyOf(server, id, principal);
    const session = this.#byId.get(key);
    if (session?.principal !== principal) return undefined;
    // Order matters only when something may have to go.
    if (this.#byId.size > this.#max / 2) {
      this.#byId.delete(key);
      this.#byId.set(key, session);
    }
    return session;
  }

  end(session: Session): void {
    this.#byId.delete(keyOf(session.server, session.id, session.principal));
  }

  /** Ends every session of a server. */
  endServer(server: string): void {
    for (const session of [...this.#byId.values()]) if (session.server === server) this.end(session);
  }

  #add(id: string, principal: string, server: string, minted: boolean): Session {
    const session: Session = { id, principal, server, minted, pending: new Set(), claims: NO_CLAIMS, listened: false, streams: 0 };
    if (this.#byId.size >= this.#max) this.#forgetIdle();
    this.#byId.set(keyOf(server, id, principal), session);
    return session;
  }

  /** Those with a stream stay: there are never more of them than connections. */
  #forgetIdle(): void {
    for (const [key, session] of this.#byId) {
      if (session.streams > 0) continue;
      this.#byId.delete(key);
      return;
    }
  }
}

/** Notes a request of the server that waits for the client's answer. Returns whether an older one had to give way. */
export function expectAnswer(session: Session, id: string, max: number = MAX_PENDING_SERVER_REQUESTS): boolean {
  session.pending.add(id);
  if (session.pending.size <= max) return false;
  const oldest = session.pending.values().next().value;
  if (oldest !== undefined) session.pending.delete(oldest);
  return true;
}

/** A server without sessions (id '') has one per principal. */
function keyOf(server: string, id: string, principal: string): string {
  return id === '' ? `${server}\u0000\u0000${principal}` : `${server}\u0000${id}`;
}
