import assert from 'node:assert/strict';
import path from 'node:path';
import { SHOTS } from '../harness/paths.ts';
import { useCulvert } from '../harness/openCulvert.ts';
import { addServer, advance, answer, call, callAndAnswer, choose, openViews, question, waitOffered } from './actions.ts';
import { McpPeer, type PeerTool } from './mcpPeer.ts';

const text = { type: 'string' } as const;
const TOOLS: readonly PeerTool[] = [
  {
    name: 'create_issue',
    description: 'Opens an issue.',
    inputSchema: { type: 'object', properties: { owner: text, repo: text, title: text } },
  },
  { name: 'list_issues', description: 'Lists issues.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } },
];

describe('A grant shaped from the call at hand', () => {
  const culvert = useCulvert();
  const peer = new McpPeer(() => true, TOOLS);
  const create = { name: 'create_issue', id: 'mcp_tracker_create_issue' };
  const issue = (repo: string, title: string) => ({ owner: 'acme', repo, title });
  const rows = async () => {
    const prompt = await culvert().window.quickInputWith(question('create_issue'));
    return (await prompt.locator('.quick-input-list .monaco-list-row').allInnerTexts()).map((row) => row.trim().replace(/\s+/g, ' '));
  };

  before('add a server', async () => {
    await peer.start();
    const { window } = culvert();
    await addServer(window, { label: 'Tracker', url: peer.url, authentication: 'None' });
    await openViews(window, 'Grants');
    await window.startMcp(/_create_issue$/);
  });
  after(() => peer.stop());

  it('is chosen step by step, spelled out, and lets through what is inside and nothing else', async () => {
    const { window } = culvert();
    const first = call(window, create.id, issue('shop', 'One'));
    await window.quickInputWith(question('create_issue'));
    await advance(window, 'create_issue', 'Allow some like this…');
    const what = (await rows()).join('\n');
    assert.match(what, /Exactly this call/);
    assert.match(what, /owner “acme”, repo “shop”, anything else allow create_issue where owner is “acme” and repo is “shop”/);
    await window.screenshot(path.join(SHOTS, 'widening-what.png'));
    await advance(window, 'create_issue', 'owner “acme”, repo “shop”, anything else');
    const how = (await rows()).join('\n');
    assert.match(how, /15 minutes allow create_issue where owner is “acme” and repo is “shop”, until \d\d:\d\d/);
    await window.screenshot(path.join(SHOTS, 'widening-how.png'));
    // Back leads to what came before, and nothing is given yet.
    await window.quickInputButton('Back');
    await advance(window, 'create_issue', 'owner “acme”, repo “shop”, anything else');
    assert.equal(peer.calls.length, 0);
    await answer(window, 'create_issue', '15 minutes');
    assert.equal((await first).ok, true);

    const grants = window.tree('Grants');
    await grants.waitDescription('create_issue', /^asks, except where owner is “acme” and repo is “shop”, 15 min left$/);
    // Inside: nobody is asked.
    assert.equal((await call(window, create.id, issue('shop', 'Two'))).ok, true);
    assert.equal(peer.calls.length, 2);
    // Outside: the question, with what is different and which grant nearly fits.
    const outside = call(window, create.id, issue('factory', 'Three'));
    const prompt = await window.quickInputWith(question('create_issue'));
    assert.match(await prompt.innerText(), /Nearly: allow create_issue where owner is “acme” and repo is “shop”/);
    assert.match((await rows()).join('\n'), /repo\s*factory \(last time shop\)/);
    assert.equal(peer.calls.length, 2);
    await window.screenshot(path.join(SHOTS, 'widening-outside.png'));
    await answer(window, 'create_issue', 'Not now');
    assert.equal((await outside).ok, false);
    assert.equal(peer.calls.length, 2);
  });

  it('stands in the tree below its tool, and ends there', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await grants.expand('create_issue');
    await grants.inlineAction('Allow where owner is “acme” and repo is “shop”', 'Revoke');
    await grants.waitDescription('create_issue', /^asks$/);
    const asked = callAndAnswer(window, create, issue('shop', 'Four'), 'Allow once');
    assert.equal((await asked).ok, true);
  });

  it('calls that say the same are one question, and can be answered together', async () => {
    const { window } = culvert();
    const before = peer.calls.length;
    const same = Array.from({ length: 3 }, () => call(window, create.id, issue('shop', 'Same')));
    await window.quickInputWith(/wants to make 3 calls like this|create_issue/);
    await answer(window, 'create_issue', 'Allow all 3');
    for (const result of same) assert.equal((await result).ok, true);
    assert.equal(peer.calls.length, before + 3);
  });

  it('an agent’s wish leads to the same question, and is granted for what the user chooses', async () => {
    const { window } = culvert();
    const grants = window.tree('Grants');
    await choose(grants, 'Tracker', 'Access: Nothing', 'no access');
    await waitOffered(window, 'request_access', true);
    const wish = call(window, 'mcp_tracker_request_access', {
      tools: ['create_issue', 'list_issues'],
      reason: 'to file what I found',
      duration_minutes: 20,
    });
    const prompt = await window.quickInputWith('Culvert: allow 2 tools of Tracker');
    assert.match(await prompt.innerText(), /“to file what I found”\s*why, in its own words/);
    await window.screenshot(path.join(SHOTS, 'wish.png'));
    await answer(window, '2 tools', 'Allow only what reads for 20 minutes');
    const { ok, text: told } = await wish;
    assert.equal(ok, true, told);
    assert.match(told, /Allowed now: “list_issues”.*Not allowed: “create_issue”/);
    await grants.waitDescription('list_issues', /^allowed, 20 min left$/);
    await grants.waitDescription('create_issue', 'no access');
  });
});
