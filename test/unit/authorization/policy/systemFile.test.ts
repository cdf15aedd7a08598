import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { localSystem, readSystemPolicy, systemPolicyPath, type PolicySystem } from '../../../../src/authorization/policy/systemFile.ts';
import { temporaryFolder } from '../../../support/folders.ts';

interface Entry {
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly uid?: number;
  readonly mode?: number;
  readonly writable?: boolean;
  readonly text?: string;
  readonly to?: string;
}

/** A machine made of paths. */
function machine(platform: NodeJS.Platform, entries: Readonly<Record<string, Entry>>, uid: number | undefined = 1000): PolicySystem {
  const find = (path: string): Entry => {
    const entry = entries[path];
    if (!entry) throw Object.assign(new Error('not there'), { code: 'ENOENT' });
    return entry;
  };
  return {
    platform,
    uid,
    readText: async (path) => find(find(path).to ?? path).text ?? '',
    status: async (path) => {
      const { kind, uid: owner = 0, mode = 0o755, text = '' } = find(path);
      return { kind, uid: owner, mode, size: text.length };
    },
    real: async (path) => find(path).to ?? path,
    canWrite: async (path) => find(path).writable === true,
  };
}

const FOLDERS: Readonly<Record<string, Entry>> = {
  '/': { kind: 'folder' },
  '/etc': { kind: 'folder' },
  '/etc/culvert': { kind: 'folder' },
};
const PATH = '/etc/culvert/policy.cedar';
const good: Entry = { kind: 'file', mode: 0o644, text: 'permit(principal, action, resource);' };

describe('the organisation’s file', () => {
  it('is at a fixed place that only an administrator can write', () => {
    assert.deepEqual(
      ['linux', 'darwin', 'win32'].map((p) => systemPolicyPath(p as NodeJS.Platform)),
      ['/etc/culvert/policy.cedar', '/Library/Application Support/Culvert/policy.cedar', 'C:\\Program Files\\Culvert\\policy.cedar'],
    );
  });

  it('is none where there is none', async () => {
    assert.equal(await readSystemPolicy(machine('linux', FOLDERS)), undefined);
  });

  it('counts where root owns it and nobody else writes it', async () => {
    const read = await readSystemPolicy(machine('linux', { ...FOLDERS, [PATH]: good }));
    assert.deepEqual(read, { source: PATH, text: good.text, protection: { ok: true } });
  });

  const weak: readonly (readonly [string, Readonly<Record<string, Entry>>, RegExp])[] = [
    ['another owner', { [PATH]: { ...good, uid: 1000 } }, /does not belong to root/],
    ['others may write', { [PATH]: { ...good, mode: 0o666 } }, /can be written by others/],
    ['its group may write', { [PATH]: { ...good, mode: 0o664 } }, /can be written by others/],
    ['the folder is the user’s', { [PATH]: good, '/etc/culvert': { kind: 'folder', uid: 1000 } }, /\/etc\/culvert does not belong to root/],
    ['the folder may be written', { [PATH]: good, '/etc': { kind: 'folder', mode: 0o777 } }, /\/etc can be written/],
    ['an access control list lets the user write', { [PATH]: { ...good, writable: true } }, /by the user that VS Code runs as/],
    [
      'a link to the user’s file',
      { [PATH]: { kind: 'link', to: '/home/policy' }, '/home': { kind: 'folder' }, '/home/policy': { ...good, uid: 1000 } },
      /\/home\/policy does not belong to root/,
    ],
    ['a folder in its place', { [PATH]: { kind: 'folder' } }, /It is no file/],
    ['far too large', { [PATH]: { ...good, text: 'x'.repeat(2_000_000) } }, /larger than/],
  ];
  for (const [what, entries, reason] of weak)
    it(`denies: ${what}`, async () => {
      const read = await readSystemPolicy(machine('linux', { ...FOLDERS, ...entries }));
      assert.equal(read?.text, '');
      assert.match(read.protection.ok ? '' : read.protection.reason, reason);
    });

  it('goes by the owner alone where VS Code runs as root', async () => {
    const entries = { ...FOLDERS, [PATH]: { ...good, writable: true } };
    assert.equal((await readSystemPolicy(machine('linux', entries, 0)))?.protection.ok, true);
  });

  it('goes on Windows by what can be written', async () => {
    const path = systemPolicyPath('win32');
    const folders: Readonly<Record<string, Entry>> = {
      'C:\\': { kind: 'folder', writable: true },
      'C:\\Program Files': { kind: 'folder' },
      'C:\\Program Files\\Culvert': { kind: 'folder' },
    };
    assert.equal((await readSystemPolicy(machine('win32', { ...folders, [path]: good }, undefined)))?.protection.ok, true);
    for (const writable of [path, 'C:\\Program Files\\Culvert']) {
      const entries = { ...folders, [path]: good };
      const read = await readSystemPolicy(
        machine('win32', { ...entries, [writable]: { ...entries[writable]!, writable: true } }, undefined),
      );
      assert.equal(read?.protection.ok, false, writable);
    }
  });

  it('denies where it can not be read', async () => {
    const system = { ...machine('linux', { ...FOLDERS, [PATH]: good }), readText: async () => Promise.reject(new Error('EACCES: no')) };
    const read = await readSystemPolicy(system);
    assert.match(read?.protection.ok === false ? read.protection.reason : '', /can’t be read: EACCES/);
  });

  it('is read from a real disk', async function () {
    if (process.platform === 'win32') this.skip();
    const folder = temporaryFolder();
    try {
      const path = join(folder.path, 'policy.cedar');
      assert.equal(await readSystemPolicy(localSystem, path), undefined);
      mkdirSync(join(folder.path, 'is-folder'));
      assert.equal((await readSystemPolicy(localSystem, join(folder.path, 'is-folder')))?.protection.ok, false);
      writeFileSync(path, '');
      chmodSync(path, 0o666);
      symlinkSync(path, join(folder.path, 'link'));
      for (const p of [path, join(folder.path, 'link')]) assert.equal((await readSystemPolicy(localSystem, p))?.protection.ok, false, p);
    } finally {
      folder.remove();
    }
  });
});
