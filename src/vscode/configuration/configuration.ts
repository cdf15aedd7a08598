import * as vscode from 'vscode';
import { messageOf } from '../../common/errors.ts';
import { undoImport } from '../../configuration/importer.ts';
import type { FoundServer } from '../../configuration/scan.ts';
import { bindingOf, isConfirmed } from '../../mcp/server.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { tryServer, type TrialCredential } from '../commands/serverDialog.ts';
import { CONTEXT } from '../names.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { Here } from './here.ts';
import { importServers, type Imported } from './importServers.ts';
import { Reviews } from './reviews.ts';

/** Everything about other configurations in the editor: imports and their undo. */
export class Configuration implements vscode.Disposable {
  readonly here: Here;
  readonly #app: App;
  readonly #reviews = new Reviews();
  readonly #documents: RecordDocuments;
  #busy = false;
  /** The last import. In memory only: it holds files as they were. */
  #last: Imported | undefined;

  constructor(app: App, here: Here, documents: RecordDocuments) {
    this.#app = app;
    this.here = here;
    this.#documents = documents;
    setContext(CONTEXT.canUndoImport, false);
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
        showText: (title: string, text: string) => this.#documents.showDetails(title, text),
      };
      const imported = await importServers(this.#app, context, only);
      if (!imported) return;
      this.#last = imported;
      setContext(CONTEXT.canUndoImport, true);
      void this.#tell(imported);
      await this.#tryAll(imported);
    } finally {
      this.#busy = false;
    }
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
    void vscode.window.showInformationMessage('The import was undone: every file is as it was, and what it sealed is forgotten.');
  }

  dispose(): void {
    this.#reviews.dispose();
  }

  async #tell({ plan }: Imported): Promise<void> {
    const servers = plan.registers.map(({ label }) => label);
    const sealed = plan.seals.length;
    const leftOut = plan.registers.flatMap(({ label, leftOut: lost }) => lost.map((what) => `${label}: ${what}`));
    const text = [
      `${servers.join(', ')} ${servers.length === 1 ? 'goes' : 'go'} through Culvert now.`,
      sealed === 0 ? '' : `${sealed} ${sealed === 1 ? 'credential is' : 'credentials are'} sealed.`,
      leftOut.length === 0 ? '' : `Not taken over: ${leftOut.join('; ')}.`,
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
