import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { localSystem, type PolicySystem } from '../../src/authorization/policy/systemFile.ts';
import { workspacePolicyPath } from '../../src/authorization/policy/workspaceFile.ts';
import type { PolicySettings, PolicySources } from '../../src/tunnel/policies.ts';

/** This machine, on which an administrator owns everything: what is not about protection should not need one. */
export const administered: PolicySystem = {
  ...localSystem,
  status: async (path) => ({ ...(await localSystem.status(path)), uid: 0, mode: 0o755 }),
  canWrite: async () => false,
};

/** Policies of a window, as a test sets them. */
export class TestPolicies implements PolicySources {
  rules: unknown[] = [];
  shadow = false;
  lists: PolicySettings['lists'] = [];
  readonly rulesSetting = 'culvert.policy.rules';
  system: PolicySystem | undefined = administered;
  readonly #folders: readonly string[];
  readonly systemPath: string;

  /** `folder` is for the files of the test; the workspace is a folder in it. */
  constructor(folder: string) {
    this.#folders = [join(folder, 'workspace')];
    this.systemPath = join(folder, 'system', 'policy.cedar');
    mkdirSync(join(folder, 'workspace'));
    mkdirSync(join(folder, 'system'));
  }

  folders(): readonly string[] {
    return this.#folders;
  }

  settings(): PolicySettings {
    return { rules: this.rules, shadow: this.shadow, lists: this.lists };
  }

  get workspaceFile(): string {
    return workspacePolicyPath(this.#folders[0] as string);
  }

  /** Writes the workspace's policy: text, or what is to be JSON. */
  writeWorkspace(policy: unknown): void {
    mkdirSync(dirname(this.workspaceFile), { recursive: true });
    writeFileSync(this.workspaceFile, typeof policy === 'string' ? policy : JSON.stringify(policy));
  }
}
