import * as vscode from 'vscode';
import type { Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { pickServer } from './pickServer.ts';
import { forgetUnused } from './serverCredentials.ts';

/** **Culvert: Remove Server…** */
export async function removeServer(app: App, given: Server | undefined): Promise<void> {
  const server = await pickServer(app, 'Culvert: Remove Server', given);
  if (!server) return;
  const { core } = app;
  const only = server.credentials.filter((id) => !core.servers.list().some((s) => s.id !== server.id && s.credentials.includes(id)));
  const names = only.map((id) => core.credentials.get(id)?.name ?? '').filter((n) => n !== '');
  const choice = await vscode.window.showWarningMessage(
    `Remove ${server.label} from Culvert?`,
    {
      modal: true,
      detail: `Its grants go${names.length > 0 ? `, and ${names.join(', ')} is forgotten` : ''}. What it did stays on the record.`,
    },
    'Remove',
  );
  if (choice !== 'Remove') return;
  core.servers.remove(server.id);
  core.access.revokeServer(server.id);
  core.catalog.forget(server.id);
  core.leaks.decisions.forgetServer(server.id);
  app.tunnel.revokeServer(server.id);
  await forgetUnused(app, server.credentials);
  core.act({ act: 'server-removed', server: server.id, subject: server.label });
}
