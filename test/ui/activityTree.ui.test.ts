import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { callAndAnswer, openViews } from './actions.ts';

/** More calls than a conversation shows at first. */
const MANY = 104;

describe('Activity tree', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const description = ({ page }: Workbench) =>
    page
      .locator('.part.sidebar .pane', { has: page.locator('.pane-header .title', { hasText: 'Activity' }) })
      .locator('.pane-header .description');

  before('make some calls', async () => {
    const { window } = culvert();
    await openViews(window, 'Activity');
    await window.startMcp(/_echo$/);
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'about apples' }, 'Always')).ok, true);
    assert.equal((await callAndAnswer(window, tool('get-sum'), { a: 1, b: 2 }, 'Deny')).ok, false);
    await window.tree('Activity').waitLabels(['Today', 'VS Code', 'get-sum', 'echo']);
  });

  it('filters by decision, says so in its title, and keeps the filter over a reload', async () => {
    const { window } = culvert();
    const activity = window.tree('Activity');
    await window.command('Culvert: Filter Activity…');
    await window.pick('Decision or Result', { title: 'Filter Activity' });
    await window.pick('Denied', { title: 'Server Failed' });
    await activity.waitLabels(['Today', 'VS Code', 'get-sum']);
    await description(window).getByText('denied', { exact: true }).waitFor();
    // The browser writes a little later; a reload right away would be faster than any user.
    await until(() => stored(window, 'culvert.activityFilter'), { what: 'the filter in the browser’s storage' });
    await window.reload();
    await openViews(window, 'Activity');
    await activity.waitLabels(['Today', 'VS Code', 'get-sum']);
    await description(window).getByText('denied', { exact: true }).waitFor();
    await window.paneAction('Activity', 'Clear Activity Filter');
    await activity.waitLabels(['Today', 'VS Code', 'get-sum', 'echo']);
    await description(window).getByText('denied', { exact: true }).waitFor({ state: 'hidden' });
  });

  it('finds calls by a text in their arguments', async () => {
    const { window } = culvert();
    const activity = window.tree('Activity');
    await window.paneAction('Activity', 'Filter Activity');
    await window.pick('Text', { title: 'Filter Activity' });
    await window.quickInputWith('arguments, reason, error');
    await window.inputBox('APPLES');
    await activity.waitLabels(['Today', 'VS Code', 'echo']);
    await window.command('Culvert: Filter Activity…');
    await window.pick('Text', { title: 'Filter Activity' });
    await window.quickInputWith('arguments, reason, error');
    await window.inputBox('pears');
    await window.pane('Activity').getByText('No call fits the filter.').waitFor();
    await window.command('Culvert: Clear Activity Filter');
    await activity.waitLabels(['Today', 'VS Code', 'get-sum', 'echo']);
  });

  it('shows new calls without touching what is folded, selected or focused', async () => {
    const { window } = culvert();
    const activity = window.tree('Activity');
    await window.startMcp(/_echo$/);
    await activity.select('get-sum');
    await until(() => window.eval((api) => api.window.activeTextEditor?.document.languageId === 'culvert-audit'));
    await window.exec('workbench.action.focusActiveEditorGroup');
    const focused = () =>
      window.page.evaluate(`document.activeElement?.closest('.editor-group-container, .part.sidebar')?.className ?? ''`);
    assert.match(String(await focused()), /editor-group-container/);
    assert.equal((await window.invokeTool(tool('echo').id, { message: 'new' })).includes('new'), true);
    await activity.waitLabels(['Today', 'VS Code', 'echo', 'get-sum', 'echo']);
    assert.match((await activity.row('get-sum').getAttribute('class')) ?? '', /selected/);
    assert.match(String(await focused()), /editor-group-container/);
    // Folded stays folded, and counts all the same.
    await activity.row('VS Code').locator('.monaco-tl-twistie').click();
    await activity.waitLabels(['Today', 'VS Code']);
    await window.invokeTool(tool('echo').id, { message: 'newer' });
    await activity.waitDescription('VS Code', /^4 calls/);
    assert.deepEqual(await activity.labels(), ['Today', 'VS Code']);
    await activity.row('VS Code').locator('.monaco-tl-twistie').click();
    await activity.waitLabels(['Today', 'VS Code', 'echo', 'echo', 'get-sum', 'echo']);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('loads more', async function () {
    this.timeout(360_000);
    const { window } = culvert();
    const activity = window.tree('Activity');
    await window.eval(
      async (api, { id, times }) => {
        for (let i = 0; i < times; i++) await api.lm.invokeTool(id, { input: { message: `number ${i}` }, toolInvocationToken: undefined });
      },
      { id: tool('echo').id, times: MANY - 4 },
    );
    await activity.waitDescription('VS Code', new RegExp(`^${MANY} calls`));
    await window.exec('culvert.activity.focus');
    await window.page.keyboard.press('End');
    await activity.row('Load more').waitFor();
    assert.equal(await activity.row('get-sum').count(), 0);
    await activity.select('Load more');
    await activity.row('Load more').waitFor({ state: 'hidden' });
    await window.exec('culvert.activity.focus');
    await window.page.keyboard.press('End');
    await activity.row('get-sum').waitFor();
  });
});

/** Whether the state of this window's workspace, as the browser keeps it, names this. */
async function stored({ page }: Workbench, text: string): Promise<boolean> {
  // As text: it runs in the page, where other globals exist than the ones this file is checked against.
  return page.evaluate<boolean>(`(async () => {
    for (const { name } of await indexedDB.databases()) {
      if (!name.startsWith('vscode-web-state-db-')) continue;
      const values = await new Promise((resolve) => {
        const request = indexedDB.open(name);
        request.onerror = () => resolve([]);
        request.onsuccess = () => {
          const all = request.result.transaction('ItemTable').objectStore('ItemTable').getAll();
          all.onsuccess = () => { request.result.close(); resolve(all.result); };
          all.onerror = () => { request.result.close(); resolve([]); };
        };
      });
      if (values.some((value) => String(value).includes(${JSON.stringify(text)}))) return true;
    }
    return false;
  })()`);
}
