import { createHash, hash } from 'node:crypto';
import type { CredentialUse, Intent, Outcome } from '../audit/record.ts';
import { messageOf } from '../common/errors.ts';
import type { Credential } from '../credentials/credential.ts';
import { LARGE_BYTES } from '../inspection/secretSearch.ts';
import { methodOf, type Exchange } from '../mcp/exchange.ts';
import type { Span } from '../mcp/json.ts';
import { findValue } from '../mcp/message.ts';
import { bindingOf } from '../mcp/server.ts';
import type { Answer } from './answers.ts';
import { textOfArguments } from './callArguments.ts';
import type { Core } from './core.ts';
import { enter, header, type Passage } from './passage.ts';
import { MAX_HANDLE_BYTES, resultOf } from './presenting.ts';
import type { Session } from './sessions.ts';
import type { StagesOptions } from './stages.ts';

/** Longest arguments and longest result that are kept in the record, characters; the digests cover all of them. */
export const MAX_RECORDED_ARGUMENTS = 8_192;
/** Longest text of a client that is kept where it names something, characters. */
const MAX_NAME = 256;
/** Largest answer whose members are looked for, bytes; of a larger one the beginning is kept. Some milliseconds. */
const MAX_READ_BYTES = 1024 * 1024;
/** So much is hashed before the event loop gets a turn, bytes: about 2 ms. */
const HASH_SLICE_BYTES = 1024 * 1024;
/** Largest reply that waits to be read until its outcome is written, bytes: a moment's worth of them must not fill the memory. */
const MAX_READ_LATER_BYTES = 64 * 1024;
/** Findings of a call that are told one by one; the rest is counted. */
const MAX_FOUND = 20;
const INPUT_REQUIRED = Buffer.from('"input_required"');

/** Fields that are set one after the other. */
type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** What is written about a call before anything leaves the machine. Holds no secret. */
export function intentOf(
  x: Passage,
  { core, recordArguments }: Pick<StagesOptions, 'core' | 'recordArguments'>,
  effect: Intent['effect'],
): Intent {
  const { principal, server, message, decision, claims } = x;
  const span = message?.arguments;
  const clean = isClean(x, core);
  const text = recordArguments() ? argumentsText(x, core) : undefined;
  const tool = message?.name ?? x.tasks[0]?.tool;
  const protocol = message?.protocolVersion ?? header(x, 'mcp-protocol-version');
  const session = sessionDigest(x.session);
  const { task, shadow, policyDigest } = x;
  const approver = approverOf(x);
  const { credentials, credentialUse } = credentialsOf(x, core);
  // Assigned one by one: what is copied from objects that are there or not takes several times as long, for every call.
  const intent: Writable<Intent> = {
    v: 2,
    client: principal.client,
    window: principal.window,
    claims: claims as Readonly<Record<string, string>>,
    server: server.id,
    serverLabel: server.label,
    origin: bindingOf(server.upstream),
    era: x.era,
    method: methodOf(x),
    effect,
    decidedBy: decision?.by.kind === 'grant' ? decision.by.grant : (decision?.by.rule ?? 'fault'),
    reason: decision?.reason ?? '',
    credentials,
    requestBytes: x.body.length,
    mono: round(x.startedAt),
  };
  if (principal.workspaceName !== undefined) intent.workspace = principal.workspaceName;
  if (protocol !== undefined) intent.protocol = protocol.slice(0, MAX_NAME);
  if (message?.id !== undefined) intent.rpcId = message.id.slice(0, MAX_NAME);
  if (session !== undefined) intent.session = session;
  if (tool !== undefined) intent.tool = tool;
  if (x.continues !== undefined) intent.continues = x.continues;
  if (span) intent.argumentsDigest = hash('sha256', x.body.subarray(span.start, span.end));
  if (text !== undefined) intent.arguments = text.slice(0, MAX_RECORDED_ARGUMENTS);
  if (decision?.by.kind === 'grant') intent.grant = decision.by.grant;
  if (policyDigest !== undefined) intent.policyDigest = policyDigest;
  if (approver !== undefined) intent.approver = approver;
  if (shadow && shadow.length > 0) intent.shadow = shadow.map((of) => `${of.layer}: ${of.effect} (${of.rule})`);
  if (credentialUse.length > 0) intent.credentialUse = credentialUse;
  if (task !== undefined) intent.task = task;
  return clean ? intent : core.inspector.redactPlain(intent);
}

/**
 * Writes how an exchange ended; also its intent, if it ended before it had one. The answer is on its way: nobody waits for this. `undefined`
 * where it is noted already.
 */
