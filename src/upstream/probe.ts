import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { UpstreamError, codeOf, messageOf } from '../common/errors.ts';
import type { Body } from './body.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from './upstream.ts';
import { mediaTypeOf } from './headers.ts';

/** Time for a server to be tried, milliseconds. */
export const PROBE_TIMEOUT_MS = 20_000;
/** The same for a command: a package runner may have to fetch it first. */
export const COMMAND_PROBE_TIMEOUT_MS = 90_000;
/** Pages of tools that are read while trying. */
const MAX_PAGES = 20;
/** Largest answer while trying, bytes. */
const MAX_PROBE_BYTES = 16 * 1024 * 1024;

/** What the client believes to connect to where there is no URL; everything goes through the upstream. */
const NOWHERE = new URL('http://localhost/');

/** What a trial found: the server's own name and its tools as it sent them, or what failed, where, and what to do. */
export type Probe =
  | { readonly ok: true; readonly serverName: string; readonly tools: readonly { readonly name: string; readonly definition: string }[] }
  | {
      readonly ok: false;
      readonly what: 'url' | 'command' | 'tls' | 'credential' | 'not-mcp' | 'slow' | 'broken';
      readonly message: string;
      /** `WWW-Authenticate` of the refusal. */
      readonly wwwAuthenticate?: string;
    };

/** Options of {@link probe}. */
export interface ProbeOptions {
  /** Default: {@link PROBE_TIMEOUT_MS}, for a command {@link COMMAND_PROBE_TIMEOUT_MS}. */
  readonly timeoutMs?: number;
  /** Secrets for the environment of a command. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Tries a server as an agent would: connects in whichever protocol era it speaks, and lists its tools. `url`, `headers` and `environment`
 * hold the credential; they go through `upstream`, under the same rules as every call. For a command the URL is `stdio:`. Never throws.
 */
export async function probe(
  upstream: Upstream,
  url: URL,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
  options: ProbeOptions = {},
): Promise<Probe> {
  const isCommand = url.protocol === 'stdio:';
  const { timeoutMs = isCommand ? COMMAND_PROBE_TIMEOUT_MS : PROBE_TIMEOUT_MS, environment } = options;
  const shown = isCommand ? 'The command' : `${url.origin}${url.pathname}`;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  let refusal: Extract<Probe, { ok: false }> | undefined;
  let sawJson = false;
  const send = async (_url: string | URL, init?: RequestInit): Promise<Response> => {
    const method = init?.method === 'GET' || init?.method === 'DELETE' ? init.method : 'POST';
    if (method === 'GET') return new Response(null, { status: 405 });
    const wanted = Object.fromEntries([...new Headers(init?.headers)].filter(([name]) => name !== 'authorization' && name !== 'host'));
    const body = typeof init?.body === 'string' ? init.body : undefined;
    let response: UpstreamResponse;
    try {
      const request: UpstreamRequest = {
        method,
        url,
        headers: { ...wanted, 'accept-encoding': 'identity', ...headers },
        body: body === undefined ? undefined : Buffer.from(body, 'utf8'),
        signal: init?.signal ? AbortSignal.any([limit, init.signal]) : limit,
        ...(environment ? { environment } : {}),
      };
      response = await upstream.send(request);
    } catch (error) {
      // Some commands of the older era end when they hear what they don't know; how they take initialize is what counts.
      if (isCommand && codeOf(error) === 'CULVERT_UPSTREAM_EXITED' && body?.includes('"server/discover"') === true) return notKnown(body);
      throw error;
    }
    const mediaType = mediaTypeOf(response.headers);
    const { status } = response;
    sawJson ||= status < 300 && (mediaType === 'application/json' || mediaType === 'text/event-stream');
    // Servers of the older era do not know what is asked first; what they say afterwards counts.
    if (status < 300 && refusal?.what === 'url') refusal = undefined;
    if (response.status === 401 || response.status === 403)
      refusal ??= {
        ...refusedCredential(response.status, Object.keys(headers).length > 0 || url.search !== '', shown),
        ...(response.headers['www-authenticate'] === undefined ? {} : { wwwAuthenticate: response.headers['www-authenticate'] }),
      };
    if (response.status === 404 && !sawJson)
      refusal ??= {
        ok: false,
        what: 'url',
        message: `There is nothing at ${shown} (HTTP 404). Check the path; many servers want /mcp at the end.`,
      };
    const empty = response.status === 204 || response.status === 202 || response.status === 304;
    const kept = Object.entries(response.headers).flatMap(([name, value]) =>
      name === 'content-length' || name === 'content-encoding' || value === undefined ? [] : [[name, String(value)] as [string, string]],
    );
    if (empty) response.body.discard();
    return new Response(empty ? null : ReadableStream.from(limited(response.body)), {
      status: response.status,
      headers: kept,
    });
  };
  // Never compile a server's JSON schema: the trial only lists.
  const anySchema = { getValidator: () => (input: unknown) => ({ valid: true as const, data: input, errorMessage: undefined }) };
  const client = new Client(
    { name: 'culvert', version: '1' },
    { versionNegotiation: { mode: 'auto' }, jsonSchemaValidator: anySchema as never },
  );
  const transport = new StreamableHTTPClientTransport(isCommand ? NOWHERE : new URL(url.origin + url.pathname), { fetch: send });
  try {
    await client.connect(transport, { timeout: timeoutMs, signal: limit });
    const tools: { name: string; definition: string }[] = [];
    if (client.getServerCapabilities()?.tools) {
      let cursor: string | undefined;
      for (let page = 0; page < MAX_PAGES; page++) {
        const result = await client.listTools(cursor === undefined ? undefined : { cursor }, { timeout: timeoutMs, signal: limit });
        for (const tool of result.tools) tools.push({ name: tool.name, definition: JSON.stringify(tool) });
        cursor = result.nextCursor;
        if (cursor === undefined) break;
      }
    }
    return { ok: true, serverName: client.getServerVersion()?.name ?? '', tools };
  } catch (error) {
    if (refusal) return refusal;
    if (signal.aborted) return { ok: false, what: 'broken', message: 'The trial was cancelled.' };
    const upstreamError = causeOf(error);
    // A request that was given up was so because time was over: the trial itself was not cancelled.
    if (upstreamError && upstreamError.code !== 'CULVERT_UPSTREAM_ABORTED') return fromUpstream(upstreamError);
    if (upstreamError || limit.aborted || /timed? ?out/i.test(messageOf(error)))
      return {
        ok: false,
        what: 'slow',
        message: `${shown} did not finish answering within ${timeoutMs / 1000} seconds. Try again, or check that the server is well.`,
      };
    return {
      ok: false,
      what: 'not-mcp',
      message: isCommand
        ? `The command runs, but does not speak as an MCP server over its standard input and output. Check it and its arguments.`
        : `${shown} answers, but not as an MCP server (Streamable HTTP). Check the path; many servers want /mcp at the end.`,
    };
  } finally {
    await client.close().catch(() => undefined);
  }
}

/** The answer of a server that does not know a method. */
function notKnown(body: string): Response {
  const { id } = JSON.parse(body) as { id: unknown };
  return Response.json({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } });
}

