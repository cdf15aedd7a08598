import assert from 'node:assert/strict';
import path from 'node:path';
import type { FrameLocator, Page } from 'playwright-core';
import { useCulvert } from '../harness/openCulvert.ts';
import { SHOTS } from '../harness/paths.ts';
import { until } from '../harness/until.ts';
import { callAndAnswer, openViews, setSetting } from './actions.ts';
import { writeHistory } from './history.ts';

/** How long a brushed span may take to be shown before it is brushed again, in milliseconds. */
const BRUSH_RETRY_MS = 3_000;

describe('Agent Activity panel', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const panel = async (): Promise<FrameLocator> => culvert().window.webview();
  const names = (frame: FrameLocator) => frame.locator('.calls .name').allInnerTexts();
  const waitNames = async (frame: FrameLocator, expected: readonly string[]) => {
    let seen: string[] = [];
    await until(async () => JSON.stringify((seen = await names(frame))) === JSON.stringify(expected)).catch(() =>
      assert.deepEqual(seen, expected),
    );
  };
  const activeRecord = () =>
    culvert().window.eval((api) => {
      const document = api.window.activeTextEditor?.document;
      return document?.languageId === 'culvert-audit' ? (document.getText().split('\n')[0] ?? '') : '';
    });

  it('says what to do while nothing was called', async () => {
    const { window } = culvert();
    await openViews(window, 'Activity');
    await window.pane('Activity').getByText('Nothing was called yet.').waitFor();
    await window.command('Culvert: Show Agent Activity');
    const frame = await panel();
    await frame.getByRole('heading', { name: 'Nothing was called yet' }).waitFor();
    await frame.getByRole('button', { name: 'Add Server…' }).click();
    await window.quickInputWith(/Add Server/);
    await window.escape();
    assert.equal(await window.page.locator('.part.auxiliarybar').isVisible(), true);
  });

  it('shows calls as they come, and opens their record', async () => {
    const { window, upstream } = culvert();
    await openViews(window, 'Activity');
    await window.startMcp(/_echo$/);
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'hello' }, 'Always')).ok, true);
    assert.equal((await callAndAnswer(window, tool('get-sum'), { a: 1, b: 2 }, 'Deny')).ok, false);
    const frame = await panel();
    await waitNames(frame, ['get-sum', 'echo']);
    await until(async () => (await frame.locator('.numbers').innerText()).replaceAll('\n', ' ') === '2 calls 1 denied 0 findings');
    await frame.locator('.calls button').first().click();
    await until(async () => (await activeRecord()) === '# get-sum of Issue Tracker: denied', { what: 'the record' });
    await window.invokeTool(tool('echo').id, { message: 'more' });
    await waitNames(frame, ['echo', 'get-sum', 'echo']);
    const page = await frame.locator('html').innerHTML();
    assert.ok(!page.includes(upstream.token));
    await window.exec('workbench.action.closeAllEditors');
  });

  it('brushes a span, and the list follows', async () => {
    const { window } = culvert();
    const frame = await panel();
    await drag(frame, window.page, 0.1, 0.5);
    await frame.getByText('No calls in this span.').waitFor();
    assert.match(await frame.locator('.chosen').innerText(), /to .*Show all/s);
    await drag(frame, window.page, 0.6, 0.999);
    await waitNames(frame, ['echo', 'get-sum', 'echo']);
    await frame.getByRole('button', { name: 'Show all' }).click();
    await until(async () => (await frame.locator('.chosen').innerText()).includes('24 hours'));
  });

  it('goes by keyboard through time to a call and its record', async () => {
    const { window } = culvert();
    const frame = await panel();
    await frame.locator('.plot').focus();
    await window.page.keyboard.press('Home');
    await until(async () => (await frame.locator('.bin').innerText()).endsWith(' 0 calls'));
    await window.page.keyboard.press('End');
    await until(async () => (await frame.locator('.bin').innerText()).endsWith('3 calls (2 went through, 1 denied)'));
    await window.page.keyboard.press('Enter');
    await until(() => frame.locator('.calls li:first-child button:focus').isVisible(), { what: 'the focus on the first call' });
    await window.page.keyboard.press('ArrowDown');
    await window.page.keyboard.press('Enter');
    await until(async () => (await activeRecord()) === '# get-sum of Issue Tracker: denied', { what: 'the record' });
    await frame.locator('.plot').focus();
    await window.page.keyboard.press('Escape');
    await until(async () => (await frame.locator('.chosen').innerText()).includes('24 hours'));
    await window.exec('workbench.action.closeAllEditors');
  });

  it('shows a month, every picture with its table, and keeps what was chosen while it is hidden', async () => {
    const { window } = culvert();
    const calls = writeHistory(culvert(), 29) + 3;
    const frame = await panel();
    await frame.getByRole('radio', { name: '30 d' }).click();
    const total = calls.toLocaleString('en-US');
    await until(async () => (await frame.locator('.number strong').first().innerText()) === total, { what: `${total} calls` });
    // The tree has every day, too, though the index got them bit by bit.
    await window.tree('Activity').row('Yesterday').waitFor();
    for (const [name, count] of [
      ['calls over time', 20],
      ['calls by tool and hour of the day', 10],
      ['calls by running time', 8],
      ['calls by credential', 3],
      ['findings by rule and server', 3],
    ] as const) {
      const table = frame.locator('details.table', { hasText: name });
      await table.locator('summary').click();
      // Each picture is drawn when its part of the index has been read.
      await until(async () => (await table.locator('tbody tr').count()) >= count, { what: `${count} rows of ${name}` });
      await table.locator('summary').click();
    }
    await until(async () => (await frame.locator('.heat .name').count()) === 10, { what: 'ten tools' });
    await frame.getByLabel('Server', { exact: true }).selectOption({ label: 'Files' });
    await until(async () => (await names(frame)).every((name) => ['read_file', 'list_directory'].includes(name)));
    await window.exec('workbench.action.closeAuxiliaryBar');
    await window.page.locator('.part.auxiliarybar').waitFor({ state: 'hidden' });
    await window.exec('culvert.panel.focus');
    const again = await panel();
    await until(async () => (await again.getByRole('radio', { name: '30 d' }).getAttribute('aria-checked')) === 'true');
    assert.equal(
      await again
        .getByLabel('Server', { exact: true })
        .evaluate((select) => (select as unknown as { selectedOptions: { text: string }[] }).selectedOptions[0]?.text),
      'Files',
    );
    await again.getByLabel('Server', { exact: true }).selectOption({ label: 'All servers' });
    await again.getByRole('button', { name: 'Load more' }).click();
    await until(async () => (await names(again)).length === 100);
  });

  it('is drawn in every theme, in the width of a side bar, and by the policy of its page', async () => {
    const { window } = culvert();
    const { page } = window;
    for (const [theme, kind] of [
      ['Default Dark Modern', 'vscode-dark'],
      ['Default Light Modern', 'vscode-light'],
      ['Default High Contrast', 'vscode-high-contrast'],
      ['Default High Contrast Light', 'vscode-high-contrast-light'],
    ] as const) {
      await setSetting(window, 'workbench.colorTheme', theme);
      const frame = await panel();
      await frame.locator(`body.${kind}`).waitFor();
      const wide = await frame.locator('main').evaluate((main) => {
        const element = main as unknown as { scrollWidth: number; clientWidth: number };
        return element.scrollWidth - element.clientWidth;
      });
      assert.ok(wide <= 0, `${theme}: ${wide} pixels too wide`);
      await page.locator('.part.auxiliarybar').screenshot({ path: path.join(SHOTS, `panel-${kind}.png`) });
      await frame.locator('.section').last().scrollIntoViewIfNeeded();
      await page.locator('.part.auxiliarybar').screenshot({ path: path.join(SHOTS, `panel-${kind}-below.png`) });
      await frame.locator('.section').first().scrollIntoViewIfNeeded();
    }
    await page.emulateMedia({ forcedColors: 'active' });
    await page.locator('.part.auxiliarybar').screenshot({ path: path.join(SHOTS, 'panel-forced.png') });
    await page.emulateMedia({ forcedColors: 'none' });
    await setSetting(window, 'workbench.colorTheme', undefined);
    assert.deepEqual(
      window.log.filter((line) => /content security policy/i.test(line) && /panel\.|inline|eval/.test(line)),
      [],
    );
  });
});

/** Draws over a part of the timeline, from and to as shares of its width. A timeline that is drawn anew meanwhile lets go of the pointer. */
async function drag(frame: FrameLocator, page: Page, from: number, to: number): Promise<void> {
  const chosen = frame.locator('.chosen');
  const before = await chosen.innerText();
  await until(
    async () => {
      const box = await frame.locator('.plot .u-over').boundingBox();
      if (!box) return false;
      const y = box.y + box.height / 2;
      await page.mouse.move(box.x + box.width * from, y);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width * to, y, { steps: 5 });
      await page.mouse.up();
      return until(async () => (await chosen.innerText()) !== before, { timeoutMs: BRUSH_RETRY_MS });
    },
    { what: 'the span to be chosen' },
  );
}
