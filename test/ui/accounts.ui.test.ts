import assert from 'node:assert/strict';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { call, chooseStart, openViews, setSetting, step, told } from './actions.ts';
import { filesWith } from './secretScan.ts';
import { SignInServer, signInAs, tabOf } from './signInServer.ts';

/** Short enough that a token ends while the tests run. */
const TOKEN_SECONDS = 8;

describe('Accounts', () => {
  const culvert = useCulvert();
  let server: SignInServer;
  let second: Workbench;
  before('sign in as ada', async function () {
    this.timeout(90_000);
    server = await new SignInServer().start({ accessTokenSeconds: TOKEN_SECONDS });
    server.scope = 'mcp:read openid';
    const { window } = culvert();
    await setSetting(window, 'culvert.signIn.callback', 'loopback');
    await window.command('Culvert: Add Server…');
    await window.inputBox('Tracker', { title: step(1) });
    await window.pick('At a URL', { title: step(2) });
    await window.inputBox(server.server.url, { title: step(3) });
    await window.pick('Sign in', { title: step(4) });
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    await signInAs(tab, 'ada');
    await tab.getByText('You can close this tab').waitFor();
    await tab.close();
    await chooseStart(window, 'Tracker', 'Tools that only read');
    second = await culvert().openWindow();
  });
  after(() => server.stop());
  beforeEach(() => culvert().window.clearNotifications());

  const look = async (window: Workbench) => call(window, await window.startMcp(/_look$/));
  /** Forgets who is signed in at the authorization server, as another browser profile would. */
  const signOutThere = () => culvert().window.page.context().clearCookies({ domain: /::1/ });

  it('one sign-in serves two windows', async () => {
    for (const window of [culvert().window, second]) assert.deepEqual(await look(window), { ok: true, text: 'looked' });
    assert.deepEqual(server.callers, ['ada', 'ada']);
    assert.equal(server.issuer?.tokenRequests('authorization_code').length, 1);
    await openViews(second, 'Credentials');
    await second.tree('Credentials').waitDescription('Tracker credential', /^ada /);
  });

  it('Switch Account… adds another one, and a workspace uses it in both windows', async () => {
    const { window } = culvert();
    await signOutThere();
    await window.page.bringToFront();
    await window.command('Culvert: Switch Account…');
    await window.pick('Tracker', { title: 'Culvert: Switch Account' });
    await window.quickInputWith('Another account…');
    assert.deepEqual(
      (await window.pickItems()).map((item) => /ada|Another/.exec(item)?.[0]),
      ['ada', 'Another'],
    );
    await window.pick('Another account…');
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    await signInAs(tab, 'bob');
    await tab.getByText('You can close this tab').waitFor();
    await tab.close();
    await window.pick('In this workspace', { title: 'Use Tracker as bob' });
    await told(window, 'Tracker is used as bob in this workspace.');
    const before = server.callers.length;
    for (const each of [window, second]) assert.deepEqual(await look(each), { ok: true, text: 'looked' });
    assert.deepEqual(server.callers.slice(before), ['bob', 'bob']);
  });

  it('and back, without a browser', async () => {
    const { window } = culvert();
    await window.command('Culvert: Switch Account…');
    await window.pick('Tracker', { title: 'Culvert: Switch Account' });
    await window.quickInputWith('Another account…');
    await window.pick('ada');
    await window.pick('Everywhere', { title: 'Use Tracker as ada' });
    await told(window, 'Tracker is used as ada from now on.');
    assert.deepEqual(await look(window), { ok: true, text: 'looked' });
    assert.equal(server.callers.at(-1), 'ada');
    assert.equal(server.issuer?.tokenRequests('authorization_code').length, 2);
  });

  it('signing in as somebody else changes nothing and says so', async () => {
    const { window } = culvert();
    await signOutThere();
    await window.command('Culvert: Sign In…');
    await window.pick('Tracker credential', { title: 'Sign In' });
    let consent = '';
    const tab = await tabOf(window, async () => {
      consent = await window.dialog('Sign In');
    });
    assert.match(consent, /Account so far: ada/);
    await signInAs(tab, 'carol');
    await told(window, /You signed in as carol, but “Tracker credential” is for ada\. Nothing was changed/);
    await tab.close();
    assert.deepEqual(await look(window), { ok: true, text: 'looked' });
    assert.equal(server.callers.at(-1), 'ada');
  });

  it('a sign-in that has ended is told once, however many calls fail, and renewed from there; the other window goes on with it', async () => {
    const { window } = culvert();
    const { issuer } = server;
    assert.ok(issuer);
    await signOutThere();
    // The authorization server takes the refresh token back, and some seconds later the last access token is over.
    issuer.intercept = ({ body }, response) => {
      if (body.get('grant_type') !== 'refresh_token') return false;
      response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error: 'invalid_grant' }));
      return true;
    };
    const tool = await window.startMcp(/_look$/);
    const first = await until(
      async () => {
        const result = await call(window, tool);
        return result.ok ? undefined : result;
      },
      { what: 'the access token to end', timeoutMs: 3 * TOKEN_SECONDS * 1000, intervalMs: 200 },
    );
    for (const { ok, text } of [first, await call(window, tool), await call(window, tool)]) {
      assert.equal(ok, false);
      assert.match(text, /The sign-in of “Tracker credential” at .* has ended\. Sign in again\./);
    }
    await told(window, /has ended\. Sign in again\./);
    const shown = async () => (await window.notifications()).filter((text) => text.includes('has ended'));
    assert.equal((await shown()).length, 1);
    await openViews(window, 'Credentials');
    await window.tree('Credentials').waitDescription('Tracker credential', /failed: sign-in/);
    issuer.intercept = undefined;
    await window.clickNotification(/has ended\. Sign in again\./, 'Sign in Again');
    const tab = await tabOf(window, () => window.dialog('Sign In'));
    await signInAs(tab, 'ada');
    await tab.getByText('You can close this tab').waitFor();
    await tab.close();
    await told(window, /You are signed in to Tracker as ada/);
    const before = server.callers.length;
    for (const each of [window, second]) assert.deepEqual(await look(each), { ok: true, text: 'looked' });
    assert.deepEqual(server.callers.slice(before), ['ada', 'ada']);
    await until(async () => (await shown()).length === 0, { what: 'the reminder to be gone' });
  });

  it('no token stands in any file of the editor', () => {
    for (const token of server.issuer?.given ?? []) assert.deepEqual(filesWith(culvert().server.runFolder, token), []);
  });
});
