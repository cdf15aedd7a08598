import * as vscode from 'vscode';
import type { StartingAccess } from '../../authorization/access.ts';
import { MAX_CREDENTIAL_NAME_CHARACTERS, Placement, describePlacement } from '../../credentials/credential.ts';
import { inject, refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { MAX_LABEL_CHARACTERS, originOf, type Server } from '../../mcp/server.ts';
import { HttpUpstream } from '../../upstream/httpUpstream.ts';
import type { Probe } from '../../upstream/probe.ts';
import { settings } from '../adapters.ts';
import { askChoice, askText, type Choice, type StepPlace, type StepResult } from '../steps.ts';

/** What the dialog has gathered so far. Kept while steps go back and forth, so that nothing typed is lost. */
export interface Draft {
  label?: string;
  url?: string;
  authentication?: 'none' | Placement['kind'];
  /** Header name, user name or parameter name. */
  detail?: string;
  secret?: Secret;
}

/** The URL of a server that has one, else an empty string. */
export function urlOf({ upstream }: Server): string {
  return upstream.kind === 'stdio' ? '' : upstream.url;
}

/** Steps of the dialog, in order. */
export type Step = 'label' | 'url' | 'authentication' | 'detail' | 'secret';

/** Leaves out steps that the answers so far don't need. */
export function stepsFor(draft: Draft, all: readonly Step[]): Step[] {
  const kind = draft.authentication;
  return all.filter((step) => {
    if (step === 'detail') return kind === 'header' || kind === 'basic' || kind === 'query';
    return step === 'secret' ? kind !== 'none' : true;
  });
}

/** Placement that a draft describes; `undefined` without a credential. */
export function placementOf(draft: Draft): Placement | undefined {
  switch (draft.authentication) {
    case 'bearer':
      return { kind: 'bearer' };
    case 'header':
      return { kind: 'header', name: draft.detail ?? '' };
    case 'basic':
      return { kind: 'basic', username: draft.detail ?? '' };
    case 'query':
      return { kind: 'query', name: draft.detail ?? '' };
    default:
      return undefined;
  }
}

const AUTHENTICATION: readonly Choice<'none' | Placement['kind']>[] = [
  { label: '$(key) Bearer token', description: 'an API key or access token, as most servers want it', value: 'bearer' },
  { label: '$(tag) Named header', description: 'for example X-API-Key', value: 'header' },
  { label: '$(account) Basic', description: 'user name and password', value: 'basic' },
  { label: '$(link) Query parameter', description: 'for example ?api_key=…, if nothing else works: URLs end up in logs', value: 'query' },
  { label: '$(circle-slash) None', description: 'the server is open', value: 'none' },
];

/** Runs the steps `all` over a draft, starting at `from`; resolves to false if the user gave up. */
export async function runSteps(
  title: string,
  draft: Draft,
  all: readonly Step[],
  from: Step,
  labelTaken: (label: string) => boolean,
): Promise<boolean> {
  let at: Step = from;
  for (;;) {
    const steps = stepsFor(draft, all);
    const index = Math.max(0, steps.indexOf(at));
    const current = steps[index] ?? 'label';
    const place: StepPlace = { title, step: index + 1, totalSteps: steps.length, canGoBack: index > 0 };
    const result = await askStep(current, place, draft, labelTaken);
    if (result.kind === 'cancel') return false;
    const next = stepsFor(draft, all);
    const here = next.indexOf(current);
    const to = result.kind === 'back' ? next[here - 1] : next[here + 1];
    if (to === undefined) return true;
    at = to;
  }
}

async function askStep(step: Step, place: StepPlace, draft: Draft, labelTaken: (label: string) => boolean): Promise<StepResult<unknown>> {
  switch (step) {
    case 'label': {
      const result = await askText(place, {
        prompt: 'A name for the server. Agents see it too.',
        placeholder: 'GitHub',
        value: draft.label ?? '',
        validate: (value) => refuseLabel(value, labelTaken),
      });
      if (result.kind === 'value') draft.label = result.value.trim();
      return result;
    }
    case 'url': {
      const result = await askText(place, {
        prompt: 'The URL of the MCP server (Streamable HTTP).',
        placeholder: 'https://api.example.com/mcp',
        value: draft.url ?? '',
        validate: refuseUrl,
      });
      if (result.kind === 'value') draft.url = result.value.trim();
      return result;
    }
    case 'authentication': {
      const result = await askChoice(place, 'How does it authenticate?', AUTHENTICATION, draft.authentication ?? 'bearer');
      if (result.kind === 'value') {
        if (draft.authentication !== result.value) delete draft.detail;
        draft.authentication = result.value;
      }
      return result;
    }
    case 'detail': {
      const kind = draft.authentication;
      const prompts = {
        header: ['Name of the header.', 'X-API-Key'],
        basic: ['User name.', 'me@example.com'],
        query: ['Name of the query parameter.', 'api_key'],
      } as const;
      const [prompt, placeholder] = prompts[kind === 'header' || kind === 'basic' ? kind : 'query'];
      const result = await askText(place, {
        prompt,
        placeholder,
        value: draft.detail ?? '',
        validate: (value) => {
          const parsed = Placement.safeParse(placementOf({ ...draft, detail: value.trim() }));
          if (parsed.success) return undefined;
          const issue = parsed.error.issues[0];
          return issue?.code === 'custom' ? issue.message : 'Enter a name made of letters, digits and hyphens.';
        },
      });
      if (result.kind === 'value') draft.detail = result.value.trim();
      return result;
    }
    case 'secret': {
      const placement = placementOf(draft);
      if (!placement) return { kind: 'value', value: undefined };
      const host = draft.url === undefined ? '' : new URL(draft.url).host;
      const kept = draft.secret;
      const result = await askText(place, {
        prompt: `${placement.kind === 'basic' ? 'The password' : 'The secret'}. It is stored in the system’s keyring and sent to ${host} only.${kept ? ' Leave empty to keep what you entered before.' : ''}`,
        placeholder: kept ? 'entered' : 'paste it here',
        password: true,
        validate: (value) =>
          kept && value === '' ? undefined : refuseValue(value, placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS }),
      });
      if (result.kind === 'value' && result.value !== '') draft.secret = new Secret(result.value);
      return result;
    }
  }
}

