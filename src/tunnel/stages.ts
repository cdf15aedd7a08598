import { hash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Intent, Outcome } from '../audit/record.ts';
import type { Call } from '../authorization/decide.ts';
import { inject } from '../credentials/injection.ts';
import type { Clock } from '../common/clock.ts';
import { UpstreamError, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Stop } from '../common/stop.ts';
import { visible } from '../common/text.ts';
import { denyBy, type Decision } from '../mcp/decision.ts';
import { methodOf, type Exchange } from '../mcp/exchange.ts';
import { applyEdits } from '../mcp/json.ts';
import { editorMetaSpans, readMessage } from '../mcp/message.ts';
import { ERROR_CODE, classifyMethod, decodeHeaderValue, eraOf, errorBody } from '../mcp/methods.ts';
import { clientLabel, principalKey } from '../mcp/principal.ts';
import { bindingOf, destinationOf, isConfirmed, type Server, type UpstreamPlace } from '../mcp/server.ts';
import { headersToUpstream } from '../upstream/headers.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from '../upstream/upstream.ts';
import { credentialOf, type Core } from './core.ts';
import { ownStream, relay, resultOf } from './relay.ts';
import type { Presentation } from './tunnel.ts';
import type { Session, Sessions } from './sessions.ts';

/** Longest arguments that are kept in the record, characters; the digest covers all of them. */
export const MAX_RECORDED_ARGUMENTS = 8_192;

const NO_URL = new URL('stdio:');

/** What an agent is told whose call was ended from this side. */
export const ENDED =
  'The call was ended: the user withdrew the permission, or Culvert is closing. It may or may not have been carried out.';

/** What ends an exchange. `sent`: the answer has already gone out as a stream. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer;
  readonly sent: boolean;
  readonly result: Outcome['result'];
  readonly error?: string;
}

/** What stages keep about an exchange beside what the record needs. */
export interface Passage extends Exchange {
  readonly response: ServerResponse;
  /** Ends the exchange from our side: access withdrawn, tunnel closing; also the agent's leave where that means cancel. */
  readonly end: Stop;
  session: Session | undefined;
  /** URL and headers with credentials. Never logged. */
  outgoing: Pick<UpstreamRequest, 'url' | 'headers' | 'environment'> | undefined;
  upstream: UpstreamResponse | undefined;
  /** Whether the request was found to hold no known secret. */
  clean: boolean | undefined;
  /** Whether a credential is on the wire now. */
  usesCredential: boolean;
}

export interface StagesOptions {
  readonly core: Core;
  readonly sessions: Sessions;
  readonly upstreamFor: (server: Server) => Upstream;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly presentation: Presentation;
  approvalTimeoutMs(): number;
  recordArguments(): boolean;
  onCredential(inUse: 1 | -1, name: string): void;
}

/** The nine stages, bound to the parts that do their work. */
export class Stages {
  readonly options: StagesOptions;

  constructor(options: StagesOptions) {
    this.options = options;
  }

  parse(exchange: Passage): Answer | undefined {
    const version = header(exchange, 'mcp-protocol-version');
    if (exchange.httpMethod !== 'POST') {
      exchange.era = eraOf(undefined, version);
      return undefined;
    }
    const read = readMessage(exchange.body);
    if (!read.ok) return refused(400, errorBody(undefined, read.code, read.reason), read.reason);
    const { message } = read;
    exchange.message = message;
    exchange.claims = message.claims;
    exchange.era = eraOf(message.protocolVersion, version);
    if (exchange.era === 'legacy') return undefined;
    if (message.kind === 'response')
      return refused(
        400,
        errorBody(undefined, -32600, 'This protocol revision has no requests from the server to answer.'),
        'response in the modern era',
      );
    if (message.protocolVersion === undefined) {
      // The code that servers of this revision answer with; the request itself is not theirs to see.
      const text = 'params._meta must name the protocol version that the header names.';
      return refused(400, errorBody(message.id, -32602, text), text);
    }
    // 2026-07-28, transports: the headers that routers read must say what the body says.
    const wrong = [
      version === message.protocolVersion ? undefined : 'MCP-Protocol-Version',
      header(exchange, 'mcp-method') === message.method ? undefined : 'Mcp-Method',
      message.name === undefined || decodeHeaderValue(header(exchange, 'mcp-name') ?? '') === message.name ? undefined : 'Mcp-Name',
    ].filter((name) => name !== undefined);
    if (wrong.length === 0) return undefined;
    return refused(
      400,
      errorBody(message.id, -32020, `Header mismatch: ${wrong.join(', ')} must be present and equal to the body.`),
      'header mismatch',
    );
  }

