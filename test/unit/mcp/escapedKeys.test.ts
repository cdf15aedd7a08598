import assert from 'node:assert/strict';
import { readMessage } from '../../../src/mcp/message.ts';

const codeOf = (text: string): number | 'accepted' => {
  const result = readMessage(Buffer.from(text));
  return result.ok ? 'accepted' : result.code;
};
const call = (args: string): string => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":${args}}}`;

describe('readMessage, keys with escapes', () => {
  // After a message with the first key, V8 12.8 to 14.6 reads the second as the first (nodejs/node#63785): a server on it would not find what
  // was decided on.
  it('refuses what a server can be made to read as another key', () => {
    assert.equal(codeOf(call(String.raw`{"dryR\\u":0}`)), 'accepted');
    assert.equal(codeOf(call(String.raw`{"dryR\u0075n":true}`)), -32600);
    assert.equal(codeOf(String.raw`{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools/list"}`), -32600);
    assert.equal(codeOf(String.raw`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","argument\u0073":{}}}`), -32600);
    assert.equal(codeOf(call(String.raw`{"deep":[{"k\u0065y":1}]}`)), -32600);
  });

  it('takes the escapes that writers make', () => {
    for (const key of [
      'gr\\u00f6\\u00dfe',
      'a\\"b',
      'C:\\\\u0061',
      'a\\/b',
      'tab\\t',
      '\\u001f',
      'x\\u003cy',
      'it\\u0027s',
      '\\ud83d\\ude00',
      'größe',
    ])
      assert.equal(codeOf(call(`{"${key}":1}`)), 'accepted', key);
  });

  it('takes any escape in a value', () => {
    assert.equal(codeOf(call(String.raw`{"a":"\u0061\u0062"}`)), 'accepted');
  });
});
