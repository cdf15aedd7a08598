import assert from 'node:assert/strict';
import fc from 'fast-check';
import { z } from 'zod';
import { Access } from '../../../src/authorization/access.ts';
import type { NewGrant } from '../../../src/authorization/grantChanges.ts';
import { CallArguments } from '../../../src/authorization/arguments.ts';
import { loadExpressions } from '../../../src/authorization/expressions.ts';
import { workspaceLayer } from '../../../src/authorization/policy/jsonPolicy.ts';
import { rulesLayer } from '../../../src/authorization/policy/rules.ts';
import { CLOCK_SLACK_MS, type Target } from '../../../src/authorization/grant.ts';
import type { Principal } from '../../../src/mcp/principal.ts';
import { StoreError } from '../../../src/common/errors.ts';
import { Generations } from '../../../src/store/generations.ts';
import { SignedCollection } from '../../../src/store/signedCollection.ts';
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

  it('decides again without taking a use, and leaves the one that was taken to its call', () => {
    const call = { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool: 'echo' };
    const counted = access.give(allow({ uses: 1 }));
    assert.equal(access.admit(principal, call).effect, 'allow');
    assert.equal(access.admit(principal, call).effect, 'deny');
    for (let i = 0; i < 2; i++) assert.equal(access.recheck(principal, call, counted.id).effect, 'allow');
    assert.equal(access.recheck(principal, call, undefined).effect, 'deny');
    assert.equal(access.recheck(principal, call, 'grant-other').effect, 'deny');
    assert.equal(access.prospect(principal, call).effect, 'deny');
    access.revoke([counted.id]);
    assert.equal(access.recheck(principal, call, counted.id).effect, 'deny');
  });

  it('tells of the last use as of a change, and of each as a use', () => {
    const call = { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool: 'echo' };
    const { id } = access.give(allow({ uses: 2 }));
    access.decide(principal, call);
    const seen: string[] = [];
    access.onDidUse((grant) => seen.push(grant.id));
    access.onDidChange(() => seen.push('changed'));
    access.admit(principal, call);
    assert.deepEqual(seen, [id]);
    access.admit(principal, call);
    assert.deepEqual(seen, [id, id, 'changed']);
  });

  it('has a digest that stays while nothing changes, in every window', async () => {
    const other = open();
    const first = access.digest();
    assert.equal(other.digest(), first);
    const { id } = access.give(allow());
    await nextTurn();
    const second = access.digest();
    assert.notEqual(second, first);
    assert.equal(other.digest(), second);
    access.setLayers([rulesLayer('p', [{ effect: 'deny' }])]);
    const third = access.digest();
    access.setLayers([rulesLayer('p', [{ effect: 'ask' }])]);
    assert.equal(new Set([second, third, access.digest()]).size, 3);
    access.setLayers([]);
    access.revoke([id]);
    access.setPaused(true);
    assert.notEqual(access.digest(), first);
  });

  it('withdraws what was for a window when that closes, and ends tasks whose time is over', () => {
    access.give(allow({ endsWith: { kind: 'window', window: 'win-1' } }));
    const kept = access.give(allow({ target: { kind: 'all-tools' }, endsWith: { kind: 'window', window: 'win-2' } }));
    access.endWindow('win-1');
    assert.deepEqual(
      access.all().map((g) => g.id),
      [kept.id],
    );
    const acts: string[] = [];
    access.onDidActOnTask(({ kind, task }) => acts.push(`${kind} ${task.name}`));
    access.startTask({ name: 'Fix', servers: [], durationMs: 60_000 }, [{ server: 'srv-1', target: echo, effect: 'allow' }]);
    clock.advance(60_001);
    access.refresh();
    access.refresh();
    assert.deepEqual(acts, ['started Fix', 'ended Fix']);
    assert.equal(access.all().length, 1);
  });

  it('knows until when what a principal sees holds, and whether it does for others', () => {
    const outlook = () => access.outlook(principal, 'srv-1');
    assert.deepEqual(outlook(), { personal: false, endsAt: undefined });
    access.give(allow());
    access.give(allow({ server: 'srv-2', expiresAt: clock.now() + 1, scope: { window: 'win-1' } }));
    assert.deepEqual(outlook(), { personal: false, endsAt: undefined });
    const later = clock.now() + 9_000;
    access.give(allow({ target: { kind: 'all-tools' }, expiresAt: later }));
    assert.deepEqual(outlook(), { personal: false, endsAt: later });
    access.give(allow({ effect: 'deny', scope: { window: 'win-2' }, expiresAt: clock.now() + 10 }));
    assert.deepEqual(outlook(), { personal: true, endsAt: later });
    access.give(allow({ effect: 'deny', scope: { client: 'vscode' }, expiresAt: clock.now() + 1_000 }));
    assert.equal(outlook().endsAt, clock.now() + 1_000);
    clock.advance(1_000);
    assert.deepEqual(outlook(), { personal: false, endsAt: later });
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

describe('Access, version 2', () => {
  let bench: Bench;
  let clock: ManualClock;
  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
  });
  afterEach(() => bench.close());
  const open = () => new Access(bench.window(), bench.key, new Generations(), clock);
  const callWith = (args: unknown) => ({
    server: 'srv-1',
    serverLabel: 'S',
    method: 'tools/call',
    tool: 'echo',
    arguments: CallArguments.fromText(JSON.stringify(args)),
  });
  const conditional = allow({ conditions: [{ test: 'equals', at: '/owner', value: 'acme' }] });

  it('reads what version 1 stored', () => {
    const old = allow();
    const db = bench.window();
    const stored = new SignedCollection(db, 'grant', z.looseObject({ id: z.string() }), bench.key);
    stored.write([{ version: 1, id: 'grant-old', createdAt: clock.now(), ...old }]);
    const access = open();
    assert.deepEqual([access.all()[0]?.version, access.tampering()], [2, []]);
    assert.equal(access.decide(principal, callWith({})).effect, 'allow');
  });

  it('keeps conditions in the other window and after a reload', async () => {
    const access = open();
    const other = open();
    access.give(conditional);
    await nextTurn();
    assert.deepEqual(
      [other.decide(principal, callWith({ owner: 'acme' })).effect, other.decide(principal, callWith({ owner: 'x' })).effect],
      ['allow', 'deny'],
    );
  });

  for (const [what, sql] of Object.entries({
    edited: `UPDATE signed_row SET body = replace(body, 'acme', 'evil') WHERE collection = 'grant'`,
    forged: `INSERT INTO signed_row SELECT collection, 'grant-x', replace(replace(body, id, 'grant-x'), 'acme', 'evil'), mac FROM signed_row WHERE collection = 'grant'`,
    copied: `INSERT INTO signed_row SELECT collection, 'grant-x', body, mac FROM signed_row WHERE collection = 'grant'`,
    restored: `CREATE TABLE r AS SELECT * FROM signed_row; CREATE TABLE m AS SELECT * FROM manifest`,
  }))
    it(`gives nothing for a row with conditions that was ${what}, and warns`, async () => {
      const access = open();
      const { id } = access.give(conditional);
      await bench.tamper(sql);
      if (what === 'restored') {
        access.revoke([id]);
        await bench.tamper(
          'DELETE FROM signed_row; DELETE FROM manifest; INSERT INTO signed_row SELECT * FROM r; INSERT INTO manifest SELECT * FROM m',
        );
      }
      assert.notEqual(access.decide(principal, callWith({ owner: 'evil' })).effect, 'allow');
      assert.notEqual(access.decide(principal, callWith({ owner: 'acme' })).effect, 'allow');
      assert.ok(access.tampering().length > 0);
    });

  it('keeps grants with different conditions beside each other, and one for each', () => {
    const access = open();
    access.give(allow());
    access.give(conditional);
    access.give(conditional);
    assert.equal(access.all().length, 2);
    access.set('srv-1', echo, 'deny', 'tree');
    assert.equal(access.all().length, 1);
  });

  it('does not lengthen or revive a grant when the clock is moved', () => {
    const access = open();
    access.give(allow({ expiresAt: clock.now() + 600_000 }));
    const effect = () => access.decide(principal, callWith({})).effect;
    const began = clock.now();
    assert.equal(effect(), 'allow');
    clock.advance(590_000);
    clock.setWallClock(began);
    assert.equal(effect(), 'allow');
    clock.advance(70_001);
    assert.equal(effect(), 'deny');
    access.give(allow({ expiresAt: clock.now() + 600_000 }));
    assert.equal(effect(), 'allow');
    clock.setWallClock(clock.now() + 700_000);
    assert.equal(effect(), 'deny');
    clock.setWallClock(clock.now() - 700_000);
    assert.equal(effect(), 'deny');
  });

  it('lets no grant live longer than it was given for, however the wall clock jumps', () => {
    const DURATION = 600_000;
    const step = fc.record({
      pass: fc.integer({ min: 0, max: 200_000 }),
      jump: fc.oneof(fc.constant(0), fc.integer({ min: -2_000_000, max: 2_000_000 })),
    });
    const access = open();
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        access.give(allow({ expiresAt: clock.now() + DURATION }));
        const began = clock.monotonic();
        let ended = false;
        const look = () => access.decide(principal, callWith({})).effect === 'allow';
        assert.equal(look(), true);
        for (const { pass, jump } of steps) {
          clock.advance(pass);
          clock.setWallClock(clock.now() + jump);
          const live = look();
          if (live) assert.ok(clock.monotonic() - began <= DURATION + CLOCK_SLACK_MS);
          // A jump before it was given hides it without ending it; what has ended stays so.
          if (live) assert.equal(ended, false);
          ended ||= clock.monotonic() - began > DURATION + CLOCK_SLACK_MS;
        }
        access.revokeServer('srv-1');
      }),
      { seed: 51, numRuns: 60 },
    );
  });

  it('loads the engine for regular expressions when a grant needs it, and decides again', async () => {
    let loads = 0;
    const access = new Access(bench.window(), bench.key, new Generations(), clock, {
      loadExpressions: () => {
        loads++;
        return loadExpressions();
      },
    });
    access.give(allow());
    await access.ready();
    assert.equal(loads, 0);
    let changes = 0;
    access.set('srv-1', echo, 'deny', 'tree');
    access.set('srv-1', echo, 'ask', 'tree');
    access.onDidChange(() => changes++);
    access.give(allow({ conditions: [{ test: 'matches', at: '/owner', pattern: 'ac.e' }], target: { kind: 'tools', names: ['add'] } }));
    const add = { ...callWith({ owner: 'acme' }), tool: 'add' };
    assert.equal(access.decide(principal, add).effect, 'deny');
    await access.ready();
    assert.equal(access.decide(principal, add).effect, 'allow');
    assert.ok(changes >= 2);
    assert.equal(loads, 1);
  });

  it('puts policies above the grants, and tells what is wrong with them', () => {
    const access = open();
    access.give(allow());
    let changes = 0;
    access.onDidChange(() => changes++);
    access.setLayers([rulesLayer('The policy', [{ effect: 'deny', when: [{ test: 'present', at: '/force' }] }])]);
    assert.equal(changes, 1);
    assert.equal(access.decide(principal, callWith({})).effect, 'allow');
    assert.equal(access.decide(principal, callWith({ force: true })).effect, 'deny');
    const broken = workspaceLayer('culvert.json', '{');
    assert.ok(broken);
    access.setLayers([broken]);
    assert.equal(access.decide(principal, callWith({})).effect, 'deny');
    assert.equal(access.problems().length > 0, true);
    access.setLayers([]);
    assert.equal(access.decide(principal, callWith({})).effect, 'allow');
  });

  it('looks at the links of this machine only for servers that are here', function () {
    if (process.platform === 'win32') this.skip();
    const asked: string[] = [];
    const access = new Access(bench.window(), bench.key, new Generations(), clock, {
      files: { flavor: 'posix', caseSensitive: true, follow: (path) => (asked.push(path), path) },
    });
    access.give(allow({ conditions: [{ test: 'below', at: '/path', folder: '/proj' }] }));
    const call = callWith({ path: '/proj/a' });
    assert.equal(access.decide(principal, { ...call, place: { kind: 'http', url: 'https://example.com/mcp' } }).effect, 'allow');
    assert.equal(access.decide(principal, { ...call, place: { kind: 'stdio', command: 'x', args: [], ssh: 'box' } }).effect, 'allow');
    assert.deepEqual(asked, []);
    assert.equal(access.decide(principal, { ...call, place: { kind: 'stdio', command: 'x', args: [] } }).effect, 'allow');
    assert.ok(asked.length > 0);
  });
});