/** Why a label can't be used; `undefined` if it can. */
export function refuseLabel(value: string, taken: (label: string) => boolean): string | undefined {
  const label = value.trim();
  if (label === '') return 'Enter a name.';
  if (label.length > MAX_LABEL_CHARACTERS) return `At most ${MAX_LABEL_CHARACTERS} characters.`;
  if (/[\p{Cc}\p{Cf}]/u.test(label)) return 'The name holds invisible characters.';
  return taken(label) ? 'Another server has this name.' : undefined;
}

/** Why a URL can't be used; `undefined` if it can. */
export function refuseUrl(value: string): string | undefined {
  const text = value.trim();
  if (text === '' || !URL.canParse(text)) return 'Enter a whole URL, such as https://api.example.com/mcp.';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'The URL must begin with https:// or http://.';
  if (url.username !== '' || url.password !== '') return 'Leave user name and password out of the URL; the next step asks for them.';
  if (url.hash !== '') return 'Leave out everything from the # on.';
  const loopback = url.hostname === 'localhost' || url.hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(url.hostname);
  if (url.protocol === 'http:' && !loopback)
    return 'Use https://. Plain http:// would show the credential to the network; it is only for this machine.';
  return undefined;
}

/** Tries what a draft describes, with progress that can be cancelled. */
export async function tryDraft(draft: Draft): Promise<Probe> {
  const placement = placementOf(draft);
  return tryServer(draft.label ?? '', draft.url ?? '', placement && draft.secret ? { placement, secret: draft.secret } : undefined);
}

