import * as vscode from 'vscode';
import type { Disposable } from '../common/disposable.ts';
import { visible } from '../common/text.ts';
import type { App } from './app.ts';
import { COMMANDS, CONTEXT, VIEWS } from './names.ts';
import { setContext } from './adapters.ts';
import { toolCall } from './calls.ts';
import { timeLeft, untilNextText, wallClock } from './reach.ts';
import { withoutIcons } from './steps.ts';

/** How long “in use” stays after the last call, so that a short one can be seen, milliseconds. */
const LINGER_MS = 1_500;

/** Says whether agents have access, when one uses a credential right now, and when one waits for an answer. */
export class StatusBar implements vscode.Disposable {
  readonly #app: App;
  readonly #item: vscode.StatusBarItem;
  readonly #task: vscode.StatusBarItem;
  readonly #subscriptions: Disposable[];
  #using: string | undefined;
  #linger: NodeJS.Timeout | undefined;
  #countDown: NodeJS.Timeout | undefined;

  constructor(app: App) {
    this.#app = app;
    this.#item = vscode.window.createStatusBarItem('culvert.status', vscode.StatusBarAlignment.Right, 90);
    this.#item.name = 'Culvert';
    this.#task = vscode.window.createStatusBarItem('culvert.task', vscode.StatusBarAlignment.Right, 89.9);
    this.#task.name = 'Culvert Task';
    this.#task.command = COMMANDS.endTask;
    const { core, tunnel } = app;
    const draw = () => {
      this.#draw();
      this.#drawTask();
    };
    this.#subscriptions = [
      core.servers.onDidChange(draw),
      core.access.onDidChange(draw),
      core.access.onDidExpire(draw),
      app.branch.onDidChange(draw),
      core.catalog.onDidChange(draw),
      core.approvals.onDidChange(draw),
      tunnel.onDidChangeUse(({ calls, credential }) => {
        clearTimeout(this.#linger);
        if (calls > 0) this.#using = credential;
        else {
          this.#linger = setTimeout(() => {
            this.#using = undefined;
            draw();
          }, LINGER_MS);
        }
        draw();
      }),
    ];
    draw();
    this.#item.show();
  }

  dispose(): void {
    clearTimeout(this.#linger);
    clearTimeout(this.#countDown);
    for (const s of this.#subscriptions) s.dispose();
    this.#item.dispose();
    this.#task.dispose();
  }

  #draw(): void {
    const { core } = this.#app;
    const item = this.#item;
    item.backgroundColor = undefined;
    item.command = `${VIEWS.grants}.focus`;
    if (core.approvals.waiting > 0) {
      item.text = '$(question) Culvert: answer needed';
      item.tooltip = 'An agent waits for your answer. Click to see what it wants.';
      item.command = COMMANDS.answerWaiting;
      item.backgroundColor = new vscode.ThemeColor('statusBarItem.warningBackground');
    } else if (core.access.policy().paused) {
      item.text = '$(debug-pause) Culvert: paused';
      item.tooltip = 'No agent can call anything. Click to resume.';
      item.command = COMMANDS.resume;
      item.backgroundColor = new vscode.ThemeColor('statusBarItem.warningBackground');
    } else if (this.#using !== undefined) {
      item.text = `$(key) Culvert: ${withoutIcons(this.#using)} in use`;
      item.tooltip = `A call with the credential ${this.#using} is under way.`;
    } else {
      const access = this.#access();
      item.text =
        access === 'none'
          ? '$(shield) Culvert: no access'
          : access === 'ask'
            ? '$(shield) Culvert: agents ask'
            : '$(unlock) Culvert: agents have access';
      item.tooltip =
        access === 'none'
          ? 'Agents can call no tool through Culvert.'
          : access === 'ask'
            ? 'Agents can call tools after asking you each time.'
            : 'Some tools are allowed without asking. Click to see which.';
    }
    item.accessibilityInformation = { label: item.text.replace(/\$\([^)]*\) /, '') };
  }

  /** The task that runs, with the time left; the first to end of several. */
  #drawTask(): void {
    clearTimeout(this.#countDown);
    const running = this.#app.core.access.tasks.running();
    const [first] = running;
    setContext(CONTEXT.hasTask, first !== undefined);
    if (!first) {
      this.#task.hide();
      return;
    }
    const now = Date.now();
    const name = withoutIcons(visible(first.name, 40));
    const others = running.length > 1 ? ` (and ${running.length - 1} more)` : '';
    this.#task.text = `$(checklist) ${name}: ${timeLeft(first.endsAt - now)}${others}`;
    this.#task.tooltip = `The task “${name}” runs until ${wallClock(first.endsAt, now)}. What you allowed meanwhile ends with it. Click to end it now.`;
    this.#task.accessibilityInformation = { label: `Culvert task ${name}, ${timeLeft(first.endsAt - now)}${others}` };
    this.#task.show();
    this.#countDown = setTimeout(() => this.#drawTask(), untilNextText(first.endsAt - now));
  }

  #access(): 'none' | 'ask' | 'allow' {
    const { core, caller } = this.#app;
    let best: 'none' | 'ask' | 'allow' = 'none';
    for (const server of core.servers.list()) {
      for (const tool of core.catalog.tools(server.id)) {
        const { effect } = core.access.prospect(caller, toolCall(server, core.credentials, tool.name, tool.reads));
        if (effect === 'allow') return 'allow';
        if (effect === 'ask') best = 'ask';
      }
    }
    return best;
  }
}
