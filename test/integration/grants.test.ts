import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { NewGrant } from '../../src/authorization/grantChanges.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { fetchThrough, modern, open, over, readUntil, rpc, send, toolCall, type Door } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor } from '../support/fakeServer.ts';
import { ManualClock } from '../support/manualClock.ts';
import { callsOn, lastCall, newScene, recorded, WaitingApprover, type Scene } from '../support/tunnels.ts';
import { EverythingServer } from './bridgePeers.ts';

/** What the tools of a real server are, as far as these tests call them. */
const REAL = { echo: 'echo', sum: 'get-sum' } as const;

describe('grants in front of a real server', () => {
  const server = new EverythingServer();
  let tunnel: HeadlessTunnel;
  let client: Client;
  let approver: WaitingApprover;
  before(() => server.start());
  after(() => server.stop());
  beforeEach(async () => {
    approver = new WaitingApprover();
    tunnel = await startTunnel({ upstream: { url: server.url, label: 'Real' }, access: 'nothing', requestAccess: true, approver });
    client = new Client({ name: 'test', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: fetchThrough(tunnel) }));
  });
  afterEach(async () => {
    await client.close();
    await tunnel.close();
  });
  const give = (grant: Partial<NewGrant> & Pick<NewGrant, 'target'>) =>
    tunnel.core.access.give({ server: tunnel.serverId, effect: 'allow', scope: {}, givenBy: 'headless', ...grant });
  const echo = async (message: string) => {
    const result = await client.callTool({ name: REAL.echo, arguments: { message } });
    return JSON.stringify(result.content);
  };

  it('conditions on arguments let one call through and stop another', async () => {
    give({ target: { kind: 'tools', names: [REAL.echo] }, conditions: [{ test: 'prefix', at: '/message', prefix: 'hello ' }] });
    assert.match(await echo('hello world'), /Echo: hello world/);
    await assert.rejects(echo('goodbye'), /allowed only where message begins with “hello ”, and these arguments are not like that/);
    await assert.rejects(echo('HELLO world'), /that is not certain/);
    assert.deepEqual(
      callsOn(tunnel)
        .filter((c) => c.intent.tool === REAL.echo)
        .map((c) => c.intent.effect),
      ['allow', 'deny', 'deny'],
    );
  });

  it('a denial by arguments beats a permission for the tool', async () => {
    give({ target: { kind: 'all-tools' } });
    give({ target: { kind: 'tools', names: [REAL.sum] }, effect: 'deny', conditions: [{ test: 'range', at: '/a', min: 100 }] });
    const sum = (a: unknown, b = 1) => client.callTool({ name: REAL.sum, arguments: { a, b } });
    assert.match(JSON.stringify((await sum(2)).content), /3/);
    await assert.rejects(sum(100), /denied by the user where a is at least 100/);
    await assert.rejects(sum('100'), /denied by the user/);
  });

  it('a tool that only some arguments open is listed; one that none opens is not', async () => {
    give({ target: { kind: 'tools', names: [REAL.echo] }, conditions: [{ test: 'equals', at: '/message', value: 'x' }] });
    give({ target: { kind: 'tools-like', patterns: ['get-*'] } });
    give({ target: { kind: 'tools', names: [REAL.sum] }, effect: 'deny', conditions: [{ test: 'equals', at: '/a', value: 1 }] });
    give({ target: { kind: 'tools', names: ['get-env'] }, effect: 'deny' });
    const names = (await client.listTools()).tools.map((t) => t.name);
    assert.ok(names.includes(REAL.echo) && names.includes(REAL.sum), names.join());
    assert.ok(!names.includes('get-env'), names.join());
  });

  it('a grant for one session is none for another of the same agent', async () => {
    // What names the session in a grant is what the question carries.
    give({ target: { kind: 'tools', names: [REAL.echo] }, effect: 'ask' });
    const second = new Client({ name: 'other', version: '1' });
    await second.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: fetchThrough(tunnel) }));
    const waiting = echo('one');
    await approver.questions(1);
    const session = approver.asked[0]?.principal.session;
    assert.match(session ?? '', /^[\w-]{43}$/);
    tunnel.core.access.revokeServer(tunnel.serverId);
    await assert.rejects(waiting);
    give({ target: { kind: 'tools', names: [REAL.echo] }, scope: { session } });
    assert.match(await echo('two'), /Echo: two/);
    await assert.rejects(second.callTool({ name: REAL.echo, arguments: { message: 'three' } }), /The user allowed it elsewhere/);
    await second.close();
  });
});

