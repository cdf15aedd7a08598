import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  DEFAULT_LEAK_ACTIONS,
  LEAK_ACTIONS,
  LEAK_TIERS,
  effectiveLeakPolicy,
  leakAction,
  readLeakSettings,
  type LeakSettings,
} from '../../../src/inspection/leakPolicy.ts';

const tiers = fc.dictionary(fc.constantFrom(...LEAK_TIERS), fc.constantFrom(...LEAK_ACTIONS), { noNullPrototype: true });
const label = fc.constantFrom('a', 'b', 'constructor', '__proto__x');
const settings: fc.Arbitrary<LeakSettings> = fc.record(
  {
    tiers,
    servers: fc.dictionary(label, tiers, { noNullPrototype: true }),
    ruleFiles: fc.array(fc.constantFrom('x.toml', 'y.toml')),
    ignoredRules: fc.array(fc.constantFrom('github-token', 'jwt')),
  },
  { requiredKeys: [] },
);
const rank = (action: (typeof LEAK_ACTIONS)[number]) => LEAK_ACTIONS.indexOf(action);

describe('effectiveLeakPolicy', () => {
  it('has defaults that redact everything but guesses', () => {
    const policy = effectiveLeakPolicy({}, {});
    for (const tier of LEAK_TIERS) assert.equal(leakAction(policy, 'any', tier), DEFAULT_LEAK_ACTIONS[tier]);
  });

  it('lets the user loosen patterns, for one server too, but never what the vault holds', () => {
    const policy = effectiveLeakPolicy(
      { tiers: { known: 'off', structured: 'warn' }, servers: { dev: { exact: 'off', known: 'block' } } },
      {},
    );
    assert.equal(leakAction(policy, 'other', 'known'), 'redact');
    assert.equal(leakAction(policy, 'other', 'structured'), 'warn');
    assert.equal(leakAction(policy, 'dev', 'structured'), 'warn');
    assert.equal(leakAction(policy, 'dev', 'exact'), 'off');
    assert.equal(leakAction(policy, 'dev', 'known'), 'block');
    assert.equal(leakAction(policy, 'constructor', 'exact'), 'redact');
  });

  it('is never looser with a workspace than without, whatever the workspace says', () => {
    fc.assert(
      fc.property(settings, settings, label, (user, workspace, server) => {
        const [alone, both] = [effectiveLeakPolicy(user, {}), effectiveLeakPolicy(user, workspace)];
        for (const tier of LEAK_TIERS) {
          assert.ok(rank(leakAction(both, server, tier)) >= rank(leakAction(alone, server, tier)));
          assert.ok(rank(leakAction(both, server, 'known')) >= rank('redact'));
          // And it does make stricter what it names.
          const wanted = workspace.servers?.[server]?.[tier] ?? workspace.tiers?.[tier] ?? 'off';
          assert.ok(rank(leakAction(both, server, tier)) >= rank(wanted));
        }
        assert.deepEqual(both.ignoredRules, alone.ignoredRules);
        for (const file of alone.ruleFiles) assert.ok(both.ruleFiles.includes(file));
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

describe('secretlint', () => {
  it('is used where the user or a workspace says so; no workspace switches it off', () => {
    const used = (user: unknown, workspace: unknown) =>
      effectiveLeakPolicy(readLeakSettings({ secretlint: user }), readLeakSettings({ secretlint: workspace })).secretlint;
    assert.deepEqual([used(undefined, undefined), used(true, false), used(false, true), used('on', 1)], [false, true, true, false]);
  });
});

describe('readLeakSettings', () => {
  it('takes what it understands and leaves the rest out', () => {
    const read = readLeakSettings({
      tiers: { exact: 'block', structured: 'never', other: 'off' },
      servers: { a: { hidden: 'warn' }, b: 7 },
      ruleFiles: ['x.toml', 7, ''],
      ignoredRules: 'jwt',
      secretlint: 'yes',
    });
    assert.deepEqual(read, {
      tiers: { exact: 'block' },
      servers: { a: { hidden: 'warn' }, b: {} },
      ruleFiles: ['x.toml'],
      ignoredRules: [],
    });
  });

  it('survives anything', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (a, b) => {
        const policy = effectiveLeakPolicy(readLeakSettings({ tiers: a, servers: b, ruleFiles: a, ignoredRules: b }), {});
        assert.ok(LEAK_ACTIONS.includes(leakAction(policy, 's', 'exact')));
      }),
      { seed: 5 },
    );
  });
});
