import assert from 'node:assert/strict';
import fc from 'fast-check';
import { applyEdits } from '../../../src/mcp/json.ts';
import { editorMetaSpans, idKey, readEnvelope, readMessage, type Message } from '../../../src/mcp/message.ts';

function read(text: string | Buffer): Message {
  const result = readMessage(Buffer.from(text));
  assert.ok(result.ok, result.ok ? '' : result.reason);
  return result.message;
}

function codeOf(text: string | Buffer): number | 'accepted' {
  const result = readMessage(Buffer.from(text));
  return result.ok ? 'accepted' : result.code;
}

const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}';
const nested = (n: number) => `{"jsonrpc":"2.0","id":1,"method":"x","params":${'{"a":'.repeat(n)}1${'}'.repeat(n)}}`;

describe('readMessage', () => {
  const refused: readonly (readonly [string, string | Buffer, number])[] = [
    ['an array', `[${call}]`, -32600],
    ['an array with space before it', ` \n[${call}]`, -32600],
    ['nothing', '', -32700],
    ['white space', '  \n', -32700],
    ['a number', '5', -32600],
    ['a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(call)]), -32700],
    ['bad UTF-8', Buffer.concat([Buffer.from(call.slice(0, 60)), Buffer.from([0xc3, 0x28]), Buffer.from(call.slice(60))]), -32700],
    [
      'an overlong slash',
      Buffer.concat([Buffer.from('{"jsonrpc":"2.0","method":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
      -32700,
    ],
    ['something behind it', `${call} {}`, -32700],
    ['a second message behind it', `${call}\n${call}`, -32700],
    ['a repeated method', '{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}', -32600],
    ['a repeated method in escapes', '{"jsonrpc":"2.0","id":1,"method":"tools/list","m\\u0065thod":"tools/call"}', -32600],
    ['a repeated name', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}', -32600],
    ['a repeated argument deep inside', '{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":{"b":1,"b":2}}}}', -32600],
    ['Method', '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', -32600],
    ['a method with a long s', '{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}', -32600],
    ['NAME', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}', -32600],
    ['_META', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_META":{}}}', -32600],
    ['too deep', nested(64), -32600],
    ['no version', '{"id":1,"method":"ping"}', -32600],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600],
    ['a fractional id', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600],
    ['a null id', '{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600],
    ['a method that is no string', '{"jsonrpc":"2.0","id":1,"method":7}', -32600],
    ['a call without a name', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', -32600],
    ['a name with half a surrogate pair', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\\ud800"}}', -32600],
    ['arguments that are an array', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}', -32600],
    ['params that are an array', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600],
    ['a request that is a response', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', -32600],
    ['a response with result and error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600],
    ['a raw control character', '{"jsonrpc":"2.0","id":1,"method":"pi\u0001ng"}', -32700],
    ['a Kelvin sign in task', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","tas\u212a":{}}}', -32600],
    ['a long s in task', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","ta\u017fk":{}}}', -32600],
    ['a case variant in escapes', '{"jsonrpc":"2.0","id":1,"method":"ping","m\\u0045thod":"tools/call"}', -32600],
    ['taskID', '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"a","taskID":"b"}}', -32600],
    ['requeststate', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"requeststate":"b"}}', -32600],
    [
      'a case variant of the revision',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"IO.modelcontextprotocol/protocolVersion":"2026-07-28"}}}',
      -32600,
    ],
    [
      'a repeated revision',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersion":"b"}}}',
      -32600,
    ],
    [
      'a revision that is no string',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}}',
      -32600,
    ],
    ['_meta that is no object', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":[]}}', -32600],
    ['a key that goes on behind a NUL', '{"jsonrpc":"2.0","id":1,"method":"ping","method\\u0000":"tools/call"}', -32600],
    ['a name that goes on behind a NUL', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo\\u0000x"}}', -32600],
    ['a method that goes on behind a NUL', '{"jsonrpc":"2.0","id":1,"method":"ping\\u0000"}', -32600],
    ['a NUL behind it', `${call}\0`, -32700],
    ['a byte order mark behind white space', ` \ufeff${call}`, -32700],
    [
      'an encoded surrogate',
      Buffer.concat([Buffer.from(call.slice(0, 60)), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from(call.slice(60))]),
      -32700,
    ],
    ['a key with half a surrogate pair', '{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"\\ud800":1}}}', -32600],
    ['a task id that is no string', '{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":5}}', -32600],
    [
      'task ids that are no array',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":"a"}}}',
      -32600,
    ],
    [
      'a task id to listen to that is no string',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["a",{}]}}}',
      -32600,
    ],
    [
      'a case variant of taskIds',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"TaskIds":["a"]}}}',
      -32600,
    ],
    [
      'a name that is too long',
      JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'n'.repeat(4097) } }),
      -32600,
    ],
    ['an id that is too long', `{"jsonrpc":"2.0","id":${'1'.repeat(4097)},"method":"ping"}`, -32600],
    ['NaN', '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', -32700],
  ];
  for (const [what, text, code] of refused) it(`refuses ${what} with ${code}`, () => assert.equal(codeOf(text), code));

  it('reads method, id, name and arguments as they stand', () => {
    const text =
      '{ "jsonrpc":"2.0", "id":"\\u0061", "method":"tools/call", "params":{"arguments": {"n": 1.0} ,"name":" \\u0045cho\u00e9"}}';
    const message = read(text);
    assert.equal(message.kind, 'request');
    assert.equal(message.id, '"\\u0061"');
    assert.equal(message.name, ' Echo\u00e9');
    assert.equal(text.slice(message.arguments?.start, message.arguments?.end), '{"n": 1.0}');
  });

  it('takes what is just within its bounds', () => {
    assert.equal(codeOf(nested(62)), 'accepted');
    assert.equal(codeOf(nested(63)), 'accepted');
    assert.equal(codeOf(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'n'.repeat(4096) } })), 'accepted');
    assert.equal(codeOf(`{"jsonrpc":"2.0","id":${'1'.repeat(4096)},"method":"ping"}`), 'accepted');
  });

  it('reads a value in escapes as every parser does', () => {
    const { method, name } = read('{"jsonrpc":"2.0","id":1,"method":"t\\u006fols/call","params":{"name":"\\u0078"}}');
    assert.deepEqual([method, name], ['tools/call', 'x']);
  });

  it('does not take one name for another', () => {
    for (const name of [' echo', 'echo ', 'Echo', 'e\u0301', '\u00e9', 'echo\u200b'])
      assert.equal(read(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } })).name, name);
  });

  it('leaves keys alone that are none of its own, at any level', () => {
    for (const text of [
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","Extra":1,"params":{"name":"a","Cursor":1,"arguments":{"Method":1,"method":2,"a\\u0000":1}}}',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"Name":1,"METHOD":2,"progressToken":3}}}',
      '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":null}}',
    ])
      assert.equal(codeOf(text), 'accepted', text);
  });

  it('finds the tasks that a message is about', () => {
    assert.deepEqual(read('{"jsonrpc":"2.0","id":1,"method":"tasks/result","params":{"taskId":"\\u0061b"}}').taskIds, ['ab']);
    assert.deepEqual(
      read(
        '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"taskIds":["a","b"],"toolsListChanged":true}}}',
      ).taskIds,
      ['a', 'b'],
    );
    assert.deepEqual(read('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","taskId":"a"}}').taskIds, []);
    assert.equal(read('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","task":{}}}').asksForTask, true);
  });

  it('finds the state that a repeated request brings back', () => {
    const text = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"requestState": "s\\u0031" ,"name":"x"}}';
    const span = read(text).requestState;
    assert.equal(text.slice(span?.start, span?.end), '"s\\u0031"');
  });

  it('tells requests, notifications and answers apart', () => {
    assert.equal(read('{"jsonrpc":"2.0","method":"notifications/initialized"}').kind, 'notification');
    assert.equal(read('{"jsonrpc":"2.0","id":0,"method":"ping"}').kind, 'request');
    assert.equal(read('{"jsonrpc":"2.0","id":"s1","result":{}}').kind, 'response');
    assert.equal(read('{"jsonrpc":"2.0","id":"s1","error":{"code":1,"message":""}}').kind, 'response');
  });

  it('takes the uri as the name of what resource methods touch', () => {
    assert.equal(read('{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///x","name":"y"}}').name, 'file:///x');
  });

  it('keeps claims apart and cuts them', () => {
    const { claims, protocolVersion } = read(
      JSON.stringify({
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: {
          name: 'a',
          _meta: {
            'io.modelcontextprotocol/protocolVersion': '2026-07-28',
            'io.modelcontextprotocol/clientInfo': { name: 'n'.repeat(900), version: '2' },
            'vscode.conversationId': 'c',
            'vscode.requestId': 7,
            traceparent: 't',
          },
        },
      }),
    );
    assert.equal(protocolVersion, '2026-07-28');
    assert.deepEqual(claims, { clientName: 'n'.repeat(256), clientVersion: '2', conversationId: 'c', traceparent: 't' });
  });

  it('reads whatever JSON.stringify makes of a call as JSON.parse does', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1 }),
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        (name, args) => {
          const message = read(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } }));
          assert.equal(message.name, name);
          const span = message.arguments;
          assert.ok(span);
          assert.deepEqual(JSON.parse(message.bytes.toString('utf8', span.start, span.end)), JSON.parse(JSON.stringify(args)));
        },
      ),
      { seed: 4, numRuns: 200 },
    );
  });
});

