import type net from 'node:net';
import { UpstreamError } from '../common/errors.ts';

/** What a connection that is being opened waits for. */
export type Phase = 'connect' | 'proxy' | 'tls';

/** One try to open a connection: one limit of time for all its steps, and an end from outside. */
export class Attempt {
  readonly #timer: NodeJS.Timeout;
  #phase: Phase = 'connect';
  #socket: net.Socket | undefined;
  #error: Error | undefined;

  constructor(timeoutMs: number, timedOut: (phase: Phase) => Error) {
    this.#timer = setTimeout(() => this.stop(timedOut(this.#phase)), timeoutMs);
    this.#timer.unref();
  }

  /** Says what comes next, for the message if time runs out. */
  now(phase: Phase): void {
    this.#phase = phase;
  }

  /** The socket that is worked on from now on. Throws if the attempt is over. */
  hold(socket: net.Socket): void {
    // Whoever waits hears of an error; between two steps nobody does.
    socket.on('error', () => undefined);
    this.#socket = socket;
    if (!this.#error) return;
    socket.destroy();
    throw this.#error;
  }

  /** Gives up. */
  stop(error: Error): void {
    this.#error ??= error;
    this.#socket?.destroy(error);
  }

  /** It succeeded or failed. */
  end(): void {
    clearTimeout(this.#timer);
  }
}

/** Waits for an event of a socket. Rejects if an error, the end or the closing of the connection comes first. */
export function settled(socket: net.Socket, event: 'connect' | 'secureConnect' | 'readable'): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = (error?: Error) => {
      socket.off(event, good).off('error', over).off('close', closed).off('end', closed);
      if (error) reject(error);
      else resolve();
    };
    const good = () => over();
    const closed = () => over(socket.errored ?? new Error('the connection closed'));
    socket.on(event, good).on('error', over).on('close', closed);
    if (event === 'readable') socket.on('end', closed);
    if (socket.destroyed || (event === 'readable' && socket.readableEnded)) closed();
  });
}

/** The error for an attempt that ran out of time. `place`: the server; `proxy`: on the way to it. */
export function connectTimeout(phase: Phase, timeoutMs: number, place: string, proxy: string | undefined): UpstreamError {
  const seconds = timeoutMs / 1000;
  const what =
    phase === 'tls'
      ? `${place} did not finish setting up TLS within ${seconds} seconds. Check http: against https:, and the network.`
      : proxy === undefined
        ? `${place} did not accept a connection within ${seconds} seconds. Check the URL and the network.`
        : phase === 'proxy'
          ? `The proxy ${proxy} opened no way to ${place} within ${seconds} seconds. Check the URL and the proxy.`
          : `The proxy ${proxy} did not accept a connection within ${seconds} seconds. Check the proxy settings and the network.`;
  return new UpstreamError('CULVERT_UPSTREAM_CONNECT_TIMEOUT', 'timeout', what);
}
