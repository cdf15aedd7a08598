import assert from 'node:assert/strict';
import { applyEdits } from '../../../src/mcp/json.ts';
import { rawAt, readEnvelope } from '../../../src/upstream/channelMessage.ts';

describe('readEnvelope', () => {
  const read = (text: string) => readEnvelope(Buffer.from(text));

  for (const [what, text, kind] of [
    ['a request', '{"jsonrpc":"2.0","id":1,"method":"ping"}', 'request'],
    ['a notification', '{"jsonrpc":"2.0","method":"notifications/x"}', 'notification'],
    ['a result', ' {"id":"a","result":{}} ', 'response'],
    ['an error', '{"id":null,"error":{"code":1,"message":""}}', 'response'],
  ] as const)
    it(`knows ${what}`, () => assert.equal(read(text)?.kind, kind));

  for (const [what, text] of [
    ['text', 'Listening on port 3000'],
    ['a number', '12'],
    ['an array', '[{"jsonrpc":"2.0","method":"x"}]'],
    ['an object that is none', '{"level":"info","msg":"started"}'],
    ['two messages in one', '{"id":1,"result":{}}{"id":2,"result":{}}'],
    ['half a message', '{"id":1,"result":{'],
    ['a request without a usable id', '{"id":null,"method":"x"}'],
    ['a method that is no string', '{"id":1,"method":{}}'],
    ['nothing', ''],
  ] as const)
    it(`takes ${what} for no message`, () => assert.equal(read(text), undefined));

  it('takes bytes that are no UTF-8 for no message', () =>
    assert.equal(readEnvelope(Buffer.concat([Buffer.from('{"id":1,"result":"'), Buffer.from([0xff]), Buffer.from('"}')])), undefined));

  it('reads the same id in every spelling, and tells 1 from "1"', () => {
    assert.equal(read('{"id":"gr\\u00f6\\u00dfe","result":1}')?.id?.key, read('{"id":"größe","result":1}')?.id?.key);
    assert.notEqual(read('{"id":1,"result":1}')?.id?.key, read('{"id":"1","result":1}')?.id?.key);
    assert.equal(read('{"id":1,"result":1}')?.id?.key, read('{"id":1.0,"result":1}')?.id?.key);
  });

  it('finds what names another request, wherever it stands', () => {
    const bytes = Buffer.from('{"params":{"x":{"progressToken":7},"_meta":{"progressToken": "t"}},"id":3,"method":"tools/call"}');
    const found = readEnvelope(bytes);
    assert.equal(rawAt(bytes, found!.progressToken!.span), '"t"');
    assert.equal(rawAt(bytes, found!.id!.span), '3');
    assert.equal(read('{"method":"notifications/progress","params":{"progressToken":9}}')?.progressToken?.key, 'number 9');
    assert.equal(read('{"method":"notifications/cancelled","params":{"requestId":"r"}}')?.requestId?.key, 'string r');
    assert.equal(read('{"method":"notifications/x","params":{"requestId":"r"}}')?.requestId, undefined);
    const meta = '"_meta":{"io.modelcontextprotocol\\/subscriptionId":4}';
    assert.equal(read(`{"method":"notifications/x","params":{${meta}}}`)?.subscriptionId?.key, 'number 4');
    assert.equal(read(`{"id":1,"result":{${meta}}}`)?.subscriptionId?.key, 'number 4');
  });

  it('counts the last of duplicate keys, as parsers do, and edits that one', () => {
    const bytes = Buffer.from('{"id":1,"id":2,"result":{}}');
    const { id } = readEnvelope(bytes)!;
    assert.equal((JSON.parse(applyEdits(bytes, [{ span: id!.span, replacement: '"mine"' }]).toString()) as { id: string }).id, 'mine');
  });
});
