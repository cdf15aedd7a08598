import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { AuditLog } from '../../src/audit/auditLog.ts';
import { BEAT_MS, ChainMemory } from '../../src/audit/chainMemory.ts';
import { Checkpoints, newSigningKey } from '../../src/audit/checkpoints.ts';
import { verifyRecord } from '../../src/audit/verification.ts';
import { systemClock, type Clock } from '../../src/common/clock.ts';
import { Database } from '../../src/store/database.ts';
import { JobThread } from '../../src/store/jobThread.ts';
import { send, toolCall } from '../support/agent.ts';
import { Bench } from '../support/database.ts';
import { ManualClock } from '../support/manualClock.ts';
import { callsOn, newScene } from '../support/tunnels.ts';
import { FileSecretStore } from '../support/underLoad.ts';
import { intent, outcome } from '../unit/audit/samples.ts';

/** Windows that are killed. More: `CULVERT_KILLS=200 npm test -- integration --grep killed`. */
const KILLS = Number(process.env['CULVERT_KILLS'] ?? 8);
/** Windows of the honest history. Thousands: `CULVERT_WINDOWS=5000 npm test -- integration --grep honest`. */
const WINDOWS = Number(process.env['CULVERT_WINDOWS'] ?? 300);
/** Windows that are open at a time. */
const MAX_OPEN = 6;

/** Numbers that look random and are the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The clock of somebody who comes a while later: windows that said something just now are gone by then. */
const later: Clock = {
  now: () => systemClock.now() + 10 * BEAT_MS,
  monotonic: () => systemClock.monotonic(),
  after: (ms, task) => systemClock.after(ms, task),
};

describe('windows killed at random points under load', function () {
  this.timeout(30_000 + KILLS * 6_000);

  it('leave the intent of every call that the server saw, and a history that verifies and names each crash', async () => {
    const seed = Date.now() % 1_000_000;
    const random = randomFrom(seed);
    const scene = await newScene();
    const secrets = join(scene.state.path, 'secrets.json');
    let killed = 0;
    while (killed < KILLS) {
      // Sometimes two that write at once; the first ever makes the keys alone.
      const together = killed > 0 && random() < 0.5 ? 2 : 1;
      const before = scene.server.seen.length;
      const children = Array.from({ length: together }, () =>
        spawn(process.execPath, [join(import.meta.dirname, '../support/underLoad.ts'), scene.state.path, scene.server.url, secrets], {
          stdio: ['ignore', 'ignore', 'pipe'],
        }),
      );
      let said = '';
      for (const { stderr } of children) stderr.on('data', (text: Buffer) => (said += text.toString()));
      const exits = children.map((child) => once(child, 'exit'));
      const failed = Promise.race(exits).then(() => assert.fail(`It ended by itself (seed ${seed}): ${said}`));
      failed.catch(() => undefined);
      await Promise.race([scene.server.received(before + 1 + Math.floor(random() * 200)), failed]);
      // Anywhere within a call, a batch, a signature.
      await new Promise((resolve) => setTimeout(resolve, random() * 30));
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(exits);
      killed += together;
    }
    const tunnel = await scene.open({ vault: new FileSecretStore(secrets), clock: later });
    const known = new Map<string, number>();
    for (const { intent: of } of callsOn(tunnel)) {
      const digest = of.argumentsDigest;
      if (digest !== undefined) known.set(digest, (known.get(digest) ?? 0) + 1);
    }
    for (const { body } of scene.server.seen) {
      const args = JSON.stringify((JSON.parse(body.toString()) as { params: { arguments: unknown } }).params.arguments);
      const digest = createHash('sha256').update(args).digest('hex');
      const left = known.get(digest) ?? 0;
      assert.ok(left > 0, `no intent for ${args} (seed ${seed})`);
      known.set(digest, left - 1);
    }
    const { faults, endings } = await tunnel.core.audit.verify();
    assert.deepEqual(faults, [], `seed ${seed}`);
    const crashed = endings.filter(({ how }) => how === 'crashed');
    // A window that died before its first entry left nothing to name.
    assert.ok(crashed.length > KILLS / 2 && crashed.length <= killed, `${crashed.length} of ${killed} (seed ${seed})`);
    assert.ok(crashed.some(({ open }) => open > 0));
    assert.equal((await send(tunnel, { body: toolCall('echo') })).json().error, undefined);
    await scene.close();
  });
});

