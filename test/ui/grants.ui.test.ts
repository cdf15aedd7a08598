import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { addServer, answer, call, choose, openViews, paletteCommands, question, reached, tick, waitOffered } from './actions.ts';

/** What the agent hears of a tool that was just taken away: from Culvert, or from VS Code, once that has noticed. */
const GONE = /Culvert denied this call|was not contributed/;
/** What the palette offers always. */
const ALWAYS = [
  'Add Server…',
  'Create Evidence Report…',
  'Export Audit History…',
  'Filter Activity…',
  'Import Audit Export for Review…',
  'Import MCP Servers…',
  'Place Legal Hold…',
  'Plant Canary…',
  'Show Agent Activity',
  'Show Log',
  'Start Streaming Export…',
  'Verify Audit History',
];
/** What it offers beside that once there is a server with tools and a credential. */
const WITH_SERVER = [
  'Add Credential…',
  'Allow Tool for…',
  'Edit Grant…',
  'Edit Server…',
  'Find Tool…',
  'Forget Credential…',
  'Hand Secrets Between Tools…',
  'Remove Server…',
  'Replace Credential…',
  'Review Access…',
  'Revoke…',
  'Set Server Access…',
  'Start Task…',
  'Test Credential…',
  'Toggle Tool Access…',
];

describe('Grants', () => {
  const culvert = useCulvert({ upstream: true });
  const id = (name: string) => `mcp_issue_tracker_${name}`;

  let withoutServer: string[] = [];

  before(async () => {
    const { window, upstream } = culvert();
    await window.openView('Culvert');
    withoutServer = await paletteCommands(window);
    await addServer(window, { label: 'Issue Tracker', url: upstream.url, secret: upstream.token });
    await openViews(window, 'Grants');
    await window.startMcp(/_echo$/);
  });

  it('leaves what would do nothing out of the palette', async () => {
    const { window } = culvert();
    assert.deepEqual(withoutServer, [...ALWAYS, 'Pause All Agent Access'].sort());
    assert.deepEqual(await paletteCommands(window), [...ALWAYS, ...WITH_SERVER, 'Pause All Agent Access'].sort());
  });

  it('a ticked box changes the next call, and the tools that agents see', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    // The box changes in the workbench first, the grant a moment later: its description tells.
    await tick(grants, 'echo', false);
    const denied = await call(window, id('echo'), { message: 'unticked' });
    assert.match(denied.text, GONE);
    assert.equal(denied.ok, false);
    await waitOffered(window, 'echo', false);
    assert.deepEqual(reached(culvert()), []);

    await tick(grants, 'echo', true);
    await waitOffered(window, 'echo', true);
    await grants.waitDescription('echo', /^allowed$/);
    assert.deepEqual(await call(window, id('echo'), { message: 'ticked' }), { ok: true, text: 'Echo: ticked' });
    await grants.waitDescription('Issue Tracker', /^1 of \d+ allowed, \d+ ask$/);
  });

  it('the context menu of a tool allows, allows for a while, asks and denies', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'get-sum', /^Allow$/, /^allowed$/);
    await choose(grants, 'get-sum', 'Allow for 15 Minutes', /^allowed, 15 min left$/);
    await choose(grants, 'get-sum', 'Deny', /^denied$/);
    await choose(grants, 'get-sum', 'Ask Each Time', /^asks$/);
    await waitOffered(window, 'get-sum', true);
    const result = call(window, id('get-sum'), { a: 20, b: 3 });
    await answer(window, 'get-sum', 'Allow once');
    assert.match((await result).text, /23/);
  });

  it('Toggle Tool Access… changes many at once', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await window.command('Culvert: Toggle Tool Access…');
    await window.pick(/^\s*echo/, { title: 'Toggle Tool Access' });
    await window.pick(/^\s*get-tiny-image/);
    await window.page.keyboard.press('Enter');
    await grants.waitDescription('echo', /^denied$/);
    await grants.waitDescription('get-tiny-image', /^denied$/);
    await grants.waitDescription('get-sum', /^asks$/);
    await waitOffered(window, 'get-tiny-image', false);
    await window.command('Culvert: Toggle Tool Access…');
    await window.pick(/^\s*echo/, { title: 'Toggle Tool Access' });
    await window.page.keyboard.press('Enter');
    await grants.waitDescription('echo', /^allowed$/);
    await grants.waitDescription('get-tiny-image', /^denied$/);
  });

  it('Allow Tool for… allows one for a while, and Revoke… ends that', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await window.command('Culvert: Allow Tool for…');
    await window.pick(/^\s*get-tiny-image/, { title: 'Allow Tool' });
    await window.pick('1 hour', { title: 'Allow get-tiny-image' });
    await grants.waitDescription('get-tiny-image', /^allowed, 60 min left$/);
    await waitOffered(window, 'get-tiny-image', true);
    assert.equal((await call(window, id('get-tiny-image'))).ok, true);

    await window.command('Culvert: Revoke…');
    await window.pick('allow get-tiny-image', { title: 'Revoke' });
    await window.page.keyboard.press('Enter');
    await grants.waitDescription('get-tiny-image', /^asks$/);
    const asked = call(window, id('get-tiny-image'));
    await window.quickInputWith(question('get-tiny-image'));
    await answer(window, 'get-tiny-image', 'Deny');
    assert.equal((await asked).ok, false);
  });

  it('Pause All Agent Access stops everything at once, survives a reload, and ends with Resume', async () => {
    const { window, upstream } = culvert();
    const grants = window.tree('Grants');
    assert.equal((await call(window, id('echo'), { message: 'before' })).ok, true);
    await window.command('Culvert: Pause All Agent Access');
    await window.statusBarItem('Culvert: paused').waitFor();
    const paused = await call(window, id('echo'), { message: 'paused' });
    assert.equal(paused.ok, false);
    assert.match(paused.text, /All agent access is paused|was not contributed/);
    await grants.waitDescription('Issue Tracker', 'paused');
    await window.pane('Grants').getByText('All agent access is paused.').waitFor();
    const offered = await paletteCommands(window);
    assert.ok(offered.includes('Resume Agent Access') && !offered.includes('Pause All Agent Access'), offered.join(' '));

    await window.command('Culvert: Resume Agent Access');
    await window.statusBarItem('Culvert: agents have access').waitFor();
    await waitOffered(window, 'echo', true);
    assert.equal((await call(window, id('echo'), { message: 'between' })).ok, true);
    // The editor still hears of changes.
    await choose(grants, 'get-env', 'Deny', /^denied$/);
    await waitOffered(window, 'get-env', false);
    await window.command('Culvert: Pause All Agent Access');

    await window.reload();
    await window.statusBarItem('Culvert: paused').waitFor();
    await openViews(window, 'Grants');
    await grants.waitDescription('Issue Tracker', 'paused');
    assert.deepEqual(reached(culvert()).slice(-2), ['echo', 'echo']);
    assert.ok(!upstream.toolCalls('echo').some(({ body }) => body.includes('"paused"')), 'nothing reached the server in the pause');

    await window.statusBarItem('Culvert: paused').click();
    await window.statusBarItem('Culvert: agents have access').waitFor();
    await window.startMcp(/_echo$/);
    assert.deepEqual(await call(window, id('echo'), { message: 'resumed' }), { ok: true, text: 'Echo: resumed' });
    assert.ok(!(await paletteCommands(window)).includes('Resume Agent Access'));
  });
});
