import assert from 'node:assert/strict';
import { ToolCatalog } from '../../../src/integrity/toolCatalog.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const tool = (name: string, part: object = {}) => ({ name, definition: JSON.stringify({ name, description: 'd', ...part }) });
const reading = { annotations: { readOnlyHint: true } };

describe('ToolCatalog', () => {
  let bench: Bench;
  let catalog: ToolCatalog;
  beforeEach(() => {
    bench = new Bench();
    catalog = new ToolCatalog(bench.window(), bench.key, new Generations(), new ManualClock());
  });
  afterEach(() => bench.close());

  it('pins what it sees first and reports what says something else later', async () => {
    assert.deepEqual(catalog.observe('s', [tool('a'), tool('b')]), []);
    assert.deepEqual(catalog.observe('s', [tool('a'), tool('b')]), []);
    assert.deepEqual(catalog.observe('s', [tool('a', { description: 'e' }), tool('b')]), ['a']);
    assert.deepEqual(catalog.observe('s', [{ name: 'b', definition: ' {"description":"d" , "name":"b"}' }]), []);
    assert.deepEqual(catalog.observe('s', [tool('b', { inputSchema: { type: 'object' } })]), ['b']);
  });

  it('does not unpin a tool that hides for a while', async () => {
    catalog.observe('s', [tool('a')]);
    catalog.observe('s', []);
    assert.deepEqual(catalog.observe('s', [tool('a', { title: 'new' })]), ['a']);
  });

  it('does not let a server turn a writing tool into a reading one', async () => {
    catalog.observe('s', [tool('a')]);
    catalog.observe('s', [tool('a', reading)]);
    assert.equal(catalog.reads('s', 'a'), false);
  });

  it('takes the flag away from a tool that no longer says it only reads, for good', async () => {
    catalog.observe('s', [tool('a', reading)]);
    assert.equal(catalog.reads('s', 'a'), true);
    catalog.observe('s', [tool('a')]);
    assert.equal(catalog.reads('s', 'a'), false);
    catalog.observe('s', [tool('a', reading)]);
    assert.equal(catalog.reads('s', 'a'), false);
  });

  it('takes only a true flag for one, and knows no others', async () => {
    for (const [i, hint] of [['true'], [1], [null]].entries()) {
      catalog.observe('s', [tool(`t${i}`, { annotations: { readOnlyHint: hint[0] } })]);
      assert.equal(catalog.reads('s', `t${i}`), false);
    }
    assert.deepEqual(
      [catalog.reads('s', 'unknown'), catalog.reads('other', 'a'), catalog.reads('s', 'constructor')],
      [false, false, false],
    );
  });

  it('keeps title and description for showing, cut', async () => {
    catalog.observe('s', [tool('a', { description: 'x'.repeat(1000), annotations: { title: 'T' } })]);
    const [known] = catalog.tools('s');
    assert.deepEqual([known?.title, known?.description?.length], ['T', 400]);
  });

  it('forgets a server', async () => {
    catalog.observe('s', [tool('a', reading)]);
    catalog.forget('s');
    assert.deepEqual(catalog.tools('s'), []);
  });

  it('does not believe an edited flag', async () => {
    catalog.observe('s', [tool('a')]);
    await bench.tamper(`UPDATE signed_row SET body = replace(body, '"reads":false', '"reads":true') WHERE collection = 'server-tools'`);
    assert.equal(catalog.reads('s', 'a'), false);
    assert.equal(catalog.tampering().length, 1);
  });
});
