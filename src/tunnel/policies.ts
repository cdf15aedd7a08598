import { hash } from 'node:crypto';
import type { Act } from '../audit/record.ts';
import type { Access } from '../authorization/access.ts';
import { loadCedarLayer } from '../authorization/policy/cedar.ts';
import { userLayer } from '../authorization/policy/jsonPolicy.ts';
import type { PolicyLayer, PolicyProblem } from '../authorization/policy/layer.ts';
import { serverListsLayer, type ServerListSettings } from '../authorization/policy/serverLists.ts';
import { readSystemPolicy, systemPolicyPath, type PolicySystem } from '../authorization/policy/systemFile.ts';
import { readWorkspaceLayer, workspacePolicyPath } from '../authorization/policy/workspaceFile.ts';
import type { Clock } from '../common/clock.ts';
import { Emitter, type Disposable } from '../common/disposable.ts';
import { stampOf } from '../common/smallFile.ts';

/** Settings that are policies. */
export interface PolicySettings {
  /** The user's own rules; every value that is in force. */
  readonly rules: readonly unknown[];
  /** The user's rules are only recorded. */
  readonly shadow: boolean;
  /** VS Code's lists of servers; every value that is in force. */
  readonly lists: readonly ServerListSettings[];
}

/** Where the policies above grants come from. */
export interface PolicySources {
  /** Paths of the workspace's folders. */
  folders(): readonly string[];
  settings(): PolicySettings;
  /** Name of the setting that holds the user's rules. */
  readonly rulesSetting: string;
  /** The machine on which an organisation may have put its policy; `undefined`: nobody looks there. */
  readonly system: PolicySystem | undefined;
  /** Path of the organisation's policy, for tests. Default: {@link systemPolicyPath}. */
  readonly systemPath?: string;
}

export interface PoliciesOptions {
  readonly access: Pick<Access, 'setLayers'>;
  readonly sources: PolicySources;
  readonly clock: Clock;
  /** Puts a change on the record. */
  act(act: Pick<Act, 'act' | 'subject' | 'detail'>): void;
}

interface Source {
  stamp: string;
  layer: PolicyLayer | undefined;
}

interface Organisation extends Source {
  readonly path: string;
  readonly shadow: boolean;
  /** What was read last, so that the same is not compiled again. */
  read: string;
}

/**
 * The policies above grants, kept as their files and settings are: {@link check} looks whether a file changed and costs a few microseconds if
 * none did, so that a change holds from the next call on.
 */
export class Policies implements Disposable {
  readonly #options: PoliciesOptions;
  readonly #changed = new Emitter<undefined>();
  readonly #folders = new Map<string, Source>();
  readonly #organisation: readonly Organisation[];
  #settings: { readonly text: string; readonly layers: readonly PolicyLayer[] } | undefined;
  #layers: readonly PolicyLayer[] = [];
  #digest = '';
  #loading: Promise<void> | undefined;
  #disposed = false;

  /** Fires when a policy, or what is wrong with one, changed. */
  readonly onDidChange = this.#changed.event;

  constructor(options: PoliciesOptions) {
    this.#options = options;
    const { system, systemPath } = options.sources;
    const path = system && (systemPath ?? systemPolicyPath(system.platform));
    this.#organisation =
      path === undefined
        ? []
        : [
            { path, shadow: false, stamp: '', layer: undefined, read: '' },
            { path: shadowPolicyPath(path), shadow: true, stamp: '', layer: undefined, read: '' },
          ];
  }

  /** What is in force, in no particular order. */
  layers(): readonly PolicyLayer[] {
    return this.#layers;
  }

  /** What is wrong with the policies; each denies as long as it is. */
  problems(): readonly PolicyProblem[] {
    return this.#layers.flatMap((layer) => layer.problems);
  }

  /** Takes in everything for the first time. Never rejects: what can't be read denies. */
  async start(): Promise<void> {
    this.#readSettings();
    await this.check(true);
    this.#apply(true);
  }

