import * as z from 'zod';
import { ID_PATTERN, newId } from '../common/identifiers.ts';
import type { Clock } from '../common/clock.ts';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';

/** While there is one, nothing of the record is dropped. Plain data, stored with a MAC. */
export const Hold = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(ID_PATTERN),
  reason: z.string(),
  /** Milliseconds since the epoch. */
  at: z.number().int(),
});
export type Hold = z.infer<typeof Hold>;

/** Legal holds: they stop retention until they are released. A list that somebody changed from outside holds, too. */
export class LegalHold {
  readonly #holds: SignedCollection<Hold>;
  readonly #clock: Clock;

  constructor(db: Database, key: MacKey, generations: Generations, clock: Clock) {
    this.#holds = new SignedCollection(db, 'legal-hold', Hold, key, generations);
    this.#clock = clock;
  }

  /** Fires when {@link list} may say something else. */
  get onDidChange(): SignedCollection<Hold>['onDidChange'] {
    return this.#holds.onDidChange;
  }

  /** Notices what other windows changed. */
  refresh(): void {
    this.#holds.refresh();
  }

  isHeld(): boolean {
    return this.#holds.rows().size > 0 || this.#holds.tampering().length > 0;
  }

  list(): Hold[] {
    return [...this.#holds.rows().values()];
  }

  set(reason: string): Hold {
    const hold: Hold = { version: 1, id: newId('hold'), reason, at: this.#clock.now() };
    this.#holds.write([hold]);
    return hold;
  }

  release(id: string): void {
    this.#holds.write([], [id]);
  }

  tampering(): readonly Tampering[] {
    return this.#holds.tampering();
  }

  /** After the user reviewed what was found. */
  forgetTampering(): void {
    this.#holds.forgetTampering();
  }
}
