import * as vscode from 'vscode';
import type { StartingAccess } from '../../authorization/access.ts';
import { MAX_CREDENTIAL_NAME_CHARACTERS, Placement, describePlacement } from '../../credentials/credential.ts';
import { inject, refuseValue, sign, type Value } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { CredentialError } from '../../credentials/source.ts';
import { describeSource } from '../../credentials/sources/describe.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import {
  MAX_LABEL_CHARACTERS,
  SshDestination,
  UpstreamPlace,
  commandDigest,
  destinationOf,
  isConfirmed,
  plainHeadersOf,
  type PlainHeaders,
  type Server,
  type Tls,
} from '../../mcp/server.ts';
import { systemClock } from '../../common/clock.ts';
import type { Logger } from '../../common/logger.ts';
import { visible } from '../../common/text.ts';
import { formatCommandLine, parseCommandLine } from '../../upstream/commandLine.ts';
import { openUpstream } from '../../upstream/open.ts';
import type { Probe } from '../../upstream/probe.ts';
import type { Upstream } from '../../upstream/upstream.ts';
import { challengeOf } from '../../credentials/oauth/challenge.ts';
import type { App } from '../app.ts';
import { settings } from '../adapters.ts';
import { askChoice, askText, type Choice, type StepPlace, type StepResult } from '../steps.ts';
import { askSignIn } from './signInDialog.ts';
import type { SignInDraft, SignInSetup } from './signInSetup.ts';
import { askSource, trialValue } from './sourceDialog.ts';
import type { SourceDraft } from './sourceSteps.ts';

/** Where a server is, in the words of the dialog. */
export type Reach = 'url' | 'command' | 'ssh-command' | 'ssh-url';

/** How a server is authenticated at; `sign-in`: by browser, at an authorization server. */
export type Authentication = 'none' | 'sign-in' | Placement['kind'];

/** What the dialog has gathered so far. Kept while steps go back and forth, so that nothing typed is lost. */
export interface Draft {
  label?: string;
  reach?: Reach;
  /** Host or alias for `ssh`. */
  ssh?: string;
  url?: string;
  /** Found out by trying: servers of the older transport are spoken to otherwise. */
  transport?: 'http' | 'sse';
  tls?: Tls;
  /** Headers without secrets. */
  headers?: PlainHeaders;
  commandLine?: string;
  folder?: string;
  /** Digest of the command that the user confirmed. */
  confirmed?: string;
  authentication?: Authentication;
  /** Header name, user name, parameter or variable name. */
  detail?: string;
  secret?: Secret;
  /** Id of the credential that the user signed in. */
  signIn?: string;
  /** What that sign-in was set up by. */
  signInBy?: SignInSetup;
  /** Whether it is more than a sign-in by browser as the server says, and what was gathered for that. */
  signInAs?: boolean;
  signInDraft?: SignInDraft;
  signInSetup?: SignInSetup;
  /** What the server said when it refused a trial. */
  challenge?: string;
  /** Whether the secret comes from elsewhere, and from where. */
  elsewhere?: boolean;
  source?: SourceDraft;
}

/** Steps of the dialog, in order. */
export type Step =
  'label' | 'reach' | 'ssh' | 'url' | 'command' | 'authentication' | 'client' | 'source' | 'placement' | 'detail' | 'secret';

/** The steps that ask for a credential, in order. */
export const CREDENTIAL_STEPS: readonly Step[] = ['authentication', 'client', 'source', 'placement', 'detail', 'secret'];

/** Every step, in order. */
export const ALL_STEPS: readonly Step[] = ['label', 'reach', 'ssh', 'url', 'command', ...CREDENTIAL_STEPS];

