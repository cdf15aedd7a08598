/**
 * What is written to the record: plain data, serialised as JSON into the column `body` of the table `audit`. No field ever holds a
 * secret.
 */

/** Written before anything leaves the machine. */
export interface Intent {
  readonly client: string;
  readonly window: string;
  readonly workspace?: string;
  /** As the client says; never checked. */
  readonly claims: Readonly<Record<string, string>>;
  readonly server: string;
  readonly serverLabel: string;
  readonly origin: string;
  readonly era: 'legacy' | 'modern';
  readonly method: string;
  readonly tool?: string;
  /** SHA-256 of the bytes of `params.arguments`, hex. */
  readonly argumentsDigest?: string;
  /** The arguments with every known secret taken out, cut to a length; only if the setting says so. */
  readonly arguments?: string;
  readonly effect: 'allow' | 'deny';
  readonly decidedBy: string;
  readonly reason: string;
  /** Name and revision of each credential that goes along. */
  readonly credentials: readonly string[];
  readonly requestBytes: number;
}

/** Written when the exchange is over. */
export interface Outcome {
  readonly result: 'ok' | 'tool-error' | 'rpc-error' | 'denied' | 'upstream-error' | 'cancelled' | 'closed';
  readonly status?: number;
  readonly responseBytes: number;
  readonly findings: number;
  /** Milliseconds, by stage. */
  readonly totalMs: number;
  readonly decisionMs: number;
  readonly upstreamMs?: number;
  readonly error?: string;
}

/** Something the user or Culvert did that is no call. */
export interface Act {
  readonly act:
    | 'server-added'
    | 'server-edited'
    | 'server-removed'
    | 'grant-given'
    | 'grant-revoked'
    | 'credential-sealed'
    | 'credential-replaced'
    | 'credential-forgotten'
    | 'paused'
    | 'resumed'
    | 'finding-dismissed'
    | 'started'
    | 'stopped'
    | 'tampering-found'
    | 'tampering-settled'
    | 'verified';
  readonly server?: string;
  readonly subject?: string;
  readonly detail?: string;
  readonly window: string;
}

/** One link of a chain. */
export interface Entry {
  /** Position in the database; newest is highest. */
  readonly seq: number;
  readonly chain: string;
  /** Position in the chain, from 1. */
  readonly n: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly kind: 'intent' | 'outcome' | 'act';
  /** Links intent and outcome of one call. */
  readonly exchange: string | undefined;
  readonly body: Intent | Outcome | Act;
}
