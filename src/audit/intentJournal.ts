import { closeSync, openSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod';
import { codeOf } from '../common/errors.ts';
import type { Database } from '../store/database.ts';
import { entryHash, type Head } from './chain.ts';
import type { Entry } from './record.ts';

/** An entry as it stands, or will stand, in the table `audit`. */
export interface Link {
  readonly n: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly kind: Entry['kind'];
  readonly exchange: string | null;
  readonly server: string | null;
  readonly tool: string | null;
  /** JSON without a line feed. */
  readonly body: string;
  /** {@link entryHash}, over the entry before it. */
  readonly hash: string;
}

/** First line of a journal: whose it is. `since`: when the process began, milliseconds since the epoch. */
const Owner = z.strictObject({ v: z.literal(1), chain: z.string(), host: z.string(), pid: z.number().int(), since: z.number() });
type Owner = z.infer<typeof Owner>;

/** A line: number, time, exchange, server, tool, hash, body. */
const Line = z.tuple([z.coerce.number().int(), z.coerce.number().int(), z.string(), z.string(), z.string(), z.string(), z.string()]);

/** Parts of a line stand between these: none can hold one, JSON writes it as an escape. */
const PART = '\t';
/** Entries that are looked through for the end of a dead window’s chain: some 100 ms. */
const LOOK_BACK = 50_000;

/**
 * Intents on their way into the record: while what ended is gathered to be written in one go, what begins goes along, and until then stands
 * in this file beside the database, as safe from a crash of the process as there. Appending takes a fifth of the time of a transaction. The
 * entries are links of the chain already. What a window that crashed left here the next one puts into the record ({@link adoptJournals}).
 */
export class IntentJournal {
  readonly #path: string;
  readonly #owner: Owner;
  #file: number | undefined;
  /** Where the first line begins, and where the next one goes, bytes. What stands behind is of earlier and in the record already. */
  #first = 0;
  #end = 0;

  /** `database`: path of the database. The file is made when it is first needed. */
  constructor(database: string, chain: string) {
    this.#path = `${database}${MIDDLE}${chain}`;
    this.#owner = { v: 1, chain, host: hostname(), pid: process.pid, since: performance.timeOrigin };
  }

  /** Writes intents. False if that fails: none of them counts as written then. */
  append(intents: readonly Link[]): boolean {
    let text = '';
    for (const { n, at, exchange, server, tool, body, hash } of intents)
      text += `${n}${PART}${at}${PART}${exchange ?? ''}${PART}${server ?? ''}${PART}${JSON.stringify(tool)}${PART}${hash}${PART}${body}\n`;
    try {
      const file = this.#open();
      this.#end += writeAll(file, text, this.#end);
      return true;
    } catch {
      // No room, or no right to: the database says what is wrong, if it can’t be written either.
      return false;
    }
  }

  /** Notes that everything in it is in the record. */
  clear(): void {
    this.#end = this.#first;
  }

  /** Whether anything in it is not in the record yet. */
  get isEmpty(): boolean {
    return this.#end === this.#first;
  }

  /** Closes the file, and removes it unless something in it is not in the record yet: then the next window takes that in. A new one can follow. */
  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    if (!this.isEmpty) return;
    try {
      rmSync(this.#path, { force: true });
    } catch {
      // Another program looks into it (Windows). It holds nothing that is not in the record; the next window removes it.
    }
  }

  #open(): number {
    if (this.#file !== undefined) return this.#file;
    const file = openSync(this.#path, 'wx', 0o600);
    this.#first = this.#end = writeAll(file, `${JSON.stringify(this.#owner)}\n`, 0);
    return (this.#file = file);
  }
}

/** What stands between the path of the database and the chain in the path of a journal. */
const MIDDLE = '.intents-';

/** Paths of the journals beside a database. */
export function journalsOf(database: string): string[] {
  const folder = dirname(database);
  const beginning = basename(database) + MIDDLE;
  return readdirSync(folder)
    .filter((name) => name.startsWith(beginning))
    .map((name) => join(folder, name));
}

/**
 * Puts into the record what windows wrote that crashed before it got there: behind the last entry of their chain, as far as the chain holds.
 * A line that was cut off counts as not written, since its call was not forwarded. Returns the number of entries. Throws StoreError.
 */
export function adoptJournals(db: Database): number {
  let adopted = 0;
  for (const path of journalsOf(db.path)) {
    const [owner, links] = read(path);
    if (!owner || !isGone(owner)) continue;
    const count = db.transaction(() => adopt(db, owner.chain, links));
    // A chain that is not here, or too far back: it may be of a database that was set aside.
    if (count === undefined) continue;
    rmSync(path, { force: true });
    adopted += count;
  }
  return adopted;
}

/** `undefined` if the chain is not found. */
function adopt(db: Database, chain: string, links: readonly Link[]): number | undefined {
  let last = lastOf(db, chain);
  if (!last) return undefined;
  let count = 0;
  for (const { n, at, exchange, server, tool, body, hash } of links) {
    if (n !== last.n + 1 || entryHash(last.hash, chain, n, at, 'intent', exchange, body) !== hash) continue;
    db.run(INSERT, chain, n, at, 'intent', exchange, server, tool, body, hash);
    last = { n, hash };
    count++;
  }
  return count;
}

export const INSERT = 'INSERT INTO audit (chain, n, at, kind, exchange, server, tool, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)';

/** The last entry of a chain. A journal is never the beginning of one. */
function lastOf(db: Database, chain: string): Head | undefined {
  const row = db.get(
    'SELECT n, hash FROM (SELECT seq, chain, n, hash FROM audit ORDER BY seq DESC LIMIT ?) WHERE chain = ? ORDER BY seq DESC LIMIT 1',
    LOOK_BACK,
    chain,
  );
  return row && { n: Number(row['n']), hash: String(row['hash']) };
}

function read(path: string): readonly [Owner | undefined, Link[]] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // Another window has just taken it in.
    return [undefined, []];
  }
  const [head = '', ...lines] = text.split('\n');
  // What follows the last line feed was cut off.
  return [ownerIn(head), lines.slice(0, -1).flatMap((line) => rowIn(line) ?? [])];
}

function ownerIn(text: string): Owner | undefined {
  try {
    return Owner.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** `undefined` for the rest of an earlier line. */
function rowIn(line: string): Link | undefined {
  try {
    const [n, at, exchange, server, tool, hash, body] = Line.parse(line.split(PART));
    return { n, at, kind: 'intent', exchange, server, tool: z.string().nullable().parse(JSON.parse(tool)), body, hash };
  } catch {
    return undefined;
  }
}

/** Whether the window is certainly gone. Of another machine nobody here knows. */
function isGone({ host, pid, since }: Owner): boolean {
  if (host !== hostname()) return false;
  // In a container that was started anew, a process often gets the number that it had before.
  if (pid === process.pid) return since !== performance.timeOrigin;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}

/** Returns the number of bytes. */
function writeAll(file: number, text: string, at: number): number {
  const bytes = Buffer.from(text, 'utf8');
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done, at + done);
  return bytes.length;
}
