import type { ClientId } from './clients.ts';
import type { Format } from './document.ts';
import type { Entry } from './entry.ts';
import { pathsOf, type Location, type Surroundings, type Workspace } from './locate.ts';
import type { Span } from './textEdit.ts';
import { memberOf, nodeAt, textOf, type Node, type Path } from './tree.ts';

/** A setting by which an agent calls tools without asking. */
export interface AutoApproval {
  readonly client: ClientId;
  /** Absolute path of the file. */
  readonly file: string;
  /** Setting as the client calls it: `chat.tools.global.autoApprove`, `permissions.allow: mcp__github`. Stable, and no secret. */
  readonly setting: string;
  /** What it means, as a sentence. */
  readonly meaning: string;
  readonly span: Span;
}

/** Options of agents that switch asking off; an entry or setting that passes one is as good as the setting. */
export const DANGEROUS_OPTION =
  /^--(?:dangerously-[\w-]+|allow-dangerously-[\w-]+|yolo|allow-all-tools|allow-all|approval-mode[= ]yolo|permission-mode[= ]bypassPermissions|full-auto|trust-all-tools)$/;

const ALL = 'Every tool runs without asking.';

/** Settings of VS Code. Sources: src/vs/workbench/contrib/chat/browser/chat.contribution.ts; Claude Code’s extension manifest; Copilot’s. */
const VSCODE_SWITCHES: readonly (readonly [setting: string, isOn: (node: Node) => boolean, meaning: string])[] = [
  ['chat.tools.global.autoApprove', isTrue, ALL],
  ['chat.tools.autoApprove', isTrue, ALL],
  ['chat.tools.terminal.autoApprove', hasWildcard, 'Every terminal command runs without asking.'],
  ['chat.tools.edits.autoApprove', hasWildcard, 'Every file is edited without asking.'],
  ['chat.tools.urls.autoApprove', hasWildcard, 'Every address is fetched without asking.'],
  ['claudeCode.allowDangerouslySkipPermissions', isTrue, 'Claude Code may skip every question.'],
  ['claudeCode.initialPermissionMode', (node) => textOf(node) === 'bypassPermissions', 'Claude Code starts without asking.'],
  ['github.copilot.chat.claudeAgent.allowDangerouslySkipPermissions', isTrue, 'The Claude agent may skip every question.'],
];

function isTrue(node: Node): boolean {
  return node.kind === 'scalar' && node.value === true;
}

/** A rule map with a pattern that takes everything: `*`, a glob of stars, or a regular expression of `.*`. */
function hasWildcard(node: Node): boolean {
  if (isTrue(node)) return true;
  if (node.kind !== 'mapping') return false;
  return node.members.some(
    ({ key, value }) =>
      /^(?:\*+(?:\/\*+)*|\/\^?\.[*+]\$?\/[a-z]*|https?:\/\/\*+)$/.test(key) && (isTrue(value) || value.kind === 'mapping'),
  );
}

interface Found {
  readonly setting: string;
  readonly meaning: string;
  readonly span: Span;
}

/** Where a dotted setting stands: as one key, or nested at any dot, as VS Code reads it. */
function settingsAt(root: Node, setting: string): Node[] {
  const steps = setting.split('.');
  return steps.flatMap((_, i) => {
    const value = memberOf(root, steps.slice(0, i + 1).join('.'))?.value;
    if (!value) return [];
    return i === steps.length - 1 ? [value] : settingsAt(value, steps.slice(i + 1).join('.'));
  });
}

function inVsCode(root: Node): Found[] {
  const scopes = [root, memberOf(root, 'settings')?.value, nodeAt(root, ['customizations', 'vscode', 'settings'])].filter(
    (node) => node !== undefined,
  );
  return VSCODE_SWITCHES.flatMap(([setting, isOn, meaning]) =>
    scopes.flatMap((scope) => settingsAt(scope, setting).flatMap((node) => (isOn(node) ? [{ setting, meaning, span: node.span }] : []))),
  );
}

function texts(root: Node, path: Path): { readonly text: string; readonly span: Span }[] {
  const node = nodeAt(root, path);
  if (node?.kind !== 'sequence') return [];
  return node.items.flatMap((item) => {
    const text = textOf(item);
    return text === undefined ? [] : [{ text, span: item.span }];
  });
}

function switched(root: Node, path: Path, on: string | true, meaning: string): Found[] {
  const node = nodeAt(root, path);
  const isOn = node?.kind === 'scalar' && (on === true ? node.value === true : node.value === on);
  return node && isOn ? [{ setting: `${path.join('.')}${on === true ? '' : `: ${on}`}`, meaning, span: node.span }] : [];
}

/** Source: code.claude.com/docs/en/settings, /permissions (a server’s rule is `mcp__server`, `mcp__server__*` or `mcp__*`). */
function inClaudeCode(root: Node): Found[] {
  const rules = (path: Path): Found[] =>
    texts(root, path)
      .filter(
        ({ text }) => text === '*' || (text.startsWith('mcp__') && (text.includes('*') || !text.slice('mcp__'.length).includes('__'))),
      )
      .map(({ text, span }) => ({
        setting: `${path.at(-1) === 'allow' ? 'permissions.allow' : 'allowedTools'}: ${text}`,
        meaning: text === '*' || text.startsWith('mcp__*') ? ALL : 'Every tool of that server runs without asking.',
        span,
      }));
  const projects = nodeAt(root, ['projects']);
  return [
    ...switched(root, ['permissions', 'defaultMode'], 'bypassPermissions', ALL),
    ...switched(root, ['skipDangerousModePermissionPrompt'], true, 'The warning before running without questions is off.'),
    ...switched(root, ['enableAllProjectMcpServers'], true, 'Every server of every repository’s .mcp.json starts without asking.'),
    ...rules(['permissions', 'allow']),
    ...(projects?.kind === 'mapping' ? projects.members.flatMap(({ key }) => rules(['projects', key, 'allowedTools'])) : []),
  ];
}

