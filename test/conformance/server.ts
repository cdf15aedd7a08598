/* eslint-disable @typescript-eslint/no-deprecated -- the legacy era, which this server also speaks, has no other way to log, to ask and to sample. */
import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import {
  CLIENT_CAPABILITIES_META_KEY,
  completable,
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  hostHeaderValidationResponse,
  inputRequired,
  inputResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  McpServer,
  originValidationResponse,
  ResourceTemplate,
  WebStandardStreamableHTTPServerTransport,
  type CallToolResult,
  type ClientCapabilities,
  type EventStore,
  type GetPromptResult,
  type InputRequests,
  type InputRequiredResult,
  type JSONRPCMessage,
  type McpHttpHandler,
  type McpServerFactory,
  type RequestStateCodec,
  type ServerContext,
  type ServerNotifier,
} from '@modelcontextprotocol/server';
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';
import { addTasks, refuseWithoutTasks, TaskBoard, taskRefusal, TASKS_EXTENSION } from './tasks.ts';
import { serveWeb } from './webHandler.ts';

/** A running reference server. */
export interface ReferenceServer {
  readonly url: string;
  close(): Promise<void>;
}

/** A red dot. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
/** Silence. */
const WAV = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=';
const NO_ARGUMENTS = z.object({});
/** The pauses that the suite asks for between messages of one call, milliseconds. */
const STEP_MS = 50;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });

/**
 * Starts a server that has every feature the official server suites exercise, in both eras on one endpoint: the legacy era with sessions
 * and resumable streams, the modern one per request.
 */
export async function startReferenceServer(): Promise<ReferenceServer> {
  const codec = createRequestStateCodec<string>({ key: randomBytes(32) });
  const board = new TaskBoard();
  const modern: McpHttpHandler = createMcpHandler(() => build('modern', codec, board, () => modern.notify), { legacy: 'reject' });
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();

  const legacy = async (request: Request): Promise<Response> => {
    const known = request.headers.get('mcp-session-id');
    const session = known === null ? undefined : sessions.get(known);
    if (session) return session.handleRequest(request);
    if (known !== null)
      return Response.json({ jsonrpc: '2.0', error: { code: -32001, message: 'Session not found' }, id: null }, { status: 404 });
    const transport: WebStandardStreamableHTTPServerTransport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      eventStore: new MemoryEventStore(),
      retryInterval: 200,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    });
    await build('legacy', codec, board, () => modern.notify).connect(transport);
    return transport.handleRequest(request);
  };

  const http = createServer(
    serveWeb(async (request) => {
      const rejected =
        hostHeaderValidationResponse(request, localhostAllowedHostnames()) ?? originValidationResponse(request, localhostAllowedOrigins());
      if (rejected) return rejected;
      if (await isLegacyRequest(request)) return legacy(request);
      return (await refuseWithoutTasks(request)) ?? modern.fetch(request);
    }),
  );
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    close: async () => {
      await modern.close();
      await Promise.all([...sessions.values()].map((transport) => transport.close()));
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** The same server on the stdin and stdout of this process, in the era that its client begins with. */
export function serveReferenceOverStdio(): void {
  const codec = createRequestStateCodec<string>({ key: randomBytes(32) });
  const board = new TaskBoard();
  const factory: McpServerFactory = ({ era }) =>
    build(era, codec, board, (server) => ({
      toolsChanged: () => server.sendToolListChanged(),
      promptsChanged: () => server.sendPromptListChanged(),
    }));
  const lines = createInterface({ input: process.stdin });
  const accepted = new PassThrough();
  lines.on('line', (line) => {
    const refusal = taskRefusal(JSON.parse(line));
    if (refusal) process.stdout.write(`${JSON.stringify(refusal)}\n`);
    else accepted.write(`${line}\n`);
  });
  lines.once('close', () => accepted.end());
  serveStdio(factory, { transport: new StdioServerTransport(accepted, process.stdout) });
}

/** Tells clients that lists changed. */
type Announcer = Pick<ServerNotifier, 'toolsChanged' | 'promptsChanged'>;

/** One server, as it stands behind one session, one modern request or one stdio connection. */
function build(
  era: 'legacy' | 'modern',
  codec: RequestStateCodec<string>,
  board: TaskBoard,
  announcer: (server: McpServer) => Announcer,
): McpServer {
  const list = { listChanged: true };
  const server = new McpServer(
    { name: 'culvert-conformance', version: '1.0.0' },
    {
      capabilities: {
        tools: list,
        prompts: list,
        resources: { subscribe: true, ...list },
        completions: {},
        logging: {},
        ...(era === 'modern' && { extensions: { [TASKS_EXTENSION]: {} } }),
      },
      requestState: { verify: (state, context) => codec.verify(state, context) },
    },
  );
  addContentTools(server);
  addRunningTools(server);
  addResources(server, era);
  addPrompts(server);
  if (era === 'legacy') addAskingTools(server);
  else {
    addRoundTripTools(server, codec, () => announcer(server));
    addTasks(server, board);
  }
  return server;
}

function addContentTools(server: McpServer): void {
  const dot = { type: 'image', data: PNG, mimeType: 'image/png' } as const;
  server.registerTool('test_simple_text', { description: 'Plain text', inputSchema: NO_ARGUMENTS }, () =>
    text('This is a simple text response for testing.'),
  );
  server.registerTool('test_image_content', { description: 'An image', inputSchema: NO_ARGUMENTS }, () => ({ content: [dot] }));
  server.registerTool('test_audio_content', { description: 'A sound', inputSchema: NO_ARGUMENTS }, () => ({
    content: [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }],
  }));
  server.registerTool('test_embedded_resource', { description: 'A resource', inputSchema: NO_ARGUMENTS }, () => ({
    content: [
      {
        type: 'resource',
        resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' },
      },
    ],
  }));
  server.registerTool('test_multiple_content_types', { description: 'Text, image, resource', inputSchema: NO_ARGUMENTS }, () => ({
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      dot,
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: JSON.stringify({ test: 'data', value: 123 }),
        },
      },
    ],
  }));
  server.registerTool('test_error_handling', { description: 'Fails', inputSchema: NO_ARGUMENTS }, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  server.registerTool(
    'test_routed',
    { description: 'Wants its region in a header', inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) },
    ({ region }) => text(`Routed to ${region}`),
  );
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    $defs: { address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } } },
    properties: {
      name: { type: 'string' },
      address: { $ref: '#/$defs/address' },
      contactMethod: { type: 'string', enum: ['phone', 'email'] },
      phone: { type: 'string' },
      email: { type: 'string' },
    },
    allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
    if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
    then: { required: ['phone'] },
    else: { required: ['email'] },
    additionalProperties: false,
  } as const;
  server.registerTool(
    'json_schema_2020_12_tool',
    { description: 'Tool with JSON Schema 2020-12 features', inputSchema: fromJsonSchema(schema) },
    (args) => text(JSON.stringify(args)),
  );
}

