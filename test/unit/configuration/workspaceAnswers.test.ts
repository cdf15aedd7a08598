import assert from 'node:assert/strict';
import { MAX_ANSWERS, WorkspaceAnswers } from '../../../src/configuration/workspaceAnswers.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench } from '../../support/database.ts';

describe('answers about the servers that a workspace names', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());
  const window = () => new WorkspaceAnswers(bench.window(), bench.key, new Generations());

  it('hold for exactly what was asked, in every window', () => {
    const [a, b] = [window(), window()];
    assert.equal(a.to('/home/kim/shop', 'one'), undefined);
    a.remember('/home/kim/shop', { digest: 'one', trusted: false, at: 1 });
    assert.equal(b.to('/home/kim/shop', 'one'), false);
    assert.equal(b.to('/home/kim/shop', 'two'), undefined);
    assert.equal(b.to('/home/kim/other', 'one'), undefined);
    b.remember('/home/kim/shop', { digest: 'two', trusted: true, at: 2 });
    assert.equal(window().to('/home/kim/shop', 'two'), true);
    assert.equal(window().to('/home/kim/shop', 'one'), undefined);
    a.forget('/home/kim/shop');
    assert.equal(a.to('/home/kim/shop', 'two'), undefined);
  });

  it('can’t be given by whoever can write the database', async () => {
    const answers = window();
    answers.remember('/home/kim/shop', { digest: 'one', trusted: false, at: 1 });
    await bench.tamper(`UPDATE signed_row SET body = replace(body, 'false', 'true')`);
    assert.equal(answers.to('/home/kim/shop', 'one'), undefined);
    assert.equal(answers.tampering()[0]?.problem, 'row changed');
    answers.forgetTampering();
    assert.deepEqual(answers.tampering(), []);
  });

  it('are not kept without end', () => {
    const answers = window();
    for (let at = 0; at <= MAX_ANSWERS; at++) answers.remember(`/work/${at}`, { digest: 'one', trusted: true, at });
    assert.equal(answers.to('/work/0', 'one'), undefined);
    assert.equal(answers.to('/work/1', 'one'), true);
    assert.equal(answers.to(`/work/${MAX_ANSWERS}`, 'one'), true);
  });
});
