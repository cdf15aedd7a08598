import * as vscode from 'vscode';
import { readFile } from 'node:fs/promises';
import type { NewGrant } from '../../authorization/grantChanges.ts';
import type { Policy } from '../../authorization/decide.ts';
import { loadExpressions } from '../../authorization/expressions.ts';
import { describeGrant, isLive, type Grant } from '../../authorization/grant.ts';
import { loadCedarLayer } from '../../authorization/policy/cedar.ts';
import { WORKSPACE_POLICY_PATH, workspaceLayer } from '../../authorization/policy/jsonPolicy.ts';
import type { PolicyLayer } from '../../authorization/policy/layer.ts';
import type { RecordedCall } from '../../authorization/rehearse.ts';
import type { App } from '../app.ts';
import type { GrantDocuments } from '../grantDocuments.ts';
import { recordedCall } from '../recordedCalls.ts';
import { callsSince, nextTurn, readerOf } from '../recordReading.ts';
import { compareRehearsals, rehearsalText } from '../rehearsalText.ts';
import { askChoice, askMany, single, withoutIcons } from '../steps.ts';
import type { RecordDocuments } from '../recordDocument.ts';

/** What is tried. */
interface Change {
  readonly words: string;
  readonly grants: readonly Grant[];
  readonly policy: Policy;
}

const TITLE = 'Culvert: Rehearse Policy';
const DAY_MS = 24 * 60 * 60 * 1000;

/** **Culvert: Rehearse Policy…** What a change would flip of the calls on the record. Changes nothing. */
export async function rehearsePolicy(app: App, grants: GrantDocuments | undefined, documents: RecordDocuments): Promise<void> {
  const change = await pickChange(app, grants);
  if (!change) return;
  const days = await askChoice(single(TITLE), 'Which calls?', [
    { label: 'Of the last day', value: 1 },
    { label: 'Of the last 7 days', value: 7 },
    { label: 'Of the last 30 days', value: 30 },
  ]);
  if (days.kind !== 'value') return;
  const { access } = app.core;
  const text = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Culvert: rehearsing…', cancellable: true },
    async (_progress, token) => {
      const activities = await callsSince(app, Date.now() - days.value * DAY_MS, () => token.isCancellationRequested);
      const reader = readerOf(app);
      const calls: RecordedCall[] = [];
      for (const [at, activity] of activities.entries()) {
        const call = recordedCall(activity, reader);
        if (call) calls.push(call);
        if (at % 100 === 99) await nextTurn();
      }
      const expressions = await loadExpressions();
      const common = { now: Date.now(), facts: { tools: { expressions }, taskRuns: (task: string) => access.tasks.runs(task) } };
      const result = await compareRehearsals(
        calls,
        { ...common, grants: access.all(), policy: access.policy() },
        { ...common, grants: change.grants, policy: change.policy },
        nextTurn,
      );
      if (token.isCancellationRequested) return undefined;
      return rehearsalText(change.words, days.value === 1 ? 'the last day' : `the last ${days.value} days`, result);
    },
  );
  if (text !== undefined) await documents.showDetails('Rehearsal', text);
}

async function pickChange(app: App, grants: GrantDocuments | undefined): Promise<Change | undefined> {
  const open = vscode.window.activeTextEditor?.document;
  const edited = open && grants?.read(open);
  const isPolicy = open?.uri.path.endsWith(`/${WORKSPACE_POLICY_PATH}`) === true || open?.uri.path.endsWith('.cedar') === true;
  const hasGrants = app.core.access.all().some((g) => isLive(g, Date.now()));
  const choice = await askChoice<'grant' | 'editor' | 'revoke' | 'file' | 'none'>(single(TITLE), 'What would change?', [
    ...(edited ? [{ label: '$(edit) The grant in the editor', description: 'as it stands there', value: 'grant' as const }] : []),
    ...(isPolicy
      ? [{ label: '$(edit) The policy in the editor', description: 'as it stands there, saved or not', value: 'editor' as const }]
      : []),
    ...(hasGrants ? [{ label: '$(trash) Some grants are revoked…', description: '', value: 'revoke' as const }] : []),
    { label: '$(file) A policy from a file…', description: 'culvert.json or Cedar', value: 'file' },
    { label: '$(circle-slash) No policy above the grants', description: 'the grants alone', value: 'none' },
  ]);
  if (choice.kind !== 'value') return undefined;
  const { access } = app.core;
  const [all, policy] = [access.all(), access.policy()];
  switch (choice.value) {
    case 'grant':
      return (
        edited && {
          words: `the grant in the editor: ${describeGrant(edited.after)}`,
          grants: replaced(all, edited.before, edited.after),
          policy,
        }
      );
    case 'editor':
      return open && withLayer(all, policy, open.uri.path, open.getText());
    case 'revoke':
      return pickRevoked(app, all, policy);
    case 'file':
      return pickFile(all, policy);
    case 'none':
      return { words: 'no policy above the grants', grants: all, policy: { ...policy, layers: [] } };
  }
}

async function pickRevoked(app: App, all: readonly Grant[], policy: Policy): Promise<Change | undefined> {
  const now = Date.now();
  const picked = await askMany(
    single(TITLE),
    'Which grants would be revoked?',
    all
      .filter((g) => isLive(g, now))
      .map((g) => ({
        label: withoutIcons(describeGrant(g)),
        description: withoutIcons(app.core.servers.get(g.server)?.label ?? ''),
        value: g.id,
      })),
    [],
  );
  if (picked.kind !== 'value' || picked.value.length === 0) return undefined;
  const gone = all.filter((g) => picked.value.includes(g.id));
  return {
    words: `without ${gone.map((g) => `“${describeGrant(g)}”`).join(', ')}`,
    grants: all.filter((g) => !gone.includes(g)),
    policy,
  };
}

async function pickFile(all: readonly Grant[], policy: Policy): Promise<Change | undefined> {
  const [file] =
    (await vscode.window.showOpenDialog({ title: TITLE, openLabel: 'Rehearse', filters: { Policies: ['json', 'jsonc', 'cedar'] } })) ?? [];
  return file && withLayer(all, policy, file.fsPath, await readFile(file.fsPath, 'utf8'));
}

/** The policies with this one instead of the one of the same kind. */
async function withLayer(grants: readonly Grant[], policy: Policy, source: string, text: string): Promise<Change | undefined> {
  const layer: PolicyLayer | undefined = source.endsWith('.cedar')
    ? await loadCedarLayer({ source, text, protection: { ok: true } })
    : workspaceLayer(source, text);
  if (!layer) return undefined;
  const [problem] = layer.problems;
  if (problem) {
    void vscode.window.showErrorMessage(
      `${source} can’t be rehearsed. Line ${problem.line + 1}: ${problem.message} In force, it would deny everything.`,
    );
    return undefined;
  }
  const others = (policy.layers ?? []).filter((l) => l.name !== layer.name);
  return { words: `the policy ${source}`, grants, policy: { ...policy, layers: [...others, layer] } };
}

function replaced(all: readonly Grant[], before: Grant, after: NewGrant): readonly Grant[] {
  return all.map((g) => (g.id === before.id ? { version: 2, id: g.id, createdAt: g.createdAt, ...after } : g));
}
