import * as z from 'zod';
import type { Clock } from '../common/clock.ts';
import { Emitter, type Disposable } from '../common/disposable.ts';
import { ID_PATTERN, newId } from '../common/identifiers.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import { CLOCK_SLACK_MS, MAX_WHY_CHARACTERS } from './grant.ts';
import { Lapses } from './lapses.ts';

/** Longest name of a task, characters. */
export const MAX_TASK_NAME = 100;
/** Longest time a task runs, milliseconds: a working day. */
export const MAX_TASK_MS = 12 * 60 * 60 * 1000;

/** What the user is about to do. What is granted for it ends with it. Plain data, stored with a MAC. */
export const Task = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  name: z.string().min(1).max(MAX_TASK_NAME),
  /** Ids of the servers it is about; empty: all. */
  servers: z.array(z.string()).readonly(),
  why: z.string().max(MAX_WHY_CHARACTERS).optional(),
  /** Milliseconds since the epoch. */
  startedAt: z.number().int(),
  endsAt: z.number().int(),
});
export type Task = z.infer<typeof Task>;

/** A task as it is asked for. `durationMs` is cut to {@link MAX_TASK_MS}. */
export interface NewTask {
  readonly name: string;
  readonly servers: readonly string[];
  readonly durationMs: number;
  readonly why?: string;
}

/** The tasks that run, in the database, shared by all windows; they survive a reload. */
export class Tasks implements Disposable {
  readonly #rows: SignedCollection<Task>;
  readonly #clock: Clock;
  readonly #lapses: Lapses;
  readonly #changed = new Emitter<undefined>();
  readonly #subscription: Disposable;

  /** Fires when a task was started or ended, here at once, in other windows at their next look. Not when its time is over. */
  readonly onDidChange = this.#changed.event;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock) {
    this.#rows = new SignedCollection(db, 'task', Task, key, generations);
    this.#clock = clock;
    this.#lapses = new Lapses(clock);
    this.#subscription = this.#rows.onDidChange(() => this.#changed.fire(undefined));
  }

  /** Starts a task. Throws StoreError. */
  start({ name, servers, durationMs, why }: NewTask): Task {
    const startedAt = this.#clock.now();
    const task: Task = {
      version: 1,
      id: newId('task'),
      name: name.trim().slice(0, MAX_TASK_NAME) || 'Task',
      servers: [...new Set(servers)],
      startedAt,
      endsAt: startedAt + Math.min(MAX_TASK_MS, Math.max(1_000, Math.round(durationMs))),
      ...(why === undefined ? {} : { why: why.slice(0, MAX_WHY_CHARACTERS) }),
    };
    const over = this.#all().filter((t) => !this.runs(t.id));
    this.#rows.write(
      [task],
      over.map((t) => t.id),
    );
    return task;
  }

  /** Ends a task before its time. */
  end(id: string): Task | undefined {
    const task = this.#rows.rows().get(id);
    if (task) this.#rows.write([], [id]);
    return task;
  }

  /** Whether a task runs. One that nobody knows does not. */
  runs(id: string): boolean {
    const task = this.#rows.rows().get(id);
    if (!task) return false;
    return !this.#lapses.ended(id, task.endsAt) && this.#clock.now() >= task.startedAt - CLOCK_SLACK_MS;
  }

  /** Every task that is stored, by id; those that are over included. */
  rows(): ReadonlyMap<string, Task> {
    return this.#rows.rows();
  }

  /** Tasks whose time is over and that nobody has ended yet. */
  over(): readonly Task[] {
    return this.#all().filter((t) => this.#lapses.ended(t.id, t.endsAt));
  }

  get(id: string): Task | undefined {
    return this.#rows.rows().get(id);
  }

  /** Tasks that run, the one that ends first in front. */
  running(): readonly Task[] {
    return this.#all()
      .filter((t) => this.runs(t.id))
      .sort((a, b) => a.endsAt - b.endsAt || (a.id < b.id ? -1 : 1));
  }

  /** The running task that a server belongs to; of several the one that ends first. */
  for(server: string): Task | undefined {
    return this.running().find((t) => t.servers.length === 0 || t.servers.includes(server));
  }

  refresh(): void {
    this.#rows.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#rows.tampering();
  }

  forgetTampering(): void {
    this.#rows.forgetTampering();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
  }

  #all(): readonly Task[] {
    return [...this.#rows.rows().values()];
  }
}
