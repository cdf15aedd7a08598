import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { Database } from '../../../src/store/database.ts';
import { claimDatabase, identityOf, releaseDatabase, storedIdentity } from '../../../src/store/keyIdentity.ts';
import { StoreError } from '../../../src/common/errors.ts';
import { withoutWriteAccess } from '../../support/rights.ts';
import { Bench, nextTurn } from '../../support/database.ts';

describe('Database', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());

  const failsWith = (code: string) => (error: unknown) => error instanceof StoreError && error.code === code;

  it('makes a file that only the user can read, with all tables', () => {
    const db = bench.window();
    assert.equal(statSync(bench.path).mode & 0o777, 0o600);
    assert.ok(db.all(`SELECT name FROM sqlite_schema WHERE type = 'table'`).length >= 6);
    assert.equal(db.get('PRAGMA journal_mode')?.['journal_mode'], 'wal');
  });

  it('keeps its locks when it waits for the disk: another program that comes and goes would take the log away', async function () {
    if (process.platform !== 'linux') this.skip();
    const db = bench.window();
    const { ino } = statSync(bench.path);
    const locks = () =>
      readFileSync('/proc/locks', 'utf8')
        .split('\n')
        .map((line) => line.split(/\s+/))
        .filter(([, kind, , , pid, place]) => kind === 'POSIX' && pid === String(process.pid) && place?.endsWith(`:${ino}`) === true);
    db.run("INSERT INTO audit (chain, n, at, kind, body, hash) VALUES ('c', 1, 0, 'act', '{}', '')");
    assert.equal(locks().length, 1);
    await db.sync();
    assert.equal(locks().length, 1);
  });

  it('is made by several windows at the same moment, as all begin when the extension was installed', async function () {
    this.timeout(120_000);
    const module = new URL('../../../src/store/database.ts', import.meta.url).href;
    const script = `
      import { Database } from ${JSON.stringify(module)};
      process.once('message', (path) => {
        let said = 'open';
        try { Database.open(path); } catch (error) { said = error.message; }
        process.send(said, () => process.exit());
      });
      process.send('ready');`;
    for (let round = 0; round < 5; round++) {
      const windows = Array.from({ length: 4 }, () =>
        spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script], {
          stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
        }),
      );
      await Promise.all(windows.map((window) => once(window, 'message')));
      const said = windows.map((window) => once(window, 'message'));
      for (const window of windows) window.send(`${bench.path}.${round}`);
      assert.deepEqual(
        (await Promise.all(said)).flat().filter((one) => one !== undefined),
        Array(4).fill('open'),
      );
    }
  });

  it('notices what another connection wrote, from the next turn on', async () => {
    const [one, two] = [bench.window(), bench.window()];
    const before = one.dataVersion();
    two.run('INSERT INTO credential_use VALUES (?, 1, 1)', 'x');
    await nextTurn();
    assert.notEqual(one.dataVersion(), before);
  });

  it('says that it is locked', () => {
    const db = bench.window();
    bench.outside.exec('BEGIN EXCLUSIVE');
    assert.throws(() => db.run('INSERT INTO credential_use VALUES (?, 1, 1)', 'x'), failsWith('CULVERT_STORE_LOCKED'));
    bench.outside.exec('ROLLBACK');
    db.run('INSERT INTO credential_use VALUES (?, 1, 1)', 'x');
  });

  it('says that it is damaged, and leaves the file alone', () => {
    writeFileSync(bench.path, 'this is no database, but long enough to look at '.repeat(40));
    const before = readFileSync(bench.path);
    assert.throws(() => Database.open(bench.path), failsWith('CULVERT_STORE_CORRUPT'));
    assert.deepEqual(readFileSync(bench.path), before);
  });

  it('refuses what a newer version wrote, and changes nothing', () => {
    bench.window();
    bench.outside.exec('PRAGMA user_version = 99');
    assert.throws(() => Database.open(bench.path), failsWith('CULVERT_STORE_NEWER'));
    assert.equal(new DatabaseSync(bench.path).prepare('PRAGMA user_version').get()?.['user_version'], 99);
  });

  it('rolls a failed transaction back and can go on', () => {
    const db = bench.window();
    const insert = () => db.run('INSERT INTO credential_use VALUES (?, 1, 1)', 'x');
    assert.throws(() =>
      db.transaction(() => {
        insert();
        throw new Error('no');
      }),
    );
    assert.equal(db.all('SELECT * FROM credential_use').length, 0);
    db.durableTransaction(insert);
    assert.equal(db.all('SELECT * FROM credential_use').length, 1);
    assert.equal(db.get('PRAGMA synchronous')?.['synchronous'], 1);
  });

  it('lets go of a statement that is not read to its end', () => {
    const db = bench.window();
    for (let i = 0; i < 5; i++) db.run('INSERT INTO credential_use VALUES (?, 1, 1)', `c${i}`);
    for (const row of db.iterate('SELECT * FROM credential_use')) {
      assert.ok(row);
      break;
    }
    assert.equal(db.get('PRAGMA wal_checkpoint(TRUNCATE)')?.['busy'], 0);
  });

  it('begins its log anew though nobody stops writing, and loses nothing', async function () {
    // A busy disk takes its time.
    this.timeout(30_000);
    const db = Database.open(bench.path, { writesPerCheckpoint: 200, quietMs: 20 });
    // The salts change with each beginning (https://www.sqlite.org/fileformat.html#the_write_ahead_log).
    const log = openSync(`${bench.path}-wal`, 'r');
    const salts = () => {
      const bytes = Buffer.alloc(8);
      readSync(log, bytes, 0, 8, 16);
      return bytes.toString('hex');
    };
    const seen = new Set<string>();
    let written = 0;
    try {
      while (seen.size < 12) {
        for (let i = 0; i < 20; i++) db.run('INSERT INTO credential_use VALUES (?, 1, 1)', `c${written++}`);
        seen.add(salts());
        await nextTurn();
      }
      assert.equal(db.get('SELECT count(*) AS n FROM credential_use')?.['n'], written);
    } finally {
      closeSync(log);
      db.close();
    }
  });

  it('says that it can not be written', function () {
    if (process.platform === 'win32') this.skip();
    const writable = withoutWriteAccess(bench.folder.path);
    try {
      assert.throws(() => Database.open(bench.path), failsWith('CULVERT_STORE_UNWRITABLE'));
    } finally {
      writable();
    }
  });
});

describe('key identity', () => {
  let bench: Bench;
  beforeEach(() => (bench = new Bench()));
  afterEach(() => bench.close());

  it('is claimed by exactly one of two windows', () => {
    const key = Buffer.alloc(32, 1);
    const [one, two] = [bench.window(), bench.window()];
    const [mine, theirs] = [identityOf(key), identityOf(key)];
    assert.equal(storedIdentity(one), undefined);
    assert.deepEqual([claimDatabase(one, mine), claimDatabase(two, theirs)], [true, false]);
    assert.deepEqual(storedIdentity(two), mine);
  });

  it('binds the name of the database to the key', () => {
    const key = Buffer.alloc(32, 1);
    const { id, fingerprint } = identityOf(key);
    assert.equal(identityOf(key, id).fingerprint, fingerprint);
    assert.notEqual(identityOf(key, `${id}0`).fingerprint, fingerprint);
    assert.notEqual(identityOf(Buffer.alloc(32, 2), id).fingerprint, fingerprint);
  });

  it('can be taken back', () => {
    const db = bench.window();
    const identity = identityOf(Buffer.alloc(32, 1));
    claimDatabase(db, identity);
    releaseDatabase(db, identity);
    assert.equal(storedIdentity(db), undefined);
  });
});
