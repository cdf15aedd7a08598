import { isDeepStrictEqual } from 'node:util';
import * as vscode from 'vscode';
import { newId } from '../../common/identifiers.ts';
import { messageOf } from '../../common/errors.ts';
import type { StartingAccess } from '../../authorization/grantChanges.ts';
import type { Credential } from '../../credentials/credential.ts';
import { Secret } from '../../credentials/secret.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import { bindingOf, describeBinding, destinationOf, isConfirmed, type Server, type UpstreamPlace } from '../../mcp/server.ts';
import type { Probe } from '../../upstream/probe.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';
import { credentialName } from '../credentialName.ts';
import { confirmPlace } from './commandConfirmation.ts';
import { CREDENTIAL_STEPS } from './credentialSteps.ts';
import { ALL_STEPS, PLACE_STEPS, refuseLabel, runSteps, type Step } from './serverDialog.ts';
import { draftOf, placeOf, placementOf, type Draft } from './serverDraft.ts';
import { tryDraft, tryServer } from './serverTrial.ts';
import { askStart } from './startingAccess.ts';
import { askAfterFailure } from './trialFailure.ts';
import { editHeaders } from './headersDialog.ts';
import { signInDraftOf } from './signInSetup.ts';
import { dropSignIn, ensureSignIn, signedIn } from '../signInDraft.ts';
import { keyOf } from './sourceDialog.ts';
import { askTrust, editTls } from './tlsDialog.ts';

/** How long the end of a credential waits for whoever gave it, milliseconds. */
const REVOKE_MS = 5_000;

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
    if (from !== 'retry' && !(await runSteps(app, title, draft, steps, from, taken))) return 'cancelled';
    if (!(await ensureSignIn(app, draft))) {
      from = draft.signInAs === true ? 'client' : 'authentication';
      continue;
    }
    const values = await signedIn(app, draft);
    const result = typeof values === 'string' ? NO_TOKEN(values) : await tryDraft(app, draft, values);
    if (result === 'declined') {
      from = 'command';
      continue;
    }
    if (result.ok) return result.tools;
    app.logger.info(`Trying ${draft.label ?? 'a server'}: ${result.what}: ${result.message}`);
    const next = await askAfterFailure(title, result, draft);
    if (next === undefined) return 'cancelled';
    if (next === 'anyway') return undefined;
    if (next === 'sign-in') {
      if (draft.authentication !== 'sign-in') draft.signInAs = false;
      draft.authentication = 'sign-in';
      if (result.wwwAuthenticate !== undefined) draft.challenge = result.wwwAuthenticate;
      await dropSignIn(app, draft);
      from = 'retry';
      continue;
    }
    if (next === 'trust') {
      const tls = await askTrust(draft.label ?? 'the server', draft.url ?? '', draft.tls);
      if (tls) draft.tls = tls;
      from = 'retry';
      continue;
    }
    from = next;
  }
}

/** A trial that ended before the server was asked. */
const NO_TOKEN = (message: string): Probe & { ok: false } => ({ ok: false, what: 'credential', message });

/** Stores a server: the secret first, then what names it, then its grants. A step that fails takes back what went before. */
export async function createServer(
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

async function sealDraft(app: App, draft: Draft, place: UpstreamPlace): Promise<string | undefined> {
  const { core } = app;
  if (draft.authentication === 'sign-in') {
    const { name = '', source } = (draft.signIn === undefined ? undefined : core.credentials.get(draft.signIn)) ?? {};
    // A sign-in by browser is on the record already.
    if (source?.kind === 'oauth' && source.grant !== 'code')
      core.act({
        act: 'credential-sealed',
        subject: name,
        detail: `${describeBinding(bindingOf(place))}, from the ${describeSource(source)}`,
      });
    return draft.signIn;
  }
  const placement = placementOf(draft);
  const name = credentialName(draft.label ?? 'Server', (n) => core.credentials.list().some((c) => c.name === n));
  const origins = [bindingOf(place)];
  const { source } = draft;
  let credential: Credential;
  if (placement && draft.elsewhere === true && source)
    credential = await core.credentials.add(name, placement, origins, source.spec, keyOf(source));
  else if (placement && draft.elsewhere !== true && draft.secret)
    credential = await core.credentials.seal(name, placement, origins, draft.secret);
  else return undefined;
  const from = credential.source ? `, from the ${describeSource(credential.source)}` : '';
  core.act({ act: 'credential-sealed', subject: name, detail: `${origins.map(describeBinding).join(', ')}${from}` });
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
    servers.map((server) => ({ label: server.label, description: destinationOf(server), value: server })),
  );
  return result.kind === 'value' ? result.value : undefined;
}

