import { hostname } from 'node:os';
import { newId } from '../../common/identifiers.ts';
import type { Database } from '../../store/database.ts';

/** How long a refresh may hold its lease, milliseconds: longer than its request may take. */
export const LEASE_MS = 45_000;

/** A lease that was had. */
export interface Lease {
  /**
   * Digest of a refresh token that was sent, and whose answer nobody wrote down: whoever sent it died or heard nothing. It may be spent.
   */
  readonly unsure: string | undefined;
}

/**
 * Who may refresh a credential: one process at a time, of all windows. A row of the database that outlives a crash; what was sent when its
 * holder died stays on it, since a refresh token that is shown twice ends its family (RFC 9700, 4.14.2).
 */
export class Leases {
  readonly #db: Database;
  readonly #owner: string;
  readonly #host = hostname();

  constructor(db: Database) {
    this.#db = db;
    this.#owner = newId('own');
  }

  /** Takes the lease; `undefined` if somebody who lives has it. `now`: milliseconds since the epoch. */
  take(credential: string, now: number): Lease | undefined {
    return this.#db.transaction(() => {
      const row = this.#db.get('SELECT owner, host, pid, until, sent FROM oauth_lease WHERE credential = ?', credential);
      const until = Number(row?.['until'] ?? 0);
      // A clock that was set back must not lock anybody out.
      const held = row !== undefined && row['owner'] !== '' && until > now && until <= now + LEASE_MS;
      if (held && row['owner'] !== this.#owner && !this.#isDead(row['host'], row['pid'])) return undefined;
      this.#db.run(
        'INSERT INTO oauth_lease (credential, owner, host, pid, until, sent) VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (credential) DO UPDATE SET owner = excluded.owner, host = excluded.host, pid = excluded.pid, until = excluded.until',
        credential,
        this.#owner,
        this.#host,
        process.pid,
        now + LEASE_MS,
      );
      const sent = row?.['sent'];
      return { unsure: typeof sent === 'string' ? sent : undefined };
    });
  }

  /** Notes, before it happens, that a refresh token goes out. Durable: a crash of the machine must not forget it. */
  sending(credential: string, digest: string): void {
    this.#db.durableTransaction(() =>
      this.#db.run('UPDATE oauth_lease SET sent = ? WHERE credential = ? AND owner = ?', digest, credential, this.#owner),
    );
  }

  /** Gives the lease back. `settled`: what came of the token that was sent is known and stored. */
  release(credential: string, settled: boolean): void {
    this.#db.run(
      `UPDATE oauth_lease SET owner = '', until = 0${settled ? ', sent = NULL' : ''} WHERE credential = ? AND owner = ?`,
      credential,
      this.#owner,
    );
  }

  /** Whether somebody has it at this moment. */
  isHeld(credential: string, now: number): boolean {
    const row = this.#db.get('SELECT owner, host, pid, until FROM oauth_lease WHERE credential = ?', credential);
    return row !== undefined && row['owner'] !== '' && Number(row['until']) > now && !this.#isDead(row['host'], row['pid']);
  }

  /** Forgets all about a credential. */
  forget(credential: string): void {
    this.#db.run('DELETE FROM oauth_lease WHERE credential = ?', credential);
  }

  /** Whether a process of this machine is certainly gone. */
  #isDead(host: unknown, pid: unknown): boolean {
    if (host !== this.#host || typeof pid !== 'number' || pid === process.pid) return false;
    try {
      process.kill(pid, 0);
      return false;
    } catch (error) {
      return error instanceof Error && 'code' in error && error.code === 'ESRCH';
    }
  }
}
