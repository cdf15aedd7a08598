import type { Clock } from '../common/clock.ts';
import { DisposableStore, type Disposable } from '../common/disposable.ts';
import { sharedStem, endpointPath } from '../common/capabilityFile.ts';
import { messageOf } from '../common/errors.ts';
import { newId, nextId } from '../common/identifiers.ts';
import type { Logger } from '../common/logger.ts';
import { Stop } from '../common/stop.ts';
import { Capabilities, type Capability } from '../authentication/capabilities.ts';
import { Listener, type Address, type Inbound } from '../listener/listener.ts';
import { openRuntimeFolder, sweepRuntimeFolder, type RuntimeFolder } from '../listener/runtime.ts';
import { currentEnvironment, type RuntimeEnvironment } from '../common/runtimeFolder.ts';
import { NO_CLAIMS, readMessage } from '../mcp/message.ts';
import { ERROR_CODE, errorBody } from '../mcp/methods.ts';
import type { Principal } from '../mcp/principal.ts';
import type { Server } from '../mcp/server.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import { CapabilityFiles } from './capabilityFiles.ts';
import type { Core } from './core.ts';
import { CredentialUse } from './credentialUse.ts';
import { carry } from './pipeline.ts';
import { Continuations } from './continuations.ts';
import { DEFAULT_LIMITS, type Limits } from './limits.ts';
import { ListedAccess } from './listedAccess.ts';
import { OpenPassages } from './openPassages.ts';
import { isHeld, isStanding, type Passage } from './passage.ts';
import type { Presentation } from './presentation.ts';
import { Sessions } from './sessions.ts';
import { Stages } from './stages.ts';
import { Streams } from './streams.ts';
import { Tasks } from './tasks.ts';
import { Upstreams } from './upstreams.ts';

export interface TunnelOptions {
  readonly core: Core;
  readonly clock: Clock;
  readonly logger: Logger;
  /** This window, and the workspace it has open. */
  readonly window: Pick<Principal, 'window' | 'workspace' | 'workspaceName'>;
  /** `socket` picks a safe folder by itself. */
  readonly listen: 'socket' | { readonly kind: 'loopback'; readonly port: number };
  readonly environment?: RuntimeEnvironment;
  readonly presentation: Omit<Presentation, 'streams'>;
  approvalTimeoutMs(): number;
  recordArguments(): boolean;
  /** Name of the git branch that the workspace has checked out, as it is now; `undefined` if there is none or more than one. */
  branch?(): string | undefined;
  /** Brings the policies above grants up to date before a call is decided; a promise if that takes a moment. A rejection denies. */
  policiesReady?(): Promise<void> | undefined;
  /** What the record keeps of results. Default: their digest. */
  recordResults?(): 'off' | 'digest' | 'redacted';
  /** Proxies on the way to servers. Default: those of the environment. */
  proxies?(): ProxyEnvironment;
  /** Bounds that differ from {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<Limits>;
}

/** The reverse proxy of one window: listens, admits, and carries each request through the pipeline. */
export class Tunnel implements Disposable {
  readonly folder: RuntimeFolder;
  readonly #options: TunnelOptions;
  readonly #capabilities = new Capabilities();
  readonly #files: CapabilityFiles;
  readonly #limits: Limits;
  readonly #sessions: Sessions;
  readonly #streams: Streams;
  readonly #listed: ListedAccess;
  readonly #upstreams: Upstreams;
  readonly #open = new OpenPassages<Passage>();
  readonly #store = new DisposableStore();
  readonly #use: CredentialUse;
  readonly #stages: Stages;
  readonly #drained: (() => void)[] = [];
  #listener: Listener<Capability> | undefined;
  #waitingFor: () => boolean = () => true;
  #closing = false;

  /** Fires when a call with a credential begins or ends. */
  readonly onDidChangeUse;

  private constructor(options: TunnelOptions) {
    this.#options = options;
    const { core, clock, logger } = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#sessions = new Sessions(this.#limits.sessions);
    this.#streams = new Streams(this.#limits.streamsPerClient);
    this.#listed = new ListedAccess(core.access);
    this.folder = openRuntimeFolder(options.environment ?? currentEnvironment());
    this.#files = new CapabilityFiles(this.#capabilities, this.folder.folder, () => this.address, clock);
    this.#upstreams = new Upstreams({ core, clock, logger, proxies: () => options.proxies?.() ?? process.env });
    this.#use = this.#store.add(new CredentialUse(logger));
    this.onDidChangeUse = this.#use.onDidChange;
    this.#stages = new Stages({
      core,
      clock,
      logger,
      sessions: this.#sessions,
      tasks: new Tasks(this.#limits.tasks),
      continuations: new Continuations(clock),
      pendingRequests: this.#limits.pendingRequests,
      errorBodyMs: this.#limits.errorBodyMs,
      upstreamFor: (server) => this.#upstreams.to(server),
      presentation: { ...options.presentation, streams: this.#streams },
      approvalTimeoutMs: () => options.approvalTimeoutMs(),
      recordArguments: () => options.recordArguments(),
      branch: options.branch?.bind(options),
      policiesReady: options.policiesReady?.bind(options),
      recordResults: () => options.recordResults?.() ?? 'digest',
      onCredential: (change, name) => this.#use.note(change, name),
    });
    this.#store.add(core.access.onDidChange(() => this.#accessChanged()));
    this.#store.add(core.access.onDidExpire(() => this.#announceTools()));
    this.#store.add(core.servers.onDidChange(() => this.#serversChanged()));
  }

