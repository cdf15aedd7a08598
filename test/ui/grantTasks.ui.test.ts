import assert from 'node:assert/strict';
import path from 'node:path';
import { SHOTS } from '../harness/paths.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { addServer, answer, call, callAndAnswer, openViews, paletteCommands, question, told } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';

describe('A task', () => {
  const culvert = useCulvert();
  const peer = new McpPeer();
  const look = { name: 'look', id: 'mcp_wiki_look' };
  const change = { name: 'change', id: 'mcp_wiki_change' };

  before('add a server', async () => {
    await peer.start();
    const { window } = culvert();
    await addServer(window, { label: 'Wiki', url: peer.url, authentication: 'None' });
    await openViews(window, 'Grants', 'Activity');
    await window.startMcp(/_look$/);
  });
  after(() => peer.stop());

  it('is started step by step, with a way back, and shown with the time that is left', async () => {
    const { window } = culvert();
    assert.ok(!(await paletteCommands(window)).includes('End Task'));
    await window.command('Culvert: Start Task…');
    await window.inputBox('tidy the wiki', { title: /Start Task \(1\/3\)/ });
    await window.pick('Everything', { title: /Start Task \(2\/3\)/ });
    await window.quickInputWith(/Start Task \(3\/3\)/);
    await window.quickInputButton('Back');
    await window.pick('Tools that only read', { title: /Start Task \(2\/3\)/ });
    await window.pick('15 minutes', { title: /Start Task \(3\/3\)/ });
    await told(window, /The task “tidy the wiki” runs until/);
    await window.statusBarItem(/tidy the wiki: 15 min left/).waitFor();
    await window.tree('Grants').waitDescription('look', 'allowed for the task, 15 min left (tools that only read)');
    await window.screenshot(path.join(SHOTS, 'task.png'));
  });

  it('lets its grants work, says that what is allowed meanwhile ends with it, and stands on the record', async () => {
    const { window } = culvert();
    const first = await call(window, look.id);
    assert.equal(first.ok, true, first.text);
    const asked = call(window, change.id, {});
    const prompt = await window.quickInputWith(question('change'));
    assert.match(await prompt.innerText(), /Always\s*ends with the task “tidy the wiki”/);
    await answer(window, 'change', 'Always');
    assert.equal((await asked).ok, true);
    assert.equal((await call(window, change.id)).ok, true);
    await window.tree('Grants').waitDescription('change', 'allowed for the task, 15 min left');
    await window.tree('Activity').row('change').click();
    await window.editor.getByText('tidy the wiki').first().waitFor();
    await window.exec('workbench.action.closeAllEditors');
  });

  it('survives a reload, and everything that was allowed ends with it', async () => {
    const { window } = culvert();
    await window.reload();
    await window.statusBarItem(/tidy the wiki/).waitFor();
    await openViews(window, 'Grants');
    await window.startMcp(/_change$/);
    assert.equal((await call(window, change.id)).ok, true);
    await window.command('Culvert: End Task');
    await told(window, /The task “tidy the wiki” is over, and with it 2 grants/);
    await window.statusBarItem(/tidy the wiki/).waitFor({ state: 'detached' });
    await window.tree('Grants').waitDescription('Wiki', 'all 2 ask');
    assert.equal((await callAndAnswer(window, change, { again: true }, 'Not now')).ok, false);
    assert.ok(!(await paletteCommands(window)).includes('End Task'));
  });

  it('can have everything of a server, as a preset', async () => {
    const { window } = culvert();
    await window.tree('Grants').contextMenu('Wiki', 'Access: Everything for This Task…');
    await window.inputBox('rewrite it', { title: /Start Task \(1\/2\)/ });
    await window.pick('1 hour', { title: /Start Task \(2\/2\)/ });
    await window.tree('Grants').waitDescription('Wiki', 'all 2 allowed');
    assert.equal((await call(window, change.id, { more: true })).ok, true);
    await window.statusBarItem(/rewrite it: 60 min left/).click();
    await window.tree('Grants').waitDescription('Wiki', 'all 2 ask');
  });
});
