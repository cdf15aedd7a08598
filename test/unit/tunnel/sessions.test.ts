import assert from 'node:assert/strict';
import { Sessions, expectAnswer } from '../../../src/tunnel/sessions.ts';

describe('Sessions', () => {
  it('are good only for the principal and server they were made for', () => {
    const sessions = new Sessions();
    const session = sessions.begin('s1', 'me', 'srv-a');
    assert.equal(sessions.find('s1', 'me', 'srv-a'), session);
    assert.equal(sessions.find('s1', 'you', 'srv-a'), undefined);
    assert.equal(sessions.find('s1', 'me', 'srv-b'), undefined);
    sessions.end(session);
    assert.equal(sessions.find('s1', 'me', 'srv-a'), undefined);
  });

  it('that are minted have ids of 256 random bits', () => {
    const sessions = new Sessions();
    const ids = new Set(Array.from({ length: 50 }, () => sessions.mint('me', 'srv-a').id));
    assert.equal(ids.size, 50);
    for (const id of ids) {
      assert.equal(Buffer.from(id, 'base64url').length, 32);
      assert.equal(sessions.find(id, 'me', 'srv-a')?.minted, true);
    }
    assert.equal(sessions.begin('s1', 'me', 'srv-a').minted, false);
  });

  it('of one server end together', () => {
    const sessions = new Sessions();
    sessions.begin('a', 'me', 'srv-a');
    const minted = sessions.mint('you', 'srv-a');
    sessions.begin('b', 'me', 'srv-b');
    sessions.endServer('srv-a');
    assert.equal(sessions.find('a', 'me', 'srv-a'), undefined);
    assert.equal(sessions.find(minted.id, 'you', 'srv-a'), undefined);
    assert.ok(sessions.find('b', 'me', 'srv-b'));
  });

  it('keep what a server asked of one client apart from another’s, also without ids', () => {
    const sessions = new Sessions();
    expectAnswer(sessions.begin('', 'me', 'srv-a'), '1');
    assert.equal(sessions.begin('', 'you', 'srv-a').pending.has('1'), false);
    assert.equal(sessions.begin('', 'me', 'srv-a').pending.has('1'), true);
  });

  it('are as many as there may be; then the one goes that was idle longest', () => {
    const sessions = new Sessions(4);
    for (const id of ['a', 'b', 'c', 'd']) sessions.begin(id, 'me', 'srv');
    for (const id of ['a', 'b', 'c', 'd']) assert.ok(sessions.find(id, 'me', 'srv'), id);
    sessions.find('a', 'me', 'srv');
    sessions.begin('e', 'me', 'srv');
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e'].map((id) => sessions.find(id, 'me', 'srv') !== undefined),
      [true, false, true, true, true],
    );
  });

  it('never go while they have a stream', () => {
    const sessions = new Sessions(2);
    sessions.begin('a', 'me', 'srv').streams = 1;
    sessions.begin('b', 'me', 'srv');
    sessions.begin('c', 'me', 'srv');
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => sessions.find(id, 'me', 'srv') !== undefined),
      [true, false, true],
    );
    sessions.begin('c', 'me', 'srv').streams = 1;
    sessions.begin('d', 'me', 'srv');
    assert.deepEqual(
      ['a', 'c', 'd'].map((id) => sessions.find(id, 'me', 'srv') !== undefined),
      [true, true, true],
    );
  });

  it('wait for a limited number of answers; the oldest question gives way', () => {
    const session = new Sessions().begin('a', 'me', 'srv');
    assert.deepEqual(
      ['1', '2', '3'].map((id) => expectAnswer(session, id, 3)),
      [false, false, false],
    );
    assert.equal(expectAnswer(session, '3', 3), false);
    assert.equal(expectAnswer(session, '4', 3), true);
    assert.deepEqual([...session.pending], ['2', '3', '4']);
  });
});
