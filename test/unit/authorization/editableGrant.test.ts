import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { grantSchema, grantText, readGrantText } from '../../../src/authorization/editableGrant.ts';
import type { Grant } from '../../../src/authorization/grant.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const grant: Grant = {
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'tools', names: ['create_issue'] },
  effect: 'allow',
  scope: { workspace: 'ws-1', workspaceName: 'shop' },
  conditions: [{ test: 'equals', at: '/owner', value: 'acme' }],
  expiresAt: NOW + 3_600_000,
  uses: 3,
  createdAt: NOW - 1_000,
  givenBy: 'prompt',
  answers: ['grant-0'],
};

describe('a grant as a document', () => {
  const read = (text: string, of = grant) => readGrantText('grant', text, of, NOW);
  const body = (change: object) => JSON.stringify({ effect: 'allow', target: { kind: 'all-tools' }, ...change }, undefined, 2);
  const problem = (text: string) => {
    const found = read(text);
    assert.ok(!found.ok);
    return found.problems[0];
  };

  it('says the same after reading as before writing', () => {
    const result = read(grantText(grant, 'GitHub'));
    assert.ok(result.ok);
    assert.deepEqual({ version: 2, id: grant.id, createdAt: grant.createdAt, ...result.grant }, { ...grant, givenBy: 'editor' });
  });

  it('tells what is wrong at its place', () => {
    const wrong = problem(body({ conditions: [{ test: 'is', at: '/owner', value: 'acme' }] }));
    assert.equal(wrong?.line, 7);
    assert.match(problem('{ "effect": "allow"')?.message ?? '', /No valid JSON/);
    assert.match(problem(body({ effect: 'permit' }))?.message ?? '', /effect/);
    assert.match(problem(body({ server: 'srv-2' }))?.message ?? '', /server/);
    assert.match(problem('{"effect": "allow", "effect": "deny", "target": {"kind": "all-tools"}}')?.message ?? '', /twice/);
    assert.match(problem(body({ scope: { workspaceName: 'shop' } }))?.message ?? '', /A name alone narrows nothing/);
  });

  it('takes an end as an instant or a span from now, but none that is over', () => {
    const end = (expires: string) => {
      const result = read(body({ expires }));
      return result.ok ? result.grant.expiresAt : result.problems[0]?.message;
    };
    assert.equal(end('in 30 minutes'), NOW + 30 * 60_000);
    assert.equal(end('in 1 day'), NOW + 24 * 60 * 60_000);
    assert.equal(end('2026-06-01T16:00:00+02:00'), NOW + 2 * 3_600_000);
    assert.match(String(end('2026-06-01T12:00:00Z')), /over already/);
    assert.match(String(end('in 0 minutes')), /over already/);
    assert.match(String(end('tomorrow')), /Write an instant/);
    assert.match(String(end('2026-06-01T16:00:00')), /Write an instant/);
  });

  it('does not let an edit lift what the grant ends with, or widen whom a denial answers', () => {
    const bound: Grant = { ...grant, endsWith: { kind: 'task', task: 'task-1' } };
    const edited = read(body({}), bound);
    assert.ok(edited.ok);
    assert.deepEqual(edited.grant.endsWith, bound.endsWith);
    assert.match(grantText(bound, 'GitHub'), /ends with its task/);
    const denial = read(body({ effect: 'deny' }));
    assert.ok(denial.ok && denial.grant.answers === undefined);
  });

  it('keeps labels and reasons inside their comment', () => {
    const lines = grantText({ ...grant, why: 'x\n}' }, 'Git\nHub"}').split('\n');
    assert.ok(lines[0]?.startsWith('// A grant of Git Hub"}.'));
    assert.ok(lines[1]?.startsWith('// Grant: '));
    assert.equal(lines[2], '{');
  });

  it('has the schema that is shipped', () => {
    const shipped: unknown = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../../media/schemas/culvert-grant.schema.json'), 'utf8'),
    );
    assert.deepEqual(shipped, JSON.parse(JSON.stringify(grantSchema())), 'run node scripts/node.mjs scripts/schema.ts');
  });
});
