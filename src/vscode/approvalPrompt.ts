import * as vscode from 'vscode';
import type { Answer, ApprovalRequest, Approver } from '../authorization/approvalRequest.ts';
import { visible } from '../common/text.ts';
import type { Clock } from '../common/clock.ts';
import type { Disposable } from '../common/disposable.ts';
import { promptAbove, promptDetails, promptPlaceholder, promptRows, promptTitle, type PromptRow, type PromptStep } from './approvalText.ts';
import { COMMANDS } from './names.ts';
import { withoutIcons } from './steps.ts';

/** Keys that were meant for the editor must not answer a question that has just appeared, milliseconds. */
const SETTLE_MS = 600;
/** Nor may the second half of a double click answer the step that follows, milliseconds. */
const STEP_MS = 300;
/** How often the time left is drawn, milliseconds. */
const TICK_MS = 1_000;

interface Row extends vscode.QuickPickItem {
  readonly of: PromptRow;
  readonly does?: Extract<PromptRow, { kind: 'choice' }>['then'];
}

/**
 * Asks the user about one call in a quick pick, in one step or, for a grant shaped from the call, in three. It does not go away when the
 * focus does, and Escape only puts it off: the status bar and a notification bring it back until it is answered or its time is over.
 * Typing does not filter, and the first row is harmless.
 */
export class ApprovalPrompt implements Approver, Disposable {
  readonly #clock: Clock;
  readonly #showDetails: (title: string, text: string) => void;
  readonly #taskOf: (server: string) => string | undefined;
  #current: { show(): void; answer(answer: Answer): void } | undefined;

  /** `taskOf`: name of the running task that a server belongs to. */
  constructor(clock: Clock, showDetails: (title: string, text: string) => void, taskOf: (server: string) => string | undefined) {
    this.#clock = clock;
    this.#showDetails = showDetails;
    this.#taskOf = taskOf;
  }

  ask(request: ApprovalRequest, waiting: number, signal: AbortSignal): Promise<Answer> {
    return new Promise((resolve) => {
      const pick = vscode.window.createQuickPick<Row>();
      let settled = false;
      let readyAt = 0;
      let step: PromptStep = { kind: 'call' };
      let identical = 0;
      pick.ignoreFocusOut = true;
      pick.matchOnDetail = false;
      // A row is cut where the widget ends: what would be allowed must be readable whole.
      const say = (row: Row | undefined) => (pick.prompt = withoutIcons(promptAbove(request, step, row?.of)));
      pick.onDidChangeActive(([row]) => say(row));
      const fill = () => {
        identical = request.identical;
        const context = { task: this.#taskOf(request.call.server), now: this.#clock.now() };
        pick.title = promptTitle(request, waiting, step);
        pick.items = promptRows(request, step, context).map(toItem);
        say(pick.items.find((item) => item.does));
        pick.buttons = step.kind === 'call' ? [] : [vscode.QuickInputButtons.Back];
      };
      const tick = () => {
        pick.placeholder = promptPlaceholder(request, this.#clock.now());
        // More calls that say the same have come: they are answered together.
        if (step.kind === 'call' && request.identical !== identical) refill();
      };
      const refill = () => {
        const at = pick.items.findIndex((item) => item === pick.activeItems[0]);
        const label = pick.items[at]?.label;
        fill();
        const active = pick.items.find((item) => item.label === label);
        if (active) pick.activeItems = [active];
      };
      const timer = setInterval(tick, TICK_MS);
      const finish = (answer: Answer) => {
        if (settled) return;
        settled = true;
        clearInterval(timer);
        this.#current = undefined;
        pick.dispose();
        resolve(answer);
      };
      const go = (next: PromptStep) => {
        step = next;
        readyAt = this.#clock.monotonic() + STEP_MS;
        fill();
      };
      const show = () => {
        readyAt = this.#clock.monotonic() + SETTLE_MS;
        step = { kind: 'call' };
        // VS Code forgets the rows of a quick pick that was hidden.
        fill();
        tick();
        pick.show();
      };
      pick.onDidChangeValue(() => (pick.value = ''));
      pick.onDidTriggerButton(() => go(step.kind === 'reach' && !request.wish ? { kind: 'what' } : { kind: 'call' }));
      pick.onDidAccept(() => {
        const row = pick.selectedItems[0] ?? pick.activeItems[0];
        // A row that stays selected would take no second click.
        pick.selectedItems = [];
        if (this.#clock.monotonic() < readyAt || !row) return;
        if (!row.does) this.#showDetails(`${whatOf(request)} (waiting)`, promptDetails(request));
        else if ('answer' in row.does) finish(row.does.answer);
        else go(row.does.step);
      });
      pick.onDidHide(() => {
        if (!settled) void this.#remind(request, finish, signal);
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
    const choice = await vscode.window.showWarningMessage(
      `${request.client} waits for your answer: “${visible(whatOf(request), 60)}” of ${request.call.serverLabel}.`,
      'Answer…',
      request.wish ? 'Not Now' : 'Deny This Call',
    );
    if (signal.aborted) return;
    if (choice === 'Answer…') void vscode.commands.executeCommand(COMMANDS.answerWaiting);
    else if (choice !== undefined) finish('dismiss');
  }
}

function whatOf({ call }: ApprovalRequest): string {
  return call.tool ?? call.method ?? '';
}

function toItem(row: PromptRow): Row {
  if (row.kind === 'separator') return { label: withoutIcons(row.label), kind: vscode.QuickPickItemKind.Separator, of: row };
  const item = {
    label: `$(${row.icon}) ${withoutIcons(row.label)}`,
    description: withoutIcons(row.description),
    alwaysShow: true,
    of: row,
  };
  if (row.kind === 'fact') return item;
  return { ...item, ...(row.detail === undefined ? {} : { detail: withoutIcons(row.detail) }), does: row.then };
}
