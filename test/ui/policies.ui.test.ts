import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { addServer, call, choose, isOffered, openViews, reached, setSetting, waitOffered } from './actions.ts';

/** What the agent hears of a tool that was just taken away: from Culvert, or from VS Code, once that has noticed. */
const GONE = /Culvert denied this call|was not contributed/;

describe('Policies above grants', () => {
  const culvert = useCulvert({
    upstream: true,
    settings: { 'culvert.policy.rules': [{ effect: 'deny', tools: ['get-env'], name: 'no environment' }] },
    // What a workspace says about settings that are the user's.
    files: {
      '.vscode/settings.json': JSON.stringify({
        'culvert.policy.rules': [],
        'culvert.policy.mode': 'shadow',
        'chat.mcp.access': 'all',
        'chat.mcp.allowedServers': null,
        'chat.mcp.deniedServers': [],
      }),
    },
  });
  const id = (name: string) => `mcp_tracker_${name}`;
  const file = () => path.join(culvert().workspace, '.vscode', 'culvert.json');
  /** What is shown to be wrong with the policy: by whom, in which line. */
  const problems = () =>
    culvert().window.eval(
      (api, at) =>
        api.languages
          .getDiagnostics(api.Uri.file(at))
          .map((d) => ({ source: d.source ?? '', line: d.range.start.line + 1, message: d.message })),
      file(),
    );

  before(async () => {
    const { window, upstream } = culvert();
    await addServer(window, { label: 'Tracker', url: upstream.url, secret: upstream.token });
    await openViews(window, 'Grants');
    await window.startMcp(/_echo$/);
    const grants = window.tree('Grants');
    await choose(grants, 'echo', /^Allow$/, /^allowed$/);
    await waitOffered(window, 'echo', true);
  });

  it('a file that can’t be understood is shown at its line and stops every call; corrected, it lets them through again', async () => {
    const { window } = culvert();
    assert.deepEqual(await call(window, id('echo'), { message: 'before' }), { ok: true, text: 'Echo: before' });
    fs.writeFileSync(file(), '{\n  // Allow everything.\n  "version": 1,\n  "rules": [\n    { "effect": "allow" }\n  ]\n}\n');
    const denied = await call(window, id('echo'), { message: 'broken' });
    assert.deepEqual([denied.ok, GONE.test(denied.text)], [false, true], denied.text);
    const ours = await until(async () => (await problems()).find((p) => p.source === 'Culvert'), { what: 'the problem' });
    assert.equal(ours.line, 5);
    assert.match(ours.message, /rules\.0\.effect.*Culvert lets no call through/);
    await window.notified(/A policy can’t be applied/);
    // The schema comes with the extension: the editor marks the place too, and takes comments.
    await window.eval((api, at) => api.window.showTextDocument(api.Uri.file(at)).then(() => undefined), file());
    await until(async () => (await problems()).some((p) => p.source !== 'Culvert' && p.line === 5), {
      what: 'the schema to be held against the file',
    });
    assert.deepEqual(
      (await problems()).map((p) => p.line),
      [5, 5],
    );
    fs.writeFileSync(file(), JSON.stringify({ version: 1, rules: [] }));
    await until(async () => (await call(window, id('echo'), { message: 'after' })).ok, { what: 'calls to pass again' });
    await until(async () => !(await problems()).some((p) => p.source === 'Culvert'), { what: 'the problem to go' });
    assert.ok(!reached(culvert()).some((tool) => tool !== 'echo'));
  });

  it('a workspace’s rule stops what the user allowed', async () => {
    const { window } = culvert();
    fs.writeFileSync(file(), JSON.stringify({ version: 1, rules: [{ effect: 'deny', tools: ['echo'] }] }));
    const before = reached(culvert()).length;
    const denied = await call(window, id('echo'), { message: 'stopped' });
    assert.match(denied.text, GONE);
    await waitOffered(window, 'echo', false);
    assert.equal(reached(culvert()).length, before);
    fs.rmSync(file());
    await waitOffered(window, 'echo', true);
    assert.equal((await call(window, id('echo'), { message: 'again' })).ok, true);
  });

  it('settings of a workspace take nothing of the user’s away, and a changed rule holds for the next call', async () => {
    const { window } = culvert();
    assert.equal(await isOffered(window, 'get-env'), false);
    const rules = (tool: string) => setSetting(window, 'culvert.policy.rules', [{ effect: 'deny', tools: [tool] }]);
    const before = reached(culvert()).length;
    await rules('echo');
    const denied = await call(window, id('echo'), { message: 'denied' });
    assert.match(denied.text, GONE);
    await waitOffered(window, 'echo', false);
    assert.equal(reached(culvert()).length, before);
    await rules('get-env');
    await waitOffered(window, 'echo', true);
    assert.equal((await call(window, id('echo'), { message: 'allowed' })).ok, true);
    assert.ok(!reached(culvert()).includes('get-env'));
  });
});
