import * as vscode from 'vscode';
import type { NewGrant } from '../../authorization/grantChanges.ts';
import { CallArguments } from '../../authorization/arguments.ts';
import type { Grant } from '../../authorization/grant.ts';
import { widenings, type Proposal } from '../../authorization/widenings.ts';
import { visible } from '../../common/text.ts';
import type { Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { callOf, toolCall } from '../calls.ts';
import { branchHere } from '../branchWatch.ts';
import { reaches, spellOut, termsOf, type Reach, type ReachContext } from '../reach.ts';
import { askChoice, single, withoutIcons } from '../steps.ts';
import type { GrantRow } from '../views/grantsModel.ts';
import { refuseWhilePaused, toolPicks } from './access.ts';

/** Entries of the record that are looked through for the last call of a tool. */
const LOOK_BACK = 1_000;

/** A tool, or the resources or prompts of a server, and perhaps the arguments of the call that the grant is shaped from. */
export interface AllowedTool {
  readonly server: Server;
  readonly tool: string | { readonly kind: 'resources' | 'prompts' };
  /** JSON text, secrets taken out. Default: of the last call on the record. */
  readonly argumentsText?: string | undefined;
}

/** **Culvert: Allow Tool for…** Which tool, what of it (from its last call), for how long; each spelled out. */
export async function allowTool(app: App, given?: AllowedTool): Promise<void> {
  if (refuseWhilePaused(app)) return;
  const which = given ?? (await pickTool(app));
  if (!which) return;
  const title = `Culvert: Allow ${typeof which.tool === 'string' ? visible(which.tool, 60) : which.tool.kind}`;
  const proposals = proposalsOf(app, which);
  const context: ReachContext = {
    task: app.core.access.tasks.for(which.server.id)?.name,
    workspaceName: app.principal.workspaceName,
    branch: branchHere(),
  };
  for (;;) {
    const proposal = await pickProposal(title, proposals);
    if (!proposal) return;
    const reach = await pickReach(title, proposal, context, proposals.length > 1);
    if (reach === 'back') continue;
    if (reach) give(app, which, proposal, reach, context);
    return;
  }
}

/** What a row of Grants stands for. */
export function allowedBy(app: App, row: GrantRow): AllowedTool | undefined {
  const server = app.core.servers.get(row.server);
  if (!server || row.kind !== 'tool') return undefined;
  const { kind } = row.target;
  if (kind === 'resources' || kind === 'prompts') return { server, tool: { kind } };
  return row.tool === undefined ? undefined : { server, tool: row.tool };
}

async function pickTool(app: App): Promise<AllowedTool | undefined> {
  const picks = toolPicks(app, (effect) => effect !== 'allow');
  if (picks.length === 0) {
    void vscode.window.showInformationMessage('Every known tool is already allowed.');
    return undefined;
  }
  const pick = await vscode.window.showQuickPick(picks, {
    title: 'Culvert: Allow Tool',
    placeHolder: 'Which tool?',
    matchOnDescription: true,
  });
  return pick?.server && pick.tool ? { server: pick.server, tool: pick.tool.name } : undefined;
}

/** What could be allowed. With nothing known of a call that is the tool and nothing else. */
function proposalsOf(app: App, { server, tool, argumentsText }: AllowedTool): readonly Proposal[] {
  const { core } = app;
  if (typeof tool !== 'string') return widenings(callOf(server, core.credentials, tool), undefined);
  const text = argumentsText ?? lastArguments(app, server, tool);
  const call = toolCall(server, core.credentials, tool, core.catalog.reads(server.id, tool));
  const ladder = widenings(call, text === undefined ? undefined : CallArguments.fromText(text));
  return ladder.some((p) => p.conditions) ? ladder : ladder.filter((p) => p.id === 'tool');
}

function lastArguments({ core }: App, server: Server, tool: string): string | undefined {
  const [last] = core.audit.activities({
    limit: 1,
    server: server.id,
    lookBack: LOOK_BACK,
    meant: ({ intent }) => intent.method === 'tools/call' && intent.tool === tool && intent.arguments !== undefined,
  });
  return last?.intent.arguments;
}

async function pickProposal(title: string, proposals: readonly Proposal[]): Promise<Proposal | undefined> {
  if (proposals.length <= 1) return proposals[0];
  const picked = await askChoice(
    single(title),
    'What of it? From its last call on the record',
    proposals.map((proposal) => ({
      label: `$(filter) ${withoutIcons(proposal.label)}`,
      detail: withoutIcons(proposal.words),
      value: proposal,
    })),
  );
  return picked.kind === 'value' ? picked.value : undefined;
}

async function pickReach(
  title: string,
  proposal: Proposal,
  context: ReachContext,
  canGoBack: boolean,
): Promise<Reach | 'back' | undefined> {
  const now = Date.now();
  const picked = await askChoice(
    { ...single(title), canGoBack },
    'For how long? Each line says what would be allowed',
    reaches(context).map((reach) => ({
      label: `$(${reach.icon}) ${withoutIcons(reach.label)}`,
      description: withoutIcons(reach.description),
      detail: withoutIcons(spellOut(termsOf(proposal, reach, context, now), now)),
      value: reach,
    })),
  );
  if (picked.kind === 'back') return 'back';
  return picked.kind === 'value' ? picked.value : undefined;
}

function give(
  app: App,
  { server }: AllowedTool,
  proposal: Proposal,
  { forMs, uses, where }: Reach,
  { branch }: Pick<ReachContext, 'branch'>,
): void {
  const { access } = app.core;
  const { workspace, workspaceName, window } = app.principal;
  const target = JSON.stringify(proposal.target);
  const same = (effect: Grant['effect']) =>
    access.forServer(server.id).filter((g) => g.effect === effect && !g.conditions && JSON.stringify(g.target) === target);
  // A denial would win over this grant. What is not allowed by it asks from now on, instead of whatever a wider grant says.
  for (const { scope } of same('deny'))
    access.give({ server: server.id, target: proposal.target, effect: 'ask', scope, givenBy: 'palette' });
  const grant: NewGrant = {
    server: server.id,
    target: proposal.target,
    effect: 'allow',
    givenBy: 'palette',
    scope: {
      ...((where === 'workspace' || where === 'branch') && workspace !== undefined
        ? { workspace, ...(workspaceName === undefined ? {} : { workspaceName }) }
        : {}),
      // As it was when the user read it, whatever is checked out since.
      ...(where === 'branch' && branch !== undefined ? { branch } : {}),
    },
    // Otherwise what asks about just this would go on asking.
    answers: same('ask')
      .slice(0, 16)
      .map((g) => g.id),
    ...(proposal.conditions ? { conditions: proposal.conditions } : {}),
    ...(forMs === undefined ? {} : { expiresAt: Date.now() + forMs }),
    ...(uses === undefined ? {} : { uses }),
    ...(where === 'window' ? { endsWith: { kind: 'window', window } } : {}),
  };
  access.give(grant);
}