describe('editorMetaSpans', () => {
  const strip = (text: string) => {
    const message = read(text);
    return applyEdits(
      message.bytes,
      editorMetaSpans(message).map((span) => ({ span, replacement: '' })),
    ).toString();
  };
  const withMeta = (meta: string) =>
    `{"jsonrpc":"2.0","id":1, "method":"tools/call","params":{"name":"a","_meta":${meta},"arguments":{"vscode.x":1.0}}}`;

  for (const [before, after] of [
    ['{"vscode.a":1}', '{}'],
    ['{ "vscode.a":1 , "b":2}', '{ "b":2}'],
    ['{"b":2, "vscode.a":{"x":[1]}}', '{"b":2}'],
    ['{"vscode.a":1,"vscode.b":2,"c":12345678901234567890,"vscode.d":3,"e":1.0}', '{"c":12345678901234567890,"e":1.0}'],
    ['{"progressToken":"vscode.x"}', '{"progressToken":"vscode.x"}'],
  ] as const)
    it(`makes ${after} of ${before} and leaves the rest`, () => assert.equal(strip(withMeta(before)), withMeta(after)));

  it('leaves valid JSON with exactly the other members', () => {
    const key = fc.constantFrom('vscode.a', 'vscode.b', 'vscode.c', 'x', 'y', 'progressToken');
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 6 }), fc.constantFrom(undefined, 1), (keys, space) => {
        const meta = Object.fromEntries(keys.map((k) => [k, { k }]));
        const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping', params: { _meta: meta } }, undefined, space);
        const kept = (JSON.parse(strip(text)) as { params: { _meta: object } }).params._meta;
        assert.deepEqual(
          Object.keys(kept),
          keys.filter((k) => !k.startsWith('vscode.')),
        );
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

describe('idKey', () => {
  it('is the same for the same id, however it is spelled, and for no other', () => {
    assert.equal(idKey('"a\\u0062"'), idKey('"ab"'));
    assert.notEqual(idKey('"1"'), idKey('1'));
    assert.equal(idKey('12345678901234567890'), '12345678901234567890');
  });
});

describe('readEnvelope', () => {
  const envelope = (text: string) => readEnvelope(Buffer.from(text));

  it('reads id and method wherever they stand, the last of two', () => {
    assert.deepEqual(envelope(' {"result":{"id":9,"method":"x"},"id":"\\u0061"}'), { id: '"a"', hasMethod: false });
    assert.deepEqual(envelope('{"id":1,"id":2,"m\\u0065thod":"x"}'), { id: '2', hasMethod: true });
    assert.deepEqual(envelope('{}'), { id: undefined, hasMethod: false });
  });

  it('reads nothing from what is no object', () => {
    for (const text of ['', '[]', 'x', '{"id":', '"id"']) assert.equal(envelope(text), undefined);
  });
});
