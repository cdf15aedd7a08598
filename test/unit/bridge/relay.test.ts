import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { userInfo } from 'node:os';
import { PassThrough, Writable } from 'node:stream';
import { LIMITS, type Limits } from '../../../src/bridge/limits.ts';
import { ERROR_CODE } from '../../../src/bridge/message.ts';
import { Relay } from '../../../src/bridge/relay.ts';
import { Output } from '../../../src/bridge/stdio.ts';
import { endpointPath } from '../../../src/common/capabilityFile.ts';
import { FakeWindow, json, RuntimeFolder, SERVER, sse, type Handler, type SeenRequest } from './fakeWindow.ts';

interface Wire {
  readonly jsonrpc?: string;
  readonly id?: unknown;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { code: number; message: string };
}

/** Short enough for tests; the windows of these tests come back at once or never. */
const SHORT: Limits = {
  ...LIMITS,
  windowReturnMs: 15_000,
  tokenReturnMs: 60,
  firstLookMs: 5,
  longestLookMs: 20,
  firstStreamPauseMs: 5,
  longestStreamPauseMs: 40,
  cancelLingerMs: 30,
  drainMs: 200,
  goodbyeMs: 200,
};

/** The relay with an agent around it. */
class Agent {
  readonly raw: string[] = [];
  readonly messages: Wire[] = [];
  readonly logged: string[] = [];
  readonly pressure: boolean[] = [];
  readonly relay: Relay;
  readonly #stdout = new PassThrough();
  #waiting: (() => void)[] = [];

  constructor(folder: RuntimeFolder, limits: Limits = SHORT, stem?: string, stdout?: Writable) {
    let rest = '';
    this.#stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      this.raw.push(...lines);
      this.messages.push(...lines.map((line) => JSON.parse(line) as Wire));
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const look of waiting) look();
    });
    this.relay = new Relay({
      search: { folders: [folder.path], server: SERVER, stem, uid: userInfo().uid },
      path: endpointPath(SERVER),
      output: new Output(stdout ?? this.#stdout),
      limits,
      log: (line) => this.logged.push(line),
      onPressure: (paused) => this.pressure.push(paused),
    });
  }

  send(message: object | string): void {
    this.relay.accept(Buffer.from(typeof message === 'string' ? message : JSON.stringify(message)));
  }

  /** Waits for a message that fits. */
  async message(fits: (message: Wire) => boolean): Promise<Wire> {
    for (;;) {
      const found = this.messages.find(fits);
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  answer(id: unknown): Promise<Wire> {
    return this.message((message) => message.id === id && message.method === undefined);
  }

  async call(method: string, params: object = {}, id: number | string = ++ids): Promise<Wire> {
    this.send({ jsonrpc: '2.0', id, method, params });
    return this.answer(id);
  }

  /** Opens a legacy session as a client does. */
  async open(version = '2025-11-25'): Promise<void> {
    await this.call('initialize', { protocolVersion: version, capabilities: {}, clientInfo: { name: 'test', version: '1' } });
    this.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
    await this.call('ping');
  }
}

let ids = 100;

const bodyOf = (seen: SeenRequest): Wire => JSON.parse(seen.body.toString() || '{}') as Wire;
const modern = (params: object = {}): object => ({
  ...params,
  _meta: {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientInfo': { name: 't', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  },
});

/** A legacy server with one session; `calls` answers what is not part of the life cycle. */
class LegacyServer {
  sessions = 0;
  live = new Set<string>();
  stream: { write: (text: string) => void; response: ServerResponse; seen: SeenRequest } | undefined;
  streams = 0;
  offersStream = true;
  calls: Handler = (seen, response) => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: { echo: bodyOf(seen).method } });
  onStream: (() => void) | undefined;

  readonly handler: Handler = (seen, response, incoming) => {
    const session = String(seen.headers['mcp-session-id']);
    const { method, id } = bodyOf(seen);
    if (method === 'initialize') {
      const opened = `s${++this.sessions}`;
      this.live.add(opened);
      const result = {
        protocolVersion: '2025-11-25',
        capabilities: { tools: { listChanged: true }, prompts: {} },
        serverInfo: { name: 's', version: '1' },
      };
      json(response, { jsonrpc: '2.0', id, result }, 200, { 'mcp-session-id': opened });
    } else if (!this.live.has(session))
      json(response, { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } }, 404);
    else if (seen.method === 'DELETE') {
      this.live.delete(session);
      response.writeHead(200).end();
    } else if (seen.method === 'GET') {
      this.streams++;
      if (!this.offersStream) response.writeHead(405).end();
      else this.stream = { write: sse(response), response, seen };
      this.onStream?.();
    } else if (id === undefined || method === undefined) response.writeHead(202).end();
    else this.calls(seen, response, incoming);
  };

  streamOpened(): Promise<void> {
    return new Promise((resolve) => {
      this.onStream = () => {
        this.onStream = undefined;
        resolve();
      };
    });
  }
}

