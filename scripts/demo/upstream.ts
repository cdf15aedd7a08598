/**
 * The demo: a real MCP server, `@modelcontextprotocol/server-everything` over Streamable HTTP, behind a gate that wants a bearer token. For
 * `npm start`, and for tests: the gate remembers every request that reached it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const START_TIMEOUT_MS = 20_000;
const POLL_MS = 50;
/** The path of the MCP endpoint on gate and server alike. */
const ENDPOINT = '/mcp';

/**
 * The tool of server-everything whose result holds the credential: it prints its environment, and `DEMO_UPSTREAM_TOKEN` is in it. The result
 * is one text part, indented JSON with all variables.
 */
export const LEAKING_TOOL = 'get-env';

/** A request that reached the gate. */
export interface GateRequest {
  /** When it arrived, in milliseconds since 1970. */
  readonly time: number;
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  /** The `Authorization` header as it came. */
  readonly authorization: string | undefined;
  /** Whether the token was the right one; if not, the request was answered with 401 and went no further. */
  readonly authorized: boolean;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body as text, '' if there was none. */
  readonly body: string;
}

/** A running demo. */
export interface DemoUpstream {
  /** Where the MCP endpoint is: `http://127.0.0.1:<port>/mcp`. */
  readonly url: string;
  /** The bearer token that the gate wants, made up at the start. */
  readonly token: string;
  /** Everything that reached the gate, oldest first. */
  readonly requests: readonly GateRequest[];
  /** The requests that called a tool (of this name, if one is given). */
  toolCalls(name?: string): GateRequest[];
  /**
   * Where another process can ask for token and requests (`{token, requests}` as JSON): the gate's port and a path nobody can guess. Not
   * recorded.
   */
  readonly controlUrl: string;
  /** Makes the gate answer 401 (and record the request) whatever the token, or stops doing so. */
  refuse(on: boolean): void;
  close(): Promise<void>;
}

/** Starts server and gate on free loopback ports, and waits until they answer. */
export async function startDemoUpstream(): Promise<DemoUpstream> {
  const token = `demo_${randomBytes(24).toString('base64url')}`;
  const { port, child } = await startServerEverything(token);
  const control = `/control/${randomBytes(24).toString('base64url')}`;
  const requests: GateRequest[] = [];
  let refusing = false;
  const agent = new http.Agent({ keepAlive: true });

  const gate = http.createServer((request, response) => {
    if (request.url === control) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token, requests }));
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const authorization = request.headers.authorization;
      const authorized = !refusing && same(authorization ?? '', `Bearer ${token}`);
      const { method = '', url = '' } = request;
      requests.push({ time: Date.now(), method, path: url, authorization, authorized, headers: request.headers, body: body.toString() });
      if (!authorized) {
        response.writeHead(401, { 'content-type': 'application/json', 'www-authenticate': 'Bearer' }).end('{"error":"unauthorized"}');
        return;
      }
      const headers = { ...request.headers, host: `127.0.0.1:${port}` };
      // The gate's business alone.
      delete headers.authorization;
      delete headers.connection;
      const forward = http.request({ host: '127.0.0.1', port, method, path: url, headers, agent }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      });
      forward.on('error', () => {
        if (response.headersSent) response.destroy();
        else response.writeHead(502).end();
      });
      response.on('close', () => forward.destroy());
      forward.end(body);
    });
  });
  await new Promise<void>((resolve) => gate.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(gate.address() as AddressInfo).port}`;

  return {
    url: `${origin}${ENDPOINT}`,
    token,
    requests,
    controlUrl: `${origin}${control}`,
    toolCalls: (name) => requests.filter(({ body }) => calledTool(body) !== undefined && (name === undefined || calledTool(body) === name)),
    refuse: (on) => {
      refusing = on;
    },
    async close() {
      agent.destroy();
      gate.closeAllConnections();
      await new Promise((resolve) => gate.close(resolve));
      await stop(child);
    },
  };
}

/** The name of the tool that a request's body calls, if it calls one. */
export function calledTool(body: string): string | undefined {
  try {
    const message = JSON.parse(body) as { method?: unknown; params?: { name?: unknown } } | null;
    return message?.method === 'tools/call' && typeof message.params?.name === 'string' ? message.params.name : undefined;
  } catch {
    return undefined;
  }
}

function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

async function startServerEverything(token: string): Promise<{ port: number; child: ChildProcess }> {
  const root = process.env['CULVERT_PROJECT_ROOT'] ?? path.resolve(import.meta.dirname, '../..');
  const port = await freePort();
  const child = spawn(
    process.env['CULVERT_TEST_NODE'] ?? process.execPath,
    [
      '--import',
      pathToFileURL(path.join(root, 'scripts/demo/loopbackOnly.mjs')).href,
      path.join(root, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js'),
      'streamableHttp',
    ],
    // Nothing of this process: the tool that leaks prints all of it.
    { env: { PATH: '/usr/bin:/bin', PORT: String(port), DEMO_UPSTREAM_TOKEN: token }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints = (complaints + chunk.toString()).slice(-2000);
  });
  const stopWithUs = () => child.kill('SIGKILL');
  process.once('exit', stopWithUs);
  child.once('exit', () => process.off('exit', stopWithUs));

  const end = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(port))) {
    if (child.exitCode !== null) throw new Error(`The demo server ended with ${child.exitCode}: ${complaints}`);
    if (Date.now() > end) {
      await stop(child);
      throw new Error(`The demo server did not answer within ${START_TIMEOUT_MS / 1000} s: ${complaints}`);
    }
    await delay(POLL_MS);
  }
  return { port, child };
}

/** A port that is free right now. The server takes no "any" and tells no port, so there is a moment in which somebody else could take it. */
async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}${ENDPOINT}`).then(
    () => true,
    () => false,
  );
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}
