import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readSystemPolicy } from '../../src/authorization/policy/systemFile.ts';
import { shadowPolicyPath } from '../../src/tunnel/policies.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { open, over, readUntil, rpc, send, toolCall } from '../support/agent.ts';
import { answerJson, beginStream, event, resultFor } from '../support/fakeServer.ts';
import { temporaryFolder } from '../support/folders.ts';
import { TestPolicies } from '../support/policies.ts';
import { callsOn, lastCall, newScene, type Scene } from '../support/tunnels.ts';
import { noteSecret } from '../support/noted.ts';

const ALLOW_ALL = 'permit(principal, action, resource);\n';

describe('policies above grants', () => {
  let scene: Scene;
  let files: ReturnType<typeof temporaryFolder>;
  let policies: TestPolicies;
  let tunnel: HeadlessTunnel;
  beforeEach(async () => {
    scene = await newScene();
    files = temporaryFolder();
    policies = new TestPolicies(files.path);
    tunnel = await scene.open({ policies, access: 'everything' });
  });
  afterEach(async () => {
    await scene.close();
    files.remove();
  });
  /** The reason of a denial; `undefined` if the call passed. */
  const call = async (tool = 'echo', args: unknown = {}) => {
    const before = scene.server.seen.length;
    const message = (await send(tunnel, { body: toolCall(tool, args) })).json().error?.message;
    assert.equal(
      scene.server.seen.length,
      before + (message === undefined ? 1 : 0),
      'the server saw what it must not, or did not what it should',
    );
    return message;
  };

  describe('each stop a call at once, and no more than they say', () => {
    const stops: Readonly<Record<string, { put: () => Promise<void> | void; take: () => Promise<void> | void; says: RegExp; by: RegExp }>> =
      {
        'the user’s rules': {
          put: () => {
            policies.rules = [[{ effect: 'deny', tools: ['delete_*'], reason: 'Never.' }]];
            return tunnel.policies?.reload();
          },
          take: () => {
            policies.rules = [];
            return tunnel.policies?.reload();
          },
          says: /denied by the user’s policy in settings \(rule 1\).*The reason given: “Never\.”/,
          by: /^rule 1$/,
        },
        'the workspace’s file': {
          put: () => policies.writeWorkspace({ version: 1, rules: [{ effect: 'deny', tools: ['delete_*'], name: 'keep' }] }),
          take: () => rmSync(policies.workspaceFile),
          says: /denied by the workspace’s policy \(keep\)/,
          by: /^keep$/,
        },
        'the organisation’s file': {
          put: () =>
            writeFileSync(
              policies.systemPath,
              `${ALLOW_ALL}@id("keep")\nforbid(principal, action == Action::"delete_all", resource) when { resource.host == "127.0.0.1" };\n`,
            ),
          take: () => rmSync(policies.systemPath),
          says: /denied by the rule “keep” of the organisation’s policy/,
          by: /^keep$/,
        },
      };
    for (const [what, { put, take, says, by }] of Object.entries(stops))
      it(what, async () => {
        assert.equal(await call('delete_all'), undefined);
        await put();
        assert.match((await call('delete_all')) ?? '', says);
        assert.equal(lastCall(tunnel).intent.effect, 'deny');
        assert.match(lastCall(tunnel).intent.decidedBy, by);
        assert.equal(await call('echo'), undefined);
        await take();
        assert.equal(await call('delete_all'), undefined);
        const acts = tunnel.core.audit
          .entries({ limit: 100 })
          .filter((e) => e.kind === 'act' && 'act' in e.body && e.body.act === 'policy-changed');
        assert.equal(acts.length, 2);
      });

    it('VS Code’s lists, by where the server really is', async () => {
      const set = async (lists: TestPolicies['lists']) => {
        policies.lists = lists;
        await tunnel.policies?.reload();
        return call();
      };
      assert.match((await set([{ denied: [{ serverUrl: `${scene.server.origin}/*` }] }])) ?? '', /on the list of denied servers/);
      assert.match((await set([{ allowed: [{ serverUrl: 'https://*.example.com/*' }] }])) ?? '', /not on the list of allowed servers/);
      assert.equal(await set([{ allowed: [{ serverUrl: `${scene.server.origin}/*` }] }]), undefined);
      assert.match((await set([{ access: 'none' }])) ?? '', /switched off/);
      assert.match((await set([{ denied: [{ serverUrl: 1 }] }])) ?? '', /chat\.mcp\.deniedServers, line 1: entry 1/);
      assert.equal(await set([]), undefined);
    });
  });

  it('see arguments: the organisation’s stops by them, and an unreadable one denies', async () => {
    writeFileSync(
      policies.systemPath,
      `${ALLOW_ALL}@id("production") @reason("The pipeline does that.")\nforbid(principal, action in Action::"tools", resource)\nwhen { context.texts.hasTag("/env") && context.texts.getTag("/env") == "production" };\n`,
    );
    assert.equal(await call('deploy', { env: 'staging' }), undefined);
    assert.match((await call('deploy', { env: 'production' })) ?? '', /“production” of the organisation’s policy.*The pipeline does that/);
    writeFileSync(
      policies.systemPath,
      `${ALLOW_ALL}forbid(principal, action, resource) when { context.texts.getTag("/missing") == "x" };\n`,
    );
    assert.match((await call('deploy', { env: 'staging' })) ?? '', /could not be evaluated|organisation’s policy/);
  });

  it('ask where they want a question, and no grant spares it', async () => {
    policies.writeWorkspace({ version: 1, rules: [{ effect: 'ask', writes: true }] });
    for (let i = 0; i < 2; i++) {
      const waiting = call('write', { i });
      await scene.approver.questions(i + 1);
      assert.equal(scene.approver.asked[i]?.lasting, false);
      scene.approver.answer(i, 'always');
      assert.equal(await waiting, undefined);
    }
  });

  it('only narrow: whatever a layer says, nothing passes that would not pass without it', async () => {
    const layers: (() => void)[] = [
      () => policies.writeWorkspace({ version: 1, rules: [{ effect: 'ask', tools: ['never'] }] }),
      () => policies.writeWorkspace({ version: 1, rules: [] }),
      () => writeFileSync(policies.systemPath, ALLOW_ALL),
      () => writeFileSync(policies.systemPath, `${ALLOW_ALL}@effect("ask")\nforbid(principal, action == Action::"never", resource);`),
    ];
    const { access } = tunnel.core;
    access.start(tunnel.serverId, 'nothing', 'tree');
    access.set(tunnel.serverId, { kind: 'tools', names: ['open'] }, 'allow', 'tree');
    access.set(tunnel.serverId, { kind: 'tools', names: ['closed'] }, 'deny', 'tree');
    for (const put of layers) {
      put();
      assert.equal(await call('open'), undefined);
      for (const tool of ['closed', 'unknown', 'never']) assert.notEqual(await call(tool), undefined, tool);
    }
    policies.rules = [[{ effect: 'ask', tools: ['closed'] }]];
    policies.lists = [{ allowed: [{ serverUrl: '*' }], access: 'all' }];
    await tunnel.policies?.reload();
    for (const tool of ['closed', 'unknown']) assert.notEqual(await call(tool), undefined, tool);
    assert.equal(scene.approver.asked.length, 0);
  });

  it('in shadow mode stop nothing', async () => {
    policies.rules = [[{ effect: 'deny' }]];
    policies.shadow = true;
    await tunnel.policies?.reload();
    writeFileSync(shadowPolicyPath(policies.systemPath), 'this is no Cedar');
    await tunnel.policies?.check(true);
    assert.equal(await call(), undefined);
    assert.deepEqual(lastCall(tunnel).intent.shadow, [
      'The user’s policy in settings: deny (rule 1)',
      'The organisation’s policy: deny (invalid)',
    ]);
    assert.deepEqual(
      tunnel.policies?.layers().map((l) => [l.name, l.shadow]),
      [
        ['The user’s policy in settings', true],
        ['The organisation’s policy', true],
      ],
    );
  });

  it('and grants have a digest on the record, which changes with them', async () => {
    const digest = async () => {
      await call();
      return lastCall(tunnel).intent.policyDigest;
    };
    const seen = [await digest()];
    assert.match(seen[0] ?? '', /^[0-9a-f]{64}$/);
    assert.equal(await digest(), seen[0]);
    policies.writeWorkspace({ version: 1, rules: [{ effect: 'deny', tools: ['x'] }] });
    seen.push(await digest());
    tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['y'] }, 'deny', 'tree');
    seen.push(await digest());
    tunnel.core.access.startTask({ name: 'T', servers: [], durationMs: 60_000 }, []);
    seen.push(await digest());
    assert.equal(new Set(seen).size, seen.length);
  });

  describe('that are broken', () => {
    it('deny, with file, line and reason, and the fixed file allows again', async () => {
      policies.writeWorkspace('{\n  "version": 1,\n  "rules": [\n    { "effect": "allow" }\n  ]\n}\n');
      const denied = (await call()) ?? '';
      assert.ok(denied.includes(`${policies.workspaceFile}, line 4: rules.0.effect`), denied);
      const [problem] = tunnel.policies?.problems() ?? [];
      assert.deepEqual([problem?.source, problem?.line], [policies.workspaceFile, 3]);
      // Not even a connection is begun.
      assert.notEqual((await send(tunnel, { body: rpc('initialize') })).json().error, undefined);
      policies.writeWorkspace({ version: 1, rules: [] });
      assert.equal(await call(), undefined);
      assert.deepEqual(tunnel.policies?.problems(), []);
    });

    it('the organisation’s too', async () => {
      writeFileSync(policies.systemPath, 'permit(principal, action, resource);\n\npermit(principal, action resource);\n');
      const denied = (await call()) ?? '';
      assert.ok(denied.includes(`${policies.systemPath}, line 3: `), denied);
      writeFileSync(policies.systemPath, ALLOW_ALL);
      assert.equal(await call(), undefined);
    });

    it('and so does a rule that misses its schema, or a setting that makes no sense', async () => {
      writeFileSync(policies.systemPath, `${ALLOW_ALL}forbid(principal, action, resource) when { resource.nothing == 1 };`);
      assert.ok((await call())?.includes(policies.systemPath));
      rmSync(policies.systemPath);
      policies.rules = [[{ effect: 'allow' }]];
      await tunnel.policies?.reload();
      assert.match((await call()) ?? '', /culvert\.policy\.rules, line 1: 0\.effect/);
    });

    it('end open streams; an agent’s own stream waits for the end of it', async () => {
      const other = await scene.open({ policies, access: 'everything', present: true, stateFolder: undefined as never });
      scene.server.behave = (seen, response) => {
        if (seen.method !== 'GET') return answerJson(response, resultFor(seen, {}), 200, { 'mcp-session-id': 's-1' });
        beginStream(response);
        response.write(event({ jsonrpc: '2.0', method: 'notifications/message', params: {} }));
      };
      await send(other, { body: rpc('initialize') });
      const headers = { 'mcp-session-id': 's-1' };
      const stream = await open(other, { method: 'GET', headers }).response;
      await readUntil(stream, 'notifications/message');
      const ended = over(stream);
      policies.writeWorkspace('no JSON');
      await other.policies?.check();
      assert.equal(await ended, 'broken');
      const held = await open(other, { method: 'GET', headers }).response;
      await readUntil(held, ': culvert');
      const released = over(held);
      rmSync(policies.workspaceFile);
      await other.policies?.check();
      assert.equal(await released, 'end');
    });
  });

  describe('of a hostile workspace never widen', () => {
    beforeEach(async () => {
      tunnel.core.access.start(tunnel.serverId, 'nothing', 'tree');
      policies.rules = [[{ effect: 'deny', tools: ['open'] }]];
      tunnel.core.access.set(tunnel.serverId, { kind: 'tools', names: ['open', 'other'] }, 'allow', 'tree');
      await tunnel.policies?.reload();
    });
    const secret = noteSecret(['ghp', 'notASecretButLooksLikeOne'].join('_'));
    const hostile: Readonly<Record<string, () => void>> = {
      'that says allow': () => policies.writeWorkspace({ version: 1, rules: [{ effect: 'allow' }] }),
      'with grants': () => policies.writeWorkspace({ version: 1, rules: [], grants: [{ effect: 'allow' }] }),
      'with settings': () =>
        policies.writeWorkspace({ version: 1, rules: [], 'culvert.policy.mode': 'shadow', shadow: true, paused: false }),
      'of another version': () => policies.writeWorkspace({ version: 2, rules: [] }),
      'that says everything twice': () => policies.writeWorkspace('{"version":1,"rules":[],"rules":[]}'),
      'with a prototype': () => policies.writeWorkspace('{"version":1,"rules":[],"__proto__":{"effect":"allow"}}'),
      'that is empty': () => policies.writeWorkspace(''),
      'with bytes that are no text': () => {
        policies.writeWorkspace('{}');
        writeFileSync(policies.workspaceFile, Buffer.from([0x7b, 0xff, 0x7d]));
      },
      'that is huge': () => policies.writeWorkspace(' '.repeat(300 * 1024)),
      'that is deep': () => policies.writeWorkspace('['.repeat(100_000)),
      'that is a link': () => {
        writeFileSync(join(files.path, 'elsewhere.json'), JSON.stringify({ version: 1, rules: [], [secret]: 1 }));
        mkdirSync(dirname(policies.workspaceFile));
        symlinkSync(join(files.path, 'elsewhere.json'), policies.workspaceFile);
      },
      'behind a link': () => {
        mkdirSync(join(files.path, 'elsewhere'));
        writeFileSync(join(files.path, 'elsewhere', 'culvert.json'), JSON.stringify({ version: 1, rules: [], [secret]: 1 }));
        symlinkSync(join(files.path, 'elsewhere'), dirname(policies.workspaceFile));
      },
      'that is a link to nothing': () => {
        mkdirSync(dirname(policies.workspaceFile));
        symlinkSync(join(files.path, 'nothing'), policies.workspaceFile);
      },
      'that is a folder': () => mkdirSync(policies.workspaceFile, { recursive: true }),
      ...(process.platform === 'win32'
        ? {}
        : {
            'that is a pipe': () => {
              mkdirSync(dirname(policies.workspaceFile));
              execFileSync('mkfifo', [policies.workspaceFile]);
            },
          }),
    };
    for (const [what, put] of Object.entries(hostile))
      it(`with a file ${what}`, async () => {
        put();
        for (const tool of ['open', 'other', 'unknown']) {
          const denied = (await call(tool)) ?? '';
          assert.match(denied, /Culvert denied this call/);
          assert.ok(!denied.includes(secret), 'what a link leads to was told to the agent');
        }
        assert.equal(tunnel.policies?.problems()[0]?.source, policies.workspaceFile);
        rmSync(dirname(policies.workspaceFile), { recursive: true });
        assert.equal(await call('other'), undefined);
        assert.notEqual(await call('open'), undefined);
      });

    it('with a good file that is sound', async () => {
      policies.writeWorkspace({ version: 1, rules: [{ effect: 'ask', tools: ['unknown'] }] });
      assert.equal(await call('other'), undefined);
      for (const tool of ['open', 'unknown']) assert.notEqual(await call(tool), undefined);
      assert.equal(scene.approver.asked.length, 0);
    });

    it('with a file that takes the place of another in one step', async () => {
      policies.writeWorkspace({ version: 1, rules: [{ effect: 'deny' }] });
      assert.notEqual(await call('other'), undefined);
      for (let i = 0; i < 20; i++) {
        const deny = i % 2 === 0;
        writeFileSync(
          `${policies.workspaceFile}.new`,
          JSON.stringify({ version: 1, rules: deny ? [{ effect: 'deny' }] : [{ effect: 'deny', tools: ['x'] }] }),
        );
        renameSync(`${policies.workspaceFile}.new`, policies.workspaceFile);
        assert.equal((await call('other')) !== undefined, deny, String(i));
      }
    });
  });

  it('hold for the very next call, a hundred times over', async () => {
    for (let i = 0; i < 100; i++) {
      // Of the same length: only the time tells them apart.
      policies.writeWorkspace({ version: 1, rules: [{ effect: 'deny', tools: [i % 2 === 0 ? 'echo' : 'ohce'] }] });
      assert.equal((await call()) !== undefined, i % 2 === 0, String(i));
    }
    assert.equal(callsOn(tunnel).filter((c) => c.intent.effect === 'deny').length, 50);
  });

  it('the organisation’s counts only from a protected file', async () => {
    writeFileSync(policies.systemPath, ALLOW_ALL);
    const system = policies.system!;
    assert.equal((await readSystemPolicy(system, policies.systemPath))?.protection.ok, true);
    const open = { ...system, canWrite: async () => true, uid: 1000 };
    assert.equal((await readSystemPolicy(open, policies.systemPath))?.protection.ok, false);
  });
});
