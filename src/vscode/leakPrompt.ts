import * as vscode from 'vscode';
import { remaining, visible } from '../common/text.ts';
import type { Clock } from '../common/clock.ts';
import type { LeakAnswer, LeakAsker, LeakQuestion } from '../inspection/leakQuestions.ts';
import { withoutIcons } from './steps.ts';

/** Keys that were meant for the editor must not answer a question that has just appeared, milliseconds. */
const SETTLE_MS = 600;

interface Row extends vscode.QuickPickItem {
  readonly answer?: LeakAnswer;
}

/** Asks whether a call may take along what looks like a secret. Closing the question, or no answer, is a no. */
export class LeakPrompt implements LeakAsker {
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ask(question: LeakQuestion, signal: AbortSignal): Promise<LeakAnswer> {
    return new Promise((resolve) => {
      const pick = vscode.window.createQuickPick<Row>();
      const what = visible(question.tool ?? question.serverLabel, 60);
      const shownAt = this.#clock.monotonic();
      pick.title = `Culvert: may this leave with “${what}”?`;
      pick.ignoreFocusOut = true;
      const countDown = () =>
        (pick.placeholder = `${question.client} sends what looks like a secret. Stopped in ${remaining(question.deadline - this.#clock.now())} unless you answer.`);
      countDown();
      const timer = setInterval(countDown, 1000);
      let settled = false;
      const finish = (answer: LeakAnswer) => {
        if (settled) return;
        settled = true;
        clearInterval(timer);
        pick.dispose();
        resolve(answer);
      };
      pick.items = rowsOf(question);
      pick.onDidChangeValue(() => (pick.value = ''));
      pick.onDidAccept(() => {
        const row = pick.selectedItems[0] ?? pick.activeItems[0];
        pick.selectedItems = [];
        if (row?.answer !== undefined && this.#clock.monotonic() - shownAt >= SETTLE_MS) finish(row.answer);
      });
      pick.onDidHide(() => finish('no'));
      signal.addEventListener('abort', () => finish('no'), { once: true });
      if (signal.aborted) finish('no');
      else pick.show();
    });
  }
}

function rowsOf({ findings, destination, serverLabel, tool, lasting }: LeakQuestion): Row[] {
  const separator = (label: string): Row => ({ label, kind: vscode.QuickPickItemKind.Separator });
  const fact = (icon: string, label: string, description: string): Row => ({
    label: `$(${icon}) ${withoutIcons(label)}`,
    description: withoutIcons(description),
    alwaysShow: true,
  });
  const answer = (a: LeakAnswer, icon: string, label: string, description: string): Row => ({
    label: `$(${icon}) ${label}`,
    description: withoutIcons(description),
    answer: a,
    alwaysShow: true,
  });
  const here = tool === undefined ? serverLabel : `“${visible(tool, 60)}” of ${serverLabel}`;
  return [
    separator('What it holds'),
    ...findings
      .slice(0, 5)
      .map(({ subject, path, form }) => fact('key', visible(subject, 80), path === undefined ? form : `at ${visible(path, 80)}`)),
    ...(findings.length > 5 ? [fact('ellipsis', `and ${findings.length - 5} more`, '')] : []),
    fact('globe', destination, 'where it goes'),
    separator('Your answer'),
    answer('no', 'circle-slash', 'Stop this call', 'the agent is told why'),
    answer('once', 'check', 'Let it go once', 'only this call'),
    ...(lasting
      ? [
          answer('always', 'check-all', 'Always for this tool', `such values, with ${here}`),
          answer('never', 'shield', 'Never for this tool', `such values, with ${here}, without asking`),
        ]
      : []),
  ];
}
