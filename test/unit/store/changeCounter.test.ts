import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { ChangeCounter } from '../../../src/store/changeCounter.ts';
import { Bench, nextTurn } from '../../support/database.ts';

(process.platform === 'win32' ? describe.skip : describe)('ChangeCounter', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());
  const INSERT = "INSERT INTO kept (name, value) VALUES (?, '')";
  let name = 0;
  const setUp = () => {
    const [own, other] = [bench.window(), bench.window()];
    own.run('CREATE TABLE IF NOT EXISTS kept (name TEXT, value TEXT)');
    return { own, other, counter: new ChangeCounter(own.path, Infinity) };
  };
  const commit = (db: ReturnType<typeof setUp>['own']) => db.run(INSERT, `n${++name}`);

  it('says that nothing changed once a commit of its own was seen, and until somebody else commits', () => {
    const { own, other, counter } = setUp();
    assert.equal(counter.isUnchanged(), false, 'not before it was begun');
    counter.mark();
    assert.equal(counter.isUnchanged(), false, 'not before it is proven');
    commit(own);
    counter.committed();
    assert.equal(counter.isUnchanged(), true);
    assert.equal(counter.isUnchanged(), true);
    commit(other);
    assert.equal(counter.isUnchanged(), false);
    commit(own);
    counter.committed();
    assert.equal(counter.isUnchanged(), false);
    counter.mark();
    assert.equal(counter.isUnchanged(), true);
  });

  it('asks after a commit of which nothing was said, and after a log that was begun anew', () => {
    const { own, counter } = setUp();
    counter.mark();
    commit(own);
    counter.committed();
    assert.equal(counter.isUnchanged(), true);
    commit(own);
    assert.equal(counter.isUnchanged(), false);
    counter.mark();
    const third = new DatabaseSync(own.path);
    third.exec('PRAGMA wal_checkpoint(RESTART)');
    third.close();
    commit(own);
    counter.committed();
    assert.equal(counter.isUnchanged(), false, 'other salts');
    counter.mark();
    assert.equal(counter.isUnchanged(), true);
  });

  it('never says so wrongly, whatever order things come in', () => {
    const { own, other, counter } = setUp();
    let state = 1;
    const random = (n: number) => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % n;
    counter.mark();
    let foreign = false;
    let unchanged = 0;
    for (let step = 0; step < 2_000; step++)
      switch (random(7)) {
        case 0:
          commit(other);
          foreign = true;
          break;
        case 1:
          own.transaction(() => {
            commit(own);
            commit(own);
          });
          counter.committed();
          break;
        case 2:
          commit(own);
          counter.committed();
          break;
        case 3:
          if (random(4) === 0) own.run("DELETE FROM kept WHERE name = 'none'");
          break;
        default:
          if (counter.isUnchanged()) {
            assert.equal(foreign, false);
            unchanged++;
          } else if (random(2) === 0) {
            counter.mark();
            foreign = false;
          }
      }
    assert.ok(unchanged > 100, `${unchanged} times nothing to ask`);
  });

  it('the database sees every commit of another window by it, and none of its own', async () => {
    const { own, other } = setUp();
    let last = own.dataVersion();
    for (let round = 0; round < 300; round++) {
      await nextTurn();
      const others = round % 3 === 0;
      for (let n = round % 4; n >= 0; n--) {
        commit(own);
        own.noteCommit();
      }
      if (others) commit(other);
      const now = own.dataVersion();
      assert.equal(now !== last, others);
      last = now;
    }
  });
});
