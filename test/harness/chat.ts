import type { Locator } from 'playwright-core';
import { pattern } from './pattern.ts';
import { until } from './until.ts';
import type { Workbench } from './workbench.ts';

const ANSWER_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 120_000;

/**
 * The built-in Chat view in agent mode with the scripted model (see `companion/scriptedModel.ts`). The window must come from
 * `openCulvert({ chat: true })`.
 */
export class Chat {
  private readonly workbench: Workbench;
  /** The Chat view. */
  readonly root: Locator;

  constructor(workbench: Workbench) {
    this.workbench = workbench;
    this.root = workbench.page.locator('.part.auxiliarybar .interactive-session, .part.sidebar .interactive-session').first();
  }

  /** Waits until the built-in chat extension runs, without which agent mode is not there. */
  async ready(): Promise<void> {
    await until(() => this.workbench.eval((api) => api.extensions.getExtension('GitHub.copilot-chat')?.isActive ?? false), {
      timeoutMs: READY_TIMEOUT_MS,
      what: 'the built-in chat extension',
    });
  }

  /** Opens the Chat view. */
  async open(mode = 'agent'): Promise<void> {
    await this.workbench.exec('workbench.action.chat.open', { mode });
    await this.root.locator('.interactive-input-part .monaco-editor').first().waitFor();
  }

  /** Types a message as a user does. Returns the number of the answer; waits for its end unless `wait` is false. */
  async send(text: string, { wait = true }: { wait?: boolean } = {}): Promise<number> {
    const number = await this.responses().count();
    await this.root.locator('.interactive-input-part .monaco-editor .view-lines').first().click();
    await this.workbench.page.keyboard.insertText(text);
    await this.workbench.page.keyboard.press('Enter');
    await this.responses().nth(number).waitFor();
    if (wait) await this.done(number);
    return number;
  }

  /** All answers so far. */
  responses(): Locator {
    return this.root.locator('.interactive-item-container.interactive-response');
  }

  /** Waits until an answer is complete. */
  async done(number: number): Promise<void> {
    const complete = this.workbench.page.locator(':not(.chat-response-loading)');
    await this.responses().nth(number).and(complete).waitFor({ timeout: ANSWER_TIMEOUT_MS });
  }

  /** The text of an answer. */
  async answer(number: number): Promise<string> {
    return (await this.responses().nth(number).innerText()).replaceAll('\u00a0', ' ');
  }

  /** Presses a button shown inside the conversation, such as VS Code's own "Allow" before a tool call. */
  async confirm(button: string | RegExp = 'Allow'): Promise<void> {
    const found = this.root.locator('.monaco-button:visible', { hasText: pattern(button) }).first();
    await found.waitFor();
    await found.click();
  }

  /** From now on VS Code itself asks nothing before a tool call of this window (Culvert still does). */
  async autoApprove(): Promise<void> {
    await this.workbench.eval(async (api) => {
      await api.workspace.getConfiguration('chat.tools').update('global.autoApprove', true, api.ConfigurationTarget.Global);
      // VS Code's own switch for tests: without it a dialog warns of the setting.
      await api.commands.executeCommand('setContext', 'vscode.chat.tools.global.autoApprove.testMode', true);
    });
  }

  /** Starts a new conversation. */
  async newChat(): Promise<void> {
    await this.workbench.exec('workbench.action.chat.newChat');
  }
}
