import assert from 'node:assert/strict';
import { relative } from 'node:path';
import { locate, placesToLook, type Surroundings } from '../../../src/configuration/locate.ts';
import { allFixtures, machine } from './fixtures.ts';

const nothing = { list: async () => [], isFile: async () => false };

describe('locating configurations', () => {
  it('finds every fixture file that holds servers', async () => {
    const here = machine();
    try {
      const found = (await here.locations()).map(({ client, path }) =>
        path.startsWith(here.home)
          ? `${client}/home/${relative(here.home, path)}`
          : `${client}/workspace/${relative(here.workspace, path)}`,
      );
      const expected = allFixtures()
        .map(({ name }) => name)
        .filter((name) => !/\.env$|permissions\.json$|\.claude\/settings\.json$/.test(name));
      assert.deepEqual(found.sort(), expected.sort());
    } finally {
      here.dispose();
    }
  });

  const places = (platform: NodeJS.Platform, env: Surroundings['env'] = {}) =>
    placesToLook({ platform, env, home: platform === 'win32' ? 'C:\\Users\\kim' : '/Users/kim' }, { folders: [] }).map(({ path }) => path);

  it('knows the folders of macOS', () => {
    const all = places('darwin');
    for (const path of [
      '/Users/kim/Library/Application Support/Code/User/mcp.json',
      '/Users/kim/Library/Application Support/Code - Insiders/User/profiles/*/mcp.json',
      '/Users/kim/Library/Application Support/Claude/claude_desktop_config.json',
      '/Library/Application Support/ClaudeCode/managed-mcp.json',
      '/Users/kim/.config/zed/settings.json',
      '/Users/kim/.codex/config.toml',
    ])
      assert.ok(all.includes(path), path);
  });

  it('knows the folders of Windows', () => {
    const all = places('win32', { APPDATA: 'C:\\Users\\kim\\AppData\\Roaming' });
    for (const path of [
      'C:\\Users\\kim\\AppData\\Roaming\\Code\\User\\mcp.json',
      'C:\\Users\\kim\\AppData\\Roaming\\Claude\\claude_desktop_config.json',
      'C:\\Users\\kim\\AppData\\Roaming\\Zed\\settings.json',
      'C:\\Users\\kim\\.codeium\\windsurf\\mcp_config.json',
      'C:\\ProgramData\\gemini-cli\\settings.json',
    ])
      assert.ok(all.includes(path), path);
    assert.ok(!all.some((path) => path.includes('/')), 'no forward slashes');
  });

  it('follows the variables by which clients move their folders', () => {
    const all = places('linux', {
      CODEX_HOME: '/x/codex',
      COPILOT_HOME: '/x/copilot',
      CLAUDE_CONFIG_DIR: '/x/claude',
      GEMINI_CLI_HOME: '/x/gemini',
      CONTINUE_GLOBAL_DIR: '/x/continue',
      XDG_CONFIG_HOME: '/x/config',
      VSCODE_PORTABLE: '/x/portable',
    });
    for (const path of [
      '/x/codex/config.toml',
      '/x/copilot/mcp-config.json',
      '/x/claude/.claude.json',
      '/x/gemini/.gemini/settings.json',
      '/x/continue/config.yaml',
      '/x/config/zed/settings.json',
      '/x/config/Code/User/mcp.json',
      '/x/portable/user-data/User/mcp.json',
    ])
      assert.ok(all.includes(path), path);
  });

  it('takes the user folder of the running editor where it is known', () => {
    const all = placesToLook({ platform: 'linux', env: {}, home: '/h', userFolder: '/data/User' }, { folders: [] }).map(({ path }) => path);
    assert.ok(all.includes('/data/User/mcp.json'));
    assert.ok(!all.includes('/h/.config/Code/User/mcp.json'));
  });

  it('never offers to edit what an administrator put there', () => {
    const system = placesToLook({ platform: 'linux', env: {}, home: '/h' }, { folders: [] }).filter(({ scope }) => scope === 'system');
    assert.deepEqual(
      system.map(({ path, editable }) => [path, editable]),
      [
        ['/etc/claude-code/managed-mcp.json', false],
        ['/etc/codex/config.toml', false],
        ['/etc/gemini-cli/settings.json', false],
      ],
    );
  });

  it('expands a folder to a bounded number of files', async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `p${i}.yaml`);
    const found = await locate(
      { platform: 'linux', env: {}, home: '/h' },
      { folders: [] },
      { list: async (folder) => (folder.endsWith('mcpServers') ? names : []), isFile: async (path) => path.includes('mcpServers') },
    );
    assert.equal(found.length, 200);
    assert.deepEqual(await locate({ platform: 'linux', env: {}, home: '/h' }, { folders: [] }, nothing), []);
  });
});
