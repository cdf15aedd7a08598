import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { SHOTS } from '../harness/paths.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { addServer, answer, call, callAndAnswer, choose, openViews, question, waitOffered } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';

describe('Grants, from server to grant', () => {
  const culvert = useCulvert();
  const peer = new McpPeer();
  const tool = (name: string) => ({ name, id: `mcp_wiki_${name}` });

  before('add a server', async () => {
    await peer.start();
    const { window } = culvert();
    await addServer(window, { label: 'Wiki', url: peer.url, authentication: 'None' });
    await openViews(window, 'Grants');
    await window.startMcp(/_look$/);
  });
  after(() => peer.stop());

  it('marks what asks, and tells in the tooltip why, and where that comes from', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.waitDescription('Wiki', /^all 2 ask$/);
    assert.match((await grants.row('look').getAttribute('aria-label')) ?? '', /look of Wiki, asks, says that it only reads/);
    await waitBadge(window, 'look', '?');
    const tooltip = await grants.tooltip('look');
    assert.match(tooltip, /asks the user each time/);
    assert.match(tooltip, /Grant: ask all tools, given when the server was added/);
  });

  it('the box of a server takes everything away, and Undo brings it back', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    assert.equal(await grants.isChecked('Wiki'), true);
    await grants.toggle('Wiki');
    await grants.waitDescription('Wiki', 'no access');
    await grants.waitDescription('look', 'no access');
    assert.equal((await call(window, tool('look').id)).ok, false);
    await waitOffered(window, 'look', false);
    await window.clickNotification('Agents can call nothing of Wiki any more.', 'Undo');
    await grants.waitDescription('Wiki', /^all 2 ask$/);
    await waitOffered(window, 'look', true);
  });

  it('the box of a server ticks what is below it, and says how much is', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'Wiki', 'Access: Nothing', 'no access');
    await grants.toggle('look');
    await grants.waitDescription('Wiki', '1 of 2 allowed');
    assert.equal(await grants.isChecked('Wiki'), false);
    await grants.toggle('Wiki');
    await grants.waitDescription('Wiki', 'all 2 allowed');
    await grants.waitDescription('change', /^allowed$/);
    await window.startMcp(/_change$/);
    assert.equal((await call(window, tool('change').id)).ok, true);
  });

  it('presets set a server as a whole, from its menu and from the palette', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'Wiki', 'Access: Tools That Only Read', '1 of 2 allowed');
    await grants.waitDescription('look', 'allowed (tools that only read)');
    await grants.waitDescription('change', 'no access');
    await window.command('Culvert: Set Server Access…');
    await window.pick('Wiki', { title: 'Set Server Access' });
    await window.pick('Ask each time', { title: 'Access to Wiki' });
    await grants.waitDescription('Wiki', 'all 2 ask');
  });

  it('a grant stands below its tool, can be revoked there, and by the keyboard', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await waitOffered(window, 'look', true);
    assert.equal((await callAndAnswer(window, tool('look'), {}, 'Allow in this workspace')).ok, true);
    await grants.waitDescription('look', 'allowed in workspace');
    await grants.expand('look');
    await grants.row('Allow in workspace').waitFor();
    await grants.inlineAction('Allow in workspace', 'Revoke');
    await grants.waitDescription('look', /^asks$/);

    // A tool is ticked and a row folded without a mouse.
    await grants.select('change');
    await window.page.keyboard.press('Space');
    await grants.waitDescription('change', /^denied$/);
    await window.page.keyboard.press('Space');
    await grants.waitDescription('change', /^allowed$/);
    await window.page.keyboard.press('ArrowRight');
    await grants.row('Allow').waitFor();
    await window.page.keyboard.press('ArrowLeft');
    await until(async () => !(await grants.labels()).includes('Allow'));
  });

  it('Find Tool… shows a tool in the tree, folded up or not', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.row('Wiki').locator('.monaco-tl-twistie').click();
    await until(async () => !(await grants.labels()).includes('change'));
    await window.command('Culvert: Find Tool…');
    await window.pick(/^\s*change/, { title: 'Find Tool' });
    await grants.row('change').waitFor();
    await until(async () => ((await grants.row('change').getAttribute('class')) ?? '').includes('selected'));
  });

  it('the menu of a row allows it for as long as the user says, spelled out before', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.contextMenu('Prompts', 'Allow Tool for…');
    const dialog = await window.quickInputWith('Allow prompts');
    assert.match(await dialog.innerText(), /1 hour\s*allow prompts, until (\w+ \d+ )?\d\d:\d\d/);
    await window.pick('1 hour', { title: 'Allow prompts' });
    await grants.waitDescription('Prompts', 'allowed, 60 min left');
  });

  it('what is allowed on a git branch asks on every other, and is allowed again when the branch is back', async () => {
    const { window, workspace } = culvert();
    const grants = window.tree('Grants');
    const git = (...args: readonly string[]) =>
      execFileSync('git', ['-c', 'user.name=A', '-c', 'user.email=a@example.com', '-c', 'commit.gpgsign=false', ...args], {
        cwd: workspace,
      });
    const checkOut = (branch: string) => git('checkout', '-q', branch);
    git('init', '-q', '-b', 'main');
    git('commit', '-q', '--allow-empty', '-m', 'Begin');
    git('branch', 'feature/search');
    await choose(grants, 'Wiki', 'Access: Ask Each Time', 'all 2 ask');
    await grants.waitDescription('look', /^asks$/);
    checkOut('feature/search');
    await grants.contextMenu('look', 'Allow Tool for…');
    await window.pick('This branch', { title: 'Allow look' });
    await grants.expand('look');
    await grants.row(/^Allow in workspace on branch feature\/search/).waitFor();
    await grants.waitDescription('look', 'allowed on branch feature/search');
    await waitBadge(window, 'look', '⎇');
    assert.match(await grants.tooltip('look'), /allowed in workspace on branch feature\/search/);
    await grants.waitDescription('Wiki', '1 of 2 allowed, 1 asks');
    assert.equal((await call(window, tool('look').id)).ok, true);
    checkOut('main');
    // Nothing of Culvert is touched meanwhile: the tree follows git alone.
    await grants.waitDescription('look', /^asks$/);
    await grants.waitDescription('Wiki', 'all 2 ask');
    await grants.waitDescription(/^Allow in workspace on branch feature\/search/, 'not on the branch that is checked out');
    await waitBadge(window, 'look', '?');
    assert.match(await grants.tooltip('look'), /Nearly: allow look .* another git branch is checked out/);
    assert.equal((await callAndAnswer(window, tool('look'), {}, 'Allow once')).ok, true);
    checkOut('feature/search');
    await grants.waitDescription('look', 'allowed on branch feature/search');
    await window.screenshot(path.join(SHOTS, 'branch.png'));
    assert.equal((await call(window, tool('look').id)).ok, true);
    // Denied by default, it is not even listed on another branch; agents hear of that.
    await choose(grants, 'Wiki', 'Access: Nothing', 'no access');
    await grants.contextMenu('look', 'Allow Tool for…');
    await window.pick('This branch', { title: 'Allow look' });
    await waitOffered(window, 'look', true);
    checkOut('main');
    await grants.waitDescription('look', 'no access');
    await waitOffered(window, 'look', false);
    checkOut('feature/search');
    await waitOffered(window, 'look', true);
    await choose(grants, 'Wiki', 'Access: Ask Each Time', 'all 2 ask');
    await grants.waitDescription('look', /^asks$/);
    fs.rmSync(path.join(workspace, '.git'), { recursive: true });
  });

  it('“Not now” is remembered: the same is not asked again', async () => {
    const { window } = culvert();
    await choose(window.tree('Grants'), 'Wiki', 'Access: Ask Each Time', 'all 2 ask');
    const refused = await callAndAnswer(window, tool('look'), { page: 'one' }, 'Not now');
    assert.match(refused.text, /the user said no/);
    assert.match(
      (await call(window, tool('look').id, { page: 'one' })).text,
      /the user said no to exactly this (just now|.* ago)\. Culvert asks again in/,
    );
    // Something else is asked about.
    const other = call(window, tool('look').id, { page: 'two' });
    await window.quickInputWith(question('look'));
    await answer(window, 'look', 'Allow once');
    assert.equal((await other).ok, true);
  });
});

/** Waits for the mark at the end of a row, which VS Code brings later than the row. */
async function waitBadge(window: Workbench, label: string, mark: string): Promise<void> {
  await until(async () => (await badgeOf(window, label)) === JSON.stringify(mark), { what: `the mark ${mark} of ${label}` });
}

/** The mark at the end of a row. */
function badgeOf(window: Workbench, label: string): Promise<unknown> {
  const name = window.tree('Grants').row(label).locator('.monaco-icon-label').first();
  return name.evaluate((element) => {
    const page = globalThis as unknown as { getComputedStyle(of: unknown, part: string): { readonly content: string } };
    return page.getComputedStyle(element, '::after').content;
  });
}
