import { hash } from 'node:crypto';
import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { denyBy } from '../mcp/decision.ts';
import { isListing } from '../mcp/methods.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import * as z from 'zod';
import { needExpressions, type ConditionTools } from './conditions.ts';
import { decide, subject, type Call, type Facts, type Policy, type Ruling } from './decide.ts';
import { Expiries } from './expiries.ts';
import { loadExpressions, type ExpressionEngine } from './expressions.ts';
import { Grant, appliesTo, isCounted, isLive, isScoped, type Caller, type Target } from './grant.ts';
import { GrantChanges, type NewGrant, type StartingAccess, type TaskGrant } from './grantChanges.ts';
import { Lapses } from './lapses.ts';
import { isLocal, localFiles } from './localFiles.ts';
import { remembered, type Files } from './paths.ts';
import type { PolicyLayer, PolicyProblem } from './policy/layer.ts';
import { Tasks, type NewTask, type Task } from './tasks.ts';
import { StoredUses } from './uses.ts';

const PauseState = z.strictObject({ id: z.literal('pause'), version: z.literal(1), paused: z.boolean(), at: z.number().int() });

/** How often a call is decided again because another window took the last use of a grant meanwhile. */
const MAX_TAKES = 8;

/** Parts that tests and other machines replace. */
export interface AccessOptions {
  /** Files of this machine, for conditions on paths. */
  readonly files?: Files;
  readonly loadExpressions?: () => Promise<ExpressionEngine>;
}

/** Grants, tasks and the pause, in the database, shared by all windows, and the policies above them. */
export class Access implements Disposable {
  /** What the user is about to do. End one with {@link Access.endTask}. */
  readonly tasks: Tasks;
  readonly #uses: StoredUses;
  readonly #lapses: Lapses;
  readonly #files: Files;
  readonly #loadExpressions: () => Promise<ExpressionEngine>;
  #expressions: ExpressionEngine | undefined;
  #loading: Promise<void> | undefined;
  #layers: readonly PolicyLayer[] = [];
  /** Counts how often they were set. */
  #layering = 0;
  readonly #grants: SignedCollection<Grant>;
  readonly #state: SignedCollection<z.infer<typeof PauseState>>;
  readonly #clock: Clock;
  readonly #changed = new Emitter<undefined>();
  readonly #used = new Emitter<Grant>();
  readonly #changes: GrantChanges;
  readonly #expiries: Expiries;
  readonly #db: Database;
  readonly #subscriptions: Disposable[];
  #digest: { readonly parts: readonly unknown[]; readonly value: string } | undefined;
  #byServer: { readonly rows: ReadonlyMap<string, Grant>; readonly index: ReadonlyMap<string, readonly Grant[]> } | undefined;

  /** Fires when grants or the pause changed, in this window at once, in another at the next look (see {@link refresh}). */
  readonly onDidChange = this.#changed.event;

  /** Fires when a grant has come to its end. Calls that it let through run on; only new ones are concerned. */
  readonly onDidExpire;

  /** Fires when this window gave or revoked grants. */
  readonly onDidAct;

  /** Fires when this window started a task or ended one, by the user's hand or because its time was over. */
  readonly onDidActOnTask;

