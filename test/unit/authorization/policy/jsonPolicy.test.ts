import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { CallArguments } from '../../../../src/authorization/arguments.ts';
import { decide, type Call } from '../../../../src/authorization/decide.ts';
import type { Caller, Grant } from '../../../../src/authorization/grant.ts';
import { MAX_WORKSPACE_POLICY, userLayer, workspaceLayer, workspacePolicySchema } from '../../../../src/authorization/policy/jsonPolicy.ts';
import type { PolicyLayer } from '../../../../src/authorization/policy/layer.ts';

const NOW = Date.UTC(2026, 5, 1);
const principal: Caller = { client: 'vscode', window: 'win-1' };
const call: Call = {
  server: 'srv-1',
  serverLabel: 'GitHub',
  method: 'tools/call',
  tool: 'create_issue',
  reads: false,
  place: { kind: 'http', url: 'https://api.example.com:8443/mcp' },
};
const all: Grant = {
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'all-tools' },
  effect: 'allow',
  scope: {},
  createdAt: NOW,
  givenBy: 'tree',
};
const resources: Grant = { ...all, id: 'grant-2', target: { kind: 'resources' } };

const layerOf = (rules: unknown): PolicyLayer => {
  const layer = workspaceLayer('/w/.vscode/culvert.json', JSON.stringify({ version: 1, rules }));
  assert.ok(layer);
  return layer;
};
const under = (layer: PolicyLayer, part: Partial<Call> = {}, who = principal) =>
  decide(who, { ...call, ...part }, [all, resources], { paused: false, layers: [layer] }, NOW);
const args = (value: unknown) => ({ arguments: CallArguments.fromText(JSON.stringify(value)) });

