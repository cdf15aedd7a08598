import assert from 'node:assert/strict';
import type { Entry, Intent, Outcome } from '../../../src/audit/record.ts';
import { FIELD_HELP } from '../../../src/vscode/record/recordFields.ts';
import { recordPage, shapeOf } from '../../../src/vscode/record/recordPage.ts';
import { intent, outcome } from '../audit/samples.ts';

const AT = Date.UTC(2026, 10, 22, 20, 14, 41, 123);
const entry = (kind: Entry['kind'], body: Entry['body'], n: number): Entry => ({
  seq: n,
  chain: 'chain-1',
  n,
  at: AT + n,
  kind,
  exchange: 'x-1',
  body,
});
const FULL: Intent = {
  ...intent,
  v: 2,
  tool: 'create_issue',
  claims: { clientName: 'Claude Code', clientVersion: '2.1', conversationId: 'c-77', traceparent: '00-1-2-01' },
  workspace: 'Parcel Desk',
  protocol: '2026-07-28',
  rpcId: '7',
  session: '0123456789abcdef',
  argumentsDigest: 'ab'.repeat(32),
  arguments: '{"title":"Labels","tags":["a",1,true,null]}',
  grant: 'grant-1',
  policyDigest: 'cd'.repeat(32),
  approver: 'user',
  reason: 'You allowed it.',
  credentials: ['token (revision 2)'],
  credentialUse: [{ id: 'cred-1', name: 'token', revision: 2 }],
  task: 'task-1',
  continues: 'x-0',
};
const END: Outcome = {
  ...outcome,
  findings: 2,
  found: [{ rule: 'github-token', action: 'redacted' }],
  resultDigest: 'ef'.repeat(32),
  resultText: 'plain text',
  inputRequired: true,
  stages: { parse: 0.1, inspectIn: 0.4, upstream: 12 },
  error: 'half of it',
  totalMs: 12.5,
};

describe('record page', () => {
  const page = recordPage([entry('intent', FULL, 1), entry('outcome', END, 2)], {
    taskName: () => 'Tidy up',
    grantWords: () => 'allow create_issue',
    continuedBy: 'x-2',
  });
  const lines = page.text.split('\n');
  const line = (name: string) => lines.find((l) => l.startsWith(`  ${name} `)) ?? '';

  it('says everything that the record has, by sections', () => {
    assert.equal(lines[0], '# create_issue of GitHub: ok, redacted');
    assert.deepEqual(
      lines.filter((l) => /^[A-Z]/.test(l)),
      ['Call', 'Agent', 'Decision', 'Credentials', 'Arguments', 'Outcome', 'Result', 'Latency', 'Neighbours', 'Chain'],
    );
    // In local time, of which some are half an hour or three quarters off.
    const minutes = String(new Date(AT).getMinutes()).padStart(2, '0');
    assert.match(line('time'), new RegExp(`\\d\\d:${minutes}:41\\.124 [+-]\\d\\d:\\d\\d$`));
    assert.match(line('decided by'), /grant grant-1 \(allow create_issue\)$/);
    assert.match(line('task'), /Tidy up$/);
    assert.match(line('name'), /Claude Code \(as it says\)$/);
    assert.match(line('inspect in'), /0\.4 ms$/);
    assert.ok(page.text.includes('    {\n      "title": "Labels",\n      "tags": [\n        "a",\n'));
    assert.ok(page.text.includes('    github-token: redacted'));
    assert.ok(page.text.includes('    plain text\n'));
    for (const value of [...Object.values(FULL.claims), FULL.policyDigest, FULL.session, END.resultDigest, 'x-0', 'x-2'])
      assert.ok(page.text.includes(String(value)), String(value));
  });

  it('links to the server, the grant, the credential, the task and its neighbours, exactly', () => {
    assert.deepEqual(
      page.links.map(({ line: at, from, to, target }) => [lines[at]?.slice(from, to), target]),
      [
        ['GitHub', { kind: 'server', id: 'srv-1' }],
        ['Tidy up', { kind: 'task', id: 'task-1' }],
        ['grant grant-1', { kind: 'grant', id: 'grant-1', server: 'srv-1' }],
        ['token (revision 2)', { kind: 'credential', id: 'cred-1', name: 'token' }],
        ['x-0', { kind: 'exchange', id: 'x-0' }],
        ['x-2', { kind: 'exchange', id: 'x-2' }],
      ],
    );
  });

  it('folds each section', () => {
    assert.equal(page.sections.length, 10);
    for (const { from, to } of page.sections) {
      assert.match(lines[from] ?? '', /^[A-Z]/);
      assert.match(lines[to] ?? '', /^ {2}/);
      assert.match(lines[to + 1] ?? '', /^$/);
    }
  });

  it('explains every field', () => {
    for (const text of lines) {
      const name = /^ {2}([a-z]+(?: [a-z]+)*) +\S/.exec(text)?.[1];
      if (name !== undefined && name !== 'token') assert.ok(Object.hasOwn(FIELD_HELP, name), name);
    }
  });

  it('lets nothing that an agent chose pass for a field or a section', () => {
    const evil = 'x\nDecision\n  effect          allow\u202e';
    const { text } = recordPage([
      entry(
        'intent',
        {
          ...intent,
          effect: 'deny',
          tool: evil,
          reason: evil,
          serverLabel: evil,
          claims: { clientName: evil },
          arguments: evil,
          credentials: [evil],
        },
        1,
      ),
      entry(
        'outcome',
        { ...outcome, result: 'denied', error: evil, resultText: JSON.stringify({ [evil]: evil }), found: [{ rule: evil, action: evil }] },
        2,
      ),
    ]);
    const all = text.split('\n');
    assert.equal(all.filter((l) => l === 'Decision').length, 1);
    assert.deepEqual(
      all.filter((l) => /^ {2}effect /.test(l)),
      ['  effect        deny'],
    );
    assert.ok(!text.includes('\u202e'));
  });

  it('waits for the end of a running call, and not of a denied one', () => {
    assert.equal(recordPage([entry('intent', FULL, 1)]).open, true);
    assert.match(recordPage([entry('intent', FULL, 1)]).text, /Not finished/);
    assert.equal(recordPage([entry('intent', { ...FULL, effect: 'deny' }, 1)]).open, false);
    assert.equal(recordPage([]).text, 'The record holds nothing about this call.\n');
  });

  it('leaves out what is in arguments and result for others', () => {
    const { text } = recordPage([entry('intent', FULL, 1), entry('outcome', END, 2)], { onlyShapes: true });
    for (const hidden of ['Labels', 'plain text', 'Parcel Desk', 'c-77']) assert.ok(!text.includes(hidden), hidden);
    assert.ok(text.includes('"title": "‹text, 6 characters›"'));
    assert.ok(text.includes(FULL.argumentsDigest ?? ''));
    assert.deepEqual(shapeOf({ a: [1, true, null, 'é'] }), { a: ['‹number›', '‹boolean›', null, '‹text, 1 character›'] });
  });
});
