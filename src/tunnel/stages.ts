import { requestHint } from '../authorization/requestAccess.ts';
import type { Clock } from '../common/clock.ts';
import { UpstreamError, messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import { denyBy, type Decision } from '../mcp/decision.ts';
import { applyEdits, type Edit } from '../mcp/json.ts';
import { NO_CLAIMS, editorMetaSpans, idKey, readMessage, type Message } from '../mcp/message.ts';
import { ERROR_CODE, decodeHeaderValue, eraOf, errorBody } from '../mcp/methods.ts';
import { principalKey } from '../mcp/principal.ts';
import { isConfirmed, plainHeadersOf, type Server } from '../mcp/server.ts';
import { headersToUpstream } from '../upstream/headers.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { answerRequest, offersRequests } from './accessRequests.ts';
import { ENDED, NOT_SENT, denied, foreignTask, notForwarded, refused, sessionEnded, type Answer } from './answers.ts';
import { authorize, decideAgain, isAsShown } from './authority.ts';
import { stateOf, type Continuations } from './continuations.ts';
import type { Core } from './core.ts';
import { addCredentials, finish, mayRenew, noteVerdict, renewCredentials } from './credentialing.ts';
import { checkOutgoing, lookAhead } from './outgoing.ts';
import { enter, header, isHeld, isStanding, type Passage } from './passage.ts';
import { intentOf, recordOutcome } from './recording.ts';
import { ownStream, relay } from './relay.ts';
import type { Presentation } from './presentation.ts';
import type { Session, Sessions } from './sessions.ts';
import type { Task, Tasks } from './tasks.ts';

/** How often one request may be sent with another value: a first sign-in, a nonce (RFC 9449, 9), more scopes. */
const MAX_RENEWALS = 3;

export interface StagesOptions {
  readonly core: Core;
  readonly sessions: Sessions;
  readonly tasks: Tasks;
  readonly continuations: Continuations;
  /** Requests of a server that may wait for an answer in one session. */
  readonly pendingRequests: number;
  /** How long the body of an answer with an error status may take, milliseconds. */
  readonly errorBodyMs: number;
  readonly upstreamFor: (server: Server) => Upstream;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly presentation: Presentation;
  approvalTimeoutMs(): number;
  recordArguments(): boolean;
  /** Name of the git branch that the window's workspace has checked out. */
  readonly branch: (() => string | undefined) | undefined;
  /** Brings the policies above grants up to date; a promise if that takes a moment, for which the call waits. */
  readonly policiesReady: (() => Promise<void> | undefined) | undefined;
  recordResults(): 'off' | 'digest' | 'redacted';
  onCredential(inUse: 1 | -1, name: string): void;
}

/** The nine stages, bound to the parts that do their work. */
export class Stages {
  readonly options: StagesOptions;

  constructor(options: StagesOptions) {
    this.options = options;
  }

  parse(exchange: Passage): Answer | undefined {
    enter(exchange, 'parse', this.options.clock.monotonic());
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
      // Notifications carry no revision of their own in this era; the header speaks for them (2026-07-28, transports: sending messages).
      if (message.kind === 'notification' && (header(exchange, 'mcp-method') ?? message.method) === message.method) return undefined;
      // The code that servers of this revision answer with; the request itself is not theirs to see.
      const text = 'params._meta must name the protocol version that the header names.';
      return refused(400, errorBody(message.id, -32602, text), text);
    }
    // 2026-07-28, transports: the headers that routers read must say what the body says.
    const name = nameInHeader(message);
    const wrong = [
      version === message.protocolVersion ? undefined : 'MCP-Protocol-Version',
      header(exchange, 'mcp-method') === message.method ? undefined : 'Mcp-Method',
      name === undefined || decodeHeaderValue(header(exchange, 'mcp-name') ?? '') === name ? undefined : 'Mcp-Name',
    ].filter((name) => name !== undefined);
    if (wrong.length === 0) return undefined;
    return refused(
      400,
      errorBody(message.id, -32020, `Header mismatch: ${wrong.join(', ')} must be present and equal to the body.`),
      'header mismatch',
    );
  }

  authenticate(exchange: Passage): Answer | undefined {
    enter(exchange, 'authenticate', this.options.clock.monotonic());
    return this.#findSession(exchange) ?? this.#claimStream(exchange) ?? this.#findTasks(exchange);
  }

  #findSession(exchange: Passage): Answer | undefined {
    if (exchange.era === 'modern') return undefined;
    const id = header(exchange, 'mcp-session-id');
    const owner = principalKey(exchange.principal);
    if (id === undefined) exchange.session = this.options.sessions.begin('', owner, exchange.server.id);
    else {
      exchange.session = this.options.sessions.find(id, owner, exchange.server.id);
      if (!exchange.session) {
        const text = 'This session is not known here. Begin a new one with initialize.';
        return refused(404, errorBody(exchange.message?.id, ERROR_CODE.session, text), text);
      }
    }
    // Few messages say anew who sends them.
    exchange.claims = exchange.claims === NO_CLAIMS ? exchange.session.claims : { ...exchange.session.claims, ...exchange.claims };
    if (exchange.message?.kind !== 'response') return undefined;
    if (exchange.session.pending.delete(idKey(exchange.message.id ?? ''))) return undefined;
    return refused(400, errorBody(undefined, -32600, 'No request of the server waits for this answer.'), 'answer to nothing');
  }

  /** One agent must not take the connections of all others with streams that it never closes. */
  #claimStream(exchange: Passage): Answer | undefined {
    if (!isStanding(exchange)) return undefined;
    exchange.standing = this.options.presentation.streams.claim(exchange.capability);
    return exchange.standing
      ? undefined
      : denied(exchange, `This agent has as many streams of ${exchange.server.label} open as it may. Close one, then open another.`);
  }

  /** A task belongs to the principal that began it. */
  #findTasks(exchange: Passage): Answer | undefined {
    const { message, server, principal } = exchange;
    if (!message) return undefined;
    const owner = principalKey(principal);
    if (message.taskIds.length > 0) {
      const tasks = message.taskIds.map((id) => this.options.tasks.find(id, owner, server.id));
      if (tasks.includes(undefined)) return foreignTask(exchange);
      exchange.tasks = tasks as Task[];
      exchange.continues = exchange.tasks[0]?.exchange;
    } else if (message.requestState)
      exchange.continues = this.options.continuations.find(stateOf(message.bytes, message.requestState), owner, server.id);
    return undefined;
  }

  authorize(exchange: Passage): Promise<undefined> | undefined {
    enter(exchange, 'authorize', this.options.clock.monotonic());
    const waiting = authorize(exchange, this.options);
    exchange.decidedAt = this.options.clock.monotonic();
    return waiting?.then(() => {
      exchange.decidedAt = this.options.clock.monotonic();
      return undefined;
    });
  }

  /** What is to be done by what the user allows now with an exchange that was let through. */
  decideAgain(exchange: Passage): Decision {
    return decideAgain(exchange, this.options);
  }

  openRecord(exchange: Passage): Promise<Answer | undefined> | Answer | undefined {
    enter(exchange, 'record', this.options.clock.monotonic());
    const { core } = this.options;
    const loading = core.ready();
    if (loading) return loading.then(() => this.#lookAndRecord(exchange));
    return this.#lookAndRecord(exchange);
  }

  #lookAndRecord(exchange: Passage): Promise<Answer | undefined> | Answer | undefined {
    const looking = lookAhead(exchange, this.options.core);
    return looking ? looking.then(() => this.#record(exchange)) : this.#record(exchange);
  }

  #record(exchange: Passage): Promise<Answer | undefined> | Answer | undefined {
    const decision = exchange.decision ?? denyBy('fault', 'No decision was made.');
    const failed = (error: unknown) => {
      this.options.logger.error(messageOf(error));
      return denied(
        exchange,
        'Culvert can’t write its record, so nothing is let through. The user finds the reason with “Culvert: Show Log”.',
      );
    };
    try {
      const effect = decision.effect === 'allow' ? 'allow' : 'deny';
      const writing = this.options.core.audit.open(exchange.id, intentOf(exchange, this.options, effect));
      if (writing) return writing.then(() => this.#recorded(exchange, decision), failed);
    } catch (error) {
      return failed(error);
    }
    return this.#recorded(exchange, decision);
  }

  /** The intent is written: the call goes on, or is told why not. */
  #recorded(exchange: Passage, decision: Decision): Promise<Answer> | Answer | undefined {
    exchange.recorded = true;
    if (decision.effect === 'allow') return undefined;
    // An agent that is refused its stream takes the server for one without, and would not hear of the end of the pause.
    if (isHeld(exchange) && this.options.presentation.ownStream) return ownStream(exchange, this.options);
    const hint = exchange.message?.method === 'tools/call' && offersRequests(exchange, this.options) ? requestHint(decision) : '';
    return denied(exchange, decision.reason, hint);
  }

  /** Answers what an agent asks of Culvert itself. */
  answerItself(exchange: Passage): Promise<Answer> | undefined {
    return exchange.asksForAccess ? answerRequest(exchange, this.options) : undefined;
  }

  inspectOutgoing(exchange: Passage): Promise<Answer | undefined> | undefined {
    enter(exchange, 'inspectOut', this.options.clock.monotonic());
    return checkOutgoing(exchange, this.options);
  }

  injectCredentials(exchange: Passage): Promise<Answer | undefined> | Answer | undefined {
    enter(exchange, 'credentials', this.options.clock.monotonic());
    const { core } = this.options;
    const { server, session } = exchange;
    // The server does not know the session, so there is nothing to tell it.
    if (session?.minted === true && exchange.httpMethod === 'DELETE') return this.#endMinted(session);
    const place = server.upstream;
    if (place.kind === 'stdio' && !isConfirmed(place))
      return notForwarded(
        exchange,
        502,
        `${server.label} is a command that the user has not confirmed since it changed, so it was not started. The user can do that with “Culvert: Edit Server…”.`,
      );
    const headers = headersToUpstream(exchange.headers);
    Object.assign(headers, plainHeadersOf(place));
    // No session in this era (PROTOCOL.md 1); passed on, the id of somebody else's legacy session would be good at the server.
    if (exchange.era === 'modern' || session?.minted === true) delete headers['mcp-session-id'];
    const adding = addCredentials(exchange, core, headers);
    if (adding instanceof Promise) return adding.then((refusal) => this.#noteUse(exchange, refusal));
    return this.#noteUse(exchange, adding);
  }

  #noteUse(exchange: Passage, refusal: Answer | undefined): Answer | undefined {
    // A stream that listens for as long as the session lasts is no use worth showing.
    if (!refusal && exchange.server.credentials.length > 0 && exchange.httpMethod !== 'GET') {
      exchange.usesCredential = true;
      this.options.onCredential(1, this.#credentialNames(exchange).join(', '));
    }
    return refusal;
  }

  #endMinted(session: Session): Answer {
    this.options.sessions.end(session);
    this.options.presentation.streams.endSession(session);
    return sessionEnded();
  }

  async callUpstream(exchange: Passage): Promise<Answer | undefined> {
    enter(exchange, 'upstream', this.options.clock.monotonic());
    if (!exchange.outgoing) return notForwarded(exchange, 500, 'The request was not prepared.');
    const { message } = exchange;
    // What another window took back up to now ends it here; so does a change of what the user was shown.
    this.options.core.access.notice();
    if (exchange.end.aborted && !exchange.gone.aborted) return { ...notForwarded(exchange, 200, NOT_SENT), result: 'closed' };
    if (!isAsShown(exchange, this.options))
      return denied(
        exchange,
        `What the user was asked about changed before it was sent: ${exchange.server.label}, where it is, or its credentials. Nothing was sent. Try again; the user will be asked again.`,
      );
    const body = message && bodyOf(message, exchange.outgoing.edits);
    if (exchange.gone.aborted && exchange.era === 'modern') exchange.end.abort();
    const began = this.options.clock.monotonic();
    const { core } = this.options;
    const send = () => {
      const finished = finish(exchange, core, body, () => this.options.clock.now());
      const upstream = this.options.upstreamFor(exchange.server);
      return finished instanceof Promise ? finished.then((request) => upstream.send(request)) : upstream.send(finished);
    };
    try {
      exchange.upstream = await send();
      // Nothing of a refusal has gone out to the agent: with another value it may be sent once more.
      for (let renewals = 0; renewals < MAX_RENEWALS && mayRenew(exchange.upstream); renewals++) {
        const renewed = await renewCredentials(exchange, core, exchange.upstream);
        if (renewed !== undefined) exchange.upstream.body.discard();
        if (renewed === undefined) break;
        if (renewed !== 'again') return renewed;
        exchange.upstream = await send();
      }
    } catch (error) {
      if (exchange.end.signal.aborted)
        return { ...notForwarded(exchange, 200, ENDED), result: exchange.gone.aborted ? 'cancelled' : 'closed' };
      if (!(error instanceof UpstreamError)) throw error;
      return notForwarded(exchange, message?.method === 'initialize' ? 503 : 200, `${exchange.server.label}: ${error.message}`);
    } finally {
      exchange.upstreamMs = this.options.clock.monotonic() - began;
    }
    const { status } = exchange.upstream;
    noteVerdict(exchange, core, status);
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

  relay(exchange: Passage): Promise<Answer> | Answer {
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
    const head: Record<string, string | string[] | number> = { ...headers };
    // 204 and 304 have no length (RFC 9110, 8.6).
    if (status !== 204 && status !== 304) head['content-length'] = body.length;
    try {
      response.writeHead(status, head);
      if (body.length > 0) response.end(body);
      else response.end();
    } catch (error) {
      this.options.logger.error(`An answer could not be written: ${messageOf(error)}`);
      response.destroy();
    }
  }

  closeRecord(exchange: Passage, answer: Answer): Promise<void> | undefined {
    if (exchange.usesCredential) this.options.onCredential(-1, '');
    if (exchange.standing) this.options.presentation.streams.release(exchange.capability);
    return recordOutcome(exchange, this.options, answer);
  }

  #credentialNames(exchange: Passage): string[] {
    return exchange.server.credentials.map((id) => this.options.core.credentials.recent(id)?.name ?? 'missing');
  }
}

/** The message as it goes out: without what the editor noted for itself, and with values in place of placeholders. */
function bodyOf(message: Message, edits: readonly Edit[]): Buffer {
  if (edits.length === 0 && message.editorMeta === undefined) return message.bytes;
  return applyEdits(message.bytes, [...editorMetaSpans(message).map((span) => ({ span, replacement: '' })), ...edits]);
}

/** What `Mcp-Name` mirrors (2026-07-28, transports; tasks extension: routing headers). */
function nameInHeader({ method, name, taskIds }: Message): string | undefined {
  return name ?? (method === 'tasks/get' || method === 'tasks/update' || method === 'tasks/cancel' ? taskIds[0] : undefined);
}
