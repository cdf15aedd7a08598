import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import { newId } from '../common/identifiers.ts';
import type { SignedCollection } from '../store/signedCollection.ts';
import { isCounted, type Grant, type Target } from './grant.ts';
import { isLongOver, isPassing, sameReach, sameTarget, supersedes } from './replacing.ts';
import type { NewTask, Task, Tasks } from './tasks.ts';
import type { StoredUses } from './uses.ts';

/** How the user wants a new server to start. */
export type StartingAccess = 'nothing' | 'reading' | 'ask' | 'everything';

/** A grant as it is asked for: everything but what the store adds. */
export type NewGrant = Omit<Grant, 'version' | 'id' | 'createdAt'>;

/** What a task may do from its start. */
export interface TaskGrant {
  readonly server: string;
  readonly target: Target;
  readonly effect: Grant['effect'];
  /** Ids of grants that ask and that it outranks while it lasts. */
  readonly answers?: readonly string[];
}

/** Giving, replacing and withdrawing: each change of grants in one write, so that no window ever sees half of it. */
export class GrantChanges implements Disposable {
  readonly #grants: SignedCollection<Grant>;
  readonly #tasks: Tasks;
  readonly #uses: StoredUses;
  readonly #clock: Clock;
  readonly #acted = new Emitter<{ readonly given: readonly Grant[]; readonly revoked: readonly Grant[] }>();
  readonly #tasked = new Emitter<{ readonly kind: 'started' | 'ended'; readonly task: Task }>();

  /** Fires when this window gave or revoked grants. */
  readonly onDidAct = this.#acted.event;

  /** Fires when this window started a task or ended one, by the user's hand or because its time was over. */
  readonly onDidActOnTask = this.#tasked.event;

  constructor(grants: SignedCollection<Grant>, tasks: Tasks, uses: StoredUses, clock: Clock) {
    this.#grants = grants;
    this.#tasks = tasks;
    this.#uses = uses;
    this.#clock = clock;
  }

  /** Gives a grant. It replaces those of the same target and scope, so that repeating an answer leaves one row. */
  give(grant: NewGrant): Grant {
    return this.#exchange([grant], (old, row) => supersedes(row, old) && sameReach(old, row))[0] as Grant;
  }

  /**
   * Sets what one tool (or the resources or prompts) of a server is from now on, everywhere: takes away every grant that names just
   * that, and gives one with the wanted effect.
   */
  set(server: string, target: Target, effect: Grant['effect'], givenBy: Grant['givenBy'], expiresAt?: number): Grant {
    const grant: NewGrant = { server, target, effect, scope: {}, givenBy, ...(expiresAt === undefined ? {} : { expiresAt }) };
    return this.#exchange([grant], (old, row) => supersedes(row, old))[0] as Grant;
  }

  /** {@link set} for several targets of a server, in one write. */
  setAll(server: string, targets: readonly Target[], effect: Grant['effect'], givenBy: Grant['givenBy']): void {
    if (targets.length === 0) return;
    const grants = targets.map((target): NewGrant => ({ server, target, effect, scope: {}, givenBy }));
    this.#exchange(grants, (old, row) => supersedes(row, old));
  }

  /**
   * Puts a changed grant in the place of one: with an id of its own, since the record tells them apart, but what was used of the one is used
   * of the other. `undefined` if that one is gone: what was withdrawn does not come back by an edit.
   */
  replace(id: string, grant: NewGrant): Grant | undefined {
    if (!this.#grants.rows().has(id)) return undefined;
    return this.#exchange([grant], (old, row) => old.id === id || (supersedes(row, old) && sameReach(old, row)), id)[0];
  }

  /** Makes the grants of a server what they were, to undo a change. Those with a number of uses stay away: nobody knows what was left. */
  restore(server: string, before: readonly Grant[]): void {
    const rows = before.filter((g) => g.server === server && !isCounted(g));
    const now = this.#of(server);
    const revoked = now.filter((g) => !rows.some((row) => row.id === g.id));
    const given = rows.filter((row) => !now.some((g) => g.id === row.id));
    this.#grants.write(
      given,
      revoked.map((g) => g.id),
    );
    this.#forgetUses(revoked);
    this.#acted.fire({ given, revoked });
  }

