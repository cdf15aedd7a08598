import * as vscode from 'vscode';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import * as z from 'zod';
import { systemClock } from '../common/clock.ts';
import { CulvertError, StoreError, VaultError, messageOf } from '../common/errors.ts';
import { newId } from '../common/identifiers.ts';
import type { Logger } from '../common/logger.ts';
import { Core, DATABASE_FILE } from '../tunnel/core.ts';
import { Policies } from '../tunnel/policies.ts';
import { Tunnel } from '../tunnel/tunnel.ts';
import { currentWorkspace, loggerOf, secretStoreOf, setContext, settings } from './adapters.ts';
import type { App } from './app.ts';
import { ApprovalPrompt } from './approvalPrompt.ts';
import { journalsOf } from '../audit/intentJournal.ts';
import { keepRecord } from './audit/commands.ts';
import { registerCommands } from './commands/index.ts';
import { watchRecord } from './commands/explain.ts';
import { addDemoServer } from './commands/addServer.ts';
import { Configuration } from './configuration/configuration.ts';
import { Here } from './configuration/here.ts';
import { BranchWatch, branchHere, callerNow } from './branchWatch.ts';
import { LeakPrompt } from './leakPrompt.ts';
import { watchCanaries } from './commands/canaries.ts';
import { followLeakSettings } from './leakSettings.ts';
import { GrantDocuments } from './grantDocuments.ts';
import { CONTEXT } from './names.ts';
import { policySources } from './policySettings.ts';
import { PolicyWatch } from './policyWatch.ts';
import { DefinitionProvider } from './provider.ts';
import { ActivityPanel } from './panel/activityPanel.ts';
import { RecordDocuments } from './recordDocument.ts';
import { SignInUriHandler } from './signIn.ts';
import { SignInReminder } from './signInCommands.ts';
import { StatusBar } from './statusBar.ts';
import { ActivityView } from './views/activityView.ts';
import { watchCredentials } from './credentialWatch.ts';
import { CredentialsView } from './views/credentialsView.ts';
import { GrantBadges } from './views/grantBadges.ts';
import { GrantsView } from './views/grantsView.ts';
import { WarningDecorations } from './views/serverWarnings.ts';
import { LeakWarningsView } from './views/leakWarningsView.ts';

/** Time that running calls get when the window closes, milliseconds. VS Code ends the extension host after five seconds. */
const DRAIN_MS = 1_500;
/** Key of globalState under which it stands that the user was told about a forgetting keyring. */
const TOLD_KEYRING = 'culvert.toldAboutKeyring';
/** Names a file that describes the server of `npm start`; honoured only while the extension is developed or tested. */
const DEMO_VARIABLE = 'CULVERT_DEMO';

const DemoFile = z.object({ label: z.string(), url: z.string(), token: z.string() });

/** Builds the parts of a running extension, and takes them down and up again when the state can't be opened. */
export class Runtime implements vscode.Disposable {
  readonly #context: vscode.ExtensionContext;
  readonly #log: vscode.LogOutputChannel;
  readonly #logger: Logger;
  readonly #documents = new RecordDocuments();
  readonly #panel: ActivityPanel;
  readonly #window = newId('win');
  readonly #always: vscode.Disposable[] = [];
  #running: vscode.Disposable[] = [];
  #app: App | undefined;
  #core: Core | undefined;
  #activity: ActivityView | undefined;
  #grants: GrantsView | undefined;
  #grantDocuments: GrantDocuments | undefined;
  #credentials: CredentialsView | undefined;

