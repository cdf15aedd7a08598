import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { FileSecretStore } from '../support/underLoad.ts';
import { send, toolCall } from '../support/agent.ts';
import { callsOn, newScene } from '../support/tunnels.ts';

describe('a window that is killed under load', function () {
  this.timeout(120_000);

  it('leaves an intent for every call that the server saw, and a record that verifies', async () => {
    const scene = await newScene();
    const secrets = join(scene.state.path, 'secrets.json');
    for (const round of [1, 2, 3]) {
      const before = scene.server.seen.length;
      const child = spawn(
        process.execPath,
        [join(import.meta.dirname, '../support/underLoad.ts'), scene.state.path, scene.server.url, secrets],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      );
      let said = '';
      child.stderr.on('data', (text: Buffer) => (said += text.toString()));
      const exit = once(child, 'exit');
      await Promise.race([scene.server.received(before + 100 + round), exit.then(() => assert.fail(`It ended by itself: ${said}`))]);
      child.kill('SIGKILL');
      await exit;
    }
    const tunnel = await scene.open({ vault: new FileSecretStore(secrets) });
    const known = new Map<string, number>();
    for (const { intent } of callsOn(tunnel))
      if (intent.argumentsDigest !== undefined) known.set(intent.argumentsDigest, (known.get(intent.argumentsDigest) ?? 0) + 1);
    assert.ok(scene.server.seen.length >= 300);
    for (const { body } of scene.server.seen) {
      const args = JSON.stringify((JSON.parse(body.toString()) as { params: { arguments: unknown } }).params.arguments);
      const digest = createHash('sha256').update(args).digest('hex');
      const left = known.get(digest) ?? 0;
      assert.ok(left > 0, `no intent for ${args}`);
      known.set(digest, left - 1);
    }
    assert.deepEqual(tunnel.core.tampering(), []);
    const { problems, chains } = await tunnel.core.audit.verify();
    assert.deepEqual([problems, chains], [[], 4]);
    // It works on: the grants are still there, the dead window's files do not stand in the way.
    assert.equal((await send(tunnel, { body: toolCall('echo') })).json().error, undefined);
    await scene.close();
  });
});
