import * as vscode from 'vscode';
import { describeGrant, isLive } from '../../authorization/grant.ts';
import { visible } from '../../common/text.ts';
import type { Decision } from '../../mcp/decision.ts';
import type { Server } from '../../mcp/server.ts';
import type { KnownTool } from '../../integrity/toolCatalog.ts';
import type { App } from '../app.ts';
import { toolCall } from '../calls.ts';
import { timeLeft } from '../reach.ts';
import { withoutIcons } from '../steps.ts';
import type { GrantRow } from '../views/grantsModel.ts';

/** A tool in a list to choose from; separators have none. */
export interface ToolPick extends vscode.QuickPickItem {
  readonly server?: Server;
  readonly tool?: KnownTool;
  readonly effect?: Decision['effect'];
}

const STATE = { allow: 'allowed', ask: 'asks', deny: 'no access' } as const;

/** The tools of all servers with how access to them stands; `wanted` by what is decided about most calls. */
export function toolPicks(app: App, wanted: (effect: Decision['effect']) => boolean): ToolPick[] {
  const { core, caller } = app;
  const picks: ToolPick[] = [];
  for (const server of core.servers.list()) {
    const tools = core.catalog
      .tools(server.id)
      .map((tool) => {
        const call = toolCall(server, core.credentials, tool.name, tool.reads);
        const { effect } = core.access.decide(caller, call);
        return { tool, effect, reachable: core.access.prospect(caller, call).effect };
      })
      .filter(({ effect }) => wanted(effect));
    if (tools.length > 0) picks.push({ label: withoutIcons(server.label), kind: vscode.QuickPickItemKind.Separator });
    for (const { tool, effect, reachable } of tools.sort((a, b) => a.tool.name.localeCompare(b.tool.name))) {
      const state = effect === 'deny' && reachable !== 'deny' ? 'allowed under conditions' : STATE[effect];
      picks.push({
        label: withoutIcons(visible(tool.name, 80)),
        description: `${state}${tool.reads ? ', only reads' : ''}`,
        picked: reachable !== 'deny',
        server,
        tool,
        effect: reachable,
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

/** **Culvert: Revoke…** Many at once. */
export async function revoke(app: App): Promise<void> {
  const { core } = app;
  const now = Date.now();
  const picks = core.servers.list().flatMap((server) => {
    const grants = core.access.forServer(server.id).filter((g) => isLive(g, now));
    return grants.length === 0
      ? []
      : [
          { label: withoutIcons(server.label), kind: vscode.QuickPickItemKind.Separator, id: '' },
          ...grants.map((g) => ({
            label: withoutIcons(describeGrant(g)),
            description: g.expiresAt === undefined ? '' : timeLeft(g.expiresAt - now),
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
    matchOnDetail: true,
  });
  if (chosen) core.access.revoke(chosen.map((c) => c.id));
}

/** Sets what one row of the Grants view is. */
export function setRow(app: App, row: GrantRow | undefined, effect: 'allow' | 'ask' | 'deny', forMs?: number): void {
  if (!row) sayMissed();
  if (row?.kind !== 'tool') return;
  app.core.access.set(row.server, row.target, effect, 'tree', forMs === undefined ? undefined : Date.now() + forMs);
}

/** Withdraws the grant of a row. */
export function revokeRow(app: App, row: GrantRow | undefined): void {
  if (!row) sayMissed();
  if (row?.kind === 'grant') app.core.access.revoke([row.grant]);
}

/** VS Code forgets which row was meant while it draws the view anew. Who denied something must not think that it is denied. */
function sayMissed(): void {
  void vscode.window.showWarningMessage('Nothing was changed: the view was being drawn anew at that moment. Please do it once more.');
}

/** **Culvert: Find Tool…** Among all servers, folded up or not. */
export async function findTool(app: App, reveal: (server: string, tool: string) => Promise<void>): Promise<void> {
  const pick = await vscode.window.showQuickPick(
    toolPicks(app, () => true),
    {
      title: 'Culvert: Find Tool',
      placeHolder: 'Name of a tool',
      matchOnDescription: true,
    },
  );
  if (pick?.server && pick.tool) await reveal(pick.server.id, pick.tool.name);
}

/** Says so while everything is paused, where a change would seem to do nothing. */
export function refuseWhilePaused(app: App): boolean {
  if (!app.core.access.policy().paused) return false;
  void vscode.window.showInformationMessage('All agent access is paused. Resume it first with “Culvert: Resume Agent Access”.');
  return true;
}
