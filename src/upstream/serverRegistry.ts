import { Emitter, type Disposable } from '../common/disposable.ts';
import { Server } from '../mcp/server.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';

/** The servers that Culvert fronts, in the database, shared by all windows. */
export class ServerRegistry implements Disposable {
  readonly #collection: SignedCollection<Server>;
  readonly #changed = new Emitter<undefined>();
  readonly #subscription: Disposable;

  readonly onDidChange = this.#changed.event;

  constructor(db: Database, key: MacKey, generations: Generations) {
    this.#collection = new SignedCollection(db, 'server', Server, key, generations);
    this.#subscription = this.#collection.onDidChange(() => this.#changed.fire(undefined));
  }

  /** By label. */
  list(): Server[] {
    return [...this.#collection.rows().values()].sort((a, b) => a.label.localeCompare(b.label));
  }

  get(id: string): Server | undefined {
    return this.#collection.rows().get(id);
  }

  /** True if another server has this label; labels are compared without regard to case and surrounding space. */
  labelTaken(label: string, except?: string): boolean {
    const folded = label.trim().toLowerCase();
    return this.list().some((s) => s.id !== except && s.label.trim().toLowerCase() === folded);
  }

  put(server: Server): void {
    this.#collection.write([server]);
  }

  remove(id: string): void {
    this.#collection.write([], [id]);
  }

  refresh(): void {
    this.#collection.refresh();
  }

  tampering(): readonly Tampering[] {
    return this.#collection.tampering();
  }

  /** Forgets rows that something else changed; they count as absent already. */
  forgetTampering(): void {
    this.#collection.forgetTampering();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#changed.dispose();
  }
}
