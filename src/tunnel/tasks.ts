import type { CallArguments } from '../authorization/arguments.ts';

/** Tasks that are remembered, of all agents together; the oldest go first. The client of a forgotten one is told to call the tool again. */
export const MAX_TASKS = 10_000;

/** Arguments of calls that are kept for their tasks, bytes in all; those of the oldest go first. What hangs on them is unclear then. */
export const MAX_TASK_ARGUMENT_BYTES = 16 * 1024 * 1024;

/** A task that a server began for a call. */
export interface Task {
  readonly principal: string;
  readonly server: string;
  /** The tool that was called; what happens to the task is decided as for this tool. */
  readonly tool: string;
  /** The exchange that began it. */
  readonly exchange: string;
  /** The grant that let the call through, if one did. */
  readonly grant?: string | undefined;
  /** The arguments of the call, for deciding on it again. */
  readonly arguments?: CallArguments | undefined;
}

/** Which task belongs to whom (PROTOCOL.md 1): servers tell tasks apart by id alone, and all agents share one credential. */
export class Tasks {
  readonly #byId = new Map<string, Task>();
  readonly #max: number;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(max: number = MAX_TASKS, maxBytes: number = MAX_TASK_ARGUMENT_BYTES) {
    this.#max = max;
    this.#maxBytes = maxBytes;
  }

  /** Remembers a task that a server began. An id that another principal has stays with that one. */
  add(id: string, task: Task): void {
    const key = keyOf(task.server, id);
    const old = this.#byId.get(key);
    if (old && old.principal !== task.principal) return;
    this.#remove(key);
    this.#byId.set(key, task);
    this.#bytes += task.arguments?.size ?? 0;
    const oldest = this.#byId.keys().next().value;
    if (this.#byId.size > this.#max && oldest !== undefined) this.#remove(oldest);
    if (this.#bytes > this.#maxBytes) this.#forgetArguments();
  }

  #remove(key: string): void {
    this.#bytes -= this.#byId.get(key)?.arguments?.size ?? 0;
    this.#byId.delete(key);
  }

  #forgetArguments(): void {
    for (const [key, task] of this.#byId) {
      if (this.#bytes <= this.#maxBytes) return;
      if (!task.arguments) continue;
      this.#bytes -= task.arguments.size;
      this.#byId.set(key, { ...task, arguments: undefined });
    }
  }

  /** The task, if it belongs to this principal and server. */
  find(id: string, principal: string, server: string): Task | undefined {
    const task = this.#byId.get(keyOf(server, id));
    return task?.principal === principal ? task : undefined;
  }
}

function keyOf(server: string, id: string): string {
  return `${server}\u0000${id}`;
}