describe('access that an agent asks for', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open({ access: 'nothing', requestAccess: true });
    scene.server.behave = (seen, response) =>
      answerJson(
        response,
        resultFor(
          seen,
          seen.body.includes('tools/list')
            ? { tools: ['read', 'write', 'gone'].map((name) => ({ name, inputSchema: { type: 'object' } })) }
            : {},
        ),
      );
  });
  afterEach(() => scene.close());
  const list = async (door: Door = tunnel) =>
    ((await send(door, { body: rpc('tools/list') })).json().result?.['tools'] ?? []) as { name: string; description?: string }[];
  const request = (args: unknown, door: Door = tunnel) => send(door, { body: toolCall('request_access', args, 'ask-1') });
  const textOf = (result: Record<string, unknown> | undefined) => (result?.['content'] as { text: string }[] | undefined)?.[0]?.text ?? '';

  it('leads from a denied call to a question, and from its answer to a call that passes', async () => {
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['gone'] }, 'deny', 'tree');
    const [own, ...others] = (await list()).reverse();
    assert.deepEqual([own?.name, others], ['request_access', []]);
    assert.match(own?.description ?? '', /can be asked for: read, write\.$/);
    const refused = await send(tunnel, { body: toolCall('write', { x: 1 }) });
    assert.match(refused.json().error?.message ?? '', /ask with the tool “request_access”/);
    const before = scene.server.seen.length;
    const asking = request({ tools: ['write'], reason: 'to close the issue', duration_minutes: 5 });
    await scene.approver.questions(1);
    const question = scene.approver.asked[0]!;
    assert.deepEqual(
      [question.wish?.tools, question.wish?.reason, question.wish?.durationMs, question.destination],
      [['write'], 'to close the issue', 300_000, new URL(scene.server.url).host],
    );
    scene.approver.answer(0, 'once');
    const answer = (await asking).json();
    assert.deepEqual([answer.id, answer.result?.['isError']], ['ask-1', undefined]);
    assert.match(textOf(answer.result), /^Allowed now: “write”/);
    assert.equal(scene.server.seen.length, before, 'the server was asked');
    assert.equal((await send(tunnel, { body: toolCall('write', { x: 1 }) })).json().error, undefined);
    assert.notEqual((await send(tunnel, { body: toolCall('read') })).json().error, undefined);
    const asked = callsOn(tunnel).find((c) => c.intent.tool === 'request_access');
    assert.deepEqual([asked?.intent.effect, asked?.outcome?.result], ['allow', 'ok']);
    assert.match(asked?.intent.arguments ?? '', /to close the issue/);
    const given = tunnel.core.access.forServer(tunnel.serverId).find((g) => g.givenBy === 'request');
    assert.equal(given?.why, 'to close the issue');
    assert.ok(given.expiresAt !== undefined);
  });

  it('is answered in the form of the modern era too', async () => {
    const asking = send(tunnel, modern('tools/call', { name: 'request_access', arguments: { tools: ['read'], reason: 'why' } }));
    await scene.approver.questions(1);
    scene.approver.answer(0, 'no');
    const { result } = (await asking).json();
    assert.deepEqual([result?.['resultType'], result?.['isError']], ['complete', true]);
    assert.match(textOf(result), /^Not allowed: “read”/);
  });

  it('is refused in words for arguments that make no sense, tools that are none, and in a pause; nobody is asked', async () => {
    await list();
    for (const args of [{}, { tools: [], reason: 'x' }, { tools: ['read'] }, { tools: ['read'], reason: 'x', duration_minutes: 1e9 }])
      assert.equal((await request(args)).json().result?.['isError'], true, JSON.stringify(args));
    assert.match(textOf((await request({ tools: ['read', 'nothing'], reason: 'x' })).json().result), /has no tool "nothing"/);
    tunnel.core.setPaused(true);
    assert.match((await request({ tools: ['read'], reason: 'x' })).json().error?.message ?? '', /paused/);
    assert.equal(scene.approver.asked.length, 0);
  });

  it('is a tool of the server if the server has one of that name', async () => {
    tunnel.core.access.start(tunnel.serverId, 'everything', 'tree');
    scene.server.behave = (seen, response) =>
      answerJson(
        response,
        resultFor(seen, seen.body.includes('tools/list') ? { tools: [{ name: 'request_access', inputSchema: {} }] } : { theirs: 1 }),
      );
    assert.deepEqual(
      (await list()).map((t) => t.name),
      ['request_access'],
    );
    assert.deepEqual((await request({ tools: ['read'], reason: 'x' })).json().result, { theirs: 1 });
    assert.equal(scene.approver.asked.length, 0);
  });

  it('is not offered before the last page, nor where the tunnel does not offer it', async () => {
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { tools: [], nextCursor: 'more' }));
    assert.deepEqual(await list(), []);
    const plain = await scene.open({ access: 'nothing', stateFolder: undefined as never });
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { tools: [] }));
    assert.deepEqual(await list(plain), []);
    const before = scene.server.seen.length;
    assert.doesNotMatch((await request({ tools: ['x'], reason: 'x' }, plain)).json().error?.message ?? '', /ask with/);
    assert.equal(scene.server.seen.length, before);
  });
});