type Change = 'label' | 'place' | 'confirm' | 'tls' | 'headers' | 'authentication' | 'another' | 'access';

/** **Culvert: Edit Server…** */
export async function editServer(app: App, given: Server | undefined): Promise<void> {
  const title = 'Culvert: Edit Server';
  const server = await pickServer(app, title, given);
  if (!server) return;
  const { upstream } = server;
  const command = upstream.kind === 'stdio';
  const credentials = server.credentials.map((id) => app.core.credentials.get(id)?.name ?? 'missing').join(', ') || 'none';
  const what = await askChoice<Change>(single(`${title}: ${server.label}`), 'What do you want to change?', [
    ...(command && !isConfirmed(upstream)
      ? [
          {
            label: '$(check) Confirm the command',
            description: 'it changed, or was never confirmed; until then it is not started',
            value: 'confirm' as const,
          },
        ]
      : []),
    { label: '$(edit) Name', description: server.label, value: 'label' },
    { label: command ? '$(terminal) Command' : '$(link) URL', description: destinationOf(server), value: 'place' },
    ...(command || !upstream.url.startsWith('https:')
      ? []
      : [
          {
            label: '$(lock) TLS',
            description: 'authorities, pinned keys, a client certificate of your own',
            value: 'tls' as const,
          },
        ]),
    ...(command
      ? []
      : [
          {
            label: '$(list-flat) Plain headers',
            description: Object.keys(upstream.headers ?? {}).join(', ') || 'none',
            value: 'headers' as const,
          },
        ]),
    { label: '$(key) How it authenticates', description: credentials, value: 'authentication' },
    ...(server.credentials.length > 0
      ? [{ label: '$(add) Another credential beside', description: 'for servers that want two', value: 'another' as const }]
      : []),
    { label: '$(question) Start access anew', description: 'replaces all its grants', value: 'access' },
  ]);
  if (what.kind !== 'value') return;
  switch (what.value) {
    case 'label':
      return renameServer(app, server, title);
    case 'place':
      return moveServer(app, server, title);
    case 'confirm':
      return confirmServer(app, server);
    case 'tls':
      return editTls(app, server, title);
    case 'headers':
      return editHeaders(app, server, title);
    case 'authentication':
      return reauthenticate(app, server, title);
    case 'another':
      return addCredential(app, server, title);
    case 'access': {
      const access = await askStart(title, undefined);
      if (access) app.core.access.start(server.id, access, 'palette');
    }
  }
}

/** Asks for the confirmation without which a command is not started. */
export async function confirmServer(app: App, server: Server): Promise<void> {
  const place = await confirmPlace(draftOf(server));
  if (!place) return;
  app.core.servers.put({ ...server, upstream: place });
  app.core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: 'command confirmed' });
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

