import assert from 'node:assert/strict';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { startReferenceServer, type ReferenceServer } from '../conformance/server.ts';
import { TASKS_EXTENSION } from '../conformance/tasks.ts';
import { fetchThrough, modern, rpc, send, type Door, type Got } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { callsOn, lastCall, newScene, type Scene } from '../support/tunnels.ts';
import { EverythingServer } from './bridgePeers.ts';

const codeOf = (got: Got) => [got.status, got.json().error?.code];

/** PROTOCOL.md 1: a task belongs to whoever began it, and is decided as the tool that it runs. */
describe('tasks', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  let other: Door;
  const value = madeUpSecret();
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open({ auth: { placement: { kind: 'bearer' }, value, name: 'demo' }, limits: { tasks: 3 } });
    other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
  });
  afterEach(() => scene.close());

  /** Begins a task in the older era; the server calls it `id`. */
  const begin = async (id: string, tool = 'slow', door: Door = tunnel) => {
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { task: { taskId: id, status: 'working' } }));
    const got = await send(door, { body: rpc('tools/call', { name: tool, arguments: {}, task: { ttl: 60_000 } }) });
    assert.deepEqual(got.json().result, { task: { taskId: id, status: 'working' } });
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { taskId: id, content: [{ type: 'text', text: value }] }));
  };
  const ask = (method: string, taskId: string, door: Door = tunnel) => send(door, { body: rpc(method, { taskId }) });
  const unseen = async (asking: Promise<Got>) => {
    const before = scene.server.seen.length;
    const got = await asking;
    assert.equal(scene.server.seen.length, before, 'the server was contacted');
    return got;
  };

  for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel', 'tasks/update'])
    it(`${method} of a task goes to whoever began it, and to nobody else`, async () => {
      await begin('t-1');
      assert.equal((await ask(method, 't-1')).json().error, undefined);
      const foreign = await unseen(ask(method, 't-1', other));
      assert.deepEqual(codeOf(foreign), [200, -32602]);
      assert.match(foreign.json().error?.message ?? '', /There is no such task of this agent/);
      assert.equal(lastCall(tunnel).intent.effect, 'deny');
      for (const id of ['T-1', 't-1 ', 't-2', '']) assert.deepEqual(codeOf(await unseen(ask(method, id))), [200, -32602], id);
    });

  it('stand on the record with their tool and the call that began them', async () => {
    await begin('t-1');
    const { exchange } = tunnel.core.audit.activities({ limit: 1 })[0]!;
    await ask('tasks/result', 't-1');
    assert.deepEqual([lastCall(tunnel).intent.tool, lastCall(tunnel).intent.continues], ['slow', exchange]);
  });

  it('bring no secret with their result', async () => {
    await begin('t-1');
    const got = await ask('tasks/result', 't-1');
    assert.deepEqual(tracesIn(got.body, value), []);
    assert.equal(tunnel.core.findings.list({ dismissed: false })[0]?.tool, 'slow');
  });

  it('are learned from a stream too, and not from what only looks like one', async () => {
    scene.server.behave = (seen, response) => {
      beginStream(response);
      response.end(
        event({ jsonrpc: '2.0', id: 99, result: { task: { taskId: 't-9' } } }) + event(resultFor(seen, { task: { taskId: 't-1' } })),
      );
    };
    await send(tunnel, { body: rpc('tools/call', { name: 'slow', arguments: {}, task: {} }) });
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { task: { taskId: 't-2' } }));
    await send(tunnel, { body: rpc('tools/call', { name: 'slow', arguments: {} }) });
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { content: [{ text: '"taskId"', task: { taskId: 't-3' } }] }));
    await send(tunnel, { body: rpc('tools/call', { name: 'slow', arguments: {}, task: {} }) });
    assert.equal((await ask('tasks/get', 't-1')).json().error, undefined);
    for (const id of ['t-9', 't-2', 't-3']) assert.equal((await ask('tasks/get', id)).json().error?.code, -32602, id);
  });

  it('give nothing more once their tool is taken away, but can be cancelled', async () => {
    await begin('t-1');
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['slow'] }, 'deny', 'tree');
    for (const method of ['tasks/get', 'tasks/result', 'tasks/update']) {
      const got = await unseen(ask(method, 't-1'));
      assert.deepEqual(codeOf(got), [200, -31001]);
      assert.match(got.json().error?.message ?? '', /The tool “slow” of Fake is denied by the user/);
    }
    assert.equal((await ask('tasks/cancel', 't-1')).json().error, undefined);
  });

  it('end while their result is waited for, when their tool is taken away', async () => {
    await begin('t-1');
    scene.server.behave = () => undefined;
    const before = scene.server.seen.length;
    const waiting = ask('tasks/result', 't-1');
    await scene.server.received(before + 1);
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['slow'] }, 'deny', 'tree');
    assert.match((await waiting).json().error?.message ?? '', /The call was ended/);
  });

  it('ask the user once, when they begin', async () => {
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['slow'] }, 'ask', 'headless');
    const began = begin('t-1');
    await scene.approver.questions(1);
    scene.approver.answer(0, 'once');
    await began;
    for (const method of ['tasks/get', 'tasks/result']) assert.equal((await ask(method, 't-1')).json().error, undefined);
    assert.equal(scene.approver.asked.length, 1);
    assert.equal(lastCall(tunnel).intent.decidedBy, 'answered');
  });

  it('of others, and of tools that are not allowed, are not listed', async () => {
    await begin('mine');
    await begin('hidden', 'gone');
    await begin('theirs', 'slow', other);
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['gone'] }, 'deny', 'tree');
    for (const stream of [false, true]) {
      scene.server.behave = (seen, response) => {
        const text = resultFor(seen, { tasks: ['theirs', 'mine', 'hidden', 'unknown'].map((taskId) => ({ taskId })), nextCursor: 'c' });
        if (!stream) answerJson(response, text);
        else {
          beginStream(response);
          response.end(event(text));
        }
      };
      const got = await send(tunnel, { body: rpc('tasks/list') });
      const text = got.body.toString().replace(/^event: message\ndata: /, '');
      assert.deepEqual((JSON.parse(text) as { result: unknown }).result, { tasks: [{ taskId: 'mine' }], nextCursor: 'c' });
    }
  });

  it('are remembered as many as there may be; the client of the oldest is told so', async () => {
    for (const id of ['t-1', 't-2', 't-3']) await begin(id);
    assert.equal((await ask('tasks/get', 't-1')).json().error, undefined);
    await begin('t-4');
    assert.match((await unseen(ask('tasks/get', 't-1'))).json().error?.message ?? '', /Call the tool again/);
    for (const id of ['t-2', 't-3', 't-4']) assert.equal((await ask('tasks/get', id)).json().error, undefined, id);
  });

  it('are nobody’s if the answer that begins them is no handle any more', async () => {
    scene.server.behave = (seen, response) =>
      answerJson(response, resultFor(seen, { task: { taskId: 't-1' }, pad: 'x'.repeat(64 * 1024) }));
    assert.equal((await send(tunnel, { body: rpc('tools/call', { name: 'slow', arguments: {}, task: {} }) })).json().error, undefined);
    assert.equal((await unseen(ask('tasks/get', 't-1'))).json().error?.code, -32602);
  });

  describe('in the modern era', () => {
    const declared = { _meta: { 'io.modelcontextprotocol/clientCapabilities': { extensions: { [TASKS_EXTENSION]: {} } } } };
    const about = (method: string, taskId: string, params: object = declared) => {
      const { body, headers } = modern(method, { taskId, ...params });
      return { body, headers: { ...headers, 'mcp-name': taskId } };
    };
    beforeEach(async () => {
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { resultType: 'task', taskId: 'm-1', status: 'working' }));
      await send(tunnel, modern('tools/call', { name: 'slow', arguments: {}, ...declared }));
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { resultType: 'complete', taskId: 'm-1' }));
    });

    it('belong to whoever began them', async () => {
      assert.equal((await send(tunnel, about('tasks/get', 'm-1'))).json().error, undefined);
      assert.deepEqual(codeOf(await unseen(send(other, about('tasks/get', 'm-1')))), [200, -32602]);
    });

    it('must be named in the header, as tools are', async () => {
      const { body, headers } = about('tasks/get', 'm-1');
      for (const name of ['m-2', undefined])
        assert.deepEqual(codeOf(await unseen(send(tunnel, { body, headers: { ...headers, 'mcp-name': name } }))), [400, -32020]);
    });

    it('are not there for a client that does not declare them, nor by methods that this era does not have', async () => {
      const undeclared = await unseen(send(other, about('tasks/get', 'm-1', {})));
      assert.deepEqual(codeOf(undeclared), [400, -32021]);
      assert.deepEqual(undeclared.json().error?.data, { requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } } });
      assert.deepEqual(codeOf(await unseen(send(other, about('tasks/result', 'm-1')))), [404, -32601]);
    });

    it('are listened to by whoever began them, until their tool is taken away', async () => {
      const listen = (ids: string[]) => modern('subscriptions/listen', { notifications: { taskIds: ids }, ...declared });
      assert.deepEqual(codeOf(await unseen(send(other, listen(['m-1'])))), [200, -32602]);
      assert.deepEqual(codeOf(await unseen(send(tunnel, listen(['m-1', 'm-2'])))), [200, -32602]);
      const closed = new Promise<void>((resolve) => {
        scene.server.behave = (_seen, response) => {
          beginStream(response);
          response.once('close', () => resolve());
        };
      });
      const before = scene.server.seen.length;
      const listening = send(tunnel, listen(['m-1'])).catch(() => undefined);
      await scene.server.received(before + 1);
      tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['slow'] }, 'deny', 'tree');
      await closed;
      await listening;
      assert.deepEqual(codeOf(await unseen(send(tunnel, listen(['m-1'])))), [200, -31001]);
    });

    it('are none where the result is another', async () => {
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { resultType: 'complete', taskId: 'm-5' }));
      await send(tunnel, modern('tools/call', { name: 'slow', arguments: {}, ...declared }));
      assert.deepEqual(codeOf(await unseen(send(tunnel, about('tasks/get', 'm-5')))), [200, -32602]);
    });
  });
});

