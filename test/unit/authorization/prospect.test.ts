import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import type { Condition } from '../../../src/authorization/conditions.ts';
import { decide, type Call, type Policy } from '../../../src/authorization/decide.ts';
import type { Caller, Grant } from '../../../src/authorization/grant.ts';
import { loadCedarLayer } from '../../../src/authorization/policy/cedar.ts';
import { rulesLayer, type Rule } from '../../../src/authorization/policy/rules.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const principal: Caller = { client: 'vscode', window: 'win-1' };
const base: Call = {
  server: 'srv-1',
  serverLabel: 'S',
  method: 'tools/call',
  tool: 'a',
  reads: false,
  place: { kind: 'http', url: 'https://api.example.com/mcp' },
};

const value = fc.constantFrom('x', 'y', 7);
const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ test: fc.constant('equals' as const), at: fc.constantFrom('/p', '/q'), value }),
  fc.record({ test: fc.constantFrom('present' as const, 'absent' as const), at: fc.constantFrom('/p', '/q') }),
);
const conditions = fc.option(fc.array(condition, { minLength: 1, maxLength: 2 }), { nil: undefined });
const grants = fc
  .array(
    fc.record({
      effect: fc.constantFrom('allow' as const, 'ask' as const, 'deny' as const),
      target: fc.constantFrom<Grant['target']>(
        { kind: 'tools', names: ['a'] },
        { kind: 'tools-like', patterns: ['a*'] },
        { kind: 'all-tools' },
      ),
      conditions,
    }),
    { maxLength: 5 },
  )
  .map((all) =>
    all.map(({ conditions: of, ...grant }, i): Grant => ({
      version: 2,
      id: `grant-${i}`,
      server: 'srv-1',
      scope: {},
      createdAt: NOW,
      givenBy: 'tree',
      ...grant,
      ...(of ? { conditions: of } : {}),
    })),
  );
const rules: fc.Arbitrary<Rule[]> = fc.array(
  fc
    .record({ effect: fc.constantFrom('deny' as const, 'ask' as const), when: conditions, unless: conditions })
    .map(({ effect, when, unless }) => ({ effect, ...(when ? { when } : {}), ...(unless ? { unless } : {}) })),
  { maxLength: 3 },
);
const args = fc.record({ p: fc.option(value), q: fc.option(value) }, { requiredKeys: [] });

/** What a tool’s row and its place in a list go by: no call may pass of a tool that is said to be closed. */
describe('prospect', function () {
  this.timeout(90_000);
  const decided = (all: readonly Grant[], policy: Policy, given: object) =>
    decide(principal, { ...base, arguments: CallArguments.fromText(JSON.stringify(given)) }, [...all], policy, NOW).effect;

  it('is “deny” only if every call is denied', () => {
    fc.assert(
      fc.property(grants, rules, args, (all, narrowing, given) => {
        const policy: Policy = { paused: false, layers: [rulesLayer('p', narrowing)] };
        const prospect = decide(principal, base, [...all], policy, NOW, { prospect: true }).effect;
        if (prospect === 'deny') assert.equal(decided(all, policy, given), 'deny');
      }),
      { numRuns: 3_000 },
    );
  });

  it('shows a tool that some arguments open, and none that a pause or a plain denial closes', () => {
    const only: Grant = {
      version: 2,
      id: 'g',
      server: 'srv-1',
      target: { kind: 'all-tools' },
      effect: 'allow',
      scope: {},
      createdAt: NOW,
      givenBy: 'tree',
      conditions: [{ test: 'equals', at: '/p', value: 'x' }],
    };
    const of = (policy: Policy, ...more: Grant[]) => decide(principal, base, [only, ...more], policy, NOW, { prospect: true }).effect;
    assert.equal(of({ paused: false }), 'allow');
    assert.equal(of({ paused: true }), 'deny');
    assert.equal(of({ paused: false, layers: [rulesLayer('p', [{ effect: 'deny' }])] }), 'deny');
    const closed: Grant = { ...only, id: 'd', effect: 'deny' };
    assert.equal(of({ paused: false }, closed), 'allow');
    delete closed.conditions;
    assert.equal(of({ paused: false }, closed), 'deny');
  });

  const table: readonly (readonly [string, string, 'allow' | 'ask' | 'deny'])[] = [
    [
      'forbids by an argument',
      'permit(principal, action, resource); forbid(principal, action, resource) when { context.texts.hasTag("/p") };',
      'allow',
    ],
    [
      'forbids unless readable',
      'permit(principal, action, resource); forbid(principal, action, resource) unless { context.readable };',
      'allow',
    ],
    ['forbids the tool', 'permit(principal, action, resource); forbid(principal, action == Action::"a", resource);', 'deny'],
    ['forbids what writes', 'permit(principal, action, resource); forbid(principal, action, resource) unless { context.reads };', 'deny'],
    [
      'asks always, forbids by an argument',
      'permit(principal, action, resource); @effect("ask") forbid(principal, action, resource); forbid(principal, action, resource) unless { context.paths.contains("/p") };',
      'ask',
    ],
    [
      'permits by an argument',
      'permit(principal, action, resource) when { context.texts.hasTag("/p") && context.texts.getTag("/p") == "x" };',
      'allow',
    ],
    ['permits another tool', 'permit(principal, action == Action::"b", resource);', 'deny'],
    ['permits another server', 'permit(principal, action, resource) when { resource.host == "other.example.com" };', 'deny'],
  ];
  for (const [what, text, expected] of table)
    it(`is “${expected}” where Cedar ${what}`, async () => {
      const layer = await loadCedarLayer({ source: 'policy.cedar', text, protection: { ok: true } });
      assert.deepEqual(layer.problems, []);
      const all: Grant = {
        version: 2,
        id: 'g',
        server: 'srv-1',
        target: { kind: 'all-tools' },
        effect: 'allow',
        scope: {},
        createdAt: NOW,
        givenBy: 'tree',
      };
      assert.equal(decide(principal, base, [all], { paused: false, layers: [layer] }, NOW, { prospect: true }).effect, expected);
    });
});
