/**
 * The client that the official client suite tests: an MCP client of the official SDK that speaks to a tunnel, which signs in at the suite’s
 * authorization servers and speaks to its MCP server. Started by the suite with the server’s URL.
 *
 * `--revision` says on which wire; the suite does not, where it runs all that a revision requires. `--broken <fault>` breaks it on purpose, to see that the suite notices: `no-pkce`, `no-resource`, `any-issuer`, `bearer`, `drop-scopes`.
 */
import { parseArgs } from 'node:util';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { HeadlessSignIn } from '../../src/tunnel/index.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { fetchThrough } from '../support/agent.ts';

/** The URL of the metadata document that the suite expects. */
const CLIENT_DOCUMENT = 'https://conformance-test.local/client-metadata.json';
const MODERN = '2026-07-28';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { broken: { type: 'string' }, revision: { type: 'string' } },
});
const serverUrl = new URL(positionals[0] ?? '');
const scenario = process.env['MCP_CONFORMANCE_SCENARIO'] ?? '';
const revision = values.revision ?? process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? MODERN;
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Record<string, unknown>;

const text = (name: string): string => {
  const value = context[name];
  return typeof value === 'string' ? value : '';
};

/** What the user of a server would have typed: the authorization server that the server names. */
async function issuerOf(url: URL): Promise<string> {
  const places = [
    `${url.origin}/.well-known/oauth-protected-resource${url.pathname}`,
    `${url.origin}/.well-known/oauth-protected-resource`,
  ];
  for (const place of places) {
    const response = await fetch(place);
    if (!response.ok) continue;
    const { authorization_servers: servers } = (await response.json()) as { authorization_servers?: string[] };
    if (servers?.[0] !== undefined) return servers[0];
  }
  return url.origin;
}

/** How the tunnel signs in, as a user would have set it up for the scenario. */
async function signInFor(): Promise<HeadlessSignIn> {
  const client = { id: text('client_id') };
  switch (scenario) {
    case 'auth/pre-registration':
      return { settings: { grant: 'code', issuer: text('issuer'), client }, clientSecret: text('client_secret') };
    case 'auth/client-credentials-basic':
      return { settings: { grant: 'client-credentials', issuer: await issuerOf(serverUrl), client }, clientSecret: text('client_secret') };
    case 'auth/client-credentials-jwt':
      return {
        settings: {
          grant: 'client-credentials',
          issuer: await issuerOf(serverUrl),
          client: { ...client, method: 'private_key_jwt', algorithm: 'ES256' },
        },
        clientSecret: text('private_key_pem'),
      };
    case 'auth/wif-jwt-bearer': {
      const issuer = await issuerOf(serverUrl);
      return {
        settings: { grant: 'workload', issuer, client },
        assertion: { value: text('valid_jwt'), origins: [new URL(issuer).origin] },
      };
    }
    case 'auth/enterprise-managed-authorization': {
      const tokenEndpoint = text('idp_token_endpoint');
      return {
        settings: {
          grant: 'enterprise',
          issuer: await issuerOf(serverUrl),
          client,
          identityProvider: { issuer: text('idp_issuer'), clientId: text('idp_client_id'), tokenEndpoint },
        },
        clientSecret: text('client_secret'),
        assertion: { value: text('idp_id_token'), origins: [new URL(tokenEndpoint).origin] },
      };
    }
    default:
      return { settings: { grant: 'code' } };
  }
}

/** The suite’s authorization servers ask nobody: they send the browser back at once. */
async function browse(start: URL): Promise<void> {
  const url = new URL(start);
  if (values.broken === 'no-pkce') url.searchParams.delete('code_challenge');
  if (values.broken === 'no-resource') url.searchParams.delete('resource');
  if (values.broken === 'drop-scopes') url.searchParams.delete('scope');
  const response = await fetch(url, { redirect: 'manual' });
  const callback = new URL(response.headers.get('location') ?? '', url);
  // A client that does not care who answers.
  if (values.broken === 'any-issuer') callback.searchParams.set('iss', new URL(start).origin);
  await (await fetch(callback)).text();
}

