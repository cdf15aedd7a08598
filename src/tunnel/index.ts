import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { StartingAccess } from '../authorization/grantChanges.ts';
import type { Approver } from '../authorization/approvalRequest.ts';
import type { Placement } from '../credentials/credential.ts';
import { MemorySecretStore } from '../credentials/memorySecretStore.ts';
import type { OAuthSettings } from '../credentials/oauth/settings.ts';
import { stateSecret, typedState } from '../credentials/oauth/state.ts';
import { keptFor } from '../credentials/oauth/tokenKeeper.ts';
import { Secret } from '../credentials/secret.ts';
import type { SecretStore } from '../credentials/vault.ts';
import { systemClock, type Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import { silentLogger, type Logger } from '../common/logger.ts';
import type { RuntimeEnvironment } from '../common/runtimeFolder.ts';
import type { LeakPolicy } from '../inspection/leakPolicy.ts';
import type { LeakAsker } from '../inspection/leakQuestions.ts';
import type { Principal } from '../mcp/principal.ts';
import { bindingOf, type Server, type UpstreamPlace } from '../mcp/server.ts';
import { Core } from './core.ts';
import type { Limits } from './limits.ts';
import { Policies, type PolicySources } from './policies.ts';
import { Tunnel } from './tunnel.ts';

/** Types are stripped without a word about it. */
const THREAD_FLAGS = ['--disable-warning=ExperimentalWarning'];

/** Options of {@link startTunnel}. Only `upstream` is needed. */
export interface HeadlessOptions {
  /** The real server. */
  readonly upstream: ({ readonly url: string } | { readonly place: UpstreamPlace }) & { readonly label?: string };
  /** The credential that the tunnel adds, sealed before the tunnel starts. */
  readonly auth?: { readonly placement: Placement; readonly value: string; readonly name?: string };
  /** How the tunnel signs in at the server’s authorization server, in place of `auth`. */
  readonly signIn?: HeadlessSignIn;
  /** Opens the browser when somebody has to sign in, while the call waits. Default: the call fails and says so. */
  readonly openBrowser?: (url: URL) => Promise<void>;
  /** Where a client metadata document of ours is hosted. */
  readonly clientDocumentUrl?: string;
  /** With what access the server starts. Default: `everything`. */
  readonly access?: StartingAccess;
  /** Where secrets lie. Default: the memory of this process. */
  readonly vault?: SecretStore;
  /** Folder of the database. Default: a temporary one, removed at the end. */
  readonly stateFolder?: string;
  /** Who answers when a call asks. Default: nobody, so that it is denied when the time is over. */
  readonly approver?: Approver;
  readonly approvalTimeoutMs?: number;
  /** Who is asked about calls that hold what looks like a secret. Default: nobody, so that they are denied. */
  readonly leakAsker?: LeakAsker;
  readonly leakPolicy?: LeakPolicy;
  /** Default: a socket. */
  readonly listen?: 'socket' | { readonly kind: 'loopback'; readonly port: number };
  /** Give the server the user's label and promise list changes, as the editor gets it. Default: false, the server's own words. */
  readonly present?: boolean;
  /** Offer agents the tool with which they ask for access. Default: as `present`. */
  readonly requestAccess?: boolean;
  /** The workspace that the window has open. Default: none. */
  readonly workspace?: Pick<Principal, 'workspace' | 'workspaceName'>;
  /** Where policies above the grants come from. Default: none. */
  readonly policies?: PolicySources;
  /** Name of the branch that is checked out. */
  readonly branch?: () => string | undefined;
  /** What the record keeps of results. Default: their digest. */
  readonly recordResults?: 'off' | 'digest' | 'redacted';
  readonly client?: Principal['client'];
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly environment?: RuntimeEnvironment;
  /** Bounds that differ from the usual ones. */
  readonly limits?: Partial<Limits>;
}

/** Tokens in place of a value that somebody typed. */
export interface HeadlessSignIn {
  readonly settings: Omit<OAuthSettings, 'kind' | 'assertion'>;
  /** Secret, or private key (PEM), of `settings.client`. */
  readonly clientSecret?: string;
  /** Secret, or private key (PEM), of the client at `settings.identityProvider`. */
  readonly identitySecret?: string;
  /** Token of a platform or ID token, and the origins it may be sent to. */
  readonly assertion?: { readonly value: string; readonly origins: readonly string[] };
}

/** A running tunnel with one server behind it. */
export interface HeadlessTunnel {
  /** Socket or pipe; `undefined` with loopback TCP. */
  readonly socketPath: string | undefined;
  /** `http://127.0.0.1:port` with loopback TCP, else `undefined`. */
  readonly url: string | undefined;
  /** Path of the MCP endpoint. */
  readonly path: string;
  /** What the client sends as `Authorization: Bearer`. */
  readonly token: string;
  readonly serverId: string;
  /** For the bridge: `--runtime` and `--capability`. */
  readonly runtimeFolder: string;
  readonly capabilityStem: string;
  readonly core: Core;
  readonly tunnel: Tunnel;
  readonly policies: Policies | undefined;
  close(): Promise<void>;
}

/** Starts a tunnel on plain Node, without VS Code: for tests, conformance runs, benchmarks and the headless demo. */
export async function startTunnel(options: HeadlessOptions): Promise<HeadlessTunnel> {
  const clock = options.clock ?? systemClock;
  const logger = options.logger ?? silentLogger;
  const stateFolder = options.stateFolder ?? mkdtempSync(join(tmpdir(), 'culvert-'));
  const window = newId('win');
  const core = await Core.open({
    stateFolder,
    secretStore: options.vault ?? new MemorySecretStore(),
    approver: options.approver ?? { ask: () => new Promise(() => undefined) },
    ...(options.leakAsker ? { leakAsker: options.leakAsker } : {}),
    startInspectionThread: () => new Worker(new URL('../inspection/searchThread.ts', import.meta.url), { env: {}, execArgv: THREAD_FLAGS }),
    clock,
    logger,
    window,
    openBrowser: options.openBrowser,
    clientDocumentUrl: () => options.clientDocumentUrl,
  });
  if (options.leakPolicy) core.leaks.setPolicy(options.leakPolicy);
  const server = await ensureServer(core, options, clock);
  const policies = options.policies && new Policies({ access: core.access, sources: options.policies, clock, act: (act) => core.act(act) });
  await policies?.start();
  const presented = options.present ?? false;
  const tunnel = await Tunnel.open({
    core,
    clock,
    logger,
    window: { window, ...options.workspace },
    ...(options.branch ? { branch: options.branch } : {}),
    ...(policies ? { policiesReady: () => policies.check() } : {}),
    listen: options.listen ?? 'socket',
    ...(options.environment ? { environment: options.environment } : {}),
    presentation: {
      nameAfterLabel: presented,
      culvertConfirms: presented,
      ownStream: presented,
      requestAccess: options.requestAccess ?? presented,
    },
    approvalTimeoutMs: () => options.approvalTimeoutMs ?? 55_000,
    recordArguments: () => true,
    recordResults: () => options.recordResults ?? 'digest',
    ...(options.limits ? { limits: options.limits } : {}),
  });
  const { stem, token } = tunnel.issue(server.id, options.client ?? 'agent', 'own');
  return {
    socketPath: tunnel.address.kind === 'socket' ? tunnel.address.path : undefined,
    url: tunnel.url,
    path: tunnel.endpoint(server.id),
    token,
    serverId: server.id,
    runtimeFolder: tunnel.folder.folder,
    capabilityStem: stem,
    core,
    tunnel,
    policies,
    async close() {
      await tunnel.close();
      policies?.dispose();
      await core.close();
      if (options.stateFolder === undefined) rmSync(stateFolder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}

async function ensureServer(core: Core, options: HeadlessOptions, clock: Clock): Promise<Server> {
  const place: UpstreamPlace = 'place' in options.upstream ? options.upstream.place : { kind: 'http', url: options.upstream.url };
  const known = core.servers.list().find((s) => isDeepStrictEqual(s.upstream, place));
  if (known) return known;
  const { auth } = options;
  const credentials = auth
    ? [(await core.credentials.seal(auth.name ?? 'token', auth.placement, [bindingOf(place)], new Secret(auth.value))).id]
    : options.signIn
      ? [await addSignIn(core, options.signIn, bindingOf(place))]
      : [];
  const server: Server = {
    version: 1,
    id: newId('srv'),
    label: options.upstream.label ?? 'Server',
    upstream: place,
    credentials,
    createdAt: clock.now(),
  };
  core.servers.put(server);
  core.access.start(server.id, options.access ?? 'everything', 'headless');
  await core.ready();
  return server;
}

async function addSignIn(
  core: Core,
  { settings, clientSecret, identitySecret, assertion }: HeadlessSignIn,
  binding: string,
): Promise<string> {
  const proof = assertion && (await core.credentials.seal('assertion', { kind: 'bearer' }, assertion.origins, new Secret(assertion.value)));
  const source: OAuthSettings = { kind: 'oauth', ...settings, ...(proof ? { assertion: proof.id } : {}) };
  const sealed = (text: string | undefined) => (text === undefined ? undefined : new Secret(text));
  const state = typedState(settings, { secret: sealed(clientSecret), identitySecret: sealed(identitySecret) });
  const key = state && { secret: stateSecret(state), origins: [keptFor(binding)] };
  return (await core.credentials.add('sign-in', { kind: 'bearer' }, [binding], source, key)).id;
}
