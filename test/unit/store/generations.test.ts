import assert from 'node:assert/strict';
import { Generations, type GenerationKeeper } from '../../../src/store/generations.ts';

/** A keeper that can be made to fail. */
class Keeper implements GenerationKeeper {
  value: string | undefined;
  locked = false;

  async get(): Promise<string | undefined> {
    return this.value;
  }

  async set(value: string): Promise<void> {
    if (this.locked) throw new Error('locked');
    this.value = value;
  }
}

describe('Generations', () => {
  it('only ever goes up', async () => {
    const keeper = new Keeper();
    const one = new Generations(keeper);
    one.note('grant', 5);
    one.note('grant', 3);
    await one.settled();
    const two = new Generations(keeper);
    await two.refresh();
    assert.deepEqual([one.highest('grant'), two.highest('grant'), two.highest('other')], [5, 5, 0]);
  });

  it('brings back what another window overwrote', async () => {
    const keeper = new Keeper();
    const one = new Generations(keeper);
    one.note('grant', 5);
    await one.settled();
    keeper.value = '{"grant":4,"server":2}';
    await one.refresh();
    await one.settled();
    assert.deepEqual(JSON.parse(keeper.value), { grant: 5, server: 2 });
  });

  it('survives a keeper that is locked or holds nonsense', async () => {
    const keeper = new Keeper();
    keeper.value = 'nonsense';
    keeper.locked = true;
    const one = new Generations(keeper);
    await one.refresh();
    one.note('grant', 1);
    await one.settled();
    keeper.locked = false;
    one.note('grant', 2);
    await one.settled();
    assert.deepEqual(JSON.parse(keeper.value), { grant: 2 });
  });
});
