import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { Access } from '../../../src/authorization/access.ts';
import type { NewGrant } from '../../../src/authorization/grantChanges.ts';
import { usageOf } from '../../../src/authorization/uses.ts';
import type { Grant } from '../../../src/authorization/grant.ts';
import { Database } from '../../../src/store/database.ts';
import { Generations } from '../../../src/store/generations.ts';
import { MacKey } from '../../../src/store/signedCollection.ts';
import type { Principal } from '../../../src/mcp/principal.ts';
import { Bench, nextTurn } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';

const principal: Principal = { client: 'vscode', window: 'win-1' };
const call = { server: 'srv-1', serverLabel: 'S', method: 'tools/call', tool: 'echo' };
const allow = (part: Partial<NewGrant>): NewGrant => ({
  server: 'srv-1',
  target: { kind: 'tools', names: ['echo'] },
  effect: 'allow',
  scope: {},
  givenBy: 'headless',
  ...part,
});

/** Another process with the same database: tries to use the grant until it is used up, and says how often it could. */
const TAKER = `
const [path, key, root] = process.argv.slice(1);
const load = (file) => import(root + file);
const { Database } = await load('src/store/database.ts');
const { MacKey } = await load('src/store/signedCollection.ts');
const { Generations } = await load('src/store/generations.ts');
const { StoredUses } = await load('src/authorization/uses.ts');
const db = Database.open(path);
const uses = new StoredUses(db, new MacKey(Buffer.from(key, 'hex')), new Generations());
const grant = { id: 'grant-1', uses: 60 };
let taken = 0;
process.stdout.write('ready\\n');
process.stdin.once('data', () => {
  for (;;) {
    let usage;
    try {
      usage = uses.take(grant, Date.now());
    } catch (error) {
      if (error.code === 'CULVERT_STORE_LOCKED') continue;
      throw error;
    }
    if (usage !== 'free') break;
    taken++;
  }
  console.log(JSON.stringify(taken));
  db.close();
  process.exit(0);
});
`;