/** What the suites’ tools want to be called with, where it is more than their schema says. */
function callsFor(
  tools: readonly { readonly name: string; readonly inputSchema: unknown }[],
): { name: string; arguments: Record<string, unknown> }[] {
  const echo = tools.find(({ name }) => name === 'json_schema_echo');
  const focal = tools.find(({ name }) => name !== 'json_schema_echo');
  return tools.map(({ name, inputSchema }) => {
    if (name === echo?.name) return { name, arguments: { schema: focal?.inputSchema } };
    return { name, arguments: name === 'add_numbers' ? { a: 5, b: 3 } : argumentsFor(inputSchema as Record<string, unknown>) };
  });
}

/** A value that a schema allows; the suites’ tools want nothing special. */
function sampleOf(schema: Record<string, unknown>): unknown {
  if ('default' in schema) return schema['default'];
  if (Array.isArray(schema['enum'])) return (schema['enum'] as unknown[])[0];
  switch (schema['type']) {
    case 'number':
    case 'integer':
      return 5;
    case 'boolean':
      return true;
    case 'array':
      return [];
    case 'object':
      return argumentsFor(schema);
    default:
      return 'text';
  }
}

function argumentsFor(schema: Record<string, unknown>): Record<string, unknown> {
  const properties = (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>;
  return Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, sampleOf(property)]));
}

async function use(tunnel: HeadlessTunnel): Promise<void> {
  const anySchema = { getValidator: () => (input: unknown) => ({ valid: true as const, data: input, errorMessage: undefined }) };
  const client = new Client(
    { name: 'culvert-conformance', version: '1' },
    {
      capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: { listChanged: true } },
      ...(revision >= MODERN ? { versionNegotiation: { mode: { pin: MODERN } } } : {}),
      jsonSchemaValidator: anySchema as never,
    },
  );
  client.setRequestHandler('elicitation/create', () => ({
    action: 'accept' as const,
    content: scenario === 'elicitation-sep1034-client-defaults' ? {} : { confirmed: true },
  }));
  client.setRequestHandler('roots/list', () => ({ roots: [] }));
  const transport = new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: fetchThrough(tunnel) });
  await client.connect(transport);
  const capabilities = client.getServerCapabilities() ?? {};
  const { tools } = await client.listTools();
  const wanted = Array.isArray(context['toolCalls'])
    ? (context['toolCalls'] as { name: string; arguments: Record<string, unknown> }[])
    : callsFor(tools);
  const failures: unknown[] = [];
  const attempt = async (work: () => Promise<unknown>) => {
    await work().catch((error: unknown) => failures.push(error));
  };
  for (const call of wanted) await attempt(() => client.callTool(call));
  if (scenario.startsWith('auth/') && wanted.length === 0) await attempt(() => client.callTool({ name: 'test-tool', arguments: {} }));
  if (capabilities.prompts)
    await attempt(async () => {
      for (const prompt of (await client.listPrompts()).prompts)
        await client.getPrompt({
          name: prompt.name,
          arguments: Object.fromEntries((prompt.arguments ?? []).map(({ name }) => [name, 'text'])),
        });
    });
  if (capabilities.resources)
    await attempt(async () => {
      for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri });
    });
  await client.close();
  if (failures.length > 0) throw failures[0] instanceof Error ? failures[0] : new Error('A call failed.');
}

const signsIn = scenario.startsWith('auth/');
const tunnel = await startTunnel({
  upstream: { url: serverUrl.href },
  ...(signsIn ? { signIn: await signInFor() } : {}),
  openBrowser: browse,
  clientDocumentUrl: CLIENT_DOCUMENT,
  access: 'everything',
  logger: { debug: () => undefined, info: () => undefined, warn: (line) => console.error(line), error: (line) => console.error(line) },
});
try {
  await use(tunnel);
} catch (error) {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : 'failed');
  process.exitCode = 1;
} finally {
  await tunnel.close();
}
