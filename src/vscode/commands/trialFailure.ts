import { challengeOf } from '../../credentials/oauth/challenge.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import type { Probe } from '../../upstream/probe.ts';
import { askChoice, type Choice } from '../steps.ts';
import type { Step } from './serverDialog.ts';
import { describeAuthentication, isCommand, type Draft } from './serverDraft.ts';

/** What to do after a failed trial. `trust`: look at the certificate. */
export type AfterFailure = Step | 'retry' | 'anyway' | 'trust' | 'sign-in';

/** After a failed trial: which step to go back to, or to go on all the same. `undefined`: give up. */
export async function askAfterFailure(title: string, failure: Probe & { ok: false }, draft: Draft): Promise<AfterFailure | undefined> {
  const secret: Choice<AfterFailure> = { label: '$(key) Enter the secret again', value: 'secret' };
  const url: Choice<AfterFailure> = isCommand(draft)
    ? { label: '$(terminal) Change the command', description: draft.commandLine ?? '', value: 'command' }
    : { label: '$(link) Change the URL', description: draft.url ?? '', value: 'url' };
  const authentication: Choice<AfterFailure> = {
    label: '$(shield) Change how it authenticates',
    description: describeAuthentication(draft),
    value: 'authentication',
  };
  const place =
    draft.ssh !== undefined && (draft.reach === 'ssh-command' || draft.reach === 'ssh-url')
      ? [{ label: '$(remote) Change the machine', description: draft.ssh, value: 'ssh' as const }, url]
      : [url];
  const source: Choice<AfterFailure> = {
    label: '$(plug) Change where the secret comes from',
    description: draft.source ? describeSource(draft.source.spec) : '',
    value: 'source',
  };
  const client: Choice<AfterFailure> = { label: '$(organization) Change how it signs in', value: 'client' };
  const first =
    failure.what === 'credential'
      ? draft.elsewhere === true
        ? [source, authentication, ...place]
        : draft.authentication === 'sign-in' && draft.signInAs === true
          ? [client, authentication, ...place]
          : draft.secret
            ? [secret, authentication, ...place]
            : [authentication, ...place]
      : failure.what === 'slow' || failure.what === 'broken' || failure.what === 'command'
        ? place
        : [...place, authentication];
  const offersSignIn =
    failure.what === 'credential' && draft.reach === 'url' && challengeOf(failure.wwwAuthenticate)?.resourceMetadata !== undefined;
  const result = await askChoice<AfterFailure>({ title, step: 0, totalSteps: 0, canGoBack: false, prompt: failure.message }, 'What next?', [
    ...(offersSignIn
      ? [
          {
            label: draft.authentication === 'sign-in' ? '$(account) Sign in again' : '$(account) Sign in',
            description: 'with the browser, where the server says',
            value: 'sign-in' as const,
          },
        ]
      : []),
    ...(failure.what === 'tls' && draft.reach !== 'ssh-url'
      ? [
          {
            label: '$(shield) Look at its certificate',
            description: 'and trust exactly this one, if it is the right one',
            value: 'trust' as const,
          },
        ]
      : []),
    ...(failure.what === 'slow' || failure.what === 'broken' ? [] : first),
    { label: '$(refresh) Try again', value: 'retry' },
    ...(failure.what === 'slow' || failure.what === 'broken' ? first : []),
    { label: '$(save) Add it all the same', description: 'it can be tried and changed later', value: 'anyway' },
  ]);
  return result.kind === 'value' ? result.value : undefined;
}
