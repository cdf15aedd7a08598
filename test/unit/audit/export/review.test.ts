import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AuditLog } from '../../../../src/audit/auditLog.ts';
import { Checkpoints, newSigningKey } from '../../../../src/audit/checkpoints.ts';
import { exportLines } from '../../../../src/audit/export/jsonLines.ts';
import { readEvents } from '../../../../src/audit/export/readEvents.ts';
import { reviewExport } from '../../../../src/audit/export/review.ts';
import { readSpan } from '../../../../src/audit/spanJobs.ts';
import { JobThread } from '../../../../src/store/jobThread.ts';
import type { Database } from '../../../../src/store/database.ts';
import { Bench } from '../../../support/database.ts';
import { ManualClock } from '../../../support/manualClock.ts';
import { intent, outcome } from '../samples.ts';

describe('reviews and spans of the record', () => {
  let bench: Bench;
  let clock: ManualClock;
  let db: Database;
  let checkpoints: Checkpoints;
  let log: AuditLog;
  let began: number;
  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock();
    began = clock.now();
    const kept = new Map([['signing-key', await newSigningKey()]]);
    db = bench.window();
    checkpoints = new Checkpoints(
      db,
      { get: async (name) => kept.get(name), set: async (name, value) => void kept.set(name, value) },
      clock,
    );
    log = new AuditLog(db, clock, checkpoints);
    // A call a minute, one that never ends, an act in between.
    for (let i = 0; i < 10; i++) {
      await log.open(`x-${i}`, intent);
      if (i !== 4) log.close(`x-${i}`, outcome);
      log.flush();
      if (i === 5) log.act({ act: 'paused', window: 'w' });
      clock.setWallClock(clock.now() + 60_000);
    }
    await log.checkpoint();
  });
  afterEach(() => bench.close());

  const write = async (span: { from?: number; to?: number }) => {
    const file = join(bench.folder.path, 'export.jsonl');
    let text = '';
    for await (const line of exportLines({ db, checkpoints, now: clock.now(), ...span })) text += line;
    writeFileSync(file, text);
    return file;
  };

  it('a part of the history holds for itself, and shows what is in it', async () => {
    const whole = await reviewExport(await write({}), clock);
    assert.deepEqual([whole.verification.problems, whole.events.length, whole.imported.whole], [[], 11, true]);
    const part = await reviewExport(await write({ from: 5, to: 14 }), clock);
    assert.deepEqual([part.verification.problems, part.imported.whole, part.imported.starts.length], [[], false, 1]);
    assert.ok(part.events.length >= 4 && part.events.length < 10);
  });

  it('what was changed inside before somebody else signed it is found, and what is no entry is not shown', async () => {
    bench.outside.exec(`UPDATE audit SET body = '{"strange":1}' WHERE n = 5`);
    const { verification, events } = await reviewExport(await write({}), clock);
    assert.ok(verification.faults.some(({ kind, from }) => kind === 'edited' && from === 5));
    assert.equal(events.length, 10);
  });

  it('a file that was changed is not shown at all', async () => {
    const file = await write({});
    writeFileSync(file, readFileSync(file, 'utf8').replace('echo', 'ping'));
    await assert.rejects(reviewExport(file, clock), { code: 'CULVERT_AUDIT_IMPORT_CHANGED' });
  });

  it('a period is found by time, with its acts', async () => {
    const thread = new JobThread();
    const span = await thread.run(readSpan, {
      path: db.path,
      from: began + 4 * 60_000,
      to: began + 6 * 60_000,
      maxActs: 10,
      maxGrants: 10,
    });
    // The intent without an end, intent and outcome of the next, the act.
    assert.deepEqual([span.entries, span.acts.map(({ body }) => (JSON.parse(body) as { act: string }).act)], [4, ['paused']]);
    const events = [];
    for await (const event of readEvents({ db, from: span.low ?? 0, to: span.high ?? 0 })) events.push(event);
    assert.deepEqual(
      events.map((event) => (event.kind === 'act' ? event.act.act : [event.exchange, event.outcome?.result])),
      [['x-5', 'ok'], 'paused', ['x-4', undefined]],
    );
    const none = await thread.run(readSpan, { path: db.path, from: 0, to: 1, maxActs: 10, maxGrants: 10 });
    assert.deepEqual([none.low, none.high, none.entries], [undefined, undefined, 0]);
    await thread.end();
  });
});