  /** Takes in settings and folders that changed, and files. */
  async reload(): Promise<void> {
    this.#readSettings();
    const pending = this.check();
    this.#apply();
    await pending;
  }

  /**
   * Looks whether a file changed and takes it in. A promise if that takes a moment, as with the organisation's; calls wait for it. Never
   * rejects. `all`: also what no call waits for, the organisation's policy in shadow mode.
   */
  check(all = false): Promise<void> | undefined {
    const now = this.#options.clock.now();
    let changed = false;
    const folders = this.#options.sources.folders();
    for (const folder of folders) {
      const stamp = stampOf(workspacePolicyPath(folder), now);
      const known = this.#folders.get(folder);
      if (known ? known.stamp === stamp : stamp === '') continue;
      this.#folders.set(folder, { stamp, layer: stamp === '' ? undefined : readWorkspaceLayer(folder) });
      changed = true;
    }
    for (const folder of this.#folders.keys()) if (!folders.includes(folder)) changed = this.#folders.delete(folder);
    if (changed) this.#apply();
    const stale = this.#organisation.filter((file) => {
      if (file.shadow && !all) return false;
      const stamp = stampOf(file.path, now);
      if (file.stamp === stamp) return false;
      // Taken before it is read: what is written meanwhile is read again.
      file.stamp = stamp;
      return true;
    });
    if (stale.length > 0) {
      const before = this.#loading;
      const loading: Promise<void> = (async () => {
        await before;
        for (const file of stale) await this.#loadOrganisation(file);
        this.#apply();
      })().finally(() => {
        if (this.#loading === loading) this.#loading = undefined;
      });
      this.#loading = loading;
    }
    return this.#loading;
  }

  dispose(): void {
    this.#disposed = true;
    this.#changed.dispose();
  }

  async #loadOrganisation(file: Organisation): Promise<void> {
    const { system } = this.#options.sources;
    const text = system && (await readSystemPolicy(system, file.path));
    const read = text ? JSON.stringify(text) : '';
    if (read === file.read) return;
    file.layer = text && (await loadCedarLayer(text, file.shadow));
    file.read = read;
  }

  #readSettings(): void {
    const { rules, shadow, lists } = this.#options.sources.settings();
    const text = JSON.stringify([rules, shadow, lists]);
    if (text === this.#settings?.text) return;
    const layers = [
      ...rules.map((value) => userLayer(this.#options.sources.rulesSetting, value, shadow)),
      ...lists.map((value) => serverListsLayer(value)),
    ].filter((layer) => layer !== undefined);
    this.#settings = { text, layers };
  }

  #apply(first = false): void {
    if (this.#disposed) return;
    const layers = [
      ...(this.#settings?.layers ?? []),
      ...[...this.#folders.values()].map((f) => f.layer),
      ...this.#organisation.map((f) => f.layer),
    ].filter((layer) => layer !== undefined);
    const described = layers.map((l) => [l.name, l.shadow === true, l.digest ?? '', l.problems] as const);
    const digest = hash('sha256', JSON.stringify(described));
    if (digest === this.#digest) return;
    const before = new Set(this.#layers.map((l) => l.name));
    this.#digest = digest;
    this.#layers = layers;
    this.#options.access.setLayers(layers);
    if (!first || layers.length > 0)
      this.#options.act({
        act: 'policy-changed',
        subject: [...new Set([...before, ...layers.map((l) => l.name)])].join(', ').slice(0, 300),
        detail: `${layers.length} in force${this.problems().length > 0 ? ', not all of them readable' : ''}; SHA-256 ${digest}`,
      });
    this.#changed.fire(undefined);
  }
}

/** Where an organisation puts a policy that is only recorded, beside the one that is enforced. */
export function shadowPolicyPath(path: string): string {
  return path.replace(/\.cedar$/, '.shadow.cedar');
}