describe('a workspace’s policy', () => {
  const table: readonly (readonly [string, object, Partial<Call>, 'allow' | 'ask' | 'deny'])[] = [
    ['everything', { effect: 'deny' }, {}, 'deny'],
    ['resources too', { effect: 'deny' }, { method: 'resources/read', tool: undefined }, 'deny'],
    ['never the connection', { effect: 'deny' }, { method: 'tools/list', tool: undefined }, 'allow'],
    ['lists are not asked for', { effect: 'ask' }, { method: 'resources/list', tool: undefined }, 'allow'],
    ['tools only, where it speaks of tools', { effect: 'deny', tools: ['*'] }, { method: 'resources/read', tool: undefined }, 'allow'],
    ['by pattern', { effect: 'deny', tools: ['create_*'] }, {}, 'deny'],
    ['by pattern, another tool', { effect: 'deny', tools: ['delete_*'] }, {}, 'allow'],
    ['but for some', { effect: 'deny', exceptTools: ['create_*'] }, {}, 'allow'],
    ['what writes', { effect: 'ask', writes: true }, {}, 'ask'],
    ['what writes, and it reads', { effect: 'ask', writes: true }, { reads: true }, 'allow'],
    ['by name of the server', { effect: 'deny', servers: ['git*'] }, {}, 'deny'],
    ['by host', { effect: 'deny', servers: [{ host: '*.example.com' }] }, {}, 'deny'],
    ['by another host', { effect: 'deny', servers: [{ host: 'example.com' }] }, {}, 'allow'],
    ['by host, which is not known', { effect: 'deny', servers: [{ host: 'example.com' }] }, { place: undefined }, 'deny'],
    ['but for a host', { effect: 'deny', exceptServers: [{ host: 'api.example.com' }] }, {}, 'allow'],
    ['but for a host, which is not known', { effect: 'deny', exceptServers: [{ host: 'api.example.com' }] }, { place: undefined }, 'deny'],
    [
      'by command',
      { effect: 'deny', servers: [{ command: 'npx *' }] },
      { place: { kind: 'stdio', command: 'npx', args: ['-y', 'x'] } },
      'deny',
    ],
    ['by arguments', { effect: 'deny', when: [{ test: 'equals', at: '/owner', value: 'evil' }] }, args({ owner: 'evil' }), 'deny'],
    [
      'by arguments that may be so',
      { effect: 'deny', when: [{ test: 'equals', at: '/owner', value: 'evil' }] },
      args({ owner: 'EVIL' }),
      'deny',
    ],
    ['by arguments nobody knows', { effect: 'deny', when: [{ test: 'equals', at: '/owner', value: 'evil' }] }, {}, 'deny'],
    ['by other arguments', { effect: 'deny', when: [{ test: 'equals', at: '/owner', value: 'evil' }] }, args({ owner: 'acme' }), 'allow'],
    ['unless', { effect: 'deny', unless: [{ test: 'below', at: '/path', folder: '/proj' }] }, args({ path: '/proj/a' }), 'allow'],
    [
      'unless, in doubt',
      { effect: 'deny', unless: [{ test: 'below', at: '/path', folder: '/proj' }] },
      args({ path: '/proj/%2e%2e/a' }),
      'deny',
    ],
    ['for agents outside', { effect: 'deny', clients: ['agent'] }, {}, 'allow'],
  ];
  for (const [what, rule, part, expected] of table)
    it(`${what}: ${expected}`, () => assert.equal(under(layerOf([rule]), part).effect, expected));

  it('denies where one rule does, whatever stands before it, and says which', () => {
    const layer = layerOf([{ effect: 'ask' }, { effect: 'deny', name: 'no issues', reason: 'they are public' }]);
    const { effect, by, reason } = under(layer);
    assert.deepEqual([effect, by], ['deny', { kind: 'policy', layer: 'The workspace’s policy', rule: 'no issues' }]);
    assert.match(reason, /is denied by the workspace’s policy \(no issues\)\. No grant changes that.*“they are public”/);
  });

  it('is none where there is no file', () => assert.equal(workspaceLayer('x', undefined), undefined));

  const broken: readonly (readonly [string, string, number, number, RegExp])[] = [
    ['no JSON', '{\n  "version": 1,\n  "rules": [}\n', 2, 12, /No valid JSON/],
    ['empty', '', 0, 0, /No valid JSON|empty/],
    ['an unknown version', '{\n "version": 2, "rules": []}', 1, 12, /version/],
    ['an effect that widens', '{\n "version": 1,\n "rules": [\n  {"effect": "allow"}\n ]}', 3, 13, /rules\.0\.effect/],
    ['an unknown key', '{\n "version": 1,\n "rules": [\n  {"effect": "deny",\n   "tool": "x"}\n ]}', 4, 3, /tool/],
    ['a key twice', '{"version": 1, "rules": [],\n "rules": []}', 1, 1, /stands twice/],
    [
      'a bad condition',
      '{"version": 1, "rules": [{"effect": "deny", "when": [{"test": "equals",\n "at": "owner", "value": 1}]}]}',
      1,
      7,
      /JSON Pointer/,
    ],
    ['something else', '[]', 0, 0, /./],
    ['too much', `{"version":1,"rules":[]}${' '.repeat(MAX_WORKSPACE_POLICY)}`, 0, 0, /more than/],
  ];
  for (const [what, text, line, column, message] of broken)
    it(`denies everything and says where: ${what}`, () => {
      const layer = workspaceLayer('/w/.vscode/culvert.json', text);
      assert.ok(layer);
      const [problem] = layer.problems;
      assert.ok(problem);
      assert.match(problem.message, message);
      assert.deepEqual([problem.source, problem.line, problem.column], ['/w/.vscode/culvert.json', line, column]);
      const { effect, reason } = under(layer);
      assert.equal(effect, 'deny');
      assert.match(reason, new RegExp(`culvert\\.json, line ${line + 1}: `));
    });

  it('takes comments and trailing commas', () => {
    const layer = workspaceLayer('x', '\ufeff// careful\n{ "$schema": "y", "version": 1, "rules": [ { "effect": "ask", }, ], }');
    assert.deepEqual([layer?.problems, layer && under(layer).effect], [[], 'ask']);
  });

  it('never widens, whatever a hostile workspace writes', () => {
    const anything = fc.anything({
      maxDepth: 4,
      key: fc.constantFrom('effect', 'rules', 'version', 'tools', 'allow', 'when', 'servers', '__proto__', 'x'),
      values: [fc.constantFrom('allow', 'deny', 'ask', '*', 1, true, null)],
    });
    const rank = { deny: 0, ask: 1, allow: 2 };
    const grants: readonly (readonly Grant[])[] = [[], [all], [{ ...all, effect: 'ask' }], [{ ...all, effect: 'deny' }, resources]];
    fc.assert(
      fc.property(
        fc.oneof(anything, fc.record({ version: fc.constant(1), rules: fc.array(anything, { maxLength: 3 }) })),
        fc.constantFrom(...grants),
        (file, given) => {
          const layer = workspaceLayer('x', JSON.stringify(file));
          const before = decide(principal, call, given, { paused: false }, NOW);
          const after = decide(principal, call, given, { paused: false, layers: layer ? [layer] : [] }, NOW);
          assert.ok(rank[after.effect] <= rank[before.effect]);
        },
      ),
      { seed: 41, numRuns: 2_000 },
    );
  });

  it('has the schema that is shipped', () => {
    const shipped: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../../../media/schemas/culvert.schema.json'), 'utf8'));
    assert.deepEqual(shipped, JSON.parse(JSON.stringify(workspacePolicySchema())), 'run: node scripts/node.mjs scripts/schema.ts');
  });
});

describe('the user’s rules in settings', () => {
  it('narrow, and deny everything where they can’t be understood', () => {
    assert.equal(userLayer('culvert.rules', undefined), undefined);
    assert.equal(userLayer('culvert.rules', []), undefined);
    const layer = userLayer('culvert.rules', [{ effect: 'ask', writes: true }]);
    assert.equal(layer && under(layer).effect, 'ask');
    for (const bad of ['deny', {}, [{ effect: 'allow' }], [{ effect: 'deny', toolz: [] }]]) {
      const wrong = userLayer('culvert.rules', bad);
      assert.equal(wrong && under(wrong).effect, 'deny');
      assert.equal(wrong?.problems[0]?.source, 'culvert.rules');
    }
  });
});
