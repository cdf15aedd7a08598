import assert from 'node:assert/strict';
import path from 'node:path';
import { SHOTS } from '../harness/paths.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { addServer, advance, answer, call, callAndAnswer, choose, openViews, paletteCommands, question } from './actions.ts';
import { McpPeer, type PeerTool } from './mcpPeer.ts';

const text = { type: 'string' } as const;
const TOOLS: readonly PeerTool[] = [
  { name: 'create_issue', description: 'Opens an issue.', inputSchema: { type: 'object', properties: { owner: text, repo: text } } },
  { name: 'list_issues', description: 'Lists issues.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
];

/** Replaces a part of the open document, as typing would. */
async function replace(window: Workbench, from: string, to: string): Promise<void> {
  // The extension host hears of an editor a little after it is drawn.
  const change = () =>
    window.eval(
      async (api, change) => {
        const editor = api.window.activeTextEditor;
        const at = editor?.document.getText().indexOf(change.from) ?? -1;
        if (!editor || at < 0) return false;
        const range = new api.Range(editor.document.positionAt(at), editor.document.positionAt(at + change.from.length));
        return editor.edit((edit) => edit.replace(range, change.to));
      },
      { from, to },
    );
  await until(change, { what: `${from} in the document` });
}

describe('Grants, edited and explained', () => {
  const culvert = useCulvert();
  const peer = new McpPeer(() => true, TOOLS);
  const create = { name: 'create_issue', id: 'mcp_tracker_create_issue' };

  before('add a server', async () => {
    await peer.start();
    const { window } = culvert();
    await addServer(window, { label: 'Tracker', url: peer.url, authentication: 'None' });
    await openViews(window, 'Grants');
    await window.startMcp(/_create_issue$/);
    const first = call(window, create.id, { owner: 'acme', repo: 'shop' });
    await window.quickInputWith(question('create_issue'));
    await advance(window, 'create_issue', 'Allow some like this…');
    await advance(window, 'create_issue', 'owner “acme”, repo “shop”');
    await answer(window, 'create_issue', 'Always');
    assert.equal((await first).ok, true);
  });
  after(() => peer.stop());

  it('Edit Grant… does not save what is not valid, and says where; saved right, it holds for the next call', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.waitDescription('create_issue', /^asks, except where/);
    await until(
      async () => {
        await grants.expand('create_issue');
        return (await grants.row(/^Allow where owner/).count()) > 0;
      },
      { what: 'the grant below the tool' },
    );
    await grants.inlineAction(/^Allow where owner/, 'Edit Grant…');
    await until(async () => (await window.editorText()).includes('"conditions"'));
    await replace(window, '"equals"', '"is"');
    await window.squiggles('error').first().waitFor();
    await window.screenshot(path.join(SHOTS, 'edit-grant-error.png'));
    await window.exec('workbench.action.files.save').catch(() => undefined);
    await window.notified(/The grant was not saved\. Line \d+/);
    assert.match((await window.problems()).join('\n'), /Culvert/);
    await grants.waitDescription('create_issue', /^asks, except where owner is “acme” and repo is “shop”$/);

    await replace(window, '"is"', '"equals"');
    await replace(window, '"shop"', '"factory"');
    await until(async () => (await window.squiggles('error').count()) === 0);
    await window.exec('workbench.action.files.save');
    await grants.waitDescription('create_issue', /^asks, except where owner is “acme” and repo is “factory”$/);
    assert.equal((await call(window, create.id, { owner: 'acme', repo: 'factory' })).ok, true);
    assert.equal((await callAndAnswer(window, create, { owner: 'acme', repo: 'shop' }, 'Not now')).ok, false);
    await window.clearNotifications();
  });

  it('completes from the schema', async () => {
    const { window } = culvert();
    const labels = await window.eval(async (api) => {
      const editor = api.window.activeTextEditor;
      if (!editor) return [];
      const at = editor.document.getText().indexOf('"effect"');
      const list = await api.commands.executeCommand<{ items: { label: string | { label: string } }[] }>(
        'vscode.executeCompletionItemProvider',
        editor.document.uri,
        editor.document.positionAt(at),
      );
      return list.items.map(({ label }) => (typeof label === 'string' ? label : label.label));
    });
    for (const field of ['expires', 'uses', 'rate', 'why']) assert.ok(labels.includes(field), `${field} among ${labels.join(' ')}`);
  });

  it('ends in front of the user’s eyes', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await replace(window, '"conditions"', '"expires": "in 20 seconds",\n  "conditions"');
    await window.exec('workbench.action.files.save');
    await grants.waitDescription('create_issue', /, \d+ s left$/);
    const seen = new Set<string>();
    await until(
      async () => {
        seen.add(await grants.description('create_issue'));
        return seen.has('asks');
      },
      { what: 'the end of the grant', timeoutMs: 90_000, intervalMs: 150 },
    );
    assert.ok(seen.size >= 4, `the time counted down: ${[...seen].join(' | ')}`);
    assert.equal((await callAndAnswer(window, create, { owner: 'acme', repo: 'factory' }, 'Not now')).ok, false);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('Explain Last Denial tells why, and what would allow it', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'create_issue', 'Deny', /^denied$/);
    // VS Code offers it no longer; an agent that still knows it asks all the same.
    await until(async () => (await paletteCommands(window)).includes('Explain Last Denial'));
    await window.command('Culvert: Explain Last Denial');
    const box = window.page.locator('.monaco-dialog-box');
    await box.waitFor();
    await window.screenshot(path.join(SHOTS, 'explain.png'));
    const said = await window.dialog('Revoke the Denial');
    assert.match(said, /Why “create_issue” of Tracker was denied/);
    assert.match(said, /the user said no/);
    assert.match(said, /The same call now would be denied/);
    await grants.waitDescription('create_issue', /^asks$/);
  });

  it('Rehearse Policy… shows what a change would flip, and changes nothing', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(window.tree('Grants'), 'create_issue', /^Allow$/, /^allowed$/);
    await window.command('Culvert: Rehearse Policy…');
    await window.pick('Some grants are revoked…', { title: 'Rehearse Policy' });
    await window.page.locator('.quick-input-widget input[placeholder^="Which grants would be revoked"]').waitFor();
    await window.pick(/allow create_issue/);
    await window.page.keyboard.press('Enter');
    await window.pick('Of the last day', { title: 'Rehearse Policy' });
    const report = await until(async () => {
      const shown = await window.editorText();
      return shown.includes('Nothing was changed') || shown.includes('recorded calls') ? shown : undefined;
    });
    assert.match(report, /Rehearsal: without “allow create_issue”/);
    assert.match(report, /would ask/);
    assert.match(report, /create_issue of Tracker: let through → asks/);
    await window.screenshot(path.join(SHOTS, 'rehearsal.png'));
    await grants.waitDescription('create_issue', /^allowed$/);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('Review Access… offers to tighten what is wider than its use', async () => {
    const { window } = culvert();
    for (let i = 0; i < 5; i++) assert.equal((await call(window, create.id, { owner: 'acme', repo: 'shop', n: i })).ok, true);
    await window.command('Culvert: Review Access…');
    await window.quickInputWith('Review Access');
    await window.screenshot(path.join(SHOTS, 'review.png'));
    await window.pick(/Narrow to: allow create_issue where owner is “acme” and repo is “shop”/);
    await window.page.keyboard.press('Enter');
    await window.notified('One grant was changed.');
    await window.tree('Grants').waitDescription('create_issue', /owner is “acme” and repo is “shop”/);
  });
});
