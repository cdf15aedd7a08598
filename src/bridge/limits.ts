/** Bounds of the bridge. Time in milliseconds, sizes in bytes. Replaced as a whole in tests. */
export interface Limits {
  /** How long a message waits for a window that went away before it is answered with an error. */
  readonly windowReturnMs: number;
  /** How long a refused token may take to be replaced in the capability file. */
  readonly tokenReturnMs: number;
  /** First and longest pause between two looks for the window. */
  readonly firstLookMs: number;
  readonly longestLookMs: number;
  /** Limit for the test connection to a tunnel, and for each message of a session that is opened again. */
  readonly connectMs: number;
  readonly handshakeMs: number;
  /** First and longest pause before a broken stream is opened again, unless the server names one with `retry:`. */
  readonly firstStreamPauseMs: number;
  readonly longestStreamPauseMs: number;
  /** Attempts in a row that bring no event before a stream is given up until the next message. */
  readonly streamAttempts: number;
  /** How often one message may be sent again, where nothing can have been carried out. */
  readonly retries: number;
  /** How long the answer stream of a cancelled legacy call is kept for what the server still has to say. */
  readonly cancelLingerMs: number;
  /** After stdin has ended: for running calls, then for the DELETE of the session. */
  readonly drainMs: number;
  readonly goodbyeMs: number;
  /** Idle connections are closed before the tunnel could, so that no call meets a connection that is just closing. */
  readonly idleConnectionMs: number;
  readonly idleConnections: number;
  /** Calls in flight. The next one is answered with an error: holding it back could hold back the answer that frees a place. */
  readonly calls: number;
  /** Messages read from stdin and not yet taken by the tunnel; above this stdin is paused. */
  readonly heldBytes: number;
  /** One message, either way. */
  readonly messageBytes: number;
  /** Pages of a tools/list that the bridge asks for itself. */
  readonly ownListPages: number;
}

/** The bounds in use. */
export const LIMITS: Limits = {
  windowReturnMs: 10_000,
  tokenReturnMs: 1_000,
  firstLookMs: 50,
  longestLookMs: 1_000,
  connectMs: 2_000,
  handshakeMs: 10_000,
  firstStreamPauseMs: 1_000,
  longestStreamPauseMs: 30_000,
  streamAttempts: 8,
  retries: 2,
  cancelLingerMs: 5_000,
  drainMs: 1_000,
  goodbyeMs: 500,
  idleConnectionMs: 4_000,
  idleConnections: 64,
  calls: 1_024,
  heldBytes: 16 * 1024 * 1024,
  messageBytes: 64 * 1024 * 1024,
  ownListPages: 20,
};
