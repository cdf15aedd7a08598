import type { Clock } from '../common/clock.ts';
import { UpstreamError } from '../common/errors.ts';
import type { Disposable } from '../common/disposable.ts';
import { Body } from './body.ts';
import type { MessageChannel } from './channel.ts';

/** A reader that takes nothing for this long is given up, so that others who share the channel go on. Milliseconds. */
export const SLOW_READER_MS = 30_000;

/** Pauses a channel while a reader of it lags, and gives up a reader that stands still. */
export class Gate implements Disposable {
  readonly #clock: Clock;
  readonly #channel: () => MessageChannel | undefined;
  readonly #held = new Map<EventStream, Disposable>();

  constructor(clock: Clock, channel: () => MessageChannel | undefined) {
    this.#clock = clock;
    this.#channel = channel;
  }

  hold(stream: EventStream): void {
    if (this.#held.has(stream)) return;
    if (this.#held.size === 0) this.#channel()?.pause();
    this.#held.set(
      stream,
      this.#clock.after(SLOW_READER_MS, () =>
        stream.fail(
          new UpstreamError(
            'CULVERT_UPSTREAM_SLOW_READER',
            'response',
            `The agent took nothing of what the server sent for ${SLOW_READER_MS / 1000} seconds.`,
          ),
        ),
      ),
    );
  }

  release(stream: EventStream): void {
    const timer = this.#held.get(stream);
    if (!timer) return;
    timer.dispose();
    this.#held.delete(stream);
    if (this.#held.size === 0) this.#channel()?.resume();
  }

  dispose(): void {
    for (const timer of this.#held.values()) timer.dispose();
    this.#held.clear();
  }
}

const HEAD = Buffer.from('event: message\ndata: ', 'utf8');
const NEXT_LINE = Buffer.from('\ndata: ', 'utf8');
const TAIL = Buffer.from('\n\n', 'utf8');

/** A message as an event without id. Its bytes stay as they are; a line break between them begins a new `data` line, as events must. */
export function messageEvent(message: Buffer): Buffer {
  if (!message.includes(0x0a) && !message.includes(0x0d)) return Buffer.concat([HEAD, message, TAIL]);
  const lines = message.toString('utf8').split(/\r\n|\n|\r/);
  return Buffer.concat([HEAD, ...lines.flatMap((line, i) => [...(i === 0 ? [] : [NEXT_LINE]), Buffer.from(line, 'utf8')]), TAIL]);
}

/** A server-sent event stream that messages are put on. A slow reader makes the gate pause the channel. */
export class EventStream {
  readonly body: Body;
  readonly #gate: Gate;
  readonly #onOver: (stream: EventStream) => void;
  #open = true;

  /** `onOver` is told once when nothing can be put on it any more. */
  constructor(gate: Gate, onOver: (stream: EventStream) => void) {
    this.#gate = gate;
    this.#onOver = onOver;
    this.body = new Body({
      pause: () => {
        if (this.#open) gate.hold(this);
      },
      resume: () => gate.release(this),
      abandon: () => this.#close(),
    });
  }

  get open(): boolean {
    return this.#open;
  }

  push(message: Buffer): void {
    if (this.#open) this.body.push(messageEvent(message));
  }

  end(): void {
    this.body.end();
    this.#close();
  }

  fail(error: Error): void {
    this.body.fail(error);
    this.#close();
  }

  #close(): void {
    if (!this.#open) return;
    this.#open = false;
    // What is not read yet is all there will be: nothing to wait for.
    this.#gate.release(this);
    this.#onOver(this);
  }
}

/** A body that is there as a whole. */
export function wholeBody(bytes: Buffer): Body {
  const body = new Body({ pause: () => undefined, resume: () => undefined, abandon: () => undefined });
  if (bytes.length > 0) body.push(bytes);
  body.end();
  return body;
}
