import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { call, chooseStart, openViews, setSetting, step, told } from './actions.ts';
import { SignInServer, signInAs, tabOf } from './signInServer.ts';

describe('Signing in', () => {
  const culvert = useCulvert();
  let server: SignInServer;
  before(async () => {
    server = await new SignInServer().start();
  });
  after(() => server.stop());

  it('asks before the browser opens, signs in, comes back through a port of this machine, and the server is there', async () => {
    const { window } = culvert();
    await setSetting(window, 'culvert.signIn.callback', 'loopback');
    await window.command('Culvert: Add Server…');
    await window.inputBox('Tracker', { title: step(1) });
    await window.pick('At a URL', { title: step(2) });
    await window.inputBox(server.server.url, { title: step(3) });
    await window.pick('Sign in', { title: step(4) });
    let consent = '';
    const tab = await tabOf(window, async () => {
      consent = await window.dialog('Sign In');
    });
    assert.match(consent, /Sign in to Tracker\?/);
    assert.ok(consent.includes(new URL(server.server.url).host));
    assert.ok(consent.includes(server.issuer?.issuer ?? '-'));
    assert.match(consent, /It asks for: mcp:read/);
    await signInAs(tab, 'ada');
    await tab.getByText('You can close this tab').waitFor();
    await tab.close();
    await chooseStart(window, 'Tracker', 'Tools that only read');
    const look = await window.startMcp(/_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'looked' });
    assert.deepEqual(server.callers, ['ada']);
    await openViews(window, 'Credentials');
    await window.tree('Credentials').row('Tracker credential').waitFor();
  });

  it('another window uses it without a second sign-in', async () => {
    const other = await culvert().openWindow();
    const look = await other.startMcp(/_look$/);
    assert.deepEqual(await call(other, look), { ok: true, text: 'looked' });
    assert.equal(server.issuer?.tokenRequests('authorization_code').length, 1);
    await other.page.close();
  });

  it('a sign-in that is declined ends cleanly and leaves what was there', async () => {
    const { window } = culvert();
    await window.command('Culvert: Sign In…');
    await window.pick('Tracker credential', { title: 'Sign In' });
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    await tab.getByText('Cancel').first().click();
    await told(window, /was declined there, so nothing was stored/);
    await tab.close();
    const look = await window.startMcp(/_look$/);
    assert.deepEqual(await call(window, look), { ok: true, text: 'looked' });
  });

  it('cancelled while the browser is open, nothing can finish it any more', async () => {
    const { window } = culvert();
    const before = server.issuer?.tokenRequests('authorization_code').length;
    await window.command('Culvert: Sign In…');
    await window.pick('Tracker credential', { title: 'Sign In' });
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    await window.clickNotification(/waiting for you to sign in to Tracker/, 'Cancel');
    await until(async () => !(await window.notifications()).some((text) => text.includes('waiting for you')), { what: 'the wait to end' });
    await tab.close();
    assert.equal(server.issuer?.tokenRequests('authorization_code').length, before);
  });

  it('comes back through the editor’s own address', async () => {
    const { window } = culvert();
    await setSetting(window, 'culvert.signIn.callback', 'editor');
    await window.command('Culvert: Sign In…');
    await window.pick('Tracker credential', { title: 'Sign In' });
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    const agree = tab.locator('button[type=submit]').first();
    await agree.waitFor();
    if (await tab.locator('input[name=login]').isVisible()) await signInAs(tab, 'ada');
    else await agree.click();
    await told(window, /You are signed in to Tracker/);
    await tab.close().catch(() => undefined);
  });
});
