import * as vscode from 'vscode';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { approvalLocations } from '../../configuration/autoApproval.ts';
import type { Bridge } from '../../configuration/bridge.ts';
import type { Entry } from '../../configuration/entry.ts';
import { locate, type Location, type Surroundings, type Workspace } from '../../configuration/locate.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import type { PlaceContext } from '../../configuration/place.ts';
import { startsOwnBridge, type OwnBridges } from '../../configuration/snapshotJob.ts';

/** Commands with which this machine's clients were told to start the bridge; an update of the editor moves its executable. */
const KNOWN_COMMANDS = 'culvert.bridgeCommands';
const MAX_KNOWN_COMMANDS = 20;

/** This machine and window, as src/configuration asks about them. */
export class Here {
  readonly #context: vscode.ExtensionContext;

  constructor(context: vscode.ExtensionContext) {
    this.#context = context;
  }

  surroundings(): Surroundings {
    const userFolder = userFolderOf(this.#context.globalStorageUri);
    return { platform: process.platform, env: process.env, home: homedir(), ...(userFolder === undefined ? {} : { userFolder }) };
  }

  workspace(): Workspace {
    const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file').map(({ uri }) => uri.fsPath);
    const file = vscode.workspace.workspaceFile;
    return { folders, ...(file?.scheme === 'file' ? { file: file.fsPath } : {}) };
  }

  /** The configurations that exist. */
  locations(): Promise<Location[]> {
    return locate(this.surroundings(), this.workspace(), nodeFiles);
  }

  /** The same, and the files that only say what agents may do without asking. */
  async watched(): Promise<Location[]> {
    const more = approvalLocations(this.surroundings(), this.workspace());
    return [...(await this.locations()), ...more];
  }

  readonly contextOf = (location: Pick<Location, 'path'>): PlaceContext => {
    const folders = this.workspace().folders;
    const folder = folders.find((candidate) => location.path.startsWith(candidate + sep)) ?? folders[0];
    return { surroundings: this.surroundings(), ...(folder === undefined ? {} : { workspaceFolder: folder }) };
  };

  /** How another client starts the bridge of a server. */
  bridge(server: string): Bridge {
    const env = process.versions['electron'] === undefined ? {} : { env: { ELECTRON_RUN_AS_NODE: '1' } };
    return { command: process.execPath, args: [this.bridgeFile, '--server', server], ...env };
  }

  /** The bridge under a path that stays when the extension is updated. */
  get bridgeFile(): string {
    return join(this.#context.globalStorageUri.fsPath, 'bridge', 'bridge.cjs');
  }

  /** Puts the bridge of this version where other clients' entries lead. */
  layBridge(): void {
    const from = join(this.#context.extensionPath, 'dist', 'bridge.cjs');
    const to = this.bridgeFile;
    if (existsSync(to) && readFileSync(to).equals(readFileSync(from))) return;
    mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
    const draft = `${to}.${process.pid}.tmp`;
    copyFileSync(from, draft);
    renameSync(draft, to);
  }

  /** After an update of the extension: where clients start a bridge, it is that of this version. */
  refreshBridge(): void {
    if (existsSync(this.bridgeFile)) this.layBridge();
  }

  /** Notes that clients were told to start the bridge with this editor's executable. */
  async bridgeWasWritten(): Promise<void> {
    const known = this.#knownCommands();
    if (known.includes(process.execPath)) return;
    await this.#context.globalState.update(KNOWN_COMMANDS, [process.execPath, ...known].slice(0, MAX_KNOWN_COMMANDS));
  }

  /** What our own entries start. */
  ownBridges(): OwnBridges {
    return {
      commands: [process.execPath, ...this.#knownCommands()],
      scripts: [this.bridgeFile, join(this.#context.extensionPath, 'dist', 'bridge.cjs')],
    };
  }

  readonly isOurs = (entry: Pick<Entry, 'command' | 'args' | 'url'>): boolean => startsOwnBridge(entry, this.ownBridges());

  /** The script of the thread that looks for drift. */
  get snapshotScript(): string {
    return join(this.#context.extensionPath, 'dist', 'snapshot.cjs');
  }

  get secrets(): vscode.SecretStorage {
    return this.#context.secrets;
  }

  /** What is remembered about this user's configurations, and about those of this workspace. */
  get memory(): { readonly user: vscode.Memento; readonly workspace: vscode.Memento } {
    return { user: this.#context.globalState, workspace: this.#context.workspaceState };
  }

  #knownCommands(): readonly string[] {
    return this.#context.globalState.get<string[]>(KNOWN_COMMANDS, []);
  }
}

/** The `User` folder that this extension's storage is below, in a profile or not. */
function userFolderOf(storage: vscode.Uri): string | undefined {
  const folder = /^(.*[/\\]User)(?:[/\\]profiles[/\\][^/\\]+)?[/\\]globalStorage[/\\]/.exec(storage.fsPath + sep)?.[1];
  return storage.scheme === 'file' || storage.scheme === 'vscode-remote' ? folder : undefined;
}
