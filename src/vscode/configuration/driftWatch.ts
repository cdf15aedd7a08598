import * as vscode from 'vscode';
import { realpathSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { messageOf } from '../../common/errors.ts';
import type { Logger } from '../../common/logger.ts';
import { Snapshot, compareSnapshots, driftKey, fileOf, settle, type Drift } from '../../configuration/drift.ts';
import { placesToLook, type Location } from '../../configuration/locate.ts';
import type { SnapshotJob } from '../../configuration/snapshotJob.ts';
import { approvalLocations } from '../../configuration/autoApproval.ts';
import type { Here } from './here.ts';

/** Where it stands what is known of the configurations. */
const KNOWN = 'culvert.knownConfigurations';
/** Which drifts this user was told of. */
const TOLD = 'culvert.toldDrifts';
const MAX_TOLD = 500;
/** After the start, milliseconds: what agents wait for comes first. */
const FIRST_LOOK_MS = 2_000;
/** How long nothing changes before a look, and least time between two, milliseconds: some clients write their files all the time. */
const SETTLE_MS = 1_000;
const APART_MS = 10_000;
/** How often the files' times are looked at while the window has the focus, milliseconds: VS Code does not tell of files in folders that are new. */
const POLL_MS = 15_000;
/** How long a look may take, milliseconds. */
const LOOK_TIMEOUT_MS = 30_000;
/** Folders that are watched. */
const MAX_WATCHERS = 120;

const EMPTY: Snapshot = { version: 1, at: 0, servers: [], approvals: [], unreadable: [] };

/** Watches the configurations of all known clients and tells what leads past Culvert. Only ever reads them. */
export class DriftWatch implements vscode.Disposable {
  readonly #here: Here;
  readonly #logger: Logger;
  readonly #ignores: (path: string) => boolean;
  readonly #changed = new vscode.EventEmitter<readonly Drift[]>();
  readonly #watchers = new Map<string, vscode.Disposable>();
  readonly #subscriptions: vscode.Disposable[];
  readonly #poll: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lastLook = 0;
  #stamps = '';
  #worker: Worker | undefined;
  #open: readonly Drift[] = [];
  #last: Snapshot = EMPTY;
  /** Files that Culvert just wrote, links followed. */
  readonly #own = new Set<string>();
  #disposed = false;

  /** Fires with what is open after it changed. */
  readonly onDidChange = this.#changed.event;

  constructor(here: Here, logger: Logger, ignores: (path: string) => boolean) {
    this.#here = here;
    this.#logger = logger;
    this.#ignores = ignores;
    this.#subscriptions = [
      this.#changed,
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.#soon(SETTLE_MS)),
      vscode.window.onDidChangeWindowState(({ focused }) => {
        if (focused) this.#soon(SETTLE_MS);
      }),
    ];
    this.#poll = setInterval(() => {
      if (vscode.window.state.focused) this.#soon(0);
    }, POLL_MS);
    this.#soon(FIRST_LOOK_MS);
  }

  /** Drifts that nobody has accepted. */
  get open(): readonly Drift[] {
    return this.#open;
  }

  /** Those of {@link open} that the user was not told of yet; from now on they count as told. */
  async untold(): Promise<readonly Drift[]> {
    const { user } = this.#here.memory;
    const told = new Set(user.get<string[]>(TOLD, []));
    const fresh = this.#open.filter((drift) => !told.has(driftKey(drift)));
    if (fresh.length > 0) await user.update(TOLD, [...told, ...fresh.map(driftKey)].slice(-MAX_TOLD));
    return fresh;
  }

  /** From now on these count as known. */
  async accept(drifts: readonly Drift[]): Promise<void> {
    const keys = new Set(drifts.map(driftKey));
    await this.#settle(
      this.#last,
      this.#open.filter((drift) => !keys.has(driftKey(drift))),
    );
  }

  /** What Culvert itself wrote into these files is no news. */
  async acceptFiles(paths: readonly string[]): Promise<void> {
    for (const path of paths) this.#own.add(path);
    try {
      await this.look();
    } finally {
      for (const path of paths) this.#own.delete(path);
    }
  }

  /** Looks now, or waits for the look that is under way and looks again. */
  async look(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#looking;
    this.#looking = this.#look().finally(() => (this.#looking = undefined));
    await this.#looking;
  }

  dispose(): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#poll);
    void this.#worker?.terminate();
    for (const watcher of this.#watchers.values()) watcher.dispose();
    for (const one of this.#subscriptions) one.dispose();
  }

  #soon(ms: number): void {
    if (this.#disposed || this.#timer) return;
    const wait = Math.max(ms, this.#lastLook + APART_MS - Date.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.look().catch((error: unknown) => this.#logger.warn(`Configurations could not be looked at: ${messageOf(error)}`));
    }, wait);
  }

  async #look(): Promise<void> {
    if (this.#disposed) return;
    this.#lastLook = Date.now();
    const locations = (await this.#here.watched()).filter(({ path }) => !this.#ignores(path));
    this.#watch(locations);
    const stamps = await stampsOf(locations);
    if (stamps === this.#stamps) return;
    const snapshot = await this.#take({ locations, home: homedir(), own: this.#here.ownBridges(), at: Date.now() });
    if (!snapshot) return;
    this.#stamps = stamps;
    this.#last = snapshot;
    await this.#settle(
      snapshot,
      this.#compare(snapshot).filter((drift) => !this.#isOwn(fileOf(drift))),
    );
  }

  #isOwn(path: string): boolean {
    if (this.#own.size === 0) return false;
    try {
      return this.#own.has(path) || this.#own.has(realpathSync(path));
    } catch {
      return false;
    }
  }

  #compare(snapshot: Snapshot): Drift[] {
    return this.#halves(snapshot).flatMap(({ memory, part }) => {
      const known = Snapshot.safeParse(memory.get(KNOWN));
      // The first look at a machine or workspace: the servers that are there are known, what switches asking off is told.
      const before = known.success ? known.data : { ...EMPTY, servers: part.servers, unreadable: part.unreadable };
      return compareSnapshots(before, part);
    });
  }

  async #settle(snapshot: Snapshot, open: readonly Drift[]): Promise<void> {
    for (const { memory, part } of this.#halves(snapshot)) {
      const known = Snapshot.safeParse(memory.get(KNOWN));
      const next = settle(known.success ? known.data : EMPTY, part, open);
      // Other windows hear of what is stored; without need there is nothing to hear.
      if (!known.success || JSON.stringify({ ...known.data, at: 0 }) !== JSON.stringify({ ...next, at: 0 }))
        await memory.update(KNOWN, next);
    }
    const before = JSON.stringify(this.#open.map(driftKey));
    this.#open = open;
    if (before !== JSON.stringify(open.map(driftKey))) this.#changed.fire(open);
  }

  /** What belongs to this workspace is remembered with it, so that another one's is not taken for news. */
  #halves(snapshot: Snapshot): { readonly memory: vscode.Memento; readonly part: Snapshot }[] {
    const { folders, file: workspaceFile } = this.#here.workspace();
    const inside = (file: string) =>
      file === workspaceFile || folders.some((folder) => file.startsWith(`${folder}/`) || file.startsWith(`${folder}\\`));
    const half = (wanted: boolean): Snapshot => ({
      ...snapshot,
      servers: snapshot.servers.filter(({ file }) => inside(file) === wanted),
      approvals: snapshot.approvals.filter(({ file }) => inside(file) === wanted),
      unreadable: snapshot.unreadable.filter((file) => inside(file) === wanted),
    });
    const { user, workspace } = this.#here.memory;
    return [
      { memory: user, part: half(false) },
      ...(folders.length > 0 || workspaceFile !== undefined ? [{ memory: workspace, part: half(true) }] : []),
    ];
  }

  /** One watcher a folder, none below it: VS Code waits for folders that are not there yet. */
  #watch(locations: readonly Location[]): void {
    const from = this.#here.surroundings();
    const open = this.#here.workspace();
    const places = [...placesToLook(from, open), ...approvalLocations(from, open), ...locations].filter(({ path }) => !path.includes('*'));
    const byFolder = new Map<string, Set<string>>();
    for (const { path } of places) byFolder.set(dirname(path), (byFolder.get(dirname(path)) ?? new Set()).add(basename(path)));
    for (const [folder, names] of byFolder) {
      const glob = names.size === 1 ? [...names].join('') : `{${[...names].sort().join(',')}}`;
      const key = `${folder}\n${glob}`;
      if (this.#watchers.has(key) || this.#watchers.size >= MAX_WATCHERS || /[{}[\]*?,]/.test([...names].join(''))) continue;
      const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(vscode.Uri.file(folder), glob));
      const soon = () => this.#soon(SETTLE_MS);
      this.#watchers.set(
        key,
        vscode.Disposable.from(watcher, watcher.onDidChange(soon), watcher.onDidCreate(soon), watcher.onDidDelete(soon)),
      );
    }
  }

  /** In a thread of its own: a file of megabytes would hold up the calls of agents. */
  #take(job: SnapshotJob): Promise<Snapshot | undefined> {
    return new Promise((resolve) => {
      const worker = new Worker(this.#here.snapshotScript, { workerData: job, env: {}, execArgv: [] });
      this.#worker = worker;
      const timer = setTimeout(() => finish(undefined), LOOK_TIMEOUT_MS);
      const finish = (snapshot: Snapshot | undefined) => {
        clearTimeout(timer);
        this.#worker = undefined;
        void worker.terminate();
        resolve(snapshot);
      };
      worker.on('message', (message: { readonly snapshot?: unknown }) => {
        const parsed = Snapshot.safeParse(message.snapshot);
        finish(parsed.success ? parsed.data : undefined);
      });
      worker.on('error', (error) => {
        this.#logger.warn(`Configurations could not be looked at: ${messageOf(error)}`);
        finish(undefined);
      });
      worker.on('exit', () => finish(undefined));
    });
  }
}

async function stampsOf(locations: readonly Location[]): Promise<string> {
  const stamps = await Promise.all(
    locations.map(({ path }) =>
      stat(path).then(
        ({ mtimeMs, size, ino }) => `${path} ${mtimeMs} ${size} ${ino}`,
        () => `${path} -`,
      ),
    ),
  );
  return stamps.sort().join('\n');
}
