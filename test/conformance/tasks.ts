import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  acceptedContent,
  inputRequired,
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  type CallToolResult,
  type InputRequests,
  type McpServer,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { z } from 'zod';

/** Id of the tasks extension (SEP-2663), under which both sides declare it. */
export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks';
const ENVELOPE_CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';
/** Tools that can't do without a task. */
const TASK_ONLY = new Set(['failing_job', 'test_tool_with_task']);
/** How long tasks are kept, and how often clients shall ask, milliseconds. */
const TTL_MS = 60_000;
const POLL_INTERVAL_MS = 100;

/** What a job may do while it runs. */
interface Running {
  readonly signal: AbortSignal;
  /** Waits until the client has answered all of these; resolves with the answers. */
  readonly ask: (requests: InputRequests) => Promise<Readonly<Record<string, unknown>>>;
}

type Job = (running: Running) => Promise<CallToolResult>;

interface Task {
  readonly taskId: string;
  status: 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled';
  readonly createdAt: string;
  lastUpdatedAt: string;
  result?: CallToolResult;
  error?: { readonly code: number; readonly message: string };
  inputRequests: InputRequests;
  readonly answers: Record<string, unknown>;
  readonly stop: AbortController;
  answered: () => void;
}

/** The tasks of one server process; modern requests are served by an instance each and share it. */
export class TaskBoard {
  readonly #tasks = new Map<string, Task>();

  /** Starts a job as a task and answers with it. */
  create(job: Job): CallToolResult {
    const now = new Date().toISOString();
    const task: Task = {
      taskId: randomUUID(),
      status: 'working',
      createdAt: now,
      lastUpdatedAt: now,
      inputRequests: {},
      answers: {},
      stop: new AbortController(),
      answered: () => undefined,
    };
    this.#tasks.set(task.taskId, task);
    const settle = (status: Task['status']): void => {
      task.status = status;
      task.lastUpdatedAt = new Date().toISOString();
    };
    const ask = async (requests: InputRequests): Promise<Readonly<Record<string, unknown>>> => {
      task.inputRequests = { ...requests };
      settle('input_required');
      await new Promise<void>((resolve) => (task.answered = resolve));
      settle('working');
      return task.answers;
    };
    job({ signal: task.stop.signal, ask }).then(
      (result) => {
        if (task.status === 'cancelled') return;
        task.result = result;
        settle('completed');
      },
      (error: unknown) => {
        if (task.status === 'cancelled') return;
        task.error = { code: ProtocolErrorCode.InternalError, message: error instanceof Error ? error.message : String(error) };
        settle('failed');
      },
    );
    return { resultType: 'task', ...head(task) } as unknown as CallToolResult;
  }

  /** The task with everything that belongs to its state. */
  get(taskId: string): Record<string, unknown> {
    const { status, inputRequests, result, error, ...task } = this.#find(taskId);
    return {
      ...head({ status, ...task }),
      ...(status === 'input_required' && { inputRequests }),
      ...(result && { result }),
      ...(error && { error }),
    };
  }

  /** Takes answers; those to nothing are ignored. */
  update(taskId: string, answers: Readonly<Record<string, unknown>>): Record<string, unknown> {
    const task = this.#find(taskId);
    for (const [key, answer] of Object.entries(answers)) {
      if (!(key in task.inputRequests)) continue;
      task.answers[key] = answer;
      task.inputRequests = Object.fromEntries(Object.entries(task.inputRequests).filter(([other]) => other !== key));
    }
    if (task.status === 'input_required' && Object.keys(task.inputRequests).length === 0) task.answered();
    return {};
  }

  /** Stops a task that is not over yet. */
  cancel(taskId: string): Record<string, unknown> {
    const task = this.#find(taskId);
    if (task.status === 'working' || task.status === 'input_required') {
      task.status = 'cancelled';
      task.lastUpdatedAt = new Date().toISOString();
      task.stop.abort();
    }
    return {};
  }

  #find(taskId: string): Task {
    const task = this.#tasks.get(taskId);
    if (!task) throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'There is no such task.');
    return task;
  }
}

