import * as vscode from 'vscode';
import type { Answer, ApprovalRequest, Approver } from '../authorization/approvals.ts';
import { remaining, visible } from '../common/text.ts';
import type { Clock } from '../common/clock.ts';
import { toDisposable, type Disposable } from '../common/disposable.ts';
import { COMMANDS } from './names.ts';
import { withoutIcons } from './steps.ts';

/** Keys that were meant for the editor must not answer a question that has just appeared, milliseconds. */
const SETTLE_MS = 600;
/** Arguments that are shown as rows; the rest is in the details. */
const SHOWN_ARGUMENTS = 6;
const SHOWN_CHARACTERS = 160;

interface Row extends vscode.QuickPickItem {
  readonly answer?: Answer;
}

/**
 * Asks the user about one call in a quick pick. It does not go away when the focus does, and Escape only puts it off: the status bar
 * and a notification bring it back until it is answered or its time is over. Typing does not filter, and the first row is harmless.
 */
export class ApprovalPrompt implements Approver, Disposable {
  readonly #clock: Clock;
  readonly #showDetails: (title: string, text: string) => void;
  #current: { show(): void; answer(answer: Answer): void } | undefined;

  constructor(clock: Clock, showDetails: (title: string, text: string) => void) {
    this.#clock = clock;
    this.#showDetails = showDetails;
  }

  ask(request: ApprovalRequest, waiting: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const pick = vscode.window.createQuickPick<Row>();
      const what = request.call.tool ?? request.call.method ?? '';
      let settled = false;
      let shownAt = this.#clock.monotonic();
      let hiddenOnPurpose = false;
      pick.title = `Culvert: allow “${visible(what, 60)}” of ${visible(request.call.serverLabel, 60)}?${waiting > 1 ? ` (1 of ${waiting})` : ''}`;
      pick.ignoreFocusOut = true;
      pick.matchOnDetail = false;
      const countDown = () =>
        (pick.placeholder = `${request.client} wants to call it. Denied in ${remaining(request.deadline - this.#clock.now())} unless you answer.`);
      countDown();
      const timer = setInterval(countDown, 1000);
      const finish = (answer: Answer) => {
        if (settled) return;
        settled = true;
        clearInterval(timer);
        this.#current = undefined;
        hiddenOnPurpose = true;
        pick.dispose();
        resolve(answer);
      };
      const show = () => {
        shownAt = this.#clock.monotonic();
        // VS Code forgets the rows of a quick pick that was hidden.
        pick.items = rowsFor(request);
        pick.show();
      };
      pick.onDidChangeValue(() => (pick.value = ''));
      pick.onDidAccept(() => {
        const row = pick.selectedItems[0] ?? pick.activeItems[0];
        // A row that stays selected would take no second click.
        pick.selectedItems = [];
        if (this.#clock.monotonic() - shownAt < SETTLE_MS || !row) return;
        if (row.answer) finish(row.answer);
        else this.#showDetails(`${what} (waiting)`, detailsOf(request));
      });
      pick.onDidHide(() => {
        if (settled || hiddenOnPurpose) return;
        void this.#remind(request, finish, signal);
      });
      signal.addEventListener('abort', () => finish('dismiss'), { once: true });
      this.#current = { show, answer: finish };
      show();
    });
  }

  /** Brings the question back that is waiting. */
  showWaiting(): void {
    this.#current?.show();
  }

  dispose(): void {
    this.#current?.answer('dismiss');
  }

  async #remind(request: ApprovalRequest, finish: (answer: Answer) => void, signal: AbortSignal): Promise<void> {
    const what = request.call.tool ?? request.call.method ?? '';
    const choice = await vscode.window.showWarningMessage(
      `${request.client} waits for your answer: “${visible(what, 60)}” of ${request.call.serverLabel}.`,
      'Answer…',
      'Deny This Call',
    );
    if (signal.aborted) return;
    if (choice === 'Answer…') void vscode.commands.executeCommand(COMMANDS.answerWaiting);
    if (choice === 'Deny This Call') finish('dismiss');
  }
}

function rowsFor(request: ApprovalRequest): Row[] {
  const { call, principal } = request;
  const method = call.method === 'tools/call' || call.method === undefined ? 'tool' : call.method;
  const separator = (label: string): Row => ({ label, kind: vscode.QuickPickItemKind.Separator });
  const fact = (icon: string, label: string, description: string): Row => ({
    label: `$(${icon}) ${withoutIcons(label)}`,
    description: withoutIcons(description),
    alwaysShow: true,
  });
  const answer = (a: Answer, icon: string, label: string, description: string): Row => ({
    label: `$(${icon}) ${label}`,
    description,
    answer: a,
    alwaysShow: true,
  });
  return [
    separator('The call (Enter here shows everything)'),
    fact('tools', visible(call.tool ?? call.method ?? '', 80), `${method} of ${call.serverLabel}`),
    ...argumentRows(request.argumentsText).map(([name, value]) => fact('symbol-parameter', name, value)),
    fact('globe', request.destination, 'where it goes'),
    fact('key', request.credentials.join(', ') || 'none', 'credential that Culvert adds'),
    separator('Your answer'),
    answer('once', 'check', 'Allow once', 'only this call'),
    answer('short', 'clock', 'Allow for 15 minutes', 'this tool, any arguments'),
    ...(principal.workspaceName === undefined
      ? []
      : [answer('workspace', 'folder', 'Allow in this workspace', withoutIcons(principal.workspaceName))]),
    answer('always', 'check-all', 'Always', 'everywhere, until you revoke it'),
    answer('deny', 'circle-slash', 'Deny', 'from now on; change it in the Grants view'),
  ];
}

function argumentRows(text: string | undefined): [string, string][] {
  if (text === undefined) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return [['arguments', visible(text, SHOWN_CHARACTERS)]];
  }
  if (typeof parsed !== 'object' || parsed === null) return [['arguments', visible(text, SHOWN_CHARACTERS)]];
  const all = Object.entries(parsed).map(([name, value]): [string, string] => [
    visible(name, 40),
    visible(typeof value === 'string' ? value : JSON.stringify(value), SHOWN_CHARACTERS),
  ]);
  if (all.length === 0) return [['no arguments', '']];
  return all.length <= SHOWN_ARGUMENTS ? all : [...all.slice(0, SHOWN_ARGUMENTS - 1), [`and ${all.length - SHOWN_ARGUMENTS + 1} more`, '']];
}

function detailsOf(request: ApprovalRequest): string {
  let args = request.argumentsText ?? '';
  try {
    args = JSON.stringify(JSON.parse(args), undefined, 2);
  } catch {
    // Shown as it is.
  }
  return [
    `Who calls:    ${request.client}`,
    `Server:       ${request.call.serverLabel}`,
    `Tool:         ${visible(request.call.tool ?? request.call.method ?? '')}`,
    `Goes to:      ${request.destination}`,
    `Credential:   ${request.credentials.join(', ') || 'none'}`,
    `SHA-256:      ${request.digest}`,
    '',
    'Arguments (hidden characters made visible):',
    '',
    args
      .split('\n')
      .map((line) => visible(line))
      .join('\n'),
    '',
  ].join('\n');
}

/** Ends whatever question is open when the owner goes. */
export function asDisposable(prompt: ApprovalPrompt): Disposable {
  return toDisposable(() => prompt.dispose());
}
