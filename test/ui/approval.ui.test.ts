import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { answer, call, callAndAnswer, isOffered, openViews, question, reached, setSetting, waitOffered } from './actions.ts';

describe('Approval', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  /** Tools by their own name, as VS Code offers them to agents. */
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const echo = tool('echo');

  before('start the server in VS Code', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants');
    await window.startMcp(/_echo$/);
  });

  it('shows what is called, with hidden characters, where it goes and with which credential', async () => {
    const { window, upstream } = culvert();
    const result = call(window, echo.id, { message: 'left\u202eright $(check) Allow once' });
    const prompt = await window.quickInputWith(question('echo'));
    const rows = async () => (await prompt.locator('.quick-input-list .monaco-list-row').allInnerTexts()).map((row) => row.trim());
    const shown = (await rows()).join('\n');
    assert.match(shown, /echo\s*tool of Issue Tracker/);
    // Neither turned around nor drawn as an icon.
    assert.match(shown, /message\s*left\\u\{202e\}right \$\u200a\(check\) Allow once/);
    assert.match(shown, new RegExp(`${new URL(upstream.url).host}\\s*where it goes`));
    assert.match(shown, /Issue Tracker credential\s*credential that Culvert adds/);
    assert.match(await window.inputPlaceholder(), /^VS Code wants to call it\. Denied in \d+ s unless you answer\.$/);
    await window.statusBarItem('Culvert: answer needed').waitFor();
    await window.pane('Grants').getByText('An agent is waiting for your answer.').waitFor();

    const before = await rows();
    await window.page.keyboard.type('deny');
    await until(async () => (await window.quickInput.locator('input.input').inputValue()) === '');
    assert.deepEqual(await rows(), before, 'typing filters nothing');
    assert.deepEqual(reached(culvert()), [], 'nothing leaves before the answer');

    await answer(window, 'echo', 'Allow once');
    // What turns text around is taken out of what comes back.
    assert.deepEqual(await result, { ok: true, text: 'Echo: leftright $(check) Allow once' });
    await window.statusBarItem('Culvert: agents ask').waitFor();
  });

  it('takes no answer from keys that were meant for the editor', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    const result = call(window, echo.id, { message: 'keys' });
    await window.quickInputWith(question('echo'));
    // At once, and then on the row that is selected by itself.
    await window.page.keyboard.press('Enter');
    await until(
      async () => {
        await window.page.keyboard.press('Enter');
        return (await window.page.locator('.tabs-container').innerText()).includes('(waiting)');
      },
      { what: 'the details of the call', intervalMs: 200 },
    );
    const details = await until(async () => {
      const text = await window.editorText();
      return /SHA-256:\s+[0-9a-f]{64}/.test(text) ? text : undefined;
    });
    assert.match(details, /Credential:\s+Issue Tracker credential/);
    assert.match(details, /"message": "keys"/);
    assert.equal(reached(culvert()).length, before, 'still not answered');

    // Nor does it need a mouse.
    const focused = window.quickInput.locator('.monaco-list-row.focused');
    await until(
      async () => {
        if (/Allow once\s*only this call/.test(await focused.innerText())) return true;
        // The document that was opened takes the focus when it is drawn.
        await window.quickInput.locator('input.input').focus();
        await window.page.keyboard.press('ArrowDown');
        return false;
      },
      { what: 'the arrow keys to reach “Allow once”' },
    );
    await window.page.keyboard.press('Enter');
    assert.equal((await result).ok, true);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('asks again after “Allow once”', async () => {
    const { window } = culvert();
    assert.deepEqual(await callAndAnswer(window, echo, { message: 'one' }, 'Allow once'), { ok: true, text: 'Echo: one' });
    assert.deepEqual(await callAndAnswer(window, echo, { message: 'two' }, 'Allow once'), { ok: true, text: 'Echo: two' });
    await window.tree('Grants').waitDescription('echo', /^asks$/);
  });

  it('is put off by Escape, and comes back from the notification and the status bar', async () => {
    const { window } = culvert();
    const result = call(window, echo.id, { message: 'later' });
    await window.quickInputWith(question('echo'));
    await window.escape();
    await window.clickNotification('VS Code waits for your answer: “echo” of Issue Tracker', 'Answer…');
    await window.quickInputWith(question('echo'));
    await window.escape();
    await window.quickInput.waitFor({ state: 'hidden' });
    await window.statusBarItem('Culvert: answer needed').click();
    await answer(window, 'echo', 'Allow once');
    assert.deepEqual(await result, { ok: true, text: 'Echo: later' });

    await window.clearNotifications();
    const refused = call(window, echo.id, { message: 'never' });
    await window.quickInputWith(question('echo'));
    await window.escape();
    await window.clickNotification('VS Code waits for your answer', 'Deny This Call');
    const { ok, text } = await refused;
    assert.equal(ok, false);
    assert.match(text, /Culvert denied this call\. .*“echo” of Issue Tracker was not allowed: the user closed the question/);
    await window.tree('Grants').waitDescription('echo', /^asks$/);
  });

  it('denies what nobody answers in time', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    await setSetting(window, 'culvert.approvalTimeoutSeconds', 5);
    try {
      const started = Date.now();
      const { ok, text } = await call(window, echo.id, { message: 'unanswered' });
      assert.equal(ok, false);
      assert.match(text, /nobody answered within 5 seconds\. Tell the user that Culvert is asking, then try again/);
      assert.ok(Date.now() - started >= 4_900, 'not before the limit');
      await window.quickInput.waitFor({ state: 'hidden' });
      assert.equal(reached(culvert()).length, before);
    } finally {
      await setSetting(window, 'culvert.approvalTimeoutSeconds', undefined);
    }
  });

  it('asks about two waiting calls one after the other', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    // VS Code adds up the numbers of all views: an unread warning of a test before would count, too.
    await window.exec('culvert.markLeaksRead');
    const first = call(window, echo.id, { message: 'first' });
    await window.quickInputWith(question('echo'));
    const second = call(window, tool('get-sum').id, { a: 1, b: 2 });
    const early = Promise.race([first, second]).then(({ text }) => assert.fail(`answered before anybody was asked: ${text}`));
    early.catch(() => undefined);
    const item = window.activityBarItem('Culvert').and(window.page.getByRole('tab', { name: '2 calls wait for your answer' }));
    await Promise.race([item.locator('.badge-content', { hasText: /^2$/ }).waitFor(), early]);
    await answer(window, 'echo', 'Allow once');
    assert.deepEqual(await first, { ok: true, text: 'Echo: first' });
    await window.quickInputWith(question('get-sum'));
    assert.deepEqual(reached(culvert()).slice(before), ['echo']);
    await answer(window, 'get-sum', 'Allow once');
    assert.match((await second).text, /3/);
    assert.deepEqual(reached(culvert()).slice(before), ['echo', 'get-sum']);
  });

  it('is not asked again with “Allow for 15 minutes”, and Grants shows the time that is left', async () => {
    const { window } = culvert();
    assert.match((await callAndAnswer(window, tool('get-sum'), { a: 2, b: 2 }, 'Allow for 15 minutes')).text, /4/);
    assert.match((await call(window, tool('get-sum').id, { a: 2, b: 3 })).text, /5/);
    await window.tree('Grants').waitDescription('get-sum', 'allowed, 15 min left');
    await window.statusBarItem('Culvert: agents have access').waitFor();
  });

  it('is not asked again with “Allow in this workspace”', async () => {
    const { window } = culvert();
    const weather = tool('get-structured-content');
    assert.equal((await callAndAnswer(window, weather, { location: 'Chicago' }, 'Allow in this workspace')).ok, true);
    assert.equal((await call(window, weather.id, { location: 'New York' })).ok, true);
    await window.tree('Grants').waitDescription('get-structured-content', 'allowed in workspace');
  });

  it('is not asked again with “Always”', async () => {
    const { window } = culvert();
    const message = tool('get-annotated-message');
    assert.equal((await callAndAnswer(window, message, { messageType: 'success' }, 'Always')).ok, true);
    assert.equal((await call(window, message.id, { messageType: 'success' })).ok, true);
    await window.tree('Grants').waitDescription('get-annotated-message', /^allowed$/);
  });

  it('tells the agent of “Deny”, takes the tool away, and stays denied', async () => {
    const { window } = culvert();
    const { ok, text } = await callAndAnswer(window, tool('get-tiny-image'), {}, 'Deny');
    assert.equal(ok, false);
    assert.match(text, /Culvert denied this call\. The tool “get-tiny-image” of Issue Tracker (was|is) denied by the user/);
    await waitOffered(window, 'get-tiny-image', false);
    await window.tree('Grants').waitDescription('get-tiny-image', 'denied');
    assert.equal(await window.tree('Grants').isChecked('get-tiny-image'), false);
    assert.equal(await isOffered(window, 'echo'), true);
    await window.reload();
    await openViews(window, 'Grants');
    // What VS Code remembers from before the reload may be older than the denial.
    await window.startMcp(/_echo$/, /_get-tiny-image$/);
    await window.tree('Grants').waitDescription('get-tiny-image', 'denied');
    assert.ok(!reached(culvert()).includes('get-tiny-image'), 'the call never left this machine');
  });
});
