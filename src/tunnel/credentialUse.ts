import { Emitter, type Disposable } from '../common/disposable.ts';
import { messageOf } from '../common/errors.ts';
import type { Logger } from '../common/logger.ts';

/** Use of credentials at this moment. */
export interface InUse {
  readonly calls: number;
  /** Name of a credential that is on the wire, if any. */
  readonly credential: string | undefined;
}

/** Counts the calls that have a credential on the wire. */
export class CredentialUse implements Disposable {
  readonly #changed: Emitter<InUse>;
  #calls = 0;
  #credential: string | undefined;

  /** Fires when a call with a credential begins or ends. */
  readonly onDidChange;

  constructor(logger: Logger) {
    this.#changed = new Emitter<InUse>((error) => logger.error(messageOf(error)));
    this.onDidChange = this.#changed.event;
  }

  /** A call began (1) or ended (-1); `name` is that of its credential. */
  note(change: 1 | -1, name: string): void {
    this.#calls += change;
    this.#credential = this.#calls > 0 ? (name === '' ? this.#credential : name) : undefined;
    this.#changed.fire({ calls: this.#calls, credential: this.#credential });
  }

  dispose(): void {
    this.#changed.dispose();
  }
}
