/** An MCP server that is signed in to, for the suites that do it in the editor, and what a user does in the browser. */
import type { Page } from 'playwright-core';
import type { Workbench } from '../harness/workbench.ts';
import { AuthorizationServer, type AuthorizationServerOptions } from '../support/authorizationServer.ts';
import { FakeServer, answerJson, resultFor } from '../support/fakeServer.ts';

/** An MCP server with one tool, which takes the tokens of a real authorization server with real pages. */
export class SignInServer {
  readonly server = new FakeServer();
  issuer: AuthorizationServer | undefined;
  /** Who called the tool, oldest first. */
  readonly callers: (string | undefined)[] = [];
  /** What it asks for. */
  scope = 'mcp:read';

  /** `options`: how the authorization server differs. */
  async start(options: AuthorizationServerOptions = {}): Promise<this> {
    await this.server.start();
    this.issuer = await AuthorizationServer.start(() => this.server.url, { pages: true, host: ELSEWHERE, ...options });
    this.server.behave = (seen, response) => {
      const metadataUrl = `${this.server.origin}/.well-known/oauth-protected-resource/mcp`;
      if (`${this.server.origin}${seen.url}` === metadataUrl) {
        const metadata = {
          resource: this.server.url,
          authorization_servers: [this.issuer?.issuer],
          scopes_supported: this.scope.split(' '),
        };
        answerJson(response, JSON.stringify(metadata));
        return;
      }
      const token = seen.headers.authorization?.replace(/^Bearer /, '') ?? '';
      void this.issuer?.find(token, this.server.url).then((found) => {
        if (!found)
          response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${metadataUrl}", scope="${this.scope}"` }).end();
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

/** The browser tab that the editor opens, once the user agreed to leave the editor where VS Code asks. */
export async function tabOf(window: Workbench, open: () => Promise<unknown>): Promise<Page> {
  const tab = window.page.context().waitForEvent('page');
  await open();
  const opened = tab.then((page) => page);
  const dialog = window.page.locator('.monaco-dialog-box', { hasText: 'external website' });
  await Promise.race([
    opened,
    dialog.waitFor().then(() => dialog.locator('.dialog-buttons .monaco-button', { hasText: 'Open' }).first().click()),
  ]);
  return opened;
}

/** Signs in and agrees on the pages of the authorization server. */
export async function signInAs(tab: Page, account: string): Promise<void> {
  await tab.locator('input[name=login]').fill(account);
  await tab.locator('input[name=password]').fill('anything');
  await tab.locator('button[type=submit]').click();
  await tab.locator('button[type=submit]', { hasText: 'Continue' }).click();
}
