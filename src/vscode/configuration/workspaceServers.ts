import * as vscode from 'vscode';
import { hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { newId } from '../../common/identifiers.ts';
import { messageOf } from '../../common/errors.ts';
import { visible } from '../../common/text.ts';
import { isProblem } from '../../configuration/document.ts';
import { openTextFile } from '../../configuration/files.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import { WORKSPACE_FILE, readWorkspaceFile, type WantedCredential, type WantedServer } from '../../configuration/workspaceFile.ts';
import type { Credential } from '../../credentials/credential.ts';
import { describePlacement } from '../../credentials/credential.ts';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { MAX_LABEL_CHARACTERS, bindingOf, commandDigest, describeBinding, destinationOf, type Server } from '../../mcp/server.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { CONTEXT } from '../names.ts';
import { askText, single } from '../steps.ts';
import { describeCommandWhole } from './importServers.ts';

const TITLE = 'Culvert: Seal';
const SETTLE_MS = 500;
/** How often the files' times are looked at while the window has the focus, milliseconds: VS Code tells of no change before it watches, which may take long after a start. */
const POLL_MS = 10_000;

interface Wish {
  readonly folder: string;
  readonly digest: string;
  readonly servers: readonly WantedServer[];
}

/**
 * Servers that the repository of this workspace names in `.vscode/culvert.json`. Nothing is set up before the user said so for exactly
 * this list, and a credential that goes somewhere already is never led to another place.
 */
export class WorkspaceServers implements vscode.Disposable {
  readonly #app: App;
  readonly #subscriptions: vscode.Disposable[];
  readonly #poll: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #asking = false;
  /** Wishes that are on the record, by digest. */
  readonly #recorded = new Set<string>();
  #stamps = '';

  constructor(app: App) {
    this.#app = app;
    const watcher = vscode.workspace.createFileSystemWatcher(`**/${WORKSPACE_FILE}`);
    const soon = () => this.#soon();
    this.#subscriptions = [
      watcher,
      watcher.onDidChange(soon),
      watcher.onDidCreate(soon),
      watcher.onDidDelete(soon),
      vscode.workspace.onDidGrantWorkspaceTrust(soon),
      vscode.workspace.onDidChangeWorkspaceFolders(soon),
    ];
    setContext(CONTEXT.missingCredentials, false);
    this.#poll = setInterval(() => {
      if (vscode.window.state.focused) void this.#compareStamps();
    }, POLL_MS);
    this.#soon();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#poll);
    for (const one of this.#subscriptions) one.dispose();
  }

  /** **Culvert: Seal Missing Credentials…** Asks for what the trusted servers of this workspace still need, and sets them up. */
  async sealMissing(): Promise<void> {
    for (const wish of await this.#wishes()) {
      if (this.#answerTo(wish) !== true && !(await this.#ask(wish))) continue;
      for (const server of this.#missing(wish)) if (!(await this.#setUp(server))) return;
    }
    await this.#show();
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.#look().catch((error: unknown) => this.#app.logger.warn(`${WORKSPACE_FILE}: ${messageOf(error)}`));
    }, SETTLE_MS);
  }

  async #compareStamps(): Promise<void> {
    if ((await stampsOfFolders()) !== this.#stamps) this.#soon();
  }

  async #look(): Promise<void> {
    this.#stamps = await stampsOfFolders();
    const wishes = await this.#show();
    if (this.#asking) return;
    this.#asking = true;
    try {
      for (const wish of wishes) {
        const missing = this.#missing(wish);
        const answer = this.#answerTo(wish);
        this.#record(wish, missing);
        if (missing.length === 0 || answer === false) continue;
        const names = missing.map(({ label }) => visible(label, 40)).join(', ');
        const choice = await vscode.window.showInformationMessage(
          answer === true
            ? `${names} of this workspace ${missing.length === 1 ? 'waits' : 'wait'} for a credential of yours.`
            : `This workspace names MCP servers for Culvert: ${names}. Nothing is set up before you have seen where they lead.`,
          answer === true ? 'Seal…' : 'Review…',
          ...(answer === true ? [] : ['Never']),
        );
        if (choice === 'Never') {
          this.#remember(wish, false);
          await this.#show();
          void this.#offerBack(wish, names);
        }
        if (choice === 'Review…' || choice === 'Seal…') await this.sealMissing();
      }
    } finally {
      this.#asking = false;
    }
  }

  /** “Never” is one click: so is taking it back, and what it means is said. */
  async #offerBack({ folder }: Wish, names: string): Promise<void> {
    const choice = await vscode.window.showInformationMessage(
      `Culvert leaves ${names} alone and does not ask again, unless ${WORKSPACE_FILE} changes.`,
      'Undo',
    );
    if (choice !== 'Undo') return;
    this.#app.core.workspaceAnswers.forget(folder);
    this.#soon();
  }

  /** What the files of the open folders want; only of a workspace that the user trusts. */
  async #wishes(): Promise<Wish[]> {
    if (!vscode.workspace.isTrusted || this.#app.principal.workspace === undefined) return [];
    const wishes: Wish[] = [];
    for (const { uri } of vscode.workspace.workspaceFolders ?? []) {
      if (uri.scheme !== 'file') continue;
      const file = await openTextFile(nodeFiles, join(uri.fsPath, WORKSPACE_FILE));
      if (isProblem(file) || file.digest === undefined) continue;
      const servers = readWorkspaceFile(file.text, uri.fsPath, join);
      if (isProblem(servers)) this.#app.logger.warn(servers.message);
      else if (servers.length > 0) wishes.push({ folder: uri.fsPath, digest: hash('sha256', JSON.stringify(servers)), servers });
    }
    return wishes;
  }

  async #show(): Promise<Wish[]> {
    const wishes = await this.#wishes();
    setContext(
      CONTEXT.missingCredentials,
      wishes.some((wish) => this.#answerTo(wish) !== false && this.#missing(wish).length > 0),
    );
    return wishes;
  }

  #answerTo({ folder, digest }: Wish): boolean | undefined {
    return this.#app.core.workspaceAnswers.to(folder, digest);
  }

  #remember({ folder, digest }: Wish, trusted: boolean): void {
    this.#app.core.workspaceAnswers.remember(folder, { digest, trusted, at: Date.now() });
  }

  /** Wanted servers that are not there: everywhere, or for this workspace, at exactly that place. */
  #missing({ servers }: Wish): WantedServer[] {
    const { core, principal } = this.#app;
    const there = core.servers.list().filter(({ workspace }) => workspace === undefined || workspace.id === principal.workspace);
    return servers.filter((wanted) => !there.some((server) => sameLabel(server, wanted) && bindingOf(server.upstream) === wanted.binding));
  }

  /** Puts on the record that a repository leads the name of a known server elsewhere. It gets nothing of that server, whatever is answered. */
  #record({ folder, digest }: Wish, missing: readonly WantedServer[]): void {
    if (this.#recorded.has(digest)) return;
    this.#recorded.add(digest);
    const { core } = this.#app;
    for (const wanted of missing) {
      const known = core.servers.list().find((server) => sameLabel(server, wanted));
      if (!known) continue;
      core.act({
        act: 'server-elsewhere',
        server: known.id,
        subject: known.label,
        detail: `${WORKSPACE_FILE} of ${visible(folder, 200)} leads “${visible(wanted.label, 60)}” to ${describeBinding(wanted.binding)} instead of ${describeBinding(bindingOf(known.upstream))}; no credential goes along`,
      });
    }
  }

  async #ask(wish: Wish): Promise<boolean> {
    const lines = wish.servers.map((server) => this.#describe(server));
    const choice = await vscode.window.showWarningMessage(
      `Set up ${wish.servers.length === 1 ? 'this server' : `these ${wish.servers.length} servers`} of ${WORKSPACE_FILE}?`,
      {
        modal: true,
        detail: `${lines.join('\n\n')}\n\nThe repository chose these places. You enter an own value for each credential; no credential that you have elsewhere is sent there.`,
      },
      'Set Up',
      'Never',
    );
    if (choice !== undefined) this.#remember(wish, choice === 'Set Up');
    if (choice === 'Never') {
      await this.#show();
      void this.#offerBack(wish, wish.servers.map(({ label }) => visible(label, 40)).join(', '));
    }
    return choice === 'Set Up';
  }

  #describe({ label, place, credentials }: WantedServer): string {
    const known = this.#app.core.credentials.list();
    const needs = credentials.map(({ name, placement, hint }) => {
      const sealed = known.find((credential) => credential.name === name);
      const state = sealed === undefined ? '' : ' (you have a credential of that name; it is not used unless it goes there already)';
      return `  credential ${name}: ${describePlacement(placement)}${state}${hint === undefined ? '' : `; the repository says: “${visible(hint, 200)}”`}`;
    });
    const variables = credentials.flatMap(({ placement }) => (placement.kind === 'environment' ? [placement.name] : []));
    const head =
      place.kind === 'stdio'
        ? describeCommandWhole(label, place, variables)
        : [
            `${visible(label, 60)}: ${visible(place.url, 300)}`,
            ...Object.entries(place.headers ?? {}).map(([n, v]) => `  header ${n}: ${visible(v, 200)}`),
          ].join('\n');
    return [head, ...needs].join('\n');
  }

  /** False: the user gave up. */
  async #setUp(wanted: WantedServer): Promise<boolean> {
    const { core, principal } = this.#app;
    const made: string[] = [];
    const ids: string[] = [];
    try {
      for (const credential of wanted.credentials) {
        const ready = this.#ready(credential, wanted.binding);
        const sealed = ready ?? (await this.#seal(credential, wanted));
        if (!sealed) {
          await this.#takeBack(made);
          return false;
        }
        if (!ready) made.push(sealed.id);
        ids.push(sealed.id);
      }
      this.#removeMoved(wanted);
      const upstream = wanted.place.kind === 'stdio' ? { ...wanted.place, confirmed: commandDigest(wanted.place) } : wanted.place;
      const server: Server = {
        version: 1,
        id: newId('srv'),
        label: this.#freeLabel(wanted.label),
        upstream,
        credentials: ids,
        workspace: { id: principal.workspace ?? '', name: (principal.workspaceName ?? '').slice(0, 200) },
        createdAt: Date.now(),
      };
      core.servers.put(server);
      core.access.start(server.id, 'ask', 'wizard');
      core.act({ act: 'server-added', server: server.id, subject: server.label, detail: `${destinationOf(server)}, of ${WORKSPACE_FILE}` });
    } catch (error) {
      await this.#takeBack(made);
      throw error;
    }
    void vscode.window.showInformationMessage(`${wanted.label} is set up for this workspace. Its tools ask each time.`);
    return true;
  }

  /** A sealed credential of that name, if it goes exactly there already, in the same way. */
  #ready({ name, placement }: WantedCredential, binding: string): Credential | undefined {
    const known = this.#app.core.credentials.list().find((credential) => credential.name === name);
    return known?.origins.includes(binding) === true && isDeepStrictEqual(known.placement, placement) ? known : undefined;
  }

  async #seal({ name, placement, hint }: WantedCredential, { label, binding }: WantedServer): Promise<Credential | undefined> {
    const { core } = this.#app;
    const answer = await askText(
      {
        ...single(`${TITLE} ${name}`),
      },
      {
        prompt: `Your own value of ${name} for ${visible(label, 40)}. It is stored in the system’s keyring and goes to ${describeBinding(binding)} only.${hint === undefined ? '' : ` The repository says: “${visible(hint, 200)}”`}`,
        placeholder: 'paste it here',
        password: true,
        validate: (value) => refuseValue(value, placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS }),
      },
    );
    if (answer.kind !== 'value') return undefined;
    const taken = new Set(core.credentials.list().map((credential) => credential.name));
    let free = name;
    for (let n = 2; taken.has(free); n++) free = `${name}-${n}`;
    const credential = await core.credentials.seal(free, placement, [binding], new Secret(answer.value));
    core.act({ act: 'credential-sealed', subject: free, detail: describeBinding(binding) });
    return credential;
  }

  async #takeBack(ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#app.core.credentials.forget(id);
  }

  /** The same name led elsewhere in an earlier version of the file: that one goes, its credential does not move along. */
  #removeMoved(wanted: WantedServer): void {
    const { core, principal, tunnel } = this.#app;
    for (const server of core.servers.list()) {
      if (server.workspace === undefined || server.workspace.id !== principal.workspace || !sameLabel(server, wanted)) continue;
      core.servers.remove(server.id);
      core.access.revokeServer(server.id);
      core.catalog.forget(server.id);
      core.leaks.decisions.forgetServer(server.id);
      tunnel.revokeServer(server.id);
      core.act({ act: 'server-removed', server: server.id, subject: server.label, detail: `${WORKSPACE_FILE} leads elsewhere now` });
    }
  }

  #freeLabel(label: string): string {
    for (let n = 1; ; n++) {
      const suffix = n === 1 ? '' : ` ${n}`;
      const free = label.slice(0, MAX_LABEL_CHARACTERS - suffix.length) + suffix;
      if (!this.#app.core.servers.labelTaken(free)) return free;
    }
  }
}

/** Tells one state of the files from another. */
async function stampsOfFolders(): Promise<string> {
  const folders = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === 'file');
  const stamps = folders.map(({ uri }) =>
    stat(join(uri.fsPath, WORKSPACE_FILE)).then(
      ({ mtimeMs, size }) => `${mtimeMs} ${size}`,
      () => '',
    ),
  );
  return (await Promise.all(stamps)).join('\n');
}

function sameLabel(server: Server, wanted: WantedServer): boolean {
  const [a, b] = [server.label.trim().toLowerCase(), wanted.label.trim().toLowerCase()];
  return a === b || (a.startsWith(`${b} `) && /^ \d+$/.test(a.slice(b.length)));
}