describe('bridge: relay', () => {
  let folder: RuntimeFolder;
  let server: LegacyServer;
  let window: FakeWindow;
  let agent: Agent;

  beforeEach(async () => {
    folder = new RuntimeFolder();
    server = new LegacyServer();
    window = await new FakeWindow(folder, server.handler).open();
    agent = new Agent(folder);
  });
  afterEach(async () => {
    await agent.relay.close();
    await window.kill();
    folder.dispose();
  });

  describe('passing messages', () => {
    it('sends a line byte for byte and writes the answer byte for byte', async () => {
      const line =
        '{ "jsonrpc" : "2.0","id":12345678901234567890 , "method":"tools/call","params":{"n":1.0,"s":"\\u00e9é\\/","big":98765432109876543210}}';
      const answer = '{"id":12345678901234567890,"jsonrpc":"2.0","result":{"n":1.0,"s":"\\u00e9𝄞"} }';
      window.handler = (_seen, response) => json(response, answer);
      agent.send(line);
      await agent.message((message) => message.result !== undefined);
      assert.equal(window.seen[0]?.body.toString(), line);
      assert.equal(window.seen[0].headers['content-type'], 'application/json');
      assert.equal(window.seen[0].headers.accept, 'application/json, text/event-stream');
      assert.deepEqual(agent.raw, [answer]);
    });

    it('makes one line of an answer that has several, in a body and in an event', async () => {
      window.handler = (_seen, response) => json(response, '{\n  "jsonrpc": "2.0",\r\n  "id": 1,\n  "result": {"a": "\\n"}\n}\n');
      await agent.call('tools/call', {}, 1);
      window.handler = (_seen, response) => {
        sse(response)('event: message\ndata: {"jsonrpc":"2.0",\ndata: "id":2,\ndata: "result":{}}\n\n');
        response.end();
      };
      await agent.call('tools/call', {}, 2);
      assert.deepEqual(agent.raw, [
        '{   "jsonrpc": "2.0",    "id": 1,   "result": {"a": "\\n"} } ',
        '{"jsonrpc":"2.0", "id":2, "result":{}}',
      ]);
    });

    it('writes notifications before the answer, in order, as they come', async () => {
      let finish = (): void => undefined;
      window.handler = (seen, response) => {
        const write = sse(response);
        for (const n of [1, 2, 3]) write(`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"n":${n}}}\n\n`);
        finish = () => {
          write(`data: {"jsonrpc":"2.0","id":${String(bodyOf(seen).id)},"result":{}}\n\n`);
          response.end();
        };
      };
      const answered = agent.call('tools/call', {}, 1);
      await agent.message((message) => message.params?.['n'] === 3);
      assert.deepEqual(
        agent.messages.map((message) => message.params?.['n']),
        [1, 2, 3],
      );
      finish();
      await answered;
    });

    it('puts an event together whose bytes arrive one by one', async () => {
      window.handler = (_seen, response) => {
        sse(response);
        const bytes = Buffer.from('data: {"jsonrpc":"2.0","id":1,"result":{"text":"日本語 𝄞"}}\n\n');
        void (async () => {
          for (const byte of bytes) {
            response.write(Buffer.from([byte]));
            await new Promise(setImmediate);
          }
          response.end();
        })();
      };
      assert.deepEqual((await agent.call('tools/call', {}, 1)).result, { text: '日本語 𝄞' });
    });

    it('keeps garbage from stdout', async () => {
      window.handler = (_seen, response) => {
        sse(response)('data: hello\n\ndata: {"broken":\n\ndata: {"neither":"nor"}\n\ndata: {"jsonrpc":"2.0","id":1,"result":{}}\n\n');
        response.end();
      };
      await agent.call('tools/call', {}, 1);
      assert.equal(agent.raw.length, 1);
      window.handler = (_seen, response) => json(response, 'oops');
      assert.equal((await agent.call('tools/call')).error?.code, ERROR_CODE.badAnswer);
    });

    it('runs calls at the same time and answers each once', async () => {
      const open: (() => void)[] = [];
      window.handler = (seen, response) => {
        open.push(() => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: { id: bodyOf(seen).id } }));
        if (open.length === 200) for (const answer of open.reverse()) answer();
      };
      const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => agent.call('tools/call', {}, `c${i}`)));
      for (const answer of answers) assert.equal(answer.result?.['id'], answer.id);
      assert.equal(agent.raw.length, 200);
    });

    it('outlasts a full backlog', async () => {
      const crowd = new Agent(folder, { ...SHORT, windowReturnMs: 20_000, longestLookMs: 500 });
      window.handler = (seen, response) => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
      // Node listens with a backlog of 511.
      const answers = await Promise.all(Array.from({ length: 700 }, (_, i) => crowd.call('tools/call', {}, `c${i}`)));
      assert.equal(answers.filter((answer) => answer.result).length, 700);
      assert.equal(window.seen.length, 700, 'nothing was sent twice');
      await crowd.relay.close();
    }).timeout(90_000);

    it('answers a broken line at once and goes on', async () => {
      await agent.open();
      agent.messages.splice(0);
      agent.send('{"jsonrpc":');
      agent.relay.accept(undefined);
      await agent.call('ping', {}, 7);
      assert.deepEqual(
        agent.messages.map((message) => [message.id, message.error?.code]),
        [
          [null, -32700],
          [null, -32600],
          [7, undefined],
        ],
      );
    });

    it('answers no notification, whatever becomes of it', async () => {
      window.handler = (seen, response) =>
        bodyOf(seen).method === 'ping'
          ? json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} })
          : response.writeHead(400).end();
      agent.send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
      agent.send({ jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } });
      await agent.call('ping');
      assert.equal(agent.raw.length, 1);
    });

    it('sends notifications one after the other', async () => {
      const order: unknown[] = [];
      const done = new Promise<void>((resolve) => {
        window.handler = (seen, response) => {
          order.push(`start ${String(bodyOf(seen).params?.['n'])}`);
          setTimeout(() => {
            order.push(`end ${String(bodyOf(seen).params?.['n'])}`);
            response.writeHead(202).end();
            if (order.length === 6) resolve();
          }, 5);
        };
      });
      for (const n of [1, 2, 3]) agent.send({ jsonrpc: '2.0', method: 'notifications/progress', params: { n } });
      await done;
      assert.deepEqual(order, ['start 1', 'end 1', 'start 2', 'end 2', 'start 3', 'end 3']);
    });
  });

  describe('errors of HTTP', () => {
    it('turns an empty answer into an error with the id of the request', async () => {
      for (const status of [202, 401, 403, 404, 413, 431, 500, 502, 503]) {
        window.handler = (_seen, response) => response.writeHead(status).end();
        agent.send(`{"jsonrpc":"2.0","id":1e${status},"method":"tools/call"}`);
        await agent.message((message) => message.error !== undefined);
        agent.messages.splice(0);
        const [line = ''] = agent.raw.splice(0);
        assert.ok(line.includes(`"id":1e${status},`), line);
        assert.equal((JSON.parse(line) as Wire).error?.code, ERROR_CODE.refused, String(status));
      }
    });

    it('passes an error body with our id byte for byte', async () => {
      const body = '{"jsonrpc":"2.0", "id":1, "error":{"code":-32601,"message":"no such method","data":1.0}}';
      window.handler = (_seen, response) => json(response, body, 404);
      await agent.call('nope', {}, 1);
      assert.deepEqual(agent.raw, [body]);
    });

    it('gives an error without an id the id of the request', async () => {
      window.handler = (_seen, response) => json(response, { jsonrpc: '2.0', id: null, error: { code: -32600, message: 'bad' } }, 400);
      assert.deepEqual((await agent.call('x', {}, 1)).error, { code: -32600, message: 'bad' });
      window.handler = (_seen, response) => json(response, { jsonrpc: '2.0', error: { code: -32603, message: 'worse' } });
      assert.deepEqual((await agent.call('x', {}, 2)).error, { code: -32603, message: 'worse' });
    });

    it('refuses a method that no header can carry', async () => {
      const answer = await agent.call('evil\r\nX: y', modern());
      assert.equal(answer.error?.code, -32600);
      assert.equal(window.seen.length, 0);
    });

    it('bounds what runs at once', async () => {
      const small = new Agent(folder, { ...SHORT, calls: 2 });
      const held: ServerResponse[] = [];
      window.handler = (_seen, response) => void held.push(response);
      for (const id of [1, 2, 3]) small.send({ jsonrpc: '2.0', id, method: 'tools/call' });
      assert.equal((await small.answer(3)).error?.code, ERROR_CODE.busy);
      await small.relay.close();
      for (const response of held) response.destroy();
    });
  });

  describe('legacy session', () => {
    it('sends nothing before the answer to initialize, then session and version', async () => {
      let release = (): void => undefined;
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        if (bodyOf(seen).method === 'initialize') release = () => inner(seen, response, incoming);
        else inner(seen, response, incoming);
      };
      agent.send({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25' } });
      agent.send({ jsonrpc: '2.0', method: 'notifications/initialized' });
      agent.send({ jsonrpc: '2.0', id: 2, method: 'tools/list' });
      while (window.seen.length === 0) await new Promise(setImmediate);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(window.seen.length, 1);
      assert.equal(window.seen[0]?.headers['mcp-session-id'], undefined);
      assert.equal(window.seen[0]?.headers['mcp-protocol-version'], undefined);
      release();
      await agent.answer(2);
      const [, ...later] = window.seen;
      assert.deepEqual(
        later.filter(({ method }) => method === 'POST').map((seen) => bodyOf(seen).method),
        ['notifications/initialized', 'tools/list'],
      );
      for (const seen of later)
        assert.deepEqual([seen.headers['mcp-session-id'], seen.headers['mcp-protocol-version']], ['s1', '2025-11-25']);
    });

    it('waits for the acknowledgement of notifications/initialized', async () => {
      let acknowledge = (): void => undefined;
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        if (bodyOf(seen).method === 'notifications/initialized') acknowledge = () => inner(seen, response, incoming);
        else inner(seen, response, incoming);
      };
      const opening = agent.open();
      while (window.seen.length < 2) await new Promise(setImmediate);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(window.seen.length, 2);
      acknowledge();
      await opening;
    });

    it('opens the gate with the answer to initialize, though its stream stays open', async () => {
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        if (bodyOf(seen).method !== 'initialize') return inner(seen, response, incoming);
        server.live.add('sse');
        sse(response, { 'mcp-session-id': 'sse' })(
          `data: {"jsonrpc":"2.0","id":${String(bodyOf(seen).id)},"result":{"protocolVersion":"2025-03-26","capabilities":{}}}\n\n`,
        );
      };
      await agent.open();
      const ping = window.seen.find((seen) => bodyOf(seen).method === 'ping');
      assert.equal(ping?.headers['mcp-session-id'], 'sse');
      assert.equal(ping.headers['mcp-protocol-version'], undefined, 'the header came with 2025-06-18');
    });

    it('opens the stream of the session and passes on what it brings', async () => {
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      assert.equal(server.stream?.seen.headers.accept, 'text/event-stream');
      server.stream.write('data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n');
      await agent.message((message) => message.method === 'notifications/tools/list_changed');
    });

    it('is content with a server that has no such stream', async () => {
      server.offersStream = false;
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      await agent.call('ping');
      assert.equal(server.streams, 1);
    });

    it('opens a broken stream again where it was', async () => {
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      server.stream?.write('id: e1\nretry: 5\ndata: {"jsonrpc":"2.0","method":"notifications/a"}\n\n');
      await agent.message((message) => message.method === 'notifications/a');
      const again = server.streamOpened();
      server.stream?.response.destroy();
      await again;
      assert.equal(server.stream?.seen.headers['last-event-id'], 'e1');
      const third = server.streamOpened();
      server.stream.response.end();
      await third;
      assert.equal(server.streams, 3);
    });

    it('gives up a stream that ends again and again', async () => {
      const limits = { ...SHORT, streamAttempts: 3, firstStreamPauseMs: 1, longestStreamPauseMs: 1 };
      const other = new Agent(folder, limits);
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        inner(seen, response, incoming);
        if (seen.method === 'GET') response.end();
      };
      await other.open();
      while (server.streams < 3) await new Promise(setImmediate);
      await new Promise((resolve) => setTimeout(resolve, 60));
      assert.equal(server.streams, 3);
      await other.relay.close();
    });

    it('continues the stream of a call that broke after an event id', async () => {
      await agent.open();
      server.calls = (_seen, response) => {
        sse(response)('id: c1\nretry: 3\ndata:\n\n');
        setTimeout(() => response.destroy(), 5);
      };
      const inner = server.handler;
      let resumes = 0;
      window.handler = (seen, response, incoming) => {
        if (seen.headers['last-event-id'] === 'c1') {
          resumes++;
          const write = sse(response);
          if (resumes === 1) response.end();
          else {
            write('id: c2\ndata: {"jsonrpc":"2.0","id":55,"result":{"late":true}}\n\n');
            response.end();
          }
        } else inner(seen, response, incoming);
      };
      assert.deepEqual((await agent.call('tools/call', {}, 55)).result, { late: true });
      assert.equal(resumes, 2);
      assert.equal(window.seen.filter((seen) => bodyOf(seen).id === 55).length, 1, 'the call was sent once');
    });

    it('answers with an error if the server does not continue it, or never could', async () => {
      await agent.open();
      server.offersStream = false;
      server.calls = (_seen, response) => {
        sse(response)('id: c1\nretry: 1\ndata:\n\n');
        response.end();
      };
      assert.equal((await agent.call('tools/call')).error?.code, ERROR_CODE.interrupted);
      server.calls = (_seen, response) => {
        sse(response);
        response.end();
      };
      assert.equal((await agent.call('tools/call')).error?.code, ERROR_CODE.interrupted);
    });

    it('takes an answer that the server gives on the other stream', async () => {
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      server.calls = (_seen, response) => {
        sse(response);
        server.stream?.write('data: {"jsonrpc":"2.0","id":66,"result":{}}\n\n');
        setTimeout(() => response.end(), 5);
      };
      assert.ok((await agent.call('tools/call', {}, 66)).result);
      await agent.call('ping').catch(() => undefined);
      assert.equal(agent.messages.filter((message) => message.id === 66).length, 1);
    });

    it('sends a cancel, and drops the call after a while', async () => {
      await agent.open();
      const closed = new Promise<void>((resolve) => {
        server.calls = (_seen, response) => {
          sse(response);
          response.once('close', resolve);
        };
      });
      agent.send({ jsonrpc: '2.0', id: 77, method: 'tools/call' });
      while (!window.seen.some((seen) => bodyOf(seen).id === 77)) await new Promise(setImmediate);
      agent.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 77 } });
      await closed;
      assert.ok(window.seen.some((seen) => bodyOf(seen).method === 'notifications/cancelled'));
      assert.equal(agent.messages.filter((message) => message.id === 77).length, 0);
    });

    it('never sends what was cancelled before it could go', async () => {
      let release = (): void => undefined;
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        if (bodyOf(seen).method === 'initialize') release = () => inner(seen, response, incoming);
        else inner(seen, response, incoming);
      };
      const opening = agent.open();
      agent.send({ jsonrpc: '2.0', id: 78, method: 'tools/call' });
      agent.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 78 } });
      while (window.seen.length === 0) await new Promise(setImmediate);
      release();
      await opening;
      assert.deepEqual(
        window.seen.filter((seen) => seen.body.includes('78')),
        [],
      );
    });

    it('carries requests of the server and their answers', async () => {
      await agent.open();
      const plain = server.calls;
      server.calls = (seen, response, request) => {
        if (bodyOf(seen).method !== 'tools/call') return plain(seen, response, request);
        const write = sse(response);
        write('data: {"jsonrpc":"2.0","id":0,"method":"sampling/createMessage","params":{}}\n\n');
        const inner = window.handler;
        window.handler = (next, nextResponse, incoming) => {
          if (bodyOf(next).id === 0) {
            nextResponse.writeHead(202).end();
            write(`data: {"jsonrpc":"2.0","id":${String(bodyOf(seen).id)},"result":${JSON.stringify(bodyOf(next).result)}}\n\n`);
            response.end();
          } else inner(next, nextResponse, incoming);
        };
      };
      const answered = agent.call('tools/call', {}, 5);
      await agent.message((message) => message.method === 'sampling/createMessage');
      agent.send({ jsonrpc: '2.0', id: 0, result: { model: 'm' } });
      assert.deepEqual((await answered).result, { model: 'm' });
      agent.send({ jsonrpc: '2.0', id: 0, result: { model: 'again' } });
      agent.send({ jsonrpc: '2.0', id: 'never asked', result: {} });
      await agent.call('ping').catch(() => undefined);
      assert.equal(window.seen.filter((seen) => bodyOf(seen).result).length, 1, 'an answer to nothing goes nowhere');
    });

    it('starts over when the agent initializes again', async () => {
      await agent.open();
      await agent.open();
      assert.deepEqual([...server.live], ['s2']);
      const pings = window.seen.filter((seen) => bodyOf(seen).method === 'ping');
      assert.deepEqual(
        pings.map((seen) => seen.headers['mcp-session-id']),
        ['s1', 's2'],
      );
    });

    it('ends the session when stdin ends, after what is running', async () => {
      const patient = new Agent(folder, { ...SHORT, drainMs: 10_000, goodbyeMs: 10_000 });
      await patient.open();
      server.calls = (seen, response) => void setTimeout(() => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} }), 50);
      const last = patient.call('tools/call');
      await patient.relay.close();
      assert.ok((await last).result);
      assert.equal(window.seen.at(-1)?.method, 'DELETE');
      assert.equal(server.live.size, 0);
    });
  });

  describe('a window that goes and comes', () => {
    const restart = async (): Promise<void> => {
      await window.kill();
      server.live.clear();
      window = await new FakeWindow(folder, server.handler).open();
    };

    it('says what to do when there is none, and tries again with the next message', async () => {
      const empty = new RuntimeFolder();
      const other = new Agent(empty);
      const { error } = await other.call('tools/list');
      assert.equal(error?.code, ERROR_CODE.notRunning);
      assert.match(error.message, /Open VS Code/);
      const late = await new FakeWindow(empty, server.handler).open();
      await other.open();
      await late.kill();
      empty.dispose();
    });

    it('finds the new window, opens the session again and carries on', async () => {
      await agent.open();
      await agent.call('logging/setLevel', { level: 'warning' });
      await agent.call('resources/subscribe', { uri: 'a:1' });
      await agent.call('resources/subscribe', { uri: 'a:2' });
      await agent.call('resources/unsubscribe', { uri: 'a:1' });
      await restart();
      const opened = server.streamOpened();
      assert.ok((await agent.call('tools/call', {}, 9)).result);
      await opened;
      const sent = window.seen.filter(({ method }) => method === 'POST').map((seen) => [bodyOf(seen).method, bodyOf(seen).params?.['uri']]);
      assert.deepEqual(sent.slice(0, 4), [
        ['initialize', undefined],
        ['notifications/initialized', undefined],
        ['logging/setLevel', undefined],
        ['resources/subscribe', 'a:2'],
      ]);
      assert.deepEqual(sent[4], ['tools/call', undefined]);
      assert.match(String(window.seen[0] && bodyOf(window.seen[0]).id), /^culvert-bridge/);
      assert.equal(agent.messages.filter((message) => String(message.id).startsWith('culvert')).length, 0, 'the own answer is swallowed');
      assert.equal(agent.messages.filter((message) => message.method === 'notifications/tools/list_changed').length, 1);
      assert.equal(agent.messages.filter((message) => message.method === 'notifications/prompts/list_changed').length, 0);
    });

    it('opens the session again by itself, for the sake of the stream', async () => {
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      const again = server.streamOpened();
      await restart();
      await again;
      await agent.message((message) => message.method === 'notifications/tools/list_changed');
      assert.ok((await agent.call('tools/call')).result);
      assert.equal(server.sessions, 2);
    });

    it('answers a call that was running, once, and does not send it again', async () => {
      await agent.open();
      let running = (): void => undefined;
      const started = new Promise<void>((resolve) => (running = resolve));
      server.calls = () => running();
      const answered = agent.call('tools/call', {}, 9);
      await started;
      await restart();
      const { error } = await answered;
      assert.equal(error?.code, ERROR_CODE.interrupted);
      assert.match(error.message, /may or may not have been carried out/);
      server.calls = new LegacyServer().calls;
      await agent.call('ping');
      assert.equal(agent.messages.filter((message) => message.id === 9).length, 1);
      assert.ok(!window.seen.some((seen) => bodyOf(seen).id === 9));
    });

    it('sends a list again that was interrupted: nothing can come of it', async () => {
      await agent.open();
      const first = server.calls;
      server.calls = (_seen, response) => {
        server.calls = first;
        response.destroy();
      };
      assert.ok((await agent.call('tools/list')).result);
    });

    it('waits for a window that takes its time', async () => {
      await agent.open();
      await window.kill();
      server.live.clear();
      const answered = agent.call('tools/call');
      await new Promise((resolve) => setTimeout(resolve, 100));
      window = await new FakeWindow(folder, server.handler).open();
      assert.ok((await answered).result);
    });

    it('gives up after a while, then answers at once until it is back', async () => {
      const hasty = new Agent(folder, { ...SHORT, windowReturnMs: 1_000 });
      await hasty.open();
      await window.kill();
      const start = Date.now();
      assert.equal((await hasty.call('tools/call')).error?.code, ERROR_CODE.notRunning);
      const waited = Date.now() - start;
      assert.ok(waited >= 900, String(waited));
      // Each that waited would take as long as the first.
      const second = Date.now();
      for (let i = 0; i < 10; i++) assert.equal((await hasty.call('tools/call')).error?.code, ERROR_CODE.notRunning);
      assert.ok(Date.now() - second < 10 * 900);
      server.live.clear();
      window = await new FakeWindow(folder, server.handler).open();
      assert.ok((await hasty.call('tools/call')).result);
      await hasty.relay.close();
    });

    it('takes the new token when the old one is refused', async () => {
      await agent.open();
      window.rotate();
      assert.ok((await agent.call('tools/call', {}, 9)).result);
      assert.equal(window.seen.filter((seen) => bodyOf(seen).id === 9).length, 1);
      assert.equal(server.sessions, 2);
    });

    it('gives up on a token that stays refused', async () => {
      await agent.open();
      window.token = 'changed but not written';
      const { error } = await agent.call('tools/call');
      assert.equal(error?.code, ERROR_CODE.refused);
      assert.ok(window.refused <= 2, String(window.refused));
    });

    it('opens a session again that the server forgot, and only once per call', async () => {
      await agent.open();
      server.live.clear();
      assert.ok((await agent.call('tools/call', {}, 9)).result);
      assert.equal(server.sessions, 2);
      const inner = server.handler;
      window.handler = (seen, response, incoming) =>
        bodyOf(seen).method === 'tools/call' ? response.writeHead(404).end() : inner(seen, response, incoming);
      assert.equal((await agent.call('tools/call', {}, 10)).error?.code, ERROR_CODE.refused);
      assert.deepEqual([...server.live].length, 3, 'two more attempts, no more');
    });

    it('knows a lost session behind a 400 too', async () => {
      await agent.open();
      const inner = server.handler;
      window.handler = (seen, response, incoming) => {
        if (seen.headers['mcp-session-id'] === 's1')
          json(response, { jsonrpc: '2.0', error: { code: -32000, message: 'Bad Request: No valid session ID provided' } }, 400);
        else inner(seen, response, incoming);
      };
      assert.ok((await agent.call('tools/call', {}, 9)).result);
      assert.equal(server.sessions, 2);
    });

    it('leaves the session alone on any other 400', async () => {
      await agent.open();
      server.calls = (seen, response) =>
        json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, error: { code: -32602, message: 'Your session is not initialized' } }, 400);
      assert.equal((await agent.call('tools/call')).error?.code, -32602);
      assert.equal(server.sessions, 1);
    });

    it('withdraws a request of the server whose session is gone, and drops the late answer', async () => {
      const opened = server.streamOpened();
      await agent.open();
      await opened;
      server.stream?.write('data: {"jsonrpc":"2.0","id":0,"method":"elicitation/create","params":{}}\n\n');
      await agent.message((message) => message.method === 'elicitation/create');
      await restart();
      await agent.call('ping');
      const { params } = await agent.message((message) => message.method === 'notifications/cancelled');
      assert.equal(params?.['requestId'], 0);
      agent.send({ jsonrpc: '2.0', id: 0, result: { action: 'accept' } });
      await agent.call('ping');
      assert.ok(!window.seen.some((seen) => bodyOf(seen).result));
      assert.match(agent.logged.join('\n'), /could not deliver/);
    });

    it('says so when the session can not be opened again', async () => {
      const hasty = new Agent(folder, { ...SHORT, windowReturnMs: 100 });
      await hasty.open();
      await restart();
      const inner = server.handler;
      window.handler = (seen, response, incoming) =>
        bodyOf(seen).method === 'initialize' ? response.writeHead(500).end() : inner(seen, response, incoming);
      const { error } = await hasty.call('tools/call');
      assert.equal(error?.code, ERROR_CODE.notRunning);
      assert.match(error.message, /could not be opened again: it answered 500/);
      await hasty.relay.close();
    });

    it('chooses the newest window that answers', async () => {
      const dead = await new FakeWindow(folder, server.handler, 'w3').open(Date.now() + 2_000);
      await dead.kill();
      const newest = await new FakeWindow(folder, server.handler, 'w2').open(Date.now() + 1_000);
      await agent.call('ping');
      assert.deepEqual([window.seen.length, newest.seen.length], [0, 1]);
      await newest.kill();
    });

    it('with a stem stays with that window', async () => {
      const other = await new FakeWindow(folder, server.handler, 'w2').open(Date.now() + 1_000);
      const bound = new Agent(folder, SHORT, window.stem);
      await bound.call('ping');
      assert.deepEqual([window.seen.length, other.seen.length], [1, 0]);
      await other.kill();
    });
  });

  describe('modern era', () => {
    it('mirrors the body in headers, without a session', async () => {
      await agent.open();
      await agent.call('tools/call', modern({ name: 'größe' }));
      const { headers } = window.seen.at(-1) ?? assert.fail();
      assert.equal(headers['mcp-protocol-version'], '2026-07-28');
      assert.equal(headers['mcp-method'], 'tools/call');
      assert.equal(headers['mcp-name'], '=?base64?Z3LDtsOfZQ==?=');
      assert.equal(headers['mcp-session-id'], undefined);
    });

    it('cancels by closing the stream, and sends no notification', async () => {
      const closed = new Promise<void>((resolve) => {
        window.handler = (_seen, response) => {
          sse(response)(': hello\n\n');
          response.once('close', resolve);
        };
      });
      agent.send({ jsonrpc: '2.0', id: 'm1', method: 'tools/call', params: modern({ name: 'slow' }) });
      while (window.seen.length === 0) await new Promise(setImmediate);
      agent.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'm1' } });
      await closed;
      agent.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'm1' } });
      window.handler = (seen, response) => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
      await agent.call('tools/list', modern());
      assert.equal(window.seen.length, 2);
      assert.equal(agent.raw.length, 1, 'a cancelled call is not answered');
    });

    it('keeps a subscription open and says when it broke', async () => {
      let response: ServerResponse | undefined;
      window.handler = (_seen, answered) => {
        response = answered;
        sse(answered)('data: {"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}\n\n');
      };
      agent.send({ jsonrpc: '2.0', id: 'l', method: 'subscriptions/listen', params: modern({ notifications: {} }) });
      await agent.message((message) => message.method === 'notifications/subscriptions/acknowledged');
      response?.write('data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}\n\n');
      await agent.message((message) => message.method === 'notifications/tools/list_changed');
      response?.destroy();
      assert.equal((await agent.answer('l')).error?.code, ERROR_CODE.interrupted);
    });

    it('sends a notification with the version of the connection', async () => {
      window.handler = (seen, response) =>
        bodyOf(seen).id === undefined ? response.writeHead(202).end() : json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
      await agent.call('server/discover', modern());
      agent.send({ jsonrpc: '2.0', method: 'notifications/x' });
      while (window.seen.length < 2) await new Promise(setImmediate);
      assert.equal(window.seen[1]?.headers['mcp-protocol-version'], '2026-07-28');
      assert.equal(window.seen[1].headers['mcp-method'], 'notifications/x');
    });

    const tool = { name: 'sql', inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } } };
    const strict: Handler = (seen, response) => {
      const { id, method } = bodyOf(seen);
      if (method === 'tools/list') json(response, { jsonrpc: '2.0', id, result: { tools: [tool] } });
      else if (seen.headers['mcp-param-region'] === 'eu') json(response, { jsonrpc: '2.0', id, result: {} });
      else json(response, { jsonrpc: '2.0', id, error: { code: -32020, message: 'Header mismatch' } }, 400);
    };

    it('repeats arguments in headers for tools that it saw listed', async () => {
      window.handler = strict;
      await agent.call('tools/list', modern());
      assert.ok((await agent.call('tools/call', modern({ name: 'sql', arguments: { region: 'eu' } }))).result);
      assert.equal(window.seen.length, 2);
    });

    it('lists the tools itself when a server wants headers it does not know of', async () => {
      window.handler = strict;
      assert.ok((await agent.call('tools/call', modern({ name: 'sql', arguments: { region: 'eu' } }))).result);
      assert.deepEqual(
        window.seen.map((seen) => bodyOf(seen).method),
        ['tools/call', 'tools/list', 'tools/call'],
      );
      assert.equal(agent.raw.length, 1, 'the own list is swallowed');
      const wrong = await agent.call('tools/call', modern({ name: 'sql', arguments: { region: 'us' } }));
      assert.equal(wrong.error?.code, -32020);
      assert.equal(window.seen.length, 5, 'once, no more');
    });

    it('takes the new token after a 503', async () => {
      window.handler = (seen, response) => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
      await agent.call('tools/list', modern());
      const { token } = window;
      window.rotate();
      const fresh = window.token;
      window.token = token;
      window.handler = (_seen, response) => {
        window.token = fresh;
        window.handler = (seen, later) => json(later, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
        json(response, { jsonrpc: '2.0', id: null, error: { code: -31003, message: 'rotated' } }, 503);
      };
      assert.ok((await agent.call('tools/call', modern({ name: 'x' }))).result);
      window.handler = (_seen, response) =>
        json(response, { jsonrpc: '2.0', id: null, error: { code: -31002, message: 'unreachable' } }, 503);
      const before = window.seen.length;
      assert.equal((await agent.call('tools/call', modern({ name: 'x' }))).error?.code, -31002);
      assert.equal(window.seen.length, before + 1);
    });

    it('finds a new window', async () => {
      window.handler = (seen, response) => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
      await agent.call('tools/list', modern());
      const { handler } = window;
      await window.kill();
      window = await new FakeWindow(folder, handler).open();
      assert.ok((await agent.call('tools/call', modern({ name: 'x' }))).result);
      assert.equal(window.seen.length, 1);
    });
  });

  describe('back-pressure', () => {
    it('pauses stdin while the tunnel takes nothing, and goes on after', async () => {
      const small = new Agent(folder, { ...SHORT, heldBytes: 4_000 });
      let release = (): void => undefined;
      window.handler = (seen, response) => {
        if (bodyOf(seen).method !== 'initialize') return json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
        release = () =>
          json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: { protocolVersion: '2025-11-25', capabilities: {} } });
      };
      small.send({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} });
      for (let id = 2; id < 20; id++) small.send({ jsonrpc: '2.0', id, method: 'tools/call', params: { text: 'x'.repeat(200) } });
      assert.deepEqual(small.pressure, [true]);
      while (window.seen.length === 0) await new Promise(setImmediate);
      release();
      for (let id = 1; id < 20; id++) await small.answer(id);
      assert.deepEqual(small.pressure, [true, false]);
      await small.relay.close();
    });

    it('reads no more from the tunnel than the agent takes', async () => {
      const stuck = new Writable({ highWaterMark: 1_000, write: (_chunk, _encoding, done) => void parked.push(done) });
      const parked: (() => void)[] = [];
      const slow = new Agent(folder, SHORT, undefined, stuck);
      let written = 0;
      let blocked = (): void => undefined;
      const stalled = new Promise<void>((resolve) => (blocked = resolve));
      window.handler = (_seen, response) => {
        sse(response);
        const event = Buffer.from(`data: {"jsonrpc":"2.0","method":"notifications/x","params":{"t":"${'x'.repeat(64_000)}"}}\n\n`);
        const pump = (): void => {
          while (written < 200_000_000) {
            written += event.length;
            if (!response.write(event)) {
              response.once('drain', pump);
              clearTimeout(timer);
              timer = setTimeout(blocked, 100);
              return;
            }
          }
        };
        let timer = setTimeout(blocked, 100);
        pump();
      };
      slow.send({ jsonrpc: '2.0', id: 1, method: 'tools/call' });
      await stalled;
      assert.ok(written < 5_000_000, `${written} bytes were taken`);
      const closing = slow.relay.close();
      const drain = setInterval(() => parked.shift()?.(), 1);
      await closing;
      clearInterval(drain);
    });
  });

  it('waits longer than the idle limit of a connection', async () => {
    const patient = new Agent(folder, { ...SHORT, idleConnectionMs: 30 });
    window.handler = (seen, response) => void setTimeout(() => json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} }), 120);
    assert.ok((await patient.call('tools/call')).result);
    await patient.relay.close();
  });

  it('keeps connections open between calls', async () => {
    const connections = new Set<unknown>();
    window.handler = (seen, response, incoming) => {
      connections.add(incoming.socket);
      json(response, { jsonrpc: '2.0', id: bodyOf(seen).id, result: {} });
    };
    for (let i = 0; i < 20; i++) await agent.call('tools/call');
    assert.equal(connections.size, 1);
    await once(connections.values().next().value as import('node:net').Socket, 'close').catch(() => undefined);
  }).timeout(60_000);
});
