import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import type { Workbench } from '../harness/workbench.ts';
import { AuthorizationServer } from '../support/authorizationServer.ts';
import { FakeServer, answerJson, resultFor } from '../support/fakeServer.ts';
import { call, chooseStart, openViews, setSetting, step, told } from './actions.ts';

/** An MCP server with one tool, which takes the tokens of a real authorization server with real pages. */
class SignInServer {
  readonly server = new FakeServer();
  issuer: AuthorizationServer | undefined;
  /** Who called the tool, oldest first. */
  readonly callers: (string | undefined)[] = [];

  async start(): Promise<this> {
    await this.server.start();
    this.issuer = await AuthorizationServer.start(() => this.server.url, { pages: true, host: ELSEWHERE });
    this.server.behave = (seen, response) => {
      const metadataUrl = `${this.server.origin}/.well-known/oauth-protected-resource/mcp`;
      if (`${this.server.origin}${seen.url}` === metadataUrl) {
        const metadata = { resource: this.server.url, authorization_servers: [this.issuer?.issuer], scopes_supported: ['mcp:read'] };
        answerJson(response, JSON.stringify(metadata));
        return;
      }
      const token = seen.headers.authorization?.replace(/^Bearer /, '') ?? '';
      void this.issuer?.find(token, this.server.url).then((found) => {
        if (!found) response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadataUrl}", scope="mcp:read"` }).end();
        else if (seen.method !== 'POST') response.writeHead(405).end();
        else {
          const { method } = JSON.parse(seen.body.toString()) as { method: string };
          if (method === 'tools/call') this.callers.push(found.account);
          const result = RESULTS[method];
          if (result === undefined) response.writeHead(method.startsWith('notifications/') ? 202 : 404).end();
          else answerJson(response, resultFor(seen, result));
        }
      });
    };
    return this;
  }

  async stop(): Promise<void> {
    await this.issuer?.stop();
    await this.server.stop();
  }
}

/** An address of this machine that VS Code does not take for a port of a remote one, which it would forward. */
const ELSEWHERE = '::1';

const RESULTS: Readonly<Record<string, unknown>> = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'tracker', version: '1' } },
  'tools/list': { tools: [{ name: 'look', description: 'Looks.', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } }] },
  'tools/call': { content: [{ type: 'text', text: 'looked' }] },
};

describe('Signing in', () => {
  const culvert = useCulvert();
  let server: SignInServer;
  before(async () => {
    server = await new SignInServer().start();
  });
  after(() => server.stop());

  /** The browser tab that the editor opens, once the user agreed to leave the editor where VS Code asks. */
  const tabOf = async (window: Workbench, open: () => Promise<unknown>): Promise<Page> => {
    const tab = window.page.context().waitForEvent('page');
    await open();
    const opened = tab.then((page) => page);
    const dialog = window.page.locator('.monaco-dialog-box', { hasText: 'external website' });
    await Promise.race([
      opened,
      dialog.waitFor().then(() => dialog.locator('.dialog-buttons .monaco-button', { hasText: 'Open' }).first().click()),
    ]);
    return opened;
  };
  /** Signs in and agrees on the pages of the authorization server. */
  const signInAs = async (tab: Page, account: string): Promise<void> => {
    await tab.locator('input[name=login]').fill(account);
    await tab.locator('input[name=password]').fill('anything');
    await tab.locator('button[type=submit]').click();
    await tab.locator('button[type=submit]', { hasText: 'Continue' }).click();
  };

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
