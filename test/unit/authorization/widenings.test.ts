import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import { diffArguments } from '../../../src/authorization/argumentsDiff.ts';
import { Conditions, compileConditions } from '../../../src/authorization/conditions.ts';
import type { Call } from '../../../src/authorization/decide.ts';
import { widenings } from '../../../src/authorization/widenings.ts';

const call: Call = { server: 'srv-1', serverLabel: 'GitHub', method: 'tools/call', tool: 'update', reads: false };
const ladder = (args: unknown, part: Partial<Call> = {}) =>
  widenings({ ...call, ...part }, CallArguments.fromText(JSON.stringify(args))).map((p) => p.words);

describe('widenings', () => {
  it('go from this call to the tool, step by step', () => {
    assert.deepEqual(ladder({ repo: 'shop', issue_number: 5, owner: 'acme', body: 'text' }), [
      'allow update where exactly the same arguments',
      'allow update where owner is “acme” and repo is “shop”',
      'allow update where owner is “acme”',
      'allow update',
    ]);
  });

  it('make folders of paths and hosts of URLs', () => {
    assert.deepEqual(ladder({ path: '/proj/shop/src/a.ts', content: 'x' }), [
      'allow update where exactly the same arguments',
      'allow update where path is in /proj/shop/src',
      'allow update',
    ]);
    assert.deepEqual(ladder({ file: 'C:\\work\\shop\\a.ts' })[1], 'allow update where file is in C:\\work\\shop');
    assert.deepEqual(ladder({ url: 'https://api.example.com:8443/x?y' })[1], 'allow update where url goes to api.example.com at port 8443');
    assert.equal(ladder({ path: '/etc/../x' }).length, 2);
    assert.equal(ladder({ path: '/a' }).length, 2);
  });

  it('name nothing that hides something, is long, or is a secret', () => {
    for (const owner of ['ac\u202eme', 'x'.repeat(200), '⟦culvert: token redacted⟧'])
      assert.ok(!ladder({ owner }).some((w) => w.includes('owner is')), owner);
    assert.deepEqual(ladder({ token: '⟦culvert: token redacted⟧' }), ['allow update']);
    const unfit = widenings(call, CallArguments.fromText('{"owner":"hunter2"}'), { unfit: (text) => text === 'hunter2' });
    assert.ok(!unfit.some((p) => p.id.startsWith('named')));
  });

  it('offer what only reads where the tool only reads, and little where there are no arguments', () => {
    assert.deepEqual(ladder({}, { reads: true }), ['allow update', 'allow tools that only read']);
    assert.deepEqual(
      widenings({ ...call, method: 'resources/read', tool: undefined }, undefined).map((p) => p.words),
      ['allow resources'],
    );
    assert.deepEqual(
      widenings({ ...call, method: 'x/y', tool: undefined }, undefined).map((p) => p.words),
      ['allow methods x/y'],
    );
  });

  it('always cover the call they come from, and can be stored', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constantFrom('/proj/a/b', 'https://example.com/a', 'acme', null));
    const args = fc.dictionary(fc.constantFrom('owner', 'repo', 'path', 'url', 'title', 'project', 'a/b', '~*'), value);
    fc.assert(
      fc.property(args, (given) => {
        const text = JSON.stringify(given);
        for (const { conditions } of widenings(call, CallArguments.fromText(text))) {
          if (!conditions) continue;
          assert.equal(Conditions.safeParse(conditions).success, true);
          assert.equal(compileConditions(conditions)(CallArguments.fromText(text), {}), 'yes', `${text} ${JSON.stringify(conditions)}`);
        }
      }),
      { seed: 31, numRuns: 1_000 },
    );
  });
});

describe('diffArguments', () => {
  it('lists what changed, went and came, at any depth', () => {
    assert.deepEqual(diffArguments('{"a":1,"b":{"c":"x","d":[1,2]},"e":null}', '{"b":{"c":"y\\u202e","d":[1,3,4]},"a":1,"f":{}}'), [
      { path: '/b/c', name: 'b.c', kind: 'changed', before: 'x', after: 'y\\u{202e}' },
      { path: '/b/d/1', name: 'b.d.1', kind: 'changed', before: '2', after: '3' },
      { path: '/b/d/2', name: 'b.d.2', kind: 'added', after: '4' },
      { path: '/e', name: 'e', kind: 'removed', before: 'null' },
      { path: '/f', name: 'f', kind: 'added', after: '{}' },
    ]);
    assert.deepEqual(diffArguments('{"a":1}', '{ "a": 1 }'), []);
    assert.deepEqual(
      diffArguments('{"a":{"b":1}}', '{"a":[1]}')?.map((c) => c.kind),
      ['changed'],
    );
    assert.equal(diffArguments('{', '{}'), undefined);
  });
});
