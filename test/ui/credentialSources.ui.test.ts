import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { useCulvert } from '../harness/openCulvert.ts';
import { FakeVault } from '../support/fakeVault.ts';
import { temporaryFolder } from '../support/folders.ts';
import { addServer, call, chooseStart, complaint, openViews, step, told } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';
import { noteSecret } from '../support/noted.ts';

describe('Credentials from elsewhere', () => {
  const culvert = useCulvert();
  const folder = temporaryFolder();
  const token = path.join(folder.path, 'token');
  const values = [1, 2].map((n) => noteSecret(['value', 'of', 'the', 'command', String(n)].join('-')));
  const good = new Set<string>();
  let peer: McpPeer;
  const command = `${process.execPath} -p "require('fs').readFileSync('${token}','utf8')"`;
  const lastSent = () => peer.calls.at(-1)?.headers.authorization;

  before(async () => {
    peer = await new McpPeer(({ headers }) => good.has(headers.authorization?.replace(/^(Bearer|token) /, '') ?? '')).start();
  });
  beforeEach(() => culvert().window.clearNotifications());
  after(async () => {
    await peer.stop();
    folder.remove();
  });

  it('a command is shown whole, confirmed, and asked; steps go back', async () => {
    const { window } = culvert();
    fs.writeFileSync(token, values[0]!);
    good.add(values[0]!);
    await window.command('Culvert: Add Server…');
    await window.inputBox('Wiki', { title: step(1) });
    await window.pick('At a URL', { title: step(2) });
    await window.inputBox(peer.url, { title: step(3) });
    await window.pick('With a secret from elsewhere…', { title: step(4) });
    await window.pick('A variable of the environment', { title: step(5) });
    await window.quickInputWith('The variable, as it is set');
    await window.inputBox('not a variable', { submit: false });
    await complaint(window, /named with letters/);
    await window.quickInputButton('Back');
    await window.quickInputWith('HashiCorp Vault or OpenBao');
    await window.pick('A command', { title: step(5) });
    await window.quickInputWith('Another command…');
    await window.pick('Another command…');
    await window.quickInputWith('The command that prints the secret.');
    await window.inputBox(command);
    await window.quickInputWith('Whatever it looks like');
    await window.pick('Whatever it looks like');
    const shown = await window.dialog('Run');
    assert.match(shown, /Run this command for the secret\?/);
    assert.ok(shown.includes(process.execPath) && shown.includes(token), shown);
    await window.quickInputWith(step(6));
    await window.pick('Bearer token', { title: step(6) });
    await chooseStart(window, 'Wiki', 'Tools that only read');
    await openViews(window, 'Grants', 'Credentials');
    await window.tree('Credentials').waitDescription('Wiki credential', /from command .*never used/);
    assert.deepEqual(await call(window, await window.startMcp(/_look$/)), { ok: true, text: 'look done' });
    assert.equal(lastSent(), `Bearer ${values[0]}`);
  });

  it('another value is used as soon as the server refuses the old one; the agent sees nothing of it', async () => {
    const { window } = culvert();
    good.clear();
    good.add(values[1]!);
    fs.writeFileSync(token, values[1]!);
    assert.deepEqual(await call(window, await window.startMcp(/_look$/)), { ok: true, text: 'look done' });
    assert.equal(lastSent(), `Bearer ${values[1]}`);
  });

  it('a source that fails is told once, with its step; the test says so too', async () => {
    const { window } = culvert();
    fs.rmSync(token);
    await window.tree('Credentials').inlineAction('Wiki credential', 'Test Credential');
    await told(window, /Wiki credential can’t be used \(command\)\. .* ended with code 1/);
    await window.tree('Credentials').waitDescription('Wiki credential', /failed: command/);
    fs.writeFileSync(token, values[1]!);
    await window.tree('Credentials').inlineAction('Wiki credential', 'Test Credential');
    await told(window, /Wiki credential works: Wiki answered and lists 2 tools\. .* gave a value\./);
  });

  it('a sign-in of the editor: its token goes out, a renewed one with the next call', async () => {
    const { window } = culvert();
    await window.tree('Credentials').inlineAction('Wiki credential', 'Replace Credential');
    await window.pick('Let it come from elsewhere', { title: 'Replace Wiki credential' });
    await window.quickInputWith('HashiCorp Vault or OpenBao');
    await window.pick('A sign-in of the editor');
    await window.quickInputWith('Test Sign-In');
    await window.pick('Test Sign-In');
    await window.quickInputWith('What the token is to be good for');
    await window.inputBox('wiki.read');
    await window.dialog('Allow');
    await told(window, 'Wiki credential was replaced. The next call uses it.');
    for (const n of [1, 2]) good.add(noteSecret(['session', 'token', 'of', 'mila', String(n)].join('-')));
    const look = await window.startMcp(/_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
    assert.equal(lastSent(), 'Bearer session-token-of-mila-1');
    await window.exec('culvert-test.renew');
    assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
    assert.equal(lastSent(), 'Bearer session-token-of-mila-2');
    await window.tree('Credentials').waitDescription('Wiki credential', /from culvert-test session of Mila/);
    assert.match(await window.tree('Credentials').tooltip('Wiki credential'), /Scopes: wiki.read/);
  });

  it('a HashiCorp Vault: its token goes there alone, the field to the server', async () => {
    const { window } = culvert();
    const vault = await new FakeVault().start();
    const key = noteSecret(['token', 'for', 'the', 'vault'].join('-'));
    const value = noteSecret(['value', 'in', 'the', 'vault'].join('-'));
    vault.tokens.add(key);
    vault.kv.set('secret/team/wiki', { token: value });
    good.add(value);
    try {
      await window.tree('Credentials').inlineAction('Wiki credential', 'Replace Credential');
      await window.pick('Let it come from elsewhere', { title: 'Replace Wiki credential' });
      await window.quickInputWith('HashiCorp Vault or OpenBao');
      await window.pick('HashiCorp Vault or OpenBao');
      await window.quickInputWith('The address of the Vault.');
      await window.inputBox('http://vault.example.com', { submit: false });
      await complaint(window, /Plain http:\/\/ is for this machine only/);
      await window.inputBox(vault.address);
      await window.quickInputWith('The namespace.');
      await window.inputBox('');
      await window.quickInputWith('With AppRole');
      await window.pick('With a token');
      await window.quickInputWith('The token.');
      await window.inputBox(key);
      await window.quickInputWith('A stored secret');
      await window.pick('A stored secret');
      await window.quickInputWith('Mount and path of the secret.');
      await window.inputBox('secret/team/wiki');
      await window.quickInputWith('The field that holds the value.');
      await window.inputBox('token');
      await told(window, 'Wiki credential was replaced. The next call uses it.');
      assert.deepEqual(await call(window, await window.startMcp(/_look$/)), { ok: true, text: 'look done' });
      assert.equal(lastSent(), `Bearer ${value}`);
      assert.deepEqual([...new Set(vault.seen.map((seen) => seen.token))], [key]);
      await window.clearNotifications();
      await window.tree('Credentials').inlineAction('Wiki credential', 'Test Credential');
      await told(window, /Wiki credential works: .* Vault takes the token \(policies default, reader/);
    } finally {
      await vault.stop();
    }
  });

  it('Add Credential puts one more beside', async () => {
    const { window } = culvert();
    await addServer(window, { label: 'Open', url: peer.url, secret: values[1]!, start: 'Nothing' });
    await window.command('Culvert: Add Credential…');
    await window.pick('Open', { title: 'Add Credential' });
    await window.pick('Cookie', { title: 'Add Credential' });
    await window.quickInputWith('Name of the cookie.');
    await window.inputBox('sid', { title: 'Add Credential' });
    await window.quickInputWith('The secret.');
    await window.inputBox('value-of-the-cookie', { title: 'Add Credential' });
    await window.tree('Credentials').row('Open credential 2').waitFor();
  });
});
