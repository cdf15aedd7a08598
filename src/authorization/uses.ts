import { Emitter, type Disposable } from '../common/disposable.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import type { MacKey, Tampering } from '../store/signedCollection.ts';
import type { Usage } from './decide.ts';
import type { Grant } from './grant.ts';

/** Counts the uses of grants that are limited in number or rate. */
export interface UseCounter {
  /** Whether a use is left now. Takes none. */
  usage(grant: Grant, now: number): Usage;
  /** Takes one if it is left. Of all windows together no more are ever taken than the grant allows. */
  take(grant: Grant, now: number): Usage;
}

const COLLECTION = 'grant-use';

interface Count {
  readonly used: number;
  /** When uses were taken, as far as a rate needs them; milliseconds since the epoch, oldest first. */
  readonly recent: readonly number[];
}

/**
 * The counts in the database: one signed text for all grants, changed in a write transaction, so that two windows never take the same
 * use. Like the lists of {@link SignedCollection} it has a generation, so that an older copy that was put back does not count. Counts that
 * were tampered with leave no use to anybody.
 */
export class StoredUses implements UseCounter, Disposable {
  readonly #db: Database;
  readonly #key: MacKey;
  readonly #generations: Generations;
  readonly #changed = new Emitter<undefined>();
  #counts: ReadonlyMap<string, Count> | undefined = new Map();
  #seenVersion = Number.NaN;

  /** Fires when this window took a use. */
  readonly onDidChange = this.#changed.event;

  constructor(db: Database, key: MacKey, generations: Generations) {
    this.#db = db;
    this.#key = key;
    this.#generations = generations;
  }

  /** Throws StoreError. */
  usage(grant: Grant, now: number): Usage {
    const counts = this.#refresh();
    return counts ? usageOf(grant, counts.get(grant.id), now) : 'used-up';
  }

  /** Throws StoreError; nothing is taken then. */
  take(grant: Grant, now: number): Usage {
    let usage: Usage = 'used-up';
    this.#change((counts) => {
      const count = counts.get(grant.id);
      usage = usageOf(grant, count, now);
      if (usage !== 'free') return false;
      const { rate } = grant;
      const recent = rate ? [...(count?.recent ?? []), now].slice(-rate.count) : [];
      counts.set(grant.id, { used: (count?.used ?? 0) + 1, recent });
      return true;
    });
    return usage;
  }

  /** How often a grant was used, for showing. */
  used(grant: string): number {
    return this.#refresh()?.get(grant)?.used ?? 0;
  }

  /** Lets a grant go on with the count of the one that it takes the place of. */
  carry(from: string, to: string): void {
    if (this.#refresh()?.has(from) !== true) return;
    this.#change((counts) => {
      const count = counts.get(from);
      if (count) counts.set(to, count);
      return count !== undefined;
    });
  }

  /** Drops the counts of grants that are no more. */
  forget(grants: readonly string[]): void {
    const counts = this.#refresh();
    if (!counts || !grants.some((id) => counts.has(id))) return;
    this.#change((now) => grants.map((id) => now.delete(id)).includes(true));
  }

  tampering(): readonly Tampering[] {
    return this.#refresh() ? [] : [{ collection: COLLECTION, id: '*', problem: 'list changed' }];
  }

  /** Begins anew after the user looked. The caller has withdrawn the grants that were counted. */
  forgetTampering(): void {
    if (this.#refresh()) return;
    this.#db.durableTransaction(() => this.#write(new Map(), this.#generations.highest(COLLECTION) + 1));
    this.#read();
  }

  dispose(): void {
    this.#changed.dispose();
  }

  #change(work: (counts: Map<string, Count>) => boolean): void {
    const changed = this.#db.durableTransaction(() => {
      const { counts, generation } = this.#load();
      if (!counts) return false;
      const open = new Map(counts);
      const worked = work(open);
      if (worked) this.#write(open, Math.max(generation, this.#generations.highest(COLLECTION)) + 1);
      return worked;
    });
    this.#read();
    if (changed) this.#changed.fire(undefined);
  }

  #write(counts: ReadonlyMap<string, Count>, generation: number): void {
    const rows = JSON.stringify([...counts].map(([id, { used, recent }]) => [id, used, recent]));
    this.#db.run(
      'INSERT INTO manifest (collection, generation, rows, mac) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET generation = excluded.generation, rows = excluded.rows, mac = excluded.mac',
      COLLECTION,
      generation,
      rows,
      this.#key.mac('uses', String(generation), rows),
    );
  }

  #refresh(): ReadonlyMap<string, Count> | undefined {
    const version = this.#db.dataVersion();
    if (version !== this.#seenVersion) {
      this.#read();
      this.#seenVersion = version;
    }
    return this.#counts;
  }

  #read(): void {
    const { counts, generation } = this.#load();
    this.#counts = counts;
    if (counts) this.#generations.note(COLLECTION, generation);
  }

  #load(): { readonly counts: ReadonlyMap<string, Count> | undefined; readonly generation: number } {
    const row = this.#db.get('SELECT generation, rows, mac FROM manifest WHERE collection = ?', COLLECTION);
    const atLeast = this.#generations.highest(COLLECTION);
    if (!row) return { counts: atLeast === 0 ? new Map() : undefined, generation: 0 };
    const [generation, rows, mac] = [Number(row['generation']), String(row['rows']), String(row['mac'])];
    if (generation < atLeast || !this.#key.verify(mac, 'uses', String(generation), rows)) return { counts: undefined, generation };
    const list = JSON.parse(rows) as [string, number, number[]][];
    return { counts: new Map(list.map(([id, used, recent]) => [id, { used, recent }])), generation };
  }
}

/** What a count leaves of a grant at `now`. Uses that seem to lie in the future, after the clock was set back, count as recent. */
export function usageOf(grant: Grant, count: Count | undefined, now: number): Usage {
  if (!count) return 'free';
  if (grant.uses !== undefined && count.used >= grant.uses) return 'used-up';
  const { rate } = grant;
  if (rate && count.recent.filter((at) => at > now - rate.perMs).length >= rate.count) return 'too-fast';
  return 'free';
}
