import assert from 'node:assert/strict';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import { Tasks, type Task } from '../../../src/tunnel/tasks.ts';

const task = (principal: string, server = 'srv', tool = 'slow'): Task => ({ principal, server, tool, exchange: 'x-1' });

describe('Tasks', () => {
  it('belong to the principal and server they were begun for', () => {
    const tasks = new Tasks();
    tasks.add('t1', task('me'));
    assert.equal(tasks.find('t1', 'me', 'srv')?.tool, 'slow');
    assert.equal(tasks.find('t1', 'you', 'srv'), undefined);
    assert.equal(tasks.find('t1', 'me', 'other'), undefined);
    assert.equal(tasks.find('T1', 'me', 'srv'), undefined);
  });

  it('stay with whoever had the id first, unless that one begins it anew', () => {
    const tasks = new Tasks();
    tasks.add('t1', task('me'));
    tasks.add('t1', task('you'));
    assert.equal(tasks.find('t1', 'you', 'srv'), undefined);
    assert.ok(tasks.find('t1', 'me', 'srv'));
    tasks.add('t1', task('me', 'srv', 'other'));
    assert.equal(tasks.find('t1', 'me', 'srv')?.tool, 'other');
  });

  it('are as many as there may be; then the oldest goes', () => {
    const tasks = new Tasks(2);
    for (const id of ['a', 'b']) tasks.add(id, task('me'));
    assert.ok(tasks.find('a', 'me', 'srv') && tasks.find('b', 'me', 'srv'));
    tasks.add('c', task('me'));
    assert.equal(tasks.find('a', 'me', 'srv'), undefined);
    assert.ok(tasks.find('b', 'me', 'srv') && tasks.find('c', 'me', 'srv'));
  });

  it('keep arguments up to a bound, those of the newest', () => {
    const tasks = new Tasks(10, 10);
    const args = (text: string) => CallArguments.fromText(text);
    tasks.add('a', { ...task('me'), arguments: args('{"a":1}') });
    tasks.add('b', { ...task('me'), arguments: args('{"b":1}') });
    assert.equal(tasks.find('a', 'me', 'srv')?.arguments, undefined);
    assert.equal(tasks.find('b', 'me', 'srv')?.arguments?.size, 7);
    // Begun anew it counts once.
    tasks.add('b', { ...task('me'), arguments: args('{"c":1}') });
    assert.equal(tasks.find('b', 'me', 'srv')?.arguments?.size, 7);
  });
});
