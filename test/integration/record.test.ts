import assert from 'node:assert/strict';
import { BEAT_MS } from '../../src/audit/chainMemory.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { send, toolCall } from '../support/agent.ts';
import { ManualClock } from '../support/manualClock.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

/** Keys of the keyring, as core.ts names them. */
const CHAINS = 'culvert.audit-chains.';

describe('the record of a window', () => {
  let scene: Scene;
  let keyring: MemorySecretStore;
  beforeEach(async () => {
    scene = await newScene();
    keyring = new MemorySecretStore();
  });
  afterEach(() => scene.close());

  it('lets nothing through while the keyring can’t know of it, and works by itself once it can', async () => {
    const clock = new ManualClock();
    const store = keyring.store.bind(keyring);
    let locked = true;
    keyring.store = (key, value) => (locked && key.startsWith(CHAINS) ? Promise.reject(new Error('locked')) : store(key, value));
    const tunnel = await scene.open({ vault: keyring, clock });
    const call = async () => (await send(tunnel, { body: toolCall('echo') })).json();
    assert.match((await call()).error?.message ?? '', /can’t write its record, so nothing is let through/);
    assert.equal(scene.server.seen.length, 0);
    assert.ok(scene.log.lines.some((line) => line.includes('keyring can’t be written (locked)')));
    locked = false;
    const noted = new Promise<void>((resolve) => keyring.onDidChange((key) => key.startsWith(CHAINS) && resolve()));
    clock.advance(BEAT_MS);
    await noted;
    while ((await call()).error) await new Promise(setImmediate);
    assert.equal(scene.server.seen.length, 1);
    assert.deepEqual((await tunnel.core.audit.verify()).problems, []);
  });

  it('is forgotten by the keyring when it closed in order, and its index answers', async () => {
    const tunnel = await scene.open({ vault: keyring });
    await send(tunnel, { body: toolCall('echo') });
    const { calls } = await tunnel.core.index.calls({ named: true }, { limit: 10 });
    assert.deepEqual(
      calls.map(({ intent }) => intent.tool),
      ['echo'],
    );
    const chain = tunnel.core.audit.chain;
    assert.ok((await tunnel.core.record.checkpoints.memory.chains()).has(chain));
    await tunnel.close();
    const next = await scene.open({ vault: keyring });
    assert.ok(!(await next.core.record.checkpoints.memory.chains()).has(chain));
    const { problems, endings } = await next.core.audit.verify();
    assert.deepEqual([problems, endings.map(({ chain: of, how }) => [of, how])], [[], [[next.core.audit.chain, 'running']]]);
  });
});
