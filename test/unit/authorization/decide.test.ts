import assert from 'node:assert/strict';
import fc from 'fast-check';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import type { Condition } from '../../../src/authorization/conditions.ts';
import { decide, type Call, type Facts, type Policy } from '../../../src/authorization/decide.ts';
import { CLOCK_SLACK_MS, Grant } from '../../../src/authorization/grant.ts';
import type { PolicyLayer } from '../../../src/authorization/policy/layer.ts';
import { rulesLayer, type Rule } from '../../../src/authorization/policy/rules.ts';
import type { Principal } from '../../../src/mcp/principal.ts';

const NOW = Date.UTC(2026, 5, 1);
const principal: Principal = { client: 'vscode', window: 'win-1', workspace: 'ws-1', workspaceName: 'Shop' };
const call: Call = { server: 'srv-1', serverLabel: 'GitHub', method: 'tools/call', tool: 'echo', reads: false };

function grant(part: Partial<Grant> = {}): Grant {
  return {
    version: 2,
    id: 'grant-1',
    server: 'srv-1',
    target: { kind: 'all-tools' },
    effect: 'allow',
    scope: {},
    createdAt: NOW,
    givenBy: 'tree',
    ...part,
  };
}

const effect = (grants: readonly Grant[], c: Partial<Call> = {}, p: Principal = principal, now = NOW, paused = false) =>
  decide(p, { ...call, ...c }, grants, { paused }, now).effect;

