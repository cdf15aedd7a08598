import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import type { NotASecretScope, StoredFinding } from '../../inspection/findingLog.ts';
import type { App } from '../app.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { askChoice, single, withoutIcons, type Choice } from '../steps.ts';
import { describeDecision, explainFinding, ROTATE_RULE, titleOf, type RuleNote } from '../views/leakTexts.ts';
import type { FindingRow, LeakRow } from '../views/leakRows.ts';
import { isPattern } from '../views/leakWarningsView.ts';
import { replaceCredential } from './credentials.ts';

/** The finding behind a row as it is now: the row may have been drawn before it changed. */
function findingOf(app: App, row: LeakRow | undefined): StoredFinding | undefined {
  return row?.kind === 'finding' ? app.core.findings.get(row.finding.id) : undefined;
}

/** A click on a finding: it counts as read, and its record opens where there is one. */
export async function openFinding(app: App, documents: RecordDocuments, row: FindingRow | undefined): Promise<void> {
  const finding = findingOf(app, row);
  if (!finding) return;
  app.core.findings.markRead([finding.id]);
  if (finding.exchange === '') await explainFindingInFull(app, documents, row);
  else await documents.showRecord(finding.exchange);
}

/** **Dismiss** */
export function dismissFinding(app: App, row: LeakRow | undefined): void {
  const finding = findingOf(app, row);
  if (!finding) return;
  app.core.findings.setDismissed(finding.id, true);
  app.core.act({ act: 'finding-dismissed', server: finding.server, subject: finding.subject });
}

/** **Bring Back** */
export function restoreFinding(app: App, row: LeakRow | undefined): void {
  const finding = findingOf(app, row);
  if (!finding) return;
  app.core.findings.setDismissed(finding.id, false);
  app.core.act({ act: 'finding-restored', server: finding.server, subject: finding.subject });
}

/** **Explain** */
export async function explainFindingInFull(app: App, documents: RecordDocuments, row: LeakRow | undefined): Promise<void> {
  const finding = findingOf(app, row);
  if (!finding) return;
  app.core.findings.markRead([finding.id]);
  const server = app.core.servers.get(finding.server)?.label ?? (finding.server === '' ? 'This machine' : 'a removed server');
  const rule = await ruleNote(finding);
  const lines = [
    ...explainFinding(finding, server, rule),
    `First ${new Date(finding.firstAt).toLocaleString()}, last ${new Date(finding.lastAt).toLocaleString()}, ${finding.count === 1 ? 'once' : `${finding.count} times`} in all. Rule: ${finding.rule}.`,
  ];
  const page = rule && !isKnown(finding) ? ['Open the Provider’s Page'] : [];
  const actions = [
    ...(finding.exchange === '' ? [] : ['Show Record']),
    ...(isKnown(finding) || finding.rule === ROTATE_RULE ? ['Rotate Credential…'] : []),
    ...(app.core.findings.canBeHarmless(finding) ? ['Not a Secret…'] : []),
    ...page,
  ];
  const choice = await vscode.window.showInformationMessage(titleOf(finding), { modal: true, detail: lines.join('\n\n') }, ...actions);
  const found: FindingRow = { kind: 'finding', finding };
  if (choice === 'Show Record') await documents.showRecord(finding.exchange);
  if (choice === 'Rotate Credential…') await rotateCredential(app, found);
  if (choice === 'Not a Secret…') await notASecret(app, found);
  if (choice === 'Open the Provider’s Page' && rule) await vscode.env.openExternal(vscode.Uri.parse(rule.docs, true));
}

const SCOPES: readonly (Choice<NotASecretScope> & { readonly needs?: 'tool' | 'workspace' })[] = [
  { label: '$(tools) From this tool', description: 'this value only', value: 'tool', needs: 'tool' },
  { label: '$(folder) In this workspace', description: 'this value only', value: 'workspace', needs: 'workspace' },
  { label: '$(globe) Everywhere', description: 'this value only', value: 'rule' },
];

/** **Not a Secret…** The value is told by its digest; another one is looked at as before. */
export async function notASecret(app: App, row: LeakRow | undefined): Promise<void> {
  const finding = findingOf(app, row);
  if (!finding) return;
  if (!app.core.findings.canBeHarmless(finding)) {
    void vscode.window.showInformationMessage(
      'This is a value from your vault, or no value at all, so it can’t be told to be harmless. Dismiss the warning, or forget the credential.',
    );
    return;
  }
  const scopes = SCOPES.filter(({ needs }) => needs === undefined || finding[needs] !== undefined);
  const answer = await askChoice(
    {
      ...single('Culvert: Not a Secret'),
      prompt: `${titleOf(finding)}. The value will pass and be told no more; any other value is looked at as before.`,
    },
    'Where is it none?',
    scopes,
  );
  if (answer.kind !== 'value') return;
  const decision = app.core.findings.notASecret(finding.id, answer.value);
  if (!decision) return;
  app.core.act({ act: 'not-a-secret', server: finding.server, subject: finding.rule, detail: answer.value, id: decision.id });
  const undo = await vscode.window.showInformationMessage(
    `That value passes from now on. “Culvert: Review Leak Decisions…” takes it back at any time.`,
    'Undo',
  );
  if (undo === 'Undo') takeBack(app, decision.id);
}

