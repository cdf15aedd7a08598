import assert from 'node:assert/strict';
import { ChainMemory } from '../../../src/audit/chainMemory.ts';
import { Checkpoints, digestOf, newSigningKey } from '../../../src/audit/checkpoints.ts';
import type { Act } from '../../../src/audit/record.ts';
import type { RetentionPolicy } from '../../../src/audit/retention.ts';
import { MemorySecretStore } from '../../../src/credentials/memorySecretStore.ts';
import { Generations } from '../../../src/store/generations.ts';
import { RecordKeeping } from '../../../src/tunnel/recordKeeping.ts';
import { Bench } from '../../support/database.ts';
import { ManualClock } from '../../support/manualClock.ts';
import { KeptLog } from '../../support/tunnels.ts';
import { intent, outcome } from '../audit/samples.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** When a window looks for the first time, and then again. */
const [FIRST, AGAIN] = [2 * MINUTE, HOUR];
/** How often it signs. */
const CHECKPOINT = 5 * MINUTE;

describe('RecordKeeping', () => {
  let bench: Bench;
  let clock: ManualClock;
  let keyring: Map<string, string>;
  let log: KeptLog;
  let policy: RetentionPolicy;
  let windows: RecordKeeping[];

  const open = async (name: string): Promise<RecordKeeping> => {
    const db = bench.window();
    const keeper = {
      get: async (key: string) => keyring.get(key),
      set: async (key: string, value: string) => void keyring.set(key, value),
    };
    const memory = new ChainMemory(clock, {
      get: async () => keyring.get('chains'),
      set: async (value) => void keyring.set('chains', value),
    });
    const keeping = new RecordKeeping({
      db,
      key: bench.key,
      generations: new Generations(),
      checkpoints: new Checkpoints(db, keeper, clock, memory),
      clock,
      logger: log,
      window: name,
      secretStore: new MemorySecretStore(),
      recognise: () => undefined,
      redact: (text) => text,
      retention: () => policy,
    });
    windows.push(keeping);
    await keeping.begin();
    return keeping;
  };
  const calls = async ({ audit }: RecordKeeping, count: number) => {
    for (let i = 0; i < count; i++) {
      const id = `x-${audit.chain}-${audit.head.n}`;
      await audit.open(id, intent);
      audit.close(id, outcome);
      audit.flush();
    }
  };
  const acts = ({ audit }: RecordKeeping, act: string) =>
    audit.entries({ limit: 10_000 }).filter(({ kind, body }) => kind === 'act' && (body as Act).act === act);
  const entries = () => Number(bench.outside.prepare('SELECT count(*) AS n FROM audit').get()?.['n']);
  const lease = () => bench.outside.prepare("SELECT owner, lease_until, done_at FROM lease WHERE name = 'retention'").get();
  /** Lets time pass, and resolves once a window has done what is due then. */
  const passes = async (ms: number) => {
    const before = lease()?.['done_at'];
    clock.advance(ms);
    while (lease()?.['done_at'] === before || lease()?.['lease_until'] !== 0) await new Promise(setImmediate);
  };

  beforeEach(async () => {
    bench = new Bench();
    clock = new ManualClock();
    keyring = new Map([['signing-key', await newSigningKey()]]);
    log = new KeptLog();
    policy = { maxDays: 5 };
    windows = [];
  });
  afterEach(() => {
    for (const window of windows) window.dispose();
    bench.close();
  });

  it('signs every five minutes, when it closes, and before an export', async () => {
    const one = await open('one');
    const signed = () => bench.outside.prepare('SELECT id, jws FROM checkpoint ORDER BY id').all();
    const until = async (count: number) => {
      while (signed().length < count) await new Promise(setImmediate);
      const { heads } = (await one.checkpoints.open(String(signed()[count - 1]?.['jws']))) ?? {};
      return heads;
    };
    const head = () => [[one.audit.chain, one.audit.head.n, one.audit.head.hash]];
    await calls(one, 2);
    clock.advance(CHECKPOINT - 1);
    assert.deepEqual(signed(), []);
    clock.advance(1);
    assert.deepEqual(await until(1), head());
    // The keyring knows it, so that it can't go unnoticed.
    while (keyring.get('last-checkpoint') !== digestOf(String(signed()[0]?.['jws']))) await new Promise(setImmediate);

    // Nothing new, nothing to sign.
    await one.audit.checkpoint();
    assert.equal(signed().length, 1);

    await calls(one, 1);
    for await (const line of one.lines({})) assert.ok(line.endsWith('\n'));
    assert.deepEqual(await until(2), head());

    await calls(one, 1);
    await one.end();
    assert.deepEqual(await until(3), head());
    assert.equal(acts(one, 'stopped').length, 1);
    assert.deepEqual((JSON.parse(keyring.get('chains') ?? '') as { chains: object }).chains, {});
  });

  it('drops what is too old two minutes after the start, once a day, by one window for all', async () => {
    const one = await open('one');
    await calls(one, 10);
    clock.setWallClock(clock.now() + 10 * DAY);
    // Says that it is still there: what is silent has crashed.
    await one.audit.begin();
    await open('two');
    await calls(one, 2);
    clock.advance(FIRST - 1);
    assert.equal(lease(), undefined);

    await passes(1);
    const [applied, ...more] = acts(one, 'retention-applied');
    assert.deepEqual([applied?.chain, more, entries()], [one.audit.chain, [], 5]);
    assert.ok(log.lines.some((line) => line.includes('Retention dropped 20 entries of the record (age).')));
    const done = lease();
    assert.deepEqual([done?.['owner'], done?.['done_at']], [one.audit.chain, clock.now()]);

    // Within the day nobody takes it up again, though it would be due by the settings.
    policy = { maxBytes: 1 };
    clock.setWallClock(clock.now() + 22 * HOUR);
    clock.advance(AGAIN);
    assert.deepEqual([lease(), entries()], [done, 5]);

    clock.setWallClock(clock.now() + 2 * HOUR);
    await passes(AGAIN);
    // What is there now was written by that.
    assert.deepEqual(
      acts(one, 'retention-applied').map(({ at }) => at),
      [clock.now()],
    );
    for (const { audit } of windows) assert.deepEqual((await audit.verify()).problems, []);
  });

  it('drops nothing of a record that was changed from outside, and tells the user once a day', async () => {
    const one = await open('one');
    const told: string[] = [];
    one.onDidWarn((text) => told.push(text));
    await calls(one, 10);
    await bench.tamper("UPDATE audit SET body = replace(body, 'echo', 'ping') WHERE n = 3");
    clock.setWallClock(clock.now() + 10 * DAY);
    await passes(FIRST);
    clock.advance(AGAIN);
    assert.deepEqual([told.length, entries()], [1, 20]);
    assert.match(told[0] ?? '', /changed from outside, so nothing of it is dropped\. Look at it with “Culvert: Verify Audit History”/);
    clock.setWallClock(clock.now() + DAY);
    await passes(AGAIN);
    assert.deepEqual([told.length, entries()], [2, 20]);
  });

  it('finds what was done in a period, and the grants of before', async () => {
    const one = await open('one');
    const began = clock.now();
    const grant = (act: 'grant-given' | 'grant-revoked', id: string) => one.audit.act({ act, id, subject: `allow ${id}`, window: 'one' });
    grant('grant-given', 'a');
    await calls(one, 2);
    clock.advance(HOUR);
    grant('grant-given', 'b');
    one.audit.act({ act: 'paused', window: 'one' });
    clock.advance(HOUR);
    grant('grant-revoked', 'a');
    const { low, high, entries: count, acts: done, grants } = await one.span({ from: began + HOUR, to: began + 2 * HOUR });
    const of = (list: readonly { readonly body: string }[]) =>
      list.map(({ body }) => JSON.parse(body) as Act).map(({ act, id }) => [act, ...(id === undefined ? [] : [id])].join(' '));
    assert.deepEqual([low, high, count], [6, 7, 2]);
    assert.deepEqual(of(done), ['grant-given b', 'paused']);
    assert.deepEqual(of(grants), ['grant-given a', 'grant-given b']);
  });

  it('keeps all where no limit is set', async () => {
    policy = {};
    const one = await open('one');
    await calls(one, 10);
    clock.setWallClock(clock.now() + 1_000 * DAY);
    clock.advance(FIRST + AGAIN);
    assert.deepEqual([lease(), entries()], [undefined, 20]);
  });
});