describe('decide', () => {
  const tool: Grant['target'] = { kind: 'tools', names: ['echo'] };
  const reading: Grant['target'] = { kind: 'reading-tools' };
  const table: readonly (readonly [string, readonly Partial<Grant>[], Partial<Call>, 'allow' | 'ask' | 'deny'])[] = [
    ['no grant: deny', [], {}, 'deny'],
    ['all tools allowed: allow', [{}], {}, 'allow'],
    ['another server’s grant: deny', [{ server: 'srv-2' }], {}, 'deny'],
    ['another tool’s grant: deny', [{ target: { kind: 'tools', names: ['Echo', 'echo ', 'ech'] } }], {}, 'deny'],
    ['reading tools, and it writes: deny', [{ target: reading }], {}, 'deny'],
    ['reading tools, and it reads: allow', [{ target: reading }], { reads: true }, 'allow'],
    ['ask for all, allow for this: allow', [{ effect: 'ask' }, { target: tool }], {}, 'allow'],
    ['allow for all, ask for this: ask', [{}, { target: tool, effect: 'ask' }], {}, 'ask'],
    ['allow for this, deny for all: deny', [{ target: tool }, { effect: 'deny' }], {}, 'deny'],
    ['deny for this, allow for all: deny', [{ target: tool, effect: 'deny' }, {}], {}, 'deny'],
    ['ask and allow, equally narrow: allow', [{ target: tool, effect: 'ask' }, { target: tool }], {}, 'allow'],
    ['a tool’s grant says nothing about resources', [{}, { target: tool }], { method: 'resources/read', tool: undefined }, 'deny'],
    ['resources allowed', [{ target: { kind: 'resources' } }], { method: 'resources/read', tool: undefined }, 'allow'],
    ['prompts are no resources', [{ target: { kind: 'resources' } }], { method: 'prompts/get', tool: undefined }, 'deny'],
    ['an unknown method: deny', [{}, { target: { kind: 'resources' } }], { method: 'tools/delete', tool: undefined }, 'deny'],
    [
      'an unknown method that is named: allow',
      [{ target: { kind: 'methods', names: ['x/y'] } }],
      { method: 'x/y', tool: undefined },
      'allow',
    ],
    ['a named method does not open tools', [{ target: { kind: 'methods', names: ['tools/call'] } }], {}, 'deny'],
    ['what every connection needs: allow', [], { method: 'tools/list', tool: undefined }, 'allow'],
    ['the stream: allow', [], { method: undefined, tool: undefined }, 'allow'],
  ];
  for (const [what, grants, c, expected] of table) it(what, () => assert.equal(effect(grants.map(grant), c), expected));

  it('denies everything while paused, the handshake too', () => {
    assert.equal(effect([grant()], {}, principal, NOW, true), 'deny');
    for (const method of ['initialize', 'notifications/initialized', undefined])
      assert.equal(effect([grant()], { method, tool: undefined }, principal, NOW, true), 'deny');
  });

  it('counts a grant up to its end, not beyond, and not when the clock was set back before it', () => {
    const short = [grant({ expiresAt: NOW + 1000 })];
    assert.equal(effect(short, {}, principal, NOW + 999), 'allow');
    assert.equal(effect(short, {}, principal, NOW + 1000), 'deny');
    assert.equal(effect(short, {}, principal, NOW - CLOCK_SLACK_MS), 'allow');
    assert.equal(effect(short, {}, principal, NOW - CLOCK_SLACK_MS - 1), 'deny');
  });

  it('counts a grant only in its workspace, window and client', () => {
    const elsewhere: Principal = { client: 'agent', window: 'win-2' };
    for (const scope of [{ workspace: 'ws-1' }, { window: 'win-1' }, { client: 'vscode' as const }]) {
      assert.equal(effect([grant({ scope })]), 'allow');
      assert.equal(effect([grant({ scope })], {}, elsewhere), 'deny');
    }
    assert.equal(effect([grant({ scope: { workspace: 'ws-1', client: 'agent' } })]), 'deny');
  });

  it('gives a reason that names the tool, its server and what to do, and hides nothing in it', () => {
    const { reason } = decide(principal, { ...call, tool: 'ec\u202eho' }, [], { paused: false }, NOW);
    assert.match(reason, /“ec\\u\{202e\}ho” of GitHub is not allowed\. The user can allow it/);
    const denied = decide(
      principal,
      call,
      [grant({ effect: 'deny', expiresAt: NOW + 60_000, scope: { workspace: 'ws-1', workspaceName: 'Shop' } })],
      { paused: false },
      NOW,
    );
    assert.match(denied.reason, /is denied by the user in Shop until 2026-06-01 00:01 UTC\. Don’t try again/);
    assert.deepEqual(denied.by, { kind: 'grant', grant: 'grant-1' });
  });

  describe('whatever the grants', () => {
    const target: fc.Arbitrary<Grant['target']> = fc.oneof(
      fc.constantFrom<Grant['target']>(
        { kind: 'all-tools' },
        { kind: 'reading-tools' },
        { kind: 'resources' },
        { kind: 'methods', names: ['tools/call', 'x/y'] },
      ),
      fc.subarray(['echo', 'add', 'Echo'], { minLength: 1 }).map((names): Grant['target'] => ({ kind: 'tools', names })),
    );
    const someGrant = fc.record({
      version: fc.constant(2 as const),
      id: fc.constantFrom('grant-1', 'grant-2', 'grant-3'),
      server: fc.constantFrom('srv-1', 'srv-2'),
      target,
      effect: fc.constantFrom('allow', 'ask', 'deny'),
      scope: fc.record(
        {
          client: fc.constantFrom('vscode', 'agent'),
          window: fc.constantFrom('win-1', 'win-2'),
          workspace: fc.constantFrom('ws-1', 'ws-2'),
        },
        { requiredKeys: [] },
      ),
      createdAt: fc.constant(NOW),
      expiresAt: fc.constantFrom(undefined, NOW - 1, NOW + 1),
      givenBy: fc.constant('tree'),
    }) as fc.Arbitrary<Grant>;
    const grants = fc.array(someGrant, { maxLength: 8 });
    const someCall = fc.record({ tool: fc.constantFrom('echo', 'add'), reads: fc.boolean() });
    const applies = (g: Grant, c: { tool: string; reads: boolean }) =>
      g.server === 'srv-1' &&
      (g.expiresAt === undefined || g.expiresAt > NOW) &&
      (g.scope.client ?? 'vscode') === 'vscode' &&
      (g.scope.window ?? 'win-1') === 'win-1' &&
      (g.scope.workspace ?? 'ws-1') === 'ws-1' &&
      (g.target.kind === 'all-tools' ||
        (g.target.kind === 'reading-tools' && c.reads) ||
        (g.target.kind === 'tools' && g.target.names.includes(c.tool)));
    const check = (property: (gs: Grant[], c: { tool: string; reads: boolean }) => void, seed: number) =>
      fc.assert(fc.property(grants, someCall, property), { seed, numRuns: 400 });

    it('a deny that applies denies', () =>
      check((gs, c) => {
        if (gs.some((g) => g.effect === 'deny' && applies(g, c))) assert.equal(effect(gs, c), 'deny');
      }, 1));

    it('without a grant that applies there is no access', () =>
      check((gs, c) => {
        if (!gs.some((g) => applies(g, c))) assert.equal(effect(gs, c), 'deny');
      }, 2));

    it('allow comes only from an allow that applies', () =>
      check((gs, c) => {
        const decision = decide(principal, { ...call, ...c }, gs, { paused: false }, NOW);
        if (decision.effect === 'allow') assert.ok(gs.some((g) => g.effect === 'allow' && applies(g, c)));
      }, 3));

    it('the order of the grants does not matter', () => check((gs, c) => assert.equal(effect([...gs].reverse(), c), effect(gs, c)), 4));

    it('one more deny never opens anything', () =>
      check((gs, c) => {
        const after = effect([...gs, grant({ effect: 'deny', target: { kind: 'tools', names: ['echo'] } })], c);
        if (after === 'allow') assert.equal(effect(gs, c), 'allow');
      }, 5));

    it('a pause denies', () => check((gs, c) => assert.equal(effect(gs, c, principal, NOW, true), 'deny'), 6));
  });
});

