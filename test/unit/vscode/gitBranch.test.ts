import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { branchOf, branchOfAll, headFileOf } from '../../../src/vscode/gitBranch.ts';
import { temporaryFolder } from '../../support/folders.ts';

describe('the branch of a folder', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let repository: string;
  beforeEach(() => {
    folder = temporaryFolder();
    repository = join(folder.path, 'repository');
    mkdirSync(join(repository, '.git'), { recursive: true });
    mkdirSync(join(repository, 'src', 'deep'), { recursive: true });
  });
  afterEach(() => folder.remove());
  const head = (text: string | Buffer, git = join(repository, '.git')) => writeFileSync(join(git, 'HEAD'), text);

  it('is what HEAD says, in folders below too, as it is now', () => {
    head('ref: refs/heads/main\n');
    for (const path of [repository, join(repository, 'src', 'deep')]) assert.equal(branchOf(path), 'main');
    assert.equal(headFileOf(join(repository, 'src', 'deep')), join(repository, '.git', 'HEAD'));
    head('ref: refs/heads/feat/a-1');
    assert.equal(branchOf(repository), 'feat/a-1');
  });

  it('is found from worktrees and submodules', () => {
    const [tree, git] = [join(folder.path, 'tree'), join(repository, '.git', 'worktrees', 'tree')];
    mkdirSync(tree);
    mkdirSync(git, { recursive: true });
    head('ref: refs/heads/other\n', git);
    for (const to of [git, join('..', 'repository', '.git', 'worktrees', 'tree')]) {
      writeFileSync(join(tree, '.git'), `gitdir: ${to}\n`);
      assert.equal(branchOf(tree), 'other');
      assert.equal(headFileOf(tree), join(git, 'HEAD'));
    }
  });

  it('is none where there is none', () => {
    assert.equal(branchOf(folder.path), undefined);
    assert.equal(headFileOf(folder.path), undefined);
    const nothing: readonly (string | Buffer)[] = [
      'd670460b4b4aece5915caf5c68d12f560a9fe3e4\n',
      'ref: refs/tags/v1\n',
      'ref: refs/heads/.invalid\n',
      'ref: refs/heads/two words\n',
      '',
      Buffer.from([0xff, 0xfe]),
      `ref: refs/heads/${'x'.repeat(5_000)}`,
    ];
    for (const text of nothing) {
      head(text);
      assert.equal(branchOf(repository), undefined, String(text).slice(0, 60));
    }
  });

  it('never waits for a pipe, and leaves other machines alone', function () {
    if (process.platform === 'win32') this.skip();
    execFileSync('mkfifo', [join(repository, '.git', 'HEAD')]);
    assert.equal(branchOf(repository), undefined);
    rmSync(join(repository, '.git'), { recursive: true });
    for (const elsewhere of ['//server/share', '\\\\server\\share']) {
      writeFileSync(join(repository, '.git'), `gitdir: ${elsewhere}\n`);
      assert.equal(branchOf(repository), undefined);
    }
  });

  it('of many folders is that of all of them', () => {
    head('ref: refs/heads/main\n');
    assert.equal(branchOfAll([repository, join(repository, 'src')]), 'main');
    assert.equal(branchOfAll([repository, folder.path]), undefined);
    assert.equal(branchOfAll([]), undefined);
  });
});
