import assert from 'node:assert/strict';
import { DisposableStore, Emitter, toDisposable } from '../../../src/common/disposable.ts';

describe('DisposableStore', () => {
  it('releases everything in reverse order, also when one fails', () => {
    const released: string[] = [];
    const store = new DisposableStore();
    store.add(toDisposable(() => released.push('a')));
    store.add({
      dispose: () => {
        throw new Error('stuck');
      },
    });
    store.add(toDisposable(() => released.push('c')));
    assert.throws(() => store.dispose(), AggregateError);
    assert.deepEqual(released, ['c', 'a']);
  });

  it('releases at once what comes too late', () => {
    const store = new DisposableStore();
    store.dispose();
    let released = 0;
    store.add(toDisposable(() => released++));
    assert.equal(released, 1);
  });
});

describe('Emitter', () => {
  it('reaches every listener though one throws, and none that left', () => {
    const errors: unknown[] = [];
    const emitter = new Emitter<number>((e) => errors.push(e));
    const got: number[] = [];
    emitter.event(() => {
      throw new Error('x');
    });
    const subscription = emitter.event((n) => got.push(n));
    emitter.fire(1);
    subscription.dispose();
    emitter.fire(2);
    assert.deepEqual([got, errors.length], [[1], 2]);
  });
});
