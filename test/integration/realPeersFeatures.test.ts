import assert from 'node:assert/strict';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { startDemoUpstream, type DemoUpstream } from '../../scripts/demo/upstream.ts';
import { startTunnel, type HeadlessTunnel } from '../../src/tunnel/index.ts';
import { callsOn, recorded } from '../support/tunnels.ts';
import { ModernServer } from './bridgePeers.ts';
import { peerV1, peerV2, type Peer } from './peers.ts';

const CAPABILITIES = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

const textOf = (result: unknown): string => (result as CallToolResult).content.map((c) => (c.type === 'text' ? c.text : '')).join('\n');

for (const [name, connect] of [
  ['SDK v1', peerV1],
  ['SDK v2', peerV2],
] as const)
  describe(`every feature of server-everything, with the client of ${name}`, function () {
    this.timeout(120_000);
    let demo: DemoUpstream;
    let tunnel: HeadlessTunnel;
    let peer: Peer;
    const call = async (tool: string, args: Record<string, unknown> = {}): Promise<CallToolResult> =>
      (await peer.request('tools/call', { name: tool, arguments: args })) as unknown as CallToolResult;

    before(async () => {
      demo = await startDemoUpstream();
      tunnel = await startTunnel({
        upstream: { url: demo.url, label: 'Everything' },
        auth: { placement: { kind: 'bearer' }, value: demo.token, name: 'demo' },
      });
      peer = await connect(tunnel, CAPABILITIES);
      peer.onRequest('roots/list', () => ({ roots: [{ uri: 'file:///work/größe', name: 'work' }] }));
    });
    after(async () => {
      await peer.close();
      await tunnel.close();
      await demo.close();
    });

    it('tools: every kind of content', async () => {
      const { tools } = (await peer.request('tools/list')) as unknown as { tools: { name: string; outputSchema?: object }[] };
      assert.ok(tools.find((t) => t.name === 'get-structured-content')?.outputSchema);
      const structured = await call('get-structured-content', { location: 'New York' });
      assert.equal(typeof structured.structuredContent?.['temperature'], 'number');
      assert.deepEqual(
        (await call('get-tiny-image')).content.map((c) => c.type),
        ['text', 'image', 'text'],
      );
      assert.equal(
        (await call('get-annotated-message', { messageType: 'error', includeImage: true })).content[0]?.annotations?.priority,
        1,
      );
      assert.equal((await call('get-resource-links', { count: 3 })).content.filter((c) => c.type === 'resource_link').length, 3);
      assert.ok((await call('get-resource-reference', { resourceType: 'Blob', resourceId: 2 })).content.some((c) => c.type === 'resource'));
      assert.equal((await call('echo', { wrong: 1 })).isError, true);
    });

    it('resources: listed, read by template, made by a tool and announced', async () => {
      const { resources } = (await peer.request('resources/list')) as unknown as { resources: { uri: string }[] };
      assert.ok(resources.length > 3);
      const { resourceTemplates } = (await peer.request('resources/templates/list')) as unknown as {
        resourceTemplates: { uriTemplate: string }[];
      };
      assert.ok(resourceTemplates.some((t) => t.uriTemplate.startsWith('demo://resource/dynamic/blob/')));
      type Read = { contents: { text?: string; blob?: string; uri: string }[] };
      const read = async (uri: string): Promise<Read> => (await peer.request('resources/read', { uri })) as unknown as Read;
      assert.match((await read(resources[0]!.uri)).contents[0]?.text ?? '', /./);
      assert.match((await read('demo://resource/dynamic/text/7')).contents[0]?.text ?? '', /7/);
      assert.ok((await read('demo://resource/dynamic/blob/7')).contents[0]?.blob);
      const announced = peer.next('notifications/resources/list_changed');
      const made = await call('gzip-file-as-resource', { name: 'greeting.gz', data: 'data:text/plain,hello', outputType: 'resourceLink' });
      const link = made.content.find((c) => c.type === 'resource_link');
      assert.ok(link, JSON.stringify(made));
      await announced;
      assert.ok((await read(link.uri)).contents[0]?.blob);
      await assert.rejects(read('demo://resource/nothing'), /not found|Unknown|-3200/i);
    });

    it('subscriptions: a changed resource is told to who asked', async () => {
      const uri = 'demo://resource/dynamic/text/3';
      await peer.request('resources/subscribe', { uri });
      const updated = peer.next('notifications/resources/updated', (params) => params['uri'] === uri);
      await call('toggle-subscriber-updates');
      await updated;
      await call('toggle-subscriber-updates');
      await peer.request('resources/unsubscribe', { uri });
    });

    it('prompts and completion', async () => {
      type Prompt = { messages: { content: { type: string; text?: string } }[] };
      const get = async (prompt: string, args?: Record<string, string>): Promise<Prompt> =>
        (await peer.request('prompts/get', { name: prompt, ...(args && { arguments: args }) })) as unknown as Prompt;
      assert.ok(((await peer.request('prompts/list')) as unknown as { prompts: unknown[] }).prompts.length >= 4);
      assert.match((await get('args-prompt', { city: 'Köln', state: 'NRW' })).messages[0]?.content.text ?? '', /Köln, NRW/);
      assert.ok(
        (await get('resource-prompt', { resourceType: 'Text', resourceId: '1' })).messages.some((m) => m.content.type === 'resource'),
      );
      const complete = async (argument: string, value: string, known?: Record<string, string>): Promise<string[]> =>
        (
          (await peer.request('completion/complete', {
            ref: { type: 'ref/prompt', name: 'completable-prompt' },
            argument: { name: argument, value },
            ...(known && { context: { arguments: known } }),
          })) as unknown as { completion: { values: string[] } }
        ).completion.values;
      assert.deepEqual(await complete('department', 'Eng'), ['Engineering']);
      assert.ok((await complete('name', '', { department: 'Engineering' })).length > 0);
    });

    it('logging: as much as the client asked for', async () => {
      await peer.request('logging/setLevel', { level: 'debug' });
      const logged = peer.next('notifications/message', ({ data }) => String(data).includes('-level'));
      await call('toggle-simulated-logging');
      await logged;
      await call('toggle-simulated-logging');
    });

    it('progress while a call runs', async () => {
      const steps: unknown[] = [];
      const result = await peer.request(
        'tools/call',
        { name: 'trigger-long-running-operation', arguments: { duration: 0.4, steps: 4 } },
        { onprogress: (step) => void steps.push(step) },
      );
      assert.equal(steps.length, 4);
      assert.match(textOf(result), /completed/i);
    });

    it('cancellation reaches the server', async () => {
      const stop = new AbortController();
      const began = demo.toolCalls('trigger-long-running-operation').length;
      const cancelled = peer.request(
        'tools/call',
        { name: 'trigger-long-running-operation', arguments: { duration: 20, steps: 100 } },
        { signal: stop.signal, onprogress: () => stop.abort() },
      );
      await assert.rejects(cancelled);
      assert.equal(demo.toolCalls('trigger-long-running-operation').length, began + 1);
      // The notification is a request of its own; it comes before whatever is asked next.
      await recorded(tunnel, () => callsOn(tunnel).some((c) => c.intent.method === 'notifications/cancelled' && c.outcome !== undefined));
      assert.ok(demo.requests.some(({ body }) => body.includes('notifications/cancelled')));
    });

    it('sampling: the server asks the model', async () => {
      peer.onRequest('sampling/createMessage', ({ messages }) => ({
        role: 'assistant',
        model: 'none',
        content: { type: 'text', text: `sampled ${JSON.stringify(messages).includes('Wie groß?') ? 'größe' : 'nothing'}` },
      }));
      assert.match(textOf(await call('trigger-sampling-request', { prompt: 'Wie groß?', maxTokens: 10 })), /sampled größe/);
    });

    it('elicitation: the server asks the user, by form and by link', async () => {
      const modes: unknown[] = [];
      peer.onRequest('elicitation/create', ({ mode }) => {
        modes.push(mode ?? 'form');
        return { action: 'accept', ...(mode === 'url' ? {} : { content: { name: 'Ada', check: true, email: 'a@b.example' } }) };
      });
      assert.match(textOf(await call('trigger-elicitation-request')), /Ada/);
      const url = 'https://example.com/consent?x=ü';
      const linked = textOf(await call('trigger-url-elicitation', { url, message: 'Please', elicitationId: 'e-1' }));
      assert.match(linked, /completed the URL elicitation/);
      assert.ok(linked.includes(url));
      assert.deepEqual(modes, ['form', 'url']);
      await assert.rejects(
        call('trigger-url-elicitation', { url, message: 'Please', errorPath: true }),
        (error: { code?: number }) => error.code === -32042,
      );
      peer.onRequest('elicitation/create', () => ({ action: 'decline' }));
      assert.match(textOf(await call('trigger-elicitation-request')), /declined/i);
    });

    it('roots: the server asks which, and again when they change', async () => {
      assert.match(textOf(await call('get-roots-list')), /file:\/\/\/work\/größe/);
      peer.onRequest('roots/list', () => ({ roots: [{ uri: 'file:///other', name: 'other' }] }));
      const asked = peer.next('notifications/message', ({ data }) => String(data).startsWith('Roots updated'));
      await peer.notify('notifications/roots/list_changed');
      await asked;
      assert.match(textOf(await call('get-roots-list')), /file:\/\/\/other/);
    });

    it('tasks: made, watched, asked something, fetched, listed and cancelled', async () => {
      peer.onRequest('elicitation/create', () => ({ action: 'accept', content: { interpretation: 'technical' } }));
      type Created = { task: { taskId: string; status: string } };
      const create = async (topic: string): Promise<string> =>
        (
          (await peer.request('tools/call', {
            name: 'simulate-research-query',
            arguments: { topic, ambiguous: true },
            task: { ttl: 60_000 },
          })) as unknown as Created
        ).task.taskId;
      const taskId = await create('tunnels');
      assert.equal((await peer.request('tasks/get', { taskId }))['status'], 'working');
      const doomed = await create('dead ends');
      assert.equal((await peer.request('tasks/cancel', { taskId: doomed }))['status'], 'cancelled');
      // Waits for the end; the server's question comes on the way.
      assert.match(textOf(await peer.request('tasks/result', { taskId })), /Research Report: tunnels \(technical\)/);
      const { tasks } = (await peer.request('tasks/list')) as unknown as { tasks: { taskId: string; status: string }[] };
      assert.equal(tasks.find((t) => t.taskId === taskId)?.status, 'completed');
    });

    it('the session ends at the server, and everything is on a record that verifies', async () => {
      await peer.terminate();
      assert.equal(demo.requests.at(-1)?.method, 'DELETE');
      await recorded(tunnel, () => callsOn(tunnel).every((c) => c.outcome !== undefined || c.intent.method === 'GET stream'));
      await tunnel.core.audit.checkpoint();
      assert.deepEqual((await tunnel.core.audit.verify()).problems, []);
      const methods = new Set(callsOn(tunnel).map((c) => c.intent.method));
      for (const method of ['completion/complete', 'resources/subscribe', 'tasks/result', 'logging/setLevel', 'prompts/get'])
        assert.ok(methods.has(method), method);
    });
  });

