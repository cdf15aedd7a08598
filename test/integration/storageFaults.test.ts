import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { StoreError } from '../../src/common/errors.ts';
import { MemorySecretStore } from '../../src/credentials/memorySecretStore.ts';
import type { HeadlessTunnel } from '../../src/tunnel/index.ts';
import { send, toolCall } from '../support/agent.ts';
import { temporaryFolder } from '../support/folders.ts';
import { withoutWriteAccess } from '../support/rights.ts';
import { newScene, type Scene } from '../support/tunnels.ts';

const IS_LINUX = process.platform === 'linux';
const IS_ROOT = process.getuid?.() === 0;

/** A disk that can be filled up, and made one that can only be read. Both are undone by what they return. */
interface Disk {
  readonly path: string;
  fill(): () => void;
  readOnly(): () => void;
  remove(): void;
}

/** A file system of its own, as large as it says; `undefined` where this machine gives none. */
function smallDisk(megabytes: number): Disk | undefined {
  const folder = temporaryFolder();
  const mount = (...args: string[]) => spawnSync('mount', args).status === 0;
  if (!IS_LINUX || !IS_ROOT || !mount('-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder.path)) {
    folder.remove();
    return undefined;
  }
  return {
    path: folder.path,
    fill() {
      const file = join(folder.path, 'filler');
      for (const size of [64 * 1024, 4 * 1024, 512])
        try {
          for (;;) appendFileSync(file, Buffer.alloc(size, 1));
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC');
        }
      return () => rmSync(file);
    },
    readOnly() {
      assert.ok(mount('-o', 'remount,ro', folder.path));
      return () => assert.ok(mount('-o', 'remount,rw', folder.path));
    },
    remove() {
      spawnSync('umount', ['-l', folder.path]);
      folder.remove();
    },
  };
}

/** A folder on which this process may not write more than there is, nor at all. Needs no rights but those of the user. */
function limitedFolder(): Disk {
  const folder = temporaryFolder();
  const limit = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('prlimit', ['--pid', String(process.pid), ...args], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout.trim();
  };
  const all = () => [
    folder.path,
    ...readdirSync(folder.path, { recursive: true, encoding: 'utf8' }).map((name) => join(folder.path, name)),
  ];
  return {
    path: folder.path,
    fill() {
      const before = limit('--fsize', '--output', 'SOFT', '--noheadings', '--raw');
      // RLIMIT_FSIZE: no file of this process grows beyond the log that SQLite writes to; where there is none yet, none at all.
      const logs = all().filter((file) => file.endsWith('-wal'));
      limit(`--fsize=${Math.max(0, ...logs.map((file) => statSync(file).size))}:`);
      return () => void limit(`--fsize=${before}:`);
    },
    readOnly: () => withoutWriteAccess(...all()),
    remove: () => folder.remove(),
  };
}

const probe = smallDisk(1);
probe?.remove();
/** Both kinds, so that the second is tried where the first can be had as well. */
const DISKS: Readonly<Record<string, () => Disk>> = {
  ...(probe ? { 'of its own': () => smallDisk(4) ?? assert.fail('It can be mounted no more.') } : {}),
  ...(IS_LINUX ? { 'by limits of the process': limitedFolder } : {}),
};

for (const [kind, make] of Object.entries(DISKS))
  describe(`a disk (${kind}) that`, () => {
    let scene: Scene;
    let disk: Disk;
    let undo: (() => void)[];
    const vault = new MemorySecretStore();
    beforeEach(async () => {
      undo = [];
      disk = make();
      scene = await newScene();
    });
    afterEach(async () => {
      for (const step of undo.splice(0)) step();
      await scene.close();
      disk.remove();
    });
    /** Does something to the disk until the test ends, or until what it returns is called. */
    const until = (start: () => () => void): (() => void) => {
      const end = start();
      undo.push(end);
      return () => {
        undo.splice(undo.indexOf(end), 1);
        end();
      };
    };

    const open = () => scene.open({ vault, stateFolder: join(disk.path, 'state') });
    const call = async (tunnel: HeadlessTunnel, args: object = {}) => (await send(tunnel, { body: toolCall('echo', args) })).json();
    it('is full: calls are denied, nothing is lost or overwritten, and all goes on once there is room', async function () {
      this.timeout(120_000);
      const tunnel = await open();
      for (let i = 0; i < 20; i++) assert.equal((await call(tunnel)).error, undefined);
      const before = tunnel.core.audit.head.n;
      const free = until(() => disk.fill());
      // What is in the log file already has room; it is soon used up.
      const text = 'x'.repeat(6_000);
      let denied: string | undefined;
      for (let i = 0; i < 200 && denied === undefined; i++) denied = (await call(tunnel, { text })).error?.message;
      assert.match(denied ?? '', /can’t write its record, so nothing is let through/);
      const seen = scene.server.seen.length;
      for (let i = 0; i < 5; i++) assert.match((await call(tunnel, { text })).error?.message ?? '', /can’t write its record/);
      assert.equal(scene.server.seen.length, seen);
      assert.ok(
        scene.log.lines.some((line) =>
          /culvert\.db( is full\. Free some space and try again\.|.* Look whether its disk has room and works, then try again\.)/.test(
            line,
          ),
        ),
      );
      free();
      assert.equal((await call(tunnel)).error, undefined);
      assert.ok(tunnel.core.audit.head.n > before);
      const { faults } = await tunnel.core.audit.verify();
      assert.deepEqual(faults, []);
    });

    it('is full at the start: refused, with what to do, and nothing is changed', async () => {
      const first = await open();
      await call(first);
      await first.close();
      const free = until(() => disk.fill());
      await assert.rejects(
        open(),
        (e: unknown) => e instanceof StoreError && /CULVERT_STORE_(FULL|FAILED|UNWRITABLE)/.test(e.code) && e.message.length > 20,
      );
      free();
      const again = await open();
      assert.deepEqual((await again.core.audit.verify()).faults, []);
    });

    it('can only be read: refused, with what to do, and nothing is changed', async () => {
      const first = await open();
      await call(first);
      await first.close();
      const file = join(disk.path, 'state', 'culvert.db');
      const before = readFileSync(file);
      const writable = until(() => disk.readOnly());
      await assert.rejects(
        open(),
        (e: unknown) => e instanceof StoreError && e.code === 'CULVERT_STORE_UNWRITABLE' && e.message.includes('write access'),
      );
      writable();
      assert.deepEqual(readFileSync(file), before);
    });
  });

describe('a folder without write access', () => {
  it('is refused, with what to do', async function () {
    if (process.platform === 'win32') return this.skip();
    const scene = await newScene();
    // Loads all that is loaded later: the rest is done with fewer rights.
    await (await scene.open()).close();
    const folder = temporaryFolder();
    const writable = withoutWriteAccess(folder.path);
    try {
      await assert.rejects(scene.open({ stateFolder: folder.path }), { code: 'CULVERT_STORE_UNWRITABLE' });
    } finally {
      writable();
    }
    assert.deepEqual(readdirSync(folder.path), []);
    folder.remove();
    await scene.close();
  });
});