describe('grants that end', () => {
  let scene: Scene;
  afterEach(() => scene.close());

  it('are used as often as they say and not once more, under two windows at once', async () => {
    scene = await newScene();
    const vault = new MemorySecretStore();
    const [one, two] = [await scene.open({ vault, access: 'nothing' }), await scene.open({ vault })];
    one.core.access.give({
      server: one.serverId,
      target: { kind: 'tools', names: ['echo'] },
      effect: 'allow',
      scope: {},
      givenBy: 'tree',
      uses: 25,
    });
    const answers = await Promise.all(
      Array.from({ length: 80 }, (_, i) => send(i % 2 === 0 ? one : two, { body: toolCall('echo', { i }, i) })),
    );
    const passed = answers.filter((a) => a.json().error === undefined).length;
    assert.deepEqual([passed, scene.server.seen.length], [25, 25]);
    assert.match(answers.map((a) => a.json().error?.message ?? '').join(), /number of uses that the user allowed is used up/);
    assert.equal(two.core.access.used(two.core.access.all()[0]!.id), 25);
  });

  it('are used no faster than their rate, and again when time has passed', async () => {
    scene = await newScene();
    const clock = new ManualClock();
    const tunnel = await scene.open({ access: 'nothing', clock });
    tunnel.core.access.give({
      server: tunnel.serverId,
      target: { kind: 'tools', names: ['echo'] },
      effect: 'allow',
      scope: {},
      givenBy: 'tree',
      rate: { count: 3, perMs: 60_000 },
    });
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json().error?.message;
    for (let i = 0; i < 3; i++) assert.equal(await call(), undefined);
    assert.match((await call()) ?? '', /3 times per 1 minute/);
    clock.advance(60_001);
    assert.equal(await call(), undefined);
    // Set back, the clock gives nothing back: what was used a minute ago is used half a minute ago then.
    clock.setWallClock(clock.now() - 30_000);
    assert.match((await call()) ?? '', /3 times per 1 minute/);
    clock.advance(30_001);
    for (let i = 0; i < 2; i++) assert.equal(await call(), undefined);
    assert.match((await call()) ?? '', /3 times per 1 minute/);
  });

  it('do not stop the call that took the last use, nor what runs beside it', async () => {
    scene = await newScene();
    const tunnel = await scene.open({ access: 'nothing' });
    tunnel.core.access.give({
      server: tunnel.serverId,
      target: { kind: 'tools', names: ['slow'] },
      effect: 'allow',
      scope: {},
      givenBy: 'tree',
      uses: 2,
    });
    const finish: (() => void)[] = [];
    scene.server.behave = (seen, response) => finish.push(() => answerJson(response, resultFor(seen, { ok: true })));
    const running = [0, 1].map((i) => send(tunnel, { body: toolCall('slow', {}, i) }));
    await scene.server.received(2);
    assert.notEqual((await send(tunnel, { body: toolCall('slow', {}, 2) })).json().error, undefined);
    // A change of something else makes the tunnel look at what runs.
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['other'] }, 'deny', 'tree');
    for (const end of finish) end();
    for (const answer of await Promise.all(running)) assert.deepEqual(answer.json().result, { ok: true });
  });

  it('end when their time is over, however the clock is set', async () => {
    scene = await newScene();
    const clock = new ManualClock();
    const tunnel = await scene.open({ access: 'nothing', clock });
    const start = clock.now();
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json().error?.message;
    const give = () => tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['echo'] }, 'allow', 'tree', clock.now() + 600_000);
    give();
    assert.equal(await call(), undefined);
    clock.setWallClock(start - 86_400_000);
    assert.match((await call()) ?? '', /is not allowed/);
    clock.setWallClock(start + 86_400_000);
    assert.match((await call()) ?? '', /time for which the user allowed it is over/);
    clock.setWallClock(start);
    assert.match((await call()) ?? '', /is over/, 'what was seen to end stays ended');
    give();
    assert.equal(await call(), undefined);
    // The wall clock stands still while time passes.
    clock.advance(601_000 + 60_000);
    clock.setWallClock(start + 1_000);
    assert.match((await call()) ?? '', /is over/);
  });

  it('end with their window, and are no good in another', async () => {
    scene = await newScene();
    const vault = new MemorySecretStore();
    const [one, two] = [await scene.open({ vault, access: 'nothing' }), await scene.open({ vault })];
    const asking = () =>
      one.core.access.give({ server: one.serverId, target: { kind: 'all-tools' }, effect: 'ask', scope: {}, givenBy: 'tree' });
    const ask = asking();
    const waiting = send(one, { body: toolCall('echo') });
    await scene.approver.questions(1);
    const { proposals } = scene.approver.asked[0]!;
    scene.approver.answer(0, { kind: 'proposal', proposal: proposals.find((p) => p.id === 'tool')!.id, effect: 'allow', where: 'window' });
    assert.equal((await waiting).json().error, undefined);
    one.core.access.revoke([ask.id]);
    assert.equal((await send(one, { body: toolCall('echo') })).json().error, undefined);
    assert.notEqual((await send(two, { body: toolCall('echo') })).json().error, undefined);
    assert.equal(two.core.access.all().length, 1);
    await one.close();
    assert.equal(two.core.access.all().length, 0);
  });

  it('hold only on their branch', async () => {
    scene = await newScene();
    let branch: string | undefined = 'main';
    const tunnel = await scene.open({ access: 'nothing', branch: () => branch, workspace: { workspace: 'ws-1', workspaceName: 'Shop' } });
    tunnel.core.access.give({
      server: tunnel.serverId,
      target: { kind: 'tools', names: ['echo'] },
      effect: 'allow',
      scope: { workspace: 'ws-1', branch: 'main' },
      givenBy: 'tree',
    });
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json().error?.message;
    assert.equal(await call(), undefined);
    branch = 'release';
    assert.match((await call()) ?? '', /allowed it on branch main, but another branch is checked out/);
    branch = undefined;
    assert.notEqual(await call(), undefined);
    branch = 'main';
    assert.equal(await call(), undefined);
  });
});

