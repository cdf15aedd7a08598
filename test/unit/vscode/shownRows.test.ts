import assert from 'node:assert/strict';
import { ShownRows } from '../../../src/vscode/views/shownRows.ts';

interface Row {
  readonly id: string;
  words: string;
  below: Row[];
}

const row = (id: string, ...below: Row[]): Row => ({ id, words: id, below });

describe('what a tree draws again', () => {
  let top: Row[];
  let shown: ShownRows<Row>;
  /** Draws rows as VS Code does, with all that is unfolded below them. */
  const draw = (above?: Row): void => {
    const rows = above ? above.below : top;
    shown.asked(rows, above);
    for (const one of rows) {
      shown.drawn(one);
      if (one.below.length > 0) draw(one);
    }
  };
  const changed = () => shown.changes()?.map(({ id }) => id);

  beforeEach(() => {
    top = [row('a', row('a1'), row('a2', row('deep'))), row('b', row('b1'))];
    shown = new ShownRows<Row>({ idOf: ({ id }) => id, looksOf: ({ words }) => words, rowsBelow: (above) => above?.below ?? top });
  });

  it('is nothing while nobody looks, and nothing while nothing changes', () => {
    assert.deepEqual(changed(), []);
    top.push(row('c'));
    assert.deepEqual(changed(), []);
    draw();
    assert.deepEqual(changed(), []);
  });

  it('is the row that looks different, and no other', () => {
    draw();
    const deep = top[0]?.below[1]?.below[0];
    assert.ok(deep);
    deep.words = 'deeper';
    assert.deepEqual(changed(), ['deep']);
    shown.drawn(deep);
    assert.deepEqual(changed(), []);
  });

  it('is a row below which others came, went or moved, instead of them', () => {
    draw();
    const [a] = top;
    assert.ok(a);
    for (const change of [() => a.below.unshift(row('new')), () => a.below.reverse(), () => a.below.splice(0, 2)]) {
      change();
      for (const one of a.below) one.words += '!';
      assert.deepEqual(changed(), ['a']);
      shown.drawn(a);
      draw(a);
      assert.deepEqual(changed(), []);
    }
  });

  it('is not what lies in a row that VS Code never unfolded', () => {
    shown.asked(top);
    for (const one of top) shown.drawn(one);
    const [a] = top;
    assert.ok(a);
    a.below.push(row('new'));
    assert.deepEqual(changed(), []);
    a.words = 'another';
    assert.deepEqual(changed(), ['a']);
  });

  it('is everything once rows on top came, went or moved', () => {
    for (const change of [() => top.push(row('c')), () => top.reverse(), () => top.splice(0)]) {
      draw();
      change();
      assert.equal(shown.changes(), undefined);
      draw();
      assert.deepEqual(changed(), []);
    }
  });

  it('is a row that a click changed, even if it should look as before', () => {
    draw();
    const [, b] = top;
    assert.ok(b);
    shown.spoil(b);
    assert.deepEqual(changed(), ['b']);
    shown.drawn(b);
    assert.deepEqual(changed(), []);
  });
});
