import type { KnownSecrets } from './knownSecrets.ts';

/** A secret of which too much has passed in parts, and of which a text holds another one. */
export interface Accumulated {
  readonly id: string;
  /** Share of its bytes that passed, 0 to 1. */
  readonly fraction: number;
}

/** Share of a secret that may pass in parts before it is told, and the bytes that it must be at least. */
const DEFAULT_THRESHOLD = 0.5;
const MIN_COVERED_BYTES = 12;
/** End of a text that is read again before the next of the same stream, bytes: a secret may be cut between them. */
const CARRIED_BYTES = 256;
/** Streams of which the end is remembered; the oldest goes. */
const MAX_STREAMS = 64;

interface Covered {
  readonly bytes: Uint8Array;
  count: number;
}

/**
 * Adds up the parts of secrets that pass in one session, each too short to be stopped by itself (down to eight letters or digits), or cut
 * between two texts. Tells of a secret when more than a share of it has passed, and from then on whenever a text holds a part of it: the
 * caller that stopped the one text will see it again.
 */
export class Accumulator {
  readonly #secrets: KnownSecrets;
  readonly #threshold: number;
  /** By id, then by core. */
  readonly #covered = new Map<string, Map<number, Covered>>();
  readonly #carried = new Map<string, Buffer>();

  constructor(secrets: KnownSecrets, threshold = DEFAULT_THRESHOLD) {
    this.#secrets = secrets;
    this.#threshold = threshold;
  }

  /** Takes the next text of a stream, such as the arguments of one tool. Gives the secrets in it that have passed the threshold. */
  add(text: Buffer, stream = '', only?: (id: string) => boolean): readonly Accumulated[] {
    const carried = this.#carried.get(stream);
    const whole = carried ? Buffer.concat([carried, text]) : text;
    this.#carried.delete(stream);
    this.#carried.set(stream, Buffer.from(whole.subarray(Math.max(0, whole.length - CARRIED_BYTES))));
    if (this.#carried.size > MAX_STREAMS) for (const oldest of this.#carried.keys()) if (this.#carried.delete(oldest)) break;

    const held = new Map<string, number>();
    const covering = new Map<string, Covered>();
    for (const { id, core, coreBytes, from, to } of this.#secrets.parts(whole, only)) {
      const covered = this.#coveredOf(id, core, coreBytes);
      for (let i = from; i < to; i++) {
        if (covered.bytes[i] === 1) continue;
        covered.bytes[i] = 1;
        covered.count++;
      }
      held.set(id, (held.get(id) ?? 0) + to - from);
      const most = covering.get(id);
      if (!most || covered.count / covered.bytes.length > most.count / most.bytes.length) covering.set(id, covered);
    }
    if (held.size === 0) return [];
    // What the last text brought along was told of then.
    if (carried) for (const { id, from, to } of this.#secrets.parts(carried, only)) held.set(id, (held.get(id) ?? 0) - (to - from));
    const out: Accumulated[] = [];
    for (const [id, { bytes, count }] of covering) {
      const fraction = count / bytes.length;
      if ((held.get(id) ?? 0) > 0 && fraction >= this.#threshold && count >= Math.min(MIN_COVERED_BYTES, bytes.length))
        out.push({ id, fraction });
    }
    return out;
  }

  /** Share of the secret that has passed so far, 0 to 1. */
  fractionOf(id: string): number {
    return Math.max(0, ...[...(this.#covered.get(id)?.values() ?? [])].map(({ bytes, count }) => count / bytes.length));
  }

  /** Forgets what has passed of the secret, after the user was asked or it was replaced. */
  forget(id: string): void {
    this.#covered.delete(id);
  }

  #coveredOf(id: string, core: number, bytes: number): Covered {
    let ofId = this.#covered.get(id);
    if (!ofId) this.#covered.set(id, (ofId = new Map<number, Covered>()));
    let covered = ofId.get(core);
    // Another value under the same id is another secret.
    if (covered?.bytes.length !== bytes) ofId.set(core, (covered = { bytes: new Uint8Array(bytes), count: 0 }));
    return covered;
  }
}
