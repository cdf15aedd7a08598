import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import type { Caller } from '../../src/authorization/grant.ts';
import { send, toolCall } from '../support/agent.ts';
import { newScene, recordText, type Scene } from '../support/tunnels.ts';
import { FileSecretStore } from '../support/underLoad.ts';

/** Rounds of a grant that is given and taken back; each is two tries. */
const ROUNDS = 1_000;
const ROUNDS_BETWEEN_PROCESSES = 400;

/** DESIGN.md 3.9: a revoke holds for the next call in every window, always. */
describe('a revoke in one window', function () {
  this.timeout(240_000);
  let scene: Scene;
  beforeEach(async () => {
    scene = await newScene();
  });
  afterEach(() => scene.close());

  it('holds in another for the next decision, in the same turn of the event loop too', async () => {
    const vault = new MemorySecretStore();
    const [one, two] = [await scene.open({ vault, access: 'nothing' }), await scene.open({ vault })];
    const caller: Caller = { client: 'agent', window: 'win-x' };
    const call = two.core.callFor(two.core.servers.get(two.serverId)!, 'tools/call', 'echo');
    const passes = () => {
      two.core.access.arrived();
      return two.core.access.admit(caller, call).effect === 'allow';
    };
    let wrong = 0;
    for (let i = 0; i < ROUNDS; i++) {
      // The second window has just looked: what it saw is old at once.
      two.core.access.decide(caller, call);
      const grant = one.core.access.give({
        server: one.serverId,
        target: { kind: 'all-tools' },
        effect: 'allow',
        scope: {},
        givenBy: 'tree',
      });
      if (!passes()) wrong++;
      if (i % 2 === 0) one.core.access.revoke([grant.id]);
      else one.core.setPaused(true);
      if (passes()) wrong++;
      if (i % 2 === 1) {
        one.core.access.revoke([grant.id]);
        one.core.setPaused(false);
      }
      if (i % 50 === 0) await new Promise(setImmediate);
    }
    assert.equal(wrong, 0);
  });

  it('holds for the next call over the wire, whatever the other window is about', async () => {
    const secrets = join(scene.state.path, 'secrets.json');
    const tunnel = await scene.open({ vault: new FileSecretStore(secrets), access: 'nothing' });
    // Windows look around by a timer: a call that comes in right after such a look must not be decided by it.
    let looking = true;
    const look = () => {
      if (!looking) return;
      tunnel.core.refresh();
      setTimeout(look, 0);
    };
    look();
    const child = spawn(
      process.execPath,
      [
        join(import.meta.dirname, '../support/revoker.ts'),
        scene.state.path,
        scene.server.url,
        secrets,
        tunnel.socketPath ?? '',
        tunnel.path,
        tunnel.token,
        String(ROUNDS_BETWEEN_PROCESSES),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let [said, failed] = ['', ''];
    child.stdout.on('data', (text: Buffer) => (said += text.toString()));
    child.stderr.on('data', (text: Buffer) => (failed += text.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    looking = false;
    assert.equal(said, '{"wrong":0}', failed);
    assert.equal(scene.server.seen.length, ROUNDS_BETWEEN_PROCESSES);
  });

  it('stops a call that was let through and has not been sent', async () => {
    const vault = new MemorySecretStore();
    const [one, two] = [await scene.open({ vault, access: 'everything' }), await scene.open({ vault })];
    const ready = two.core.ready.bind(two.core);
    // Between the decision and the sending stands the record, which waits for this.
    two.core.ready = async () => {
      await ready();
      one.core.access.revokeServer(one.serverId);
    };
    const got = (await send(two, { body: toolCall('echo') })).json();
    assert.match(got.error?.message ?? '', /was not sent: the user withdrew the permission/);
    assert.equal(scene.server.seen.length, 0);
  });

  it('leaves nothing to whoever edits the rows of tasks and uses', async () => {
    const vault = new MemorySecretStore();
    const tunnel = await scene.open({ vault, access: 'nothing' });
    const { access } = tunnel.core;
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json().error?.message;
    const task = access.startTask({ name: 'Fix', servers: [], durationMs: 3_600_000 }, [
      { server: tunnel.serverId, target: { kind: 'all-tools' }, effect: 'allow' },
    ]);
    assert.equal(await call(), undefined);
    scene.outside.exec(
      `UPDATE signed_row SET body = replace(body, '"endsAt":${task.endsAt}', '"endsAt":${task.endsAt + 1e9}') WHERE collection = 'task'`,
    );
    assert.match((await call()) ?? '', /is not allowed/);
    tunnel.core.refresh();
    assert.ok(scene.log.lines.some((line) => line.includes(`task ${task.id}: row changed`)));
    assert.match(recordText(tunnel), /tampering-found/);
    tunnel.core.forgetTampering();
    access.revokeServer(tunnel.serverId);

    access.give({ server: tunnel.serverId, target: { kind: 'all-tools' }, effect: 'allow', scope: {}, givenBy: 'tree', uses: 3 });
    assert.equal(await call(), undefined);
    scene.outside.exec("CREATE TABLE u AS SELECT * FROM manifest WHERE collection = 'grant-use'");
    assert.equal(await call(), undefined);
    // An older count that was good once, put back.
    scene.outside.exec("DELETE FROM manifest WHERE collection = 'grant-use'; INSERT INTO manifest SELECT * FROM u");
    assert.match((await call()) ?? '', /used up/);
    tunnel.core.refresh();
    assert.ok(tunnel.core.tampering().some((t) => t.collection === 'grant-use'));
    scene.outside.exec("DELETE FROM manifest WHERE collection = 'grant-use'");
    assert.match((await call()) ?? '', /used up/);
  });
});
