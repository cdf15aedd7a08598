import assert from 'node:assert/strict';
import { MAX_PENDING_SERVER_REQUESTS, MAX_SESSIONS, Sessions, expectAnswer } from '../../../src/tunnel/sessions.ts';

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

  it('keep what a server asked of one client apart from another’s, also without ids', () => {
    const sessions = new Sessions();
    expectAnswer(sessions.begin('', 'me', 'srv-a'), '1');
    assert.equal(sessions.begin('', 'you', 'srv-a').pending.has('1'), false);
    assert.equal(sessions.begin('', 'me', 'srv-a').pending.has('1'), true);
  });

  it('and what they wait for are limited', () => {
    const sessions = new Sessions();
    const first = sessions.begin('first', 'me', 'srv-a');
    for (let i = 0; i <= MAX_PENDING_SERVER_REQUESTS; i++) expectAnswer(first, String(i));
    assert.equal(first.pending.size, MAX_PENDING_SERVER_REQUESTS);
    for (let i = 0; i < MAX_SESSIONS; i++) sessions.begin(`s${i}`, 'me', 'srv-a');
    assert.equal(sessions.find('first', 'me', 'srv-a'), undefined);
  });
});
