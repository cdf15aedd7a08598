import assert from 'node:assert/strict';
import { LEAKING_TOOL } from '../../scripts/demo/upstream.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { answerPrompt, call, callAndAnswer, openViews, paletteCommands } from './actions.ts';
import { noteSecret } from '../support/noted.ts';

/** Made up; in parts, so that no scanner takes it for a live one. */
const TOKEN = ['glpat', 'x7QmVb2TzKp9RfLw4cYd'].join('-');
const FOUND = '“a GitLab personal access token” in an answer';
const SENT = '“a GitLab personal access token” in a call';

describe('Leak Warnings', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const leaks = () => culvert().window.tree('Leak Warnings');
  const badge = () => culvert().window.activityBarItem('Culvert').locator('.badge-content');

  before('start the server in VS Code', async () => {
    const { window } = culvert();
    await openViews(window, 'Leak Warnings');
    await window.startMcp(/_echo$/);
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'nothing of note' }, 'Always')).ok, true);
  });

  it('offers nothing to review before there is anything', async () => {
    const commands = await paletteCommands(culvert().window);
    for (const name of ['Mark All Leak Warnings as Read', 'Review Leak Decisions…']) assert.ok(!commands.includes(name), name);
  });

  it('asks before something that looks like a secret leaves, and tells both ways that it took', async () => {
    const { window } = culvert();
    const stopped = call(window, tool('echo').id, { message: `use ${TOKEN} for it` });
    await answerPrompt(window, /may this leave with “echo”/, 'Stop this call');
    assert.equal((await stopped).ok, false);
    await leaks().waitLabels(['High', 'Issue Tracker', SENT]);
    await leaks().waitDescription(SENT, /^new · echo · blocked · \d/);

    const passed = call(window, tool('echo').id, { message: `use ${TOKEN} for it` });
    await answerPrompt(window, /may this leave with “echo”/, 'Let it go once');
    const { ok, text } = await passed;
    assert.equal(ok, true);
    assert.ok(!text.includes(TOKEN), 'what comes back does not reach the model');
    await leaks().row(FOUND).waitFor();
    await leaks().waitDescription(FOUND, /^new · echo · redacted · \d/);
    await badge().getByText('2', { exact: true }).waitFor();
  });

  it('draws only the row again that changed: a button on another one still says which it means', async () => {
    const { window } = culvert();
    const stopOne = async (times: number) => {
      const stopped = call(window, tool('echo').id, { message: `use ${TOKEN} for it` });
      await answerPrompt(window, /may this leave with “echo”/, 'Stop this call');
      assert.equal((await stopped).ok, false);
      await leaks().waitDescription(SENT, new RegExp(` ×${times} · `));
    };
    // What was found last stands on top.
    await stopOne(3);
    await leaks().waitLabels(['High', 'Issue Tracker', SENT, FOUND]);
    const redrawn = await leaks().watchRows();
    await stopOne(4);
    assert.deepEqual(await redrawn(), [SENT]);
  });

  it('explains a finding without its value', async () => {
    const { window } = culvert();
    await leaks().contextMenu(FOUND, 'Explain');
    const said = await window.dialog(/^(Cancel|OK|Close)$/);
    assert.match(said, /This looks like a GitLab personal access token/);
    assert.match(said, /Culvert took it out before the agent saw it/);
    assert.match(said, /Not a Secret/);
    assert.ok(!said.includes(TOKEN));
    await leaks().waitDescription(FOUND, /^echo · redacted · \d/);
  });

  it('lets a value pass that is none, and takes that back', async () => {
    const { window } = culvert();
    await leaks().contextMenu(FOUND, 'Not a Secret');
    await window.pick('From this tool', { title: 'Culvert: Not a Secret' });
    await leaks().waitLabels(['Dismissed']);
    const { ok, text } = await call(window, tool('echo').id, { message: `use ${TOKEN} for it` });
    assert.equal(ok, true);
    assert.ok(text.includes(TOKEN));
    const other = noteSecret(['glpat', 'aB3dE5fG7hJ9kL2mN4pQ'].join('-'));
    const asked = call(window, tool('echo').id, { message: other });
    await answerPrompt(window, /may this leave with “echo”/, 'Stop this call');
    assert.equal((await asked).ok, false, 'another value is looked at as before');

    await window.command('Culvert: Review Leak Decisions…');
    await window.quickInputWith('Review Leak Decisions');
    await window.page.locator('.quick-input-list .monaco-list-row').first().click();
    await window.page.locator('.quick-input-action .monaco-button').first().click();
    await leaks().row(FOUND).waitFor();
    const again = call(window, tool('echo').id, { message: `use ${TOKEN} for it` });
    await answerPrompt(window, /may this leave with “echo”/, 'Stop this call');
    assert.equal((await again).ok, false);
  });

  it('brings back what was dismissed, and marks all as read', async () => {
    const { window } = culvert();
    await leaks().inlineAction(FOUND, 'Dismiss');
    await leaks().row(FOUND).waitFor({ state: 'detached' });
    await leaks().expand('Dismissed');
    await leaks().inlineAction(FOUND, 'Bring Back');
    await leaks().row('Dismissed').waitFor({ state: 'detached' });
    await badge().waitFor();
    await window.command('Culvert: Mark All Leak Warnings as Read');
    await badge().waitFor({ state: 'hidden' });
  });

  it('leads from a leaked credential to a new value', async () => {
    const { window, upstream } = culvert();
    assert.equal((await callAndAnswer(window, tool(LEAKING_TOOL), {}, 'Always')).ok, true);
    const known = '“Issue Tracker credential” in an answer';
    await leaks().row(known).waitFor();
    await leaks().contextMenu(known, 'Rotate Credential');
    assert.match(await window.dialog('Enter the New Value'), /revoke the old one/);
    await window.inputBox(upstream.token, { title: /Replace Issue Tracker credential/ });
    await window.notified('was replaced');
    await window.clearNotifications();
  });

  it('keeps what was decided about values that leave, across a reload, until it is taken back', async () => {
    const { window } = culvert();
    const asks = /may this leave with “([\w-]+)”/;
    const sum = tool('get-sum');
    const note = { a: 1, b: 2, note: TOKEN };
    const another = ['glpat', 'aB3dE5fG7hJ9kL2mN4pQ'].join('-');
    assert.equal((await callAndAnswer(window, sum, { a: 1, b: 2 }, 'Always')).ok, true);

    const closed = call(window, tool('echo').id, { message: TOKEN });
    await window.quickInputWith(asks);
    await window.escape();
    assert.equal((await closed).ok, false, 'a question that is closed is a no, and nothing more');
    const always = call(window, tool('echo').id, { message: TOKEN });
    await answerPrompt(window, asks, 'Always for this tool');
    assert.equal((await always).ok, true);
    const never = call(window, sum.id, note);
    await answerPrompt(window, asks, 'Never for this tool');
    assert.equal((await never).ok, false);

    await window.reload();
    await openViews(window, 'Leak Warnings');
    await window.startMcp(/_echo$/);
    await window.startMcp(/_get-sum$/);
    assert.equal((await call(window, tool('echo').id, { message: another })).ok, true, 'such values go without a question');
    assert.match((await call(window, sum.id, note)).text, /never goes to this tool/);

    const takeBack = async (decision: string) => {
      await window.command('Culvert: Review Leak Decisions…');
      const list = await window.quickInputWith('Review Leak Decisions');
      await list.locator('.monaco-list-row', { hasText: decision }).click();
      await window.page.locator('.quick-input-action .monaco-button').first().click();
      await list.waitFor({ state: 'hidden' });
    };
    await takeBack('gitlab-token may go to echo of Issue Tracker');
    const asked = call(window, tool('echo').id, { message: another });
    await answerPrompt(window, asks, 'Stop this call');
    assert.equal((await asked).ok, false);
    await takeBack('gitlab-token never goes to get-sum of Issue Tracker');
    const again = call(window, sum.id, note);
    await answerPrompt(window, asks, 'Let it go once');
    assert.equal((await again).ok, true);
    await until(async () => !(await paletteCommands(window)).includes('Review Leak Decisions…'), { what: 'no decision to be left' });
  });

  it('raises the alarm when a canary turns up, after a reload too, and names the way it took', async () => {
    const { window } = culvert();
    await window.command('Culvert: Plant Canary…');
    await window.pick('API key', { title: /Plant Canary \(1/ });
    await window.inputBox('bait in the attic', { title: /Plant Canary \(2/ });
    await window.pick('The clipboard', { title: /Plant Canary \(3/ });
    await window.notified('The canary “bait in the attic” is on the clipboard');
    const bait = await window.eval((api) => api.env.clipboard.readText());
    assert.ok(bait.length > 10);
    await window.reload();
    await openViews(window, 'Leak Warnings');
    await window.startMcp(/_echo$/);
    const { ok, text } = await call(window, tool('echo').id, { message: bait });
    assert.equal(ok, false);
    assert.ok(!text.includes('canary') && !text.includes('attic'), 'whoever took the bait does not learn that it was one');
    await window.notified(/The canary “bait in the attic” that you planted turned up in a call to Issue Tracker/);
    await leaks().row('Canary “bait in the attic” in a call').waitFor();
    await window.clickNotification('bait in the attic', 'Show Record');
    const record = await until(
      () =>
        window.eval((api) => {
          const text = api.window.activeTextEditor?.document.getText() ?? '';
          return text.includes('canary: blocked') ? text : undefined;
        }),
      { what: 'the record of the call' },
    );
    for (const way of ['Issue Tracker', 'echo']) assert.ok(record.includes(way), way);
    assert.ok(!record.includes(bait));
    await window.exec('workbench.action.closeAllEditors');
    await window.clearNotifications();
    await window.command('Culvert: Remove Canary…');
    await window.quickInputWith('Remove Canary');
    await window.page.locator('.quick-input-list .monaco-list-row').first().click();
    await window.page.locator('.quick-input-action .monaco-button').first().click();
    await until(async () => !(await paletteCommands(window)).includes('Remove Canary…'), { what: 'no canary to be left' });
  });

  it('revokes access where a leak came from', async () => {
    const { window } = culvert();
    await leaks().contextMenu(FOUND, 'Revoke Access');
    await window.dialog('Revoke Access');
    await until(async () => !(await call(window, tool('echo').id, { message: 'hello' })).ok, { what: 'echo to be denied' });
  });
});
