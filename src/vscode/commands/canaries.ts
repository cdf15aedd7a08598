import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import type { Disposable } from '../../common/disposable.ts';
import type { CanaryKind } from '../../inspection/canaries.ts';
import type { App } from '../app.ts';
import type { RecordDocuments } from '../recordDocument.ts';
import { askChoice, askText, withoutIcons, type Choice, type StepResult } from '../steps.ts';
import { explainFinding } from '../views/leakTexts.ts';

const TITLE = 'Culvert: Plant Canary';
const MAX_NAME_CHARACTERS = 60;

const KINDS: readonly Choice<CanaryKind>[] = [
  { label: '$(github) GitHub token', description: 'looks like a personal access token', value: 'github-token' },
  { label: '$(cloud) AWS access key', description: 'an id and a secret', value: 'aws-key' },
  { label: '$(key) API key', description: 'of no provider in particular', value: 'api-key' },
  { label: '$(lock) Password', value: 'password' },
];

type Where = 'file' | 'clipboard';
const PLACES: readonly Choice<Where>[] = [
  { label: '$(file-add) A new file', description: 'for example .env.backup: what reads every file finds it', value: 'file' },
  { label: '$(clippy) The clipboard', description: 'to be pasted where only you know', value: 'clipboard' },
];

/** **Culvert: Plant Canary…** A made-up credential that opens nothing: when it turns up anywhere, somebody read where it lies. */
export async function plantCanary(app: App): Promise<void> {
  const answers: { kind?: CanaryKind; name?: string; where?: Where } = {};
  for (let step = 1; step <= 3;) {
    const place = { title: TITLE, step, totalSteps: 3, canGoBack: step > 1 };
    let result: StepResult<unknown>;
    if (step === 1) {
      const chosen = await askChoice(
        { ...place, prompt: 'It opens nothing. When it turns up anywhere in what agents and servers send, you are told at once.' },
        'What shall it look like?',
        KINDS,
        answers.kind,
      );
      if (chosen.kind === 'value') answers.kind = chosen.value;
      result = chosen;
    } else if (step === 2) {
      const typed = await askText(place, {
        prompt: 'A name by which you know where it lies.',
        placeholder: 'backup of the shop’s .env',
        ...(answers.name === undefined ? {} : { value: answers.name }),
        validate: (value) =>
          value.trim() === ''
            ? 'Give it a name.'
            : value.length > MAX_NAME_CHARACTERS
              ? `Use at most ${MAX_NAME_CHARACTERS} characters.`
              : undefined,
      });
      if (typed.kind === 'value') answers.name = typed.value.trim();
      result = typed;
    } else {
      const chosen = await askChoice(place, 'Where shall it be put?', PLACES, answers.where);
      if (chosen.kind === 'value') answers.where = chosen.value;
      result = chosen;
    }
    if (result.kind === 'cancel') return;
    step += result.kind === 'back' ? -1 : 1;
  }
  const { kind, name, where } = answers;
  if (kind === undefined || name === undefined || where === undefined) return;
  if (where === 'clipboard') {
    const { value } = await app.core.leaks.canaries.plant(kind, name, { kind: 'shown' });
    await vscode.env.clipboard.writeText(value);
    void vscode.window.showInformationMessage(`The canary “${name}” is on the clipboard. Put it where nobody honest would use it.`);
    return;
  }
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
  const uri = await vscode.window.showSaveDialog({
    title: TITLE,
    saveLabel: 'Plant',
    ...(folder ? { defaultUri: vscode.Uri.joinPath(folder, '.env.backup') } : {}),
  });
  if (!uri) return;
  try {
    await app.core.leaks.canaries.plant(kind, name, { kind: 'file', path: uri.fsPath });
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    if (!exists) throw error;
    void vscode.window.showErrorMessage(
      `${uri.fsPath} exists already, so the canary was not planted: nothing is overwritten. Choose a new file.`,
    );
    return;
  }
  void vscode.window.showInformationMessage(`The canary “${name}” lies in ${uri.fsPath}. Keep it out of version control.`);
}

/** **Culvert: Remove Canary…** */
export async function removeCanary(app: App): Promise<void> {
  const { canaries } = app.core.leaks;
  const picks = canaries.list().map(({ id, name, place, plantedAt }) => ({
    id,
    label: withoutIcons(name),
    description: place.kind === 'file' ? place.path : place.kind === 'vault' ? 'in the keyring' : 'put somewhere by you',
    detail: `planted ${new Date(plantedAt).toLocaleString()}`,
  }));
  const chosen = await vscode.window.showQuickPick(picks, {
    canPickMany: true,
    ignoreFocusOut: true,
    title: 'Culvert: Remove Canary',
    placeHolder: 'Which ones shall be forgotten? Files stay as they are.',
  });
  for (const { id } of chosen ?? []) await canaries.remove(id);
}

/** Tells at once when a canary turns up, and the way that it took. */
export function watchCanaries(app: App, documents: RecordDocuments): Disposable {
  return app.core.findings.onDidAdd(({ findings, where }) => {
    for (const finding of findings) {
      if (finding.rule !== 'canary') continue;
      const server = app.core.servers.get(where.server)?.label ?? 'a removed server';
      const tool = where.tool === undefined ? '' : ` (tool “${visible(where.tool, 60)}”)`;
      const [what] = explainFinding(finding, `${server}${tool}`);
      void vscode.window.showErrorMessage(what ?? '', 'Show Record', 'Pause All Agent Access').then(async (choice) => {
        if (choice === 'Show Record') await documents.showRecord(where.exchange);
        if (choice === 'Pause All Agent Access') app.core.setPaused(true);
      });
    }
  });
}
