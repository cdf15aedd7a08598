import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints, newSigningKey, type CheckpointKeeper } from '../../../src/audit/checkpoints.ts';
import type { Intent, Outcome } from '../../../src/audit/record.ts';
import { Database } from '../../../src/store/database.ts';
import { StoreError } from '../../../src/common/errors.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const intent: Intent = {
  client: 'agent',
  window: 'win-1',
  claims: {},
  server: 'srv-1',
  serverLabel: 'GitHub',
  origin: 'https://a.example',
  era: 'legacy',
  method: 'tools/call',
  tool: 'echo',
  effect: 'allow',
  decidedBy: 'grant-1',
  reason: '',
  credentials: [],
  requestBytes: 10,
};
const outcome: Outcome = { result: 'ok', status: 200, responseBytes: 5, findings: 0, totalMs: 1, decisionMs: 0 };

describe('AuditLog', () => {
  let bench: Bench;
  let clock: ManualClock;
  let kept: Map<string, string>;
  let keeper: CheckpointKeeper;
  let log: AuditLog;
  const openOn = (db: Database) => new AuditLog(db, clock, new Checkpoints(db, keeper, clock));
  const open = () => openOn(bench.window());
  const fill = async (to: AuditLog, count: number, tag = 'x') => {
    for (let i = 0; i < count; i++) {
      await to.open(`${tag}-${i}`, intent);
      to.close(`${tag}-${i}`, outcome);
      to.flush();
    }
  };
  const problemsOf = async (of = log) => (await of.verify()).problems;

  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock();
    kept = new Map([['signing-key', await newSigningKey()]]);
    keeper = { get: async (name) => kept.get(name), set: async (name, value) => void kept.set(name, value) };
    log = open();
    await fill(log, 5);
    log.act({ act: 'paused', window: 'win-1' });
  });
  afterEach(() => bench.close());

  it('verifies what it wrote', async () => {
    await log.checkpoint();
    await fill(log, 2, 'y');
    await log.checkpoint();
    await log.checkpoint();
    const { entries, chains, checkpoints, problems } = await log.verify();
    assert.deepEqual({ entries, chains, checkpoints, problems }, { entries: 15, chains: 1, checkpoints: 2, problems: [] });
  });

  it('verifies an empty record', async () => {
    const empty = new Bench();
    const { entries, chains, checkpoints, problems } = await openOn(empty.window()).verify();
    assert.deepEqual({ entries, chains, checkpoints, problems }, { entries: 0, chains: 0, checkpoints: 0, problems: [] });
    empty.close();
  });

  it('takes two windows that write in turn, a chain each', async () => {
    const other = open();
    for (let i = 0; i < 10; i++) await fill(i % 2 ? log : other, 1, `t${i}`);
    await Promise.all([log.checkpoint(), other.checkpoint()]);
    const { chains, problems } = await other.verify();
    assert.deepEqual([chains, problems], [2, []]);
  });

  const changes: Readonly<Record<string, readonly [sql: string, finds: RegExp]>> = {
    'an edited text': [`UPDATE audit SET body = replace(body, '"ok"', '"denied"') WHERE n = 4`, /entry 4 was changed/],
    'an edited time': ['UPDATE audit SET at = at + 1 WHERE n = 4', /entry 4 was changed/],
    'an edited exchange': [`UPDATE audit SET exchange = 'x-0' WHERE n = 4`, /entry 4 was changed/],
    'an edited kind': [`UPDATE audit SET kind = 'act' WHERE n = 4`, /entry 4/],
    'an edited index': [`UPDATE audit SET tool = 'other' WHERE n = 3`, /index of entry 3/],
    'an edited hash': [`UPDATE audit SET hash = '0' WHERE n = 4`, /entry 4 was changed|entry 5 was changed/],
    'a text that is no JSON any more': [`UPDATE audit SET body = 'x' WHERE n = 3`, /entry 3 was changed/],
    'a removed entry': ['DELETE FROM audit WHERE n = 4', /entry 4 is missing/],
    'a removed entry before one that is no JSON': [
      `DELETE FROM audit WHERE n = 4; UPDATE audit SET body = 'x' WHERE n = 5`,
      /entry 4 is missing/,
    ],
    'removed entries': ['DELETE FROM audit WHERE n IN (3, 4, 5)', /entry 3 to 5 is missing/],
    'a removed beginning': ['DELETE FROM audit WHERE n < 3', /entry 1 to 2 is missing/],
    'two entries in the other order': [
      'UPDATE audit SET n = -n WHERE n IN (4, 6); UPDATE audit SET n = CASE n WHEN -4 THEN 6 ELSE 4 END WHERE n < 0',
      /entry 5 stands out of order/,
    ],
    'a removed entry that the next ones close up to': [
      'DELETE FROM audit WHERE n = 4; UPDATE audit SET n = -(n - 1) WHERE n > 4; UPDATE audit SET n = -n WHERE n < 0',
      /entry 4 was changed/,
    ],
    'an inserted entry': [
      `UPDATE audit SET n = -(n + 1) WHERE n > 4; UPDATE audit SET n = -n WHERE n < 0; INSERT INTO audit (chain, n, at, kind, exchange, body, hash) SELECT chain, 5, at, 'outcome', 'x-9', body, hash FROM audit WHERE n = 4`,
      /entry 5 stands out of order/,
    ],
    'an entry put at the end': [
      `INSERT INTO audit (chain, n, at, kind, exchange, body, hash) SELECT chain, 12, at, kind, exchange, body, hash FROM audit WHERE n = 2`,
      /entry 12 was changed/,
    ],
  };
  for (const [what, [sql, finds]] of Object.entries(changes))
    it(`finds ${what}`, async () => {
      bench.outside.exec(sql);
      assert.match((await problemsOf()).join('\n'), finds);
    });

  describe('once it is signed', () => {
    beforeEach(() => log.checkpoint());

    it('finds a cut tail', async () => {
      bench.outside.exec('DELETE FROM audit WHERE n > 6');
      assert.match((await problemsOf()).join(), /entries up to 11 were signed .* no longer there/);
    });

    it('finds a removed chain', async () => {
      const other = open();
      await fill(other, 2);
      await other.checkpoint();
      bench.outside.exec(`DELETE FROM audit WHERE chain = '${other.chain}'`);
      assert.match((await problemsOf()).join(), new RegExp(`Chain ${other.chain}: .* no longer there`));
    });

    it('finds a chain that was written anew from some entry on', async () => {
      bench.outside.exec('DELETE FROM audit WHERE n > 6');
      const forged = open();
      await fill(forged, 3);
      bench.outside.exec(`DELETE FROM audit WHERE chain <> '${forged.chain}'`);
      assert.ok((await problemsOf()).length > 0);
    });

    it('finds that a signed entry was exchanged together with all that follow', async () => {
      // Whoever can write can compute hashes: only the signature tells.
      const { entryHash } = await import('../../../src/audit/chain.ts');
      const rows = bench.outside.prepare('SELECT * FROM audit ORDER BY n').all();
      let previous = '';
      for (const row of rows) {
        const body = String(row['body']).replace('"ok"', '"denied"');
        previous = entryHash(
          previous,
          String(row['chain']),
          Number(row['n']),
          Number(row['at']),
          String(row['kind']),
          row['exchange'] === null ? null : String(row['exchange']),
          body,
        );
        bench.outside.prepare('UPDATE audit SET body = ?, hash = ? WHERE seq = ?').run(body, previous, row['seq'] ?? null);
      }
      assert.match((await problemsOf()).join(), /entry 11 is not the one that was signed/);
    });

    it('finds a cut tail together with the signatures over it', async () => {
      await fill(log, 1, 'y');
      await log.checkpoint();
      bench.outside.exec('DELETE FROM audit WHERE n > 11; DELETE FROM checkpoint WHERE id = 2');
      assert.match((await problemsOf()).join(), /newest checkpoint is gone/);
    });

    it('finds that all signatures are gone', async () => {
      bench.outside.exec('DELETE FROM checkpoint');
      assert.match((await problemsOf()).join(), /All checkpoints were removed/);
    });

    it('finds a signature by somebody else, and a removed one in between', async () => {
      await fill(log, 1, 'y');
      await log.checkpoint();
      await fill(log, 1, 'z');
      await log.checkpoint();
      bench.outside.exec('DELETE FROM checkpoint WHERE id = 2');
      assert.match((await problemsOf()).join(), /before checkpoint 3 was removed/);
      bench.outside.exec(`UPDATE checkpoint SET jws = replace(jws, '.', '.e') WHERE id = 3`);
      assert.match((await problemsOf()).join(), /Checkpoint 3 is not signed by this installation/);
    });

    const rollBack = async (): Promise<AuditLog> => {
      bench.outside.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      copyFileSync(bench.path, `${bench.path}.old`);
      await fill(log, 3, 'later');
      await log.checkpoint();
      const db = Database.open(`${bench.path}.old`);
      return openOn(db);
    };

    it('finds that an older copy of the database was put in its place', async () => {
      const older = await rollBack();
      assert.match((await problemsOf(older)).join(), /newest checkpoint is gone/);
    });

    it('still finds it after the older copy was written to and signed', async () => {
      const older = await rollBack();
      await fill(older, 2, 'new');
      await older.checkpoint();
      await older.checkpoint();
      assert.match((await problemsOf(older)).join(), /A checkpoint before checkpoint 2 was removed/);
    });

    it('still finds that all signatures were removed after a new one', async () => {
      bench.outside.exec('DELETE FROM checkpoint; DELETE FROM audit WHERE n > 3');
      const next = open();
      await fill(next, 1, 'new');
      await next.checkpoint();
      assert.match((await problemsOf(next)).join(), /was removed/);
    });
  });

  it('writes nothing once it is closed, and says so', async () => {
    log.dispose();
    await assert.rejects(async () => log.open('x', intent), StoreError);
  });

  it('throws where it can not write, and goes on without a gap afterwards', async () => {
    bench.outside.exec(`CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`);
    await assert.rejects(Promise.all([log.open('x', intent), log.open('y', intent)]), StoreError);
    bench.outside.exec('DROP TRIGGER no');
    await fill(log, 1, 'after');
    assert.deepEqual(await problemsOf(), []);
  });

  it('gives calls with their outcomes, newest first, page by page', async () => {
    await log.open('open', { ...intent, server: 'srv-2' });
    const all = log.activities({ limit: 100 });
    assert.deepEqual(
      all.map((a) => [a.exchange, a.outcome?.result]),
      [['open', undefined], ...[4, 3, 2, 1, 0].map((i) => [`x-${i}`, 'ok'])],
    );
    const page = log.activities({ limit: 2, before: all[1]?.seq ?? 0 });
    assert.deepEqual(
      page.map((a) => a.exchange),
      ['x-3', 'x-2'],
    );
    assert.deepEqual(
      log.activities({ limit: 9, server: 'srv-2' }).map((a) => a.exchange),
      ['open'],
    );
    assert.equal(log.entries({ exchange: 'x-1', limit: 9 }).length, 2);
  });

  it('has an intent in the file when it says so, though many are written at once', async () => {
    let stored = 0;
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        await log.open(`now-${i}`, intent);
        stored += Number(bench.outside.prepare('SELECT count(*) AS n FROM audit WHERE exchange = ?').get(`now-${i}`)?.['n']);
      }),
    );
    assert.equal(stored, 50);
  });

  it('keeps outcomes that can not be written until they can', async () => {
    await log.open('late', intent);
    bench.outside.exec(`CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`);
    log.close('late', outcome);
    clock.advance(1000);
    assert.equal(log.activities({ limit: 1 })[0]?.outcome, undefined);
    bench.outside.exec('DROP TRIGGER no');
    assert.equal(log.activities({ limit: 1 })[0]?.outcome?.result, 'ok');
    assert.deepEqual(await problemsOf(), []);
  });

  it('can be told to stop verifying', async () => {
    await Promise.all(Array.from({ length: 2500 }, async (_, i) => log.open(`many-${i}`, intent)));
    await assert.rejects(log.verify(AbortSignal.abort()), { name: 'AbortError' });
  });

  it('needs the key that signs', async () => {
    kept.delete('signing-key');
    await assert.rejects(open().checkpoint(), { code: 'CULVERT_VAULT_NO_SIGNING_KEY' });
  });
});
