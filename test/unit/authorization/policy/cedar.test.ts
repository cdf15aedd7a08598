import assert from 'node:assert/strict';
import { CallArguments } from '../../../../src/authorization/arguments.ts';
import { loadCedarLayer, type PolicyText } from '../../../../src/authorization/policy/cedar.ts';
import { decide, type Call } from '../../../../src/authorization/decide.ts';
import type { Caller, Grant } from '../../../../src/authorization/grant.ts';
import type { PolicyLayer } from '../../../../src/authorization/policy/layer.ts';

const NOW = Date.UTC(2026, 5, 1, 12);
const principal: Caller = { client: 'vscode', window: 'win-1', workspace: 'ws', workspaceName: 'Shop', branch: 'main' };
const call: Call = {
  server: 'srv-1',
  serverLabel: 'GitHub',
  method: 'tools/call',
  tool: 'create_issue',
  reads: false,
  place: { kind: 'http', url: 'https://api.example.com/mcp' },
  credentials: ['github'],
  arguments: CallArguments.fromText('{"owner":"acme","issue":{"number":7},"force":true,"labels":["bug","x"],"ratio":0.5}'),
};
const all: Grant = {
  version: 2,
  id: 'grant-1',
  server: 'srv-1',
  target: { kind: 'all-tools' },
  effect: 'allow',
  scope: {},
  createdAt: NOW,
  givenBy: 'tree',
  endsWith: { kind: 'task', task: 'task-1' },
};
const file = (text: string): PolicyText => ({ source: '/etc/culvert/policy.cedar', text, protection: { ok: true } });
const PERMIT = 'permit(principal, action, resource);\n';
const under = (layer: PolicyLayer, part: Partial<Call> = {}) =>
  decide(principal, { ...call, ...part }, [all], { paused: false, layers: [layer] }, NOW, { taskRuns: () => true });

