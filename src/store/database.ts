import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { mkdirSync, chmodSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { StoreError, codeOf, messageOf } from '../common/errors.ts';
import { MIGRATIONS } from './migrations.ts';

/** How long a statement waits for another window's write before it fails, milliseconds. It blocks the extension host, so it is short. */
export const BUSY_TIMEOUT_MS = 400;

/** Commits after which the log is moved into the database file though more come in: some tens of megabytes. */
const WRITES_PER_CHECKPOINT = 10_000;
/** How long nothing must be written before it is moved, milliseconds. */
const QUIET_MS = 1_000;

/** Longest that PASSIVE may have taken for the log to be begun anew while others write, milliseconds: the disk is quick enough then. */
const QUICK_MS = 150;

/**
 * A thread with a connection of its own; PASSIVE waits for nobody and blocks nobody. But it never catches up with somebody who goes on
 * writing, and the log would grow without end: where it is told to `restart`, it moves the little that came meanwhile with writers shut
 * out, some milliseconds, so that the next one begins the log anew. It waits for no reader and no writer (a timeout of 0).
 */
const CHECKPOINT_THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { DatabaseSync } = require('node:sqlite');
const db = new DatabaseSync(workerData, { timeout: 1000 });
db.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA busy_timeout = 0');
const move = () => {
  const from = performance.now();
  db.exec('PRAGMA wal_checkpoint(PASSIVE)');
  return performance.now() - from;
};
parentPort.on('message', (order) => {
  try {
    move();
    // What came meanwhile is little, so this tells how long the disk takes.
    if (order !== 'restart' || move() > ${QUICK_MS}) return;
    for (let tries = 0; tries < 5; tries++) if (db.prepare('PRAGMA wal_checkpoint(RESTART)').get().busy === 0) return;
  } catch {}
});
`;

/** The state database of all windows: `node:sqlite` in WAL mode. Durable against a crash of the process, not of the machine (synchronous=NORMAL). */
export class Database {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #dataVersion: StatementSync;
  #versionNow: number | undefined;
  #versionLast: number | undefined;
  #versionReadAt = 0;
  #turn = 0;
  #turnNoted = false;
  readonly #limits: { readonly writesPerCheckpoint: number; readonly quietMs: number };
  #writes = 0;
  #thread: Worker | undefined;
  #noThread = false;
  #checkpointTimer: NodeJS.Timeout | undefined;

  private constructor(path: string, db: DatabaseSync, limits: { readonly writesPerCheckpoint: number; readonly quietMs: number }) {
    this.path = path;
    this.#limits = limits;
    this.#db = db;
    this.#dataVersion = db.prepare('PRAGMA data_version');
    this.#dataVersion.setReturnArrays(true);
  }

  /** Opens or creates the database (file mode 0600) and brings it to the current version. Throws {@link StoreError}. */
  static open(path: string, limits = { writesPerCheckpoint: WRITES_PER_CHECKPOINT, quietMs: QUIET_MS }): Database {
    let db: DatabaseSync | undefined;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
      if (process.platform !== 'win32') chmodSync(path, 0o600);
      beginLog(db);
      db.exec('PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 0;');
      const database = new Database(path, db, limits);
      database.#migrate();
      return database;
    } catch (error) {
      db?.close();
      throw asStoreError(error, path);
    }
  }

  #migrate(): void {
    const version = this.#userVersion();
    if (version > MIGRATIONS.length) {
      throw new StoreError(
        'CULVERT_STORE_NEWER',
        `${this.path} was written by a newer version of Culvert. Update the extension; nothing was changed.`,
      );
    }
    if (version === MIGRATIONS.length) return;
    this.transaction(() => {
      for (const sql of MIGRATIONS.slice(this.#userVersion())) this.#db.exec(sql);
      this.#db.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    });
  }

  #userVersion(): number {
    return Number(this.get('PRAGMA user_version')?.['user_version'] ?? 0);
  }

  /**
   * Changes whenever another connection, in this or another window, committed something. Asked once per turn of the event loop: what
   * is decided in one turn is decided by one state. `maxAgeMs` also takes an answer of a moment ago, for what no decision hangs on.
   */
  dataVersion(maxAgeMs = 0): number {
    if (this.#versionNow !== undefined) return this.#versionNow;
    if (maxAgeMs > 0 && this.#versionLast !== undefined && performance.now() - this.#versionReadAt < maxAgeMs) return this.#versionLast;
    const version = this.#readVersion();
    this.#versionNow = version;
    this.#versionLast = version;
    this.#versionReadAt = performance.now();
    this.#noteTurn();
    return version;
  }

  #readVersion(): number {
    try {
      return Number((this.#dataVersion.get() as unknown as readonly Value[] | undefined)?.[0] ?? 0);
    } catch (error) {
      throw asStoreError(error, this.path);
    }
  }

  /** Number of the turn of the event loop, for telling whether it is still the same. */
  get turn(): number {
    this.#noteTurn();
    return this.#turn;
  }

  #noteTurn(): void {
    if (this.#turnNoted) return;
    this.#turnNoted = true;
    setImmediate(() => {
      this.#turnNoted = false;
      this.#turn++;
      this.#versionNow = undefined;
    });
  }

  /**
   * Lets {@link dataVersion} ask the database again in this turn. A turn can take in what came after another window's commit, such as a
   * request: what lets calls through must not go by a look from before.
   */
  renewVersion(): void {
    this.#versionNow = undefined;
  }

  /** First row, or `undefined`. */
  get(sql: string, ...values: Value[]): Row | undefined {
    return this.#guard(() => this.#prepare(sql).get(...values));
  }

  all(sql: string, ...values: Value[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values));
  }

  /** Rows one by one; the statement is its own, so that several can be read at once. */
  *iterate(sql: string, ...values: Value[]): Generator<Row> {
    const rows = this.#guard(() => this.#db.prepare(sql).iterate(...values));
    try {
      for (;;) {
        const next = this.#guard(() => rows.next());
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      // A statement that is not read to its end would keep its view of the database open.
      rows.return?.();
    }
  }

  run(sql: string, ...values: Value[]): { readonly changes: number } {
    const { changes } = this.#guard(() => this.#prepare(sql).run(...values));
    if (!this.#db.isTransaction) this.#noteWrite();
    return { changes: Number(changes) };
  }

  /** Runs `work`, which only reads, on one state of the database: what other windows commit meanwhile is not seen. */
  snapshot<T>(work: () => T): T {
    if (this.#db.isTransaction) return work();
    this.#guard(() => this.#db.exec('BEGIN'));
    try {
      return work();
    } finally {
      this.#guard(() => this.#db.exec('COMMIT'));
    }
  }

  /** Runs `work` in one write transaction; rolls back if it throws. */
  transaction<T>(work: () => T): T {
    this.run('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.run('COMMIT');
      this.#noteWrite();
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  /** The same, and on the disk when it returns: for what is written seldom and remembered elsewhere. */
  durableTransaction<T>(work: () => T): T {
    this.#guard(() => this.#db.exec('PRAGMA synchronous = FULL'));
    try {
      return this.transaction(work);
    } finally {
      this.#guard(() => this.#db.exec('PRAGMA synchronous = NORMAL'));
    }
  }

  /**
   * Resolves when everything committed so far is on the disk: in the log, or it was moved from there, and that waits for the disk. Does not
   * hold up the thread, nor other writers. Rejects with StoreError. The database file itself is not opened: closing it again would give up
   * the locks that SQLite holds on it (POSIX, close).
   */
  async sync(): Promise<void> {
    const path = `${this.path}-wal`;
    try {
      // Windows flushes only what is opened for writing.
      const file = await open(path, 'r+');
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw asStoreError(error, path);
    }
  }

  /** The log is moved into the database file once nothing was written for a moment, or when it has grown long. */
  #noteWrite(): void {
    this.#writes++;
    if (this.#noThread || this.#checkpointTimer) return;
    let seen = this.#writes;
    this.#checkpointTimer = setInterval(() => {
      const quiet = this.#writes === seen;
      seen = this.#writes;
      if (!quiet && this.#writes < this.#limits.writesPerCheckpoint) return;
      this.#writes = 0;
      seen = 0;
      if (quiet) {
        clearInterval(this.#checkpointTimer);
        this.#checkpointTimer = undefined;
      }
      this.#checkpoint(quiet ? 'move' : 'restart');
    }, this.#limits.quietMs);
    this.#checkpointTimer.unref();
  }

  /**
   * Moves the log from another thread: that waits for the disk, which must not hold up the extension host. Where no thread can be
   * had, SQLite does it in passing.
   */
  #checkpoint(order: 'move' | 'restart'): void {
    if (!this.#thread) {
      const thread = new Worker(CHECKPOINT_THREAD, { eval: true, workerData: this.path, execArgv: [], env: {} });
      thread.unref();
      thread.on('error', () => {
        this.#noThread = true;
        this.#thread = undefined;
        if (this.#db.isOpen) this.#db.exec('PRAGMA wal_autocheckpoint = 1000');
      });
      this.#thread = thread;
    }
    this.#thread.postMessage(order);
  }

  close(): void {
    clearInterval(this.#checkpointTimer);
    void this.#thread?.terminate();
    this.#thread = undefined;
    this.#noThread = true;
    this.#statements.clear();
    if (this.#db.isOpen) this.#db.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw asStoreError(error, this.path);
    }
  }
}

/**
 * Puts a new database into WAL mode. Several windows that begin at the same moment, as all do after the extension was installed, get in each
 * other’s way, and with this SQLite does not wait for its turn: so we do, for as long as with everything else.
 */
function beginLog(db: DatabaseSync): void {
  for (const until = performance.now() + BUSY_TIMEOUT_MS; ;)
    try {
      db.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!(error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) || performance.now() > until) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
}

/** Result code of SQLite (sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;

/** What SQLite takes and gives. */
export type Value = null | number | bigint | string | Uint8Array;
export type Row = Record<string, Value>;

function asStoreError(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const number = typeof error === 'object' && error !== null && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  const cause = { cause: error };
  // Result codes: https://www.sqlite.org/rescode.html
  if (number === 5 || number === 6)
    return new StoreError('CULVERT_STORE_LOCKED', `${path} is locked by another program. Close it and try again.`, cause);
  if (number === 11 || number === 26) {
    return new StoreError(
      'CULVERT_STORE_CORRUPT',
      `${path} is damaged. Run “Culvert: Set Damaged Database Aside…” to keep it under another name and start with an empty one.`,
      cause,
    );
  }
  if (number === 13)
    return new StoreError('CULVERT_STORE_FULL', `The disk that holds ${path} is full. Free some space and try again.`, cause);
  if (number === 10)
    return new StoreError(
      'CULVERT_STORE_FAILED',
      `${path} can't be read or written: ${messageOf(error)}. Look whether its disk has room and works, then try again.`,
      cause,
    );
  if (number === 8 || number === 14 || codeOf(error) === 'EACCES' || codeOf(error) === 'EROFS' || codeOf(error) === 'EPERM') {
    return new StoreError('CULVERT_STORE_UNWRITABLE', `${path} can't be written. Give your user write access to it and its folder.`, cause);
  }
  return new StoreError('CULVERT_STORE_FAILED', `${path} can't be used: ${messageOf(error)}.`, cause);
}
