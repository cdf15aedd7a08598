import assert from 'node:assert/strict';
import { remaining, visible } from '../../../src/common/text.ts';

describe('visible', () => {
  it('shows what would hide or turn text around', () => {
    assert.equal(visible('a\u202eb\u200bc\u0000d\ne\tf'), 'a\\u{202e}b\\u{200b}c\\u{0}d\\ne\\tf');
    assert.equal(visible('\u{e0041}\u3164\u2028'), '\\u{e0041}\\u{3164}\\u{2028}');
    assert.equal(visible('größe 😀 — ok'), 'größe 😀 — ok');
  });

  it('cuts in the middle by code points', () => {
    assert.equal(visible('😀'.repeat(5), 3), '😀…😀');
    assert.equal(visible('abc', 3), 'abc');
  });
});

describe('remaining', () => {
  it('speaks in the unit that fits', () => {
    assert.deepEqual([45_000, 60_000, 14 * 60_000, 3 * 3_600_000, 50 * 3_600_000, -5].map(remaining), [
      '45 s',
      '1 min',
      '14 min',
      '3 h',
      '2 d',
      '0 s',
    ]);
  });
});
