import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { allFixtures } from '../unit/configuration/fixtures.ts';
import { openViews, told } from './actions.ts';
import { filesWith, pagePlacesWith, processesWith } from './secretScan.ts';

/** Most questions of one import of everything. */
const MAX_QUESTIONS = 120;

describe('Import of everything', () => {
  const culvert = useCulvert({ settings: { 'files.autoSave': 'off' }, env: { DB_PASSWORD: 'kx93Lm20Qw', NOTION_TOKEN: 'zz81Pq55Rt' } });
  // VS Code's own user folder is elsewhere in this machine, and a folder is open, no workspace file.
  const fixtures = allFixtures().filter(({ name }) => !name.startsWith('vscode/home/') && !name.endsWith('.code-workspace'));
  const pathOf = ({ place, path: below }: (typeof fixtures)[number]) =>
    path.join(place === 'home' ? path.join(culvert().server.runFolder, 'home') : culvert().workspace, below);
  const secrets = fixtures.flatMap((fixture) => fixture.secrets);
  /** Not Culvert's to change: a server of Zed's own extension, and a file that other programs read too. */
  const isLeft = (file: string) => path.basename(file) === '.env' || file.includes(`${path.sep}zed${path.sep}`);
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', culvert().workspace, '-c', 'user.name=Kim', '-c', 'user.email=kim@example.com', ...args], { stdio: 'pipe' });

  before('lay out the files of every client, the workspace’s in a repository', () => {
    for (const fixture of fixtures) {
      fs.mkdirSync(path.dirname(pathOf(fixture)), { recursive: true });
      fs.writeFileSync(pathOf(fixture), fixture.text);
    }
    git('init', '-q');
    git('add', '--all');
    git('commit', '-qm', 'All of it');
  });

  /** Answers whatever is asked until the import is done. */
  async function answerAll(): Promise<void> {
    const { window } = culvert();
    const widget = window.quickInput;
    const row = (text: string) => window.quickRow(widget, text);
    const input = () => widget.locator('input.input').first();
    for (let n = 0; n < MAX_QUESTIONS; n++) {
      const seen = await until(
        async () => {
          // Written last; the notification may be gone already.
          if (fs.existsSync(path.join(culvert().workspace, '.vscode/culvert.json'))) return 'done';
          if (await window.notification(/Nothing (?:was|can be) imported/).isVisible()) return 'failed';
          if (await window.page.locator('.monaco-dialog-box').isVisible()) return 'dialog';
          return (await widget.isVisible()) ? 'input' : undefined;
        },
        { what: 'the next question of the import' },
      );
      if (seen === 'done') return;
      assert.notEqual(seen, 'failed', (await window.notifications()).join('\n'));
      if (seen === 'dialog') {
        const box = window.page.locator('.monaco-dialog-box');
        const asked = await box.innerText();
        const button = /Start When Needed|Import the Others|Save and Go On/.exec(asked)?.[0];
        assert.ok(button !== undefined, asked);
        await box.locator('.dialog-buttons .monaco-button', { hasText: button }).click();
        // The next one may follow at once.
        await until(async () => !(await box.isVisible()) || (await box.innerText()) !== asked, { what: 'the dialog to go' });
        continue;
      }
      // What is shown may be gone already: then the next look tells.
      const said = () => widget.innerText({ timeout: 1_000 }).catch(() => '');
      const text = await said();
      const choice = [
        'Make this one and the other',
        'Make this edit',
        'places and names only',
        'Switch tools on one by one',
        'has now',
      ].find((one) => text.includes(one));
      if (choice !== undefined)
        await row(choice)
          .click({ timeout: 2_000 })
          .catch(() => undefined);
      else if (await input().isVisible()) {
        await input()
          .fill('a-value-of-mine-4711', { timeout: 2_000 })
          .catch(() => undefined);
        await input()
          .press('Enter', { timeout: 2_000 })
          .catch(() => undefined);
      }
      // The next question may come in the same widget: only what it says tells them apart.
      await until(async () => !(await widget.isVisible()) || (await said()) !== text, {
        what: 'the answer to be taken',
        timeoutMs: 10_000,
      }).catch(() => undefined);
    }
    assert.fail('too many questions');
  }

  it('seals every secret, and leaves none on disk, in a log, in a page, in diagnostics or in a process', async function () {
    this.timeout(600_000);
    const { window, server } = culvert();
    await window.command('Culvert: Import MCP Servers…');
    const pick = await window.quickInputWith('Culvert: Import');
    await pick.locator('.quick-input-list .monaco-list-row').first().waitFor();
    for (const secret of secrets) assert.ok(!(await pick.innerText()).includes(secret));
    await pick.getByRole('checkbox', { name: 'Toggle all checkboxes' }).click();
    await culvert().screenshots('import-all-1-pick');
    await pick.getByRole('button', { name: 'OK' }).click();
    await answerAll();
    await culvert().screenshots('import-all-2-done');

    const changed = fixtures.filter((fixture) => fs.readFileSync(pathOf(fixture), 'utf8') !== fixture.text);
    assert.ok(changed.length >= 10, `${changed.length} files were edited`);
    for (const secret of secrets) {
      const files = filesWith(server.runFolder, secret).filter((file) => !isLeft(file));
      assert.deepEqual(files, [], `a secret is in ${files.join(', ')}`);
      assert.deepEqual(await pagePlacesWith(window.page, secret), []);
      assert.deepEqual(processesWith(server.runFolder, secret), []);
    }
    const said = await window.eval((api) => JSON.stringify(api.languages.getDiagnostics()));
    for (const secret of secrets) assert.ok(!said.includes(secret));
  });

  it('names the shared servers for the others, and says what must be replaced because it was shared', async () => {
    const { window, workspace } = culvert();
    const named = JSON.parse(fs.readFileSync(path.join(workspace, '.vscode/culvert.json'), 'utf8')) as { servers: object };
    assert.ok(Object.keys(named.servers).length > 3);
    assert.match(JSON.stringify(named), /"reference":"\$\{culvert:/);
    await openViews(window, 'Leak Warnings');
    await window
      .pane('Leak Warnings')
      .getByText(/Replace “.+” at its provider/)
      .first()
      .waitFor();
    await culvert().screenshots('import-all-3-rotate');
  });

  it('is taken back to the byte, every file of it', async () => {
    const { window, workspace } = culvert();
    await window.clearNotifications();
    await window.command('Culvert: Undo Import');
    await told(window, 'The import was undone');
    for (const fixture of fixtures) assert.equal(fs.readFileSync(pathOf(fixture), 'utf8'), fixture.text, fixture.name);
    assert.ok(!fs.existsSync(path.join(workspace, '.vscode/culvert.json')));
    assert.equal(git('status', '--porcelain').toString(), '');
  });
});
