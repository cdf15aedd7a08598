import * as vscode from 'vscode';
import { Runtime } from './vscode/runtime.ts';

/** Composition root: everything is built in {@link Runtime}. Only the tests get to see inside. */
export async function activate(context: vscode.ExtensionContext): Promise<unknown> {
  const runtime = new Runtime(context);
  context.subscriptions.push(runtime);
  await runtime.start();
  current = runtime;
  return context.extensionMode === vscode.ExtensionMode.Test ? { app: () => runtime.app } : undefined;
}

let current: Runtime | undefined;

/** Lets running calls finish, signs the record, and closes. VS Code waits for the promise. */
export async function deactivate(): Promise<void> {
  await current?.stop();
  current = undefined;
}
