import assert from 'node:assert/strict';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { startTunnel } from '../../src/tunnel/index.ts';
import { startReferenceServer } from '../conformance/server.ts';
import { MODERN, modern, open, over, readUntil, rpc, send, toolCall, type Sent } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor, type Behaviour } from '../support/fakeServer.ts';
import { ManualClock } from '../support/manualClock.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { callsOn, lastCall, newScene, type Scene } from '../support/tunnels.ts';

const value = madeUpSecret();
const mark = '⟦culvert: demo redacted⟧';

/** PROTOCOL.md 1 to 4, beyond the sessions, tasks and bounds that have files of their own. */
describe('the protocol', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    tunnel = await scene.open({ auth: { placement: { kind: 'bearer' }, value, name: 'demo' } });
  });
  afterEach(() => scene.close());

  describe('a subscription in JSON lines', () => {
    const types = ['application/x-ndjson', 'Application/JSONL; charset=utf-8', 'application/json-lines', 'application/json'];
    for (const type of types)
      it(`comes line by line as ${type}, each line inspected`, async () => {
        let write: (text: string) => void = () => undefined;
        let end: () => void = () => undefined;
        scene.server.behave = (_seen, response) => {
          response.writeHead(200, { 'content-type': type });
          response.flushHeaders();
          write = (text) => void response.write(text);
          end = () => void response.end();
        };
        const stream = await open(tunnel, modern('subscriptions/listen')).response;
        assert.deepEqual([stream.statusCode, stream.headers['content-type']], [200, type]);
        const first = '{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","n":1.0}\n';
        write(first);
        let seen = await readUntil(stream, first);
        write(`\n{"method":"notifications/message","params":\n{"data":"`);
        write(`${value}"}}\r\n`);
        seen = await readUntil(stream, '}}\r\n', seen);
        assert.equal(seen, `${first}\n{"method":"notifications/message","params":\n{"data":"${mark}"}}\r\n`);
        const ended = over(stream);
        stream.on('data', (part: Buffer) => (seen += part.toString()));
        write(`{"last":"${value}"}`);
        end();
        assert.equal(await ended, 'end');
        assert.ok(seen.includes('{"last":'));
        assert.deepEqual(tracesIn(seen, value), []);
      });

    it('is over for the server when its reader leaves', async () => {
      const closed = new Promise<void>((resolve) => {
        scene.server.behave = (_seen, response) => {
          response.writeHead(200, { 'content-type': 'application/x-ndjson' });
          response.write('{}\n');
          response.once('close', () => resolve());
        };
      });
      const stream = await open(tunnel, modern('subscriptions/listen')).response;
      await readUntil(stream, '{}');
      stream.destroy();
      await closed;
    });

    it('is an answer like any other where it has a length', async () => {
      scene.server.behave = (_seen, response) => {
        const text = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"${value}"}}`;
        answerJson(response, text, 200, { 'content-length': Buffer.byteLength(text) });
      };
      const got = await send(tunnel, modern('subscriptions/listen'));
      assert.deepEqual([got.json().error?.message, lastCall(tunnel).outcome?.result], [mark, 'rpc-error']);
    });
  });

  describe('cache hints', () => {
    const clock = new ManualClock(Date.now());
    const tools = [
      { name: 'a', inputSchema: {} },
      { name: 'b', inputSchema: {} },
    ];
    let door: HeadlessTunnel;
    beforeEach(async () => {
      door = await scene.open({ clock, stateFolder: undefined as never });
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { tools, resources: [], contents: [], ttlMs: 300_000, cacheScope: 'public' }));
    });
    const hints = async (sent: Sent) => {
      const { result } = (await send(door, sent)).json();
      return [result?.['ttlMs'], result?.['cacheScope']];
    };

    it('stay as they are where everybody sees the same, for as long as they like', async () => {
      assert.deepEqual(await hints(modern('tools/list')), [300_000, 'public']);
    });

    it('of a list that is not for everybody become private', async () => {
      door.core.access.set(door.serverId, { kind: 'tools', names: ['a'] }, 'deny', 'tree');
      assert.deepEqual(await hints(modern('tools/list')), [300_000, 'private']);
      assert.deepEqual(await hints(modern('resources/list')), [300_000, 'public']);
    });

    it('hold no longer than the grants', async () => {
      door.core.access.set(door.serverId, { kind: 'tools', names: ['a'] }, 'allow', 'tree', clock.now() + 60_000);
      for (const sent of [modern('tools/list'), modern('resources/list'), modern('resources/read', { uri: 'file:///x' })])
        assert.deepEqual(await hints(sent), [60_000, 'private']);
      clock.advance(45_000);
      assert.deepEqual(await hints(modern('tools/list')), [15_000, 'private']);
      clock.advance(15_000);
      assert.deepEqual(await hints(modern('tools/list')), [300_000, 'public']);
    });

    it('are none of the older era', async () => {
      door.core.access.set(door.serverId, { kind: 'tools', names: ['a'] }, 'allow', 'tree', clock.now() + 60_000);
      assert.deepEqual(await hints({ body: rpc('tools/list') }), [300_000, 'public']);
    });
  });

  describe('a call that needs input', () => {
    const exchanges = () =>
      tunnel.core.audit
        .activities({ limit: 50 })
        .reverse()
        .map(({ exchange, intent }) => ({ exchange, continues: intent.continues }));
    const needsInput: Behaviour = (seen, response) => {
      const { params } = JSON.parse(seen.body.toString()) as { params: { requestState?: string } };
      const round = params.requestState === undefined ? 1 : Number(/\d+/.exec(params.requestState)?.[0]) + 1;
      answerJson(
        response,
        round > 3
          ? resultFor(seen, { resultType: 'complete', content: [] })
          : // Spelled otherwise than the client will.
            resultFor(seen, { resultType: 'input_required', inputRequests: {} }).replace(
              '}}}',
              `},"requestState":"s\\u0074ate-${round}"}}`,
            ),
      );
    };
    const step = (state?: string, door = tunnel) =>
      send(
        door,
        modern('tools/call', { name: 'ask', arguments: {}, ...(state === undefined ? {} : { requestState: state, inputResponses: {} }) }),
      );

    it('is linked to its first request, through every round', async () => {
      scene.server.behave = needsInput;
      await step();
      for (const state of ['state-1', 'state-2', 'state-3']) await step(state);
      const [first, ...rest] = exchanges();
      assert.equal(first?.continues, undefined);
      assert.deepEqual(
        rest.map((r) => r.continues),
        [first?.exchange, first?.exchange, first?.exchange],
      );
    });

    it('is not linked to that of somebody else, nor by a state that nobody gave', async () => {
      scene.server.behave = needsInput;
      await step();
      const other = { ...tunnel, token: tunnel.tunnel.issue(tunnel.serverId, 'vscode', 'own').token };
      await step('state-1', other);
      await step('state-7');
      assert.deepEqual(
        exchanges().map((e) => e.continues),
        [undefined, undefined, undefined],
      );
    });

    it('is decided again at every round', async () => {
      scene.server.behave = needsInput;
      await step();
      tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['ask'] }, 'deny', 'tree');
      const before = scene.server.seen.length;
      assert.equal((await step('state-1')).json().error?.code, -31001);
      assert.equal(scene.server.seen.length, before);
      assert.ok(lastCall(tunnel).intent.continues);
    });

    it('brings the address it wants opened as it is, and nobody opens it', async () => {
      const text =
        '{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"' +
        `${scene.server.origin}/open\\u002fme?x=1.0","elicitationId":"e","message":"m"}}},"requestState":"q"}}`;
      scene.server.behave = (_seen, response) => answerJson(response, text);
      assert.equal((await step()).body.toString(), text);
      assert.deepEqual(
        scene.server.seen.map((s) => s.url),
        ['/mcp'],
      );
    });

    it('is linked with a real server, which seals its state', async () => {
      const server = await startReferenceServer();
      const door = await startTunnel({ upstream: { url: server.url } });
      try {
        const call = async (params: object) => {
          const capabilities = { 'io.modelcontextprotocol/clientCapabilities': { elicitation: {} } };
          const sent = modern('tools/call', {
            name: 'test_input_required_result_request_state',
            arguments: {},
            ...params,
            _meta: capabilities,
          });
          return (await send(door, sent)).json().result;
        };
        const asked = await call({});
        assert.equal(asked?.['resultType'], 'input_required');
        const inputResponses = { confirm: { action: 'accept', content: { ok: true } } };
        const done = await call({ requestState: asked['requestState'], inputResponses });
        assert.match(JSON.stringify(done), /state-ok/);
        const [first, second] = door.core.audit.activities({ limit: 9 }).reverse();
        assert.deepEqual([first?.intent.continues, second?.intent.continues], [undefined, first?.exchange]);
      } finally {
        await door.close();
        await server.close();
      }
    });
  });

  describe('odd answers', () => {
    const hidden = () => tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['b'] }, 'deny', 'tree');
    const list = {
      tools: [
        { name: 'a', inputSchema: {} },
        { name: 'b', inputSchema: {} },
      ],
    };
    const names = (text: string) => [...text.matchAll(/"name":"(\w+)"/g)].map((m) => m[1]);

    for (const stream of [false, true])
      it(`an array of messages is inspected message by message, as ${stream ? 'an event' : 'an answer'}`, async () => {
        hidden();
        scene.server.behave = (seen, response) => {
          const text = `[ {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${value}"}} , ${resultFor(seen, list)}]`;
          if (!stream) answerJson(response, text);
          else {
            beginStream(response);
            response.end(event(text));
          }
        };
        const text = (await send(tunnel, { body: rpc('tools/list') })).body.toString();
        assert.deepEqual([names(text), tracesIn(text, value), text.includes(mark)], [['a'], [], true]);
        assert.equal(lastCall(tunnel).outcome?.result, 'ok');
      });

    for (const [what, type, prefix] of [
      ['under another type', 'text/plain', ''],
      ['without a type', undefined, ''],
      ['behind a byte order mark', 'application/json', '\ufeff'],
    ] as const)
      it(`a list of tools ${what} is one all the same`, async () => {
        hidden();
        scene.server.behave = (seen, response) =>
          response.writeHead(200, type === undefined ? {} : { 'content-type': type }).end(prefix + resultFor(seen, list));
        assert.deepEqual(names((await send(tunnel, { body: rpc('tools/list') })).body.toString()), ['a']);
      });

    it('a list of tools that comes late, on the session’s stream, is one all the same', async () => {
      hidden();
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(event({ jsonrpc: '2.0', id: 7, result: list }));
      };
      const got = await send(tunnel, { method: 'GET', headers: { 'last-event-id': '3' } });
      assert.deepEqual(names(got.body.toString()), ['a']);
      assert.deepEqual(names((await send(tunnel, { body: toolCall('echo') })).body.toString()), ['a']);
    });

    it('an answer to another request passes, and does not count as the answer', async () => {
      const text = event({ jsonrpc: '2.0', id: 99, result: { n: 1 } });
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(text);
      };
      const got = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual([got.body.toString(), lastCall(tunnel).outcome?.result], [text, 'closed']);
    });

    it('the answer among several counts, however its id is spelled', async () => {
      const wire = `${event({ jsonrpc: '2.0', id: 98, error: { code: 1, message: '' } })}data: {"id":"\\u00e4","result":{"isError":true}}\n\n`;
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(wire);
      };
      const got = await send(tunnel, { body: toolCall('echo', {}, 'ä') });
      assert.deepEqual([got.body.toString(), lastCall(tunnel).outcome?.result], [wire, 'tool-error']);
    });

    it('a stream that ends without an answer ends', async () => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(': nothing\n\n');
      };
      assert.equal(await over(await open(tunnel, { body: toolCall('echo') }).response), 'end');
      assert.equal(lastCall(tunnel).outcome?.result, 'closed');
    });

    for (const type of ['TEXT/Event-Stream', 'text/event-stream;charset=UTF-8', 'text/event-stream ; x="a;b"'])
      it(`${type} is an event stream`, async () => {
        scene.server.behave = (_seen, response) => {
          response.writeHead(200, { 'content-type': type });
          response.write(': at once\n\n');
        };
        const stream = await open(tunnel, { method: 'GET' }).response;
        assert.equal(stream.headers['content-type'], type);
        await readUntil(stream, 'at once');
        stream.destroy();
      });

    it('202 with a body and 204 pass', async () => {
      scene.server.behave = (_seen, response) => response.writeHead(202, { 'content-type': 'text/plain' }).end(`ok ${value}`);
      const accepted = await send(tunnel, { body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
      assert.deepEqual([accepted.status, accepted.body.toString()], [202, `ok ${mark}`]);
      scene.server.behave = (_seen, response) => response.writeHead(204).end();
      const empty = await send(tunnel, { body: { jsonrpc: '2.0', method: 'notifications/initialized' } });
      assert.deepEqual([empty.status, empty.body.length, empty.headers['content-length']], [204, 0, undefined]);
    });

    it('what is no JSON where JSON should be passes as it is', async () => {
      for (const method of ['initialize', 'tools/list', 'tools/call', 'server/discover', 'tasks/list']) {
        scene.server.behave = (_seen, response) => answerJson(response, '{"result":{"taskId":"requestState", tools:[');
        const got = await send(tunnel, method === 'server/discover' ? modern(method) : { body: rpc(method, { name: 'x', task: {} }) });
        assert.equal(got.body.toString(), '{"result":{"taskId":"requestState", tools:[', method);
      }
    });
  });

  describe('what the server asks in the older era', () => {
    it('is answered with the id as any reader spells it', async () => {
      scene.server.behave = (seen, response) => {
        if (seen.method !== 'GET') {
          response.writeHead(202).end();
          return;
        }
        beginStream(response);
        response.write('data: {"jsonrpc":"2.0","id":"\\u00e4\\/1","method":"elicitation/create"}\n\n');
      };
      const stream = await open(tunnel, { method: 'GET' }).response;
      await readUntil(stream, 'elicitation');
      assert.equal((await send(tunnel, { body: { jsonrpc: '2.0', id: 'ä/1', result: {} } })).status, 202);
      stream.destroy();
    });

    it('may be answered with an error too, and every kind of it', async () => {
      const methods = ['sampling/createMessage', 'elicitation/create', 'roots/list', 'ping', 'tasks/get'];
      scene.server.behave = (seen, response) => {
        if (seen.method !== 'GET') {
          response.writeHead(202).end();
          return;
        }
        beginStream(response);
        response.write(methods.map((method, id) => event({ jsonrpc: '2.0', id, method, params: {} })).join(''));
      };
      const stream = await open(tunnel, { method: 'GET' }).response;
      await readUntil(stream, 'tasks/get');
      for (const [id] of methods.entries())
        assert.equal((await send(tunnel, { body: { jsonrpc: '2.0', id, error: { code: -1, message: 'no' } } })).status, 202);
      assert.equal((await send(tunnel, { body: { jsonrpc: '2.0', id: methods.length, result: {} } })).status, 400);
      stream.destroy();
    });

    it('is not asked by an answer that stands alone', async () => {
      scene.server.behave = (_seen, response) => answerJson(response, '{"jsonrpc":"2.0","id":5,"method":"sampling/createMessage"}');
      await send(tunnel, { body: toolCall('echo') });
      assert.equal((await send(tunnel, { body: { jsonrpc: '2.0', id: 5, result: {} } })).status, 400);
    });

    it('a ping of the client and a cancellation go to the server as they are', async () => {
      const cancel = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1.0,"reason":"x"}}';
      scene.server.behave = (seen, response) => {
        if (seen.body.includes('cancelled')) response.writeHead(202).end();
        else answerJson(response, resultFor(seen, {}));
      };
      assert.equal((await send(tunnel, { body: cancel })).status, 202);
      assert.equal(scene.server.seen.at(-1)?.body.toString(), cancel);
      assert.deepEqual((await send(tunnel, { body: rpc('ping') })).json().result, {});
    });
  });

  describe('in the modern era', () => {
    it('a notification needs no revision of its own', async () => {
      scene.server.behave = (_seen, response) => response.writeHead(202).end();
      const body = { jsonrpc: '2.0', method: 'notifications/custom' };
      for (const [headers, status] of [
        [{ 'mcp-protocol-version': MODERN }, 202],
        [{ 'mcp-protocol-version': MODERN, 'mcp-method': 'notifications/custom' }, 202],
        [{ 'mcp-protocol-version': MODERN, 'mcp-method': 'tools/call' }, 400],
      ] as const)
        assert.equal((await send(tunnel, { body, headers })).status, status);
      assert.equal(scene.server.seen.length, 2);
      assert.equal(callsOn(tunnel)[0]?.intent.era, 'modern');
    });

    for (const [what, header] of Object.entries({
      'base64 that is not canonical': '=?base64?ZWNobx==?=',
      'base64 without its end': '=?base64?ZWNobw?=',
      'two values': 'echo, echo',
      'the name in other case': 'ECHO',
      'the name in base64 of other case': '=?BASE64?ZWNobw==?=',
    }))
      it(`400 and -32020 to a name in the header that is ${what}`, async () => {
        const { body, headers } = modern('tools/call', { name: 'echo', arguments: {} });
        const got = await send(tunnel, { body, headers: { ...headers, 'mcp-name': header } });
        assert.deepEqual([got.status, got.json().error?.code, scene.server.seen.length], [400, -32020, 0]);
      });

    it('takes plain names in base64 and space around them', async () => {
      const { body, headers } = modern('tools/call', { name: 'echo', arguments: {} });
      for (const name of ['=?base64?ZWNobw==?=', '  echo  '])
        assert.equal((await send(tunnel, { body, headers: { ...headers, 'mcp-name': name } })).status, 200);
    });
  });

  describe('headers', () => {
    it('to the server: everything but what belongs to the connection, the agent and the editor', async () => {
      await send(tunnel, {
        body: toolCall('echo'),
        headers: {
          cookie: 'a=b',
          referer: 'http://x.example',
          'sec-fetch-mode': 'cors',
          forwarded: 'for=1.2.3.4',
          'x-forwarded-for': '1.2.3.4',
          'x-forwarded-proto': 'https',
          dpop: 'x',
          te: 'trailers',
          'proxy-authorization': 'Basic x',
          connection: 'keep-alive, X-Mine',
          'x-mine': 'gone',
          'x-kept': 'a',
          'mcp-param-region': '=?base64?w7w=?=',
          'last-event-id': '7',
        },
      });
      const { headers } = scene.server.seen[0]!;
      assert.deepEqual(
        Object.keys(headers)
          .filter((name) => name !== 'connection')
          .sort(),
        [
          'accept',
          'accept-encoding',
          'authorization',
          'content-length',
          'content-type',
          'host',
          'last-event-id',
          'mcp-param-region',
          'x-kept',
        ],
      );
      assert.deepEqual(
        [headers.authorization, headers['mcp-param-region'], headers['accept-encoding']],
        [`Bearer ${value}`, '=?base64?w7w=?=', 'identity'],
      );
    });

    it('to the agent: everything but what the editor would act on, or what belongs to the connection', async () => {
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, {}), 200, {
          'set-cookie': ['a=b', 'c=d'],
          'proxy-authenticate': 'Basic',
          'www-authenticate': 'Bearer',
          'alt-svc': 'x',
          'strict-transport-security': 'x',
          'access-control-allow-origin': '*',
          'access-control-expose-headers': '*',
          connection: 'close, x-theirs',
          'x-theirs': 'gone',
          'x-accel-buffering': 'no',
          'retry-after': '5',
        });
      const { headers } = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual(
        Object.keys(headers)
          .filter((name) => name !== 'connection' && name !== 'date')
          .sort(),
        ['content-length', 'content-type', 'retry-after', 'x-accel-buffering'],
      );
    });
  });
});
