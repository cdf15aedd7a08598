import * as vscode from 'vscode';
import { isDeepStrictEqual } from 'node:util';
import type { StartingAccess } from '../../authorization/grantChanges.ts';
import type { ImportPorts } from '../../configuration/importer.ts';
import { nodeFiles } from '../../configuration/nodeFiles.ts';
import type { SealStep } from '../../configuration/plan.ts';
import type { Credential } from '../../credentials/credential.ts';
import { refuseValue } from '../../credentials/injection.ts';
import { Secret } from '../../credentials/secret.ts';
import { MAX_SECRET_CHARACTERS, MIN_SECRET_CHARACTERS } from '../../credentials/vault.ts';
import { describeBinding, destinationOf } from '../../mcp/server.ts';
import type { App } from '../app.ts';
import { askChoice, askText, single } from '../steps.ts';

/** Ids of credentials that an import used and did not seal. */
export interface EarlierCredentials {
  readonly reused: readonly string[];
  readonly bound: readonly string[];
}

/** The parts of Culvert that an import works on, without the review. The same object takes the import back. */
export class AppPorts implements ImportPorts {
  readonly files = nodeFiles;
  readonly #app: App;
  readonly #title: string;
  readonly #access: StartingAccess;
  /** Sealed before this import: used, and not forgotten with it. */
  readonly #reused: Set<string>;
  /** Sealed before this import, and bound to something only by it. */
  readonly #bound: Set<string>;

  constructor(app: App, title: string, access: StartingAccess, earlier: EarlierCredentials = { reused: [], bound: [] }) {
    this.#app = app;
    this.#title = title;
    this.#access = access;
    this.#reused = new Set(earlier.reused);
    this.#bound = new Set(earlier.bound);
  }

  /** Credentials that were there before. */
  get earlier(): EarlierCredentials {
    return { reused: [...this.#reused], bound: [...this.#bound] };
  }

  async seal(step: SealStep): Promise<string | undefined> {
    const { core } = this.#app;
    const known = await this.#known(step);
    if (known === 'declined') return undefined;
    if (known) return known.id;
    const value = step.value?.reveal() ?? (await this.#ask(step));
    if (value === undefined) return undefined;
    const credential = await core.credentials.seal(step.name, step.placement, step.binding === '' ? [] : [step.binding], new Secret(value));
    core.act({
      act: 'credential-sealed',
      subject: credential.name,
      detail: step.binding === '' ? 'not bound yet' : describeBinding(step.binding),
    });
    return credential.id;
  }

  async unseal(id: string): Promise<void> {
    const { core } = this.#app;
    const name = core.credentials.get(id)?.name ?? id;
    if (this.#bound.has(id)) await core.credentials.rebind(id, []);
    if (this.#reused.has(id) || core.servers.list().some((server) => server.credentials.includes(id))) return;
    await core.credentials.forget(id);
    core.act({ act: 'credential-forgotten', subject: name });
  }

  register: ImportPorts['register'] = (step, credentials) => {
    const { core } = this.#app;
    const { serverId, label, place } = step;
    core.servers.put({ version: 1, id: serverId, label, upstream: place, credentials: [...credentials], createdAt: Date.now() });
    core.access.start(serverId, this.#access, 'wizard');
    core.act({ act: 'server-added', server: serverId, subject: label, detail: destinationOf({ upstream: place }) });
    return Promise.resolve();
  };

  unregister: ImportPorts['unregister'] = (id) => {
    const { core, tunnel } = this.#app;
    const server = core.servers.get(id);
    if (!server) return Promise.resolve();
    core.servers.remove(id);
    core.access.revokeServer(id);
    core.catalog.forget(id);
    tunnel.revokeServer(id);
    core.act({ act: 'server-removed', server: id, subject: server.label });
    return Promise.resolve();
  };

  /** A credential that the file names and that is sealed here already: only for where it may go already, or after a question. */
  async #known({ reference, binding, placement }: SealStep): Promise<Credential | 'declined' | undefined> {
    if (reference?.kind !== 'culvert') return undefined;
    const { credentials } = this.#app.core;
    const known = credentials.list().find((credential) => credential.name === reference.name);
    if (!known || !isDeepStrictEqual(known.placement, placement)) return undefined;
    if (known.origins.includes(binding)) {
      this.#reused.add(known.id);
      return known;
    }
    // A file must not lead a credential to a new place: one that goes somewhere already never follows.
    if (known.origins.length > 0) return undefined;
    const where = describeBinding(binding);
    const answer = await askChoice(single(this.#title), `${known.name} is sealed and goes nowhere yet. May it go to ${where}?`, [
      { label: `$(key) Use it for ${where}`, value: 'use' as const },
      { label: '$(add) Enter another value', value: 'other' as const },
    ]);
    if (answer.kind !== 'value') return 'declined';
    if (answer.value === 'other') return undefined;
    this.#reused.add(known.id);
    this.#bound.add(known.id);
    return credentials.rebind(known.id, [binding]);
  }

  async #ask(step: SealStep): Promise<string | undefined> {
    const { reference } = step;
    const validate = (value: string) => refuseValue(value, step.placement, { min: MIN_SECRET_CHARACTERS, max: MAX_SECRET_CHARACTERS });
    const goes = step.binding === '' ? '' : ` and goes to ${describeBinding(step.binding)} only`;
    const present = reference?.kind === 'environment' ? process.env[reference.name] : undefined;
    if (reference && present !== undefined && validate(present) === undefined) {
      const answer = await askChoice(single(this.#title), `${step.evidence} stands for ${step.what}. What shall be sealed?`, [
        { label: `$(symbol-variable) The value that ${reference.name} has now`, value: 'now' as const },
        { label: '$(edit) Another value', value: 'other' as const },
      ]);
      if (answer.kind !== 'value') return undefined;
      if (answer.value === 'now') return present;
    }
    const result = await askText(single(`${this.#title}: ${step.name}`), {
      prompt: `The value for ${step.evidence}. It is stored in the system’s keyring${goes}.`,
      placeholder: 'paste it here',
      password: true,
      validate,
    });
    return result.kind === 'value' ? result.value : undefined;
  }
}

/** Saves open editors of these files after a question; false if the user would not. */
export async function saveOpenEditors(paths: readonly string[]): Promise<boolean> {
  const dirty = vscode.workspace.textDocuments.filter((d) => d.isDirty && d.uri.scheme === 'file' && paths.includes(d.uri.fsPath));
  if (dirty.length === 0) return true;
  const names = dirty.map((d) => vscode.workspace.asRelativePath(d.uri)).join(', ');
  const choice = await vscode.window.showWarningMessage(
    `${names} ${dirty.length === 1 ? 'has' : 'have'} changes that are not saved.`,
    { modal: true, detail: 'Culvert edits files on disk, so they must be saved first.' },
    'Save and Go On',
  );
  if (choice !== 'Save and Go On') return false;
  for (const document of dirty) if (!(await document.save())) return false;
  return true;
}
