import assert from 'node:assert/strict';
import { Access, type NewGrant } from '../../../src/authorization/access.ts';
import type { Target } from '../../../src/authorization/grant.ts';
import type { Principal } from '../../../src/mcp/principal.ts';
import { StoreError } from '../../../src/common/errors.ts';
import { Generations } from '../../../src/store/generations.ts';
import { Bench, nextTurn } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const principal: Principal = { client: 'vscode', window: 'win-1' };
const echo: Target = { kind: 'tools', names: ['echo'] };
const allow = (part: Partial<NewGrant> = {}): NewGrant => ({
  server: 'srv-1',
  target: echo,
  effect: 'allow',
  scope: {},
  givenBy: 'tree',
  ...part,
});

describe('Access', () => {
  let bench: Bench;
  let clock: ManualClock;
  let access: Access;
  const open = () => new Access(bench.window(), bench.key, new Generations(), clock);
  const effect = (tool = 'echo', of = access) =>
    of.decide(principal, { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool }).effect;

  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
    access = open();
  });
  afterEach(() => bench.close());

  it('denies until something is given, and again after it is revoked', async () => {
    assert.equal(effect(), 'deny');
    const { id } = access.give(allow());
    assert.equal(effect(), 'allow');
    access.revoke([id]);
    assert.equal(effect(), 'deny');
  });

  it('keeps one row for one answer given twice, and the newest effect', async () => {
    access.give(allow());
    access.give(allow());
    access.give(allow({ effect: 'deny' }));
    assert.equal(access.all().length, 1);
    assert.equal(effect(), 'deny');
  });

  it('holds in the other window at its next call', async () => {
    const other = open();
    other.give(allow());
    await nextTurn();
    assert.equal(effect(), 'allow');
    other.setPaused(true);
    await nextTurn();
    assert.equal(effect(), 'deny');
    other.setPaused(false);
    other.revokeServer('srv-1');
    await nextTurn();
    assert.equal(effect(), 'deny');
  });

  for (const [what, sql] of Object.entries({
    edited: `UPDATE signed_row SET body = replace(body, '"paused":true', '"paused":false') WHERE collection = 'access-state'`,
    deleted: `DELETE FROM signed_row WHERE collection = 'access-state'`,
    'deleted with its list': `DELETE FROM signed_row WHERE collection = 'access-state'; DELETE FROM manifest WHERE collection = 'access-state'`,
  }))
    it(`stays paused when the pause is ${what} from outside`, async () => {
      access.give(allow());
      access.setPaused(true);
      await bench.tamper(sql);
      assert.equal(effect(), 'deny');
      assert.ok(access.tampering().some((t) => t.collection === 'access-state'));
    });

  it('does not go back to an earlier state that is put back whole', async () => {
    access.give(allow());
    access.setPaused(false);
    await bench.tamper('CREATE TABLE r AS SELECT * FROM signed_row; CREATE TABLE m AS SELECT * FROM manifest');
    access.setPaused(true);
    access.revokeServer('srv-1');
    await bench.tamper(
      'DELETE FROM signed_row; DELETE FROM manifest; INSERT INTO signed_row SELECT * FROM r; INSERT INTO manifest SELECT * FROM m',
    );
    assert.equal(effect(), 'deny');
    assert.equal(access.policy().paused, true);
    access.setPaused(false);
    assert.equal(effect(), 'deny');
  });

  it('sets a tool in one step: no window ever sees the wider grant alone', async () => {
    access.start('srv-1', 'everything', 'wizard');
    access.set('srv-1', echo, 'deny', 'tree');
    const other = open();
    const seen: string[] = [];
    access.onDidChange(() => seen.push(effect('echo', other)));
    access.set('srv-1', echo, 'ask', 'tree');
    assert.deepEqual(new Set(seen), new Set(['ask']));
  });

  it('leaves the old grant where the new one can not be written', async () => {
    access.start('srv-1', 'everything', 'wizard');
    access.set('srv-1', echo, 'deny', 'tree');
    await bench.tamper(`CREATE TRIGGER no BEFORE INSERT ON signed_row BEGIN SELECT RAISE(ABORT, 'no'); END`);
    assert.throws(() => access.set('srv-1', echo, 'ask', 'tree'), StoreError);
    assert.equal(effect(), 'deny');
  });

  it('asks again after “15 minutes” where the user had set the tool to ask', async () => {
    access.start('srv-1', 'everything', 'wizard');
    access.set('srv-1', echo, 'ask', 'tree');
    access.give(allow({ expiresAt: clock.now() + 900_000, givenBy: 'prompt' }));
    assert.equal(effect(), 'allow');
    clock.advance(900_000);
    assert.equal(effect(), 'ask');
  });

  it('starts a server as the user chose', async () => {
    const start = (choice: Parameters<Access['start']>[1]) => {
      access.start('srv-1', choice, 'wizard');
      return effect();
    };
    assert.deepEqual([start('everything'), start('ask'), start('reading'), start('nothing')], ['allow', 'ask', 'deny', 'deny']);
  });

  it('forgets what ended long ago when something is given, not before', async () => {
    access.give(allow({ expiresAt: clock.now() + 1000 }));
    clock.advance(2000);
    access.give(allow({ server: 'srv-2' }));
    assert.equal(access.all().length, 2);
    clock.advance(25 * 3_600_000);
    access.give(allow({ server: 'srv-2' }));
    assert.equal(access.all().length, 1);
  });

  it('says when a grant ends', async () => {
    const end = clock.now() + 1000;
    access.give(allow({ expiresAt: end }));
    let ended = 0;
    access.onDidExpire(() => ended++);
    access.refresh();
    assert.equal(access.nextExpiry(), end);
    clock.advance(1000);
    access.refresh();
    access.refresh();
    assert.deepEqual([ended, access.nextExpiry()], [1, undefined]);
  });

  for (const [what, sql] of Object.entries({
    removed: `DELETE FROM signed_row WHERE body LIKE '%"effect":"deny"%'`,
    edited: `UPDATE signed_row SET body = replace(body, '"effect":"deny"', '"effect":"ask"') WHERE body LIKE '%"effect":"deny"%'`,
  }))
    it(`lets nothing wider through when a denial was ${what} from outside, until the user has settled it`, async () => {
      access.give(allow({ target: { kind: 'all-tools' } }));
      access.give(allow({ effect: 'deny' }));
      assert.deepEqual([effect(), effect('other')], ['deny', 'allow']);
      await bench.tamper(sql);
      assert.deepEqual([effect(), effect('other')], ['ask', 'ask']);
      access.forgetTampering();
      assert.deepEqual(access.tampering(), []);
      assert.deepEqual([effect(), effect('other')], ['allow', 'allow']);
      await nextTurn();
      assert.equal(effect('echo', open()), 'allow');
    });

  it('throws where it can not read, so that the caller denies', async () => {
    access.give(allow());
    const other = open();
    await bench.tamper('DROP TABLE manifest');
    assert.throws(() => effect('echo', other), StoreError);
    assert.throws(() => effect(), StoreError);
  });
});
