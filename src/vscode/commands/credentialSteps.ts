import { Placement } from '../../credentials/credential.ts';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { destinationOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, type Choice, type StepPlace, type StepResult } from '../steps.ts';
import { isCommand, knowsUser, placeOf, placementOf, type Authentication, type Draft } from './serverDraft.ts';
import { askSignIn } from './signInDialog.ts';
import { askSource } from './sourceDialog.ts';

/** Steps that ask how a server authenticates, and for the credential. */
export type CredentialStep = 'authentication' | 'client' | 'source' | 'placement' | 'detail' | 'secret';

/** The steps that ask for a credential, in order. */
export const CREDENTIAL_STEPS: readonly CredentialStep[] = ['authentication', 'client', 'source', 'placement', 'detail', 'secret'];

/** Whether the answers so far need a step. */
export function needsCredentialStep(draft: Draft, step: CredentialStep): boolean {
  const kind = draft.authentication;
  if (step === 'client') return kind === 'sign-in' && draft.signInAs === true;
  if (step === 'source' || step === 'placement') return draft.elsewhere === true;
  if (step === 'detail')
    return kind !== undefined && kind in DETAILS && !(kind === 'basic' && draft.elsewhere === true && knowsUser(draft));
  return step === 'secret' ? kind !== 'none' && kind !== 'sign-in' && draft.elsewhere !== true : true;
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

function setPlacement(draft: Draft, kind: Authentication): void {
  if (draft.authentication !== kind) delete draft.detail;
  draft.authentication = kind;
}

/** Asks one of the steps, and keeps the answer in the draft. */
export async function askCredentialStep(app: App, step: CredentialStep, place: StepPlace, draft: Draft): Promise<StepResult<unknown>> {
  switch (step) {
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