describe('tasks of the user', () => {
  let scene: Scene;
  let clock: ManualClock;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    clock = new ManualClock();
    tunnel = await scene.open({ access: 'nothing', clock, approvalTimeoutMs: 3_600_000 });
  });
  afterEach(() => scene.close());
  const start = (effect: 'allow' | 'ask' = 'allow') =>
    tunnel.core.access.startTask({ name: 'Fix the build', servers: [tunnel.serverId], durationMs: 600_000 }, [
      { server: tunnel.serverId, target: { kind: 'all-tools' }, effect },
    ]);

  for (const [how, end] of Object.entries({
    'by the user': (id: string) => tunnel.core.access.endTask(id),
    'by its time': () => clock.advance(600_600),
  }))
    it(`that end ${how} end their grants, open streams and questions`, async () => {
      const task = start();
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.write(event({ jsonrpc: '2.0', method: 'notifications/message', params: {} }));
      };
      const stream = await open(tunnel, { body: toolCall('slow') }).response;
      await readUntil(stream, 'notifications/message');
      tunnel.core.access.give({
        server: tunnel.serverId,
        target: { kind: 'tools', names: ['careful'] },
        effect: 'ask',
        scope: {},
        givenBy: 'task',
        endsWith: { kind: 'task', task: task.id },
      });
      const asking = send(tunnel, { body: toolCall('careful') });
      await scene.approver.questions(1);
      const ended = over(stream);
      end(task.id);
      assert.equal(await ended, 'broken');
      assert.match((await asking).json().error?.message ?? '', /is not allowed/);
      assert.deepEqual(tunnel.core.access.forServer(tunnel.serverId), []);
      assert.deepEqual(tunnel.core.access.tasks.running(), []);
      assert.notEqual((await send(tunnel, { body: toolCall('echo') })).json().error, undefined);
      const acts = tunnel.core.audit.entries({ limit: 100 }).flatMap((e) => (e.kind === 'act' && 'act' in e.body ? [e.body] : []));
      for (const act of ['task-started', 'task-ended'])
        assert.deepEqual(
          acts.filter((a) => a.act === act).map((a) => [a.subject, a.id]),
          [['Fix the build', task.id]],
        );
    });

  it('bind what is allowed by hand meanwhile, and leave lasting grants alone', async () => {
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['old'] }, 'allow', 'tree');
    const task = start('ask');
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['new'] }, 'allow', 'tree');
    for (const tool of ['old', 'new']) {
      assert.equal((await send(tunnel, { body: toolCall(tool) })).json().error, undefined, tool);
      assert.equal(lastCall(tunnel).intent.task, tool === 'new' ? 'Fix the build' : undefined);
    }
    tunnel.core.access.endTask(task.id);
    assert.equal((await send(tunnel, { body: toolCall('old') })).json().error, undefined);
    assert.match((await send(tunnel, { body: toolCall('new') })).json().error?.message ?? '', /is not allowed/);
  });
});

