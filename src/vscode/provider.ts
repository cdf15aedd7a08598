import * as vscode from 'vscode';
import { createHash } from 'node:crypto';
import type { Server } from '../mcp/server.ts';
import type { App } from './app.ts';
import { settings } from './adapters.ts';
import { toolCall } from './calls.ts';
import { PROVIDER_ID } from './names.ts';

/** Time for a change to be followed by others, milliseconds. */
const SETTLE_MS = 50;
/** Time for a connection that broke, as in a pause, to come back before the editor counts as not connected, milliseconds. */
const RETURN_MS = 3_000;

/**
 * Gives VS Code a definition for each server. What is cached by VS Code names no socket that is open and holds nothing secret; the
 * capability is added when a server is about to start.
 */
export class DefinitionProvider implements vscode.McpServerDefinitionProvider, vscode.Disposable {
  readonly #app: App;
  readonly #bridge: string;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  /** By server: the version that VS Code was told last. */
  readonly #told = new Map<string, string>();
  #last = '';
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;

  readonly onDidChangeMcpServerDefinitions = this.#changed.event;

  /** `bridge` is the path of the bundled bridge. */
  constructor(app: App, bridge: string) {
    this.#app = app;
    this.#bridge = bridge;
    const { core } = app;
    const soon = () => this.#soon();
    this.#subscriptions = [
      core.servers.onDidChange(soon),
      core.access.onDidChange(soon),
      core.access.onDidExpire(soon),
      app.branch.onDidChange(soon),
    ];
    this.#last = this.#fingerprint();
  }

  register(): vscode.Disposable {
    return vscode.Disposable.from(this, vscode.lm.registerMcpServerDefinitionProvider(PROVIDER_ID, this));
  }

  provideMcpServerDefinitions(): vscode.McpServerDefinition[] {
    if (settings.mcpOff()) return [];
    return this.#offered().map((server) => this.#definition(server));
  }

  resolveMcpServerDefinition(definition: vscode.McpServerDefinition): vscode.McpServerDefinition {
    const { core, tunnel } = this.#app;
    const server = core.servers.list().find((s) => s.label === definition.label);
    if (!server) throw new Error(`Culvert no longer has a server named “${definition.label}”.`);
    const { stem, token } = tunnel.issue(server.id, 'vscode', 'own');
    if (definition instanceof vscode.McpHttpServerDefinition) definition.headers = { Authorization: `Bearer ${token}` };
    else definition.args = [...definition.args, '--capability', stem];
    return definition;
  }

  dispose(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#again);
    for (const s of this.#subscriptions) s.dispose();
    this.#changed.dispose();
  }

  #definition(server: Server): vscode.McpServerDefinition {
    const { tunnel } = this.#app;
    const version = this.#version(server);
    if (settings.definition() === 'http') {
      const { address } = tunnel;
      const base =
        address.kind === 'socket'
          ? vscode.Uri.from({ scheme: 'unix', path: address.path, fragment: tunnel.endpoint(server.id) })
          : vscode.Uri.parse(`${tunnel.url ?? ''}${tunnel.endpoint(server.id)}`);
      return new vscode.McpHttpServerDefinition(server.label, base, {}, version);
    }
    return new vscode.McpStdioServerDefinition(
      server.label,
      process.execPath,
      [this.#bridge, '--server', server.id, '--runtime', tunnel.folder.folder],
      { ELECTRON_RUN_AS_NODE: '1' },
      version,
    );
  }

  /**
   * Changes when what an agent would see at the start changes: where it goes, and which tools are listed. VS Code stops a running server
   * whose version changes, cancels what an agent calls before that has ended, and takes the tools it has for outdated. So an open connection
   * keeps its version: it hears of tools by `tools/list_changed`, and of another place by the end of its session, for which the bridge begins
   * a new one.
   */
  #version(server: Server): string {
    const told = this.#told.get(server.id) ?? this.#stateOf(server);
    this.#told.set(server.id, told);
    return told;
  }

  /** The version of what a server is now: where it goes, and which tools are listed. */
  #stateOf(server: Server): string {
    const { core, caller } = this.#app;
    const listed = core.catalog
      .tools(server.id)
      .filter(
        (tool) =>
          // As agents see it: what is allowed under conditions is listed, too.
          core.access.prospect(caller, toolCall(server, core.credentials, tool.name, tool.reads)).effect !== 'deny',
      )
      .map((tool) => tool.name);
    return createHash('sha256')
      .update(JSON.stringify([server.upstream, server.credentials, listed]))
      .digest('hex')
      .slice(0, 12);
  }

  #fingerprint(): string {
    return JSON.stringify(this.#offered().map((s) => [s.label, this.#version(s)]));
  }

  /** A server that one workspace's file names is offered only there. */
  #offered(): Server[] {
    const { core, principal } = this.#app;
    return core.servers.list().filter(({ workspace }) => workspace === undefined || workspace.id === principal.workspace);
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#look(false)) return;
      clearTimeout(this.#again);
      this.#again = setTimeout(() => this.#look(true), RETURN_MS);
    }, SETTLE_MS);
  }

  /** Tells VS Code what changed. False: a server changed to which VS Code is not connected, and `waited` was not said. */
  #look(waited: boolean): boolean {
    const { core, tunnel } = this.#app;
    let done = true;
    for (const server of core.servers.list()) {
      const told = this.#told.get(server.id);
      const now = this.#stateOf(server);
      if (told === now || tunnel.reachesEditor(server.id)) continue;
      if (told !== undefined && !waited) done = false;
      else this.#told.set(server.id, now);
    }
    const now = this.#fingerprint();
    if (now !== this.#last) {
      this.#last = now;
      this.#changed.fire();
    }
    return done;
  }
}
