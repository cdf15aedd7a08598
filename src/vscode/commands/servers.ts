import * as vscode from 'vscode';
import { newId } from '../../common/identifiers.ts';
import { messageOf } from '../../common/errors.ts';
import type { StartingAccess } from '../../authorization/access.ts';
import { Secret } from '../../credentials/secret.ts';
import { originOf, type Server } from '../../mcp/server.ts';
import type { Probe } from '../../upstream/probe.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import {
  askAfterFailure,
  askStart,
  credentialName,
  placementOf,
  refuseLabel,
  refuseUrl,
  runSteps,
  tryDraft,
  tryServer,
  urlOf,
  type Draft,
  type Step,
} from './serverDialog.ts';

const ALL: readonly Step[] = ['label', 'url', 'authentication', 'detail', 'secret'];

/** **Culvert: Add Server…** Resolves to the server, or `undefined` if the user gave up. */
export async function addServer(app: App): Promise<Server | undefined> {
  const title = 'Culvert: Add Server';
  const draft: Draft = {};
  const tools = await gatherAndTry(app, title, draft, ALL, 'label', undefined);
  if (tools === 'cancelled') return undefined;
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

/** Asks and tries until the server answers or the user goes on without. */
async function gatherAndTry(
  app: App,
  title: string,
  draft: Draft,
  steps: readonly Step[],
  start: Step,
  except: string | undefined,
): Promise<Extract<Probe, { ok: true }>['tools'] | undefined | 'cancelled'> {
  const taken = (label: string) => app.core.servers.labelTaken(label, except);
  let from: Step | 'retry' = start;
  for (;;) {
    if (from !== 'retry' && !(await runSteps(title, draft, steps, from, taken))) return 'cancelled';
    const result = await tryDraft(draft);
    if (result.ok) return result.tools;
    app.logger.info(`Trying ${draft.label ?? 'a server'}: ${result.what}: ${result.message}`);
    const next = await askAfterFailure(title, result, draft);
    if (next === undefined) return 'cancelled';
    if (next === 'anyway') return undefined;
    from = next;
  }
}

/** Stores a server: the secret first, then what names it, then its grants. A step that fails takes back what went before. */
export async function createServer(
  app: App,
  draft: Draft,
  access: StartingAccess,
  tools: Extract<Probe, { ok: true }>['tools'] | undefined,
): Promise<Server> {
  const { core } = app;
  const label = draft.label ?? '';
  const url = draft.url ?? '';
  const credential = await sealDraft(app, draft);
  const server: Server = {
    version: 1,
    id: newId('srv'),
    label,
    upstream: { kind: 'http', url },
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
  core.act({ act: 'server-added', server: server.id, subject: label, detail: originOf(url) });
  return server;
}

async function sealDraft(app: App, draft: Draft): Promise<string | undefined> {
  const { core } = app;
  const placement = placementOf(draft);
  if (!placement || !draft.secret) return undefined;
  const name = credentialName(draft.label ?? 'Server', (n) => core.credentials.list().some((c) => c.name === n));
  const credential = await core.credentials.seal(name, placement, [originOf(draft.url ?? '')], draft.secret);
  core.act({ act: 'credential-sealed', subject: name, detail: credential.origins.join(', ') });
  return credential.id;
}

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
    servers.map((server) => ({ label: server.label, description: new URL(urlOf(server)).host, value: server })),
  );
  return result.kind === 'value' ? result.value : undefined;
}

/** **Culvert: Edit Server…** */
export async function editServer(app: App, given: Server | undefined): Promise<void> {
  const title = 'Culvert: Edit Server';
  const server = await pickServer(app, title, given);
  if (!server) return;
  const what = await askChoice<'label' | 'url' | 'authentication' | 'access'>(
    single(`${title}: ${server.label}`),
    'What do you want to change?',
    [
      { label: '$(edit) Name', description: server.label, value: 'label' },
      { label: '$(link) URL', description: urlOf(server), value: 'url' },
      {
        label: '$(key) How it authenticates',
        description: server.credentials.map((id) => app.core.credentials.get(id)?.name ?? 'missing').join(', ') || 'none',
        value: 'authentication',
      },
      { label: '$(question) Start access anew', description: 'replaces all its grants', value: 'access' },
    ],
  );
  if (what.kind !== 'value') return;
  if (what.value === 'label') await renameServer(app, server, title);
  else if (what.value === 'url') await moveServer(app, server, title);
  else if (what.value === 'authentication') await reauthenticate(app, server, title);
  else {
    const access = await askStart(title, undefined);
    if (access) app.core.access.start(server.id, access, 'palette');
  }
}

