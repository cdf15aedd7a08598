import { posix, win32, type PlatformPath } from 'node:path';
import type { ClientId } from './clients.ts';
import type { Format } from './document.ts';

/** What decides where clients keep their files. Injected, so that one machine can be asked as another. */
export interface Surroundings {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** The `User` folder of the editor that runs Culvert, if known: `…/Code/User`. Otherwise the usual ones are tried. */
  readonly userFolder?: string;
}

/** What is open in the editor. Absolute paths. */
export interface Workspace {
  readonly folders: readonly string[];
  /** The `.code-workspace` file. */
  readonly file?: string;
}

/** For whom a configuration counts. */
export type Scope =
  /** Everything this user opens. */
  | 'user'
  /** A profile of the editor. */
  | 'profile'
  /** The machine that a remote window runs on. */
  | 'remote'
  /** The folder it lies in; usually shared through version control. */
  | 'workspace'
  /** Every user of the machine; an administrator's. */
  | 'system';

/** A file that may hold MCP servers. */
export interface Location {
  readonly client: ClientId;
  readonly scope: Scope;
  /** Absolute. */
  readonly path: string;
  readonly format: Format;
  /** Where the servers are inside it. `*` stands for every key or index. */
  readonly servers: readonly (readonly string[])[];
  /** False for what an administrator put there. */
  readonly editable: boolean;
}

/** Reads folders; the part of the file port that {@link locate} needs. */
export interface Folders {
  /** Names in a folder; empty if there is none. */
  list(folder: string): Promise<readonly string[]>;
  isFile(path: string): Promise<boolean>;
}

/** A file or, with `*` in a part, every file of that pattern. */
interface Candidate extends Omit<Location, 'path' | 'editable'> {
  readonly parts: readonly string[];
}

/** Most files that one `*` is expanded to; a folder with more is not what a client made. */
export const MAX_EXPANSION = 200;

const SETTINGS_PATHS = [['mcp', 'servers'], ['mcp.servers']];
const MCP_SERVERS = [['mcpServers']];

/** Product names of VS Code and its kin, as their data folders are called. Source: product.json, `nameShort` and `serverDataFolderName`. */
const PRODUCTS = ['Code', 'Code - Insiders', 'Code - OSS', 'VSCodium', 'VSCodium - Insiders'];
const SERVER_FOLDERS = ['.vscode-server', '.vscode-server-insiders', '.vscode-server-oss', '.vscodium-server', '.vscode-remote'];

/**
 * Every place in which a known client keeps MCP servers, as patterns. Sources: those of CLIENTS, and
 * - VS Code: user data folder from src/vs/platform/environment/node/userDataPath.ts; profiles from userDataProfile.ts (`mcpResource`);
 *   remote from src/vs/server/node/serverEnvironmentService.ts (`data/User/mcp.json`); settings `mcp` until 1.102; dev containers:
 *   `customizations.vscode.mcp`, code.visualstudio.com/docs/copilot/customization/mcp-servers.
 * - Claude Code: scopes user, local (`projects.<path>`), project (`.mcp.json`) and managed; CLAUDE_CONFIG_DIR.
 * - Claude Desktop: VS Code's nativeMcpDiscoveryAdapters.ts.
 * - Copilot CLI: COPILOT_HOME; `.mcp.json` and `.github/mcp.json` from the working directory up.
 * - Codex: CODEX_HOME; trusted projects' `.codex/config.toml`; `/etc/codex/config.toml`.
 * - Gemini CLI: packages/cli/src/config/settings.ts (GEMINI_CLI_HOME, GEMINI_CLI_SYSTEM_SETTINGS_PATH).
 * - Zed: crates/paths/src/paths.rs (`config_dir`).
 * - Continue: core/util/paths.ts (CONTINUE_GLOBAL_DIR), core/context/mcp/json/loadJsonMcpConfigs.ts.
 */
