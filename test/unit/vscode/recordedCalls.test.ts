import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { Activity } from '../../../src/audit/activities.ts';
import type { Intent } from '../../../src/audit/record.ts';
import { decide, type Ruling } from '../../../src/authorization/decide.ts';
import type { Grant } from '../../../src/authorization/grant.ts';
import { denialText, isDenied } from '../../../src/vscode/denialText.ts';
import { recordedCall, usageOf, wholeArguments, type RecordReader } from '../../../src/vscode/recordedCalls.ts';
import { compareRehearsals, rehearsalText } from '../../../src/vscode/rehearsalText.ts';
import { nextTurn } from '../../support/database.ts';

const AT = Date.UTC(2026, 5, 1, 12);
const principal = { client: 'vscode', window: 'win-1', workspace: 'ws-1', workspaceName: 'shop' } as const;
const ARGUMENTS = '{"owner":"acme"}';

const grantOf = (change: Partial<Grant>): Grant => ({
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'tools', names: ['create_issue'] },
  effect: 'allow',
  scope: {},
  createdAt: AT - 1_000,
  givenBy: 'tree',
  ...change,
});

const reader = (grants: readonly Grant[] = []): RecordReader => ({
  servers: {
    get: (id) =>
      id === 'srv-1'
        ? { version: 1, id, label: 'GitHub', upstream: { kind: 'http', url: 'https://api.example.com/mcp' }, credentials: [], createdAt: 0 }
        : undefined,
  },
  credentials: { get: () => undefined },
  reads: () => false,
  principal,
  grants,
});

function activity(change: Partial<Intent> = {}, outcome?: Activity['outcome']): Activity {
  return {
    seq: 1,
    at: AT,
    exchange: 'x-1',
    outcome,
    intent: {
      v: 2,
      client: 'vscode',
      window: 'win-0',
      workspace: 'shop',
      claims: {},
      server: 'srv-1',
      serverLabel: 'GitHub',
      origin: 'https://api.example.com',
      era: 'modern',
      method: 'tools/call',
      tool: 'create_issue',
      argumentsDigest: hash('sha256', ARGUMENTS),
      arguments: ARGUMENTS,
      effect: 'allow',
      decidedBy: 'grant-1',
      grant: 'grant-1',
      reason: 'It was allowed.',
      credentials: [],
      requestBytes: 1,
      ...change,
    },
  };
}

/** The intent without some of its fields. */
function without(...fields: readonly string[]): Intent {
  return Object.fromEntries(Object.entries(activity().intent).filter(([field]) => !fields.includes(field))) as Intent;
}

describe('calls off the record', () => {
  it('have their arguments only if these are whole and nothing was taken out', () => {
    assert.equal(wholeArguments(activity().intent), ARGUMENTS);
    assert.equal(wholeArguments(activity({ arguments: ARGUMENTS.slice(0, -1) }).intent), undefined);
    assert.equal(wholeArguments(without('argumentsDigest', 'arguments')), '{}');
    assert.equal(recordedCall(activity({ arguments: '{"owner":"[culvert: redacted]"}' }), reader())?.call.arguments, undefined);
  });

  it('are those of tools of servers that are still there, by whom they were made', () => {
    const call = recordedCall(activity(), reader());
    assert.deepEqual(call?.principal, { client: 'vscode', window: 'win-0', workspace: 'ws-1', workspaceName: 'shop' });
    assert.equal(recordedCall(activity({ server: 'srv-2' }), reader()), undefined);
    assert.equal(recordedCall(activity({ method: 'resources/read' }), reader()), undefined);
    const elsewhere = grantOf({ scope: { workspace: 'ws-2', workspaceName: 'farm' } });
    assert.equal(recordedCall(activity({ workspace: 'farm' }), reader([elsewhere]))?.principal.workspace, 'ws-2');
  });

  it('that the user answered count as asked', () => {
    assert.equal(recordedCall({ ...activity(), intent: { ...without('grant'), decidedBy: 'answered' } }, reader())?.effect, 'ask');
    assert.equal(recordedCall(activity(), reader())?.effect, 'allow');
  });

  it('tell what of a grant is used', () => {
    const usage = usageOf([activity(), activity({ effect: 'deny' }), activity({ arguments: '{' })]);
    assert.deepEqual(usage.get('grant-1'), [
      { at: AT, tool: 'create_issue', arguments: ARGUMENTS },
      { at: AT, tool: 'create_issue' },
    ]);
  });
});

