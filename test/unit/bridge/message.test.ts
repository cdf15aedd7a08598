import assert from 'node:assert/strict';
import fc from 'fast-check';
import { idKey, rawId, readMessage, shapeOf, withId, type Fault, type Message } from '../../../src/bridge/message.ts';

const read = (text: string): Message | Fault => readMessage(Buffer.from(text));
const answerOf = (text: string): unknown => {
  const message = read(text);
  assert.equal(message.kind, 'fault');
  return JSON.parse(message.answer.toString());
};
const shape = (text: string): unknown => {
  const found = shapeOf(Buffer.from(text));
  return found && { id: found.id?.toString(), method: found.method, answer: found.answer };
};

describe('bridge: messages', () => {
  it('tells requests, notifications and responses apart', () => {
    assert.equal(read('{"jsonrpc":"2.0","id":1,"method":"ping"}').kind, 'request');
    assert.equal(read('{"jsonrpc":"2.0","id":"","method":"ping"}').kind, 'request');
    assert.equal(read('{"jsonrpc":"2.0","method":"notifications/x"}').kind, 'notification');
    assert.equal(read('{"jsonrpc":"2.0","id":1,"result":{}}').kind, 'response');
    assert.equal(read('{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}').kind, 'response');
  });

  it('answers a line that is not JSON with -32700 and no id', () => {
    assert.deepEqual(answerOf('{"jsonrpc":'), { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'The line is not JSON.' } });
  });

  it('answers what is no message with -32600', () => {
    for (const text of [
      '[]',
      '[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
      '1',
      'null',
      '{}',
      '{"id":1}',
      '{"id":null,"method":"ping"}',
      '{"id":{},"method":"ping"}',
    ]) {
      assert.equal((answerOf(text) as { error: { code: number } }).error.code, -32600, text);
    }
  });

  it('finds the version of the modern era, and takes an older one for legacy', () => {
    const meta = (version: unknown): Message | Fault =>
      read(
        JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'x', params: { _meta: { 'io.modelcontextprotocol/protocolVersion': version } } }),
      );
    assert.equal((meta('2026-07-28') as Message).modernVersion, '2026-07-28');
    assert.equal((meta('2027-01-01') as Message).modernVersion, '2027-01-01');
    assert.equal((meta('2025-11-25') as Message).modernVersion, undefined);
    assert.equal((meta(1) as Message).modernVersion, undefined);
  });

  it('keeps ids that a parser would change', () => {
    assert.equal(rawId(Buffer.from('{"id":12345678901234567890,"method":"x"}')).toString(), '12345678901234567890');
    assert.equal(rawId(Buffer.from('{"method":"x", "id" : 1.0 }')).toString(), '1.0');
    assert.equal(rawId(Buffer.from('{"params":{"id":5},"method":"x","\\u0069d":"a\\"}"}')).toString(), '"a\\"}"');
    assert.equal(rawId(Buffer.from('{"method":"x"}')).toString(), 'null');
  });

  it('replaces an id and nothing else', () => {
    const bytes = Buffer.from(' {"jsonrpc" : "2.0", "id" : 0 , "params":{"n":1.0,"id":7}}');
    assert.equal(withId(bytes, '"own"').toString(), ' {"jsonrpc" : "2.0", "id" : "own" , "params":{"n":1.0,"id":7}}');
  });

  it('sees the outermost members only', () => {
    assert.deepEqual(shape('{"id":1,"result":{"method":"x"}}'), { id: '1', method: false, answer: true });
    assert.deepEqual(shape('{"method":"x","params":{"result":1,"id":9}}'), { id: undefined, method: true, answer: false });
    assert.deepEqual(shape('{"a":"}{\\"","error":{},"id":"\\\\"}'), { id: '"\\\\"', method: false, answer: true });
    assert.deepEqual(shape(' \n{ } '), { id: undefined, method: false, answer: false });
  });

  it('refuses what is not one balanced object', () => {
    for (const text of ['', 'x', '[]', '"a"', '{', '{"a":1', '{"a":"', '{"a":1}}', '{"a":1}{}', '{"a":1} x', '{"a"}', '{"a" 1}'])
      assert.equal(shape(text), undefined, text);
  });

  it('agrees with JSON.parse on every object', () => {
    const member = fc.tuple(fc.constantFrom('id', 'method', 'result', 'error', 'params', 'a"b', 'é\\'), fc.jsonValue());
    fc.assert(
      fc.property(fc.array(member, { maxLength: 6 }), fc.constantFrom(undefined, 1, '\t'), (members, indent) => {
        const object = Object.fromEntries(members);
        const found = shapeOf(Buffer.from(JSON.stringify(object, undefined, indent)));
        assert.ok(found);
        assert.equal(found.method, 'method' in object);
        assert.equal(found.answer, 'result' in object || 'error' in object);
        assert.equal(
          found.id === undefined ? undefined : idKey(JSON.parse(found.id.toString())),
          'id' in object ? idKey(object['id']) : undefined,
        );
      }),
      { numRuns: 2_000, seed: 1 },
    );
  });
});