/** Adds the tools and methods of the tasks extension. */
export function addTasks(server: McpServer, board: TaskBoard): void {
  const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
  const confirm = (message: string): InputRequests[string] =>
    inputRequired.elicit({
      message,
      requestedSchema: { type: 'object', properties: { confirm: { type: 'boolean' } }, required: ['confirm'] },
    });
  /** As a task for a client that can, else at once. */
  const run = (context: ServerContext, job: Job): CallToolResult | Promise<CallToolResult> =>
    declares(context)
      ? board.create(job)
      : job({ signal: context.mcpReq.signal, ask: () => Promise.reject(new Error('Only a task can ask.')) });

  server.registerTool('greet', { description: 'Greets, without a task', inputSchema: z.object({ name: z.string() }) }, ({ name }) =>
    text(`Hello, ${name}!`),
  );
  server.registerTool(
    'slow_compute',
    { description: 'Takes its time', inputSchema: z.object({ seconds: z.number(), label: z.string().optional() }) },
    ({ seconds, label }, context) =>
      run(context, async ({ signal }) => {
        await sleep(seconds * 1_000, undefined, { signal, ref: false });
        return text(`Computed ${label ?? ''}`);
      }),
  );
  server.registerTool('failing_job', { description: 'Fails as a tool', inputSchema: z.object({}) }, (_args, context) =>
    run(context, async () => {
      await sleep(300);
      return { ...text('This job always fails'), isError: true };
    }),
  );
  server.registerTool('protocol_error_job', { description: 'Fails as a server', inputSchema: z.object({}) }, (_args, context) =>
    run(context, () => Promise.reject(new Error('The job broke down'))),
  );
  server.registerTool(
    'confirm_delete',
    { description: 'Asks once', inputSchema: z.object({ filename: z.string() }) },
    ({ filename }, context) =>
      run(context, async ({ ask }) => {
        await ask({ [randomUUID()]: confirm(`Delete ${filename}?`) });
        return text(`Deleted ${filename}`);
      }),
  );
  server.registerTool('multi_input', { description: 'Asks twice at once', inputSchema: z.object({}) }, (_args, context) =>
    run(context, async ({ ask }) => {
      await ask({ [randomUUID()]: confirm('First?'), [randomUUID()]: confirm('Second?') });
      return text('Both answered');
    }),
  );
  server.registerTool('test_tool_with_task', { description: 'Asks, then becomes a task', inputSchema: z.object({}) }, (_args, context) => {
    const answer = acceptedContent<{ name: string }>(context.mcpReq.inputResponses, 'user_name');
    if (answer) return run(context, async () => text(`Hello, ${answer.name}!`));
    const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] };
    return inputRequired({ inputRequests: { user_name: inputRequired.elicit({ message: 'What is your name?', requestedSchema }) } });
  });

  const demand = (context: ServerContext): void => {
    if (!declares(context)) throw missing();
  };
  const params = z.object({ taskId: z.string() });
  server.server.setRequestHandler('tasks/get', { params }, ({ taskId }, context) => {
    demand(context);
    return board.get(taskId);
  });
  server.server.setRequestHandler('tasks/cancel', { params }, ({ taskId }, context) => {
    demand(context);
    return board.cancel(taskId);
  });
  server.server.setRequestHandler(
    'tasks/update',
    { params: params.extend({ inputResponses: z.record(z.string(), z.unknown()).optional() }) },
    ({ taskId, inputResponses }, context) => {
      demand(context);
      return board.update(taskId, inputResponses ?? context.mcpReq.inputResponses ?? {});
    },
  );
}

/** The answer to a call that needs a task from a client that has no tasks; `undefined` for every other message. */
export function taskRefusal(message: unknown): object | undefined {
  type Body = { id?: unknown; method?: unknown; params?: { name?: unknown; _meta?: Record<string, { extensions?: object } | undefined> } };
  const { id, method, params } = message as Body;
  const meta = params?._meta;
  // The extension is one of the modern era.
  if (!meta || method !== 'tools/call' || typeof params.name !== 'string' || !TASK_ONLY.has(params.name)) return undefined;
  if (TASKS_EXTENSION in (meta[ENVELOPE_CAPABILITIES]?.extensions ?? {})) return undefined;
  const { code, message: text, data } = missing();
  return { jsonrpc: '2.0', id, error: { code, message: text, data } };
}

/** The same over HTTP. Ahead of the SDK, which turns what a tool throws into a result. */
export async function refuseWithoutTasks(request: Request): Promise<Response | undefined> {
  if (request.method !== 'POST') return undefined;
  const refusal = taskRefusal(await request.clone().json());
  return refusal && Response.json(refusal, { status: 400 });
}

function declares({ mcpReq }: ServerContext): boolean {
  const capabilities = (mcpReq.envelope as Record<string, { extensions?: object } | undefined> | undefined)?.[ENVELOPE_CAPABILITIES];
  return TASKS_EXTENSION in (capabilities?.extensions ?? {});
}

function missing(): MissingRequiredClientCapabilityError {
  return new MissingRequiredClientCapabilityError({ requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } });
}

function head({
  taskId,
  status,
  createdAt,
  lastUpdatedAt,
}: Pick<Task, 'taskId' | 'status' | 'createdAt' | 'lastUpdatedAt'>): Record<string, unknown> {
  return { taskId, status, createdAt, lastUpdatedAt, ttlMs: TTL_MS, pollIntervalMs: POLL_INTERVAL_MS };
}