  /** Gives the grants with which a server starts. */
  start(server: string, access: StartingAccess, givenBy: Grant['givenBy']): void {
    const grant = (kind: 'all-tools' | 'reading-tools' | 'resources' | 'prompts' | 'completion', effect: Grant['effect']): NewGrant => ({
      server,
      target: { kind },
      effect,
      scope: {},
      givenBy,
    });
    if (access === 'nothing') {
      this.revokeServer(server);
      return;
    }
    const rest = access === 'ask' ? 'ask' : 'allow';
    this.#exchange(
      [
        access === 'reading' ? grant('reading-tools', 'allow') : grant('all-tools', access === 'everything' ? 'allow' : 'ask'),
        grant('resources', rest),
        grant('prompts', rest),
        grant('completion', 'allow'),
      ],
      (old) => old.server === server,
    );
  }

  /** Withdraws grants by id. */
  revoke(ids: readonly string[]): void {
    const revoked = this.#all().filter((g) => ids.includes(g.id));
    if (revoked.length === 0) return;
    this.#grants.write(
      [],
      revoked.map((g) => g.id),
    );
    this.#forgetUses(revoked);
    this.#acted.fire({ given: [], revoked });
  }

  /** Takes away everything that was granted for a server. */
  revokeServer(server: string): void {
    this.revoke(this.#of(server).map((g) => g.id));
  }

  /** Takes away everything whose uses are counted. */
  revokeCounted(): void {
    this.revoke(
      this.#all()
        .filter(isCounted)
        .map((g) => g.id),
    );
  }

  /** Withdraws what was granted until a window closes. Throws StoreError. */
  endWindow(window: string): void {
    this.revoke(
      this.#all()
        .filter((g) => g.endsWith?.kind === 'window' && g.endsWith.window === window)
        .map((g) => g.id),
    );
  }

  /** Starts a task with what it may do. Everything that is allowed by hand on its servers meanwhile ends with it. Throws StoreError. */
  startTask(task: NewTask, grants: readonly TaskGrant[]): Task {
    const started = this.#tasks.start(task);
    try {
      if (grants.length > 0)
        this.#exchange(
          grants.map((grant) => ({ ...grant, scope: {}, givenBy: 'task', endsWith: { kind: 'task', task: started.id } })),
          () => false,
        );
    } catch (error) {
      this.#tasks.end(started.id);
      throw error;
    }
    this.#tasked.fire({ kind: 'started', task: started });
    return started;
  }

  /** Allows more for a task that runs; it ends with it. */
  grantForTask(task: string, grants: readonly TaskGrant[]): void {
    if (!this.#tasks.runs(task)) return;
    this.#exchange(
      grants.map((grant) => ({ ...grant, scope: {}, givenBy: 'task', endsWith: { kind: 'task', task } })),
      () => false,
    );
  }

  /** Ends a task and withdraws what was granted for it. From the first of the two on nothing of it counts. Throws StoreError. */
  endTask(id: string): void {
    const ended = this.#tasks.end(id);
    this.revoke(
      this.#all()
        .filter((g) => g.endsWith?.kind === 'task' && g.endsWith.task === id)
        .map((g) => g.id),
    );
    if (ended) this.#tasked.fire({ kind: 'ended', task: ended });
  }

  dispose(): void {
    this.#acted.dispose();
    this.#tasked.dispose();
  }

  /**
   * Gives grants and withdraws those they replace, in one write: no window ever sees the one without the other. The first goes on with the
   * uses that `counted` had.
   */
  #exchange(grants: readonly NewGrant[], replaces: (old: Grant, row: Grant) => boolean, counted?: string): Grant[] {
    const now = this.#clock.now();
    const make = (grant: NewGrant): Grant => ({ version: 2, id: newId('grant'), createdAt: now, ...grant });
    const rows = grants.map((grant) => make(this.#boundToTask(grant)));
    const revoked = this.#all().filter((old) => rows.some((row) => replaces(old, row)) || isLongOver(old, now));
    // What takes the place of a lasting denial for a while leaves a question behind when it ends, not whatever a wider grant says.
    for (const row of [...rows]) {
      if (!isPassing(row) || row.effect !== 'allow') continue;
      const denied = revoked.find(
        (old) => old.effect === 'deny' && !isPassing(old) && !old.conditions && sameTarget(old.target, row.target),
      );
      if (denied) rows.push(make({ server: row.server, target: row.target, effect: 'ask', scope: denied.scope, givenBy: row.givenBy }));
    }
    // Before it can be used in any window.
    const [first] = rows;
    if (counted !== undefined && first && isCounted(first)) this.#uses.carry(counted, first.id);
    this.#grants.write(
      rows,
      revoked.map((g) => g.id),
    );
    this.#forgetUses(revoked);
    this.#acted.fire({ given: rows, revoked });
    return rows;
  }

  /** What the user allows while a task runs ends with it. */
  #boundToTask(grant: NewGrant): NewGrant {
    const byHand = grant.givenBy === 'prompt' || grant.givenBy === 'request' || grant.givenBy === 'tree' || grant.givenBy === 'palette';
    if (grant.effect !== 'allow' || grant.endsWith || !byHand) return grant;
    const task = this.#tasks.for(grant.server);
    return task ? { ...grant, endsWith: { kind: 'task', task: task.id } } : grant;
  }

  #forgetUses(revoked: readonly Grant[]): void {
    this.#uses.forget(revoked.filter(isCounted).map((g) => g.id));
  }

  #all(): readonly Grant[] {
    return [...this.#grants.rows().values()];
  }

  #of(server: string): readonly Grant[] {
    return this.#all().filter((g) => g.server === server);
  }
}
