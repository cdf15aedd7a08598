import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Placement } from '../../src/credentials/credential.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { signV4 } from '../../src/credentials/sigv4.ts';
import type { SourceSpec } from '../../src/credentials/sourceSpec.ts';
import { PRESETS } from '../../src/credentials/sources/presets.ts';
import { sourceDigest } from '../../src/credentials/sources/command.ts';
import { bindingOf } from '../../src/mcp/server.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { answerJson, resultFor } from '../support/fakeServer.ts';
import { FakeVault } from '../support/fakeVault.ts';
import { temporaryFolder } from '../support/folders.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

/** A program that Debian has; where it is missing the tests say so, and in CI they fail. */
function needs(program: string, test: () => Promise<void>): (this: Mocha.Context) => Promise<void> {
  return async function () {
    const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
    if (!found && process.env['CI'] === undefined) {
      this.test!.title += ` (not run: ${program} is not installed)`;
      this.skip();
    }
    assert.ok(found, `${program} is not installed: apt-get install it`);
    await test();
  };
}

describe('Credentials from elsewhere', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  const folder = temporaryFolder();
  const values = new Set<string>();
  const secret = (tag: string) => {
    const value = madeUpSecret(tag);
    values.add(value);
    return value;
  };

  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
  });
  afterEach(async () => {
    // Whatever a test did: no value in the log, in the database with its record, or beside it.
    await scene.closeTunnels();
    const files = readdirSync(scene.state.path).map((name) => readFileSync(join(scene.state.path, name)));
    for (const value of values)
      for (const [where, text] of [['log', scene.log.lines.join('\n')], ...files.map((bytes) => ['a file', bytes] as const)] as const)
        assert.deepEqual(tracesIn(text, value), [], `in ${where}`);
    values.clear();
    await scene.close();
  });
  after(() => folder.remove());

  /** Gives the server a credential of a source. */
  const use = async (source: SourceSpec, placement: Placement = { kind: 'bearer' }, key?: { secret: Secret; origins: string[] }) => {
    const { core } = tunnel;
    const server = core.servers.get(tunnel.serverId)!;
    const credential = await core.credentials.add('elsewhere', placement, [bindingOf(server.upstream)], source, key);
    core.servers.put({ ...server, credentials: [...server.credentials, credential.id] });
    return credential;
  };
  const call = async (args: unknown = {}, tool = 'echo') => (await send(tunnel, { body: toolCall(tool, args) })).json();
  const sent = () => scene.server.seen.at(-1)?.headers;
  const command = (args: readonly string[], more: Partial<Extract<SourceSpec, { kind: 'command' }>> = {}): SourceSpec => {
    const spec = { kind: 'command', command: process.execPath, args, format: 'auto', ...more } as const;
    return { ...spec, confirmed: sourceDigest(spec) };
  };
  const printing = (text: string) =>
    command(
      ['-e', `process.stdout.write(require('fs').readFileSync(${JSON.stringify(join(folder.path, 'out'))}))`].concat(write('out', text)),
    );
  /** Writes a file that only the user can read; nothing to add to a command line. */
  function write(name: string, text: string, mode = 0o600): string[] {
    writeFileSync(join(folder.path, name), text, { mode });
    chmodSync(join(folder.path, name), mode);
    return [];
  }

  describe('a command', () => {
    it('gives the value; it is asked once for many calls, and again when it was refused', async () => {
      const [first, second] = [secret('one'), secret('two')];
      const log = join(folder.path, 'runs');
      writeFileSync(log, '');
      write('value', first);
      await use(
        command([
          '-e',
          `const fs=require('fs');fs.appendFileSync(${JSON.stringify(log)},'x');setTimeout(()=>process.stdout.write(fs.readFileSync(${JSON.stringify(join(folder.path, 'value'))})),50)`,
        ]),
      );
      const runs = () => readFileSync(log, 'utf8').length;
      await Promise.all(Array.from({ length: 20 }, () => call()));
      assert.deepEqual(new Set(scene.server.seen.map(({ headers }) => headers.authorization)), new Set([`Bearer ${first}`]));
      assert.equal(runs(), 1);
      write('value', second);
      await call();
      assert.equal(sent()?.authorization, `Bearer ${first}`, 'kept while nobody complains');
      scene.server.behave = (seen, response) => {
        if (seen.headers.authorization === `Bearer ${second}`) answerJson(response, resultFor(seen, { ok: true }));
        else answerJson(response, '{}', 401, { 'www-authenticate': 'Bearer error="invalid_token"' });
      };
      const answers = await Promise.all(Array.from({ length: 20 }, () => call()));
      assert.ok(answers.every((answer) => answer.error === undefined));
      assert.equal(runs(), 2);
      const before = scene.server.seen.length;
      await call();
      assert.equal(scene.server.seen.length, before + 1);
    });

    it('is sent no second time where it has no other value', async () => {
      await use(printing(secret('one')));
      scene.server.behave = (_seen, response) => answerJson(response, '{}', 401);
      const { error } = await call();
      assert.match(error?.message ?? '', /did not accept the credential “elsewhere” \(HTTP 401\)/);
      assert.equal(scene.server.seen.length, 1);
      assert.equal(tunnel.core.sources.health(tunnel.core.credentials.list()[0]!.id)?.state, 'invalid');
    });

    it('is not run without confirmation, nor once it changed', async () => {
      const good = printing(secret('one'));
      assert.equal(good.kind, 'command');
      const marker = join(folder.path, 'was-run');
      await use({ ...good, args: ['-e', `require('fs').writeFileSync(${JSON.stringify(marker)},'')`] });
      assert.match((await call()).error?.message ?? '', /was not run: the user has not confirmed it/);
      assert.ok(!readdirSync(folder.path).includes('was-run'));
      assert.equal(scene.server.seen.length, 0);
    });

    it('sees nothing of our environment but what programs need', async () => {
      process.env['CULVERT_TEST_TOKEN'] = 'nothing-for-programs';
      try {
        await use(command(['-e', 'process.stdout.write(Object.keys(process.env).join("-").replace(/[^A-Z_-]/g,""))']));
        assert.equal((await call()).error, undefined);
        assert.match(sent()?.authorization ?? '', /PATH/);
        assert.doesNotMatch(sent()?.authorization ?? '', /CULVERT_TEST_TOKEN/);
      } finally {
        delete process.env['CULVERT_TEST_TOKEN'];
      }
    });

    for (const [what, script, words] of [
      ['fails', 'process.stderr.write("the-secret-words-of-it");process.exit(3)', /ended with code 3/],
      ['prints too much', 'for(;;)require("fs").writeSync(1,"x".repeat(65536))', /printed more than 256 KiB/],
      ['prints nothing', '', /gave nothing that can be used/],
    ] as const)
      it(`that ${what} is told, to the user once, without its words`, async () => {
        const told: string[] = [];
        tunnel.core.sources.onDidFail(({ error }) => told.push(error.message));
        await use(command(['-e', script]));
        for (let i = 0; i < 2; i++) assert.match((await call()).error?.message ?? '', words);
        assert.equal(told.length, 1);
        assert.doesNotMatch(told[0]!, /secret-words/);
        assert.equal(scene.server.seen.length, 0);
      });

    it('that doesn’t exist is told', async () => {
      const spec = { kind: 'command', command: 'no-such-program-of-culvert', args: [], format: 'text' } as const;
      await use({ ...spec, confirmed: sourceDigest(spec) });
      assert.match((await call()).error?.message ?? '', /was not found on the PATH/);
    });

    it(
      'is pass, with gpg',
      needs('pass', async () => {
        const value = secret('pass');
        const home = join(folder.path, 'gnupg');
        mkdirSync(home, { mode: 0o700 });
        const store = join(folder.path, 'store');
        const env = { ...process.env, GNUPGHOME: home, PASSWORD_STORE_DIR: store };
        execFileSync(
          'gpg',
          [
            '--batch',
            '--pinentry-mode',
            'loopback',
            '--passphrase',
            '',
            '--quick-generate-key',
            'culvert@example.com',
            'default',
            'default',
            'never',
          ],
          { env, stdio: 'ignore' },
        );
        execFileSync('pass', ['init', 'culvert@example.com'], { env, stdio: 'ignore' });
        execFileSync('pass', ['insert', '--multiline', 'work/api'], {
          env,
          input: `${value}\nuser: me\n`,
          stdio: ['pipe', 'ignore', 'ignore'],
        });
        const spec = {
          kind: 'command',
          ...PRESETS.find(({ id }) => id === 'pass')!.build(['work/api']),
          environment: { GNUPGHOME: home, PASSWORD_STORE_DIR: store },
        } as const;
        await use({ ...spec, confirmed: sourceDigest(spec) });
        assert.equal((await call()).error, undefined);
        assert.equal(sent()?.authorization, `Bearer ${value}`);
        spawnSync('gpgconf', ['--homedir', home, '--kill', 'all']);
      }),
    ).timeout(60_000);
  });

  it(
    'an entry of a real keyring, by secret-tool',
    needs('gnome-keyring-daemon', async () => {
      const value = secret('ring');
      const data = join(folder.path, 'ring');
      mkdirSync(data, { mode: 0o700 });
      // The daemon lives as long as the shell that dbus-run-session started.
      const script = [
        'printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null',
        `printf %s "$1" | secret-tool store --label=culvert service culvert-test account me`,
        'printf "%s\\n" "$DBUS_SESSION_BUS_ADDRESS"',
        'exec cat >/dev/null',
      ].join('\n');
      const session = spawn('dbus-run-session', ['--', 'sh', '-c', script, 'sh', value], {
        env: { ...process.env, HOME: data, XDG_DATA_HOME: data, XDG_RUNTIME_DIR: data },
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      const before = process.env['DBUS_SESSION_BUS_ADDRESS'];
      try {
        const [address] = (
          await new Promise<string>((resolve) => session.stdout.once('data', (text: Buffer) => resolve(text.toString())))
        ).split('\n');
        process.env['DBUS_SESSION_BUS_ADDRESS'] = address;
        await use({ kind: 'keyring', attributes: { service: 'culvert-test', account: 'me' } });
        assert.equal((await call()).error, undefined);
        assert.equal(sent()?.authorization, `Bearer ${value}`);
      } finally {
        if (before === undefined) delete process.env['DBUS_SESSION_BUS_ADDRESS'];
        else process.env['DBUS_SESSION_BUS_ADDRESS'] = before;
        session.stdin.end();
        await new Promise((resolve) => session.once('close', resolve));
      }
    }),
  ).timeout(60_000);

  describe('a variable', () => {
    it('gives the value, and says when it is not set', async () => {
      const value = secret('env');
      process.env['CULVERT_TEST_TOKEN'] = value;
      await use({ kind: 'environment', variable: 'CULVERT_TEST_TOKEN' }, { kind: 'header', name: 'X-Api-Key', template: 'token {secret}' });
      await call();
      assert.equal(sent()?.['x-api-key'], `token ${value}`);
      delete process.env['CULVERT_TEST_TOKEN'];
      const [credential] = tunnel.core.credentials.list();
      tunnel.core.sources.drop(credential!.id);
      assert.match((await call()).error?.message ?? '', /CULVERT_TEST_TOKEN, which holds the credential “elsewhere”, is not set/);
    });
  });

  describe('a file', () => {
    const file = (name: string): SourceSpec => ({ kind: 'file', path: join(folder.path, name), format: 'auto' });

    it('gives the value', async () => {
      const value = secret('file');
      write('token', `${value}\n`);
      await use(file('token'), { kind: 'query', name: 'key' });
      await call();
      assert.equal(scene.server.seen.at(-1)?.url, `/mcp?key=${value}`);
    });

    it('counts as soon as it changed and the server refuses the old value', async () => {
      const [first, second] = [secret('one'), secret('two')];
      write('token', first);
      await use(file('token'));
      await call();
      write('token', second);
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, {}), seen.headers.authorization === `Bearer ${second}` ? 200 : 401);
      assert.equal((await call()).error, undefined);
    });

    for (const [what, make, words] of [
      ['others may read', () => write('open', secret('open'), 0o644), /others may read it \(mode 644\)/],
      ['is too large', () => write('open', 'x'.repeat(70_000)), /larger than 64 KiB/],
      ['isn’t there', () => execFileSync('rm', ['-f', join(folder.path, 'open')]), /there is none/],
      ['is a folder', () => mkdirSync(join(folder.path, 'open')), /it is no file/],
    ] as const)
      it(`that ${what} is refused`, async () => {
        execFileSync('rm', ['-rf', join(folder.path, 'open')]);
        make();
        await use(file('open'));
        assert.match((await call()).error?.message ?? '', words);
        assert.equal(scene.server.seen.length, 0);
      });

    it('behind a link is taken, but not through a folder that others may change', async () => {
      const value = secret('link');
      write('real', value);
      symlinkSync(join(folder.path, 'real'), join(folder.path, 'link'));
      await use(file('link'));
      assert.equal((await call()).error, undefined);
      assert.equal(sent()?.authorization, `Bearer ${value}`);
      mkdirSync(join(folder.path, 'public'));
      chmodSync(join(folder.path, 'public'), 0o777);
      symlinkSync(join(folder.path, 'real'), join(folder.path, 'public', 'link'));
      symlinkSync(join(folder.path, 'public', 'link'), join(folder.path, 'through'));
      await use(file('through'));
      assert.match((await call()).error?.message ?? '', /others may change the folder/);
    });
  });

  describe('a HashiCorp Vault (a test server of its documented API)', () => {
    let vault: FakeVault;
    beforeEach(async () => (vault = await new FakeVault().start()));
    afterEach(() => vault.stop());
    const key = (value: string) => ({ secret: new Secret(value), origins: [vault.address] });
    type Spec = Extract<SourceSpec, { kind: 'hashicorp-vault' }>;
    const kv = (more: Partial<Spec> = {}): Spec => ({
      kind: 'hashicorp-vault',
      address: vault.address,
      login: { method: 'token' },
      secret: { engine: 'kv2', mount: 'secret', path: 'team/api', field: 'token' },
      ...more,
    });

    it('gives a field of KV version 2, with a token, in a namespace', async () => {
      const [token, value] = [secret('tok'), secret('val')];
      vault.tokens.add(token);
      vault.namespace = 'team-a';
      vault.kv.set('secret/team/api', { token: value });
      await use(kv({ namespace: 'team-a' }), { kind: 'bearer' }, key(token));
      await call();
      await call();
      assert.equal(sent()?.authorization, `Bearer ${value}`);
      assert.deepEqual(
        vault.seen.map(({ path }) => path),
        ['secret/data/team/api'],
      );
    });

    it('never gets its token to another address, nor the server the token', async () => {
      const token = secret('tok');
      vault.tokens.add(token);
      const other = await new FakeVault().start();
      await use(kv({ address: other.address }), { kind: 'bearer' }, key(token));
      assert.match((await call()).error?.message ?? '', /is not in the system’s keyring/);
      assert.equal(other.seen.length, 0);
      assert.equal(scene.server.seen.length, 0);
      await other.stop();
    });

    it('is logged in to with AppRole, and again when the token was taken back', async () => {
      const [id, value] = [secret('sec'), secret('val')];
      vault.roles.set('role-1', id);
      vault.kv.set('secret/team/api', { token: value });
      const credential = await use(kv({ login: { method: 'approle', mount: 'approle', roleId: 'role-1' } }), { kind: 'bearer' }, key(id));
      assert.equal((await call()).error, undefined);
      vault.tokens.clear();
      tunnel.core.sources.drop(credential.id);
      assert.match((await call()).error?.message ?? '', /HTTP 403/);
      tunnel.core.sources.drop(credential.id);
      assert.equal((await call()).error, undefined);
      assert.equal(vault.seen.filter(({ path }) => path === 'auth/approle/login').length, 2);
    });

    for (const [what, break_, words] of [
      ['that is sealed', () => (vault.sealed = true), /HTTP 503/],
      ['without the path', () => vault.kv.clear(), /HTTP 404/],
      ['without the field', () => vault.kv.set('secret/team/api', { other: 'x' }), /no text in a field token/],
      ['that refuses the token', () => vault.tokens.clear(), /HTTP 403/],
    ] as const)
      it(`${what} is told`, async () => {
        const [token, value] = [secret('tok'), secret('val')];
        vault.tokens.add(token);
        vault.kv.set('secret/team/api', { token: value });
        break_();
        await use(kv(), { kind: 'bearer' }, key(token));
        assert.match((await call()).error?.message ?? '', words);
        assert.equal(scene.server.seen.length, 0);
      });

    it('gives a lease, whose user name and password go together; refused, another is got and the first given back', async () => {
      const token = secret('tok');
      vault.tokens.add(token);
      const dynamic = kv({ secret: { engine: 'dynamic', path: 'database/creds/app', field: 'password', endsWith: 'grant' } });
      await use(dynamic, { kind: 'basic' }, key(token));
      await call();
      const [[first, password]] = [...vault.leases] as [[string, string]];
      assert.equal(sent()?.authorization, `Basic ${Buffer.from(`v-user-1:${password}`).toString('base64')}`);
      scene.server.behave = (seen, response) =>
        answerJson(
          response,
          resultFor(seen, {}),
          Buffer.from((seen.headers.authorization ?? '').slice(6), 'base64')
            .toString()
            .startsWith('v-user-2:')
            ? 200
            : 401,
        );
      await call();
      assert.deepEqual([...vault.leases.keys()].includes(first), false);
      assert.equal(vault.leases.size, 1);
    });

    for (const [what, end] of [
      ['the last grant', () => tunnel.core.access.revokeServer(tunnel.serverId)],
      ['the window', () => scene.closeTunnels()],
    ] as const)
      it(`gives a lease back with ${what}`, async () => {
        const token = secret('tok');
        vault.tokens.add(token);
        await use(
          kv({ secret: { engine: 'dynamic', path: 'database/creds/app', field: 'password', endsWith: 'grant' } }),
          { kind: 'bearer' },
          key(token),
        );
        await call();
        assert.equal(vault.leases.size, 1);
        await end();
        await vault.asked('sys/leases/revoke');
        assert.equal(vault.leases.size, 0);
      });
  });

  describe('placements', () => {
    it('several at once: cookies share a header', async () => {
      const [a, b] = [secret('one'), secret('two')];
      process.env['CULVERT_TEST_A'] = a;
      process.env['CULVERT_TEST_B'] = b;
      await use({ kind: 'environment', variable: 'CULVERT_TEST_A' }, { kind: 'cookie', name: 'sid' });
      await use({ kind: 'environment', variable: 'CULVERT_TEST_B' }, { kind: 'cookie', name: 'csrf' });
      await use({ kind: 'environment', variable: 'CULVERT_TEST_A' }, { kind: 'header', name: 'X-Key' });
      await call();
      assert.deepEqual([sent()?.cookie, sent()?.['x-key']], [`sid=${a}; csrf=${b}`, a]);
    });

    it('an AWS signature over what goes out, with keys of a credential process', async () => {
      const value = secret('aws');
      await use(
        printing(
          JSON.stringify({ Version: 1, AccessKeyId: 'AKIDAKIDAKIDAKID', SecretAccessKey: value, SessionToken: 'session-token-of-test' }),
        ),
        {
          kind: 'aws-sigv4',
          region: 'eu-central-1',
          service: 'bedrock-agentcore',
        },
      );
      await call({ a: 1 });
      assert.match(
        sent()?.authorization ?? '',
        /^AWS4-HMAC-SHA256 Credential=AKIDAKIDAKIDAKID\/\d{8}\/eu-central-1\/bedrock-agentcore\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
      );
      const { headers, body, url } = scene.server.seen.at(-1)!;
      const at = headers['x-amz-date'] as string;
      const again = signV4(
        { method: 'POST', url: new URL(url, scene.server.origin), headers: { 'content-type': headers['content-type']! }, body },
        { accessKeyId: 'AKIDAKIDAKIDAKID', secretAccessKey: new Secret(value), sessionToken: new Secret('session-token-of-test') },
        {
          region: 'eu-central-1',
          service: 'bedrock-agentcore',
          now: Date.parse(at.replace(/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/, '$1-$2-$3T$4:$5:$6Z')),
        },
      );
      assert.equal(headers.authorization, again['authorization']);
    });

    it('an argument, only where it was bound; the record has the placeholder', async () => {
      const value = secret('arg');
      process.env['CULVERT_TEST_A'] = value;
      const mark = '${' + 'culvert:db}';
      await use(
        { kind: 'environment', variable: 'CULVERT_TEST_A' },
        { kind: 'argument', placeholder: 'db', places: [{ tool: 'connect', argument: '/password' }] },
      );
      assert.equal((await call({ password: mark }, 'connect')).error, undefined);
      assert.deepEqual((JSON.parse(scene.server.seen.at(-1)!.body.toString()) as { params: { arguments: unknown } }).params.arguments, {
        password: value,
      });
      const before = scene.server.seen.length;
      assert.match((await call({ note: mark }, 'connect')).error?.message ?? '', /may not stand in note of connect/);
      assert.match((await call({ password: mark }, 'print')).error?.message ?? '', /may not stand in password of print/);
      assert.equal(scene.server.seen.length, before);
      assert.equal((await call({ note: '${' + 'culvert:nobody}' }, 'print')).error, undefined);
    });

    it('what a server sends back of it never reaches the agent', async () => {
      const value = secret('echo');
      write('token', value);
      await use({ kind: 'file', path: join(folder.path, 'token'), format: 'text' });
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { got: seen.headers.authorization }));
      const answer = await send(tunnel, { body: toolCall('echo', {}) });
      assert.deepEqual(tracesIn(answer.body, value), []);
    });
  });

  it('a server that moved gets nothing: the row counts, whatever the source would give', async () => {
    process.env['CULVERT_TEST_A'] = secret('one');
    const credential = await use({ kind: 'environment', variable: 'CULVERT_TEST_A' });
    await tunnel.core.credentials.rebind(credential.id, ['https://elsewhere.example']);
    assert.match((await call()).error?.message ?? '', /is not bound to/);
    assert.equal(scene.server.seen.length, 0);
  });
});
