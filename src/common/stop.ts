/** The part of AbortSignal that the core uses; every AbortSignal is one. */
export interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * What an AbortController is for, without the event machinery of one: two of them are made for every call, and with AbortController
 * they were a tenth of what a call costs.
 */
export class Stop {
  readonly signal: StopSignal;
  #aborted = false;
  #listeners: (() => void)[] | undefined;

  constructor() {
    const aborted = () => this.#aborted;
    this.signal = {
      get aborted() {
        return aborted();
      },
      addEventListener: (_type, listener) => {
        if (!this.#aborted) (this.#listeners ??= []).push(listener);
      },
      removeEventListener: (_type, listener) => {
        const at = this.#listeners?.indexOf(listener) ?? -1;
        if (at >= 0) this.#listeners?.splice(at, 1);
      },
    };
  }

  /** Calls every listener once; later calls do nothing. */
  abort(): void {
    if (this.#aborted) return;
    this.#aborted = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }
}
