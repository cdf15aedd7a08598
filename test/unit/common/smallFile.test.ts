import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSmallFile, stampOf } from '../../../src/common/smallFile.ts';
import { temporaryFolder } from '../../support/folders.ts';

describe('files that somebody else may have put there', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  beforeEach(() => {
    folder = temporaryFolder();
    path = join(folder.path, 'file');
  });
  afterEach(() => folder.remove());
  /** Long after whatever was written. */
  const later = () => Date.now() + 60_000;

  it('are read up to their bound', () => {
    assert.deepEqual(readSmallFile(path, 10), { kind: 'none' });
    assert.deepEqual(readSmallFile(join(path, 'below'), 10), { kind: 'none' });
    writeFileSync(path, '0123456789');
    assert.deepEqual(readSmallFile(path, 10), { kind: 'text', text: '0123456789' });
    assert.deepEqual(readSmallFile(join(path, 'below'), 10), { kind: 'none' });
    assert.equal(readSmallFile(path, 9).kind, 'refused');
    writeFileSync(path, '');
    assert.deepEqual(readSmallFile(path, 10), { kind: 'text', text: '' });
  });

  it('are refused as links, folders and what is no text', () => {
    writeFileSync(join(folder.path, 'real'), 'x');
    symlinkSync(join(folder.path, 'real'), path);
    assert.deepEqual(readSmallFile(path, 10), { kind: 'refused', reason: 'It is a link. Put a plain file there.' });
    rmSync(path);
    mkdirSync(path);
    assert.equal(readSmallFile(path, 10).kind, 'refused');
    rmSync(path, { recursive: true });
    writeFileSync(path, Buffer.from([0x61, 0xff]));
    assert.deepEqual(readSmallFile(path, 10), { kind: 'refused', reason: 'It is not UTF-8.' });
  });

  it('have a stamp that stays while they do, and changes with them', () => {
    assert.equal(stampOf(path, later()), '');
    writeFileSync(path, 'a');
    const first = stampOf(path, later());
    assert.notEqual(first, '');
    assert.equal(stampOf(path, later()), first);
    writeFileSync(path, 'ab');
    const second = stampOf(path, later());
    assert.notEqual(second, first);
    utimesSync(path, 1, 1);
    assert.notEqual(stampOf(path, later()), second);
    rmSync(path);
    assert.equal(stampOf(path, later()), '');
  });

  it('have another stamp at every look just after a change: times are told only so finely', () => {
    writeFileSync(path, 'a');
    assert.notEqual(stampOf(path, Date.now()), stampOf(path, Date.now()));
  });

  it('have the stamp of what a link leads to', () => {
    const real = join(folder.path, 'real');
    writeFileSync(real, 'a');
    symlinkSync(real, path);
    const before = stampOf(path, later());
    writeFileSync(real, 'ab');
    assert.notEqual(stampOf(path, later()), before);
  });
});