  /** Opens the listener. Throws ListenerError with what to do. */
  static async open(options: TunnelOptions): Promise<Tunnel> {
    const tunnel = new Tunnel(options);
    const address: Address = options.listen === 'socket' ? { kind: 'socket', path: tunnel.folder.socketPath } : options.listen;
    await sweepRuntimeFolder(tunnel.folder.folder).catch((error: unknown) =>
      options.logger.warn(`Old sockets could not be removed: ${messageOf(error)}`),
    );
    try {
      tunnel.#listener = await Listener.open<Capability>({
        address,
        limits: tunnel.#limits,
        logger: options.logger,
        authenticate: (authorization, server, connection) => tunnel.#capabilities.authenticate(authorization, server, connection),
        handle: (inbound) => tunnel.#handle(inbound),
      });
    } catch (error) {
      tunnel.dispose();
      throw error;
    }
    return tunnel;
  }

  get address(): Address {
    if (!this.#listener) throw new Error('The tunnel is not open.');
    return this.#listener.address;
  }

  /** Base URL with the loopback fallback, else `undefined`. */
  get url(): string | undefined {
    const { address } = this;
    return address.kind === 'loopback' ? `http://127.0.0.1:${address.port}` : undefined;
  }

  /** Path of a server's endpoint. */
  endpoint(server: string): string {
    return endpointPath(server);
  }

  /**
   * Makes a capability for a client and a server and writes its file. Returns the stem that a bridge gets and the token that an HTTP
   * client gets. The shared capability of a server is for agents that start the bridge on their own.
   */
  issue(server: string, client: Principal['client'], kind: 'own' | 'shared'): { readonly stem: string; readonly token: string } {
    const { window } = this.#options;
    // The client last: a window that is described by a principal of its own must not make every agent the editor.
    const principal: Principal = { ...window, client };
    const stem = kind === 'shared' ? sharedStem(server, window.window) : `${server}.${newId('cap')}`;
    return { stem, token: this.#files.issue(principal, server, stem) };
  }

  /**
   * Puts a new token in place of that of a capability and returns it; `undefined` if there is none with this stem. Its file has the new
   * one at once. Whoever comes with the old one is told to come again (404 with a session, else 503), and its standing streams end; calls
   * that run are answered as ever, and the sessions go on under the new token.
   */
  rotate(stem: string): string | undefined {
    const renewed = this.#files.renew(stem);
    if (!renewed) return undefined;
    for (const passage of this.#open) if (passage.capability === renewed.replaced && isStanding(passage)) endCleanly(passage);
    return renewed.token;
  }

  /** Whether the editor is connected to a server and hears when its tools change. */
  reachesEditor(server: string): boolean {
    return this.#streams.hasEditor(server);
  }

  /** Ends every capability of a server: its agents have to connect again. Their files go away. */
  revokeServer(server: string): void {
    this.#files.revokeServer(server);
    this.#reconnect(server);
  }

  /**
   * Takes no new calls (404: bridges look for another window), lets running ones finish for a while, then ends the streams in order and
   * what still runs, and stops listening.
   */
  async close(graceMs = 0): Promise<void> {
    this.#closing = true;
    this.#files.remove();
    if (graceMs > 0)
      await this.#drain(graceMs, () => [...this.#open].every((passage) => isStanding(passage) || passage.httpMethod !== 'POST'));
    for (const passage of this.#open) {
      if (isStanding(passage)) endCleanly(passage);
      else passage.end.abort();
    }
    // Each has yet to write its outcome; the connections stay until then, so that what is said at the end arrives.
    await this.#drain(1000, () => this.#open.size === 0);
    this.dispose();
    await this.#upstreams.settled();
  }

  async #drain(limitMs: number, isDone: () => boolean): Promise<void> {
    if (isDone()) return;
    this.#waitingFor = isDone;
    const timer = this.#options.clock.after(limitMs, () => this.#releaseDrained());
    await new Promise<void>((resolve) => this.#drained.push(resolve));
    timer.dispose();
  }

  dispose(): void {
    this.#closing = true;
    for (const passage of this.#open) passage.end.abort();
    this.#listener?.dispose();
    this.#files.remove();
    this.#upstreams.dispose();
    this.#store.dispose();
  }

  async #handle(inbound: Inbound<Capability>): Promise<void> {
    const { core, clock } = this.#options;
    const { response } = inbound;
    let server: Server | undefined;
    try {
      core.access.arrived();
      server = core.servers.get(inbound.server);
    } catch (error) {
      this.#options.logger.error(messageOf(error));
      answerUnreadable(inbound, messageOf(error));
      return;
    }
    if (!server || this.#closing) {
      response.writeHead(404, { 'content-length': 0 }).end();
      return;
    }
    this.#listed.note(server.id);
    const startedAt = clock.monotonic();
    const end = new Stop();
    const exchange: Passage = {
      id: nextId('x'),
      httpMethod: inbound.httpMethod,
      headers: inbound.headers,
      body: inbound.body,
      gone: inbound.gone,
      startedAt,
      message: undefined,
      era: 'legacy',
      principal: inbound.capability.principal,
      server: core.accounts.on(server, inbound.capability.principal.workspace),
      claims: NO_CLAIMS,
      decision: undefined,
      decidedAt: startedAt,
      recorded: false,
      findings: [],
      responseBytes: 0,
      upstreamMs: undefined,
      response,
      capability: inbound.capability.id,
      end,
      endsCleanly: false,
      session: undefined,
      tasks: NO_TASKS,
      continues: undefined,
      caller: undefined,
      call: undefined,
      asksForAccess: false,
      shown: undefined,
      task: undefined,
      shadow: undefined,
      policyDigest: undefined,
      standing: false,
      outgoing: undefined,
      upstream: undefined,
      clean: undefined,
      usesCredential: false,
      reply: undefined,
      times: {},
      stage: undefined,
      since: startedAt,
      at: -1,
    };
    // Modern: leaving is cancelling. Legacy: only a GET stream ends with its reader (PROTOCOL.md 1).
    inbound.gone.addEventListener('abort', () => {
      if (exchange.era === 'modern' || exchange.httpMethod === 'GET') end.abort();
    });
    this.#open.add(exchange);
    try {
      const { result } = await carry(exchange, this.#stages);
      if (result !== 'ok' && exchange.message?.method === 'tools/list') this.#listed.failed(server.id);
    } finally {
      this.#open.delete(exchange);
      if (this.#drained.length > 0 && this.#waitingFor()) this.#releaseDrained();
    }
  }

  #releaseDrained(): void {
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** A revoke or pause ends what was let through before, and agents hear that their tools are others now. */
  #accessChanged(): void {
    const held = [...this.#open].filter(isHeld);
    for (const exchange of this.#open) {
      if (exchange.decision?.effect !== 'allow') continue;
      let still: boolean;
      try {
        const now = this.#stages.decideAgain(exchange);
        const askedFor = exchange.decision.by.kind === 'rule' && exchange.decision.by.rule === 'answered';
        still = now.effect === 'allow' || (askedFor && now.effect === 'ask');
      } catch {
        still = false;
      }
      if (!still) exchange.end.abort();
    }
    this.#announceTools();
    // They only waited for this, and come again for the server's own.
    for (const exchange of held) if (this.#isOpenAgain(exchange)) exchange.end.abort();
  }

  #isOpenAgain(exchange: Passage): boolean {
    try {
      return this.#stages.decideAgain(exchange).effect === 'allow';
    } catch {
      return false;
    }
  }

  #announceTools(): void {
    for (const server of this.#listed.changed()) this.#streams.announceTools(server);
  }

  /** Another git branch is checked out: agents are told that their tools may be others, of the servers with grants that go by the branch. */
  branchChanged(): void {
    const { servers, access } = this.#options.core;
    for (const { id } of servers.list())
      if (access.forServer(id).some(({ scope }) => scope.branch !== undefined)) this.#streams.announceTools(id);
  }

  /** Whichever window moved or removed a server, or gave it another credential: what this one has open there ends. */
  #serversChanged(): void {
    const servers = this.#options.core.servers.list();
    for (const server of servers) if (this.#upstreams.leadsElsewhere(server)) this.#reconnect(server.id);
    const known = new Set(servers.map((s) => s.id));
    for (const id of this.#files.servers()) if (!known.has(id)) this.revokeServer(id);
  }

  /**
   * Ends what runs at a server, with its sessions, streams and connections: at another place, or for another user, they mean nothing, and
   * the id of an old session is nobody's business there. Its agents keep their capabilities and are told to begin a new session (404), which
   * bridges do unasked.
   */
  #reconnect(server: string): void {
    for (const passage of this.#open) if (passage.server.id === server) passage.end.abort();
    this.#sessions.endServer(server);
    this.#upstreams.close(server);
  }
}

const NO_TASKS: Passage['tasks'] = [];

function endCleanly(passage: Passage): void {
  passage.endsCleanly = true;
  passage.end.abort();
}

/** A call while the state can't be read: denied with a reason, like every call that can't be decided. */
function answerUnreadable({ httpMethod, body, response }: Inbound<Capability>, reason: string): void {
  if (httpMethod !== 'POST') {
    response.writeHead(405, { allow: 'POST', 'content-length': 0 }).end();
    return;
  }
  const read = readMessage(body);
  if (read.ok && read.message.kind !== 'request') {
    response.writeHead(202, { 'content-length': 0 }).end();
    return;
  }
  const answer = read.ok
    ? errorBody(read.message.id, ERROR_CODE.denied, `Culvert denied this call: it can’t read what the user allowed. ${reason}`)
    : errorBody(undefined, read.code, read.reason);
  response.writeHead(read.ok ? 200 : 400, { 'content-type': 'application/json', 'content-length': answer.length }).end(answer);
}
