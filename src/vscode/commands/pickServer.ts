import * as vscode from 'vscode';
import { destinationOf, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, single } from '../steps.ts';

/** Asks for a server unless there is one given. */
export async function pickServer(app: App, title: string, given: Server | undefined): Promise<Server | undefined> {
  if (given) return given;
  const servers = app.core.servers.list();
  if (servers.length === 0) {
    void vscode.window.showInformationMessage('There is no server in Culvert yet. Add one with “Culvert: Add Server…”.');
    return undefined;
  }
  const result = await askChoice(
    single(title),
    'Which server?',
    servers.map((server) => ({ label: server.label, description: destinationOf(server), value: server })),
  );
  return result.kind === 'value' ? result.value : undefined;
}
