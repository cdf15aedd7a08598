import assert from 'node:assert/strict';
import { Access } from '../../../src/authorization/access.ts';
import type { NewGrant } from '../../../src/authorization/grantChanges.ts';
import { Generations } from '../../../src/store/generations.ts';
import { ListedAccess } from '../../../src/tunnel/listedAccess.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

describe('which servers’ agents list anew', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  let listed: ListedAccess;
  const allow = (server: string, part: Partial<NewGrant> = {}): NewGrant => ({
    server,
    target: { kind: 'tools', names: ['echo'] },
    effect: 'allow',
    scope: {},
    givenBy: 'tree',
    ...part,
  });

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    access = new Access(bench.window(), bench.key, new Generations(), clock);
    listed = new ListedAccess(access);
    listed.note('srv-1');
    listed.note('srv-2');
  });
  afterEach(() => {
    access.dispose();
    bench.close();
  });

  it('those of the server whose grants changed, and only once', () => {
    const { id } = access.give(allow('srv-1'));
    assert.deepEqual(listed.changed(), ['srv-1']);
    assert.deepEqual(listed.changed(), []);
    access.give(allow('srv-3'));
    assert.deepEqual(listed.changed(), [], 'nobody came to that one');
    access.revoke([id]);
    assert.deepEqual(listed.changed(), ['srv-1']);
  });

  it('all of them with a pause and with other policies', () => {
    access.setPaused(true);
    assert.deepEqual(listed.changed(), ['srv-1', 'srv-2']);
    access.setLayers([]);
    assert.deepEqual(listed.changed(), ['srv-1', 'srv-2']);
  });

  it('those of the server whose grant came to its end: by time, by its task, by its last use', () => {
    access.give(allow('srv-1', { expiresAt: clock.now() + 1_000 }));
    const task = access.startTask({ name: 'Job', servers: ['srv-2'], durationMs: 3_600_000 }, [
      { server: 'srv-2', target: { kind: 'all-tools' }, effect: 'allow' },
    ]);
    listed.changed();
    clock.advance(1_500);
    assert.deepEqual(listed.changed(), ['srv-1']);
    access.endTask(task.id);
    assert.deepEqual(listed.changed(), ['srv-2']);
    access.give(allow('srv-1', { uses: 1 }));
    listed.changed();
    const call = { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool: 'echo' };
    assert.equal(access.admit({ client: 'vscode', window: 'win-1' }, call).effect, 'allow');
    assert.deepEqual(listed.changed(), ['srv-1']);
  });

  it('those whose list failed with the next change, and all while the database can’t be read', () => {
    listed.failed('srv-2');
    access.give(allow('srv-1'));
    assert.deepEqual(listed.changed(), ['srv-1', 'srv-2']);
    assert.deepEqual(listed.changed(), []);
    const broken = new ListedAccess({
      standing: () => {
        throw new Error('locked');
      },
    });
    broken.note('srv-1');
    assert.deepEqual([broken.changed(), broken.changed()], [['srv-1'], ['srv-1']]);
  });
});
