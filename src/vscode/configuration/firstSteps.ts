import * as vscode from 'vscode';
import type { Disposable } from '../../common/disposable.ts';
import { setContext } from '../adapters.ts';
import type { App } from '../app.ts';
import { CONTEXT } from '../names.ts';

/** Completes the steps of the walkthrough as they are done. What was done once stays done: VS Code remembers it. */
export class FirstSteps implements vscode.Disposable {
  readonly #app: App;
  readonly #subscriptions: Disposable[];
  readonly #done = new Set<string>();

  constructor(app: App) {
    this.#app = app;
    const { access, findings } = app.core;
    this.#subscriptions = [
      access.onDidChange(() => this.#lookAtGrants()),
      findings.onDidChange(() => this.#lookAtFindings()),
      app.tunnel.onDidChangeUse(({ calls }) => {
        if (calls > 0) this.#complete(CONTEXT.calledTool);
      }),
    ];
    this.#lookAtGrants();
    this.#lookAtFindings();
  }

  dispose(): void {
    for (const one of this.#subscriptions) one.dispose();
  }

  #lookAtGrants(): void {
    if (this.#done.has(CONTEXT.allowedTool)) return;
    const isAllowed = this.#app.core.access
      .all()
      .some(({ effect, target }) => effect === 'allow' && (target.kind === 'tools' || target.kind === 'reading-tools'));
    if (isAllowed) this.#complete(CONTEXT.allowedTool);
  }

  #lookAtFindings(): void {
    if (this.#done.has(CONTEXT.sawRedaction)) return;
    const isRedacted = this.#app.core.findings.list({ dismissed: false }).some(({ action }) => action === 'redacted');
    if (isRedacted) this.#complete(CONTEXT.sawRedaction);
  }

  #complete(key: string): void {
    if (this.#done.has(key)) return;
    this.#done.add(key);
    setContext(key, true);
  }
}