describe('what the user was shown', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open({ access: 'ask' });
  });
  afterEach(() => scene.close());
  const server = () => tunnel.core.servers.get(tunnel.serverId)!;
  const asked = async (meanwhile: () => Promise<void> | void, answer: 'once' | 'always' | 'short') => {
    const waiting = send(tunnel, { body: toolCall('echo', { text: 'x' }) });
    await scene.approver.questions(1);
    await meanwhile();
    scene.approver.answer(0, answer);
    return (await waiting).json();
  };

  for (const answer of ['once', 'always', 'short'] as const)
    it(`is what is sent (${answer})`, async () => {
      assert.equal((await asked(() => undefined, answer)).error, undefined);
      assert.equal(scene.server.seen.length, 1);
    });

  for (const [what, change] of Object.entries<() => Promise<void> | void>({
    'where it goes': () => tunnel.core.servers.put({ ...server(), upstream: { kind: 'http', url: 'http://127.0.0.1:9/mcp' } }),
    'the path there': () => tunnel.core.servers.put({ ...server(), upstream: { kind: 'http', url: `${scene.server.origin}/other` } }),
    'its credentials': async () => {
      const { Secret } = await import('../../src/credentials/secret.ts');
      const { madeUpSecret } = await import('../support/secrets.ts');
      const sealed = await tunnel.core.credentials.seal('extra', { kind: 'bearer' }, [scene.server.origin], new Secret(madeUpSecret()));
      tunnel.core.servers.put({ ...server(), credentials: [sealed.id] });
    },
  }))
    it(`is not sent any more once ${what} changed`, async () => {
      const answer = await asked(change, 'once');
      assert.match(answer.error?.message ?? '', /What the user was asked about changed before it was sent/);
      assert.equal(scene.server.seen.length, 0);
      assert.deepEqual([lastCall(tunnel).intent.effect, lastCall(tunnel).outcome?.result], ['allow', 'denied']);
    });

  it('serves no other arguments', async () => {
    const first = send(tunnel, { body: toolCall('echo', { text: 'x' }, 1) });
    await scene.approver.questions(1);
    const second = send(tunnel, { body: toolCall('echo', { text: 'x ' }, 2) });
    scene.approver.answer(0, 'all');
    assert.equal((await first).json().error, undefined);
    await scene.approver.questions(2);
    scene.approver.answer(1, 'no');
    assert.match((await second).json().error?.message ?? '', /the user said no/);
    assert.match(
      (await send(tunnel, { body: toolCall('echo', { text: 'x ' }, 3) })).json().error?.message ?? '',
      /said no to exactly this/,
    );
    assert.equal(scene.server.seen.length, 1);
  });
});

