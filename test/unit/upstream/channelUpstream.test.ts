import assert from 'node:assert/strict';
import { Stop } from '../../../src/common/stop.ts';
import { UpstreamError } from '../../../src/common/errors.ts';
import { SLOW_READER_MS } from '../../../src/upstream/channelGate.ts';
import { MAX_REQUESTS_IN_FLIGHT, MAX_WAITING_MESSAGES } from '../../../src/upstream/channelSession.ts';
import { SESSION_IDLE_MS, STALE_MS } from '../../../src/upstream/channelUpstream.ts';
import { FIRST_BYTE_TIMEOUT_MS } from '../../../src/upstream/limits.ts';
import { DISCOVER_TIMEOUT_MS } from '../../../src/upstream/sharedChannel.ts';
import { ownAnswer } from '../../../src/upstream/channelExchange.ts';
import { MODERN } from '../../support/agent.ts';
import { madeUpSecret } from '../../support/secrets.ts';
import { Bench, eventsOf, textOf } from './channels.ts';

const rejectsWith = (promise: Promise<unknown>, code: string) =>
  assert.rejects(promise, (error: unknown) => error instanceof UpstreamError && error.code === code);
const call = (id: number | string, params: object = {}) => ({ jsonrpc: '2.0', id, method: 'tools/call', params });
const log = (text: string) => ({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: text } });

