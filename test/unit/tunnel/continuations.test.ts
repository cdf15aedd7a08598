import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { CONTINUATION_MS, Continuations, stateOf } from '../../../src/tunnel/continuations.ts';
import { ManualClock } from '../../support/manualClock.ts';

describe('Continuations', () => {
  it('are found by the state, for the same principal and server', () => {
    const continuations = new Continuations(new ManualClock());
    continuations.add('s', 'me', 'srv', 'x-1');
    assert.equal(continuations.find('s', 'me', 'srv'), 'x-1');
    assert.equal(continuations.find('t', 'me', 'srv'), undefined);
    assert.equal(continuations.find('s', 'you', 'srv'), undefined);
    assert.equal(continuations.find('s', 'me', 'other'), undefined);
  });

  it('do not keep the state itself', () => {
    const continuations = new Continuations(new ManualClock());
    continuations.add('a state of some length', 'me', 'srv', 'x-1');
    assert.ok(!inspect(continuations, { depth: 9, showHidden: true }).includes('a state of some length'));
  });

  it('end after a while', () => {
    const clock = new ManualClock();
    const continuations = new Continuations(clock);
    continuations.add('s', 'me', 'srv', 'x-1');
    clock.advance(CONTINUATION_MS - 1);
    assert.equal(continuations.find('s', 'me', 'srv'), 'x-1');
    clock.advance(1);
    assert.equal(continuations.find('s', 'me', 'srv'), undefined);
  });

  it('are as many as there may be; then the oldest goes', () => {
    const continuations = new Continuations(new ManualClock(), 2);
    for (const state of ['a', 'b', 'a', 'c']) continuations.add(state, 'me', 'srv', `x-${state}`);
    assert.deepEqual(
      ['a', 'b', 'c'].map((state) => continuations.find(state, 'me', 'srv')),
      ['x-a', undefined, 'x-c'],
    );
  });
});

describe('stateOf', () => {
  it('is the same however the state is spelled', () => {
    const of = (text: string) => stateOf(Buffer.from(text), { start: 0, end: text.length });
    assert.equal(of('"a\\u0062"'), of('"ab"'));
    assert.equal(of('{"a":1}'), '{"a":1}');
  });
});
