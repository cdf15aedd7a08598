import { openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';

/** Length of both copies of the header of the WAL index, bytes ("WAL-mode File Format", 2.1: sqlite.org/walformat.html). */
const HEADER_BYTES = 96;
const COPY_BYTES = 48;
const VERSION = 3_007_000;
/** Places in a copy. */
const AT_CHANGE = 8;
const AT_IS_INIT = 12;
const AT_SALT = 32;

/** Files that are held open in this process, and how many may be. */
let held = 0;
const MAX_HELD = 64;

/**
 * Tells, for a hundredth of what asking the database costs, that nobody but this connection has committed anything: from SQLite’s own
 * counter of transactions in the WAL index. It only ever says “nothing changed” or “ask”.
 *
 * Whoever owns the connection says when it has committed something ({@link committed}); every commit counts one. So the counter stands at
 * what it was plus these, or somebody else has committed too. Where the file can’t be read like this (another platform, an index in another
 * format), it always says “ask”; also until a commit of our own was once seen in it, which proves that the file is what SQLite writes to.
 *
 * The file is never closed: closing any descriptor of a file gives up all locks that the process holds on it (POSIX, close), and SQLite’s
 * would be among them.
 */
export class ChangeCounter {
  readonly #path: string;
  readonly #maxHeld: number;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #file: number | undefined;
  #tried = process.platform === 'win32' || endianness() !== 'LE';
  /** What the counter stands at if nobody else committed; `undefined` if that isn’t known. */
  #expected: number | undefined;
  #salt = 0n;
  #own = 0;
  #proven = false;

  /** `path` is that of the database. With `maxHeld` or more of such files open in this process, it always says “ask”. */
  constructor(path: string, maxHeld = MAX_HELD) {
    this.#path = `${path}-shm`;
    this.#maxHeld = maxHeld;
  }

  /** This connection committed a transaction that changed something. */
  committed(): void {
    if (this.#expected === undefined) return;
    this.#expected = (this.#expected + 1) >>> 0;
    this.#own++;
  }

  /** Reads where the counter stands. To be called before the database is asked: what is committed in between is noticed the next time. */
  mark(): void {
    this.#expected = this.#read();
    this.#own = 0;
    if (this.#expected !== undefined) this.#salt = this.#saltNow();
  }

  /** Whether nobody else has committed anything since {@link mark}, for certain. */
  isUnchanged(): boolean {
    if (this.#expected === undefined) return false;
    const now = this.#read();
    // The index was begun anew, or so was the log: rare, and the database knows.
    if (now === undefined || now !== this.#expected || this.#saltNow() !== this.#salt) return false;
    if (this.#own > 0) this.#proven = true;
    return this.#proven;
  }

  #saltNow(): bigint {
    return this.#header.readBigUInt64LE(AT_SALT);
  }

  /** The counter; `undefined` if it can’t be read for certain. */
  #read(): number | undefined {
    const file = (this.#file ??= this.#open());
    if (file === undefined) return undefined;
    const header = this.#header;
    try {
      if (readSync(file, header, 0, HEADER_BYTES, 0) !== HEADER_BYTES) return undefined;
    } catch {
      return undefined;
    }
    // While one is written, the two copies differ.
    if (header.readUInt32LE(0) !== VERSION || header[AT_IS_INIT] !== 1) return undefined;
    if (header.compare(header, COPY_BYTES, HEADER_BYTES, 0, COPY_BYTES) !== 0) return undefined;
    return header.readUInt32LE(AT_CHANGE);
  }

  #open(): number | undefined {
    if (this.#tried || held >= this.#maxHeld) return undefined;
    this.#tried = true;
    try {
      const file = openSync(this.#path, 'r');
      held++;
      return file;
    } catch {
      return undefined;
    }
  }
}
