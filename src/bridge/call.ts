import type { HttpCall } from './httpClient.ts';
import type { Link } from './link.ts';
import { errorAnswer, rawId, type Message } from './message.ts';
import type { Cursor } from './sse.ts';

/** One message on its way, and what answers it if it is a request. */
export class Call {
  readonly message: Message;
  /** The only link it may go over, if any will not do. */
  readonly only: Link | undefined;
  http: HttpCall | undefined;
  link: Link | undefined;
  /** Weight that still counts as held back. */
  held = 0;
  cancelled = false;
  /** A request: was answered. Otherwise: was delivered, or given up. */
  done = false;
  readonly cursor: Cursor = {};
  /** The tools were listed anew for this call. */
  relisted = false;
  onSent: (() => void) | undefined;
  onDone: (() => void) | undefined;

  constructor(message: Message, only?: Link) {
    this.message = message;
    this.only = only;
  }

  /** Nothing more is to be done for it. A method, since it changes while others wait. */
  isOver(): boolean {
    return this.done || this.cancelled;
  }
}

/** An error of the bridge that answers a call. */
export function failure(call: Call, code: number, message: string): Buffer {
  return errorAnswer(rawId(call.message.bytes), { code, message });
}
