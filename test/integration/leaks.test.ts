import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { effectiveLeakPolicy } from '../../src/inspection/leakPolicy.ts';
import type { LeakAnswer, LeakAsker, LeakQuestion } from '../../src/inspection/leakQuestions.ts';
import { commandDigest, type CommandPlace } from '../../src/mcp/server.ts';
import { send, toolCall } from '../support/agent.ts';
import { temporaryFolder } from '../support/folders.ts';
import { answerJson, beginStream, event, idOf, resultFor } from '../support/fakeServer.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';
import { newScene, recordText, type Scene } from '../support/tunnels.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { noteSecret } from '../support/noted.ts';

const require = createRequire(import.meta.url);

/** Made up, of a format that a rule knows; put together here so that no scanner takes it for a live one. */
const patterned = (seed: string) => noteSecret(['glpat', '-', `${seed}Xk29QfLm7Zt3WvRb8Yc`.slice(0, 20)].join(''));

const call = (door: HeadlessTunnel, tool: string, args: unknown) => send(door, { body: toolCall(tool, args) });

class Answers implements LeakAsker {
  readonly asked: LeakQuestion[] = [];
  next: LeakAnswer = 'no';

  ask(question: LeakQuestion): Promise<LeakAnswer> {
    this.asked.push(question);
    return Promise.resolve(this.next);
  }
}

