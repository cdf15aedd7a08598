import * as vscode from 'vscode';

/** What a step ended with. */
export type StepResult<T> = { readonly kind: 'value'; readonly value: T } | { readonly kind: 'back' } | { readonly kind: 'cancel' };

/** Where a step stands in its dialog. */
export interface StepPlace {
  readonly title: string;
  readonly step: number;
  readonly totalSteps: number;
  /** Offer “Back”. */
  readonly canGoBack: boolean;
  /** What the user should know for the answer, shown whole above the choices. */
  readonly prompt?: string;
}

/** Asks for a line of text. Typed text survives a change of focus. */
export function askText(
  place: StepPlace,
  options: {
    readonly prompt: string;
    readonly placeholder?: string;
    readonly value?: string;
    readonly password?: boolean;
    validate(value: string): string | undefined;
  },
): Promise<StepResult<string>> {
  return new Promise((resolve) => {
    const box = vscode.window.createInputBox();
    box.title = place.title;
    box.step = place.step;
    box.totalSteps = place.totalSteps;
    box.prompt = options.prompt;
    box.placeholder = options.placeholder ?? '';
    box.value = options.value ?? '';
    box.password = options.password ?? false;
    box.ignoreFocusOut = true;
    box.buttons = place.canGoBack ? [vscode.QuickInputButtons.Back] : [];
    const finish = settleOnce(box, resolve);
    box.onDidChangeValue((value) => {
      box.validationMessage = value === '' ? '' : (options.validate(value) ?? '');
    });
    box.onDidAccept(() => {
      const problem = options.validate(box.value);
      if (problem !== undefined) box.validationMessage = problem;
      else finish({ kind: 'value', value: box.value });
    });
    box.onDidTriggerButton(() => finish({ kind: 'back' }));
    box.onDidHide(() => finish({ kind: 'cancel' }));
    box.show();
    if (box.value !== '') box.valueSelection = [0, box.value.length];
  });
}

/** An entry of {@link askChoice}. */
export interface Choice<T> extends vscode.QuickPickItem {
  readonly value: T;
}

/** Asks for one of several. */
export function askChoice<T>(place: StepPlace, placeholder: string, choices: readonly Choice<T>[], active?: T): Promise<StepResult<T>> {
  return new Promise((resolve) => {
    const pick = vscode.window.createQuickPick<Choice<T>>();
    pick.title = place.title;
    if (place.totalSteps > 0) {
      pick.step = place.step;
      pick.totalSteps = place.totalSteps;
    }
    pick.placeholder = placeholder;
    pick.prompt = place.prompt;
    pick.items = choices;
    pick.ignoreFocusOut = true;
    pick.matchOnDescription = true;
    pick.buttons = place.canGoBack ? [vscode.QuickInputButtons.Back] : [];
    const preset = choices.find((c) => c.value === active);
    if (preset) pick.activeItems = [preset];
    const finish = settleOnce(pick, resolve);
    pick.onDidAccept(() => {
      const chosen = pick.selectedItems[0] ?? pick.activeItems[0];
      if (chosen) finish({ kind: 'value', value: chosen.value });
    });
    pick.onDidTriggerButton(() => finish({ kind: 'back' }));
    pick.onDidHide(() => finish({ kind: 'cancel' }));
    pick.show();
  });
}

/** Asks for several of several. */
export function askMany<T>(
  place: StepPlace,
  placeholder: string,
  choices: readonly Choice<T>[],
  active: readonly T[],
): Promise<StepResult<readonly T[]>> {
  return new Promise((resolve) => {
    const pick = vscode.window.createQuickPick<Choice<T>>();
    pick.title = place.title;
    if (place.totalSteps > 0) {
      pick.step = place.step;
      pick.totalSteps = place.totalSteps;
    }
    pick.placeholder = placeholder;
    pick.prompt = place.prompt;
    pick.canSelectMany = true;
    pick.items = choices;
    pick.selectedItems = choices.filter((c) => active.includes(c.value));
    pick.ignoreFocusOut = true;
    pick.matchOnDescription = true;
    pick.matchOnDetail = true;
    pick.buttons = place.canGoBack ? [vscode.QuickInputButtons.Back] : [];
    const finish = settleOnce(pick, resolve);
    pick.onDidAccept(() => finish({ kind: 'value', value: pick.selectedItems.map((c) => c.value) }));
    pick.onDidTriggerButton(() => finish({ kind: 'back' }));
    pick.onDidHide(() => finish({ kind: 'cancel' }));
    pick.show();
  });
}

/** Carries {@link runSteps} from one question to the next. */
export type Step<T> = (draft: T, place: StepPlace) => Promise<StepResult<T>>;

/** Asks one question after the other, with a way back; `undefined` if the user gave up. */
export async function runSteps<T>(title: string, start: T, steps: readonly Step<T>[]): Promise<T | undefined> {
  const drafts = [start];
  for (let at = 0; at < steps.length;) {
    const draft = drafts[at];
    const step = steps[at];
    if (draft === undefined || !step) return undefined;
    const result = await step(draft, { title, step: at + 1, totalSteps: steps.length, canGoBack: at > 0 });
    if (result.kind === 'cancel') return undefined;
    if (result.kind === 'back') at--;
    else drafts[++at] = result.value;
  }
  return drafts[steps.length];
}

function settleOnce<T>(input: vscode.QuickInput, resolve: (result: StepResult<T>) => void): (result: StepResult<T>) => void {
  let settled = false;
  return (result) => {
    if (settled) return;
    settled = true;
    input.dispose();
    resolve(result);
  };
}

/** VS Code draws `$(…)` in rows and in the status bar as an icon: what a server or an agent wrote must not look like ours. */
export function withoutIcons(text: string): string {
  return text.replaceAll('$(', '$\u200a(');
}

/** A place outside a numbered dialog. */
export function single(title: string): StepPlace {
  return { title, step: 0, totalSteps: 0, canGoBack: false };
}
