import { isDeepStrictEqual } from 'node:util';
import { bindingOf, destinationOf, isConfirmed, type Server } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { dropSignIn } from '../signInDraft.ts';
import { askChoice, askText, single } from '../steps.ts';
import { confirmPlace } from './commandConfirmation.ts';
import { CREDENTIAL_STEPS } from './credentialSteps.ts';
import { editHeaders } from './headersDialog.ts';
import { pickServer } from './pickServer.ts';
import { addCredential, forgetUnused, sealDraft } from './serverCredentials.ts';
import { PLACE_STEPS, refuseLabel, runSteps, type Step } from './serverDialog.ts';
import { draftOf, placeOf, type Draft } from './serverDraft.ts';
import { signInDraftOf } from './signInSetup.ts';
import { askStart } from './startingAccess.ts';
import { editTls } from './tlsDialog.ts';
import { gatherAndTry } from './triedDraft.ts';

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
async function confirmServer(app: App, server: Server): Promise<void> {
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
