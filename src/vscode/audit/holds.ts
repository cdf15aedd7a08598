import * as vscode from 'vscode';
import { visible } from '../../common/text.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { utc } from './progress.ts';

const MAX_REASON_CHARACTERS = 500;

/** **Culvert: Place Legal Hold…** Nothing of the record is dropped while there is one. */
export async function placeHold(app: App): Promise<void> {
  const entered = await askText(single('Culvert: Place Legal Hold'), {
    prompt: 'Why? Nothing of the audit history is dropped until the hold is lifted. The reason goes on the record.',
    placeholder: 'Case 2026-17',
    validate: (value) =>
      value.trim() === '' ? 'Say why.' : value.length > MAX_REASON_CHARACTERS ? `At most ${MAX_REASON_CHARACTERS} characters.` : undefined,
  });
  if (entered.kind !== 'value') return;
  const hold = app.core.record.hold.set(entered.value.trim());
  app.core.act({ act: 'hold-set', subject: hold.reason, id: hold.id });
  void vscode.window.showInformationMessage('The audit history is held: nothing of it is dropped until you lift the hold.');
}

/** **Culvert: Lift Legal Hold…** */
export async function liftHold(app: App): Promise<void> {
  const { hold } = app.core.record;
  if (hold.tampering().length > 0) {
    void vscode.window.showWarningMessage(
      'The list of legal holds was changed by something other than Culvert, so the history stays held. Settle that first with “Culvert: Review Changed Entries…”.',
    );
    return;
  }
  const holds = hold.list();
  if (holds.length === 0) {
    void vscode.window.showInformationMessage('No legal hold is in place.');
    return;
  }
  const picked = await askChoice(
    single('Culvert: Lift Legal Hold'),
    'Which one?',
    holds.map((one) => ({ label: visible(one.reason, 80), description: `since ${utc(one.at)}`, value: one })),
  );
  if (picked.kind !== 'value') return;
  const left = holds.length - 1;
  const sure = await vscode.window.showWarningMessage(
    'Lift this legal hold?',
    {
      modal: true,
      detail: `${visible(picked.value.reason, 300)}\n\n${left > 0 ? `${left} more ${left === 1 ? 'hold stays' : 'holds stay'} in place.` : 'From then on retention drops what is older, or more, than the settings keep.'}`,
    },
    'Lift',
  );
  if (sure !== 'Lift') return;
  hold.release(picked.value.id);
  app.core.act({ act: 'hold-released', subject: picked.value.reason, id: picked.value.id });
  void vscode.window.showInformationMessage('The legal hold was lifted.');
}
