import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http';

/** Something that carries tool calls to the benchmark's server. */
export interface Carrier {
  /** Calls the tool and resolves with the number of bytes of the answer. */
  call(bytes: number): Promise<number>;
  close(): void;
}

/** Where an HTTP carrier sends its requests. */
export interface HttpRoute {
  readonly address: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  readonly path: string;
  readonly token: string;
}

const initialize = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1.0.0' } };
const toolCall = (id: number, bytes: number): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"fetch","arguments":{"bytes":${bytes}}}}`;

/** A request whose response has begun. */
export interface Begun {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
}

/** Sends a request, within a session if there is one, and resolves with the head of its response. Without an agent it has its own connection. */
export function begin(route: HttpRoute, method: 'GET' | 'POST', session?: string, body?: string, agent?: Agent): Promise<Begun> {
  return new Promise((resolve, reject) => {
    const headers = {
      host: 'localhost',
      authorization: `Bearer ${route.token}`,
      accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      ...(session !== undefined && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
    };
    const outgoing = request({ ...route.address, path: route.path, method, headers, agent: agent ?? false }, (response) =>
      resolve({ request: outgoing, response }),
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Opens a session and resolves with its id. */
export async function openSession(route: HttpRoute, agent?: Agent): Promise<string> {
  const post = async (message: object, session?: string): Promise<IncomingMessage> => {
    const { response } = await begin(route, 'POST', session, JSON.stringify({ jsonrpc: '2.0', ...message }), agent);
    const ended = once(response, 'end');
    response.resume();
    await ended;
    return response;
  };
  const { statusCode, headers } = await post({ id: 0, method: 'initialize', params: initialize });
  const session = headers['mcp-session-id'];
  if (typeof session !== 'string') throw new Error(`initialize was answered with ${statusCode ?? 0} and no session`);
  await post({ method: 'notifications/initialized' }, session);
  return session;
}

/** Opens a session over HTTP. All HTTP carriers do exactly the same work. */
export async function openHttp(route: HttpRoute): Promise<Carrier> {
  const agent = new Agent({ keepAlive: true });
  let session: string | undefined;
  let ids = 0;
  const post = (body: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = {
        host: 'localhost',
        authorization: `Bearer ${route.token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        'content-length': Buffer.byteLength(body),
        ...(session !== undefined && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
      };
      const outgoing = request({ ...route.address, path: route.path, method: 'POST', headers, agent }, (response) => {
        let bytes = 0;
        session ??= String(response.headers['mcp-session-id']);
        response.on('data', (part: Buffer) => (bytes += part.length));
        response.on('end', () =>
          (response.statusCode ?? 0) < 300 ? resolve(bytes) : reject(new Error(`answered ${response.statusCode ?? 0}`)),
        );
        response.on('error', reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  await post(JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: initialize }));
  await post(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }));
  return { call: (bytes) => post(toolCall(++ids, bytes)), close: () => agent.destroy() };
}

/** Starts the bridge and opens a session over its stdio. */
export async function openBridge(script: string, args: readonly string[]): Promise<Carrier> {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, [script, ...args], {
    env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stderr.pipe(process.stderr);
  const waiting = new Map<number, (bytes: number) => void>();
  let head = Buffer.alloc(0);
  let bytes = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      if (head.length < 64) head = Buffer.concat([head, chunk.subarray(from, Math.min(end, from + 64))]);
      const id = Number(/"id":(\d+)/.exec(head.toString('latin1'))?.[1]);
      waiting.get(id)?.(bytes + end - from);
      waiting.delete(id);
      head = Buffer.alloc(0);
      bytes = 0;
      from = end + 1;
    }
    if (head.length < 64) head = Buffer.concat([head, chunk.subarray(from, from + 64)]);
    bytes += chunk.length - from;
  });
  let ids = 0;
  const ask = (id: number, line: string): Promise<number> =>
    new Promise((resolve) => {
      waiting.set(id, resolve);
      child.stdin.write(`${line}\n`);
    });
  await ask(0, JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: initialize }));
  child.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`);
  return {
    call: (size) => {
      const id = ++ids;
      return ask(id, toolCall(id, size));
    },
    close: () => child.stdin.end(),
  };
}
