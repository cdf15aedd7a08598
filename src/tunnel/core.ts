import { join } from 'node:path';
import type { ActivityIndex } from '../audit/activityIndex.ts';
import type { AuditLog } from '../audit/auditLog.ts';
import type { Exports } from '../audit/export/exports.ts';
import { ChainMemory } from '../audit/chainMemory.ts';
import type { Act } from '../audit/record.ts';
import { Checkpoints, type CheckpointKeeper } from '../audit/checkpoints.ts';
import type { RetentionPolicy } from '../audit/retention.ts';
import { Access } from '../authorization/access.ts';
import type { Call } from '../authorization/decide.ts';
import type { Approver } from '../authorization/approvalRequest.ts';
import { Approvals } from '../authorization/approvals.ts';
import { WorkspaceAnswers } from '../configuration/workspaceAnswers.ts';
import { CredentialRegistry } from '../credentials/credentialRegistry.ts';
import { Handovers } from '../credentials/handovers.ts';
import type { Secret } from '../credentials/secret.ts';
import { Sources } from '../credentials/sources.ts';
import { AccountChoices } from '../credentials/oauth/accountChoices.ts';
import { Vault, type SecretStore } from '../credentials/vault.ts';
import { DisposableStore, toDisposable, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';
import type { Worker } from 'node:worker_threads';
import type { FindingLog } from '../inspection/findingLog.ts';
import type { Inspector } from '../inspection/inspector.ts';
import { LeakGuard } from '../inspection/leakGuard.ts';
import type { LeakAsker } from '../inspection/leakQuestions.ts';
import { ToolCatalog } from '../integrity/toolCatalog.ts';
import type { Server } from '../mcp/server.ts';
import { Database } from '../store/database.ts';
import { Generations } from '../store/generations.ts';
import type { MacKey, Tampering } from '../store/signedCollection.ts';
import type { ProxyEnvironment } from '../upstream/proxies.ts';
import { ServerRegistry } from '../upstream/serverRegistry.ts';
import { SIGNING_KEY, chainsKey, generationsKey, lastCheckpointKey, openKey } from './coreKeys.ts';
import { KnownValues, credentialOf } from './knownValues.ts';
import { OAuthWires } from './oauthWires.ts';
import { recordActs } from './recordedActs.ts';
import { RecordKeeping } from './recordKeeping.ts';
import { releaseAll, wireSources } from './sourceWires.ts';
import { SignIns } from './signIns.ts';

/** Name of the database file below the state folder. */
export const DATABASE_FILE = 'culvert.db';

/** How often what other windows wrote is looked for while nothing is called, milliseconds. */
const REFRESH_MS = 500;

export interface CoreOptions {
  /** Folder of the database; shared by all windows of the user. */
  readonly stateFolder: string;
  readonly secretStore: SecretStore;
  readonly approver: Approver;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Who is asked about calls that hold what looks like a secret. Default: nobody, so that they are denied. */
  readonly leakAsker?: LeakAsker;
  /** Starts the thread that searches large messages (`inspection/searchThread.ts`). Default: none, they are searched in this one. */
  readonly startInspectionThread?: () => Worker;
  /** Id of this window, for the record. */
  readonly window: string;
  /** Proxies on the way to authorization servers, vaults and receivers of exports. Default: those of the environment. */
  readonly proxies?: (() => ProxyEnvironment) | undefined;
  /** Culvert's version, for exports. */
  readonly version?: string;
  /** What of the record is kept. Default: all. */
  retention?(): RetentionPolicy;
  /** Where Culvert’s client metadata document is hosted, if it is. */
  readonly clientDocumentUrl?: (() => string | undefined) | undefined;
  /** Signs in while a call waits; for programs without an editor. */
  readonly openBrowser?: ((url: URL) => Promise<void>) | undefined;
}

const NO_NAMES: readonly string[] = [];

/** Everything that is stored and decided, without the wire: what the tunnel works with and the views show. */
export class Core implements Disposable {
  readonly servers: ServerRegistry;
  readonly access: Access;
  readonly approvals: Approvals;
  readonly credentials: CredentialRegistry;
  /** Where values of credentials come from; adapters register theirs. */
  readonly sources: Sources;
  /** Signs users in at authorization servers. */
  readonly signIns: SignIns;
  /** Which of several accounts a workspace uses. */
  readonly accounts: AccountChoices;
  /** What the user said about the servers that workspaces name. */
  readonly workspaceAnswers: WorkspaceAnswers;
  /** Secrets that go from one tool to another without the model seeing them. */
  readonly handovers: Handovers;
  readonly catalog: ToolCatalog;
  /** What is searched for in what passes, what is done about it, and what was found. */
  readonly leaks: LeakGuard;
  readonly audit: AuditLog;
  /** Answers questions about the record. */
  readonly index: ActivityIndex;
  /** Streaming exports of the record. */
  readonly exports: Exports;
  /** Signatures, holds, and whatever else belongs to the record. */
  readonly record: RecordKeeping;
  readonly #options: CoreOptions;
  readonly #store = new DisposableStore();
  readonly #known: KnownValues;
  #generations: Generations | undefined;
  #reported = '';
  /** What was wrong at the last look; said once, not at every look. */
  #fault = '';

  private constructor(options: CoreOptions, db: Database, key: MacKey, generations: Generations, vault: Vault, checkpoints: Checkpoints) {
    this.#options = options;
    this.#store.add(toDisposable(() => db.close()));
    this.#store.add(vault);
    this.servers = this.#store.add(new ServerRegistry(db, key, generations));
    this.access = this.#store.add(new Access(db, key, generations, options.clock));
    this.credentials = this.#store.add(new CredentialRegistry(db, key, generations, vault, options.clock));
    this.sources = this.#store.add(new Sources(options.clock, (id, revision, secret) => this.recognise(id, revision, secret)));
    const { servers, access, credentials, sources } = this;
    this.handovers = this.#store.add(
      new Handovers(db, key, generations, options.clock, {
        taskRuns: (task) => access.tasks.runs(task),
        recognise: (id, revision, secret) => this.recognise(id, revision, secret),
      }),
    );
    const proxies = () => options.proxies?.() ?? process.env;
    this.#store.add(wireSources({ servers, access, credentials, sources, clock: options.clock, proxies }));
    this.accounts = new AccountChoices(db, key, generations, credentials);
    this.workspaceAnswers = new WorkspaceAnswers(db, key, generations);
    const wires = this.#store.add(new OAuthWires({ servers: this.servers, proxies: options.proxies }));
    this.signIns = this.#store.add(
      new SignIns({
        db,
        clock: options.clock,
        secretStore: options.secretStore,
        credentials: this.credentials,
        sources: this.sources,
        wire: wires.wire,
        recognise: (id, revision, secret) => this.recognise(id, revision, secret),
        act: (act) => this.act(act),
        documentUrl: () => options.clientDocumentUrl?.(),
        openBrowser: options.openBrowser,
      }),
    );
    this.catalog = this.#store.add(new ToolCatalog(db, key, generations, options.clock));
    this.leaks = this.#store.add(
      new LeakGuard({
        ...{ db, key, generations, clock: options.clock, asker: options.leakAsker, startThread: options.startInspectionThread },
        onProblem: (problem) => options.logger.warn(problem),
        keeper: options.secretStore,
        nameOf: (id) =>
          this.credentials.get(credentialOf(id))?.name ?? (id.startsWith('handover-') ? 'a secret of a result' : 'a credential'),
      }),
    );
    this.record = this.#store.add(
      new RecordKeeping({
        ...options,
        ...{ db, key, generations, checkpoints, proxies },
        recognise: (...known) => this.recognise(...known),
        redact: (text) => this.inspector.redactForDisplay(text),
      }),
    );
    this.audit = this.record.audit;
    this.index = this.record.index;
    this.exports = this.record.exports;
    this.approvals = this.#store.add(new Approvals(this.access, options.approver, options.clock));
    this.#store.add(recordActs(this.access, this.leaks, (act) => this.act(act)));
    this.#known = this.#store.add(new KnownValues(this.credentials, this.leaks));
    this.#repeat(REFRESH_MS, () => this.refresh());
  }

  /** Opens the state. Throws StoreError or VaultError with what the user can do; nothing is changed then. */
  static async open(options: CoreOptions): Promise<Core> {
    const db = Database.open(join(options.stateFolder, DATABASE_FILE));
    let core: Core | undefined;
    try {
      const { secretStore } = options;
      const { key, database, replacedEarlier } = await openKey(db, secretStore, options.clock);
      const checkpointKeys = { 'signing-key': SIGNING_KEY, 'last-checkpoint': lastCheckpointKey(database) };
      const keeper: CheckpointKeeper = {
        get: (name) => secretStore.get(checkpointKeys[name]),
        set: (name, value) => secretStore.store(checkpointKeys[name], value),
      };
      const generations = new Generations({
        get: () => secretStore.get(generationsKey(database)),
        set: (value) => secretStore.store(generationsKey(database), value),
      });
      await generations.refresh();
      const memory = new ChainMemory(options.clock, {
        get: () => secretStore.get(chainsKey(database)),
        set: (value) => secretStore.store(chainsKey(database), value),
      });
      core = new Core(options, db, key, generations, new Vault(secretStore), new Checkpoints(db, keeper, options.clock, memory));
      core.#store.add(
        secretStore.onDidChange((changed) => {
          if (changed === generationsKey(database)) void generations.refresh().catch(() => undefined);
        }),
      );
      core.#generations = generations;
      // Before anything stands in the chain.
      await core.record.begin();
      await core.#known.learned;
      core.audit.act({
        act: 'started',
        window: options.window,
        ...(replacedEarlier
          ? { detail: 'A new record was begun: an earlier one was set aside or removed, or is that of another profile.' }
          : {}),
      });
      return core;
    } catch (error) {
      if (core) core.dispose();
      else db.close();
      throw error;
    }
  }

  /** Folder of the database. */
  get stateFolder(): string {
    return this.#options.stateFolder;
  }

  get inspector(): Inspector {
    return this.leaks.inspector;
  }

  get findings(): FindingLog {
    return this.leaks.findings;
  }

  /** {@link KnownValues.ready} */
  ready(): Promise<void> | undefined {
    return this.#known.ready();
  }

  /** Names of the credentials that go along to a server. */
  credentialNames({ credentials }: Pick<Server, 'credentials'>): readonly string[] {
    return credentials.length === 0 ? NO_NAMES : credentials.map((id) => this.credentials.recent(id)?.name ?? 'missing');
  }

  /** A call as it is decided, its arguments apart: for views, with {@link Access.decide} and {@link Access.prospect}. */
  callFor(server: Server, method: string, tool?: string): Call {
    return {
      server: server.id,
      serverLabel: server.label,
      method,
      place: server.upstream,
      credentials: this.credentialNames(server),
      ...(tool === undefined ? {} : { tool, reads: this.catalog.reads(server.id, tool) }),
    };
  }

  /** {@link KnownValues.recognise} */
  recognise(id: string, revision: number | string, secret: Secret): void {
    this.#known.recognise(id, revision, secret);
  }

  /** Puts something that is no call on the record. What can't be written is logged: the act itself has happened. */
  act(act: Omit<Act, 'window'>): void {
    try {
      this.audit.act({ ...act, window: this.#options.window });
    } catch (error) {
      this.#options.logger.error(`An act could not be recorded (${act.act}): ${messageOf(error)}`);
    }
  }

  /** Pauses or resumes all agent access, in every window. */
  setPaused(paused: boolean): void {
    this.access.setPaused(paused);
    this.act({ act: paused ? 'paused' : 'resumed' });
  }

  /** Notices what other windows changed. */
  refresh(): void {
    try {
      this.servers.refresh();
      this.access.refresh();
      this.credentials.refresh();
      this.accounts.refresh();
      this.handovers.refresh();
      this.catalog.refresh();
      this.leaks.refresh();
      this.record.refresh();
      this.#reportTampering();
      this.#fault = '';
    } catch (error) {
      const fault = messageOf(error);
      if (fault !== this.#fault) this.#options.logger.warn(fault);
      this.#fault = fault;
    }
  }

  /** Rows that something other than Culvert changed and that therefore count as absent. */
  tampering(): readonly Tampering[] {
    return this.#signedParts.flatMap((part) => part.tampering());
  }

  /** Forgets the rows that {@link tampering} lists, after the user reviewed them. */
  forgetTampering(): void {
    const found = this.tampering();
    for (const part of this.#signedParts) part.forgetTampering();
    for (const { collection, id, problem } of found)
      this.act({ act: 'tampering-settled', subject: `${collection} ${id}`, detail: problem });
  }

  /** Everything that keeps its rows under a MAC. */
  get #signedParts(): readonly { tampering(): readonly Tampering[]; forgetTampering(): void }[] {
    const { hold, settings } = this.record;
    return [
      this.servers,
      this.access,
      this.credentials,
      this.accounts,
      this.workspaceAnswers,
      this.handovers,
      this.catalog,
      ...this.leaks.signedParts,
      hold,
      settings,
      this.exports,
    ];
  }

  /** Signs the record and closes everything. What was granted until the window closes ends. */
  async close(): Promise<void> {
    try {
      await releaseAll({ sources: this.sources, credentials: this.credentials, clock: this.#options.clock });
      this.access.endWindow(this.#options.window);
      await this.record.end();
      await this.#generations?.settled();
    } catch (error) {
      this.#options.logger.warn(`The record could not be signed at the end: ${messageOf(error)}`);
    }
    this.dispose();
  }

  dispose(): void {
    this.#store.dispose();
  }

  #reportTampering(): void {
    const found = this.tampering();
    const text = JSON.stringify(found);
    if (text === this.#reported) return;
    this.#reported = text;
    for (const { collection, id, problem } of found) {
      this.#options.logger.warn(`The database was changed from outside: ${collection} ${id}: ${problem}. The entry is ignored.`);
      this.audit.act({ act: 'tampering-found', subject: `${collection} ${id}`, detail: problem, window: this.#options.window });
    }
  }

  #repeat(ms: number, task: () => void): void {
    let timer: Disposable;
    const again = () => {
      timer = this.#options.clock.after(ms, () => {
        task();
        again();
      });
    };
    again();
    this.#store.add(toDisposable(() => timer.dispose()));
  }
}
