import assert from 'node:assert/strict';
import { OpenPassages, type Placed } from '../../../src/tunnel/openPassages.ts';

describe('OpenPassages', () => {
  it('holds what was added and not removed, whatever the order, as a Set does', () => {
    const open = new OpenPassages<Placed>();
    const all = Array.from({ length: 50 }, (): Placed => ({ at: -1 }));
    const model = new Set<Placed>();
    let state = 1;
    for (let step = 0; step < 2_000; step++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      const one = all[(state >>> 8) % all.length]!;
      if (model.delete(one)) open.delete(one);
      else {
        model.add(one);
        open.add(one);
      }
      assert.equal(open.size, model.size);
      assert.deepEqual(new Set(open), model);
    }
  });

  it('removes nothing else for what is not in it', () => {
    const open = new OpenPassages<Placed>();
    const [inside, outside, gone] = [{ at: -1 }, { at: 0 }, { at: -1 }];
    open.add(gone);
    open.delete(gone);
    open.add(inside);
    open.delete(outside);
    open.delete(gone);
    assert.deepEqual([...open], [inside]);
  });

  it('goes through what was there when it was asked, though members leave meanwhile', () => {
    const open = new OpenPassages<Placed>();
    const all = [{ at: -1 }, { at: -1 }, { at: -1 }];
    for (const one of all) open.add(one);
    let visited = 0;
    for (const one of open) {
      open.delete(one);
      visited++;
    }
    assert.deepEqual([visited, open.size], [3, 0]);
  });
});