describe('an honest history', function () {
  this.timeout(60_000 + WINDOWS * 200);

  it('of thousands of windows that come, go, crash and write at once raises no alarm', async () => {
    const seed = Date.now() % 1_000_000;
    const random = randomFrom(seed);
    const bench = new Bench();
    const clock = new ManualClock();
    const keyring = new Map([['signing-key', await newSigningKey()]]);
    const checkpointsOn = (db: Database) =>
      new Checkpoints(
        db,
        { get: async (name) => keyring.get(name), set: async (name, value) => void keyring.set(name, value) },
        clock,
        new ChainMemory(clock, { get: async () => keyring.get('chains'), set: async (value) => void keyring.set('chains', value) }),
      );
    const thread = new JobThread();
    const looker = Database.open(bench.path);
    const open: { readonly log: AuditLog; readonly db: Database }[] = [];
    let [serial, crashes, alarms] = [0, 0, 0];
    const begin = async () => {
      const db = Database.open(bench.path);
      const log = new AuditLog(db, clock, checkpointsOn(db));
      // Between the keyring and the first entry, too.
      await log.begin();
      if (random() < 0.95) log.act({ act: 'started', window: 'w' });
      open.push({ log, db });
    };
    const pick = () => open[Math.floor(random() * open.length)];
    const drop = (log: AuditLog) =>
      open.splice(
        open.findIndex((window) => window.log === log),
        1,
      );
    let windows = 0;
    while (windows < WINDOWS) {
      const dice = random();
      const window = pick();
      if (!window || (dice < 0.18 && open.length < MAX_OPEN)) {
        await begin();
        windows++;
      } else if (dice < 0.6) {
        for (let i = 0; i < random() * 4; i++) {
          const id = `x-${++serial}`;
          await window.log.open(id, intent);
          if (random() < 0.9) window.log.close(id, outcome);
          if (random() < 0.7) window.log.flush();
        }
      } else if (dice < 0.68) await window.log.checkpoint();
      else if (dice < 0.74) await Promise.all(open.map(({ log }) => log.checkpoint()));
      else if (dice < 0.84) clock.advance(Math.round(random() * 4 * BEAT_MS));
      else if (dice < 0.92) {
        // In order.
        window.log.act({ act: 'stopped', window: 'w' });
        await window.log.end();
        window.log.dispose();
        window.db.close();
        drop(window.log);
      } else {
        // Gone from one moment to the next: what waited is lost, and nothing is said any more.
        crash(window.log, window.db);
        drop(window.log);
        crashes++;
      }
      if (windows % 100 === 0 && dice < 0.18) {
        const { faults } = await verifyRecord({ path: bench.path, checkpoints: checkpointsOn(looker), thread });
        assert.deepEqual(faults, [], `seed ${seed}, after ${windows} windows`);
        alarms += faults.length;
      }
    }
    for (const { log, db } of open) crash(log, db);
    clock.setWallClock(clock.now() + 10 * BEAT_MS);
    const { faults, endings, chains } = await verifyRecord({ path: bench.path, checkpoints: checkpointsOn(looker), thread });
    assert.deepEqual([faults, alarms], [[], 0], `seed ${seed}`);
    assert.ok(chains > WINDOWS * 0.8 && crashes > WINDOWS / 10, `${chains} chains, ${crashes} crashes`);
    assert.ok(endings.every(({ how }) => how === 'crashed'));
    assert.ok(endings.length >= crashes * 0.8);
    await thread.end();
    looker.close();
    bench.close();
  });
});

/** As `kill -9` does: the connection goes first, so that nothing more can be written. */
function crash(log: AuditLog, db: Database): void {
  db.close();
  log.dispose();
}