describe('a server and a client of SDK v2 in the modern era', function () {
  this.timeout(120_000);
  let server: ModernServer;
  let tunnel: HeadlessTunnel;
  before(async () => {
    server = await new ModernServer().start();
    tunnel = await startTunnel({ upstream: { url: server.url, label: 'Modern' } });
  });
  after(async () => {
    await tunnel.close();
    await server.stop();
  });

  it('subscriptions/listen: acknowledged, told of changes, left', async () => {
    const peer = await peerV2(tunnel, {}, true);
    const uri = 'test://größe';
    const subscription = await peer.client.listen({ toolsListChanged: true, resourceSubscriptions: [uri] });
    assert.equal(subscription.honoredFilter.toolsListChanged, true);
    const tools = peer.next('notifications/tools/list_changed');
    server.handler.notify.toolsChanged();
    await tools;
    const updated = peer.next('notifications/resources/updated', (params) => params['uri'] === uri);
    server.handler.notify.resourceUpdated(uri);
    await updated;
    await subscription.close();
    assert.equal(await subscription.closed, 'local');
    await recorded(tunnel, () => callsOn(tunnel).some((c) => c.intent.method === 'subscriptions/listen' && c.outcome !== undefined));
    await peer.close();
  });

  it('an end of the server’s side is an end on the client’s', async () => {
    const peer = await peerV2(tunnel, {}, true);
    const subscription = await peer.client.listen({ toolsListChanged: true });
    tunnel.tunnel.revokeServer(tunnel.serverId);
    assert.equal(await subscription.closed, 'remote');
    await peer.close();
  });
});