describe('a rehearsal', () => {
  it('compares with how things stand, not with what was answered then', async () => {
    const ask = grantOf({ id: 'grant-2', effect: 'ask' });
    const calls = [recordedCall(activity(), reader()), recordedCall({ ...activity(), exchange: 'x-2' }, reader())].filter(
      (c) => c !== undefined,
    );
    const common = { policy: { paused: false }, now: AT };
    // The grant that allowed them is gone already: that is not the work of this change.
    const same = await compareRehearsals(calls, { ...common, grants: [ask] }, { ...common, grants: [ask] }, nextTurn);
    assert.deepEqual(same.flips, []);
    const gone = await compareRehearsals(calls, { ...common, grants: [grantOf({})] }, { ...common, grants: [ask] }, nextTurn);
    assert.deepEqual([gone.calls, gone.asked, gone.flips.length], [2, 2, 2]);
    const text = rehearsalText('without “allow\u202e”', 'the last day', gone);
    assert.match(text, /Rehearsal: without “allow\\u\{202e\}”/);
    assert.match(text, /Of 2 recorded calls 2 would be decided otherwise: 2 would ask\./);
    assert.match(text, /create_issue of GitHub: let through → asks/);
  });
});

describe('a denial, explained', () => {
  const now = (grants: readonly Grant[]): Ruling => {
    const call = recordedCall(activity(), reader());
    assert.ok(call);
    return decide(call.principal, call.call, grants, { paused: false }, AT);
  };
  const denied = activity({ effect: 'deny', decidedBy: 'no-grant', reason: 'It is not allowed.' });

  it('tells why, how it would be now, and what can be done', () => {
    const text = denialText(denied, now([grantOf({ conditions: [{ test: 'equals', at: '/owner', value: 'other' }] })]));
    assert.equal(text.title, 'Why “create_issue” of GitHub was denied');
    assert.equal(text.lines[0], 'It is not allowed.');
    assert.match(text.lines.at(-1) ?? '', /The same call now would be denied\.[^]*Nearly: allow create_issue where owner is “other”/);
    assert.deepEqual(text.remedies, ['allow', 'record']);
  });

  it('offers what fits the reason', () => {
    const remedies = (of: Activity, ruling: Ruling | undefined) => denialText(of, ruling).remedies;
    assert.deepEqual(remedies(denied, now([grantOf({ effect: 'deny' })])), ['revoke', 'edit', 'allow', 'record']);
    assert.deepEqual(remedies(activity({ effect: 'deny', decidedBy: 'refused' }), now([grantOf({ effect: 'ask' })])), [
      'ask-again',
      'allow',
      'record',
    ]);
    assert.deepEqual(remedies(denied, now([grantOf({})])), ['record']);
    assert.deepEqual(remedies(denied, { ...now([]), by: { kind: 'policy', layer: 'x', rule: 'y' } }), ['policy', 'record']);
    const stopped = activity({}, { v: 2, result: 'denied', responseBytes: 0, findings: 1, totalMs: 1, decisionMs: 1, error: 'A secret.' });
    assert.ok(isDenied(stopped));
    assert.deepEqual(remedies(stopped, now([grantOf({})])), ['leaks', 'record']);
    assert.equal(denialText(stopped, undefined).lines[0], 'A secret.');
  });
});
