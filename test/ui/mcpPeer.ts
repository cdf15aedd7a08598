import { FakeServer, answerJson, idOf, resultFor, type Seen } from '../support/fakeServer.ts';

/** A tool as it stands in a list. */
export interface PeerTool {
  readonly name: string;
  readonly description: string;
  readonly inputSchema: object;
  readonly annotations?: object;
}

/** Tools of a peer that is not given any. The first says that it only reads. */
const TOOLS: readonly PeerTool[] = [
  { name: 'look', description: 'Looks.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
  { name: 'change', description: 'Changes.', inputSchema: { type: 'object' } },
];

/** A small MCP server (Streamable HTTP, 2025-11-25) that lets in what a test says, and remembers every request. */
export class McpPeer {
  /** Whether a request may pass; everything else is answered with 401. */
  accepts: (seen: Seen) => boolean;
  readonly #server = new FakeServer();

  /** `result`: the text that a call of a tool brings. */
  constructor(
    accepts: (seen: Seen) => boolean = () => true,
    tools: readonly PeerTool[] = TOOLS,
    result: (tool: string) => string = (tool) => `${tool} done`,
  ) {
    this.accepts = accepts;
    this.#server.behave = (seen, response) => {
      if (!this.accepts(seen)) answerJson(response, '{"error":"unauthorized"}', 401, { 'www-authenticate': 'Bearer' });
      else if (seen.method !== 'POST') response.writeHead(405).end();
      else {
        const answer = answerTo(seen, tools, result);
        if (answer === undefined) response.writeHead(202).end();
        else answerJson(response, answer);
      }
    };
  }

  async start(): Promise<this> {
    await this.#server.start();
    return this;
  }

  /** Address of the MCP endpoint. */
  get url(): string {
    return this.#server.url;
  }

  /** Host and port. */
  get host(): string {
    return new URL(this.url).host;
  }

  /** Every request, oldest first. */
  get seen(): readonly Seen[] {
    return this.#server.seen;
  }

  /** The requests that called a tool and were let in. */
  get calls(): readonly Seen[] {
    return this.seen.filter((seen) => seen.body.toString().includes('"tools/call"') && this.accepts(seen));
  }

  /** Stops listening, for good. */
  stop(): Promise<void> {
    return this.#server.stop();
  }
}

/** The answer to a message; `undefined` if it wants none. */
function answerTo(seen: Seen, tools: readonly PeerTool[], result: (tool: string) => string): string | undefined {
  const { method, params } = JSON.parse(seen.body.toString()) as { method?: string; params?: { name?: string; protocolVersion?: string } };
  switch (method) {
    case 'initialize':
      return resultFor(seen, {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'peer', version: '1.0.0' },
      });
    case 'tools/list':
      return resultFor(seen, { tools });
    case 'tools/call':
      return resultFor(seen, { content: [{ type: 'text', text: result(params?.name ?? '') }] });
    case 'ping':
      return resultFor(seen, {});
    default:
      if (method === undefined || method.startsWith('notifications/')) return undefined;
      return JSON.stringify({ jsonrpc: '2.0', id: idOf(seen), error: { code: -32601, message: 'Method not found' } });
  }
}
