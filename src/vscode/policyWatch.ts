import * as vscode from 'vscode';
import { isAbsolute } from 'node:path';
import type { PolicyProblem } from '../authorization/policy/layer.ts';
import { WORKSPACE_POLICY_PATH } from '../authorization/policy/jsonPolicy.ts';
import type { Disposable } from '../common/disposable.ts';
import type { Policies } from '../tunnel/policies.ts';
import { POLICY_SETTINGS } from './policySettings.ts';

/** How often the organisation's policy is looked at while nothing is called, milliseconds. Calls look for themselves. */
const LOOK_MS = 2_000;

/** Follows policies as they are edited, and shows what is wrong with one in the Problems panel and, once, in a message. */
export class PolicyWatch implements vscode.Disposable {
  readonly #policies: Policies;
  readonly #diagnostics = vscode.languages.createDiagnosticCollection('culvert-policy');
  readonly #subscriptions: Disposable[];
  readonly #timer: NodeJS.Timeout;
  #watchers: vscode.Disposable[] = [];
  #told = new Set<string>();

  constructor(policies: Policies) {
    this.#policies = policies;
    this.#subscriptions = [
      policies.onDidChange(() => this.#show()),
      vscode.workspace.onDidChangeConfiguration((change) => {
        if (POLICY_SETTINGS.some((setting) => change.affectsConfiguration(setting))) void policies.reload();
      }),
      vscode.workspace.onDidChangeWorkspaceFolders(() => {
        this.#watch();
        void policies.reload();
      }),
    ];
    this.#timer = setInterval(() => void policies.check(true), LOOK_MS);
    this.#watch();
    this.#show();
  }

  dispose(): void {
    clearInterval(this.#timer);
    for (const item of [...this.#subscriptions, ...this.#watchers, this.#diagnostics]) item.dispose();
  }

  #watch(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.dispose();
    for (const folder of vscode.workspace.workspaceFolders ?? []) {
      const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, WORKSPACE_POLICY_PATH));
      const look = () => void this.#policies.check();
      this.#watchers.push(watcher, watcher.onDidChange(look), watcher.onDidCreate(look), watcher.onDidDelete(look));
    }
  }

  #show(): void {
    const byFile = new Map<string, vscode.Diagnostic[]>();
    const problems = this.#policies.problems();
    for (const problem of problems) {
      if (!isAbsolute(problem.source)) continue;
      const { line, column, endLine, endColumn } = problem;
      const diagnostic = new vscode.Diagnostic(
        new vscode.Range(line, column, endLine, endColumn),
        `${problem.message} Until it is corrected, Culvert lets no call through.`,
      );
      diagnostic.source = 'Culvert';
      byFile.set(problem.source, [...(byFile.get(problem.source) ?? []), diagnostic]);
    }
    this.#diagnostics.clear();
    for (const [path, found] of byFile) this.#diagnostics.set(vscode.Uri.file(path), found);
    const sources = new Set(problems.map((p) => p.source));
    for (const source of sources) {
      const problem = problems.find((p) => p.source === source);
      if (problem && !this.#told.has(source)) void tell(problem);
    }
    this.#told = sources;
  }
}

async function tell(problem: PolicyProblem): Promise<void> {
  const isFile = isAbsolute(problem.source);
  const open = isFile ? 'Show Problem' : 'Open Settings';
  const where = isFile ? `${problem.source}, line ${problem.line + 1}` : problem.source;
  const choice = await vscode.window.showErrorMessage(
    `A policy can’t be applied, so Culvert lets no call through until it is corrected. ${where}: ${problem.message}`,
    open,
  );
  if (choice !== open) return;
  if (!isFile) {
    await vscode.commands.executeCommand('workbench.action.openSettingsJson', { revealSetting: { key: problem.source } });
    return;
  }
  const at = new vscode.Range(problem.line, problem.column, problem.endLine, problem.endColumn);
  await vscode.window.showTextDocument(vscode.Uri.file(problem.source), { selection: at });
}
