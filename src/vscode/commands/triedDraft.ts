import type { Probe } from '../../upstream/probe.ts';
import type { App } from '../app.ts';
import { dropSignIn, ensureSignIn, signedIn } from '../signInDraft.ts';
import { runSteps, type Step } from './serverDialog.ts';
import type { Draft } from './serverDraft.ts';
import { tryDraft } from './serverTrial.ts';
import { askTrust } from './tlsDialog.ts';
import { askAfterFailure } from './trialFailure.ts';

/** Asks and tries until the server answers or the user goes on without. */
export async function gatherAndTry(
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
