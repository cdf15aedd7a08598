/** Tasks that are remembered, of all agents together; the oldest go first. The client of a forgotten one is told to call the tool again. */
export const MAX_TASKS = 10_000;

/** A task that a server began for a call. */
export interface Task {
  readonly principal: string;
  readonly server: string;
  /** The tool that was called; what happens to the task is decided as for this tool. */
  readonly tool: string;
  /** The exchange that began it. */
  readonly exchange: string;
}

/** Which task belongs to whom (PROTOCOL.md 1): servers tell tasks apart by id alone, and all agents share one credential. */
export class Tasks {
  readonly #byId = new Map<string, Task>();
  readonly #max: number;

  constructor(max: number = MAX_TASKS) {
    this.#max = max;
  }

  /** Remembers a task that a server began. An id that another principal has stays with that one. */
  add(id: string, task: Task): void {
    const key = keyOf(task.server, id);
    const old = this.#byId.get(key);
    if (old && old.principal !== task.principal) return;
    this.#byId.delete(key);
    this.#byId.set(key, task);
    if (this.#byId.size <= this.#max) return;
    const oldest = this.#byId.keys().next().value;
    if (oldest !== undefined) this.#byId.delete(oldest);
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