describe('tasks of real servers', function () {
  this.timeout(120_000);

  it('run in the modern era from call to result, with input in between, for their agent alone', async () => {
    const server: ReferenceServer = await startReferenceServer();
    const tunnel = await startTunnel({ upstream: { url: server.url } });
    try {
      const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
      const declared = {
        _meta: { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {}, extensions: { [TASKS_EXTENSION]: {} } } },
      };
      const about = async (method: string, taskId: string, more: object = {}, door: Door = tunnel) => {
        const { body, headers } = modern(method, { taskId, ...more, ...declared });
        return (await send(door, { body, headers: { ...headers, 'mcp-name': taskId } })).json();
      };
      const begun = (
        await send(tunnel, modern('tools/call', { name: 'confirm_delete', arguments: { filename: 'x' }, ...declared }))
      ).json();
      assert.equal(begun.result?.['resultType'], 'task', JSON.stringify(begun));
      const id = String(begun.result['taskId']);
      assert.equal((await about('tasks/get', id, {}, other)).error?.code, -32602);
      const waiting = await about('tasks/get', id);
      assert.equal(waiting.result?.['status'], 'input_required');
      const [key = ''] = Object.keys(waiting.result['inputRequests'] as object);
      await about('tasks/update', id, { inputResponses: { [key]: { action: 'accept', content: { confirm: true } } } });
      let task = await about('tasks/get', id);
      while (task.result?.['status'] === 'working') task = await about('tasks/get', id);
      assert.match(JSON.stringify(task.result), /Deleted x/);
      assert.ok(callsOn(tunnel).filter((c) => c.intent.tool === 'confirm_delete').length >= 4);
    } finally {
      await tunnel.close();
      await server.close();
    }
  });

  it('run in the older era with the SDK’s client, which is asked in between', async () => {
    const server = await new EverythingServer().start();
    const tunnel = await startTunnel({ upstream: { url: server.url } });
    try {
      const client = new Client(
        { name: 'test', version: '1' },
        { capabilities: { elicitation: { form: {} }, tasks: { requests: { elicitation: { create: {} } } } } },
      );
      client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { interpretation: 'technical' } }));
      await client.connect(new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), { fetch: fetchThrough(tunnel) }));
      await client.listTools();
      let text = '';
      let id = '';
      const running = client.experimental.tasks.callToolStream(
        { name: 'simulate-research-query', arguments: { topic: 'python', ambiguous: true } },
        CallToolResultSchema,
        { task: { ttl: 60_000 } },
      );
      for await (const message of running) {
        if (message.type === 'taskCreated') id = message.task.taskId;
        if (message.type === 'result') text = JSON.stringify(message.result);
        if (message.type === 'error') throw message.error;
      }
      assert.match(text, /Research Report: python \(technical\)/);
      const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
      assert.equal((await send(other, { body: rpc('tasks/result', { taskId: id }) })).json().error?.code, -32602);
      await client.close();
      assert.ok(callsOn(tunnel).some((c) => c.intent.method === 'tasks/result' && c.intent.tool === 'simulate-research-query'));
    } finally {
      await tunnel.close();
      await server.stop();
    }
  });
});