  constructor(context: vscode.ExtensionContext) {
    this.#context = context;
    this.#log = vscode.window.createOutputChannel('Culvert', { log: true });
    this.#logger = loggerOf(this.#log);
    this.#panel = new ActivityPanel(context.extensionUri, () => this.#app);
    this.#always.push(
      this.#log,
      this.#documents,
      this.#panel,
      registerCommands({
        app: () => this.#app,
        activity: () => this.#activity,
        grants: () => this.#grants,
        grantDocuments: () => this.#grantDocuments,
        documents: this.#documents,
        reveal: {
          server: async (id) => this.#grants?.reveal(id),
          credential: async (id) => this.#credentials?.reveal(id),
        },
        log: this.#log,
        logger: this.#logger,
        version: this.#version,
        retry: () => this.#restart(),
        setDatabaseAside: () => this.#setDatabaseAside(),
      }),
    );
  }

  get #version(): string {
    const { version } = this.#context.extension.packageJSON as { readonly version?: string };
    return version ?? '0';
  }

  /** What commands and views work with; `undefined` while the state can't be opened. */
  get app(): App | undefined {
    return this.#app;
  }

  /** Opens state, tunnel and views. What fails is shown in the views, with what the user can do; agents get nothing meanwhile. */
  async start(): Promise<void> {
    setContext(CONTEXT.state, 'starting');
    setContext(CONTEXT.canSetAside, false);
    if (settings.mcpOff()) {
      setContext(CONTEXT.state, 'off');
      this.#logger.info('MCP is switched off in the editor (chat.mcp.access or chat.disableAIFeatures), so Culvert registers nothing.');
      return;
    }
    try {
      await this.#open();
      setContext(CONTEXT.state, 'ready');
    } catch (error) {
      this.#close();
      await this.#explain(error);
    }
  }

  /** Lets running calls finish and signs the record. */
  async stop(): Promise<void> {
    const app = this.#app;
    this.#app = undefined;
    this.#documents.attach(undefined);
    await app?.tunnel.close(DRAIN_MS);
    const core = this.#core;
    this.#core = undefined;
    this.#close();
    await core?.close();
  }

  dispose(): void {
    this.#close();
    for (const item of this.#always.splice(0).reverse()) item.dispose();
  }

  async #open(): Promise<void> {
    const logger = this.#logger;
    const prompt = new ApprovalPrompt(
      systemClock,
      (title, text) => void this.#documents.showDetails(title, text),
      (server) => this.#core?.access.tasks.for(server)?.name,
    );
    this.#running.push(prompt);
    const core = await Core.open({
      stateFolder: this.#context.globalStorageUri.fsPath,
      secretStore: secretStoreOf(this.#context.secrets, this.#running),
      approver: prompt,
      leakAsker: new LeakPrompt(systemClock),
      startInspectionThread: () =>
        new Worker(join(this.#context.extensionPath, 'dist', 'inspection.cjs'), { env: {}, execArgv: [], stdout: true, stderr: true }),
      clock: systemClock,
      logger,
      window: this.#window,
      version: this.#version,
      retention: () => settings.retention(),
      proxies: () => settings.proxies(),
      clientDocumentUrl: () => settings.clientDocumentUrl(),
    });
    this.#running.push(followLeakSettings(core.leaks));
    this.#core = core;
    const principal = { client: 'vscode' as const, window: this.#window, ...currentWorkspace() };
    const policies = new Policies({ access: core.access, sources: policySources, clock: systemClock, act: (act) => core.act(act) });
    this.#running.push(policies);
    await policies.start();
    const tunnel = await Tunnel.open({
      core,
      clock: systemClock,
      logger,
      window: principal,
      listen: settings.listen() === 'loopback' ? { kind: 'loopback', port: 0 } : 'socket',
      presentation: { nameAfterLabel: true, culvertConfirms: settings.culvertConfirms(), ownStream: true, requestAccess: true },
      approvalTimeoutMs: () => settings.approvalTimeoutMs(),
      recordArguments: () => settings.recordArguments(),
      branch: branchHere,
      policiesReady: () => policies.check(),
      recordResults: () => settings.recordResults(),
      proxies: () => settings.proxies(),
      limits: settings.limits(),
    });
    this.#running.push(tunnel);
    const branch = new BranchWatch();
    this.#running.push(
      branch,
      branch.onDidChange(() => tunnel.branchChanged()),
    );
    const app: App = {
      policies,
      core,
      tunnel,
      logger,
      prompt,
      principal,
      get caller() {
        return callerNow(principal);
      },
      branch,
      get configuration() {
        return configuration;
      },
    };
    const configuration = new Configuration(app, new Here(this.#context), this.#documents);
    this.#running.push(configuration);
    const shared = new Set<string>();
    const issueShared = () => {
      for (const server of core.servers.list()) {
        if (shared.has(server.id)) continue;
        shared.add(server.id);
        tunnel.issue(server.id, 'agent', 'shared');
      }
    };
    issueShared();
    this.#activity = new ActivityView(app, this.#context.workspaceState);
    this.#grants = new GrantsView(app);
    this.#grantDocuments = new GrantDocuments(app);
    this.#credentials = new CredentialsView(app);
    this.#running.push(
      core.servers.onDidChange(issueShared),
      new PolicyWatch(policies),
      this.#grants,
      this.#grantDocuments,
      watchRecord(app),
      vscode.window.registerFileDecorationProvider(new GrantBadges()),
      vscode.window.registerFileDecorationProvider(new WarningDecorations()),
      this.#activity,
      new LeakWarningsView(app),
      watchCanaries(app, this.#documents),
      this.#credentials,
      new SignInReminder(app),
      vscode.window.registerUriHandler(new SignInUriHandler(() => this.#app)),
      watchCredentials(app),
      new StatusBar(app),
      keepRecord(app),
      new DefinitionProvider(app, join(this.#context.extensionPath, 'dist', 'bridge.cjs')).register(),
    );
    this.#app = app;
    this.#documents.attach(app);
    this.#panel.attach();
    logger.info(`Listening at ${tunnel.address.kind === 'socket' ? tunnel.address.path : (tunnel.url ?? '')}.`);
    await this.#context.globalState.update(TOLD_KEYRING, undefined);
    await this.#addDemo(app);
  }

  #close(): void {
    this.#app = undefined;
    this.#activity = undefined;
    this.#grants = undefined;
    this.#grantDocuments = undefined;
    this.#credentials = undefined;
    this.#documents.attach(undefined);
    for (const item of this.#running.splice(0).reverse()) {
      try {
        item.dispose();
      } catch (error) {
        this.#logger.warn(messageOf(error));
      }
    }
    this.#core?.dispose();
    this.#core = undefined;
  }

  async #restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async #explain(error: unknown): Promise<void> {
    const message = messageOf(error);
    this.#logger.error(message);
    if (!(error instanceof CulvertError) && error instanceof Error) this.#logger.error(error.stack ?? '');
    const forgot = error instanceof VaultError;
    const canSetAside = forgot || (error instanceof StoreError && error.code === 'CULVERT_STORE_CORRUPT');
    setContext(CONTEXT.state, 'failed');
    setContext(CONTEXT.canSetAside, canSetAside);
    if (forgot) {
      // A machine without a keyring would show this at every start: once is enough, the view goes on saying it.
      if (this.#context.globalState.get(TOLD_KEYRING) === true) return;
      await this.#context.globalState.update(TOLD_KEYRING, true);
    }
    void vscode.window
      .showErrorMessage(
        `Culvert can’t start, so agents have no access through it. ${message}`,
        ...(canSetAside ? ['Try Again', 'Start Over…'] : ['Try Again']),
      )
      .then((choice) => {
        if (choice === 'Try Again') void this.#restart();
        if (choice === 'Start Over…') void this.#setDatabaseAside();
      });
  }

  /** Keeps the database under another name and begins with an empty one. */
  async #setDatabaseAside(): Promise<void> {
    const path = join(this.#context.globalStorageUri.fsPath, DATABASE_FILE);
    const aside = `${path}.aside-${new Date().toISOString().replace(/[:.]/g, '-')}`;
    const choice = await vscode.window.showWarningMessage(
      'Start over with an empty database?',
      {
        modal: true,
        detail: `Servers, grants and the audit history so far are kept in ${aside}, but are no longer used. Servers and credentials have to be added again. Close other windows first.`,
      },
      'Start Over',
    );
    if (choice !== 'Start Over') return;
    await this.stop();
    this.#close();
    for (const suffix of ['', '-wal', '-shm', '.index', '.index-wal', '.index-shm'])
      if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
    for (const journal of journalsOf(path)) renameSync(journal, aside + journal.slice(path.length));
    await this.start();
  }

  async #addDemo(app: App): Promise<void> {
    const path = process.env[DEMO_VARIABLE];
    if (path === undefined || this.#context.extensionMode === vscode.ExtensionMode.Production || !existsSync(path)) return;
    try {
      const demo = DemoFile.parse(JSON.parse(readFileSync(path, 'utf8')));
      rmSync(path);
      await addDemoServer(app, demo);
    } catch (error) {
      this.#logger.warn(`The demo server could not be added: ${messageOf(error)}`);
    }
  }
}