function addRunningTools(server: McpServer): void {
  server.registerTool(
    'test_tool_with_logging',
    { description: 'Logs while it runs', inputSchema: NO_ARGUMENTS },
    async (_args, { mcpReq }) => {
      await mcpReq.log('info', 'Tool execution started');
      await pause(STEP_MS);
      await mcpReq.log('info', 'Tool processing data');
      await pause(STEP_MS);
      await mcpReq.log('info', 'Tool execution completed');
      return text('Logged');
    },
  );
  server.registerTool(
    'test_logging_tool',
    { description: 'Logs if the request says so', inputSchema: NO_ARGUMENTS },
    async (_args, { mcpReq }) => {
      await mcpReq.log('info', 'Only for those who asked');
      return text('Logged, maybe');
    },
  );
  server.registerTool(
    'test_tool_with_progress',
    { description: 'Reports progress', inputSchema: NO_ARGUMENTS },
    async (_args, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken;
      for (const progress of [0, 50, 100]) {
        if (progressToken !== undefined)
          await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 100 } });
        await pause(STEP_MS);
      }
      return text('Done');
    },
  );
  server.registerTool(
    'test_reconnection',
    { description: 'Closes its stream and answers on the next', inputSchema: NO_ARGUMENTS },
    async (_args, { http }) => {
      await pause(STEP_MS);
      http?.closeSSE?.();
      await pause(2 * STEP_MS);
      return text('Reconnection test completed');
    },
  );
}

function addResources(server: McpServer, era: 'legacy' | 'modern'): void {
  server.registerResource('static-text', 'test://static-text', { description: 'A text', mimeType: 'text/plain' }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }],
  }));
  server.registerResource('static-binary', 'test://static-binary', { description: 'An image', mimeType: 'image/png' }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'image/png', blob: PNG }],
  }));
  server.registerResource('watched', 'test://watched-resource', { description: 'One that changes', mimeType: 'text/plain' }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'Watched' }],
  }));
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'One for every id', mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  );
  if (era === 'modern') return;
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}

