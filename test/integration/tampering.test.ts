import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BEAT_MS } from '../../src/audit/chainMemory.ts';
import { entryHash } from '../../src/audit/chain.ts';
import type { Fault } from '../../src/audit/verification.ts';
import { systemClock, type Clock } from '../../src/common/clock.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import { DATABASE_FILE } from '../../src/tunnel/core.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { temporaryFolder } from '../support/folders.ts';
import { newScene, recorded, type Scene } from '../support/tunnels.ts';

const FILES = ['', '-wal', '-shm'].map((end) => `${DATABASE_FILE}${end}`);

/** What somebody with a text editor, sqlite3 and cp can do to the record; each has to be found, and named for what it is. */
describe('a history that was changed from outside', () => {
  let scene: Scene;
  let keyring: MemorySecretStore;
  let shift = 0;
  /** The system's clock, and however much later somebody looks. */
  const clock: Clock = {
    now: () => systemClock.now() + shift,
    monotonic: () => systemClock.monotonic(),
    after: (ms, task) => systemClock.after(ms, task),
  };
  beforeEach(async () => {
    shift = 0;
    scene = await newScene();
    keyring = new MemorySecretStore();
  });
  afterEach(() => scene.close());

  const open = (stateFolder = scene.state.path) => scene.open({ vault: keyring, clock, stateFolder });
  const calls = async (tunnel: HeadlessTunnel, count: number) => {
    const before = tunnel.core.audit.head.n;
    for (let i = 0; i < count; i++) await send(tunnel, { body: toolCall('echo', { i }) });
    await recorded(tunnel, () => tunnel.core.audit.head.n >= before + 2 * count);
  };
  /** A window that called and closed in order; gives its chain. */
  const session = async (count: number) => {
    const tunnel = await open();
    await calls(tunnel, count);
    await tunnel.close();
    return tunnel.core.audit.chain;
  };
  const copyOf = (folder: string) => {
    const copy = temporaryFolder();
    for (const file of FILES) if (existsSync(join(folder, file))) cpSync(join(folder, file), join(copy.path, file));
    return copy;
  };
  const putBack = (from: string) => {
    for (const file of FILES) {
      rmSync(join(scene.state.path, file), { force: true });
      if (existsSync(join(from, file))) cpSync(join(from, file), join(scene.state.path, file));
    }
  };
  const tamper = (sql: string) => {
    const db = new DatabaseSync(join(scene.state.path, DATABASE_FILE));
    db.exec(sql);
    db.close();
  };
  /** As another window, later. */
  const look = async (): Promise<readonly Fault[]> => {
    const tunnel = await open();
    const { faults } = await tunnel.core.audit.verify();
    await tunnel.close();
    return faults;
  };
  const said = (faults: readonly Fault[]) => faults.map(({ kind, chain, from, to }) => [kind, chain, from, to]);

  it('by SQL is found, and where', async function () {
    this.timeout(180_000);
    const one = await session(5);
    const two = await session(5);
    assert.deepEqual(await look(), []);
    const honest = copyOf(scene.state.path);
    const last = Number(scene.outside.prepare('SELECT max(n) AS n FROM audit WHERE chain = ?').get(one)?.['n']);
    const first = `chain = '${one}'`;
    const forged = ['', '', ''].map((_, i) => ({ n: i + 1, body: JSON.stringify({ act: 'grant-given', window: 'w' }) }));
    let previous = '';
    const forgedRows = forged.map(({ n, body }) => {
      previous = entryHash(previous, 'chain-forged', n, 1, 'act', null, body);
      return `INSERT INTO audit (chain, n, at, kind, body, hash) VALUES ('chain-forged', ${n}, 1, 'act', '${body}', '${previous}')`;
    });
    const attacks: Readonly<Record<string, readonly [string, (faults: readonly Fault[]) => void]>> = {
      'an edited text': [
        `UPDATE audit SET body = replace(body, '"v":2', '"v":3') WHERE ${first} AND n = 3`,
        (f) => assert.deepEqual(said(f), [['edited', one, 3, 3]]),
      ],
      'an edited time': [
        `UPDATE audit SET at = at + 1 WHERE ${first} AND n = 4`,
        (f) => assert.deepEqual(said(f), [['edited', one, 4, 4]]),
      ],
      'an edited column': [
        `UPDATE audit SET server = 'srv-0' WHERE ${first} AND n = 2`,
        (f) => assert.deepEqual(said(f), [['index', one, 2, 2]]),
      ],
      'a deleted entry': [`DELETE FROM audit WHERE ${first} AND n = 5`, (f) => assert.deepEqual(said(f), [['missing', one, 5, 5]])],
      'swapped entries': [
        `UPDATE audit SET seq = -seq WHERE ${first} AND n = 4; UPDATE audit SET seq = (SELECT max(seq) FROM audit) + 9 WHERE seq < 0`,
        (f) => assert.deepEqual(said(f), [['reordered', one, 4, 4]]),
      ],
      'an inserted entry': [
        `INSERT INTO audit (chain, n, at, kind, exchange, server, tool, body, hash) SELECT chain, n, at, kind, exchange, server, tool, body, hash FROM audit WHERE ${first} AND n = 4`,
        (f) => assert.deepEqual(said(f), [['inserted', one, 4, 4]]),
      ],
      'a cut tail': [`DELETE FROM audit WHERE ${first} AND n > 8`, (f) => assert.deepEqual(said(f), [['cut', one, 9, last]])],
      'a removed chain': [
        `DELETE FROM audit WHERE chain = '${two}'`,
        (f) =>
          assert.deepEqual(
            said(f).map(([k, c]) => [k, c]),
            [['chain-removed', two]],
          ),
      ],
      'a chain from outside': [forgedRows.join(';'), (f) => assert.deepEqual(said(f), [['foreign-chain', 'chain-forged', 1, 3]])],
      'a removed checkpoint': [
        'DELETE FROM checkpoint WHERE id = (SELECT min(id) FROM checkpoint)',
        (f) => assert.ok(f.some(({ kind }) => kind === 'checkpoint-removed')),
      ],
      'the newest checkpoint': [
        'DELETE FROM checkpoint WHERE id = (SELECT max(id) FROM checkpoint)',
        (f) => assert.ok(f.some(({ kind }) => kind === 'rolled-back' || kind === 'checkpoint-removed')),
      ],
      'all checkpoints': ['DELETE FROM checkpoint', (f) => assert.ok(f.some(({ kind }) => /checkpoint|rolled-back/.test(kind)))],
      'a forged checkpoint': [
        "INSERT INTO checkpoint (at, jws) VALUES (1, 'eyJhbGciOiJFZERTQSJ9.eyJhdCI6MSwicHJldmlvdXMiOiIiLCJoZWFkcyI6W119.AAAA')",
        (f) =>
          assert.deepEqual(
            f.map(({ kind }) => kind),
            ['checkpoint-forged'],
          ),
      ],
      'a history written anew': [
        `UPDATE audit SET body = replace(body, 'echo', 'ping'), tool = replace(tool, 'echo', 'ping'), hash = lower(hex(randomblob(32))) WHERE ${first}`,
        (f) => assert.ok(f.some(({ kind, chain }) => (kind === 'rewritten' || kind === 'edited') && chain === one)),
      ],
    };
    const remembered = await rememberedBy(keyring);
    for (const [name, [sql, check]] of Object.entries(attacks)) {
      tamper(sql);
      const faults = await look();
      try {
        check(faults);
      } catch (error) {
        throw new Error(`${name}: ${JSON.stringify(said(faults))}`, { cause: error });
      }
      putBack(honest.path);
      // The window that looked signed, too; nobody was there now.
      for (const [key, value] of remembered) await keyring.store(key, value);
    }
    assert.deepEqual(await look(), []);
    honest.remove();
  });

  it('by an older copy of the file is found: after a close, after a crash, and by a window that is open', async () => {
    await session(3);
    const old = copyOf(scene.state.path);
    await session(2);
    const now = copyOf(scene.state.path);
    const remembered = await rememberedBy(keyring);
    putBack(old.path);
    assert.ok((await look()).some(({ kind }) => kind === 'rolled-back'));
    for (const [key, value] of remembered) await keyring.store(key, value);
    putBack(now.path);
    assert.deepEqual(await look(), []);

    // A window that broke off: its last word in the keyring tells.
    const dead = await open();
    await calls(dead, 2);
    await dead.core.record.checkpoints.beat(dead.core.audit.chain, dead.core.audit.head);
    const beforeCrash = copyOf(scene.state.path);
    shift += 10 * BEAT_MS;
    putBack(now.path);
    const faults = await look();
    assert.ok(
      faults.some(({ kind, chain }) => kind === 'chain-removed' && chain === dead.core.audit.chain),
      JSON.stringify(faults),
    );
    for (const copy of [old, now, beforeCrash]) copy.remove();
  });

  it('under an open window is found by that window', async () => {
    const tunnel = await open();
    await calls(tunnel, 3);
    scene.outside.exec(`DELETE FROM audit WHERE n > 3`);
    await new Promise(setImmediate);
    assert.deepEqual(
      (await tunnel.core.audit.verify()).faults.map(({ kind, from }) => [kind, from]),
      [['cut', 4]],
    );
  });
});

/** Everything in the keyring that is remembered about the database. */
async function rememberedBy(keyring: MemorySecretStore): Promise<[string, string][]> {
  const out: [string, string][] = [];
  for (const key of keyring.keys()) {
    const value = await keyring.get(key);
    if (value !== undefined) out.push([key, value]);
  }
  return out;
}
