import assert from 'node:assert/strict';
import { copyFileSync, openSync, readFileSync, readdirSync, statSync, writeSync, closeSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { StoreError, VaultError } from '../../src/common/errors.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { open, over, rpc, send, toolCall, type Got } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { callsOn, lastCall, newScene, recordText, recorded, type Scene } from '../support/tunnels.ts';

/** DESIGN.md 3: what must always hold. */
describe('fails closed', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  const vault = new MemorySecretStore();
  beforeEach(async () => {
    scene = await newScene();
  });
  afterEach(() => scene.close());

  const call = (door = tunnel, name = 'echo', args: unknown = {}) => send(door, { body: toolCall(name, args) });
  const isDenied = (got: Got, words: RegExp) => {
    assert.equal(got.status, 200);
    assert.ok(got.json().error, got.body.toString());
    assert.match(got.json().error?.message ?? '', words);
  };
  /** Makes a call that must be denied without a contact of the server. */
  const denied = async (words: RegExp, door = tunnel) => {
    const before = scene.server.seen.length;
    isDenied(await call(door), words);
    assert.equal(scene.server.seen.length, before, 'the server was contacted');
  };

  describe('no intent record, no forward', () => {
    beforeEach(async () => {
      tunnel = await scene.open();
      assert.equal((await call()).json().error, undefined);
    });

    for (const [what, sql] of Object.entries({
      'the table is gone': 'DROP TABLE audit',
      'the table takes nothing': `CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`,
    }))
      it(`when ${what}`, async () => {
        scene.outside.exec(sql);
        await denied(/can’t write its record, so nothing is let through/);
        assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
        assert.equal(scene.server.seen.length, 1);
      });

    it('when the database is locked by somebody else, and works again afterwards', async () => {
      scene.outside.exec('BEGIN EXCLUSIVE');
      await denied(/can’t write its record/);
      scene.outside.exec('ROLLBACK');
      assert.equal((await call()).json().error, undefined);
      assert.deepEqual((await tunnel.core.audit.verify()).problems, []);
    });
  });

  describe('a database that is', () => {
    it('damaged while it runs: denied with a reason, nothing crashes', async () => {
      tunnel = await scene.open();
      for (let i = 0; i < 20; i++) await call();
      scene.outside.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      const size = statSync(scene.databasePath).size;
      const file = openSync(scene.databasePath, 'r+');
      for (let at = 4096; at < size; at += 4096) writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, at);
      closeSync(file);
      // Another connection's commit makes this window read again.
      new DatabaseSync(scene.databasePath).exec('PRAGMA user_version = 1');
      await denied(/^Culvert denied this call/);
      await denied(/^Culvert denied this call/);
      assert.ok(
        scene.log.lines.some((line) => /damaged|malformed/.test(line)),
        scene.log.lines.join('\n'),
      );
    });

    it('damaged at the start: refused, and the file is left alone', async () => {
      tunnel = await scene.open();
      await tunnel.close();
      const file = openSync(scene.databasePath, 'r+');
      writeSync(file, Buffer.alloc(100, 0xa5), 0, 100, 0);
      closeSync(file);
      await assert.rejects(scene.open(), (e: unknown) => e instanceof StoreError && e.code === 'CULVERT_STORE_CORRUPT');
    });

    it('gone from under a reader: denied', async () => {
      tunnel = await scene.open();
      scene.outside.exec('DROP TABLE signed_row');
      await denied(/can’t read what the user allowed|could not check/);
      assert.equal((await send(tunnel, { body: { jsonrpc: '2.0', method: 'notifications/initialized' } })).status, 202);
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
      assert.equal((await send(tunnel, { body: '[]' })).status, 400);
      assert.equal(scene.server.seen.length, 0);
    });
  });

  describe('a keyring that', () => {
    it('lost Culvert’s key: refused, nothing is overwritten', async function () {
      this.timeout(120_000);
      tunnel = await scene.open({ vault: new MemorySecretStore() });
      await tunnel.close();
      const before = readFileSync(scene.databasePath);
      await assert.rejects(
        scene.open({ vault: new MemorySecretStore() }),
        (e: unknown) => e instanceof VaultError && e.code === 'CULVERT_VAULT_FORGOT',
      );
      assert.deepEqual(readFileSync(scene.databasePath), before);
    });

    it('is locked at the very first start: refused, and good at the next', async () => {
      const keyring = new MemorySecretStore();
      const store = keyring.store.bind(keyring);
      keyring.store = () => Promise.reject(new Error('locked'));
      await assert.rejects(scene.open({ vault: keyring }), (e: unknown) => e instanceof VaultError && e.code === 'CULVERT_VAULT_WRITE');
      keyring.store = store;
      tunnel = await scene.open({ vault: keyring });
      assert.equal((await call()).json().error, undefined);
    });

    it('has no value for a credential: denied, no contact', async () => {
      const keyring = new MemorySecretStore();
      tunnel = await scene.open({ vault: keyring, auth: { placement: { kind: 'bearer' }, value: madeUpSecret() } });
      const [credential] = tunnel.core.credentials.list();
      await keyring.delete(`culvert.credential.${credential?.id}`);
      await denied(/The value of the credential “token” is not in the system’s keyring/);
    });

    it('opens late: the value is recognised from its first use on', async () => {
      const keyring = new MemorySecretStore();
      const value = madeUpSecret();
      const first = await scene.open({ vault: keyring, auth: { placement: { kind: 'bearer' }, value } });
      await first.close();
      const get = keyring.get.bind(keyring);
      keyring.get = (key) => (key.startsWith('culvert.credential.') ? Promise.reject(new Error('locked')) : get(key));
      tunnel = await scene.open({ vault: keyring });
      await denied(/not in the system’s keyring/);
      keyring.get = get;
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { echo: seen.headers.authorization }));
      const got = await call();
      assert.equal(scene.server.seen.at(-1)?.headers.authorization, `Bearer ${value}`);
      assert.deepEqual(tracesIn(got.body, value), []);
    });
  });

  describe('a credential', () => {
    const value = madeUpSecret();
    beforeEach(async () => {
      tunnel = await scene.open({ auth: { placement: { kind: 'bearer' }, value, name: 'demo' } });
    });

    it('goes to its origin, and the tunnel’s token does not', async () => {
      await call();
      assert.equal(scene.server.seen[0]?.headers.authorization, `Bearer ${value}`);
    });

    for (const [what, url] of Object.entries({
      port: (o: string) => o.replace(/:\d+$/, ':9/mcp'),
      host: (o: string) => `${o.replace('127.0.0.1', 'localhost')}/mcp`,
      scheme: (o: string) => `${o.replace('http:', 'https:')}/mcp`,
    }))
      it(`does not go along when the definition moves to another ${what}`, async () => {
        const server = tunnel.core.servers.list()[0]!;
        tunnel.core.servers.put({ ...server, upstream: { kind: 'http', url: url(scene.server.origin) } });
        await denied(/The credential “demo” is not bound to .*, so it was not sent/);
        assert.deepEqual(lastCall(tunnel).outcome?.result, 'upstream-error');
      });

    it('that was sealed for another server while the call waited for the user stops the call', async () => {
      const other = madeUpSecret('b');
      const asking = tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'ask', 'headless');
      assert.equal(asking.effect, 'ask');
      const answer = call(tunnel, 'echo', { text: other });
      await scene.approver.questions(1);
      await tunnel.core.credentials.seal('other', { kind: 'bearer' }, ['https://other.example'], new Secret(other));
      await tunnel.core.ready();
      scene.approver.answer(0, 'once');
      isDenied(await answer, /holds the value of the credential “other”/);
      assert.equal(scene.server.seen.length, 0);
      assert.deepEqual(tracesIn(recordText(tunnel), other), []);
    });

    it('goes along to another path of its origin', async () => {
      const server = tunnel.core.servers.list()[0]!;
      tunnel.core.servers.put({ ...server, upstream: { kind: 'http', url: `${scene.server.origin}/other` } });
      assert.equal((await call()).json().error, undefined);
      assert.deepEqual([scene.server.seen[0]?.url, scene.server.seen[0]?.headers.authorization], ['/other', `Bearer ${value}`]);
    });

    it('does not go anywhere when its definition was edited from outside', async () => {
      scene.outside.exec(`UPDATE signed_row SET body = replace(body, '"revision":1', '"revision":7') WHERE collection = 'credential'`);
      await denied(/A credential of Fake is missing/);
    });

    it('does not follow a redirect to another origin', async () => {
      const elsewhere = await newScene();
      scene.server.behave = (_seen, response) => response.writeHead(307, { location: elsewhere.server.url }).end();
      isDenied(await call(), /redirects \(307\) to another origin, where its credential must not go/);
      assert.equal(elsewhere.server.seen.length, 0);
      await elsewhere.close();
    });

    it('counts as in use while it is, also when another one is missing', async () => {
      const uses: number[] = [];
      tunnel.tunnel.onDidChangeUse((use) => uses.push(use.calls));
      await call();
      const server = tunnel.core.servers.list()[0]!;
      tunnel.core.servers.put({ ...server, credentials: [...server.credentials, 'cred-missing'] });
      await denied(/A credential of Fake is missing/);
      tunnel.core.servers.put(server);
      await call();
      assert.deepEqual(uses, [1, 0, 1, 0]);
    });

    it('that was replaced is recognised in both values', async () => {
      const next = madeUpSecret('next');
      const [credential] = tunnel.core.credentials.list();
      await tunnel.core.credentials.replace(credential!.id, new Secret(next));
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { old: value, now: seen.headers.authorization }));
      const got = await call();
      assert.equal(scene.server.seen[0]?.headers.authorization, `Bearer ${next}`);
      assert.deepEqual([tracesIn(got.body, value), tracesIn(got.body, next)], [[], []]);
    });

    it('of another server is stopped on its way out: arguments, escapes, headers, a stream’s too', async () => {
      // Nothing in common with the server’s own: parts of it would count as parts of both.
      const other = ['key', 'Jm4Tt', 'pW61', 'bN8s', 'YhC3'].join('.');
      const { id } = await tunnel.core.credentials.seal('other', { kind: 'bearer' }, ['https://other.example'], new Secret(other));
      await tunnel.core.ready();
      assert.ok(id);
      const before = scene.server.seen.length;
      isDenied(await call(tunnel, 'echo', { a: [other] }), /holds the value of the credential “other”/);
      isDenied(
        await send(tunnel, { body: JSON.stringify(toolCall('echo', { a: other })).replace(other, other.replace('t', '\\u0074')) }),
        /“other”/,
      );
      isDenied(await send(tunnel, { body: toolCall('echo', {}), headers: { 'x-note': other } }), /“other”/);
      assert.equal((await send(tunnel, { method: 'GET', headers: { 'last-event-id': other } })).status, 405);
      assert.equal(scene.server.seen.length, before);
      assert.deepEqual(tracesIn(recordText(tunnel), other), []);
      assert.ok(tunnel.core.findings.list({ dismissed: false }).some((f) => f.direction === 'to-server' && f.action === 'blocked'));
      assert.equal((await call(tunnel, 'echo', { a: value })).json().error, undefined);
    });
  });

  describe('rows that somebody else wrote', () => {
    it('count as absent and are reported: grants, servers', async () => {
      tunnel = await scene.open({ access: 'nothing' });
      await denied(/is not allowed/);
      const forged = JSON.stringify({
        version: 1,
        id: 'grant-forged',
        server: tunnel.serverId,
        target: { kind: 'all-tools' },
        effect: 'allow',
        scope: {},
        createdAt: 1,
        givenBy: 'tree',
      });
      scene.outside.prepare('INSERT INTO signed_row VALUES (?, ?, ?, ?)').run('grant', 'grant-forged', forged, '0'.repeat(64));
      await denied(/is not allowed/);
      tunnel.core.refresh();
      assert.ok(scene.log.lines.some((line) => line.includes('grant grant-forged: row added from outside')));
      assert.ok(recordText(tunnel).includes('tampering-found'));
      scene.outside.exec(`UPDATE signed_row SET body = replace(body, '127.0.0.1', '127.0.0.2') WHERE collection = 'server'`);
      assert.equal((await call()).status, 404);
      assert.equal(scene.server.seen.length, 0);
    });

    it('that were good once count as absent after a revoke, also at the next start', async () => {
      tunnel = await scene.open({ vault });
      assert.equal((await call()).json().error, undefined);
      scene.outside.exec('CREATE TABLE r AS SELECT * FROM signed_row; CREATE TABLE m AS SELECT * FROM manifest');
      tunnel.core.access.revokeServer(tunnel.serverId);
      await denied(/is not allowed/);
      const restore = `DELETE FROM signed_row WHERE collection = 'grant'; DELETE FROM manifest WHERE collection = 'grant';
        INSERT INTO signed_row SELECT * FROM r WHERE collection = 'grant'; INSERT INTO manifest SELECT * FROM m WHERE collection = 'grant'`;
      scene.outside.exec(restore);
      await denied(/is not allowed/);
      await tunnel.close();
      scene.outside.exec(restore);
      tunnel = await scene.open({ vault });
      await denied(/is not allowed/);
      assert.ok(tunnel.core.tampering().some((t) => t.collection === 'grant' && t.problem === 'list changed'));
    });

    it('do not hide a whole database that was put back', async () => {
      const keyring = new MemorySecretStore();
      tunnel = await scene.open({ vault: keyring });
      await call();
      await tunnel.close();
      copyFileSync(scene.databasePath, `${scene.databasePath}.old`);
      tunnel = await scene.open({ vault: keyring });
      tunnel.core.access.revokeServer(tunnel.serverId);
      await denied(/is not allowed/);
      await tunnel.close();
      copyFileSync(`${scene.databasePath}.old`, scene.databasePath);
      tunnel = await scene.open({ vault: keyring });
      await denied(/is not allowed/);
      assert.match((await tunnel.core.audit.verify()).problems.join(), /newest checkpoint is gone/);
      await tunnel.core.audit.checkpoint();
      assert.ok((await tunnel.core.audit.verify()).problems.length > 0);
    });
  });

  describe('two windows', () => {
    let second: HeadlessTunnel;
    beforeEach(async () => {
      const keyring = new MemorySecretStore();
      tunnel = await scene.open({ vault: keyring });
      second = await scene.open({ vault: keyring });
    });

    it('know the same server, and pause and resume together at the next call', async () => {
      assert.equal(second.serverId, tunnel.serverId);
      assert.equal((await call(second)).json().error, undefined);
      tunnel.core.setPaused(true);
      await denied(/paused/, second);
      tunnel.core.setPaused(false);
      assert.equal((await call(second)).json().error, undefined);
    });

    it('revoke for each other, streams included', async () => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params: {} }));
      };
      const stream = await open(second, { body: toolCall('echo') }).response;
      const ended = over(stream);
      tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'deny', 'tree');
      second.core.refresh();
      assert.equal(await ended, 'broken');
      await denied(/denied by the user/, second);
    });

    it('pause ends the open streams of both, GET too', async () => {
      scene.server.behave = (_seen, response) => beginStream(response);
      const streams = await Promise.all([tunnel, second].map((door) => open(door, { method: 'GET' }).response));
      const ended = Promise.all(streams.map(over));
      tunnel.core.setPaused(true);
      // The other window looks twice a second.
      assert.deepEqual(await ended, ['broken', 'broken']);
    });

    it('keep tokens apart', async () => {
      assert.equal((await send({ ...second, token: tunnel.token }, { body: toolCall('echo') })).status, 401);
    });

    it('write records at once that verify', async () => {
      await Promise.all(Array.from({ length: 40 }, (_, i) => call(i % 2 ? tunnel : second)));
      await Promise.all([tunnel.core.audit.checkpoint(), second.core.audit.checkpoint()]);
      const { chains, problems } = await second.core.audit.verify();
      assert.deepEqual([chains, problems], [2, []]);
      assert.equal(callsOn(tunnel).filter((c) => c.outcome?.result === 'ok').length, 40);
    });
  });

  it('two windows that start at once on nothing agree on one key', async () => {
    const keyring = new MemorySecretStore();
    const both = await Promise.all([scene.open({ vault: keyring }), scene.open({ vault: keyring })]);
    for (const door of both) assert.deepEqual(door.core.tampering(), []);
    assert.deepEqual(await Promise.all(both.map(async (d) => (await d.core.audit.verify()).problems)), [[], []]);
  });

  it('two profiles with one keyring do not disturb each other', async () => {
    const keyring = new MemorySecretStore();
    const other = await newScene();
    const [one, two] = [await scene.open({ vault: keyring }), await other.open({ vault: keyring })];
    for (let i = 0; i < 3; i++) two.core.setPaused(i % 2 === 0);
    await two.close();
    await one.core.audit.checkpoint();
    assert.deepEqual([one.core.tampering(), (await one.core.audit.verify()).problems], [[], []]);
    assert.equal((await call(one)).json().error, undefined);
    await other.close();
  });

  it('asks, waits, and forwards exactly what was shown', async () => {
    tunnel = await scene.open({ access: 'ask' });
    const answer = call(tunnel, 'echo', { text: 'a\u202eb' });
    await scene.approver.questions(1);
    const [shown] = scene.approver.asked;
    assert.deepEqual(
      [shown?.call.tool, shown?.argumentsText, shown?.destination],
      ['echo', '{"text":"a\u202eb"}', new URL(scene.server.url).host],
    );
    assert.equal(scene.server.seen.length, 0);
    scene.approver.answer(0, 'once');
    assert.equal((await answer).json().error, undefined);
    const { createHash } = await import('node:crypto');
    assert.equal(
      createHash('sha256')
        .update(scene.server.seen[0]?.body ?? '')
        .digest('hex'),
      shown?.digest,
    );
    assert.equal(lastCall(tunnel).intent.decidedBy, 'answered');
  });

  it('denies what nobody answers in time, and a call whose agent left', async () => {
    tunnel = await scene.open({ access: 'ask', approvalTimeoutMs: 50 });
    await denied(/nobody answered within/);
    const { request } = open(tunnel, { body: toolCall('other') });
    request.on('error', () => undefined);
    await scene.approver.questions(2);
    request.destroy();
    await recorded(tunnel, () => callsOn(tunnel).length === 2);
    assert.equal(lastCall(tunnel).intent.effect, 'deny');
    assert.equal(scene.server.seen.length, 0);
  });

  it('closes while calls run: they end, are recorded, and files are gone', async () => {
    tunnel = await scene.open();
    scene.server.behave = () => undefined;
    const answer = call().catch((e: unknown) => e);
    await scene.server.received(1);
    const { runtimeFolder, capabilityStem, socketPath } = tunnel;
    assert.ok(existsSync(join(runtimeFolder, 'capabilities', `${capabilityStem}.json`)));
    await tunnel.tunnel.close();
    await answer;
    assert.equal(lastCall(tunnel).outcome?.result, 'closed');
    assert.deepEqual(
      [existsSync(join(runtimeFolder, 'capabilities', `${capabilityStem}.json`)), existsSync(socketPath ?? '')],
      [false, false],
    );
  });

  it('keeps socket and files to this user', async function () {
    if (process.platform === 'win32') this.skip();
    tunnel = await scene.open();
    assert.equal(statSync(tunnel.socketPath ?? '').mode & 0o777, 0o600);
    assert.equal(statSync(tunnel.runtimeFolder).mode & 0o777, 0o700);
    assert.equal(statSync(scene.databasePath).mode & 0o777, 0o600);
  });

  it('leaves the secret nowhere after a rich run', async () => {
    const keyring = new MemorySecretStore();
    const value = `${madeUpSecret('rich')}"\\ü`;
    const query = madeUpSecret('query');
    tunnel = await scene.open({ vault: keyring, auth: { placement: { kind: 'basic', username: 'me' }, value } });
    const two = await tunnel.core.credentials.seal('second', { kind: 'query', name: 'key' }, [scene.server.origin], new Secret(query));
    const server = tunnel.core.servers.list()[0]!;
    tunnel.core.servers.put({ ...server, credentials: [...server.credentials, two.id] });
    const basic = Buffer.from(`me:${value}`).toString('base64');
    const answers: Buffer[] = [];
    const keep = async (got: Promise<Got>) => {
      const { body, headers } = await got;
      answers.push(body, Buffer.from(JSON.stringify(headers)));
    };
    const forms = [value, basic, Buffer.from(value).toString('hex'), encodeURIComponent(value), JSON.stringify({ value }), query];
    // Everything the server knows comes back: results, errors, streams, headers, pages, tools.
    scene.server.behave = (seen, response) => {
      const all = { forms, url: seen.url, headers: seen.headers };
      if (seen.method === 'GET') {
        beginStream(response, { 'x-leak': basic });
        response.end(`id: ${query}\n: ${query}\n${event({ jsonrpc: '2.0', method: `notifications/${query}`, params: all })}`);
      } else if (seen.body.includes('tools/list'))
        answerJson(response, resultFor(seen, { tools: [{ name: query, description: JSON.stringify(forms), inputSchema: {} }] }));
      else if (seen.body.includes('fail'))
        answerJson(response, JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: 1, message: value, data: all } }), 400, {
          'mcp-session-id': query,
        });
      else if (seen.body.includes('page')) response.writeHead(500, { 'content-type': 'text/html' }).end(`<p>${query} ${basic}`);
      else if (seen.body.includes('break')) {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': 99_999 });
        response.write(JSON.stringify(all), () => response.destroy());
      } else answerJson(response, resultFor(seen, all), 200, { 'x-leak': query, server: basic });
    };
    for (const tool of ['echo', 'fail', 'page', 'break'])
      await keep(send(tunnel, { body: toolCall(tool, { mine: value, [query]: basic }) }));
    await keep(send(tunnel, { body: rpc('tools/list') }));
    await keep(send(tunnel, { method: 'GET' }));
    // The agent knows a secret from elsewhere and puts it wherever it can.
    for (const body of [
      toolCall(query, { [query]: value }),
      rpc('resources/read', { uri: `https://x/?k=${query}` }),
      rpc(`x/${query}`),
      rpc('initialize', { clientInfo: { name: query, version: value } }),
      `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"${query}":1,"${query}":2}}`,
      rpc('tools/call', { name: 'echo', _meta: { traceparent: query, 'vscode.conversationId': query } }),
    ])
      await send(tunnel, { body });
    await send(tunnel, { body: '[]', headers: { 'mcp-session-id': query } });
    scene.server.behave = (_seen, response) => response.writeHead(302, { location: `https://${query}.example/?${query}` }).end();
    await keep(send(tunnel, { body: toolCall('echo') }));
    await tunnel.core.credentials.replace(two.id, new Secret(madeUpSecret('newer')));
    await call().catch(() => undefined);
    const folder = join(tunnel.runtimeFolder, 'capabilities');
    const capabilities = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
    const record = recordText(tunnel);
    const files = () =>
      ['', '-wal']
        .map((end) => `${scene.databasePath}${end}`)
        .filter((path) => existsSync(path))
        .map((path) => readFileSync(path));
    const live = files();
    await tunnel.close();
    const places = {
      answers,
      capabilities,
      record: [Buffer.from(record)],
      log: [Buffer.from(scene.log.lines.join('\n'))],
      live,
      closed: files(),
    };
    assert.ok(answers.length > 10 && record.length > 5000 && live.length === 2);
    for (const [place, texts] of Object.entries(places))
      for (const text of texts)
        for (const secret of [value, query, madeUpSecret('newer')]) assert.deepEqual(tracesIn(text, secret), [], place);
    // The basic header as a whole holds the secret's bits as well.
    for (const texts of Object.values(places)) for (const text of texts) assert.ok(!text.includes(basic.slice(6)));
  });
});
