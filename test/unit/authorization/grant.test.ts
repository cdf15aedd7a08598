import assert from 'node:assert/strict';
import {
  Grant,
  appliesTo,
  isForOtherBranch,
  describeGrant,
  describeGrantFully,
  isCounted,
  isScoped,
  specificity,
  span,
  type Caller,
} from '../../../src/authorization/grant.ts';

const NOW = Date.UTC(2026, 5, 1);
const grant = (part: Partial<Grant> = {}): Grant => ({
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'tools', names: ['echo'] },
  effect: 'allow',
  scope: {},
  createdAt: NOW,
  givenBy: 'tree',
  ...part,
});

describe('Grant, stored', () => {
  it('is read from version 1 as version 2', () => {
    const now = grant({ expiresAt: NOW + 1, scope: { workspace: 'w', workspaceName: 'Shop' } });
    assert.deepEqual(Grant.parse({ ...now, version: 1 }), now);
  });

  it('takes nothing of version 2 under the name of version 1', () => {
    for (const part of [
      { conditions: [{ test: 'present', at: '/a' }] },
      { uses: 1 },
      { target: { kind: 'tools-like', patterns: ['a*'] } },
      { scope: { branch: 'main' } },
      { givenBy: 'task' },
    ])
      assert.equal(Grant.safeParse({ ...grant(), ...part, version: 1 }).success, false, JSON.stringify(part));
  });

  it('takes everything that version 2 has', () => {
    const whole = grant({
      target: { kind: 'tools-like', patterns: ['get_*'] },
      conditions: [{ test: 'equals', at: '/owner', value: 'acme' }],
      scope: { session: 's', branch: 'main' },
      endsWith: { kind: 'task', task: 'task-1' },
      uses: 3,
      rate: { count: 5, perMs: 60_000 },
      answers: ['grant-0'],
      why: 'because',
      givenBy: 'request',
    });
    assert.deepEqual(Grant.parse(JSON.parse(JSON.stringify(whole))), whole);
    for (const part of [{ uses: 0 }, { uses: 1.5 }, { rate: { count: 1, perMs: 10 } }, { conditions: [] }, { why: 'x'.repeat(501) }])
      assert.equal(Grant.safeParse({ ...whole, ...part }).success, false, JSON.stringify(part));
  });
});

describe('grants in words', () => {
  it('say what they allow, whom and how often', () => {
    assert.equal(describeGrant(grant()), 'allow echo');
    assert.equal(
      describeGrant(
        grant({
          target: { kind: 'tools-like', patterns: ['get_*'] },
          conditions: [
            { test: 'equals', at: '/owner', value: 'acme' },
            { test: 'below', at: '/path', folder: '/work' },
          ],
          scope: { workspace: 'w', workspaceName: 'Shop', branch: 'main' },
          uses: 3,
          rate: { count: 5, perMs: 60_000 },
          endsWith: { kind: 'task', task: 't' },
        }),
      ),
      'allow tools like get_* where owner is “acme” and path is in /work in Shop on branch main, at most 3 times, at most 5 times per 1 minute, until the task ends',
    );
    assert.equal(describeGrantFully(grant({ expiresAt: NOW }), 'GitHub'), 'On GitHub: allow echo, until 2026-06-01 00:00 UTC.');
    assert.equal(describeGrantFully(grant(), 'GitHub'), 'On GitHub: allow echo, until it is revoked.');
  });

  it('hide nothing', () => assert.match(describeGrant(grant({ target: { kind: 'tools', names: ['ec\u202eho'] } })), /ec\\u\{202e\}ho/));

  it('say spans', () =>
    assert.deepEqual([span(900_000), span(3_600_000), span(86_400_000), span(61_000)], ['15 minutes', '1 hour', '1 day', '61 seconds']));
});

describe('whom a grant is for', () => {
  const caller: Caller = { client: 'vscode', window: 'win-1', workspace: 'ws-1', session: 's-1', branch: 'main' };
  const scopes: readonly (readonly [Partial<Grant>, boolean])[] = [
    [{}, true],
    [{ scope: { session: 's-1' } }, true],
    [{ scope: { session: 's-2' } }, false],
    [{ scope: { branch: 'main', workspace: 'ws-1' } }, true],
    [{ scope: { branch: 'other' } }, false],
    [{ endsWith: { kind: 'window', window: 'win-1' } }, true],
    [{ endsWith: { kind: 'window', window: 'win-2' } }, false],
  ];
  for (const [part, expected] of scopes)
    it(`${JSON.stringify(part)}: ${expected}`, () => assert.equal(appliesTo(grant(part), caller), expected));

  it('is nobody where session or branch are not known', () => {
    const unknown: Caller = { client: 'vscode', window: 'win-1' };
    assert.equal(appliesTo(grant({ scope: { session: 's-1' } }), unknown), false);
    assert.equal(appliesTo(grant({ scope: { branch: 'main' } }), unknown), false);
  });

  it('is this caller, but for the git branch, only if nothing else stands in the way', () => {
    const other = (part: Partial<Grant>) => isForOtherBranch(grant(part), caller);
    assert.equal(other({ scope: { branch: 'other', workspace: 'ws-1' } }), true);
    assert.equal(other({ scope: { branch: 'other', workspace: 'ws-2' } }), false);
    assert.equal(other({ scope: { branch: 'other' }, endsWith: { kind: 'window', window: 'win-2' } }), false);
    assert.equal(other({ scope: { branch: 'main' } }), false);
    assert.equal(other({}), false);
    assert.equal(isForOtherBranch(grant({ scope: { branch: 'main' } }), { client: 'vscode', window: 'win-1' }), true);
  });

  it('is told apart', () => {
    assert.deepEqual(
      [isScoped(grant()), isScoped(grant({ scope: { branch: 'x' } })), isScoped(grant({ endsWith: { kind: 'window', window: 'w' } }))],
      [false, true, true],
    );
    assert.deepEqual([isCounted(grant()), isCounted(grant({ uses: 1 }))], [false, true]);
    assert.ok(specificity({ kind: 'tools', names: ['a'] }) > specificity({ kind: 'tools-like', patterns: ['a'] }));
  });
});