async function renameServer(app: App, server: Server, title: string): Promise<void> {
  const result = await askText(single(title), {
    prompt: 'The new name.',
    value: server.label,
    validate: (v) => refuseLabel(v, (label) => app.core.servers.labelTaken(label, server.id)),
  });
  if (result.kind !== 'value' || result.value.trim() === server.label) return;
  app.core.servers.put({ ...server, label: result.value.trim() });
  app.core.act({ act: 'server-edited', server: server.id, subject: result.value.trim(), detail: `renamed from ${server.label}` });
}

/** A definition that moves to another origin does not take its credential along: the user is asked (DESIGN.md 3.2). */
async function moveServer(app: App, server: Server, title: string): Promise<void> {
  const { core } = app;
  const result = await askText(single(title), { prompt: 'The new URL.', value: urlOf(server), validate: refuseUrl });
  if (result.kind !== 'value' || result.value.trim() === urlOf(server)) return;
  const url = result.value.trim();
  const origin = originOf(url);
  let credentials = server.credentials;
  if (origin !== originOf(urlOf(server)) && credentials.length > 0) {
    const names = credentials.map((id) => core.credentials.get(id)?.name ?? 'missing').join(', ');
    const choice = await askChoice<'rebind' | 'new' | 'none'>(
      single(title),
      `${names} is bound to ${originOf(urlOf(server))}. What shall go to ${origin}?`,
      [
        { label: '$(key) Another credential', description: `enter it next; ${names} is forgotten`, value: 'new' },
        {
          label: '$(arrow-swap) The same credential',
          description: `from now on it goes to ${origin} and no longer to ${originOf(urlOf(server))}`,
          value: 'rebind',
        },
        { label: '$(circle-slash) None', description: `${names} is forgotten`, value: 'none' },
      ],
    );
    if (choice.kind !== 'value') return;
    if (choice.value === 'rebind') {
      for (const id of credentials) await core.credentials.rebind(id, [origin]);
      core.act({ act: 'credential-replaced', server: server.id, subject: names, detail: `bound to ${origin}` });
    } else credentials = [];
    if (choice.value === 'new') {
      await reauthenticate(app, { ...server, upstream: { kind: 'http', url } }, title);
      return;
    }
  }
  core.servers.put({ ...server, upstream: { kind: 'http', url }, credentials });
  await forgetUnused(app, server.credentials);
  reconnect(app, server.id);
  core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: `moved to ${origin}` });
}

/** Ends every connection to a server: sessions and streams of the old place mean nothing at the new one. */
function reconnect(app: App, server: string): void {
  app.tunnel.revokeServer(server);
  app.tunnel.issue(server, 'agent', 'shared');
}

async function reauthenticate(app: App, server: Server, title: string): Promise<void> {
  const { core } = app;
  const draft: Draft = { label: server.label, url: urlOf(server) };
  // The URL is a step too: after a failed trial it may turn out to be what is wrong.
  const tools = await gatherAndTry(app, title, draft, ['url', 'authentication', 'detail', 'secret'], 'authentication', server.id);
  if (tools === 'cancelled') return;
  const credential = await sealDraft(app, draft);
  const url = draft.url ?? urlOf(server);
  const moved = url !== urlOf(core.servers.get(server.id) ?? server);
  core.servers.put({ ...server, upstream: { kind: 'http', url }, credentials: credential === undefined ? [] : [credential] });
  await forgetUnused(app, server.credentials);
  if (moved) reconnect(app, server.id);
  if (tools) core.catalog.observe(server.id, core.inspector.redactPlain(tools), { pin: false });
  core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: 'authentication changed' });
}

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
  app.tunnel.revokeServer(server.id);
  await forgetUnused(app, server.credentials);
  core.act({ act: 'server-removed', server: server.id, subject: server.label });
}

async function forgetUnused(app: App, ids: readonly string[]): Promise<void> {
  const { core } = app;
  for (const id of ids) {
    if (core.servers.list().some((s) => s.credentials.includes(id))) continue;
    const name = core.credentials.get(id)?.name ?? id;
    await core.credentials.forget(id);
    core.act({ act: 'credential-forgotten', subject: name });
  }
}

/** Adds a server without asking, for the demo: what the file of `npm start` describes. */
export async function addDemoServer(
  app: App,
  demo: { readonly label: string; readonly url: string; readonly token: string },
): Promise<void> {
  if (app.core.servers.labelTaken(demo.label)) return;
  const draft: Draft = { label: demo.label, url: demo.url, authentication: 'bearer', secret: new Secret(demo.token) };
  const result = await tryServer(
    demo.label,
    demo.url,
    draft.secret ? { placement: { kind: 'bearer' }, secret: draft.secret } : undefined,
  ).catch((error: unknown) => {
    app.logger.warn(messageOf(error));
    return undefined;
  });
  await createServer(app, draft, 'ask', result?.ok === true ? result.tools : undefined);
}