/** Leaves out steps that the answers so far don't need. */
export function stepsFor(draft: Draft, all: readonly Step[]): Step[] {
  const kind = draft.authentication;
  const command = isCommand(draft);
  return all.filter((step) => {
    if (step === 'ssh') return draft.reach === 'ssh-command' || draft.reach === 'ssh-url';
    if (step === 'url') return !command;
    if (step === 'command') return command;
    if (step === 'client') return kind === 'sign-in' && draft.signInAs === true;
    if (step === 'source' || step === 'placement') return draft.elsewhere === true;
    if (step === 'detail')
      return kind !== undefined && kind in DETAILS && !(kind === 'basic' && draft.elsewhere === true && knowsUser(draft));
    return step === 'secret' ? kind !== 'none' && kind !== 'sign-in' && draft.elsewhere !== true : true;
  });
}

function isCommand({ reach }: Draft): boolean {
  return reach === 'command' || reach === 'ssh-command';
}

/** The place that a draft describes. Throws Error if it is not complete. */
export function placeOf(draft: Draft): UpstreamPlace {
  const ssh = (draft.reach === 'ssh-command' || draft.reach === 'ssh-url') && draft.ssh !== undefined ? { ssh: draft.ssh } : {};
  if (!isCommand(draft)) {
    const tls = draft.tls && Object.keys(draft.tls).length > 0 ? { tls: draft.tls } : {};
    const headers = draft.headers && Object.keys(draft.headers).length > 0 ? { headers: draft.headers } : {};
    return { kind: draft.transport ?? 'http', url: draft.url ?? '', ...headers, ...tls, ...ssh };
  }
  const line = parseCommandLine(draft.commandLine ?? '');
  if (typeof line === 'string') throw new Error(line);
  const { command, args, environment } = line;
  return {
    kind: 'stdio',
    command,
    args,
    ...(draft.folder === undefined ? {} : { folder: draft.folder }),
    ...(Object.keys(environment).length > 0 ? { environment } : {}),
    ...ssh,
    ...(draft.confirmed === undefined ? {} : { confirmed: draft.confirmed }),
  };
}

/** A draft that describes a server as it is. */
export function draftOf({ label, upstream }: Server): Draft {
  const ssh = upstream.ssh === undefined ? {} : { ssh: upstream.ssh };
  if (upstream.kind !== 'stdio')
    return {
      label,
      reach: upstream.ssh === undefined ? 'url' : 'ssh-url',
      ...ssh,
      url: upstream.url,
      transport: upstream.kind,
      ...(upstream.headers ? { headers: upstream.headers } : {}),
      ...(upstream.tls ? { tls: upstream.tls } : {}),
    };
  return {
    label,
    reach: upstream.ssh === undefined ? 'command' : 'ssh-command',
    ...ssh,
    commandLine: formatCommandLine(upstream),
    ...(upstream.folder === undefined ? {} : { folder: upstream.folder }),
    ...(upstream.confirmed === undefined ? {} : { confirmed: upstream.confirmed }),
  };
}

/** Placement that a draft describes; `undefined` without a credential. */
export function placementOf(draft: Draft): Placement | undefined {
  const { detail = '' } = draft;
  switch (draft.authentication) {
    case 'bearer':
      return { kind: 'bearer' };
    case 'header': {
      const [, name = '', template] = /^([^:]*):\s*(.*)$/.exec(detail) ?? [undefined, detail];
      return { kind: 'header', name: name.trim(), ...(template === undefined ? {} : { template }) };
    }
    case 'basic':
      return { kind: 'basic', ...(draft.elsewhere === true && knowsUser(draft) ? {} : { username: detail }) };
    case 'cookie':
      return { kind: 'cookie', name: detail };
    case 'aws-sigv4': {
      const [service = '', region = '', accessKeyId] = detail.split(/\s+/);
      return { kind: 'aws-sigv4', service, region, ...(accessKeyId === undefined ? {} : { accessKeyId }) };
    }
    case 'argument': {
      const [placeholder = '', tool = '', argument = ''] = detail.split(/\s+/);
      return { kind: 'argument', placeholder, places: [{ tool, argument }] };
    }
    case 'query':
      return { kind: 'query', name: detail };
    case 'environment':
      return { kind: 'environment', name: detail };
    default:
      return undefined;
  }
}

