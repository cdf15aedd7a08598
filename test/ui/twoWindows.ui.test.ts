import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { addServer, answer, call, callAndAnswer, choose, openViews, reached, tick, waitOffered } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';

/** What the agent hears of a tool that was just taken away: from Culvert, or from VS Code, once that has noticed. */
const GONE = /Culvert denied this call|was not contributed/;

describe('Two windows of one user', () => {
  const culvert = useCulvert({ upstream: true });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const echo = tool('echo');
  const peer = new McpPeer();
  let second: Workbench;
  before('open both and add a server in the first', async function () {
    this.timeout(240_000);
    await peer.start();
    const { window, upstream } = culvert();
    await addServer(window, { label: 'Issue Tracker', url: upstream.url, secret: upstream.token });
    second = await culvert().openWindow();
    for (const opened of [window, second]) {
      await openViews(opened, 'Grants');
      await opened.startMcp(/_echo$/);
    }
  });
  after(() => peer.stop());

  it('both serve calls, and each asks about its own', async () => {
    const { window } = culvert();
    const results = [call(window, echo.id, { message: 'one' }), call(second, echo.id, { message: 'two' })];
    await answer(second, 'echo', 'Allow once');
    assert.deepEqual(await results[1], { ok: true, text: 'Echo: two' });
    await window.statusBarItem('Culvert: answer needed').waitFor();
    await answer(window, 'echo', 'Allow once');
    assert.deepEqual(await results[0], { ok: true, text: 'Echo: one' });
  });

  it('a grant given in one works in the other', async () => {
    const { window } = culvert();
    assert.equal((await callAndAnswer(window, echo, { message: 'grant' }, 'Always')).ok, true);
    assert.deepEqual(await call(second, echo.id, { message: 'at once' }), { ok: true, text: 'Echo: at once' });
    await second.tree('Grants').waitDescription('echo', /^allowed$/);
  });

  it('what is denied in one is denied for the next call in the other, and leaves its tools', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    await second.page.bringToFront();
    await tick(second.tree('Grants'), 'echo', false);
    const { ok, text } = await call(window, echo.id, { message: 'denied' });
    assert.equal(ok, false);
    assert.match(text, GONE);
    await waitOffered(window, 'echo', false);
    await window.tree('Grants').waitDescription('echo', /^denied$/);
    assert.equal(reached(culvert()).length, before);
    await window.page.bringToFront();
    await tick(window.tree('Grants'), 'echo', true);
    await waitOffered(second, 'echo', true);
    assert.equal((await call(second, echo.id, { message: 'again' })).ok, true);
  });

  it('an answer in one settles what waits in the other', async () => {
    const { window } = culvert();
    const waiting = [window, second].map((each) => call(each, tool('get-sum').id, { a: 1, b: 1 }));
    await second.statusBarItem('Culvert: answer needed').waitFor();
    await answer(window, 'get-sum', 'Allow for 15 minutes');
    for (const result of waiting) assert.equal((await result).ok, true);
    await second.quickInput.waitFor({ state: 'hidden' });
  });

  it('a pause in one holds in the other', async () => {
    const { window } = culvert();
    const before = reached(culvert()).length;
    await window.command('Culvert: Pause All Agent Access');
    await window.statusBarItem('Culvert: paused').waitFor();
    const { ok, text } = await call(second, echo.id, { message: 'paused' });
    assert.equal(ok, false);
    assert.match(text, /All agent access is paused|was not contributed/);
    await second.page.bringToFront();
    await second.statusBarItem('Culvert: paused').click();
    await window.statusBarItem('Culvert: agents have access').waitFor();
    for (const each of [window, second]) await waitOffered(each, 'echo', true);
    assert.equal((await call(window, echo.id, { message: 'resumed' })).ok, true);
    assert.deepEqual(reached(culvert()).slice(before), ['echo']);
    // Both still hear of changes.
    await window.page.bringToFront();
    await choose(window.tree('Grants'), 'get-tiny-image', 'Deny', /^denied$/);
    for (const each of [window, second]) await waitOffered(each, 'get-tiny-image', false);
  });

  it('a server added in one appears in the other, and works there', async () => {
    const { window } = culvert();
    await addServer(second, { label: 'Wiki', url: peer.url, authentication: 'None', start: 'Tools that only read' });
    await window.tree('Grants').waitDescription('Wiki', '1 of 2 allowed');
    const look = await window.startMcp(/wiki_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
  });

  it('closing one leaves the other at work, and a new one joins', async () => {
    const { window } = culvert();
    const pid = await second.eval(() => process.pid);
    await second.close();
    await until(() => !isAlive(pid), { what: 'the end of the extension host' });
    assert.equal((await call(window, echo.id, { message: 'alone' })).ok, true);

    second = await culvert().openWindow();
    await openViews(second, 'Grants');
    await second.tree('Grants').waitDescription('echo', /^allowed$/);
    await second.startMcp(/_echo$/);
    assert.deepEqual(await call(second, echo.id, { message: 'new' }), { ok: true, text: 'Echo: new' });
    assert.equal((await call(window, echo.id, { message: 'still' })).ok, true);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
