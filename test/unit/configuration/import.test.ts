import assert from 'node:assert/strict';
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { isProblem, type FileProblem } from '../../../src/configuration/document.ts';
import { openFile, type ConfigurationFiles } from '../../../src/configuration/files.ts';
import { runImport, undoImport, type ImportPorts } from '../../../src/configuration/importer.ts';
import type { Location } from '../../../src/configuration/locate.ts';
import { nodeFiles } from '../../../src/configuration/nodeFiles.ts';
import { planImport, remains, suggestName, type ImportPlan, type Pick } from '../../../src/configuration/plan.ts';
import { scan } from '../../../src/configuration/scan.ts';
import { bindingOf, isConfirmed } from '../../../src/mcp/server.ts';
import { Placement } from '../../../src/credentials/credential.ts';
import { tracesIn } from '../../support/secrets.ts';
import { machine, token, type Fixture, type Machine } from './fixtures.ts';

const bridge = (id: string) => ({
  command: '/opt/code/code',
  args: ['/ext/bridge.cjs', '--server', id],
  env: { ELECTRON_RUN_AS_NODE: '1' },
});

async function picksOf(here: Machine): Promise<Pick[]> {
  const { servers } = await scan(nodeFiles, await here.locations(), here.contextOf);
  return servers.map((server) => ({
    server,
    context: { ...here.contextOf(server.file.location), inputs: { project: 'shop' } },
    confirmed: true,
  }));
}

function planOf(picks: readonly Pick[], taken: { labels?: string[]; credentials?: string[] } = {}): ImportPlan {
  let n = 0;
  return planImport({ picks, taken: { labels: [], credentials: [], ...taken }, newServerId: () => `srv-${++n}`, bridge });
}

/** Every file below a folder with its bytes. */
function tree(folder: string): Map<string, string> {
  return new Map(
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, readFileSync(join(folder, name)).toString('base64')]),
  );
}

/** Ports that remember what they hold. */
class Vault implements ImportPorts {
  readonly sealed = new Map<string, string>();
  readonly servers = new Map<string, readonly string[]>();
  readonly files: ConfigurationFiles;
  /** Fails at this call, counted over all ports. */
  failAt = Infinity;
  calls = 0;

  constructor(files: ConfigurationFiles = nodeFiles) {
    this.files = {
      ...files,
      write: async (path, bytes) => {
        this.#step(`write ${path}`);
        await files.write(path, bytes);
      },
    };
  }

  #step(what: string): void {
    if (++this.calls === this.failAt) throw new Error(`no ${what.split(' ')[0] ?? ''}`);
  }

  seal: ImportPorts['seal'] = async (step) => {
    this.#step('seal');
    const id = `cred-${this.sealed.size + 1}`;
    this.sealed.set(id, step.value?.reveal() ?? 'asked-for-value');
    return id;
  };
  unseal: ImportPorts['unseal'] = async (id) => void this.sealed.delete(id);
  register: ImportPorts['register'] = async (step, ids) => {
    this.servers.set(step.serverId, ids);
    this.#step('register');
  };
  unregister: ImportPorts['unregister'] = async (id) => void this.servers.delete(id);
}

const VARIANTS: readonly (readonly [string, (text: string, fixture: Fixture) => string])[] = [
  ['as written', (text) => text],
  ['with a byte order mark', (text) => `\uFEFF${text}`],
  ['with CRLF', (text) => text.replaceAll('\n', '\r\n')],
  ['with CRLF and a byte order mark', (text) => `\uFEFF${text.replaceAll('\n', '\r\n')}`],
  ['without a last line end', (text) => text.trimEnd()],
  [
    'with comments everywhere',
    (text, { path }) =>
      /\.(?:toml|ya?ml|env)$/.test(path)
        ? `# head\n${text}# tail\n`
        : `// head\n${text.replace(/\{\n/g, '{ /* in */\n').replace(/,\n/g, ', // after\n')}/* tail */`,
  ],
];