/** **Culvert: Review Leak Decisions…** What was said to be no secret, and what may leave: each can be taken back. */
export async function reviewLeakDecisions(app: App): Promise<void> {
  const { findings, servers } = app.core;
  const decisions = findings.decisions();
  if (decisions.length === 0) {
    void vscode.window.showInformationMessage('Nothing was decided about leaks yet.');
    return;
  }
  const picks = decisions.map((decision) => {
    const { label, detail } = describeDecision(decision, (id) => servers.get(id)?.label ?? 'a removed server');
    return {
      id: decision.id,
      label: withoutIcons(label),
      detail: withoutIcons(detail),
      description: new Date(decision.createdAt).toLocaleString(),
    };
  });
  const chosen = await vscode.window.showQuickPick(picks, {
    canPickMany: true,
    ignoreFocusOut: true,
    matchOnDetail: true,
    title: 'Culvert: Review Leak Decisions',
    placeHolder: 'Which of these shall not count any more?',
  });
  for (const { id } of chosen ?? []) takeBack(app, id);
}

function takeBack(app: App, decision: string): void {
  const known = app.core.findings.decisions().find(({ id }) => id === decision);
  if (!known) return;
  app.core.findings.undo(decision);
  app.core.act({ act: 'leak-decision-undone', subject: known.rule, detail: known.verdict, id: decision });
}

/** **Rotate Credential…** The provider’s page, then Replace. */
export async function rotateCredential(app: App, row: LeakRow | undefined): Promise<void> {
  const finding = findingOf(app, row);
  if (!finding) return;
  app.core.findings.markRead([finding.id]);
  const credential = isPattern(finding) ? undefined : app.core.credentials.list().find(({ name }) => name === finding.subject);
  const page = await providerPage(app, finding, credential?.id);
  const detail = [
    'Make a new one at the provider and revoke the old one there: who has seen it can use it until then.',
    credential
      ? 'Then enter the new one here. The next call uses it.'
      : 'It is not in Culvert’s vault; whatever uses it needs the new one.',
  ].join('\n\n');
  const open = 'Open the Provider’s Page';
  const enter = 'Enter the New Value…';
  const choice = await vscode.window.showWarningMessage(
    `Replace “${visible(finding.subject, 60)}”?`,
    { modal: true, detail: page === undefined ? `${detail}\n\nCulvert does not know this provider’s page.` : detail },
    ...(page === undefined ? [] : [open]),
    ...(credential ? [enter] : []),
  );
  if (choice === undefined) return;
  if (choice === open && page !== undefined) await vscode.env.openExternal(vscode.Uri.parse(page, true));
  if (credential) await replaceCredential(app, credential);
}

/** **Revoke Access**: whatever lets the tool be called ends. */
export async function revokeFindingAccess(app: App, row: LeakRow | undefined): Promise<void> {
  const finding = findingOf(app, row);
  const server = finding && app.core.servers.get(finding.server);
  if (!finding || !server || finding.tool === undefined) return;
  const tool = visible(finding.tool, 60);
  const revoke = 'Revoke Access';
  const choice = await vscode.window.showWarningMessage(
    `Revoke access to “${tool}” of ${server.label}?`,
    { modal: true, detail: 'Agents can’t call it any more, in any window, until you allow it again in Grants.' },
    revoke,
  );
  if (choice !== revoke) return;
  app.core.access.set(server.id, { kind: 'tools', names: [finding.tool] }, 'deny', 'tree');
  app.core.findings.markRead([finding.id]);
  void vscode.window.showInformationMessage(`Agents have no access to “${tool}” any more.`);
}

function isKnown({ tier, rule }: StoredFinding): boolean {
  return (tier === 'known' || tier === undefined) && rule !== 'tool-changed';
}

async function ruleNote(finding: StoredFinding): Promise<RuleNote | undefined> {
  if (!isPattern(finding)) return undefined;
  const { RULES } = await import('../../detection/rules/all.ts');
  return RULES.find(({ id }) => id === finding.rule);
}

/** Where the provider says how such a value is replaced. */
async function providerPage(app: App, finding: StoredFinding, credential: string | undefined): Promise<string | undefined> {
  if (finding.rule === ROTATE_RULE) return finding.path;
  if (isPattern(finding)) return (await ruleNote(finding))?.docs;
  const opened = credential === undefined ? undefined : await app.core.credentials.vault.openForDetection(credential);
  return opened && (await pageOfValue(opened.secret.expose()));
}

async function pageOfValue(value: string): Promise<string | undefined> {
  const [{ PatternMatcher }, { RULES }] = await Promise.all([
    import('../../detection/rules/matcher.ts'),
    import('../../detection/rules/all.ts'),
  ]);
  return new PatternMatcher(RULES.filter(({ tier }) => tier === 'exact')).find(Buffer.from(value, 'utf8'))[0]?.rule.docs;
}
