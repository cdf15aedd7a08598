import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { call, callAndAnswer, choose, chooseStart, complaint, openViews, step, typed } from './actions.ts';
import { noteSecret } from '../support/noted.ts';

const EVERYTHING = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');

describe('A server that is a command', () => {
  const culvert = useCulvert();
  const secret = noteSecret(['made', 'up', 'key', 'of', 'the', 'process'].join('-'));
  const command = `${process.execPath} ${EVERYTHING} stdio`;

  it('is shown whole and confirmed before it is started, and goes back where it is declined', async () => {
    const { window } = culvert();
    await window.command('Culvert: Add Server…');
    await window.inputBox('Everything', { title: step(1) });
    await window.pick('By a command', { title: step(2) });
    await window.inputBox('run | tee log', { title: step(3), submit: false });
    await complaint(window, /without a shell/);
    await window.inputBox(`MODE=demo ${command}`, { title: step(3) });
    await window.pick('Environment variable', { title: step(4) });
    await window.inputBox('NODE_OPTIONS', { title: step(5), submit: false });
    await complaint(window, /decides what the process runs/);
    await window.inputBox('DEMO_KEY', { title: step(5) });
    await window.inputBox(secret, { title: step(6) });
    const shown = await window.dialog('Cancel');
    assert.match(shown, /Start this command on this machine\?/);
    for (const part of [process.execPath, EVERYTHING, 'Argument 2: stdio', 'Variable MODE: demo', 'Variable DEMO_KEY: the secret'])
      assert.ok(shown.includes(part), `${part} in ${shown}`);
    assert.ok(!shown.includes(secret));
    await window.quickInputWith(step(3));
    assert.equal(await typed(window), `MODE=demo ${command}`);
    await window.inputBox(`MODE=demo ${command}`, { title: step(3) });
    await window.pick('Environment variable', { title: step(4) });
    await window.inputBox('DEMO_KEY', { title: step(5) });
    await window.inputBox('', { title: step(6) });
    await window.dialog('Start');
    await chooseStart(window, 'Everything', 'Ask every time');
  });

  it('is called like any other, and its secret does not come back', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants', 'Credentials');
    await window.tree('Credentials').waitDescription('Everything credential', /the process has it, in DEMO_KEY/);
    const environment = await window.startMcp(/_get-env$/);
    const { ok, text } = await callAndAnswer(window, { id: environment, name: 'get-env' }, {}, 'Allow once');
    assert.equal(ok, true, text);
    assert.match(text, /"MODE":\s*"demo"/);
    assert.match(text, /DEMO_KEY[^,]*⟦culvert: Everything credential redacted⟧/);
    assert.ok(!text.includes(secret));
    await openViews(window, 'Leak Warnings');
    await window.pane('Leak Warnings').getByText('Everything credential').first().waitFor();
  });

  it('is confirmed again when it changes, and asks what its secret is for now', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants', 'Credentials');
    await choose(window.tree('Grants'), 'echo', /^Allow$/, /^allowed$/);
    await window.command('Culvert: Edit Server…');
    await window.pick('Everything', { title: 'Edit Server' });
    await window.pick('Command', { title: 'Edit Server: Everything' });
    await window.quickInputWith('The command that starts the server');
    await window.inputBox(`MODE=changed ${command}`, { title: 'Edit Server' });
    await window.quickInputWith('Another credential');
    assert.match(await window.inputPlaceholder(), /^Everything credential is bound to the old command\. What shall go to /);
    await window.pick('The same credential');
    assert.match(await window.dialog('Start'), /Variable MODE: changed/);
    await window.tree('Credentials').waitDescription('Everything credential', /DEMO_KEY/);
    const environment = await window.startMcp(/_get-env$/);
    // Until VS Code has noticed, its connection is that to the old command, and ends.
    await until(async () => (await call(window, environment.replace('get-env', 'echo'), { message: 'new' })).ok, {
      what: 'the new command',
    });
    const { text } = await callAndAnswer(window, { id: environment, name: 'get-env' }, {}, 'Allow once');
    assert.match(text, /"MODE":\s*"changed"/);
    assert.match(text, /DEMO_KEY[^,]*redacted⟧/);
  });
});
