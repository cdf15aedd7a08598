import * as vscode from 'vscode';
import type { StartingAccess } from '../../authorization/grantChanges.ts';
import { messageOf } from '../../common/errors.ts';
import { newId } from '../../common/identifiers.ts';
import { Secret } from '../../credentials/secret.ts';
import { destinationOf, type Server } from '../../mcp/server.ts';
import type { Probe } from '../../upstream/probe.ts';
import type { App } from '../app.ts';
import { dropSignIn } from '../signInDraft.ts';
import { sealDraft } from './serverCredentials.ts';
import { ALL_STEPS } from './serverDialog.ts';
import { placeOf, type Draft } from './serverDraft.ts';
import { tryServer } from './serverTrial.ts';
import { askStart } from './startingAccess.ts';
import { gatherAndTry } from './triedDraft.ts';

/** **Culvert: Add Server…** Resolves to the server, or `undefined` if the user gave up. */
export async function addServer(app: App): Promise<Server | undefined> {
  const title = 'Culvert: Add Server';
  const draft: Draft = {};
  const tools = await gatherAndTry(app, title, draft, ALL_STEPS, 'label', undefined);
  if (tools === 'cancelled') {
    await dropSignIn(app, draft);
    return undefined;
  }
  const access = (await askStart(title, tools)) ?? 'nothing';
  const server = await createWithRetry(app, draft, access, tools);
  if (!server) return undefined;
  const choice = await vscode.window.showInformationMessage(
    access === 'nothing'
      ? `${server.label} is protected by Culvert. No tool is allowed yet.`
      : `${server.label} is protected by Culvert. Agents reach it through MCP: List Servers like any other.`,
    'List MCP Servers',
  );
  if (choice === 'List MCP Servers') await vscode.commands.executeCommand('workbench.mcp.listServer');
  return server;
}

/** What was typed stays until it is stored: a keyring that is locked can be unlocked meanwhile. */
async function createWithRetry(
  app: App,
  draft: Draft,
  access: StartingAccess,
  tools: Extract<Probe, { ok: true }>['tools'] | undefined,
): Promise<Server | undefined> {
  for (;;) {
    try {
      return await createServer(app, draft, access, tools);
    } catch (error) {
      app.logger.error(messageOf(error));
      if ((await vscode.window.showErrorMessage(messageOf(error), 'Try Again')) !== 'Try Again') return undefined;
    }
  }
}

/** Stores a server: the secret first, then what names it, then its grants. A step that fails takes back what went before. */
async function createServer(
  app: App,
  draft: Draft,
  access: StartingAccess,
  tools: Extract<Probe, { ok: true }>['tools'] | undefined,
): Promise<Server> {
  const { core } = app;
  const label = draft.label ?? '';
  const place = placeOf(draft);
  const credential = await sealDraft(app, draft, place);
  const server: Server = {
    version: 1,
    id: newId('srv'),
    label,
    upstream: place,
    credentials: credential === undefined ? [] : [credential],
    createdAt: Date.now(),
  };
  try {
    core.servers.put(server);
    core.access.start(server.id, access, 'wizard');
    if (tools) core.catalog.observe(server.id, core.inspector.redactPlain(tools), { pin: false });
  } catch (error) {
    if (credential !== undefined) await core.credentials.forget(credential).catch(() => undefined);
    throw error;
  }
  core.act({ act: 'server-added', server: server.id, subject: label, detail: destinationOf(server) });
  return server;
}

/** Adds a server without asking, for the demo: what the file of `npm start` describes. */
export async function addDemoServer(
  app: App,
  demo: { readonly label: string; readonly url: string; readonly token: string },
): Promise<void> {
  if (app.core.servers.labelTaken(demo.label)) return;
  const secret = new Secret(demo.token);
  const draft: Draft = { label: demo.label, url: demo.url, authentication: 'bearer', secret };
  const result = await tryServer(demo.label, placeOf(draft), [{ placement: { kind: 'bearer' }, secret }], app.logger).catch(
    (error: unknown) => {
      app.logger.warn(messageOf(error));
      return undefined;
    },
  );
  await createServer(app, draft, 'ask', result?.ok === true ? result.tools : undefined);
}
