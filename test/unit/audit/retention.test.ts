import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints, newSigningKey } from '../../../src/audit/checkpoints.ts';
import { LegalHold } from '../../../src/audit/legalHold.ts';
import { applyRetention } from '../../../src/audit/retention.ts';
import type { Database } from '../../../src/store/database.ts';
import { Generations } from '../../../src/store/generations.ts';
import { MacKey } from '../../../src/store/signedCollection.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from './samples.ts';

const DAY = 24 * 3_600_000;

describe('retention', () => {
  let bench: Bench;
  let clock: ManualClock;
  let db: Database;
  let checkpoints: Checkpoints;
  let log: AuditLog;
  let hold: LegalHold;
  const fill = async (to: AuditLog, count: number) => {
    for (let i = 0; i < count; i++) {
      await to.open(`x-${clock.now()}-${i}-${to.chain}`, intent);
      to.close(`x-${clock.now()}-${i}-${to.chain}`, outcome);
      to.flush();
    }
  };
  const apply = (policy: { maxDays?: number; maxBytes?: number }) => applyRetention({ db, log, checkpoints, hold, clock, policy });
  const left = () => Number(bench.outside.prepare('SELECT count(*) AS n FROM audit').get()?.['n']);

  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock();
    const kept = new Map([['signing-key', await newSigningKey()]]);
    const keeper = { get: async (name: string) => kept.get(name), set: async (name: string, value: string) => void kept.set(name, value) };
    db = bench.window();
    checkpoints = new Checkpoints(db, keeper, clock);
    log = new AuditLog(db, clock, checkpoints);
    hold = new LegalHold(db, new MacKey(randomBytes(32)), new Generations(), clock);
    const other = new AuditLog(bench.window(), clock, new Checkpoints(bench.window(), keeper, clock));
    await fill(log, 600);
    await fill(other, 3);
    other.act({ act: 'stopped', window: 'w' });
    await other.checkpoint();
    clock.setWallClock(clock.now() + 10 * DAY);
    await fill(log, 5);
    await log.checkpoint();
  });
  afterEach(() => bench.close());

  it('drops what is old, and what is left verifies', async () => {
    const result = await apply({ maxDays: 5 });
    assert.deepEqual([result.dropped, result.reason], [1_207, 'age']);
    assert.equal(left(), 11);
    const { problems, dropped } = await log.verify();
    assert.deepEqual([problems, dropped], [[], 1_207]);
    await fill(log, 2);
    await log.checkpoint();
    assert.deepEqual((await log.verify()).problems, []);
    assert.equal((await apply({ maxDays: 5 })).reason, 'nothing to drop');
  });

  it('still finds what is changed behind the tombstone, and what goes beyond it', async () => {
    await apply({ maxDays: 5 });
    bench.outside.exec('CREATE TABLE kept AS SELECT * FROM audit');
    const restore = 'DELETE FROM audit; INSERT INTO audit SELECT * FROM kept';
    await bench.tamper('DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)');
    assert.match((await log.verify()).problems.join(), /entry 1201 is missing/);
    await bench.tamper(restore);
    await bench.tamper(`UPDATE audit SET body = replace(body, 'echo', 'ping'), tool = 'ping' WHERE seq = (SELECT min(seq) FROM audit)`);
    assert.match((await log.verify()).problems.join(), /entry 1201 was changed/);
    await bench.tamper(restore);
    await bench.tamper('DELETE FROM checkpoint WHERE id = (SELECT max(id) FROM checkpoint)');
    assert.ok((await log.verify()).problems.length > 0);
  });

  it('drops the oldest while the record is too large, but nothing of the last day', async () => {
    const { dropped, reason } = await apply({ maxBytes: 1 });
    assert.equal(reason, 'size');
    assert.ok(dropped > 1_000 && left() >= 11, `${dropped} dropped, ${left()} left`);
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('goes on where it broke off', async () => {
    await apply({ maxDays: 5 });
    // As if only the tombstone had been written.
    const chain = log.chain;
    await bench.tamper(`INSERT INTO audit (seq, chain, n, at, kind, body, hash) VALUES (1, '${chain}', 1200, 0, 'outcome', '{}', 'x')`);
    const { chains } = { chains: bench.outside.prepare('SELECT count(*) AS n FROM audit WHERE seq = 1').get()?.['n'] };
    assert.equal(chains, 1);
    await apply({ maxDays: 5 });
    assert.equal(left(), 11);
  });

  it('drops nothing while it is held, and not either after somebody removed the hold from outside', async () => {
    const { id } = hold.set('case 4711');
    assert.equal((await apply({ maxDays: 5 })).reason, 'held');
    await bench.tamper("DELETE FROM signed_row WHERE collection = 'legal-hold'");
    assert.equal((await apply({ maxDays: 5 })).reason, 'held');
    hold.forgetTampering();
    hold.set('again');
    for (const { id: one } of hold.list()) hold.release(one);
    assert.notEqual(id, '');
    assert.equal((await apply({ maxDays: 5 })).reason, 'age');
  });

  it('drops nothing of a record that was tampered with', async () => {
    await bench.tamper(`UPDATE audit SET at = at + 1 WHERE n = 4`);
    await assert.rejects(apply({ maxDays: 5 }), { code: 'CULVERT_AUDIT_RETENTION_TAMPERED' });
    assert.equal(left(), 1_217);
  });

  it('keeps what was not delivered yet, but not for ever', async () => {
    bench.outside.exec("INSERT INTO export_cursor (sink, seq, open) VALUES ('s', 100, '[]')");
    assert.equal((await apply({ maxDays: 8 })).dropped, 100);
    assert.equal((await apply({ maxDays: 4 })).dropped, 1_107);
    assert.deepEqual((await log.verify()).problems, []);
  });
});
