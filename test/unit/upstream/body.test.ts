import assert from 'node:assert/strict';
import { Body, MAX_WAITING_BYTES } from '../../../src/upstream/body.ts';
import { MAX_DISCARDED_BYTES } from '../../../src/upstream/limits.ts';

describe('Body', () => {
  const made = () => {
    const calls: string[] = [];
    let abandoned: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => (abandoned = resolve));
    const body = new Body({
      pause: () => void calls.push('pause'),
      resume: () => void calls.push('resume'),
      abandon: () => {
        calls.push('abandon');
        abandoned();
      },
    });
    return { body, calls, gone };
  };
  const chunk = (size: number, fill = 'x') => Buffer.alloc(size, fill);

  it('gives chunks in order, those that wait and those that come', async () => {
    const { body } = made();
    body.push(Buffer.from('a'));
    body.push(Buffer.from('b'));
    const whole = body.collect(10);
    body.push(Buffer.from('c'));
    await Promise.resolve();
    body.push(Buffer.from('d'));
    body.end();
    assert.equal((await whole)?.toString(), 'abcd');
  });

  it('asks its source to pause once too much waits, and to go on once it is read', async () => {
    const { body, calls } = made();
    body.push(chunk(MAX_WAITING_BYTES));
    assert.deepEqual(calls, []);
    body.push(chunk(1));
    body.push(chunk(1));
    assert.deepEqual(calls, ['pause']);
    const reader = body[Symbol.asyncIterator]();
    await reader.next();
    assert.deepEqual(calls, ['pause', 'resume']);
    await reader.return();
    assert.deepEqual(calls, ['pause', 'resume', 'abandon']);
  });

  it('collects no more than it may, to the byte', async () => {
    for (const [size, good] of [
      [10, true],
      [11, false],
    ] as const) {
      const { body } = made();
      body.push(chunk(size));
      body.end();
      assert.equal((await body.collect(10))?.length, good ? size : undefined);
    }
  });

  it('breaks off a body that does not end in time, and lets its source go', async () => {
    const { body, calls } = made();
    body.push(chunk(1));
    await assert.rejects(async () => body.collect(10, { timeoutMs: 20 }), /did not end within 0\.02 seconds/);
    assert.deepEqual(calls, ['abandon']);
  });

  it('has no limit of time once it ended', async () => {
    const { body, calls } = made();
    const whole = body.collect(10, { timeoutMs: 20 });
    body.push(chunk(1));
    body.end();
    assert.equal((await whole)?.length, 1);
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.deepEqual(calls, []);
  });

  it('reads a rest that nobody wants, up to a limit of size', () => {
    const { body, calls } = made();
    body.push(chunk(10));
    body.discard();
    body.push(chunk(MAX_DISCARDED_BYTES - 10));
    assert.deepEqual(calls, []);
    body.push(chunk(1));
    assert.deepEqual(calls, ['abandon']);
    const large = made();
    large.body.push(chunk(MAX_DISCARDED_BYTES + 1));
    large.body.discard();
    assert.deepEqual(large.calls, ['abandon']);
  });

  it('breaks off a rest that takes too long, or is too much already', async () => {
    const slow = made();
    slow.body.discard(20);
    await slow.gone;
    const paused = made();
    paused.body.push(chunk(MAX_WAITING_BYTES + 1));
    paused.body.discard();
    assert.deepEqual(paused.calls, ['pause', 'abandon']);
  });

  it('has nothing to break off once it ended', async () => {
    const { body, calls } = made();
    body.discard(20);
    body.end();
    body.giveUp();
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.deepEqual(calls, []);
  });

  it('says what broke it, to whoever reads now or later', async () => {
    const { body } = made();
    const whole = body.collect(10);
    body.fail(new Error('gone'));
    await assert.rejects(async () => whole, /gone/);
    await assert.rejects(async () => body.collect(10), /gone/);
    body.end();
    await assert.rejects(body[Symbol.asyncIterator]().next(), /gone/);
  });
});
