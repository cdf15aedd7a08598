import assert from 'node:assert/strict';
import http from 'node:http';
import zlib from 'node:zlib';
import fc from 'fast-check';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { modern, open, over, readUntil, rpc, send, toolCall } from '../support/agent.ts';
import { answerJson, beginStream, event, idOf, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { lastCall, newScene, type Scene } from '../support/tunnels.ts';

const value = madeUpSecret();
const mark = '⟦culvert: demo redacted⟧';

/** What goes over the wire: the bytes that were checked, and no secret on the way back. */
describe('the wire', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  before(async () => {
    scene = await newScene();
    tunnel = await scene.open({ auth: { placement: { kind: 'bearer' }, value, name: 'demo' } });
  });
  after(() => scene.close());
  beforeEach(() => {
    scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, {}));
  });

  describe('to the server', () => {
    const bodies = [
      '{"jsonrpc":"2.0","id":12345678901234567890,"method":"tools/call","params":{"name":"echo","arguments":{"big":12345678901234567890,"one":1.0,"exp":1E400,"neg":-0}}}',
      ' \r\n\t{ "params" : { "arguments":{ "a" : [ ] , "b":{ } },\n"name":"echo"}, "method":"tools\\/call" ,"id":"\\u0041","jsonrpc":"2.0" }\n ',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"größe 😀 \\ud83d\\ude00 e\u0301 \u00e9","arguments":{"\u202e":"\ufeff","nul":"\\u0000"}}}',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","extra":{"Key":1,"key":2},"params":{"name":"echo","arguments":{"__proto__":{"x":1},"constructor":null}}}',
    ];
    for (const [i, body] of bodies.entries())
      it(`go exactly the bytes that were sent (${i + 1})`, async () => {
        const got = await send(tunnel, { body });
        assert.equal(got.status, 200);
        assert.deepEqual(scene.server.seen.at(-1)?.body, Buffer.from(body));
      });

    it('go exactly the bytes of any arguments, whatever their spelling', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 5 }),
          fc.constantFrom(undefined, 1, '\t'),
          async (args, space) => {
            const body = JSON.stringify(
              { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { arguments: args, name: 'echo' } },
              undefined,
              space,
            );
            await send(tunnel, { body });
            assert.deepEqual(scene.server.seen.at(-1)?.body, Buffer.from(body));
          },
        ),
        { seed: 11, numRuns: 60 },
      );
    });

    it('goes the same, however the request is cut into packets', async () => {
      const body = Buffer.from(bodies[2] ?? '');
      await new Promise<void>((resolve, reject) => {
        const cut = http.request(
          {
            socketPath: tunnel.socketPath,
            method: 'POST',
            path: tunnel.path,
            headers: {
              host: 'localhost',
              authorization: `Bearer ${tunnel.token}`,
              'content-type': 'application/json',
              'transfer-encoding': 'chunked',
            },
          },
          (r) => {
            r.resume().once('end', resolve);
          },
        );
        cut.once('error', reject);
        for (let i = 0; i < body.length; i += 3) cut.write(body.subarray(i, i + 3));
        cut.end();
      });
      assert.deepEqual(scene.server.seen.at(-1)?.body, body);
    });

    it('go accept and unknown headers, and a request for no compression', async () => {
      await send(tunnel, {
        body: toolCall('echo'),
        headers: { accept: 'text/event-stream;q=0.5, application/json', 'accept-encoding': 'gzip', 'x-note': 'ü', cookie: 'a=b' },
      });
      const { headers } = scene.server.seen.at(-1)!;
      assert.deepEqual(
        [headers.accept, headers['accept-encoding'], headers['x-note'], headers.cookie],
        ['text/event-stream;q=0.5, application/json', 'identity', 'ü', undefined],
      );
      assert.equal(headers.host, new URL(scene.server.url).host);
    });
  });

  describe('to the agent', () => {
    it('comes a clean answer byte for byte, with its status and type', async () => {
      const text = '{ "jsonrpc":"2.0","id":1 ,"result":{"n":12345678901234567890,"f":1.0,"s":"\\u00e4\\/"}}\r\n';
      scene.server.behave = (_seen, response) => response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' }).end(text);
      const got = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual([got.body.toString(), got.headers['content-type']], [text, 'application/json; charset=utf-8']);
    });

    for (const type of ['application/json', 'application/json; charset=utf-8', 'text/plain', 'application/vnd.api+json', undefined])
      it(`comes no secret in an answer of type ${type ?? 'none'}, also escaped`, async () => {
        const escaped = Array.from(value, (c) => `\\u00${c.charCodeAt(0).toString(16)}`).join('');
        scene.server.behave = (seen, response) => {
          response
            .writeHead(200, type === undefined ? {} : { 'content-type': type })
            .end(resultFor(seen, { a: value, b: '\u0001' }).replace('\\u0001', escaped));
        };
        const got = await send(tunnel, { body: toolCall('echo') });
        assert.deepEqual(got.json().result, { a: mark, b: mark });
        assert.equal(Number(got.headers['content-length']), got.body.length);
        assert.equal(lastCall(tunnel).outcome?.findings, 2);
      });

    it('comes no secret on a stream, wherever chunks are cut', async () => {
      const message = JSON.stringify({
        jsonrpc: '2.0',
        method: 'notifications/message',
        params: { data: `ü ${value} ü`, hex: Buffer.from(value).toString('hex') },
      });
      const wire = Buffer.from(
        `: hi\n\nid: 1\nevent: message\ndata: ${message}\n\ndata: {"jsonrpc":"2.0","id":1,"result":{"t":"${value}"}}\r\n\r\n`,
      );
      await fc.assert(
        fc.asyncProperty(fc.uniqueArray(fc.nat(wire.length), { maxLength: 12 }), async (cuts) => {
          const places = [...cuts, wire.length].sort((a, b) => a - b);
          scene.server.behave = (_seen, response) => {
            beginStream(response);
            let from = 0;
            const next = () => {
              const to = places.shift();
              if (to === undefined) response.end();
              else {
                const part = wire.subarray(from, to);
                from = to;
                if (part.length === 0) next();
                else response.write(part, () => setImmediate(next));
              }
            };
            next();
          };
          const { body } = await send(tunnel, { body: toolCall('echo') });
          assert.deepEqual(tracesIn(body, value), []);
          const data = body
            .toString()
            .split('\n')
            .filter((l) => l.startsWith('data: '))
            .map((l) => JSON.parse(l.slice(6)) as { params?: object; result?: object });
          assert.deepEqual(
            data.map((d) => d.params ?? d.result),
            [{ data: `ü ${mark} ü`, hex: mark }, { t: mark }],
          );
          assert.ok(body.toString().startsWith(': hi\n\nid: 1\nevent: message\n'));
        }),
        { seed: 12, numRuns: 40 },
      );
    });

    it('comes no secret in ids, event names, comments and broken events', async () => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end(
          `id: ${value}\nevent: ${value}\ndata: {"ok":1}\n\n: ${value}\n\nretry: ${value}\n\ndata: {"cut":"${value}\n\ndata: x ${value}\n\ndata: ${value}`,
        );
      };
      const { body } = await send(tunnel, { method: 'GET' });
      assert.deepEqual(tracesIn(body, value), []);
      assert.ok(body.toString().includes('data: {"ok":1}\n'));
    });

    it('comes no secret in headers', async () => {
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, {}), 200, { 'x-a': `a ${value}`, link: Buffer.from(`x:${value}`).toString('base64') });
      const { headers } = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual(tracesIn(JSON.stringify(headers), value), []);
    });

    it('comes an error with its own id in place of an answer that can not be taken apart', async () => {
      scene.server.behave = (seen, response) =>
        answerJson(
          response,
          `{"jsonrpc":"2.0","id":${JSON.stringify(idOf(seen))},"result":{"deep":${'['.repeat(600)}${JSON.stringify(value)}${']'.repeat(600)}}}`,
        );
      const got = await send(tunnel, { body: toolCall('echo', {}, 'q') });
      assert.deepEqual([got.status, got.json().id, got.json().error?.code, got.body.includes(value)], [200, 'q', -31002, false]);
    });

    for (const [name, pack] of Object.entries({ gzip: zlib.gzipSync, deflate: zlib.deflateSync, br: zlib.brotliCompressSync }))
      it(`comes decoded what a server packs as ${name} unasked, and no secret in it`, async () => {
        scene.server.behave = (seen, response) =>
          answerJson(response, pack(Buffer.from(resultFor(seen, { a: value }))), 200, { 'content-encoding': name });
        const got = await send(tunnel, { body: toolCall('echo') });
        assert.deepEqual([got.json().result, got.headers['content-encoding']], [{ a: mark }, undefined]);
      });

    it('comes an error instead of what is packed in an unknown way or badly', async () => {
      for (const encoding of ['zstd', 'gzip']) {
        scene.server.behave = (_seen, response) => answerJson(response, 'no such thing', 200, { 'content-encoding': encoding });
        assert.equal((await send(tunnel, { body: toolCall('echo') })).json().error?.code, -31002);
      }
      // A refusal whose body is broken must not end the process.
      scene.server.behave = (_seen, response) => answerJson(response, 'no such thing', 401, { 'content-encoding': 'gzip' });
      assert.equal((await send(tunnel, { body: toolCall('echo') })).json().error?.code, -31002);
      assert.equal((await send(tunnel, { method: 'GET' })).status, 405);
    });

    it('comes a result that is nested deep and speaks of methods', async () => {
      const deep = `${'{"method":'.repeat(150)}1.0${'}'.repeat(150)}`;
      scene.server.behave = (_seen, response) => answerJson(response, `{"jsonrpc":"2.0","id":1,"result":${deep}}`);
      const got = await send(tunnel, { body: toolCall('echo') });
      assert.equal(got.body.toString(), `{"jsonrpc":"2.0","id":1,"result":${deep}}`);
    });

    it('comes what is no JSON at all on a stream without ending it', async () => {
      scene.server.behave = (_seen, response) => {
        beginStream(response);
        response.end('data: {"method":\n\ndata: ping method\n\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
      };
      assert.equal(
        (await send(tunnel, { body: rpc('tools/list') })).body.toString(),
        'data: {"method":\n\ndata: ping method\n\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n',
      );
    });

    it('comes a megabyte whole, as answer and as event', async () => {
      const text = 'ü'.repeat(1_000_000);
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { text, value }));
      assert.deepEqual((await send(tunnel, { body: toolCall('echo') })).json().result, { text, value: mark });
      scene.server.behave = (seen, response) => {
        beginStream(response);
        response.end(event(resultFor(seen, { text })));
      };
      const { body } = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual((JSON.parse(body.toString().slice(21)) as { result: object }).result, { text });
    });
  });

  describe('a list of tools', () => {
    const tools = (...names: string[]) =>
      names.map((name) => ({ name, inputSchema: { type: 'object' }, annotations: { readOnlyHint: name.startsWith('read') } }));
    const list = async (sent: Parameters<typeof send>[1] = { body: rpc('tools/list') }, door = tunnel) => {
      const { body } = await send(door, sent);
      const text = body.toString().replace(/^event: message\ndata: /, '');
      return (JSON.parse(text) as { result: { tools: { name: string }[] } }).result.tools.map((t) => t.name);
    };

    for (const form of ['an answer', 'an event'] as const)
      it(`shows only what may be called, as ${form}, in both eras`, async () => {
        const one = await newScene();
        const door = await one.open({ access: 'reading' });
        one.server.behave = (seen, response) => {
          const text = resultFor(seen, { tools: tools('read-a', 'write-b', 'read-c') });
          if (form === 'an answer') answerJson(response, text);
          else {
            beginStream(response);
            response.end(event(text));
          }
        };
        assert.deepEqual(await list(undefined, door), ['read-a', 'read-c']);
        door.core.access.set(door.serverId, { kind: 'tools', names: ['read-a'] }, 'deny', 'tree');
        door.core.access.set(door.serverId, { kind: 'tools', names: ['write-b'] }, 'ask', 'tree');
        assert.deepEqual(await list(modern('tools/list'), door), ['write-b', 'read-c']);
        await one.close();
      });

    it('does not let a tool read that once did not say so, and reports the change', async () => {
      const one = await newScene();
      const door = await one.open({ access: 'reading' });
      let reads = false;
      one.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { tools: [{ name: 'x', inputSchema: {}, annotations: { readOnlyHint: reads } }] }));
      assert.deepEqual(await list(undefined, door), []);
      reads = true;
      assert.deepEqual(await list(undefined, door), []);
      assert.equal((await send(door, { body: toolCall('x') })).json().error?.code, -31001);
      assert.deepEqual(
        door.core.findings.list({ dismissed: false }).map((f) => [f.rule, f.subject, f.action]),
        [['tool-changed', 'x', 'reported']],
      );
      await one.close();
    });

    it('is presented under the user’s label, with one question instead of two, and hears of changes', async () => {
      const one = await newScene();
      const door = await one.open({ present: true, client: 'vscode' });
      one.server.behave = (seen, response) => {
        if (seen.method === 'GET') response.writeHead(405).end();
        else if (seen.body.includes('initialize'))
          answerJson(response, resultFor(seen, { serverInfo: { name: 'evil', version: '1' }, capabilities: { tools: {} } }));
        else answerJson(response, resultFor(seen, { tools: tools('write-a') }));
      };
      const hello = (await send(door, { body: rpc('initialize') })).json().result;
      assert.deepEqual(
        [hello?.['serverInfo'], hello?.['capabilities']],
        [{ name: 'Fake', version: '1' }, { tools: { listChanged: true } }],
      );
      const listed = (await send(door, { body: rpc('tools/list') })).json().result?.['tools'] as { annotations: object }[];
      assert.deepEqual(listed[0]?.annotations, { readOnlyHint: true });
      const stream = await open(door, { method: 'GET' }).response;
      assert.equal(stream.statusCode, 200);
      door.core.access.set(door.serverId, { kind: 'tools', names: ['write-a'] }, 'deny', 'tree');
      await readUntil(stream, 'notifications/tools/list_changed');
      const ended = over(stream);
      door.core.setPaused(true);
      assert.equal(await ended, 'broken');
      await one.close();
    });

    it('hears of changes at its own server only', async () => {
      const one = await newScene();
      const door = await one.open({ present: true, client: 'vscode' });
      one.server.behave = (seen, response) => {
        if (seen.method === 'GET') response.writeHead(405).end();
        else answerJson(response, resultFor(seen, {}));
      };
      const stream = await open(door, { method: 'GET' }).response;
      let told = '';
      stream.on('data', (chunk: Buffer) => (told += chunk.toString()));
      const ended = over(stream);
      door.core.access.set('srv-elsewhere', { kind: 'all-tools' }, 'allow', 'tree');
      door.core.access.set(door.serverId, { kind: 'all-tools' }, 'ask', 'tree');
      door.core.access.set('srv-elsewhere', { kind: 'all-tools' }, 'deny', 'tree');
      await one.close();
      assert.equal(await ended, 'end');
      assert.equal(told.split('notifications/tools/list_changed').length - 1, 1);
    });
  });
});