function candidates(from: Surroundings, workspace: Workspace): Candidate[] {
  const path = pathsOf(from);
  const { env, home } = from;
  const appData = env['APPDATA'] ?? path.join(home, 'AppData', 'Roaming');
  const configHome = env['XDG_CONFIG_HOME'] ?? path.join(home, '.config');
  const library = path.join(home, 'Library', 'Application Support');
  const byPlatform = (windows: string, mac: string, linux: string): string =>
    from.platform === 'win32' ? windows : from.platform === 'darwin' ? mac : linux;
  const dataHome = byPlatform(appData, library, configHome);

  const user = (client: ClientId, parts: readonly string[], servers = MCP_SERVERS, format: Format = 'json'): Candidate => ({
    client,
    scope: 'user',
    parts,
    servers,
    format,
  });
  const found: Candidate[] = [];

  const portable = env['VSCODE_PORTABLE'];
  const userFolders = from.userFolder
    ? [from.userFolder]
    : [...(portable ? [path.join(portable, 'user-data', 'User')] : []), ...PRODUCTS.map((name) => path.join(dataHome, name, 'User'))];
  for (const folder of userFolders) {
    found.push(user('vscode', [folder, 'mcp.json'], [['servers']]), user('vscode', [folder, 'settings.json'], SETTINGS_PATHS));
    for (const [file, servers] of [
      ['mcp.json', [['servers']]],
      ['settings.json', SETTINGS_PATHS],
    ] as const)
      found.push({ ...user('vscode', [folder, 'profiles', '*', file], servers as string[][]), scope: 'profile' });
  }
  for (const folder of SERVER_FOLDERS) {
    found.push({ ...user('vscode', [home, folder, 'data', 'User', 'mcp.json'], [['servers']]), scope: 'remote' });
    found.push({ ...user('vscode', [home, folder, 'data', 'Machine', 'settings.json'], SETTINGS_PATHS), scope: 'remote' });
  }

  const claudeHome = env['CLAUDE_CONFIG_DIR'];
  found.push(user('claude-code', [claudeHome ?? home, '.claude.json'], [['mcpServers'], ['projects', '*', 'mcpServers']]));
  found.push({
    ...user('claude-code', [
      byPlatform('C:\\Program Files\\ClaudeCode', '/Library/Application Support/ClaudeCode', '/etc/claude-code'),
      'managed-mcp.json',
    ]),
    scope: 'system',
  });
  found.push(user('claude-desktop', [dataHome, 'Claude', 'claude_desktop_config.json']));
  found.push(user('cursor', [home, '.cursor', 'mcp.json']));
  for (const folder of ['windsurf', 'windsurf-next', 'windsurf-insiders'])
    found.push(user('windsurf', [home, '.codeium', folder, 'mcp_config.json']));
  // The plugin for JetBrains editors keeps its own beside them.
  found.push(user('windsurf', [home, '.codeium', 'mcp_config.json']));
  found.push(user('copilot-cli', [env['COPILOT_HOME'] ?? path.join(home, '.copilot'), 'mcp-config.json']));
  found.push(user('codex', [env['CODEX_HOME'] ?? path.join(home, '.codex'), 'config.toml'], [['mcp_servers']], 'toml'));
  if (from.platform !== 'win32') found.push({ ...user('codex', ['/etc/codex/config.toml'], [['mcp_servers']], 'toml'), scope: 'system' });
  found.push(user('gemini-cli', [env['GEMINI_CLI_HOME'] ?? home, '.gemini', 'settings.json']));
  found.push({
    ...user('gemini-cli', [
      env['GEMINI_CLI_SYSTEM_SETTINGS_PATH'] ??
        byPlatform(
          'C:\\ProgramData\\gemini-cli\\settings.json',
          '/Library/Application Support/GeminiCli/settings.json',
          '/etc/gemini-cli/settings.json',
        ),
    ]),
    scope: 'system',
  });
  found.push(
    user(
      'zed',
      [byPlatform(path.join(appData, 'Zed'), path.join(home, '.config', 'zed'), path.join(configHome, 'zed')), 'settings.json'],
      [['context_servers']],
    ),
  );
  const continueHome = env['CONTINUE_GLOBAL_DIR'] ?? path.join(home, '.continue');
  found.push(user('continue', [continueHome, 'config.yaml'], MCP_SERVERS, 'yaml'));
  found.push(user('continue', [continueHome, 'config.json'], [['experimental', 'modelContextProtocolServers'], ['mcpServers']]));
  found.push(...continueBlocks(user, continueHome));

  for (const folder of workspace.folders) {
    const here = (client: ClientId, parts: readonly string[], servers = MCP_SERVERS, format: Format = 'json'): Candidate => ({
      ...user(client, [folder, ...parts], servers, format),
      scope: 'workspace',
    });
    found.push(here('vscode', ['.vscode', 'mcp.json'], [['servers']]));
    found.push(here('vscode', ['.vscode', 'settings.json'], SETTINGS_PATHS));
    for (const parts of [['.devcontainer', 'devcontainer.json'], ['.devcontainer.json'], ['.devcontainer', '*', 'devcontainer.json']])
      found.push(
        here('vscode', parts, [
          ['customizations', 'vscode', 'mcp', 'servers'],
          ['customizations', 'vscode', 'settings', 'mcp', 'servers'],
        ]),
      );
    found.push(here('claude-code', ['.mcp.json']));
    found.push(here('cursor', ['.cursor', 'mcp.json']));
    found.push(here('copilot-cli', ['.github', 'mcp.json']));
    found.push(here('codex', ['.codex', 'config.toml'], [['mcp_servers']], 'toml'));
    found.push(here('gemini-cli', ['.gemini', 'settings.json']));
    found.push(here('zed', ['.zed', 'settings.json'], [['context_servers']]));
    found.push(...continueBlocks(here, '.continue'));
  }
  if (workspace.file !== undefined)
    found.push({
      ...user(
        'vscode',
        [workspace.file],
        SETTINGS_PATHS.map((p) => ['settings', ...p]),
      ),
      scope: 'workspace',
    });
  return found;
}

