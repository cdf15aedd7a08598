/** Parts below this many bytes share memory while they wait: bytes that come one by one would cost a hundred times their number. */
const SMALL_BYTES = 1024;
const SHARED_BYTES = 4096;

/** Bytes that arrive in parts, until they are wanted in one piece. What it holds in memory stays near what was added. */
export class Gathering {
  #parts: Buffer[] = [];
  #bytes = 0;
  /** What small parts share, and how much of it is taken; it stands behind {@link #parts}. */
  #shared: Buffer | undefined;
  #taken = 0;

  /** How many bytes wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a part. It must not change any more. */
  add(part: Buffer): void {
    const { length } = part;
    if (length === 0) return;
    const alone = this.#bytes === 0;
    this.#bytes += length;
    if (alone) {
      // Most often it stays alone.
      this.#parts.push(part);
      return;
    }
    if (length >= SMALL_BYTES) {
      this.#closeShared();
      // A short view would keep all of the memory that it looks into.
      this.#parts.push(length * 4 < part.buffer.byteLength ? Buffer.from(part) : part);
      return;
    }
    if (this.#taken + length > SHARED_BYTES) this.#closeShared();
    this.#shared ??= Buffer.allocUnsafeSlow(SHARED_BYTES);
    part.copy(this.#shared, this.#taken);
    this.#taken += length;
  }

  /** Everything in one piece, with `tail` behind it; nothing waits afterwards. A part that is alone is given as it is. */
  take(tail?: Buffer): Buffer {
    if (this.#bytes === 0 && tail) return tail;
    this.#closeShared();
    const parts = this.#parts;
    if (tail && tail.length > 0) parts.push(tail);
    const [first] = parts;
    const whole = parts.length === 1 && first ? first : Buffer.concat(parts);
    this.clear();
    return whole;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#parts = [];
    this.#shared = undefined;
    this.#taken = 0;
    this.#bytes = 0;
  }

  #closeShared(): void {
    if (this.#shared) this.#parts.push(this.#shared.subarray(0, this.#taken));
    this.#shared = undefined;
    this.#taken = 0;
  }
}
