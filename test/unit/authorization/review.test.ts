import assert from 'node:assert/strict';
import { advise, MIN_CALLS, UNUSED_MS, type GrantUse } from '../../../src/authorization/advise.ts';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import { decide } from '../../../src/authorization/decide.ts';
import { explain } from '../../../src/authorization/explain.ts';
import type { Caller, Grant } from '../../../src/authorization/grant.ts';
import { rulesLayer } from '../../../src/authorization/policy/rules.ts';
import { describeRehearsal, rehearse, type RecordedCall } from '../../../src/authorization/rehearse.ts';

const NOW = Date.UTC(2026, 5, 10);
const principal: Caller = { client: 'vscode', window: 'win-1' };
const grant = (part: Partial<Grant> = {}): Grant => ({
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'all-tools' },
  effect: 'allow',
  scope: {},
  createdAt: NOW - 30 * 86_400_000,
  givenBy: 'wizard',
  ...part,
});
const callOf = (tool: string, args?: unknown) => ({
  server: 'srv-1',
  serverLabel: 'GitHub',
  method: 'tools/call',
  tool,
  ...(args === undefined ? {} : { arguments: CallArguments.fromText(JSON.stringify(args)) }),
});

describe('explain', () => {
  it('says what decided, where it comes from, and what nearly did', () => {
    const grants = [
      grant({ target: { kind: 'tools', names: ['echo'] }, conditions: [{ test: 'equals', at: '/a', value: 1 }], why: 'for the demo' }),
    ];
    const denied = explain(decide(principal, callOf('echo', { a: 2 }), grants, { paused: false }, NOW));
    assert.match(denied[0] ?? '', /is not allowed\. It is allowed only where a is 1/);
    assert.equal(denied[1], 'Nearly: allow echo where a is 1 — the arguments are not like that.');
    const allowed = explain(decide(principal, callOf('echo', { a: 1 }), grants, { paused: false }, NOW));
    assert.match(
      allowed[1] ?? '',
      /^Grant: allow echo where a is 1, given when the server was added on 2026-05-11 00:00 UTC, without an end\. Reason: “for the demo”\.$/,
    );
    const layers = [
      rulesLayer('The policy', [{ effect: 'deny', name: 'no echo' }]),
      rulesLayer('The new policy', [{ effect: 'ask' }], true),
    ];
    const lines = explain(decide(principal, callOf('echo', { a: 1 }), grants, { paused: false, layers }, NOW));
    assert.ok(lines.some((l) => l.startsWith('Decided by: The policy, no echo.')));
    assert.ok(lines.some((l) => l.startsWith('In shadow mode The new policy (rule 1) would have asked')));
  });
});

describe('rehearse', () => {
  const recorded = (i: number, tool: string, effect: RecordedCall['effect'], args?: unknown): RecordedCall => ({
    id: `x-${i}`,
    at: NOW - i * 1_000,
    principal,
    call: callOf(tool, args),
    effect,
  });

  it('shows what a changed grant or policy would have made of past calls', () => {
    const calls = [
      recorded(1, 'echo', 'allow', { a: 1 }),
      recorded(2, 'echo', 'allow', { a: 2 }),
      recorded(3, 'add', 'allow'),
      recorded(4, 'drop', 'deny'),
    ];
    const grants = [
      grant({
        id: 'g-1',
        target: { kind: 'tools', names: ['echo'] },
        conditions: [{ test: 'equals', at: '/a', value: 1 }],
        createdAt: NOW,
        expiresAt: NOW + 1_000,
        uses: 1,
      }),
      grant({ id: 'g-2', target: { kind: 'tools', names: ['add'] }, effect: 'ask' }),
      grant({ id: 'g-3', target: { kind: 'tools', names: ['drop'] } }),
      grant({ id: 'g-4', expiresAt: NOW - 1 }),
    ];
    const result = rehearse(calls, { grants, policy: { paused: true }, now: NOW });
    assert.deepEqual(
      result.flips.map((f) => [f.call.id, f.before, f.after.effect]),
      [
        ['x-2', 'allow', 'deny'],
        ['x-3', 'allow', 'ask'],
        ['x-4', 'deny', 'allow'],
      ],
    );
    assert.equal(
      describeRehearsal(result),
      'Of 4 recorded calls 3 would be decided otherwise: 1 would be denied, 1 would ask, 1 would be let through.',
    );
    assert.equal(
      describeRehearsal(rehearse([], { grants, policy: { paused: false }, now: NOW })),
      'There are no recorded calls to try it on.',
    );
  });

  it('says where it hangs on arguments that were not recorded', () => {
    const grants = [grant({ conditions: [{ test: 'equals', at: '/a', value: 1 }] })];
    const result = rehearse([recorded(1, 'echo', 'allow')], { grants, policy: { paused: false }, now: NOW });
    assert.deepEqual([result.uncertain, result.flips[0]?.uncertain], [1, true]);
    assert.match(describeRehearsal(result), /For 1 of them it hangs on arguments/);
  });
});

