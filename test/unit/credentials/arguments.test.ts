import assert from 'node:assert/strict';
import { fillPlaceholders, mayHoldPlaceholder } from '../../../src/credentials/arguments.ts';
import { Secret } from '../../../src/credentials/secret.ts';
import { applyEdits } from '../../../src/mcp/json.ts';
import { readMessage } from '../../../src/mcp/message.ts';

const secret = new Secret('pa"ss\\wörd\n');
const mark = '${' + 'culvert:db}';
const values = [
  { placement: { kind: 'argument', placeholder: 'db', places: [{ tool: 'connect', argument: '/auth/password' }] }, secret } as const,
];

const fill = (args: unknown, tool = 'connect') => {
  const bytes = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: args } }));
  const read = readMessage(bytes);
  assert.ok(read.ok && read.message.arguments);
  assert.equal(mayHoldPlaceholder(bytes), true);
  const { edits, misplaced } = fillPlaceholders(bytes, read.message.arguments, tool, values);
  const { params } = JSON.parse(applyEdits(bytes, edits).toString()) as { params: { arguments: unknown } };
  return { args: params.arguments, misplaced };
};

describe('Placeholders in arguments', () => {
  it('become the value where the user bound it, whatever the value holds', () =>
    assert.deepEqual(fill({ auth: { password: `x${mark}y${mark}` }, n: [1, 'a'] }), {
      args: { auth: { password: `x${secret.expose()}y${secret.expose()}` }, n: [1, 'a'] },
      misplaced: [],
    }));

  for (const [what, args, tool] of [
    ['another argument', { auth: { user: mark } }, 'connect'],
    ['the same name at another level', { password: mark }, 'connect'],
    ['another tool', { auth: { password: mark } }, 'print'],
    ['a list', { auth: { password: [mark] } }, 'connect'],
  ] as const)
    it(`stay in ${what}, and are told`, () => {
      const result = fill(args, tool);
      assert.deepEqual(result.args, args);
      assert.equal(result.misplaced[0]?.placeholder, 'db');
    });

  it('of others are told beside a good one, and nothing is filled in that text', () => {
    const both = { auth: { password: `${mark} ${mark.replace('db', 'other')}` } };
    assert.deepEqual(fill(both).args, both);
    assert.deepEqual(fill(both).misplaced, [{ placeholder: 'other', argument: '/auth/password' }]);
  });

  it('in a key are no placeholders', () => assert.deepEqual(fill({ [mark]: 1 }).misplaced, []));
});
