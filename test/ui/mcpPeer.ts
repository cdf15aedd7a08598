import { FakeServer, answerJson, idOf, resultFor, type Seen } from '../support/fakeServer.ts';

/** Tools of every peer. The first says that it only reads. */
const TOOLS = [
  { name: 'look', description: 'Looks.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
  { name: 'change', description: 'Changes.', inputSchema: { type: 'object' } },
];

/** A small MCP server (Streamable HTTP, 2025-11-25) that lets in what a test says, and remembers every request. */
export class McpPeer {
  /** Whether a request may pass; everything else is answered with 401. */
  accepts: (seen: Seen) => boolean;
  readonly #server = new FakeServer();

  constructor(accepts: (seen: Seen) => boolean = () => true) {
    this.accepts = accepts;
    this.#server.behave = (seen, response) => {
      if (!this.accepts(seen)) answerJson(response, '{"error":"unauthorized"}', 401, { 'www-authenticate': 'Bearer' });
      else if (seen.method !== 'POST') response.writeHead(405).end();
      else {
        const result = answerTo(seen);
        if (result === 'none') response.writeHead(202).end();
        else answerJson(response, result);
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
    return this.seen.filter((seen) => /"tools\/call"/.test(seen.body.toString()) && this.accepts(seen));
  }

  /** Stops listening, for good. */
  stop(): Promise<void> {
    return this.#server.stop();
  }
}

function answerTo(seen: Seen): string {
  const { method, params } = JSON.parse(seen.body.toString()) as { method?: string; params?: { name?: string; protocolVersion?: string } };
  switch (method) {
    case 'initialize':
      return resultFor(seen, {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {} },
        serverInfo: { name: 'peer', version: '1.0.0' },
      });
    case 'tools/list':
      return resultFor(seen, { tools: TOOLS });
    case 'tools/call':
      return resultFor(seen, { content: [{ type: 'text', text: `${params?.name ?? ''} done` }] });
    case 'ping':
      return resultFor(seen, {});
    default:
      if (method === undefined || method.startsWith('notifications/')) return 'none';
      return JSON.stringify({ jsonrpc: '2.0', id: idOf(seen), error: { code: -32601, message: 'Method not found' } });
  }
}
