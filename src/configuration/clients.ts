import type { ReferenceDialect } from './references.ts';

/** A program that starts MCP servers from a file. */
export type ClientId =
  'vscode' | 'claude-code' | 'claude-desktop' | 'cursor' | 'windsurf' | 'copilot-cli' | 'codex' | 'gemini-cli' | 'zed' | 'continue';

/** What is particular about a client's entries. */
export interface Client {
  readonly id: ClientId;
  readonly label: string;
  readonly references: ReferenceDialect;
  /** Written into an entry that starts the bridge, before the command: what the client wants to see there. */
  readonly bridgeHead: Readonly<Record<string, string>>;
  /** Written after it if the entry had no such key. */
  readonly bridgeTail: Readonly<Record<string, readonly string[]>>;
  /** Keys that say nothing about where the server is: they stay when an entry is routed through Culvert. */
  readonly kept: ReadonlySet<string>;
}

const COMMON_KEPT = [
  'disabled',
  'enabled',
  'timeout',
  'description',
  'alwaysAllow',
  'autoApprove',
  'disabledTools',
  'enabledTools',
  'tools',
];

function client(
  id: ClientId,
  label: string,
  more: Partial<Pick<Client, 'references' | 'bridgeHead' | 'bridgeTail'>> & { readonly kept?: readonly string[] } = {},
): Client {
  const { references = {}, bridgeHead = {}, bridgeTail = {}, kept = [] } = more;
  return { id, label, references, bridgeHead, bridgeTail, kept: new Set([...COMMON_KEPT, ...kept]) };
}

/**
 * The clients that Culvert knows. Sources, read 2026-11:
 * - VS Code: src/vs/workbench/contrib/mcp/common/mcpConfiguration.ts (schema `mcpServerSchema`).
 * - Claude Code: code.claude.com/docs/en/mcp (`type`, `${VAR}`, `${VAR:-default}`).
 * - Claude Desktop: `command`, `args`, `env` only, as VS Code's nativeMcpDiscoveryAdapters.ts reads it.
 * - Cursor: cursor.com/docs/mcp (`envFile`, `${env:NAME}`, `${userHome}`, `${workspaceFolder}`).
 * - Windsurf: docs.windsurf.com/windsurf/cascade/mcp (`serverUrl`, `${env:NAME}`, `${file:/path}`).
 * - Copilot CLI: docs.github.com/copilot, “Adding MCP servers for Copilot CLI” (`type` local|stdio|http|sse, `tools` required, `${VAR}`).
 * - Codex: codex-rs/config/src/mcp_types.rs (`RawMcpServerConfig`).
 * - Gemini CLI: docs/tools/mcp-server.md and packages/core/src/config/config.ts (`MCPServerConfig`; `httpUrl`, `trust`, `$VAR`).
 * - Zed: crates/settings_content/src/project.rs (`ContextServerSettingsContent`; older: `command` as an object with `path`).
 * - Continue: packages/config-yaml/src/schemas/mcp (a list with `name`; `requestOptions.headers`; `${{ secrets.NAME }}`).
 */
export const CLIENTS: Readonly<Record<ClientId, Client>> = {
  vscode: client('vscode', 'VS Code'),
  'claude-code': client('claude-code', 'Claude Code', { references: { braces: true }, bridgeHead: { type: 'stdio' } }),
  'claude-desktop': client('claude-desktop', 'Claude Desktop'),
  cursor: client('cursor', 'Cursor', { references: { braces: true } }),
  windsurf: client('windsurf', 'Windsurf'),
  'copilot-cli': client('copilot-cli', 'Copilot CLI', {
    references: { braces: true },
    bridgeHead: { type: 'local' },
    bridgeTail: { tools: ['*'] },
  }),
  codex: client('codex', 'Codex', {
    kept: [
      'startup_timeout_sec',
      'startup_timeout_ms',
      'tool_timeout_sec',
      'enabled_tools',
      'disabled_tools',
      'required',
      'supports_parallel_tool_calls',
      'default_tools_approval_mode',
      'name',
    ],
  }),
  'gemini-cli': client('gemini-cli', 'Gemini CLI', {
    references: { braces: true, bare: true },
    kept: ['trust', 'includeTools', 'excludeTools'],
  }),
  zed: client('zed', 'Zed', { bridgeHead: { source: 'custom' }, kept: ['remote'] }),
  continue: client('continue', 'Continue', { kept: ['name', 'serverName', 'faviconUrl', 'connectionTimeout', 'schema', 'version'] }),
};
