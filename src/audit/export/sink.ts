import type { StopSignal } from '../../common/stop.ts';
import type { AuditEvent } from './event.ts';

/** Where events are delivered. Adapters: otlp.ts, syslogSink.ts, webhook.ts, fileSink.ts. */
export interface Sink {
  /** Names the place where the delivery stands; as long as it stays the same, delivery goes on where it was. */
  readonly id: string;
  /** Delivers all of these or rejects, and then gets them again: what it sends may arrive more than once, under the same ids. */
  deliver(events: readonly AuditEvent[], signal: StopSignal): Promise<void>;
  close(): void;
}

/** A delivery that failed: what to tell, and whether trying again can help. */
export class SinkError extends Error {
  /** False where the receiver said that it will never take this: it is tried again all the same, but said at once. */
  readonly retriable: boolean;

  constructor(message: string, retriable: boolean, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = 'SinkError';
    this.retriable = retriable;
  }
}