describe('StoredUses', () => {
  let bench: Bench;
  let clock: ManualClock;
  beforeEach(() => {
    bench = new Bench();
    clock = new ManualClock();
  });
  afterEach(() => bench.close());
  const open = (generations = new Generations()) => new Access(bench.window(), bench.key, generations, clock);
  const admit = (access: Access) => access.admit(principal, call).effect;

  it('lets as many calls through as the grant allows; looking takes none', () => {
    const access = open();
    const { id } = access.give(allow({ uses: 3 }));
    for (let i = 0; i < 10; i++) assert.equal(access.decide(principal, call).effect, 'allow');
    assert.deepEqual(
      [1, 2, 3, 4].map(() => admit(access)),
      ['allow', 'allow', 'allow', 'deny'],
    );
    assert.equal(access.used(id), 3);
    assert.match(access.decide(principal, call).reason, /used up/);
  });

  it('an edited grant goes on counting where it was', async () => {
    const [access, other] = [open(), open()];
    const { id } = access.give(allow({ uses: 3 }));
    admit(access);
    admit(access);
    const more = access.replace(id, allow({ uses: 4 }));
    assert.ok(more);
    assert.equal(access.used(more.id), 2);
    assert.equal(access.used(id), 0);
    await nextTurn();
    assert.deepEqual(
      [1, 2, 3].map(() => admit(other)),
      ['allow', 'allow', 'deny'],
    );
    await nextTurn();
    // One that begins to count counts from then on; one that is given anew begins anew.
    const free = access.replace(more.id, allow({}));
    assert.ok(free);
    admit(access);
    assert.equal(access.used(free.id), 0);
    access.replace(free.id, allow({ uses: 1 }));
    assert.deepEqual([admit(access), admit(access)], ['allow', 'deny']);
    access.give(allow({ uses: 1 }));
    assert.equal(admit(access), 'allow');
  });

  it('counts for two windows together, call by call', async () => {
    const [one, two] = [open(), open()];
    one.give(allow({ uses: 5 }));
    await nextTurn();
    const got: string[] = [];
    for (let i = 0; i < 8; i++) got.push(admit(i % 2 === 0 ? one : two));
    assert.deepEqual(got.filter((e) => e === 'allow').length, 5);
    await nextTurn();
    assert.equal(two.decide(principal, call).effect, 'deny');
  });

  it('counts for processes that take at the same moment', async function () {
    this.timeout(120_000);
    const key = randomBytes(32);
    Database.open(bench.path).close();
    const root = new URL('../../../', import.meta.url).href;
    const children = [0, 1, 2].map(() =>
      spawn(
        process.execPath,
        ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', TAKER, bench.path, key.toString('hex'), root],
        {
          stdio: ['pipe', 'pipe', 'inherit'],
        },
      ),
    );
    const outputs = children.map(() => [] as string[]);
    children.forEach((child, i) => child.stdout.on('data', (data: Buffer) => outputs[i]?.push(data.toString())));
    await Promise.all(children.map((child) => once(child.stdout, 'data')));
    const ends = children.map((child) => once(child, 'exit'));
    for (const child of children) child.stdin.write('go\n');
    await Promise.all(ends);
    const taken = outputs.map((texts) => Number(texts.join('').trim().split('\n').at(-1)));
    assert.equal(
      taken.reduce((a, b) => a + b, 0),
      60,
      taken.join(' + '),
    );
    assert.equal(new MacKey(key).toString(), '[redacted]');
  });

  it('limits the rate, also when the clock is set back', () => {
    const access = open();
    access.give(allow({ rate: { count: 2, perMs: 60_000 } }));
    assert.deepEqual([admit(access), admit(access), admit(access)], ['allow', 'allow', 'deny']);
    clock.setWallClock(clock.now() - 30_000);
    assert.equal(admit(access), 'deny');
    clock.setWallClock(clock.now() + 30_000);
    clock.advance(59_999);
    assert.equal(admit(access), 'deny');
    clock.advance(1);
    assert.deepEqual([admit(access), admit(access), admit(access)], ['allow', 'allow', 'deny']);
  });

  it('falls back to a grant that is not counted, and forgets counts of grants that are gone', () => {
    const access = open();
    const { id } = access.give(allow({ uses: 1 }));
    assert.deepEqual([admit(access), admit(access)], ['allow', 'deny']);
    access.give(allow({ target: { kind: 'all-tools' } }));
    assert.equal(admit(access), 'allow');
    access.revoke([id]);
    assert.equal(access.used(id), 0);
  });

  for (const [what, sql] of Object.entries({
    edited: `UPDATE manifest SET rows = replace(rows, ',1,', ',0,') WHERE collection = 'grant-use'`,
    removed: `DELETE FROM manifest WHERE collection = 'grant-use'`,
    'put back': `DELETE FROM manifest WHERE collection = 'grant-use'; INSERT INTO manifest SELECT * FROM old`,
  }))
    it(`gives nothing and warns when the counts were ${what} from outside, until the user has settled it`, async () => {
      const access = open();
      access.give(allow({ uses: 5 }));
      admit(access);
      await bench.tamper(`CREATE TABLE old AS SELECT * FROM manifest WHERE collection = 'grant-use'`);
      admit(access);
      assert.equal(admit(access), 'allow');
      await bench.tamper(what === 'edited' ? sql.replace(',1,', ',3,') : sql);
      assert.equal(admit(access), 'deny');
      assert.deepEqual(access.tampering(), [{ collection: 'grant-use', id: '*', problem: 'list changed' }]);
      access.forgetTampering();
      assert.deepEqual(access.tampering(), []);
      assert.equal(admit(access), 'deny');
      access.give(allow({ uses: 1 }));
      assert.deepEqual([admit(access), admit(access)], ['allow', 'deny']);
    });
});

describe('usageOf', () => {
  it('goes by number and rate', () => {
    const grant = { uses: 2, rate: { count: 1, perMs: 1_000 } } as Grant;
    assert.equal(usageOf(grant, undefined, 0), 'free');
    assert.equal(usageOf(grant, { used: 1, recent: [100] }, 1_100), 'free');
    assert.equal(usageOf(grant, { used: 1, recent: [101] }, 1_100), 'too-fast');
    assert.equal(usageOf(grant, { used: 2, recent: [] }, 1_100), 'used-up');
  });
});
