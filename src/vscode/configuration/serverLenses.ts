import * as vscode from 'vscode';
import { bridgedServer, type Entry } from '../../configuration/entry.ts';
import type { Disposable } from '../../common/disposable.ts';
import type { Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { COMMANDS, VIEWS } from '../names.ts';
import type { Here } from './here.ts';
import type { OpenTexts } from './openTexts.ts';

/** Says above each server of a configuration whether it goes through Culvert and what agents may do there. */
export class ServerLenses implements vscode.CodeLensProvider, vscode.Disposable {
  readonly #app: App;
  readonly #here: Here;
  readonly #texts: OpenTexts;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: Disposable[];
  readonly onDidChangeCodeLenses = this.#changed.event;

  constructor(app: App, here: Here, texts: OpenTexts) {
    this.#app = app;
    this.#here = here;
    this.#texts = texts;
    const changed = () => this.#changed.fire();
    const { servers, access, catalog } = app.core;
    this.#subscriptions = [
      servers.onDidChange(changed),
      access.onDidChange(changed),
      access.onDidExpire(changed),
      app.branch.onDidChange(changed),
      catalog.onDidChange(changed),
    ];
  }

  async provideCodeLenses(document: vscode.TextDocument): Promise<vscode.CodeLens[]> {
    const analysis = await this.#texts.analysisOf(document);
    if (!analysis) return [];
    return analysis.entries.map((entry) => {
      const plain = analysis.secrets.filter((secret) => secret.entry === entry).length;
      const at = document.positionAt(entry.nameSpan.offset);
      return new vscode.CodeLens(new vscode.Range(at, at), this.#say(entry, plain, document.uri));
    });
  }

  dispose(): void {
    for (const one of this.#subscriptions) one.dispose();
    this.#changed.dispose();
  }

  #say(entry: Entry, plain: number, uri: vscode.Uri): vscode.Command {
    const id = bridgedServer(entry);
    const server = id === undefined || !this.#here.isOurs(entry) ? undefined : this.#app.core.servers.get(id);
    if (server) return { title: `$(shield) Culvert: ${this.#access(server)}`, command: `${VIEWS.grants}.focus` };
    if (id !== undefined)
      return { title: '$(warning) Culvert: starts a bridge that is not this Culvert’s, or a server that is gone', command: '' };
    const keys = plain === 0 ? '' : `, ${plain} ${plain === 1 ? 'credential' : 'credentials'} in plaintext`;
    return {
      title: `$(warning) Past Culvert${keys} · Route through the tunnel…`,
      command: COMMANDS.routeEntry,
      arguments: [{ uri: uri.toString(), path: JSON.stringify(entry.path) } satisfies EntryAddress],
    };
  }

  #access(server: Server): string {
    const { core, caller } = this.#app;
    const counts = { allow: 0, ask: 0, deny: 0 };
    for (const tool of core.catalog.tools(server.id)) {
      const call = { server: server.id, serverLabel: server.label, method: 'tools/call', tool: tool.name, reads: tool.reads };
      counts[core.access.decide(caller, call).effect]++;
    }
    const known = counts.allow + counts.ask + counts.deny;
    if (known === 0) return 'protected, its tools are not known yet';
    return `${counts.allow} allowed, ${counts.ask} ask, ${counts.deny} denied`;
  }
}

/** What a lens or a warning hands to its command: which entry of which file. */
export interface EntryAddress {
  readonly uri: string;
  /** Path inside the file, as JSON. */
  readonly path: string;
}