function continueBlocks(
  make: (client: ClientId, parts: readonly string[], servers?: string[][], format?: Format) => Candidate,
  folder: string,
): Candidate[] {
  return [
    make('continue', [folder, 'mcpServers', '*.yaml'], MCP_SERVERS, 'yaml'),
    make('continue', [folder, 'mcpServers', '*.yml'], MCP_SERVERS, 'yaml'),
    make('continue', [folder, 'mcpServers', '*.json'], MCP_SERVERS, 'json'),
  ];
}

/** Path rules of the platform that is asked about. */
export function pathsOf({ platform }: Pick<Surroundings, 'platform'>): PlatformPath {
  return platform === 'win32' ? win32 : posix;
}

/** Every path that is looked at, patterns with `*` unexpanded: for watching and for showing where Culvert looks. */
export function placesToLook(from: Surroundings, workspace: Workspace): Location[] {
  const path = pathsOf(from);
  return candidates(from, workspace).map(({ parts, ...rest }) => located(rest, path.join(...parts)));
}

function located(candidate: Omit<Candidate, 'parts'>, path: string): Location {
  return { ...candidate, path, editable: candidate.scope !== 'system' };
}

/** The MCP configurations that exist, each file once per client. */
export async function locate(from: Surroundings, workspace: Workspace, folders: Folders): Promise<Location[]> {
  const path = pathsOf(from);
  const found = new Map<string, Location>();
  for (const { parts, ...rest } of candidates(from, workspace)) {
    for (const file of await expand(parts, path, folders)) {
      const key = `${rest.client} ${file}`;
      if (!found.has(key) && (await folders.isFile(file))) found.set(key, located(rest, file));
    }
  }
  return [...found.values()];
}

async function expand(parts: readonly string[], path: PlatformPath, folders: Folders): Promise<string[]> {
  const star = parts.findIndex((part) => part.startsWith('*'));
  if (star < 0) return [path.join(...parts)];
  const folder = path.join(...parts.slice(0, star));
  const suffix = (parts[star] ?? '').slice(1);
  const names = (await folders.list(folder)).filter((name) => name.endsWith(suffix) && name !== suffix).sort();
  const rest = parts.slice(star + 1);
  return names.slice(0, MAX_EXPANSION).map((name) => path.join(folder, name, ...rest));
}
