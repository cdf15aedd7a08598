import type { SpecOf } from '../sourceSpec.ts';

/** A question that a preset asks for its command. */
export interface PresetQuestion {
  readonly prompt: string;
  readonly placeholder: string;
  /** Empty is an answer too: the argument is left out. */
  readonly optional?: boolean;
}

/** A program that people keep secrets in, with the command that prints one. */
export interface Preset {
  readonly id: string;
  readonly label: string;
  /** What it prints, for lists. */
  readonly detail: string;
  readonly questions: readonly PresetQuestion[];
  build(answers: readonly string[]): Omit<SpecOf<'command'>, 'kind' | 'confirmed'>;
}

const when = (option: string, value: string | undefined): string[] => (value === undefined || value === '' ? [] : [option, value]);

/** What an answer must not be: an option of the program. */
export function refuseAnswer({ optional }: PresetQuestion, value: string): string | undefined {
  const text = value.trim();
  if (text === '') return optional === true ? undefined : 'Enter something.';
  if (text.startsWith('-')) return 'It must not begin with a hyphen.';
  return /[\p{Cc}\p{Cf}]/u.test(text) ? 'It holds invisible characters.' : undefined;
}

/** Programs that print secrets, as their documentation has it. */
export const PRESETS: readonly Preset[] = [
  {
    id: 'op',
    label: '1Password (op read)',
    detail: 'a field of an item',
    questions: [{ prompt: 'The secret reference, as 1Password copies it.', placeholder: 'op://Private/GitHub/token' }],
    build: ([reference = '']) => ({ command: 'op', args: ['read', '--no-newline', reference], format: 'text' }),
  },
  {
    id: 'pass',
    label: 'pass (pass show)',
    detail: 'the first line of an entry',
    questions: [{ prompt: 'The name of the entry.', placeholder: 'work/github' }],
    build: ([name = '']) => ({ command: 'pass', args: ['show', name], format: 'first-line' }),
  },
  {
    id: 'gh',
    label: 'GitHub CLI (gh auth token)',
    detail: 'the token that gh is signed in with',
    questions: [{ prompt: 'The host. Empty: github.com.', placeholder: 'github.com', optional: true }],
    build: ([host]) => ({ command: 'gh', args: ['auth', 'token', ...when('--hostname', host)], format: 'text' }),
  },
  {
    id: 'gcloud',
    label: 'Google Cloud (gcloud auth print-access-token)',
    detail: 'an access token of about an hour',
    questions: [{ prompt: 'The account. Empty: the active one.', placeholder: 'me@example.com', optional: true }],
    build: ([account]) => ({
      command: 'gcloud',
      args: ['auth', 'print-access-token', ...(account === undefined || account === '' ? [] : [account])],
      format: 'text',
    }),
  },
  {
    id: 'az',
    label: 'Azure (az account get-access-token)',
    detail: 'an access token for a resource, with its end',
    questions: [{ prompt: 'The resource that the token is for.', placeholder: 'https://management.azure.com' }],
    build: ([resource = '']) => ({
      command: 'az',
      args: ['account', 'get-access-token', '--resource', resource, '--output', 'json'],
      format: 'json',
      field: '/accessToken',
    }),
  },
  {
    id: 'aws',
    label: 'AWS (aws configure export-credentials)',
    detail: 'keys of a profile, with their end; for AWS signatures',
    questions: [{ prompt: 'The profile. Empty: the default one.', placeholder: 'work', optional: true }],
    build: ([profile]) => ({
      command: 'aws',
      args: ['configure', 'export-credentials', '--format', 'process', ...when('--profile', profile)],
      format: 'aws',
    }),
  },
  {
    id: 'vault',
    label: 'HashiCorp Vault (vault kv get)',
    detail: 'a field of a secret, with the login of the command line',
    questions: [
      { prompt: 'Path of the secret.', placeholder: 'secret/github' },
      { prompt: 'The field.', placeholder: 'token' },
    ],
    build: ([path = '', field = '']) => ({ command: 'vault', args: ['kv', 'get', `-field=${field}`, path], format: 'text' }),
  },
  {
    id: 'git',
    label: 'git credential helper (git credential fill)',
    detail: 'user name and password that git has for a host',
    questions: [{ prompt: 'The host.', placeholder: 'git.example.com' }],
    build: ([host = '']) => ({
      command: 'git',
      args: ['credential', 'fill'],
      // Without a terminal to ask on it fails instead of waiting.
      environment: { GIT_TERMINAL_PROMPT: '0', GIT_ASKPASS: '' },
      input: `protocol=https\nhost=${host}\n\n`,
      format: 'git',
    }),
  },
];
