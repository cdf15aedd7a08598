import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AuditLog } from '../../../src/audit/auditLog.ts';
import { Checkpoints, newSigningKey } from '../../../src/audit/checkpoints.ts';
import { adoptJournals, journalsOf } from '../../../src/audit/intentJournal.ts';
import { StoreError } from '../../../src/common/errors.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { intent, outcome } from './samples.ts';

/** As many as tell that calls come one upon the other. */
const ENDED = Array.from({ length: 6 }, (_, i) => `ended-${i}`);

describe('intent journal', () => {
  let bench: Bench;
  let clock: ManualClock;
  let signingKey: string;
  let log: AuditLog;
  const newLog = () => {
    const db = bench.window();
    const keeper = { get: async (name: string) => (name === 'signing-key' ? signingKey : undefined), set: async () => undefined };
    return new AuditLog(db, clock, new Checkpoints(db, keeper, clock));
  };
  const stored = () => bench.outside.prepare('SELECT n, kind, exchange FROM audit ORDER BY seq').all();
  const journal = () => journalsOf(bench.path)[0] ?? assert.fail('no journal');
  /** Calls that ended just now, and others that begin while their outcomes wait. */
  const gather = async (...exchanges: readonly string[]) => {
    for (const ended of ENDED) {
      await log.open(ended, intent);
      log.close(ended, outcome);
      await new Promise(setImmediate);
    }
    for (const exchange of exchanges) {
      await log.open(exchange, intent);
      await new Promise(setImmediate);
    }
  };

  before(async () => {
    signingKey = await newSigningKey();
  });
  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    log = newLog();
  });
  afterEach(() => bench.close());

  it('has an intent from the moment it is written, and the database a moment later, in one chain', async () => {
    await gather('a', 'b');
    assert.equal(stored().length, 6);
    const lines = readFileSync(journal(), 'utf8').split('\n');
    assert.deepEqual([lines.length, lines[1]?.split('\t')[2], lines[2]?.split('\t')[2]], [4, 'a', 'b']);
    clock.advance(20);
    assert.deepEqual(
      stored().map((row) => [row['n'], row['kind'], row['exchange']]),
      [
        ...ENDED.map((exchange, i) => [i + 1, 'intent', exchange]),
        [7, 'intent', 'a'],
        [8, 'intent', 'b'],
        ...ENDED.map((exchange, i) => [i + 9, 'outcome', exchange]),
      ],
    );
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('is for the user alone', async function () {
    if (process.platform === 'win32') this.skip();
    await gather('a');
    assert.equal(statSync(journal()).mode & 0o777, 0o600);
  });

  it('goes in front of what is written next', async () => {
    await gather('a');
    log.act({ act: 'paused', window: 'win-1' });
    assert.deepEqual(
      stored()
        .slice(5)
        .map((row) => [row['kind'], row['exchange']]),
      [['intent', 'ended-5'], ['intent', 'a'], ...ENDED.map((exchange) => ['outcome', exchange]), ['act', null]],
    );
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('is read with the rest', async () => {
    await gather('a');
    assert.deepEqual(
      log.activities({ limit: 2 }).map((a) => [a.exchange, a.outcome?.result]),
      [
        ['a', undefined],
        ['ended-5', 'ok'],
      ],
    );
  });

  it('is used again and again, and holds no entry twice', async () => {
    for (let i = 0; i < 5; i++) {
      await gather(`a-${i}`, `b-${i}`);
      log.flush();
    }
    await gather('last');
    assert.ok(statSync(journal()).size < 5_000);
    clock.advance(20);
    assert.equal(new Set(stored().map((row) => row['n'])).size, stored().length);
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('takes no intent while the database can’t be written, and keeps what it has until it can', async () => {
    await gather('a');
    bench.outside.exec(`CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`);
    clock.advance(20);
    await assert.rejects(async () => log.open('b', intent), StoreError);
    log.close('a', outcome);
    await new Promise(setImmediate);
    await assert.rejects(async () => log.open('c', intent), StoreError);
    bench.outside.exec('DROP TRIGGER no');
    await log.open('d', intent);
    assert.deepEqual(
      stored().map((row) => [row['kind'], row['exchange']]),
      [...ENDED, 'a', 'd'].map((exchange) => ['intent', exchange]),
    );
    log.flush();
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('takes no intent where somebody else changed the database since: it may be that it can’t be written any more', async () => {
    await gather('a');
    await bench.tamper(`CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`);
    await assert.rejects(async () => log.open('b', intent), StoreError);
  });

  it('is not used for calls that come one by one', async () => {
    for (const ended of ENDED) {
      await log.open(ended, intent);
      log.close(ended, outcome);
      await new Promise(setImmediate);
      clock.advance(20);
    }
    assert.deepEqual(journalsOf(bench.path), []);
  });

  it('that can’t be written is done without, and leaves no gap', async () => {
    mkdirSync(`${bench.path}.intents-${log.chain}`);
    await gather('a', 'b');
    assert.deepEqual(
      stored().map((row) => row['exchange']),
      [...ENDED, 'a', 'b'],
    );
    log.flush();
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('is gone once no more calls come, and there again with the next', async () => {
    await gather('a');
    clock.advance(20);
    assert.deepEqual(journalsOf(bench.path), []);
    await gather('b');
    assert.equal(journalsOf(bench.path).length, 1);
    clock.advance(20);
    assert.deepEqual((await log.verify()).problems, []);
  });

  it('is gone once its window has closed', async () => {
    await gather('a');
    log.dispose();
    assert.deepEqual(journalsOf(bench.path), []);
    assert.equal(stored().length, 13);
  });

  it('that can’t be removed does not keep the window from signing when it closes', async () => {
    await gather('a');
    const path = journal();
    rmSync(path);
    mkdirSync(path);
    await log.end();
    assert.ok(existsSync(path));
    assert.equal(stored().length, 13);
  });

  it('stays if the window closes while the database can’t be written', async () => {
    await gather('a');
    bench.outside.exec(`CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END`);
    log.dispose();
    assert.ok(existsSync(journal()));
  });

  describe('of a window that was killed', () => {
    /** A window that gathers three calls and is killed; its chain. */
    const kill = async (): Promise<string> => {
      const script = join(import.meta.dirname, '../../support/gatheringWindow.ts');
      const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, bench.path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exit = once(child, 'exit');
      const [said] = (await Promise.race([once(child.stdout, 'data'), exit.then(() => assert.fail('It ended by itself.'))])) as [Buffer];
      assert.equal(adoptJournals(bench.window()), 0, 'it still runs');
      child.kill('SIGKILL');
      await exit;
      return said.toString().trim();
    };
    const entriesOf = (chain: string) =>
      bench.outside
        .prepare('SELECT exchange FROM audit WHERE chain = ? ORDER BY n')
        .all(chain)
        .map((row) => row['exchange']);

    it('gets into the record with the next one that begins', async () => {
      const chain = await kill();
      assert.deepEqual(entriesOf(chain), ENDED);
      await log.begin();
      assert.deepEqual(entriesOf(chain), [...ENDED, 'x-0', 'x-1', 'x-2']);
      assert.deepEqual(journalsOf(bench.path), []);
      assert.deepEqual((await log.verify()).problems, []);
    });

    it('gets there when the record is verified', async () => {
      const chain = await kill();
      assert.deepEqual((await log.verify()).problems, []);
      assert.equal(entriesOf(chain).length, 9);
    });

    it('counts as far as it was written', async () => {
      const chain = await kill();
      const text = readFileSync(journal());
      writeFileSync(journal(), text.subarray(0, text.length - 40));
      adoptJournals(bench.window());
      assert.deepEqual(entriesOf(chain), [...ENDED, 'x-0', 'x-1']);
      assert.deepEqual((await log.verify()).problems, []);
    });

    it('counts as far as the chain holds', async () => {
      const chain = await kill();
      writeFileSync(journal(), readFileSync(journal(), 'utf8').replace(/("requestBytes":)1\b/, '$19'));
      adoptJournals(bench.window());
      assert.deepEqual(entriesOf(chain), [...ENDED, 'x-0']);
      assert.deepEqual((await log.verify()).problems, []);
    });

    it('gets into the record also if the next one has the number of its process', async () => {
      const chain = await kill();
      writeFileSync(journal(), readFileSync(journal(), 'utf8').replace(/"pid":\d+/, `"pid":${process.pid}`));
      adoptJournals(bench.window());
      assert.deepEqual(entriesOf(chain), [...ENDED, 'x-0', 'x-1', 'x-2']);
    });

    it('adds nothing that is in the record already', async () => {
      const chain = await kill();
      const [path, text] = [journal(), readFileSync(journal())];
      adoptJournals(bench.window());
      writeFileSync(path, text);
      assert.equal(adoptJournals(bench.window()), 0);
      assert.equal(entriesOf(chain).length, 9);
    });

    it('is left alone if the database is another one', async () => {
      await kill();
      bench.outside.exec('DELETE FROM audit');
      assert.equal(adoptJournals(bench.window()), 0);
      assert.equal(journalsOf(bench.path).length, 1);
    });

    it('does no harm if it is no journal', async () => {
      writeFileSync(`${bench.path}.intents-chain-x`, 'something else\n\n1\t2\n');
      assert.equal(adoptJournals(bench.window()), 0);
      assert.deepEqual((await log.verify()).problems, []);
    });
  });
});