function addPrompts(server: McpServer): void {
  const say = (value: string): GetPromptResult['messages'][number] => ({ role: 'user', content: { type: 'text', text: value } });
  server.registerPrompt('test_simple_prompt', { description: 'A plain prompt' }, () => ({
    messages: [say('This is a simple prompt for testing.')],
  }));
  const word = (name: string): z.ZodString =>
    completable(z.string().describe(name), (value) => ['alpha', 'beta', 'gamma'].filter((known) => known.startsWith(value)));
  server.registerPrompt(
    'test_prompt_with_arguments',
    { description: 'One with arguments', argsSchema: z.object({ arg1: word('First test argument'), arg2: word('Second test argument') }) },
    ({ arg1, arg2 }) => ({ messages: [say(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)] }),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'One with a resource', argsSchema: z.object({ resourceUri: z.string() }) },
    ({ resourceUri }) => ({
      messages: [
        {
          role: 'user',
          content: {
            type: 'resource',
            resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' },
          },
        },
        say('Please process the embedded resource above.'),
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'One with an image' }, () => ({
    messages: [{ role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } }, say('Please analyze the image above.')],
  }));
}

/**
 * Tools that send requests of their own to the client, as only the legacy era has them. Always on the stream of the call: the session's
 * own stream may not be open yet, and what goes there then is lost.
 */
