import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { createRequire } from 'node:module';
import { createMcpHandler, inputRequired, acceptedContent, McpServer, type McpHttpHandler } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { serveWeb } from '../conformance/webHandler.ts';

/** `@modelcontextprotocol/server-everything` over Streamable HTTP or HTTP+SSE, in a process of its own. */
export class EverythingServer {
  url = '';
  #child: ChildProcess | undefined;
  readonly #transport: 'streamableHttp' | 'sse';

  constructor(transport: 'streamableHttp' | 'sse' = 'streamableHttp') {
    this.#transport = transport;
  }

  /** Starts it on a free port and waits until it listens. */
  async start(): Promise<this> {
    const port = await freePort();
    const script = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');
    const child = spawn(process.execPath, [script, this.#transport], {
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (text: Buffer) => {
        said += text.toString();
        if (/listening|running on port/.test(said)) resolve();
      });
      child.once('exit', () => reject(new Error(`server-everything ended: ${said}`)));
    });
    this.url = `http://127.0.0.1:${port}/${this.#transport === 'sse' ? 'sse' : 'mcp'}`;
    return this;
  }

  /** Ends the process. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null) return;
    child.removeAllListeners('exit');
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

/** An SDK v2 server: the modern era, and the legacy one without sessions. */
export class ModernServer {
  url = '';
  /** Names of calls that were cancelled from the client's side. */
  readonly cancelled: string[] = [];
  /** Called when the tool `wait` has begun. */
  onWait: (() => void) | undefined;
  onCancel: (() => void) | undefined;
  readonly handler: McpHttpHandler;
  readonly #http: Server;

  constructor() {
    this.handler = createMcpHandler(() => this.#build(), { keepAliveMs: 200 });
    this.#http = createServer(serveWeb((request) => this.handler.fetch(request)));
  }

  /** Listens on a free port. */
  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/mcp`;
    return this;
  }

  /** Ends every exchange. */
  async stop(): Promise<void> {
    await this.handler.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  #build(): McpServer {
    const server = new McpServer(
      { name: 'modern', version: '1.0.0' },
      { capabilities: { tools: { listChanged: true }, resources: { subscribe: true } } },
    );
    server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text }) => ({ content: [{ type: 'text', text }] }));
    server.registerPrompt('größe', {}, () => ({ messages: [{ role: 'user', content: { type: 'text', text: 'ß' } }] }));
    server.registerTool('routed', { inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) }, ({ region }) => ({
      content: [{ type: 'text', text: `to ${region}` }],
    }));
    server.registerTool('steps', { inputSchema: z.object({}) }, async (_args, context) => {
      const progressToken = context.mcpReq._meta?.progressToken;
      for (const progress of [1, 2, 3]) {
        if (progressToken !== undefined)
          await context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: 3 } });
        // The SDK's clients forget progress that arrives in one piece with the result.
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      return { content: [{ type: 'text', text: 'done' }] };
    });
    server.registerTool('wait', { inputSchema: z.object({}) }, async (_args, context) => {
      await new Promise<void>((resolve) => {
        context.mcpReq.signal.addEventListener('abort', () => {
          this.cancelled.push('wait');
          this.onCancel?.();
          resolve();
        });
        this.onWait?.();
      });
      return { content: [] };
    });
    server.registerTool('ask', { inputSchema: z.object({}) }, (_args, context) => {
      const name = acceptedContent<{ name: string }>(context.mcpReq.inputResponses, 'who');
      if (name) return { content: [{ type: 'text', text: `hello ${name.name}` }] };
      const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] };
      return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'who are you?', requestedSchema }) } });
    });
    return server;
  }
}

async function freePort(): Promise<number> {
  const server = createNetServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
