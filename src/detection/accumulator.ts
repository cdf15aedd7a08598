import type { KnownSecrets } from './knownSecrets.ts';

/** A secret of which too much has passed in parts. */
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
  told: boolean;
}

/**
 * Adds up the parts of secrets that pass in one session, each too short to be stopped by itself (down to eight letters or digits), or cut
 * between two texts. Tells once of each secret of which more than a share has passed.
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

  /** Takes the next text of a stream, such as the arguments of one tool. Gives the secrets that now have passed the threshold. */
  add(text: Buffer, stream = '', only?: (id: string) => boolean): readonly Accumulated[] {
    const carried = this.#carried.get(stream);
    const whole = carried ? Buffer.concat([carried, text]) : text;
    this.#carried.delete(stream);
    this.#carried.set(stream, Buffer.from(whole.subarray(Math.max(0, whole.length - CARRIED_BYTES))));
    if (this.#carried.size > MAX_STREAMS) for (const oldest of this.#carried.keys()) if (this.#carried.delete(oldest)) break;

    const out: Accumulated[] = [];
    for (const { id, core, coreBytes, from, to } of this.#secrets.parts(whole, only)) {
      const covered = this.#coveredOf(id, core, coreBytes);
      for (let i = from; i < to; i++) {
        if (covered.bytes[i] === 1) continue;
        covered.bytes[i] = 1;
        covered.count++;
      }
      const fraction = covered.count / coreBytes;
      if (covered.told || fraction < this.#threshold || covered.count < Math.min(MIN_COVERED_BYTES, coreBytes)) continue;
      covered.told = true;
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
    if (covered?.bytes.length !== bytes) ofId.set(core, (covered = { bytes: new Uint8Array(bytes), count: 0, told: false }));
    return covered;
  }
}
