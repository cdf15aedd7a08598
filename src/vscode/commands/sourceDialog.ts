import * as vscode from 'vscode';
import { newId } from '../../common/identifiers.ts';
import { visible } from '../../common/text.ts';
import { describePlacement, type Credential, type Placement } from '../../credentials/credential.ts';
import type { Secret } from '../../credentials/secret.ts';
import { CredentialError, type Resolved } from '../../credentials/source.ts';
import { SourceSpec, type OutputFormat, type SpecOf } from '../../credentials/sourceSpec.ts';
import { isSourceConfirmed, sourceDigest } from '../../credentials/sources/command.ts';
import { PRESETS, refuseAnswer, type Preset } from '../../credentials/sources/presets.ts';
import { bindingOf, type UpstreamPlace } from '../../mcp/server.ts';
import { formatCommandLine, parseCommandLine } from '../../upstream/commandLine.ts';
import type { App } from '../app.ts';
import { sessionProviders, signIn } from '../sessionSource.ts';
import { askChoice, type Choice, type StepPlace, type StepResult } from '../steps.ts';
import { SKIP, inOrder, issue, line, type SourceDraft } from './sourceSteps.ts';
import { askVault } from './vaultDialog.ts';

/** Signing in has a dialog of its own. */
type Kind = Exclude<SourceSpec['kind'], 'oauth'>;

const KINDS: readonly Choice<Kind>[] = [
  {
    label: '$(account) A sign-in of the editor',
    description: 'GitHub, Microsoft …',
    detail: 'The token of an account that the editor is signed in to; it renews it by itself',
    value: 'session',
  },
  {
    label: '$(terminal) A command',
    description: '1Password, pass, gh, gcloud, az, aws, git …',
    detail: 'What a program prints when it is asked; you see the command whole and confirm it first',
    value: 'command',
  },
  {
    label: '$(library) HashiCorp Vault or OpenBao',
    description: 'over its HTTP API',
    detail: 'A field of a secret, or a secret made for a while that is given back at the end',
    value: 'hashicorp-vault',
  },
  {
    label: '$(file) A file',
    description: 'for example ~/.config/tool/token',
    detail: 'Only one that nobody else can read or replace',
    value: 'file',
  },
  {
    label: '$(symbol-variable) A variable of the environment',
    description: 'where the editor runs',
    detail: 'As containers and development shells set it; other programs of yours see it too',
    value: 'environment',
  },
  {
    label: '$(lock) Another entry of the system’s keyring',
    description: 'secret-tool, Linux',
    detail: 'What another program put there',
    value: 'keyring',
  },
];

/** Asks where a value comes from, and everything that the place needs. Going back from its first question is going back. */
export async function askSource(
  place: StepPlace,
  before: SourceDraft | undefined,
  question = 'Where does the secret come from?',
): Promise<StepResult<SourceDraft>> {
  let kind = before && before.spec.kind !== 'oauth' ? before.spec.kind : undefined;
  for (;;) {
    const chosen = await askChoice(place, question, KINDS.filter(isHere), kind);
    if (chosen.kind !== 'value') return chosen;
    kind = chosen.value;
    const result = await askDetails({ ...place, canGoBack: true }, kind, before?.spec.kind === kind ? before : undefined);
    if (result.kind !== 'back') return result;
  }
}

function isHere({ value }: Choice<Kind>): boolean {
  return value !== 'keyring' || process.platform === 'linux';
}

async function askDetails(place: StepPlace, kind: Kind, before: SourceDraft | undefined): Promise<StepResult<SourceDraft>> {
  switch (kind) {
    case 'session':
      return askSession(place, before?.spec as SpecOf<'session'> | undefined);
    case 'command':
      return askCommand(place, before?.spec as SpecOf<'command'> | undefined);
    case 'hashicorp-vault':
      return askVault(place, before as (SourceDraft & { spec: SpecOf<'hashicorp-vault'> }) | undefined);
    case 'file': {
      const spec = before?.spec as SpecOf<'file'> | undefined;
      const typed: Record<string, string> = { path: spec?.path ?? '', field: spec?.field ?? '' };
      const make = (): unknown => ({ kind, path: typed['path'], format: 'auto', ...fieldOf(typed) });
      const end = await inOrder(
        line(place, typed, 'path', 'The file. Nobody else may read it (chmod 600).', '~/.config/tool/token', (path) =>
          issue({ ...(make() as object), path }, 'path'),
        ),
        line(place, typed, 'field', 'If it is JSON: the field. Empty: all of it.', '/access_token', (field) => refuseField(field)),
      );
      return ended(end, make);
    }
    case 'environment': {
      const typed: Record<string, string> = { variable: (before?.spec as SpecOf<'environment'> | undefined)?.variable ?? '' };
      const make = (): unknown => ({ kind, variable: typed['variable'] });
      const end = await inOrder(
        line(place, typed, 'variable', 'The variable, as it is set where the editor runs.', 'GITHUB_TOKEN', (variable) =>
          issue({ kind, variable }, 'variable'),
        ),
      );
      return ended(end, make);
    }
    case 'keyring': {
      const attributes = (before?.spec as SpecOf<'keyring'> | undefined)?.attributes ?? {};
      const typed: Record<string, string> = { text: Object.entries(attributes).flat().join(' ') };
      const read = (text: string) => {
        const parts = parseCommandLine(`x ${text}`);
        const words = typeof parts === 'string' ? [] : parts.args;
        return Object.fromEntries(
          Array.from({ length: Math.floor(words.length / 2) }, (_, i) => [words[2 * i] ?? '', words[2 * i + 1] ?? '']),
        );
      };
      const end = await inOrder(
        line(place, typed, 'text', 'Attributes and values, as for “secret-tool lookup”.', 'service github account me', (text) => {
          if (Object.keys(read(text)).length === 0) return 'Enter a name and a value, such as service github.';
          return issue({ kind, attributes: read(text) }, 'attributes');
        }),
      );
      return ended(end, () => ({ kind, attributes: read(typed['text'] ?? '') }));
    }
  }
}

