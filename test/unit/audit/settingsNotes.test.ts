import assert from 'node:assert/strict';
import type { Act } from '../../../src/audit/record.ts';
import { SettingsNotes } from '../../../src/audit/settingsNotes.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench } from '../../support/database.ts';

describe('settings on the record', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());
  const window = () => {
    const acts: Pick<Act, 'act' | 'subject' | 'detail'>[] = [];
    return { notes: new SettingsNotes(bench.window(), bench.key, new Generations(), (act) => acts.push(act)), acts };
  };

  it('stand there once, whichever windows see the change, also one that was made while none was open', async () => {
    const a = window();
    a.notes.note([{ key: 'x', value: 1 }]);
    assert.deepEqual(a.acts, []);
    const b = window();
    b.notes.note([{ key: 'x', value: 2 }]);
    await new Promise(setImmediate);
    a.notes.note([{ key: 'x', value: 2 }]);
    assert.deepEqual([a.acts, b.acts], [[], [{ act: 'setting-changed', subject: 'x', detail: '1 → 2' }]]);
    b.notes.note([{ key: 'x', value: undefined }]);
    assert.equal(b.acts[1]?.detail, '2 → null');
  });

  it('are told with an end, however long they are', () => {
    const { notes, acts } = window();
    notes.note([{ key: 'x', value: 'short' }]);
    notes.note([{ key: 'x', value: 'y'.repeat(100_000) }]);
    assert.ok((acts[0]?.detail?.length ?? 0) < 500);
  });
});
