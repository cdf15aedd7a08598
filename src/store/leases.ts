import type { Database } from './database.ts';

/** Work that one window does for all, every now and then. A window that goes away in the middle gives it free when its time is over. */
export class Lease {
  readonly #db: Database;
  readonly #name: string;
  readonly #owner: string;
  readonly #ms: number;

  /** `ms` is how long the work may take, milliseconds. */
  constructor(db: Database, name: string, owner: string, ms: number) {
    this.#db = db;
    this.#name = name;
    this.#owner = owner;
    this.#ms = ms;
  }

  /** Whether it is this window’s turn: nobody else is at it, and it was not done for `everyMs`. `now` is in milliseconds since the epoch. */
  take(now: number, everyMs: number): boolean {
    return (
      this.#db.run(
        `INSERT INTO lease (name, owner, lease_until, done_at) VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
         WHERE (lease_until < ? OR lease_until > ?) AND (done_at <= ? OR done_at > ?)`,
        this.#name,
        this.#owner,
        now + this.#ms,
        now,
        // A clock that was set back must keep nothing for ever.
        now + this.#ms,
        now - everyMs,
        now,
      ).changes === 1
    );
  }

  /** Gives it back. With `now` it counts as done. */
  release(now?: number): void {
    this.#db.run(
      'UPDATE lease SET lease_until = 0, done_at = coalesce(?, done_at) WHERE name = ? AND owner = ?',
      now ?? null,
      this.#name,
      this.#owner,
    );
  }
}