async function askSession(place: StepPlace, before: SpecOf<'session'> | undefined): Promise<StepResult<SourceDraft>> {
  const typed: Record<string, string> = { scopes: before?.scopes.join(' ') ?? '' };
  let provider = before?.provider ?? 'github';
  const end = await inOrder(
    async () => {
      const choices = sessionProviders().map(({ id, label }) => ({ label, description: id, value: id }));
      if (choices.length === 0)
        return askChoice({ ...place, prompt: 'No extension of this editor brings a sign-in.' }, 'Which sign-in?', [
          { label: '$(arrow-left) Back', value: '' },
        ]).then(() => ({ kind: 'back' }) as const);
      const result = await askChoice(place, 'Which sign-in?', choices, provider);
      if (result.kind === 'value') provider = result.value;
      return result;
    },
    line(
      place,
      typed,
      'scopes',
      'What the token is to be good for: scopes, separated by spaces. The fewer, the better.',
      'read:user',
      () => undefined,
    ),
  );
  if (end !== 'done') return { kind: end };
  const scopes = (typed['scopes'] ?? '').split(/\s+/).filter((scope) => scope !== '');
  const session = await signIn({ provider, scopes });
  if (!session) return { kind: 'back' };
  const { id, label } = session.account;
  return { kind: 'value', value: { spec: { kind: 'session', provider, scopes, account: id, accountLabel: label.slice(0, 200) } } };
}

const FORMATS: readonly Choice<OutputFormat>[] = [
  { label: 'Whatever it looks like', description: 'a line, JSON of a known shape, or a git credential helper’s', value: 'auto' },
  { label: 'Its first line', value: 'first-line' },
  { label: 'A field of JSON', value: 'json' },
  { label: 'AWS credential process', description: 'keys for AWS signatures', value: 'aws' },
];

async function askCommand(place: StepPlace, before: SpecOf<'command'> | undefined): Promise<StepResult<SourceDraft>> {
  const typed: Record<string, string> = { command: before ? formatCommandLine(before) : '', field: before?.field ?? '' };
  let preset: Preset | undefined;
  let format: OutputFormat = before?.format ?? 'auto';
  let spec: unknown;
  const end = await inOrder(
    async () => {
      const result = await askChoice<Preset | undefined>(place, 'Which program?', [
        ...PRESETS.map((p) => ({ label: p.label, description: p.detail, value: p })),
        { label: '$(edit) Another command…', description: 'any program that prints a secret', value: undefined },
      ]);
      if (result.kind === 'value') preset = result.value;
      return result;
    },
    async () => {
      if (preset) {
        const chosen = preset;
        const { questions, id } = chosen;
        const asked = await inOrder(
          ...questions.map((q, i) => line(place, typed, `${id}${i}`, q.prompt, q.placeholder, (value) => refuseAnswer(q, value))),
        );
        if (asked !== 'done') return { kind: asked };
        spec = { kind: 'command', ...chosen.build(questions.map((_, i) => typed[`${id}${i}`] ?? '')) };
        return { kind: 'value', value: undefined };
      }
      const asked = await inOrder(
        line(
          place,
          typed,
          'command',
          'The command that prints the secret. No secret in it. NAME=value in front sets a variable.',
          'tool print-token --profile work',
          (text) => {
            const parsed = parseCommandLine(text);
            return typeof parsed === 'string' ? parsed : undefined;
          },
        ),
        async () => {
          const result = await askChoice(place, 'What does it print?', FORMATS, format);
          if (result.kind === 'value') format = result.value;
          return result;
        },
        async () =>
          format === 'json'
            ? line(place, typed, 'field', 'The field that holds the secret.', '/access_token', (field) =>
                field === '' ? 'Enter a field.' : refuseField(field),
              )()
            : SKIP,
      );
      if (asked !== 'done') return { kind: asked };
      const parsed = parseCommandLine(typed['command'] ?? '');
      if (typeof parsed === 'string') return { kind: 'back' };
      const { command, args, environment } = parsed;
      spec = {
        kind: 'command',
        command,
        args,
        format,
        ...(Object.keys(environment).length > 0 ? { environment } : {}),
        ...(format === 'json' ? fieldOf(typed) : {}),
      };
      return { kind: 'value', value: undefined };
    },
    async () => {
      const confirmed = await confirmSource(SourceSpec.parse(spec) as SpecOf<'command'>);
      if (!confirmed) return { kind: 'back' };
      spec = confirmed;
      return { kind: 'value', value: undefined };
    },
  );
  return ended(end, () => spec);
}