describe('decide, with conditions and limits', () => {
  const tool: Grant['target'] = { kind: 'tools', names: ['echo'] };
  const acme: Grant['conditions'] = [{ test: 'equals', at: '/owner', value: 'acme' }];
  const withArgs = (args: unknown): Partial<Call> => ({ arguments: CallArguments.fromText(JSON.stringify(args)) });
  const ruling = (grants: readonly Grant[], c: Partial<Call> = {}, facts?: Facts, policy: Policy = { paused: false }) =>
    decide(principal, { ...call, ...c }, grants, policy, NOW, facts);
  const free: Facts = { usage: () => 'free' };
  let n = 0;
  const g = (part: Partial<Grant>) => grant({ id: `grant-c${n++}`, ...part });

  const table: readonly (readonly [string, readonly Partial<Grant>[], Partial<Call>, 'allow' | 'ask' | 'deny'])[] = [
    ['allow with a condition that holds', [{ target: tool, conditions: acme }], withArgs({ owner: 'acme' }), 'allow'],
    ['allow with one that does not', [{ target: tool, conditions: acme }], withArgs({ owner: 'other' }), 'deny'],
    ['allow with one that is unclear', [{ target: tool, conditions: acme }], withArgs({ owner: 'ACME' }), 'deny'],
    ['allow with arguments nobody knows', [{ target: tool, conditions: acme }], {}, 'deny'],
    [
      'deny with one that is unclear',
      [{ target: tool }, { target: tool, conditions: acme, effect: 'deny' }],
      withArgs({ owner: 'ACME' }),
      'deny',
    ],
    [
      'deny with one that does not hold',
      [{ target: tool }, { target: tool, conditions: acme, effect: 'deny' }],
      withArgs({ owner: 'x' }),
      'allow',
    ],
    [
      'deny with arguments that can’t be read',
      [{ target: tool }, { target: tool, conditions: acme, effect: 'deny' }],
      { arguments: CallArguments.fromText('{') },
      'deny',
    ],
    [
      'ask where owner is acme, allow otherwise',
      [{ target: tool }, { target: tool, conditions: acme, effect: 'ask' }],
      withArgs({ owner: 'acme' }),
      'ask',
    ],
    ['ask, unclear', [{ target: tool }, { target: tool, conditions: acme, effect: 'ask' }], withArgs({ owner: 'Acme' }), 'ask'],
    ['ask, does not hold', [{ target: tool }, { target: tool, conditions: acme, effect: 'ask' }], withArgs({ owner: 'x' }), 'allow'],
    [
      'a particular ask stands against a particular allow',
      [
        { target: tool, conditions: acme },
        { target: tool, conditions: acme, effect: 'ask' },
      ],
      withArgs({ owner: 'acme' }),
      'ask',
    ],
    [
      'unless that answers it',
      [
        { target: tool, conditions: acme, answers: ['asks'] },
        { id: 'asks', target: tool, conditions: acme, effect: 'ask' },
      ],
      withArgs({ owner: 'acme' }),
      'allow',
    ],
    ['a pattern covers', [{ target: { kind: 'tools-like', patterns: ['e*'] } }], {}, 'allow'],
    ['a pattern does not', [{ target: { kind: 'tools-like', patterns: ['x*'] } }], {}, 'deny'],
    ['a name goes before a pattern', [{ target: { kind: 'tools-like', patterns: ['e*'] } }, { target: tool, effect: 'ask' }], {}, 'ask'],
    ['a pattern goes before all', [{ target: { kind: 'tools-like', patterns: ['e*'] } }, { effect: 'ask' }], {}, 'allow'],
    ['of a task nobody knows', [{ target: tool, endsWith: { kind: 'task', task: 't' } }], {}, 'deny'],
    ['of another window', [{ target: tool, endsWith: { kind: 'window', window: 'win-9' } }], {}, 'deny'],
    ['uses that nobody counts', [{ target: tool, uses: 5 }], {}, 'deny'],
  ];
  for (const [what, parts, c, expected] of table) it(`${what}: ${expected}`, () => assert.equal(ruling(parts.map(g), c).effect, expected));

  it('takes no use where another grant covers the call', () => {
    const [counted, lasting] = [g({ target: tool, uses: 3 }), g({ target: tool })];
    assert.equal(ruling([counted, lasting], {}, free).grant?.id, lasting.id);
    assert.equal(ruling([counted], {}, free).grant?.id, counted.id);
    assert.equal(ruling([counted], {}, { usage: () => 'used-up' }).effect, 'deny');
  });

  it('says why not, and what would allow it', () => {
    const reason = (grants: readonly Grant[], c: Partial<Call> = {}, facts?: Facts) => ruling(grants, c, facts).reason;
    assert.match(
      reason([g({ target: tool, conditions: acme })], withArgs({ owner: 'x' })),
      /allowed only where owner is “acme”, and these arguments are not like that\. The user can/,
    );
    assert.match(reason([g({ target: tool, conditions: acme })], withArgs({ owner: 'ACME' })), /not certain\. Write them plainly/);
    assert.match(reason([g({ target: tool, uses: 1 })], {}, { usage: () => 'used-up' }), /used up/);
    assert.match(
      reason([g({ target: tool, rate: { count: 2, perMs: 60_000 } })], {}, { usage: () => 'too-fast' }),
      /2 times per 1 minute\)\. Wait/,
    );
    assert.match(reason([g({ target: tool, expiresAt: NOW - 1 })]), /The time for which the user allowed it is over/);
    assert.match(
      reason([g({ target: tool, scope: { workspace: 'x', workspaceName: 'Other' } })]),
      /allowed it elsewhere in Other, not here/,
    );
    assert.match(ruling([g({ target: tool, conditions: acme })], withArgs({ owner: 'acme' })).reason, /is allowed where owner is “acme”\./);
  });

  it('denies where checking fails', () => {
    const broken: Facts = {
      usage: () => {
        throw new Error('no');
      },
    };
    assert.deepEqual(ruling([g({ target: tool, uses: 1 })], {}, broken).by, { kind: 'rule', rule: 'fault' });
    const layer: PolicyLayer = {
      name: 'L',
      problems: [],
      narrow: () => {
        throw new Error('no');
      },
    };
    assert.equal(ruling([g({ target: tool })], {}, undefined, { paused: false, layers: [layer] }).effect, 'deny');
  });

  describe('policies above', () => {
    const layer = (effect: 'ask' | 'deny' | undefined, name = 'L', shadow = false): PolicyLayer => ({
      name,
      shadow,
      problems: [],
      narrow: () => (effect === undefined ? undefined : { effect, rule: 'r', reason: `${name} says ${effect}.` }),
    });
    const under = (layers: readonly PolicyLayer[], grants = [g({ target: tool })], c: Partial<Call> = {}) =>
      ruling(grants, c, undefined, { paused: false, layers });

    it('take away, the strictest first, and never give', () => {
      assert.equal(under([layer(undefined)]).effect, 'allow');
      assert.deepEqual(under([layer('ask')]).by, { kind: 'policy', layer: 'L', rule: 'r' });
      assert.equal(under([layer('ask'), layer('deny', 'M')]).reason, 'M says deny.');
      assert.equal(under([layer('deny'), layer('ask', 'M')]).effect, 'deny');
      assert.deepEqual(under([layer('ask')], []).by, { kind: 'rule', rule: 'no-grant' });
      assert.equal(under([layer('ask')], [g({ target: tool, effect: 'ask' })]).by.kind, 'grant');
    });

    it('can deny a connection but not ask about one', () => {
      const connect = { method: 'initialize', tool: undefined };
      assert.equal(under([layer('ask')], [], connect).effect, 'allow');
      assert.equal(under([layer('deny')], [], connect).effect, 'deny');
    });

    it('only record in shadow mode', () => {
      const found = under([layer('deny', 'S', true), layer('ask')]);
      assert.equal(found.effect, 'ask');
      assert.deepEqual(
        found.shadow?.map((s) => [s.layer, s.effect]),
        [['S', 'deny']],
      );
    });
  });

  describe('whatever the grants', () => {
    const value = fc.constantFrom('acme', 'ACME', 'other', 5, null);
    const condition: fc.Arbitrary<Condition> = fc.oneof(
      value.map((v): Condition => ({ test: 'equals', at: '/owner', value: v })),
      fc.constantFrom<Condition>(
        { test: 'one-of', at: '/labels/*', values: ['a', 'b'] },
        { test: 'prefix', at: '/owner', prefix: 'ac' },
        { test: 'absent', at: '/force' },
        { test: 'range', at: '/owner', min: 1, max: 9 },
        { test: 'below', at: '/path', folder: '/proj' },
      ),
    );
    const target = fc.constantFrom<Grant['target']>(
      { kind: 'all-tools' },
      { kind: 'reading-tools' },
      tool,
      { kind: 'tools-like', patterns: ['e*'] },
      { kind: 'tools', names: ['add', 'echo'] },
    );
    const some: fc.Arbitrary<Grant> = fc
      .record({
        id: fc.constantFrom('grant-1', 'grant-2', 'grant-3', 'grant-4'),
        target,
        effect: fc.constantFrom('allow' as const, 'allow' as const, 'ask' as const, 'deny' as const),
        scope: fc.constantFrom<Grant['scope']>({}, {}, { workspace: 'ws-1' }, { workspace: 'ws-2' }, { branch: 'main' }),
        conditions: fc.option(fc.array(condition, { minLength: 1, maxLength: 2 }), { nil: undefined }),
        uses: fc.constantFrom(undefined, undefined, 1),
        expiresAt: fc.constantFrom(undefined, NOW + 1, NOW - 1),
        answers: fc.constantFrom(undefined, undefined, ['grant-1', 'grant-2']),
      })
      .map(({ conditions, uses, expiresAt, answers, ...rest }) =>
        grant({
          ...rest,
          ...(conditions ? { conditions } : {}),
          ...(uses ? { uses } : {}),
          ...(expiresAt ? { expiresAt } : {}),
          ...(answers ? { answers } : {}),
        }),
      );
    const grants = fc.uniqueArray(some, { maxLength: 4, selector: (x) => x.id });
    const someCall = fc.record(
      {
        owner: value,
        labels: fc.constantFrom(['a'], ['a', 'c'], [], 'a'),
        force: fc.boolean(),
        path: fc.constantFrom('/proj/a', '/proj/../etc', '/PROJ/a'),
      },
      { requiredKeys: [] },
    );
    const facts: Facts = { usage: (x) => (x.id === 'grant-4' ? 'used-up' : 'free') };
    const effectOf = (gs: readonly Grant[], args: unknown, policy: Policy = { paused: false }, reads = false) =>
      ruling(gs, { ...withArgs(args), reads }, facts, policy).effect;
    const check = (seed: number, property: (gs: Grant[], args: object) => void) =>
      fc.assert(fc.property(grants, someCall, property), { seed, numRuns: 1_500 });
    const rank = { deny: 0, ask: 1, allow: 2 };

    it('what is made narrower allows no more', () =>
      fc.assert(
        fc.property(grants, someCall, fc.nat(3), condition, fc.nat(4), (gs, args, at, more, how) => {
          const old = gs[at];
          if (old?.effect !== 'allow') return;
          const narrower: Grant = { ...old };
          if (how === 0) narrower.conditions = [...(old.conditions ?? []), more];
          if (how === 1) narrower.expiresAt = Math.min(old.expiresAt ?? Number.MAX_SAFE_INTEGER, NOW);
          if (how === 2) narrower.scope = { workspace: 'ws-1', client: 'vscode', ...old.scope };
          if (how === 3) narrower.uses = 1;
          if (how === 4) narrower.endsWith = { kind: 'window', window: 'win-1' };
          const after = effectOf(
            gs.map((x) => (x === old ? narrower : x)),
            args,
          );
          assert.ok(rank[after] <= rank[effectOf(gs, args)]);
        }),
        { seed: 21, numRuns: 3_000 },
      ));

    it('one grant less of those that allow, or one more that denies or asks, allows no more', () =>
      check(22, (gs, args) => {
        const before = rank[effectOf(gs, args)];
        for (const x of gs)
          if (x.effect === 'allow')
            assert.ok(
              rank[
                effectOf(
                  gs.filter((y) => y !== x),
                  args,
                )
              ] <= before,
            );
        assert.ok(rank[effectOf([...gs, g({ target: tool, effect: 'deny' })], args)] === 0);
        const asked = effectOf([...gs, g({ target: tool, effect: 'ask', conditions: [{ test: 'absent', at: '/never' }] })], args);
        assert.ok(asked !== 'allow' || effectOf(gs, args) === 'allow');
      }));

    it('the order does not matter, not even for what explains', () =>
      check(23, (gs, args) => {
        const [one, two] = [ruling(gs, withArgs(args), facts), ruling([...gs].reverse(), withArgs(args), facts)];
        assert.deepEqual([one.effect, one.by, one.reason], [two.effect, two.by, two.reason]);
      }));

    it('a policy never gives', () =>
      check(24, (gs, args) => {
        const rules: Rule[] = [
          { effect: 'deny', when: [{ test: 'equals', at: '/owner', value: 'acme' }] },
          { effect: 'ask', tools: ['e*'], unless: [{ test: 'below', at: '/path', folder: '/proj' }] },
        ];
        const layered = effectOf(gs, args, { paused: false, layers: [rulesLayer('L', rules)] });
        assert.ok(rank[layered] <= rank[effectOf(gs, args)]);
      }));

    it('the same is decided for the same', () =>
      check(25, (gs, args) => assert.deepEqual(ruling(gs, withArgs(args), facts), ruling(gs, withArgs(args), facts))));
  });
});

describe('Grant', () => {
  it('refuses fields and versions it does not know', () => {
    assert.equal(Grant.safeParse(grant()).success, true);
    assert.equal(Grant.safeParse({ ...grant(), version: 3 }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), conditions: [] }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), effect: 'maybe' }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), target: { kind: 'everything' } }).success, false);
  });
});
