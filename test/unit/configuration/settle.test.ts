import assert from 'node:assert/strict';
import { compareSnapshots, driftKey, settle, sidesOf, type Snapshot } from '../../../src/configuration/drift.ts';
import { runSnapshotJob, startsOwnBridge } from '../../../src/configuration/snapshotJob.ts';
import { machine } from './fixtures.ts';

type Server = Snapshot['servers'][number];

const server = (name: string, command: string, more: Partial<Server> = {}): Server => ({
  client: 'cursor',
  file: '/h/.cursor/mcp.json',
  path: JSON.stringify(['mcpServers', name]),
  name,
  digest: `digest of ${command}`,
  shape: { transport: 'stdio', command, args: [], variables: [], headers: [], disabled: false },
  ours: false,
  ...more,
});
const snapshot = (servers: readonly Server[], approvals: Snapshot['approvals'] = []): Snapshot => ({
  version: 1,
  at: 1,
  servers,
  approvals,
  unreadable: [],
});
const kinds = (before: Snapshot, after: Snapshot) => compareSnapshots(before, after).map(({ kind }) => kind);

describe('what is known of configurations', () => {
  it('holds back what nobody accepted, until somebody does', () => {
    const before = snapshot([server('a', 'one')]);
    const after = snapshot([server('a', 'two'), server('b', 'one')]);
    const open = compareSnapshots(before, after);
    assert.equal(open.length, 2);
    const held = settle(before, after, open);
    assert.deepEqual(compareSnapshots(held, after).map(driftKey), open.map(driftKey), 'still open after a restart');
    const accepted = settle(held, after, open.slice(0, 1));
    assert.equal(compareSnapshots(accepted, after).length, 1);
    assert.deepEqual(kinds(settle(accepted, after, []), after), []);
  });

  it('takes a server that goes and comes back as it was for no news, and one that left Culvert for some', () => {
    const known = settle(snapshot([server('a', 'one')]), snapshot([]), []);
    assert.deepEqual(kinds(known, snapshot([server('a', 'one')])), []);
    assert.deepEqual(kinds(known, snapshot([server('a', 'two')])), ['changed-server']);
    const routed = settle(known, snapshot([server('a', 'bridge', { ours: true })]), []);
    const [drift] = compareSnapshots(routed, snapshot([server('a', 'one')]));
    assert.ok(drift?.kind === 'changed-server' && drift.wasOurs);
    assert.match(sidesOf(drift).before, /"command": "bridge"/);
  });

  it('tells a switch that is set again', () => {
    const on: Snapshot['approvals'] = [{ client: 'vscode', file: '/s.json', setting: 'chat.tools.global.autoApprove', meaning: 'x' }];
    const accepted = settle(snapshot([]), snapshot([], on), []);
    assert.deepEqual(kinds(accepted, snapshot([], on)), []);
    const off = settle(accepted, snapshot([]), []);
    assert.deepEqual(kinds(off, snapshot([], on)), ['auto-approval']);
  });

  it('takes for our own bridge only what starts exactly that and nothing else', () => {
    const own = { commands: ['/opt/code'], scripts: ['/state/bridge/bridge.cjs'] };
    const args = ['/state/bridge/bridge.cjs', '--server', 'srv-1'];
    assert.ok(startsOwnBridge({ command: '/opt/code', args }, own));
    for (const entry of [
      { command: '/tmp/code', args },
      { command: 'code', args },
      { command: '/opt/code', args: ['/tmp/bridge.cjs', '--server', 'srv-1'] },
      { command: '/opt/code', args: ['/tmp/state/bridge/bridge.cjs', '--server', 'srv-1'] },
      { command: '/opt/code', args: ['--require', '/tmp/x.js', ...args] },
      { command: '/opt/code', args: [...args, '--runtime', '/tmp/theirs'] },
      { command: '/opt/code', args, url: 'https://evil.example/mcp' },
    ])
      assert.ok(!startsOwnBridge(entry, own), JSON.stringify(entry));
  });

  it('is taken by a job of plain data, without any secret', async () => {
    const here = machine();
    try {
      const job = { locations: await here.locations(), home: here.home, own: { commands: [], scripts: [] }, at: 7 };
      const taken = await runSnapshotJob(structuredClone(job));
      assert.ok(taken.servers.length > 10);
      for (const secret of here.secrets) assert.ok(!JSON.stringify(taken).includes(secret));
    } finally {
      here.dispose();
    }
  });
});
