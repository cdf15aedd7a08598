import * as vscode from 'vscode';
import { messageOf } from '../../common/errors.ts';
import { undoImport, type ImportUndo } from '../../configuration/importer.ts';
import { remains } from '../../configuration/plan.ts';
import type { FoundServer } from '../../configuration/scan.ts';
import { bindingOf, isConfirmed } from '../../mcp/server.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { tryServer, type TrialCredential } from '../commands/serverTrial.ts';
import { CONTEXT } from '../names.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { SecretDiagnostics } from './diagnostics.ts';
import { DriftWarnings } from './driftWarnings.ts';
import { DriftWatch } from './driftWatch.ts';
import { FirstSteps } from './firstSteps.ts';
import type { Here } from './here.ts';
import { importServers, type Imported } from './importServers.ts';
import { OpenTexts } from './openTexts.ts';
import { ReferenceHelp } from './referenceHelp.ts';
import { Reviews } from './reviews.ts';
import { followRotations, noteRotations } from './rotation.ts';
import { commentNotSecret, rememberNotSecret, sealInPlace, secretAt } from './sealing.ts';
import { SecretActions, type SecretAddress } from './secretActions.ts';
import { UndoStore, type LastImport } from './undoStore.ts';
import { WorkspaceServers } from './workspaceServers.ts';
import { ServerLenses, type EntryAddress } from './serverLenses.ts';

/** Files that the editor reads from disk; which of them count is decided by path. */
const FILES: vscode.DocumentSelector = { scheme: 'file' };

/** Everything about other configurations in the editor: imports and their undo. */
export class Configuration implements vscode.Disposable {
  readonly here: Here;
  readonly #app: App;
  readonly #reviews = new Reviews();
  readonly #documents: RecordDocuments;
  readonly #texts: OpenTexts;
  readonly #drift: DriftWatch;
  readonly #warnings: DriftWarnings;
  readonly #workspaceServers: WorkspaceServers;
  readonly #subscriptions: vscode.Disposable[] = [];
  #busy = false;
  readonly #undos: UndoStore;
  #last: LastImport | undefined;

