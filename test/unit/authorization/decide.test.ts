import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decide, type Call } from '../../../src/authorization/decide.ts';
import { CLOCK_SLACK_MS, Grant } from '../../../src/authorization/grant.ts';
import type { Principal } from '../../../src/mcp/principal.ts';

const NOW = Date.UTC(2026, 5, 1);
const principal: Principal = { client: 'vscode', window: 'win-1', workspace: 'ws-1', workspaceName: 'Shop' };
const call: Call = { server: 'srv-1', serverLabel: 'GitHub', method: 'tools/call', tool: 'echo', reads: false };

function grant(part: Partial<Grant> = {}): Grant {
  return {
    version: 1,
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
      version: fc.constant(1 as const),
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

describe('Grant', () => {
  it('refuses fields and versions it does not know', () => {
    assert.equal(Grant.safeParse(grant()).success, true);
    assert.equal(Grant.safeParse({ ...grant(), version: 2 }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), conditions: [] }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), effect: 'maybe' }).success, false);
    assert.equal(Grant.safeParse({ ...grant(), target: { kind: 'everything' } }).success, false);
  });
});