/** What each way to place a secret asks for: prompt and example. */
const DETAILS: Partial<Record<Authentication, readonly [prompt: string, placeholder: string]>> = {
  header: [
    'Name of the header. Behind a colon a template, if the server wants more than the secret: Authorization: token {secret}',
    'X-API-Key',
  ],
  basic: ['User name.', 'me@example.com'],
  query: ['Name of the query parameter.', 'api_key'],
  cookie: ['Name of the cookie.', 'session'],
  environment: ['Name of the variable.', 'API_KEY'],
  'aws-sigv4': ['Service and region, and the access key id unless the source gives it.', 'bedrock-agentcore eu-central-1 AKIA…'],
  argument: [
    'Name of the placeholder, the tool, and the argument that may hold it. The agent then writes ${culvert:NAME} there.',
    'db-password connect /password',
  ],
};

/** Whether the source gives the user name too. */
function knowsUser({ source }: Draft): boolean {
  const spec = source?.spec;
  return (spec?.kind === 'command' && spec.format === 'git') || (spec?.kind === 'hashicorp-vault' && spec.secret.engine === 'dynamic');
}

type Way = 'elsewhere' | 'sign-in-as' | Authentication;

const ELSEWHERE: Choice<Way> = {
  label: '$(plug) With a secret from elsewhere…',
  description: 'a sign-in of the editor, 1Password, pass, a cloud’s command line, HashiCorp Vault, a file …',
  value: 'elsewhere',
};

const AUTHENTICATION: readonly Choice<Way>[] = [
  { label: '$(key) Bearer token', description: 'an API key or access token, as most servers want it', value: 'bearer' },
  {
    label: '$(account) Sign in',
    description: 'with the browser (OAuth), as most hosted servers want it',
    value: 'sign-in',
  },
  {
    label: '$(organization) Sign in another way…',
    description: 'a client that you registered, client credentials, your company’s identity provider, a workload’s token',
    value: 'sign-in-as',
  },
  { label: '$(tag) Named header', description: 'for example X-API-Key', value: 'header' },
  { label: '$(account) Basic', description: 'user name and password', value: 'basic' },
  { label: '$(link) Query parameter', description: 'for example ?api_key=…, if nothing else works: URLs end up in logs', value: 'query' },
  { label: '$(browser) Cookie', description: 'for servers that want a session cookie', value: 'cookie' },
  { label: '$(cloud) AWS signature', description: 'every request is signed with an access key (SigV4)', value: 'aws-sigv4' },
  {
    label: '$(symbol-string) In an argument',
    description: 'in the place of a placeholder, in one argument of one tool',
    value: 'argument',
  },
  ELSEWHERE,
  { label: '$(circle-slash) None', description: 'the server is open', value: 'none' },
];

const COMMAND_AUTHENTICATION: readonly Choice<Way>[] = [
  {
    label: '$(symbol-variable) Environment variable',
    description: 'the process holds the secret from then on, and could pass it on',
    value: 'environment',
  },
  {
    label: '$(symbol-string) In an argument',
    description: 'in the place of a placeholder, in one argument of one tool',
    value: 'argument',
  },
  ELSEWHERE,
  { label: '$(circle-slash) None', description: 'the server needs no secret', value: 'none' },
];

const REACH: readonly Choice<Reach>[] = [
  { label: '$(globe) At a URL', description: 'Streamable HTTP, or the older HTTP+SSE', value: 'url' },
  { label: '$(terminal) By a command', description: 'Culvert starts it on this machine, as most local servers want it', value: 'command' },
  { label: '$(remote) By a command on another machine', description: 'over SSH, with your own SSH configuration', value: 'ssh-command' },
  {
    label: '$(remote-explorer) At a URL that only another machine sees',
    description: 'over SSH, such as http://127.0.0.1:3000/mcp there',
    value: 'ssh-url',
  },
];

/** Runs the steps `all` over a draft, starting at `from`; resolves to false if the user gave up. */
export async function runSteps(
  app: App,
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
    const result = await askStep(app, current, place, draft, labelTaken);
    if (result.kind === 'cancel') return false;
    const next = stepsFor(draft, all);
    const here = next.indexOf(current);
    const to = result.kind === 'back' ? next[here - 1] : next[here + 1];
    if (to === undefined) return true;
    at = to;
  }
}

