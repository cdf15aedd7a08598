import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { callAndAnswer, openViews, told } from './actions.ts';
import { filesWith, pagePlacesWith, processesWith } from './secretScan.ts';

/** What a user may need from a plaintext file to a protected call, milliseconds. */
const TWO_MINUTES_MS = 120_000;

describe('Import', () => {
  const culvert = useCulvert({ upstream: true, settings: { 'files.autoSave': 'off' } });
  const file = () => path.join(culvert().workspace, '.vscode/mcp.json');
  /** As people write it: comments, trailing commas, CRLF. */
  const original = () => {
    const { upstream } = culvert();
    return [
      '{',
      '  // The servers of the team.',
      '  "servers": {',
      '    "issues": {',
      '      "type": "http",',
      `      "url": "${upstream.url}",`,
      `      "headers": { "Authorization": "Bearer ${upstream.token}", "X-MCP-Toolsets": "repos" },`,
      '    },',
      '  },',
      '  "inputs": [{ "id": "region",   "type": "promptString" }], // not ours',
      '}',
      '',
    ].join('\r\n');
  };
  const pictures = (name: string) => culvert().screenshots(`import-${name}`);

  it('leads from a plaintext mcp.json to a protected call in less than two minutes', async () => {
    const { window, upstream } = culvert();
    fs.mkdirSync(path.dirname(file()), { recursive: true });
    fs.writeFileSync(file(), original());
    const began = Date.now();
    await window.command('Culvert: Import MCP Servers…');
    const pick = await window.quickInputWith('Culvert: Import');
    const row = window.quickRow(pick, 'issues');
    await row.waitFor();
    assert.match(await row.innerText(), /127\.0\.0\.1:\d+ · bearer token/);
    assert.match(await row.innerText(), /in plaintext: Authorization \S*…\S* ?\(\d+ characters\)/);
    assert.ok(!(await pick.innerText()).includes(upstream.token));
    await pictures('1-pick');
    await window.page.keyboard.press('Enter');
    await window.pick('Ask every time', { title: 'Switch tools on one by one' });
    await window.quickInputWith('Culvert: Import: mcp.json');
    const diff = window.page.locator('.monaco-diff-editor');
    await diff.waitFor();
    await pictures('2-diff');
    assert.equal(fs.readFileSync(file(), 'utf8'), original(), 'nothing is written before the answer');
    await window.pick('Make this edit', { title: 'mcp.json' });
    await told(window, /issues goes through Culvert now\. 1 credential is sealed\./);
    const text = fs.readFileSync(file(), 'utf8');
    assert.ok(!text.includes(upstream.token));
    assert.match(text, /\/\/ The servers of the team\.\r\n/);
    assert.match(text, /"inputs": \[\{ "id": "region", {3}"type": "promptString" \}\], \/\/ not ours\r\n/);

    await openViews(window, 'Grants');
    const echo = await window.startMcp(/_echo$/);
    const result = await callAndAnswer(window, { id: echo, name: 'echo' }, { message: 'through the tunnel' }, 'Allow once');
    assert.deepEqual(result, { ok: true, text: 'Echo: through the tunnel' });
    const took = Date.now() - began;
    await pictures('3-call');
    console.log(`      from the command to the answer of a protected call: ${(took / 1000).toFixed(1)} s`);
    assert.ok(took < TWO_MINUTES_MS, `${took} ms`);
    const [seen] = upstream.toolCalls('echo');
    assert.equal(seen?.authorized, true);
    assert.equal(seen.headers['x-mcp-toolsets'], 'repos', 'plain headers are taken over');
  });

  it('leaves the token nowhere but in the keyring', async () => {
    const { window, server, upstream } = culvert();
    assert.deepEqual(filesWith(server.runFolder, upstream.token), []);
    assert.deepEqual(processesWith(server.runFolder, upstream.token), []);
    assert.deepEqual(await pagePlacesWith(window.page, upstream.token), []);
  });

  it('is taken back by Undo Import, to the byte, also after a reload', async () => {
    const { window, upstream } = culvert();
    await window.reload();
    await window.statusBarItem(/Culvert/).waitFor();
    await until(async () => (await window.paletteItems('Culvert: Undo Import')).includes('Culvert: Undo Import'), {
      what: 'the import to be known again',
    });
    await window.command('Culvert: Undo Import');
    await told(window, 'The import was undone');
    assert.equal(fs.readFileSync(file(), 'utf8'), original());
    await window.openView('Culvert');
    await window.pane('Grants').locator('.welcome-view-content').getByText('Add an MCP server').waitFor();
    assert.ok(!(await window.paletteItems('Culvert: Undo Import')).includes('Culvert: Undo Import'));
    assert.ok(upstream.requests.length > 0);
  });

  it('asks to save a file that is being edited, and changes nothing if it is declined or the file changed meanwhile', async () => {
    const { window } = culvert();
    await window.clearNotifications();
    await window.openFile(file());
    await window.eval(async (api) => {
      const editor = api.window.activeTextEditor;
      await editor?.edit((edit) => edit.insert(new api.Position(0, 0), '// mine\n'));
    });
    await window.command('Culvert: Import MCP Servers…');
    await window.quickRow(await window.quickInputWith('Culvert: Import'), 'issues').waitFor();
    await window.page.keyboard.press('Enter');
    assert.match(await window.dialog('Cancel'), /mcp\.json has changes that are not saved/);
    assert.equal(fs.readFileSync(file(), 'utf8'), original());

    await window.command('Culvert: Import MCP Servers…');
    await window.quickRow(await window.quickInputWith('Culvert: Import'), 'issues').waitFor();
    await window.page.keyboard.press('Enter');
    await window.dialog('Save and Go On');
    await window.pick('Nothing', { title: 'Switch tools on one by one' });
    await window.quickInputWith('Culvert: Import: mcp.json');
    const meanwhile = `${fs.readFileSync(file(), 'utf8')}// somebody else\n`;
    fs.writeFileSync(file(), meanwhile);
    await window.pick('Make this edit', { title: 'mcp.json' });
    await told(window, /Nothing was imported\. mcp\.json was changed by something else in the meantime/);
    assert.equal(fs.readFileSync(file(), 'utf8'), meanwhile);
    await until(async () => (await window.paletteItems('Culvert: Edit Server')).every((item) => item !== 'Culvert: Edit Server…'), {
      what: 'no server to be there',
    });
  });
});