  authenticate(exchange: Passage): Answer | undefined {
    const id = header(exchange, 'mcp-session-id');
    if (exchange.era === 'modern') return undefined;
    const owner = principalKey(exchange.principal);
    if (id === undefined) exchange.session = this.options.sessions.begin('', owner, exchange.server.id);
    else {
      exchange.session = this.options.sessions.find(id, owner, exchange.server.id);
      if (!exchange.session) {
        const text = 'This session is not known here. Begin a new one with initialize.';
        return refused(404, errorBody(exchange.message?.id, ERROR_CODE.session, text), text);
      }
    }
    exchange.claims = { ...exchange.session.claims, ...exchange.claims };
    if (exchange.message?.kind !== 'response') return undefined;
    if (exchange.session.pending.delete(exchange.message.id ?? '')) return undefined;
    return refused(400, errorBody(undefined, -32600, 'No request of the server waits for this answer.'), 'answer to nothing');
  }

  async authorize(exchange: Passage): Promise<Answer | undefined> {
    const { core } = this.options;
    const call = this.callOf(exchange);
    exchange.decision = core.access.decide(exchange.principal, call);
    if (exchange.decision.effect === 'ask') {
      exchange.decision = await this.#ask(exchange, call);
      // While the user thought, another secret may have been sealed: what was looked at before does not count any more.
      exchange.clean = undefined;
    }
    exchange.decidedAt = this.options.clock.monotonic();
    return undefined;
  }

  /** The call as authorization sees it. */
  callOf(exchange: Passage): Call {
    const { message, server } = exchange;
    const tool = message?.method === 'tools/call' ? message.name : undefined;
    return {
      server: server.id,
      serverLabel: server.label,
      method: message?.method,
      tool,
      reads: tool !== undefined && this.options.core.catalog.reads(server.id, tool),
    };
  }

  async #ask(exchange: Passage, call: Call): Promise<Decision> {
    const { core } = this.options;
    // A notification expects no answer, so nobody can be asked on its behalf.
    if (exchange.message?.kind !== 'request')
      return denyBy('no-grant', 'This needs the user’s permission each time, and a notification can’t wait for it.');
    await core.ready();
    return core.approvals.request(
      {
        principal: exchange.principal,
        call,
        argumentsText: argumentsText(exchange, core, this.#isClean(exchange)),
        digest: hash('sha256', exchange.body),
        destination: destinationOf(exchange.server),
        credentials: this.#credentialNames(exchange),
        client: clientLabel(exchange.principal, exchange.claims.clientName),
      },
      this.options.approvalTimeoutMs(),
      exchange.gone,
    );
  }

