import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { addServer, callAndAnswer, openViews, told } from './actions.ts';
import { actsOn } from './history.ts';
import { McpPeer } from './mcpPeer.ts';
import { filesWith } from './secretScan.ts';

describe('Servers that a workspace names', () => {
  const culvert = useCulvert({ upstream: true });
  const elsewhere = new McpPeer();
  before(() => elsewhere.start());
  after(() => elsewhere.stop());
  const file = () => path.join(culvert().workspace, '.vscode/culvert.json');
  const write = (url: string) => {
    fs.mkdirSync(path.dirname(file()), { recursive: true });
    const credentials = [{ reference: '${culvert:issues-token}', placement: { kind: 'bearer' }, hint: 'Ask Kim.' }];
    fs.writeFileSync(file(), JSON.stringify({ version: 1, servers: { issues: { type: 'http', url, credentials } } }));
  };

  it('are asked about before they count, and get a value of one’s own', async () => {
    const { window, upstream, server } = culvert();
    write(upstream.url);
    await told(window, 'This workspace names MCP servers for Culvert: issues');
    await window.clickNotification('This workspace names MCP servers', 'Review…');
    const text = await window.dialog('Set Up');
    assert.ok(text.includes(upstream.url), text);
    assert.match(text, /credential issues-token: bearer token; the repository says: “Ask Kim\.”/);
    await window.inputBox(upstream.token, { title: 'Seal issues-token' });
    await told(window, 'issues is set up for this workspace');
    await openViews(window, 'Grants');
    const echo = await window.startMcp(/_echo$/);
    assert.deepEqual(await callAndAnswer(window, { id: echo, name: 'echo' }, { message: 'own value' }, 'Allow once'), {
      ok: true,
      text: 'Echo: own value',
    });
    assert.deepEqual(filesWith(server.runFolder, upstream.token), []);
  });

  it('can’t lead a known server to another place: that place gets nothing, and it is on the record', async () => {
    const { window, upstream, server } = culvert();
    await window.clearNotifications();
    // An MCP server that would take any credential.
    write(elsewhere.url);
    await told(window, 'This workspace names MCP servers for Culvert: issues');
    await window.clickNotification('This workspace names MCP servers', 'Review…');
    assert.match(await window.dialog('Set Up'), /you have a credential of that name; it is not used unless it goes there already/);
    // A value is asked for anew, and declined: nothing is set up.
    await window.quickInputWith('Seal issues-token');
    await window.escape();
    await until(async () => (await window.paletteItems('Culvert: Seal')).includes('Culvert: Seal Missing Credentials…'), {
      what: 'the missing credential to be named',
    });
    // The server of that name stays where it was, for agents too.
    const echo = await window.startMcp(/_echo$/);
    assert.deepEqual(await callAndAnswer(window, { id: echo, name: 'echo' }, { message: 'as before' }, 'Allow once'), {
      ok: true,
      text: 'Echo: as before',
    });
    assert.deepEqual(elsewhere.seen, []);
    const acts = actsOn(culvert(), 'server-elsewhere');
    assert.equal(acts.length, 1);
    assert.ok(acts[0]?.includes(`leads “issues” to ${new URL(elsewhere.url).host} instead of ${new URL(upstream.url).host}`), acts[0]);
    assert.deepEqual(filesWith(server.runFolder, upstream.token), []);
  });

  it('set up with a value of its own there, only that one goes there', async () => {
    const { window, upstream } = culvert();
    const own = ['own', 'value', 'for', 'elsewhere'].join('-');
    await window.command('Culvert: Seal Missing Credentials…');
    await window.inputBox(own, { title: 'Seal issues-token' });
    await told(window, 'issues is set up for this workspace');
    assert.deepEqual(await callAndAnswer(window, { id: await window.startMcp(/_look$/), name: 'look' }, {}, 'Allow once'), {
      ok: true,
      text: 'look done',
    });
    const sent = elsewhere.seen.flatMap(({ headers }) => headers.authorization ?? []);
    assert.deepEqual([...new Set(sent)], [`Bearer ${own}`]);
    assert.ok(!JSON.stringify(elsewhere.seen.map(({ headers }) => headers)).includes(upstream.token));
  });

  it('stay away once declined', async () => {
    const { window, upstream } = culvert();
    await window.clearNotifications();
    fs.writeFileSync(file(), '{ "version": 1, "servers": { "plain": { "type": "http", "url": "https://plain.example/mcp" } } }');
    await told(window, 'This workspace names MCP servers for Culvert: plain');
    await window.clickNotification('This workspace names MCP servers', 'Never');
    await told(window, 'Culvert leaves plain alone and does not ask again');
    await window.clickNotification('Culvert leaves plain alone', 'Undo');
    await told(window, 'This workspace names MCP servers for Culvert: plain');
    await window.clickNotification('This workspace names MCP servers', 'Never');
    const isNamed = async () => (await window.paletteItems('Culvert: Seal')).includes('Culvert: Seal Missing Credentials…');
    await until(async () => !(await isNamed()), { what: 'the answer to be remembered' });
    await window.reload();
    await window.statusBarItem(/Culvert/).waitFor();
    await addServer(window, { label: 'Marker', url: upstream.url, secret: upstream.token, start: 'Nothing' });
    assert.ok(!(await window.notifications()).some((text) => text.includes('This workspace names')));
    assert.equal(await isNamed(), false);
  });
});