/** Shows a command whole and asks whether it may be run, as with commands of servers. `undefined`: the user declined. */
export async function confirmSource(spec: SpecOf<'command'>): Promise<SpecOf<'command'> | undefined> {
  if (isSourceConfirmed(spec)) return spec;
  const lines = [
    ...[spec.command, ...spec.args].map((part, i) => `${i === 0 ? 'Program' : `Argument ${i}`}: ${visible(part)}`),
    ...(spec.folder === undefined ? [] : [`Folder: ${visible(spec.folder)}`]),
    ...Object.entries(spec.environment ?? {}).map(([name, value]) => `Variable ${name}: ${visible(value)}`),
    ...(spec.input === undefined ? [] : [`It reads: ${visible(spec.input)}`]),
  ];
  const choice = await vscode.window.showWarningMessage(
    'Run this command for the secret?',
    {
      modal: true,
      detail: `${lines.join('\n')}\n\nIt runs with your rights, without a shell, whenever a call needs its secret. Run only what you trust.`,
    },
    'Run',
  );
  return choice === 'Run' ? { ...spec, confirmed: sourceDigest(spec) } : undefined;
}

function ended(end: 'done' | 'back' | 'cancel', make: () => unknown): StepResult<SourceDraft> {
  return end === 'done' ? { kind: 'value', value: { spec: SourceSpec.parse(make()) } } : { kind: end };
}

function refuseField(field: string): string | undefined {
  return field === '' || /^(\/([^~/]|~[01])*)+$/.test(field) ? undefined : 'A field is given as a path, such as /access_token.';
}

function fieldOf({ field }: Record<string, string>): { readonly field?: string } {
  return field === undefined || field === '' ? {} : { field };
}

/** What a Vault's token is sealed for: the address, never the server. */
export function keyOf({ spec, key }: SourceDraft): { readonly secret: Secret; readonly origins: readonly string[] } | undefined {
  return key && spec.kind === 'hashicorp-vault' ? { secret: key, origins: [new URL(spec.address).origin] } : undefined;
}

/** Gets a value from a source that belongs to no credential yet. Throws CredentialError. */
export async function trialValue(
  app: App,
  placement: Placement,
  place: UpstreamPlace,
  draft: SourceDraft,
  signal: AbortSignal,
): Promise<Resolved> {
  const { credentials, sources } = app.core;
  const binding = bindingOf(place);
  const credential: Credential = {
    version: 1,
    id: newId('cred'),
    name: describePlacement(placement),
    placement,
    source: draft.spec,
    origins: [binding],
    revision: 1,
    createdAt: Date.now(),
  };
  const key = keyOf(draft);
  if (key) await credentials.vault.seal(credential.id, key.secret, key.origins, 1);
  try {
    return await sources.once(credential, binding, place.kind === 'stdio' ? new URL('stdio:') : new URL(place.url), signal);
  } finally {
    await sources.release(credential, new AbortController().signal);
    if (key) await credentials.vault.forget(credential.id);
  }
}

/** What only the user can do before a source gives anything: confirm a command, sign in. `undefined`: they would not. */
export async function prepareSource(app: App, credential: Credential): Promise<Credential | undefined> {
  const { source } = credential;
  if (source?.kind === 'command' && !isSourceConfirmed(source)) {
    const confirmed = await confirmSource(source);
    return confirmed && app.core.credentials.replaceSource(credential.id, confirmed);
  }
  if (source?.kind === 'session') {
    try {
      await app.core.sources.once(credential, credential.origins[0] ?? '', new URL('stdio:'), new AbortController().signal);
    } catch (error) {
      if (!(error instanceof CredentialError) || error.action !== 'sign-in') throw error;
      if (!(await signIn(source))) return undefined;
      app.core.sources.drop(credential.id);
    }
  }
  return credential;
}