describe('ChannelUpstream, legacy era', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.upstream.dispose());

  it('opens a channel for each session, and gives it an id of 256 bits in visible ASCII', async () => {
    const one = await bench.session();
    const two = await bench.session();
    assert.equal(bench.channels.length, 2);
    assert.match(one.id, /^[\x21-\x7e]{43}$/);
    assert.notEqual(one.id, two.id);
    void two.send(call(1));
    await two.channel.received(2);
    assert.equal(one.channel.sent.length, 1);
  });

  it('gives no session where the server refuses initialize, and ends the channel', async () => {
    const answer = bench.send({ jsonrpc: '2.0', id: 0, method: 'initialize' });
    await new Promise((resolve) => setImmediate(resolve));
    bench.channels[0]!.say({ jsonrpc: '2.0', id: 0, error: { code: -32602, message: 'Unsupported protocol version' } });
    const response = await answer;
    assert.equal(response.headers['mcp-session-id'], undefined);
    assert.match(await textOf(response), /Unsupported protocol version/);
    assert.equal(bench.channels[0]!.closed, 1);
  });

  it('wants a session for anything else, and knows only its own', async () => {
    assert.equal((await bench.send(call(1))).status, 400);
    const unknown = await bench.send(call(1), { headers: { 'mcp-session-id': 'x' } });
    assert.equal(unknown.status, 404);
    assert.deepEqual((JSON.parse(await textOf(unknown)) as { id: unknown }).id, 1);
    assert.equal((await bench.send(undefined, { method: 'GET' })).status, 405);
    assert.equal((await bench.send(undefined, { method: 'GET', headers: { 'mcp-session-id': 'x' } })).status, 404);
    assert.equal((await bench.send(undefined, { method: 'DELETE', headers: { 'mcp-session-id': 'x' } })).status, 404);
    assert.equal((await bench.send('no message')).status, 400);
    assert.equal(bench.channels.length, 0);
  });

  it('passes both ways byte for byte', async () => {
    const { send, channel } = await bench.session();
    const request = '{ "jsonrpc":"2.0", "id":12345678901234567890, "method":"tools/call","params":{"n":1.0,"s":"\\u00e4"} }';
    const answer = '{"result":{"n":1.0e0,"s":"\\u00e4"}, "id":12345678901234567890,"jsonrpc":"2.0"}';
    const response = send(request);
    await channel.received(2);
    assert.equal(channel.sent[1], request);
    channel.say(answer);
    assert.equal((await response).headers['content-type'], 'application/json');
    assert.equal(await textOf(await response), answer);
  });

  it('answers with JSON if the answer is the first that comes, else with a stream that ends with it', async () => {
    const { send, channel } = await bench.session();
    const plain = send(call(1));
    await channel.received(2);
    channel.say({ jsonrpc: '2.0', id: 1, result: {} });
    assert.equal((await plain).headers['content-type'], 'application/json');
    const streamed = send(call(2));
    await channel.received(3);
    channel.say(log('one'));
    assert.equal((await streamed).headers['content-type'], 'text/event-stream');
    channel.say({ jsonrpc: '2.0', id: 2, result: {} });
    assert.equal(
      await textOf(await streamed),
      `event: message\ndata: ${JSON.stringify(log('one'))}\n\nevent: message\ndata: {"jsonrpc":"2.0","id":2,"result":{}}\n\n`,
    );
  });

  it('splits a message with line breaks over data lines', async () => {
    const { send, channel } = await bench.session();
    const streamed = send(call(2));
    await channel.received(2);
    channel.say(log('one'));
    channel.say('{"id":2,\r"result":\n{}}');
    assert.match(await textOf(await streamed), /data: \{"id":2,\ndata: "result":\ndata: \{\}\}\n\n$/);
  });

  it('never streams to a client that takes only JSON', async () => {
    const { send, channel } = await bench.session();
    const plain = send(call(1), { headers: { accept: 'application/json' } });
    await channel.received(2);
    channel.say(log('one'));
    channel.say({ jsonrpc: '2.0', id: 1, result: {} });
    assert.equal(await textOf(await plain), '{"jsonrpc":"2.0","id":1,"result":{}}');
    assert.match((await eventsOf(await send(undefined, { method: 'GET' })).next())!, /"one"/);
  });

  it('brings progress to the request that it names, among several', async () => {
    const { send, channel } = await bench.session();
    const [a, b] = [send(call(1, { _meta: { progressToken: 'x' } })), send(call(2, { _meta: { progressToken: 2 } }))];
    await channel.received(3);
    channel.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 2, progress: 1 } });
    channel.say({ jsonrpc: '2.0', id: 1, result: {} });
    channel.say({ jsonrpc: '2.0', id: 2, result: {} });
    assert.equal((await a).headers['content-type'], 'application/json');
    assert.match(await textOf(await b), /"progressToken":2/);
  });

  it('brings what belongs to no request to the GET stream, also what came before it was open', async () => {
    const { send, channel } = await bench.session();
    channel.say({ jsonrpc: '2.0', id: 's', method: 'roots/list' });
    const stream = eventsOf(await send(undefined, { method: 'GET' }));
    assert.match((await stream.next())!, /roots\/list/);
    const [a, b] = [send(call(1)), send(call(2))];
    await channel.received(3);
    channel.say(log('to whom?'));
    assert.match((await stream.next())!, /to whom/);
    for (const id of [1, 2]) channel.say({ jsonrpc: '2.0', id, result: {} });
    assert.deepEqual(
      (await Promise.all([a, b])).map((r) => r.headers['content-type']),
      ['application/json', 'application/json'],
    );
    assert.equal((await send({ jsonrpc: '2.0', id: 's', result: { roots: [] } })).status, 202);
    assert.match(channel.sent.at(-1)!, /"roots":\[\]/);
  });

  it('brings a question of the server with the newest of several requests where there is no GET stream', async () => {
    const { send, channel } = await bench.session();
    void send(call(1));
    const b = send(call(2));
    await channel.received(3);
    channel.say({ jsonrpc: '2.0', id: 9, method: 'elicitation/create' });
    assert.match((await eventsOf(await b).next())!, /elicitation/);
  });

  it('keeps nothing from before initialize is answered on its answer', async () => {
    const answer = bench.send({ jsonrpc: '2.0', id: 0, method: 'initialize' });
    await new Promise((resolve) => setImmediate(resolve));
    const channel = bench.channels[0]!;
    channel.say(log('early'));
    channel.say({ jsonrpc: '2.0', id: 0, result: {} });
    const response = await answer;
    assert.equal(response.headers['content-type'], 'application/json');
    const id = String(response.headers['mcp-session-id']);
    const stream = await bench.send(undefined, { method: 'GET', headers: { 'mcp-session-id': id } });
    assert.match((await eventsOf(stream).next())!, /early/);
  });

  it('keeps a bounded number of messages for a stream, and answers questions that nobody will hear', async () => {
    const { send, channel } = await bench.session();
    for (let i = 0; i < MAX_WAITING_MESSAGES; i++) channel.say(log(`n${i}`));
    channel.say(log('too many'));
    channel.say({ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage' });
    await channel.received(2);
    assert.deepEqual([channel.last()['id'], typeof channel.last()['error']], ['q', 'object']);
    assert.equal(bench.log.lines.filter((line) => line.includes('dropped')).length, 1);
    const stop = new Stop();
    const stream = await send(undefined, { method: 'GET', signal: stop });
    const seen: string[] = [];
    for await (const chunk of stream.body) if (seen.push(chunk.toString()) === MAX_WAITING_MESSAGES) break;
    assert.ok(seen.at(-1)!.includes(`n${MAX_WAITING_MESSAGES - 1}`));
  });

  it('keeps messages again when the stream has ended', async () => {
    const { send, channel } = await bench.session();
    const stop = new Stop();
    const first = await send(undefined, { method: 'GET', signal: stop });
    stop.abort();
    await assert.rejects(async () => first.body.collect(100));
    channel.say(log('between'));
    assert.match((await eventsOf(await send(undefined, { method: 'GET' })).next())!, /between/);
  });

  it('refuses an id that is in use, and too many requests', async () => {
    const { send, channel } = await bench.session();
    for (let i = 0; i < MAX_REQUESTS_IN_FLIGHT; i++) void send(call(i)).catch(() => undefined);
    assert.equal((await send(call(7))).status, 400);
    assert.equal((await send(call('more'))).status, 503);
    assert.equal(channel.sent.length, 1 + MAX_REQUESTS_IN_FLIGHT);
    channel.say({ jsonrpc: '2.0', id: 7, result: {} });
    void send(call(7)).catch(() => undefined);
    await channel.received(2 + MAX_REQUESTS_IN_FLIGHT);
  });

  it('lets go of a request that the client cancels, whatever the server does', async () => {
    const { send, channel } = await bench.session();
    const answer = send(call(5));
    await channel.received(2);
    assert.equal((await send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 5 } })).status, 202);
    assert.match(channel.sent[2]!, /cancelled/);
    assert.match(await textOf(await answer), /"id":5,"error"/);
    assert.equal(channel.say({ jsonrpc: '2.0', id: 5, result: {} }), true);
  });

  it('tells the server when a request is ended from our side, or takes too long', async () => {
    const { send, channel } = await bench.session();
    const stop = new Stop();
    const answer = send(call('a'), { signal: stop });
    await channel.received(2);
    stop.abort();
    await rejectsWith(answer, 'CULVERT_UPSTREAM_ABORTED');
    assert.deepEqual(channel.last(), { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'a' } });
    const slow = send(call('b'));
    await channel.received(4);
    bench.clock.advance(FIRST_BYTE_TIMEOUT_MS);
    await rejectsWith(slow, 'CULVERT_UPSTREAM_ANSWER_TIMEOUT');
    assert.deepEqual(channel.last()['params'], { requestId: 'b' });
  });

  it('ends a session with DELETE: streams cleanly, its channel closed, its id unknown', async () => {
    const { send, channel } = await bench.session();
    const stream = await send(undefined, { method: 'GET' });
    assert.equal((await send(undefined, { method: 'DELETE' })).status, 200);
    assert.equal(await textOf(stream), '');
    assert.equal(channel.closed, 1);
    assert.equal((await send(call(1))).status, 404);
  });

  it('breaks off what waits when the channel ends, and says why', async () => {
    const { send, channel } = await bench.session();
    const stream = await send(undefined, { method: 'GET' });
    const [waiting, streaming] = [send(call(1)), send(call(2, { _meta: { progressToken: 'p' } }))];
    await channel.received(3);
    channel.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 1 } });
    const begun = await streaming;
    channel.reader.closed(new UpstreamError('CULVERT_UPSTREAM_EXITED', 'response', 'it died'));
    await rejectsWith(waiting, 'CULVERT_UPSTREAM_EXITED');
    await assert.rejects(async () => begun.body.collect(1000), /it died/);
    await assert.rejects(async () => stream.body.collect(1000), /it died/);
    assert.equal((await send(call(3))).status, 404);
  });

  it('ends a session whose credential was replaced once its calls are answered, and begins the next with the new one', async () => {
    const environment = { TOKEN: madeUpSecret() };
    const other = { environment: { TOKEN: madeUpSecret('b') } };
    const old = await bench.session({ environment });
    const waiting = old.send(call(1));
    await old.channel.received(2);
    const second = old.send(call(2), other);
    await old.channel.received(3);
    for (const id of [1, 2]) old.channel.say({ jsonrpc: '2.0', id, result: {} });
    assert.deepEqual([(await waiting).status, (await second).status], [200, 200]);
    assert.equal((await old.send(call(3), other)).status, 404);
    assert.equal(old.channel.closed, 1);
    await bench.session(other);
    assert.equal(bench.channels.length, 2);
  });

  it('pauses the channel while a reader lags, resumes it, and gives up one that stands still', async () => {
    const { send, channel } = await bench.session();
    const stream = await send(undefined, { method: 'GET' });
    const large = log('x'.repeat(300_000));
    channel.say(large);
    assert.equal(channel.paused, true);
    const reading = eventsOf(stream);
    await reading.next();
    assert.equal(channel.paused, false);
    channel.say(large);
    assert.equal(channel.paused, true);
    bench.clock.advance(SLOW_READER_MS);
    assert.equal(channel.paused, false);
    await reading.next();
    await assert.rejects(reading.next(), /took nothing/);
    channel.say(log('later'));
    assert.match((await eventsOf(await send(undefined, { method: 'GET' })).next())!, /later/);
  });

  it('does not wait for the reader of an answer that is complete', async () => {
    const { send, channel } = await bench.session();
    const whole = send(call(1));
    const streamed = send(call(2, { _meta: { progressToken: 'p' } }));
    await channel.received(3);
    channel.say({ jsonrpc: '2.0', id: 1, result: 'x'.repeat(300_000) });
    await whole;
    channel.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 1 } });
    channel.say({ jsonrpc: '2.0', id: 2, result: 'x'.repeat(300_000) });
    await streamed;
    assert.equal(channel.paused, false);
  });

  it('ends a session that nobody uses, but none with a stream or a request', async () => {
    const idle = await bench.session();
    const listening = await bench.session();
    await listening.send(undefined, { method: 'GET' });
    const waiting = await bench.session();
    void waiting.send(call(1)).catch(() => undefined);
    bench.clock.advance(SESSION_IDLE_MS + 120_000);
    assert.equal(idle.channel.closed, 1);
    assert.equal(listening.channel.closed, 0);
  });

  it('makes room for a session by ending the one that is idle longest, and refuses where none is', async () => {
    bench.upstream.dispose();
    bench = new Bench({ maxSessions: 2 });
    const first = await bench.session();
    bench.clock.advance(1);
    const second = await bench.session();
    bench.clock.advance(1);
    const third = await bench.session();
    assert.deepEqual([first.channel.closed, second.channel.closed, third.channel.closed], [1, 0, 0]);
    for (const { send } of [second, third]) await send(undefined, { method: 'GET' });
    const refused = await bench.send({ jsonrpc: '2.0', id: 8, method: 'initialize' });
    assert.equal(refused.status, 503);
    assert.match(await textOf(refused), /"id":8.*2 sessions, all in use/);
  });

  it('passes on how a server refuses to be opened or a message', async () => {
    bench.refusal = ownAnswer(401, Buffer.alloc(0));
    assert.equal((await bench.send({ jsonrpc: '2.0', id: 0, method: 'initialize' })).status, 401);
    bench.refusal = new UpstreamError('CULVERT_UPSTREAM_REFUSED', 'connect', 'nobody there');
    await rejectsWith(bench.send({ jsonrpc: '2.0', id: 0, method: 'initialize' }), 'CULVERT_UPSTREAM_REFUSED');
    bench.refusal = undefined;
    const { send, channel } = await bench.session();
    channel.refusal = ownAnswer(403, Buffer.alloc(0));
    assert.equal((await send(call(1))).status, 403);
    assert.equal((await send({ jsonrpc: '2.0', method: 'notifications/x' })).status, 403);
    channel.refusal = ownAnswer(404, Buffer.alloc(0));
    assert.equal((await send(call(2))).status, 404);
    assert.equal(channel.closed, 1);
  });

  it('takes nothing more once it is disposed, and breaks off what waits', async () => {
    const { send, channel } = await bench.session();
    const waiting = send(call(1));
    await channel.received(2);
    bench.upstream.dispose();
    await rejectsWith(waiting, 'CULVERT_UPSTREAM_CLOSED');
    await rejectsWith(send(call(2)), 'CULVERT_UPSTREAM_ABORTED');
    await bench.upstream.settled();
    assert.equal(channel.closed, 1);
  });

  it('tells the channel what is no message', async () => {
    const { channel } = await bench.session();
    assert.deepEqual([channel.say('Server ready!'), channel.say('{"a":1}'), channel.say(log('x'))], [false, false, true]);
  });
});

