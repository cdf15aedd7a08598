import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  cloudFolderOf,
  describeExposure,
  exposureOf,
  inHistory,
  isTracked,
  systemGit,
  type Git,
} from '../../../src/configuration/exposure.ts';
import { temporaryFolder } from '../../support/folders.ts';
import { token } from './fixtures.ts';

describe('who can read a file', () => {
  it('knows cloud folders, Settings Sync and other users', async () => {
    assert.equal(cloudFolderOf('/home/kim/Dropbox/work/.env'), 'Dropbox');
    assert.equal(cloudFolderOf('C:\\Users\\kim\\OneDrive - Contoso\\x\\mcp.json'), 'OneDrive');
    assert.equal(cloudFolderOf('/Users/kim/Library/Mobile Documents/x'), 'iCloud');
    assert.equal(cloudFolderOf('/home/kim/boxes/.env'), undefined);
    const open = await exposureOf({ path: '/x/mcp.json', mode: 0o644, scope: 'user', client: 'vscode' }, undefined);
    assert.deepEqual(open, { tracked: false, settingsSync: true, worldReadable: true });
    assert.equal(describeExposure(open).length, 2);
    assert.deepEqual(describeExposure(await exposureOf({ path: '/x/.env', mode: 0o600 }, undefined)), []);
  });

  it('finds a value in the history of a repository, without giving it to git', async () => {
    const folder = temporaryFolder();
    const secret = token('github', 'history');
    const git = (...args: string[]) =>
      execFileSync('git', ['-C', folder.path, '-c', 'user.name=Kim', '-c', 'user.email=kim@example.com', ...args], { stdio: 'pipe' });
    try {
      git('init', '-q');
      const file = join(folder.path, 'mcp.json');
      writeFileSync(file, `{"token": "${secret}"}\n`);
      assert.equal(await isTracked(file, systemGit), false);
      git('add', '.');
      git('commit', '-qm', 'one');
      writeFileSync(file, '{}\n');
      git('commit', '-qam', 'two');
      assert.equal(await isTracked(file, systemGit), true);
      const asked: string[] = [];
      const watched: Git = (at, args) => {
        asked.push(...args);
        return systemGit(at, args);
      };
      const absent = token('github', 'absent');
      assert.deepEqual([...(await inHistory(file, [secret, absent], watched))], [secret]);
      assert.ok(asked.length > 0 && asked.every((arg) => !arg.includes(secret) && !arg.includes(absent)));
    } finally {
      folder.remove();
    }
  });
});
