import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ZodType } from 'zod';
import { Emitter } from '../common/disposable.ts';
import type { Database } from './database.ts';
import { Generations } from './generations.ts';

/** Key of the MACs, 32 bytes, from SecretStorage. Deliberately opaque: it has no printable form. */
export class MacKey {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    if (bytes.length !== 32) throw new RangeError('A MAC key has 32 bytes.');
    this.#bytes = bytes;
  }

  /** HMAC-SHA-256 over the parts, each with its length in front so that no two lists of parts read alike. */
  mac(...parts: readonly string[]): string {
    const hmac = createHmac('sha256', this.#bytes);
    for (const part of parts) {
      const bytes = Buffer.from(part, 'utf8');
      const length = Buffer.alloc(8);
      length.writeBigUInt64BE(BigInt(bytes.length));
      hmac.update(length).update(bytes);
    }
    return hmac.digest('hex');
  }

  verify(mac: string, ...parts: readonly string[]): boolean {
    const expected = Buffer.from(this.mac(...parts), 'utf8');
    const given = Buffer.from(mac, 'utf8');
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  toJSON(): string {
    return '[redacted]';
  }

  toString(): string {
    return '[redacted]';
  }
}

/** A row that counts as absent, and why. */
export interface Tampering {
  readonly collection: string;
  readonly id: string;
  readonly problem: 'row changed' | 'row added from outside' | 'row removed from outside' | 'list changed' | 'not readable';
}

/**
 * Rows of plain data under a MAC. Each row is signed, and the list of all rows is signed too, so that a row that was edited, forged,
 * copied, brought back or removed by anything but Culvert counts as absent and is reported (DESIGN.md 3.5).
 */
export class SignedCollection<T extends { readonly id: string }> {
  readonly name: string;
  readonly #db: Database;
  readonly #schema: ZodType<T>;
  readonly #key: MacKey;
  readonly #generations: Generations;
  readonly #changed = new Emitter<undefined>();
  /** Keeps its identity as long as nothing in it changes. */
  #rows: ReadonlyMap<string, T> = new Map();
  /** Rows as they were read and found good, so that they need not be verified again: other windows write often, and seldom here. */
  #verified: ReadonlyMap<string, { readonly body: string; readonly mac: string; readonly row: T }> = new Map();
  #tampering: readonly Tampering[] = [];
  #seenVersion = Number.NaN;
  #seenList: string | undefined;

  /** Fires after rows changed, in this window or (noticed at the next read) in another. */
  readonly onDidChange = this.#changed.event;

  /** `generations` tells an older copy of the list that was put back from the newest one. */
  constructor(db: Database, name: string, schema: ZodType<T>, key: MacKey, generations = new Generations()) {
    this.#db = db;
    this.name = name;
    this.#schema = schema;
    this.#key = key;
    this.#generations = generations;
  }

  /** The rows that hold, by id. Reads the database only if another window changed it. Throws StoreError. */
  rows(maxAgeMs = 0): ReadonlyMap<string, T> {
    this.refresh(maxAgeMs);
    return this.#rows;
  }

  /** What was found wrong when the rows were last read. */
  tampering(): readonly Tampering[] {
    this.refresh();
    return this.#tampering;
  }

  /** Reads again if another connection wrote. Returns whether rows differ from before. */
  refresh(maxAgeMs = 0): boolean {
    const version = this.#db.dataVersion(maxAgeMs);
    if (version === this.#seenVersion) return false;
    const changed = this.#load();
    this.#seenVersion = version;
    if (changed) this.#changed.fire(undefined);
    return changed;
  }

  /** Adds or replaces rows and removes others, in one transaction. */
  write(put: readonly T[], remove: readonly string[] = []): void {
    // Durable against a power failure too: the keyring remembers the generation, so the database must not fall behind it.
    this.#db.durableTransaction(() => {
      const { listed, generation } = this.#readManifest();
      for (const row of put) {
        const body = JSON.stringify(this.#schema.parse(row));
        const mac = this.#key.mac('row', this.name, row.id, body);
        this.#db.run(
          'INSERT INTO signed_row (collection, id, body, mac) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body, mac = excluded.mac',
          this.name,
          row.id,
          body,
          mac,
        );
        listed.set(row.id, mac);
      }
      for (const id of remove) {
        this.#db.run('DELETE FROM signed_row WHERE collection = ? AND id = ?', this.name, id);
        listed.delete(id);
      }
      const rows = JSON.stringify([...listed].sort(([a], [b]) => (a < b ? -1 : 1)));
      const next = Math.max(generation, this.#generations.highest(this.name)) + 1;
      this.#db.run(
        'INSERT INTO manifest (collection, generation, rows, mac) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET generation = excluded.generation, rows = excluded.rows, mac = excluded.mac',
        this.name,
        next,
        rows,
        this.#key.mac('manifest', this.name, String(next), rows),
      );
    });
    this.#load();
    this.#seenVersion = this.#db.dataVersion();
    this.#changed.fire(undefined);
  }

  /** Removes every row that counts as absent and signs the rest anew. Only after the user looked at what was found. */
  forgetTampering(): void {
    if (this.tampering().length === 0) return;
    const kept = [...this.#rows.values()];
    this.#db.durableTransaction(() => {
      this.#db.run('DELETE FROM signed_row WHERE collection = ?', this.name);
      this.#db.run('DELETE FROM manifest WHERE collection = ?', this.name);
    });
    // Between the two nothing counts, which is the safe side.
    this.write(kept);
  }

  #readManifest(): { listed: Map<string, string>; generation: number; sound: boolean; raw: string } {
    const row = this.#db.get('SELECT generation, rows, mac FROM manifest WHERE collection = ?', this.name);
    const atLeast = this.#generations.highest(this.name);
    if (!row) return { listed: new Map(), generation: 0, sound: atLeast === 0, raw: '' };
    const [generation, rows, mac] = [Number(row['generation']), String(row['rows']), String(row['mac'])];
    if (generation < atLeast || !this.#key.verify(mac, 'manifest', this.name, String(generation), rows))
      return { listed: new Map(), generation: atLeast, sound: false, raw: rows };
    this.#generations.note(this.name, generation);
    return { listed: new Map(JSON.parse(rows) as [string, string][]), generation, sound: true, raw: `${generation} ${rows}` };
  }

  #load(): boolean {
    // Of one state: a row that another window changed between the two would look forged.
    const [manifest, stored] = this.#db.snapshot(() => [
      this.#readManifest(),
      this.#db.all('SELECT id, body, mac FROM signed_row WHERE collection = ?', this.name),
    ]);
    const tampering: Tampering[] = [];
    const report = (id: string, problem: Tampering['problem']) => tampering.push({ collection: this.name, id, problem });
    if (!manifest.sound) report('*', 'list changed');
    const rows = new Map<string, T>();
    const verified = new Map<string, { readonly body: string; readonly mac: string; readonly row: T }>();
    for (const row of stored) {
      const [id, body, mac] = [String(row['id']), String(row['body']), String(row['mac'])];
      const listedMac = manifest.listed.get(id);
      manifest.listed.delete(id);
      const before = this.#verified.get(id);
      if (listedMac === undefined) report(id, 'row added from outside');
      else if (listedMac !== mac) report(id, 'row changed');
      else if (before?.mac === mac && before.body === body) {
        rows.set(id, before.row);
        verified.set(id, before);
      } else if (!this.#key.verify(mac, 'row', this.name, id, body)) report(id, 'row changed');
      else {
        const parsed = this.#schema.safeParse(JSON.parse(body));
        if (parsed.success && parsed.data.id === id) {
          rows.set(id, parsed.data);
          verified.set(id, { body, mac, row: parsed.data });
        } else report(id, 'not readable');
      }
    }
    for (const id of manifest.listed.keys()) report(id, 'row removed from outside');
    const list = JSON.stringify([manifest.raw, tampering]);
    const changed = list !== this.#seenList;
    if (!changed) return false;
    this.#seenList = list;
    this.#rows = rows;
    this.#verified = verified;
    this.#tampering = tampering;
    return true;
  }
}
