import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { told } from './actions.ts';

/** Assembled, so that no scanner takes it for a live one. */
const TOKEN = ['gh', 'p_', 'Qw8xZr2Lk9', 'Vt4Nm7Bc1Hd5', 'Jf3Gs6Ya0PeUiX'].join('');
const PASSWORD = ['pq7', 'Xw2', 'Lm9', 'zRt4'].join('');

const MCP = `{
  "servers": {
    "github": {
      "type": "http",
      "url": "https://api.githubcopilot.example/mcp/",
      "headers": { "Authorization": "Bearer ${TOKEN}" }
    }
  }
}
`;

describe('Plaintext credentials in the editor', () => {
  const culvert = useCulvert({
    files: { '.vscode/mcp.json': MCP, '.env': `PORT=3000\nDB_PASSWORD=${PASSWORD}\n` },
    settings: { 'files.autoSave': 'off', 'editor.codeLens': true },
  });
  const file = (name: string) => path.join(culvert().workspace, name);
  /** Chooses a quick fix of the place where the cursor is. */
  const fix = async (line: number, character: number, title: RegExp) => {
    const { window } = culvert();
    await window.eval(
      (api, at) => {
        const editor = api.window.activeTextEditor;
        const position = new api.Position(at.line, at.character);
        if (editor) editor.selection = new api.Selection(position, position);
      },
      { line, character },
    );
    await window.exec('workbench.action.focusActiveEditorGroup');
    await window.exec('editor.action.quickFix');
    await window.page.locator('.action-widget .monaco-list-row', { hasText: title }).first().click();
  };
  const diagnostics = (name: string) =>
    culvert().window.eval(
      (api, uri) =>
        api.languages
          .getDiagnostics(api.Uri.file(uri))
          .filter(({ source }) => source === 'Culvert')
          .map(({ message, range }) => ({ message, line: range.start.line, from: range.start.character, to: range.end.character })),
      file(name),
    );
  const waitDiagnostics = (name: string, count: number) =>
    until(
      async () => {
        const found = await diagnostics(name);
        return found.length === count ? found : undefined;
      },
      { what: `${count} diagnostics in ${name}` },
    );

  it('marks a token, says why it matters and who can read it, and never the value', async () => {
    const { window } = culvert();
    fs.chmodSync(file('.vscode/mcp.json'), 0o644);
    await window.openFile(file('.vscode/mcp.json'));
    const [found] = await waitDiagnostics('.vscode/mcp.json', 1);
    assert.ok(found);
    const line = MCP.split('\n')[found.line] ?? '';
    assert.equal(line.slice(found.from, found.to), TOKEN);
    assert.match(found.message, /^A GitHub token stands here in plaintext: .*Other users of this machine can read the file\.$/);
    assert.ok(!found.message.includes(TOKEN.slice(4)));
    await window.squiggles('warning').first().waitFor();
    await window.page.locator('.codelens-decoration', { hasText: 'Past Culvert, 1 credential in plaintext' }).waitFor();
    await culvert().screenshots('plaintext-1-squiggle');
  });

  it('seals it by a quick fix and leaves a reference, whose hover says where it leads', async () => {
    const { window } = culvert();
    await fix(5, 50, /Seal in Culvert and replace with a reference/);
    await (await window.quickInputWith('Culvert: Seal')).waitFor();
    await culvert().screenshots('plaintext-2-name');
    await window.page.keyboard.press('Enter');
    await told(window, /github-token is sealed, and the file names it/);
    assert.equal(fs.readFileSync(file('.vscode/mcp.json'), 'utf8'), MCP.replace(TOKEN, '${culvert:github-token}'));
    await waitDiagnostics('.vscode/mcp.json', 0);
    const hover = await window.hoverAt(5, 55, 'is sealed in Culvert');
    assert.match(hover, /bearer token/);
    assert.match(hover, /It goes to api\.githubcopilot\.example only/);
    await culvert().screenshots('plaintext-3-hover');
    await window.escape();
  });

  it('takes that back with Undo Import', async () => {
    const { window } = culvert();
    await window.clearNotifications();
    await window.command('Culvert: Undo Import');
    await told(window, 'The import was undone');
    assert.equal(fs.readFileSync(file('.vscode/mcp.json'), 'utf8'), MCP);
    await waitDiagnostics('.vscode/mcp.json', 1);
  });

  it('leaves alone what is no secret: said in a comment for exactly this value, or in settings', async () => {
    const { window } = culvert();
    await window.openFile(file('.env'));
    await waitDiagnostics('.env', 1);
    await fix(1, 15, /Not a secret: say so in a comment/);
    await waitDiagnostics('.env', 0);
    const text = await window.eval((api) => api.window.activeTextEditor?.document.getText() ?? '');
    assert.match(text, /^PORT=3000\n# culvert:not-secret [0-9a-f]{16}\nDB_PASSWORD=/);
    await window.exec('undo');
    await waitDiagnostics('.env', 1);
    await fix(1, 15, /Not a secret: remember in settings/);
    await waitDiagnostics('.env', 0);
  });

  it('routes the server from the lens above it', async () => {
    const { window } = culvert();
    await window.clearNotifications();
    await window.openFile(file('.vscode/mcp.json'));
    await window.page.locator('.codelens-decoration a', { hasText: 'Past Culvert' }).click();
    await window.pick('Nothing', { title: 'Switch tools on one by one' });
    await window.quickInputWith('Culvert: Import: mcp.json');
    await window.pick('Leave everything as it was', { title: 'mcp.json' });
    await told(window, 'Nothing was imported. Every file and secret is as it was.');
    assert.equal(fs.readFileSync(file('.vscode/mcp.json'), 'utf8'), MCP);
  });
});
