import assert from 'node:assert/strict';
import { appendTool, limitCaching, presentServer, presentTasks, presentTools, type ToolView } from '../../../src/tunnel/presentation.ts';

const all: ToolView = { listed: true, readOnlyHint: undefined };
const list = (...tools: string[]) =>
  Buffer.from(`{"jsonrpc":"2.0","id":1,"result":{"tools":[${tools.join(' ,')}],"nextCursor":"c 1","ttlMs":1.0}}`);
const present = (message: Buffer, view: (name: string) => ToolView) => presentTools(message, view)?.bytes.toString();

describe('presentTools', () => {
  const a = '{"name":"a","inputSchema":{"type":"object","n":12345678901234567890}}';
  const b = '{ "name":"b", "annotations":{ "readOnlyHint":false,"x":1.0 } }';

  it('gives the same bytes where nothing is hidden', () => {
    const message = list(a, b);
    assert.equal(presentTools(message, () => all)?.bytes, message);
  });

  it('hides tools and leaves the others byte for byte', () => {
    assert.equal(
      present(list(a, b), (n) => ({ ...all, listed: n === 'b' })),
      list(b).toString(),
    );
    assert.equal(
      present(list(a, b), () => ({ ...all, listed: false })),
      list().toString(),
    );
  });

  it('hides what has no name, or none that is text', () => {
    assert.equal(
      present(list('{"title":"x"}', '{"name":5}', '7', 'null', a), () => all),
      list(a).toString(),
    );
  });

  it('goes by the last of two names, as readers do', () => {
    assert.equal(
      present(list('{"name":"a","name":"b"}'), (n) => ({ ...all, listed: n === 'a' })),
      list().toString(),
    );
  });

  it('sets the hint and nothing else, whatever the server said', () => {
    const hinted = present(list(a, b, '{"name":"c","annotations":{}}', '{"name":"d","annotations":null}'), () => ({
      listed: true,
      readOnlyHint: true,
    }));
    const { tools } = (JSON.parse(hinted ?? '') as { result: { tools: { name: string; annotations: object }[] } }).result;
    assert.deepEqual(
      tools.map((t) => t.annotations),
      [{ readOnlyHint: true }, { readOnlyHint: true, x: 1 }, { readOnlyHint: true }, { readOnlyHint: true }],
    );
    assert.ok(hinted?.includes('12345678901234567890') && hinted.includes('"x":1.0'));
  });

  it('gives every tool as the server sent it, the hidden ones too', () => {
    assert.deepEqual(presentTools(list(a, b), () => ({ ...all, listed: false }))?.tools, [
      { name: 'a', definition: a },
      { name: 'b', definition: b },
    ]);
  });

  it('takes schemas that are nested deep', () => {
    const deep = `{"name":"a","inputSchema":${'{"a":'.repeat(200)}1${'}'.repeat(200)}}`;
    assert.equal(
      present(list(deep, b), (n) => ({ ...all, listed: n === 'a' })),
      list(deep).toString(),
    );
  });

  it('leaves other messages alone', () => {
    for (const text of ['{"result":{"content":[]}}', '{"result":{"tools":{}}}', '{"method":"x"}', '[]'])
      assert.equal(
        presentTools(Buffer.from(text), () => all),
        undefined,
      );
  });
});

describe('presentServer', () => {
  it('sets name and title to the label and promises list changes', () => {
    const message = Buffer.from('{"result":{"serverInfo":{"name":"x","title":"X","version":"1.0"},"capabilities":{"tools":{}},"n":1.0}}');
    assert.equal(
      presentServer(message, 'My "GitHub"').toString(),
      '{"result":{"serverInfo":{"name":"My \\"GitHub\\"","title":"My \\"GitHub\\"","version":"1.0"},"capabilities":{"tools":{"listChanged":true}},"n":1.0}}',
    );
  });

  it('promises nothing for a server without tools', () => {
    const message = Buffer.from('{"result":{"serverInfo":{"name":"x"},"capabilities":{}}}');
    assert.equal(presentServer(message, 'x').toString(), message.toString());
  });
});

describe('presentTasks', () => {
  const a = '{"taskId":"a","status":"working","n":1.0}';
  const b = '{"status":"working","taskId":"\\u0062"}';
  const listed = (...tasks: string[]) => `{"result":{"tasks":[${tasks.join(', ')}],"nextCursor":"c"}}`;

  it('hides what is not shown and leaves the rest byte for byte', () => {
    const message = Buffer.from(listed(a, b));
    assert.equal(
      presentTasks(message, () => true),
      message,
    );
    assert.equal(presentTasks(message, (id) => id === 'b').toString(), listed(b));
    assert.equal(presentTasks(message, () => false).toString(), listed());
  });

  it('hides what has no id, and goes by the last of two', () => {
    const message = Buffer.from(listed('{"status":"x"}', '{"taskId":7}', '5', '{"taskId":"a","taskId":"c"}'));
    assert.equal(presentTasks(message, (id) => id === 'a').toString(), listed());
  });

  it('leaves other messages alone', () => {
    for (const text of ['{"result":{}}', '{"result":{"tasks":{}}}', '[]']) {
      const message = Buffer.from(text);
      assert.equal(
        presentTasks(message, () => false),
        message,
      );
    }
  });
});

describe('limitCaching', () => {
  const limit = (text: string, max?: number) => limitCaching(Buffer.from(text), max).toString();

  it('makes a public result private and shortens its life, and nothing else', () => {
    assert.equal(
      limit('{"result":{"tools":[1.0], "ttlMs" : 60000 ,"cacheScope":"public"}}', 500),
      '{"result":{"tools":[1.0], "ttlMs" : 500 ,"cacheScope":"private"}}',
    );
    assert.equal(limit('{"result":{"ttlMs":60000,"cacheScope":"public"}}'), '{"result":{"ttlMs":60000,"cacheScope":"private"}}');
  });

  it('lengthens nothing and adds nothing', () => {
    for (const text of ['{"result":{"ttlMs":500,"cacheScope":"private"}}', '{"result":{"ttlMs":0}}', '{"result":{}}', '{"error":{}}'])
      assert.equal(limit(text, 500), text);
  });

  it('takes what is no number, or too large for one, for too long', () => {
    assert.equal(limit('{"result":{"ttlMs":1E400}}', 5), '{"result":{"ttlMs":5}}');
    assert.equal(limit('{"result":{"ttlMs":"soon"}}', 5), '{"result":{"ttlMs":5}}');
  });
});

describe('appendTool', () => {
  const tool = '{"name":"more"}';
  const result = (tools: string) => Buffer.from(`{"jsonrpc":"2.0","id":1,"result":{"tools":${tools},"x":1}}`);
  for (const [before, after] of [
    ['[]', `[${tool}]`],
    ['[ ]', `[ ${tool}]`],
    ['[{"name":"a]"}]', `[{"name":"a]"},${tool}]`],
    ['[{"name":"a"} ]', `[{"name":"a"} ,${tool}]`],
  ] as const)
    it(`makes ${after} of ${before}`, () => assert.equal(appendTool(result(before), tool).toString(), result(after).toString()));

  it('leaves alone what is no list', () => {
    for (const message of [result('{}'), Buffer.from('{"jsonrpc":"2.0","id":1,"error":{}}')])
      assert.equal(appendTool(message, tool), message);
  });
});
