import type { Reply } from './link.ts';
import { isJson, type Json, type Message } from './message.ts';

/** Header name, RFC 9110 5.6.2. */
const HEADER_TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Headers of a request in the modern era, where HTTP repeats what stdio has only in the body. */
export function modernHeaders(message: Message, version: string, tools: ToolHeaders): Record<string, string> {
  const headers: Record<string, string> = { 'mcp-protocol-version': version, 'mcp-method': message.method };
  const name = message.params[nameSource(message.method)];
  if (typeof name !== 'string') return headers;
  headers['mcp-name'] = encodeHeaderValue(name);
  if (message.method === 'tools/call') Object.assign(headers, tools.headersFor(name, message.params['arguments']));
  return headers;
}

/** Member of `params` that `Mcp-Name` mirrors (2026-07-28, Streamable HTTP, Standard Request Headers; tasks extension). */
function nameSource(method: string): string {
  if (method === 'tools/call' || method === 'prompts/get') return 'name';
  if (method === 'resources/read') return 'uri';
  return /^tasks\/(get|update|cancel)$/.test(method) ? 'taskId' : '';
}

/** A value as it stands in a header: itself if it is plain ASCII that survives there, else base64 (2026-07-28, Value Encoding). */
export function encodeHeaderValue(value: string): string {
  const plain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(value) && !(value.startsWith('=?base64?') && value.endsWith('?='));
  return plain ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`;
}

interface Declaration {
  readonly header: string;
  /** Names of the properties that lead to the argument. */
  readonly path: readonly string[];
}

/** Sends a request of the bridge's own, and waits for its answer. */
export type Ask = (bytes: Buffer, headers: Record<string, string>, id: string) => Promise<Reply>;

/** What tools want repeated in `Mcp-Param-*` headers: the `x-mcp-header` marks of their input schemas, learned from the lists that pass. */
export class ToolHeaders {
  readonly #declared = new Map<string, readonly Declaration[]>();
  #lists = 0;

  /** Takes over the marks of the tools in the result of a `tools/list`. */
  learn(result: unknown): void {
    const tools = isJson(result) ? result['tools'] : undefined;
    if (!Array.isArray(tools)) return;
    for (const tool of tools as unknown[]) {
      if (!isJson(tool) || typeof tool['name'] !== 'string') continue;
      const found: Declaration[] = [];
      collect(tool['inputSchema'], [], found);
      if (found.length > 0) this.#declared.set(tool['name'], found);
      else this.#declared.delete(tool['name']);
    }
  }

  /** `Mcp-Param-*` headers of a call. An argument that is absent, null or no primitive has none. */
  headersFor(tool: string, args: unknown): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const { header, path } of this.#declared.get(tool) ?? []) {
      const value = path.reduce<unknown>((node, key) => (isJson(node) && Object.hasOwn(node, key) ? node[key] : undefined), args);
      // An integer beyond the safe range has changed by being parsed.
      if (
        typeof value === 'string' ||
        typeof value === 'boolean' ||
        (typeof value === 'number' && Number.isInteger(value) === Number.isSafeInteger(value))
      ) {
        headers[`mcp-param-${header}`] = encodeHeaderValue(String(value));
      }
    }
    return headers;
  }

  /** Lists the tools for their marks, at most `maxPages` pages. True if the call `message` would go out with other headers now. */
  async listAnew({ params, modernVersion = '' }: Message, maxPages: number, ask: Ask): Promise<boolean> {
    const wanted = (): string => JSON.stringify(this.headersFor(String(params['name']), params['arguments']));
    const before = wanted();
    let cursor: unknown;
    for (let page = 0; page < maxPages; page++) {
      const id = `culvert-bridge-list-${(this.#lists += 1)}`;
      const own: Json = { _meta: ownMeta(params['_meta']), ...(cursor === undefined ? {} : { cursor }) };
      const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/list', params: own }));
      const reply = await ask(bytes, { 'mcp-protocol-version': modernVersion, 'mcp-method': 'tools/list' }, id);
      const result = typeof reply === 'string' ? undefined : reply.message['result'];
      if (!isJson(result)) break;
      this.learn(result);
      cursor = result['nextCursor'];
      if (typeof cursor !== 'string') break;
    }
    return wanted() !== before;
  }
}

/** The agent's `_meta` without what belongs to its own call. */
function ownMeta(meta: unknown): Json {
  if (!isJson(meta)) return {};
  return Object.fromEntries(Object.entries(meta).filter(([key]) => key !== 'progressToken'));
}

/** Only what is reached through `properties` alone counts; anything else makes the mark invalid, and the server says so. */
function collect(schema: unknown, path: readonly string[], found: Declaration[]): void {
  if (!isJson(schema)) return;
  const mark = schema['x-mcp-header'];
  if (typeof mark === 'string' && path.length > 0 && HEADER_TOKEN.test(mark)) found.push({ header: mark, path });
  const properties: Json = isJson(schema['properties']) ? schema['properties'] : {};
  for (const [name, child] of Object.entries(properties)) collect(child, [...path, name], found);
}
