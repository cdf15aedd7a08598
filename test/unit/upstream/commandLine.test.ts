import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatCommandLine, parseCommandLine } from '../../../src/upstream/commandLine.ts';

describe('parseCommandLine', () => {
  for (const [line, command, args, environment] of [
    ['npx -y @scope/server', 'npx', ['-y', '@scope/server'], {}],
    [`  uvx  server\t--path '/a b/c' `, 'uvx', ['server', '--path', '/a b/c'], {}],
    ['A=1 B_2="x y" run', 'run', [], { A: '1', B_2: 'x y' }],
    ['run A=1', 'run', ['A=1'], {}],
    [String.raw`run a\ b "c\"d" 'e\f' ""`, 'run', ['a b', 'c"d', String.raw`e\f`, ''], {}],
    [`run pre'mid'"post"`, 'run', ['premidpost'], {}],
    [`run '$HOME' '|' \\;`, 'run', ['$HOME', '|', ';'], {}],
    [String.raw`run C:\\tools\\x`, 'run', [String.raw`C:\tools\x`], {}],
  ] as const)
    it(`reads ${line.trim()}`, () => assert.deepEqual(parseCommandLine(line), { command, args, environment }));

  for (const [line, words] of [
    ['', /Enter the command/],
    ['A=1', /Enter the command/],
    [`run 'open`, /quote is not closed/],
    ['run "open', /quote is not closed/],
    ['run \\', /ends in a backslash/],
    ['run $TOKEN', /\$ is not replaced.*secret/],
    ['run "a`id`"', /` is not replaced/],
    ['run | tee log', /without a shell/],
    ['run && other', /without a shell/],
    ['cd x; run', /without a shell/],
    ['run > log', /without a shell/],
    ['run 2>&1', /without a shell/],
  ] as const)
    it(`refuses ${JSON.stringify(line)} with a reason`, () => {
      const result = parseCommandLine(line);
      assert.ok(typeof result === 'string', JSON.stringify(result));
      assert.match(result, words);
    });

  it('reads back exactly what formatCommandLine writes', () => {
    const word = fc.string({ unit: 'binary', maxLength: 12 });
    const line = fc.record(
      {
        command: word.filter((text) => text.length > 0),
        args: fc.array(word, { maxLength: 5 }),
        environment: fc.dictionary(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/), word, { maxKeys: 3, noNullPrototype: true }),
      },
      { noNullPrototype: true },
    );
    fc.assert(fc.property(line, (command) => assert.deepEqual(parseCommandLine(formatCommandLine(command)), command)));
  });
});
