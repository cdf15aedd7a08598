import { Accumulator } from '../detection/accumulator.ts';
import type { KnownSecrets } from '../detection/knownSecrets.ts';

/** Sessions whose fragments are added up; the one that was idle longest goes. */
const MAX_SESSIONS = 500;
/** As much of a text is looked at in one go, bytes: a few milliseconds. */
const SLICE_BYTES = 256 * 1024;

/** Adds up the parts of secrets that leave in one session, each too short to be stopped by itself. */
export class Fragments {
  readonly #known: KnownSecrets;
  readonly #sessions = new Map<string, Accumulator>();

  constructor(known: KnownSecrets) {
    this.#known = known;
  }

  /** Whether there is a secret to be added up among those that `only` names. */
  countsAny(only: (id: string) => boolean): boolean {
    return this.#known.some(only);
  }

  /**
   * Takes the next text that leaves in a session, for the tool (`stream`) that gets it. Gives the ids of the secrets, among those that `only`
   * names, of which the text holds a part and now too much has left.
   */
  async add(session: string, stream: string, text: Buffer, only: (id: string) => boolean): Promise<readonly string[]> {
    if (!this.countsAny(only)) return [];
    const sum = this.#sumOf(session);
    const out = new Set<string>();
    for (let at = 0; at < text.length; at += SLICE_BYTES) {
      if (at > 0) await new Promise(setImmediate);
      for (const { id } of sum.add(text.subarray(at, at + SLICE_BYTES), stream, only)) out.add(id);
    }
    return [...out];
  }

  /** Forgets what has left of a secret in a session, after the user allowed it. */
  forget(session: string, id: string): void {
    this.#sessions.get(session)?.forget(id);
  }

  #sumOf(session: string): Accumulator {
    const known = this.#sessions.get(session) ?? new Accumulator(this.#known);
    this.#sessions.delete(session);
    this.#sessions.set(session, known);
    if (this.#sessions.size > MAX_SESSIONS) for (const oldest of this.#sessions.keys()) if (this.#sessions.delete(oldest)) break;
    return known;
  }
}
