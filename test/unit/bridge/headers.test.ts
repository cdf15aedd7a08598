import assert from 'node:assert/strict';
import { encodeHeaderValue, modernHeaders, ToolHeaders } from '../../../src/bridge/headers.ts';
import { readMessage, type Message } from '../../../src/bridge/message.ts';

const message = (method: string, params: object): Message =>
  readMessage(Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }))) as Message;
const headers = (method: string, params: object, tools = new ToolHeaders()): Record<string, string> =>
  modernHeaders(message(method, params), '2026-07-28', tools);

describe('bridge: headers of the modern era', () => {
  it('mirrors version, method and name', () => {
    assert.deepEqual(headers('tools/list', {}), { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' });
    assert.equal(headers('tools/call', { name: 'echo' })['mcp-name'], 'echo');
    assert.equal(headers('prompts/get', { name: 'p' })['mcp-name'], 'p');
    assert.equal(headers('resources/read', { uri: 'file:///a b' })['mcp-name'], 'file:///a b');
    assert.equal(headers('tasks/get', { taskId: 't1' })['mcp-name'], 't1');
    assert.equal(headers('tools/call', { name: 5 })['mcp-name'], undefined);
    assert.equal(headers('other', { name: 'x' })['mcp-name'], undefined);
  });

  it('encodes as the table of the specification has it', () => {
    assert.equal(encodeHeaderValue('us-west1'), 'us-west1');
    assert.equal(encodeHeaderValue('Hello, 世界'), '=?base64?SGVsbG8sIOS4lueVjA==?=');
    assert.equal(encodeHeaderValue(' padded '), '=?base64?IHBhZGRlZCA=?=');
    assert.equal(encodeHeaderValue('line1\nline2'), '=?base64?bGluZTEKbGluZTI=?=');
    assert.equal(encodeHeaderValue('=?base64?literal?='), '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=');
    assert.equal(encodeHeaderValue(''), '=?base64??=');
    assert.equal(encodeHeaderValue('a\tb'), 'a\tb');
  });

  it('repeats marked arguments, nested ones too, and leaves out what has no value', () => {
    const tools = new ToolHeaders();
    const properties = {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      dry: { type: 'boolean', 'x-mcp-header': 'Dry' },
      where: { type: 'object', properties: { shard: { type: 'integer', 'x-mcp-header': 'Shard' } } },
      absent: { type: 'string', 'x-mcp-header': 'Absent' },
      nothing: { type: 'string', 'x-mcp-header': 'Nothing' },
      list: { type: 'array', items: { type: 'string', 'x-mcp-header': 'Item' } },
      bad: { type: 'string', 'x-mcp-header': 'no spaces allowed' },
    };
    tools.learn({
      tools: [{ name: 'sql', inputSchema: { type: 'object', properties } }, { name: 'plain', inputSchema: { type: 'object' } }, 7],
    });
    const args = { region: 'ö', dry: false, where: { shard: 42 }, nothing: null, list: ['x'], bad: 'y' };
    assert.deepEqual(tools.headersFor('sql', args), {
      'mcp-param-Region': '=?base64?w7Y=?=',
      'mcp-param-Dry': 'false',
      'mcp-param-Shard': '42',
    });
    assert.deepEqual(tools.headersFor('plain', args), {});
    assert.deepEqual(tools.headersFor('unknown', args), {});
    assert.equal(headers('tools/call', { name: 'sql', arguments: args }, tools)['mcp-param-Shard'], '42');
    tools.learn({ tools: [{ name: 'sql', inputSchema: { type: 'object' } }] });
    assert.deepEqual(tools.headersFor('sql', args), {});
  });
});
