import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { App } from '../../src/vscode/app.ts';
import { Secret } from '../../src/credentials/secret.ts';
import type { Server } from '../../src/mcp/server.ts';
import { calledTool } from '../../scripts/demo/upstream.ts';
import { HOST_DEMO_LABEL, hostDemo } from '../harness/hostDemo.ts';
import { until } from '../harness/until.ts';

/** What the extension exports to tests, and to nobody else. */
interface Exports {
  app(): App | undefined;
}

describe('the main job, in the extension host', () => {
  let app: App;
  let server: Server;

  const toolNamed = (suffix: RegExp) => vscode.lm.tools.find((tool) => suffix.test(tool.name));
  const set = (tool: string, effect: 'allow' | 'ask' | 'deny') =>
    app.core.access.set(server.id, { kind: 'tools', names: [tool] }, effect, 'tree');
  const invoke = async (suffix: RegExp, input: object): Promise<string> => {
    const tool = toolNamed(suffix);
    assert.ok(tool, `no tool ${suffix.source} among ${vscode.lm.tools.map((t) => t.name).join(', ')}`);
    const result = await vscode.lm.invokeTool(tool.name, { input, toolInvocationToken: undefined });
    return result.content.map((part) => (part instanceof vscode.LanguageModelTextPart ? part.value : '')).join('\n');
  };
  const calls = async (tool: string) => (await hostDemo()).requests.filter((r) => calledTool(r.body) === tool);

  before('start the demo server through VS Code', async function () {
    this.timeout(240_000);
    const extension = vscode.extensions.getExtension<Exports>('culvert.culvert');
    assert.ok(extension);
    const exports = await extension.activate();
    app = await until(() => exports.app(), { what: 'the extension to be running' });
    server = await until(() => app.core.servers.list().find((s) => s.label === HOST_DEMO_LABEL), { what: 'the demo server' });
    set('echo', 'allow');
    await until(
      async () => {
        await vscode.commands.executeCommand('workbench.mcp.startServer', '*', { waitForLiveTools: true, autoTrustChanges: true });
        return toolNamed(/_echo$/);
      },
      { timeoutMs: 120_000, what: 'the tools of the demo server' },
    );
  });

  it('carries an allowed call to the real server, with the sealed credential', async () => {
    const before = (await calls('echo')).length;
    assert.equal(await invoke(/_echo$/, { message: 'through the tunnel' }), 'Echo: through the tunnel');
    const seen = (await calls('echo')).slice(before);
    assert.equal(seen.length, 1);
    assert.equal(seen[0]?.authorized, true);
  });

  it('names the tools after the label that the user chose', () => {
    assert.match(toolNamed(/_echo$/)?.name ?? '', /^mcp_demo_/i);
  });

  it('lets no byte of a denied call leave, and tells the agent why', async () => {
    set('get-sum', 'deny');
    // The list the editor still has may name the tool for a moment: the call itself is what must fail.
    const bridge = await rawCall(app, server, 'get-sum', { a: 1, b: 2 });
    assert.match(bridge, /Culvert denied this call/);
    assert.equal((await calls('get-sum')).length, 0);
  });

  it('tells agents outside the editor from the editor, on the record and for grants', async () => {
    const given = app.core.access.forServer(server.id);
    const target = { kind: 'tools' as const, names: ['get-sum'] };
    set('get-sum', 'allow');
    app.core.access.give({ server: server.id, target, effect: 'deny', scope: { client: 'agent' }, givenBy: 'palette' });
    const sum = { a: 20, b: 22 };
    for (const [client, answer] of [
      ['agent', /denied by the user/],
      ['vscode', /42/],
    ] as const) {
      assert.match(await rawCall(app, server, 'get-sum', sum, client), answer);
      assert.equal(app.core.audit.activities({ limit: 1 })[0]?.intent.client, client);
    }
    app.core.access.restore(server.id, given);
  });

  it('takes a tool out of the running session, and brings it back, within seconds', async () => {
    set('get-sum', 'deny');
    await until(() => toolNamed(/_get-sum$/) === undefined, { timeoutMs: 60_000, what: 'get-sum to go' });
    set('get-sum', 'allow');
    await until(() => toolNamed(/_get-sum$/) !== undefined, { timeoutMs: 60_000, what: 'get-sum to come back' });
    assert.match(await invoke(/_get-sum$/, { a: 20, b: 22 }), /42/);
  });

  it('asks, and takes the answer from the keyboard', async () => {
    set('get-tiny-image', 'ask');
    const reached = (await calls('get-tiny-image')).length;
    const answer = invoke(/_get-tiny-image$/, {});
    await until(() => app.core.approvals.waiting === 1, { what: 'the question' });
    assert.equal((await calls('get-tiny-image')).length, reached);
    // The first rows only inform: the tool, its (missing) arguments, destination and credential. “Allow once” is the fifth.
    await vscode.commands.executeCommand('culvert.answerWaiting');
    for (let i = 0; i < 4; i++) await vscode.commands.executeCommand('workbench.action.quickOpenSelectNext');
    // A question that has only just appeared takes no answer: press Enter until it counts.
    await until(
      async () => {
        if (app.core.approvals.waiting > 0) await vscode.commands.executeCommand('workbench.action.acceptSelectedQuickOpenItem');
        return app.core.approvals.waiting === 0;
      },
      { intervalMs: 200, what: 'the answer to count' },
    );
    await answer;
    assert.equal((await calls('get-tiny-image')).length, reached + 1);
  });

  it('keeps the credential out of a result, and warns', async () => {
    const { token } = await hostDemo();
    set('get-env', 'allow');
    const text = await invoke(/_get-env$/, {});
    assert.ok(!text.includes(token));
    assert.match(text, /⟦culvert: Demo credential redacted⟧/);
    assert.equal(app.core.findings.list({ dismissed: false }).find((f) => f.tool === 'get-env')?.action, 'redacted');
  });

  it('lets nothing reach the model that looks like a secret, and no other server’s secret leave', async () => {
    // Made up, of a format that a rule knows.
    const token = ['glpat', 'Ho5tXk29QfLm7Zt3WvRb'].join('-');
    const foreign = ['elsewhere', 'Kd7Qm2Xv', '9Rb4Nw8Z', 'cHt6Yp3G'].join('_');
    await app.core.credentials.seal('elsewhere', { kind: 'bearer' }, ['https://elsewhere.example'], new Secret(foreign));
    await app.core.ready();
    const reached = (await calls('echo')).length;
    const stopped = await invoke(/_echo$/, { message: foreign }).catch((error: unknown) => String(error));
    assert.match(stopped, /belongs elsewhere/);
    assert.equal((await calls('echo')).length, reached);
    app.core.leaks.decisions.setOutgoing('gitlab-token', { server: server.id, tool: 'echo' }, 'may-leave');
    const text = await invoke(/_echo$/, { message: `x ${token} y` });
    assert.match(text, /^Echo: x ⟦culvert: gitlab-token redacted⟧ y$/);
    const found = app.core.findings.list({ dismissed: false }).filter((f) => f.tool === 'echo');
    assert.deepEqual(found.map((f) => [f.rule, f.direction, f.action]).sort(), [
      ['gitlab-token', 'to-agent', 'redacted'],
      ['gitlab-token', 'to-server', 'allowed'],
      ['known-secret', 'to-server', 'blocked'],
    ]);
  });

  it('searches a large answer in the thread of the bundle', async () => {
    const { token } = await hostDemo();
    const bytes = Buffer.from(JSON.stringify({ result: `${'all clear, 4711 times; '.repeat(30_000)} ${token}` }));
    const where = { server: server.id, serverLabel: server.label, tool: 'echo', workspace: undefined };
    const { bytes: out, findings } = await app.core.inspector.look(bytes, where);
    assert.deepEqual([out.includes(token), findings.length], [false, 1]);
    assert.equal(app.core.leaks.secrets.hasThread, true);
  });

  it('stops everything while paused, and goes on after', async () => {
    app.core.setPaused(true);
    try {
      const reached = (await calls('echo')).length;
      assert.match(await rawCall(app, server, 'echo', { message: 'x' }), /paused/);
      assert.equal((await calls('echo')).length, reached);
    } finally {
      app.core.setPaused(false);
    }
    assert.match(await rawCall(app, server, 'echo', { message: 'again' }), /Echo: again/);
  });

  it('gives VS Code definitions without a secret, and stores none on disk', async () => {
    const { token } = await hostDemo();
    const forms = [token, Buffer.from(token).toString('base64').replace(/=+$/, ''), Buffer.from(token).toString('hex')];
    for (const file of [...filesBelow(app.core.stateFolder), ...filesBelow(app.tunnel.folder.folder)]) {
      const content = readFileSync(file);
      for (const form of forms) assert.ok(!content.includes(form), `${file} holds the credential`);
    }
    // What runs on this machine shows its arguments to every user.
    if (process.platform === 'linux') assert.ok(!execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(token));
  });

  it('has everything on a record that verifies', async () => {
    const tools = app.core.audit.activities({ limit: 100, named: true }).map((a) => `${a.intent.tool ?? ''} ${a.intent.effect}`);
    for (const expected of ['echo allow', 'get-sum deny', 'get-env allow', 'get-tiny-image allow'])
      assert.ok(tools.includes(expected), expected);
    await app.core.audit.checkpoint();
    assert.deepEqual((await app.core.audit.verify()).problems, []);
  });

  it('says what the editor claims about a call, marked as claimed', () => {
    const call = app.core.audit.activities({ limit: 100, named: true }).find((a) => a.intent.tool === 'echo');
    assert.ok(call);
    assert.equal(call.intent.client, 'vscode');
    // Said once, at initialize, and still on the record of a later call.
    assert.ok((call.intent.claims['clientName'] ?? '').length > 0);
  });

  it('shows records as read-only documents', async () => {
    const call = app.core.audit.activities({ limit: 1, named: true })[0];
    assert.ok(call);
    await vscode.commands.executeCommand('culvert.showRecord', { kind: 'call', exchange: call.exchange });
    const document = vscode.window.activeTextEditor?.document;
    assert.equal(document?.uri.scheme, 'culvert-audit');
    assert.match(document.getText(), /^# .+\n\nCall\n/);
    assert.match(document.getText(), /\n {2}intent {8}chain-\S+, entry \d+, /);
    await vscode.commands.executeCommand('workbench.action.closeActiveEditor');
  });
});

/** Calls a tool over a capability of its own, past the editor's list of tools. Returns the body of the answer. */
async function rawCall(app: App, server: Server, tool: string, input: object, client: 'vscode' | 'agent' = 'vscode'): Promise<string> {
  const { request } = await import('node:http');
  const { token } = app.tunnel.issue(server.id, client, 'own');
  const { address } = app.tunnel;
  if (address.kind !== 'socket') assert.fail('the tunnel listens on a socket by default');
  const send = (message: object, session?: string) =>
    new Promise<{ body: string; session: string | undefined }>((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: address.path,
          path: app.tunnel.endpoint(server.id),
          method: 'POST',
          headers: {
            host: 'localhost',
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
            ...(session === undefined ? {} : { 'mcp-session-id': session }),
          },
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (part: string) => (body += part));
          response.on('end', () => resolve({ body, session: response.headers['mcp-session-id'] as string | undefined }));
        },
      );
      outgoing.on('error', reject);
      outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
    });
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } };
  const { session } = await send({ id: 1, method: 'initialize', params });
  await send({ method: 'notifications/initialized' }, session);
  return (await send({ id: 2, method: 'tools/call', params: { name: tool, arguments: input } }, session)).body;
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const stat = statSync(path);
    return stat.isDirectory() ? filesBelow(path) : stat.isFile() ? [path] : [];
  });
}