  async openRecord(exchange: Passage): Promise<Answer | undefined> {
    const { core } = this.options;
    await core.ready();
    const decision = exchange.decision ?? denyBy('fault', 'No decision was made.');
    try {
      await core.audit.open(exchange.id, this.#intentOf(exchange, decision.effect === 'allow' ? 'allow' : 'deny'));
    } catch (error) {
      this.options.logger.error(messageOf(error));
      return denied(
        exchange,
        'Culvert can’t write its record, so nothing is let through. The user finds the reason with “Culvert: Show Log”.',
      );
    }
    exchange.recorded = true;
    if (decision.effect === 'allow') return undefined;
    // An agent that is refused its stream takes the server for one without, and would not hear of the end of the pause.
    if (isHeldByPause(exchange) && this.options.presentation.ownStream) return ownStream(exchange, this.options);
    return denied(exchange, decision.reason);
  }

  async inspectOutgoing(exchange: Passage): Promise<Answer | undefined> {
    if (this.#isClean(exchange)) return undefined;
    const { core } = this.options;
    const own = new Set(exchange.server.credentials);
    const found = core.inspector.outgoing(exchange.body, besideOf(exchange), (id) => !own.has(credentialOf(id)));
    if (found.length === 0) return undefined;
    exchange.findings.push(...found);
    const names = found.map((f) => `“${f.subject}”`).join(', ');
    return denied(
      exchange,
      `The call holds the value of the credential ${names}, which belongs to another server. It was stopped on this machine. Leave the value out; Culvert adds credentials itself.`,
    );
  }

  /** Whether the request holds no known secret at all, in body or headers: looked at once, so that nothing made of it need be looked at again. */
  #isClean(exchange: Passage): boolean {
    exchange.clean ??= this.options.core.inspector.isClean(exchange.body, besideOf(exchange));
    return exchange.clean;
  }

  async injectCredentials(exchange: Passage): Promise<Answer | undefined> {
    const { core } = this.options;
    const { server } = exchange;
    const place = server.upstream;
    if (place.kind === 'stdio' && !isConfirmed(place))
      return notForwarded(
        exchange,
        502,
        `${server.label} is a command that the user has not confirmed since it changed, so it was not started. The user can do that with “Culvert: Edit Server…”.`,
      );
    const binding = bindingOf(place);
    let url = place.kind === 'stdio' ? NO_URL : new URL(place.url);
    const environment: Record<string, string> = {};
    const headers = headersToUpstream(exchange.headers);
    // No session in this era (PROTOCOL.md 1); passed on, the id of somebody else's legacy session would be good at the server.
    if (exchange.era === 'modern') delete headers['mcp-session-id'];
    for (const id of server.credentials) {
      const credential = core.credentials.recent(id);
      if (!credential)
        return notForwarded(
          exchange,
          502,
          `A credential of ${server.label} is missing. The user can add it again with “Culvert: Edit Server…”.`,
        );
      const opened = await core.credentials.vault.open(id, binding);
      if (!opened.ok) {
        const why =
          opened.reason === 'other-origin'
            ? `The credential “${credential.name}” is not bound to ${describeBinding(place)}, so it was not sent. The user can bind it with “Culvert: Edit Server…”.`
            : `The value of the credential “${credential.name}” is not in the system’s keyring. The user can enter it again with “Culvert: Replace Credential…”.`;
        return notForwarded(exchange, 502, why);
      }
      const injected = inject(url, credential.placement, opened.secret);
      url = injected.url;
      Object.assign(headers, injected.headers);
      Object.assign(environment, injected.environment);
      core.recognise(id, opened.revision, opened.secret);
      core.credentials.used(id);
    }
    // A stream that listens for as long as the session lasts is no use worth showing.
    if (server.credentials.length > 0 && exchange.httpMethod !== 'GET') {
      exchange.usesCredential = true;
      this.options.onCredential(1, this.#credentialNames(exchange).join(', '));
    }
    exchange.outgoing = { url, headers, environment };
    return undefined;
  }

  async callUpstream(exchange: Passage): Promise<Answer | undefined> {
    if (!exchange.outgoing) return notForwarded(exchange, 500, 'The request was not prepared.');
    const { message } = exchange;
    const body = message
      ? applyEdits(
          message.bytes,
          editorMetaSpans(message).map((span) => ({ span, replacement: '' })),
        )
      : undefined;
    if (exchange.gone.aborted && exchange.era === 'modern') exchange.end.abort();
    const began = this.options.clock.monotonic();
    try {
      exchange.upstream = await this.options.upstreamFor(exchange.server).send({
        method: exchange.httpMethod,
        ...exchange.outgoing,
        body,
        signal: exchange.end.signal,
      });
    } catch (error) {
      if (exchange.end.signal.aborted)
        return { ...notForwarded(exchange, 200, ENDED), result: exchange.gone.aborted ? 'cancelled' : 'closed' };
      if (!(error instanceof UpstreamError)) throw error;
      return notForwarded(exchange, message?.method === 'initialize' ? 503 : 200, `${exchange.server.label}: ${error.message}`);
    } finally {
      exchange.upstreamMs = this.options.clock.monotonic() - began;
    }
    const { status } = exchange.upstream;
    if (status === 304) {
      exchange.upstream.body.discard();
      return notForwarded(exchange, 200, `${exchange.server.label} answered HTTP 304, which is no answer to this request.`);
    }
    if (status !== 401 && status !== 403) return undefined;
    // The editor must never see these: it would try to sign in at our address (PROTOCOL.md 2).
    exchange.upstream.body.discard();
    const names = this.#credentialNames(exchange);
    const what = names.length > 0 ? `did not accept the credential ${names.map((n) => `“${n}”`).join(', ')}` : 'wants a credential';
    return notForwarded(
      exchange,
      200,
      `${exchange.server.label} ${what} (HTTP ${status}). The user can set it with “Culvert: ${names.length > 0 ? 'Replace Credential…' : 'Edit Server…'}”.`,
    );
  }

  relay(exchange: Passage): Promise<Answer> {
    return relay(exchange, this.options);
  }

  fail(exchange: Passage, error: unknown): Answer {
    this.options.logger.error(`A call to ${exchange.server.label} failed inside Culvert: ${messageOf(error)}`);
    return denied(
      exchange,
      'Culvert could not check this call, so it was not let through. The user finds the reason with “Culvert: Show Log”.',
    );
  }

  /** Writes the answer, unless it has gone out as a stream. */
  deliver(exchange: Passage, answer: Answer): void {
    const { response } = exchange;
    if (answer.sent || response.destroyed) return;
    const { status, headers, body } = answer;
    // 204 and 304 have no length (RFC 9110, 8.6).
    const length = status === 204 || status === 304 ? {} : { 'content-length': body.length };
    try {
      response.writeHead(status, { ...headers, ...length });
      if (body.length > 0) response.end(body);
      else response.end();
    } catch (error) {
      this.options.logger.error(`An answer could not be written: ${messageOf(error)}`);
      response.destroy();
    }
  }

  async closeRecord(exchange: Passage, answer: Answer): Promise<void> {
    const { core, clock, logger } = this.options;
    if (exchange.usesCredential) this.options.onCredential(-1, '');
    try {
      if (!exchange.recorded)
        await core.audit.open(
          exchange.id,
          core.inspector.redactPlain({ ...this.#intentOf(exchange, 'deny'), reason: answer.error ?? 'refused' }),
        );
      core.audit.close(exchange.id, {
        // Looked up now that the answer is on its way.
        result: answer.result === 'ok' && !answer.sent ? resultOf(answer.body) : answer.result,
        status: answer.status,
        responseBytes: exchange.responseBytes,
        findings: exchange.findings.length,
        totalMs: round(clock.monotonic() - exchange.startedAt),
        decisionMs: round(exchange.decidedAt - exchange.startedAt),
        ...(exchange.upstreamMs === undefined ? {} : { upstreamMs: round(exchange.upstreamMs) }),
        ...(answer.error === undefined ? {} : { error: core.inspector.redactForDisplay(answer.error) }),
      });
      core.findings.add(exchange.findings, {
        server: exchange.server.id,
        tool: exchange.message?.method === 'tools/call' ? core.inspector.redactForDisplay(exchange.message.name ?? '') : undefined,
        exchange: exchange.id,
      });
    } catch (error) {
      // The intent is on record; an intent without outcome tells that the end could not be written.
      logger.error(`The outcome of a call could not be recorded: ${messageOf(error)}`);
    }
  }

  #intentOf(exchange: Passage, effect: Intent['effect']): Intent {
    const { core } = this.options;
    const { principal, server, message, decision, claims } = exchange;
    const span = message?.arguments;
    const clean = this.#isClean(exchange);
    const text = this.options.recordArguments() ? argumentsText(exchange, core, clean) : undefined;
    const intent: Intent = {
      client: principal.client,
      window: principal.window,
      ...(principal.workspaceName === undefined ? {} : { workspace: principal.workspaceName }),
      claims: { ...claims },
      server: server.id,
      serverLabel: server.label,
      origin: bindingOf(server.upstream),
      era: exchange.era,
      method: methodOf(exchange),
      ...(message?.name === undefined ? {} : { tool: message.name }),
      ...(span ? { argumentsDigest: hash('sha256', exchange.body.subarray(span.start, span.end)) } : {}),
      ...(text === undefined ? {} : { arguments: text.slice(0, MAX_RECORDED_ARGUMENTS) }),
      effect,
      decidedBy: decision?.by.kind === 'grant' ? decision.by.grant : (decision?.by.rule ?? 'fault'),
      reason: decision?.reason ?? '',
      credentials: server.credentials.flatMap((id) => {
        const credential = core.credentials.recent(id);
        return credential ? [`${credential.name} (revision ${credential.revision})`] : [];
      }),
      requestBytes: exchange.body.length,
    };
    return clean ? intent : core.inspector.redactPlain(intent);
  }

  #credentialNames(exchange: Passage): string[] {
    return exchange.server.credentials.map((id) => this.options.core.credentials.recent(id)?.name ?? 'missing');
  }
}

/** The arguments for reading, known secrets taken out; `undefined` if the message has none. */
function argumentsText(exchange: Passage, core: Core, clean: boolean): string | undefined {
  const { message, body } = exchange;
  let text: string | undefined;
  if (message?.arguments) text = body.toString('utf8', message.arguments.start, message.arguments.end);
  else if (message?.method?.startsWith('resources/') === true && message.name !== undefined) text = JSON.stringify({ uri: message.name });
  return clean || text === undefined ? text : core.inspector.redactForDisplay(text);
}

/** Where a credential is bound to, in words. */
function describeBinding(place: UpstreamPlace): string {
  return place.kind === 'stdio' ? 'this command' : bindingOf(place);
}

/** What of a request is not its body and could carry a secret all the same: header values, but for the capability. */
function besideOf({ headers }: Exchange): string {
  let text = '';
  for (const name in headers) if (name !== 'authorization') text += `${String(headers[name])}\n`;
  return text;
}

/** A request that isn't even read as a call: nothing to record but the fact. */
function refused(status: number, body: Buffer, error: string): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body, sent: false, result: 'denied', error };
}