  constructor(app: App, here: Here, documents: RecordDocuments) {
    this.#app = app;
    this.here = here;
    this.#documents = documents;
    setContext(CONTEXT.canUndoImport, false);
    this.#undos = new UndoStore(here.secrets);
    void this.#findUndo();
    try {
      here.refreshBridge();
    } catch (error) {
      app.logger.warn(`The bridge for other clients could not be brought up to date: ${messageOf(error)}`);
    }
    this.#texts = new OpenTexts(here);
    const lenses = new ServerLenses(app, here, this.#texts);
    this.#drift = new DriftWatch(here, app.logger, (path) => this.#texts.ignores(vscode.Uri.file(path)));
    this.#warnings = new DriftWarnings(this.#drift, this.#reviews, (entry) => this.routeEntry(entry));
    this.#workspaceServers = new WorkspaceServers(app);
    const help = new ReferenceHelp(app, this.#texts);
    this.#subscriptions.push(
      this.#reviews,
      this.#texts,
      lenses,
      this.#drift,
      this.#warnings,
      this.#workspaceServers,
      new FirstSteps(app),
      followRotations(app),
      new SecretDiagnostics(this.#texts),
      vscode.languages.registerCodeActionsProvider(FILES, new SecretActions(this.#texts), {
        providedCodeActionKinds: [vscode.CodeActionKind.QuickFix],
      }),
      vscode.languages.registerCodeLensProvider(FILES, lenses),
      vscode.languages.registerHoverProvider(FILES, help),
      vscode.languages.registerCompletionItemProvider(FILES, help, '{', ':'),
    );
  }

  /** **Culvert: Import MCP Servers…** `only` picks without asking. */
  async importServers(only?: (server: FoundServer) => boolean): Promise<void> {
    // Two at once would plan with the same names.
    if (this.#busy) return;
    this.#busy = true;
    try {
      const context = {
        here: this.here,
        reviews: this.#reviews,
        rules: () => this.#texts.rules(),
        showText: (title: string, text: string) => this.#documents.showDetails(title, text),
      };
      const imported = await importServers(this.#app, context, only);
      if (!imported) return;
      this.#remember(imported);
      void this.#tell(imported);
      await this.#tryAll(imported);
    } finally {
      this.#busy = false;
    }
  }

  /** Routes the server of a plaintext secret, or the servers that read the `.env` file it stands in. */
  async routeSecret(address: SecretAddress): Promise<void> {
    const found = await secretAt(this.#texts, address);
    if (!found) return;
    const file = found.document.uri.fsPath;
    const { entry } = found.secret;
    const key = entry && JSON.stringify(entry.path);
    await this.importServers((server) =>
      key === undefined
        ? server.environmentFile?.path === file && server.bridged === undefined
        : server.entry.file === file && JSON.stringify(server.entry.path) === key,
    );
  }

  /** Routes one entry of a file. */
  async routeEntry({ uri, path }: EntryAddress): Promise<void> {
    const file = vscode.Uri.parse(uri, true).fsPath;
    await this.importServers(({ entry }) => entry.file === file && JSON.stringify(entry.path) === path);
  }

  /** Seals a plaintext secret and leaves a reference in its place. */
  async sealInPlace(address: SecretAddress): Promise<void> {
    const done = await sealInPlace(this.#app, this.here, this.#texts, address);
    if (!done) return;
    this.#remember(done);
    const [{ name } = { name: '' }] = done.plan.seals;
    const text = `${name} is sealed, and the file names it. A server gets the value when it goes through Culvert.`;
    const choice = await vscode.window.showInformationMessage(text, 'Undo');
    if (choice === 'Undo') await this.undoImport();
  }

  rememberNotSecret(address: SecretAddress): Promise<void> {
    return rememberNotSecret(this.#texts, address);
  }

  commentNotSecret(address: SecretAddress): Promise<void> {
    return commentNotSecret(this.#texts, address);
  }

  /** **Culvert: Undo Import** */
  async undoImport(): Promise<void> {
    const last = this.#last;
    if (!last) {
      void vscode.window.showInformationMessage('There is no import to undo in this window.');
      return;
    }
    const problems = await undoImport(last.undo, last.ports);
    if (problems.length > 0) {
      for (const problem of problems) this.#app.logger.warn(problem);
      void vscode.window.showErrorMessage(problems.join(' '));
      return;
    }
    this.#last = undefined;
    setContext(CONTEXT.canUndoImport, false);
    await this.#undos.forget();
    this.#wrote(last.undo);
    void vscode.window.showInformationMessage('The import was undone: every file is as it was, and what it sealed is forgotten.');
  }

  /** **Culvert: Seal Missing Credentials…** */
  sealMissing(): Promise<void> {
    return this.#workspaceServers.sealMissing();
  }

  /** **Culvert: Review Configuration Changes…** */
  reviewDrift(): Promise<void> {
    return this.#warnings.review();
  }

  dispose(): void {
    for (const one of this.#subscriptions.splice(0).reverse()) one.dispose();
  }

  #remember(imported: Imported): void {
    this.#last = imported;
    setContext(CONTEXT.canUndoImport, true);
    this.#wrote(imported.undo);
    void this.#undos.keep(imported).catch((error: unknown) => this.#app.logger.warn(messageOf(error)));
    void this.#texts
      .rules()
      .then((rules) => noteRotations(this.#app, imported, rules))
      .catch((error: unknown) => this.#app.logger.warn(messageOf(error)));
  }

  /** An import of an earlier window can be undone too. */
  async #findUndo(): Promise<void> {
    const found = await this.#undos.find(this.#app).catch(() => undefined);
    if (!found || this.#last) return;
    this.#last = found;
    setContext(CONTEXT.canUndoImport, true);
  }

  /** What an import or its undo did to files is no drift. */
  #wrote({ files }: ImportUndo): void {
    const paths = files.map(({ path }) => path);
    void this.#drift.acceptFiles(paths).catch((error: unknown) => this.#app.logger.warn(messageOf(error)));
  }

  async #tell({ plan }: Imported): Promise<void> {
    const servers = plan.registers.map(({ label }) => label);
    const sealed = plan.seals.length;
    const leftOut = plan.registers.flatMap(({ label, leftOut: lost }) => lost.map((what) => `${label}: ${what}`));
    const text = [
      `${servers.join(', ')} ${servers.length === 1 ? 'goes' : 'go'} through Culvert now.`,
      sealed === 0 ? '' : `${sealed} ${sealed === 1 ? 'credential is' : 'credentials are'} sealed.`,
      leftOut.length === 0 ? '' : `Not taken over: ${leftOut.join('; ')}.`,
      ...remains(plan),
    ];
    const choice = await vscode.window.showInformationMessage(text.filter((part) => part !== '').join(' '), 'Undo', 'List MCP Servers');
    if (choice === 'Undo') await this.undoImport();
    if (choice === 'List MCP Servers') await vscode.commands.executeCommand('workbench.mcp.listServer');
  }

  /** Asks each new server for its tools, so that Grants shows them. What fails is said and changes nothing. */
  async #tryAll({ plan }: Imported): Promise<void> {
    const { core, logger } = this.#app;
    const failed: string[] = [];
    for (const { serverId } of plan.registers) {
      const server = core.servers.get(serverId);
      if (!server || (server.upstream.kind === 'stdio' && !isConfirmed(server.upstream))) continue;
      const trial: TrialCredential[] = [];
      for (const id of server.credentials) {
        const credential = core.credentials.get(id);
        const opened = await core.credentials.vault.open(id, bindingOf(server.upstream));
        if (credential && opened.ok) trial.push({ placement: credential.placement, secret: opened.secret });
      }
      try {
        const result = await tryServer(server.label, server.upstream, trial, logger);
        // It may have been undone meanwhile.
        if (!core.servers.get(serverId)) continue;
        if (result.ok) core.catalog.observe(serverId, core.inspector.redactPlain(result.tools), { pin: false });
        else failed.push(`${server.label}: ${result.message}`);
      } catch (error) {
        failed.push(`${server.label}: ${messageOf(error)}`);
      }
    }
    for (const text of failed) logger.warn(`After the import, ${text}`);
    if (failed.length > 0) void vscode.window.showWarningMessage(`Imported, but not reached yet. ${failed.join(' ')}`);
  }
}
