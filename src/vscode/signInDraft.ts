import { bindingOf } from '../mcp/server.ts';
import type { App } from './app.ts';
import { credentialName, placeOf, type Draft, type TrialCredential } from './commands/serverDialog.ts';
import { signInNew } from './signInCommands.ts';

/** Signs in for a draft whose server wants it; false if nothing came of it. A sign-in for another place is dropped. */
export async function ensureSignIn(app: App, draft: Draft): Promise<boolean> {
  if (draft.authentication !== 'sign-in') return true;
  const { core } = app;
  const place = placeOf(draft);
  if (draft.signIn !== undefined) {
    if (core.credentials.get(draft.signIn)?.origins.includes(bindingOf(place))) return true;
    await dropSignIn(app, draft);
  }
  const label = draft.label ?? 'the server';
  const name = credentialName(label, (taken) => core.credentials.list().some((credential) => credential.name === taken));
  const credential = await signInNew(app, label, place, name, draft.challenge);
  if (credential) draft.signIn = credential.id;
  return credential !== undefined;
}

/** The token of a draft’s sign-in, for trying the server. */
export async function signedIn(app: App, draft: Draft): Promise<readonly TrialCredential[]> {
  const { core } = app;
  const credential = draft.authentication === 'sign-in' && draft.signIn !== undefined ? core.credentials.get(draft.signIn) : undefined;
  if (!credential) return [];
  const place = placeOf(draft);
  if (place.kind === 'stdio') return [];
  const binding = bindingOf(place);
  const target = new URL(place.url);
  const resolved = await core.sources.resolve(credential, binding, target);
  if (resolved.nothing) return [];
  const { source } = core.signIns;
  const ask = { credential, binding, url: target, signal: new AbortController().signal };
  return [
    { placement: credential.placement, secret: resolved.secret, prove: (method, url) => source.prove(ask, { method, url, resolved }) },
  ];
}

/** Takes a draft’s sign-in back: its tokens are revoked and forgotten. */
export async function dropSignIn(app: App, draft: Draft): Promise<void> {
  const { core } = app;
  const credential = draft.signIn === undefined ? undefined : core.credentials.get(draft.signIn);
  delete draft.signIn;
  if (!credential) return;
  await core.sources.revoke(credential, AbortSignal.timeout(REVOKE_MS));
  await core.credentials.forget(credential.id);
}

/** How long taking tokens back may hold up the user, milliseconds. */
const REVOKE_MS = 5_000;