describe('leaks', () => {
  let scene: Scene;
  let tunnel: HeadlessTunnel;
  const answers = new Answers();
  const value = madeUpSecret('leaks');

  beforeEach(async () => {
    scene = await newScene();
    answers.asked.length = 0;
    answers.next = 'no';
    tunnel = await scene.open({
      auth: { placement: { kind: 'bearer' }, value, name: 'demo' },
      leakAsker: answers,
      approvalTimeoutMs: 60_000,
    });
  });
  afterEach(() => scene.close());

  const findings = () => tunnel.core.findings.list({ dismissed: false });

  describe('towards the model', () => {
    const token = patterned('In1');
    const holds: readonly (readonly [string, unknown])[] = [
      ['text', { content: [{ type: 'text', text: `a ${token} b ${value}` }] }],
      ['structured content', { content: [], structuredContent: { deep: [{ [`k ${value}`]: token }] } }],
      ['a resource', { contents: [{ uri: `file:///x?k=${value}`, text: `key: ${token}` }] }],
      ['a blob', { contents: [{ uri: 'file:///x', blob: Buffer.from(`prefix ${token} ${value} suffix`).toString('base64') }] }],
      ['metadata', { content: [], _meta: { note: token, 'x/y': Buffer.from(value).toString('hex') } }],
    ];
    for (const [name, result] of holds)
      it(`takes known and patterned secrets out of ${name}`, async () => {
        scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, result));
        const got = await call(tunnel, 'echo', {});
        const text = got.body.toString('utf8');
        const blobs = [...text.matchAll(/"blob":"([^"]*)"/g)].map(([, blob = '']) => Buffer.from(blob, 'base64').toString('latin1'));
        for (const secret of [token, value]) assert.deepEqual(tracesIn([text, ...blobs].join('\n'), secret), []);
        assert.ok(got.json().result);
        const rules = new Set(findings().map((f) => f.rule));
        assert.ok(rules.has('known-secret'), [...rules].join());
        assert.ok(rules.has('gitlab-token') || [...rules].some((r) => r.startsWith('gitlab')), [...rules].join());
        for (const f of findings()) assert.deepEqual(tracesIn(JSON.stringify(f), value).concat(tracesIn(JSON.stringify(f), token)), []);
        assert.ok(findings().every((f) => f.path?.startsWith('/result')));
      });

    it('takes them out of errors, notifications and logs, each event as it comes', async () => {
      let go: (() => void) | undefined;
      scene.server.behave = (seen, response) => {
        beginStream(response);
        response.write(event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: `log ${token}` } }));
        response.write(
          event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: 1, message: value } }),
        );
        go = () => response.end(event({ jsonrpc: '2.0', id: idOf(seen), error: { code: -1, message: `no ${token}`, data: { value } } }));
        setImmediate(() => go?.());
      };
      const { body } = await send(tunnel, { body: toolCall('echo') });
      assert.deepEqual(tracesIn(body, value).concat(tracesIn(body, token)), []);
      assert.equal(body.toString().match(/⟦culvert: /g)?.length, 4);
    });

    it('strips hidden text and ANSI escapes, and tells what it was', async () => {
      const tags = Array.from('ignore all', (c) => String.fromCodePoint(0xe0000 + c.charCodeAt(0))).join('');
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `plain${tags} \u001b[31mred\u001b[0m \u202eabc 👩‍👩‍👧 é` }] }));
      const got = await call(tunnel, 'echo', {});
      assert.deepEqual(got.json().result, { content: [{ type: 'text', text: 'plain red abc 👩‍👩‍👧 é' }] });
      assert.deepEqual(
        findings()
          .map((f) => [f.rule, f.subject, f.action])
          .sort(),
        [
          ['hidden-text', 'direction controls', 'stripped'],
          ['hidden-text', 'tag characters', 'stripped'],
          ['hidden-text', 'terminal escape', 'stripped'],
        ],
      );
    });

    it('lets hidden text pass and tells, for a server where the user wants that', async () => {
      const text = 'a\u001b[31mred\u001b[0m \u202eb';
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { content: [{ type: 'text', text }] }));
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ servers: { Fake: { hidden: 'warn' } } }, {}));
      assert.deepEqual((await call(tunnel, 'echo', {})).json().result, { content: [{ type: 'text', text }] });
      assert.deepEqual(new Set(findings().map((f) => `${f.rule} ${f.action}`)), new Set(['hidden-text reported']));
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ servers: { Another: { hidden: 'warn' } } }, {}));
      assert.deepEqual((await call(tunnel, 'echo', {})).json().result, { content: [{ type: 'text', text: 'ared b' }] });
    });

    it('keeps structured results as their schema wants them', async () => {
      scene.server.behave = (seen, response) => {
        const { method } = JSON.parse(seen.body.toString()) as { method: string };
        if (method === 'tools/list')
          answerJson(
            response,
            resultFor(seen, {
              tools: [
                {
                  name: 'echo',
                  inputSchema: { type: 'object' },
                  outputSchema: {
                    type: 'object',
                    properties: {
                      short: { type: 'string', maxLength: 28 },
                      shaped: { type: 'string', pattern: '^glpat-[A-Za-z0-9]{20}$' },
                      free: { type: 'string' },
                      list: { type: 'array', items: { $ref: '#/$defs/n' } },
                    },
                    $defs: { n: { type: 'integer' } },
                  },
                },
              ],
            }),
          );
        else answerJson(response, resultFor(seen, { structuredContent: { short: `- ${token}`, shaped: token, free: token, list: [1] } }));
      };
      await send(tunnel, { body: { jsonrpc: '2.0', id: 1, method: 'tools/list' } });
      const { structuredContent: out } = (await call(tunnel, 'echo', {})).json().result as { structuredContent: Record<string, string> };
      assert.equal(out['short'], `- ${'*'.repeat(token.length)}`);
      assert.match(out['shaped'] ?? '', /^aaaaa-[aA0]{20}$/);
      assert.match(out['free'] ?? '', /^⟦culvert: [\w-]+ redacted⟧$/);
    });

    it('never fails a call for a large answer, and finds what is in it', async () => {
      const filler = 'the quick brown fox, 4711 times; '.repeat(20_000);
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `${filler}\n${value} ${filler} "${token}"` }] }));
      const got = await call(tunnel, 'echo', {});
      assert.deepEqual(tracesIn(got.body, value).concat(tracesIn(got.body, token)), []);
      const { text = '' } = (got.json().result as { content: { text: string }[] }).content[0] ?? {};
      assert.equal(text.length > 1_300_000 && text.startsWith(filler), true);
      assert.deepEqual(new Set(findings().map((f) => f.action)), new Set(['redacted']));
    });

    it('looks at a list once per version, and redacts it every time', async () => {
      let description = `uses ${token}`;
      scene.server.behave = (seen, response) =>
        answerJson(
          response,
          resultFor(seen, { tools: [{ name: 'echo', description, inputSchema: { type: 'object', description: 'x'.repeat(3_000) } }] }),
        );
      const list = async (id: number) => (await send(tunnel, { body: { jsonrpc: '2.0', id, method: 'tools/list' } })).body.toString();
      const count = () => findings().find((f) => f.rule.startsWith('gitlab'))?.count;
      assert.ok(!(await list(1)).includes(token));
      assert.equal(count(), 1);
      assert.ok(!(await list(2)).includes(token));
      assert.equal(count(), 1);
      description = `now ${token}`;
      assert.ok(!(await list(3)).includes(token));
      assert.equal(count(), 2);
    });

    it('passes on handles as they are, but for what the vault holds', async () => {
      const jwt = ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiJtYWRlLXVwIiwibiI6MTIzNDU2fQ', 'q7Lm2XvRb4Nw8ZcHt6Yp3KdGs5Jf1WaUe0Qi9Pv'].join('.');
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { nextCursor: jwt, note: jwt, other: [] }), 200, { 'mcp-session-id': jwt });
      const got = await send(tunnel, { body: { jsonrpc: '2.0', id: 1, method: 'resources/list' } });
      const result = got.json().result as { nextCursor: string; note: string };
      assert.equal(result.nextCursor, jwt);
      assert.ok(!result.note.includes(jwt));
      assert.equal(got.headers['mcp-session-id'], jwt);
    });

    it('does as the settings say: lets pass, or blocks', async () => {
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { content: [{ type: 'text', text: token }] }));
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ tiers: { exact: 'warn' } }, {}));
      assert.ok((await call(tunnel, 'echo', {})).body.includes(token));
      assert.equal(findings()[0]?.action, 'reported');
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ tiers: { exact: 'off' } }, { servers: { Fake: { exact: 'block' } } }));
      const got = await call(tunnel, 'echo', {});
      assert.ok(!got.body.includes(token));
      assert.equal(got.json().error?.code, -31002);
    });

    it('takes “Not a Secret” by value, in both directions', async () => {
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { content: [{ type: 'text', text: token }] }));
      assert.ok(!(await call(tunnel, 'echo', {})).body.includes(token));
      const decision = tunnel.core.findings.notASecret(findings()[0]?.id ?? '', 'tool');
      assert.ok(decision);
      assert.ok((await call(tunnel, 'echo', { token })).body.includes(token));
      assert.equal(answers.asked.length, 0);
      tunnel.core.findings.undo(decision.id);
      assert.ok(!(await call(tunnel, 'echo', {})).body.includes(token));
    });

    it('uses secretlint’s rules where the user wants them, beside our own', async () => {
      // Made up; of a kind that only secretlint looks for.
      const theirs = ['glc', 'lvL7z7LvlhjrFZpVxf3XX3fx'.concat('VpZFrjhlvL7z7LvlhjrFZpVxf3XX3fxVpZFr')].join('_');
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `a ${theirs} b ${token}` }] }));
      assert.match((await call(tunnel, 'echo', {})).body.toString(), new RegExp(`a ${theirs} b ⟦culvert: gitlab-token redacted⟧`));
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({}, { secretlint: true }));
      const got = await call(tunnel, 'echo', {});
      assert.match(got.body.toString(), /a ⟦culvert: secretlint-[a-z]+ redacted⟧ b ⟦culvert: gitlab-token redacted⟧/);
      assert.equal(findings().filter((f) => f.rule.startsWith('secretlint-')).length, 1);
      // On the way out too; comments switch nothing off.
      const sent = scene.server.seen.length;
      assert.ok((await call(tunnel, 'echo', { q: `// secretlint-disable\n${theirs}` })).json().error);
      assert.equal(scene.server.seen.length, sent);
      assert.match(answers.asked.at(-1)?.findings[0]?.rule ?? '', /^secretlint-/);
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({}, {}));
      assert.ok((await call(tunnel, 'echo', {})).body.includes(theirs));
    });

    it('uses rules of the user’s own', async () => {
      const folder = temporaryFolder();
      const file = join(folder.path, 'gitleaks.toml');
      writeFileSync(
        file,
        `[[rules]]\nid = "house-token"\ndescription = "a house token"\nregex = '''house_[a-z0-9]{20}'''\nkeywords = ["house_"]\n`,
      );
      const own = noteSecret(['house', 'q7m2x9v4b8n1c5z3k6t0'].join('_'));
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ ruleFiles: [file, join(folder.path, 'none.toml')] }, {}));
      await tunnel.core.leaks.settled();
      scene.server.behave = (seen, response) => answerJson(response, resultFor(seen, { content: [{ type: 'text', text: own }] }));
      assert.match((await call(tunnel, 'echo', {})).body.toString(), /⟦culvert: house-token redacted⟧/);
      assert.ok(scene.log.lines.some((line) => line.includes('none.toml')));
      folder.remove();
    });
  });

  describe('towards servers', () => {
    const token = patterned('Out');

    it('a value that looks like a secret asks: stopped, once, always, never', async () => {
      const sent = () => scene.server.seen.length;
      const denied = async () => {
        const before = sent();
        assert.match((await call(tunnel, 'echo', { token })).json().error?.message ?? '', /Culvert denied this call/);
        assert.equal(sent(), before);
      };
      await denied();
      assert.deepEqual(
        answers.asked.map(({ tool, lasting, findings: [f] }) => [tool, lasting, f?.path]),
        [['echo', true, '/params/arguments/token']],
      );
      assert.deepEqual(tracesIn(JSON.stringify(answers.asked), token), []);
      answers.next = 'once';
      assert.ok((await call(tunnel, 'echo', { token })).json().result);
      answers.next = 'always';
      assert.ok((await call(tunnel, 'echo', { token })).json().result);
      assert.ok((await call(tunnel, 'echo', { token: patterned('Two') })).json().result);
      assert.equal(answers.asked.length, 3);
      answers.next = 'never';
      assert.match((await call(tunnel, 'other', { token })).json().error?.message ?? '', /Culvert denied this call/);
      answers.next = 'once';
      assert.match((await call(tunnel, 'other', { token })).json().error?.message ?? '', /never goes to this tool/);
      assert.equal(answers.asked.length, 4);
      assert.deepEqual(tracesIn(recordText(tunnel), token), []);
      for (const decision of tunnel.core.findings.decisions()) tunnel.core.findings.undo(decision.id);
      const acts = [...recordText(tunnel).matchAll(/"act":"(leak-decided)".*?"detail":"([\w ]+)"/g)].map(
        ([, act, detail]) => `${act}: ${detail}`,
      );
      assert.deepEqual(acts.sort(), ['leak-decided: may leave with echo', 'leak-decided: never leaves with other']);
      answers.next = 'no';
      await denied();
    });

    it('an answer holds in other windows and after a restart, for this tool and kind only, until it is taken back', async () => {
      const other = await newScene();
      const shared = { vault: new MemorySecretStore(), stateFolder: other.state.path, leakAsker: answers, approvalTimeoutMs: 60_000 };
      const [first, second] = [await other.open(shared), await other.open(shared)];
      const passes = async (door: HeadlessTunnel, tool: string, seed = 'Out') =>
        (await call(door, tool, { token: patterned(seed) })).json().error === undefined;
      answers.next = 'always';
      assert.equal(await passes(first, 'send'), true);
      answers.next = 'never';
      assert.equal(await passes(first, 'keep'), false);
      answers.next = 'no';
      const asked = answers.asked.length;
      assert.deepEqual([await passes(second, 'send', 'Two'), await passes(second, 'keep')], [true, false]);
      await other.closeTunnels();
      const third = await other.open(shared);
      assert.deepEqual([await passes(third, 'send', 'New'), await passes(third, 'keep', 'New')], [true, false]);
      assert.equal(answers.asked.length, asked);
      // Another tool, and another kind of value, is asked about as before.
      assert.equal(await passes(third, 'another'), false);
      const kind = ['npm', '_', 'q7LmTz5Vn2Ex3UgPo8Ij6RyCwAa1SdFk4Gh9'].join('');
      assert.ok((await call(third, 'send', { q: `Authorization: Bearer ${kind}` })).json().error);
      assert.equal(answers.asked.length, asked + 2);
      for (const { id } of third.core.findings.decisions()) third.core.findings.undo(id);
      assert.deepEqual([await passes(third, 'send'), await passes(third, 'keep')], [false, false]);
      assert.equal(answers.asked.length, asked + 4);
      await other.close();
    });

    it('is stopped without a question where nobody can be asked, and where the settings say so', async () => {
      tunnel.core.leaks.setPolicy(effectiveLeakPolicy({ tiers: { exact: 'block' } }, {}));
      assert.ok((await call(tunnel, 'echo', { token })).json().error);
      assert.equal(answers.asked.length, 0);
      const other = await newScene();
      const alone = await other.open({ approvalTimeoutMs: 60_000 });
      assert.match((await call(alone, 'echo', { token })).json().error?.message ?? '', /did not answer/);
      await other.close();
      await other.close();
    });

    it('an answer of the user to a server is looked at too', async () => {
      const other = noteSecret(['other', 'Kd7Qm2Xv', '9Rb4Nw8Z', 'cHt6Yp3'].join('_'));
      await tunnel.core.credentials.seal('other', { kind: 'bearer' }, ['https://other.example'], new Secret(other));
      await tunnel.core.ready();
      scene.server.behave = (seen, response) => {
        const { method } = JSON.parse(seen.body.toString()) as { method?: string };
        if (method === 'tools/call') {
          beginStream(response);
          response.end(event({ jsonrpc: '2.0', id: 77, method: 'elicitation/create', params: { message: '?', requestedSchema: {} } }));
        } else response.writeHead(202).end();
      };
      await send(tunnel, { body: toolCall('echo') });
      const before = scene.server.seen.length;
      await send(tunnel, { body: { jsonrpc: '2.0', id: 77, result: { action: 'accept', content: { key: other } } } });
      assert.equal(scene.server.seen.length, before);
      assert.ok(findings().some((f) => f.subject === 'other' && f.direction === 'to-server' && f.action === 'blocked'));
    });

    it('fragments are added up over calls of one session, and asked about', async () => {
      const other = noteSecret(['Kd7Qm2Xv', '9Rb4Nw8Z', 'cHt6Yp3G', 's5Jf1WaU', 'e0Qi9PvL'].join(''));
      await tunnel.core.credentials.seal('other', { kind: 'bearer' }, ['https://other.example'], new Secret(other));
      await tunnel.core.ready();
      const pieces = other.match(/.{8}/g) ?? [];
      const results = [];
      for (const [i, piece] of pieces.entries()) results.push((await call(tunnel, `tool${i}`, { q: `x ${piece} y` })).json());
      assert.deepEqual(
        results.map((r) => r.error === undefined),
        [true, true, false, false, false],
      );
      assert.match(results[2]?.error?.message ?? '', /“other”, piece by piece/);
      // The same piece again is stopped again; the user can let it go, and the sum begins anew.
      assert.ok((await call(tunnel, 'tool2', { q: pieces[2] })).json().error);
      answers.next = 'once';
      assert.ok((await call(tunnel, 'tool2', { q: pieces[2] })).json().result);
      assert.equal(answers.asked.at(-1)?.lasting, false);
    });
  });

  describe('canaries', () => {
    it('tell which way they took, inwards and outwards, and open nothing', async () => {
      const folder = temporaryFolder();
      const path = join(folder.path, '.env.production');
      const { canary, value: planted } = await tunnel.core.leaks.canaries.plant('github-token', 'Decoy in .env', { kind: 'file', path });
      assert.equal(readFileSync(path, 'utf8'), `GITHUB_TOKEN=${planted}\n`);
      await assert.rejects(tunnel.core.leaks.canaries.plant('password', 'Twice', { kind: 'file', path }), /EEXIST/);
      assert.deepEqual(
        tunnel.core.leaks.canaries.list().map(({ name }) => name),
        ['Decoy in .env'],
      );
      scene.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { content: [{ type: 'text', text: readFileSync(path, 'utf8') }] }));
      const got = await call(tunnel, 'read', {});
      assert.deepEqual(tracesIn(got.body, planted), []);
      assert.ok(!/canary|decoy/i.test(got.body.toString()));
      const [found] = findings();
      assert.deepEqual(
        [found?.rule, found?.tier, found?.severity, found?.subject, found?.tool, found?.path],
        ['canary', 'canary', 'high', 'Decoy in .env', 'read', '/result/content/0/text'],
      );
      const out = await call(tunnel, 'send', { text: Buffer.from(planted).toString('base64') });
      assert.ok(out.json().error);
      assert.ok(!/canary|decoy/i.test(out.body.toString()));
      assert.ok(findings().some((f) => f.rule === 'canary' && f.direction === 'to-server' && f.action === 'blocked'));
      await tunnel.core.leaks.canaries.remove(canary.id);
      assert.ok(existsSync(path));
      assert.equal(tunnel.core.leaks.canaries.list().length, 0);
      folder.remove();
    });

    it('are known to another window once it looks, and after a restart, until they are removed', async () => {
      const vault = new MemorySecretStore();
      const other = await newScene();
      const shared = { vault, stateFolder: other.state.path, leakAsker: answers, approvalTimeoutMs: 60_000 };
      const [first, second] = [await other.open(shared), await other.open(shared)];
      const noticed = new Promise((resolve) => second.core.leaks.canaries.onDidChange(resolve));
      const { canary, value: planted } = await first.core.leaks.canaries.plant('aws-key', 'Decoy', { kind: 'vault' });
      await noticed;
      await second.core.ready();
      other.server.behave = (seen, response) =>
        answerJson(response, resultFor(seen, { content: [{ type: 'text', text: `k ${planted}` }] }));
      const alarms = (door: HeadlessTunnel) => door.core.findings.list({ dismissed: false }).filter((f) => f.rule === 'canary');
      const takenOut = async (door: HeadlessTunnel, tool: string) => {
        const got = await call(door, tool, {});
        assert.deepEqual(tracesIn(got.body, planted), []);
        assert.ok(
          alarms(door).some(
            (f) => f.tool === tool && f.subject === 'Decoy' && f.server === door.serverId && f.path === '/result/content/0/text',
          ),
          tool,
        );
      };
      await takenOut(second, 'in-the-other-window');
      await other.closeTunnels();
      const third = await other.open(shared);
      await takenOut(third, 'after-a-restart');
      await third.core.leaks.canaries.remove(canary.id);
      assert.ok((await call(third, 'removed', {})).body.includes(planted));
      await other.closeTunnels();
      const fourth = await other.open(shared);
      assert.ok((await call(fourth, 'removed', {})).body.includes(planted));
      await other.close();
    });
  });

  it('a real file server hands out no planted secret: text, JSON, key files, encoded ones, images', async () => {
    const folder = temporaryFolder();
    const root = realpathSync(folder.path);
    const token = patterned('Fil');
    const files: Record<string, string | Buffer> = {
      'config.json': JSON.stringify({ a: { token, escaped: 'é\n\t"x"' } }),
      '.env': `TOKEN=${value}\nOTHER='${token}'\n`,
      'encoded.txt': Buffer.from(`x ${value} y`).toString('base64'),
      'hex.txt': Buffer.from(value).toString('hex'),
      'spaced.txt': Array.from(value).join(' '),
      'image.png': Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(`tEXtComment\0${value} and ${token}`)]),
    };
    mkdirSync(join(root, 'sub'));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(root, name), content);
    const command = process.execPath;
    const main = join(require.resolve('@modelcontextprotocol/server-filesystem/package.json'), '../dist/index.js');
    const place: CommandPlace = { kind: 'stdio', command, args: [main, root] };
    const other = await newScene();
    const real = await other.open({
      upstream: { place: { ...place, confirmed: commandDigest(place) }, label: 'Files' },
      auth: { placement: { kind: 'environment', name: 'DEMO_TOKEN' }, value, name: 'demo' },
    });
    const begun = await send(real, {
      body: {
        jsonrpc: '2.0',
        id: 0,
        method: 'initialize',
        params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
      },
    });
    const headers = { 'mcp-session-id': String(begun.headers['mcp-session-id']) };
    for (const name of Object.keys(files)) {
      const tool = name.endsWith('.png') ? 'read_media_file' : 'read_text_file';
      const got = await send(real, { body: toolCall(tool, { path: join(root, name) }), headers });
      const text = got.body.toString('utf8');
      assert.ok(text.includes('"result"'), text.slice(0, 300));
      const decoded = [...text.matchAll(/"(?:data|blob)":"([^"]*)"/g)].map(([, data = '']) =>
        Buffer.from(data, 'base64').toString('latin1'),
      );
      const all = [text, ...decoded].join('\n');
      for (const secret of [value, token]) assert.deepEqual(tracesIn(all, secret), [], name);
      assert.ok(!all.replaceAll(' ', '').includes(value), name);
    }
    const subjects = new Set(real.core.findings.list({ dismissed: false }).map((f) => `${f.rule} ${f.tool}`));
    assert.ok(subjects.has('known-secret read_text_file') && subjects.has('known-secret read_media_file'), [...subjects].join());
    await other.close();
    folder.remove();
  });
});
