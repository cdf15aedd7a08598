import * as vscode from 'vscode';
import { advise, type Advice } from '../../authorization/advise.ts';
import type { NewGrant } from '../../authorization/grantChanges.ts';
import { describeGrant, isLive, type Grant } from '../../authorization/grant.ts';
import type { App } from '../app.ts';
import { usageOf } from '../recordedCalls.ts';
import { callsSince } from '../recordReading.ts';
import { askMany, single, withoutIcons } from '../steps.ts';

/** How far back uses are looked for, milliseconds. */
const REVIEWED_MS = 30 * 24 * 60 * 60 * 1000;
/** By how much a grant that ends soon is prolonged, milliseconds. */
const LONGER_MS = 60 * 60 * 1000;

const TITLE = 'Culvert: Review Access';

/** **Culvert: Review Access…** Grants that were not used, are wider than what was used, or end soon: tick what shall be done. */
export async function reviewAccess(app: App): Promise<void> {
  const { core } = app;
  const since = Date.now() - REVIEWED_MS;
  const calls = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Culvert: reading the record…', cancellable: true },
    (_progress, token) => callsSince(app, since, () => token.isCancellationRequested),
  );
  const advice = advise(core.access.all(), usageOf(calls), Date.now(), since);
  if (advice.length === 0) {
    void vscode.window.showInformationMessage('There is nothing to tighten: every grant is in use, and none is wider than its use.');
    return;
  }
  const picked = await askMany(
    single(TITLE),
    'Tick what shall be done',
    advice.map((one) => ({
      ...deedOf(one),
      detail: withoutIcons(`${core.servers.get(one.grant.server)?.label ?? 'A removed server'}: ${one.reason}`),
      value: one,
    })),
    [],
  );
  if (picked.kind !== 'value') return;
  let done = 0;
  for (const one of picked.value) if (apply(app, one)) done++;
  if (picked.value.length > 0)
    void vscode.window.showInformationMessage(
      done === picked.value.length
        ? `${done === 1 ? 'One grant was' : `${done} grants were`} changed.`
        : `${done} of ${picked.value.length} grants were changed; the others had changed meanwhile.`,
    );
}

/** What ticking does, in words. */
function deedOf({ kind, grant, words }: Advice): { readonly label: string } {
  const what = withoutIcons(describeGrant(grant));
  switch (kind) {
    case 'unused':
      return { label: `$(trash) Revoke: ${what}` };
    case 'ended':
      return { label: `$(trash) Remove from the list: ${what}` };
    case 'expires-soon':
      return { label: `$(clock) Keep another hour: ${what}` };
    case 'wider-than-used':
      return { label: `$(filter) Narrow to: ${withoutIcons(words ?? '')}` };
  }
}

function apply({ core: { access } }: App, { kind, grant, narrowed }: Advice): boolean {
  const now = access.all().find((g) => g.id === grant.id);
  if (!now) return false;
  if (kind === 'expires-soon') {
    if (now.expiresAt === undefined || !isLive(now, Date.now())) return false;
    const terms: NewGrant & Partial<Grant> = { ...now, givenBy: 'advice', expiresAt: now.expiresAt + LONGER_MS };
    delete terms.version;
    delete terms.id;
    delete terms.createdAt;
    return access.replace(grant.id, terms) !== undefined;
  }
  if (kind === 'wider-than-used') return narrowed !== undefined && access.replace(grant.id, narrowed) !== undefined;
  access.revoke([grant.id]);
  return true;
}