/** Tries a server with a credential, with progress that can be cancelled. */
export function tryServer(
  label: string,
  url: string,
  credential: { readonly placement: Placement; readonly secret: Secret } | undefined,
): Promise<Probe> {
  return Promise.resolve(
    vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: `Culvert: trying ${label}…`, cancellable: true },
      async (_progress, token) => {
        const stop = new AbortController();
        const subscription = token.onCancellationRequested(() => stop.abort());
        const upstream = new HttpUpstream(settings.proxies());
        try {
          const target = credential ? inject(new URL(url), credential.placement, credential.secret) : { url: new URL(url), headers: {} };
          const { probe } = await import('../../upstream/probe.ts');
          return await probe(upstream, target.url, target.headers, stop.signal);
        } finally {
          subscription.dispose();
          upstream.dispose();
        }
      },
    ),
  );
}

/** After a failed trial: which step to go back to, or to go on all the same. `undefined`: give up. */
export async function askAfterFailure(
  title: string,
  failure: Probe & { ok: false },
  draft: Draft,
): Promise<Step | 'retry' | 'anyway' | undefined> {
  const secret: Choice<Step | 'retry' | 'anyway'> = { label: '$(key) Enter the secret again', value: 'secret' };
  const url: Choice<Step | 'retry' | 'anyway'> = { label: '$(link) Change the URL', description: draft.url ?? '', value: 'url' };
  const authentication: Choice<Step | 'retry' | 'anyway'> = {
    label: '$(shield) Change how it authenticates',
    description: describeAuthentication(draft),
    value: 'authentication',
  };
  const first =
    failure.what === 'credential'
      ? draft.secret
        ? [secret, authentication, url]
        : [authentication, url]
      : failure.what === 'slow' || failure.what === 'broken'
        ? [url]
        : [url, authentication];
  const result = await askChoice<Step | 'retry' | 'anyway'>(
    { title, step: 0, totalSteps: 0, canGoBack: false, prompt: failure.message },
    'What next?',
    [
      ...(failure.what === 'slow' || failure.what === 'broken' ? [] : first),
      { label: '$(refresh) Try again', value: 'retry' },
      ...(failure.what === 'slow' || failure.what === 'broken' ? first : []),
      { label: '$(save) Add it all the same', description: 'it can be tried and changed later', value: 'anyway' },
    ],
  );
  return result.kind === 'value' ? result.value : undefined;
}

function describeAuthentication(draft: Draft): string {
  const placement = placementOf(draft);
  return placement ? describePlacement(placement) : 'none';
}

/** With what access a new server starts. */
export async function askStart(
  title: string,
  tools: Extract<Probe, { ok: true }>['tools'] | undefined,
): Promise<StartingAccess | undefined> {
  const reading = tools?.filter((t) => /"readOnlyHint"\s*:\s*true/.test(t.definition)).length ?? 0;
  const count =
    tools === undefined
      ? 'The tools are not known yet'
      : `${tools.length} ${tools.length === 1 ? 'tool' : 'tools'}, ${reading} of them say that they only read`;
  const result = await askChoice<StartingAccess>({ title, step: 0, totalSteps: 0, canGoBack: false }, `${count}. How shall access start?`, [
    {
      label: '$(question) Ask every time',
      description: 'recommended',
      detail: 'An agent’s call waits for your answer; you can make it last',
      value: 'ask',
    },
    { label: '$(book) Tools that only read', detail: 'Allows tools that say they only read; everything else is denied', value: 'reading' },
    { label: '$(circle-slash) Nothing', detail: 'Switch tools on one by one in the Grants view', value: 'nothing' },
  ]);
  return result.kind === 'value' ? result.value : undefined;
}

/** Name for the credential of a server. */
export function credentialName(label: string, taken: (name: string) => boolean): string {
  const base = `${label} credential`.slice(0, MAX_CREDENTIAL_NAME_CHARACTERS - 4);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base} ${n}`;
    if (!taken(name)) return name;
  }
}

/** Origin of a draft's URL. */
export function draftOrigin(draft: Draft): string {
  return originOf(draft.url ?? '');
}
