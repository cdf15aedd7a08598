import * as vscode from 'vscode';
import { describeGrant, isLive } from '../../authorization/grant.ts';
import type { App } from '../app.ts';
import type { GrantDocuments } from '../grantDocuments.ts';
import { withoutIcons } from '../steps.ts';

/** **Culvert: Edit Grant…** As JSON, in an editor; takes effect when it is saved. */
export async function editGrant(app: App, documents: GrantDocuments | undefined, given: string | undefined): Promise<void> {
  const id = given ?? (await pickGrant(app));
  const grant = app.core.access.all().find((g) => g.id === id);
  if (grant) await documents?.edit(grant);
}

async function pickGrant({ core }: App): Promise<string | undefined> {
  const now = Date.now();
  const picks = core.servers.list().flatMap((server) => {
    const grants = core.access.forServer(server.id).filter((g) => isLive(g, now));
    if (grants.length === 0) return [];
    return [
      { label: withoutIcons(server.label), kind: vscode.QuickPickItemKind.Separator, id: '' },
      ...grants.map((g) => ({ label: withoutIcons(describeGrant(g)), id: g.id })),
    ];
  });
  const pick = await vscode.window.showQuickPick(picks, { title: 'Culvert: Edit Grant', placeHolder: 'Which grant?' });
  return pick?.id;
}
