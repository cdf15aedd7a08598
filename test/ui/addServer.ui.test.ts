import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { useCulvert } from '../harness/openCulvert.ts';
import {
  addServer,
  call,
  callAndAnswer,
  chooseStart,
  complaint,
  fillAddServer,
  isOffered,
  openViews,
  step,
  typed,
  type NewServer,
} from './actions.ts';
import { McpPeer } from './mcpPeer.ts';
import { filesWith, pagePlacesWith, processesWith } from './secretScan.ts';

describe('Add Server', () => {
  const culvert = useCulvert({ upstream: true });
  const closers: (() => Promise<unknown>)[] = [];
  after(async () => {
    for (const close of closers.splice(0)) await close();
  });

  it('begins with one sentence and a button', async () => {
    const { window } = culvert();
    await window.openView('Culvert');
    const empty = window.pane('Grants').locator('.welcome-view-content');
    await empty.getByText('Add an MCP server, and Culvert keeps its key away from agents').waitFor();
    await window.statusBarItem('Culvert: no access').waitFor();
    await empty.getByRole('button', { name: 'Add Server…' }).click();
    await window.quickInputWith(step(1));
    await window.escape();
    await window.quickInput.waitFor({ state: 'hidden' });
  });

  it('says what is wrong with a name, a URL and a secret', async () => {
    const { window, upstream } = culvert();
    await window.command('Culvert: Add Server…');
    await window.inputBox('', { title: step(1) });
    await complaint(window, /Enter a name/);
    await window.inputBox('Tracker\u200b', { title: step(1), submit: false });
    await complaint(window, /invisible characters/);
    await window.inputBox('Issue Tracker', { title: step(1) });
    await window.pick('At a URL', { title: step(2) });

    const refusedUrls: [url: string, complaint: RegExp][] = [
      ['tracker', /Enter a whole URL/],
      ['ftp://tracker.example/mcp', /must begin with https:\/\/ or http:\/\//],
      ['http://tracker.example/mcp', /Use https:\/\//],
      ['https://user:password@tracker.example/mcp', /Leave user name and password out/],
      ['https://tracker.example/mcp#top', /from the # on/],
    ];
    for (const [url, expected] of refusedUrls) {
      await window.inputBox(url, { title: step(3), submit: false });
      await complaint(window, expected);
      await window.page.keyboard.press('Enter');
      await window.quickInputWith(step(3));
      assert.equal(await typed(window), url);
    }
    await window.inputBox(upstream.url, { title: step(3) });

    await window.pick('Bearer token', { title: step(4) });
    const refusedSecrets: [secret: string, complaint: RegExp][] = [
      ['short', /fewer than 8 characters/],
      [' padded-secret', /white space/],
      [`Bearer ${upstream.token}`, /Leave out “Bearer”/],
      ['sécret-with-accents', /can’t stand in a header/],
    ];
    for (const [secret, expected] of refusedSecrets) {
      await window.inputBox(secret, { title: step(5), submit: false });
      await complaint(window, expected);
    }
    assert.equal(await window.quickInput.locator('input.input').getAttribute('type'), 'password');
    await window.escape();
    assert.equal(upstream.requests.length, 0, 'nothing was sent while typing');
  });

  it('keeps what was typed when going back', async () => {
    const { window } = culvert();
    await window.command('Culvert: Add Server…');
    await fillAddServer(window, {
      label: 'Kept',
      url: 'https://kept.example/mcp',
      authentication: 'Named header',
      detail: 'X-Api-Key',
    });
    await window.quickInputWith(step(6));
    await window.quickInputButton('Back');
    await window.quickInputWith(step(5));
    assert.equal(await typed(window), 'X-Api-Key');
    await window.quickInputButton('Back');
    await window.quickInputWith(step(4));
    const active = window.quickInput.locator('.monaco-list-row.focused');
    await active.filter({ hasText: 'Named header' }).waitFor();
    await window.quickInputButton('Back');
    await window.quickInputWith(step(3));
    assert.equal(await typed(window), 'https://kept.example/mcp');
    await window.quickInputButton('Back');
    await window.quickInputWith(step(2));
    await active.filter({ hasText: 'At a URL' }).waitFor();
    await window.quickInputButton('Back');
    await window.quickInputWith(step(1));
    assert.equal(await typed(window), 'Kept');
    await window.escape();
  });

  it('explains a refused secret, takes another one, and shows server, tools and credential', async () => {
    const { window, upstream } = culvert();
    await window.command('Culvert: Add Server…');
    await fillAddServer(window, { label: 'Issue Tracker', url: upstream.url, secret: 'not-the-right-one' });
    await window.quickInputWith(`${upstream.url} refused the credential (HTTP 401)`);
    await window.pick('Enter the secret again');
    await window.inputBox(upstream.token, { title: step(5) });
    await window.quickInputWith('Switch tools on one by one');
    assert.match(await window.inputPlaceholder(), /^\d+ tools, \d+ of them say that they only read\. How shall access start\?$/);
    await chooseStart(window, 'Issue Tracker', 'Ask every time');

    await openViews(window, 'Grants', 'Credentials');
    await window.tree('Grants').waitDescription('Issue Tracker', /^all \d+ ask$/);
    await window.tree('Grants').waitDescription('echo', 'asks');
    assert.equal(await window.tree('Grants').isChecked('echo'), true);
    const { host } = new URL(upstream.url);
    await window.tree('Credentials').waitDescription('Issue Tracker credential', new RegExp(`${host} · never used`));
    await window.statusBarItem('Culvert: agents ask').waitFor();
  });

  it('refuses a name that is taken', async () => {
    const { window } = culvert();
    await window.command('Culvert: Add Server…');
    await window.inputBox('issue tracker', { title: step(1) });
    await complaint(window, /Another server has this name/);
    await window.escape();
  });

  it('leaves the secret nowhere but in the keyring and on the connection', async () => {
    const { window, upstream, server } = culvert();
    const echo = await window.startMcp(/_echo$/);
    const result = await callAndAnswer(window, { id: echo, name: 'echo' }, { message: 'hi' }, 'Allow once');
    assert.equal(result.text, 'Echo: hi');
    assert.equal(upstream.toolCalls('echo').at(-1)?.authorization, `Bearer ${upstream.token}`);
    await window.tree('Credentials').waitDescription('Issue Tracker credential', /used just now/);

    assert.deepEqual(filesWith(server.runFolder, upstream.token), [], 'on disk');
    assert.deepEqual(processesWith(server.runFolder, upstream.token), [], 'in a command line or environment');
    assert.deepEqual(await pagePlacesWith(window.page, upstream.token), [], 'in the window');
    assert.deepEqual(
      window.log.filter((line) => line.includes(upstream.token)),
      [],
      'in the console',
    );
    assert.ok(
      filesWith(server.runFolder, upstream.url).some((file) => file.includes('culvert.db')),
      'the scan sees the database',
    );
  });

  describe('when the trial fails', () => {
    const failures: { readonly name: string; readonly listen: (() => http.Server) | undefined; readonly says: RegExp }[] = [
      {
        name: 'a wrong path',
        listen: () => http.createServer((_request, response) => response.writeHead(404).end('nothing')),
        says: /There is nothing at .* \(HTTP 404\)\. Check the path/,
      },
      { name: 'a port where nothing listens', listen: undefined, says: /refused|nothing listens/i },
      {
        name: 'a page that is not MCP',
        listen: () =>
          http.createServer((_request, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome</h1>')),
        says: /answers, but not as an MCP server/,
      },
    ];
    for (const { name, listen, says } of failures) {
      it(`explains ${name}, and loses nothing that was typed`, async () => {
        const { window } = culvert();
        const secret = 'a-secret-that-is-typed-once';
        const peer = await new McpPeer(({ headers }) => headers.authorization === `Bearer ${secret}`).start();
        closers.push(() => peer.stop());
        const wrong = (listen ?? (() => http.createServer()))();
        await new Promise<void>((resolve) => wrong.listen(0, '127.0.0.1', resolve));
        const url = `http://127.0.0.1:${(wrong.address() as AddressInfo).port}/mcp`;
        const close = () => new Promise((resolve) => wrong.close(resolve));
        if (listen) closers.push(close);
        else await close();

        await window.command('Culvert: Add Server…');
        await fillAddServer(window, { label: `After ${name}`, url, secret });
        await window.quickInputWith(says);
        await window.pick('Change the URL');
        await window.quickInputWith(step(3));
        assert.equal(await typed(window), url);
        await window.inputBox(peer.url, { title: step(3) });
        await window.pick('Bearer token', { title: step(4) });
        await window.quickInputWith(/Leave empty to keep what you entered before/);
        await window.inputBox('', { title: step(5) });
        await chooseStart(window, `After ${name}`, 'Nothing');
        await openViews(window, 'Grants');
        await window.tree('Grants').waitDescription(`After ${name}`, 'no access');
        assert.equal(peer.seen.at(-1)?.headers.authorization, `Bearer ${secret}`);
      });
    }
  });

  describe('authenticates', () => {
    const secret = 'k3y-of-the-peer/with=signs';
    const basic = `Basic ${Buffer.from(`me@example.com:${secret}`).toString('base64')}`;
    const cases: { readonly how: Omit<NewServer, 'label' | 'url'>; readonly accepts: McpPeer['accepts'] }[] = [
      {
        how: { authentication: 'Named header', detail: 'X-Api-Key', secret },
        accepts: ({ headers }) => headers['x-api-key'] === secret && headers.authorization === undefined,
      },
      { how: { authentication: 'Basic', detail: 'me@example.com', secret }, accepts: ({ headers }) => headers.authorization === basic },
      {
        how: { authentication: 'Query parameter', detail: 'api_key', secret },
        accepts: ({ url, headers }) =>
          new URL(url, 'http://peer').searchParams.get('api_key') === secret && headers.authorization === undefined,
      },
      { how: { authentication: 'None' }, accepts: ({ headers }) => headers.authorization === undefined },
    ];
    for (const { how, accepts } of cases) {
      it(`with ${how.authentication ?? ''}`, async () => {
        const { window } = culvert();
        const peer = await new McpPeer(accepts).start();
        closers.push(() => peer.stop());
        const label = `By ${how.authentication ?? ''}`;
        await addServer(window, { label, url: peer.url, ...how, start: 'Tools that only read' });
        const look = await window.startMcp(new RegExp(`mcp_${label.toLowerCase().replaceAll(' ', '_').slice(0, 8)}\\w*_look$`));
        assert.deepEqual(await call(window, look), { ok: true, text: 'look done' });
        assert.equal(peer.calls.length, 1);
        // The other tool does not say that it only reads.
        assert.equal(await isOffered(window, look.replace(/^mcp_/, '').replace(/look$/, 'change')), false);
        await window.tree('Grants').waitDescription(label, '1 of 2 allowed');
      });
    }
  });
});
