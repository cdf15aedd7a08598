import * as vscode from 'vscode';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { SourceSpec, type SpecOf } from '../../credentials/sourceSpec.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { askChoice, askText, type StepPlace, type StepResult } from '../steps.ts';
import { readPem } from './pem.ts';
import { SKIP, inOrder, issue, line, type SourceDraft } from './sourceSteps.ts';

/** Asks everything that a value from HashiCorp Vault or OpenBao needs. */
export async function askVault(
  place: StepPlace,
  before: (SourceDraft & { readonly spec: SpecOf<'hashicorp-vault'> }) | undefined,
): Promise<StepResult<SourceDraft>> {
  const spec = before?.spec;
  const typed: Record<string, string> = {
    address: spec?.address ?? '',
    namespace: spec?.namespace ?? '',
    roleId: spec?.login.method === 'approle' ? spec.login.roleId : '',
    mount: spec?.login.method === 'approle' ? spec.login.mount : 'approle',
    path: spec ? (spec.secret.engine === 'kv2' ? `${spec.secret.mount}/${spec.secret.path}` : spec.secret.path) : '',
    field: spec?.secret.field ?? '',
  };
  let method: 'token' | 'approle' = spec?.login.method ?? 'token';
  let engine: 'kv2' | 'grant' | 'task' | 'window' = spec?.secret.engine === 'dynamic' ? spec.secret.endsWith : 'kv2';
  let key = before?.key;
  let authorities = spec?.authorities;
  const make = (): unknown => {
    const { address, namespace, roleId, mount, path = '', field } = typed;
    const [first = '', ...rest] = path.split('/');
    return {
      kind: 'hashicorp-vault',
      address: address?.replace(/\/+$/, ''),
      ...(authorities === undefined || address?.startsWith('https:') !== true ? {} : { authorities }),
      ...(namespace === '' ? {} : { namespace }),
      login: method === 'token' ? { method } : { method, mount, roleId },
      secret:
        engine === 'kv2' ? { engine, mount: first, path: rest.join('/'), field } : { engine: 'dynamic', path, field, endsWith: engine },
    };
  };
  const check =
    (name: string, ...parts: string[]) =>
    (value: string) =>
      issue(Object.assign(make() as object, name === 'address' ? { address: value } : {}), ...parts);
  const text = (name: string, prompt: string, placeholder: string, refuse: (value: string) => string | undefined) =>
    line(place, typed, name, prompt, placeholder, refuse);
  const needed = (value: string) => (value === '' ? 'Enter something.' : undefined);
  const end = await inOrder(
    text('address', 'The address of the Vault.', 'https://vault.example.com:8200', check('address', 'address')),
    async () => {
      if (typed['address']?.startsWith('https:') !== true) return SKIP;
      const result = await askChoice<'system' | 'kept' | 'file'>(
        place,
        'Who vouches for its certificate?',
        [
          { label: 'An authority that the system trusts', value: 'system' },
          ...(authorities === undefined ? [] : [{ label: 'The authority from before', value: 'kept' as const }]),
          { label: 'An authority of your company…', description: 'a PEM file; trusted for this address alone', value: 'file' },
        ],
        authorities === undefined ? 'system' : 'kept',
      );
      if (result.kind !== 'value') return result;
      if (result.value === 'system') authorities = undefined;
      if (result.value !== 'file') return result;
      const chosen = await readPem('Authority of the Vault', 'certificates');
      // Nothing chosen, or nothing that is a certificate, which was said: the dialog stands where it was.
      if (chosen === undefined) return { kind: 'back' };
      authorities = chosen;
      return result;
    },
    text('namespace', 'The namespace. Empty: none.', 'team-a', () => undefined),
    async () => {
      const result = await askChoice<'token' | 'approle'>(
        place,
        'How does Culvert log in there?',
        [
          { label: 'With a token', description: 'sealed in the system’s keyring, for that address only', value: 'token' },
          { label: 'With AppRole', description: 'a role id, and a secret id that is sealed', value: 'approle' },
        ],
        method,
      );
      if (result.kind === 'value') method = result.value;
      return result;
    },
    async () => (method === 'approle' ? text('roleId', 'The role id.', '', needed)() : SKIP),
    async () => {
      const result = await askText(place, {
        prompt: `${method === 'token' ? 'The token' : 'The secret id'}. It is stored in the system’s keyring and sent to ${typed['address'] ?? ''} only.${key ? ' Leave empty to keep what you entered before.' : ''}`,
        placeholder: key ? 'entered' : 'paste it here',
        password: true,
        validate: (value) =>
          key && value === ''
            ? undefined
            : refuseValue(value, { kind: 'bearer' }, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS }),
      });
      if (result.kind === 'value' && result.value !== '') key = new Secret(result.value);
      return result;
    },
    async () => {
      const result = await askChoice<typeof engine>(
        place,
        'What does it give?',
        [
          { label: 'A stored secret', description: 'KV version 2', value: 'kv2' },
          {
            label: 'A secret made for a while',
            description: 'given back with the last grant for the server',
            detail: 'database, aws, rabbitmq …',
            value: 'grant',
          },
          { label: 'A secret made for a task', description: 'given back when the task ends', value: 'task' },
          { label: 'A secret made for this window', description: 'given back when the window closes', value: 'window' },
        ],
        engine,
      );
      if (result.kind === 'value') engine = result.value;
      return result;
    },
    async () =>
      text(
        'path',
        engine === 'kv2' ? 'Mount and path of the secret.' : 'Path that makes it.',
        engine === 'kv2' ? 'secret/team/github' : 'database/creds/readonly',
        (path) => (engine === 'kv2' && !path.includes('/') ? 'Enter mount and path, such as secret/github.' : needed(path)),
      )(),
    text('field', 'The field that holds the value.', 'token', needed),
  );
  if (end !== 'done') return { kind: end };
  const parsed = SourceSpec.safeParse(make());
  if (!parsed.success || !key) {
    void vscode.window.showWarningMessage(
      parsed.success ? 'The token is missing.' : (parsed.error.issues[0]?.message ?? 'That is no Vault.'),
    );
    return { kind: 'back' };
  }
  return { kind: 'value', value: { spec: parsed.data, key } };
}
