import * as vscode from 'vscode';
import type { StartingAccess } from '../../authorization/grantChanges.ts';
import type { Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, single } from '../steps.ts';
import { pickServer } from './pickServer.ts';
import { everythingOf, startTaskWith } from './tasks.ts';

/** How a server is set as a whole. */
export type Preset = Exclude<StartingAccess, 'everything'> | 'task';

const WORDS: Readonly<Record<Exclude<Preset, 'task'>, string>> = {
  nothing: 'Agents can call nothing of',
  reading: 'Agents can call what only reads of',
  ask: 'Agents are asked about each call of',
};

/** **Culvert: Set Server Access…** Nothing, what only reads, ask each time, or everything while a task runs. */
export async function setServerAccess(app: App, given: Server | undefined): Promise<void> {
  const server = await pickServer(app, 'Culvert: Set Server Access', given);
  if (!server) return;
  const choice = await askChoice<Preset>(single(`Culvert: Access to ${server.label}`), 'What may agents call?', [
    { label: '$(circle-slash) Nothing', description: 'takes every grant of this server away', value: 'nothing' },
    { label: '$(eye) Tools that only read', description: 'as they said when they were first seen', value: 'reading' },
    { label: '$(question) Ask each time', description: 'you answer every call', value: 'ask' },
    { label: '$(checklist) Everything for this task…', description: 'until the task ends; what you denied stays denied', value: 'task' },
  ]);
  if (choice.kind === 'value') await applyPreset(app, server, choice.value);
}

/** Sets a server as a whole. What was there before is replaced, and comes back with “Undo”. */
export async function applyPreset(app: App, server: Server, preset: Preset): Promise<void> {
  if (preset === 'task') {
    await everythingForTask(app, server);
    return;
  }
  changeWithUndo(app, server, `${WORDS[preset]} ${server.label}.`, () => app.core.access.start(server.id, preset, 'palette'));
}

async function everythingForTask(app: App, server: Server): Promise<void> {
  const { access } = app.core;
  const running = access.tasks.for(server.id);
  if (running) access.grantForTask(running.id, everythingOf(app, server));
  else await startTaskWith(app, server);
}

/** Changes the grants of a server, says what that means, and offers to take it back. */
export function changeWithUndo(app: App, server: Server, told: string, change: () => void): void {
  const { access } = app.core;
  const before = access.forServer(server.id);
  change();
  void vscode.window.showInformationMessage(told, 'Undo').then((choice) => {
    if (choice === 'Undo') access.restore(server.id, before);
  });
}
