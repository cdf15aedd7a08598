import assert from 'node:assert/strict';
import path from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { useCulvert } from '../harness/openCulvert.ts';
import { SHOTS } from '../harness/paths.ts';
import { addServer, answer, choose, openViews, question } from './actions.ts';

/** How long the agent waits for an answer, milliseconds: the user is asked meanwhile. */
const AGENT_TIMEOUT_MS = 120_000;

describe('Grants, for resources', () => {
  const culvert = useCulvert({ upstream: true });
  const agent = new Client({ name: 'Reader', version: '1.0.0' });
  let uri = '';

  /** What the agent gets of a resource: its text, or why not. */
  const read = (which = uri): Promise<string> =>
    agent.readResource({ uri: which }, { timeout: AGENT_TIMEOUT_MS }).then(
      ({ contents }) => contents.map((part) => ('text' in part ? part.text : part.blob)).join('\n'),
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
  /** How often a method reached the server. */
  const reached = (method: string) => culvert().upstream.requests.filter(({ body }) => body.includes(`"method":"${method}"`)).length;

  before('add a server, and connect an agent outside the editor to it', async () => {
    const { window, upstream, server } = culvert();
    await addServer(window, { label: 'Library', url: upstream.url, secret: upstream.token });
    await openViews(window, 'Grants');
    // The first list of its tools.
    await window.startMcp(/_echo$/);
    const tooltip = await window.tree('Grants').tooltip('Library');
    const [, id] = /Id, for agents outside the editor: (\S+)/.exec(tooltip) ?? [];
    assert.ok(id !== undefined, tooltip);
    const extension = await window.eval((api) => api.extensions.getExtension('culvert.culvert')?.extensionPath);
    assert.ok(extension !== undefined);
    await agent.connect(
      new StdioClientTransport({
        command: process.execPath,
        args: [path.join(extension, 'dist', 'bridge.cjs'), '--server', id],
        env: { XDG_RUNTIME_DIR: path.join(server.runFolder, 'tmp'), TMPDIR: path.join(server.runFolder, 'tmp') },
        stderr: 'ignore',
      }),
    );
  });
  after(() => agent.close());

  it('lists go without a question where reading asks, and the question says what is read', async () => {
    const { window } = culvert();
    await window.tree('Grants').waitDescription('Resources', /^asks$/);
    const { resources } = await agent.listResources();
    uri = resources[0]?.uri ?? '';
    assert.match(uri, /^demo:\/\//);
    const text = read();
    const prompt = await window.quickInputWith(question('resources/read'));
    assert.match(await prompt.innerText(), new RegExp(uri.replaceAll(/[^\w]/g, '.')));
    assert.match(await prompt.innerText(), /Allow for 15 minutes\s*all resources of this server/);
    assert.match((await prompt.locator('input.input').getAttribute('placeholder')) ?? '', /^Reader \(as it says\) wants to call it/);
    await window.screenshot(path.join(SHOTS, 'resources.png'));
    assert.equal(reached('resources/read'), 0);
    await answer(window, 'resources/read', 'Allow once');
    assert.ok((await text).length > 50, await text);
    assert.equal(reached('resources/read'), 1);
  });

  it('unticked, they are neither listed nor read, and nothing of it reaches the server', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    const before = [reached('resources/list'), reached('resources/read')];
    await grants.toggle('Resources');
    await grants.waitDescription('Resources', /^denied$/);
    assert.match(await read(), /Culvert denied this call\. Reading resources of Library is denied by the user/);
    await assert.rejects(agent.listResources(), /Culvert denied this call/);
    await assert.rejects(agent.listResourceTemplates(), /Culvert denied this call/);
    assert.deepEqual([reached('resources/list'), reached('resources/read')], before);
    // Tools and prompts are another matter.
    await grants.waitDescription('Prompts', /^asks$/);
    assert.ok((await agent.listTools()).tools.some(({ name }) => name === 'echo'));
    assert.ok((await agent.listPrompts()).prompts.length > 0);
  });

  it('ticked, they are read without a question, those of templates too', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.toggle('Resources');
    await grants.waitDescription('Resources', /^allowed$/);
    assert.ok((await read()).length > 50);
    const { resourceTemplates } = await agent.listResourceTemplates();
    const template = resourceTemplates.find(({ uriTemplate }) => uriTemplate.includes('/text/'))?.uriTemplate ?? '';
    assert.match(await read(template.replace(/\{\w+\}/, '7')), /Resource 7/);
    await grants.expand('Resources');
    await grants.row('Allow').waitFor();
    await grants.waitDescription('Prompts', /^asks$/);
  });

  it('are allowed for a while and denied again from the menu, which holds for the next read', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'Resources', 'Allow for 15 Minutes', /^allowed, 15 min left$/);
    assert.ok((await read()).length > 50);
    await choose(grants, 'Resources', 'Deny', /^denied$/);
    assert.match(await read(), /Culvert denied this call/);
    await choose(grants, 'Resources', 'Ask Each Time', /^asks$/);
    const before = reached('resources/read');
    const refused = read();
    await window.quickInputWith(question('resources/read'));
    await answer(window, 'resources/read', 'Deny');
    assert.match(await refused, /Culvert denied this call/);
    await grants.waitDescription('Resources', /^denied$/);
    assert.equal(reached('resources/read'), before);
  });

  it('stand in Activity with what was decided', async () => {
    const { window } = culvert();
    await openViews(window, 'Activity');
    const activity = window.tree('Activity');
    await activity.row('Reader').waitFor();
    await activity.waitDescription('Reader', /7 calls · 3 denied/);
    assert.ok(!(await activity.labels()).includes('VS Code'), 'an agent outside is not taken for the editor');
    await activity.waitDescription(/^demo:\/\//, /^(stopped|denied) · Library · /);
  });
});
