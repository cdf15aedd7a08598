import type { Credential } from '../credentials/credential.ts';
import { stateSecret, typedState } from '../credentials/oauth/state.ts';
import { keptFor } from '../credentials/oauth/tokenKeeper.ts';
import { CredentialError } from '../credentials/source.ts';
import { bindingOf, type UpstreamPlace } from '../mcp/server.ts';
import type { App } from './app.ts';
import { placeOf, type Draft } from './commands/serverDraft.ts';
import type { TrialCredential } from './commands/serverTrial.ts';
import type { SignInSetup } from './commands/signInSetup.ts';
import { keyOf } from './commands/sourceDialog.ts';
import { credentialName } from './credentialName.ts';
import { signInNew } from './signInCommands.ts';

/** Signs in for a draft whose server wants it; false if nothing came of it. A sign-in for another place, or set up otherwise, is dropped. */
export async function ensureSignIn(app: App, draft: Draft): Promise<boolean> {
  if (draft.authentication !== 'sign-in') return true;
  const { core } = app;
  const place = placeOf(draft);
  const setup = draft.signInAs === true ? draft.signInSetup : undefined;
  if (draft.signIn !== undefined) {
    if (draft.signInBy === setup && core.credentials.get(draft.signIn)?.origins.includes(bindingOf(place))) return true;
    await dropSignIn(app, draft);
  }
  const label = draft.label ?? 'the server';
  const name = nameFor(app, label);
  const credential =
    setup && setup.settings.grant !== 'code'
      ? await addClient(app, name, label, place, setup)
      : await signInNew(app, label, place, name, draft.challenge, { setup, typing: draft.signInDraft });
  if (!credential) return false;
  draft.signIn = credential.id;
  if (setup) draft.signInBy = setup;
  else delete draft.signInBy;
  return true;
}

function nameFor({ core }: App, label: string): string {
  return credentialName(label, (taken) => core.credentials.list().some((credential) => credential.name === taken));
}

/** A credential whose tokens are had without a browser, with the token that it is exchanged for, if any. */
async function addClient(
  { core }: App,
  name: string,
  label: string,
  place: UpstreamPlace,
  { settings, secret, identitySecret, assertion }: SignInSetup,
): Promise<Credential> {
  const { credentials } = core;
  const binding = bindingOf(place);
  const state = typedState(settings, { secret, identitySecret });
  const key = state && { secret: stateSecret(state), origins: [keptFor(binding)] };
  if (!assertion) return credentials.add(name, { kind: 'bearer' }, [binding], settings, key);
  const { source, origin } = assertion;
  const taken = (other: string) => credentials.list().some((credential) => credential.name === other);
  const proofName = credentialName(`${label} identity`.slice(0, 40), taken);
  const proof = await credentials.add(proofName, { kind: 'bearer' }, [origin], source.spec, keyOf(source));
  try {
    return await credentials.add(name, { kind: 'bearer' }, [binding], { ...settings, assertion: proof.id }, key);
  } catch (error) {
    await credentials.forget(proof.id).catch(() => undefined);
    throw error;
  }
}

/** The token of a draft’s sign-in, for trying the server; a text says why there is none. */
export async function signedIn(app: App, draft: Draft): Promise<readonly TrialCredential[] | string> {
  const { core } = app;
  const credential = draft.authentication === 'sign-in' && draft.signIn !== undefined ? core.credentials.get(draft.signIn) : undefined;
  if (!credential) return [];
  const place = placeOf(draft);
  if (place.kind === 'stdio') return [];
  const binding = bindingOf(place);
  const target = new URL(place.url);
  const { signal } = new AbortController();
  try {
    const resolved = await core.sources.once(credential, binding, target, signal);
    if (resolved.nothing) return [];
    const { source } = core.signIns;
    const ask = { credential, binding, url: target, signal };
    return [
      { placement: credential.placement, secret: resolved.secret, prove: (method, url) => source.prove(ask, { method, url, resolved }) },
    ];
  } catch (error) {
    if (error instanceof CredentialError) return error.message;
    throw error;
  }
}

/** Takes a draft’s sign-in back: its tokens are revoked and forgotten. */
export async function dropSignIn(app: App, draft: Draft): Promise<void> {
  const { core } = app;
  const credential = draft.signIn === undefined ? undefined : core.credentials.get(draft.signIn);
  delete draft.signIn;
  delete draft.signInBy;
  if (!credential) return;
  await core.sources.revoke(credential, AbortSignal.timeout(REVOKE_MS));
  await core.credentials.forget(credential.id);
}

/** How long taking tokens back may hold up the user, milliseconds. */
const REVOKE_MS = 5_000;