describe('importing', () => {
  for (const [what, change] of VARIANTS)
    it(`leaves no secret in any file and undoes to the same bytes: ${what}`, async () => {
      const here = machine(undefined, change);
      try {
        const before = [tree(here.home), tree(here.workspace)];
        const plan = planOf(await picksOf(here));
        assert.deepEqual(
          plan.refused.map((r) => r.what),
          ['github-extension (Zed): command unknown'],
        );
        const vault = new Vault();
        const outcome = await runImport(plan, vault);
        assert.ok(outcome.kind === 'done', JSON.stringify(outcome));
        assert.equal(vault.servers.size, plan.registers.length);
        for (const [folder, names] of [
          [here.home, tree(here.home)],
          [here.workspace, tree(here.workspace)],
        ] as const)
          for (const name of names.keys()) {
            // The extension’s own server of Zed and the shared .env are not Culvert’s to change.
            if (name === '.env' || name.includes('zed')) continue;
            for (const secret of here.secrets) assert.deepEqual(tracesIn(readFileSync(join(folder, name)), secret), [], name);
          }
        for (const { file } of plan.writes) {
          const after = await openFile(nodeFiles, file.location);
          assert.ok(!isProblem(after), JSON.stringify(after));
          assert.equal(after.document.bom, what.includes('byte order'));
          if (what.includes('CRLF')) assert.doesNotMatch(after.document.text, /[^\r]\n/);
        }
        const again = await scan(nodeFiles, await here.locations(), here.contextOf);
        assert.ok(again.servers.every((s) => s.bridged !== undefined || s.entry.name === 'github-extension'));
        assert.deepEqual(await undoImport(outcome.undo, vault), []);
        assert.deepEqual([tree(here.home), tree(here.workspace)], before);
        assert.equal(vault.sealed.size + vault.servers.size, 0);
      } finally {
        here.dispose();
      }
    });

  it('plans nothing that shows a secret, and only what the rest of Culvert takes', async () => {
    const here = machine();
    try {
      const plan = planOf(await picksOf(here), { labels: ['GitHub'], credentials: ['slack-bot-token'] });
      const shown = JSON.stringify([plan.seals, plan.registers, plan.refused]) + inspect(plan.seals, { depth: 9 });
      for (const secret of here.secrets) assert.ok(!shown.includes(secret));
      const labels = plan.registers.map((r) => r.label.toLowerCase());
      assert.equal(new Set(labels).size, labels.length);
      assert.ok(labels.includes('github 2'));
      const names = plan.seals.map((s) => s.name);
      assert.equal(new Set(names).size, names.length);
      assert.ok(names.includes('slack-bot-token-2'));
      for (const seal of plan.seals) assert.ok(Placement.safeParse(seal.placement).success, JSON.stringify(seal.placement));
      for (const { place, seals } of plan.registers) {
        if (place.kind === 'stdio') assert.ok(isConfirmed(place));
        for (const id of seals) assert.equal(plan.seals.find((s) => s.id === id)?.binding, bindingOf(place));
      }
    } finally {
      here.dispose();
    }
  });

  it('says what stays in plaintext: the variables of an envFile, which it leaves alone', async () => {
    const here = machine([]);
    try {
      const secret = token('plain', 'stays');
      mkdirSync(join(here.workspace, '.cursor'));
      writeFileSync(join(here.workspace, 'shop.env'), `SHOP_TOKEN=${secret}\nREGION=eu\n`);
      const entry = { command: 'npx', args: ['-y', 'shop'], envFile: '${workspaceFolder}/shop.env' };
      writeFileSync(join(here.workspace, '.cursor/mcp.json'), JSON.stringify({ mcpServers: { shop: entry } }));
      const plan = planOf(await picksOf(here));
      const [said, ...more] = remains(plan);
      assert.match(said ?? '', /^shop\.env still holds SHOP_TOKEN in plaintext/);
      assert.deepEqual(more, []);
      assert.deepEqual(remains(planOf([])), []);
      assert.ok((await runImport(plan, new Vault())).kind === 'done');
      assert.ok(readFileSync(join(here.workspace, 'shop.env'), 'utf8').includes(secret), 'what it says is true');
    } finally {
      here.dispose();
    }
  });

  it('makes one server of the same entry in two clients', async () => {
    const secret = token('plain', 'same');
    const body = { command: 'npx', args: ['-y', 'x'], env: { X_TOKEN: secret } };
    const here = machine([]);
    try {
      mkdirSync(join(here.home, '.cursor'));
      mkdirSync(join(here.home, '.codeium/windsurf'), { recursive: true });
      writeFileSync(join(here.home, '.cursor/mcp.json'), JSON.stringify({ mcpServers: { x: body } }));
      writeFileSync(join(here.home, '.codeium/windsurf/mcp_config.json'), JSON.stringify({ mcpServers: { y: body } }));
      const plan = planOf(await picksOf(here));
      assert.equal(plan.registers.length, 1);
      assert.equal(plan.seals.length, 1);
      assert.equal(plan.writes.length, 2);
      for (const { edit } of plan.writes) assert.ok(edit.text.includes('srv-1'));
    } finally {
      here.dispose();
    }
  });

  it('leaves everything as it was, whatever step fails', async () => {
    const here = machine(['codex', 'claude-code', 'continue', 'vscode']);
    try {
      const before = [tree(here.home), tree(here.workspace)];
      const picks = await picksOf(here);
      const plan = planOf(picks);
      const steps = plan.seals.length + plan.registers.length + plan.writes.length;
      assert.ok(steps > 30);
      for (let failAt = 1; failAt <= steps; failAt++) {
        const vault = new Vault();
        vault.failAt = failAt;
        const outcome = await runImport(plan, vault);
        assert.ok(outcome.kind === 'failed', `${failAt}`);
        assert.deepEqual(outcome.leftBehind, []);
        assert.match(outcome.reason, /^no (?:seal|register)|can’t be written/);
        assert.equal(vault.sealed.size + vault.servers.size, 0, `${failAt}`);
        assert.deepEqual([tree(here.home), tree(here.workspace)], before, `${failAt}`);
      }
      const vault = new Vault();
      assert.equal((await runImport(plan, vault)).kind, 'done');
    } finally {
      here.dispose();
    }
  });

  it('says what could not be taken back', async () => {
    const here = machine(['cursor']);
    try {
      const vault = new Vault();
      vault.failAt = 4;
      vault.unseal = () => Promise.reject(new Error('the keychain is locked'));
      const outcome = await runImport(planOf(await picksOf(here)), vault);
      assert.ok(outcome.kind === 'failed');
      assert.match(outcome.leftBehind.join(), /could not take back the sealed credential .*: the keychain is locked/);
    } finally {
      here.dispose();
    }
  });

  it('takes everything back when the user says no to an edit or a value', async () => {
    const here = machine(['cursor', 'windsurf']);
    try {
      const before = tree(here.home);
      const plan = planOf(await picksOf(here));
      const vault = new Vault();
      let asked = 0;
      assert.deepEqual(await runImport(plan, Object.assign(vault, { review: async () => ++asked < 2 })), {
        kind: 'declined',
        leftBehind: [],
      });
      assert.deepEqual(await runImport(plan, Object.assign(new Vault(), { seal: async () => undefined })), {
        kind: 'declined',
        leftBehind: [],
      });
      assert.equal(vault.sealed.size + vault.servers.size, 0);
      assert.deepEqual(tree(here.home), before);
    } finally {
      here.dispose();
    }
  });

  it('overwrites nothing that changed since it was read, before or during the import, or after it', async () => {
    const here = machine(['cursor']);
    const file = join(here.home, '.cursor/mcp.json');
    try {
      const plan = planOf(await picksOf(here));
      const other = '{"mcpServers":{}}';
      const original = readFileSync(file);
      writeFileSync(file, other);
      const early = await runImport(plan, new Vault());
      assert.ok(early.kind === 'failed');
      assert.match(early.reason, /mcp\.json was changed by something else/);
      writeFileSync(file, original);
      const vault = new Vault();
      const late = await runImport(plan, Object.assign(vault, { review: async () => (writeFileSync(file, other), true) }));
      assert.ok(late.kind === 'failed');
      assert.match(late.reason, /changed by something else/);
      assert.equal(readFileSync(file, 'utf8'), other);
      assert.equal(vault.sealed.size + vault.servers.size, 0);
      writeFileSync(file, original);
      const done = await runImport(plan, new Vault());
      assert.ok(done.kind === 'done');
      writeFileSync(file, other);
      const kept = new Vault();
      assert.match((await undoImport(done.undo, kept)).join(), /changed after the import, so nothing was undone/);
      assert.equal(readFileSync(file, 'utf8'), other);
    } finally {
      here.dispose();
    }
  });

  it('refuses what can’t be sealed or placed, with a reason', async () => {
    const here = machine([]);
    try {
      mkdirSync(join(here.home, '.cursor'));
      const github = token('github');
      const servers = {
        short: { command: 'x', env: { A_TOKEN: github }, args: [] },
        path: { url: `https://x.example/${github}/mcp` },
        both: { url: 'https://x.example', headers: { Authorization: `Bearer ${github}`, authorization: `Bearer ${token('openai')}` } },
        ours: { command: '/opt/code/code', args: ['/ext/bridge.cjs', '--server', 'srv-9'] },
      };
      writeFileSync(join(here.home, '.cursor/mcp.json'), JSON.stringify({ mcpServers: servers }));
      const picks = await picksOf(here);
      const tiny = picks.map((pick) =>
        pick.server.entry.name === 'short'
          ? {
              ...pick,
              credentials: pick.server.credentials.map((credential) => ({ credential, value: { reveal: () => 'tiny' } as never })),
            }
          : pick,
      );
      const plan = planOf(tiny);
      assert.deepEqual(plan.writes, []);
      assert.deepEqual(
        plan.refused.map(({ reason }) => reason.split('.')[0]),
        [
          'A_TOKEN: A secret has at least 8 characters; this one would be found everywhere',
          'It is part of the address itself, which Culvert stores and shows',
          'Two secrets would go to the same place: header authorization',
          'It goes through Culvert already',
        ],
      );
    } finally {
      here.dispose();
    }
  });

  it('suggests names that a reference can hold', () => {
    assert.equal(suggestName('GitHub', { kind: 'bearer' }), 'github-token');
    assert.equal(suggestName('Git Hub!', { kind: 'header', name: 'X-API-Key' }), 'git-hub-api-key');
    assert.equal(suggestName('slack', { kind: 'environment', name: 'SLACK_BOT_TOKEN' }), 'slack-bot-token');
    assert.equal(suggestName('数据', { kind: 'basic', username: 'kim' }), 'password');
  });
});

