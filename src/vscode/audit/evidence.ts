import * as vscode from 'vscode';
import { basename } from 'node:path';
import { endedGrants } from '../../audit/export/endedGrants.ts';
import {
  MAX_LISTED,
  evidenceHtml,
  evidenceMarkdown,
  gatherActivity,
  readActs,
  type Evidence,
  type EvidencePermission,
} from '../../audit/export/evidence.ts';
import { describeTarget, describeGrant, instant, isLive, type Grant } from '../../authorization/grant.ts';
import type { App } from '../app.ts';
import { askChoice, single } from '../steps.ts';
import { askWhere, openFile, writeOne } from './files.ts';
import { askPeriod, dateOf } from './period.ts';
import { withShare } from './progress.ts';

/** **Culvert: Create Evidence Report…** Who could do what, what was done, what was stopped, and whether the record holds. */
export async function createEvidenceReport(app: App, version: string): Promise<void> {
  const title = 'Culvert: Create Evidence Report';
  const form = await askChoice(single(title), 'In which form?', [
    { label: 'HTML', detail: 'A page laid out for printing, also to PDF. Nothing in it is loaded from anywhere.', value: 'html' as const },
    { label: 'Markdown', detail: 'For a repository or a ticket.', value: 'md' as const },
  ]);
  if (form.kind !== 'value') return;
  const period = await askPeriod(title, Date.now());
  if (!period) return;
  const name = `culvert-evidence-${period.all ? dateOf(Date.now()) : period.name.replaceAll(' ', '-')}.${form.value}`;
  const path = await askWhere(title, name, { [form.value === 'html' ? 'HTML' : 'Markdown']: [form.value] });
  if (path === undefined) return;
  const { core } = app;
  const done = await withShare('Culvert: making the evidence report…', async ({ signal, onProgress }) => {
    await core.audit.checkpoint();
    const now = Date.now();
    const { acts, grants } = await core.record.span(period, signal);
    const verification = await core.audit.verify(signal, onProgress);
    // What is all is told from its first day on.
    const [first] = period.all ? core.audit.at([(await core.record.span({ from: 0, to: now }, signal)).low ?? 0]) : [];
    const span = { from: first?.at ?? (period.all ? now : period.from), to: Math.min(period.to, now) };
    const ended = endedGrants(
      readActs(grants),
      span,
      new Set(core.access.all().flatMap((grant) => (isLive(grant, now) ? [grant.id] : []))),
    );
    const activity = await gatherActivity(core.index, acts, { from: span.from, to: Math.max(span.to, span.from + 1) });
    const evidence: Evidence = {
      ...span,
      ...activity,
      made: now,
      version,
      permissions: permissionsOf(app, now, span.to),
      ended: ended.slice(-MAX_LISTED),
      moreEnded: ended.length > MAX_LISTED,
      labels: await labelsOf(app, [...activity.summary.timeline, ...ended]),
      verification,
      keyThumbprint: await core.record.thumbprint(),
    };
    await writeOne(path, form.value === 'html' ? evidenceHtml(evidence) : evidenceMarkdown(evidence));
    return true;
  });
  if (done !== true) return;
  core.act({ act: 'exported', subject: 'Evidence report', detail: `${period.name}, to ${basename(path)}` });
  const choice = await vscode.window.showInformationMessage(
    `The evidence report is in ${basename(path)}.${form.value === 'html' ? ' Open it in a browser and print it to make a PDF.' : ''}`,
    'Show File',
    ...(form.value === 'html' ? ['Open in Browser'] : []),
  );
  if (choice === 'Show File') await openFile(path);
  if (choice === 'Open in Browser') await vscode.env.openExternal(vscode.Uri.file(path));
}

/** The grants that are in force now, of those that were given before `to`. */
function permissionsOf({ core }: App, now: number, to: number): EvidencePermission[] {
  return core.servers.list().flatMap(({ id, label }) =>
    core.access
      .forServer(id)
      .filter((grant) => isLive(grant, now) && grant.createdAt <= to)
      .map((grant) => ({
        who: whoOf(grant),
        server: label,
        what: grant.conditions ? describeGrant(grant) : describeTarget(grant.target),
        effect: grant.effect,
        until:
          grant.expiresAt === undefined ? (grant.endsWith ? `the end of its ${grant.endsWith.kind}` : 'revoked') : instant(grant.expiresAt),
        givenBy: `${grant.givenBy}, ${instant(grant.createdAt)}`,
      })),
  );
}

/** What servers are called; those that are gone as they were called last. */
async function labelsOf({ core }: App, named: readonly { readonly server: string }[]): Promise<Map<string, string>> {
  const labels = new Map(core.servers.list().map(({ id, label }) => [id, label]));
  for (const { server } of named) {
    if (labels.has(server)) continue;
    const { calls } = await core.index.calls({ server }, { limit: 1 });
    labels.set(server, calls[0] ? `${calls[0].intent.serverLabel} (removed)` : server);
  }
  return labels;
}

function whoOf({ scope }: Grant): string {
  const who = scope.client === undefined ? 'every agent' : scope.client === 'vscode' ? 'VS Code' : 'agents outside the editor';
  const where = [
    ...(scope.workspaceName === undefined ? (scope.workspace === undefined ? [] : ['one workspace']) : [scope.workspaceName]),
    ...(scope.branch === undefined ? [] : [`branch ${scope.branch}`]),
    ...(scope.window === undefined ? [] : ['one window']),
    ...(scope.session === undefined ? [] : ['one session']),
  ];
  return where.length > 0 ? `${who} in ${where.join(', ')}` : who;
}
