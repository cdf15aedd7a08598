import * as z from 'zod';
import type { Database } from '../store/database.ts';
import type { Generations } from '../store/generations.ts';
import { SignedCollection, type MacKey, type Tampering } from '../store/signedCollection.ts';
import type { Act } from './record.ts';

const Noted = z.strictObject({ version: z.literal(1), id: z.string(), value: z.string() });
type Noted = z.infer<typeof Noted>;

/** Longest value that is kept and told, characters. */
const MAX_KEPT = 20_000;
const MAX_TOLD = 400;

/** What settings were when they were last seen, so that a change is recorded once, whoever made it and whenever. */
export class SettingsNotes {
  readonly #notes: SignedCollection<Noted>;
  readonly #act: (act: Pick<Act, 'act' | 'subject' | 'detail'>) => void;

  /** `act` puts something on the record. */
  constructor(db: Database, key: MacKey, generations: Generations, act: (act: Pick<Act, 'act' | 'subject' | 'detail'>) => void) {
    this.#notes = new SignedCollection(db, 'setting', Noted, key, generations);
    this.#act = act;
  }

  /** Takes settings as they are, and records those that differ from what they were. Settings that were never seen are only kept. */
  note(settings: readonly { readonly key: string; readonly value: unknown }[]): void {
    const known = this.#notes.rows();
    const fresh: Noted[] = [];
    for (const { key, value } of settings) {
      const text = (value === undefined ? 'null' : JSON.stringify(value)).slice(0, MAX_KEPT);
      const before = known.get(key)?.value;
      if (before === text) continue;
      fresh.push({ version: 1, id: key, value: text });
      if (before !== undefined) this.#act({ act: 'setting-changed', subject: key, detail: `${told(before)} → ${told(text)}` });
    }
    if (fresh.length > 0) this.#notes.write(fresh);
  }

  tampering(): readonly Tampering[] {
    return this.#notes.tampering();
  }

  forgetTampering(): void {
    this.#notes.forgetTampering();
  }
}

function told(text: string): string {
  return text.length <= MAX_TOLD ? text : `${text.slice(0, MAX_TOLD - 1)}…`;
}