describe('files on disk', () => {
  const location = (path: string): Location => ({
    client: 'cursor',
    scope: 'user',
    path,
    format: 'json',
    servers: [['mcpServers']],
    editable: true,
  });
  const code = (result: object): FileProblem['code'] | undefined => (isProblem(result) ? result.code : undefined);

  it('edits the target of a link, says so, and leaves the link a link', async () => {
    const here = machine(['cursor']);
    const link = join(here.home, '.cursor/mcp.json');
    const target = join(here.home, 'dotfiles.json');
    try {
      const text = readFileSync(link);
      writeFileSync(target, text, { mode: 0o640 });
      chmodSync(target, 0o640);
      const old = `${link}.old`;
      linkSync(link, old);
      const { rmSync } = await import('node:fs');
      rmSync(link);
      symlinkSync(target, link);
      const plan = planOf((await picksOf(here)).filter((p) => p.server.file.location.path === link));
      assert.match(plan.writes[0]?.notices.join() ?? '', /mcp\.json is a link: the edit goes to .*dotfiles\.json/);
      const vault = new Vault();
      const done = await runImport(plan, vault);
      assert.ok(done.kind === 'done');
      assert.ok((await nodeFiles.facts(link))?.linked);
      assert.equal(statSync(target).mode & 0o777, 0o640);
      assert.notDeepEqual(readFileSync(target), text);
      assert.deepEqual(await undoImport(done.undo, vault), []);
      assert.deepEqual(readFileSync(target), text);
    } finally {
      here.dispose();
    }
  });

  it('writes a file with hard links in place', async () => {
    const here = machine(['cursor']);
    const file = join(here.home, '.cursor/mcp.json');
    try {
      linkSync(file, `${file}.twin`);
      const done = await runImport(planOf((await picksOf(here)).filter((p) => p.server.file.location.path === file)), new Vault());
      assert.equal(done.kind, 'done');
      assert.deepEqual(readFileSync(`${file}.twin`), readFileSync(file));
      assert.deepEqual(
        readdirSync(join(here.home, '.cursor')).filter((name) => name.includes('culvert')),
        [],
      );
    } finally {
      here.dispose();
    }
  });

  it('does not touch what is read-only, huge, no file, or gone', async () => {
    const here = machine([]);
    const path = join(here.home, 'mcp.json');
    try {
      assert.equal(code(await openFile(nodeFiles, location(path))), 'missing');
      mkdirSync(path);
      assert.equal(code(await openFile(nodeFiles, location(path))), 'no-file');
      const huge = join(here.home, 'huge.json');
      writeFileSync(huge, Buffer.alloc(5 * 1024 * 1024 + 1, 0x20));
      assert.equal(code(await openFile(nodeFiles, location(huge))), 'too-large');
      const loop = join(here.home, 'loop.json');
      symlinkSync(loop, loop);
      assert.equal(code(await openFile(nodeFiles, location(loop))), 'missing');
      assert.ok(existsSync(huge));
    } finally {
      here.dispose();
    }
  });

  it('says of a read-only file that it is', async () => {
    const here = machine(['cursor']);
    try {
      const readOnly: ConfigurationFiles = {
        ...nodeFiles,
        facts: async (path) => {
          const facts = await nodeFiles.facts(path);
          return facts && { ...facts, writable: false };
        },
      };
      const { servers } = await scan(readOnly, await here.locations(), here.contextOf);
      const plan = planOf(servers.map((server) => ({ server, context: here.contextOf(server.file.location) })));
      assert.deepEqual(plan.writes, []);
      assert.match(plan.refused[0]?.reason ?? '', /mcp\.json is read-only\. Allow writing/);
    } finally {
      here.dispose();
    }
  });
});