function refusedCredential(status: number, sent: boolean, shown: string): Extract<Probe, { ok: false }> {
  return {
    ok: false,
    what: 'credential',
    message: sent
      ? `${shown} refused the credential (HTTP ${status}). Check that it is complete, not expired, and placed as the server wants it.`
      : `${shown} wants a credential (HTTP ${status}). Go back and choose how it authenticates.`,
  };
}

function fromUpstream(error: UpstreamError): Probe {
  if (error.leg === 'tls') return { ok: false, what: 'tls', message: error.message };
  if (error.leg === 'start') return { ok: false, what: 'command', message: error.message };
  if (error.leg === 'timeout') return { ok: false, what: 'slow', message: error.message };
  if (error.leg === 'resolve' || error.leg === 'connect' || error.leg === 'ssh' || error.leg === 'redirect')
    return { ok: false, what: 'url', message: error.message };
  return { ok: false, what: 'broken', message: error.message };
}

/** The client wraps what its transport threw, sometimes more than once. */
function causeOf(error: unknown): UpstreamError | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; depth++) {
    if (at instanceof UpstreamError) return at;
    const data: unknown = 'data' in at && typeof at.data === 'object' && at.data !== null && 'cause' in at.data ? at.data.cause : undefined;
    at = at.cause ?? data;
  }
  return undefined;
}

/** Ends a body that grows beyond what a trial needs. */
async function* limited(body: Body): AsyncGenerator<Uint8Array, void> {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_PROBE_BYTES)
      throw new UpstreamError('CULVERT_UPSTREAM_LARGE', 'response', 'The server’s answer is larger than a list of tools should be.');
    yield chunk;
  }
}
