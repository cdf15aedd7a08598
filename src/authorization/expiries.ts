import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Clock } from '../common/clock.ts';
import type { SignedCollection } from '../store/signedCollection.ts';
import { isLive, type Grant } from './grant.ts';
import type { Tasks } from './tasks.ts';

/** When grants and tasks come to their end, so that others hear of it. */
export class Expiries implements Disposable {
  readonly #grants: SignedCollection<Grant>;
  readonly #tasks: Tasks;
  readonly #clock: Clock;
  readonly #expired = new Emitter<undefined>();
  #awaited: number | undefined;

  /** Fires when a grant has come to its end. Calls that it let through run on; only new ones are concerned. */
  readonly onDidExpire = this.#expired.event;

  constructor(grants: SignedCollection<Grant>, tasks: Tasks, clock: Clock) {
    this.#grants = grants;
    this.#tasks = tasks;
    this.#clock = clock;
  }

  /** The next instant at which a grant expires, milliseconds since the epoch. */
  next(): number | undefined {
    const now = this.#clock.now();
    const times = [
      ...[...this.#grants.rows().values()].flatMap((g) => (g.expiresAt !== undefined && isLive(g, now) ? [g.expiresAt] : [])),
      ...this.#tasks.running().map((t) => t.endsAt),
    ];
    return times.length > 0 ? Math.min(...times) : undefined;
  }

  /** Fires the event if the next end has passed since the last look. */
  look(): void {
    if (this.#awaited !== undefined && this.#awaited <= this.#clock.now()) this.#expired.fire(undefined);
    this.#awaited = this.next();
  }

  dispose(): void {
    this.#expired.dispose();
  }
}
