import assert from 'node:assert/strict';
import { Lease } from '../../../src/store/leases.ts';
import { Bench } from '../../support/database.ts';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

describe('work that one window does for all', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());
  const lease = (owner: string) => new Lease(bench.window(), 'work', owner, 30 * MINUTE);

  it('is one window’s at a time, and done once a day', () => {
    const [a, b] = [lease('a'), lease('b')];
    const now = 100 * DAY;
    assert.deepEqual([a.take(now, DAY), b.take(now, DAY), a.take(now, DAY)], [true, false, false]);
    b.release(now);
    assert.equal(b.take(now + 1, DAY), false, 'only the owner gives it back');
    a.release(now);
    assert.deepEqual([a.take(now + DAY - 1, DAY), b.take(now + DAY, DAY)], [false, true]);
  });

  it('is free again after a window that died, and when the clock was set back', () => {
    const [a, b] = [lease('a'), lease('b')];
    const now = 100 * DAY;
    assert.equal(a.take(now, DAY), true);
    assert.deepEqual([b.take(now + 30 * MINUTE, DAY), b.take(now + 30 * MINUTE + 1, DAY)], [false, true]);
    b.release(now + 30 * MINUTE + 1);
    assert.equal(a.take(now - 10 * DAY, DAY), true);
  });
});
