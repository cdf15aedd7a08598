import * as z from 'zod';
import type { Row } from '../store/database.ts';

/**
 * What is written to the record: plain data, serialised as JSON into the column `body` of the table `audit`. No field ever holds a
 * secret. `v` is 2; entries without it were written before the fields that are marked “since 2” and stay readable. How the fields are
 * called in exports, after the OpenTelemetry conventions, stands in export/attributes.ts.
 */

/** A credential that goes along, by name and version. */
export const CredentialUse = z.object({ id: z.string(), name: z.string(), revision: z.number().int() }).readonly();
export type CredentialUse = z.infer<typeof CredentialUse>;

/** Written before anything leaves the machine. */
export const Intent = z
  .object({
    v: z.literal(2).exactOptional(),
    client: z.string(),
    window: z.string(),
    workspace: z.string().exactOptional(),
    /** As the client says; never checked: `clientName`, `clientVersion`, `conversationId`, `requestId`, `traceparent`. */
    claims: z.record(z.string(), z.string()).readonly(),
    server: z.string(),
    serverLabel: z.string(),
    /** Scheme, host and port; for a command what its credentials are bound to. */
    origin: z.string(),
    era: z.enum(['legacy', 'modern']),
    /** Revision of MCP that the request names. Since 2. */
    protocol: z.string().exactOptional(),
    /** JSON-RPC id of the request as it stands in the message. Since 2. */
    rpcId: z.string().exactOptional(),
    /** First 16 hex digits of the SHA-256 of the session id: the id itself would be good for calls. Since 2. */
    session: z.string().exactOptional(),
    method: z.string(),
    /** Name of the tool or prompt, URI of the resource. */
    tool: z.string().exactOptional(),
    /** SHA-256 of the bytes of `params.arguments`, hex. */
    argumentsDigest: z.string().exactOptional(),
    /** The arguments with every known secret taken out, cut to a length; only if the setting says so. */
    arguments: z.string().exactOptional(),
    effect: z.enum(['allow', 'deny']),
    /** Id of the grant, or the rule. */
    decidedBy: z.string(),
    /** Whether `decidedBy` is a grant. Since 2. */
    grant: z.string().exactOptional(),
    /** SHA-256 over the policy and grants that were in force, hex. Since 2. */
    policyDigest: z.string().exactOptional(),
    /** Who said yes or no, where somebody was asked, and how: `user`, `user (whole session)`. Since 2. */
    approver: z.string().exactOptional(),
    /** What policies in shadow mode would have done, a line each: layer, effect, rule. Since 2. */
    shadow: z.array(z.string()).readonly().exactOptional(),
    reason: z.string(),
    /** Name and revision of each credential that goes along, in words. */
    credentials: z.array(z.string()).readonly(),
    /** The same as data. Since 2. */
    credentialUse: z.array(CredentialUse).readonly().exactOptional(),
    /** Task whose grants decided. Since 2. */
    task: z.string().exactOptional(),
    requestBytes: z.number(),
    /** Exchange whose `input_required` this request answers. Since 2. */
    continues: z.string().exactOptional(),
    /** Monotonic clock of the window at arrival, milliseconds: orders what the wall clock can't. Since 2. */
    mono: z.number().exactOptional(),
  })
  .readonly();
export type Intent = z.infer<typeof Intent>;

/** Milliseconds that a call spent in each stage of the pipeline. */
export const StageTimes = z
  .object({
    parse: z.number().exactOptional(),
    authenticate: z.number().exactOptional(),
    authorize: z.number().exactOptional(),
    record: z.number().exactOptional(),
    inspectOut: z.number().exactOptional(),
    credentials: z.number().exactOptional(),
    upstream: z.number().exactOptional(),
    inspectIn: z.number().exactOptional(),
  })
  .readonly();
export type StageTimes = z.infer<typeof StageTimes>;

/** Written when the exchange is over. */
export const Outcome = z
  .object({
    v: z.literal(2).exactOptional(),
    result: z.enum(['ok', 'tool-error', 'rpc-error', 'denied', 'upstream-error', 'cancelled', 'closed']),
    /** HTTP status towards the agent. */
    status: z.number().exactOptional(),
    /** Code of the JSON-RPC error. Since 2. */
    rpcCode: z.number().exactOptional(),
    /** The server wants more input and the client will ask again. Since 2. */
    inputRequired: z.boolean().exactOptional(),
    responseBytes: z.number(),
    /** How many. */
    findings: z.number(),
    /** Rules that found something, and what was done. Since 2. */
    found: z
      .array(z.object({ rule: z.string(), action: z.string() }).readonly())
      .readonly()
      .exactOptional(),
    /** SHA-256 of the JSON-RPC message that answered the request, as the agent got it, hex. Since 2. */
    resultDigest: z.string().exactOptional(),
    /** `result` or `error` of that message, redacted and cut to a length; only if the setting says so. Since 2. */
    resultText: z.string().exactOptional(),
    /** Milliseconds. */
    totalMs: z.number(),
    decisionMs: z.number(),
    upstreamMs: z.number().exactOptional(),
    /** Milliseconds by stage; of a stream, all until its end is `upstream`. Since 2. */
    stages: StageTimes.exactOptional(),
    error: z.string().exactOptional(),
    /** Monotonic clock of the window at the end, milliseconds. Since 2. */
    mono: z.number().exactOptional(),
  })
  .readonly();
export type Outcome = z.infer<typeof Outcome>;

/** What can be done that is no call. */
export const ActName = z.enum([
  'server-added',
  'server-edited',
  'server-removed',
  'server-elsewhere',
  'grant-given',
  'grant-revoked',
  'task-started',
  'task-ended',
  'policy-changed',
  'credential-sealed',
  'credential-replaced',
  'credential-forgotten',
  'signed-in',
  'sign-in-failed',
  'setting-changed',
  'paused',
  'resumed',
  'finding-dismissed',
  'finding-restored',
  'not-a-secret',
  'leak-decision-undone',
  'leak-decided',
  'canary-planted',
  'canary-removed',
  'started',
  'stopped',
  'tampering-found',
  'tampering-settled',
  'verified',
  'exported',
  'export-changed',
  'imported',
  'retention-applied',
  'hold-set',
  'hold-released',
]);

/** Something the user or Culvert did that is no call. */
export const Act = z
  .object({
    v: z.literal(2).exactOptional(),
    act: ActName,
    server: z.string().exactOptional(),
    subject: z.string().exactOptional(),
    detail: z.string().exactOptional(),
    /** Grant, task or credential that it is about. Since 2. */
    id: z.string().exactOptional(),
    /** When what was given ends by itself, milliseconds since the epoch. Since 2. */
    until: z.number().exactOptional(),
    window: z.string(),
    /** Monotonic clock of the window, milliseconds. Since 2. */
    mono: z.number().exactOptional(),
  })
  .readonly();
export type Act = z.infer<typeof Act>;

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

/** An entry from its row of the table `audit`. Not validated: for what comes from outside there is {@link parseBody}. */
export function entryOf(row: Row): Entry {
  return {
    seq: Number(row['seq']),
    chain: String(row['chain']),
    n: Number(row['n']),
    at: Number(row['at']),
    kind: String(row['kind']) as Entry['kind'],
    exchange: row['exchange'] === null ? undefined : String(row['exchange']),
    body: JSON.parse(String(row['body'])) as Entry['body'],
  };
}

/** The body of an entry as it is described above, or `undefined` if it is none. Fields that are not known are left out. */
export function parseBody(kind: Entry['kind'], text: string): Entry['body'] | undefined {
  const schema = { intent: Intent, outcome: Outcome, act: Act }[kind];
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
