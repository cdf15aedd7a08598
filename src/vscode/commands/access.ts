import * as vscode from 'vscode';
import { SHORT_GRANT_MS } from '../../authorization/approvals.ts';
import { describeGrant, isLive } from '../../authorization/grant.ts';
import { remaining, visible } from '../../common/text.ts';
import type { Decision } from '../../mcp/decision.ts';
import type { Server } from '../../mcp/server.ts';
import type { KnownTool } from '../../integrity/toolCatalog.ts';
import type { App } from '../app.ts';
import { askChoice, single, withoutIcons } from '../steps.ts';
import type { GrantRow } from '../views/grantsModel.ts';

interface ToolPick extends vscode.QuickPickItem {
  readonly server?: Server;
  readonly tool?: KnownTool;
  readonly effect?: Decision['effect'];
}

function effectOf(app: App, server: Server, tool: KnownTool): Decision['effect'] {
  return app.core.access.decide(app.principal, {
    server: server.id,
    serverLabel: server.label,
    method: 'tools/call',
    tool: tool.name,
    reads: tool.reads,
  }).effect;
}

const STATE = { allow: 'allowed', ask: 'asks', deny: 'no access' } as const;

function toolPicks(app: App, wanted: (effect: Decision['effect']) => boolean): ToolPick[] {
  const { core } = app;
  const picks: ToolPick[] = [];
  for (const server of core.servers.list()) {
    const tools = core.catalog
      .tools(server.id)
      .map((tool) => ({ tool, effect: effectOf(app, server, tool) }))
      .filter(({ effect }) => wanted(effect));
    if (tools.length > 0) picks.push({ label: server.label, kind: vscode.QuickPickItemKind.Separator });
    for (const { tool, effect } of tools.sort((a, b) => a.tool.name.localeCompare(b.tool.name))) {
      picks.push({
        label: withoutIcons(visible(tool.name, 80)),
        description: `${STATE[effect]}${tool.reads ? ', only reads' : ''}`,
        picked: effect !== 'deny',
        server,
        tool,
        effect,
      });
    }
  }
  return picks;
}

/** **Culvert: Toggle Tool Access…** Many at once; ticked is reachable for agents. */
export async function toggleToolAccess(app: App): Promise<void> {
  if (refuseWhilePaused(app)) return;
  const picks = toolPicks(app, () => true);
  const chosen = await vscode.window.showQuickPick(picks, {
    canPickMany: true,
    ignoreFocusOut: true,
    matchOnDescription: true,
    title: 'Culvert: Toggle Tool Access',
    placeHolder: 'Ticked tools are reachable for agents',
  });
  if (!chosen) return;
  for (const pick of picks) {
    if (!pick.server || !pick.tool) continue;
    const on = chosen.includes(pick);
    if (on === (pick.effect !== 'deny')) continue;
    app.core.access.set(pick.server.id, { kind: 'tools', names: [pick.tool.name] }, on ? 'allow' : 'deny', 'palette');
  }
}

/** **Culvert: Allow Tool for…** */
export async function allowTool(app: App): Promise<void> {
  if (refuseWhilePaused(app)) return;
  const picks = toolPicks(app, (effect) => effect !== 'allow');
  if (picks.length === 0) {
    void vscode.window.showInformationMessage('Every known tool is already allowed.');
    return;
  }
  const pick = await vscode.window.showQuickPick(picks, {
    title: 'Culvert: Allow Tool',
    placeHolder: 'Which tool?',
    matchOnDescription: true,
  });
  if (!pick?.server || !pick.tool) return;
  const { workspace, workspaceName } = app.principal;
  const how = await askChoice<'short' | 'hour' | 'workspace' | 'always'>(
    single(`Culvert: Allow ${visible(pick.tool.name, 60)}`),
    'For how long?',
    [
      { label: '$(clock) 15 minutes', value: 'short' },
      { label: '$(clock) 1 hour', value: 'hour' },
      ...(workspaceName === undefined
        ? []
        : [{ label: '$(folder) In this workspace', description: workspaceName, value: 'workspace' as const }]),
      { label: '$(check-all) Always', description: 'until you revoke it', value: 'always' },
    ],
  );
  if (how.kind !== 'value') return;
  const target = { kind: 'tools' as const, names: [pick.tool.name] };
  const { access } = app.core;
  // What denies it everywhere would win over a grant for this workspace.
  access.revoke(
    access
      .forServer(pick.server.id)
      .filter((g) => g.effect === 'deny' && JSON.stringify(g.target) === JSON.stringify(target))
      .map((g) => g.id),
  );
  access.give({
    server: pick.server.id,
    target,
    effect: 'allow',
    givenBy: 'palette',
    scope:
      how.value === 'workspace' && workspace !== undefined ? { workspace, ...(workspaceName === undefined ? {} : { workspaceName }) } : {},
    ...(how.value === 'short'
      ? { expiresAt: Date.now() + SHORT_GRANT_MS }
      : how.value === 'hour'
        ? { expiresAt: Date.now() + 4 * SHORT_GRANT_MS }
        : {}),
  });
}

/** **Culvert: Revoke…** Many at once. */
export async function revoke(app: App): Promise<void> {
  const { core } = app;
  const now = Date.now();
  const picks = core.servers.list().flatMap((server) => {
    const grants = core.access.forServer(server.id).filter((g) => isLive(g, now));
    return grants.length === 0
      ? []
      : [
          { label: server.label, kind: vscode.QuickPickItemKind.Separator, id: '' },
          ...grants.map((g) => ({
            label: withoutIcons(describeGrant(g)),
            description: g.expiresAt === undefined ? '' : `${remaining(g.expiresAt - now)} left`,
            detail: `given ${new Date(g.createdAt).toLocaleString()}`,
            id: g.id,
          })),
        ];
  });
  const chosen = await vscode.window.showQuickPick(picks, {
    canPickMany: true,
    title: 'Culvert: Revoke',
    placeHolder: 'Which grants shall end now?',
    ignoreFocusOut: true,
  });
  if (chosen) core.access.revoke(chosen.map((c) => c.id));
}

/** Sets what one row of the Grants view is. */
export function setRow(app: App, row: GrantRow | undefined, effect: 'allow' | 'ask' | 'deny', forMs?: number): void {
  if (row?.kind !== 'tool') return;
  app.core.access.set(row.server, row.target, effect, 'tree', forMs === undefined ? undefined : Date.now() + forMs);
}

/** Withdraws the grant of a row. */
export function revokeRow(app: App, row: GrantRow | undefined): void {
  if (row?.kind === 'grant') app.core.access.revoke([row.grant]);
}

/** **Culvert: Find Tool…** Among all servers, folded up or not. */
export async function findTool(app: App, reveal: (server: string, tool: string) => Promise<void>): Promise<void> {
  const pick = await vscode.window.showQuickPick(
    toolPicks(app, () => true).map((item) => ({ ...item, picked: false })),
    { title: 'Culvert: Find Tool', placeHolder: 'Name of a tool', matchOnDescription: true },
  );
  if (pick?.server && pick.tool) await reveal(pick.server.id, pick.tool.name);
}

function refuseWhilePaused(app: App): boolean {
  if (!app.core.access.policy().paused) return false;
  void vscode.window.showInformationMessage('All agent access is paused. Resume it first with “Culvert: Resume Agent Access”.');
  return true;
}
