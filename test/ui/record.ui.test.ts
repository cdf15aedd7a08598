import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { answer, call, callAndAnswer, openViews, question, told } from './actions.ts';

describe('Record document', () => {
  const culvert = useCulvert({ demo: 'Issue Tracker' });
  const tool = (name: string) => ({ name, id: `mcp_issue_tracker_${name}` });
  const show = async (window: Workbench, name: string) => {
    // What is shown already would be taken for what is still to be shown.
    await window.exec('workbench.action.closeAllEditors');
    await window.tree('Activity').select(name);
    return until(() => documentOf(window, `# ${name} of`), { what: `the record of ${name}` });
  };

  before('make some calls', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants', 'Activity', 'Credentials');
    await window.startMcp(/_echo$/);
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'a confidential note' }, 'Always')).ok, true);
    await window.tree('Activity').row('echo').waitFor();
  });

  it('can only be read, is folded by sections, and explains its fields', async () => {
    const { window } = culvert();
    const text = await show(window, 'echo');
    const lines = text.split('\n');
    await window.editor.click();
    await window.page.keyboard.type('x');
    assert.equal(await documentOf(window, '# echo of'), text);
    const folds = await window.eval(async (api) => {
      const ranges = await api.commands.executeCommand<{ start: number; end: number }[]>(
        'vscode.executeFoldingRangeProvider',
        api.window.activeTextEditor?.document.uri,
      );
      return ranges.map(({ start }) => start);
    });
    assert.deepEqual(
      folds.map((line) => lines[line]),
      lines.filter((line) => /^[A-Z]/.test(line)),
    );
    const at = lines.findIndex((line) => line.startsWith('  reason'));
    assert.match(await window.hoverAt(at, 4, 'agent got'), /in the words that the agent got too/);
    await window.escape();
  });

  it('leads to the server, the grant and the credential', async () => {
    const { window } = culvert();
    const text = await show(window, 'echo');
    const follow = async (shown: string) => {
      const uri = await until(
        () =>
          window.eval(async (api, wanted) => {
            const document = api.window.activeTextEditor?.document;
            const links = await api.commands.executeCommand<
              { range: { start: object; end: object }[] | object; target?: { toString(): string } }[]
            >('vscode.executeLinkProvider', document?.uri, 100);
            const link = links.find((l) => document?.getText(l.range as never) === wanted);
            return link?.target?.toString() ?? null;
          }, shown),
        { what: `a link at ${shown}` },
      );
      const [, command = '', argument = ''] = /^command:([^?]+)\?(.*)$/.exec(decodeURIComponent(uri)) ?? [];
      await window.exec(command, ...(JSON.parse(decodeURIComponent(argument)) as unknown[]));
    };
    await follow('Issue Tracker');
    await window.page.locator('.part.sidebar .monaco-list-row.focused', { hasText: 'Issue Tracker' }).first().waitFor();
    await follow(/grant \S+(?= \()/.exec(text)?.[0] ?? 'a grant');
    await told(window, /The grant: .*echo/);
    await follow('Issue Tracker credential (revision 1)');
    await window.tree('Credentials').rows().and(window.page.locator('.focused')).waitFor();
    await window.clearNotifications();
  });

  it('is drawn with links that can be clicked, and the three commands above', async () => {
    const { window } = culvert();
    await show(window, 'echo');
    await window.editor.locator('.detected-link').first().waitFor();
    for (const title of ['Replay as Policy Test', 'Revoke This Access', 'Copy Redacted'])
      await window.editor.locator('.codelens-decoration a', { hasText: title }).waitFor();
  });

  it('copies a record without what was said in it', async () => {
    const { window } = culvert();
    await show(window, 'echo');
    await window.editor.locator('.codelens-decoration a', { hasText: 'Copy Redacted' }).click();
    const copied = await until(async () => {
      const text = await window.eval((api) => api.env.clipboard.readText());
      return text.startsWith('# echo of') ? text : undefined;
    });
    assert.ok(!copied.includes('a confidential note'));
    assert.match(copied, /"message": "‹text, 19 characters›"/);
  });

  it('replays a call, and revokes what let it through', async () => {
    const { window } = culvert();
    await show(window, 'echo');
    await window.command('Culvert: Replay as Policy Test');
    assert.match(
      await until(() => documentOf(window, 'Nothing was sent.')),
      /^Then: allowed[^]*^Now: allowed[^]*Outcome: decided as it was/m,
    );
    await show(window, 'echo');
    await window.command('Culvert: Revoke This Access');
    await told(window, /Revoked: .*echo/);
    await show(window, 'echo');
    await window.command('Culvert: Replay as Policy Test');
    assert.match(
      await until(async () => {
        const text = await documentOf(window, 'Nothing was sent.');
        return text?.includes('otherwise') === true ? text : undefined;
      }),
      /^Now: asks/m,
    );
    assert.equal((await callAndAnswer(window, tool('echo'), { message: 'again' }, 'Deny')).ok, false);
    await window.exec('workbench.action.closeAllEditors');
  });

  it('shows the end of a call that was running when it was opened', async () => {
    const { window } = culvert();
    const running = call(window, tool('trigger-long-running-operation').id, { duration: 8, steps: 4 });
    await window.quickInputWith(question('trigger-long-running-operation'));
    await answer(window, 'trigger-long-running-operation', 'Allow once');
    await window.tree('Activity').waitDescription('trigger-long-running-operation', /^running/);
    assert.match(await show(window, 'trigger-long-running-operation'), /Not finished/);
    assert.equal((await running).ok, true);
    await until(async () => (await documentOf(window, '# trigger-long'))?.includes('  result        ok'), { what: 'the end of the call' });
  });
});

/** The text of the active editor, once it contains this. */
async function documentOf(window: Workbench, expected: string): Promise<string | undefined> {
  const text = await window.eval((api) => api.window.activeTextEditor?.document.getText() ?? '');
  return text.includes(expected) ? text : undefined;
}