/** Whether this is an agent's own stream that only waits for the end of the pause. */
export function isHeldByPause({ httpMethod, decision }: Exchange): boolean {
  return httpMethod === 'GET' && decision?.by.kind === 'rule' && decision.by.rule === 'paused';
}

/**
 * A denied call: 200 and a JSON-RPC error with the same id (PROTOCOL.md 2); a denied notification: 202; a denied stream: 405. A method
 * that nobody allowed because nobody knows it gets the answer that clients expect of such: -32601, in the modern era with 404.
 */
export function denied(exchange: Passage, reason: string): Answer {
  const { method } = exchange.message ?? {};
  const unknown = method !== undefined && classifyMethod(method) === 'unknown';
  const status = unknown && exchange.era === 'modern' ? 404 : 200;
  return {
    ...answerError(exchange, status, unknown ? -32601 : ERROR_CODE.denied, `Culvert denied this call. ${reason}`),
    result: 'denied',
    error: reason,
  };
}

/** A call that was allowed but did not get an answer from the server. */
export function notForwarded(exchange: Passage, status: number, reason: string): Answer {
  return {
    ...answerError(exchange, status === 502 ? 200 : status, ERROR_CODE.upstream, reason),
    result: 'upstream-error',
    error: visible(reason, 500),
  };
}

function answerError(exchange: Passage, status: number, code: number, text: string): Answer {
  const base = { sent: false, result: 'denied' as const };
  if (exchange.httpMethod !== 'POST') return { ...base, status: 405, headers: { allow: 'POST' }, body: Buffer.alloc(0) };
  if (exchange.message?.kind !== 'request') return { ...base, status: 202, headers: {}, body: Buffer.alloc(0) };
  return { ...base, status, headers: { 'content-type': 'application/json' }, body: errorBody(exchange.message.id, code, text) };
}

function header(exchange: Passage, name: string): string | undefined {
  const value = exchange.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
