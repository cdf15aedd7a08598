import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { z } from 'zod';
import { Generations } from '../../../src/store/generations.ts';
import { MacKey, SignedCollection } from '../../../src/store/signedCollection.ts';
import { Bench, nextTurn } from '../../support/database.ts';

const Row = z.strictObject({ id: z.string(), value: z.number() });
type Row = z.infer<typeof Row>;

describe('SignedCollection', () => {
  let bench: Bench;
  let rows: SignedCollection<Row>;
  const open = (name = 'thing', generations?: Generations) => new SignedCollection(bench.window(), name, Row, bench.key, generations);
  const values = (collection = rows) => Object.fromEntries([...collection.rows()].map(([id, row]) => [id, row.value]));
  const problems = (collection = rows) => collection.tampering().map((t) => `${t.id}: ${t.problem}`);

  beforeEach(() => {
    bench = new Bench();
    rows = open();
    rows.write([
      { id: 'a', value: 1 },
      { id: 'b', value: 2 },
    ]);
  });
  afterEach(() => bench.close());

  it('holds what was written, in this and in another window', async () => {
    assert.deepEqual(values(), { a: 1, b: 2 });
    const other = open();
    assert.deepEqual(values(other), { a: 1, b: 2 });
    other.write([{ id: 'c', value: 3 }], ['a']);
    await nextTurn();
    assert.deepEqual(values(), { b: 2, c: 3 });
    assert.deepEqual(problems(), []);
  });

  it('says when another window changed something, once', async () => {
    let changes = 0;
    rows.rows();
    rows.onDidChange(() => changes++);
    open().write([{ id: 'c', value: 3 }]);
    await nextTurn();
    rows.refresh();
    rows.refresh();
    assert.equal(changes, 1);
  });

  it('does not see a row that was edited', async () => {
    await bench.tamper(`UPDATE signed_row SET body = '{"id":"a","value":9}' WHERE id = 'a'`);
    assert.deepEqual(values(), { b: 2 });
    assert.deepEqual(problems(), ['a: row changed']);
  });

  it('does not see a row that was forged, or copied under another id', async () => {
    await bench.tamper(`INSERT INTO signed_row SELECT collection, 'c', body, mac FROM signed_row WHERE id = 'a'`);
    await bench.tamper(`INSERT INTO signed_row VALUES ('thing', 'd', '{"id":"d","value":4}', '${'0'.repeat(64)}')`);
    assert.deepEqual(values(), { a: 1, b: 2 });
    assert.deepEqual(problems().sort(), ['c: row added from outside', 'd: row added from outside']);
  });

  it('does not see rows of another collection under its name', async () => {
    open('other').write([{ id: 'x', value: 7 }]);
    await bench.tamper(`INSERT INTO signed_row SELECT 'thing', id, body, mac FROM signed_row WHERE collection = 'other'`);
    await bench.tamper(
      `UPDATE manifest SET (generation, rows, mac) = (SELECT generation + 5, rows, mac FROM manifest WHERE collection = 'other') WHERE collection = 'thing'`,
    );
    assert.deepEqual(values(), {});
    assert.ok(problems().includes('*: list changed'));
  });

  it('does not see a row that took the body and MAC of another', async () => {
    await bench.tamper(`UPDATE signed_row SET (body, mac) = (SELECT body, mac FROM signed_row WHERE id = 'b') WHERE id = 'a'`);
    assert.deepEqual(values(), { b: 2 });
  });

  it('reports a row that was deleted', async () => {
    await bench.tamper(`DELETE FROM signed_row WHERE id = 'a'`);
    assert.deepEqual([values(), problems()], [{ b: 2 }, ['a: row removed from outside']]);
  });

  it('does not see an earlier version of a row that was put back', async () => {
    await bench.tamper(`CREATE TABLE kept AS SELECT * FROM signed_row WHERE id = 'a'`);
    rows.write([{ id: 'a', value: 5 }]);
    await bench.tamper(`UPDATE signed_row SET (body, mac) = (SELECT body, mac FROM kept) WHERE id = 'a'`);
    assert.deepEqual([values(), problems()], [{ b: 2 }, ['a: row changed']]);
  });

  it('does not see a row that was put back after its removal', async () => {
    await bench.tamper(`CREATE TABLE kept AS SELECT * FROM signed_row WHERE id = 'a'`);
    rows.write([], ['a']);
    await bench.tamper(`INSERT INTO signed_row SELECT * FROM kept`);
    assert.deepEqual([values(), problems()], [{ b: 2 }, ['a: row added from outside']]);
  });

  const restoreAll = `DELETE FROM signed_row; DELETE FROM manifest; INSERT INTO signed_row SELECT * FROM kept; INSERT INTO manifest SELECT * FROM kept_list`;
  const keepAll = `CREATE TABLE kept AS SELECT * FROM signed_row; CREATE TABLE kept_list AS SELECT * FROM manifest`;

  it('does not see rows that were put back together with their list', async () => {
    await bench.tamper(keepAll);
    rows.write([], ['a']);
    await bench.tamper(restoreAll);
    assert.deepEqual(values(), {});
    assert.ok(problems().includes('*: list changed'));
  });

  it('does not see them after a restart either', async () => {
    let kept: string | undefined;
    const keeper = { get: async () => kept, set: async (v: string) => void (kept = v) };
    const generations = new Generations(keeper);
    const first = open('thing', generations);
    first.rows();
    await bench.tamper(keepAll);
    first.write([], ['a']);
    await generations.settled();
    await bench.tamper(restoreAll);
    const later = new Generations(keeper);
    await later.refresh();
    const second = open('thing', later);
    assert.deepEqual(values(second), {});
    assert.ok(problems(second).includes('*: list changed'));
    second.write([{ id: 'n', value: 1 }]);
    assert.deepEqual(values(second), { n: 1 });
  });

  it('reports that everything is gone, list and all', async () => {
    await bench.tamper('DELETE FROM signed_row; DELETE FROM manifest');
    assert.deepEqual([values(), problems()], [{}, ['*: list changed']]);
  });

  it('sees nothing that was signed with another key', async () => {
    const stranger = new SignedCollection(bench.window(), 'thing', Row, new MacKey(randomBytes(32)));
    assert.deepEqual(values(stranger), {});
    assert.ok(problems(stranger).includes('*: list changed'));
  });

  it('writes all or nothing', async () => {
    assert.throws(() =>
      rows.write(
        [
          { id: 'c', value: 3 },
          { id: 'd', value: 'x' as unknown as number },
        ],
        ['a'],
      ),
    );
    assert.deepEqual(values(), { a: 1, b: 2 });
  });

  it('takes nothing for forged that another window changes in the very moment of reading', async () => {
    const other = open();
    const db = bench.window();
    const reading = new SignedCollection(db, 'thing', Row, bench.key);
    const all = db.all.bind(db);
    let value = 10;
    // The other window's commit falls between the list of rows and the rows.
    db.all = (...what) => {
      other.write([{ id: 'a', value: ++value }]);
      return all(...what);
    };
    for (let round = 0; round < 5; round++) {
      const { b, a } = values(reading);
      assert.deepEqual([b, a], [2, round === 0 ? 1 : 10 + round]);
      assert.deepEqual(problems(reading), []);
      await nextTurn();
    }
  });

  it('takes two windows that write in turn', async () => {
    const other = open();
    for (let i = 0; i < 20; i++) (i % 2 ? rows : other).write([{ id: `n${i}`, value: i }]);
    await nextTurn();
    assert.equal(rows.rows().size, 22);
    assert.deepEqual(values(), values(other));
    assert.deepEqual(problems(), []);
  });
});

describe('MacKey', () => {
  it('does not print its bytes', async () => {
    const bytes = randomBytes(32);
    const key = new MacKey(bytes);
    for (const text of [String(key), JSON.stringify({ key }), inspect(key, { showHidden: true })])
      assert.ok(!text.includes(bytes.toString('hex')) && !text.includes(bytes.toString('base64')));
  });

  it('tells lists of parts apart that read alike when joined', async () => {
    const key = new MacKey(randomBytes(32));
    assert.notEqual(key.mac('ab', 'c'), key.mac('a', 'bc'));
    assert.equal(key.verify(key.mac('a'), 'a'), true);
    assert.equal(key.verify('', 'a'), false);
  });
});
