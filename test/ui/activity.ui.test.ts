import assert from 'node:assert/strict';
import { LEAKING_TOOL } from '../../scripts/demo/upstream.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { call, callAndAnswer, openViews, told } from './actions.ts';

describe('Activity and Leak Warnings', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });

  before('start the server in VS Code', async () => {
    const { window } = culvert();
    await openViews(window, 'Activity', 'Leak Warnings');
    await window.startMcp(/_echo$/);
  });

  it('shows calls as they come, newest first, with decision and outcome', async () => {
    const { window } = culvert();
    const activity = window.tree('Activity');
    await window.pane('Activity').getByText('Nothing was called yet.').waitFor();
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'hello' }, 'Always')).ok, true);
    await activity.waitLabels(['Today', 'VS Code', 'echo']);
    await activity.waitDescription('echo', /^ok · Issue Tracker · \d/);
    await activity.waitDescription('Today', /^1 call$/);
    assert.equal((await callAndAnswer(window, tool('get-sum'), { a: 1, b: 2 }, 'Deny')).ok, false);
    await activity.waitLabels(['Today', 'VS Code', 'get-sum', 'echo']);
    await activity.waitDescription('get-sum', /^denied · Issue Tracker · \d/);
    await activity.waitDescription('Today', /^2 calls · 1 denied$/);
    assert.equal((await callAndAnswer(window, tool('get-tiny-image'), {}, 'Allow once')).ok, true);
    await activity.waitLabels(['Today', 'VS Code', 'get-tiny-image', 'get-sum', 'echo']);
  });

  it('opens the record of a call as a document, without the secret', async () => {
    const { window, upstream } = culvert();
    await window.tree('Activity').select('echo');
    const { language, text } = await until(() => activeDocument(window, 'hello'));
    assert.equal(language, 'culvert-audit');
    assert.ok(!text.includes(upstream.token));
    assert.match(text, /^# echo of Issue Tracker: ok$/m);
    assert.match(text, /^ {2}effect {8}allow$/m);
    assert.match(text, /^ {2}Issue Tracker credential \(revision 1\)$/m);
    assert.match(text, /^ {2}result {8}ok$/m);
    await window.tree('Activity').select('get-sum');
    const denied = await until(() => activeDocument(window, 'get-sum'));
    assert.match(denied.text, /^ {2}reason .*denied by the user/im);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('takes a leaked secret out of a result and warns of it', async () => {
    const { window, upstream } = culvert();
    const leaks = window.tree('Leak Warnings');
    await window.pane('Leak Warnings').getByText('No leaks.').waitFor();
    const { ok, text } = await callAndAnswer(window, tool(LEAKING_TOOL), {}, 'Always');
    assert.equal(ok, true);
    assert.match(text, /DEMO_UPSTREAM_TOKEN/);
    assert.ok(!text.includes(upstream.token), 'the agent does not get the secret');
    await leaks.waitLabels(['High', 'Issue Tracker', '“Issue Tracker credential” in an answer']);
    await leaks.waitDescription(/credential/, new RegExp(`^new · ${LEAKING_TOOL} · redacted · \\d`));
    await window.tree('Activity').waitDescription(LEAKING_TOOL, /^ok, redacted · /);
    await window.activityBarItem('Culvert').locator('.badge-content', { hasText: '1' }).waitFor();

    // The same again is counted, not listed again.
    assert.equal((await call(window, tool(LEAKING_TOOL).id)).ok, true);
    await leaks.waitDescription(/credential/, / · redacted ×2 · \d/);
    await leaks.select(/credential/);
    const record = await until(() => activeDocument(window, LEAKING_TOOL));
    assert.equal(record.language, 'culvert-audit');
    assert.ok(!record.text.includes(upstream.token));
    // It was looked at.
    await window.activityBarItem('Culvert').locator('.badge-content').waitFor({ state: 'hidden' });
    await window.exec('workbench.action.closeAllEditors');
  });

  it('keeps a dismissed warning away', async () => {
    const { window } = culvert();
    await window.tree('Leak Warnings').inlineAction(/credential/, 'Dismiss');
    await window.tree('Leak Warnings').waitLabels(['Dismissed']);
    await window.reload();
    await openViews(window, 'Activity', 'Leak Warnings');
    await window.tree('Activity').row('echo').waitFor();
    await window.tree('Leak Warnings').waitLabels(['Dismissed']);
  });

  it('keeps the history, and verifies it', async () => {
    const { window } = culvert();
    await window.tree('Activity').waitLabels(['Today', 'VS Code', LEAKING_TOOL, LEAKING_TOOL, 'get-tiny-image', 'get-sum', 'echo']);
    await window.command('Culvert: Verify Audit History');
    await told(window, /The audit history holds: \d+ entries in \d+ chains?, \d+ signed checkpoints?/);
  });
});

/** The document in the active editor, once its text contains this. */
async function activeDocument(window: Workbench, expected: string): Promise<{ language: string; text: string } | undefined> {
  const document = await window.eval((api) => {
    const shown = api.window.activeTextEditor?.document;
    return shown ? { language: shown.languageId, text: shown.getText() } : null;
  });
  return document?.text.includes(expected) ? document : undefined;
}
