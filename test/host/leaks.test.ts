import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { App } from '../../src/vscode/app.ts';
import { Secret } from '../../src/credentials/secret.ts';
import { bindingOf, commandDigest, type CommandPlace, type Server } from '../../src/mcp/server.ts';
import { PROJECT_ROOT } from '../harness/paths.ts';
import { until } from '../harness/until.ts';
import { madeUpSecret, tracesIn } from '../support/secrets.ts';

/** A real file server over a folder with made-up secrets: whatever way it hands them out, no model gets them. */
describe('what a file server hands out, in the extension host', () => {
  /** The server’s own credential, and a token of a kind that a rule knows. */
  const value = madeUpSecret('files');
  const token = ['glpat', 'Vs7qXk29QfLm7Zt3WvRb'].join('-');
  const LABEL = 'Files';
  let app: App;
  let server: Server;
  let root: string;
  const planted: Record<string, string | Buffer> = {
    'planted.env': `TOKEN=${value}\nOTHER='${token}'\n`,
    'planted.png': Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), Buffer.from(`tEXtComment\0${value} and ${token}`)]),
    'planted.bin': Buffer.from(`\u0001 ${value} \u0002 ${token} \u0003`),
    [`${token}.txt`]: 'nothing in it',
  };

  const toolNamed = (name: string) => vscode.lm.tools.find((tool) => tool.name.endsWith(`_${name}`));
  /** Everything that a model could get of a result, or of the error in its place: texts, and bytes one character each. */
  const invoke = async (name: string, input: object): Promise<string> => {
    const tool = toolNamed(name);
    assert.ok(tool, name);
    return vscode.lm.invokeTool(tool.name, { input, toolInvocationToken: undefined }).then(
      (result) => textsIn(result.content).join('\n'),
      (error: unknown) => String(error),
    );
  };

  before('add the server and start it through VS Code', async function () {
    this.timeout(90_000);
    const extension = vscode.extensions.getExtension<{ app(): App | undefined }>('culvert.culvert');
    assert.ok(extension);
    const exports = await extension.activate();
    app = await until(() => exports.app(), { what: 'the extension to be running' });
    // VS Code names its workspace as the root, and the server keeps to that.
    root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? assert.fail('no folder is open');
    for (const [name, content] of Object.entries(planted)) writeFileSync(join(root, name), content);
    const main = join(PROJECT_ROOT, 'node_modules/@modelcontextprotocol/server-filesystem/dist/index.js');
    const place: CommandPlace = { kind: 'stdio', command: process.env['CULVERT_TEST_NODE'] ?? process.execPath, args: [main, root] };
    const upstream = { ...place, confirmed: commandDigest(place) };
    const { core } = app;
    const placement = { kind: 'environment', name: 'FILES_TOKEN' } as const;
    const { id } = await core.credentials.seal('Files credential', placement, [bindingOf(upstream)], new Secret(value));
    server = { version: 1, id: 'srv-files', label: LABEL, upstream, credentials: [id], createdAt: Date.now() };
    core.servers.put(server);
    core.access.start(server.id, 'everything', 'headless');
    await core.ready();
    await until(
      async () => {
        await vscode.commands.executeCommand('workbench.mcp.startServer', '*', { waitForLiveTools: true, autoTrustChanges: true });
        return toolNamed('read_media_file');
      },
      { timeoutMs: 60_000, what: 'the tools of the file server' },
    );
  });
  after(() => {
    for (const name of Object.keys(planted)) rmSync(join(root, name), { force: true });
    app.core.servers.remove(server.id);
  });

  const ways: readonly (readonly [string, string, () => object, RegExp])[] = [
    [
      'text and structured content',
      'read_text_file',
      () => ({ path: join(root, 'planted.env') }),
      /TOKEN=⟦culvert: Files credential redacted⟧/,
    ],
    ['an image', 'read_media_file', () => ({ path: join(root, 'planted.png') }), /tEXtComment\0\*+ and \*+/],
    ['an embedded resource', 'read_media_file', () => ({ path: join(root, 'planted.bin') }), /"blob":"ASAqKioqKioqKioqKioq/],
    ['names of files', 'list_directory', () => ({ path: root }), /⟦culvert: gitlab-token redacted⟧\.txt/],
    ['an error', 'read_text_file', () => ({ path: join(root, `no-${value}`) }), /ENOENT.*⟦culvert: Files credential redacted⟧/s],
  ];
  for (const [what, tool, input, shown] of ways)
    it(`holds no secret in ${what}`, async () => {
      const got = await invoke(tool, input());
      for (const secret of [value, token]) assert.deepEqual(tracesIn(got, secret), []);
      assert.match(got, shown);
    });

  it('is told in Leak Warnings, with tool and place', () => {
    const found = app.core.findings.list({ dismissed: false }).filter((f) => f.server === server.id);
    const told = new Set(found.map((f) => `${f.rule} ${String(f.tool)} ${f.action}`));
    for (const tool of ['read_text_file', 'read_media_file'])
      for (const rule of ['known-secret', 'gitlab-token']) assert.ok(told.has(`${rule} ${tool} redacted`), [...told].join());
    assert.ok(
      found.some((f) => f.path?.startsWith('/result/structuredContent')),
      'structured content is told by itself',
    );
    for (const secret of [value, token]) assert.deepEqual(tracesIn(JSON.stringify(found), secret), []);
  });
});

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('latin1')];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}
