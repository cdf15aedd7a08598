import assert from 'node:assert/strict';
import type { ApprovalRequest } from '../../../src/authorization/approvalRequest.ts';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import { diffArguments } from '../../../src/authorization/argumentsDiff.ts';
import { widenings } from '../../../src/authorization/widenings.ts';
import {
  argumentRows,
  promptAbove,
  promptDetails,
  promptPlaceholder,
  promptReason,
  promptRows,
  promptTitle,
  type PromptRow,
} from '../../../src/vscode/approvalText.ts';

const NOW = new Date(2026, 5, 1, 14, 5, 9).getTime();
const CONTEXT = { task: undefined, now: NOW };
const ARGUMENTS = JSON.stringify({ owner: 'acme', repo: 'shop', title: 'A\u202eB' });
const call = { server: 'srv-1', serverLabel: 'GitHub', method: 'tools/call', tool: 'create_issue' };

function request(change: Partial<ApprovalRequest> = {}): ApprovalRequest {
  return {
    id: 'ask-1',
    principal: { client: 'agent', window: 'win-1', workspace: 'ws', workspaceName: 'shop' },
    call,
    argumentsText: ARGUMENTS,
    digest: 'd'.repeat(64),
    destination: 'api.example.com',
    credentials: ['GitHub token'],
    client: 'Some agent (as it says)',
    deadline: NOW + 54_000,
    shown: 's',
    identical: 1,
    why: 'The tool “create_issue” of GitHub asks the user each time.',
    lasting: true,
    proposals: widenings(call, CallArguments.fromText(ARGUMENTS)),
    ...change,
  };
}

const texts = (rows: readonly PromptRow[]) =>
  rows.map((row) => (row.kind === 'separator' ? `--- ${row.label}` : `${row.label} | ${row.description}`));
const choices = (rows: readonly PromptRow[]) => rows.flatMap((row) => (row.kind === 'choice' ? [row.label] : []));