/** Source: cursor.com/docs/reference/permissions, cursor.com/docs/cli/reference/permissions. */
function inCursor(root: Node): Found[] {
  return [
    ...texts(root, ['mcpAllowlist'])
      .filter(({ text }) => text.includes('*'))
      .map(({ text, span }) => ({ setting: `mcpAllowlist: ${text}`, meaning: 'The tools of that pattern run without asking.', span })),
    ...texts(root, ['permissions', 'allow'])
      .filter(({ text }) => /^Mcp\(.*\*.*\)$/i.test(text))
      .map(({ text, span }) => ({ setting: `permissions.allow: ${text}`, meaning: 'The tools of that pattern run without asking.', span })),
  ];
}

/** Source: codex-rs/config (`approval_policy`, `sandbox_mode`), mcp_types.rs (`AppToolApproval`). */
function inCodex(root: Node): Found[] {
  const servers = nodeAt(root, ['mcp_servers']);
  const profiles = nodeAt(root, ['profiles']);
  return [
    ...switched(root, ['approval_policy'], 'never', ALL),
    ...switched(root, ['sandbox_mode'], 'danger-full-access', 'Commands run without a sandbox.'),
    ...(profiles?.kind === 'mapping'
      ? profiles.members.flatMap(({ key }) => switched(root, ['profiles', key, 'approval_policy'], 'never', ALL))
      : []),
    ...(servers?.kind === 'mapping'
      ? servers.members.flatMap(({ key }) =>
          switched(root, ['mcp_servers', key, 'default_tools_approval_mode'], 'approve', 'Every tool of that server runs without asking.'),
        )
      : []),
  ];
}

/** Source: packages/core/src/config/config.ts (`trust`), settingsSchema.ts. */
function inGemini(root: Node): Found[] {
  const servers = nodeAt(root, ['mcpServers']);
  return [
    ...switched(root, ['general', 'defaultApprovalMode'], 'yolo', ALL),
    ...(servers?.kind === 'mapping'
      ? servers.members.flatMap(({ key }) =>
          switched(root, ['mcpServers', key, 'trust'], true, 'Every tool of that server runs without asking.'),
        )
      : []),
  ];
}

/** Source: zed.dev/docs/ai/tool-permissions. */
function inZed(root: Node): Found[] {
  return [
    ...switched(root, ['agent', 'always_allow_tool_actions'], true, ALL),
    ...switched(root, ['agent', 'tool_permissions', 'default'], 'allow', ALL),
  ];
}

const CHECKS: Partial<Record<ClientId, (root: Node) => Found[]>> = {
  vscode: inVsCode,
  'claude-code': inClaudeCode,
  cursor: inCursor,
  codex: inCodex,
  'gemini-cli': inGemini,
  zed: inZed,
};

/** What switches asking off in a file of a client: its settings, and its servers’ own lists (`autoApprove`, `alwaysAllow`). */
export function findAutoApprovals(root: Node, location: Pick<Location, 'client' | 'path'>, entries: readonly Entry[] = []): AutoApproval[] {
  const found = CHECKS[location.client]?.(root) ?? [];
  for (const entry of entries) {
    for (const key of ['autoApprove', 'alwaysAllow']) {
      for (const { text, span } of texts(root, [...entry.path, key]))
        if (text === '*')
          found.push({ setting: `${entry.name}.${key}: *`, meaning: 'Every tool of that server runs without asking.', span });
    }
    for (const value of entry.values)
      if (value.where === 'argument' && DANGEROUS_OPTION.test(value.value))
        found.push({ setting: `${entry.name}: ${value.value}`, meaning: 'The command is told not to ask.', span: value.span });
  }
  return found.map((one) => ({ ...one, client: location.client, file: location.path }));
}

/** Files that hold such settings and no servers, besides those of `locate`. */
export function approvalLocations(from: Surroundings, workspace: Workspace): Location[] {
  const path = pathsOf(from);
  const { env, home } = from;
  const claude = env['CLAUDE_CONFIG_DIR'] ?? path.join(home, '.claude');
  const make = (client: ClientId, scope: Location['scope'], ...parts: string[]): Location => ({
    client,
    scope,
    path: path.join(...parts),
    format: 'json' satisfies Format,
    servers: [],
    editable: false,
  });
  return [
    make('claude-code', 'user', claude, 'settings.json'),
    make('claude-code', 'user', claude, 'settings.local.json'),
    make('cursor', 'user', home, '.cursor', 'permissions.json'),
    make('cursor', 'user', home, '.cursor', 'cli-config.json'),
    ...workspace.folders.flatMap((folder) => [
      make('claude-code', 'workspace', folder, '.claude', 'settings.json'),
      make('claude-code', 'workspace', folder, '.claude', 'settings.local.json'),
      make('cursor', 'workspace', folder, '.cursor', 'cli.json'),
    ]),
  ];
}