describe('long-running tasks of a server under grants with limits', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open({ access: 'nothing' });
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, seen.body.includes('tools/call') ? { task: { taskId: 't-1', status: 'working' } } : { ok: 1 }));
  });
  afterEach(() => scene.close());
  const begin = (args: unknown) => send(tunnel, { body: rpc('tools/call', { name: 'slow', arguments: args, task: {} }) });
  const result = async () => (await send(tunnel, { body: rpc('tasks/result', { taskId: 't-1' }) })).json().error?.message;

  it('are decided by the arguments of the call that began them, and take no use', async () => {
    const grant = tunnel.core.access.give({
      server: tunnel.serverId,
      target: { kind: 'tools', names: ['slow'] },
      effect: 'allow',
      scope: {},
      givenBy: 'tree',
      uses: 1,
      conditions: [{ test: 'equals', at: '/repo', value: 'shop' }],
    });
    assert.equal((await begin({ repo: 'shop' })).json().error, undefined);
    for (let i = 0; i < 3; i++) assert.equal(await result(), undefined);
    assert.equal(tunnel.core.access.used(grant.id), 1);
    assert.match((await begin({ repo: 'shop' })).json().error?.message ?? '', /used up/);
    tunnel.core.access.give({
      server: tunnel.serverId,
      target: { kind: 'tools', names: ['slow'] },
      effect: 'deny',
      scope: {},
      givenBy: 'tree',
      conditions: [{ test: 'equals', at: '/repo', value: 'other' }],
    });
    assert.equal(await result(), undefined, 'a denial that is not about it leaves it alone');
    tunnel.core.access.revoke([grant.id]);
    assert.match((await result()) ?? '', /is not allowed|is denied/);
    await recorded(tunnel, () => lastCall(tunnel).outcome !== undefined);
    assert.equal(lastCall(tunnel).intent.tool, 'slow');
  });
});