function addAskingTools(server: McpServer): void {
  type Fields = Parameters<ServerContext['mcpReq']['elicitInput']>[0] extends infer P
    ? Extract<P, { requestedSchema: unknown }>['requestedSchema']
    : never;
  const ask = async ({ mcpReq }: ServerContext, message: string, requestedSchema: Fields): Promise<CallToolResult> => {
    const { action, content } = await mcpReq.elicitInput({ message, requestedSchema }, { relatedRequestId: mcpReq.id });
    return text(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`);
  };
  server.registerTool(
    'test_sampling',
    { description: 'Asks the model', inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, { mcpReq }) => {
      const { content } = await mcpReq.requestSampling(
        { messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens: 100 },
        { relatedRequestId: mcpReq.id },
      );
      return text(`LLM response: ${JSON.stringify(content)}`);
    },
  );
  server.registerTool(
    'test_elicitation',
    { description: 'Asks the user', inputSchema: z.object({ message: z.string() }) },
    ({ message }, context) =>
      ask(context, message, {
        type: 'object',
        properties: {
          username: { type: 'string', description: "User's response" },
          email: { type: 'string', description: "User's email address" },
        },
        required: ['username', 'email'],
      }),
  );
  server.registerTool(
    'test_elicitation_sep1034_defaults',
    { description: 'Asks with defaults', inputSchema: NO_ARGUMENTS },
    (_args, context) =>
      ask(context, 'Please check the defaults', {
        type: 'object',
        properties: {
          name: { type: 'string', default: 'John Doe' },
          age: { type: 'integer', default: 30 },
          score: { type: 'number', default: 95.5 },
          status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
          verified: { type: 'boolean', default: true },
        },
      }),
  );
  const titled = (titles: readonly string[]): { const: string; title: string }[] =>
    titles.map((title, i) => ({ const: `value${i + 1}`, title }));
  server.registerTool('test_elicitation_sep1330_enums', { description: 'Asks for choices', inputSchema: NO_ARGUMENTS }, (_args, context) =>
    ask(context, 'Please choose', {
      type: 'object',
      properties: {
        untitledSingle: { type: 'string', enum: ['option1', 'option2', 'option3'] },
        titledSingle: { type: 'string', oneOf: titled(['First Option', 'Second Option', 'Third Option']) },
        legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
        untitledMulti: { type: 'array', items: { type: 'string', enum: ['option1', 'option2', 'option3'] } },
        titledMulti: { type: 'array', items: { anyOf: titled(['First Choice', 'Second Choice', 'Third Choice']) } },
      },
    }),
  );
}

/** What the client said it can do, in the envelope of a modern request. */
function clientCapabilities({ mcpReq }: ServerContext): ClientCapabilities {
  return (mcpReq.envelope as Record<string, ClientCapabilities> | undefined)?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
}

/** Tools that answer with a need for input, as the modern era has them. */
function addRoundTripTools(server: McpServer, codec: RequestStateCodec<string>, announcer: () => Announcer): void {
  const form = (message: string, properties: Record<string, { type: 'string' } | { type: 'boolean' }>): InputRequests[string] =>
    inputRequired.elicit({ message, requestedSchema: { type: 'object', properties, required: Object.keys(properties) } });
  const question = (prompt: string, maxTokens: number): InputRequests[string] =>
    inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: prompt } }], maxTokens });
  const has = ({ mcpReq }: ServerContext, ...keys: string[]): boolean =>
    keys.every((key) => inputResponse(mcpReq.inputResponses, key).kind !== 'missing');
  const tool = (
    name: string,
    description: string,
    run: (context: ServerContext) => CallToolResult | InputRequiredResult | Promise<InputRequiredResult | CallToolResult>,
  ): void => {
    server.registerTool(name, { description, inputSchema: NO_ARGUMENTS }, (_args, context) => run(context));
  };
  /** The state of the round before. A state that is not ours has been refused before this. */
  const stateOf = ({ mcpReq }: ServerContext): string | undefined => mcpReq.requestState<string>();
  const yourName = form('What is your name?', { name: { type: 'string' } });

  tool('test_input_required_result_elicitation', 'Needs a name', (context) =>
    has(context, 'user_name') ? text('Hello!') : inputRequired({ inputRequests: { user_name: yourName } }),
  );
  tool('test_input_required_result_sampling', 'Needs a model', (context) =>
    has(context, 'capital_question')
      ? text('Thank you')
      : inputRequired({ inputRequests: { capital_question: question('What is the capital of France?', 100) } }),
  );
  tool('test_input_required_result_list_roots', 'Needs the roots', (context) =>
    has(context, 'client_roots') ? text('Thank you') : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } }),
  );
  const confirmed = (answer: string) => async (context: ServerContext) => {
    if (has(context, 'confirm')) return text(answer);
    return inputRequired({
      inputRequests: { confirm: form('Please confirm', { ok: { type: 'boolean' } }) },
      requestState: await codec.mint('confirm'),
    });
  };
  tool('test_input_required_result_request_state', 'Needs its state back', confirmed('state-ok'));
  tool('test_input_required_result_tampered_state', 'Notices another state', confirmed('untampered'));
  tool('test_input_required_result_multiple_inputs', 'Needs three things', async (context) => {
    if (has(context, 'user_name', 'greeting', 'client_roots') && stateOf(context) === 'three') return text('Thank you');
    const inputRequests = { user_name: yourName, greeting: question('Generate a greeting', 50), client_roots: inputRequired.listRoots() };
    return inputRequired({ inputRequests, requestState: await codec.mint('three') });
  });
  tool('test_input_required_result_multi_round', 'Needs two rounds', async (context) => {
    const state = stateOf(context);
    if (state === 'two' && has(context, 'step2')) return text('Both steps done');
    const second = state === 'one' && has(context, 'step1');
    return inputRequired({
      inputRequests: second
        ? { step2: form('Step 2: What is your favorite color?', { color: { type: 'string' } }) }
        : { step1: form('Step 1: What is your name?', { name: { type: 'string' } }) },
      requestState: await codec.mint(second ? 'two' : 'one'),
    });
  });
  tool('test_input_required_result_capabilities', 'Needs what the client can give', (context) => {
    const can = clientCapabilities(context);
    const inputRequests: InputRequests = {
      ...(can.sampling && { ask_model: question('Say something', 50) }),
      ...(can.elicitation && { ask_user: yourName }),
    };
    return Object.keys(inputRequests).length === 0 ? text('Nothing to ask') : inputRequired({ inputRequests });
  });
  tool('test_streaming_elicitation', 'Needs a name, on a stream', (context) =>
    has(context, 'user_name') ? text('Hello!') : inputRequired({ inputRequests: { user_name: yourName } }),
  );
  // Whether the client can, the SDK checks.
  tool('test_missing_capability', 'Needs sampling', () => inputRequired({ inputRequests: { ask_model: question('Say something', 50) } }));
  tool('test_trigger_tool_change', 'Announces changed tools', () => {
    announcer().toolsChanged();
    return text('Announced');
  });
  tool('test_trigger_prompt_change', 'Announces changed prompts', () => {
    announcer().promptsChanged();
    return text('Announced');
  });
  server.registerPrompt('test_input_required_result_prompt', { description: 'A prompt that needs input' }, (context: ServerContext) => {
    if (has(context, 'user_context'))
      return { messages: [{ role: 'user', content: { type: 'text', text: 'A prompt with your context' } }] };
    return inputRequired({ inputRequests: { user_context: form('What context should the prompt use?', { context: { type: 'string' } }) } });
  });
}

/** Events of one session, for streams that are continued. */
class MemoryEventStore implements EventStore {
  readonly #events: { readonly stream: string; readonly message: JSONRPCMessage }[] = [];

  async storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    return String(this.#events.push({ stream, message }) - 1);
  }

  async getStreamIdForEventId(id: string): Promise<string | undefined> {
    return this.#events[Number(id)]?.stream;
  }

  async replayEventsAfter(id: string, { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> }): Promise<string> {
    const stream = this.#events[Number(id)]?.stream ?? '';
    for (let i = Number(id) + 1; i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event?.stream === stream && Object.keys(event.message).length > 0) await send(String(i), event.message);
    }
    return stream;
  }
}
