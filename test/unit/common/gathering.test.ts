import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Gathering } from '../../../src/common/gathering.ts';

describe('Gathering', () => {
  it('gives back what came in, whatever the parts', () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.uint8Array({ minLength: 900, maxLength: 1_200 }),
      fc.constant(new Uint8Array(5_000).fill(7)),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 40 }), fc.option(fc.uint8Array({ maxLength: 5 })), (parts, tail) => {
        const gathering = new Gathering();
        for (const bytes of parts) gathering.add(Buffer.from(bytes));
        const expected = Buffer.concat(parts);
        assert.equal(gathering.bytes, expected.length);
        const end = tail ? Buffer.from(tail) : undefined;
        assert.deepEqual(gathering.take(end), end ? Buffer.concat([expected, end]) : expected);
        assert.equal(gathering.bytes, 0);
        assert.equal(gathering.take().length, 0);
      }),
    );
  });

  it('gives a part that is alone as it is', () => {
    const gathering = new Gathering();
    const part = Buffer.from('alone');
    gathering.add(part);
    assert.equal(gathering.take(), part);
    assert.equal(gathering.take(part), part);
  });

  it('holds little more than its bytes where they come one by one', () => {
    const before = process.memoryUsage();
    const gathering = new Gathering();
    const slab = Buffer.alloc(65_536, 'x');
    const total = 1_000_000;
    for (let i = 0; i < total; i++) gathering.add(slab.subarray(i % 65_536, (i % 65_536) + 1));
    const after = process.memoryUsage();
    const held = after.arrayBuffers - before.arrayBuffers;
    assert.ok(held < 3 * total, `${held} bytes of memory for ${total}`);
    assert.equal(gathering.take().length, total);
  });
});
