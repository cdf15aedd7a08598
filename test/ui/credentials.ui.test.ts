import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { addServer, call, complaint, openViews, paletteCommands, step, told, typed } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';

describe('Credentials and servers', () => {
  const culvert = useCulvert();
  const name = 'Wiki credential';
  /** The tokens that the servers take at the moment. */
  const good = new Set(['first-token-of-the-wiki']);
  const peers: McpPeer[] = [];
  const startPeer = async () => {
    const peer = await new McpPeer(({ headers }) => good.has(headers.authorization?.replace(/^Bearer /, '') ?? '')).start();
    peers.push(peer);
    return peer;
  };
  beforeEach(() => culvert().window.clearNotifications());
  after(async () => {
    for (const peer of peers) await peer.stop().catch(() => undefined);
  });

  it('tests a credential: it works, or is refused', async () => {
    const { window } = culvert();
    const wiki = await startPeer();
    await addServer(window, { label: 'Wiki', url: wiki.url, secret: 'first-token-of-the-wiki', start: 'Tools that only read' });
    await openViews(window, 'Grants', 'Credentials');
    const look = await window.startMcp(/_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });

    await window.tree('Credentials').inlineAction(name, 'Test Credential');
    await told(window, `${name} works: Wiki answered and lists 2 tools.`);
    good.clear();
    await window.command('Culvert: Test Credential…');
    await window.pick(name, { title: 'Test Credential' });
    await told(window, new RegExp(`${name} does not work\\. .* refused the credential \\(HTTP 401\\)`));
    const refused = await call(window, look);
    assert.equal(refused.ok, false);
    assert.match(refused.text, /Wiki did not accept the credential “Wiki credential” \(HTTP 401\).*Culvert: Replace Credential…/);
  });

  it('replaces a credential: the next call uses the new value, the old one is never sent again', async () => {
    const { window } = culvert();
    const [wiki] = peers;
    good.add('second-token-of-the-wiki');
    await window.tree('Credentials').inlineAction(name, 'Replace Credential');
    await window.inputBox('short', { title: `Replace ${name}`, submit: false });
    await complaint(window, /fewer than 8 characters/);
    await window.inputBox('second-token-of-the-wiki', { title: `Replace ${name}` });
    const before = wiki!.seen.length;
    await told(window, `${name} was replaced`);
    await window.clickNotification(`${name} was replaced. The next call uses it.`, 'Test It');
    await told(window, `${name} works`);
    const look = await window.startMcp(/_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
    assert.deepEqual(
      [...new Set(wiki!.seen.slice(before).map(({ headers }) => headers.authorization))],
      ['Bearer second-token-of-the-wiki'],
    );
  });

  it('renames a server', async () => {
    const { window } = culvert();
    await window.tree('Grants').contextMenu('Wiki', 'Edit Server…');
    await window.pick('Name', { title: 'Edit Server: Wiki' });
    await window.quickInputWith('The new name.');
    assert.equal(await typed(window), 'Wiki');
    await window.inputBox('Handbook', { title: 'Edit Server' });
    await window.tree('Grants').row('Handbook').waitFor();
    await window.tree('Credentials').waitDescription(name, /^Handbook · /);
    assert.deepEqual(await call(window, await window.startMcp(/handbook_look$/)), { ok: true, text: 'look done' });
  });

  it('asks what to do with the credential when a server moves to another origin', async () => {
    const { window } = culvert();
    const [wiki] = peers;
    const elsewhere = await startPeer();
    const look = await window.startMcp(/handbook_look$/);
    await window.command('Culvert: Edit Server…');
    await window.pick('Handbook', { title: 'Edit Server' });
    await window.pick('URL', { title: 'Edit Server: Handbook' });
    await window.quickInputWith('The URL of the MCP server.');
    assert.equal(await typed(window), wiki!.url);
    await window.inputBox(elsewhere.url, { title: 'Edit Server' });
    await window.quickInputWith('Another credential');
    assert.match(
      await window.inputPlaceholder(),
      new RegExp(`^${name} is bound to http://${wiki!.host}\\. What shall go to http://${elsewhere.host}\\?`),
    );
    assert.equal(elsewhere.seen.length, 0, 'nothing is sent there unasked');
    const before = wiki!.seen.length;
    await window.pick('The same credential');
    await window.tree('Credentials').waitDescription(name, new RegExp(elsewhere.host));
    // VS Code does not start it anew, which would cancel what is called at that moment: nothing is waited for.
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
    assert.equal(elsewhere.calls.length, 1);
    assert.equal(wiki!.seen.slice(before).filter(({ method }) => method === 'POST').length, 0, 'the old place is not called any more');

    good.add('third-token-of-the-wiki');
    await window.tree('Grants').contextMenu('Handbook', 'Edit Server…');
    await window.pick('URL', { title: 'Edit Server: Handbook' });
    await window.quickInputWith('The URL of the MCP server.');
    await window.inputBox(wiki!.url, { title: 'Edit Server' });
    await window.pick('Another credential');
    await window.pick('Bearer token', { title: 'Edit Server' });
    await window.quickInputWith('Edit Server (4/4)');
    await window.inputBox('third-token-of-the-wiki', { title: 'Edit Server (4/4)' });
    await window.tree('Credentials').waitDescription('Handbook credential', new RegExp(wiki!.host));
    await window.tree('Credentials').waitLabels(['Handbook credential']);
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
    assert.equal(wiki!.calls.at(-1)?.headers.authorization, 'Bearer third-token-of-the-wiki');
  });

  it('says when the server can’t be reached', async () => {
    const { window } = culvert();
    await peers[0]!.stop();
    await window.tree('Credentials').inlineAction('Handbook credential', 'Test Credential');
    await told(window, /Handbook credential could not be tested\. /);
    const { ok, text } = await call(window, await window.startMcp(/handbook_look$/));
    assert.equal(ok, false);
    assert.match(text, /^in the extension host: Error: .*Handbook/);
  });

  it('forgets a credential, after asking', async () => {
    const { window } = culvert();
    await window.tree('Credentials').inlineAction('Handbook credential', 'Forget Credential');
    assert.match(await window.dialog('Cancel'), /Forget Handbook credential\?[\s\S]*Handbook can’t be used until you enter another one/);
    assert.deepEqual(await window.tree('Credentials').labels(), ['Handbook credential']);
    await window.tree('Credentials').inlineAction('Handbook credential', 'Forget Credential');
    await window.dialog('Forget');
    await window.pane('Credentials').getByText('No credentials yet.').waitFor();
    await window.tree('Grants').row('Handbook').waitFor();
    assert.ok(!(await paletteCommands(window)).some((title) => /^(Replace|Test|Forget) Credential/.test(title)));
  });

  it('removes a server with its credential, after asking', async () => {
    const { window } = culvert();
    const peer = await startPeer();
    await addServer(window, { label: 'Second', url: peer.url, secret: 'third-token-of-the-wiki', start: 'Nothing' });
    await window.tree('Credentials').row('Second credential').waitFor();
    await window.tree('Grants').contextMenu('Second', 'Remove Server…');
    assert.match(await window.dialog('Remove'), /Remove Second from Culvert\?[\s\S]*Second credential is forgotten/);
    await window.tree('Credentials').waitLabels([]);
    await window.command('Culvert: Remove Server…');
    await window.pick('Handbook', { title: 'Remove Server' });
    await window.dialog('Remove');
    await window.pane('Grants').getByText('Add an MCP server, and Culvert keeps its key away').waitFor();
    await window.statusBarItem('Culvert: no access').waitFor();
    assert.ok(!(await paletteCommands(window)).includes('Edit Server…'));
    await window.command('Culvert: Add Server…');
    await window.inputBox('Second', { title: step(1) });
    await window.quickInputWith(step(2));
    await window.escape();
  });
});
