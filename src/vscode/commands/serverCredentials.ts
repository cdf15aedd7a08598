import type { Credential } from '../../credentials/credential.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import { bindingOf, describeBinding, type Server, type UpstreamPlace } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { credentialName } from '../credentialName.ts';
import { ensureSignIn } from '../signInDraft.ts';
import { CREDENTIAL_STEPS } from './credentialSteps.ts';
import { runSteps } from './serverDialog.ts';
import { draftOf, placementOf, type Draft } from './serverDraft.ts';
import { keyOf } from './sourceDialog.ts';

/** How long the end of a credential waits for whoever gave it, milliseconds. */
const REVOKE_MS = 5_000;

/** Stores the credential of a draft for the place where the server is, and returns its id; `undefined` if it has none. */
export async function sealDraft(app: App, draft: Draft, place: UpstreamPlace): Promise<string | undefined> {
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

/** Forgets those of these credentials that no server uses any more. */
export async function forgetUnused(app: App, ids: readonly string[]): Promise<void> {
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