/** A definition that moves to another place does not take its credential along: the user is asked (DESIGN.md 3.2). */
async function moveServer(app: App, server: Server, title: string): Promise<void> {
  const { core } = app;
  const draft = draftOf(server);
  if (!(await runSteps(app, title, draft, PLACE_STEPS, server.upstream.kind === 'stdio' ? 'command' : 'url', () => false))) return;
  if (isDeepStrictEqual(placeOf(draft), server.upstream)) return;
  const [from, to] = [bindingOf(server.upstream), bindingOf(placeOf(draft))];
  const kindChanged = (server.upstream.kind === 'stdio') !== (placeOf(draft).kind === 'stdio');
  const there = placeOf(draft).kind === 'stdio' ? destinationOf({ upstream: placeOf(draft) }) : to;
  let { credentials } = server;
  if (from !== to && credentials.length > 0) {
    const names = credentials.map((id) => core.credentials.get(id)?.name ?? 'missing').join(', ');
    const choice = await askChoice<'rebind' | 'new' | 'none'>(
      single(title),
      `${names} is bound to ${server.upstream.kind === 'stdio' ? 'the old command' : from}. What shall go to ${there}?`,
      [
        { label: '$(key) Another credential', description: `enter it next; ${names} is forgotten`, value: 'new' },
        ...(kindChanged
          ? []
          : [
              {
                label: '$(arrow-swap) The same credential',
                description: `from now on it goes to ${there} and no longer to ${server.upstream.kind === 'stdio' ? 'the old one' : from}`,
                value: 'rebind' as const,
              },
            ]),
        { label: '$(circle-slash) None', description: `${names} is forgotten`, value: 'none' },
      ],
    );
    if (choice.kind !== 'value') return;
    if (choice.value === 'new') {
      await reauthenticate(app, server, title, draft);
      return;
    }
    const place = await confirmPlace(draft);
    if (!place) return;
    if (choice.value === 'rebind') {
      for (const id of credentials) await core.credentials.rebind(id, [to]);
      core.act({ act: 'credential-replaced', server: server.id, subject: names, detail: `bound to ${there}` });
    } else credentials = [];
  }
  const place = await confirmPlace(draft);
  if (!place) return;
  core.servers.put({ ...server, upstream: place, credentials });
  await forgetUnused(app, server.credentials);
  core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: `moved to ${there}` });
}

async function reauthenticate(app: App, server: Server, title: string, draft: Draft = draftOf(server)): Promise<void> {
  const { core } = app;
  // The place is a step too: after a failed trial it may turn out to be what is wrong.
  const steps: readonly Step[] = [...PLACE_STEPS, ...CREDENTIAL_STEPS];
  const before = server.credentials.find((id) => core.credentials.get(id)?.source?.kind === 'oauth');
  if (before !== undefined) draft.signInDraft ??= await signInDraftOf(app, before);
  const tools = await gatherAndTry(app, title, draft, steps, 'authentication', server.id);
  if (tools === 'cancelled') {
    await dropSignIn(app, draft);
    return;
  }
  const place = await confirmPlace(draft);
  if (!place) return;
  const credential = await sealDraft(app, draft, place);
  core.servers.put({ ...server, upstream: place, credentials: credential === undefined ? [] : [credential] });
  await forgetUnused(app, server.credentials);
  if (tools) core.catalog.observe(server.id, core.inspector.redactPlain(tools), { pin: false });
  core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: 'authentication changed' });
}

/** A second secret for servers that want one, in another header or variable. */
export async function addCredential(app: App, server: Server, title: string): Promise<void> {
  const { core } = app;
  const draft = draftOf(server);
  if (!(await runSteps(app, title, draft, CREDENTIAL_STEPS, 'authentication', () => false))) return;
  if (!(await ensureSignIn(app, draft))) return;
  const credential = await sealDraft(app, draft, server.upstream);
  if (credential === undefined) return;
  core.servers.put({ ...server, credentials: [...server.credentials, credential] });
  core.act({ act: 'server-edited', server: server.id, subject: server.label, detail: 'credential added' });
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
  core.leaks.decisions.forgetServer(server.id);
  app.tunnel.revokeServer(server.id);
  await forgetUnused(app, server.credentials);
  core.act({ act: 'server-removed', server: server.id, subject: server.label });
}

async function forgetUnused(app: App, ids: readonly string[]): Promise<void> {
  const { core } = app;
  for (const id of ids) {
    if (core.servers.list().some((s) => s.credentials.includes(id))) continue;
    const gone = core.credentials.get(id);
    const name = gone?.name ?? id;
    if (gone) await core.sources.revoke(gone, AbortSignal.timeout(REVOKE_MS));
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
