import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { approvalLocations } from '../../../src/configuration/autoApproval.ts';
import { bridgedServer } from '../../../src/configuration/entry.ts';
import { Snapshot, compareSnapshots, describeDrift, takeSnapshot } from '../../../src/configuration/drift.ts';
import { nodeFiles } from '../../../src/configuration/nodeFiles.ts';
import { machine, token, type Machine } from './fixtures.ts';

const look = async (here: Machine): Promise<Snapshot> => {
  const locations = [...(await here.locations()), ...approvalLocations(here.surroundings, here.open)];
  return takeSnapshot(nodeFiles, locations, here.contextOf, (entry) => bridgedServer(entry) !== undefined, 1);
};

const edit = (path: string, change: (text: string) => string) => writeFileSync(path, change(readFileSync(path, 'utf8')));

describe('drift', () => {
  it('keeps no secret in a snapshot, and sees nothing where nothing changed', async () => {
    const here = machine();
    try {
      const snapshot = await look(here);
      assert.ok(Snapshot.safeParse(JSON.parse(JSON.stringify(snapshot))).success);
      for (const secret of here.secrets) assert.ok(!JSON.stringify(snapshot).includes(secret));
      assert.deepEqual(compareSnapshots(snapshot, await look(here)), []);
    } finally {
      here.dispose();
    }
  });

  it('sees new servers, other commands and URLs, and auto-approval switched on', async () => {
    const here = machine(['claude-desktop', 'cursor', 'codex', 'continue']);
    try {
      const before = await look(here);
      edit(join(here.home, '.config/Claude/claude_desktop_config.json'), (t) =>
        t.replace('"@modelcontextprotocol/server-slack"', '"evil-slack"'),
      );
      edit(join(here.home, '.cursor/mcp.json'), (t) =>
        t.replace('mcp.context7.com', 'mcp.context7.example').replace('"disabled": true', '"disabled": false'),
      );
      edit(
        join(here.home, '.codex/config.toml'),
        (t) => `sandbox_mode = "danger-full-access"\n${t}\n[mcp_servers.extra]\ncommand = "x"\nargs = ["--dangerously-skip-permissions"]\n`,
      );
      edit(join(here.home, '.continue/config.yaml'), (t) => t.replace('  # search\n', '  - name: Zero\n    command: z\n'));
      const drifts = compareSnapshots(before, await look(here));
      assert.deepEqual(drifts.map(describeDrift).sort(), [
        'Codex (config.toml) has a new server “extra” that does not go through Culvert.',
        'Codex: extra: --dangerously-skip-permissions is on. The command is told not to ask.',
        'Codex: sandbox_mode: danger-full-access is on. Commands run without a sandbox.',
        'Continue (config.yaml) has a new server “Zero” that does not go through Culvert.',
        '“context7” of Cursor (mcp.json) changed: url.',
        '“slack” of Claude Desktop (claude_desktop_config.json) changed: args.',
        '“supabase” of Cursor (mcp.json) changed: disabled.',
      ]);
    } finally {
      here.dispose();
    }
  });

  it('notices that a server no longer goes through Culvert, and lets a replaced secret and a removed server pass', async () => {
    const here = machine([]);
    const path = join(here.home, '.claude.json');
    const write = (servers: object) => writeFileSync(path, JSON.stringify({ mcpServers: servers }));
    try {
      write({
        a: { command: 'code', args: ['/ext/bridge.cjs', '--server', 's'] },
        b: { command: 'b', args: ['--token', token('plain', 'one')] },
        c: { command: 'c' },
      });
      const before = await look(here);
      write({ a: { command: 'npx', args: ['evil'] }, b: { command: 'b', args: ['--token', token('plain', 'two')] } });
      const drifts = compareSnapshots(before, await look(here));
      assert.deepEqual(drifts.map(describeDrift), ['“a” of Claude Code (.claude.json) no longer goes through Culvert.']);
    } finally {
      here.dispose();
    }
  });

  it('concludes nothing from a file that could not be read', async () => {
    const here = machine(['cursor']);
    try {
      const path = join(here.home, '.cursor/mcp.json');
      const text = readFileSync(path, 'utf8');
      writeFileSync(path, '{ broken');
      const before = await look(here);
      assert.deepEqual(before.unreadable, [path]);
      writeFileSync(path, text);
      assert.deepEqual(compareSnapshots(before, await look(here)), []);
      appendFileSync(path, '}');
      assert.deepEqual((await look(here)).unreadable, [path]);
    } finally {
      here.dispose();
    }
  });

  it('finds what switches asking off in every client’s settings', async () => {
    const here = machine();
    try {
      const { approvals } = await look(here);
      const found = approvals.map(({ client, setting }) => `${client}: ${setting}`);
      for (const setting of [
        'vscode: chat.tools.global.autoApprove',
        'vscode: chat.tools.terminal.autoApprove',
        'claude-code: permissions.defaultMode: bypassPermissions',
        'claude-code: enableAllProjectMcpServers',
        'claude-code: permissions.allow: mcp__*',
        'claude-code: allowedTools: mcp__sentry',
        'cursor: mcpAllowlist: supabase:*',
        'codex: approval_policy: never',
        'gemini-cli: mcpServers.maps.trust',
        'zed: agent.always_allow_tool_actions',
      ])
        assert.ok(found.includes(setting), `${setting} in ${found.join(', ')}`);
      assert.ok(!found.some((setting) => setting.includes('mcp__notion__search') || setting.includes('context7:resolve')));
    } finally {
      here.dispose();
    }
  });
});