describe('ChannelUpstream, modern era', () => {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': MODERN,
    'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
    'io.modelcontextprotocol/clientCapabilities': {},
  };
  const modern = (id: number | string, method = 'tools/call', more: object = {}) => ({
    jsonrpc: '2.0',
    id,
    method,
    params: { _meta: { ...meta, ...more }, notifications: {} },
  });
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.upstream.dispose());

  /** Sends and gives the id under which the server sees it. */
  const begin = async (body: unknown, part: Parameters<Bench['send']>[1] = {}) => {
    const last = bench.channels.at(-1);
    const open = last?.closed === 0 ? last : undefined;
    const count = bench.channels.length;
    const before = open?.sent.length ?? 0;
    const response = bench.send(body, part);
    response.catch(() => undefined);
    while (!open && bench.channels.length === count) await new Promise((resolve) => setImmediate(resolve));
    const channel = open ?? bench.channels[count]!;
    await channel.received(before + 1);
    return { response, channel, wire: channel.last()['id'] as number };
  };

  it('shares one channel, and keeps equal ids apart', async () => {
    const a = await begin(modern(1));
    const b = await begin(modern(1));
    const c = await begin(modern('1'));
    assert.equal(bench.channels.length, 1);
    assert.equal(new Set([a.wire, b.wire, c.wire]).size, 3);
    for (const [exchange, text] of [
      [b, 'b'],
      [a, 'a'],
      [c, 'c'],
    ] as const)
      exchange.channel.say({ jsonrpc: '2.0', id: exchange.wire, result: text });
    assert.deepEqual(await Promise.all([a, b, c].map(async ({ response }) => JSON.parse(await textOf(await response)) as unknown)), [
      { jsonrpc: '2.0', id: 1, result: 'a' },
      { jsonrpc: '2.0', id: 1, result: 'b' },
      { jsonrpc: '2.0', id: '1', result: 'c' },
    ]);
  });

  it('changes only the bytes of ids and tokens', async () => {
    const text = `{ "method":"tools/call","params":{"n":1.0,"_meta":{"progressToken" :"t","io.modelcontextprotocol/protocolVersion":"${MODERN}"}}, "id":"a\\u0062" }`;
    const { channel, wire, response } = await begin(text);
    assert.equal(channel.sent[0], text.replace('"t"', String(wire)).replace('"a\\u0062"', String(wire)));
    channel.say(`{"method":"notifications/progress", "params":{ "progressToken":${wire},"progress":1.0 }}`);
    channel.say(`{"result":{"x":1.0},  "id":${wire}}`);
    assert.equal(
      await textOf(await response),
      'event: message\ndata: {"method":"notifications/progress", "params":{ "progressToken":"t","progress":1.0 }}\n\n' +
        'event: message\ndata: {"result":{"x":1.0},  "id":"a\\u0062"}\n\n',
    );
  });

  it('carries subscriptions as long streams, each with its own id', async () => {
    const a = await begin(modern('listen:0', 'subscriptions/listen'));
    const b = await begin(modern('listen:0', 'subscriptions/listen'));
    const note = (wire: number, method: string) => ({
      jsonrpc: '2.0',
      method,
      params: { _meta: { 'io.modelcontextprotocol/subscriptionId': wire } },
    });
    a.channel.say(note(a.wire, 'notifications/subscriptions/acknowledged'));
    a.channel.say(note(b.wire, 'notifications/subscriptions/acknowledged'));
    const [one, two] = [eventsOf(await a.response), eventsOf(await b.response)];
    assert.match((await one.next())!, /acknowledged.*subscriptionId":"listen:0"/);
    assert.match((await two.next())!, /acknowledged.*subscriptionId":"listen:0"/);
    a.channel.say(note(b.wire, 'notifications/tools/list_changed'));
    assert.match((await two.next())!, /list_changed.*"listen:0"/);
    a.channel.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: a.wire } });
    assert.match((await one.next())!, /cancelled.*"requestId":"listen:0"/);
    a.channel.say({ jsonrpc: '2.0', id: a.wire, result: { _meta: { 'io.modelcontextprotocol/subscriptionId': a.wire } } });
    assert.match((await one.next())!, /"id":"listen:0".*subscriptionId":"listen:0"/);
    assert.equal(await one.next(), undefined);
  });

  it('cancels at the server with its own id and in its era when the client leaves', async () => {
    const stop = new Stop();
    const { channel, wire, response } = await begin(modern('mine'), { signal: stop });
    stop.abort();
    await rejectsWith(response, 'CULVERT_UPSTREAM_ABORTED');
    assert.deepEqual(channel.last(), { jsonrpc: '2.0', method: 'notifications/cancelled', params: { _meta: meta, requestId: wire } });
    assert.equal(channel.say({ jsonrpc: '2.0', id: wire, result: {} }), true);
  });

  it('lets no client cancel by id: it could be another one’s', async () => {
    const { channel } = await begin(modern(1));
    const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { _meta: meta, requestId: 1 } };
    assert.equal((await bench.send(cancel)).status, 202);
    assert.equal(channel.sent.length, 1);
    assert.equal((await bench.send({ ...cancel, method: 'notifications/other' })).status, 202);
    assert.equal(channel.sent.length, 2);
  });

  it('gives what names nobody only where it can be nobody else’s', async () => {
    const quiet = await begin(modern(1));
    const loud = await begin(modern(2, 'tools/call', { 'io.modelcontextprotocol/logLevel': 'info' }));
    const listening = await begin(modern('l', 'subscriptions/listen'));
    quiet.channel.say(log('for the one that asked'));
    assert.match((await eventsOf(await loud.response).next())!, /for the one that asked/);
    quiet.channel.say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
    assert.match((await eventsOf(await listening.response).next())!, /list_changed/);
    const second = await begin(modern(3, 'tools/call', { 'io.modelcontextprotocol/logLevel': 'info' }));
    quiet.channel.say(log('for either'));
    for (const { wire, channel } of [quiet, second]) channel.say({ jsonrpc: '2.0', id: wire, result: {} });
    assert.equal((await quiet.response).headers['content-type'], 'application/json');
    assert.equal((await second.response).headers['content-type'], 'application/json');
  });

  it('drops a request of the server, which this era does not have', async () => {
    const { channel, wire, response } = await begin(modern(1));
    channel.say({ jsonrpc: '2.0', id: wire, method: 'sampling/createMessage' });
    channel.say({ jsonrpc: '2.0', id: wire, result: {} });
    assert.equal((await response).headers['content-type'], 'application/json');
    assert.equal(channel.sent.length, 1);
  });

  it('answers server/discover for a server that never does, and lets it go', async () => {
    const { channel, response } = await begin(modern(1, 'server/discover'));
    bench.clock.advance(DISCOVER_TIMEOUT_MS);
    assert.match(await textOf(await response), /"id":1,"error":\{"code":-32601/);
    assert.equal(channel.closed, 1);
  });

  it('lets go of a server that only refused to be asked, but of none that answered', async () => {
    const { channel, wire, response } = await begin(modern(1, 'server/discover'));
    channel.say({ jsonrpc: '2.0', id: wire, error: { code: -32601, message: 'Method not found' } });
    assert.match(await textOf(await response), /"id":1/);
    assert.equal(channel.closed, 1);
    const again = await begin(modern(2, 'server/discover'));
    assert.equal(bench.channels.length, 2);
    again.channel.say({ jsonrpc: '2.0', id: again.wire, result: {} });
    await again.response;
    assert.equal(again.channel.closed, 0);
  });

  it('breaks off every request when the channel ends, and opens another for the next', async () => {
    const a = await begin(modern(1));
    const b = await begin(modern(2));
    a.channel.reader.closed(new UpstreamError('CULVERT_UPSTREAM_EXITED', 'response', 'it died'));
    await rejectsWith(a.response, 'CULVERT_UPSTREAM_EXITED');
    await rejectsWith(b.response, 'CULVERT_UPSTREAM_EXITED');
    void bench.send(modern(3)).catch(() => undefined);
    while (bench.channels.length < 2) await new Promise((resolve) => setImmediate(resolve));
    await bench.channels[1]!.received(1);
  });

  it('opens another channel when the credential was replaced and the calls on the old one are answered', async () => {
    const other = { environment: { TOKEN: madeUpSecret('b') } };
    const a = await begin(modern(1), { environment: { TOKEN: madeUpSecret() } });
    a.channel.say({ jsonrpc: '2.0', id: 1, result: {} });
    assert.equal((await a.response).status, 200);
    void bench.send(modern(1), other).catch(() => undefined);
    assert.equal(a.channel.closed, 1);
    while (bench.channels.length < 2) await new Promise((resolve) => setImmediate(resolve));
  });

  it('ends a channel that is never quiet a minute after its credential was replaced', async () => {
    const other = { environment: { TOKEN: madeUpSecret('b') } };
    const a = await begin(modern(1), { environment: { TOKEN: madeUpSecret() } });
    void bench.send(modern(2), other).catch(() => undefined);
    await a.channel.received(2);
    assert.equal(a.channel.closed, 0);
    bench.clock.advance(STALE_MS);
    void bench.send(modern(3), other).catch(() => undefined);
    await rejectsWith(a.response, 'CULVERT_UPSTREAM_CREDENTIAL_REPLACED');
    assert.equal(a.channel.closed, 1);
  });

  it('says where there is no way to speak it, so that clients fall back', async () => {
    bench.upstream.dispose();
    bench = new Bench({ modern: false });
    const refused = await bench.send(modern(1, 'server/discover'));
    assert.equal(refused.status, 400);
    assert.match(await textOf(refused), /"id":1,"error":\{"code":-32601/);
    assert.equal(bench.channels.length, 0);
  });

  it('has no GET stream and takes no answers', async () => {
    assert.equal(
      (await bench.send(undefined, { method: 'GET', headers: { 'mcp-protocol-version': MODERN, 'mcp-session-id': 'x' } })).status,
      405,
    );
    assert.equal((await bench.send({ jsonrpc: '2.0', id: 1, result: {} }, { headers: { 'mcp-protocol-version': MODERN } })).status, 400);
  });
});
