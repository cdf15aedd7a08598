import assert from 'node:assert/strict';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { entryHash } from '../../../src/audit/chain.ts';
import { BEAT_MS, ChainMemory } from '../../../src/audit/chainMemory.ts';
import { Checkpoints, newSigningKey, type CheckpointKeeper } from '../../../src/audit/checkpoints.ts';
import { verifyRecord, type Fault } from '../../../src/audit/verification.ts';
import type { Database } from '../../../src/store/database.ts';
import { JobThread } from '../../../src/store/jobThread.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from './samples.ts';

/** What remains of a window after `kill -9`: the database and the keyring. */
interface Window {
  readonly log: AuditLog;
  readonly db: Database;
  call(count: number): Promise<void>;
}

describe('verification with a memory outside the database', function () {
  // What the keyring is told has been flushed to the disk before, and a busy disk takes its time.
  this.timeout(30_000);
  let bench: Bench;
  let clock: ManualClock;
  let keyring: Map<string, string>;
  let thread: JobThread;
  let serial = 0;
  const checkpointsOn = (db: Database) => {
    const keeper: CheckpointKeeper = { get: async (name) => keyring.get(name), set: async (name, value) => void keyring.set(name, value) };
    const memory = new ChainMemory(clock, {
      get: async () => keyring.get('chains'),
      set: async (value) => void keyring.set('chains', value),
    });
    return new Checkpoints(db, keeper, clock, memory);
  };
  const open = async (): Promise<Window> => {
    const db = bench.window();
    const log = new AuditLog(db, clock, checkpointsOn(db));
    await log.begin();
    log.act({ act: 'started', window: 'w' });
    return {
      log,
      db,
      async call(count) {
        for (let i = 0; i < count; i++) {
          const id = `x-${++serial}`;
          await log.open(id, intent);
          log.close(id, outcome);
          log.flush();
        }
      },
    };
  };
  const close = async ({ log }: Window) => {
    log.act({ act: 'stopped', window: 'w' });
    await log.end();
    log.dispose();
  };
  /** The clock goes on and no window says anything: as after a crash of all. */
  const timePasses = () => clock.setWallClock(clock.now() + 10 * BEAT_MS);
  /** As somebody who opens the history later. */
  const verify = () => verifyRecord({ path: bench.path, checkpoints: checkpointsOn(bench.window()), thread });
  const kinds = (faults: readonly Fault[]) => faults.map(({ kind }) => kind);
  /** Resolves once the keyring knows how far a window is. */
  const beats = async ({ log }: Window) => {
    const noted = () => (JSON.parse(keyring.get('chains') ?? '{}') as { chains?: Record<string, { n: number }> }).chains?.[log.chain]?.n;
    while (noted() !== log.head.n) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  before(() => (thread = new JobThread()));
  after(() => thread.end());
  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock();
    keyring = new Map([['signing-key', await newSigningKey()]]);
  });
  afterEach(() => bench.close());

  it('has nothing to say of windows that closed in order, and remembers nothing of them', async () => {
    const [a, b] = [await open(), await open()];
    await a.call(3);
    await b.call(3);
    await close(a);
    await b.call(1);
    await close(b);
    const { faults, endings, chains } = await verify();
    assert.deepEqual([faults, endings, chains], [[], [], 2]);
    assert.deepEqual((JSON.parse(keyring.get('chains') ?? '') as { chains: object }).chains, {});
  });

  it('names a crash, with the calls whose end is not known, and calls it no tampering', async () => {
    const a = await open();
    await a.call(2);
    await a.log.open('lost', intent);
    assert.deepEqual(
      (await verify()).endings.map(({ how }) => how),
      ['running'],
    );
    timePasses();
    const { faults, endings } = await verify();
    assert.deepEqual(faults, []);
    assert.deepEqual(
      endings.map(({ how, n, open, exchanges }) => ({ how, n, open, exchanges })),
      [{ how: 'crashed', n: 6, open: 1, exchanges: ['lost'] }],
    );
  });

  it('signs what a window left that crashed, and forgets it', async () => {
    const a = await open();
    await a.call(2);
    timePasses();
    const b = await open();
    await b.log.checkpoint();
    await bench.tamper(`DELETE FROM audit WHERE chain = '${a.log.chain}' AND n > 3`);
    const { faults } = await verify();
    assert.deepEqual(
      faults.map(({ kind, chain, from, to }) => [kind, chain, from, to]),
      [['cut', a.log.chain, 4, 5]],
    );
  });

  it('leaves to a living window to sign what it wrote', async () => {
    const [a, b] = [await open(), await open()];
    await a.call(2);
    await b.log.checkpoint();
    const jws = String(bench.outside.prepare('SELECT jws FROM checkpoint').get()?.['jws']);
    const { heads, by } = (await checkpointsOn(bench.window()).open(jws)) ?? {};
    assert.deepEqual([by, heads?.map(([chain]) => chain)], [b.log.chain, [b.log.chain]]);
    // And once it is dead, what it wrote before that signature is found all the same.
    timePasses();
    await b.call(1);
    await b.log.checkpoint();
    await bench.tamper(`DELETE FROM audit WHERE chain = '${a.log.chain}'`);
    assert.deepEqual(kinds((await verify()).faults), ['chain-removed']);
  });

  it('finds a tail that was cut off after the last signature', async () => {
    const a = await open();
    await a.call(2);
    await a.log.checkpoint();
    await a.call(2);
    clock.advance(BEAT_MS);
    await beats(a);
    timePasses();
    await bench.tamper('DELETE FROM audit WHERE n > 7');
    const { faults } = await verify();
    assert.deepEqual(
      faults.map(({ kind, from, to }) => [kind, from, to]),
      [['cut', 8, 9]],
    );
  });

  it('finds a chain that was removed before anything was signed', async () => {
    const a = await open();
    await a.call(2);
    clock.advance(BEAT_MS);
    await beats(a);
    await bench.tamper('DELETE FROM audit');
    assert.deepEqual(kinds((await verify()).faults), ['chain-removed']);
  });

  it('finds, in the window itself, a tail that was cut off a moment ago', async () => {
    const a = await open();
    await a.call(2);
    await bench.tamper('DELETE FROM audit WHERE n = 5');
    assert.deepEqual(kinds((await a.log.verify()).faults), ['cut']);
  });

  it('finds a chain that somebody else wrote, and does not sign it', async () => {
    const a = await open();
    await a.call(1);
    let previous = '';
    for (let n = 1; n <= 3; n++) {
      const body = JSON.stringify({ act: 'grant-given', window: 'w' });
      previous = entryHash(previous, 'chain-forged', n, clock.now(), 'act', null, body);
      bench.outside
        .prepare("INSERT INTO audit (chain, n, at, kind, body, hash) VALUES ('chain-forged', ?, ?, 'act', ?, ?)")
        .run(n, clock.now(), body, previous);
    }
    await a.log.checkpoint();
    await close(a);
    const { faults } = await verify();
    assert.deepEqual(
      faults.map(({ kind, chain, to }) => [kind, chain, to]),
      [['foreign-chain', 'chain-forged', 3]],
    );
  });

  it('finds an older copy though nothing was signed since', async () => {
    const a = await open();
    await a.call(1);
    await a.log.checkpoint();
    bench.outside.exec('CREATE TABLE old AS SELECT * FROM audit');
    await a.call(2);
    clock.advance(BEAT_MS);
    await beats(a);
    bench.outside.exec('DELETE FROM audit; INSERT INTO audit SELECT * FROM old');
    timePasses();
    assert.deepEqual(kinds((await verify()).faults), ['cut']);
  });

  it('links checkpoints that two windows signed at the same moment, so that neither can go', async () => {
    const [a, b] = [await open(), await open()];
    for (let i = 0; i < 5; i++) {
      await Promise.all([a.call(1), b.call(1)]);
      await Promise.all([a.log.checkpoint(), b.log.checkpoint()]);
    }
    await close(a);
    await close(b);
    assert.deepEqual((await verify()).faults, []);
    const ids = bench.outside.prepare('SELECT id, at, jws FROM checkpoint').all();
    for (const { id, at, jws } of ids) {
      await bench.tamper(`DELETE FROM checkpoint WHERE id = ${Number(id)}`);
      assert.match(kinds((await verify()).faults).join(), /checkpoint-removed|rolled-back/, `checkpoint ${Number(id)}`);
      bench.outside.prepare('INSERT INTO checkpoint (id, at, jws) VALUES (?, ?, ?)').run(id ?? null, at ?? null, jws ?? null);
    }
  });

  it('gives no false alarm for a power cut that loses what was not on the disk yet', async () => {
    const a = await open();
    await a.call(3);
    await a.log.checkpoint();
    await a.call(3);
    timePasses();
    // Not noted yet, so not known to be lost: an honest gap, and a short one.
    await bench.tamper('DELETE FROM audit WHERE n > 9');
    const { faults, endings } = await verify();
    assert.deepEqual([faults, endings[0]?.how], [[], 'crashed']);
  });

  it('tells each kind of change apart, and where', async () => {
    const a = await open();
    await a.call(10);
    await close(a);
    const entry = (n: number) => bench.outside.prepare('SELECT seq FROM audit WHERE n = ?').get(n)?.['seq'];
    const seq = entry(6);
    const attacks: Readonly<Record<string, readonly [string, readonly (readonly [Fault['kind'], number?, number?])[]]>> = {
      edited: [`UPDATE audit SET body = replace(body, '"status":200', '"status":500') WHERE n = 5`, [['edited', 5, 5]]],
      deleted: ['DELETE FROM audit WHERE n IN (5, 6)', [['missing', 5, 6]]],
      swapped: [
        'UPDATE audit SET seq = -seq WHERE n IN (5, 6); UPDATE audit SET seq = CASE n WHEN 5 THEN (SELECT max(seq) FROM audit) + 100 ELSE -seq END WHERE seq < 0',
        [['reordered', 5, 5]],
      ],
      inserted: [
        `INSERT INTO audit (chain, n, at, kind, exchange, body, hash) SELECT chain, n, at, kind, exchange, body, hash FROM audit WHERE n = 5`,
        [['inserted', 5, 5]],
      ],
      cut: ['DELETE FROM audit WHERE n > 20', [['cut', 21, 22]]],
      index: [`UPDATE audit SET server = 'srv-9' WHERE n = 4`, [['index', 4, 4]]],
    };
    assert.notEqual(seq, undefined);
    bench.outside.exec('CREATE TABLE kept AS SELECT * FROM audit');
    for (const [name, [sql, expected]] of Object.entries(attacks)) {
      await bench.tamper(sql);
      const { faults } = await verify();
      assert.deepEqual(
        faults.map(({ kind, from, to }) => [kind, from, to]),
        expected,
        name,
      );
      await bench.tamper('DELETE FROM audit; INSERT INTO audit SELECT * FROM kept');
    }
    assert.deepEqual((await verify()).faults, []);
  });

  it('does its work here where no thread can be had, without holding up anything for long, and can be stopped', async () => {
    const a = await open();
    await Promise.all(Array.from({ length: 4_000 }, async (_, i) => a.log.open(`m-${i}`, intent)));
    const here = new JobThread({ here: true });
    const stop = new AbortController();
    let progress = 0;
    const checkpoints = checkpointsOn(bench.window());
    const { entries, faults } = await verifyRecord({
      path: bench.path,
      checkpoints,
      thread: here,
      onProgress: (done) => (progress = done),
    });
    assert.deepEqual([entries, faults, progress], [4_001, [], 1]);
    const stopped = verifyRecord({
      path: bench.path,
      checkpoints,
      thread: here,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    });
    await assert.rejects(stopped, { name: 'AbortError' });
    await here.end();
  });

  it('takes names that are no well-formed text', async () => {
    const a = await open();
    await a.log.open('half', { ...intent, tool: 'half \ud800 of a pair' });
    await close(a);
    assert.deepEqual((await verify()).faults, []);
  });
});