export function recordOutcome(x: Passage, options: StagesOptions, answer: Answer): Promise<void> | undefined {
  const { core, clock, logger } = options;
  const ended = clock.monotonic();
  enter(x, undefined, ended);
  // The intent is on record; an intent without outcome tells that the end could not be written.
  const failed = (error: unknown) => logger.error(`The outcome of a call could not be recorded: ${messageOf(error)}`);
  try {
    const opening = x.recorded
      ? undefined
      : core.audit.open(x.id, core.inspector.redactPlain({ ...intentOf(x, options, 'deny'), reason: answer.error ?? 'refused' }));
    const writing = opening ? opening.then(() => close(x, options, answer, ended)) : close(x, options, answer, ended);
    return writing?.catch(failed);
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** `undefined` unless there is a large result to be read. */
function close(x: Passage, options: StagesOptions, answer: Answer, ended: number): Promise<void> | undefined {
  const { core } = options;
  const reply = x.reply ?? (answer.sent || answer.body.length === 0 || x.upstream === undefined ? undefined : answer.body);
  const kept = options.recordResults();
  const digested = kept === 'off' ? undefined : reply;
  // Now: what is a secret now may be forgotten when the outcome is written.
  const error = answer.error === undefined ? undefined : core.inspector.redactForDisplay(answer.error);
  const ending = { answer, reply, ended, kept, error };
  if (digested !== undefined && digested.length > MAX_READ_LATER_BYTES)
    return digestOf(digested).then((digest) => {
      core.audit.close(x.id, outcomeOf(x, { ...ending, digest }));
      tell(x, core);
    });
  core.audit.close(x.id, () => outcomeOf(x, { ...ending, digest: digested && hash('sha256', digested) }));
  tell(x, core);
  return undefined;
}

/** Hands on what was found. */
function tell(x: Passage, core: Core): void {
  if (x.findings.length === 0) return;
  const tool = x.message?.method === 'tools/call' ? (x.message.name ?? '') : x.tasks[0]?.tool;
  core.findings.add(x.findings, {
    server: x.server.id,
    tool: tool === undefined ? undefined : core.inspector.redactForDisplay(tool),
    workspace: x.principal.workspace,
    exchange: x.id,
  });
}

/** How an exchange ended, as far as it is known when it ends. */
interface Ending {
  readonly answer: Answer;
  /** The message that answered the request, as the agent got it. */
  readonly reply: Buffer | undefined;
  /** Monotonic clock, milliseconds. */
  readonly ended: number;
  /** What of results is kept. */
  readonly kept: ReturnType<StagesOptions['recordResults']>;
  /** SHA-256 of the reply, hex. */
  readonly digest: string | undefined;
  /** Without secrets. */
  readonly error: string | undefined;
}

/** What is written of it. Holds no secret. */
function outcomeOf(x: Passage, { answer, reply, ended, kept, digest, error }: Ending): Outcome {
  const result = answer.result === 'ok' && !answer.sent ? resultOf(answer.body) : answer.result;
  const text = reply && kept === 'redacted' ? resultText(reply) : undefined;
  const rpcCode = reply && result === 'rpc-error' ? codeIn(reply) : undefined;
  const outcome: Writable<Outcome> = {
    v: 2,
    result,
    status: answer.status,
    responseBytes: x.responseBytes,
    findings: x.findings.length,
    totalMs: round(ended - x.startedAt),
    decisionMs: round(x.decidedAt - x.startedAt),
    stages: x.times,
    mono: round(ended),
  };
  if (rpcCode !== undefined) outcome.rpcCode = rpcCode;
  if (reply && x.era === 'modern' && asksForInput(reply)) outcome.inputRequired = true;
  if (x.findings.length > 0) outcome.found = x.findings.slice(0, MAX_FOUND).map(({ rule, action }) => ({ rule, action }));
  if (digest !== undefined) outcome.resultDigest = digest;
  if (text !== undefined) outcome.resultText = text;
  if (x.upstreamMs !== undefined) outcome.upstreamMs = round(x.upstreamMs);
  if (error !== undefined) outcome.error = error;
  return outcome;
}

/** Who said yes or no, if somebody was asked and answered. */
function approverOf(x: Passage): string | undefined {
  const { decision } = x;
  const rule = decision?.by.kind === 'rule' ? decision.by.rule : undefined;
  if (rule === 'answered' && x.tasks.length > 0) return undefined;
  if (rule === 'answered' || rule === 'dismissed') return 'user';
  // The same was asked a moment ago.
  if (rule === 'refused') return 'user (earlier)';
  return x.shown !== undefined && decision?.by.kind === 'grant' ? 'user' : undefined;
}

const NO_CREDENTIALS = { credentials: [] as readonly string[], credentialUse: [] as readonly CredentialUse[] };

/** By what goes along: the same from call to call, as long as none is replaced. */
const inWords = new WeakMap<Credential, typeof NO_CREDENTIALS>();

/** What goes along, in words and as data. */
function credentialsOf({ server }: Passage, core: Core): typeof NO_CREDENTIALS {
  const { credentials: ids } = server;
  const only = ids.length === 1 && ids[0] !== undefined ? core.credentials.recent(ids[0]) : undefined;
  if (!only) return ids.length === 0 ? NO_CREDENTIALS : described(ids.flatMap((id) => core.credentials.recent(id) ?? []));
  let words = inWords.get(only);
  if (!words) inWords.set(only, (words = described([only])));
  return words;
}

function described(known: readonly Credential[]): typeof NO_CREDENTIALS {
  return {
    credentials: known.map(({ name, revision }) => `${name} (revision ${revision})`),
    credentialUse: known.map(({ id, name, revision }) => ({ id, name, revision })),
  };
}

const sessionDigests = new WeakMap<Session, string>();

/** A session by the beginning of the digest of its id: the id itself would be good for calls. */
function sessionDigest(session: Session | undefined): string | undefined {
  if (!session || session.id === '') return undefined;
  let digest = sessionDigests.get(session);
  if (digest === undefined) sessionDigests.set(session, (digest = hash('sha256', session.id).slice(0, 16)));
  return digest;
}

/** SHA-256, hex; a large text a piece at a time. */
async function digestOf(bytes: Buffer): Promise<string> {
  if (bytes.length <= HASH_SLICE_BYTES) return hash('sha256', bytes);
  const digest = createHash('sha256');
  for (let at = 0; at < bytes.length; at += HASH_SLICE_BYTES) {
    digest.update(bytes.subarray(at, at + HASH_SLICE_BYTES));
    await new Promise(setImmediate);
  }
  return digest.digest('hex');
}

/** What the answer says, for reading. It was inspected on its way to the agent. */
function resultText(reply: Buffer): string {
  const span = reply.length <= MAX_READ_BYTES ? (find(reply, ['result']) ?? find(reply, ['error'])) : undefined;
  const [from, to] = span ? [span.start, span.end] : [0, reply.length];
  // A character has four bytes at most.
  return reply.toString('utf8', from, Math.min(to, from + 4 * MAX_RECORDED_ARGUMENTS)).slice(0, MAX_RECORDED_ARGUMENTS);
}

function codeIn(reply: Buffer): number | undefined {
  const span = reply.length <= MAX_READ_BYTES ? find(reply, ['error', 'code']) : undefined;
  const code = span && Number(reply.toString('utf8', span.start, span.end));
  return Number.isSafeInteger(code) ? code : undefined;
}

/** Whether the server wants input and the client will ask again (2026-07-28, multi round-trip requests). */
function asksForInput(reply: Buffer): boolean {
  if (reply.length > MAX_HANDLE_BYTES || !reply.includes(INPUT_REQUIRED)) return false;
  const span = find(reply, ['result', 'resultType']);
  return span !== undefined && reply.toString('utf8', span.start, span.end) === INPUT_REQUIRED.toString();
}

/** What no parser reads has no members. */
function find(bytes: Buffer, keys: readonly string[]): Span | undefined {
  try {
    return findValue(bytes, keys);
  } catch {
    return undefined;
  }
}

/** Whether the request holds no known secret at all, in body or headers: looked at once, so that nothing made of it need be looked at again. */
export function isClean(x: Passage, core: Core): boolean {
  x.clean ??= core.inspector.isClean(x.body, besideOf(x));
  return x.clean;
}

/** The arguments for reading, known secrets taken out; `undefined` if the message has none. */
export function argumentsText(x: Passage, core: Core): string | undefined {
  const text = x.message && textOfArguments(x.message);
  if (text === undefined || isClean(x, core)) return text;
  // Nobody reads so much, and searching it would hold everybody up.
  return x.body.length > LARGE_BYTES ? '"⟦culvert: large arguments that hold a secret⟧"' : core.inspector.redactForDisplay(text);
}

/** What of a request is not its body and could carry a secret all the same: header values, but for the capability. */
export function besideOf({ headers }: Exchange): string {
  let text = '';
  for (const name in headers) if (name !== 'authorization') text += `${String(headers[name])}\n`;
  return text;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
