import assert from 'node:assert/strict';
import { newId } from '../../src/common/identifiers.ts';
import { bindingOf, type Server } from '../../src/mcp/server.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall, type Door } from '../support/agent.ts';
import { FakeServer, answerJson, resultFor } from '../support/fakeServer.ts';
import { tracesIn } from '../support/secrets.ts';
import { newScene, recordText, type Scene } from '../support/tunnels.ts';
import { noteSecret } from '../support/noted.ts';

/** “Create a key here, store it there”: the model never sees it. */
describe('Secrets handed from one tool to another', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  let there: FakeServer;
  let store: Server;
  /** Looks like a GitHub token by its form; made up. */
  const value = noteSecret(['ghp', `${'q7Xm2Kd9'.repeat(4)}Wz4t`].join('_'));
  const MARK = /⟦culvert:[0-9a-f]{8}⟧/;

  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open();
    there = await new FakeServer().start();
    store = {
      version: 1,
      id: newId('srv'),
      label: 'Store',
      upstream: { kind: 'http', url: there.url },
      credentials: [],
      createdAt: Date.now(),
    };
    tunnel.core.servers.put(store);
    tunnel.core.access.start(store.id, 'everything', 'headless');
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `key: ${value}.` }] }));
  });
  afterEach(async () => {
    assert.deepEqual(tracesIn(recordText(tunnel), value), []);
    assert.deepEqual(tracesIn(scene.log.lines.join('\n'), value), []);
    await there.stop();
    await scene.close();
  });

  const allow = (tool = 'put') =>
    tunnel.core.handovers.allow({
      from: { server: tunnel.serverId, tool: 'create' },
      to: { server: store.id, tool },
      binding: bindingOf(store.upstream),
    });
  const door = (client: 'agent' | 'vscode' = 'agent'): Door => ({
    ...tunnel,
    path: tunnel.tunnel.endpoint(store.id),
    token: tunnel.tunnel.issue(store.id, client, 'own').token,
  });
  const create = async () => {
    const { body } = await send(tunnel, { body: toolCall('create', {}) });
    assert.deepEqual(tracesIn(body, value), []);
    return MARK.exec(body.toString())?.[0];
  };
  const put = async (args: unknown, tool = 'put', at = door()) => (await send(at, { body: toolCall(tool, args) })).json().error?.message;
  const received = () => (JSON.parse(there.seen.at(-1)!.body.toString()) as { params: { arguments: unknown } }).params.arguments;

  it('arrive where the user allowed it, in any argument, written raw or escaped', async () => {
    allow();
    const mark = await create();
    assert.ok(mark);
    assert.equal(await create(), mark, 'the same for the same value');
    assert.equal(await put({ items: [{ secret: `Bearer ${mark}` }] }), undefined);
    assert.deepEqual(received(), { items: [{ secret: `Bearer ${value}` }] });
    const escaped = JSON.stringify(toolCall('put', { secret: mark }))
      .replaceAll('⟦', '\\u27e6')
      .replaceAll('⟧', '\\u27e7');
    assert.equal((await send(door(), { body: Buffer.from(escaped) })).json().error, undefined);
    assert.deepEqual(received(), { secret: value });
  });

  it('go nowhere else: another tool, another server, another agent, a server that moved, a guess', async () => {
    const rule = allow();
    const mark = (await create())!;
    assert.match((await put({ secret: mark }, 'print')) ?? '', /did not allow for print/);
    assert.match(
      (await send(tunnel, { body: toolCall('create', { secret: mark }) })).json().error?.message ?? '',
      /did not allow for create/,
    );
    assert.match((await put({ secret: mark }, 'put', door('vscode'))) ?? '', /was not given to this agent/);
    assert.match((await put({ secret: '⟦culvert:00000000⟧' })) ?? '', /is over/);
    tunnel.core.servers.put({ ...store, upstream: { kind: 'http', url: there.url.replace('127.0.0.1', 'localhost') } });
    assert.match((await put({ secret: mark })) ?? '', /did not allow/);
    tunnel.core.servers.put(store);
    tunnel.core.handovers.forget(rule.id);
    assert.match((await put({ secret: mark })) ?? '', /did not allow/);
    assert.equal(there.seen.length, 0);
  });

  it('end with the task', async () => {
    allow();
    const task = tunnel.core.access.startTask({ name: 'keys', servers: [], durationMs: 60_000 }, []);
    const mark = await create();
    assert.equal(await put({ secret: mark }), undefined);
    tunnel.core.access.endTask(task.id);
    assert.match((await put({ secret: mark })) ?? '', /is over/);
  });

  it('without permission are redacted as ever, and a placeholder is only text', async () => {
    assert.equal(await create(), undefined);
    assert.equal(await put({ secret: '⟦culvert:00000000⟧' }), undefined);
  });

  it('that come back from the second server are taken out', async () => {
    allow();
    const mark = await create();
    there.behave = (seen, response) => answerJson(response, resultFor(seen, { stored: JSON.parse(seen.body.toString()) as unknown }));
    const { body } = await send(door(), { body: toolCall('put', { secret: mark }) });
    assert.deepEqual(tracesIn(body, value), []);
  });
});