describe('advise', () => {
  const used = (tool: string, args?: unknown): GrantUse => ({
    at: NOW - 1_000,
    tool,
    ...(args === undefined ? {} : { arguments: JSON.stringify(args) }),
  });
  const since = NOW - 30 * 86_400_000;
  const about = (g: Grant, uses: readonly GrantUse[]) => advise([g], new Map([[g.id, uses]]), NOW, since);

  it('finds what is never used, ended, or ends soon', () => {
    assert.deepEqual(
      about(grant(), []).map((a) => a.kind),
      ['unused'],
    );
    assert.deepEqual(about(grant({ createdAt: NOW - UNUSED_MS + 1 }), []), []);
    assert.deepEqual(
      about(grant({ expiresAt: NOW - 1 }), []).map((a) => a.kind),
      ['ended'],
    );
    assert.deepEqual(
      about(grant({ expiresAt: NOW + 60_000 }), [used('a')]).map((a) => [a.kind, a.reason]),
      [['expires-soon', '“allow all tools” ends in 60 s. It was used once.']].map(([k, r]) => [k, r?.replace('60 s', '1 min')]),
    );
    assert.deepEqual(about(grant({ effect: 'deny' }), []), []);
  });

  it('narrows what is wider than used, and spells it out', () => {
    const wide = about(
      grant(),
      Array.from({ length: MIN_CALLS }, (_, i) => used(i % 2 === 0 ? 'echo' : 'add')),
    );
    assert.deepEqual(
      wide.map((a) => [a.kind, a.words]),
      [['wider-than-used', 'allow add, echo']],
    );
    const one = about(
      grant({ target: { kind: 'tools', names: ['create_issue'] } }),
      Array.from({ length: MIN_CALLS }, (_, i) =>
        used('create_issue', { owner: 'acme', repo: i % 2 === 0 ? 'shop' : 'site', title: `t${i}` }),
      ),
    );
    assert.deepEqual(
      one.map((a) => [a.words, a.narrowed?.givenBy]),
      [['allow create_issue where owner is “acme” and repo is “shop” or “site”', 'advice']],
    );
  });

  it('says nothing where it knows too little, or a name would be wider than what is there', () => {
    assert.deepEqual(about(grant(), [used('echo')]), []);
    assert.deepEqual(
      about(
        grant({ target: { kind: 'reading-tools' } }),
        Array.from({ length: 9 }, () => used('get')),
      ),
      [],
    );
    assert.deepEqual(
      about(
        grant({ target: { kind: 'tools', names: ['a'] } }),
        Array.from({ length: 9 }, () => used('a')),
      ),
      [],
    );
    assert.deepEqual(
      about(
        grant(),
        Array.from({ length: 20 }, (_, i) => used(`tool-${i}`)),
      ),
      [],
    );
  });
});
