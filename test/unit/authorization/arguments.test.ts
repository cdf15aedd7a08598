import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CallArguments, childPath, describePath, parsePath } from '../../../src/authorization/arguments.ts';
import { MAX_DEPTH } from '../../../src/mcp/json.ts';

const select = (text: string, path: string) => CallArguments.fromText(text).select(path, parsePath(path) ?? []);

describe('CallArguments', () => {
  it('finds nested fields, elements, and each of them', () => {
    const text = '{"repo":{"owner":"acme"},"labels":["a","b"],"issues":[{"n":1},{"n":2}],"a/b":{"~":1},"*":3}';
    const texts = (path: string) => select(text, path)?.values.map((v) => ('text' in v ? v.text : v.kind));
    assert.deepEqual(texts('/repo/owner'), ['acme']);
    assert.deepEqual(texts('/labels/1'), ['b']);
    assert.deepEqual(texts('/labels/*'), ['a', 'b']);
    assert.deepEqual(texts('/issues/*/n'), ['1', '2']);
    assert.deepEqual(texts('/a~1b/~0'), ['1']);
    assert.deepEqual(texts('/~2'), ['3']);
    assert.deepEqual(texts('/nothing/here'), []);
    assert.deepEqual(texts('/labels/01'), []);
    assert.deepEqual(texts('/labels/-'), []);
  });

  it('says so where a key differs only in case, or a list may be a single value', () => {
    assert.equal(select('{"path":"a","Path":"b"}', '/path')?.ambiguous, true);
    assert.equal(select('{"Path":"b"}', '/path')?.ambiguous, true);
    assert.equal(select('{"\u212aey":1,"key":2}', '/key')?.ambiguous, true);
    assert.equal(select('{"paths":"a"}', '/paths/*')?.ambiguous, true);
    assert.equal(select('{"repo":"{\\"owner\\":1}"}', '/repo/owner')?.ambiguous, true);
    assert.equal(select('{"path":"a","other":"b"}', '/path')?.ambiguous, false);
  });

  it('is unreadable where parsers differ', () => {
    for (const text of [
      '',
      '{',
      '{"a":1}{',
      '{"a":1,"a":2}',
      '{"a":01}',
      "{'a':1}",
      '{"a":1,}',
      '['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1),
    ])
      assert.equal(CallArguments.fromText(text).root(), undefined, text);
    assert.equal(new CallArguments(Buffer.from('x'), undefined).root()?.kind, 'object');
  });

  it('reads only where the arguments lie', () => {
    const bytes = Buffer.from('{"params":{"arguments": {"a":"ä"} }}');
    const start = bytes.indexOf('{"a"');
    const args = new CallArguments(bytes, { start, end: bytes.indexOf('}', start) + 1 });
    assert.deepEqual(args.select('/a', parsePath('/a') ?? [])?.values, [{ kind: 'string', text: 'ä' }]);
  });

  it('has the same digest for the same things said in another order, and only then', () => {
    const digest = (text: string) => CallArguments.fromText(text).digest();
    assert.equal(digest('{"a":1,"b":[true,null,"x"]}'), digest('{ "b" : [ true , null , "\\u0078" ] , "a" : 1 }'));
    assert.notEqual(digest('{"a":1}'), digest('{"a":"1"}'));
    assert.notEqual(digest('{"a":1}'), digest('{"a":1.0}'));
    assert.notEqual(digest('{"a":["b"]}'), digest('{"a":"[\\"b\\"]"}'));
    assert.equal(digest('{'), undefined);
  });

  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const whole = `{"v":${text}}`;
        let expected: unknown;
        try {
          expected = JSON.parse(whole);
        } catch {
          return;
        }
        const root = CallArguments.fromText(whole).root();
        if (!root) return; // A key twice.
        assert.deepEqual(plain(root), expected);
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

function plain(value: NonNullable<ReturnType<CallArguments['root']>>): unknown {
  switch (value.kind) {
    case 'string':
      return value.text;
    case 'number':
      return JSON.parse(value.text);
    case 'boolean':
      return value.value;
    case 'null':
      return null;
    case 'list':
      return value.elements.map(plain);
    case 'object':
      // `fromEntries` defines members, so that __proto__ is a key like any other.
      return Object.fromEntries([...value.members].map(([k, v]) => [k, plain(v)]));
  }
}

describe('paths of arguments', () => {
  it('are read and written', () => {
    assert.equal(parsePath('owner'), undefined);
    assert.equal(parsePath('/a~3'), undefined);
    assert.deepEqual(parsePath(''), []);
    for (const key of ['a', 'a/b', '~', '*', '~2', '']) assert.deepEqual(parsePath(childPath('', key)), [{ key }]);
    assert.equal(describePath('/repo/owner'), 'repo.owner');
    assert.equal(describePath('/labels/*'), 'labels[]');
  });
});
