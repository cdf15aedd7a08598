import assert from 'node:assert/strict';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { useCulvert } from '../harness/openCulvert.ts';
import { until } from '../harness/until.ts';
import { selfSigned } from '../support/certificate.ts';
import { call, chooseStart, fillAddServer, openViews } from './actions.ts';
import { McpPeer } from './mcpPeer.ts';
import { noteSecret } from '../support/noted.ts';

interface PageElement {
  readonly style: { color: string };
  querySelector(selector: string): PageElement | null;
  appendChild(child: PageElement): PageElement;
  remove(): void;
}

/** What of a browser's page this test reads. */
interface Page {
  readonly document: { readonly body: PageElement; createElement(name: string): PageElement };
  getComputedStyle(element: PageElement): { readonly color: string; getPropertyValue(name: string): string };
}

/** Puts TLS in front of a peer. */
async function withTls(peer: McpPeer, certificate: { readonly key: string; readonly cert: string }): Promise<https.Server> {
  const server = https.createServer(certificate, (incoming, outgoing) => {
    const onward = http.request(peer.url, { method: incoming.method, headers: { ...incoming.headers, host: peer.host } }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

describe('TLS', () => {
  const culvert = useCulvert();
  const secret = noteSecret(['token', 'behind', 'tls'].join('-'));
  let peer: McpPeer;
  let front: https.Server;
  let url = '';
  before(async () => {
    peer = await new McpPeer(({ headers }) => headers.authorization === `Bearer ${secret}`).start();
    front = await withTls(peer, selfSigned());
    url = `https://127.0.0.1:${(front.address() as AddressInfo).port}/mcp`;
  });
  after(async () => {
    front.closeAllConnections();
    front.close();
    await peer.stop();
  });

  it('shows a certificate that nobody vouches for, and trusts exactly it', async () => {
    const { window } = culvert();
    await window.command('Culvert: Add Server…');
    await fillAddServer(window, { label: 'Vault', url, secret });
    await window.quickInputWith(/its certificate is self-signed/);
    assert.equal(peer.seen.length, 0, 'nothing was sent');
    await window.pick('Look at its certificate');
    const shown = await window.dialog('Trust It');
    assert.match(shown, /Trust the certificate of 127\.0\.0\.1:\d+\?/);
    assert.match(shown, /SHA-256 of its key: [A-Za-z0-9+/]{43}=/);
    await chooseStart(window, 'Vault', 'Tools that only read');
    assert.deepEqual(await call(window, await window.startMcp(/vault_look$/)), { ok: true, text: 'look done' });
  });

  it('lets no other key pass, and says what was seen', async () => {
    const { window } = culvert();
    const { port } = front.address() as AddressInfo;
    front.closeAllConnections();
    await new Promise((resolve) => front.close(resolve));
    front = https.createServer(selfSigned(), (_request, response) => response.end());
    await new Promise<void>((resolve) => front.listen(port, '127.0.0.1', resolve));
    const before = peer.seen.length;
    const { ok, text } = await call(window, await window.startMcp(/vault_look$/));
    assert.equal(ok, false);
    assert.match(text, /Vault: .*(certificate|key)/);
    assert.equal(peer.seen.length, before);
  });

  it('shows in red that certificates are not checked', async () => {
    const { window } = culvert();
    await openViews(window, 'Grants');
    await window.tree('Grants').contextMenu('Vault', 'Edit Server…');
    await window.pick('TLS', { title: 'Edit Server: Vault' });
    await window.pick('Don’t check certificates', { title: 'Edit Server: Vault' });
    assert.match(await window.dialog('Don’t Check'), /Anybody on the way to it could read its credential/);
    await window.tree('Grants').waitDescription('Vault', 'certificates not checked');
    // A row that is selected has the colours of the selection.
    await window.tree('Grants').row('look').click();
    const label = window.tree('Grants').row('Vault').locator('.monaco-icon-label').first();
    await until(
      () =>
        label.evaluate((element) => {
          // Code of the page, where there is a DOM.
          const page = globalThis as unknown as Page;
          const host = element as unknown as PageElement;
          const probe = page.document.body.appendChild(page.document.createElement('span'));
          probe.style.color = page.getComputedStyle(host).getPropertyValue('--vscode-errorForeground');
          const [red, drawn] = [probe, host.querySelector('.label-name') ?? host].map((each) => page.getComputedStyle(each).color);
          probe.remove();
          return red === drawn;
        }),
      { what: 'the row to be red' },
    );
    await window.tree('Grants').contextMenu('Vault', 'Edit Server…');
    await window.pick('TLS', { title: 'Edit Server: Vault' });
    await window.pick('Check certificates again', { title: 'Edit Server: Vault' });
    await window.tree('Grants').waitDescription('Vault', '1 of 2 allowed');
  });
});