describe('the organisation’s policy in Cedar', function () {
  this.timeout(60_000);

  const when = (condition: string) => `${PERMIT}forbid(principal, action, resource) when { ${condition} };`;
  const table: readonly (readonly [string, string, Partial<Call>, 'allow' | 'ask' | 'deny'])[] = [
    ['nothing permits', '', {}, 'deny'],
    ['everything permitted', PERMIT, {}, 'allow'],
    ['the connection needs no permission', '', { method: 'initialize', tool: undefined }, 'allow'],
    ['one tool permitted', 'permit(principal, action == Action::"create_issue", resource);', {}, 'allow'],
    ['another tool permitted', 'permit(principal, action == Action::"get_issue", resource);', {}, 'deny'],
    ['tools permitted', 'permit(principal, action in Action::"tools", resource);', {}, 'allow'],
    ['resources permitted', 'permit(principal, action in Action::"resources", resource);', {}, 'deny'],
    ['a tool that is called like a group', 'permit(principal, action in Action::"resources", resource);', { tool: 'resources' }, 'deny'],
    [
      'a tool that is called like all of a group',
      'permit(principal, action == Action::"any of resources", resource);',
      { tool: 'any of resources' },
      'deny',
    ],
    ['by the real server', 'permit(principal, action, resource == Server::"https://api.example.com");', {}, 'allow'],
    ['by another server', 'permit(principal, action, resource == Server::"https://api.example.org");', {}, 'deny'],
    ['by host', when('resource.host like "*.example.com"'), {}, 'deny'],
    ['by command', when('resource.command like "npx *"'), { place: { kind: 'stdio', command: 'npx', args: ['x'] } }, 'deny'],
    ['by client', 'permit(principal == Client::"vscode", action, resource);', {}, 'allow'],
    ['by workspace', when('principal has workspace && principal.workspace == "Shop"'), {}, 'deny'],
    ['by text', when('context.texts.hasTag("/owner") && context.texts.getTag("/owner") == "acme"'), {}, 'deny'],
    ['by nested number', when('context.numbers.hasTag("/issue/number") && context.numbers.getTag("/issue/number") > 5'), {}, 'deny'],
    ['by flag', when('context.flags.hasTag("/force") && context.flags.getTag("/force")'), {}, 'deny'],
    ['by list', when('context.lists.hasTag("/labels") && context.lists.getTag("/labels").contains("bug")'), {}, 'deny'],
    ['by presence', when('context.paths.contains("/ratio")'), {}, 'deny'],
    ['by absence', when('!context.paths.contains("/other")'), {}, 'deny'],
    ['by what can’t be read', when('!context.readable'), { arguments: undefined }, 'deny'],
    ['by reading', when('!context.reads'), { reads: true }, 'allow'],
    ['by credential', when('context.credentials.contains("github")'), {}, 'deny'],
    ['by task', when('context has task && context.task == "task-1"'), {}, 'deny'],
    ['by time', when('context.time > datetime("2026-06-01")'), {}, 'deny'],
    ['by hour', when('context.hour < 24'), {}, 'deny'],
    ['asks', `${PERMIT}@effect("ask") forbid(principal, action, resource);`, {}, 'ask'],
    [
      'denies beside an ask',
      `${PERMIT}@effect("ask") forbid(principal, action, resource); forbid(principal, action, resource);`,
      {},
      'deny',
    ],
  ];
  for (const [what, text, part, expected] of table)
    it(`${what}: ${expected}`, async () => {
      const layer = await loadCedarLayer(file(text));
      assert.deepEqual(layer.problems, []);
      assert.equal(under(layer, part).effect, expected);
    });

  it('tells the rule and its reason', async () => {
    const rules = Array.from({ length: 12 }, (_, i) => `forbid(principal, action == Action::"tool${i}", resource);`).join('\n');
    const layer = await loadCedarLayer(
      file(
        `${PERMIT}${rules}\n@id("no issues")\n@reason("they are public")\nforbid(principal, action == Action::"create_issue", resource);`,
      ),
    );
    assert.deepEqual(under(layer).by, { kind: 'policy', layer: 'The organisation’s policy', rule: 'no issues' });
    assert.match(
      under(layer).reason,
      /is denied by the rule “no issues” of the organisation’s policy\. Only an administrator can change that\. The reason given: “they are public”/,
    );
    assert.deepEqual(under(layer, { tool: 'tool10' }).by, { kind: 'policy', layer: 'The organisation’s policy', rule: 'rule 12' });
  });

  it('denies where a rule fails, which Cedar would skip', async () => {
    const layer = await loadCedarLayer(
      file(
        when('context.texts.hasTag("/owner") && context.numbers.getTag("/issue/number") + 9223372036854775807 > 0').replace(
          'context.numbers.getTag("/issue/number")',
          '(if context.numbers.hasTag("/issue/number") then context.numbers.getTag("/issue/number") else 0)',
        ),
      ),
    );
    assert.deepEqual(layer.problems, []);
    const { effect, reason } = under(layer);
    assert.equal(effect, 'deny');
    assert.match(reason, /could not be evaluated/);
  });

  it('is not fooled by the names of arguments', async () => {
    const layer = await loadCedarLayer(file(when('context.texts.hasTag("/owner") && context.texts.getTag("/owner") == "evil"')));
    const of = (text: string) => under(layer, { arguments: CallArguments.fromText(text) }).effect;
    assert.equal(of('{"__proto__":"x","owner":"evil"}'), 'deny');
    assert.equal(of('{"__entity":{"type":"A","id":"b"},"__extn":{},"owner":"acme"}'), 'allow');
  });

  const broken: readonly (readonly [string, string, number, number, RegExp])[] = [
    ['no Cedar', `// é\n${PERMIT}forbid(principal, actio, resource);`, 2, 18, /actio/],
    ['an unknown attribute', `${PERMIT}forbid(principal, action, resource)\nwhen { context.nothing };`, 2, 7, /nothing/],
    [
      'a tag without asking for it',
      `${PERMIT}forbid(principal, action, resource) when {\n context.texts.getTag("/a") == "b" };`,
      2,
      1,
      /tag/i,
    ],
    ['an unknown type', 'permit(principal == User::"x", action, resource);', 0, 20, /User/],
    ['a template', 'permit(principal == ?principal, action, resource);', 0, 0, /template/],
    ['an effect that is none', '@effect("allow") forbid(principal, action, resource);', 0, 0, /only a forbid can have/],
  ];
  for (const [what, text, line, column, message] of broken)
    it(`denies everything and says where: ${what}`, async () => {
      const layer = await loadCedarLayer(file(text));
      const [problem] = layer.problems;
      assert.ok(problem);
      assert.match(problem.message, message);
      assert.deepEqual([problem.source, problem.line, problem.column], ['/etc/culvert/policy.cedar', line, column]);
      assert.equal(under(layer).effect, 'deny');
      assert.equal(under(layer, { method: 'initialize', tool: undefined }).effect, 'deny');
    });

  it('denies everything where the file is not protected', async () => {
    const layer = await loadCedarLayer({ ...file(PERMIT), protection: { ok: false, reason: 'It can be written by others.' } });
    assert.match(under(layer).reason, /It can be written by others/);
  });
});
