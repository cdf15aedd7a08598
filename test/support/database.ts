import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Database } from '../../src/store/database.ts';
import { MacKey } from '../../src/store/signedCollection.ts';
import { temporaryFolder } from './folders.ts';

/** A database in a folder of its own, and a second connection to it such as an agent with file tools has. */
export class Bench {
  readonly folder = temporaryFolder();
  readonly path = join(this.folder.path, 'culvert.db');
  readonly key = new MacKey(randomBytes(32));
  readonly #open: Database[] = [];
  #outside: DatabaseSync | undefined;

  /** Another connection of Culvert: another window. */
  window(): Database {
    const db = Database.open(this.path);
    this.#open.push(db);
    return db;
  }

  /** The connection of somebody else. */
  get outside(): DatabaseSync {
    // Another thread that opens the database can hold the lock for a moment (SQLite: recovery of the index of the log).
    this.#outside ??= new DatabaseSync(this.path, { timeout: 5_000 });
    return this.#outside;
  }

  /** Changes the database as somebody else. What is read in one turn of the event loop is read from one state, so the turn ends. */
  async tamper(sql: string): Promise<void> {
    this.outside.exec(sql);
    await nextTurn();
  }

  close(): void {
    this.#outside?.close();
    for (const db of this.#open) db.close();
    this.folder.remove();
  }
}

/** Resolves in the next turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