function setPlacement(draft: Draft, kind: Authentication): void {
  if (draft.authentication !== kind) delete draft.detail;
  draft.authentication = kind;
}

async function askStep(
  app: App,
  step: Step,
  place: StepPlace,
  draft: Draft,
  labelTaken: (label: string) => boolean,
): Promise<StepResult<unknown>> {
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
    case 'reach': {
      const result = await askChoice(place, 'How is the server reached?', REACH, draft.reach ?? 'url');
      if (result.kind === 'value') {
        if (draft.reach !== result.value) {
          delete draft.authentication;
          delete draft.detail;
          delete draft.elsewhere;
        }
        draft.reach = result.value;
      }
      return result;
    }
    case 'ssh': {
      const result = await askText(place, {
        prompt:
          'The machine, as you would give it to ssh. Its key must be known, and your SSH agent or key must open it without a question.',
        placeholder: 'me@devbox',
        value: draft.ssh ?? '',
        validate: (value) => firstIssue(SshDestination.safeParse(value.trim()), 'Enter a host or an alias of your SSH configuration.'),
      });
      if (result.kind === 'value') draft.ssh = result.value.trim();
      return result;
    }
    case 'url': {
      const far = draft.reach === 'ssh-url';
      const result = await askText(place, {
        prompt: far ? `The URL of the MCP server, as ${draft.ssh ?? 'that machine'} sees it.` : 'The URL of the MCP server.',
        placeholder: far ? 'http://127.0.0.1:3000/mcp' : 'https://api.example.com/mcp',
        value: draft.url ?? '',
        validate: refuseUrl,
      });
      if (result.kind === 'value' && draft.url !== result.value.trim()) {
        draft.url = result.value.trim();
        delete draft.transport;
      }
      return result;
    }
    case 'command': {
      const result = await askText(place, {
        prompt: `The command that starts the server${draft.reach === 'ssh-command' ? ` on ${draft.ssh ?? 'that machine'}` : ''}. No secret in it: that is asked for in a moment. NAME=value in front sets a variable.`,
        placeholder: 'npx -y @modelcontextprotocol/server-filesystem /home/me/notes',
        value: draft.commandLine ?? '',
        validate: refuseCommand,
      });
      if (result.kind === 'value') draft.commandLine = result.value.trim();
      return result;
    }
    case 'authentication': {
      const choices = isCommand(draft)
        ? COMMAND_AUTHENTICATION
        : draft.reach === 'ssh-url'
          ? AUTHENTICATION.filter(({ value }) => value !== 'sign-in' && value !== 'sign-in-as')
          : AUTHENTICATION;
      const result = await askChoice(
        place,
        isCommand(draft) ? 'Does it need a secret?' : 'How does it authenticate?',
        choices,
        draft.elsewhere === true
          ? 'elsewhere'
          : draft.authentication === 'sign-in' && draft.signInAs === true
            ? 'sign-in-as'
            : (draft.authentication ?? (isCommand(draft) ? 'environment' : 'bearer')),
      );
      if (result.kind === 'value') {
        const elsewhere = result.value === 'elsewhere';
        if (elsewhere !== (draft.elsewhere ?? false)) delete draft.authentication;
        draft.elsewhere = elsewhere;
        if (result.value !== 'elsewhere') setPlacement(draft, result.value === 'sign-in-as' ? 'sign-in' : result.value);
        draft.signInAs = result.value === 'sign-in-as';
      }
      return result;
    }
    case 'client': {
      const result = await askSignIn(app, place, new URL(draft.url ?? ''), (draft.signInDraft ??= { typed: {} }));
      if (result.kind === 'value') draft.signInSetup = result.value;
      return result;
    }
    case 'source': {
      const result = await askSource(place, draft.source);
      if (result.kind === 'value') draft.source = result.value;
      return result;
    }
    case 'placement': {
      const choices = (isCommand(draft) ? COMMAND_AUTHENTICATION : AUTHENTICATION).filter(
        (choice): choice is Choice<Placement['kind']> =>
          choice.value !== 'elsewhere' && choice.value !== 'none' && choice.value !== 'sign-in' && choice.value !== 'sign-in-as',
      );
      const result = await askChoice(
        place,
        'How does the server get it?',
        choices,
        draft.authentication === 'none' ? undefined : draft.authentication,
      );
      if (result.kind === 'value') setPlacement(draft, result.value);
      return result;
    }
    case 'detail': {
      const [prompt, placeholder] = DETAILS[draft.authentication ?? 'query'] ?? ['', ''];
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
      const goes = isCommand(draft) ? 'given to this one command' : `sent to ${destinationOf({ upstream: placeOf(draft) })} only`;
      const kept = draft.secret;
      const result = await askText(place, {
        prompt: `${placement.kind === 'basic' ? 'The password' : 'The secret'}. It is stored in the system’s keyring and ${goes}.${kept ? ' Leave empty to keep what you entered before.' : ''}`,
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

/** Why a command can't be used; `undefined` if it can. */
export function refuseCommand(value: string): string | undefined {
  const line = parseCommandLine(value);
  if (typeof line === 'string') return line;
  if (/[\p{Cc}\p{Cf}]/u.test(value)) return 'The command holds invisible characters.';
  return firstIssue(UpstreamPlace.safeParse({ kind: 'stdio', ...line }), 'This can’t be started as a command.');
}

function firstIssue(
  result:
    { readonly success: true } | { readonly success: false; readonly error: { readonly issues: readonly { readonly message: string }[] } },
  otherwise: string,
): string | undefined {
  return result.success ? undefined : (result.error.issues[0]?.message ?? otherwise);
}

/**
 * Shows a command whole and asks whether it may be started, unless exactly this one was confirmed before (PROTOCOL.md 5). Resolves to the
 * draft's place, or `undefined` if the user declined.
 */
export async function confirmPlace(draft: Draft): Promise<UpstreamPlace | undefined> {
  const place = placeOf(draft);
  if (place.kind !== 'stdio' || isConfirmed(place)) return place;
  const where = place.ssh === undefined ? 'on this machine' : `on ${place.ssh}, over SSH`;
  const { environment = {} } = place;
  const lines = [
    ...[place.command, ...place.args].map((part, i) => `${i === 0 ? 'Program' : `Argument ${i}`}: ${visible(part)}`),
    ...(place.folder === undefined ? [] : [`Folder: ${visible(place.folder)}`]),
    ...Object.entries(environment).map(([name, value]) => `Variable ${name}: ${visible(value)}`),
    ...(draft.authentication === 'environment' ? [`Variable ${draft.detail ?? ''}: the secret`] : []),
  ];
  const choice = await vscode.window.showWarningMessage(
    `Start this command ${where}?`,
    {
      modal: true,
      detail: `${lines.join('\n')}\n\nIt runs with your rights whenever an agent uses ${draft.label ?? 'the server'}. Start only what you trust.`,
    },
    'Start',
  );
  if (choice !== 'Start') return undefined;
  draft.confirmed = commandDigest(place);
  return placeOf(draft);
}

/** Tries what a draft describes, with progress that can be cancelled. `declined`: it is a command, and the user would not have it started. */
export async function tryDraft(app: App, draft: Draft, signedIn: readonly TrialCredential[] = []): Promise<Probe | 'declined'> {
  const { logger } = app;
  const place = await confirmPlace(draft);
  if (!place) return 'declined';
  const placement = placementOf(draft);
  let credentials: readonly TrialCredential[] = draft.authentication === 'sign-in' ? signedIn : [];
  if (placement && draft.secret && draft.elsewhere !== true) credentials = [{ placement, secret: draft.secret }];
  if (placement && draft.elsewhere === true && draft.source) {
    const given = await askWithProgress(app, placement, place, draft.source);
    if (typeof given === 'string') return { ok: false, what: 'credential', message: given };
    credentials = [{ placement, ...given }];
  }
  const result = await tryServer(draft.label ?? '', place, credentials, logger);
  if (result.ok || place.kind !== 'http' || (result.what !== 'url' && result.what !== 'not-mcp')) return result;
  const older = await tryServer(draft.label ?? '', { ...place, kind: 'sse' }, credentials, logger);
  if (older.ok) draft.transport = 'sse';
  // What the newer transport said is what most people can use.
  return older.ok ? older : result;
}

/** A credential's value and where it is put, for a trial. */
export interface TrialCredential extends Value {
  readonly placement: Placement;
  /** Headers that prove possession, for every single request. */
  readonly prove?: (method: string, url: URL) => Promise<Record<string, string>> | Record<string, string>;
}

/** Asks a source, with progress that can be cancelled; a text says why there is nothing. */
function askWithProgress(app: App, placement: Placement, place: UpstreamPlace, source: SourceDraft): Thenable<Value | string> {
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: `Culvert: asking the ${describeSource(source.spec)}…`, cancellable: true },
    async (_progress, token) => {
      const stop = new AbortController();
      const subscription = token.onCancellationRequested(() => stop.abort());
      try {
        return await trialValue(app, placement, place, source, stop.signal);
      } catch (error) {
        if (error instanceof CredentialError) return error.message;
        throw error;
      } finally {
        subscription.dispose();
      }
    },
  );
}

/** Tries a server with its credentials, with progress that can be cancelled. */
export function tryServer(label: string, place: UpstreamPlace, credentials: readonly TrialCredential[], logger: Logger): Promise<Probe> {
  return Promise.resolve(
    vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: `Culvert: trying ${label}…`, cancellable: true },
      async (_progress, token) => {
        const stop = new AbortController();
        const subscription = token.onCancellationRequested(() => stop.abort());
        const upstream = openUpstream(
          { label, upstream: place },
          {
            proxies: settings.proxies(),
            logger,
            clock: systemClock,
            clientKey: () => Promise.resolve(credentials.find((c) => c.placement.kind === 'client-key')?.secret),
            redact: (text) => credentials.reduce((shown, { secret }) => shown.replaceAll(secret.expose(), '[redacted]'), text),
          },
        );
        try {
          let url = place.kind === 'stdio' ? new URL('stdio:') : new URL(place.url);
          const headers: Record<string, string> = { ...plainHeadersOf(place) };
          const environment: Record<string, string> = {};
          const cookies: string[] = [];
          for (const { placement, secret, parts } of credentials) {
            const injected = inject(url, placement, secret, parts);
            url = injected.url;
            Object.assign(headers, injected.headers);
            Object.assign(environment, injected.environment);
            if (injected.cookie !== undefined) cookies.push(injected.cookie);
          }
          if (cookies.length > 0) headers['cookie'] = cookies.join('; ');
          const { probe } = await import('../../upstream/probe.ts');
          return await probe(proving(upstream, credentials), url, headers, stop.signal, { environment });
        } finally {
          subscription.dispose();
          upstream.dispose();
        }
      },
    ),
  );
}

/** The same way to a server, with signatures and proofs of possession on each request, for the URL that it goes to. */
function proving(upstream: Upstream, credentials: readonly TrialCredential[]): Upstream {
  return {
    send: async (request) => {
      const headersFor = async (url: URL) => {
        const headers = { ...request.headers };
        for (const { placement, prove, ...value } of credentials) {
          Object.assign(headers, sign(placement, value, { ...request, url }, Date.now()));
          Object.assign(headers, await prove?.(request.method, url));
        }
        return headers;
      };
      return upstream.send({ ...request, headers: await headersFor(request.url), headersFor });
    },
    dispose: () => upstream.dispose(),
  };
}

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

function describeAuthentication(draft: Draft): string {
  const placement = placementOf(draft);
  return placement ? describePlacement(placement) : draft.authentication === 'sign-in' ? 'sign-in' : 'none';
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