  /** Fires when a call of this window took a use of a grant that is limited. If it was the last, {@link onDidChange} fires too. */
  readonly onDidUse = this.#used.event;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock, options: AccessOptions = {}) {
    this.#db = db;
    this.tasks = new Tasks(db, key, generations, clock);
    this.#uses = new StoredUses(db, key, generations);
    this.#lapses = new Lapses(clock);
    this.#files = options.files ?? localFiles();
    this.#loadExpressions = options.loadExpressions ?? loadExpressions;
    this.#grants = new SignedCollection(db, 'grant', Grant, key, generations);
    this.#state = new SignedCollection(db, 'access-state', PauseState, key, generations);
    this.#clock = clock;
    this.#changes = new GrantChanges(this.#grants, this.tasks, this.#uses, clock);
    this.#expiries = new Expiries(this.#grants, this.tasks, clock);
    this.onDidExpire = this.#expiries.onDidExpire;
    this.onDidAct = this.#changes.onDidAct;
    this.onDidActOnTask = this.#changes.onDidActOnTask;
    this.#subscriptions = [this.#grants, this.#state, this.tasks].map((c) => c.onDidChange(() => this.#changed.fire(undefined)));
  }

  /** Decides a call by what is stored now. Takes no use; for views. Throws StoreError if the database can't be read; the caller denies. */
  decide(principal: Caller, call: Call): Ruling {
    return this.#decide(principal, call, this.#facts(call));
  }

  /**
   * Decides a call that goes out if it is allowed: as {@link decide}, and takes a use of a grant that is limited. What another window
   * committed before {@link arrived} was last called holds. Throws StoreError.
   */
  admit(principal: Caller, call: Call): Ruling {
    for (let take = 0; take < MAX_TAKES; take++) {
      const ruling = this.decide(principal, call);
      const { grant } = ruling;
      if (ruling.effect !== 'allow' || grant?.effect !== 'allow' || !isCounted(grant)) return ruling;
      // Clients list at every start; that is no use of anything.
      if (call.method !== undefined && isListing(call.method)) return ruling;
      const now = this.#clock.now();
      if (this.#uses.take(grant, now) !== 'free') continue;
      this.#used.fire(grant);
      if (this.#uses.usage(grant, now) === 'used-up') this.#changed.fire(undefined);
      return ruling;
    }
    return { ...denyBy('fault', `${subject(call)} was not let through: other windows took every use that is allowed.`), near: [] };
  }

  /**
   * Decides again a call that was let through and runs, or whose result is still to come: as {@link decide}, but the use that it took of
   * `grant` stays taken. Takes none itself. Throws StoreError.
   */
  recheck(principal: Caller, call: Call, grant: string | undefined): Ruling {
    const facts = this.#facts(call);
    const { usage } = facts;
    return this.#decide(principal, call, { ...facts, usage: (g, now) => (g.id === grant ? 'free' : (usage?.(g, now) ?? 'used-up')) });
  }

  /**
   * The best that any call of a tool could come to, whatever its arguments: `deny` only if every call is denied. For what is listed to
   * agents and shown in views; never lets anything through. Throws StoreError.
   */
  prospect(principal: Caller, call: Omit<Call, 'arguments'>): Ruling {
    const facts = this.#facts(call);
    const { usage } = facts;
    return this.#decide(principal, call, {
      ...facts,
      prospect: true,
      // Too fast is only for a moment.
      usage: (g, now) => (usage?.(g, now) === 'used-up' ? 'used-up' : 'free'),
    });
  }

  #decide(principal: Caller, call: Call, facts: Facts): Ruling {
    const ruling = decide(principal, call, this.forServer(call.server), this.policy(), this.#clock.now(), facts);
    // A denial that somebody removed from the database must not let a wider grant through: until the user has looked, grants only ask.
    if (ruling.effect !== 'allow' || ruling.by.kind !== 'grant' || !this.#isTampered()) return ruling;
    return {
      ...ruling,
      effect: 'ask',
      reason: 'Stored grants were changed by something other than Culvert, so every call asks until the user has reviewed that.',
    };
  }

  /** How often a grant with a limited number of uses was used. */
  used(grant: string): number {
    return this.#uses.used(grant);
  }

  /** Sets what stands above the grants. Waiting calls are decided again. */
  setLayers(layers: readonly PolicyLayer[]): void {
    this.#layers = layers;
    this.#layering++;
    this.#needExpressions(layers.some((layer) => layer.needsExpressions === true));
    this.#changed.fire(undefined);
  }

  /** What is wrong with the policies, for the editor to show. */
  problems(): readonly PolicyProblem[] {
    return this.#layers.flatMap((layer) => layer.problems);
  }

  /** SHA-256, hex, over everything that decides: grants, tasks, pause and policies in force. The same as long as none of them changes. */
  digest(): string {
    const parts = [this.#grants.rows(), this.#state.rows(), this.tasks.rows(), this.#layers];
    if (this.#digest?.parts.every((part, i) => part === parts[i]) === true) return this.#digest.value;
    const rows = [this.#grants, this.#state, this.tasks].map((c) => [...c.rows()].sort(([a], [b]) => (a < b ? -1 : 1)));
    const layers = this.#layers.map((l) => [l.name, l.shadow === true, l.digest ?? '', l.problems.length]);
    const value = hash('sha256', JSON.stringify([rows, layers]));
    this.#digest = { parts, value };
    return value;
  }

  /**
   * Everything that decides about calls to a server, as a text to compare: the same as long as its agents are listed the same. Throws
   * StoreError.
   */
  standing(server: string): string {
    const now = this.#clock.now();
    const grants = this.forServer(server).map((grant) => [
      grant,
      isLive(grant, now) && !(grant.expiresAt !== undefined && this.#lapses.ended(grant.id, grant.expiresAt)),
      isCounted(grant) && this.#uses.usage(grant, now) === 'used-up',
      grant.endsWith?.kind === 'task' && this.tasks.runs(grant.endsWith.task),
    ]);
    return JSON.stringify([grants, this.policy().paused, this.#layering, this.#isTampered(), this.#expressions !== undefined]);
  }

  /** Resolves when the engine for regular expressions is there, if any grant or policy needs it. */
  async ready(): Promise<void> {
    this.all();
    await this.#loading;
  }

  policy(): Policy {
    const state = this.#state.rows().get('pause');
    // A pause row that was tampered with counts as a pause: deny on doubt.
    return { paused: state?.paused ?? this.#state.tampering().length > 0, layers: this.#layers };
  }

  /** Grants of one server, expired ones included. */
  forServer(server: string): readonly Grant[] {
    const rows = this.#grants.rows();
    if (this.#byServer?.rows !== rows) {
      const index = new Map<string, Grant[]>();
      this.#needExpressions([...rows.values()].some((g) => g.conditions && needExpressions(g.conditions)));
      for (const grant of rows.values()) {
        const list = index.get(grant.server);
        if (list) list.push(grant);
        else index.set(grant.server, [grant]);
      }
      this.#byServer = { rows, index };
    }
    return this.#byServer.index.get(server) ?? [];
  }

  /** The grant with this id, whether or not it has ended. */
  get(id: string): Grant | undefined {
    return this.#grants.rows().get(id);
  }

  all(): readonly Grant[] {
    return [...this.#grants.rows().values()];
  }

  /** {@link GrantChanges.give} */
  give(grant: NewGrant): Grant {
    return this.#changes.give(grant);
  }

  /** {@link GrantChanges.set} */
  set(server: string, target: Target, effect: Grant['effect'], givenBy: Grant['givenBy'], expiresAt?: number): Grant {
    return this.#changes.set(server, target, effect, givenBy, expiresAt);
  }

  /** {@link GrantChanges.setAll} */
  setAll(server: string, targets: readonly Target[], effect: Grant['effect'], givenBy: Grant['givenBy']): void {
    this.#changes.setAll(server, targets, effect, givenBy);
  }

  /** {@link GrantChanges.replace} */
  replace(id: string, grant: NewGrant): Grant | undefined {
    return this.#changes.replace(id, grant);
  }

  /** {@link GrantChanges.restore} */
  restore(server: string, before: readonly Grant[]): void {
    this.#changes.restore(server, before);
  }

  /** {@link GrantChanges.start} */
  start(server: string, access: StartingAccess, givenBy: Grant['givenBy']): void {
    this.#changes.start(server, access, givenBy);
  }

  /** {@link GrantChanges.revoke} */
  revoke(ids: readonly string[]): void {
    this.#changes.revoke(ids);
  }

  /** {@link GrantChanges.revokeServer} */
  revokeServer(server: string): void {
    this.#changes.revokeServer(server);
  }

  /** {@link GrantChanges.startTask} */
  startTask(task: NewTask, grants: readonly TaskGrant[]): Task {
    return this.#changes.startTask(task, grants);
  }

  /** {@link GrantChanges.grantForTask} */
  grantForTask(task: string, grants: readonly TaskGrant[]): void {
    this.#changes.grantForTask(task, grants);
  }

  /** {@link GrantChanges.endTask} */
  endTask(id: string): void {
    this.#changes.endTask(id);
  }

  /** {@link GrantChanges.endWindow} */
  endWindow(window: string): void {
    this.#changes.endWindow(window);
  }

  setPaused(paused: boolean): void {
    this.#state.write([{ id: 'pause', version: 1, paused, at: this.#clock.now() }]);
  }

  /**
   * A request came: what other windows committed up to this instant holds for it. One turn of the event loop can bring several, and commits
   * of others between them.
   */
  arrived(): void {
    this.#db.renewVersion();
  }

  /** Notices what other windows changed, up to this turn of the event loop, and fires the event for it. Costs next to nothing if there is nothing. */
  notice(): void {
    this.#grants.refresh();
    this.#state.refresh();
    this.tasks.refresh();
  }

  /** Notices what other windows changed and what expired, and fires the events for it. */
  refresh(): void {
    this.arrived();
    this.notice();
    this.#lapses.keep(new Set(this.#grants.rows().keys()));
    this.#expiries.look();
    // Its grants count no more already; streams and questions that hang on it end with the row.
    for (const task of this.tasks.over()) this.endTask(task.id);
  }

  /** {@link Expiries.next} */
  nextExpiry(): number | undefined {
    return this.#expiries.next();
  }

  /**
   * How far what a server shows to a principal holds for others and lasts: `personal` if its grants are not the same for everybody,
   * `endsAt` when the next one that concerns the principal expires, milliseconds since the epoch.
   */
  outlook(principal: Caller, server: string): { readonly personal: boolean; readonly endsAt: number | undefined } {
    const now = this.#clock.now();
    const live = this.forServer(server).filter((grant) => isLive(grant, now));
    const ends = live.flatMap((g) => {
      if (!appliesTo(g, principal)) return [];
      const task = g.endsWith?.kind === 'task' ? this.tasks.get(g.endsWith.task)?.endsAt : undefined;
      return [g.expiresAt, task].filter((end) => end !== undefined);
    });
    return {
      personal: live.some(isScoped) || this.#layers.length > 0,
      endsAt: ends.length > 0 ? Math.min(...ends) : undefined,
    };
  }

  tampering(): readonly Tampering[] {
    return [...this.#grants.tampering(), ...this.#state.tampering(), ...this.tasks.tampering(), ...this.#uses.tampering()];
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#grants.forgetTampering();
    this.#state.forgetTampering();
    this.tasks.forgetTampering();
    if (this.#uses.tampering().length === 0) return;
    // Nobody knows what is left of them.
    this.#changes.revokeCounted();
    this.#uses.forgetTampering();
  }

  dispose(): void {
    for (const s of this.#subscriptions) s.dispose();
    this.tasks.dispose();
    this.#uses.dispose();
    this.#changed.dispose();
    this.#expiries.dispose();
    this.#changes.dispose();
    this.#used.dispose();
  }

  #facts(call: Call): Facts {
    const tools: ConditionTools = { expressions: this.#expressions, files: isLocal(call.place) ? remembered(this.#files) : undefined };
    return {
      tools,
      usage: (grant, now) => this.#uses.usage(grant, now),
      taskRuns: (task) => this.tasks.runs(task),
      taskName: (task) => this.tasks.get(task)?.name,
      ended: (grant) => grant.expiresAt !== undefined && this.#lapses.ended(grant.id, grant.expiresAt),
    };
  }

  #isTampered(): boolean {
    return this.#grants.tampering().length > 0 || this.tasks.tampering().length > 0;
  }

  #needExpressions(needed: boolean): void {
    if (!needed || this.#expressions || this.#loading) return;
    this.#loading = this.#loadExpressions().then(
      (engine) => {
        this.#expressions = engine;
        this.#changed.fire(undefined);
      },
      // Without it such conditions stay unclear, which denies and asks. The next change tries again.
      () => (this.#loading = undefined),
    );
  }
}