describe('the question about a call', () => {
  it('shows what is called, where it goes, with what, and why it is asked', () => {
    const rows = texts(promptRows(request(), { kind: 'call' }, CONTEXT));
    assert.deepEqual(rows.slice(0, 8), [
      '--- The call (Enter here shows everything)',
      'create_issue | tool of GitHub',
      'owner | acme',
      'repo | shop',
      'title | A\\u{202e}B',
      'api.example.com | where it goes',
      'GitHub token | credential that Culvert adds',
      '--- Your answer',
    ]);
    assert.equal(promptTitle(request(), 2, { kind: 'call' }), 'Culvert: allow “create_issue” of GitHub? (1 of 2)');
    assert.equal(promptPlaceholder(request(), NOW), 'Some agent (as it says) wants to call it. Denied in 54 s unless you answer.');
    assert.equal(promptReason(request({ nearly: ['Nearly: x — y.'] })), `${request().why} Nearly: x — y.`);
  });

  it('says what else than a tool is called, and what would be allowed of it', () => {
    const wholes = ['resources/read', 'prompts/get', 'acme/do'].map((method) => {
      const other = { server: 'srv-1', serverLabel: 'GitHub', method };
      const rows = texts(promptRows(request({ call: other, proposals: widenings(other, undefined) }), { kind: 'call' }, CONTEXT));
      assert.equal(rows[1], `${method} | method of GitHub`);
      return rows.find((row) => row.startsWith('Allow for 15 minutes'))?.split(' | ')[1];
    });
    assert.deepEqual(wholes, ['all resources of this server', 'all prompts of this server', 'this method, any arguments']);
  });

  it('answers calls that say the same together', () => {
    const three = request({ identical: 3 });
    assert.match(promptPlaceholder(three, NOW), /wants to make 3 calls like this/);
    assert.ok(choices(promptRows(three, { kind: 'call' }, CONTEXT)).includes('Allow all 3'));
    assert.ok(!choices(promptRows(request(), { kind: 'call' }, CONTEXT)).some((label) => label.startsWith('Allow all')));
  });

  it('offers no grant where a policy wants the question each time', () => {
    const each = request({ lasting: false });
    assert.deepEqual(choices(promptRows(each, { kind: 'call' }, CONTEXT)), ['Allow once', 'Not now', 'Deny']);
    assert.match(promptReason(each), /A policy wants you to be asked each time/);
  });

  it('says that what is allowed ends with the running task', () => {
    const rows = texts(promptRows(request(), { kind: 'call' }, { task: 'release', now: NOW }));
    assert.ok(rows.includes('Always | ends with the task “release”'), rows.join('\n'));
  });

  it('leads from the call over what is like it to how long, each time with the grant spelled out', () => {
    const what = promptRows(request(), { kind: 'what' }, CONTEXT);
    const labels = choices(what);
    assert.deepEqual(labels, [
      'Exactly this call',
      'owner “acme”, repo “shop”, anything else',
      'owner “acme”, anything else',
      'This tool, any arguments',
    ]);
    const second = what.find((row) => row.kind === 'choice' && row.label.includes('repo “shop”'));
    assert.ok(second?.kind === 'choice' && 'step' in second.then && second.then.step.kind === 'reach');
    const how = promptRows(request(), second.then.step, CONTEXT);
    const short = how.find((row) => row.kind === 'choice' && row.label === '15 minutes');
    assert.ok(short?.kind === 'choice' && 'answer' in short.then);
    assert.equal(
      promptAbove(request(), second.then.step, short),
      'This would allow create_issue where owner is “acme” and repo is “shop”, until 14:20.',
    );
    assert.equal(short.detail, 'allow create_issue where owner is “acme” and repo is “shop”, until 14:20');
    assert.deepEqual(short.then.answer, { kind: 'proposal', proposal: 'named-2', effect: 'allow', forMs: 900_000 });
  });

  it('tells what differs from the last call that was allowed', () => {
    const rows = (before: object, now: object) =>
      texts(argumentRows(JSON.stringify(now), diffArguments(JSON.stringify(before), JSON.stringify(now))));
    assert.deepEqual(rows({ a: 1, b: 'x', gone: true }, { a: 1, b: 'y', c: 2 }), [
      'a | 1',
      'b | y   (last time x)',
      'c | 2   (not given last time)',
      'gone | not given now; last time true',
    ]);
    assert.deepEqual(rows({ a: { b: 1 } }, { a: { b: 2 } }), ['a | {"b":2}', 'a.b | 2   (last time 1)']);
    assert.deepEqual(rows({ a: 1 }, { a: 1 }).at(-1), 'the same arguments | as in the last call of this tool that you allowed');
  });

  it('never cuts off what changed', () => {
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`a${i}`, i]));
    const rows = texts(
      argumentRows(JSON.stringify({ ...many, a19: 'new' }), diffArguments(JSON.stringify(many), JSON.stringify({ ...many, a19: 'new' }))),
    );
    assert.ok(rows.includes('a19 | new   (last time 19)'), rows.join('\n'));
    assert.ok(rows.includes('and 16 more | '), rows.join('\n'));
    assert.deepEqual(texts(argumentRows('{"a":', undefined)), ['arguments | {"a":']);
    assert.deepEqual(texts(argumentRows('{}', undefined)), ['no arguments | ']);
  });

  it('shows in full what the rows cut', () => {
    const long = 'x'.repeat(5_000);
    const details = promptDetails(request({ argumentsText: JSON.stringify({ long, hidden: 'a\u200bb' }) }));
    assert.ok(details.includes(long));
    assert.ok(details.includes('a\\u{200b}b'));
    assert.match(details, /SHA-256:\s+d{64}/);
  });
});

describe('the question about an agent’s wish', () => {
  const wish = { tools: ['read_a', 'write_b'], reason: 'to fix\u200b it', durationMs: 30 * 60_000 };
  const asked = request({
    call: { ...call, tool: 'read_a' },
    wish,
    proposals: [
      { id: 'reading', label: 'Of these only the tools that only read', target: { kind: 'tools', names: ['read_a'] }, words: '' },
      { id: 'asked', label: 'What the agent asks for', target: { kind: 'tools', names: wish.tools }, words: '' },
    ],
  });

  it('shows the tools, the reason in the agent’s words and the time, and allows less or more of it', () => {
    const rows = promptRows(asked, { kind: 'call' }, CONTEXT);
    assert.ok(texts(rows).includes('“to fix\\u{200b} it” | why, in its own words'));
    assert.deepEqual(choices(rows), [
      'Allow only what reads for 30 minutes',
      'Allow it for 30 minutes',
      'Allow it for another time…',
      'Not now',
    ]);
    const narrow = rows.find((row) => row.kind === 'choice');
    assert.ok(narrow?.kind === 'choice' && narrow.detail === 'allow read_a, until 14:35');
    assert.equal(promptTitle(asked, 1, { kind: 'call' }), 'Culvert: allow 2 tools of GitHub for 30 minutes?');
  });
});
